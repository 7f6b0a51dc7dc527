//! The `stiver` command: charge and pay over HTTP.
#![forbid(unsafe_code)]

mod args;
mod books;
mod commands;
mod config;
mod demo;
mod failure;
mod log;
mod output;
mod passphrase;
mod payer;
mod schema;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Cli, Command},
    failure::Failure,
    output::Output,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = match &cli.command {
        Command::Get(_) => Output::new(&cli.global).with_lines(),
        _ => Output::new(&cli.global),
    };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run(cli.command, output)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, output),
    }
}

/// Says what went wrong on standard error: in words, or as an object.
fn report(failure: &Failure, output: Output) -> ExitCode {
    let code = failure.kind.exit_code();
    if !failure.kind.is_said() {
        // Nobody reads along when this fails: the exit code still tells.
        let _ = output.error(&failure.message(), &failure.object());
    }
    ExitCode::from(code)
}

async fn run(command: Command, output: Output) -> Result<(), Failure> {
    install_tls();
    let env = stiver_env::native::env();
    match command {
        Command::Demo(args) => demo::run(&args, &env, output).await,
        Command::Init(args) => commands::init::run(&args, &env, output),
        Command::Status(args) => commands::status::run(&args, &env, output).await,
        Command::Serve(args) => commands::serve::run(&args, &env, output).await,
        Command::Reload(choice) => commands::operate::reload(&choice, &env, output).await,
        Command::Secrets(args) => commands::operate::secrets(args, &env, output).await,
        Command::Payments(args) => commands::payments::run(args, &env, output).await,
        Command::Get(args) => commands::get::run(&args, &env, output).await,
        Command::Wallet(args) => commands::wallet::run(args, &env, output).await,
        Command::Sessions(args) => commands::sessions::run(args, &env, output).await,
        Command::Ledger(args) => commands::ledger::run(args, &env, output).await,
        Command::Inspect(args) => commands::inspect::run(&args, output),
        Command::Mint(args) => commands::mint::run(&args, &env, output),
        Command::Schema(args) => commands::about::schema(&args, output),
        Command::Man(args) => commands::about::man(&args, output),
        Command::Completions { shell } => commands::about::completions(shell),
        Command::DemoSensor => demo::sensor::run().await,
        Command::DemoBuyer(args) => demo::buyer::run(&args, &env).await,
    }
}

/// TLS of this process is rustls on ring, whoever opens the connection.
fn install_tls() {
    // An error says that one is installed already: it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
