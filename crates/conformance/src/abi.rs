//! Requests and answers as the suite writes them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{codec, exchange};

/// The version of the interface that is spoken.
const SCHEMA: u64 = 1;
/// Most requests in one batch.
const BATCH_MAX: usize = 1_000_000;

/// One request.
#[derive(Debug, Deserialize)]
struct Request {
    schema: u64,
    op: String,
    #[serde(default)]
    input: Value,
}

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorType {
    /// A text from a peer breaks a rule.
    ParseError,
    /// A value cannot be printed.
    FormatError,
    /// Base64url that is none, or no text.
    EncodingError,
    /// No id could be made.
    GenerationError,
    /// No answer came.
    HttpError,
    /// No such operation here.
    UnsupportedOperation,
    /// The request itself is broken.
    UnknownError,
}

/// Why an operation has no value.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorType,
    pub(crate) message: String,
}

impl Failure {
    /// A failure, told with its causes.
    pub(crate) fn new(kind: ErrorType, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self { kind, message }
    }

    /// A failure in our own words.
    pub(crate) fn text(kind: ErrorType, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }
}

/// Answers the text of one request with the text of one answer.
pub(crate) fn answer_text(text: &str) -> String {
    let answer = match serde_json::from_str::<Request>(text) {
        Ok(request) => answer(request),
        Err(error) => failed(&Failure::new(ErrorType::UnknownError, &error)),
    };
    answer.to_string()
}

/// A batch answers with a value that is the array of its answers.
fn answer(request: Request) -> Value {
    if request.schema != SCHEMA {
        let message = format!("schema {} is not spoken, only {SCHEMA}", request.schema);
        return failed(&Failure::text(ErrorType::UnsupportedOperation, message));
    }
    if request.op == "batch" {
        return batch(request.input);
    }
    match perform(&request.op, &request.input) {
        Ok(value) => json!({"ok": true, "value": value}),
        Err(failure) => failed(&failure),
    }
}

fn batch(input: Value) -> Value {
    let Value::Array(requests) = input else {
        let message = "the input of a batch is an array of requests";
        return failed(&Failure::text(ErrorType::UnknownError, message));
    };
    if requests.len() > BATCH_MAX {
        let message = format!("at most {BATCH_MAX} requests fit into one batch");
        return failed(&Failure::text(ErrorType::UnknownError, message));
    }
    let one = |request: Value| match serde_json::from_value::<Request>(request) {
        Ok(request) if request.op == "batch" => failed(&Failure::text(
            ErrorType::UnsupportedOperation,
            "a batch within a batch",
        )),
        Ok(request) => answer(request),
        Err(error) => failed(&Failure::new(ErrorType::UnknownError, &error)),
    };
    Value::Array(requests.into_iter().map(one).collect())
}

fn perform(op: &str, input: &Value) -> Result<Value, Failure> {
    match op {
        "challenge.parse" => codec::parse_challenge(input),
        "challenge.format" => codec::format_challenge(input),
        "challenge.id" => codec::challenge_id(input),
        "credential.parse" => codec::parse_credential(input),
        "credential.format" => codec::format_credential(input),
        "receipt.parse" => codec::parse_receipt(input),
        "receipt.format" => codec::format_receipt(input),
        "base64url.encode" => codec::encode(input),
        "base64url.decode" => codec::decode(input),
        "http.payment_request" => exchange::payment_request(input),
        other => Err(Failure::text(
            ErrorType::UnsupportedOperation,
            format!("no operation {other:?}"),
        )),
    }
}

fn failed(failure: &Failure) -> Value {
    json!({"ok": false, "error": {"type": failure.kind, "message": failure.message}})
}
