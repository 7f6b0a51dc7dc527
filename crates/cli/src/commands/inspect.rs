//! `stiver inspect`: what a header or a problem document says.

use std::io::Read;

use serde_json::{Map, Value, json};
use stiver_core::{
    Challenge, Credential, Receipt, base64url, credential, json as core_json,
    problem::ReceivedProblem, untrusted::Untrusted,
};

use crate::{
    args::Inspect,
    failure::{Failure, UsageContext},
    output::{Output, STRONG},
};

/// Longest text read, bytes.
const TEXT_BYTES_MAX: u64 = 256 * 1024;

/// Decodes and prints.
pub(crate) fn run(args: &Inspect, output: Output) -> Result<(), Failure> {
    let text = match &args.text {
        Some(text) => text.clone(),
        None => read_stdin()?,
    };
    let decoded = decode(text.trim())?;
    if output.is_json() {
        output.object(&decoded)?;
    } else {
        let kind = decoded
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default();
        output.line(&output.paint(STRONG, kind))?;
        output.line(&serde_json::to_string_pretty(&decoded)?)?;
    }
    Ok(())
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(TEXT_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .usage("reading standard input")?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > TEXT_BYTES_MAX) {
        let message = format!("standard input has more than {TEXT_BYTES_MAX} bytes");
        return Err(Failure::usage(message));
    }
    Ok(text)
}

/// Tells what a text is, and decodes it.
pub(crate) fn decode(text: &str) -> Result<Value, Failure> {
    let value = without_field_name(text);
    if value.is_empty() {
        return Err(Failure::usage(
            "there is nothing to inspect: give a header value",
        ));
    }
    if value.starts_with('{') {
        return problem(value);
    }
    if let credential::Presented::One(token) = credential::presented([value.as_bytes()])
        && !has_parameters(token)
    {
        return credential_of(token);
    }
    let challenges = Challenge::parse_all([value.as_bytes()]);
    if challenges.iter().any(Result::is_ok) {
        let list: Vec<Value> = challenges.iter().map(challenge_result).collect();
        return Ok(json!({"kind": "challenges", "challenges": list}));
    }
    let scheme = value.split([' ', '\t']).next().unwrap_or_default();
    if let (Some(Err(error)), true) = (
        challenges.first(),
        scheme.eq_ignore_ascii_case(stiver_core::challenge::SCHEME),
    ) {
        return Err(Failure::usage(format!("a challenge, but: {error}")));
    }
    if let Ok(receipt) = Receipt::parse(value.as_bytes()) {
        return Ok(receipt_of(&receipt));
    }
    match base64url::decode(value.as_bytes()) {
        Ok(bytes) => {
            let object = core_json::Object::parse(&bytes).usage("base64url, but not of JSON")?;
            Ok(json!({"kind": "object", "object": plain(object.as_str())?}))
        }
        Err(_) => Err(Failure::usage(
            "this is no Payment challenge, credential, receipt or problem document",
        )),
    }
}

/// A challenge has parameters after its scheme, a credential one token, which may be padded.
fn has_parameters(token: &[u8]) -> bool {
    let text = token.trim_ascii_end();
    let unpadded = text.iter().rev().skip_while(|byte| **byte == b'=');
    unpadded.into_iter().any(|byte| *byte == b'=')
}

/// Drops `Name: ` when the whole header line was pasted.
fn without_field_name(text: &str) -> &str {
    let names = [
        "www-authenticate",
        "authorization",
        "payment-authorization",
        "payment-receipt",
    ];
    match text.split_once(':') {
        Some((name, value)) if names.contains(&name.trim().to_ascii_lowercase().as_str()) => {
            value.trim()
        }
        _ => text,
    }
}

fn plain(text: &str) -> Result<Value, Failure> {
    Ok(serde_json::from_str(text)?)
}

fn challenge_result<E: std::fmt::Display>(result: &Result<Challenge, E>) -> Value {
    match result {
        Ok(challenge) => challenge_of(challenge),
        Err(error) => json!({"error": error.to_string()}),
    }
}

/// A challenge as JSON, `request` and `opaque` decoded.
pub(crate) fn challenge_of(challenge: &Challenge) -> Value {
    let params = &challenge.params;
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("id", json!(challenge.id.as_str()));
    put("realm", json!(params.realm.as_str()));
    put("method", json!(params.method.as_str()));
    put("intent", json!(params.intent.as_str()));
    put(
        "request",
        plain(params.request.object().as_str()).unwrap_or_default(),
    );
    if let Some(expires) = &params.expires {
        put("expires", json!(expires.as_str()));
    }
    if let Some(digest) = &params.digest {
        put("digest", json!(digest.as_str()));
    }
    if let Some(description) = &params.description {
        put("description", json!(Untrusted(description).to_string()));
    }
    if let Some(opaque) = &params.opaque {
        put(
            "opaque",
            plain(opaque.object().as_str()).unwrap_or_default(),
        );
    }
    Value::Object(out)
}

fn credential_of(token: &[u8]) -> Result<Value, Failure> {
    let credential = Credential::parse(token).usage("a credential, but")?;
    let mut out = Map::new();
    out.insert("kind".to_owned(), json!("credential"));
    out.insert("challenge".to_owned(), challenge_of(&credential.challenge));
    out.insert("payload".to_owned(), plain(credential.payload.as_str())?);
    if let Some(source) = &credential.source {
        out.insert("source".to_owned(), json!(Untrusted(source).to_string()));
    }
    Ok(Value::Object(out))
}

/// A receipt as JSON.
pub(crate) fn receipt_of(receipt: &Receipt) -> Value {
    let bytes = base64url::decode(receipt.to_header().as_bytes()).unwrap_or_default();
    let decoded: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    json!({"kind": "receipt", "receipt": decoded})
}

fn problem(text: &str) -> Result<Value, Failure> {
    let problem = ReceivedProblem::parse(text.as_bytes()).usage("a JSON object, but")?;
    let known = problem.kind.map(stiver_core::problem::ProblemKind::title);
    Ok(json!({"kind": "problem", "problem": plain(text)?, "known": known}))
}
