//! What both sides do, step by step.

use std::collections::BTreeMap;

use stiver_channel::VoucherError;
use stiver_core::{
    Receipt,
    json::{Object, Value},
    name::{ChallengeId, MethodName},
};
use stiver_method::{
    payer::CallKey,
    session::{
        ChannelLookup, Ended, PayeeSession, PayerSession, SessionAction, SessionQuote, Snapshot,
        UnitPrice, VoucherScheme,
    },
};

use super::setup::{DEPOSIT, Opened, PRICE, Setup, price};
use crate::{
    METHOD,
    session::verify_session_receipt,
    tests::setup::{ALICE, SHOP, account, usd},
};

#[test]
fn a_channel_is_opened_spent_from_and_closed_with_what_was_served() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let view = setup.payer.view(&challenge).unwrap();
    assert_eq!(view.prices, [price()]);
    assert_eq!(view.suggested_deposit, Some(usd().units(DEPOSIT)));
    assert_eq!(view.min_voucher_delta, 5);
    assert_eq!(view.grace_ms, Some(900_000));
    assert_eq!(view.payee, account(SHOP).to_string());

    let opened = setup.open(None, 2);
    assert_eq!(setup.base.available(ALICE), 1_000_000 - DEPOSIT);
    let mut signer = setup.signer(&opened);
    let known = setup.payee.channel(opened.channel, &opened.terms).unwrap();
    assert_eq!(known.payee, account(SHOP).to_string());
    let mut last = None;
    for cumulative in [20, 25, 400] {
        let voucher = setup.sign(signer.as_mut(), cumulative);
        let proof = setup.payer.spend(&voucher).unwrap();
        let SessionAction::Spend(read) = setup.decode(&challenge, &proof.payload).unwrap() else {
            panic!("a voucher is spent");
        };
        assert_eq!(read, voucher);
        known.verifier.verify(last.as_ref(), &read).unwrap();
        last = Some(read);
    }
    let last = last.unwrap();
    let proof = setup.payer.close(&last).unwrap();
    let closing = setup.decode(&challenge, &proof.payload).unwrap();
    assert!(matches!(
        closing,
        SessionAction::Close { channel, voucher: Some(voucher) }
            if channel == opened.channel && voucher == last
    ));
    // 380 were served.
    let close = setup.settle(&opened, Some(&last), 380, true, 1);
    let moved = setup.execute(&close);
    assert_eq!(
        (moved.state.settled, moved.state.ended),
        (380, Some(Ended::Closed))
    );
    assert_eq!(setup.execute(&close), moved);
    assert_eq!(setup.base.available(ALICE), 1_000_000 - 380);
    assert_eq!(setup.base.available(SHOP), 1_000_000 + 380);
}

#[test]
fn a_hash_chain_pays_by_words_and_closes_with_the_highest() {
    let setup = Setup::new();
    let scheme = VoucherScheme::HashChain { step: PRICE };
    let opened = setup.open(Some(scheme), 1);
    let mut signer = setup.signer(&opened);
    assert_eq!(signer.granularity(), PRICE);
    let known = setup.payee.channel(opened.channel, &opened.terms).unwrap();
    let challenge = setup.challenge(2);
    let mut last = None;
    // The last two were shown before: they follow from what was.
    for (asked, signed) in [
        (1, 20),
        (20, 20),
        (21, 40),
        (1000, 1000),
        (999, 1000),
        (40, 40),
    ] {
        let voucher = setup.sign(signer.as_mut(), asked);
        assert_eq!(voucher.cumulative, signed);
        let proof = setup.payer.spend(&voucher).unwrap();
        let SessionAction::Spend(read) = setup.decode(&challenge, &proof.payload).unwrap() else {
            panic!("a word is spent");
        };
        known.verifier.verify(last.as_ref(), &read).unwrap();
        if last
            .as_ref()
            .is_none_or(|last| read.cumulative > last.cumulative)
        {
            last = Some(read);
        }
    }
    let last = last.unwrap();
    assert_eq!(last.cumulative, 1000);
    setup.execute(&setup.settle(&opened, Some(&last), 990, false, 1));
    let moved = setup.execute(&setup.settle(&opened, Some(&last), 1000, true, 2));
    assert_eq!(moved.state.settled, 1000);
    assert_eq!(setup.base.available(SHOP), 1_001_000);
}

#[test]
fn a_signer_that_is_made_again_from_its_record_goes_on() {
    let setup = Setup::new();
    for (call, scheme) in [
        (1, VoucherScheme::Signed),
        (2, VoucherScheme::HashChain { step: 10 }),
    ] {
        let opened = setup.open(Some(scheme), call);
        let known = setup.payee.channel(opened.channel, &opened.terms).unwrap();
        let first = setup.sign(setup.signer(&opened).as_mut(), 100);
        known.verifier.verify(None, &first).unwrap();
        let next = setup.sign(setup.signer(&opened).as_mut(), 110);
        known.verifier.verify(Some(&first), &next).unwrap();
        assert_eq!(setup.sign(setup.signer(&opened).as_mut(), 100), first);
    }
}

