//! The proof that the core needs no `std`: `proofs/no-std`, built, linked and run.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{run, workspace::Workspace};

/// The vectors that hold the expected answer, and the case the proof computes.
const VECTORS: &str = "crates/core/vectors/binding.json";
const CASE: &str = "all slots";

/// Links the core into a static library that brings its own allocator and panic handler, links that
/// into a C program, and compares what the program prints with the vector.
pub(crate) fn no_std(workspace: &Workspace) -> Result<()> {
    let source = workspace.root.join("proofs/no-std");
    let target = workspace.target.join("no-std");
    let mut build = workspace.cargo();
    build.current_dir(&source);
    build.args(["build", "--release", "--target-dir"]);
    run::succeed(build.arg(&target))?;

    let program = target.join("no-std");
    let mut link = Command::new("cc");
    link.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"]);
    link.arg(&program).arg(source.join("main.c"));
    run::succeed(link.arg(target.join("release/libstiver_no_std.a")))?;

    let path = workspace.root.join(VECTORS);
    let vectors = fs::read_to_string(&path).with_context(|| format!("reading {VECTORS}"))?;
    let expected = expected(&vectors).with_context(|| format!("reading {VECTORS}"))?;
    let printed = run::output(&mut Command::new(&program))?;
    ensure!(
        printed.trim() == expected,
        "the program printed {printed:?}, not {expected:?}"
    );
    println!("printed {expected}, as it must");
    Ok(())
}

/// The id of the case.
fn expected(vectors: &str) -> Result<String> {
    let vectors: Value = serde_json::from_str(vectors)?;
    let cases = vectors["cases"].as_array().context("`cases` is no array")?;
    let case = cases.iter().find(|case| case["name"] == CASE);
    let id = case.and_then(|case| case["id"].as_str());
    Ok(id
        .with_context(|| format!("no case `{CASE}` with an `id`"))?
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_id_is_that_of_the_named_case() {
        let vectors = r#"{"cases":[{"name":"a","id":"x"},{"name":"all slots","id":"y"}]}"#;
        assert_eq!(expected(vectors).unwrap(), "y");
        assert!(expected(r#"{"cases":[]}"#).is_err());
    }
}
