//! `cargo xtask check`: everything that can be said about the code without running it.

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    bench, proof,
    run::{self, Steps},
    tidy, tools,
    workspace::Workspace,
};

/// One check.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// `cargo fmt`, on every workspace of the repository.
    Fmt,
    /// The house rules.
    Tidy,
    /// Clippy on everything, warnings denied.
    Clippy,
    /// Each feature of each crate builds alone.
    Features,
    /// The documentation, broken links denied.
    Doc,
    /// Licences, sources and duplicate versions of the dependencies.
    Deny,
    /// The core as a static library with its own panic handler.
    NoStd,
}

/// Runs the chosen steps, or all of them.
pub(crate) fn run(workspace: &Workspace, chosen: &[Step]) -> Result<()> {
    let mut steps = Steps::default();
    let mut step = |step: Step, name: &str, check: &dyn Fn() -> Result<()>| {
        if chosen.is_empty() || chosen.contains(&step) {
            steps.step(name, check);
        }
    };
    step(Step::Fmt, "fmt", &|| fmt(workspace));
    step(Step::Tidy, "tidy", &|| tidy::run(workspace));
    step(Step::Clippy, "clippy", &|| clippy(workspace));
    step(Step::Features, "features", &|| features(workspace));
    step(Step::Doc, "doc", &|| doc(workspace));
    step(Step::Deny, "deny", &|| deny(workspace));
    step(Step::NoStd, "no_std", &|| proof::no_std(workspace));
    steps.finish()
}

fn fmt(workspace: &Workspace) -> Result<()> {
    run::succeed(
        workspace
            .cargo()
            .args(["fmt", "--all", "--check", "--", "-l"]),
    )?;
    for manifest in [
        bench::MANIFEST,
        bench::MPP_MANIFEST,
        "fuzz/Cargo.toml",
        "interop/mpp/Cargo.toml",
        "proofs/no-std/Cargo.toml",
    ] {
        if workspace.root.join(manifest).exists() {
            let mut command = workspace.cargo();
            run::succeed(command.args([
                "fmt",
                "--manifest-path",
                manifest,
                "--check",
                "--",
                "-l",
            ]))?;
        }
    }
    Ok(())
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--locked",
    ]);
    command.args(["--keep-going", "--", "-D", "warnings"]);
    run::succeed(&mut command)
}

/// A feature that only builds beside another one, code that only one feature uses, a crate that
/// only builds with a feature on: each shows when each feature is built alone.
fn features(workspace: &Workspace) -> Result<()> {
    for package in workspace
        .packages
        .iter()
        .filter(|package| !package.features.is_empty())
    {
        let alone = package.features.iter().map(Some);
        for feature in std::iter::once(None).chain(alone) {
            let mut command = workspace.cargo();
            command.args([
                "clippy",
                "--quiet",
                "--locked",
                "--no-deps",
                "--no-default-features",
            ]);
            command.args(["--package", &package.name]);
            if let Some(feature) = feature {
                command.args(["--features", feature]);
            }
            run::succeed(command.args(["--", "-D", "warnings"]))?;
        }
    }
    Ok(())
}

fn doc(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command.args([
        "doc",
        "--workspace",
        "--all-features",
        "--no-deps",
        "--locked",
        "--keep-going",
    ]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    run::succeed(&mut command)
}

/// Not `advisories`: that check downloads a database that cannot be had everywhere.
fn deny(workspace: &Workspace) -> Result<()> {
    let mut command = std::process::Command::new(tools::cargo_deny(workspace)?);
    command.current_dir(&workspace.root);
    command.args(["--all-features", "--workspace", "--locked", "check"]);
    run::succeed(command.args(["bans", "licenses", "sources"]))
}
