//! Every shell command of the README and of the guides, run as a reader would, in order, each
//! document in a folder of its own.
//!
//! What a document promises about a command stands beside it, where the reader sees it too:
//!
//! - a command fails the test when it fails, unless its line ends with `# exits with N`;
//! - a `text` block right after a `sh` block holds lines that the commands print, in that order;
//!   `...` stands for anything;
//! - what a comment between `<!-- sh` and `-->` holds is run, and not shown: a page's stage.
//!
//! The ports that the documents name are really used: nothing else may listen on them. Commands of
//! cargo are not run again within a test of cargo; `cargo run --release --` is the built binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::panic, reason = "what tests share is a test too")]

use std::{
    fmt::Write as _,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

/// How long the commands of one document may take together, seconds.
const DOCUMENT_SECONDS: &str = "300";

/// What every script begins with. A command in the background is waited for by its port.
const PREAMBLE: &str = r#"
set -euo pipefail
cargo() {
    case "$1" in
        run) shift; while [ "$1" != "--" ]; do shift; done; shift; stiver "$@" ;;
        build | doc | install | test | xtask) ;;
        *) echo "the documents do not use cargo $1"; return 1 ;;
    esac
}
await_port() {
    for _ in $(seq 600); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
        sleep 0.1
    done
    echo "nobody listens on port $1"
    return 1
}
expect_exit() {
    if [ "$1" != "$2" ]; then echo "exited with $2, not with $1"; exit 1; fi
}
"#;

/// The documents use the same ports: one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A block of commands, and what they are said to print.
struct Block {
    line: usize,
    commands: Vec<String>,
    printed: Vec<String>,
}

fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.ancestors().nth(2).unwrap().to_owned()
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fence: Option<String> = None;
    let mut told = false;
    for (index, line) in text.lines().enumerate() {
        let mark = match (&fence, line) {
            (None, "<!-- sh") => Some("sh"),
            (Some(_), "-->") => Some(""),
            _ => line.strip_prefix("```"),
        };
        match (&fence, mark) {
            (None, Some(info)) => {
                fence = Some(info.to_owned());
                if info == "sh" {
                    let (commands, printed) = (Vec::new(), Vec::new());
                    let line = index + 1;
                    blocks.push(Block {
                        line,
                        commands,
                        printed,
                    });
                }
            }
            (Some(info), Some(_)) => {
                told = info == "sh";
                fence = None;
            }
            (Some(info), None) => match (info.as_str(), blocks.last_mut()) {
                ("sh", Some(block)) => block.commands.push(line.to_owned()),
                ("text", Some(block)) if told => block.printed.push(line.to_owned()),
                _ => {}
            },
            (None, None) => told = told && line.trim().is_empty(),
        }
    }
    blocks
}

fn script(blocks: &[Block]) -> String {
    let mut script = PREAMBLE.to_owned();
    for (index, block) in blocks.iter().enumerate() {
        writeln!(script, "echo '@@block {index}'").unwrap();
        for command in &block.commands {
            script.push_str(&line(command));
        }
    }
    script.push_str("echo '@@end'\n");
    script
}

fn line(command: &str) -> String {
    if let Some((command, code)) = command.split_once("# exits with ") {
        return format!("code=0; {command} || code=$?; expect_exit {code} \"$code\"\n");
    }
    let mut line = format!("{command}\n");
    if command.trim_end().ends_with('&') {
        let port = if command.contains("stiver serve") {
            "8402"
        } else {
            port_in(command)
        };
        writeln!(line, "await_port {port}").unwrap();
    }
    line
}

/// The first number of four or more digits: what a command in the background listens on.
fn port_in(command: &str) -> &str {
    let mut numbers = command.split(|character: char| !character.is_ascii_digit());
    numbers
        .find(|digits| digits.len() >= 4)
        .unwrap_or_else(|| panic!("`{command}` runs in the background and names no port"))
}

