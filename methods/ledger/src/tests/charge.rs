//! Charges from quote to receipt.

use std::sync::Arc;

use stiver_core::{
    Receipt,
    json::{Object, Value},
    name::ChallengeId,
};
use stiver_ledger::order::SignedOrder;
use stiver_method::{
    artefact::{ExecuteError, Lookup, RefusalKind, Settled},
    payee::{PayeeCharge, Quote, QuoteError},
    payer::{Payer, PolicyView},
};

use super::setup::{ALICE, SHOP, Setup, account, key, price, usd};
use crate::receipt::{ReceiptRefusal, verify_receipt};

#[test]
fn a_charge_is_quoted_paid_settled_once_and_receipted() {
    let setup = Setup::new();
    let payer = setup.payer(ALICE, None);
    let challenge = setup.challenge(1);
    let expires = challenge.params.expires.as_ref().unwrap().instant();
    assert_eq!(
        payer.policy_view(&challenge),
        Ok(PolicyView {
            amount: price(),
            payee: account(SHOP).to_string(),
            network: format!("ledger {}", setup.embedded.ledger().id()),
            expires: Some(expires),
        })
    );
    let credential = setup.pay(&payer, &challenge, 1);
    let plan = setup.precheck(&credential).unwrap();
    assert_eq!(plan.payer, Some(key(ALICE).did().to_string()));
    assert_eq!(plan.payer, credential.source);
    assert_eq!(plan.replayable_until, expires);
    let order = SignedOrder::from_bytes(&plan.artefact.bytes).unwrap();
    assert_eq!(plan.replay_keys, [order.hash().as_bytes().to_vec()]);

    let lookup = setup.run(setup.payee.lookup(&plan.artefact));
    assert_eq!(lookup, Ok(Lookup::Pending));
    let settled = setup.run(setup.payee.execute(&plan.artefact)).unwrap();
    assert_eq!(
        setup.run(setup.payee.execute(&plan.artefact)),
        Ok(settled.clone())
    );
    assert_eq!(
        setup.run(setup.payee.lookup(&plan.artefact)),
        Ok(Lookup::Done(Box::new(settled.clone())))
    );
    assert_eq!(settled.amount, price());
    assert_eq!(settled.payee, account(SHOP).to_string());
    assert_eq!(setup.available(ALICE), 990_000);
    assert_eq!(setup.available(SHOP), 1_010_000);
    setup.run(setup.embedded.ledger().check()).unwrap();
}

#[test]
fn two_answers_of_one_call_never_both_land() {
    let setup = Setup::new();
    let payer = setup.payer(ALICE, Some(Arc::new(setup.embedded.clone())));
    assert!(payer.shares_call_key());
    let first = setup.pay(&payer, &setup.challenge(1), 1);
    let second = setup.pay(&payer, &setup.challenge(2), 1);
    let other_call = setup.pay(&payer, &setup.challenge(3), 2);
    let plans = [&first, &second, &other_call].map(|c| setup.precheck(c).unwrap());
    let execute = |at: usize| setup.run(setup.payee.execute(&plans[at].artefact));
    assert!(execute(1).is_ok());
    let Err(ExecuteError::Refused(refusal)) = execute(0) else {
        panic!("the second answer of a call was settled");
    };
    assert_eq!(refusal.kind, RefusalKind::AlreadyUsed);
    assert!(execute(2).is_ok());
    assert_eq!(setup.available(ALICE), 980_000);

    // And the payer can prove it.
    let lookup = setup.run(payer.lookup(&plans[0].artefact)).unwrap();
    let Lookup::Never(never) = lookup else {
        panic!("{lookup:?}");
    };
    assert_eq!(never.kind, RefusalKind::AlreadyUsed);
}

