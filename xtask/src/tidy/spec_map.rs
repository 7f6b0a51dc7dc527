//! `docs/spec-map.md`: each row names a requirement, the code that meets it and the tests that
//! prove it, and all of them exist.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Finding, Tree};

/// The document.
const SPEC_MAP: &str = "docs/spec-map.md";

/// Checks every row.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let path = Path::new(SPEC_MAP);
    let Some(text) = tree.texts.get(path) else {
        return vec![Finding::file(path, "is missing")];
    };
    let functions = functions(tree);
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(id) = requirement(line) else {
            continue;
        };
        if !seen.insert(id.to_owned()) {
            findings.push(Finding::at(path, number, format!("`{id}` has two rows")));
        }
        for code in line.split('`').skip(1).step_by(2) {
            if let Some(problem) = problem(tree, &functions, code) {
                findings.push(Finding::at(path, number, problem));
            }
        }
    }
    findings
}

/// The id of a row such as `| CORE-12 | ...`.
fn requirement(line: &str) -> Option<&str> {
    let cell = line.strip_prefix('|')?.split('|').next()?.trim();
    let (letters, digits) = cell.split_once('-')?;
    let is_id = !letters.is_empty()
        && letters.chars().all(|c| c.is_ascii_uppercase())
        && digits.starts_with(|c: char| c.is_ascii_digit());
    is_id.then_some(cell)
}

/// What is wrong with a code span: a path to no file, or the name of no test.
fn problem(tree: &Tree, functions: &BTreeSet<&str>, code: &str) -> Option<String> {
    if code.ends_with(".rs") || code.ends_with(".md") {
        let exists = tree.has(Path::new(code)) || tree.has(&PathBuf::from("crates").join(code));
        return (!exists).then(|| format!("there is no file `{code}`"));
    }
    let name = code.rsplit("::").next().unwrap_or(code);
    let is_test = name.matches('_').count() > 1
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    (is_test && !functions.contains(name)).then(|| format!("there is no test `{name}`"))
}

/// The names of all functions.
fn functions(tree: &Tree) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for (_, text) in tree.with_extension("rs") {
        for rest in text.split("fn ").skip(1) {
            names.extend(
                rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next(),
            );
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(map: &str) -> Vec<String> {
        let code = "#[test]\nfn used_id_is_refused() {}\n";
        let tree = Tree::of(&[(SPEC_MAP, map), ("crates/core/src/name.rs", code)]);
        check(&tree)
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn rows_that_name_what_exists_are_fine() {
        let map = "| id | file | test |\n|---|---|---|\n\
                   | CORE-1 | `crates/core/src/name.rs` | `name::used_id_is_refused` |\n\
                   | CORE-2 | `core/src/name.rs` | `Name` |\n";
        assert_eq!(messages(map), [""; 0]);
    }

    #[test]
    fn missing_file_and_missing_test_are_found() {
        let map = "| CORE-1 | `core/src/none.rs` | `used_id_is_accepted` |\n";
        assert_eq!(
            messages(map),
            [
                "there is no file `core/src/none.rs`",
                "there is no test `used_id_is_accepted`"
            ]
        );
    }

    #[test]
    fn requirement_with_two_rows_is_found() {
        assert_eq!(
            messages("| CORE-1 | |\n| CORE-1 | |\n"),
            ["`CORE-1` has two rows"]
        );
    }

    #[test]
    fn missing_map_is_found() {
        assert_eq!(check(&Tree::of(&[]))[0].message, "is missing");
    }
}
