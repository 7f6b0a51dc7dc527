//! `stiver init` and `stiver serve`.

use std::path::Path;

use crate::common::{Running, Stage, command, files, run};

fn init(folder: &Path, more: &[&str]) -> crate::common::Done {
    let mut args = vec!["init", folder.to_str().unwrap()];
    args.extend(more);
    run(folder, &args)
}

#[test]
fn init_writes_a_gateway_that_only_the_owner_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("new/gateway");
    let done = init(&folder, &["--json"]).ends_with(0).json();
    assert_eq!(done["ok"], true);
    let config = folder.join("stiver.toml");
    assert_eq!(done["config"], config.to_str().unwrap());
    assert_eq!(
        done["dataDir"],
        folder.join("stiver-data").to_str().unwrap()
    );
    for name in ["challenge.secret", "payee.key", "issuer.key"] {
        let file = folder.join("stiver-data").join(name);
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn init_never_writes_over_a_configuration_or_a_key() {
    let root = tempfile::tempdir().unwrap();
    init(root.path(), &[]).ends_with(0);
    let before = files(root.path());
    init(root.path(), &["--price", "9 USD"]).fails(2, "is there already");
    assert_eq!(files(root.path()), before);
    std::fs::remove_file(root.path().join("stiver.toml")).unwrap();
    init(root.path(), &[]).ends_with(0);
    assert_eq!(
        files(root.path()),
        before,
        "keys that may hold money are kept"
    );
}

#[test]
fn init_refuses_options_that_make_no_configuration_and_writes_nothing() {
    let table = [
        ("--price", "1", "price"),
        ("--price", "0 USD", "access = \"free\""),
        ("--price", "-1 USD", "-1"),
        ("--price", "1e3 USD", "price"),
        ("--price", "0.0000001 USD", "price"),
        ("--price", "1 DOGE", "price"),
        ("--price", "1 USD\"\nx = 1", "price"),
        ("--listen", "localhost", "is no address"),
        ("--listen", "0.0.0.0:80", "behind_tls_proxy"),
        ("--listen", "127.0.0.1:99999", "is no address"),
        ("--upstream", "ftp://x", "scheme"),
        ("--upstream", "127.0.0.1:3000", "upstream"),
        ("--upstream", "http://user:word@host", "user name"),
        ("--realm", "", "realm"),
        ("--realm", "a|b", "realm"),
        ("--realm", "a\nb", "realm"),
    ];
    for (option, value, needle) in table {
        let root = tempfile::tempdir().unwrap();
        let done = init(root.path(), &[option, value]).fails(2, needle);
        assert!(
            files(root.path()).is_empty(),
            "{option} {value:?}: {done:?}"
        );
    }
}

#[test]
fn folder_that_cannot_be_made_is_another_failure() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let folder = file.join("gateway");
    let args = ["init", folder.to_str().unwrap()];
    run(root.path(), &args).fails(1, "writing");
}

