//! The gateway as a process, its configuration and its books.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use serde_json::Value;

/// A child process that is killed with SIGKILL when it is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    let found = found.unwrap_or_else(|| panic!("no {pointer} in {value}"));
    found.to_owned()
}

pub(crate) fn units(value: &Value, pointer: &str) -> u128 {
    text(value, pointer).parse().unwrap()
}

/// This program, with a folder of wallets of its own.
pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stiver"));
    command
        .env("STIVER_HOME", home)
        .env("STIVER_LOG", "error")
        .stdin(Stdio::null());
    command
}

/// A gateway's folder, and what runs in it.
pub(crate) struct Stage {
    /// Where the gateway listens, once it runs.
    pub(crate) address: String,
    pub(crate) gateway: Mutex<Option<Running>>,
    root: tempfile::TempDir,
    config: PathBuf,
}

impl Stage {
    /// Configures a gateway in front of an upstream: so much for an event, in such a window.
    pub(crate) fn new(upstream: &str, price: u128, window: u128) -> Self {
        let root = tempfile::tempdir().unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let folder = root.path().join("gateway");
        let stage = Self {
            address,
            gateway: Mutex::default(),
            config: folder.join("stiver.toml"),
            root,
        };
        let folder = folder.to_str().unwrap();
        let listen = ["--listen", &stage.address, "--upstream", upstream];
        let home = stage.home("operator");
        stage.stiver(&[&["init", folder], &listen[..]].concat(), &home);
        let file = std::fs::read_to_string(&stage.config).unwrap();
        let head = file.split("[[route]]").next().unwrap();
        let routes = format!(
            "[[route]]\npath = \"/live\"\nmethods = [\"GET\"]\nprice = \"{} USD per event\"\n\
             session = {{ window = \"{} USD\" }}\n",
            dollars(price),
            dollars(window),
        );
        std::fs::write(&stage.config, format!("{head}{routes}")).unwrap();
        stage
    }

    /// A folder of wallets.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Starts the gateway, and waits until it listens.
    pub(crate) fn serve(&self) -> Running {
        let mut child = program(&self.home("operator"))
            .args(["serve", "--config", self.config.to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let running = Running(child);
        let line = lines.next().expect("it says where it listens").unwrap();
        assert!(line.starts_with("listening on "), "{line}");
        running
    }

    /// Runs `stiver --json ARGS` and reads its object.
    pub(crate) fn stiver(&self, args: &[&str], home: &Path) -> Value {
        let output = program(home).arg("--json").args(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {error} {out}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs `stiver ledger ...` on the gateway's books.
    pub(crate) fn ledger(&self, args: &[&str]) -> Value {
        let config = ["--config", self.config.to_str().unwrap()];
        let args = [&["ledger"], args, &config].concat();
        self.stiver(&args, &self.home("operator"))
    }

    /// What an account of the ledger has, base units.
    pub(crate) fn funds(&self, account: &str) -> u128 {
        let told = self.ledger(&["accounts"]);
        let accounts = told.pointer("/accounts").and_then(Value::as_array).unwrap();
        let account = accounts.iter().find(|it| text(it, "/id") == account);
        units(account.unwrap(), "/balances/0/available/units")
    }
}

/// Base units of the ledger's dollar as people write them.
pub(crate) fn dollars(units: u128) -> String {
    format!("{}.{:06}", units / 1_000_000, units % 1_000_000)
}