#[test]
fn a_first_voucher_comes_with_the_opening() {
    let setup = Setup::new();
    for (call, scheme) in [
        (1, VoucherScheme::Signed),
        (2, VoucherScheme::HashChain { step: PRICE }),
    ] {
        let challenge = setup.challenge(call);
        let prepared = setup.prepare(&challenge, Some(scheme), call);
        let mut signer = setup.payer.signer(&prepared.record).unwrap();
        let voucher = setup.sign(signer.as_mut(), PRICE);
        let proof = setup.fund(&prepared.artefact, Some(&voucher));
        let opening = setup.decode_open(&challenge, &proof.payload);
        assert_eq!(opening.voucher, Some(voucher));
        assert_eq!(opening.deposit, usd().units(DEPOSIT));
        assert_eq!(opening.payer, proof.source);
    }
}

#[test]
fn an_opening_whose_answer_was_lost_is_looked_up_and_executed_once() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let prepared = setup.prepare(&challenge, None, 1);
    let proof = setup.fund(&prepared.artefact, None);
    let opening = setup.decode_open(&challenge, &proof.payload);
    let before = setup.run(setup.payer.lookup(&prepared.artefact)).unwrap();
    assert_eq!(before, ChannelLookup::Pending);
    let moved = setup.execute(&opening.artefact);
    assert_eq!(moved.channel, prepared.channel);
    assert_eq!(setup.execute(&opening.artefact).state, moved.state);
    assert_eq!(setup.base.available(ALICE), 1_000_000 - DEPOSIT);
    for lookup in [
        setup.run(setup.payer.lookup(&prepared.artefact)).unwrap(),
        setup.run(setup.payee.lookup(&opening.artefact)).unwrap(),
    ] {
        let ChannelLookup::Done(done) = lookup else {
            panic!("it was opened");
        };
        assert_eq!((done.channel, &done.state), (moved.channel, &moved.state));
    }
    // The same opening, signed for another challenge with the same call: it shares the nonce.
    let again = setup.prepare(&setup.challenge(2), None, 1);
    let never = setup.run(setup.payer.lookup(&again.artefact)).unwrap();
    assert!(matches!(never, ChannelLookup::Never(_)), "{never:?}");
}

#[test]
fn a_deposit_grows_by_a_top_up_that_is_executed_once() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let challenge = setup.challenge(2);
    let artefact = setup.top_up(&challenge, &opened, 500);
    let proof = setup.fund(&artefact, None);
    let SessionAction::TopUp(top_up) = setup.decode(&challenge, &proof.payload).unwrap() else {
        panic!("a top-up tops up");
    };
    assert_eq!(
        (top_up.channel, &top_up.added),
        (opened.channel, &usd().units(500))
    );
    let moved = setup.execute(&top_up.artefact);
    assert_eq!(moved.state.deposit, DEPOSIT + 500);
    assert_eq!(setup.execute(&top_up.artefact).state, moved.state);
    assert_eq!(setup.base.available(ALICE), 1_000_000 - DEPOSIT - 500);
}

#[test]
fn a_payer_leaves_without_its_payee_after_the_grace() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let payer = &setup.payer;
    let call = |number: u8| CallKey::from_bytes([number; 16]);
    let now = setup.now();
    let close = setup.run(payer.prepare_forced_close(&opened.record, call(7), now));
    let moved = setup.run(payer.execute(&close.unwrap())).unwrap();
    let at = moved.state.withdrawable_at.unwrap();
    assert!(at >= now.plus_millis(900_000));
    assert_eq!(setup.state(&opened).withdrawable_at, Some(at));
    let withdraw = setup.run(payer.prepare_withdraw(&opened.record, call(8), setup.now()));
    let withdraw = withdraw.unwrap();
    assert!(setup.run(payer.execute(&withdraw)).is_err());
    // The payee notices in time, and takes what it has a voucher for.
    let voucher = setup.sign(setup.signer(&opened).as_mut(), 60);
    setup.execute(&setup.settle(&opened, Some(&voucher), 60, false, 1));
    setup.wait(901_000);
    let moved = setup.run(payer.execute(&withdraw)).unwrap();
    assert_eq!(moved.state.ended, Some(Ended::Withdrawn));
    assert_eq!(moved.state.withdrawable_at, None);
    assert_eq!(setup.base.available(ALICE), 1_000_000 - 60);
}

#[test]
fn a_channel_from_which_nothing_was_taken_is_given_up() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let moved = setup.execute(&setup.settle(&opened, None, 0, true, 1));
    assert_eq!(moved.state.ended, Some(Ended::Closed));
    assert_eq!(setup.base.available(ALICE), 1_000_000);
    assert_eq!(setup.state(&opened).ended, Some(Ended::Closed));
}

