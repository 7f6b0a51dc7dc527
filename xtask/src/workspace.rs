//! What cargo knows of the workspace.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::run;

/// The workspace, as `cargo metadata` describes it.
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// The members, in cargo's order.
    pub(crate) packages: Vec<Package>,
}

/// One member.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) manifest: PathBuf,
    /// Every feature, `default` among them.
    pub(crate) features: Vec<String>,
    pub(crate) targets: Vec<Target>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// Something cargo builds from a member.
pub(crate) struct Target {
    pub(crate) name: String,
    /// `lib`, `bin`, `test`, `bench`, `example`, ...
    pub(crate) kind: String,
    pub(crate) source: PathBuf,
}

/// A dependency of a member.
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// True for dev-dependencies.
    pub(crate) only_for_tests: bool,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--no-deps", "--format-version=1"]);
        let text = run::output(&mut command)?;
        Self::parse(&text).context("reading the answer of `cargo metadata`")
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let packages = array(&value, "packages")?
            .iter()
            .map(package)
            .collect::<Result<_>>()?;
        Ok(Self {
            root: string(&value, "workspace_root")?.into(),
            target: string(&value, "target_directory")?.into(),
            packages,
        })
    }

    /// Cargo, started in the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root);
        command
    }

    /// A path below the root, relative to it.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

impl Package {
    /// The folder of the manifest.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(&self.manifest)
    }
}

/// The cargo that runs us, or the one on the path.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn package(value: &Value) -> Result<Package> {
    let features = value["features"]
        .as_object()
        .context("`features` is no object")?;
    Ok(Package {
        name: string(value, "name")?,
        description: value["description"].as_str().map(str::to_owned),
        manifest: string(value, "manifest_path")?.into(),
        features: features.keys().cloned().collect(),
        targets: array(value, "targets")?
            .iter()
            .map(target)
            .collect::<Result<_>>()?,
        dependencies: array(value, "dependencies")?
            .iter()
            .map(dependency)
            .collect::<Result<_>>()?,
    })
}

fn target(value: &Value) -> Result<Target> {
    let kind = array(value, "kind")?
        .first()
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(Target {
        name: string(value, "name")?,
        kind: kind.to_owned(),
        source: string(value, "src_path")?.into(),
    })
}

fn dependency(value: &Value) -> Result<Dependency> {
    Ok(Dependency {
        name: string(value, "name")?,
        only_for_tests: value["kind"] == "dev",
    })
}

fn string(value: &Value, key: &str) -> Result<String> {
    Ok(value[key]
        .as_str()
        .with_context(|| format!("`{key}` is no string"))?
        .to_owned())
}

fn array<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key]
        .as_array()
        .with_context(|| format!("`{key}` is no array"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_this_workspace_names_this_package() {
        let workspace = Workspace::load().unwrap();
        let xtask = workspace
            .packages
            .iter()
            .find(|p| p.name == "xtask")
            .unwrap();
        assert_eq!(workspace.relative(xtask.folder()), Path::new("xtask"));
        assert!(
            xtask
                .targets
                .iter()
                .any(|t| t.kind == "bin" && t.source.ends_with("main.rs"))
        );
        assert!(
            xtask
                .dependencies
                .iter()
                .any(|d| d.name == "anyhow" && !d.only_for_tests)
        );
    }

    #[test]
    fn answer_without_packages_is_refused_by_name() {
        let error = Workspace::parse("{}").err().unwrap();
        assert_eq!(error.to_string(), "`packages` is no array");
    }
}
