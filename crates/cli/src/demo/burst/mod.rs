//! Scene: vouchers over HTTP as fast as they go, signed ones and words of a hash chain, and where
//! the time goes.

mod purse;
mod shares;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use stiver_core::{Amount, Currency};
use stiver_method::session::VoucherScheme;

use self::{
    purse::{Purse, Sender, Sent},
    shares::{Payee, Shares},
};
use super::{
    cpu,
    paywall::{balance, dollars, served, text},
    scene::{Played, Report, Scene},
    shopper::Shopper,
    stage::{Stage, StageDirector},
};
use crate::{
    commands::get::Connect,
    failure::Failure,
    payer::{bound_account, ledger_session_payer},
};

pub(crate) const SCENE: Scene = Scene {
    name: "burst",
    about: "vouchers and hash-chain ticks: how many a second, and what each part costs",
    play: |director, report| -> Played<'_> { Box::pin(play(director, report)) },
};

const ROUTES: &str = r#"
[[route]]
path = "/v1/temperature"
methods = ["GET"]
price = "0.000002 USD per request"

[[route]]
path = "/v1/free"
methods = ["GET"]
access = "free"
"#;

/// What a request costs, base units.
const PRICE: u128 = 2;
/// Channels at once: so many requests are under way at any time.
const CHANNELS: usize = 16;
/// Vouchers that each channel has for a burst.
const VOUCHERS: usize = 400;
/// A burst ends after this, however many it has sent.
const BURST_LIMIT: Duration = Duration::from_millis(1500);
/// What the wallet is given, base units.
const FUNDS: u128 = 1_000_000;

/// What was measured of one kind of requests.
struct Burst {
    sent: Sent,
    /// The gateway's CPU time for each.
    cpu: Option<Duration>,
}

async fn play(director: &StageDirector, report: &mut Report) -> Result<(), Failure> {
    let mut stage = director.set("burst", ROUTES).await?;
    stage.start_gateway().await?;
    let joined = stage
        .stiver(["wallet", "join", stage.gateway_url()])
        .await?;
    stage
        .ledger(&["issue", &text(&joined, "key")?, &dollars(FUNDS)])
        .await?;
    let sender = sender(&stage, director).await?;
    let price = Currency::new("usd", 6)?.units(PRICE);

    report.act("Signed vouchers (Ed25519)")?;
    let signed = open(&sender, VoucherScheme::Signed, &price).await?;
    let (signed, paid) = burst(&stage, &sender, signed, report).await?;
    tell(report, "signed", "vouchers", &paid)?;

    report.act("Words of a hash chain")?;
    let chain = VoucherScheme::HashChain { step: PRICE };
    let ticks = open(&sender, chain, &price).await?;
    let (ticks, ticked) = burst(&stage, &sender, ticks, report).await?;
    tell(report, "ticks", "ticks", &ticked)?;

    report.act("The same headers at a free route")?;
    let free = Sender {
        url: format!("{}/v1/free", stage.gateway_url()),
        ..sender.clone()
    };
    let copies = signed.iter().map(|purse| Purse {
        sent: 0,
        ..purse.clone()
    });
    let (_, unpaid) = burst(&stage, &free, copies.collect(), report).await?;
    tell(report, "unpaid", "requests", &unpaid)?;

    books(
        &stage,
        &sender,
        [&signed[..], &ticks[..]].concat(),
        &unpaid,
        report,
    )
    .await?;

    report.act("What one request costs the gateway, CPU time")?;
    if cfg!(debug_assertions) {
        report.show("(a debug build: a release build is several times as fast)")?;
    }
    stage.kill_gateway().await?;
    let payee = Payee::open(&stage.config_file(), director.env()).await?;
    let mut columns = Vec::new();
    for (name, purses, burst) in [("voucher", &signed, &paid), ("tick", &ticks, &ticked)] {
        let folder = stage.folder().join(format!("{name}-store"));
        let shares = payee.shares(purses, &folder).await?;
        columns.push(Column::new(name, shares, unpaid.cpu, burst.cpu));
    }
    table(report, &columns)
}

