//! The operations that need no network.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use stiver_core::{
    Challenge, Credential, Receipt, base64url,
    binding::Secret,
    challenge::{DigestText, Expires, Params},
    credential::{Presented, presented},
    json::{EncodedObject, Object},
    name::{ChallengeId, IntentName, MethodName, Realm},
};

use crate::abi::{ErrorType, Failure};

/// A challenge as the suite writes it: the request decoded, `opaque` as it stands on the wire.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    id: Option<String>,
    realm: String,
    method: String,
    intent: String,
    request: Map<String, Value>,
    expires: Option<String>,
    digest: Option<String>,
    description: Option<String>,
    opaque: Option<Value>,
    secret_key: Option<String>,
}

#[derive(Deserialize)]
struct CredentialParts {
    challenge: Value,
    payload: Map<String, Value>,
    source: Option<String>,
}

/// Reads the first Payment challenge of a `WWW-Authenticate` value.
pub(crate) fn parse_challenge(input: &Value) -> Result<Value, Failure> {
    let header = text(input, "header", ErrorType::ParseError)?;
    let challenge = first_challenge(header).map_err(parse)?;
    Ok(challenge_value(&challenge))
}

/// Prints a challenge.
pub(crate) fn format_challenge(input: &Value) -> Result<Value, Failure> {
    let challenge = challenge_of(input.clone(), ErrorType::FormatError)?;
    Ok(json!({"header": challenge.to_header()}))
}

/// The id that a server with this secret gives to these parameters.
pub(crate) fn challenge_id(input: &Value) -> Result<Value, Failure> {
    let kind = ErrorType::GenerationError;
    let parts = parts_of(input.clone(), kind)?;
    let secret = match parts.secret_key.as_deref() {
        None | Some("") => return Err(Failure::text(kind, "secretKey is missing")),
        Some(secret) => Secret::from_bytes(secret.as_bytes()),
    };
    let (_, params) = params_of(parts).map_err(|error| Failure::new(kind, &*error))?;
    Ok(json!({"id": secret.id(&params).as_str()}))
}

/// Reads an `Authorization` value.
pub(crate) fn parse_credential(input: &Value) -> Result<Value, Failure> {
    let header = text(input, "header", ErrorType::ParseError)?;
    let token = match presented([header.as_bytes()]) {
        Presented::One(token) => token,
        Presented::None => return Err(parse("the field holds no Payment credential".into())),
        Presented::Several => return Err(parse("the field holds several credentials".into())),
    };
    let credential = Credential::parse(token).map_err(|error| parse(error.into()))?;
    let mut value = Map::new();
    value.insert("challenge".into(), challenge_value(&credential.challenge));
    value.insert("payload".into(), object_value(&credential.payload));
    if let Some(source) = credential.source {
        value.insert("source".into(), source.into());
    }
    Ok(Value::Object(value))
}

/// Prints a credential.
pub(crate) fn format_credential(input: &Value) -> Result<Value, Failure> {
    let kind = ErrorType::FormatError;
    let parts: CredentialParts =
        serde_json::from_value(input.clone()).map_err(|error| Failure::new(kind, &error))?;
    let credential = Credential {
        challenge: challenge_of(parts.challenge, kind)?,
        payload: object_of(parts.payload).map_err(|error| Failure::new(kind, &*error))?,
        source: parts.source,
    };
    Ok(json!({"header": credential.to_header()}))
}

/// Reads a `Payment-Receipt` value. Every member is told as it stands in it.
pub(crate) fn parse_receipt(input: &Value) -> Result<Value, Failure> {
    let header = text(input, "header", ErrorType::ParseError)?;
    Receipt::parse(header.as_bytes()).map_err(|error| parse(error.into()))?;
    let json = base64url::decode(header.trim().as_bytes()).map_err(|error| parse(error.into()))?;
    serde_json::from_slice(&json).map_err(|error| parse(error.into()))
}

/// Prints a receipt that holds to the rules, with every member as it was given.
pub(crate) fn format_receipt(input: &Value) -> Result<Value, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(ErrorType::FormatError, error);
    let json = input.to_string();
    Receipt::from_json(json.as_bytes()).map_err(|error| failed(&error))?;
    let object = Object::parse(json.as_bytes()).map_err(|error| failed(&error))?;
    let header = EncodedObject::encode(&object).wire().to_owned();
    Ok(json!({"header": header}))
}

