//! Where keys are kept: plain files, encrypted files, the environment.

use std::{
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::common::{Done, Stage, command, files, finish, run, run_with};

const PASSPHRASE: &str = "correct horse battery";

/// Runs a command with a variable set.
fn with(home: &Path, name: &str, value: &str, args: &[&str]) -> Done {
    finish(command(home).args(args).env(name, value))
}

fn key_file(home: &Path, name: &str) -> String {
    std::fs::read_to_string(home.join("keys").join(format!("{name}.key"))).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The rows of `wallet list`, as name and place.
fn kept(home: &Path) -> Vec<(String, String)> {
    let list = run(home, &["--json", "wallet", "list"]).ends_with(0).json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let rows = list["wallets"].as_array().unwrap().iter();
    rows.map(|row| (text(&row["name"]), text(&row["keptIn"])))
        .collect()
}

#[test]
fn encrypted_wallet_pays_with_its_passphrase_and_not_without() {
    let stage = Stage::funded();
    let home = stage.home();
    let secret = run(&home, &["wallet", "export", "--plain", "--yes"]).ends_with(0);
    let secret = secret.out.trim().to_owned();
    let file = home.join("passphrase");
    std::fs::write(&file, format!("{PASSPHRASE}\nnot this\n")).unwrap();
    let file = file.to_str().unwrap();
    let moved = ["wallet", "move", "--encrypt", "--passphrase-file", file];
    let done = run(&home, &moved).ends_with(0);
    assert!(done.err.contains("backup"), "{done:?}");
    assert!(key_file(&home, "default").starts_with("stiver-sealed-key 1"));
    assert!(!key_file(&home, "default").contains(&secret));
    assert_eq!(mode(&home.join("keys/default.key")), 0o600);
    // What needs no secret asks for none.
    assert_eq!(kept(&home), [("default".into(), "encrypted-file".into())]);
    stage.run(&["wallet", "history"]).ends_with(0);
    stage.run(&["wallet", "join", &stage.url]).ends_with(0);
    let url = stage.at("/v1/temperature");
    let get = ["get", "--max-amount", "0.01 USD", &url];
    let paid = with(&home, "STIVER_PASSPHRASE", PASSPHRASE, &get).ends_with(0);
    let command = format!("head -1 {file}");
    let paid_again = with(&home, "STIVER_PASSPHRASE_COMMAND", &command, &get).ends_with(0);
    let left = stage.left_with(PASSPHRASE);
    let wrong = with(&home, "STIVER_PASSPHRASE", "correct horse batterx", &get);
    let wrong = wrong.fails(4, "passphrase is wrong");
    let failed = with(&home, "STIVER_PASSPHRASE_COMMAND", "exit 3", &get).fails(4, "command");
    let missing = with(&home, "STIVER_PASSPHRASE_FILE", "/nowhere", &get).fails(4, "/nowhere");
    assert_eq!(stage.left_with(PASSPHRASE), left);
    let moved: Vec<_> = stage
        .payments()
        .into_iter()
        .filter(|row| row["moneyMoved"] != "no")
        .collect();
    assert_eq!(moved.len(), 2, "{moved:?}");
    // What costs nothing needs no key.
    stage.run(&["get", &stage.at("/v1/history")]).ends_with(0);
    for done in [paid, paid_again, wrong, failed, missing] {
        for text in [&done.out, &done.err] {
            assert!(!text.contains(PASSPHRASE), "{done:?}");
            assert!(!text.contains(&secret), "{done:?}");
        }
    }
}

#[test]
fn passphrase_is_asked_for_only_when_something_allows_the_price() {
    let stage = Stage::funded();
    let home = stage.home();
    let file = home.join("passphrase");
    std::fs::write(&file, PASSPHRASE).unwrap();
    let file = file.to_str().unwrap();
    let moved = ["wallet", "move", "--encrypt", "--passphrase-file", file];
    run(&home, &moved).ends_with(0);
    let asked = home.join("asked");
    let ask = format!("touch {}; cat {file}", asked.display());
    let url = stage.at("/v1/temperature");
    for args in [
        &["get", &url][..],
        &["get", "--max-amount", "0.0001 USD", &url],
    ] {
        let done = with(&home, "STIVER_PASSPHRASE_COMMAND", &ask, args);
        assert_eq!(done.ends_with(5).out, "");
        assert!(!asked.exists(), "{args:?}");
    }
    let get = ["get", "--max-amount", "0.01 USD", &url];
    with(&home, "STIVER_PASSPHRASE_COMMAND", &ask, &get).ends_with(0);
    assert!(asked.exists());
}

#[test]
fn passwd_changes_what_opens_the_key() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let new = ["--json", "wallet", "new", "--encrypt"];
    let made = with(home, "STIVER_PASSPHRASE", PASSPHRASE, &new);
    let made = made.ends_with(0).json();
    assert_eq!(made["keptIn"], "encrypted-file");
    let passwd = |old: &str, new: &str| {
        let mut all = command(home);
        all.args(["wallet", "passwd"]);
        finish(
            all.env("STIVER_PASSPHRASE", old)
                .env("STIVER_NEW_PASSPHRASE", new),
        )
    };
    let before = key_file(home, "default");
    passwd("not this one", "another horse").fails(2, "passphrase is wrong");
    passwd(PASSPHRASE, "short").fails(2, "at least 8 bytes");
    assert_eq!(key_file(home, "default"), before);
    passwd(PASSPHRASE, "another horse").ends_with(0);
    assert_ne!(key_file(home, "default"), before);
    let export = ["wallet", "export", "--plain", "--yes"];
    with(home, "STIVER_PASSPHRASE", PASSPHRASE, &export).fails(2, "passphrase is wrong");
    let told = with(home, "STIVER_PASSPHRASE", "another horse", &export).ends_with(0);
    assert_eq!(told.out.trim().len(), 43);
    run(home, &["wallet", "new", "plain"]).ends_with(0);
    run(home, &["wallet", "passwd", "plain"]).fails(2, "wallet move plain --encrypt");
}

#[test]
fn exported_keys_are_imported_elsewhere_and_only_plainly_when_told_twice() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let made = run(home, &["--json", "wallet", "new", "one"]).ends_with(0);
    let key = made.json()["key"].clone();
    run(home, &["wallet", "export", "one", "--plain"]).fails(2, "--yes");
    let export = ["wallet", "export", "one"];
    run(home, &export).fails(2, "passphrase");
    let sealed = with(home, "STIVER_PASSPHRASE", PASSPHRASE, &export).ends_with(0);
    assert!(sealed.out.starts_with("stiver-sealed-key 1"), "{sealed:?}");
    let file = home.join("backup.key");
    let path = file.to_str().unwrap();
    let plain = ["wallet", "export", "one", "--plain", "--yes", "-o", path];
    let plain = run(home, &plain).ends_with(0);
    assert!(plain.err.contains("warning"), "{plain:?}");
    assert_eq!(mode(&file), 0o600);
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(!plain.out.contains(secret.trim()), "{plain:?}");
    // A file that is there is never written over.
    run(
        home,
        &["wallet", "export", "one", "--plain", "--yes", "-o", path],
    )
    .fails(2, path);
    let from_file = ["--json", "wallet", "import", "two", "--from", path];
    let done = run(home, &from_file).ends_with(0);
    assert!(done.err.contains("another copy"), "{done:?}");
    assert_eq!(done.json()["key"], key);
    let mut import = command(home);
    import.args(["--json", "wallet", "import", "three", "--encrypt", "--from"]);
    let sealed_file = home.join("sealed.key");
    std::fs::write(&sealed_file, &sealed.out).unwrap();
    import
        .arg(&sealed_file)
        .env("STIVER_PASSPHRASE", PASSPHRASE);
    assert_eq!(finish(&mut import).ends_with(0).json()["key"], key);
    let stdin = ["--json", "wallet", "import", "four", "--from", "-"];
    let done = run_with(home, &stdin, key_file(home, "one").as_bytes()).ends_with(0);
    assert_eq!(done.json()["key"], key);
    for rubbish in [
        "",
        "rubbish",
        "stiver-key 1 ed25519\n",
        "stiver-sealed-key 9\n",
    ] {
        let before = files(home);
        let stdin = ["wallet", "import", "five", "--from", "-"];
        run_with(home, &stdin, rubbish.as_bytes()).fails(2, "error: -: ");
        assert_eq!(files(home), before);
    }
    let before = key_file(home, "one");
    run_with(
        home,
        &["wallet", "import", "one", "--from", "-"],
        secret.as_bytes(),
    )
    .fails(2, "already");
    assert_eq!(key_file(home, "one"), before);
}

