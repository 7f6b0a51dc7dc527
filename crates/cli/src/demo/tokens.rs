//! Scene: a language model's answer, paid by the token and by the millisecond while it comes.

use bytes::Bytes;
use http::{Request, header};
use serde_json::{Value, json};
use stiver_client::session::{SessionLimits, SessionState};
use stiver_core::Currency;

use super::{
    paywall::{balance, dollars, text},
    scene::{Played, Report, Scene},
    stage::{Stage, StageDirector},
    subscriber::{Subscriber, Ways},
};
use crate::failure::Failure;

pub(crate) const SCENE: Scene = Scene {
    name: "tokens",
    about: "a model's answer, paid by the token and by the millisecond as it comes",
    play: |director, report| -> Played<'_> { Box::pin(play(director, report)) },
};

const ROUTES: &str = r#"
[[route]]
path = "/v1/chat/completions"
methods = ["POST"]
prices = ["0.000012 USD per token", "0.00000003 USD per millisecond"]
session = { window = "0.0001 USD", suggested_deposit = "0.01 USD" }
"#;

/// Base units for a token.
const TOKEN: u128 = 12;
/// Hundredths of a base unit for a millisecond.
const MILLISECOND_HUNDREDTHS: u128 = 3;
/// What the wallet is given, base units.
const FUNDS: u128 = 1_000_000;
/// The most that is set aside, and how far ahead is signed, base units.
const DEPOSIT: u128 = 10_000;
const AHEAD: u128 = 200;
/// How wide the answer is shown, characters.
const WIDTH: usize = 66;
/// The live line shows so much of the answer, characters.
const TAIL: usize = 40;

/// What the reader saw.
#[derive(Default)]
struct Read {
    text: String,
    chunks: u128,
    reported: Option<u128>,
}

async fn play(director: &StageDirector, report: &mut Report) -> Result<(), Failure> {
    let env = director.env();
    let mut stage = director.set("tokens", ROUTES).await?;
    stage.start_gateway().await?;
    let joined = stage
        .stiver(["wallet", "join", stage.gateway_url()])
        .await?;
    stage
        .ledger(&["issue", &text(&joined, "key")?, &dollars(FUNDS)])
        .await?;
    let usd = Currency::new("usd", 6)?;
    let limits = SessionLimits::new(usd.units(DEPOSIT)).with_sign_ahead(usd.units(AHEAD));
    let subscriber = Subscriber::new(stage.wallet_home(), limits, Ways::default(), env).await?;
    report.act("The answer, paid while it comes")?;
    report.fact("per_token", "a token costs", dollars(TOKEN))?;
    report.fact("per_ms", "a millisecond", "0.00000003 USD")?;
    let url = format!("{}/v1/chat/completions", stage.gateway_url());
    let question = json!({
        "model": "demo",
        "stream": true,
        "messages": [{"role": "user", "content": "What is a session, in a few sentences?"}],
    });
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(question.to_string()))?;
    let begun = env.clock.monotonic();
    let read = read(&subscriber, request, report).await?;
    let took = env.clock.monotonic().saturating_sub(begun);
    report.show(&wrapped(&read.text))?;
    report.hidden_fact("answer", read.text.clone());
    report.fact("chunks", "chunks with content", count(read.chunks)?)?;
    let tokens = read.reported.unwrap_or(0);
    report.fact("tokens", "tokens, as it reports", count(tokens)?)?;
    report.fact("took_ms", "milliseconds here", count(took.as_millis())?)?;
    report.expect(
        tokens > read.chunks,
        "it used more tokens than it sent chunks",
    )?;
    books(&stage, &subscriber, (tokens, took.as_millis()), report).await
}

/// Text in lines.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
            if line.len() >= WIDTH {
                lines.push(String::new());
            }
        }
    }
    lines.join("\n")
}

fn count(number: u128) -> Result<u64, Failure> {
    Ok(u64::try_from(number)?)
}

/// Reads the answer to its end, and shows what it costs meanwhile.
async fn read(
    subscriber: &Subscriber,
    request: Request<Bytes>,
    report: &Report,
) -> Result<Read, Failure> {
    let mut stream = subscriber.ask(request).await?;
    let mut read = Read::default();
    while let Some(data) = stream.next().await? {
        let Ok(chunk) = serde_json::from_str::<Value>(&data) else {
            continue;
        };
        if let Some(word) = chunk
            .pointer("/choices/0/delta/content")
            .and_then(Value::as_str)
        {
            read.text.push_str(word);
            read.chunks += 1;
        }
        if let Some(total) = chunk.pointer("/usage/total_tokens").and_then(Value::as_u64) {
            read.reported = Some(u128::from(total));
        }
        let session = subscriber.session();
        let (signed, vouchers) = session.map_or((0, 0), |it| (it.signed, it.vouchers));
        let from = read.text.chars().count().saturating_sub(TAIL);
        let tail: String = read.text.chars().skip(from).collect();
        report.live(&format!(
            "{:>4} chunks  signed {} in {vouchers} vouchers  …{tail}",
            read.chunks,
            dollars(signed),
        ))?;
    }
    report.live("")?;
    Ok(read)
}

/// Closes the session, and compares.
async fn books(
    stage: &Stage,
    subscriber: &Subscriber,
    (tokens, millis): (u128, u128),
    report: &mut Report,
) -> Result<(), Failure> {
    report.act("The books, after the session was closed")?;
    let closed = subscriber.close().await?;
    let taken = closed.captured.unwrap_or(0);
    let left = balance(stage).await?;
    let check = stage.ledger(&["check"]).await?;
    let by_tokens = tokens * TOKEN;
    let by_time = taken.saturating_sub(by_tokens);
    report.fact("vouchers", "vouchers signed", closed.vouchers)?;
    report.fact("by_tokens", "taken for tokens", dollars(by_tokens))?;
    report.fact("by_time", "taken for time", dollars(by_time))?;
    report.fact("taken", "taken in all", dollars(taken))?;
    report.fact("signed", "signed in all", dollars(closed.signed))?;
    report.fact("left", "left in the wallet", dollars(left))?;
    report.expect(
        closed.state == SessionState::Closed && taken <= closed.signed,
        "no more was taken than was signed",
    )?;
    report.expect(
        taken >= by_tokens,
        "every token that the model reports was paid for",
    )?;
    report.expect(
        by_time <= millis * MILLISECOND_HUNDREDTHS / 100,
        "and no more milliseconds than passed here",
    )?;
    report.expect(
        FUNDS.checked_sub(taken) == Some(left),
        "the rest of the deposit came back, to one base unit",
    )?;
    report.expect(
        check.get("ok") == Some(&json!(true)),
        "debits and credits balance",
    )
}
