//! The answer: the body where it is wanted, what was paid beside it.

use std::io::{self, Write};

use anyhow::anyhow;
use http::{Method, StatusCode, header};
use reqwest::Response;
use serde_json::{Value, json};
use stiver_client::{Answer, MoneyMoved, Payment};
use stiver_core::{base64url, untrusted::Untrusted};

use super::{
    decode::{Place, Plain, UnknownCoding, decoding},
    session::Meter,
    target::Target,
};
use crate::{
    args::get::Get,
    commands::{inspect::receipt_of, sessions::row},
    failure::{Advice, Again, Failure, FailureKind},
    output::Output,
};

/// Longest body inside a JSON object, bytes. Longer ones go to a file, or are streamed as they are.
const JSON_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How an answer is shown.
pub(super) struct Show<'a> {
    pub(super) args: &'a Get,
    pub(super) method: Option<Method>,
    pub(super) target: Option<Target>,
    pub(super) output: Output,
    pub(super) meter: &'a Meter,
}

impl Show<'_> {
    /// Shows an answer. One that is no success is a failure.
    pub(super) async fn answer(mut self, answer: Answer<Response>) -> Result<(), Failure> {
        let Answer { response, payment } = answer;
        let status = response.status();
        let is_error = status.is_client_error() || status.is_server_error();
        let mut notes = Vec::new();
        if let Some(payment) = &payment {
            notes.extend(warnings(payment));
            // What a session's request costs is known when its body has come.
            if payment.session.is_none() {
                self.note_payment(payment);
            }
        }
        if let (true, None, Some(to)) = (status.is_redirection(), &payment, location(&response)) {
            notes.push(format!("it redirects to {to}: follow it with -L"));
        }
        self.note(&notes);
        let shown = if self.output.is_json() {
            self.object(response, payment.as_ref(), notes).await
        } else if !(is_error && self.args.output.fail) {
            let streamed = self.stream(response, payment.as_ref()).await;
            self.meter.clear();
            self.note(late_warnings(payment.as_ref()).as_slice());
            streamed
        } else {
            Ok(())
        };
        if let Some(payment) = payment.as_ref().filter(|payment| payment.session.is_some()) {
            self.note_session(payment);
        }
        shown?;
        if let Some(failure) = payment.as_ref().and_then(unpaid) {
            return Err(failure);
        }
        match is_error {
            true => Err(refused(status, payment.as_ref(), self.method.as_ref())),
            false => Ok(()),
        }
    }

    /// Nobody reads notes when they cannot be written: the body is still wanted.
    fn note(&self, notes: &[String]) {
        if self.args.output.silent || self.output.is_json() {
            return;
        }
        for note in notes {
            let _ = self.output.tell(note, &json!({"note": note}));
        }
    }

    fn note_payment(&self, payment: &Payment) {
        if self.args.output.silent || self.output.is_json() {
            return;
        }
        let reference = payment.receipt.as_ref();
        let reference = reference.map(|receipt| Untrusted(&receipt.reference).to_string());
        let receipt = reference
            .as_ref()
            .map(|text| format!(", receipt {text}"))
            .unwrap_or_default();
        let terms = format!("{} to {}", payment.terms.amount, payment.terms.payee);
        let call = payment.call;
        let text = match payment.moved {
            MoneyMoved::Yes => format!("paid {terms}{receipt} (call {call})"),
            MoneyMoved::Maybe => format!("may have paid {terms}{receipt} (call {call})"),
            MoneyMoved::No => format!("not paid: {terms} was not taken (call {call})"),
        };
        let mut object = terms_json(payment);
        object["reference"] = json!(reference);
        let _ = self.output.tell(&text, &json!({"payment": object}));
    }

    /// What was paid from a session, once the body has come.
    pub(super) fn note_session(&self, payment: &Payment) {
        let Some((session, cost)) = self.meter.now(payment) else {
            return;
        };
        if self.args.output.silent || self.output.is_json() {
            return;
        }
        let verb = match payment.moved {
            MoneyMoved::Yes => "paid",
            MoneyMoved::Maybe => "may have paid",
            MoneyMoved::No => "not paid:",
        };
        let text = format!(
            "{verb} {cost} to {} from session {}: {} signed of {}",
            Untrusted(&session.terms.payee),
            session.id,
            session.amount(session.signed),
            session.amount(session.deposit),
        );
        let mut object = self.payment_json(payment);
        // The receipt itself is no log's.
        if let Some(members) = object.as_object_mut() {
            members.remove("receipt");
        }
        let reference = payment.receipt.as_ref();
        let reference = reference.map(|receipt| Untrusted(&receipt.reference).to_string());
        object["reference"] = json!(reference);
        let _ = self.output.tell(&text, &json!({"payment": object}));
        if let Some(note) = &session.note {
            let note = format!("note: {}", Untrusted(note));
            let _ = self.output.tell(&note, &json!({"note": note}));
        }
    }

    /// A payment in JSON; of a session with what it came to in the end.
    pub(super) fn payment_json(&self, payment: &Payment) -> Value {
        let mut object = payment_json(payment);
        if let Some((session, cost)) = self.meter.now(payment) {
            object["amount"] = json!(cost.to_wire());
            object["display"] = json!(cost.to_string());
            object["session"] = row(&session);
        }
        object
    }

    /// The body, piece by piece as it comes.
    async fn stream(
        &mut self,
        response: Response,
        payment: Option<&Payment>,
    ) -> Result<(), Failure> {
        let heads = self.args.output.include || self.args.request.head;
        let head = heads.then(|| head_lines(&response));
        let failed = |error| not_written(error, payment, is_empty(&response));
        let mut out: Box<dyn Write> = match &mut self.target {
            Some(target) => Box::new(target.begin().map_err(failed)?),
            None => Box::new(io::stdout()),
        };
        if let Some(head) = head {
            out.write_all(head.as_bytes()).map_err(failed)?;
        }
        let mut place = self.place(&response, out);
        copy(response, place.as_mut(), payment).await
    }

    /// One JSON object, the body in it unless it goes to a file.
    async fn object(
        &mut self,
        response: Response,
        payment: Option<&Payment>,
        mut notes: Vec<String>,
    ) -> Result<(), Failure> {
        let status = response.status();
        let heads = self.args.output.include || self.args.request.head;
        let headers = heads.then(|| headers_json(&response));
        let mut object = json!({
            "ok": status.is_success(),
            "status": status.as_u16(),
            "headers": headers,
            "payment": payment.map(payment_json),
        });
        if let Some(mut target) = self.target.take() {
            let file = target.begin();
            let file = file.map_err(|error| not_written(error, payment, is_empty(&response)))?;
            let mut place = self.place(&response, file);
            copy(response, place.as_mut(), payment).await?;
            object["output"] = json!(target.path().display().to_string());
        } else {
            let mut held = Held(Vec::new());
            let mut place = self.place(&response, &mut held);
            copy(response, place.as_mut(), payment).await?;
            drop(place);
            match String::from_utf8(held.0) {
                Ok(text) => object["body"] = json!(text),
                Err(bytes) => {
                    object["bodyBase64Url"] = json!(base64url::encode(bytes.as_bytes()));
                }
            }
        }
        object["payment"] = json!(payment.map(|payment| self.payment_json(payment)));
        notes.extend(late_warnings(payment));
        object["notes"] = json!(notes);
        let written = self.output.object(&object);
        written.map_err(|error| not_written(error, payment, true))
    }

    /// What undoes the coding of the body, if that was asked for.
    fn place<'w, W: Write + 'w>(&self, response: &Response, out: W) -> Box<dyn Place + 'w> {
        if !self.args.request.compressed {
            return Box::new(Plain(out));
        }
        match decoding(response.headers(), out) {
            Ok(place) => place,
            Err((UnknownCoding(coding), out)) => {
                let coding = Untrusted(&coding).to_string();
                let note = format!("the body is left as it is: its coding is {coding}");
                self.note(&[note]);
                Box::new(Plain(out))
            }
        }
    }
}

