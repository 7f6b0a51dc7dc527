//! What a payment costs its payee: the smallest that is worth taking, and its instructions.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use stiver_method::key::Ed25519Key;

use crate::{
    http::{Pay, challenge_of, credential, payer},
    load::{self, Expected, Load},
    proxy::find,
    report::Finding,
    rows::Setting,
    server::{Kind, PAYER_SEED, Server},
    sessions::{IN_FLIGHT, KINDS, Payers},
    vouchers::ONCE,
};

/// Rows of payments.
pub const PAYMENT_ROWS: [&str; 3] = [
    "least-viable-payment/word",
    "least-viable-payment/ed25519",
    "least-viable-payment/charge",
];
/// Rows of instructions.
pub const ENERGY_ROWS: [&str; 1] = ["energy/word"];

/// What an hour of one CPU is declared to cost, USD.
const CPU_HOUR_USD: f64 = 0.04;
/// What a gigabyte to or from the server is declared to cost, USD.
const GIGABYTE_USD: f64 = 0.01;
/// How many payments share the opening and the closing of one channel.
const PAYMENTS_PER_CHANNEL: f64 = 1000.0;
/// How many times its cost a payment has to be.
const TIMES: f64 = 10.0;
/// Charges that are measured.
const CHARGES: usize = 1000;

/// What something took of the server.
#[derive(Clone, Copy, Default)]
struct Took {
    cpu_nanos: f64,
    bytes: f64,
}

impl Took {
    /// Millionths of a USD.
    fn cost(self) -> f64 {
        (self.cpu_nanos / 3.6e12 * CPU_HOUR_USD + self.bytes / 1e9 * GIGABYTE_USD) * 1e6
    }
}

/// Ten times what a payment costs: CPU and bytes at declared prices, and its share of settling.
pub fn payments(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    for (row, kind) in PAYMENT_ROWS.into_iter().zip([0, 2]) {
        if setting.wants(row) {
            found(finding(row, session(kind)?));
        }
    }
    if setting.wants(PAYMENT_ROWS[2]) {
        found(finding(PAYMENT_ROWS[2], charge()?));
    }
    Ok(())
}

fn finding(row: &str, cost: f64) -> Finding {
    Finding {
        name: row.to_owned(),
        unit: "millionths of a USD",
        value: cost * TIMES,
        baseline: None,
    }
}

/// A payment by a session: of a request that costs two base units, at once.
fn session(kind: usize) -> Result<f64> {
    let kind = KINDS.get(kind).context("no such kind")?;
    let server = Server::start(Kind::Sessions)?;
    let mut load = Load::new()?;
    load.connect_many(server.address(), IN_FLIGHT)?;
    let before = server.cpu()?;
    let mut payers = Payers::open(&server, kind, 1)?;
    let opened = server.cpu()? - before;
    let queues = payers.requests(kind)?;
    let sent: usize = queues.iter().flatten().map(Vec::len).sum();
    let count = queues.iter().map(Vec::len).sum::<usize>() as f64;
    let mut received = 0;
    let before = server.cpu()?;
    load.run_each(&queues, Expected { status: 200 }, &mut |answer| {
        received += answer.len();
        Ok(())
    })?;
    let paid = Took {
        cpu_nanos: (server.cpu()? - before) / count,
        bytes: (sent + received) as f64 / count,
    };
    let closings = payers.closings(kind)?;
    let closing_bytes: usize = closings.iter().map(Vec::len).sum();
    let before = server.cpu()?;
    load.run(&closings, Expected { status: 204 }, &mut |_| Ok(()))?;
    let settled = Took {
        cpu_nanos: (opened + server.cpu()? - before) / IN_FLIGHT as f64,
        // Of the opening and its challenge about as many go back and forth.
        bytes: closing_bytes as f64 * 3.0 / IN_FLIGHT as f64,
    };
    Ok(paid.cost() + settled.cost() / PAYMENTS_PER_CHANNEL)
}

/// A payment by a charge on the ledger: 402, payment, 200. It is settled as it is served.
fn charge() -> Result<f64> {
    let server = Server::start(Kind::Gate)?;
    let mut load = Load::new()?;
    load.connect(server.address())?;
    let payer = Pay::By(Box::new(payer(
        Ed25519Key::from_seed(&PAYER_SEED),
        &server,
        "/paid",
    )?));
    let unpaid = vec![load::get("/paid", &[]); CHARGES];
    let mut bytes = unpaid.iter().map(Vec::len).sum::<usize>();
    let mut challenges = Vec::with_capacity(CHARGES);
    let before = server.cpu()?;
    load.run(&unpaid, Expected { status: 402 }, &mut |answer| {
        bytes += answer.len();
        challenges.push(challenge_of(answer)?);
        Ok(())
    })?;
    let asked = server.cpu()? - before;
    let mut paid = Vec::with_capacity(CHARGES);
    for challenge in challenges {
        let credential = credential(challenge, &payer)?;
        paid.push(load::get("/paid", &[("authorization", &credential)]));
    }
    bytes += paid.iter().map(Vec::len).sum::<usize>();
    let before = server.cpu()?;
    load.run(&paid, Expected { status: 200 }, &mut |answer| {
        bytes += answer.len();
        Ok(())
    })?;
    let took = Took {
        cpu_nanos: (asked + server.cpu()? - before) / CHARGES as f64,
        bytes: bytes as f64 / CHARGES as f64,
    };
    Ok(took.cost())
}

/// Instructions of a tick of a hash chain, beside those of a voucher signed with secp256k1, both
/// verified; `callgrind` counts them, on a processor without instructions for SHA-256.
pub fn energy(_: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let [ticks, vouchers] =
        ONCE.map(|(function, count)| -> Result<f64> { Ok(instructions(function)? / count as f64) });
    found(Finding {
        name: ENERGY_ROWS[0].to_owned(),
        unit: "instructions per payment",
        value: ticks?,
        baseline: Some(vouchers?),
    });
    Ok(())
}

/// All instructions inside of a function.
fn instructions(function: &str) -> Result<f64> {
    let valgrind = find("valgrind", &["/usr/bin"])
        .context("valgrind is not installed: `apt-get install valgrind` (Debian) brings it")?;
    let output = Command::new(valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect=*{function}*"))
        .arg(std::env::current_exe()?)
        .args(["--serve", "once"])
        .output()
        .context("starting valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed: {text}");
    let count = text.lines().find_map(|line| {
        let (_, count) = line.split_once("Collected :")?;
        count.trim().parse::<f64>().ok()
    });
    let count = count.with_context(|| format!("valgrind counted nothing: {text}"))?;
    ensure!(count > 0.0, "{function} was not found by valgrind");
    Ok(count)
}