#[test]
fn encrypted_key_stays_encrypted_when_it_is_imported() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let asked = |args: &[&str]| with(home, "STIVER_PASSPHRASE", PASSPHRASE, args);
    asked(&["wallet", "new", "one", "--encrypt"]).ends_with(0);
    let export = ["wallet", "export", "one", "--plain", "--yes"];
    let secret = asked(&export).ends_with(0).out;
    let file = home.join("keys/one.key");
    let import = [
        "--json",
        "wallet",
        "import",
        "two",
        "--from",
        file.to_str().unwrap(),
    ];
    run(home, &import).fails(2, "passphrase");
    let told = asked(&import).ends_with(0).json();
    assert_eq!(told["keptIn"], "encrypted-file");
    assert_eq!(key_file(home, "two"), key_file(home, "one"));
    let export = ["wallet", "export", "two", "--plain", "--yes"];
    assert_eq!(asked(&export).ends_with(0).out, secret);
}

#[test]
fn key_of_the_environment_pays_and_is_written_nowhere() {
    let stage = Stage::funded();
    let home = stage.home();
    let export = ["wallet", "export", "--plain", "--yes"];
    let secret = run(&home, &export).ends_with(0).out.trim().to_owned();
    std::fs::remove_file(home.join("keys/default.key")).unwrap();
    let get = [
        "get",
        "--max-amount",
        "0.01 USD",
        &stage.at("/v1/temperature"),
    ];
    run(&home, &get).fails(4, "stiver wallet new");
    let paid = with(&home, "STIVER_KEY", &secret, &get).ends_with(0);
    let list = with(&home, "STIVER_KEY", &secret, &["--json", "wallet", "list"]).ends_with(0);
    assert!(list.json()["environmentKey"].is_string());
    assert!(list.err.contains("STIVER_KEY is set"), "{list:?}");
    for (path, content) in files(&home) {
        let text = String::from_utf8_lossy(&content).into_owned();
        assert!(!text.contains(&secret), "{}", path.display());
    }
    for text in [&paid.out, &paid.err, &list.out, &list.err] {
        assert!(!text.contains(&secret), "{text}");
    }
    with(&home, "STIVER_KEY", "rubbish", &get).fails(2, "43 characters");
    let new = ["wallet", "new", "two"];
    with(&home, "STIVER_KEY", &secret, &new).fails(2, "unset it");
    run(&home, &new).ends_with(0);
    let other = ["get", "--wallet", "two", "http://127.0.0.1:1/"];
    with(&home, "STIVER_KEY", &secret, &other).fails(2, "not the key of the wallet two");
}

