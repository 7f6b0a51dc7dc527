//! Scene: a car authorises a hold, and pays a charger by two meters. The price changes between
//! segments, and one meter runs fast.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::{Request, Uri};
use serde_json::{Value, json};
use stiver_client::session::{OwnMeter, Session, SessionLimits};
use stiver_core::Currency;
use stiver_env::Env;
use stiver_method::session::UnitPrice;

use super::{
    paywall::{balance, dollars, text},
    scene::{Played, Report, Scene},
    stage::{Stage, StageDirector},
    subscriber::{Reading, Subscriber, Ways},
};
use crate::failure::Failure;

pub(crate) const SCENE: Scene = Scene {
    name: "charger",
    about: "a car pays kWh and minutes; prices change, and a meter that runs fast gets no more",
    play: |director, report| -> Played<'_> { Box::pin(play(director, report)) },
};

/// What the post counts and reports.
const UNIT: &str = "kWh";
/// Milliwatt-hours in a thousandth of it.
const MWH_PER_THOUSANDTH: u64 = 1_000;
/// What a minute costs, base units.
const MINUTE: u128 = 60_000;
/// What the wallet is given, what the car sets aside of it, and how far ahead it signs.
const FUNDS: u128 = 10_000_000;
const DEPOSIT: u128 = 5_000_000;
const AHEAD: u128 = 60_000;
/// What a kilowatt-hour costs, segment after segment, and the most that the car pays.
const FIRST: u128 = 400_000;
const SECOND: u128 = 480_000;
const TOO_DEAR: u128 = 600_000;
const CAP: u128 = 500_000;
/// Steps of a segment, and of the post whose meter runs fast: more than it will be paid for.
const STEPS: u32 = 120;
const FAST_STEPS: u32 = 1_000;
/// No step comes for so long: the post waits for a voucher.
const QUIET: Duration = Duration::from_millis(500);
/// How often that is looked at before the scene gives up.
const QUIETS_MAX: u32 = 40;

fn routes(kwh: u128) -> String {
    format!(
        r#"
[[route]]
path = "/v1/charge/**"
methods = ["GET"]
prices = ["{} per {UNIT}", "{} per minute"]

[route.session]
window = "0.02 USD"
suggested_deposit = "5 USD"

[route.session.usage]
{UNIT} = {{ json = "/total_wh", in = "Wh" }}
"#,
        dollars(kwh),
        dollars(MINUTE)
    )
}

/// The car's own energy meter: what flowed since it was set back, milliwatt-hours.
#[derive(Default)]
struct Cable(AtomicU64);

impl OwnMeter for Cable {
    fn thousandths(&self, _: &Uri, unit: &str) -> Option<u128> {
        let flowed = self.0.load(Ordering::Relaxed);
        (unit == UNIT).then(|| u128::from(flowed / MWH_PER_THOUSANDTH))
    }
}

/// A car at the charger.
struct Car {
    subscriber: Subscriber,
    cable: Arc<Cable>,
    url: String,
    env: Env,
    /// Each segment has a URL of its own, and so an offer of its own.
    segments: u32,
}

/// What a segment came to.
struct Segment {
    /// What the post says it sold, and what flowed, watt-hours.
    sold_wh: u64,
    flowed_wh: u64,
    took: Duration,
    /// Why it was paid no further.
    unpaid: Option<String>,
}

impl Segment {
    /// What it cost by the car's own count at a price, its last second begun.
    fn cost(&self, kwh: u128) -> u128 {
        let seconds = self.took.as_millis().div_ceil(1000);
        (u128::from(self.flowed_wh) * kwh).div_ceil(1000) + seconds * MINUTE / 60
    }
}

impl Car {
    /// Asks for a segment at a post.
    async fn ask(&mut self, post: &str, steps: u32) -> Result<Reading, Failure> {
        self.segments += 1;
        self.cable.0.store(0, Ordering::Relaxed);
        let url = format!("{}/v1/charge/{post}/{steps}/{}", self.url, self.segments);
        self.subscriber
            .ask(Request::get(url).body(Bytes::new())?)
            .await
    }