#[test]
fn a_payer_without_funds_or_account_is_refused_and_may_pay_later() {
    let setup = Setup::new();
    let payer = setup.payer(9, Some(Arc::new(setup.embedded.clone())));
    let credential = setup.pay(&payer, &setup.challenge(1), 1);
    let plan = setup.precheck(&credential).unwrap();
    let refused = setup.run(setup.payee.execute(&plan.artefact));
    let Err(ExecuteError::Refused(refusal)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refusal.kind, RefusalKind::Insufficient);
    assert_eq!(
        refusal.detail,
        "the signing account does not exist; open it first"
    );
    // A refusal is no proof for the payer: the order could still be executed.
    assert_eq!(setup.run(payer.lookup(&plan.artefact)), Ok(Lookup::Pending));
    setup
        .simulation
        .clock
        .advance(std::time::Duration::from_secs(300));
    let lookup = setup.run(payer.lookup(&plan.artefact)).unwrap();
    assert!(matches!(lookup, Lookup::Never(never) if never.kind == RefusalKind::Expired));
}

/// A receipt as a server makes it.
fn receipt(settled: &Settled, challenge: &str) -> Receipt {
    let mut receipt = Receipt {
        method: stiver_core::name::MethodName::new("ledger").unwrap(),
        timestamp: settled.at,
        reference: settled.reference.clone(),
        challenge_id: ChallengeId::new(challenge).ok(),
        extra: settled.receipt.iter().cloned().collect(),
    };
    for (name, text) in [
        ("payer", settled.payer.clone().unwrap()),
        ("payee", settled.payee.clone()),
        ("amount", settled.amount.to_wire()),
        ("currency", settled.amount.currency().code().to_owned()),
        ("resource", "GET /reading".to_owned()),
    ] {
        receipt.extra.insert(name.to_owned(), Value::String(text));
    }
    receipt
}

