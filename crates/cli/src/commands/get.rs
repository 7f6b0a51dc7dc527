//! `stiver get`: fetch a URL, and pay for it when it asks.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use serde_json::{Value, json};
use stiver_client::{
    Answer, CallError, CallId, MoneyMoved, Payment, Retry,
    policy::{Decision, MaxAmount, PaymentView, Policy, from_fn},
};
use stiver_core::{Amount, base64url};
use stiver_env::Env;

use crate::{
    args::Get,
    commands::inspect::receipt_of,
    failure::{Failure, FailureKind, UsageContext},
    output::Output,
    payer::{amount_of, bound_account, open_wallet, paying_client},
};

/// Longest request body, bytes.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the policy saw, for a dry run and for the message when nothing may be paid.
type Seen = Arc<Mutex<Vec<Value>>>;

/// Fetches.
pub(crate) async fn run(args: Get, env: &Env, output: Output) -> Result<(), Failure> {
    let (home, wallet) = open_wallet(&args.wallet, env)?;
    let account = bound_account(&wallet)?;
    let limit = args
        .max_amount
        .as_deref()
        .map(|text| amount_of(text, &account))
        .transpose()?;
    let seen = Seen::default();
    let policy = policy(limit, args.dry_run, Arc::clone(&seen));
    let timeout = Duration::from_secs(args.max_time.max(1));
    let client = paying_client(&home, &wallet, &account, policy, timeout, env).await?;
    let result = match &args.resume {
        Some(call) => {
            let call: CallId = call.parse().usage(format!("--resume {call:?}"))?;
            client.resume(call).await
        }
        None => client.call(request(&args, env)?).await,
    };
    // Wipes what the call no longer needs; when it fails, the next run does it.
    let _ = client.payments().close().await;
    match result {
        Ok(answer) => show(answer, &args, output).await,
        Err(CallError::Declined { .. }) if args.dry_run => dry_run(&seen, output),
        Err(error) => Err(failure(error)),
    }
}

/// Nothing is paid without a limit; a dry run pays nothing at all.
fn policy(limit: Option<Amount>, dry_run: bool, seen: Seen) -> Arc<dyn Policy> {
    let limit = limit.map(MaxAmount::new);
    Arc::new(from_fn(move |payment: &PaymentView<'_>| {
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(view(payment));
        match &limit {
            _ if dry_run => Decision::Refuse("this is a dry run".to_owned()),
            Some(limit) => limit.judge(payment.amount),
            None => Decision::Refuse(format!(
                "it costs {0}: allow that with --max-amount \"{0}\"",
                payment.amount
            )),
        }
    }))
}

fn view(payment: &PaymentView<'_>) -> Value {
    json!({
        "amount": payment.amount.to_wire(),
        "currency": payment.amount.currency().code(),
        "display": payment.amount.to_string(),
        "payee": payment.payee.to_string(),
        "network": payment.network.to_string(),
        "method": payment.method.as_str(),
        "intent": payment.intent.as_str(),
        "realm": payment.realm.as_str(),
        "url": payment.url,
        "expires": payment.expires.map(stiver_core::Timestamp::to_rfc3339),
        "description": payment.description.map(|text| text.to_string()),
    })
}

fn dry_run(seen: &Seen, output: Output) -> Result<(), Failure> {
    let offers = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for offer in &offers {
        let text = |key: &str| {
            offer
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or("-")
                .to_owned()
        };
        output.line(&format!(
            "would pay {} to {} on {} for {}",
            text("display"),
            text("payee"),
            text("network"),
            text("url")
        ))?;
    }
    output.object(&json!({"dryRun": true, "offers": offers}))?;
    Err(Failure::new(FailureKind::DryRun, anyhow!("dry run")))
}

