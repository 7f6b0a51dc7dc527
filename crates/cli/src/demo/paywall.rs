//! Scene: a sensor's API behind a price, and a payer that pays for it.

use std::sync::{Arc, atomic::AtomicUsize};

use anyhow::{Context, anyhow};
use http::{StatusCode, header};
use serde_json::{Value, json};
use stiver_core::{Challenge, Credential, Receipt, problem::ProblemKind};
use stiver_env::Env;
use stiver_method::payer::{CallKey, Payer};

use super::{
    scene::{Played, Report, Scene},
    shopper::Shopper,
    stage::{Stage, StageDirector},
};
use crate::{
    commands::get::Connect,
    commands::inspect,
    failure::Failure,
    output::{DIM, Output, STRONG},
    payer::{bound_account, ledger_payer},
};

pub(crate) const SCENE: Scene = Scene {
    name: "paywall",
    about: "a sensor's HTTP API behind a price: pay, replay, burst",
    play: |director, report| -> Played<'_> { Box::pin(play(director, report)) },
};

/// The sensor's routes and their prices.
const ROUTES: &str = r#"
[[route]]
path = "/v1/temperature"
methods = ["GET"]
price = "0.001 USD"
description = "One temperature reading"

[[route]]
path = "/v1/history"
methods = ["GET"]
price = "0.02 USD"
description = "A day of readings"

[[route]]
path = "/v1/calibrate"
methods = ["POST"]
price = "0.05 USD"
description = "Calibrate the sensor"
"#;

/// What the issuer gives the wallet.
const FUNDS: &str = "10 USD";
/// Paid calls in the burst.
const BURST: usize = 400;
/// How many of them at any time.
const AT_ONCE: usize = 16;

async fn play(director: &StageDirector, report: &mut Report) -> Result<(), Failure> {
    let env = director.env();
    let mut stage = director.set("paywall", ROUTES).await?;
    open(&mut stage).await?;
    report.act("A stock HTTP API, a gateway in front of it, a funded wallet")?;
    report.fact("sensor", "the API", stage.sensor_url())?;
    report.fact("gateway", "the gateway", stage.gateway_url())?;
    report.fact("issued", "issued to the wallet", FUNDS)?;
    prices(&stage, report).await?;
    challenge(&stage, report).await?;
    pay(&stage, report).await?;
    let shopper = Shopper::new(&stage, env).await?;
    replay(&stage, &shopper, report, env).await?;
    burst(&shopper, report, env).await?;
    books(&stage, report).await
}

/// Starts the gateway, and funds the wallet.
async fn open(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_gateway().await?;
    let joined = stage
        .stiver(["wallet", "join", stage.gateway_url()])
        .await?;
    let key = text(&joined, "key")?;
    stage.ledger(&["issue", &key, FUNDS]).await?;
    Ok(())
}

pub(super) fn text(value: &Value, key: &str) -> Result<String, Failure> {
    let found = value.get(key).and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| anyhow!("no {key:?} in {value}").into())
}

/// The wallet's dollars, in base units, as the ledger tells.
pub(super) async fn balance(stage: &Stage) -> Result<u128, Failure> {
    let told = stage.stiver(["wallet", "balance"]).await?;
    let rows = told
        .get("balances")
        .and_then(Value::as_array)
        .context("no balances")?;
    let usd = rows
        .iter()
        .find(|row| row.get("currency") == Some(&json!("usd")));
    match usd {
        Some(row) => Ok(text(row, "available")?.parse()?),
        None => Ok(0),
    }
}

/// Base units of the ledger's dollar as people write them.
pub(super) fn dollars(units: u128) -> String {
    format!("{}.{:06} USD", units / 1_000_000, units % 1_000_000)
}

async fn challenges_of(response: &reqwest::Response) -> Result<Challenge, Failure> {
    let lines = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
    let parsed = Challenge::parse_all(lines.map(http::HeaderValue::as_bytes));
    let first = parsed
        .into_iter()
        .next()
        .ok_or_else(|| anyhow!("no challenge"))?;
    Ok(first?)
}