/// What sends vouchers of the stage's wallet.
async fn sender(stage: &Stage, director: &StageDirector) -> Result<Sender, Failure> {
    let env = director.env();
    let shopper = Shopper::new(stage, env).await?;
    let wallet = shopper.wallet();
    let account = bound_account(wallet)?;
    let payer = ledger_session_payer(wallet, &account, &Connect::default(), env)?;
    Ok(Sender {
        http: reqwest::Client::builder().no_proxy().build()?,
        payer: Arc::new(payer),
        url: format!("{}/v1/temperature", stage.gateway_url()),
        done: Arc::new(AtomicUsize::new(0)),
        env: env.clone(),
    })
}

async fn open(
    sender: &Sender,
    scheme: VoucherScheme,
    price: &Amount,
) -> Result<Vec<Purse>, Failure> {
    let mut purses = Vec::new();
    for _ in 0..CHANNELS {
        purses.push(sender.open(scheme, price, VOUCHERS).await?);
    }
    Ok(purses)
}

/// Sends what all channels have, and measures.
async fn burst(
    stage: &Stage,
    sender: &Sender,
    purses: Vec<Purse>,
    report: &Report,
) -> Result<(Vec<Purse>, Burst), Failure> {
    let used = || stage.gateway_process().and_then(cpu::of_process);
    let before = used();
    sender.done.store(0, Ordering::Relaxed);
    let total = CHANNELS * VOUCHERS;
    let sending = sender.burst(purses, BURST_LIMIT);
    let sent = report.watching(&sender.done, total, &sender.env, sending);
    let (purses, sent) = sent.await?;
    let took = before
        .zip(used())
        .map(|(before, now)| now.saturating_sub(before));
    let count = u32::try_from(sent.count)?;
    let cpu = took.and_then(|took| took.checked_div(count));
    Ok((purses, Burst { sent, cpu }))
}

fn tell(report: &mut Report, key: &str, what: &str, burst: &Burst) -> Result<(), Failure> {
    let sent = &burst.sent;
    report.fact(&format!("{key}_sent"), what, sent.count)?;
    report.fact(&format!("{key}_rate_per_s"), "a second", sent.rate())?;
    for (percent, label) in [(50, "half of them within"), (99, "99 of 100 within")] {
        let key = format!("{key}_p{percent}");
        report.fact(&key, label, millis(sent.percentile(percent)))?;
    }
    report.expect(sent.count > 0, "each was answered, and none was refused")
}

/// Closes every channel, and compares.
async fn books(
    stage: &Stage,
    sender: &Sender,
    purses: Vec<Purse>,
    unpaid: &Burst,
    report: &mut Report,
) -> Result<(), Failure> {
    report.act("The books, after every channel was closed")?;
    let mut taken = 0_u128;
    let mut signed = 0_u128;
    let mut requests = unpaid.sent.count;
    for purse in &purses {
        taken += sender.close(purse).await?;
        signed += purse.paid();
        // The first was paid for by the opening.
        requests += purse.sent + 1;
    }
    let left = balance(stage).await?;
    let runs = served(stage).await?;
    let check = stage.ledger(&["check"]).await?;
    report.fact("signed", "signed for", dollars(signed))?;
    report.fact("taken", "taken by the payee", dollars(taken))?;
    report.fact("left", "left in the wallet", dollars(left))?;
    report.fact("handler_runs", "the sensor's handler ran", runs)?;
    report.expect(
        taken == signed && FUNDS.checked_sub(signed) == Some(left),
        "what was signed was taken, and the rest came back, to one base unit",
    )?;
    report.expect(
        runs == u64::try_from(requests)?,
        "the sensor served exactly the requests that were made",
    )?;
    report.expect(
        check.get("ok") == Some(&json!(true)),
        "debits and credits balance",
    )
}

