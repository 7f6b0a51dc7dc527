//! Each rule finds what it is there for, and nothing else.

use std::path::Path;

use super::{BANNED, FILE_LINES_MAX, Place, check};

fn messages(path: &str, text: &str) -> Vec<String> {
    check(Path::new(path), text)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn tidy_file_has_no_finding() {
    assert_eq!(messages("a.rs", "//! A file.\n\nfn main() {}\n"), [""; 0]);
}

#[test]
fn file_of_one_line_too_many_is_found() {
    let most = "//\n".repeat(FILE_LINES_MAX);
    assert_eq!(messages("a.rs", &most), [""; 0]);
    let more = "//\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(
        messages("a.rs", &more),
        ["a.rs: 801 lines; split it: the most is 800"]
    );
}

#[test]
fn line_of_one_column_too_many_is_found() {
    let most = format!("// {}", "word ".repeat(19)) + "ab\n";
    assert_eq!(messages("a.rs", &most), [""; 0]);
    let more = format!("// {}", "word ".repeat(19)) + "abc\n";
    assert_eq!(
        messages("a.rs", &more),
        ["a.rs:1: 101 columns; the most is 100"]
    );
}

#[test]
fn columns_are_characters_not_bytes() {
    let line = format!("// {}ab\n", "wörd ".repeat(19));
    assert_eq!(messages("a.rs", &line), [""; 0]);
}

#[test]
fn what_cannot_be_wrapped_may_be_long() {
    let word = "a".repeat(120);
    assert_eq!(messages("a.rs", &format!("// {word}\n")), [""; 0]);
    let cells = "cell | ".repeat(30);
    assert_eq!(
        messages("a.md", &format!("| {cells}\n").replace(" \n", "\n")),
        [""; 0]
    );
    let code = format!("```\n{}end\n```\n", "word ".repeat(30));
    assert_eq!(messages("a.md", &code), [""; 0]);
}

#[test]
fn every_banned_word_is_found_where_it_is_banned() {
    for banned in BANNED {
        let path = match banned.place {
            Place::Anywhere => "ci.yml",
            Place::Prose => "docs/a.md",
            Place::Rust | Place::Code => "src/a.rs",
            Place::Tests => "tests/a.rs",
        };
        let found = messages(path, &format!("x {} x\n", banned.word));
        assert!(
            found.iter().any(|message| message.contains(banned.word)),
            "{}",
            banned.word
        );
    }
}

#[test]
fn word_banned_in_tests_may_stand_elsewhere() {
    let line = concat!("thread::sl", "eep(second);\n");
    assert_eq!(messages("src/a.rs", line), [""; 0]);
    assert_eq!(messages("src/a/tests.rs", line).len(), 1);
}

#[test]
fn file_must_end_with_one_line_feed() {
    let found = ["a.toml: must end with exactly one line feed"];
    assert_eq!(messages("a.toml", "a = 1"), found);
    assert_eq!(messages("a.toml", "a = 1\n\n"), found);
    assert_eq!(messages("a.toml", "a = 1\n"), [""; 0]);
}

#[test]
fn stray_white_space_is_found() {
    let found = messages("a.rs", "fn a() {} \n\tfn b() {}\n");
    assert_eq!(
        found,
        [
            "a.rs:1: white space at the end of the line",
            "a.rs:2: indent with blanks, not tabs"
        ]
    );
}

#[test]
fn names_that_say_nothing_are_found() {
    assert_eq!(
        messages("src/utils.rs", concat!("pub struct ", "PaymentManager;\n")),
        [
            "src/utils.rs: name the file after what it holds",
            "src/utils.rs:1: `PaymentManager` says nothing: name the type after what it is",
        ]
    );
    assert_eq!(
        messages("src/a.rs", "// A struct named PaymentManager\n"),
        [""; 0]
    );
}

#[test]
fn seeds_and_lock_files_are_left_alone() {
    assert_eq!(messages("fuzz/corpus/json/seed-1", "{} \n\n"), [""; 0]);
    assert_eq!(messages("Cargo.lock", "a\t \n\n"), [""; 0]);
}
