//! `stiver schema`, `stiver man`, `stiver completions`: what the command tells of itself.

use std::io::Write;

use clap::CommandFactory;
use serde_json::{Map, Value};

use crate::{
    args::{Cli, Man, Schema},
    failure::{Failure, UsageContext},
    output::Output,
    schema,
};

/// `stiver schema`
pub(crate) fn schema(args: &Schema, output: Output) -> Result<(), Failure> {
    let all = schema::all();
    let mut out = std::io::stdout().lock();
    if args.markdown {
        return Ok(out.write_all(schema::markdown(&all).as_bytes())?);
    }
    if args.all {
        let documents: Map<String, Value> = all
            .iter()
            .map(|printed| (printed.command.to_owned(), printed.document()))
            .collect();
        return Ok(writeln!(out, "{}", Value::Object(documents))?);
    }
    let wanted = args.command.join(" ");
    if wanted.is_empty() {
        if output.is_json() {
            let names: Vec<&str> = all.iter().map(|printed| printed.command).collect();
            return Ok(writeln!(out, "{}", serde_json::json!({"schemas": names}))?);
        }
        for printed in &all {
            writeln!(out, "{:<18} {}", printed.command, printed.about)?;
        }
        return Ok(());
    }
    let found = all.iter().find(|printed| printed.command == wanted);
    let printed = found.ok_or_else(|| {
        Failure::usage(format!(
            "no schema of {wanted:?}: `stiver schema` lists them"
        ))
    })?;
    let text = if output.is_json() {
        printed.document().to_string()
    } else {
        serde_json::to_string_pretty(&printed.document())?
    };
    Ok(writeln!(out, "{text}")?)
}

/// `stiver man`
pub(crate) fn man(args: &Man, output: Output) -> Result<(), Failure> {
    let command = Cli::command();
    let Some(folder) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return Ok(std::io::stdout().lock().write_all(&page)?);
    };
    std::fs::create_dir_all(folder).usage(format!("making {}", folder.display()))?;
    clap_mangen::generate_to(command, folder).usage(format!("writing {}", folder.display()))?;
    output.line(&format!(
        "wrote the man pages into {}: `man -l {}/stiver.1` shows one",
        folder.display(),
        folder.display()
    ))?;
    Ok(())
}

/// `stiver completions`
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "stiver", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
