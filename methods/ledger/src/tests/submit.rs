//! Orders that a payee elsewhere brings to the ledger.

use stiver_core::{Receipt, json::Value};
use stiver_ledger::{
    id::{LedgerId, Nonce},
    order::{Action, Charge, Order},
    text::CurrencyCode,
};

use super::setup::{ALICE, ISSUER, MALLORY, SHOP, Setup, account, key};
use crate::{receipt::verify_receipt, sign, submit, submit::SubmitRefusal};

/// Alice pays the shop a cent for the challenge `c1`.
fn transfer() -> Action {
    Action::Transfer {
        payee: account(SHOP),
        amount: 10_000,
        currency: CurrencyCode::new("usd").unwrap(),
        charge: Some(Charge {
            challenge: "c1".to_owned(),
            realm: "api.example.com".to_owned(),
        }),
    }
}

fn order(setup: &Setup, number: u8, action: Action) -> Order {
    Order {
        ledger: setup.embedded.ledger().id(),
        account: account(number),
        nonce: Nonce::from_bytes([9; 16]),
        expires: setup.now().plus_millis(60_000),
        action,
    }
}

fn body(setup: &Setup, number: u8, order: &Order) -> Vec<u8> {
    setup.run(async { submit::body(&sign::order(order, &key(number)).await.unwrap()) })
}

fn bring(setup: &Setup, body: &[u8]) -> Result<Value, SubmitRefusal> {
    assert!(submit::is_submission(body));
    let answer = setup.run(submit::serve(body, &setup.embedded, setup.now()))?;
    Ok(Value::parse(&answer).unwrap())
}

fn member<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, name| match value {
        Value::Object(members) => members.get(*name).unwrap_or(&Value::Null),
        _ => &Value::Null,
    })
}

fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    member(value, path).as_str().unwrap_or("absent")
}

#[test]
fn payment_that_its_payee_brings_moves_once_and_its_receipt_verifies() {
    let setup = Setup::new();
    let body = body(&setup, ALICE, &order(&setup, ALICE, transfer()));
    let first = bring(&setup, &body).unwrap();
    assert_eq!(text(&first, &["answer", "status"]), "executed");
    assert_eq!(text(&first, &["answer", "transfer", "challengeId"]), "c1");
    let receipt = Receipt::from_json(member(&first, &["receipt"]).to_jcs().as_bytes()).unwrap();
    let verified = verify_receipt(&receipt, &setup.embedded.ledger().receipt_key()).unwrap();
    assert_eq!(verified.challenge.as_deref(), Some("c1"));
    assert_eq!((verified.amount, verified.payee), (10_000, account(SHOP)));
    let again = bring(&setup, &body).unwrap();
    assert_eq!(member(&again, &["answer"]), member(&first, &["answer"]));
    assert_eq!(setup.available(SHOP), 1_010_000);
    assert_eq!(setup.available(ALICE), 990_000);
}

#[test]
fn order_that_the_ledger_refuses_is_answered_and_moves_nothing() {
    let setup = Setup::new();
    let body = body(&setup, MALLORY, &order(&setup, MALLORY, transfer()));
    let answer = bring(&setup, &body).unwrap();
    assert_eq!(text(&answer, &["answer", "status"]), "refused");
    assert_eq!(text(&answer, &["answer", "reason"]), "insufficient");
    assert_eq!(member(&answer, &["receipt"]), &Value::Null);
    assert_eq!(setup.available(SHOP), 1_000_000);
}

#[test]
fn refund_that_the_payee_signs_is_taken_the_same_way() {
    let setup = Setup::new();
    let paid = bring(
        &setup,
        &body(&setup, ALICE, &order(&setup, ALICE, transfer())),
    )
    .unwrap();
    let refund = Action::Refund {
        transfer: text(&paid, &["receipt", "reference"]).parse().unwrap(),
        amount: 4_000,
        reason: None,
    };
    let answer = bring(&setup, &body(&setup, SHOP, &order(&setup, SHOP, refund))).unwrap();
    assert_eq!(
        text(&answer, &["answer", "transfer", "transferKind"]),
        "refund"
    );
    assert_eq!(setup.available(ALICE), 994_000);
}

#[test]
fn other_kinds_of_orders_are_not_taken() {
    let setup = Setup::new();
    let Action::Transfer {
        payee,
        amount,
        currency,
        ..
    } = transfer()
    else {
        unreachable!("it is a transfer")
    };
    let unasked = Action::Transfer {
        payee,
        amount,
        currency: currency.clone(),
        charge: None,
    };
    let mint = Action::Mint {
        to: payee,
        amount,
        currency,
        first_key: None,
        owner: None,
    };
    let open = Action::Open {
        first_key: key(MALLORY).did(),
        owner: None,
    };
    for (number, action) in [(ALICE, unasked), (ISSUER, mint), (MALLORY, open)] {
        let body = body(&setup, number, &order(&setup, number, action));
        assert!(matches!(bring(&setup, &body), Err(SubmitRefusal::Kind)));
    }
    assert_eq!(setup.available(SHOP), 1_000_000);
}

#[test]
fn orders_for_another_ledger_or_with_a_wrong_signature_are_refused() {
    let setup = Setup::new();
    let mut elsewhere = order(&setup, ALICE, transfer());
    elsewhere.ledger = LedgerId::from_bytes([1; 16]);
    let refused = bring(&setup, &body(&setup, ALICE, &elsewhere));
    assert!(matches!(refused, Err(SubmitRefusal::OtherLedger)));
    let good = body(&setup, ALICE, &order(&setup, ALICE, transfer()));
    let other = body(
        &setup,
        ALICE,
        &order(
            &setup,
            ALICE,
            Action::Refund {
                transfer: stiver_ledger::id::TransferId::from(
                    order(&setup, ALICE, transfer()).hash(),
                ),
                amount: 1,
                reason: None,
            },
        ),
    );
    let signature = |body: &[u8]| {
        let value = Value::parse(body).unwrap();
        text(&value, &["signature"]).to_owned()
    };
    let forged = String::from_utf8(good.clone()).unwrap();
    let forged = forged.replace(&signature(&good), &signature(&other));
    assert!(matches!(
        bring(&setup, forged.as_bytes()),
        Err(SubmitRefusal::Denied)
    ));
    assert_eq!(setup.available(SHOP), 1_000_000);
}

#[test]
fn hostile_bodies_are_no_orders() {
    let setup = Setup::new();
    for body in [
        r#"{"order":1}"#,
        r#"{"order":"","key":"","signature":""}"#,
        r#"{"order":null}"#,
    ] {
        let refused = bring(&setup, body.as_bytes());
        assert!(
            matches!(refused, Err(SubmitRefusal::Malformed(_))),
            "{body}"
        );
    }
    for body in ["", "[]", "null", r#"{"query":"order"}"#, "\u{0}"] {
        assert!(!submit::is_submission(body.as_bytes()), "{body}");
    }
    let long = format!(
        r#"{{"order":"{}"}}"#,
        "A".repeat(submit::SUBMISSION_BYTES_MAX)
    );
    assert!(!submit::is_submission(long.as_bytes()));
}