    /// Charges a segment to its end, or until it is paid no further.
    async fn charge(
        &mut self,
        (post, steps): (&str, u32),
        report: &Report,
    ) -> Result<Segment, Failure> {
        let begun = self.env.clock.monotonic();
        let mut stream = self.ask(post, steps).await?;
        let (mut sold_wh, mut quiets) = (0, 0);
        loop {
            tokio::select! {
                event = stream.next() => match event? {
                    Some(event) => {
                        let event: Value = serde_json::from_str(&event)?;
                        let number = |key| event.get(key).and_then(Value::as_u64).unwrap_or(0);
                        sold_wh += number("sold_wh");
                        self.cable.0.fetch_add(number("cable_mwh"), Ordering::Relaxed);
                        self.show(sold_wh, report)?;
                    }
                    None => break,
                },
                () = self.env.clock.sleep(QUIET) => {
                    quiets += 1;
                    if stream.unpaid().is_some() {
                        break;
                    }
                    if quiets > QUIETS_MAX {
                        return Err(anyhow!("the post stands still").into());
                    }
                }
            }
        }
        report.live("")?;
        Ok(Segment {
            sold_wh,
            flowed_wh: self.cable.0.load(Ordering::Relaxed) / 1000,
            took: self.env.clock.monotonic().saturating_sub(begun),
            unpaid: stream.unpaid(),
        })
    }

    fn show(&self, sold_wh: u64, report: &Report) -> Result<(), Failure> {
        let flowed = self.cable.0.load(Ordering::Relaxed) / 1000;
        let session = self.subscriber.session();
        let (signed, agreed) = session.map_or((0, 0), |it| (it.signed, it.agreed));
        report.live(&format!(
            "post {sold_wh:>5} Wh  car {flowed:>5} Wh  agreed {}  signed {}",
            dollars(agreed),
            dollars(signed),
        ))
    }

    fn session(&self) -> Result<Session, Failure> {
        Ok(self.subscriber.session().context("there is a session")?)
    }
}

async fn play(director: &StageDirector, report: &mut Report) -> Result<(), Failure> {
    let mut stage = director.set("charger", &routes(FIRST)).await?;
    stage.start_gateway().await?;
    let joined = stage
        .stiver(["wallet", "join", stage.gateway_url()])
        .await?;
    stage
        .ledger(&["issue", &text(&joined, "key")?, &dollars(FUNDS)])
        .await?;
    let mut car = car(&stage, director.env()).await?;

    report.act("A hold, and a segment by two meters")?;
    let first = segment(&mut car, "first", FIRST, report).await?;
    let held = balance(&stage).await?;
    report.fact("deposit", "set aside by the car", dollars(DEPOSIT))?;
    report.expect(
        FUNDS.checked_sub(DEPOSIT) == Some(held),
        "what it authorised is held, and nothing is taken yet",
    )?;

    report.act("Another price: a new offer, under the car's cap")?;
    stage.reprice(&routes(SECOND)).await?;
    let second = segment(&mut car, "second", SECOND, report).await?;
    report.expect(first == second, "the same hold pays for it")?;

    report.act("A price above the cap")?;
    stage.reprice(&routes(TOO_DEAR)).await?;
    let before = car.session()?;
    let refused = car.ask("right", STEPS).await.err();
    let why = refused.map(|failure| failure.message()).unwrap_or_default();
    let why = of(&why, "the price is").to_owned();
    report.fact("refused", "the car says", why.clone())?;
    report.expect(
        why.starts_with("the price is") && car.session()?.signed == before.signed,
        "the car signs nothing for it",
    )?;

    report.act("A post whose meter runs five in a hundred too fast")?;
    stage.reprice(&routes(SECOND)).await?;
    let fast = car.charge(("fast", FAST_STEPS), report).await?;
    report.fact("fast_sold_wh", "Wh, the post says", fast.sold_wh)?;
    report.fact("fast_flowed_wh", "Wh, the car measured", fast.flowed_wh)?;
    let why = fast.unpaid.clone().unwrap_or_default();
    let why = of(&why, "the payee asks").to_owned();
    report.fact("stopped", "the car says", why.clone())?;
    report.expect(
        !why.is_empty() && fast.sold_wh < u64::from(FAST_STEPS) * 10,
        "the car stops signing",
    )?;
    books(&stage, &car, (&before, &fast), report).await
}

