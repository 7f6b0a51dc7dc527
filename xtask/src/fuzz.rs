//! `cargo xtask fuzz`: builds the targets of `fuzz/` with coverage and runs them under libFuzzer.
//!
//! The instrumentation is a pass of LLVM that every toolchain has, so neither a nightly compiler
//! nor `cargo fuzz` is needed; the address sanitizer, which does need one, has little to find in
//! code without `unsafe`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{run, workspace::Workspace};

/// Longest input, bytes: above the largest limit of a parser, so that the limits are met too.
const INPUT_BYTES_MAX: u64 = 80 * 1024;

/// Longest time for one input, seconds. Every parser is linear.
const INPUT_SECONDS_MAX: u64 = 10;

/// Most memory of one target, MiB.
const MEMORY_MIB_MAX: u64 = 2048;

/// Coverage counters, a table of program counters, and the operands of comparisons: what
/// libFuzzer learns from.
const INSTRUMENTATION: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What to fuzz.
pub(crate) struct Plan {
    /// One target, or all of them.
    pub(crate) target: Option<String>,
    /// One file to run the target on, instead of a search.
    pub(crate) input: Option<PathBuf>,
    /// Seconds for each.
    pub(crate) seconds: u64,
    /// How many at a time.
    pub(crate) jobs: usize,
}

/// Builds and runs.
pub(crate) fn run(workspace: &Workspace, plan: &Plan) -> Result<()> {
    ensure!(
        plan.seconds > 0 && plan.jobs > 0,
        "--seconds and --jobs start at 1"
    );
    let known = targets(&workspace.root.join("fuzz/src/bin"))?;
    let chosen = match &plan.target {
        None => known,
        Some(name) if known.contains(name) => vec![name.clone()],
        Some(name) => bail!("no fuzz target `{name}`; there are: {}", known.join(", ")),
    };
    let programs = build(workspace, plan.target.as_deref())?;
    if let (Some(target), Some(input)) = (&plan.target, &plan.input) {
        return run::succeed(Command::new(programs.join(target)).arg(input));
    }
    let mut failed = Vec::new();
    for batch in chosen.chunks(plan.jobs) {
        let started: Vec<Running> = batch
            .iter()
            .map(|target| Running::start(workspace, &programs, target, plan.seconds))
            .collect::<Result<_>>()?;
        for running in started {
            let target = running.target.clone();
            if let Err(error) = running.finish() {
                println!("{error:#}");
                failed.push(target);
            }
        }
    }
    ensure!(
        failed.is_empty(),
        "these targets found something: {}",
        failed.join(", ")
    );
    Ok(())
}

/// The names of the targets, sorted.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    Ok(names)
}

/// Builds one target or all and returns the folder of the programs.
fn build(workspace: &Workspace, target: Option<&str>) -> Result<PathBuf> {
    let host = host(&run::output(Command::new("rustc").arg("-vV"))?)?;
    run::output(Command::new("c++").arg("--version"))
        .context("libFuzzer is C++: install a C++ compiler, such as the package g++")?;
    let folder = workspace.target.join("fuzz");
    let mut command = workspace.cargo();
    command.current_dir(workspace.root.join("fuzz"));
    // With a named target, the flags leave build scripts and procedural macros alone.
    command.args(["build", "--release", "--target", &host, "--target-dir"]);
    command.arg(&folder);
    match target {
        Some(target) => command.args(["--bin", target]),
        None => command.arg("--bins"),
    };
    command.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"));
    run::succeed(&mut command)?;
    Ok(folder.join(host).join("release"))
}

/// The host triple, from what `rustc -vV` prints.
fn host(version: &str) -> Result<String> {
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// A target at work, its output in a file.
struct Running {
    target: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(workspace: &Workspace, programs: &Path, target: &str, seconds: u64) -> Result<Self> {
        let fuzz = workspace.root.join("fuzz");
        let corpus = fuzz.join("corpus").join(target);
        let artifacts = fuzz.join("artifacts").join(target);
        let logs = workspace.target.join("fuzz/logs");
        for folder in [&corpus, &artifacts, &logs] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let log = logs.join(format!("{target}.log"));
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let mut command = Command::new(programs.join(target));
        command.current_dir(&fuzz).arg(&corpus);
        command.arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-max_len={INPUT_BYTES_MAX}"));
        command.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
        command.arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        command
            .stdout(file.try_clone().context("sharing the log")?)
            .stderr(file);
        let child = command
            .spawn()
            .with_context(|| format!("starting fuzz target {target}"))?;
        Ok(Self {
            target: target.to_owned(),
            child,
            log,
        })
    }

    fn finish(mut self) -> Result<()> {
        let status = self.child.wait().context("waiting for a fuzz target")?;
        let log = fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        let log = String::from_utf8_lossy(&log);
        if !status.success() {
            // Lines that start with a number sign tell how the search went, not what it found.
            let found: Vec<&str> = log.lines().filter(|line| !line.starts_with('#')).collect();
            let found = found.join("\n");
            bail!("{found}\nfuzz target `{}` ended with {status}", self.target);
        }
        let runs = log.lines().rev().find(|line| line.starts_with("Done "));
        println!("{:>16}  {}", self.target, runs.unwrap_or("ran"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_read_from_the_verbose_version() {
        let text = "rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        assert_eq!(host(text).unwrap(), "x86_64-unknown-linux-gnu");
        assert!(host("rustc 1.95.0\n").is_err());
    }

    #[test]
    fn every_fuzz_target_has_a_seed() {
        let workspace = Workspace::load().unwrap();
        let fuzz = workspace.root.join("fuzz");
        for target in targets(&fuzz.join("src/bin")).unwrap() {
            let folder = fuzz.join("corpus").join(&target);
            let seeds = fs::read_dir(&folder).map_or(0, |entries| {
                entries
                    .filter(|entry| {
                        let name = entry.as_ref().map(fs::DirEntry::file_name);
                        name.is_ok_and(|name| name.to_string_lossy().starts_with("seed-"))
                    })
                    .count()
            });
            assert!(seeds > 0, "{} holds no seed-* file", folder.display());
        }
    }
}