async fn prices(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    report.act("What each route costs, asked without paying")?;
    let http = reqwest::Client::new();
    let mut prices = Vec::new();
    for (method, path) in [
        ("GET", "/v1/temperature"),
        ("GET", "/v1/history"),
        ("POST", "/v1/calibrate"),
    ] {
        let url = format!("{}{path}", stage.gateway_url());
        let response = http.request(method.parse()?, url).send().await?;
        let challenge = challenges_of(&response).await?;
        let request = challenge.params.request.object().to_value();
        let units = request
            .get("amount")
            .and_then(|value| value.as_str())
            .unwrap_or_default();
        let price = dollars(units.parse()?);
        report.show(&format!("{method:<4} {path:<16} {price}"))?;
        prices.push(json!({"method": method, "path": path, "price": price}));
    }
    let told = prices.len();
    report.hidden_fact("prices", prices);
    report.expect(told == 3, "every route tells its price")
}

async fn challenge(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    report.act("The 402, decoded")?;
    let url = format!("{}/v1/temperature", stage.gateway_url());
    let response = reqwest::Client::new().get(url).send().await?;
    let status = response.status();
    let cached = response.headers().get(header::CACHE_CONTROL).cloned();
    let challenge = challenges_of(&response).await?;
    let decoded = inspect::challenge_of(&challenge);
    report.show(&serde_json::to_string_pretty(&decoded)?)?;
    report.hidden_fact("challenge", decoded);
    report.expect(
        status == StatusCode::PAYMENT_REQUIRED,
        "an unpaid request is answered 402",
    )?;
    report.expect(
        cached.is_some_and(|value| value == "no-store"),
        "no cache may keep the 402",
    )
}

async fn pay(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    report.act("The payment, by `stiver get`")?;
    let before = balance(stage).await?;
    report.fact("balance_before", "balance before", dollars(before))?;
    let url = format!("{}/v1/temperature", stage.gateway_url());
    let paid = stage
        .stiver(["get", "--max-amount", "0.01 USD", &url])
        .await?;
    let after = balance(stage).await?;
    let receipt = paid
        .pointer("/payment/receipt")
        .cloned()
        .unwrap_or_default();
    report.show(&format!("200, body {}", text(&paid, "body")?))?;
    report.show(&serde_json::to_string_pretty(&receipt)?)?;
    report.hidden_fact("receipt", receipt.clone());
    report.fact("balance_after", "balance after", dollars(after))?;
    report.expect(
        paid.get("status") == Some(&json!(200)),
        "the paid request is answered 200",
    )?;
    report.expect(
        receipt.get("reference").is_some(),
        "the answer carries a receipt",
    )?;
    report.expect(
        before.checked_sub(after) == Some(1000),
        "the balance fell by the price",
    )
}

/// A credential made by hand, sent twice.
async fn replay(
    stage: &Stage,
    shopper: &Shopper,
    report: &mut Report,
    env: &Env,
) -> Result<(), Failure> {
    report.act("The same credential again")?;
    let http = reqwest::Client::new();
    let url = format!("{}/v1/temperature", stage.gateway_url());
    let challenge = challenges_of(&http.get(&url).send().await?).await?;
    let payer = ledger_payer(
        shopper.wallet(),
        &bound_account(shopper.wallet())?,
        &Connect::default(),
        env,
    )?;
    let call = CallKey::from_bytes(env.random());
    let artefact = payer.prepare(&challenge, env.clock.now(), call).await?;
    let proof = payer.execute(&artefact).await?;
    let credential = Credential {
        challenge,
        payload: proof.payload,
        source: proof.source,
    };
    let send = || {
        http.get(&url)
            .header(header::AUTHORIZATION, credential.to_header())
            .send()
    };
    let first = send().await?;
    let receipt = first.headers().get("payment-receipt").cloned();
    let first_status = first.status();
    let balance_between = balance(stage).await?;
    let second = send().await?;
    let second_status = second.status();
    let problem = stiver_core::problem::ReceivedProblem::parse(&second.bytes().await?)?;
    let detail = problem.detail.clone().unwrap_or_default();
    report.fact("replay_status", "answered", second_status.as_u16())?;
    report.fact("replay_detail", "because", detail)?;
    let readable = receipt.is_some_and(|value| Receipt::parse(value.as_bytes()).is_ok());
    report.expect(
        first_status.is_success() && readable,
        "a credential by hand is accepted once",
    )?;
    report.expect(
        second_status == StatusCode::PAYMENT_REQUIRED
            && problem.kind == Some(ProblemKind::InvalidChallenge),
        "the replayed credential is refused as invalid-challenge",
    )?;
    report.expect(
        balance(stage).await? == balance_between,
        "and took no money",
    )
}

