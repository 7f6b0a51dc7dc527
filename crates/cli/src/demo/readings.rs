//! Scene: readings by the second and by the piece, paid by a hash chain; the buyer is killed.

use serde_json::{Value, json};

use super::{
    buyer::{Buyer, Said},
    paywall::{balance, dollars, text},
    scene::{Played, Report, Scene},
    stage::{Stage, StageDirector},
};
use crate::failure::Failure;

pub(crate) const SCENE: Scene = Scene {
    name: "sensor",
    about: "20 readings a second, paid by the second and by the reading; the buyer is killed",
    play: |director, report| -> Played<'_> { Box::pin(play(director, report)) },
};

const ROUTES: &str = r#"
[[route]]
path = "/v1/live"
methods = ["GET"]
prices = ["0.00001 USD per event", "0.00002 USD per second"]
session = { window = "0.00004 USD", suggested_deposit = "0.01 USD" }
"#;

/// What a reading and a second cost, and what may be served before it is spent, base units.
const READING: u64 = 10;
const SECOND: u64 = 20;
const WINDOW: u64 = 40;
/// What the wallet is given, what is set aside of it, and how far ahead is signed, base units.
const FUNDS: u128 = 1_000_000;
const DEPOSIT: u64 = 10_000;
const AHEAD: u64 = 80;
/// Readings before the buyer is killed, and after that.
const FIRST: u64 = 40;
const SECOND_RUN: u64 = 40;
/// How often the sensor's side is looked at, readings.
const LOOK_EVERY: u64 = 10;
/// How often it is looked whether the sensor has noticed, and how long between.
const LOOKS_MAX: u32 = 200;
const LOOK_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// What the sensor's gateway has in its channels, base units.
#[derive(Clone, Copy, Default)]
struct Held {
    accepted: u64,
    spent: u64,
    reserved: u64,
}

async fn play(director: &StageDirector, report: &mut Report) -> Result<(), Failure> {
    let mut stage = director.set("sensor", ROUTES).await?;
    stage.start_gateway().await?;
    let joined = stage
        .stiver(["wallet", "join", stage.gateway_url()])
        .await?;
    stage
        .ledger(&["issue", &text(&joined, "key")?, &dollars(FUNDS)])
        .await?;
    report.act("Readings, each paid by a word of a hash chain")?;
    report.fact("per_reading", "a reading costs", dollars(READING.into()))?;
    report.fact("per_second", "a second", dollars(SECOND.into()))?;
    let mut buyer = buy(&stage, FIRST * 2)?;
    let first = watch(&stage, &mut buyer, FIRST, report).await?;

    report.act("kill -9 of the buyer, in the middle of its stream")?;
    let first = buyer.kill().await?.unwrap_or(first);
    let held = noticed(&stage, director).await?;
    report.fact("readings_before", "readings it had", first.readings)?;
    report.fact("signed_before", "signed for", dollars(first.signed.into()))?;
    report.fact(
        "spent_before",
        "the sensor charges",
        dollars(held.spent.into()),
    )?;
    let measured = cost(&first);
    report.expect(
        held.spent <= first.signed && held.spent <= measured + WINDOW,
        "it is charged for what it got, and a window more at most",
    )?;
    report.expect(
        held.spent >= first.readings * READING,
        "and the sensor lost nothing by it",
    )?;

    report.act("It is started again, with the same wallet")?;
    let mut buyer = buy(&stage, SECOND_RUN)?;
    let mut last = watch(&stage, &mut buyer, SECOND_RUN, report).await?;
    while let Some(said) = buyer.hear().await? {
        last = said;
    }
    report.fact("readings_after", "readings it had", last.readings)?;
    report.fact("vouchers", "words it sent", last.vouchers)?;
    report.expect(
        last.session == first.session && last.vouchers > first.vouchers,
        "it goes on with the session that it had before",
    )?;
    books(&stage, (&first, &last), held, report).await
}

/// What its own count says that it cost, its last second begun.
fn cost(said: &Said) -> u64 {
    said.readings * READING + said.took_ms.div_ceil(1000) * SECOND
}

fn buy(stage: &Stage, readings: u64) -> Result<Buyer, Failure> {
    let url = format!("{}/v1/live", stage.gateway_url());
    let mut command = stage.command();
    command.args(["demo-buyer", &url, "--home"]);
    command.arg(stage.wallet_home());
    for (name, value) in [
        ("--readings", readings),
        ("--deposit", DEPOSIT),
        ("--ahead", AHEAD),
        ("--step", READING),
    ] {
        command.args([name, &value.to_string()]);
    }
    Buyer::start(command, stage.folder().join("buyer.log"))
}

