//! `http.payment_request`: one priced request, paid as told, or wrongly on purpose.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stiver_core::{
    Challenge, Credential,
    json::{EncodedObject, Object},
    name::ChallengeId,
};

use crate::{
    abi::{ErrorType, Failure},
    codec::{object_of, object_value},
};

/// How long one exchange may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What to ask for, and how to pay.
#[derive(Deserialize)]
struct Input {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    payment: Option<Payment>,
    #[serde(default)]
    mode: Mode,
}

fn get() -> String {
    "GET".to_owned()
}

#[derive(Deserialize)]
struct Payment {
    #[serde(default)]
    payload: Map<String, Value>,
    source: Option<String>,
}

/// How to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// With the given payload.
    #[default]
    Payment,
    /// Not at all.
    Plain,
    /// With a payload that no method takes.
    InvalidPayload,
    /// With an echoed request that is not the one that was asked.
    MismatchedRequest,
    /// With an id that the server never gave.
    InvalidChallengeId,
}

type Cause = Box<dyn std::error::Error>;

/// Sends the request; pays when it is asked to, and sends it again.
pub(crate) fn payment_request(input: &Value) -> Result<Value, Failure> {
    let input: Input = serde_json::from_value(input.clone())
        .map_err(|error| Failure::new(ErrorType::HttpError, &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ErrorType::HttpError, &error))?;
    runtime
        .block_on(run(&input))
        .map_err(|error| Failure::new(ErrorType::HttpError, &*error))
}

async fn run(input: &Input) -> Result<Value, Cause> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(TIMEOUT)
        .build()?;
    let first = send(&client, input, None).await?;
    if input.mode == Mode::Plain || first.status != StatusCode::PAYMENT_REQUIRED {
        return Ok(first.value());
    }
    let credential = credential(&first.headers, input)?;
    let second = send(&client, input, Some(credential.to_header())).await?;
    Ok(second.value())
}

fn tls() -> Result<rustls::ClientConfig, Cause> {
    // The suite runs against loopback; a name that needs roots is refused by having none.
    let provider = rustls::crypto::ring::default_provider();
    let builder = rustls::ClientConfig::builder_with_provider(provider.into());
    let roots = rustls::RootCertStore::empty();
    Ok(builder
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// One answer, read whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn value(&self) -> Value {
        let mut headers = BTreeMap::<&str, String>::new();
        for (name, value) in &self.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            headers
                .entry(name.as_str())
                .and_modify(|joined| *joined = format!("{joined}, {value}"))
                .or_insert_with(|| value.into_owned());
        }
        json!({"status": self.status.as_u16(), "headers": headers, "body": self.body})
    }
}

async fn send(
    client: &reqwest::Client,
    input: &Input,
    credential: Option<String>,
) -> Result<Answer, Cause> {
    let method = Method::from_bytes(input.method.as_bytes())?;
    let mut request = client.request(method, &input.url);
    for (name, value) in &input.headers {
        request = request.header(name, value);
    }
    if let Some(body) = &input.body {
        request = request.body(body.clone());
    }
    if let Some(credential) = credential {
        request = request.header(header::AUTHORIZATION, credential);
    }
    let response = request.send().await?;
    Ok(Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.text().await?,
    })
}

/// The credential for the first Payment challenge of an answer, as the mode says.
fn credential(headers: &HeaderMap, input: &Input) -> Result<Credential, Cause> {
    let fields = headers.get_all(header::WWW_AUTHENTICATE);
    let lines = fields.iter().map(http::HeaderValue::as_bytes);
    let mut challenges = Challenge::parse_all(lines).into_iter();
    let first = challenges
        .next()
        .ok_or("the 402 has no Payment challenge")?;
    let mut challenge = first?;
    let mut payload = match &input.payment {
        Some(payment) => object_of(payment.payload.clone())?,
        None => Object::parse(b"{}")?,
    };
    match input.mode {
        Mode::Payment | Mode::Plain => {}
        Mode::InvalidPayload => payload = Object::parse(br#"{"invalid":true}"#)?,
        Mode::MismatchedRequest => {
            challenge.params.request = other_request(&challenge.params.request)?;
        }
        Mode::InvalidChallengeId => challenge.id = other_id(&challenge.id)?,
    }
    let source = input.payment.as_ref();
    Ok(Credential {
        challenge,
        payload,
        source: source.and_then(|payment| payment.source.clone()),
    })
}

/// The same request for another amount.
fn other_request(request: &EncodedObject) -> Result<EncodedObject, Cause> {
    let mut value = object_value(request.object());
    let members = value.as_object_mut().ok_or("the request is no object")?;
    let amount = members.get("amount").and_then(Value::as_str);
    let other = format!("{}1", amount.unwrap_or_default());
    members.insert("amount".into(), other.into());
    Ok(EncodedObject::encode(&object_of(members.clone())?))
}

/// An id that differs in its first character.
fn other_id(id: &ChallengeId) -> Result<ChallengeId, Cause> {
    let rest: String = id.as_str().chars().skip(1).collect();
    let first = if id.as_str().starts_with('A') {
        'B'
    } else {
        'A'
    };
    Ok(ChallengeId::new(&format!("{first}{rest}"))?)
}