#[test]
fn key_file_that_others_can_read_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    run(home, &["wallet", "new"]).ends_with(0);
    let file = home.join("keys/default.key");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&home.join("keys")), 0o700);
    for wide in [0o640, 0o604, 0o620] {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(wide)).unwrap();
        run(home, &["wallet", "balance"]).fails(2, "chmod 600");
    }
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    run(home, &["wallet", "balance"]).fails(2, "stiver wallet join");
}

#[test]
fn move_leaves_the_plain_key_nowhere() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path();
    run(home, &["wallet", "new"]).ends_with(0);
    let file = home.join("keys/default.key");
    let plain = std::fs::read_to_string(&file).unwrap();
    // A write that was cut off has left the key behind; another wallet's is not touched.
    let cut = home.join("keys/.default.key.0123456789abcdef.tmp");
    std::fs::write(&cut, &plain).unwrap();
    let other = home.join("keys/.other.key.0123456789abcdef.tmp");
    std::fs::write(&other, "").unwrap();
    // A link would be replaced, and the key stay where it leads.
    let elsewhere = home.join("elsewhere.key");
    std::fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let passphrase = home.join("passphrase");
    std::fs::write(&passphrase, PASSPHRASE).unwrap();
    let passphrase = passphrase.to_str().unwrap();
    let moved = [
        "wallet",
        "move",
        "--encrypt",
        "--passphrase-file",
        passphrase,
    ];
    run(home, &moved).fails(2, "symbolic link");
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), plain);
    std::fs::rename(&elsewhere, &file).unwrap();
    run(home, &moved).ends_with(0);
    let secret = plain.lines().last().unwrap();
    for (path, bytes) in files(home) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(secret), "{}", path.display());
    }
    assert!(!cut.exists() && other.exists());
}

