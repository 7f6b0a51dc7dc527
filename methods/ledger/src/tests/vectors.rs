//! Golden vectors, made from the specification by other software.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use stiver_core::{
    Challenge, Credential, Currency, Receipt, Timestamp, base64url,
    binding::{KeyRing, Secret},
};
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId, Nonce, OrderHash, TransferId},
    key::Roles,
    order::{Action, Condition, Met, Order, SignedOrder},
    text::{CurrencyCode, Label},
};
use stiver_method::{
    key::Ed25519Key,
    payer::{CallKey, Payer},
};

use crate::{
    LedgerPayer, LedgerPayerConfig,
    query::{Query, Question},
    receipt::verify_receipt,
};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../vectors/charge.json")).unwrap()
}

fn key(name: &str) -> Ed25519Key {
    Ed25519Key::from_seed(&Sha256::digest(name).into())
}

fn account(name: &str) -> AccountId {
    AccountId::of_first_key(&key(name).did())
}

fn ledger() -> LedgerId {
    LedgerId::from_bytes([7; 16])
}

fn usd() -> CurrencyCode {
    CurrencyCode::new("usd").unwrap()
}

fn expires() -> Timestamp {
    Timestamp::from_millis(1_767_225_900_000)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// Bytes, hash, key and signature are those of the vector.
fn assert_signed(vector: &Value, bytes: &[u8], by: &str) {
    let name = vector["name"].as_str().unwrap();
    assert_eq!(hex(bytes), vector["bytes"].as_str().unwrap(), "{name}");
    let hash = hex(OrderHash::of(bytes).as_bytes());
    assert_eq!(hash, vector["sha256"].as_str().unwrap(), "{name}");
    let key = key(by);
    assert_eq!(
        key.did().to_string(),
        vector["key"].as_str().unwrap(),
        "{name}"
    );
    let signature = hex(&key.sign_message(bytes));
    assert_eq!(signature, vector["signature"].as_str().unwrap(), "{name}");
}

#[test]
fn keys_and_accounts_are_those_of_the_vectors() {
    let vectors = vectors();
    assert_eq!(vectors["ledger"], ledger().to_string());
    for (name, expected) in vectors["keys"].as_object().unwrap() {
        assert_eq!(expected["did"], key(name).did().to_string());
        assert_eq!(expected["account"], account(name).to_string());
    }
}

/// Each order of the vectors and who signs it, in their order.
fn orders() -> Vec<(&'static str, Action)> {
    let digest: [u8; 32] = Sha256::digest("order").into();
    let hash = OrderHash::from_bytes(digest);
    let to_shop = |amount| Action::Transfer {
        payee: account("shop"),
        amount,
        currency: usd(),
        charge: None,
    };
    vec![
        ("alice", to_shop(1 << 64)),
        (
            "issuer",
            Action::Mint {
                to: account("alice"),
                amount: 1_000_000,
                currency: usd(),
                first_key: Some(key("alice").did()),
                owner: Label::new("Alice").ok(),
            },
        ),
        (
            "alice",
            Action::Burn {
                amount: 23,
                currency: usd(),
            },
        ),
        (
            "shop",
            Action::Refund {
                transfer: TransferId::from(hash),
                amount: 24,
                reason: Label::new("out of stock").ok(),
            },
        ),
        (
            "alice",
            Action::Open {
                first_key: key("alice").did(),
                owner: None,
            },
        ),
        (
            "alice",
            Action::AddKey {
                key: key("till").did(),
                roles: Roles::SETTLE,
            },
        ),
        (
            "alice",
            Action::RevokeKey {
                key: key("till").did(),
            },
        ),
    ]
}

/// The orders of holds and of the operator, which follow those.
fn further_orders() -> Vec<(&'static str, Action)> {
    let digest: [u8; 32] = Sha256::digest("order").into();
    let word: [u8; 32] = Sha256::digest("word").into();
    let hash = OrderHash::from_bytes(digest);
    let hold = |amount, until, condition| Action::Hold {
        capturer: account("shop"),
        amount,
        currency: usd(),
        until,
        condition,
        charge: None,
    };
    vec![
        (
            "alice",
            hold(
                255,
                Some(expires()),
                Condition::Preimage(Sha256::digest(word).into()),
            ),
        ),
        ("alice", hold(256, None, Condition::Agreement(word))),
        (
            "shop",
            Action::Post {
                hold: HoldId::from(hash),
                amount: 65_536,
                last: true,
                met: Met::Preimage(word),
            },
        ),
        (
            "shop",
            Action::Void {
                hold: HoldId::from(hash),
            },
        ),
        (
            "operator",
            Action::Freeze {
                account: account("alice"),
                frozen: true,
            },
        ),
        (
            "operator",
            Action::Limit {
                account: account("alice"),
                amount: Some(1 << 32),
            },
        ),
    ]
}

fn order(number: u128, by: &str, action: Action) -> Order {
    Order {
        ledger: ledger(),
        account: account(by),
        nonce: Nonce::from_bytes(number.to_be_bytes()),
        expires: expires(),
        action,
    }
}

#[test]
fn every_kind_of_order_is_that_of_the_vectors() {
    let vectors = vectors();
    let expected = vectors["orders"].as_array().unwrap();
    let mut orders = orders();
    orders.extend(further_orders());
    assert_eq!(orders.len(), expected.len());
    for ((number, (by, action)), vector) in (2..).zip(orders).zip(expected) {
        let order = order(number, by, action);
        assert_signed(vector, &order.encode(), by);
        assert_eq!(Order::decode(&unhex(&vector["bytes"])), Ok(order));
    }
}

#[test]
fn every_kind_of_question_is_that_of_the_vectors() {
    let vectors = vectors();
    let asked = unhex(&vectors["orders"][0]["bytes"]);
    let at = Timestamp::from_millis(1_767_225_601_250);
    let questions = [
        Question::Account,
        Question::Order(asked),
        Question::Statement {
            from: Timestamp::from_millis(0),
            to: at,
            before: Some(7),
            limit: 20,
        },
    ];
    for (question, vector) in questions
        .into_iter()
        .zip(vectors["queries"].as_array().unwrap())
    {
        let query = Query {
            ledger: ledger(),
            account: account("alice"),
            at,
            question,
        };
        assert_signed(vector, &query.encode(), "alice");
        assert_eq!(Query::decode(&unhex(&vector["bytes"])), Some(query));
    }
}

#[test]
fn a_payer_answers_the_vectors_challenge_byte_for_byte() {
    let vectors = vectors();
    let charge = &vectors["charge"];
    let header = charge["challenge"].as_str().unwrap();
    let challenge = Challenge::parse_all([header.as_bytes()]).remove(0).unwrap();
    let secret = Secret::from_bytes(charge["secret"].as_str().unwrap().as_bytes());
    let now = Timestamp::from_millis(1_767_225_600_000);
    assert!(KeyRing::new(secret).verify(&challenge, now).is_ok());
    let payer = LedgerPayer::new(LedgerPayerConfig {
        signer: Arc::new(key("alice")),
        account: None,
        ledgers: vec![ledger()],
        currencies: vec![Currency::new("usd", 6).unwrap()],
        query: None,
    });
    let call = CallKey::from_bytes(1_u128.to_be_bytes());
    let credential = pollster::block_on(async {
        let artefact = payer.prepare(&challenge, now, call).await.unwrap();
        let signed = SignedOrder::from_bytes(&artefact.bytes).unwrap();
        assert_signed(&charge["order"], signed.order_bytes(), "alice");
        let proof = payer.execute(&artefact).await.unwrap();
        Credential {
            challenge: challenge.clone(),
            payload: proof.payload,
            source: proof.source,
        }
    });
    assert_eq!(
        credential.to_header(),
        charge["credential"].as_str().unwrap()
    );
}

#[test]
fn a_payer_verifies_the_vectors_receipt() {
    let vectors = vectors();
    let charge = &vectors["charge"];
    let receipt = Receipt::parse(charge["receipt"].as_str().unwrap().as_bytes()).unwrap();
    let body = verify_receipt(&receipt, &key("receipts").did()).unwrap();
    assert_signed(&charge["receiptBody"], &body.encode(), "receipts");
    assert_eq!(receipt.to_header(), charge["receipt"].as_str().unwrap());
    let order = unhex(&charge["order"]["bytes"]);
    assert_eq!(body.transfer, TransferId::from(OrderHash::of(&order)));
    let payload = &charge["credentialJson"]["payload"]["order"];
    assert_eq!(payload.as_str().unwrap(), base64url::encode(&order));
}

#[test]
fn the_specifications_examples_are_the_vectors() {
    let spec = include_str!("../../../../docs/spec/ledger-charge.md");
    let vectors = vectors();
    let charge = &vectors["charge"];
    let order = charge["order"]["bytes"].as_str().unwrap();
    for part in order.as_bytes().chunks(80) {
        let line = std::str::from_utf8(part).unwrap();
        assert!(spec.contains(&format!("\n{line}\n")), "{line}");
    }
    let examples = [
        &charge["order"]["sha256"],
        &charge["credentialJson"]["challenge"]["id"],
        &charge["credentialJson"]["payload"]["signature"],
        &charge["receiptJson"]["reference"],
        &charge["receiptJson"]["signature"],
        &charge["request"]["recipient"],
        &charge["request"]["methodDetails"]["receiptKey"],
    ];
    for example in examples {
        let example = example.as_str().unwrap();
        assert!(spec.contains(example), "{example}");
    }
}
