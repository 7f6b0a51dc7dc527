//! Other implementations that the interoperability tests run against: `interop/`, installed at
//! exactly the versions its lock files name, once for each lock file.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{run, tools, workspace::Workspace};

/// Written last: a folder without it is not whole.
const MARK: &str = "installed";

/// Where the installed peers are.
pub(crate) struct Peers {
    /// Holds mppx's `node_modules`.
    modules: PathBuf,
    /// A Python that has pympp.
    python: PathBuf,
    /// The program over the mpp crate.
    program: PathBuf,
}

impl Peers {
    /// Tells a test run where they are.
    pub(crate) fn name_to(&self, command: &mut Command) {
        command.env("STIVER_PEER_MPPX", &self.modules);
        command.env("STIVER_PEER_PYMPP", &self.python);
        command.env("STIVER_PEER_MPP", &self.program);
    }
}

/// Installs what is missing: nothing, the second time.
pub(crate) fn install(workspace: &Workspace) -> Result<Peers> {
    let sources = workspace.root.join("interop");
    let peers = Peers {
        modules: mppx(workspace, &sources.join("js"))?,
        python: pympp(workspace, &sources.join("py"))?,
        program: mpp(workspace, &sources.join("mpp"))?,
    };
    for path in [&peers.modules, &peers.python, &peers.program] {
        println!("{}", path.display());
    }
    Ok(peers)
}

/// Runs the interoperability tests by themselves; with `write`, what they find becomes the
/// document.
pub(crate) fn interop(workspace: &Workspace, write: bool) -> Result<()> {
    let peers = install(workspace)?;
    run::succeed(workspace.cargo().args(["build", "--package", "stiver-cli"]))?;
    let mut test = workspace.cargo();
    test.args(["test", "--package", "stiver-interop"]);
    peers.name_to(&mut test);
    if write {
        test.env("STIVER_INTEROP_WRITE", "1");
    }
    run::succeed(&mut test)
}

/// Installs mppx alone.
pub(crate) fn install_mppx(workspace: &Workspace) -> Result<PathBuf> {
    mppx(workspace, &workspace.root.join("interop/js"))
}

fn mppx(workspace: &Workspace, source: &Path) -> Result<PathBuf> {
    let lock = source.join("package-lock.json");
    once(workspace, "mppx", &lock, |folder| {
        for name in ["package.json", "package-lock.json"] {
            fs::copy(source.join(name), folder.join(name))?;
        }
        let mut npm = Command::new("npm");
        npm.current_dir(folder);
        npm.args(["ci", "--legacy-peer-deps", "--ignore-scripts"]);
        run::succeed(npm.args(["--no-audit", "--no-fund", "--loglevel", "error"]))
    })
}

fn pympp(workspace: &Workspace, source: &Path) -> Result<PathBuf> {
    let lock = source.join("requirements.txt");
    let folder = once(workspace, "pympp", &lock, |folder| {
        run::succeed(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ]);
        pip.args(["--disable-pip-version-check", "--requirement"]);
        run::succeed(pip.arg(&lock))
    })?;
    Ok(folder.join("bin/python"))
}

/// Cargo knows by itself what is fresh.
fn mpp(workspace: &Workspace, source: &Path) -> Result<PathBuf> {
    let target = folder_of(workspace, "mpp", &source.join("Cargo.lock"))?;
    let mut build = workspace.cargo();
    build.current_dir(source);
    build.args(["build", "--locked", "--quiet", "--target-dir"]);
    run::succeed(build.arg(&target))?;
    Ok(target.join("debug/stiver-interop-mpp"))
}

/// The folder for one lock file, made by `make` when it is not there yet.
fn once(
    workspace: &Workspace,
    name: &str,
    lock: &Path,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = folder_of(workspace, name, lock)?;
    if folder.join(MARK).exists() {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    make(&folder).with_context(|| format!("installing {name}"))?;
    fs::write(folder.join(MARK), "")?;
    Ok(folder)
}

/// Named after the content of the lock file.
fn folder_of(workspace: &Workspace, name: &str, lock: &Path) -> Result<PathBuf> {
    let text = fs::read(lock).with_context(|| format!("reading {}", lock.display()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let folder = format!("{name}-{:016x}", hasher.finish());
    Ok(tools::folder(workspace).join("peers").join(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_follows_the_content_of_the_lock_file() {
        let workspace = Workspace::load().unwrap();
        let root = workspace.root.clone();
        let lock = root.join("interop/js/package-lock.json");
        let folder = folder_of(&workspace, "mppx", &lock).unwrap();
        assert_eq!(folder, folder_of(&workspace, "mppx", &lock).unwrap());
        let other = root.join("interop/py/requirements.txt");
        assert_ne!(folder, folder_of(&workspace, "mppx", &other).unwrap());
        assert!(folder_of(&workspace, "mppx", &root.join("no-such-file")).is_err());
    }
}