#[test]
fn move_says_what_it_needs() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    run(home, &["wallet", "new"]).ends_with(0);
    let before = files(home);
    run(home, &["wallet", "move"]).fails(2, "--encrypt, --keyring or --plain");
    run(home, &["wallet", "move", "--plain"]).fails(2, "already");
    run(home, &["wallet", "move", "--encrypt"]).fails(2, "passphrase");
    run(home, &["wallet", "move", "nobody", "--plain"]).fails(2, "no wallet nobody");
    assert_eq!(files(home), before);
}

/// On a pseudo-terminal, which `script` makes.
#[test]
fn terminal_is_asked_twice_for_a_new_passphrase_and_shows_nothing() {
    let home = tempfile::tempdir().unwrap();
    let stiver = env!("CARGO_BIN_EXE_stiver");
    let ask = |line: &str, answers: &[&str]| -> (String, bool) {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("'{stiver}' {line}"), "/dev/null"]);
        script.env("STIVER_HOME", home.path()).env("TERM", "dumb");
        for name in ["STIVER_KEY", "STIVER_PASSPHRASE", "STIVER_WALLET"] {
            script.env_remove(name);
        }
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script
            .spawn()
            .expect("`script` is there (Debian: bsdutils)");
        let mut keys = child.stdin.take().unwrap();
        let mut screen = child.stdout.take().unwrap();
        let mut shown = Vec::new();
        for answer in answers {
            // A prompt ends with a colon and a space; the keys wait for it.
            let before = shown.len();
            while !shown[before..].ends_with(b": ") {
                let mut byte = [0];
                assert_eq!(screen.read(&mut byte).unwrap(), 1, "{shown:?}");
                shown.extend(byte);
            }
            keys.write_all(format!("{answer}\r").as_bytes()).unwrap();
        }
        screen.read_to_end(&mut shown).unwrap();
        let ended = child.wait().unwrap().success();
        (String::from_utf8(shown).unwrap(), ended)
    };
    let (shown, made) = ask(
        "wallet new --encrypt",
        &[PASSPHRASE, "correct horse batterx"],
    );
    assert!(!made && shown.contains("differ"), "{shown}");
    let (shown, made) = ask("wallet new --encrypt", &[PASSPHRASE, PASSPHRASE]);
    assert!(made && shown.contains("made the wallet default"), "{shown}");
    assert!(!shown.contains("horse"), "{shown}");
    let export = "wallet export --plain --yes";
    let (shown, told) = ask(export, &["mistyped", PASSPHRASE]);
    assert!(told && !shown.contains("horse"), "{shown}");
    let (shown, told) = ask(export, &["no", "no", "no"]);
    assert!(!told && shown.contains("passphrase is wrong"), "{shown}");
    let (shown, told) = ask(export, &["half\u{3}"]);
    assert!(!told && !shown.contains("half"), "{shown}");
}
