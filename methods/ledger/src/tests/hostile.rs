//! What a payee might be sent.

use stiver_core::{Challenge, Timestamp, base64url, json::Object};
use stiver_ledger::{
    id::{LedgerId, Nonce},
    order::{Action, Charge, Order},
    text::CurrencyCode,
};
use stiver_method::{
    artefact::RefusalKind,
    payee::{PayeeCharge, Presented},
};

use super::setup::{ALICE, MALLORY, SHOP, Setup, account, key};

/// The order that answers a challenge as it should be.
fn good(setup: &Setup, challenge: &Challenge) -> Order {
    Order {
        ledger: setup.embedded.ledger().id(),
        account: account(ALICE),
        nonce: Nonce::from_bytes([1; 16]),
        expires: challenge.params.expires.as_ref().unwrap().instant(),
        action: Action::Transfer {
            payee: account(SHOP),
            amount: 10_000,
            currency: CurrencyCode::new("usd").unwrap(),
            charge: Some(Charge {
                challenge: challenge.id.as_str().to_owned(),
                realm: "api.example.com".to_owned(),
            }),
        },
    }
}

fn payload(order: &[u8], key_name: &str, signature: &[u8]) -> Object {
    let text = format!(
        r#"{{"order":"{}","key":"{key_name}","signature":"{}"}}"#,
        base64url::encode(order),
        base64url::encode(signature),
    );
    Object::parse(text.as_bytes()).unwrap()
}

fn signed(order: &Order) -> Object {
    let bytes = order.encode();
    let key = key(ALICE);
    payload(&bytes, &key.did().to_string(), &key.sign_message(&bytes))
}

/// What the payee says of a payload: kind and words, or `ok`.
fn told(setup: &Setup, challenge: &Challenge, payload: &Object, now: Timestamp) -> String {
    let result = setup.payee.precheck(Presented {
        challenge,
        payload,
        source: None,
        now,
    });
    match result {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => format!("{:?}: {}", refusal.kind, refusal.detail),
    }
}

type Change = fn(&mut Order);

fn transfer(order: &mut Order) -> (&mut u128, &mut Option<Charge>) {
    match &mut order.action {
        Action::Transfer { amount, charge, .. } => (amount, charge),
        _ => panic!("a transfer"),
    }
}

#[test]
fn an_order_that_differs_from_its_challenge_in_one_field_is_refused_for_it() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let now = setup.now();
    let table: &[(Change, &str)] = &[
        (|_| {}, "ok"),
        (
            |order| order.ledger = LedgerId::from_bytes([0; 16]),
            "Invalid: the order is for another ledger",
        ),
        (
            |order| transfer(order).1.as_mut().unwrap().challenge.push('A'),
            "Invalid: the order is for another challenge",
        ),
        (
            |order| transfer(order).1.as_mut().unwrap().realm = "evil.example".to_owned(),
            "Invalid: the order is for another realm",
        ),
        (
            |order| *transfer(order).1 = None,
            "Invalid: the order names no challenge",
        ),
        (
            |order| {
                if let Action::Transfer { payee, .. } = &mut order.action {
                    *payee = account(MALLORY);
                }
            },
            "Invalid: the order pays another account",
        ),
        (
            |order| {
                if let Action::Transfer { currency, .. } = &mut order.action {
                    *currency = CurrencyCode::new("USD").unwrap();
                }
            },
            "Invalid: the order pays another currency",
        ),
        (
            |order| *transfer(order).0 = 9_999,
            "Insufficient: the order pays less than was asked",
        ),
        (
            |order| *transfer(order).0 = 10_001,
            "Invalid: the order pays more than was asked",
        ),
        (
            |order| order.account = account(SHOP),
            "Invalid: the order pays its own account",
        ),
        (
            |order| {
                order.action = Action::Burn {
                    amount: 10_000,
                    currency: CurrencyCode::new("usd").unwrap(),
                }
            },
            "Invalid: the order is not a transfer",
        ),
        // The account is the ledger's to check, the nonce is the payer's to choose.
        (|order| order.account = account(MALLORY), "ok"),
        (|order| order.nonce = Nonce::from_bytes([9; 16]), "ok"),
        (
            |order| order.expires = order.expires.plus_millis(60_000),
            "ok",
        ),
    ];
    for (change, expected) in table {
        let mut order = good(&setup, &challenge);
        change(&mut order);
        assert_eq!(told(&setup, &challenge, &signed(&order), now), *expected);
    }
}

