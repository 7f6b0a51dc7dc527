//! The binding against vectors computed by another implementation of HMAC, and what breaks it.

use super::*;
use crate::{
    json::Value,
    name::{IntentName, MethodName, Realm},
};
use alloc::string::{String, ToString};
use proptest::prelude::*;

fn now() -> Timestamp {
    Timestamp::from_millis(1_736_942_400_000)
}

fn secret(byte: u8) -> Secret {
    Secret::from_bytes(&[byte; 32])
}

fn later(millis: u64) -> Timestamp {
    now().plus_millis(millis)
}

fn params() -> Params {
    Params {
        expires: Some(Expires::parse("2025-01-15T12:05:00Z").unwrap()),
        digest: Some(DigestText::new("sha-256=:AAAA:").unwrap()),
        opaque: Some(encoded(r#"{"n":"1"}"#)),
        description: Some("One report".into()),
        ..Params::new(
            Realm::new("api.example.com").unwrap(),
            MethodName::new("ledger").unwrap(),
            IntentName::charge(),
            encoded(r#"{"amount":"1000"}"#),
        )
    }
}

fn encoded(json: &str) -> EncodedObject {
    EncodedObject::parse(&base64url::encode(json.as_bytes())).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] * 16 + pair[1])
        .collect()
}

/// The cases of the vector file: name, secret, parameters, id.
fn vectors() -> Vec<(String, Secret, Params, String)> {
    let file = Value::parse(include_bytes!("../../vectors/binding.json")).unwrap();
    let Some(Value::Array(cases)) = file.get("cases") else {
        panic!("no cases");
    };
    let read = |case: &Value| {
        let optional = |name: &str| case.get(name).and_then(Value::as_str).map(String::from);
        let text = |name: &str| optional(name).unwrap();
        let mut params = Params::new(
            Realm::new(&text("realm")).unwrap(),
            MethodName::new(&text("method")).unwrap(),
            IntentName::new(&text("intent")).unwrap(),
            EncodedObject::parse(&text("request")).unwrap(),
        );
        params.expires = optional("expires").map(|text| Expires::parse(&text).unwrap());
        params.digest = optional("digest").map(|text| DigestText::new(&text).unwrap());
        params.opaque = optional("opaque").map(|text| EncodedObject::parse(&text).unwrap());
        params.description = optional("description");
        let secret = Secret::from_bytes(&unhex(&text("secret_hex")));
        (text("name"), secret, params, text("id"))
    };
    cases.iter().map(read).collect()
}

#[test]
fn ids_equal_the_independent_vectors_and_verify() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 16);
    for (name, secret, params, id) in vectors {
        assert_eq!(secret.id(&params).as_str(), id, "{name}");
        let echoed = Challenge {
            id: ChallengeId::new(&id).unwrap(),
            params,
        };
        assert_eq!(
            KeyRing::new(secret).verify(&echoed, now()),
            Ok(()),
            "{name}"
        );
    }
}

#[test]
fn an_id_is_43_characters_of_base64url() {
    let id = secret(1).id(&params());
    assert_eq!(id.as_str().len(), 43);
    assert_eq!(base64url::decode(id.as_str().as_bytes()).unwrap().len(), 32);
}

#[test]
fn the_description_is_not_bound() {
    let ring = KeyRing::new(secret(1));
    let mut challenge = ring.bind(params());
    challenge.params.description = None;
    assert_eq!(ring.verify(&challenge, now()), Ok(()));
}

#[test]
fn an_absent_slot_is_not_an_empty_one_moved() {
    let ring = KeyRing::new(secret(1));
    let mut with_expires = params();
    with_expires.digest = None;
    with_expires.opaque = None;
    let mut with_nothing = with_expires.clone();
    with_nothing.expires = None;
    assert_ne!(ring.bind(with_expires).id, ring.bind(with_nothing).id);
}

#[test]
fn another_secret_does_not_verify() {
    let challenge = KeyRing::new(secret(1)).bind(params());
    assert_eq!(
        KeyRing::new(secret(2)).verify(&challenge, now()),
        Err(NotBound)
    );
}

#[test]
fn ids_of_another_form_or_length_do_not_verify() {
    let ring = KeyRing::new(secret(1));
    let good = ring.bind(params());
    let id = good.id.as_str();
    let upper = id.to_ascii_uppercase();
    let (padded, longer) = (alloc::format!("{id}="), alloc::format!("{id}AAAA"));
    for id in [
        &upper,
        &padded,
        &longer,
        &id[..42],
        &id[..40],
        "A",
        "|||||||",
    ] {
        let forged = Challenge {
            id: ChallengeId::new(id).unwrap(),
            params: params(),
        };
        assert_eq!(ring.verify(&forged, now()), Err(NotBound), "{id}");
    }
}

#[test]
fn a_previous_secret_verifies_until_its_end_and_not_at_it() {
    let issued = KeyRing::new(secret(1)).bind(params());
    let ring = KeyRing::new(secret(3))
        .with_previous(secret(2), later(5_000))
        .with_previous(secret(1), later(1_000));
    assert_eq!(ring.verify(&issued, now()), Ok(()));
    assert_eq!(ring.verify(&issued, later(999)), Ok(()));
    assert_eq!(ring.verify(&issued, later(1_000)), Err(NotBound));
}

