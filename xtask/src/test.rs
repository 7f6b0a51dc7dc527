//! `cargo xtask test`: runs the tests and counts them.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    bench, fuzz, peers, proof,
    run::{self, Steps},
    workspace::Workspace,
};

/// Integration tests whose file name starts so are left out by `--fast`.
const SLOW_PREFIX: &str = "slow_";

/// How long each fuzz target runs as part of the tests, in seconds.
const FUZZ_SECONDS: u64 = 5;

/// How many fuzz targets run at a time as part of the tests.
const FUZZ_JOBS: usize = 2;

/// How much to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What fits into three minutes when warm: for every change.
    Fast,
    /// Everything.
    All,
}

/// Runs the tests.
pub(crate) fn run(workspace: &Workspace, extent: Extent) -> Result<()> {
    let mut steps = Steps::default();
    let mut tally = Tally::default();
    match extent {
        Extent::Fast => steps.step("tests", || counted(&mut fast(workspace), &mut tally)),
        Extent::All => {
            let mut everything = workspace.cargo();
            everything.args([
                "test",
                "--workspace",
                "--all-features",
                "--locked",
                "--no-fail-fast",
            ]);
            steps.step("peers", || {
                peers::install(workspace).map(|peers| peers.name_to(&mut everything))
            });
            steps.step("tests", || counted(&mut everything, &mut tally));
            steps.step("bench", || counted(&mut bench::test(workspace), &mut tally));
            steps.step("no_std", || proof::no_std(workspace));
            let plan = fuzz::Plan {
                target: None,
                input: None,
                seconds: FUZZ_SECONDS,
                jobs: FUZZ_JOBS,
            };
            steps.step("fuzz", || fuzz::run(workspace, &plan));
        }
    }
    let outcome = steps.finish();
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    outcome
}

/// Unit tests, and the integration tests that are not slow.
fn fast(workspace: &Workspace) -> Command {
    let mut command = workspace.cargo();
    command.args([
        "test",
        "--workspace",
        "--all-features",
        "--locked",
        "--no-fail-fast",
    ]);
    command.args(["--lib", "--bins"]);
    for target in workspace
        .packages
        .iter()
        .flat_map(|package| &package.targets)
    {
        if target.kind == "test" && !target.name.starts_with(SLOW_PREFIX) {
            command.args(["--test", &target.name]);
        }
    }
    command
}

/// Runs a test runner, passes its output on and adds up what it counted.
fn counted(command: &mut Command, tally: &mut Tally) -> Result<()> {
    println!("$ {}", run::shown(command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the tests")?;
    let stdout = child
        .stdout
        .take()
        .context("the tests have no standard output")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("reading the output of the tests")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.add(&line);
    }
    let status = child.wait().context("waiting for the tests")?;
    if !status.success() {
        bail!("`{}` ended with {status}", run::shown(command));
    }
    ensure!(tally.passed > 0, "no test ran");
    Ok(())
}

/// What the runner's closing lines add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Adds one line of output, when it is a closing line:
    /// `test result: ok. 3 passed; 0 failed; ...`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        let counts = counts.split_once(". ").map_or(counts, |(_, counts)| counts);
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed = self.passed.saturating_add(number),
                "failed" => self.failed = self.failed.saturating_add(number),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_several_runners_add_up() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out");
        tally.add("test result: FAILED. 2 passed; 4 failed; 0 ignored; finished in 0.01s");
        assert_eq!(
            tally,
            Tally {
                passed: 5,
                failed: 4
            }
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        let mut tally = Tally::default();
        tally.add("test tally ... 7 passed; 3 failed");
        tally.add("running 3 tests");
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn fast_run_names_no_slow_test() {
        let workspace = Workspace::load().unwrap();
        let shown = run::shown(&fast(&workspace));
        assert!(!shown.contains("--test slow_"), "{shown}");
        assert!(shown.contains("--lib"), "{shown}");
    }
}