/// True when `line` is what `pattern` says, with `...` for anything.
fn is_like(pattern: &str, line: &str) -> bool {
    let mut rest = line.trim();
    let mut parts = pattern.trim().split("...").peekable();
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else {
        return false;
    };
    rest = after;
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        let found = if parts.peek().is_none() && !part.is_empty() {
            rest.ends_with(part).then(|| rest.len() - part.len())
        } else {
            rest.find(part)
        };
        let Some(at) = found else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

fn check_printed(document: &str, block: &Block, output: &str) {
    let mut lines = output.lines();
    for pattern in &block.printed {
        let is_any = pattern.trim() == "..." || pattern.trim().is_empty();
        if !is_any && !lines.any(|line| is_like(pattern, line)) {
            panic!(
                "{document}:{}: the commands do not print, after what stands before it:\n\
                 {pattern}\nthey print:\n{output}",
                block.line
            );
        }
    }
}

/// Runs a document's commands, and compares what they print.
fn follow(document: &str) {
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let text = fs::read_to_string(root().join(document)).unwrap();
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "{document} has no commands");
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(folder.path().join("script"), script(&blocks)).unwrap();
    let printed = folder.path().join("printed");
    let binary = Path::new(env!("CARGO_BIN_EXE_stiver"));
    let old_home = std::env::var("HOME").unwrap_or_default();
    let path = std::env::var("PATH").unwrap_or_default();
    let log = File::options()
        .append(true)
        .create(true)
        .open(&printed)
        .unwrap();
    let mut child = Command::new("timeout")
        .args(["--kill-after=5", DOCUMENT_SECONDS, "bash", "../script"])
        .current_dir(&home)
        .env("HOME", &home)
        .env(
            "PATH",
            format!("{}:{path}", binary.parent().unwrap().display()),
        )
        .env("PYENV_ROOT", format!("{old_home}/.pyenv"))
        .env("NO_COLOR", "1")
        .env_remove("STIVER_HOME")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    // What the document left running.
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-9", "--", &group]).status();
    let output = fs::read_to_string(&printed).unwrap();
    assert!(
        status.success() && output.contains("@@end"),
        "the commands of {document} ended with {status}; they printed:\n{output}"
    );
    for (index, block) in blocks.iter().enumerate() {
        let start = format!("@@block {index}\n");
        let (_, rest) = output.split_once(&start).unwrap();
        check_printed(document, block, rest.split("@@").next().unwrap());
    }
}

#[test]
fn readme_can_be_followed() {
    follow("README.md");
}

#[test]
fn guide_to_charging_can_be_followed() {
    follow("docs/guide/charge.md");
}

#[test]
fn guide_to_paying_can_be_followed() {
    follow("docs/guide/pay.md");
}

#[test]
fn guide_to_production_can_be_followed() {
    follow("docs/guide/production.md");
}

#[test]
fn page_of_the_command_line_can_be_followed() {
    follow("docs/cli.md");
}

#[test]
fn no_document_with_commands_is_forgotten() {
    let source = fs::read_to_string(root().join("crates/cli/tests/slow_docs.rs")).unwrap();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            let is_page = name.ends_with(".md") && !NOT_FOLLOWED.contains(&name.as_str());
            if is_page && !blocks(&fs::read_to_string(&path).unwrap()).is_empty() {
                let call = format!("follow(\"{name}\")");
                assert!(source.contains(&call), "nothing follows {name}");
            }
        }
    }
}

/// Pages whose commands are cargo's alone, or need a keyring and a terminal and have tests of
/// their own (`wallet_keys`, `wallet_keyring`).
const NOT_FOLLOWED: [&str; 6] = [
    "docs/benchmarks.md",
    "docs/guide/write-a-method.md",
    "docs/interop.md",
    "docs/reliability.md",
    "docs/testing.md",
    "docs/wallet.md",
];

#[test]
fn dots_stand_for_anything() {
    assert!(is_like("paid 0.01 USD (...)", "paid 0.01 USD (ledger)"));
    assert!(is_like("...challenge...", "a challenge here"));
    assert!(is_like("HTTP/1.1 402...", "HTTP/1.1 402 Payment Required"));
    assert!(!is_like("paid ...", "unpaid 1"));
    assert!(!is_like("paid", "paid 1"));
    assert!(!is_like("a...b", "a then c"));
}
