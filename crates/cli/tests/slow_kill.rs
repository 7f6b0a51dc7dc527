//! The gateway is killed with SIGKILL during bursts of paid calls, again and again. No acknowledged
//! payment is lost, none is settled twice, and the books balance.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::panic, reason = "what tests share is a test too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use stiver_client::{
    Answer, CallError, CallId, Options, Parts, PayingClient, PaymentClient, Retry,
    policy::MaxAmount,
};
use stiver_core::{Amount, Currency};
use stiver_env::Env;
use stiver_method_ledger::{LedgerPayer, LedgerPayerConfig};
use stiver_wallet::{Home, WalletName};
use tokio::{sync::watch, time::timeout};

/// How often the gateway is killed.
const KILLS: usize = 50;
/// Buyers at work at any time.
const BUYERS: usize = 8;
/// The price of a call, and what the wallet begins with, base units.
const PRICE: u128 = 1000;
const FUNDS: u128 = 100_000_000;
/// Resumes of one call before the test gives up on it.
const RESUMES_MAX: usize = 20;
/// How long payments may be without an acknowledgement.
const STALL: Duration = Duration::from_secs(120);

/// A child process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `stiver ARGS` and reads where it listens.
fn start(args: &[&str], home: &Path) -> (Running, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stiver"))
        .args(args)
        .env("STIVER_HOME", home)
        .env("STIVER_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let running = Running(child);
    let line = lines.next().expect("it says where it listens").unwrap();
    let url = line
        .strip_prefix("listening on ")
        .expect("its first line tells");
    (running, url.to_owned())
}

/// Runs `stiver --json ARGS` and reads its object.
fn stiver(args: &[&str], home: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_stiver"))
        .arg("--json")
        .args(args)
        .env("STIVER_HOME", home)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
        .to_owned()
}

/// What buyers have seen.
#[derive(Default)]
struct Seen {
    /// Reference of every acknowledged payment, by call.
    paid: BTreeMap<CallId, String>,
    /// Calls whose outcome is open.
    open: BTreeSet<CallId>,
}

struct Shop {
    client: PayingClient,
    url: String,
    seen: Mutex<Seen>,
    acknowledged: watch::Sender<usize>,
    closing: AtomicBool,
}

impl Shop {
    /// Buys until told to stop.
    async fn buy(self: Arc<Self>) {
        while !self.closing.load(Ordering::Relaxed) {
            let request = Request::get(&self.url).body(Bytes::new()).unwrap();
            match self.client.call(request).await {
                Ok(answer) => {
                    self.acknowledge(&answer);
                    // A kill may cut the body: the payment is acknowledged all the same.
                    let _ = answer.response.bytes().await;
                }
                Err(error) => self.failed(&error),
            }
            tokio::task::yield_now().await;
        }
    }

    fn acknowledge(&self, answer: &Answer<reqwest::Response>) {
        let payment = answer.payment.as_ref().expect("the route has a price");
        let status = answer.response.status();
        assert!(
            status.is_success(),
            "call {}: answered {status}",
            payment.call
        );
        let receipt = payment
            .receipt
            .as_ref()
            .expect("a paid answer has a receipt");
        let mut seen = self.seen.lock().unwrap();
        seen.open.remove(&payment.call);
        let before = seen.paid.insert(payment.call, receipt.reference.clone());
        assert_eq!(before, None, "call {} was answered twice", payment.call);
        self.acknowledged.send_modify(|count| *count += 1);
    }

    fn failed(&self, error: &CallError) {
        match error.retry() {
            Retry::Resume(call) => {
                self.seen.lock().unwrap().open.insert(call);
            }
            Retry::NewCall => {}
            Retry::No => panic!("a call failed for good: {error}"),
        }
    }

    /// Brings every open call to its end. The client waits between its own tries.
    async fn finish(&self) {
        let open: Vec<CallId> = self.seen.lock().unwrap().open.iter().copied().collect();
        for call in open {
            for left in (0..RESUMES_MAX).rev() {
                match self.client.resume(call).await {
                    Ok(answer) => {
                        self.acknowledge(&answer);
                        let _ = answer.response.bytes().await;
                        break;
                    }
                    Err(error) => match error.retry() {
                        Retry::Resume(_) if left > 0 => {}
                        Retry::NewCall => {
                            self.seen.lock().unwrap().open.remove(&call);
                            break;
                        }
                        _ => panic!("call {call} cannot be brought to an end: {error}"),
                    },
                }
            }
        }
    }

    /// Waits until so many more payments were acknowledged.
    async fn acknowledged(&self, more: usize) {
        let mut counts = self.acknowledged.subscribe();
        let until = *counts.borrow() + more;
        let waiting = timeout(STALL, counts.wait_for(|count| *count >= until)).await;
        assert!(waiting.is_ok(), "payments have stalled");
    }
}

/// A wallet that joined the gateway's ledger, and a client over it.
async fn shop(home: &Path, url: &str, env: &Env) -> Arc<Shop> {
    let home = Home::new(home, env.clone());
    let wallet = home.wallet(&WalletName::new("default").unwrap()).unwrap();
    let account = wallet.account().unwrap().expect("it has joined");
    let payer = LedgerPayer::new(LedgerPayerConfig {
        signer: wallet.key().unwrap(),
        account: Some(account.account.parse().unwrap()),
        ledgers: vec![account.ledger.parse().unwrap()],
        currencies: account.currencies.clone(),
        query: None,
    });
    let client = PayingClient::new(PaymentClient::new(Parts {
        env: env.clone(),
        payers: vec![Arc::new(payer)],
        policy: Arc::new(MaxAmount::new(usd(PRICE))),
        outbox: Arc::new(wallet.outbox().await.unwrap()),
        pins: Arc::new(home.pins().unwrap()),
        options: Options::default(),
    }));
    Arc::new(Shop {
        client: client.unwrap(),
        url: format!("{url}/v1/temperature"),
        seen: Mutex::default(),
        acknowledged: watch::Sender::new(0),
        closing: AtomicBool::new(false),
    })
}

fn usd(units: u128) -> Amount {
    Currency::new("usd", 6).unwrap().units(units)
}

/// Writes a gateway's configuration in front of the sensor, on a port of its own.
fn configure(folder: &Path, home: &Path, sensor: &str) -> PathBuf {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let (listen, into) = (free.to_string(), folder.to_str().unwrap());
    stiver(
        &[
            "init",
            into,
            "--listen",
            &listen,
            "--upstream",
            sensor,
            "--price",
            "0.001 USD",
        ],
        home,
    );
    folder.join("stiver.toml")
}

/// What the ledger says must be what the buyers saw.
fn compare(shop: &Shop, config: &str, home: &Path) {
    let seen = shop.seen.lock().unwrap();
    assert!(seen.open.is_empty(), "open: {:?}", seen.open);
    let paid = u128::try_from(seen.paid.len()).unwrap();
    let references: BTreeSet<&String> = seen.paid.values().collect();
    assert_eq!(
        references.len(),
        seen.paid.len(),
        "two calls share a settlement"
    );
    let check = stiver(&["ledger", "check", "--config", config], home);
    assert_eq!(check.pointer("/ok"), Some(&Value::Bool(true)));
    assert_eq!(text(&check, "/books/currencies/0/sum/units"), "0");
    let balance = stiver(&["wallet", "balance"], home);
    let left: u128 = text(&balance, "/balances/0/available").parse().unwrap();
    assert_eq!(
        left,
        FUNDS - paid * PRICE,
        "the wallet paid for what was answered, no more"
    );
    let account = text(&balance, "/account");
    let args = [
        "ledger",
        "statement",
        &account,
        "-n",
        "1000000",
        "--config",
        config,
    ];
    let statement = stiver(&args, home);
    let rows = statement
        .pointer("/movements")
        .and_then(Value::as_array)
        .unwrap();
    let settled: BTreeSet<String> = rows
        .iter()
        .filter(|row| row.pointer("/kind") == Some(&Value::from("transfer")))
        .map(|row| text(row, "/id"))
        .collect();
    for reference in references {
        assert!(
            settled.contains(reference),
            "the acknowledged payment {reference} is lost"
        );
    }
    assert_eq!(
        settled.len(),
        seen.paid.len(),
        "somebody paid and was not answered"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn fifty_kills_lose_no_acknowledged_payment_and_settle_none_twice() {
    let env = stiver_env::native::env();
    let root = tempfile::tempdir().unwrap();
    let (folder, home) = (root.path().join("gateway"), root.path().join("home"));
    let (_sensor, sensor_url) = start(&["demo-sensor"], &home);
    let config_file = configure(&folder, &home, &sensor_url);
    let config = config_file.to_str().unwrap().to_owned();
    stiver(&["wallet", "new"], &home);
    let (mut gateway, url) = start(&["serve", "--config", &config], &home);
    let key = text(&stiver(&["wallet", "join", &url], &home), "/key");
    stiver(
        &["ledger", "issue", &key, "100 USD", "--config", &config],
        &home,
    );
    let shop = shop(&home, &url, &env).await;
    let buyers: Vec<_> = (0..BUYERS)
        .map(|_| tokio::spawn(Arc::clone(&shop).buy()))
        .collect();
    for round in 0..KILLS {
        // At another moment each time: after few payments, after many, and in between.
        shop.acknowledged(1 + round * 7 % 23).await;
        drop(gateway);
        let (config, home) = (config.clone(), home.clone());
        let starting = move || start(&["serve", "--config", &config], &home);
        gateway = tokio::task::spawn_blocking(starting).await.unwrap().0;
    }
    shop.acknowledged(BUYERS).await;
    shop.closing.store(true, Ordering::Relaxed);
    for buyer in buyers {
        buyer.await.unwrap();
    }
    shop.finish().await;
    let paid = shop.seen.lock().unwrap().paid.len();
    assert!(paid > KILLS, "payments went on between the kills: {paid}");
    compare(&shop, &config, &home);
    drop(gateway);
}