#[test]
fn a_payer_that_knows_the_ledgers_key_accepts_only_what_the_ledger_signed_for_it() {
    let setup = Setup::new();
    let ledger = setup.embedded.ledger();
    let unsure = setup.payer(ALICE, None);
    let sure = setup
        .payer(ALICE, None)
        .with_receipt_key(ledger.id(), ledger.receipt_key());
    let fooled = setup
        .payer(ALICE, None)
        .with_receipt_key(ledger.id(), key(SHOP).did());
    let other = setup
        .payer(SHOP, None)
        .with_receipt_key(ledger.id(), ledger.receipt_key());
    let challenge = setup.challenge(1);
    let plan = setup.precheck(&setup.pay(&sure, &challenge, 1)).unwrap();
    let settled = setup.run(setup.payee.execute(&plan.artefact)).unwrap();
    let bare = receipt(&settled, challenge.id.as_str());
    let mut sealed = bare.clone();
    setup.run(setup.payee.seal_receipt(&mut sealed)).unwrap();

    assert_eq!(sure.check_receipt(&sealed), Ok(()));
    let mut altered = sealed.clone();
    altered
        .extra
        .insert("amount".to_owned(), Value::String("1".to_owned()));
    for (payer, receipt, why) in [
        (&sure, &bare, "the receipt's signature is missing"),
        (&sure, &altered, "is not signed by the ledger's key"),
        (&fooled, &sealed, "is not signed by the ledger's key"),
        (&other, &sealed, "another payer's account"),
    ] {
        let refused = payer.check_receipt(receipt).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    // Who knows no key has nothing to check with.
    assert_eq!(unsure.check_receipt(&altered), Ok(()));

    // A challenge that names another key is not paid.
    let refused = fooled.policy_view(&challenge).unwrap_err().to_string();
    assert!(refused.contains("receipts are signed by"), "{refused}");
}

#[test]
fn a_receipt_proves_every_member_that_matters() {
    let setup = Setup::new();
    let payer = setup.payer(ALICE, None);
    let challenge = setup.challenge(1);
    let plan = setup.precheck(&setup.pay(&payer, &challenge, 1)).unwrap();
    let settled = setup.run(setup.payee.execute(&plan.artefact)).unwrap();
    let mut sealed = receipt(&settled, challenge.id.as_str());
    setup.run(setup.payee.seal_receipt(&mut sealed)).unwrap();
    let ledger_key = setup.embedded.ledger().receipt_key();

    // Over the wire and back.
    let sealed = Receipt::parse(sealed.to_header().as_bytes()).unwrap();
    let body = verify_receipt(&sealed, &ledger_key).unwrap();
    assert_eq!(body.payer, account(ALICE));
    assert_eq!(body.payer_key, key(ALICE).did());
    assert_eq!(body.payee, account(SHOP));
    assert_eq!(body.amount, 10_000);
    assert_eq!(body.resource.as_deref(), Some("GET /reading"));
    assert_eq!(body.challenge.as_deref(), Some(challenge.id.as_str()));
    assert_eq!(
        sealed.extra["receiptKey"].as_str(),
        Some(ledger_key.to_string().as_str())
    );

    let other = verify_receipt(&sealed, &key(ALICE).did());
    assert!(matches!(other, Err(ReceiptRefusal::Signature(_))));
    for (member, forged) in [
        ("amount", "10001".to_owned()),
        ("currency", "eur".to_owned()),
        ("resource", "GET /other".to_owned()),
        ("payee", account(9).to_string()),
        ("payer", key(9).did().to_string()),
        ("payerAccount", account(9).to_string()),
        ("ledger", "AAAAAAAAAAAAAAAAAAAAAA".to_owned()),
    ] {
        let mut altered = sealed.clone();
        altered
            .extra
            .insert(member.to_owned(), Value::String(forged));
        let refused = verify_receipt(&altered, &ledger_key);
        assert!(
            matches!(refused, Err(ReceiptRefusal::Signature(_))),
            "{member}"
        );
        altered.extra.remove(member);
        let expected = match member {
            "resource" => matches!(
                verify_receipt(&altered, &ledger_key),
                Err(ReceiptRefusal::Signature(_))
            ),
            _ => verify_receipt(&altered, &ledger_key) == Err(ReceiptRefusal::Member(member)),
        };
        assert!(expected, "{member}");
    }
    for alter in [
        |receipt: &mut Receipt| receipt.timestamp = receipt.timestamp.plus_millis(1),
        |receipt: &mut Receipt| receipt.challenge_id = None,
        |receipt: &mut Receipt| receipt.challenge_id = ChallengeId::new("other").ok(),
        |receipt: &mut Receipt| receipt.reference = format!("tr_{}", "A".repeat(43)),
    ] {
        let mut altered = sealed.clone();
        alter(&mut altered);
        let refused = verify_receipt(&altered, &ledger_key);
        assert!(matches!(refused, Err(ReceiptRefusal::Signature(_))));
    }
}

#[test]
fn terms_are_those_of_the_price_whatever_else_the_request_says() {
    let setup = Setup::new();
    let expected = setup.payee.expected_terms(&price()).unwrap();
    let request = setup.challenge(1).params.request;
    assert_eq!(setup.payee.terms(request.object()), Ok(expected.clone()));
    let other = setup.payee.expected_terms(&usd().units(10_001)).unwrap();
    assert_ne!(other, expected);
    let text = request.object().as_str();
    for (from, to) in [
        (account(SHOP).to_string(), account(ALICE).to_string()),
        (
            setup.embedded.ledger().id().to_string(),
            "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        ),
        ("\"10000\"".to_owned(), "\"10001\"".to_owned()),
    ] {
        let altered = Object::parse(text.replace(&from, &to).as_bytes()).unwrap();
        assert_ne!(setup.payee.terms(&altered), Ok(expected.clone()), "{from}");
    }
}

#[test]
fn prices_that_the_ledger_cannot_carry_are_not_quoted() {
    let setup = Setup::new();
    let eur = stiver_core::Currency::new("eur", 6).unwrap();
    let cents = stiver_core::Currency::new("usd", 2).unwrap();
    for (price, error) in [
        (eur.units(5), None),
        (cents.units(5), None),
        (usd().units(0), Some(QuoteError::Amount)),
        (usd().units(u128::MAX), Some(QuoteError::Amount)),
    ] {
        let quote = setup.run(setup.payee.quote(Quote {
            price: &price,
            description: None,
            external_id: None,
            now: setup.now(),
            expires: setup.now(),
        }));
        match error {
            Some(error) => assert_eq!(quote, Err(error)),
            None => assert!(matches!(quote, Err(QuoteError::Currency { .. }))),
        }
    }
}