/// Text to base64url.
pub(crate) fn encode(input: &Value) -> Result<Value, Failure> {
    let text = text(input, "text", ErrorType::EncodingError)?;
    Ok(json!({"text": base64url::encode(text.as_bytes())}))
}

/// Base64url to text.
pub(crate) fn decode(input: &Value) -> Result<Value, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(ErrorType::EncodingError, error);
    let text = text(input, "text", ErrorType::EncodingError)?;
    let bytes = base64url::decode(text.as_bytes()).map_err(|error| failed(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(&error))?;
    Ok(json!({"text": text}))
}

type Cause = Box<dyn std::error::Error>;

/// The first Payment challenge of a field.
pub(crate) fn first_challenge(header: &str) -> Result<Challenge, Cause> {
    let mut found = Challenge::parse_all([header.as_bytes()]).into_iter();
    let first = found.next().ok_or("the field holds no Payment challenge")?;
    first.map_err(Into::into)
}

/// An object as our JSON reads it.
pub(crate) fn object_of(members: Map<String, Value>) -> Result<Object, Cause> {
    Ok(Object::parse(
        Value::Object(members).to_string().as_bytes(),
    )?)
}

fn parse(error: Cause) -> Failure {
    Failure::new(ErrorType::ParseError, &*error)
}

fn text<'v>(input: &'v Value, name: &str, kind: ErrorType) -> Result<&'v str, Failure> {
    let missing = || Failure::text(kind, format!("the input has no text {name:?}"));
    input.get(name).and_then(Value::as_str).ok_or_else(missing)
}

fn parts_of(input: Value, kind: ErrorType) -> Result<Parts, Failure> {
    serde_json::from_value(input).map_err(|error| Failure::new(kind, &error))
}

fn challenge_of(input: Value, kind: ErrorType) -> Result<Challenge, Failure> {
    let failed = |error: Cause| Failure::new(kind, &*error);
    let (id, params) = params_of(parts_of(input, kind)?).map_err(failed)?;
    let id = id.ok_or_else(|| Failure::text(kind, "the challenge has no id"))?;
    let id = ChallengeId::new(&id).map_err(|error| failed(error.into()))?;
    Ok(Challenge { id, params })
}

fn params_of(parts: Parts) -> Result<(Option<String>, Params), Cause> {
    let mut params = Params::new(
        Realm::new(&parts.realm)?,
        MethodName::new(&parts.method)?,
        IntentName::new(&parts.intent)?,
        EncodedObject::encode(&object_of(parts.request)?),
    );
    params.expires = parts.expires.as_deref().map(Expires::parse).transpose()?;
    params.digest = parts.digest.as_deref().map(DigestText::new).transpose()?;
    params.description = parts.description;
    params.opaque = match parts.opaque {
        None => None,
        Some(Value::String(wire)) => Some(EncodedObject::parse(&wire)?),
        Some(Value::Object(members)) => Some(EncodedObject::encode(&object_of(members)?)),
        Some(_) => return Err("opaque is neither its wire string nor an object".into()),
    };
    Ok((parts.id, params))
}

/// A challenge as the suite reads it; absent fields are left out.
fn challenge_value(challenge: &Challenge) -> Value {
    let params = &challenge.params;
    let texts = [
        ("id", Some(challenge.id.as_str())),
        ("realm", Some(params.realm.as_str())),
        ("method", Some(params.method.as_str())),
        ("intent", Some(params.intent.as_str())),
        ("expires", params.expires.as_ref().map(Expires::as_str)),
        ("description", params.description.as_deref()),
        ("digest", params.digest.as_ref().map(DigestText::as_str)),
        ("opaque", params.opaque.as_ref().map(EncodedObject::wire)),
    ];
    let mut value = Map::new();
    for (name, text) in texts {
        if let Some(text) = text {
            value.insert(name.into(), text.into());
        }
    }
    value.insert("request".into(), object_value(params.request.object()));
    Value::Object(value)
}

/// An object in the suite's terms, from its text as it stands.
pub(crate) fn object_value(object: &Object) -> Value {
    serde_json::from_str(object.as_str())
        .expect("the text is JSON because it was read or printed as JSON")
}
