//! The gateway in front of an API, wallets, and a peer beside them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use stiver_core::did::DidKey;
use stiver_ledger::id::AccountId;
use stiver_method::key::Ed25519Key;

use crate::wire::{self, Scripted};

/// What every priced page costs, base units of `usd`.
pub(crate) const PRICE: u128 = 1_000;

/// The realm of the peers.
pub(crate) const PEER_REALM: &str = "a peer";

/// The seed of the key that a peer pays with.
const PAYER_SEED: [u8; 32] = [21; 32];

/// The key of the account that a peer is paid into.
const PAYEE_SEED: [u8; 32] = [22; 32];

const ROUTES: &str = r#"
[[route]]
path = "/paid"
price = "0.001 USD"
description = "a \"quoted\" \\ reading"

[[route]]
path = "/other"
price = "0.001 USD"

[[route]]
path = "/order"
methods = ["POST"]
price = "0.001 USD"

[[route]]
path = "/free"
access = "free"
"#;

/// One implementation to run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Implementation {
    Mppx,
    Mpp,
    Pympp,
}

impl Implementation {
    /// As the head of a column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mppx => "mppx 0.11.0",
            Self::Mpp => "mpp 0.18.2",
            Self::Pympp => "pympp 0.16.0",
        }
    }

    /// The command that starts it, of what `cargo xtask peers` installed.
    fn command(self) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop");
        match self {
            Self::Mppx => {
                let mut command = Command::new("node");
                command.arg(root.join("js/peer.mjs"));
                command.env("STIVER_PEER_MODULES", mppx_folder());
                command
            }
            Self::Mpp => Command::new(installed("STIVER_PEER_MPP")),
            Self::Pympp => {
                let mut command = Command::new(installed("STIVER_PEER_PYMPP"));
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command.arg(root.join("py/peer.py"));
                command
            }
        }
    }
}

/// The folder that holds mppx's `node_modules`.
pub(crate) fn mppx_folder() -> PathBuf {
    installed("STIVER_PEER_MPPX")
}

/// Where `cargo xtask peers` put something.
fn installed(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.unwrap_or_else(|| {
        panic!("{variable} is not set: run `cargo xtask interop`, which installs the peers")
    })
}

