//! `cargo xtask bench`: builds the command and the measurement for release, and measures.
//!
//! What measures is a workspace of its own, `bench/`: a database client and a rival SDK are
//! nobody else's dependencies. The session servers of the reference SDKs are programs beside it, in
//! `bench/peers/`.

use std::{ffi::OsString, path::PathBuf, process::Command};

use anyhow::Result;

use crate::{peers, run, workspace::Workspace};

/// The manifest of the measurement.
pub(crate) const MANIFEST: &str = "bench/Cargo.toml";

/// The program over the session server of the mpp crate.
pub(crate) const MPP_MANIFEST: &str = "bench/peers/mpp/Cargo.toml";

/// The document whose table `--write` makes anew.
const DOCUMENT: &str = "docs/benchmarks.md";

/// What to measure, and where to put it.
pub(crate) struct Plan {
    /// Only rows whose name begins so; all when there is none.
    pub(crate) rows: Vec<OsString>,
    /// Where to write the report as JSON.
    pub(crate) json: Option<PathBuf>,
    /// Whether to put the table into the documentation.
    pub(crate) write: bool,
    /// Whether to name the rows only.
    pub(crate) list: bool,
}

impl Plan {
    /// Whether the session servers of others are measured: they take minutes to build.
    fn wants_peers(&self) -> bool {
        let wanted = |row: &OsString| {
            let row = row.to_string_lossy();
            PEERS.starts_with(&*row) || row.starts_with(PEERS)
        };
        self.rows.is_empty() || self.rows.iter().any(wanted)
    }
}

/// How the rows begin that need them.
const PEERS: &str = "session-peer";

/// Builds both for release and measures. Fails when a goal is missed.
pub(crate) fn run(workspace: &Workspace, plan: &Plan) -> Result<()> {
    if !plan.list {
        let mut command = workspace.cargo();
        command.args(["build", "--release", "--locked", "--bin", "stiver"]);
        run::succeed(&mut command)?;
    }
    let mut build = cargo(workspace, "build");
    run::succeed(build.arg("--release"))?;
    let release = workspace.target.join("release");
    let mut measure = Command::new(release.join("stiver-bench"));
    measure.arg("--stiver").arg(release.join("stiver"));
    if plan.list {
        measure.arg("--list");
    } else if plan.wants_peers() {
        let mut build = cargo_on(workspace, MPP_MANIFEST, "build");
        run::succeed(build.arg("--release"))?;
        measure.arg("--mpp").arg(release.join("stiver-bench-mpp"));
        measure.arg("--mppx").arg(peers::install_mppx(workspace)?);
    }
    if let Some(json) = &plan.json {
        measure.arg("--json").arg(json);
    }
    if plan.write {
        measure.arg("--document").arg(workspace.root.join(DOCUMENT));
    }
    run::succeed(measure.args(&plan.rows))
}

/// The tests of the measurement: that the goals are what they should be, that each has a row, and
/// that the rows inside its process measure something.
pub(crate) fn test(workspace: &Workspace) -> Command {
    cargo(workspace, "test")
}

/// A cargo command on the measurement, built where everything is.
fn cargo(workspace: &Workspace, command: &str) -> Command {
    cargo_on(workspace, MANIFEST, command)
}

fn cargo_on(workspace: &Workspace, manifest: &str, command: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args([command, "--locked", "--manifest-path", manifest]);
    cargo.arg("--target-dir").arg(&workspace.target);
    cargo
}
