//! Sizes, white space and banned words.

use std::path::Path;

use super::Finding;

/// Longest source file, lines. Aim for half of it.
const FILE_LINES_MAX: usize = 800;

/// Longest line of source and prose, columns.
const LINE_COLUMNS_MAX: usize = 100;

/// A run of this many columns without a blank cannot be wrapped and is let through: a test vector,
/// an address.
const UNBREAKABLE_COLUMNS: usize = 60;

/// Words that are not to be written, where, and why. Split, so that this table does not find
/// itself.
const BANNED: &[Banned] = &[
    banned(
        concat!("to", "do!("),
        Place::Rust,
        "write the code, or leave the item out",
    ),
    banned(
        concat!("unimple", "mented!("),
        Place::Rust,
        "write the code, or leave the item out",
    ),
    banned(concat!("db", "g!("), Place::Rust, "take it out"),
    banned(
        concat!("#[ig", "nore"),
        Place::Rust,
        "assert what is true today instead",
    ),
    banned(
        concat!("#[al", "low("),
        Place::Rust,
        "use #[expect(lint, reason = \"...\")]",
    ),
    banned(
        concat!("#![al", "low("),
        Place::Code,
        "use #![expect(lint, reason = \"...\")]",
    ),
    banned(
        concat!("```ig", "nore"),
        Place::Prose,
        "examples compile; use no_run for sockets",
    ),
    banned(concat!("TO", "DO"), Place::Prose, "do it, or open an issue"),
    banned(concat!("XX", "X:"), Place::Prose, "do it, or open an issue"),
    banned(
        concat!("thread::sl", "eep("),
        Place::Tests,
        "tests use injected time",
    ),
    banned(
        concat!("time::sl", "eep("),
        Place::Tests,
        "tests use injected time",
    ),
    banned(
        concat!("SystemTime::n", "ow("),
        Place::Tests,
        "tests use injected time",
    ),
    banned(
        concat!("/wo", "rk/"),
        Place::Anywhere,
        "no paths of one machine",
    ),
    banned(
        concat!("/ro", "ot/"),
        Place::Anywhere,
        "no paths of one machine",
    ),
    banned(concat!("<<<<", "<<< "), Place::Anywhere, "finish the merge"),
    banned(concat!(">>>>", ">>> "), Place::Anywhere, "finish the merge"),
];

/// Files named so collect what belongs elsewhere.
const BANNED_STEMS: &[&str] = &["helper", "helpers", "manager", "misc", "util", "utils"];

/// Type names ending so say nothing.
const BANNED_SUFFIXES: &[&str] = &["Helper", "Helpers", "Manager", "Util", "Utils"];

struct Banned {
    word: &'static str,
    place: Place,
    instead: &'static str,
}

const fn banned(word: &'static str, place: Place, instead: &'static str) -> Banned {
    Banned {
        word,
        place,
        instead,
    }
}

/// Where a word is banned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Every text file.
    Anywhere,
    /// Rust source and Markdown.
    Prose,
    /// Rust source.
    Rust,
    /// Rust source that is no file of tests: what those share, each uses a part of.
    Code,
    /// Files of tests.
    Tests,
}

impl Place {
    fn covers(self, path: &Path) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Prose => is(path, "rs") || is(path, "md"),
            Self::Rust => is(path, "rs"),
            Self::Code => is(path, "rs") && !is_test(path),
            Self::Tests => is(path, "rs") && is_test(path),
        }
    }
}

/// Checks one text file.
pub(super) fn check(path: &Path, text: &str) -> Vec<Finding> {
    if is_foreign(path) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    names(path, text, &mut findings);
    let lines = text.lines().count();
    if is(path, "rs") && lines > FILE_LINES_MAX {
        let message = format!("{lines} lines; split it: the most is {FILE_LINES_MAX}");
        findings.push(Finding::file(path, message));
    }
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        findings.push(Finding::file(path, "must end with exactly one line feed"));
    }
    let mut in_code_block = false;
    for (number, line) in (1..).zip(text.lines()) {
        white_space(path, number, line, &mut findings);
        if line.trim_start().starts_with("```") {
            in_code_block = !in_code_block;
        }
        let wraps = is(path, "rs") || (is(path, "md") && !in_code_block && !is_table(line));
        if wraps && is_too_long(line) {
            let columns = line.chars().count();
            let message = format!("{columns} columns; the most is {LINE_COLUMNS_MAX}");
            findings.push(Finding::at(path, number, message));
        }
        for banned in BANNED.iter().filter(|banned| banned.place.covers(path)) {
            if line.contains(banned.word) {
                let message = format!("`{}` is not written here: {}", banned.word, banned.instead);
                findings.push(Finding::at(path, number, message));
            }
        }
    }
    findings
}

/// Licence texts, lock files and inputs for the fuzzer are as they are.
fn is_foreign(path: &Path) -> bool {
    path.starts_with("fuzz/corpus")
        || is(path, "lock")
        || path.to_string_lossy().starts_with("LICENSE")
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests")
}

/// A table row or a link definition cannot be wrapped.
fn is_table(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('|') || (line.starts_with('[') && line.contains("]: "))
}

fn is_too_long(line: &str) -> bool {
    line.chars().count() > LINE_COLUMNS_MAX
        && !line
            .split_whitespace()
            .any(|word| word.chars().count() >= UNBREAKABLE_COLUMNS)
}

fn white_space(path: &Path, number: usize, line: &str, findings: &mut Vec<Finding>) {
    if line.ends_with([' ', '\t', '\r']) {
        findings.push(Finding::at(
            path,
            number,
            "white space at the end of the line",
        ));
    }
    if line.starts_with('\t') && (is(path, "rs") || is(path, "md") || is(path, "toml")) {
        findings.push(Finding::at(path, number, "indent with blanks, not tabs"));
    }
}

fn names(path: &Path, text: &str, findings: &mut Vec<Finding>) {
    if !is(path, "rs") {
        return;
    }
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if BANNED_STEMS.contains(&stem) {
        findings.push(Finding::file(path, "name the file after what it holds"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let Some(_) = words.find(|word| matches!(*word, "struct" | "enum" | "trait")) else {
            continue;
        };
        let Some(name) = words.next() else { continue };
        if !line.trim_start().starts_with("//")
            && BANNED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        {
            let message = format!("`{name}` says nothing: name the type after what it is");
            findings.push(Finding::at(path, number, message));
        }
    }
}

#[cfg(test)]
mod tests;
