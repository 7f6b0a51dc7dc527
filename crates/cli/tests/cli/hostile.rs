//! Command lines that make no sense: exit 2, a message that names the mistake, nothing written.

use crate::common::{files, run};

#[test]
fn nonsense_is_refused_by_name_and_nothing_is_written() {
    let table: &[(&[&str], &str)] = &[
        (&["nonsense"], "nonsense"),
        (&["--nonsense"], "--nonsense"),
        (&["get"], "URL"),
        (&["get", "a", "b"], "'b'"),
        (&["get", "--max-amount"], "--max-amount"),
        (&["get", "--resume", "x", "http://127.0.0.1/"], "--resume"),
        (&["get", "-m", "-1", "http://127.0.0.1/"], "-1"),
        (&["wallet"], "Usage"),
        (&["wallet", "join"], "<GATEWAY>"),
        (&["wallet", "history", "-n", "many"], "many"),
        (&["ledger"], "Usage"),
        (&["ledger", "issue"], "<TO>"),
        (&["ledger", "issue", "x"], "<AMOUNT>"),
        (&["ledger", "statement"], "<ACCOUNT>"),
        (&["mint"], "--secret-file"),
        (&["mint", "--secret-file", "/nowhere"], "--realm"),
        (&["completions"], "<SHELL>"),
        (&["completions", "cmd"], "cmd"),
        (&["demo", "--scene"], "--scene"),
        (&["demo", "--scene", "opera"], "paywall"),
        (&["--color", "pink", "demo", "--list"], "pink"),
        (&["init", "a", "b"], "'b'"),
    ];
    for (args, needle) in table {
        let home = tempfile::tempdir().unwrap();
        let done = run(home.path(), args).ends_with(2);
        assert!(done.err.contains(needle), "{args:?}: {done:?}");
        assert!(!done.err.contains("panicked"), "{args:?}: {done:?}");
        assert_eq!(done.out, "", "{args:?}");
        assert!(files(home.path()).is_empty(), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn arguments_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let home = tempfile::tempdir().unwrap();
    let args = [
        std::ffi::OsStr::new("inspect"),
        std::ffi::OsStr::from_bytes(b"\xff\xfe"),
    ];
    run(home.path(), &args).fails(2, "UTF-8");
}
