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
use stiver_sim::{
    attempt,
    audit::Report,
    plan::{Plan, Purchase},
};

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
    /// Instead of seeds: buys one thing of each kind, over connections that break off or fall
    /// silent after every so many bytes.
    #[arg(long, value_name = "STEP", num_args = 0..=1, default_missing_value = "1")]
    cuts: Option<usize>,
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
        self.channels += report.channels;
        for (word, count) in &report.attempts {
            *self.attempts.entry(word).or_insert(0) += count;
        }
        self.lasted += report.lasted;
    }

    fn print(&self, took: Duration) {
        println!(
            "{} runs, {} faults, {} h simulated in {} s: {} charges ({} given back), {} channels",
            self.runs,
            self.faults,
            self.lasted.as_secs() / 3600,
            took.as_secs(),
            self.paid,
            self.refunded,
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
    for plan in plans(&arguments) {
        if until.is_some_and(|until| begun.elapsed() >= until) {
            break;
        }
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
                eprintln!("error: seed {}: {why}", plan.seed);
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

/// What is to be run, one after the other.
fn plans(arguments: &Arguments) -> Box<dyn Iterator<Item = Plan>> {
    let Some(step) = arguments.cuts else {
        let seeds = arguments.from..arguments.from.saturating_add(arguments.seeds);
        return Box::new(seeds.map(Plan::draw));
    };
    let purchases = [
        Purchase::Reading,
        Purchase::Order,
        Purchase::Tick,
        Purchase::Stream { events: 6 },
    ];
    Box::new(purchases.into_iter().flat_map(move |purchase| {
        let plan = Plan::of(purchase);
        // One that fails uncut is run, and fails.
        let lengths = attempt(&plan).map(|it| it.lengths).unwrap_or_default();
        let cuts = plan.cut_everywhere(&lengths, step);
        std::iter::once(plan).chain(cuts)
    }))
}