#[test]
fn rotation_issues_under_the_new_secret_and_keeps_the_old_for_a_while() {
    let mut ring = KeyRing::new(secret(1));
    let before = ring.bind(params());
    ring.rotate(secret(2), later(1_000));
    let after = ring.bind(params());
    assert_ne!(before.id, after.id);
    assert_eq!(ring.verify(&before, now()), Ok(()));
    assert_eq!(ring.verify(&after, now()), Ok(()));
    ring.forget_ended(later(1_000));
    assert!(ring.previous.is_empty());
    assert_eq!(ring.verify(&before, now()), Err(NotBound));
    assert_eq!(ring.verify(&after, now()), Ok(()));
}

#[test]
fn forgetting_keeps_the_secrets_whose_time_is_not_over() {
    let mut ring = KeyRing::new(secret(1))
        .with_previous(secret(2), later(1))
        .with_previous(secret(3), later(3));
    ring.forget_ended(later(2));
    assert_eq!(ring.previous.len(), 1);
    assert_eq!(
        ring.verify(&KeyRing::new(secret(3)).bind(params()), now()),
        Ok(())
    );
}

#[test]
fn a_configured_secret_has_at_least_32_bytes() {
    assert_eq!(
        Secret::configured(&[7; 31]).err(),
        Some(SecretTooShort { bytes: 31 })
    );
    assert!(Secret::configured(&[7; 32]).is_ok());
    assert!(
        SecretTooShort { bytes: 31 }
            .to_string()
            .contains("31 bytes")
    );
}

#[test]
fn the_keyed_state_is_wiped_on_drop() {
    // `Hmac` holds two hash states and carries no marker of its own: the states do.
    fn wiped<T: zeroize::ZeroizeOnDrop>() -> bool {
        core::mem::needs_drop::<T>()
    }
    assert!(wiped::<Sha256>());
    assert!(core::mem::needs_drop::<Secret>());
}

/// Replaces one character, keeping the text acceptable for its slot.
fn mutate(text: &str, at: usize, allowed: &str) -> String {
    let at = at % text.len();
    let old = text.as_bytes()[at];
    let new = allowed
        .chars()
        .find(|new| u32::from(*new) != u32::from(old))
        .unwrap();
    let mut mutated: Vec<char> = text.chars().collect();
    mutated[at] = new;
    mutated.into_iter().collect()
}

/// Alters one character of one slot; `None` where the altered text breaks the slot's grammar.
fn alter(challenge: &Challenge, slot: usize, at: usize) -> Option<Challenge> {
    let mut altered = challenge.clone();
    let params = &mut altered.params;
    match slot {
        0 => params.realm = Realm::new(&mutate(params.realm.as_str(), at, "ab")).ok()?,
        1 => params.method = MethodName::new(&mutate(params.method.as_str(), at, "ab")).ok()?,
        2 => params.intent = IntentName::new(&mutate(params.intent.as_str(), at, "ab")).ok()?,
        3 => {
            let text = mutate(params.request.wire(), at, "AB");
            params.request = EncodedObject::parse(&text).ok()?;
        }
        4 => {
            let text = mutate(params.expires.as_ref()?.as_str(), at, "12");
            params.expires = Some(Expires::parse(&text).ok()?);
        }
        5 => {
            let text = mutate(params.digest.as_ref()?.as_str(), at, "ab");
            params.digest = Some(DigestText::new(&text).ok()?);
        }
        6 => {
            let text = mutate(params.opaque.as_ref()?.wire(), at, "AB");
            params.opaque = Some(EncodedObject::parse(&text).ok()?);
        }
        _ => altered.id = ChallengeId::new(&mutate(altered.id.as_str(), at, "AB")).ok()?,
    }
    Some(altered)
}

#[test]
fn every_single_altered_character_is_noticed_in_every_slot() {
    let ring = KeyRing::new(secret(1));
    let challenge = ring.bind(params());
    for slot in 0..=7 {
        let altered: Vec<Challenge> = (0..64)
            .filter_map(|at| alter(&challenge, slot, at))
            .collect();
        assert!(!altered.is_empty(), "slot {slot}");
        for challenge in altered {
            assert_eq!(ring.verify(&challenge, now()), Err(NotBound), "slot {slot}");
        }
    }
}

#[test]
fn dropping_or_adding_an_optional_slot_is_noticed() {
    let ring = KeyRing::new(secret(1));
    let full = ring.bind(params());
    let changes: [fn(&mut Params); 3] = [
        |params| params.expires = None,
        |params| params.digest = None,
        |params| params.opaque = None,
    ];
    for change in changes {
        let mut dropped = full.clone();
        change(&mut dropped.params);
        assert_eq!(ring.verify(&dropped, now()), Err(NotBound));
        let mut added = ring.bind(dropped.params);
        added.params = params();
        assert_eq!(ring.verify(&added, now()), Err(NotBound));
    }
}

proptest! {
    #[test]
    fn what_is_bound_verifies_and_altered_it_does_not(
        challenge in crate::challenge::tests::properties::challenge(),
        key in proptest::collection::vec(any::<u8>(), 0..100),
        slot in 0_usize..8,
        at in any::<usize>(),
    ) {
        let ring = KeyRing::new(Secret::from_bytes(&key));
        let bound = ring.bind(challenge.params);
        prop_assert_eq!(ring.verify(&bound, now()), Ok(()));
        if let Some(altered) = alter(&bound, slot, at) {
            prop_assert_eq!(ring.verify(&altered, now()), Err(NotBound));
        }
    }
}
