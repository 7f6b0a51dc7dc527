//! The codec and the binding, per operation: ours, the bare primitives, the `mpp` crate.
//!
//! One challenge and one credential of the size that the `ledger` method makes. All three read the
//! same bytes, and each does what its user must have before it can go on: the request decoded to
//! JSON, the parameters checked as far as that implementation checks them. The bare one checks
//! nothing but the MAC: it is what any code must pay, not an implementation.

mod bare;

use anyhow::{Context as _, Result, ensure};
use mpp::{Base64UrlJson, PaymentChallenge};
use stiver_core::{
    Challenge, Credential, Receipt, Timestamp,
    binding::{KeyRing, Secret},
    challenge::{Expires, Params},
    credential::{Presented, presented},
    json::{EncodedObject, Object},
    name::{IntentName, MethodName, Realm},
};

use crate::{
    measure::{Side, interleave, operation},
    report::Finding,
    rows::Setting,
};

/// Its rows.
pub const ROWS: &[&str] = &[
    "codec-challenge-format/bare",
    "codec-challenge-format/mpp",
    "codec-challenge-parse/bare",
    "codec-challenge-parse/mpp",
    "codec-challenge-verify/bare",
    "codec-challenge-verify/mpp",
    "codec-credential/bare",
    "codec-credential/mpp",
    "codec-receipt-format/bare",
    "codec-receipt-format/mpp",
    "codec-receipt-parse/bare",
    "codec-receipt-parse/mpp",
];

/// Text, because `mpp` takes its secret so.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const REALM: &str = "api.example.com";
const EXPIRES: &str = "2030-01-15T12:05:00Z";
const REQUEST: &str = concat!(
    r#"{"amount":"10000","currency":"usd","methodDetails":{"decimals":6,"#,
    r#""ledger":"AQIDBAUGBwgJCgsMDQ4PEA","receiptKey":"#,
    r#""did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"},"#,
    r#""recipient":"acct_AQIDBAUGBwgJCgsMDQ4PEA"}"#
);
const OPAQUE: &str = concat!(
    r#"{"n":"AAECAwQFBgcICQoLDA0ODw","#,
    r#""s":"GET /v1/temperature?room=3","t":"1893456000000"}"#
);
const RECEIPT: &str = concat!(
    r#"{"challengeId":"x7Tg2pLqR9mKvNwY3hBcZax7Tg2pLqR9mKvNwY3hBcZ","method":"ledger","#,
    r#""reference":"tr_AQIDBAUGBwgJCgsMDQ4PEAECAwQFBgcICQoLDA0ODxA","status":"success","#,
    r#""timestamp":"2030-01-15T12:00:00Z"}"#
);

/// Everything that the operations work on, checked to be the same for all three.
struct Subjects {
    ring: KeyRing,
    params: Params,
    challenge: Challenge,
    header: String,
    authorization: String,
    receipt: Receipt,
    receipt_header: String,
    now: Timestamp,
}

impl Subjects {
    fn new() -> Result<Self> {
        let ring = KeyRing::new(Secret::configured(SECRET.as_bytes())?);
        let mut params = Params::new(
            Realm::new(REALM)?,
            MethodName::new("ledger")?,
            IntentName::charge(),
            EncodedObject::encode(&Object::parse(REQUEST.as_bytes())?),
        );
        params.expires = Some(Expires::parse(EXPIRES)?);
        params.opaque = Some(EncodedObject::encode(&Object::parse(OPAQUE.as_bytes())?));
        let challenge = ring.bind(params.clone());
        let payload = format!(
            r#"{{"key":"did:key:z6Mk{}","order":"{}","signature":"{}"}}"#,
            "k".repeat(44),
            "o".repeat(300),
            "s".repeat(86)
        );
        let credential = Credential {
            challenge: challenge.clone(),
            payload: Object::parse(payload.as_bytes())?,
            source: None,
        };
        let receipt = Receipt::from_json(RECEIPT.as_bytes())?;
        let subjects = Self {
            header: challenge.to_header(),
            authorization: credential.to_header(),
            receipt_header: receipt.to_header(),
            ring,
            params,
            challenge,
            receipt,
            now: Timestamp::from_millis(1_767_225_600_000),
        };
        subjects.agree()?;
        Ok(subjects)
    }

    /// All three give the same id, and take the same credential.
    fn agree(&self) -> Result<()> {
        let id = self.challenge.id.as_str();
        let ours = mpp_challenge(&self.challenge);
        ensure!(ours.id == id, "mpp computes another id");
        ensure!(ours.verify(SECRET), "mpp refuses our challenge");
        let slots = bare::Slots::of(&self.challenge);
        ensure!(
            bare::id(SECRET.as_bytes(), &slots) == id,
            "the bare id differs"
        );
        let token = self.authorization.strip_prefix("Payment ");
        let token = token.context("a credential without its scheme")?;
        ensure!(
            bare::credential(SECRET.as_bytes(), token.as_bytes()),
            "the bare one refuses"
        );
        ensure!(
            mpp_credential(&self.authorization),
            "mpp refuses our credential"
        );
        ensure!(self.ours(), "we refuse our own credential");
        Ok(())
    }

    fn ours(&self) -> bool {
        let Presented::One(token) = presented([self.authorization.as_bytes()]) else {
            return false;
        };
        Credential::parse(token)
            .is_ok_and(|credential| self.ring.verify(&credential.challenge, self.now).is_ok())
    }
}

