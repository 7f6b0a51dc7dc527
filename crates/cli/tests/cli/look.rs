//! Help, completions, colours, the demo's list.

use std::process::Stdio;

use crate::common::{Running, command, finish, run};

const ESCAPE: char = '\u{1b}';

fn at_home(args: &[&str]) -> crate::common::Done {
    let home = tempfile::tempdir().unwrap();
    run(home.path(), args)
}

/// What the help says is part of the contract: change the file with the text.
#[test]
fn help_reads_as_documented() {
    for (args, expected) in [
        (&["--help"][..], include_str!("help/stiver.txt")),
        (&["get", "--help"], include_str!("help/get.txt")),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut help = command(home.path());
        let done = finish(help.args(args).env_remove("STIVER_HOME")).ends_with(0);
        let told: Vec<_> = done.out.lines().map(str::trim_end).collect();
        let expected: Vec<_> = expected.lines().collect();
        assert_eq!(told, expected, "{args:?}");
        assert_eq!(done.err, "");
        let longest = done.out.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{longest:?}");
    }
}

/// The table in the documentation is the one that the command prints.
#[test]
fn exit_codes_are_the_same_in_the_help_and_in_the_documentation() {
    let docs = include_str!("../../../../docs/cli.md");
    let table = docs.split("```text\n").nth(1).unwrap();
    let table = table.split("```").next().unwrap();
    for args in [&["--help"][..], &["get", "--help"]] {
        let done = at_home(args).ends_with(0);
        let told = done.out.split("Exit codes:\n").nth(1).unwrap();
        assert_eq!(told.trim_end(), table.trim_end());
    }
}

#[test]
fn every_command_has_help() {
    for command in [
        "demo",
        "init",
        "serve",
        "reload",
        "secrets",
        "get",
        "wallet",
        "ledger",
        "inspect",
        "mint",
        "completions",
    ] {
        let done = at_home(&[command, "--help"]).ends_with(0);
        assert!(done.out.contains("Usage: stiver "), "{done:?}");
        assert!(!done.out.contains(ESCAPE), "{done:?}");
    }
    let done = at_home(&["--version"]).ends_with(0);
    assert_eq!(
        done.out,
        concat!("stiver ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = at_home(&["completions", shell]).ends_with(0);
        assert!(done.out.contains("stiver"), "{shell}");
        assert!(done.out.contains("max-amount"), "{shell}");
    }
}

#[test]
fn demo_lists_its_scenes() {
    let done = at_home(&["demo", "--list"]).ends_with(0);
    let names = done.out.lines().filter_map(|line| line.split(' ').next());
    let names: Vec<&str> = names.collect();
    let scenes = ["paywall", "crash", "burst", "sensor", "tokens", "charger"];
    assert_eq!(names, scenes);
    let told = at_home(&["--json", "demo", "--list"]).ends_with(0).json();
    assert_eq!(told["scenes"][0]["name"], "paywall");
    assert!(told["scenes"][1]["about"].is_string());
}

#[test]
fn pipes_get_no_colour_unless_asked() {
    for args in [
        &["demo", "--list"][..],
        &["inspect", "garbage"],
        &["wallet", "new"],
    ] {
        let plain = at_home(args);
        assert!(!plain.out.contains(ESCAPE), "{plain:?}");
        assert!(!plain.err.contains(ESCAPE), "{plain:?}");
        let never = at_home(&[&["--color", "never"], args].concat());
        assert!(
            !never.out.contains(ESCAPE) && !never.err.contains(ESCAPE),
            "{never:?}"
        );
        let always = at_home(&[&["--color", "always"], args].concat());
        let all = always.out.clone() + &always.err;
        assert!(all.contains(ESCAPE), "{always:?}");
        assert_eq!(always.code, plain.code);
    }
    let json = at_home(&["--color", "always", "--json", "demo", "--list"]).ends_with(0);
    assert!(!json.out.contains(ESCAPE), "{json:?}");
}

#[test]
fn colour_asked_for_outweighs_no_color() {
    let home = tempfile::tempdir().unwrap();
    let mut list = command(home.path());
    list.args(["--color", "always", "demo", "--list"]);
    let done = finish(list.env("NO_COLOR", "1")).ends_with(0);
    assert!(done.out.contains(ESCAPE), "{done:?}");
}

#[test]
fn reader_that_goes_away_makes_no_panic() {
    let home = tempfile::tempdir().unwrap();
    let mut script = command(home.path());
    script.args(["completions", "zsh"]).stdout(Stdio::piped());
    let mut child = script.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn sensor_of_the_demo_is_hidden_and_works() {
    let help = at_home(&["--help"]).ends_with(0);
    assert!(!help.out.contains("demo-sensor"), "{help:?}");
    let home = tempfile::tempdir().unwrap();
    let sensor = Running::start(command(home.path()).arg("demo-sensor"));
    let stats = crate::common::tap::fetch(&sensor.url(), "/stats");
    assert!(stats.contains("\"temperature\":0"), "{stats}");
}
