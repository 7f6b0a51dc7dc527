//! Runs the command, and sets a stage: the demo's sensor, a gateway in front of it, a wallet.

pub(crate) mod schema;
pub(crate) mod site;
pub(crate) mod tap;
pub(crate) mod terminal;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;

/// How long a command may take.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// Asserts an exit code.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Asserts an exit code, and one message on standard error that holds this.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, needle: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        let said = self.said();
        assert!(said.contains(needle), "no {needle:?} in {self:?}");
        assert!(said.contains("error:"), "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        self
    }

    /// What standard error says: the objects on it in words.
    pub(crate) fn said(&self) -> String {
        let mut said = String::new();
        for line in self.err.lines() {
            let object: Value = serde_json::from_str(line).unwrap_or_default();
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let (error, note) = (text(&object["error"]["message"]), text(&object["note"]));
            match (error, note) {
                (Some(error), _) => said.push_str(&format!("error: {error}")),
                (None, Some(note)) => said.push_str(&note),
                (None, None) => said.push_str(line),
            }
            said.push('\n');
        }
        said
    }

    /// The object on standard error that has this key.
    #[track_caller]
    pub(crate) fn told(&self, key: &str) -> Value {
        let mut objects = self.err.lines().filter_map(|line| {
            let object: Value = serde_json::from_str(line).ok()?;
            object.get(key).cloned()
        });
        let found = objects.next();
        found.unwrap_or_else(|| panic!("nothing tells {key:?}: {self:?}"))
    }

    /// Reads its one JSON object.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(
            self.out.lines().count(),
            1,
            "one object on one line: {self:?}"
        );
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A command that does not see the environment of whoever runs the tests.
pub(crate) fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stiver"));
    for name in [
        "STIVER_MAX_AMOUNT",
        "STIVER_WALLET",
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
        "STIVER_LOG",
        "STIVER_KEY",
        "STIVER_PASSPHRASE",
        "STIVER_PASSPHRASE_FILE",
        "STIVER_PASSPHRASE_COMMAND",
        "STIVER_NEW_PASSPHRASE",
        "DBUS_SESSION_BUS_ADDRESS",
        "XDG_RUNTIME_DIR",
        "NO_COLOR",
    ] {
        command.env_remove(name);
    }
    command
        .env("STIVER_HOME", home)
        .env("HOME", home)
        .env("COLUMNS", "100")
        .env("TERM", "dumb")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run<A: AsRef<OsStr>>(home: &Path, args: &[A]) -> Done {
    finish(command(home).args(args))
}

/// Runs a command that reads this from standard input.
pub(crate) fn run_with(home: &Path, args: &[&str], input: &[u8]) -> Done {
    let mut command = command(home);
    command.args(args).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may refuse to read to the end: that shows in how it ends.
    let _ = child.stdin.take().unwrap().write_all(input);
    let done = finish_child(child);
    schema::check(&command, &done);
    done
}

/// Runs a prepared command to its end.
#[track_caller]
pub(crate) fn finish(command: &mut Command) -> Done {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = finish_child(command.spawn().unwrap());
    schema::check(command, &done);
    done
}

/// Waits for a command that must end by itself: one that does not is killed.
#[expect(clippy::disallowed_methods, reason = "a test starts its own threads")]
fn finish_child(child: Child) -> Done {
    let id = child.id().to_string();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(END_TIMEOUT).unwrap_or_else(|_| {
        let killed = Command::new("kill").args(["-s", "KILL", &id]).status();
        panic!("it did not end: {killed:?}")
    });
    done(output.unwrap())
}

