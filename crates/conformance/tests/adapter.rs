//! The adapter as the suite drives it: one process, JSON in, JSON out.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::{Value, json};
use stiver_core::{
    Credential, Timestamp,
    binding::{KeyRing, Secret},
    challenge::Params,
    credential::{Presented, presented},
    json::{EncodedObject, Object},
    name::{IntentName, MethodName, Realm},
};

/// The example of the core draft, section 5.1: the request and a credential that answers it.
const REQUEST: &str =
    "eyJhbW91bnQiOiIxMDAwIiwiY3VycmVuY3kiOiJVU0QiLCJyZWNpcGllbnQiOiJhY2N0XzEyMyJ9";

fn ask(request: &Value) -> Value {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stiver-conformance"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(request.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn op(op: &str, input: Value) -> Value {
    json!({"schema": 1, "op": op, "input": input})
}

fn value(name: &str, input: Value) -> Value {
    let answer = ask(&op(name, input));
    assert_eq!(answer["ok"], true, "{answer}");
    answer["value"].clone()
}

fn error_type(name: &str, input: Value) -> String {
    let answer = ask(&op(name, input));
    assert_eq!(answer["ok"], false, "{answer}");
    assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
    answer["error"]["type"].as_str().unwrap().to_owned()
}

fn challenge() -> Value {
    json!({
        "id": "x7Tg2pLqR9mKvNwY3hBcZa",
        "realm": "api.example.com",
        "method": "example",
        "intent": "charge",
        "request": {"amount": "1000", "currency": "USD", "recipient": "acct_123"},
        "expires": "2025-01-15T12:05:00Z",
        "description": "A \"quoted\" word and a \\",
        "opaque": "eyJuIjoiMSJ9",
    })
}

#[test]
fn challenge_reads_back_as_it_was_printed() {
    let header = value("challenge.format", challenge())["header"].clone();
    assert!(header.as_str().unwrap().contains(REQUEST), "{header}");
    assert_eq!(
        value("challenge.parse", json!({"header": header})),
        challenge()
    );
}

#[test]
fn absent_fields_are_left_out() {
    let header = format!(
        "Basic realm=\"x\", Payment id=\"a\", realm=\"r\", method=\"m\", intent=\"charge\", \
         request=\"{REQUEST}\""
    );
    let parsed = value("challenge.parse", json!({"header": header}));
    let names: Vec<&String> = parsed.as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "intent", "method", "realm", "request"]);
}

#[test]
fn credential_reads_back_as_it_was_printed() {
    let credential = json!({
        "challenge": challenge(),
        "payload": {"proof": "0xabc123", "nested": {"z": 1, "a": [1, 2.5, null]}},
        "source": "did:key:z6Mk",
    });
    let header = value("credential.format", credential.clone())["header"].clone();
    assert!(header.as_str().unwrap().starts_with("Payment "));
    assert_eq!(
        value("credential.parse", json!({"header": header})),
        credential
    );
}

#[test]
fn receipt_keeps_fields_that_nobody_here_knows() {
    let receipt = json!({
        "status": "success",
        "method": "example",
        "timestamp": "2025-01-15T12:00:00.000Z",
        "reference": "tr_1",
        "units": 7,
        "further": {"a": [true]},
    });
    let header = value("receipt.format", receipt.clone())["header"].clone();
    assert_eq!(value("receipt.parse", json!({"header": header})), receipt);
}

