//! `cargo xtask bench`: measures Stiver against its goals and its peers.
//!
//! What is compared runs in turn, A, B, A, B, in one run; what counts is CPU time (user and system)
//! as the operating system tells it, and ratios of medians.

#![forbid(unsafe_code)]

mod accept;
mod child;
mod codec;
mod cost;
mod finality;
mod goals;
mod http;
mod ledger;
mod load;
mod machine;
mod measure;
mod metered;
mod million;
mod paid;
mod peers;
mod proxy;
mod report;
mod rows;
mod server;
mod sessions;
mod vouchers;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::{
    goals::Goals,
    report::Report,
    rows::{ALL, Setting},
};

/// Measures Stiver against its goals and its peers.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// Writes the report as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Puts the table into a document, between its marks.
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// The `stiver` command, built for release.
    #[arg(long, value_name = "FILE")]
    stiver: Option<PathBuf>,
    /// The folder that mppx was installed in.
    #[arg(long, value_name = "FOLDER")]
    mppx: Option<PathBuf>,
    /// The program over the mpp crate.
    #[arg(long, value_name = "FILE")]
    mpp: Option<PathBuf>,
    /// How much the longest metered stream carries, bytes.
    #[arg(long, default_value_t = metered::STREAM_BYTES)]
    stream_bytes: u64,
    /// Rounds of each comparison.
    #[arg(long, default_value_t = measure::ROUNDS)]
    rounds: usize,
    /// Names the rows and measures nothing.
    #[arg(long)]
    list: bool,
    /// Only rows whose name begins so.
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// Is one of the servers that are measured.
    #[arg(long, value_name = "KIND", hide = true)]
    serve: Option<server::Kind>,
    /// How many channels that server has.
    #[arg(long, hide = true, default_value_t = 0)]
    channels: u64,
    /// The folder of that server.
    #[arg(long, value_name = "FOLDER", hide = true, default_value = ".")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True when every goal holds.
fn run(arguments: Arguments) -> Result<bool> {
    if let Some(kind) = arguments.serve {
        match kind {
            server::Kind::Once => vouchers::once()?,
            server::Kind::Channels => million::serve(&arguments.folder, arguments.channels)?,
            _ => server::serve(kind, &arguments.folder)?,
        }
        return Ok(true);
    }
    let setting = Setting {
        stiver: arguments.stiver,
        mppx: arguments.mppx,
        mpp: arguments.mpp,
        stream_bytes: arguments.stream_bytes,
        rounds: arguments.rounds,
        rows: arguments.rows,
    };
    let wanted = |name: &str| setting.wants(name);
    if arguments.list {
        for name in ALL
            .iter()
            .flat_map(rows::Group::names)
            .filter(|name| wanted(name))
        {
            println!("{name}");
        }
        return Ok(true);
    }
    if !ALL.iter().flat_map(rows::Group::names).any(wanted) {
        bail!("no row begins so; `--list` names them");
    }
    let goals = Goals::load()?;
    let mut report = Report::default();
    for group in ALL.iter().filter(|group| group.names().any(wanted)) {
        let mut measured = Vec::new();
        let outcome = group.run(&setting, &mut |finding| {
            eprintln!("measured {}", finding.name);
            measured.push(finding.name.clone());
            if wanted(&finding.name) {
                report.add(finding, &goals);
            }
        });
        if let Err(error) = outcome {
            for name in group.names().filter(|name| wanted(name)) {
                if !measured.iter().any(|done| done == name) {
                    report.add_error(name, &error, &goals);
                }
            }
        }
    }
    print!("{}", report.table());
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json()?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &arguments.document {
        report.write_into(path, &machine::describe())?;
    }
    let failed = report.failed();
    if !failed.is_empty() {
        eprintln!("goals missed or not measured: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}
