//! Manifests and crate roots.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Finding, Tree};
use crate::workspace::{Package, Workspace};

/// Fields of `[package]` that every member takes from the workspace.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// Most features of one crate, `default` not counted.
const FEATURES_MAX: usize = 3;

/// Crates that must build without `std`.
const WITHOUT_STD: &[&str] = &["stiver-core"];

/// The only place dependencies come from, as `Cargo.lock` writes it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks all manifests, crate roots and lock files.
pub(super) fn check(workspace: &Workspace, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for package in &workspace.packages {
        let path = workspace.relative(&package.manifest);
        findings.extend(described(path, package));
        if let Some(text) = tree.texts.get(path) {
            findings.extend(manifest(path, text));
            used.extend(dependencies(text).map(|(_, name, _)| name.to_owned()));
        }
        for target in &package.targets {
            let root = workspace.relative(&target.source);
            if let Some(text) = tree.texts.get(root)
                && matches!(target.kind.as_str(), "lib" | "bin")
            {
                findings.extend(crate_root(root, text, &package.name));
            }
        }
    }
    findings.extend(strangers(workspace, tree));
    if let Some(text) = tree.texts.get(Path::new("Cargo.toml")) {
        findings.extend(unused(text, &used));
    }
    for (path, text) in tree.with_extension("lock") {
        findings.extend(lock(path, text));
    }
    findings
}

/// Each has a description and few features.
fn described(path: &Path, package: &Package) -> Option<Finding> {
    if package
        .description
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        return Some(Finding::file(path, "has no description"));
    }
    let features = package
        .features
        .iter()
        .filter(|feature| *feature != "default")
        .count();
    (features > FEATURES_MAX).then(|| {
        Finding::file(
            path,
            format!("{features} features; the most is {FEATURES_MAX}"),
        )
    })
}

/// Fields, lints and versions come from the workspace.
fn manifest(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for field in INHERITED {
        if !text.contains(&format!("\n{field}.workspace = true")) {
            findings.push(Finding::file(
                path,
                format!("`{field}` must come from the workspace"),
            ));
        }
    }
    if !text.contains("[lints]\nworkspace = true") {
        findings.push(Finding::file(
            path,
            "the lints must come from the workspace",
        ));
    }
    for (line, name, rest) in dependencies(text) {
        if !rest.contains("workspace = true") {
            let message = format!("`{name}` must come from [workspace.dependencies]");
            findings.push(Finding::at(path, line, message));
        }
    }
    findings
}

/// The dependencies a manifest declares: line, name, and what follows the name.
fn dependencies(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let mut section = "";
    (1..).zip(text.lines()).filter_map(move |(number, line)| {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        }
        let (name, rest) = line.split_at(line.find(['.', ' ', '='])?);
        // A heading may hold an equals sign too: [target.'cfg(target_os = "macos")'.dependencies].
        let is_entry = section.ends_with("dependencies") && line.contains('=');
        let is_entry = is_entry && !line.starts_with('[');
        (is_entry && !name.starts_with('#') && !name.is_empty()).then_some((number, name, rest))
    })
}

/// What the workspace offers and no member takes.
fn unused(root: &str, used: &BTreeSet<String>) -> Vec<Finding> {
    dependencies(root)
        .filter(|(_, name, _)| !used.contains(*name))
        .map(|(line, name, _)| {
            Finding::at(
                Path::new("Cargo.toml"),
                line,
                format!("no crate uses `{name}`"),
            )
        })
        .collect()
}

/// Attributes without which a crate does not keep its promises.
fn crate_root(path: &Path, text: &str, package: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.contains("#![forbid(unsafe_code)]") {
        findings.push(Finding::file(path, "must say #![forbid(unsafe_code)]"));
    }
    if WITHOUT_STD.contains(&package) && !text.contains("#![no_std]") {
        findings.push(Finding::file(path, "must say #![no_std]"));
    }
    if !text.starts_with("//! ") && !text.starts_with("#![doc = include_str!") {
        findings.push(Finding::file(path, "must start with what the crate is for"));
    }
    findings
}

/// Folders among the crates that are no member.
fn strangers(workspace: &Workspace, tree: &Tree) -> Vec<Finding> {
    let members: BTreeSet<&Path> = workspace
        .packages
        .iter()
        .map(|package| workspace.relative(package.folder()))
        .collect();
    let folders: BTreeSet<PathBuf> = tree
        .paths
        .iter()
        .filter(|path| path.starts_with("crates") || path.starts_with("methods"))
        .map(|path| path.components().take(2).collect())
        .collect();
    folders
        .iter()
        .filter(|folder| !members.contains(folder.as_path()))
        .map(|folder| Finding::file(folder, "is no member of the workspace"))
        .collect()
}

/// Everything comes from the one registry, under its public name.
fn lock(path: &Path, text: &str) -> Vec<Finding> {
    (1..)
        .zip(text.lines())
        .filter_map(|(number, line)| Some((number, line.strip_prefix("source = ")?)))
        .filter(|(_, source)| source.trim_matches('"') != REGISTRY)
        .map(|(number, source)| Finding::at(path, number, format!("unknown source {source}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\nname = \"a\"\nversion.workspace = true\n\
        edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
        publish.workspace = true\n\n[lints]\nworkspace = true\n\n";

    fn messages(findings: Vec<Finding>) -> Vec<String> {
        findings
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    fn checked(rest: &str) -> Vec<String> {
        messages(manifest(
            Path::new("Cargo.toml"),
            &format!("{MANIFEST}{rest}"),
        ))
    }

    #[test]
    fn manifest_that_inherits_everything_is_fine() {
        let rest = "[dependencies]\n# Why.\nserde.workspace = true\n\
                    tokio = { workspace = true, features = [\"rt\"] }\n";
        assert_eq!(checked(rest), [""; 0]);
    }

    #[test]
    fn dependency_with_a_version_of_its_own_is_found() {
        let message = ["`serde` must come from [workspace.dependencies]"];
        assert_eq!(checked("[dev-dependencies]\nserde = \"1\"\n"), message);
    }

    #[test]
    fn field_that_is_not_inherited_is_found() {
        let text = MANIFEST.replace("edition.workspace = true", "edition = \"2021\"");
        let found = messages(manifest(Path::new("Cargo.toml"), &text));
        assert_eq!(found, ["`edition` must come from the workspace"]);
    }

    #[test]
    fn dependency_of_the_workspace_that_no_crate_takes_is_found() {
        let root = "[workspace.dependencies]\nserde = \"1\"\nurl = \"2\"\n\n[profile.dev]\na = 1\n";
        let found = unused(root, &BTreeSet::from(["serde".to_owned()]));
        assert_eq!(messages(found), ["no crate uses `url`"]);
    }

    #[test]
    fn crate_root_without_its_promises_is_found() {
        let path = Path::new("src/lib.rs");
        let found = messages(crate_root(path, "mod a;\n", "stiver-core"));
        assert_eq!(found.len(), 3, "{found:?}");
        let fine = "//! What it is for.\n#![no_std]\n#![forbid(unsafe_code)]\n";
        assert_eq!(messages(crate_root(path, fine, "stiver-core")), [""; 0]);
    }

    #[test]
    fn source_that_is_not_the_registry_is_found() {
        let text = format!("source = \"{REGISTRY}\"\nsource = \"git+https://example.com/a\"\n");
        let found = lock(Path::new("Cargo.lock"), &text);
        assert_eq!(
            messages(found),
            ["unknown source \"git+https://example.com/a\""]
        );
    }
}