#[test]
fn challenge_id_is_the_hmac_of_the_seven_slots() {
    let input = json!({
        "secretKey": "test-vector-secret",
        "realm": "api.example.com",
        "method": "tempo",
        "intent": "charge",
        "request": {"amount": "1000000"},
    });
    let id = |change: Value| {
        let mut input = input.clone();
        let members = input.as_object_mut().unwrap();
        members.extend(change.as_object().unwrap().clone());
        value("challenge.id", input)["id"].clone()
    };
    // Computed with openssl over the seven texts joined by `|`.
    assert_eq!(id(json!({})), "X6v1eo7fJ76gAxqY0xN9Jd__4lUyDDYmriryOM-5FO4");
    let other = [
        json!({"expires": "2025-01-06T12:00:00Z"}),
        json!({"digest": "sha-256=abc"}),
        json!({"opaque": "eyJuIjoiMSJ9"}),
        json!({"realm": "api.other.com"}),
        json!({"request": {"amount": "2000000"}}),
    ];
    let mut ids: Vec<String> = other
        .into_iter()
        .map(|change| id(change).to_string())
        .collect();
    ids.push(id(json!({})).to_string());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[test]
fn each_fault_has_its_type() {
    let header = |text: &str| json!({"header": text});
    let cases = [
        ("challenge.parse", header("Bearer x"), "parse_error"),
        ("challenge.parse", header("Payment id=\"a\""), "parse_error"),
        ("credential.parse", header("Payment e30="), "parse_error"),
        ("receipt.parse", header("e30"), "parse_error"),
        ("challenge.format", json!({"id": "a"}), "format_error"),
        ("credential.format", json!({}), "format_error"),
        (
            "receipt.format",
            json!({"status": "failed"}),
            "format_error",
        ),
        ("base64url.decode", json!({"text": "a+b"}), "encoding_error"),
        ("challenge.id", json!({"realm": "r"}), "generation_error"),
        (
            "http.payment_request",
            json!({"url": "http://127.0.0.1:1/"}),
            "http_error",
        ),
        ("session.open", json!({}), "unsupported_operation"),
    ];
    for (name, input, expected) in cases {
        assert_eq!(error_type(name, input.clone()), expected, "{name} {input}");
    }
    assert_eq!(ask(&json!({"op": 1}))["error"]["type"], "unknown_error");
    let other = ask(&json!({"schema": 2, "op": "batch", "input": []}));
    assert_eq!(other["error"]["type"], "unsupported_operation");
}

#[test]
fn batch_answers_in_order() {
    let input = json!([
        op("base64url.encode", json!({"text": "{}"})),
        {"op": "base64url.encode"},
        op("base64url.decode", json!({"text": "e30"})),
    ]);
    let answers = ask(&op("batch", input));
    assert_eq!(answers[0], json!({"ok": true, "value": {"text": "e30"}}));
    assert_eq!(answers[1]["ok"], false);
    assert_eq!(answers[2]["value"]["text"], "{}");
}

/// A server that takes the payload `{"proof":"paid"}` for the request it asked, bound by HMAC.
async fn priced(State(keys): State<Arc<KeyRing>>, headers: HeaderMap, body: String) -> Response {
    let request = Object::parse(br#"{"amount":"1000","currency":"usd"}"#).unwrap();
    let params = Params::new(
        Realm::new("conformance").unwrap(),
        MethodName::new("example").unwrap(),
        IntentName::charge(),
        EncodedObject::encode(&request),
    );
    let refuse = |status| {
        let challenge = keys.bind(params).to_header();
        (status, [("www-authenticate", challenge)], "pay").into_response()
    };
    let lines = headers.get_all("authorization").iter();
    let Presented::One(token) = presented(lines.map(|line| line.as_bytes())) else {
        return refuse(StatusCode::PAYMENT_REQUIRED);
    };
    let credential = Credential::parse(token).unwrap();
    if keys
        .verify(&credential.challenge, Timestamp::EPOCH)
        .is_err()
    {
        return refuse(StatusCode::UNAUTHORIZED);
    }
    if credential.payload.as_str() != r#"{"proof":"paid"}"# {
        return refuse(StatusCode::FORBIDDEN);
    }
    let paid = format!("{} by {}", body, credential.source.unwrap());
    ([("payment-receipt", "yes")], paid).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn priced_request_is_paid_or_spoiled_as_the_mode_says() {
    let keys = Arc::new(KeyRing::new(Secret::from_bytes(b"conformance")));
    let app = Router::new().route("/paid", any(priced)).with_state(keys);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/paid", listener.local_addr().unwrap());
    let _server =
        tokio::task::JoinSet::from_iter([async move { axum::serve(listener, app).await }]);
    let run = move |mode: &str| {
        let input = json!({
            "url": url,
            "method": "POST",
            "headers": {"x-note": "1"},
            "body": "hello",
            "payment": {"payload": {"proof": "paid"}, "source": "did:example:payer"},
            "mode": mode,
        });
        value("http.payment_request", input)
    };
    let answers = tokio::task::spawn_blocking(move || {
        let modes = ["plain", "payment", "invalid_payload", "mismatched_request"];
        let mut answers: Vec<Value> = modes.into_iter().map(&run).collect();
        answers.push(run("invalid_challenge_id"));
        answers
    })
    .await
    .unwrap();
    let statuses: Vec<u64> = answers
        .iter()
        .map(|answer| answer["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [402, 200, 403, 401, 401]);
    assert_eq!(answers[1]["body"], "hello by did:example:payer");
    assert_eq!(answers[1]["headers"]["payment-receipt"], "yes");
    let asked = answers[0]["headers"]["www-authenticate"].as_str().unwrap();
    assert!(asked.starts_with("Payment id="), "{asked}");
}