/// Memory for a body, as much as goes into a JSON object.
struct Held(Vec<u8>);

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > JSON_BODY_BYTES_MAX {
            return Err(io::Error::other(format!(
                "the body is over {JSON_BODY_BYTES_MAX} bytes, too long for a JSON object: give \
                 -o FILE, or leave out --json"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies a body, and waits for whoever reads it.
async fn copy(
    mut response: Response,
    place: &mut dyn Place,
    payment: Option<&Payment>,
) -> Result<(), Failure> {
    loop {
        let piece = response.chunk().await;
        let Some(piece) = piece.map_err(|error| broken(error, payment))? else {
            break;
        };
        let written = place.write_all(&piece).and_then(|()| place.flush());
        written.map_err(|error| not_written(error, payment, false))?;
    }
    place
        .end()
        .map_err(|error| not_written(error, payment, true))
}

/// The body broke off on its way.
fn broken(error: reqwest::Error, payment: Option<&Payment>) -> Failure {
    if let Some(failure) = payment.and_then(unpaid) {
        return failure;
    }
    let error = anyhow::Error::new(error.without_url()).context("the body broke off");
    let advice = after(payment, false);
    let kind = match advice.moved {
        MoneyMoved::No => FailureKind::Network,
        MoneyMoved::Maybe | MoneyMoved::Yes => FailureKind::Unknown,
    };
    Failure::new(kind, error).with(advice)
}

/// A body that is paid for as it comes ended before its time, because no more was signed.
pub(super) fn unpaid(payment: &Payment) -> Option<Failure> {
    let why = payment.streamed.as_ref()?.end().unpaid?;
    let error = anyhow!("the body ended early, because no more was paid for it: {why}");
    let next = "what came is paid for, and no more. Allow more with --max-amount, --max-session \
                or --sign-ahead: the same command asks for all of it again, and pays again";
    let advice = Advice {
        moved: payment.moved,
        again: Again::No,
        next: next.to_owned(),
    };
    Some(Failure::new(FailureKind::TooExpensive, error).with(advice))
}

/// True when there is no body to read: its end, which is the end of the call, was there at once.
fn is_empty(response: &Response) -> bool {
    response.content_length() == Some(0)
}

/// The body could not be put where it was wanted, before or after its end.
fn not_written(error: io::Error, payment: Option<&Payment>, ended: bool) -> Failure {
    let doing = match error.kind() {
        io::ErrorKind::BrokenPipe => "whoever read the output went away before the body ended",
        _ => "the body could not be written",
    };
    let error = anyhow::Error::new(error).context(doing);
    Failure::new(FailureKind::Other, error).with(after(payment, ended))
}

/// What to do when a body was not had whole. Once it was read to its end, the call is finished, and
/// there is nothing to resume.
pub(super) fn after(payment: Option<&Payment>, ended: bool) -> Advice {
    let safe = Advice {
        moved: MoneyMoved::No,
        again: Again::Safe,
        next: "run the same command again".to_owned(),
    };
    let Some(payment) = payment else { return safe };
    let (call, moved) = (payment.call, payment.moved);
    let (again, next) = match (moved, ended) {
        (MoneyMoved::No, _) => return safe,
        (MoneyMoved::Maybe | MoneyMoved::Yes, false) if payment.session.is_some() => {
            let next = "the session pays for what came, and for no more: the same command asks \
                        for all of it again, and pays again";
            (Again::No, next.to_owned())
        }
        (MoneyMoved::Maybe | MoneyMoved::Yes, true) => {
            let next = format!(
                "call {call} is finished and cannot be resumed: the same command would pay again"
            );
            (Again::No, next)
        }
        (MoneyMoved::Yes, false) => {
            let next = format!("run `stiver get --resume {call}` to have it again: it is paid for");
            (Again::Resume(call.to_string()), next)
        }
        (MoneyMoved::Maybe, false) => {
            let next = format!(
                "run `stiver get --resume {call}`: it sends the same payment, never another"
            );
            (Again::Resume(call.to_string()), next)
        }
    };
    Advice { moved, again, next }
}

/// An answer that is no success.
fn refused(status: StatusCode, payment: Option<&Payment>, method: Option<&Method>) -> Failure {
    let never_paid = method.is_some_and(|method| *method != Method::GET && method.is_safe());
    let next = match (status, payment) {
        (StatusCode::PAYMENT_REQUIRED, None) if never_paid => {
            "HEAD, OPTIONS and TRACE are never paid for: ask with another method, or with \
             --dry-run for the price"
        }
        (StatusCode::PAYMENT_REQUIRED, None) => {
            "it asks for payment without saying how: there is no Payment challenge"
        }
        (_, Some(_)) => "the answer is the application's: see its body",
        _ if status.is_server_error() => "try again later, or with --retries",
        _ => "see the body of the answer",
    };
    let moved = payment.map_or(MoneyMoved::No, |payment| payment.moved);
    let again = match (payment, status.is_server_error()) {
        (None, true) => Again::Safe,
        _ => Again::No,
    };
    let advice = Advice {
        moved,
        again,
        next: next.to_owned(),
    };
    let message = anyhow!("the server answered {status}");
    Failure::new(FailureKind::Refused, message).with(advice)
}

fn location(response: &Response) -> Option<String> {
    let to = response.headers().get(header::LOCATION)?;
    let to = String::from_utf8_lossy(to.as_bytes());
    Some(Untrusted(&to).to_string())
}

fn head_lines(response: &Response) -> String {
    let mut text = format!("{:?} {}\r\n", response.version(), response.status());
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text
}

fn headers_json(response: &Response) -> Vec<Value> {
    let headers = response.headers().iter();
    headers
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect()
}

fn warnings(payment: &Payment) -> Vec<String> {
    let fault = payment.receipt_fault.iter();
    let fault = fault.map(|fault| format!("warning: the receipt: {}", Untrusted(fault)));
    let lost = payment.unrecorded.iter();
    let lost = lost.map(|error| format!("warning: the payment is not in the history: {error}"));
    fault.chain(lost).collect()
}

/// What was wrong with the receipt at the end of a body.
fn late_warnings(payment: Option<&Payment>) -> Option<String> {
    let fault = payment?.streamed.as_ref()?.end().receipt_fault?;
    Some(format!(
        "warning: the receipt at the end: {}",
        Untrusted(&fault)
    ))
}

fn terms_json(payment: &Payment) -> Value {
    json!({
        "call": payment.call.to_string(),
        "amount": payment.terms.amount.to_wire(),
        "currency": payment.terms.amount.currency().code(),
        "display": payment.terms.amount.to_string(),
        "payee": payment.terms.payee,
        "method": payment.terms.method,
        "challengeId": payment.terms.challenge_id,
        "moneyMoved": payment.moved.as_str(),
    })
}

fn payment_json(payment: &Payment) -> Value {
    // The one at the end of a stream says more than the one at its head.
    let last = payment.streamed.as_ref().and_then(|it| it.end().receipt);
    let receipt = last.as_ref().or(payment.receipt.as_ref()).map(receipt_of);
    let mut object = terms_json(payment);
    object["receipt"] = json!(receipt.as_ref().and_then(|value| value.get("receipt")));
    object
}