#[test]
fn two_settlements_for_one_sum_take_it_once() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let voucher = setup.sign(setup.signer(&opened).as_mut(), 100);
    let first = setup.settle(&opened, Some(&voucher), 60, false, 1);
    setup.execute(&first);
    let second = setup.settle(&opened, Some(&voucher), 60, false, 2);
    assert!(setup.run(setup.payee.execute(&second)).is_err());
    assert_eq!(setup.state(&opened).settled, 60);
    assert_eq!(setup.base.available(SHOP), 1_000_060);
}

#[test]
fn an_ack_is_signed_with_the_voucher_and_kept_for_a_dispute() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let mut signer = setup.signer(&opened);
    let voucher = setup.run(signer.sign(40, Some([9; 32]))).unwrap();
    let proof = setup.payer.spend(&voucher).unwrap();
    let challenge = setup.challenge(2);
    let SessionAction::Spend(read) = setup.decode(&challenge, &proof.payload).unwrap() else {
        panic!("a voucher is spent");
    };
    let known = setup.payee.channel(opened.channel, &opened.terms).unwrap();
    known.verifier.verify(None, &read).unwrap();
    setup.execute(&setup.settle(&opened, Some(&read), 40, true, 1));
    assert_eq!(setup.hold(&opened).captured.units(), 40);
    // Without its ack it is another voucher.
    let mut without = read.clone();
    without.proof = read.proof[..64].into();
    let refused = known.verifier.verify(None, &without);
    assert_eq!(refused, Err(VoucherError::InvalidSignature));
}

#[test]
fn several_meters_below_one_base_unit_and_a_snapshot_travel_in_the_request() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let prices = [
        UnitPrice {
            amount: usd().units(2),
            per: 1_000_000,
            unit: Some("token".to_owned()),
        },
        UnitPrice {
            amount: usd().units(7),
            per: 60_000,
            unit: Some("millisecond".to_owned()),
        },
    ];
    let snapshot = Snapshot {
        channel: opened.channel,
        deposit: DEPOSIT,
        accepted: 40,
        spent: 30,
    };
    let quote = SessionQuote {
        prices: &prices,
        suggested_deposit: None,
        min_voucher_delta: 0,
        window: 0,
        snapshot: Some(&snapshot),
        description: Some("a story"),
        external_id: Some("order 7"),
        now: setup.now(),
        expires: setup.now(),
    };
    let request = setup.run(setup.payee.quote(quote)).unwrap();
    let view = setup.payer.view(&setup.challenge_of(&request, 2)).unwrap();
    assert_eq!(view.prices, prices);
    assert_eq!(view.snapshot, Some(snapshot));
    let terms = setup.payee.terms(&request).unwrap();
    assert_eq!(terms, setup.payee.expected_terms(&prices).unwrap());
    assert_ne!(terms, setup.payee.expected_terms(&prices[..1]).unwrap());
    let known = setup.payee.channel(opened.channel, &opened.terms).unwrap();
    assert_eq!((known.payee, known.rest), (terms.payee, terms.rest));
}

fn receipt(setup: &Setup, opened: &Opened) -> Receipt {
    let known = setup.payee.channel(opened.channel, &opened.terms).unwrap();
    let mut extra: BTreeMap<String, Value> = known.receipt.into_iter().collect();
    let channel = setup.payee.channel_text(&opened.channel);
    for (member, value) in [
        ("intent", "session"),
        ("channelId", channel.as_str()),
        ("acceptedCumulative", "400"),
        ("spent", "380"),
        ("resource", "GET /tokens"),
    ] {
        extra.insert(member.to_owned(), Value::String(value.to_owned()));
    }
    let units = Object::parse(br#"{"token":19}"#).unwrap().to_value();
    extra.insert("units".to_owned(), units);
    Receipt {
        method: MethodName::new(METHOD).unwrap(),
        timestamp: setup.now(),
        reference: channel,
        challenge_id: Some(ChallengeId::new("c").unwrap()),
        extra,
    }
}

#[test]
fn a_receipt_is_sealed_by_the_ledger_and_checked_by_the_payer() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let mut sealed = receipt(&setup, &opened);
    setup.run(setup.payee.seal_receipt(&mut sealed)).unwrap();
    let key = setup.base.embedded.ledger().receipt_key();
    let body = verify_session_receipt(&sealed, &key).unwrap();
    assert_eq!((body.accepted, body.spent), (400, 380));
    assert_eq!(body.units.as_deref(), Some(r#"{"token":19}"#));
    assert_eq!(setup.payer.check_receipt(&sealed), Ok(()));
    for (member, other) in [
        ("spent", "381"),
        ("acceptedCumulative", "401"),
        ("units", "{}"),
        ("resource", "GET /other"),
        ("currency", "kwh"),
    ] {
        let mut altered = sealed.clone();
        let value = Value::String(other.to_owned());
        altered.extra.insert(member.to_owned(), value);
        assert!(setup.payer.check_receipt(&altered).is_err(), "{member}");
    }
    let mut charge = sealed.clone();
    charge.extra.remove("intent");
    assert!(setup.payer.check_receipt(&charge).is_err());
}
