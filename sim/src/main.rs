//! Runs simulated worlds, seed after seed.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command line tool; its output is its product"
)]

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use stiver_sim::{attempt, audit::Report, plan::Plan};

/// Runs simulated worlds, seed after seed, until one finds a fault.
///
/// Prints the seed of a run in which something does not hold, and the smallest plan that still
/// shows it. Run one seed again with `--from SEED --seeds 1 --verbose`.
#[derive(Parser)]
#[command(name = "cargo xtask sim")]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stops after so many minutes, however many seeds are left.
    #[arg(long)]
    minutes: Option<u64>,
    /// Prints each plan and what it came to.
    #[arg(long)]
    verbose: bool,
}

/// What many runs came to.
#[derive(Default)]
struct Sums {
    runs: u64,
    faults: u64,
    paid: u64,
    refunded: u64,
    undelivered: u64,
    channels: u64,
    attempts: BTreeMap<&'static str, u64>,
    lasted: Duration,
}

impl Sums {
    fn add(&mut self, plan: &Plan, report: &Report) {
        self.runs += 1;
        self.faults += u64::try_from(plan.faults.len()).unwrap_or(u64::MAX);
        self.paid += report.paid;
        self.refunded += report.refunded;
        self.undelivered += report.undelivered;
        self.channels += report.channels;
        for (word, count) in &report.attempts {
            *self.attempts.entry(word).or_insert(0) += count;
        }
        self.lasted += report.lasted;
    }

    fn print(&self, took: Duration) {
        println!(
            "{} runs, {} faults, {} h simulated in {} s: {} charges ({} given back, {} not \
             delivered), {} channels",
            self.runs,
            self.faults,
            self.lasted.as_secs() / 3600,
            took.as_secs(),
            self.paid,
            self.refunded,
            self.undelivered,
            self.channels,
        );
        for (word, count) in &self.attempts {
            println!("{count:>9} {word}");
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long to go on is a matter of real time"
)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let begun = Instant::now();
    let until = arguments.minutes.map(|it| Duration::from_secs(it * 60));
    let mut sums = Sums::default();
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        if until.is_some_and(|until| begun.elapsed() >= until) {
            break;
        }
        let plan = Plan::draw(seed);
        if arguments.verbose {
            println!("{plan}");
        }
        match attempt(&plan) {
            Ok(report) => {
                if arguments.verbose {
                    println!("{report:?}");
                }
                sums.add(&plan, &report);
            }
            Err(why) => {
                eprintln!("error: seed {seed}: {why}");
                let small = plan.minimise(&mut |plan| attempt(plan).is_err());
                let why = attempt(&small).err().unwrap_or_default();
                eprintln!("the smallest plan that shows it:\n{small}{why}");
                sums.print(begun.elapsed());
                return ExitCode::FAILURE;
            }
        }
    }
    sums.print(begun.elapsed());
    ExitCode::SUCCESS
}
