//! The project's own commands: `cargo xtask check`, `test`, `sim`, `fuzz`, `bench`, `interop`,
//! `peers`, `tidy`.
//!
//! Kept light on purpose: every other command waits for this one to build.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command line tool; its output is its product"
)]

mod bench;
mod check;
mod fuzz;
mod peers;
mod proof;
mod run;
mod sim;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that can be said about the code without running it.
    Check {
        /// Only these steps.
        #[arg(value_enum)]
        steps: Vec<check::Step>,
    },
    /// Runs the tests.
    Test {
        /// For every change: leaves out `slow_*` tests, doc-tests, fuzzing and the `no_std` proof.
        #[arg(long)]
        fast: bool,
    },
    /// Runs both sides in simulated worlds where everything goes wrong, seed after seed.
    Sim {
        /// `--seeds N`, `--from SEED`, `--minutes N`, `--verbose`; 1000 seeds from 0 by default.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Fuzzes every target, or one.
    Fuzz {
        /// The target, as its file in `fuzz/src/bin` is named.
        target: Option<String>,
        /// Runs the target on this one file, such as a crash it found.
        #[arg(long, requires = "target")]
        input: Option<PathBuf>,
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Processes at a time when there are several targets.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
    /// Measures against the goals and the peers: needs nginx and PostgreSQL for some rows.
    Bench {
        /// Writes the report as JSON, too.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Puts the table into docs/benchmarks.md.
        #[arg(long)]
        write: bool,
        /// Names the rows and measures nothing.
        #[arg(long)]
        list: bool,
        /// Only rows whose name begins so.
        #[arg(value_name = "ROW")]
        rows: Vec<OsString>,
    },
    /// Runs the tests against other implementations.
    Interop {
        /// Writes what they find into docs/interop.md and docs/peers.md.
        #[arg(long)]
        write: bool,
    },
    /// Installs the other implementations that the tests run against.
    Peers,
    /// The house rules that no other tool knows.
    Tidy,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Workspace::load().and_then(|workspace| match arguments.command {
        Command::Check { steps } => check::run(&workspace, &steps),
        Command::Test { fast } => test::run(
            &workspace,
            if fast {
                test::Extent::Fast
            } else {
                test::Extent::All
            },
        ),
        Command::Sim { arguments } => sim::run(&workspace, &arguments),
        Command::Fuzz {
            target,
            input,
            seconds,
            jobs,
        } => fuzz::run(
            &workspace,
            &fuzz::Plan {
                target,
                input,
                seconds,
                jobs,
            },
        ),
        Command::Bench {
            json,
            write,
            list,
            rows,
        } => bench::run(
            &workspace,
            &bench::Plan {
                rows,
                json,
                write,
                list,
            },
        ),
        Command::Interop { write } => peers::interop(&workspace, write),
        Command::Peers => peers::install(&workspace).map(drop),
        Command::Tidy => tidy::run(&workspace),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
