//! `stiver get`: fetch a URL, and pay for it when it asks.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use serde_json::{Value, json};
use stiver_client::{
    Answer, CallError, CallId, MoneyMoved, Payment, Retry,
    outbox::HistoryFilter,
    policy::{Decision, MaxAmount, PaymentView, Policy, from_fn},
};
use stiver_core::{Amount, base64url};
use stiver_env::Env;
use stiver_wallet::Wallet;

use crate::{
    args::Get,
    commands::inspect::receipt_of,
    failure::{Failure, FailureKind, UsageContext},
    output::Output,
    payer::{amount_of, bound_account, open_wallet, paying_client},
};

/// Longest request body, bytes: what the client holds.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

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
    // What is wrong with the command line is found before anything is sent or written.
    let asked = Asked::read(&args, env)?;
    if let Asked::Resume(call) = &asked {
        check_open(*call, &wallet)?;
    }
    let file = args.output.as_deref().map(OutputFile::open).transpose()?;
    let seen = Seen::default();
    let policy = policy(limit, args.dry_run, Arc::clone(&seen));
    let timeout = Duration::from_secs(args.max_time.max(1));
    let client = paying_client(&home, &wallet, &account, policy, timeout, env).await?;
    let result = match asked {
        Asked::Resume(call) => client.resume(call).await,
        Asked::Call(request) => client.call(*request).await,
    };
    let result = match result {
        Ok(answer) => show(answer, file, args.include, output).await,
        Err(CallError::Declined { .. }) if args.dry_run => dry_run(&seen, output),
        Err(error) => Err(failure(error)),
    };
    // After the body was read, which ends the call. Wipes what it no longer needs; when it fails,
    // the next run does it.
    let _ = client.payments().close().await;
    result
}

/// What to do, read from the command line.
enum Asked {
    Resume(CallId),
    Call(Box<Request<Bytes>>),
}

impl Asked {
    fn read(args: &Get, env: &Env) -> Result<Self, Failure> {
        match &args.resume {
            Some(call) => Ok(Self::Resume(
                call.parse().usage(format!("--resume {call:?}"))?,
            )),
            None => Ok(Self::Call(Box::new(request(args, env)?))),
        }
    }
}

/// Says so when there is nothing to resume: then nothing is unknown either.
fn check_open(call: CallId, wallet: &Wallet) -> Result<(), Failure> {
    let entries = wallet.history(&HistoryFilter::default())?;
    match entries.iter().find(|entry| entry.id == call) {
        None => Err(Failure::usage(format!(
            "the wallet {} has no call {call}: `stiver wallet history` lists them",
            wallet.name()
        ))),
        Some(entry) if entry.state.is_final() => Err(Failure::usage(format!(
            "call {call} is finished ({}): there is nothing to resume; {}",
            entry.state.as_str(),
            entry.money_moved()
        ))),
        Some(_) => Ok(()),
    }
}

/// The file that the body goes to. It is opened before anything is paid, so that no paid body is
/// lost for want of a place; what stood in it stays until there is an answer.
struct OutputFile {
    file: File,
    path: PathBuf,
    is_new: bool,
    filled: bool,
}

impl OutputFile {
    fn open(path: &Path) -> Result<Self, Failure> {
        let is_new = !path.exists();
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).open(path);
        Ok(Self {
            file: file.usage(format!("writing {}", path.display()))?,
            path: path.to_owned(),
            is_new,
            filled: false,
        })
    }

    /// Begins to write: what stood there goes.
    fn begin(&mut self) -> io::Result<&mut File> {
        self.filled = true;
        // A pipe or a device has no length to set.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        Ok(&mut self.file)
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if self.is_new && !self.filled {
            // An empty file is all that stays when this fails.
            let _ = std::fs::remove_file(&self.path);
        }
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
            let mut stdin = io::stdin().lock().take(BODY_BYTES_MAX + 1);
            let length = stdin
                .read_to_end(&mut bytes)
                .usage("reading standard input")?;
            if u64::try_from(length).is_ok_and(|length| length > BODY_BYTES_MAX) {
                let message = format!("standard input is over {BODY_BYTES_MAX} bytes");
                return Err(Failure::usage(message));
            }
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
    mut file: Option<OutputFile>,
    include: bool,
    output: Output,
) -> Result<(), Failure> {
    let status = answer.response.status();
    let head = head_lines(&answer.response);
    if let Some(payment) = &answer.payment {
        note_payment(payment, output)?;
    }
    if output.is_json() {
        let headers = include.then(|| headers_json(&answer.response));
        let body = answer.response.bytes().await.context("reading the body")?;
        let mut object = json!({
            "ok": status.is_success(),
            "status": status.as_u16(),
            "headers": headers,
            "payment": answer.payment.as_ref().map(payment_json),
        });
        match (&mut file, std::str::from_utf8(&body)) {
            (Some(file), _) => {
                file.begin()?.write_all(&body)?;
                object["output"] = json!(file.path.display().to_string());
            }
            (None, Ok(text)) => object["body"] = json!(text),
            (None, Err(_)) => object["bodyBase64Url"] = json!(base64url::encode(&body)),
        }
        output.object(&object)?;
    } else {
        let mut out: Box<dyn Write> = match &mut file {
            Some(file) => Box::new(file.begin()?),
            None => Box::new(io::stdout()),
        };
        if include {
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

fn headers_json(response: &reqwest::Response) -> Vec<Value> {
    let headers = response.headers().iter();
    headers
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect()
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
        (CallError::NotResumable { .. } | CallError::CredentialPresent, _) => FailureKind::Usage,
        (_, MoneyMoved::Maybe | MoneyMoved::Yes) => FailureKind::Unknown,
        (CallError::Declined { .. }, _) => FailureKind::TooExpensive,
        (CallError::Transport { .. }, _) => FailureKind::Network,
        (CallError::Origin(_) | CallError::PlainHttp(_) | CallError::RequestBody(_), _) => {
            FailureKind::Usage
        }
        (CallError::RedirectElsewhere { .. } | CallError::TooManyRedirects { .. }, _) => {
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
