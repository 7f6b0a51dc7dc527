//! Documents: every one is linked from somewhere, every link leads somewhere, decisions are
//! numbered once each.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::{Finding, Tree};

/// Where a reader, or the place that shows the repository, looks without a link.
const FRONT_DOORS: &[&str] = &["README.md", "CHANGELOG.md"];

/// What a note in `changes/` may start with, before a colon.
const CHANGE_KINDS: &[&str] = &[
    "Added",
    "Changed",
    "Fixed",
    "Removed",
    "Security",
    "Stored format",
];

/// Checks all documents.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut reached = BTreeSet::new();
    for (path, text) in tree.with_extension("md") {
        for (line, target) in links(text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let aim = if file.is_empty() {
                path.to_owned()
            } else {
                resolve(path, file)
            };
            if !tree.has(&aim) {
                let message = format!("the link to `{target}` leads nowhere");
                findings.push(Finding::at(path, line, message));
                continue;
            }
            let page = tree
                .texts
                .get(&aim)
                .filter(|_| aim.extension().is_some_and(|e| e == "md"));
            if let Some(page) = page
                && !anchor.is_empty()
                && !anchors(page).contains(anchor)
            {
                let message = format!("`{}` has no heading for `#{anchor}`", aim.display());
                findings.push(Finding::at(path, line, message));
            }
            if aim != path {
                reached.insert(aim);
            }
        }
    }
    for (path, _) in tree.with_extension("md") {
        let is_front = FRONT_DOORS.iter().any(|door| path == Path::new(door));
        let is_fragment = path.starts_with("changes");
        let folder = path.parent().unwrap_or(path);
        let is_linked =
            reached.iter().any(|aim| path == aim || folder == aim) || is_included(tree, path);
        if !is_front && !is_fragment && !is_linked {
            findings.push(Finding::file(path, "nothing links to this document"));
        }
    }
    findings.extend(decisions(tree));
    findings.extend(changes(tree));
    findings
}

/// The targets of inline links and link definitions that point into the repository, with their
/// lines. Code blocks and code spans hold none.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code_block = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code_block = !in_code_block;
        }
        if in_code_block {
            continue;
        }
        // Every second piece lies between backticks.
        for outside in line.split('`').step_by(2) {
            for rest in outside.split("](").skip(1) {
                found.extend(rest.split_once(')').map(|(target, _)| (number, target)));
            }
        }
        // A link around a code span: [`word`](target).
        for rest in line.split("`](").skip(1) {
            found.extend(rest.split_once(')').map(|(target, _)| (number, target)));
        }
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]: ")
        {
            found.push((number, target.trim()));
        }
    }
    found.retain(|(_, target)| !target.contains("://") && !target.starts_with("mailto:"));
    found.dedup();
    found
}

/// A link's target as a path from the root.
fn resolve(from: &Path, target: &str) -> PathBuf {
    let mut path = PathBuf::new();
    let folder = from.parent().unwrap_or(Path::new(""));
    for part in folder.join(target.trim_end_matches('/')).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(part) => path.push(part),
            _ => {}
        }
    }
    path
}

/// The anchors of a page's headings, as the usual renderers name them.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// True when Rust code includes the document into its own documentation.
fn is_included(tree: &Tree, path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    tree.with_extension("rs").any(|(_, text)| {
        text.lines()
            .any(|l| l.contains("include_str!") && l.contains(name))
    })
}

/// Decisions are `NNNN-title.md`, each with a number of its own.
fn decisions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, _) in tree.with_extension("md") {
        if path.parent() != Some(Path::new("docs/decisions")) || path.ends_with("README.md") {
            continue;
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let number = name.split_once('-').map_or("", |(number, _)| number);
        if number.len() != 4 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            findings.push(Finding::file(path, "must be named NNNN-title.md"));
        } else if !seen.insert(number) {
            findings.push(Finding::file(
                path,
                format!("another decision is numbered {number}"),
            ));
        }
    }
    findings
}

/// Each note on a change says in its first word what kind of change it is.
fn changes(tree: &Tree) -> Vec<Finding> {
    tree.with_extension("md")
        .filter(|(path, _)| path.starts_with("changes") && !path.ends_with("README.md"))
        .filter(|(_, text)| {
            let kind = text.split_once(": ").map_or("", |(kind, _)| kind);
            !CHANGE_KINDS.contains(&kind)
        })
        .map(|(path, _)| {
            let message = format!("must start with one of: {}", CHANGE_KINDS.join(", "));
            Finding::file(path, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn linked_documents_with_live_links_are_fine() {
        let files = [
            (
                "README.md",
                "[a](docs/a.md#the-second-part)\n[`b`](docs/b.md)\n",
            ),
            (
                "docs/a.md",
                "# A\n## The second part\nBack to [the start](../README.md).\n",
            ),
            (
                "docs/b.md",
                "See [c] and <https://example.com>.\n\n[c]: c.md\n",
            ),
            (
                "docs/c.md",
                "`[no link](nowhere.md)`\n```\n[none](nowhere.md)\n```\n",
            ),
        ];
        assert_eq!(messages(&files), [""; 0]);
    }

    #[test]
    fn document_that_nothing_links_to_is_found() {
        let files = [("README.md", ""), ("docs/a.md", "[itself](a.md)\n")];
        assert_eq!(
            messages(&files),
            ["docs/a.md: nothing links to this document"]
        );
    }

    #[test]
    fn link_to_a_folder_reaches_the_documents_in_it() {
        let files = [
            ("README.md", "[All](docs/), [decisions](docs/decisions/)\n"),
            ("docs/a.md", ""),
            ("docs/decisions/0001-a.md", ""),
            ("docs/spec/b.md", ""),
        ];
        assert_eq!(
            messages(&files),
            ["docs/spec/b.md: nothing links to this document"]
        );
    }

    #[test]
    fn document_that_code_includes_is_linked() {
        let files = [
            ("docs/a.md", ""),
            ("src/lib.rs", "#![doc = include_str!(\"../docs/a.md\")]\n"),
        ];
        assert_eq!(messages(&files), [""; 0]);
    }

    #[test]
    fn broken_links_and_anchors_are_found() {
        let files = [
            ("README.md", "[a](docs/a.md#two)\n[b](docs/b.md)\n"),
            ("docs/a.md", "# One\n"),
        ];
        assert_eq!(
            messages(&files),
            [
                "README.md:1: `docs/a.md` has no heading for `#two`",
                "README.md:2: the link to `docs/b.md` leads nowhere",
            ]
        );
    }

    #[test]
    fn decision_without_a_number_of_its_own_is_found() {
        let files = [
            ("README.md", "[All](docs/decisions)\n"),
            ("docs/decisions/0001-a.md", ""),
            ("docs/decisions/0001-b.md", ""),
            ("docs/decisions/0003-c.md", ""),
            ("docs/decisions/4-d.md", ""),
        ];
        assert_eq!(
            messages(&files),
            [
                "docs/decisions/0001-b.md: another decision is numbered 0001",
                "docs/decisions/4-d.md: must be named NNNN-title.md",
            ]
        );
    }

    #[test]
    fn note_on_a_change_says_what_kind_it_is() {
        let files = [
            ("changes/README.md", "Start each file.\n"),
            (
                "changes/fine.md",
                "Stored format: logs hold their version.\n",
            ),
            ("changes/unkind.md", "Receipts are smaller.\n"),
        ];
        let found = messages(&files);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("changes/unkind.md: must start with"),
            "{found:?}"
        );
    }
}
