//! What must be paid in any case: `hmac`, `base64` and `serde_json`, and nothing around them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;
use stiver_core::{Challenge, challenge::Expires};
use subtle::ConstantTimeEq as _;

/// The seven texts that an id is computed of.
pub struct Slots([String; 7]);

impl Slots {
    /// Those of a challenge.
    pub fn of(challenge: &Challenge) -> Self {
        let params = &challenge.params;
        Self([
            params.realm.as_str().to_owned(),
            params.method.as_str().to_owned(),
            params.intent.as_str().to_owned(),
            params.request.wire().to_owned(),
            params
                .expires
                .as_ref()
                .map_or(String::new(), |it| Expires::as_str(it).to_owned()),
            String::new(),
            params
                .opaque
                .as_ref()
                .map_or(String::new(), |it| it.wire().to_owned()),
        ])
    }
}

/// The parameters of a credential's challenge, borrowed.
#[derive(Deserialize)]
struct Echo<'a> {
    id: &'a str,
    realm: &'a str,
    method: &'a str,
    intent: &'a str,
    request: &'a str,
    expires: Option<&'a str>,
    digest: Option<&'a str>,
    opaque: Option<&'a str>,
}

#[derive(Deserialize)]
struct Credential<'a> {
    #[serde(borrow)]
    challenge: Echo<'a>,
    payload: Value,
}

fn tag(secret: &[u8], slots: &[&str]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes any key");
    mac.update(slots.join("|").as_bytes());
    mac.finalize().into_bytes().into()
}

/// The id of these slots.
pub fn id(secret: &[u8], slots: &Slots) -> String {
    URL_SAFE_NO_PAD.encode(tag(secret, &slots.0.each_ref().map(String::as_str)))
}

/// A field value with its id.
pub fn header(secret: &[u8], slots: &Slots) -> String {
    let id = id(secret, slots);
    let [realm, method, intent, request, expires, _, opaque] = &slots.0;
    format!(
        "Payment id=\"{id}\", realm=\"{realm}\", method=\"{method}\", intent=\"{intent}\", \
         expires=\"{expires}\", request=\"{request}\", opaque=\"{opaque}\""
    )
}

/// Splits a field value at its commas, as no parser may, and decodes the request.
pub fn parse(header: &str) -> Option<(Vec<(&str, &str)>, Value)> {
    let params = header.strip_prefix("Payment ")?.split(", ");
    let params: Vec<(&str, &str)> = params
        .filter_map(|param| param.split_once('='))
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect();
    let (_, request) = params.iter().find(|(name, _)| *name == "request")?;
    let request = decode(request.as_bytes())?;
    Some((params, request))
}

/// Whether an id is that of its slots.
pub fn verify(secret: &[u8], slots: &Slots, id: &str) -> bool {
    let tag = tag(secret, &slots.0.each_ref().map(String::as_str));
    URL_SAFE_NO_PAD.decode(id).is_ok_and(|id| same(&tag, &id))
}

/// Whether a credential's challenge is ours, its request decoded.
pub fn credential(secret: &[u8], token: &[u8]) -> bool {
    let Ok(text) = URL_SAFE_NO_PAD.decode(token) else {
        return false;
    };
    let Ok(credential) = serde_json::from_slice::<Credential<'_>>(&text) else {
        return false;
    };
    let echo = &credential.challenge;
    std::hint::black_box((decode(echo.request.as_bytes()), &credential.payload));
    let tag = tag(
        secret,
        &[
            echo.realm,
            echo.method,
            echo.intent,
            echo.request,
            echo.expires.unwrap_or_default(),
            echo.digest.unwrap_or_default(),
            echo.opaque.unwrap_or_default(),
        ],
    );
    URL_SAFE_NO_PAD
        .decode(echo.id)
        .is_ok_and(|id| same(&tag, &id))
}

/// Base64url of JSON.
pub fn encode(value: &Value) -> Option<String> {
    serde_json::to_vec(value)
        .ok()
        .map(|text| URL_SAFE_NO_PAD.encode(text))
}

/// JSON from base64url.
pub fn decode(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// Compares in constant time.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