#[test]
fn an_order_lives_from_now_to_a_minute_beyond_its_challenge() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let now = setup.now();
    let end = challenge.params.expires.as_ref().unwrap().instant();
    for (expires, at, ok) in [
        (end, now, true),
        (end, Timestamp::from_millis(end.as_millis() - 1), true),
        (end, end, false),
        (now, now, false),
        (now.plus_millis(1), now, true),
        (end.plus_millis(60_000), now, true),
        (end.plus_millis(60_001), now, false),
        (Timestamp::MAX, now, false),
    ] {
        let mut order = good(&setup, &challenge);
        order.expires = expires;
        let told = told(&setup, &challenge, &signed(&order), at);
        assert_eq!(told == "ok", ok, "{told}");
    }
    let mut order = good(&setup, &challenge);
    order.expires = now;
    let told = told(&setup, &challenge, &signed(&order), now);
    assert!(
        told.starts_with(&format!("{:?}", RefusalKind::Expired)),
        "{told}"
    );
}

#[test]
fn a_challenge_without_expiry_bounds_its_orders_too() {
    let setup = Setup::new();
    let request = setup.challenge(1).params.request;
    let challenge = setup.challenge_of(request.object(), 1, None);
    for (lives_ms, ok) in [(3_660_000, true), (3_660_001, false)] {
        let mut order = good(&setup, &setup.challenge(1));
        order.expires = setup.now().plus_millis(lives_ms);
        transfer(&mut order).1.as_mut().unwrap().challenge = challenge.id.to_string();
        let told = told(&setup, &challenge, &signed(&order), setup.now());
        assert_eq!(told == "ok", ok, "{told}");
    }
}

#[test]
fn malformed_payloads_are_refused_for_what_is_wrong() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let bytes = good(&setup, &challenge).encode();
    let alice = key(ALICE).did().to_string();
    let signature = key(ALICE).sign_message(&bytes);
    let forged = key(MALLORY).sign_message(&bytes);
    let raw = |text: &str| Object::parse(text.as_bytes()).unwrap();
    let order = base64url::encode(&bytes);
    let sig = base64url::encode(&signature);
    let shape = "Invalid: the payload must have order, key and signature";
    let sixty_four = "Invalid: payload.signature is not 64 bytes in base64url";
    let table = [
        (raw("{}"), shape.to_owned()),
        (
            raw(r#"{"order":1,"key":"","signature":""}"#),
            shape.to_owned(),
        ),
        (
            raw(&format!(
                r#"{{"order":"{order}==","key":"{alice}","signature":"{sig}"}}"#
            )),
            "Invalid: payload.order is not base64url".to_owned(),
        ),
        (
            raw(&format!(
                r#"{{"order":"{order}","key":"alice","signature":"{sig}"}}"#
            )),
            "Invalid: payload.key is not a did:key of Ed25519".to_owned(),
        ),
        (
            payload(&bytes, &alice, &signature[1..]),
            sixty_four.to_owned(),
        ),
        (payload(&bytes, &alice, &[]), sixty_four.to_owned()),
        (
            payload(b"order", &alice, &signature),
            "Invalid: payload.order: not an order".to_owned(),
        ),
        (
            payload(&bytes, &alice, &forged),
            "Invalid: the signature does not verify under the key".to_owned(),
        ),
        (
            payload(&bytes, &key(MALLORY).did().to_string(), &signature),
            "Invalid: the signature does not verify under the key".to_owned(),
        ),
        // Unknown fields are ignored.
        (
            raw(&format!(
                r#"{{"order":"{order}","key":"{alice}","signature":"{sig}","new":[1]}}"#
            )),
            "ok".to_owned(),
        ),
    ];
    for (payload, expected) in table {
        assert_eq!(told(&setup, &challenge, &payload, setup.now()), expected);
    }
}

#[test]
fn an_order_of_one_challenge_does_not_answer_another_of_the_same_terms() {
    let setup = Setup::new();
    let (first, second) = (setup.challenge(1), setup.challenge(2));
    assert_ne!(first.id, second.id);
    let payload = signed(&good(&setup, &first));
    assert_eq!(
        told(&setup, &second, &payload, setup.now()),
        "Invalid: the order is for another challenge"
    );
}