/// One column of the table.
struct Column {
    name: &'static str,
    /// Each part, and how much of it.
    parts: Vec<(&'static str, &'static str, Duration)>,
    /// How long half of the durable writes took, on the clock.
    durable_within: Duration,
}

impl Column {
    fn new(
        name: &'static str,
        shares: Shares,
        unpaid: Option<Duration>,
        paid: Option<Duration>,
    ) -> Self {
        let mut parts = vec![
            ("codec", "codec and binding", shares.codec),
            ("signature", "signature, or hash", shares.proof),
            ("disk", "durable, twice", shares.disk),
        ];
        if let Some((unpaid, paid)) = unpaid.zip(paid) {
            let known = unpaid + shares.codec + shares.proof + shares.disk;
            parts.insert(0, ("http", "HTTP, proxied", unpaid));
            parts.push(("rest", "the rest", paid.saturating_sub(known)));
        }
        Self {
            name,
            parts,
            durable_within: shares.durable_within,
        }
    }

    fn sum(&self) -> Duration {
        self.parts.iter().map(|part| part.2).sum()
    }

    /// A part in a hundred, whole.
    fn percent(&self, part: Duration) -> u128 {
        part.as_nanos().saturating_mul(100) / self.sum().as_nanos().max(1)
    }

    fn json(&self) -> Value {
        let parts = self.parts.iter().map(|(key, _, time)| {
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            ((*key).to_owned(), json!(nanos))
        });
        Value::Object(parts.collect())
    }
}

fn table(report: &mut Report, columns: &[Column]) -> Result<(), Failure> {
    let cell = |column: &Column, time: Duration| {
        format!("{:>10} {:>4} %", micros(time), column.percent(time))
    };
    let head: Vec<String> = columns
        .iter()
        .map(|it| format!("{:>17}", it.name))
        .collect();
    report.show(&format!("{:<20}{}", "", head.concat()))?;
    let rows = columns.first().map_or(0, |column| column.parts.len());
    for row in 0..rows {
        let parts = columns
            .iter()
            .filter_map(|it| Some((it, it.parts.get(row)?)));
        let cells: Vec<String> = parts.map(|(it, part)| cell(it, part.2)).collect();
        let label = columns.first().and_then(|it| it.parts.get(row));
        let label = label.map_or("", |part| part.1);
        report.show(&format!("{label:<20}{}", cells.concat()))?;
    }
    let sums: Vec<String> = columns.iter().map(|it| cell(it, it.sum())).collect();
    report.show(&format!("{:<20}{}", "together", sums.concat()))?;
    for column in columns {
        let name = column.name;
        report.hidden_fact(&format!("{name}_cpu_ns"), column.json());
        let label = format!("{name}: durable within");
        report.fact(
            &format!("{name}_durable_p50"),
            &label,
            millis(column.durable_within),
        )?;
    }
    let proof = |name: &str| {
        let column = columns.iter().find(|column| column.name == name)?;
        let part = column.parts.iter().find(|part| part.0 == "signature")?;
        Some(1_000_000_000 / part.2.as_nanos().max(1))
    };
    for (name, label) in [
        ("voucher", "signatures/s on one core"),
        ("tick", "ticks/s on one core"),
    ] {
        let rate = u64::try_from(proof(name).unwrap_or(0))?;
        report.fact(&format!("{name}s_verified_per_s"), label, rate)?;
    }
    report.expect(
        proof("tick") > proof("voucher"),
        "a step of a hash chain costs less than a signature",
    )
}

/// Milliseconds with one digit.
fn millis(time: Duration) -> String {
    let tenths = time.as_micros() / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

/// Microseconds with one digit.
fn micros(time: Duration) -> String {
    let tenths = time.as_nanos() / 100;
    format!("{}.{} µs", tenths / 10, tenths % 10)
}