async fn burst(shopper: &Shopper, report: &mut Report, env: &Env) -> Result<(), Failure> {
    report.act("A burst of paid calls")?;
    let done = Arc::new(AtomicUsize::new(0));
    let buying = shopper.burst("/v1/temperature", BURST, AT_ONCE, &done, env);
    let burst = report.watching(&done, BURST, env, buying).await?;
    report.fact("burst_paid", "paid calls", burst.paid.len())?;
    report.fact("burst_at_once", "at once", AT_ONCE)?;
    report.fact("burst_rate_per_s", "per second", burst.rate())?;
    report.fact(
        "burst_latency_p50",
        "half of them within",
        burst.percentile(50),
    )?;
    report.fact(
        "burst_latency_p99",
        "99 of 100 within",
        burst.percentile(99),
    )?;
    report.expect(
        burst.paid.len() == BURST,
        "every call of the burst was paid and answered",
    )
}

async fn books(stage: &Stage, report: &mut Report) -> Result<(), Failure> {
    report.act("The books")?;
    let left = balance(stage).await?;
    let served = served(stage).await?;
    let paid = u64::try_from(BURST)? + 2;
    let expected = 10_000_000_u128.checked_sub(u128::from(paid) * 1000);
    let check = stage.ledger(&["check"]).await?;
    report.fact("balance_end", "left in the wallet", dollars(left))?;
    report.fact("handler_runs", "the sensor's handler ran", served)?;
    report.expect(
        expected == Some(left),
        "every unit that left the wallet bought a reading",
    )?;
    report.expect(
        served == paid,
        "the sensor served exactly the paid requests",
    )?;
    report.expect(
        check.get("ok") == Some(&json!(true)),
        "debits and credits balance",
    )
}

/// How often the sensor's temperature handler ran.
pub(super) async fn served(stage: &Stage) -> Result<u64, Failure> {
    let stats = reqwest::get(format!("{}/stats", stage.sensor_url()))
        .await?
        .bytes()
        .await?;
    let stats: Value = serde_json::from_slice(&stats)?;
    Ok(stats
        .get("temperature")
        .and_then(Value::as_u64)
        .context("no count")?)
}

/// Leaves a stage up, and prints what to try.
pub(crate) async fn keep(director: &StageDirector, output: Output) -> Result<(), Failure> {
    let mut stage = director.set("keep", ROUTES).await?;
    open(&mut stage).await?;
    let program = director.program().display();
    let (url, home) = (stage.gateway_url(), stage.wallet_home());
    let config = stage.config_file();
    output.line(&format!(
        "\n{}",
        output.paint(STRONG, "It is up. Try, in another terminal:")
    ))?;
    for line in [
        format!("curl -i {url}/v1/temperature"),
        format!("export STIVER_HOME={}", home.display()),
        format!("{program} get --max-amount '0.01 USD' {url}/v1/temperature"),
        format!("{program} get --dry-run {url}/v1/history"),
        format!("{program} get --max-amount '0.05 USD' -d '{{}}' {url}/v1/calibrate"),
        format!("{program} wallet history"),
        format!("{program} ledger accounts --config {}", config.display()),
    ] {
        output.line(&format!("  {line}"))?;
    }
    output.line(&output.paint(DIM, "Ctrl-C ends it."))?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}
