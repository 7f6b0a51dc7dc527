//! Tools that the checks need and the toolchain lacks. Each has one exact version and its own
//! folder, so that nothing of the machine's own is replaced.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};

use crate::{run, workspace::Workspace};

/// The version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Names the folder that keeps the tools; `tools` in the target folder when it is not set.
const TOOLS_VARIABLE: &str = "STIVER_TOOLS";

/// The path of cargo-deny, which is built on first use.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    installed(workspace, "cargo-deny", CARGO_DENY_VERSION)
}

fn installed(workspace: &Workspace, name: &str, version: &str) -> Result<PathBuf> {
    let root = folder(workspace).join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if program.exists() {
        return Ok(program);
    }
    let mut command = workspace.cargo();
    command.args([
        "install",
        name,
        "--locked",
        "--version",
        &format!("={version}"),
    ]);
    command
        .arg("--root")
        .arg(&root)
        .arg("--target-dir")
        .arg(root.join("build"));
    // A minute instead of ten: the tool runs for a second and need not be fast.
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256");
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    run::succeed(&mut command)?;
    std::fs::remove_dir_all(root.join("build"))?;
    ensure!(
        program.exists(),
        "cargo installed {name} {version}, but not as {}",
        program.display()
    );
    Ok(program)
}

/// The folder of tools, which outlives a clone where the variable names one.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    let chosen = env::var_os(TOOLS_VARIABLE).filter(|value| !value.is_empty());
    chosen.map_or_else(
        || workspace.target.join("tools"),
        |path| absolute(workspace, path.as_ref()),
    )
}

fn absolute(workspace: &Workspace, path: &Path) -> PathBuf {
    workspace.root.join(path)
}