/// The part of an error that begins so; all of it when none does.
fn of<'a>(error: &'a str, begins: &str) -> &'a str {
    let mut parts = error.split(": ");
    parts.find(|part| part.starts_with(begins)).unwrap_or(error)
}

async fn car(stage: &Stage, env: &Env) -> Result<Car, Failure> {
    let usd = Currency::new("usd", 6)?;
    let cap = UnitPrice {
        amount: usd.units(CAP),
        per: 1,
        unit: Some(UNIT.to_owned()),
    };
    let limits = SessionLimits::new(usd.units(DEPOSIT))
        .with_sign_ahead(usd.units(AHEAD))
        .with_max_price(cap);
    let cable = Arc::new(Cable::default());
    let ways = Ways {
        scheme: None,
        meter: Some(cable.clone()),
    };
    Ok(Car {
        subscriber: Subscriber::new(stage.wallet_home(), limits, ways, env).await?,
        cable,
        url: stage.gateway_url().to_owned(),
        env: env.clone(),
        segments: 0,
    })
}

/// A segment at a post whose meter is right. Gives the session that paid for it.
async fn segment(
    car: &mut Car,
    key: &str,
    kwh: u128,
    report: &mut Report,
) -> Result<String, Failure> {
    let before = car.subscriber.session().map_or(0, |session| session.agreed);
    let segment = car.charge(("right", STEPS), report).await?;
    let session = car.session()?;
    let cost = session.agreed.saturating_sub(before);
    report.fact(&format!("{key}_kwh_price"), "a kWh costs", dollars(kwh))?;
    report.fact(&format!("{key}_wh"), "Wh, both say", segment.flowed_wh)?;
    report.fact(&format!("{key}_cost"), "paid for it", dollars(cost))?;
    let energy = u128::from(segment.sold_wh) * kwh / 1000;
    report.expect(
        segment.sold_wh == segment.flowed_wh && segment.unpaid.is_none(),
        "both meters agree",
    )?;
    report.expect(
        cost >= energy && cost <= segment.cost(kwh),
        "it cost its energy and its time, and no more",
    )?;
    Ok(session.id.to_string())
}

/// Closes the session: what was used is captured, and the rest of the hold is released.
async fn books(
    stage: &Stage,
    car: &Car,
    (before, fast): (&Session, &Segment),
    report: &mut Report,
) -> Result<(), Failure> {
    report.act("Capture and release")?;
    let closed = car.subscriber.close().await?;
    let captured = closed.captured.unwrap_or(0);
    let left = balance(stage).await?;
    let check = stage.ledger(&["check"]).await?;
    let released = closed.deposit.saturating_sub(captured);
    let paid = captured.saturating_sub(before.agreed);
    let due = fast.cost(SECOND);
    let loss = paid.saturating_sub(due);
    report.fact("captured", "captured", dollars(captured))?;
    report.fact("released", "released", dollars(released))?;
    report.fact("left", "left in the wallet", dollars(left))?;
    report.fact("fast_paid", "paid at the fast post", dollars(paid))?;
    report.fact("fast_due", "by the car's own count", dollars(due))?;
    report.fact("fast_loss", "lost by it", dollars(loss))?;
    report.fact("window", "the car's window", dollars(AHEAD))?;
    report.expect(
        loss <= AHEAD,
        "what the fast meter took is inside the car's window",
    )?;
    report.expect(
        FUNDS.checked_sub(captured) == Some(left),
        "capture and release add up, to one base unit",
    )?;
    report.expect(
        check.get("ok") == Some(&json!(true)),
        "debits and credits balance",
    )
}