fn request(args: &Get, env: &Env) -> Result<Request<Bytes>, Failure> {
    let url = args.url.as_deref().unwrap_or_default();
    let body = args
        .data
        .as_deref()
        .map(|data| body(data, env))
        .transpose()?;
    let method = match (&args.request, &body) {
        (Some(method), _) => {
            Method::from_bytes(method.as_bytes()).usage(format!("--request {method:?}"))?
        }
        (None, Some(_)) => Method::POST,
        (None, None) => Method::GET,
    };
    let mut request = Request::builder()
        .method(method)
        .uri(url)
        .body(body.unwrap_or_default())
        .usage(format!("the URL {url:?}"))?;
    for line in &args.header {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| Failure::usage(format!("--header {line:?}: write `Name: value`")))?;
        let name: HeaderName = name
            .trim()
            .parse()
            .usage(format!("--header {line:?}: the name"))?;
        let value: HeaderValue = value
            .trim()
            .parse()
            .usage(format!("--header {line:?}: the value"))?;
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

fn body(data: &str, env: &Env) -> Result<Bytes, Failure> {
    match data.strip_prefix('@') {
        None => Ok(Bytes::from(data.to_owned())),
        Some("-") => {
            let mut bytes = Vec::new();
            let mut stdin = std::io::stdin().lock().take(BODY_BYTES_MAX);
            stdin
                .read_to_end(&mut bytes)
                .usage("reading standard input")?;
            Ok(Bytes::from(bytes))
        }
        Some(file) => {
            let bytes = env.disk.read(file.as_ref(), BODY_BYTES_MAX);
            Ok(Bytes::from(bytes.usage(format!("reading {file}"))?))
        }
    }
}

async fn show(
    answer: Answer<reqwest::Response>,
    args: &Get,
    output: Output,
) -> Result<(), Failure> {
    let status = answer.response.status();
    let head = head_lines(&answer.response);
    if let Some(payment) = &answer.payment {
        note_payment(payment, output)?;
    }
    if output.is_json() {
        let body = answer.response.bytes().await.context("reading the body")?;
        let text = std::str::from_utf8(&body).ok();
        output.object(&json!({
            "ok": status.is_success(),
            "status": status.as_u16(),
            "body": text,
            "bodyBase64Url": text.is_none().then(|| base64url::encode(&body)),
            "payment": answer.payment.as_ref().map(payment_json),
        }))?;
    } else {
        let mut out: Box<dyn Write> = match &args.output {
            Some(file) => {
                Box::new(std::fs::File::create(file).usage(format!("writing {}", file.display()))?)
            }
            None => Box::new(std::io::stdout()),
        };
        if args.include {
            out.write_all(head.as_bytes())?;
        }
        let mut response = answer.response;
        while let Some(chunk) = response.chunk().await.context("reading the body")? {
            out.write_all(&chunk)?;
        }
        out.flush()?;
    }
    if status.is_client_error() || status.is_server_error() {
        let message = anyhow!("the server answered {status}");
        return Err(Failure::new(FailureKind::Refused, message));
    }
    Ok(())
}

fn head_lines(response: &reqwest::Response) -> String {
    let mut text = format!("{:?} {}\r\n", response.version(), response.status());
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text
}

fn note_payment(payment: &Payment, output: Output) -> Result<(), Failure> {
    let reference = payment
        .receipt
        .as_ref()
        .map(|receipt| receipt.reference.as_str());
    let reference = reference.map(stiver_core::untrusted::Untrusted);
    let receipt = reference
        .map(|text| format!(", receipt {text}"))
        .unwrap_or_default();
    output.note(&format!(
        "paid {} to {}{receipt} (call {})",
        payment.terms.amount, payment.terms.payee, payment.call
    ))?;
    for fault in payment.receipt_fault.iter() {
        output.note(&format!("warning: the receipt: {fault}"))?;
    }
    if let Some(error) = &payment.unrecorded {
        output.note(&format!(
            "warning: the payment is not in the history: {error}"
        ))?;
    }
    Ok(())
}

fn payment_json(payment: &Payment) -> Value {
    let receipt = payment.receipt.as_ref().map(receipt_of);
    json!({
        "call": payment.call.to_string(),
        "amount": payment.terms.amount.to_wire(),
        "currency": payment.terms.amount.currency().code(),
        "display": payment.terms.amount.to_string(),
        "payee": payment.terms.payee,
        "challengeId": payment.terms.challenge_id,
        "moneyMoved": payment.moved.to_string(),
        "receipt": receipt.as_ref().and_then(|value| value.get("receipt")),
    })
}

/// The exit code of an error follows from whether money moved, and why not.
fn failure(error: CallError) -> Failure {
    let kind = match (&error, error.money_moved()) {
        (_, MoneyMoved::Maybe) => FailureKind::Unknown,
        (CallError::Declined { .. }, _) => FailureKind::TooExpensive,
        (CallError::Transport { .. }, _) => FailureKind::Network,
        (CallError::Origin(_) | CallError::PlainHttp(_) | CallError::RequestBody(_), _) => {
            FailureKind::Usage
        }
        (CallError::NotResumable { .. } | CallError::CredentialPresent, _) => FailureKind::Usage,
        (CallError::RedirectElsewhere { .. } | CallError::TooManyRedirects, _) => {
            FailureKind::Refused
        }
        _ => FailureKind::Payment,
    };
    let advice = match error.retry() {
        Retry::Resume(call) => format!("resume it with `stiver get --resume {call}`"),
        Retry::NewCall => "trying again is safe".to_owned(),
        Retry::No => String::new(),
    };
    let error = anyhow::Error::new(error);
    match advice.as_str() {
        "" => Failure::new(kind, error),
        _ => {
            let message = format!("{error:#}; {advice}");
            Failure::new(kind, anyhow!(message))
        }
    }
}