/// The `stiver` command, built beside this test.
fn stiver(home: &Path) -> Command {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("stiver");
    assert!(
        program.exists(),
        "{} is not built: run `cargo build -p stiver-cli`",
        program.display()
    );
    let mut command = Command::new(program);
    for name in ["STIVER_MAX_AMOUNT", "STIVER_WALLET", "STIVER_LOG"] {
        command.env_remove(name);
    }
    command.env("STIVER_HOME", home).env("HOME", home);
    command.env("TERM", "dumb").stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A process that ends with the value.
struct Running {
    child: Child,
    url: String,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ");
        let url = url.unwrap_or_else(|| panic!("it did not start: {line:?}"));
        Self {
            child,
            url: url.to_owned(),
            out,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A peer: a server, and a client that does as it is told.
pub(crate) struct Peer {
    pub(crate) url: String,
    pipes: Mutex<Pipes>,
}

struct Pipes {
    running: Running,
    input: ChildStdin,
}

impl Peer {
    /// Does one thing: what the peer answered, or the error it met.
    pub(crate) fn tell(&self, request: Value) -> Result<Value, String> {
        self.tell_all(vec![request]).remove(0)
    }

    /// Does things at once; the answers are in the order of the requests.
    pub(crate) fn tell_all(&self, requests: Vec<Value>) -> Vec<Result<Value, String>> {
        let mut pipes = self.pipes.lock().unwrap();
        let mut lines = String::new();
        let count = requests.len();
        for (call, mut request) in requests.into_iter().enumerate() {
            request["call"] = json!(call);
            lines.push_str(&format!("{request}\n"));
        }
        pipes.input.write_all(lines.as_bytes()).unwrap();
        let mut answers = vec![Err("no answer".to_owned()); count];
        for _ in 0..count {
            let mut line = String::new();
            pipes.running.out.read_line(&mut line).unwrap();
            let answer: Value = serde_json::from_str(&line).unwrap();
            let call = usize::try_from(answer["call"].as_u64().unwrap()).unwrap();
            answers[call] = match answer["ok"] == true {
                true => Ok(answer),
                false => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
            };
        }
        answers
    }

    /// The peer's client fetches a URL, and pays when asked.
    pub(crate) fn fetch(&self, method: &str, url: &str) -> Result<Value, String> {
        self.tell(json!({"op": "fetch", "method": method, "url": url}))
    }

    /// The peer's client answers the challenges of a 402.
    pub(crate) fn credential(&self, reply: &wire::Reply) -> Result<String, String> {
        let headers = reply.fields("www-authenticate");
        let made = self.tell(json!({"op": "credential", "headers": headers}))?;
        Ok(made["credential"].as_str().unwrap().to_owned())
    }
}

/// A gateway in front of an API, the wallet `default` on its ledger, and accounts for a peer.
pub(crate) struct Stage {
    root: tempfile::TempDir,
    pub(crate) url: String,
    served: Arc<AtomicU64>,
    _upstream: Scripted,
    _gateway: Running,
}

impl Stage {
    /// Everything runs; nobody has money yet.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let served = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&served);
        let upstream = Scripted::start(move |head| {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            let body = format!("served {number}\n");
            let body = if head.starts_with("HEAD ") { "" } else { &body };
            wire::answer("200 OK", &["content-type: text/plain".to_owned()], body)
        });
        let folder = root.path().join("gateway");
        let init = [
            "init",
            folder.to_str().unwrap(),
            "--upstream",
            &upstream.url,
        ];
        let done = run(stiver(root.path()).args(init).args([
            "--listen",
            "127.0.0.1:0",
            "--realm",
            "127.0.0.1",
        ]));
        assert_eq!(done.code, 0, "{done:?}");
        let config = folder.join("stiver.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let head = text.split("\n[[route]]").next().unwrap();
        let text = format!("{head}\n[ledger]\naccept_orders = true\n{ROUTES}");
        std::fs::write(&config, text).unwrap();
        let mut serve = stiver(root.path());
        serve.args(["serve", "--config"]).arg(&config);
        let gateway = Running::start(serve.env("STIVER_LOG", "error"));
        let url = gateway.url.clone();
        let stage = Self {
            root,
            url,
            served,
            _upstream: upstream,
            _gateway: gateway,
        };
        stage.ends_well(&["wallet", "new"]);
        stage.ends_well(&["wallet", "join", &stage.url]);
        // What is paid needs an account: one base unit opens it.
        stage.issue(&did(PAYEE_SEED), "0.000001 USD");
        stage
    }

    /// Starts a peer that settles on the gateway's ledger.
    pub(crate) fn peer(&self, implementation: Implementation) -> Peer {
        let about = wire::get(&self.at("/.well-known/stiver/ledger"), &[]);
        let about: Value = serde_json::from_str(&about.body).unwrap();
        let seed: String = PAYER_SEED
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let setting = json!({
            "seed": seed,
            "endpoint": self.at("/.well-known/stiver/ledger"),
            "ledger": about["ledger"],
            "receiptKey": about["receiptKey"],
            "recipient": account(PAYEE_SEED),
            "realm": PEER_REALM,
            "secret": "a secret of at least thirty-two bytes",
            "amount": PRICE.to_string(),
        });
        let mut command = implementation.command();
        command.env("STIVER_PEER", setting.to_string());
        let mut running = Running::start(command.stdin(Stdio::piped()));
        let input = running.child.stdin.take().unwrap();
        Peer {
            url: running.url.clone(),
            pipes: Mutex::new(Pipes { running, input }),
        }
    }

    /// A folder for what programs want to keep.
    pub(crate) fn home(&self) -> &Path {
        self.root.path()
    }

    /// A URL of the gateway.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// How often the API was asked.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }

    /// Gives the peer's payer ten dollars.
    pub(crate) fn fund_peer(&self) {
        self.issue(&did(PAYER_SEED), "10 USD");
    }

    /// Gives the wallet ten dollars.
    pub(crate) fn fund_wallet(&self) {
        let list: Value =
            serde_json::from_str(&self.ends_well(&["--json", "wallet", "list"])).unwrap();
        self.issue(list["wallets"][0]["key"].as_str().unwrap(), "10 USD");
    }

    /// Opens an account with money, and gives its key.
    pub(crate) fn funded_key(&self, seed: u8) -> Ed25519Key {
        self.issue(&did([seed; 32]), "10 USD");
        Ed25519Key::from_seed(&[seed; 32])
    }

    fn issue(&self, to: &str, amount: &str) {
        let config = self.config();
        let config = config.to_str().unwrap();
        self.ends_well(&["ledger", "issue", to, amount, "--config", config]);
    }

    fn config(&self) -> PathBuf {
        self.root.path().join("gateway/stiver.toml")
    }

    /// Makes an expired challenge under the gateway's secret, with the request of another one.
    pub(crate) fn expired(&self, realm: &str, request: &Value) -> String {
        let secret = self
            .root
            .path()
            .join("gateway/stiver-data/challenge.secret");
        let (secret, request) = (secret.to_str().unwrap(), request.to_string());
        let mint = [
            "mint",
            "--secret-file",
            secret,
            "--realm",
            realm,
            "--method",
            "ledger",
        ];
        let more = ["--request", &request, "--expires", "2026-01-01T00:00:00Z"];
        let printed = self.ends_well(&[&mint[..], &more[..]].concat());
        let value = printed
            .trim()
            .split_once(": ")
            .map_or(printed.trim(), |(_, value)| value);
        value.to_owned()
    }

    /// What the peer's payer has left, base units.
    pub(crate) fn peer_left(&self) -> u128 {
        self.left(&account(PAYER_SEED))
    }

    /// What the peer was paid, base units.
    pub(crate) fn peer_earned(&self) -> u128 {
        self.left(&account(PAYEE_SEED)) - 1
    }

    fn left(&self, account: &str) -> u128 {
        let config = self.config();
        let config = config.to_str().unwrap();
        let all = self.ends_well(&["--json", "ledger", "accounts", "--config", config]);
        let all: Value = serde_json::from_str(&all).unwrap();
        let accounts = all["accounts"].as_array().unwrap();
        let row = accounts.iter().find(|row| row["id"] == account);
        let balances = row.map(|row| row["balances"].as_array().unwrap());
        let balance = balances.and_then(|all| all.first());
        balance.map_or(0, |row| {
            row["available"]["units"].as_str().unwrap().parse().unwrap()
        })
    }

    /// `stiver` as the wallet's owner.
    pub(crate) fn stiver(&self, args: &[&str]) -> Done {
        run(stiver(self.root.path()).args(args))
    }

    /// Several at once.
    pub(crate) fn stiver_at_once(&self, args: &[&str], count: usize) -> Vec<Done> {
        let start = |_| {
            let mut command = stiver(self.root.path());
            command
                .args(args)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let started: Vec<Child> = (0..count).map(start).collect();
        started
            .into_iter()
            .map(|child| done(child.wait_with_output().unwrap()))
            .collect()
    }

    fn ends_well(&self, args: &[&str]) -> String {
        let done = self.stiver(args);
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        done.out
    }
}

fn run(command: &mut Command) -> Done {
    done(command.output().unwrap())
}

fn done(output: std::process::Output) -> Done {
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn did(seed: [u8; 32]) -> String {
    Ed25519Key::from_seed(&seed).did().to_string()
}

fn account(seed: [u8; 32]) -> String {
    let key: DidKey = Ed25519Key::from_seed(&seed).did();
    AccountId::of_first_key(&key).to_string()
}