/// Follows a buyer for so many readings.
async fn watch(
    stage: &Stage,
    buyer: &mut Buyer,
    until: u64,
    report: &mut Report,
) -> Result<Said, Failure> {
    let mut held = Held::default();
    let mut most = (0, 0);
    let last = loop {
        let Some(said) = buyer.hear().await? else {
            return Err(anyhow::anyhow!("the buyer ended too early").into());
        };
        if said.readings % LOOK_EVERY == 0 {
            held = look(stage).await?;
        }
        // What the sensor could take for nothing; what it has served and not kept yet.
        let (payer, payee) = (said.signed.saturating_sub(said.agreed), held.reserved);
        most = (most.0.max(payer), most.1.max(payee));
        report.live(&format!(
            "{:>3} readings  paid {}  exposure: buyer {}, sensor {}",
            said.readings,
            dollars(said.agreed.into()),
            dollars(payer.into()),
            dollars(payee.into()),
        ))?;
        if said.readings >= until {
            break said;
        }
    };
    report.live("")?;
    report.show(&format!(
        "{} readings in {} ms, {} agreed to, {} words sent",
        last.readings,
        last.took_ms,
        dollars(last.agreed.into()),
        last.vouchers,
    ))?;
    report.show(&format!(
        "exposure at most: buyer {}, sensor {}",
        dollars(most.0.into()),
        dollars(most.1.into()),
    ))?;
    report.expect(
        most.0 <= AHEAD + WINDOW && most.1 <= WINDOW,
        "neither side risked more than it agreed to",
    )?;
    Ok(last)
}

/// The sensor's side, as its operator sees it.
async fn look(stage: &Stage) -> Result<Held, Failure> {
    let config = stage.config_file();
    let args = [std::ffi::OsStr::new("status"), "--config".as_ref()];
    let told = stage
        .stiver(args.into_iter().chain([config.as_os_str()]))
        .await?;
    let units = |name: &str| {
        let units = told.pointer(&format!("/sessions/held/{name}/units"));
        let units = units.and_then(Value::as_str).unwrap_or_default();
        units.parse::<u64>()
    };
    Ok(Held {
        accepted: units("accepted")?,
        spent: units("spent")?,
        reserved: units("reserved")?,
    })
}

/// Waits until the sensor serves nobody any more.
async fn noticed(stage: &Stage, director: &StageDirector) -> Result<Held, Failure> {
    for _ in 0..LOOKS_MAX {
        let held = look(stage).await?;
        if held.reserved == 0 {
            return Ok(held);
        }
        director.env().clock.sleep(LOOK_PAUSE).await;
    }
    Err(anyhow::anyhow!("the sensor serves a buyer that is gone").into())
}

async fn books(
    stage: &Stage,
    (first, last): (&Said, &Said),
    held: Held,
    report: &mut Report,
) -> Result<(), Failure> {
    report.act("The books, after the session was closed")?;
    let taken = last.captured.unwrap_or(0);
    let left = balance(stage).await?;
    let accounts = stage.ledger(&["accounts"]).await?;
    let check = stage.ledger(&["check"]).await?;
    let accounts = accounts.get("accounts").and_then(Value::as_array);
    let payee = accounts.and_then(|all| {
        let payee = json!(last.payee);
        all.iter().find(|account| account.get("id") == Some(&payee))
    });
    let earned = payee.and_then(|it| it.pointer("/balances/0/available/units"));
    let second = taken.saturating_sub(held.spent);
    report.fact("taken", "taken by the sensor", dollars(taken.into()))?;
    report.fact(
        "taken_second_run",
        "of it after the kill",
        dollars(second.into()),
    )?;
    report.fact("left", "left in the wallet", dollars(left))?;
    report.expect(
        FUNDS.checked_sub(taken.into()) == Some(left),
        "what the buyer's wallet lost is what its journal says, to one base unit",
    )?;
    report.expect(
        earned == Some(&json!(taken.to_string())),
        "and what the sensor's account has, to one base unit",
    )?;
    report.expect(
        taken <= last.signed && held.accepted <= first.signed.max(last.signed),
        "nothing was taken that was not signed",
    )?;
    report.expect(
        second >= last.readings * READING && second <= cost(last) + WINDOW,
        "the second run cost what its readings and seconds cost, and a window more at most",
    )?;
    report.expect(
        check.get("ok") == Some(&json!(true)),
        "debits and credits balance",
    )
}