#[test]
fn serve_refuses_a_bad_configuration_by_file_and_line() {
    let table = [
        ("listen = ", "lisen = "),
        ("\nprice = \"0.01 USD\"", "\nprice = \"free\""),
        ("[gateway]", "[gateway"),
        ("path = \"/**\"", "path = \"/**/a\""),
        ("\non_failure = \"retry\"", "\non_failure = \"sometimes\""),
    ];
    for (from, to) in table {
        let root = tempfile::tempdir().unwrap();
        init(root.path(), &[]).ends_with(0);
        let config = root.path().join("stiver.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let (before, _) = text.split_once(from).unwrap_or_else(|| panic!("{from}"));
        let lines = before.matches('\n').count() + from.matches('\n').count() + 1;
        let line = format!(":{lines}: ");
        std::fs::write(&config, text.replacen(from, to, 1)).unwrap();
        let before = files(root.path());
        let config = config.to_str().unwrap();
        let named = format!("{config}{line}");
        let done = run(root.path(), &["serve", "--config", config]).fails(2, &named);
        assert!(!done.out.contains("listening"), "{done:?}");
        assert_eq!(files(root.path()), before, "{to}");
    }
}

#[test]
fn serve_refuses_missing_and_hostile_files() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path();
    run(home, &["serve", "--config", "/nowhere/stiver.toml"]).fails(2, "/nowhere/stiver.toml");
    run(home, &["serve", "--config", home.to_str().unwrap()]).fails(2, "reading");
    init(home, &[]).ends_with(0);
    let config = home.join("stiver.toml");
    let good = std::fs::read(&config).unwrap();
    let config = config.to_str().unwrap();
    for (bad, needle) in [
        (b"\xff\xfe".to_vec(), "reading"),
        (Vec::new(), "stiver.toml:1: "),
        (vec![b'#'; 1024 * 1024 + 1], "reading"),
    ] {
        std::fs::write(config, bad).unwrap();
        run(home, &["serve", "--config", config]).fails(2, needle);
    }
    std::fs::write(config, good).unwrap();
    let secret = home.join("stiver-data/challenge.secret");
    std::fs::write(&secret, "current hunter2\n").unwrap();
    let done = run(home, &["serve", "--config", config]).fails(2, "line 1");
    assert!(done.err.contains("challenge.secret"), "{done:?}");
    assert!(!done.err.contains("hunter2"), "{done:?}");
    std::fs::remove_file(secret).unwrap();
    run(home, &["serve", "--config", config]).fails(2, "stiver init");
}

#[test]
fn serve_refuses_a_log_filter_that_it_cannot_read() {
    let root = tempfile::tempdir().unwrap();
    let mut serve = command(root.path());
    serve.args(["serve"]).env("STIVER_LOG", "stiver=loudly");
    crate::common::finish(&mut serve).fails(2, "STIVER_LOG");
}

#[test]
fn address_in_use_and_data_in_use_are_told_apart() {
    let stage = Stage::poor();
    let config = stage.config();
    let serve = ["serve", "--config", config.to_str().unwrap()];
    stage.run(&serve).fails(2, "running already");
    let other = stage.root.path().join("other");
    let listen = ["--listen", stage.address()];
    init(&other, &listen).ends_with(0);
    let config = other.join("stiver.toml");
    let serve = ["serve", "--config", config.to_str().unwrap()];
    let done = stage.run(&serve).fails(2, stage.address());
    assert!(!done.err.contains("running already"), "{done:?}");
}

#[test]
fn either_signal_ends_the_gateway_cleanly() {
    let root = tempfile::tempdir().unwrap();
    init(root.path(), &["--listen", "127.0.0.1:0"]).ends_with(0);
    let config = root.path().join("stiver.toml");
    for signal in ["TERM", "INT"] {
        let mut serve = command(root.path());
        serve.args(["serve", "--config"]).arg(&config);
        let gateway = Running::start(serve.env("STIVER_LOG", "error"));
        assert!(gateway.url().starts_with("http://127.0.0.1:"));
        let (status, rest) = gateway.end(signal);
        assert_eq!(status.code(), Some(0), "{signal}");
        assert_eq!(rest, "");
        assert!(!root.path().join("stiver-data/admin.sock").exists());
    }
}

#[test]
fn serve_prints_its_address_as_json_when_asked() {
    let root = tempfile::tempdir().unwrap();
    init(root.path(), &["--listen", "127.0.0.1:0"]).ends_with(0);
    let mut serve = command(root.path());
    serve.args(["--json", "serve", "--config"]);
    serve.arg(root.path().join("stiver.toml"));
    let gateway = Running::start(serve.env("STIVER_LOG", "error"));
    let line: serde_json::Value = serde_json::from_str(&gateway.first_line).unwrap();
    let url = line["listening"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let (status, rest) = gateway.end("TERM");
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
}
