//! `cargo xtask sim`: builds the simulated world for speed, and runs seeds.

use std::ffi::OsString;

use anyhow::Result;

use crate::{run, workspace::Workspace};

/// Runs seeds until one finds a fault.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let mut command = workspace.cargo();
    command.args([
        "run",
        "--release",
        "--locked",
        "--package",
        "stiver-sim",
        "--",
    ]);
    run::succeed(command.args(arguments))
}