fn done(output: std::process::Output) -> Done {
    Done {
        code: output.status.code().expect("it was not killed"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A child process that is killed when the test ends.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    pub(crate) first_line: String,
}

impl Running {
    /// Starts a command and waits for its first line.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first_line = String::new();
        out.read_line(&mut first_line).unwrap();
        Self {
            child,
            out,
            first_line,
        }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        let line = self.first_line.trim_end();
        let url = line.strip_prefix("listening on ");
        url.unwrap_or_else(|| panic!("it did not start: {line:?}"))
            .to_owned()
    }

    /// Sends a signal by name, and waits for the end: how it ended, and what else it printed.
    pub(crate) fn end(mut self, signal: &str) -> (ExitStatus, String) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sensor, a gateway in front of it, and a home with the wallet `default`.
pub(crate) struct Stage {
    pub(crate) root: tempfile::TempDir,
    pub(crate) url: String,
    sensor: Running,
    gateway: Option<Running>,
}

/// The price of a reading.
const ROUTES: &str = r#"
[[route]]
path = "/v1/temperature"
methods = ["GET"]
price = "0.001 USD"
description = "One temperature reading"

[[route]]
path = "/v1/calibrate"
price = "0.05 USD"

[[route]]
path = "/v1/history"
access = "free"

[[route]]
path = "/v1/nothing"
price = "0.001 USD"
"#;

impl Stage {
    /// A running gateway, and a wallet that has joined it without any money.
    pub(crate) fn poor() -> Self {
        Self::new(None, ROUTES)
    }

    /// The same with 10 USD, in front of another API, with other routes.
    pub(crate) fn before(upstream: &str, routes: &str) -> Self {
        let stage = Self::new(Some(upstream), routes);
        let key = stage.key();
        stage.ledger(&["issue", &key, "10 USD"]).ends_with(0);
        stage
    }

    fn new(upstream: Option<&str>, routes: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let sensor = Running::start(command(root.path()).arg("demo-sensor"));
        let mut stage = Self {
            root,
            url: String::new(),
            sensor,
            gateway: None,
        };
        let sensor = stage.sensor.url();
        let (folder, upstream) = (stage.folder(), upstream.unwrap_or(&sensor));
        let folder = folder.to_str().unwrap();
        let listen = ["--listen", "127.0.0.1:0"];
        let args = ["init", folder, "--upstream", upstream, listen[0], listen[1]];
        stage.run(&args).ends_with(0);
        let text = std::fs::read_to_string(stage.config()).unwrap();
        let head = text.split("[[route]]").next().unwrap();
        std::fs::write(stage.config(), format!("{head}{routes}")).unwrap();
        stage.start();
        stage.run(&["wallet", "new"]).ends_with(0);
        stage.run(&["wallet", "join", &stage.url]).ends_with(0);
        stage
    }

    /// A running gateway, and a wallet with 10 USD.
    pub(crate) fn funded() -> Self {
        let stage = Self::poor();
        let key = stage.key();
        stage.ledger(&["issue", &key, "10 USD"]).ends_with(0);
        stage
    }

    /// The gateway's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("gateway")
    }

    /// The gateway's configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder().join("stiver.toml")
    }

    /// The folder of wallets.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The gateway's host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// A URL of the gateway.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Starts the gateway.
    pub(crate) fn start(&mut self) {
        let mut command = command(&self.home());
        command.args(["serve", "--config"]).arg(self.config());
        command.env("STIVER_LOG", "error");
        let gateway = Running::start(&mut command);
        self.url = gateway.url();
        self.gateway = Some(gateway);
    }

    /// The gateway's process.
    pub(crate) fn gateway_process(&self) -> u32 {
        self.gateway.as_ref().expect("it runs").child.id()
    }

    /// Stops the gateway.
    pub(crate) fn stop(&mut self) {
        let gateway = self.gateway.take().expect("it runs");
        assert!(gateway.end("TERM").0.success());
    }

    /// Runs a command.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        run(&self.home(), args)
    }

    /// Runs a command for its JSON object.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        run(&self.home(), &all).ends_with(0).json()
    }

    /// Runs one of the ledger's commands.
    pub(crate) fn ledger(&self, args: &[&str]) -> Done {
        let config = self.config();
        let mut all = vec!["ledger"];
        all.extend(args);
        all.extend(["--config", config.to_str().unwrap()]);
        self.run(&all)
    }

    /// Runs one of the ledger's commands for its JSON object.
    #[track_caller]
    pub(crate) fn ledger_json(&self, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        self.ledger(&all).ends_with(0).json()
    }

    /// The wallet's key.
    pub(crate) fn key(&self) -> String {
        let list = self.json(&["wallet", "list"]);
        list["wallets"][0]["key"].as_str().unwrap().to_owned()
    }

    /// What is left in the wallet, base units.
    pub(crate) fn left(&self) -> u128 {
        let balance = self.json(&["wallet", "balance"]);
        match balance["balances"].as_array().unwrap().first() {
            Some(row) => row["available"].as_str().unwrap().parse().unwrap(),
            None => 0,
        }
    }

    /// What is left in a wallet that is under a passphrase, base units.
    pub(crate) fn left_with(&self, passphrase: &str) -> String {
        let mut balance = command(&self.home());
        balance.args(["--json", "wallet", "balance"]);
        let told = finish(balance.env("STIVER_PASSPHRASE", passphrase)).ends_with(0);
        told.json()["balances"][0]["available"].to_string()
    }

    /// How many payments the wallet's journal knows.
    pub(crate) fn payments(&self) -> Vec<Value> {
        let history = self.json(&["wallet", "history"]);
        history["payments"].as_array().unwrap().clone()
    }

    /// How often the sensor was asked.
    pub(crate) fn served(&self, what: &str) -> u64 {
        let stats = tap::fetch(&self.sensor.url(), "/stats");
        let stats: Value = serde_json::from_str(&stats).unwrap();
        stats[what].as_u64().unwrap()
    }
}

/// Every file below a folder with its content: equal before and after, when nothing was written.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
                all.insert(path, Vec::new());
            } else if path.is_file() {
                let content = std::fs::read(&path).unwrap();
                all.insert(path, content);
            }
        }
    }
    all
}
