//! Scene: the gateway is killed in the middle of a burst, and the books match to one base unit.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use stiver_client::{CallId, Payment, Retry};
use stiver_env::Env;

use super::{
    paywall::{balance, dollars, served, text},
    scene::{Played, Report, Scene},
    shopper::Shopper,
    stage::{Stage, StageDirector},
};
use crate::failure::Failure;

pub(crate) const SCENE: Scene = Scene {
    name: "crash",
    about: "the gateway is killed in the middle of a burst; no payment is lost or made twice",
    play: |director, report| -> Played<'_> { Box::pin(play(director, report)) },
};

const ROUTES: &str = r#"
[[route]]
path = "/v1/temperature"
methods = ["GET"]
price = "0.001 USD"
"#;

/// Paid calls in the burst.
const BURST: usize = 300;
/// How many of them at any time.
const AT_ONCE: usize = 16;
/// The gateway is killed after so many.
const KILL_AFTER: usize = 100;
/// What the wallet is given, base units.
const FUNDS: u128 = 10_000_000;
/// The price of a call, base units.
const PRICE: u128 = 1000;
/// How often a call whose outcome is unknown is resumed before the scene gives up.
const RESUMES_MAX: u32 = 40;
/// How long between looks at how far the burst is, and between resumes.
const PAUSE: Duration = Duration::from_millis(5);
const RESUME_PAUSE: Duration = Duration::from_millis(500);

async fn play(director: &StageDirector, report: &mut Report) -> Result<(), Failure> {
    let env = director.env();
    let mut stage = director.set("crash", ROUTES).await?;
    stage.start_gateway().await?;
    let joined = stage
        .stiver(["wallet", "join", stage.gateway_url()])
        .await?;
    stage
        .ledger(&["issue", &text(&joined, "key")?, &dollars(FUNDS)])
        .await?;
    let shopper = Shopper::new(&stage, env).await?;
    report.act("A burst, and kill -9 of the gateway in its middle")?;
    let done = Arc::new(AtomicUsize::new(0));
    let buying = shopper.burst("/v1/temperature", BURST, AT_ONCE, &done, env);
    let killing = kill_and_restart(&mut stage, &done, env);
    let both = async { tokio::join!(buying, killing) };
    let (burst, killed) = report
        .watching(&done, BURST, env, async { Ok(both.await) })
        .await?;
    let burst = burst?;
    report.fact("killed_after", "killed after calls", killed?)?;
    report.fact("paid_in_burst", "paid in spite of it", burst.paid.len())?;
    report.fact("open_after_burst", "not answered", burst.open.len())?;
    report.act("What was not answered is resumed: the same credentials again")?;
    let mut paid = burst.paid;
    let resumed = resume(&shopper, burst.open, burst.not_paid, env).await;
    report.fact("resumed", "resumed to a paid answer", resumed.paid.len())?;
    report.fact("never_paid", "never paid", resumed.unpaid)?;
    for error in &resumed.unresolved {
        report.show(error)?;
    }
    paid.extend(resumed.paid);
    report.expect(
        resumed.unresolved.is_empty(),
        "no call's outcome stays unknown",
    )?;
    report.expect(
        paid.len() > KILL_AFTER,
        "payments went on after the restart",
    )?;
    report.expect(
        paid.len() + resumed.unpaid == BURST,
        "every call was paid, or was not",
    )?;
    books(&stage, &paid, report).await
}

async fn kill_and_restart(
    stage: &mut Stage,
    done: &Arc<AtomicUsize>,
    env: &Env,
) -> Result<usize, Failure> {
    while done.load(Ordering::Relaxed) < KILL_AFTER {
        env.clock.sleep(PAUSE).await;
    }
    let killed_after = done.load(Ordering::Relaxed);
    stage.kill_gateway().await?;
    stage.start_gateway().await?;
    Ok(killed_after)
}

/// What became of the calls that were not answered.
#[derive(Default)]
struct Resumed {
    /// Paid and answered now.
    paid: Vec<Payment>,
    /// Calls that moved no money.
    unpaid: usize,
    /// Why calls stay open.
    unresolved: Vec<String>,
}

/// Resumes every call that may have moved money.
async fn resume(shopper: &Shopper, open: Vec<CallId>, not_paid: usize, env: &Env) -> Resumed {
    let mut resumed = Resumed {
        unpaid: not_paid,
        ..Resumed::default()
    };
    for call in open {
        let mut left = RESUMES_MAX;
        loop {
            match shopper.client().resume(call).await {
                Ok(answer) => match answer.response.bytes().await {
                    Ok(_) => {
                        resumed.paid.extend(answer.payment);
                        break;
                    }
                    Err(_) if left > 0 => left -= 1,
                    Err(error) => {
                        resumed.unresolved.push(error.to_string());
                        break;
                    }
                },
                Err(error) if error.retry() == Retry::NewCall => {
                    resumed.unpaid += 1;
                    break;
                }
                Err(error) if left > 0 && matches!(error.retry(), Retry::Resume(_)) => {
                    left -= 1;
                    env.clock.sleep(RESUME_PAUSE).await;
                }
                Err(error) => {
                    resumed.unresolved.push(error.to_string());
                    break;
                }
            }
        }
    }
    resumed
}

async fn books(stage: &Stage, paid: &[Payment], report: &mut Report) -> Result<(), Failure> {
    report.act("The books")?;
    let references: HashSet<&str> = paid
        .iter()
        .filter_map(|payment| payment.receipt.as_ref())
        .map(|receipt| receipt.reference.as_str())
        .collect();
    let count = u128::try_from(paid.len())?;
    let left = balance(stage).await?;
    let check = stage.ledger(&["check"]).await?;
    let runs = served(stage).await?;
    report.fact("paid", "paid and answered", paid.len())?;
    report.fact("receipts", "different receipts", references.len())?;
    report.fact("left", "left in the wallet", dollars(left))?;
    report.fact("handler_runs", "the sensor's handler ran", runs)?;
    report.expect(
        references.len() == paid.len(),
        "every payment has a receipt of its own",
    )?;
    report.expect(
        FUNDS.checked_sub(count * PRICE) == Some(left),
        "what left the wallet is what was answered, to one base unit",
    )?;
    report.expect(
        u128::from(runs) >= count,
        "nothing was charged without being served",
    )?;
    report.expect(
        check.get("ok") == Some(&json!(true)),
        "debits and credits balance",
    )?;
    let sum = check
        .pointer("/books/currencies/0/sum/units")
        .and_then(Value::as_str);
    report.expect(sum == Some("0"), "the sum over all accounts is zero")
}