/// Measures every row.
pub fn run(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let subjects = Subjects::new()?;
    let mut row = |name: &str, mut sides: [Side<'_>; 3]| -> Result<()> {
        let medians = interleave(setting.rounds, &mut sides)?;
        for (baseline, peer) in medians.iter().skip(1).zip(["bare", "mpp"]) {
            found(Finding {
                name: format!("{name}/{peer}"),
                unit: "ns CPU per operation",
                value: medians[0],
                baseline: Some(*baseline),
            });
        }
        Ok(())
    };
    row("codec-challenge-format", format_sides(&subjects))?;
    row("codec-challenge-parse", parse_sides(&subjects))?;
    row("codec-challenge-verify", verify_sides(&subjects))?;
    row("codec-credential", credential_sides(&subjects))?;
    row("codec-receipt-format", receipt_format_sides(&subjects)?)?;
    row("codec-receipt-parse", receipt_parse_sides(&subjects))
}

/// From parameters whose request is encoded already to a field value, the id computed.
fn format_sides(subjects: &Subjects) -> [Side<'_>; 3] {
    let params = &subjects.params;
    let slots = bare::Slots::of(&subjects.challenge);
    let request = Base64UrlJson::from_raw(params.request.wire());
    let opaque = params.opaque.as_ref().map_or("", |it| it.wire());
    let opaque = Base64UrlJson::from_raw(opaque);
    [
        operation(|| subjects.ring.bind(params.clone()).to_header()),
        operation(move || bare::header(SECRET.as_bytes(), &slots)),
        operation(move || {
            PaymentChallenge::with_secret_key_full(
                SECRET,
                REALM,
                "ledger",
                "charge",
                request.clone(),
                Some(EXPIRES),
                None,
                None,
                Some(opaque.clone()),
                None,
            )
            .to_header()
        }),
    ]
}

/// From a field value to parameters, the request decoded.
fn parse_sides(subjects: &Subjects) -> [Side<'_>; 3] {
    let header = subjects.header.as_str();
    [
        operation(|| Challenge::parse_all([header.as_bytes()])),
        operation(|| bare::parse(header)),
        operation(|| {
            let challenge = PaymentChallenge::from_header(header).ok()?;
            let request = challenge.request.decode_value().ok()?;
            Some((challenge, request))
        }),
    ]
}

/// Whether an id is bound to its parameters.
fn verify_sides(subjects: &Subjects) -> [Side<'_>; 3] {
    let challenge = &subjects.challenge;
    let slots = bare::Slots::of(challenge);
    let theirs = mpp_challenge(challenge);
    [
        operation(|| subjects.ring.verify(challenge, subjects.now)),
        operation(move || bare::verify(SECRET.as_bytes(), &slots, challenge.id.as_str())),
        operation(move || theirs.verify(SECRET)),
    ]
}

/// From an `Authorization` value to a credential whose challenge is proven to be ours, the request
/// decoded.
fn credential_sides(subjects: &Subjects) -> [Side<'_>; 3] {
    let header = subjects.authorization.as_str();
    [
        operation(|| subjects.ours()),
        operation(|| {
            let token = header.strip_prefix("Payment ").unwrap_or_default();
            bare::credential(SECRET.as_bytes(), token.as_bytes())
        }),
        operation(|| mpp_credential(header)),
    ]
}

fn receipt_format_sides(subjects: &Subjects) -> Result<[Side<'_>; 3]> {
    let theirs = mpp::parse_receipt(&subjects.receipt_header)?;
    let plain: serde_json::Value = serde_json::from_str(RECEIPT)?;
    Ok([
        operation(|| subjects.receipt.to_header()),
        operation(move || bare::encode(&plain)),
        operation(move || mpp::format_receipt(&theirs)),
    ])
}

fn receipt_parse_sides(subjects: &Subjects) -> [Side<'_>; 3] {
    let header = subjects.receipt_header.as_str();
    [
        operation(|| Receipt::parse(header.as_bytes())),
        operation(|| bare::decode(header.as_bytes())),
        operation(|| mpp::parse_receipt(header)),
    ]
}

fn mpp_challenge(challenge: &Challenge) -> PaymentChallenge {
    let params = &challenge.params;
    PaymentChallenge::with_secret_key_full(
        SECRET,
        params.realm.as_str(),
        params.method.as_str(),
        params.intent.as_str(),
        Base64UrlJson::from_raw(params.request.wire()),
        params.expires.as_ref().map(Expires::as_str),
        None,
        None,
        params
            .opaque
            .as_ref()
            .map(|it| Base64UrlJson::from_raw(it.wire())),
        None,
    )
}

/// As a server of `mpp` does it: parse, compute the id again, compare, decode the request.
fn mpp_credential(header: &str) -> bool {
    let Ok(credential) = mpp::parse_authorization(header) else {
        return false;
    };
    let echo = credential.challenge;
    let Ok(request) = echo.request.decode_value() else {
        return false;
    };
    std::hint::black_box(request);
    let opaque = echo.opaque.as_ref().map(Base64UrlJson::raw);
    let id = mpp::compute_challenge_id(
        SECRET,
        &echo.realm,
        echo.method.as_str(),
        echo.intent.as_str(),
        echo.request.raw(),
        echo.expires.as_deref(),
        echo.digest.as_deref(),
        opaque,
    );
    bare::same(id.as_bytes(), echo.id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_agree_on_one_challenge_and_one_credential() {
        let subjects = Subjects::new().unwrap();
        assert!(bare::parse(&subjects.header).is_some());
        assert_eq!(
            bare::decode(subjects.receipt_header.as_bytes()).unwrap()["method"],
            "ledger"
        );
    }
}
