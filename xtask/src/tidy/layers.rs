//! Dependencies between our crates point down only.

use std::path::Path;

use super::Finding;
use crate::workspace::{Dependency, Package, Workspace};

/// Each crate and what it may use of ours. A new edge is a design decision with its own commit.
///
/// Nothing uses `stiver-testkit` but tests and the simulated world; nothing uses the facade or the
/// binaries.
const LAYERS: &[(&str, &[&str])] = &[
    ("stiver-core", &[]),
    ("stiver-env", &["stiver-core"]),
    ("stiver-channel", &["stiver-core"]),
    ("stiver-method", &["stiver-core", "stiver-channel"]),
    ("stiver-wal", &["stiver-core", "stiver-env"]),
    (
        "stiver-ledger",
        &["stiver-core", "stiver-env", "stiver-channel", "stiver-wal"],
    ),
    (
        "stiver-store",
        &["stiver-core", "stiver-env", "stiver-channel", "stiver-wal"],
    ),
    (
        "stiver-method-ledger",
        &[
            "stiver-core",
            "stiver-env",
            "stiver-channel",
            "stiver-method",
            "stiver-ledger",
        ],
    ),
    (
        "stiver-server",
        &[
            "stiver-core",
            "stiver-env",
            "stiver-channel",
            "stiver-method",
            "stiver-store",
        ],
    ),
    (
        "stiver-client",
        &[
            "stiver-core",
            "stiver-env",
            "stiver-channel",
            "stiver-method",
            "stiver-wal",
        ],
    ),
    (
        "stiver-wallet",
        &[
            "stiver-core",
            "stiver-env",
            "stiver-channel",
            "stiver-method",
            "stiver-wal",
            "stiver-client",
        ],
    ),
    ("stiver-discovery", &["stiver-core"]),
    (
        "stiver-gateway",
        &[
            "stiver-core",
            "stiver-env",
            "stiver-channel",
            "stiver-method",
            "stiver-wal",
            "stiver-ledger",
            "stiver-store",
            "stiver-method-ledger",
            "stiver-server",
            "stiver-discovery",
        ],
    ),
    (
        "stiver-cli",
        &[
            "stiver-core",
            "stiver-env",
            "stiver-channel",
            "stiver-method",
            "stiver-wal",
            "stiver-ledger",
            "stiver-store",
            "stiver-method-ledger",
            "stiver-server",
            "stiver-client",
            "stiver-wallet",
            "stiver-gateway",
        ],
    ),
    ("stiver-conformance", &["stiver-core"]),
    (
        "stiver",
        &[
            "stiver-core",
            "stiver-env",
            "stiver-channel",
            "stiver-method",
            "stiver-store",
            "stiver-server",
            "stiver-client",
        ],
    ),
    (
        "stiver-testkit",
        &[
            "stiver-core",
            "stiver-env",
            "stiver-channel",
            "stiver-method",
            "stiver-wal",
            "stiver-ledger",
            "stiver-store",
        ],
    ),
    ("stiver-interop", &[]),
    (
        "stiver-sim",
        &[
            "stiver-core",
            "stiver-env",
            "stiver-method",
            "stiver-ledger",
            "stiver-store",
            "stiver-method-ledger",
            "stiver-client",
            "stiver-gateway",
            "stiver-testkit",
        ],
    ),
    ("xtask", &[]),
];

/// Checks every member.
pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let names: Vec<&str> = workspace
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let path = workspace.relative(&package.manifest);
        let ours = package
            .dependencies
            .iter()
            .filter(|used| names.contains(&used.name.as_str()));
        findings.extend(edges(path, package, ours));
    }
    findings
}

fn edges<'a>(
    path: &Path,
    package: &Package,
    ours: impl Iterator<Item = &'a Dependency>,
) -> Vec<Finding> {
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
        let message = format!("`{}` is on no layer: add it to {}", package.name, file!());
        return vec![Finding::file(path, message)];
    };
    ours.filter(|used| !used.only_for_tests && !allowed.contains(&used.name.as_str()))
        .map(|used| {
            let message = format!("`{}` may not use `{}`", package.name, used.name);
            Finding::file(path, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Package {
        Package {
            name: name.to_owned(),
            description: None,
            manifest: "Cargo.toml".into(),
            features: Vec::new(),
            targets: Vec::new(),
            dependencies: Vec::new(),
        }
    }

    fn messages(name: &str, used: &str, only_for_tests: bool) -> Vec<String> {
        let used = Dependency {
            name: used.to_owned(),
            only_for_tests,
        };
        let found = edges(Path::new("Cargo.toml"), &package(name), [&used].into_iter());
        found.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn table_is_in_layer_order() {
        for (position, (name, allowed)) in LAYERS.iter().enumerate() {
            for used in *allowed {
                let below = LAYERS.iter().take(position).any(|(lower, _)| lower == used);
                assert!(below, "{name} uses {used}, which is not below it");
            }
        }
    }

    #[test]
    fn use_of_a_lower_crate_is_fine() {
        assert_eq!(messages("stiver-wal", "stiver-env", false), [""; 0]);
    }

    #[test]
    fn use_of_a_higher_crate_is_found() {
        assert_eq!(
            messages("stiver-core", "stiver-env", false),
            ["`stiver-core` may not use `stiver-env`"]
        );
    }

    #[test]
    fn testkit_is_for_tests_only() {
        assert_eq!(messages("stiver-server", "stiver-testkit", true), [""; 0]);
        assert_eq!(messages("stiver-server", "stiver-testkit", false).len(), 1);
    }

    #[test]
    fn crate_without_a_layer_is_found() {
        let found = messages("stiver-new", "stiver-core", false);
        assert!(
            found[0].starts_with("`stiver-new` is on no layer"),
            "{found:?}"
        );
    }
}
