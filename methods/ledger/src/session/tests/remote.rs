//! A ledger that is reached over a transport: a payer that asks about its channel and leaves it, a
//! payee that brings what it got.

use std::sync::Arc;

use stiver_ledger::{
    id::{HoldId, Nonce},
    limits::CHAIN_WORDS_MAX,
    order::{Action, Condition, Order, SignedOrder},
    text::CurrencyCode,
    voucher::CaptureProof,
};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, RailUnavailable},
    payer::CallKey,
    session::{ChannelLookup, Ended, PayerSession, VoucherScheme},
};

use super::setup::{DEPOSIT, Opened, PRICE, Setup};
use crate::{
    ChannelLedger, EmbeddedLedger, LedgerSessionPayer, LedgerSessionPayerConfig,
    query::{self, Answer, AskError, QueryTransport, Question, RemoteLedger},
    sign, submit,
    submit::SubmitRefusal,
    tests::setup::{ALICE, MALLORY, SHOP, account, key, usd},
};

/// Straight to the ledger, as a gateway that takes no orders from payees elsewhere.
struct Direct(EmbeddedLedger);

impl QueryTransport for Direct {
    fn post(&self, body: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, AskError>> {
        Box::pin(async move {
            let unavailable = |detail: String| AskError::Unavailable(RailUnavailable(detail));
            let now = self.0.ledger().time().await;
            let now = now.map_err(|error| unavailable(error.to_string()))?;
            if submit::is_submission(&body) {
                if !submit::leaves_a_channel(&body) {
                    return Err(unavailable("takes no orders".to_owned()));
                }
                let answer = submit::serve(&body, &self.0, now).await;
                return answer.map_err(|error| unavailable(error.to_string()));
            }
            let answer = query::serve(&body, self.0.ledger(), now).await;
            answer.map_err(|refusal| AskError::Refused {
                code: Some(refusal.code().to_owned()),
                detail: refusal.to_string(),
            })
        })
    }
}

fn remote(setup: &Setup, number: u8) -> RemoteLedger {
    RemoteLedger {
        ledger: setup.base.embedded.ledger().id(),
        account: account(number),
        signer: Arc::new(key(number)),
        transport: Arc::new(Direct(setup.base.embedded.clone())),
        clock: setup.base.simulation.env().clock,
    }
}

fn payer(setup: &Setup) -> LedgerSessionPayer {
    LedgerSessionPayer::new(LedgerSessionPayerConfig::new(
        Arc::new(key(ALICE)),
        setup.base.embedded.ledger().id(),
        vec![usd()],
        Some(Arc::new(remote(setup, ALICE))),
    ))
}

#[test]
fn a_payer_asks_about_its_channel_and_leaves_it_over_the_transport() {
    let setup = Setup::new();
    let payer = payer(&setup);
    let opened = setup.open(None, 1);
    let here = setup.state(&opened);
    let there = setup.run(payer.state(&opened.record)).unwrap().unwrap();
    assert_eq!(there, here);
    let call = |number: u8| CallKey::from_bytes([number; 16]);
    let close = setup.run(payer.prepare_forced_close(&opened.record, call(7), setup.now()));
    let close = close.unwrap();
    let before = setup.run(payer.lookup(&close)).unwrap();
    assert_eq!(before, ChannelLookup::Pending);
    let moved = setup.run(payer.execute(&close)).unwrap();
    assert_eq!(moved.state, setup.state(&opened));
    assert!(moved.state.withdrawable_at.is_some());
    let ChannelLookup::Done(done) = setup.run(payer.lookup(&close)).unwrap() else {
        panic!("it was executed");
    };
    assert_eq!((done.state, done.reference), (moved.state, moved.reference));
    let early = setup.run(payer.prepare_withdraw(&opened.record, call(8), setup.now()));
    let early = early.unwrap();
    let refused = setup.run(payer.execute(&early)).unwrap_err();
    assert!(matches!(refused, ExecuteError::Refused(_)), "{refused}");
    setup.wait(901_000);
    let moved = setup.run(payer.execute(&early)).unwrap();
    assert_eq!(moved.state.ended, Some(Ended::Withdrawn));
    assert_eq!(setup.base.available(ALICE), 1_000_000);
}

#[test]
fn an_opening_is_looked_up_over_the_transport() {
    let setup = Setup::new();
    let payer = payer(&setup);
    let challenge = setup.challenge(1);
    let prepared = setup.prepare(&challenge, None, 1);
    let before = setup.run(payer.lookup(&prepared.artefact)).unwrap();
    assert_eq!(before, ChannelLookup::Pending);
    // The payer's own door is no way around the payee.
    let refused = setup.run(payer.execute(&prepared.artefact)).unwrap_err();
    assert!(matches!(refused, ExecuteError::Unknown(_)), "{refused}");
    setup.execute(&prepared.artefact);
    let ChannelLookup::Done(done) = setup.run(payer.lookup(&prepared.artefact)).unwrap() else {
        panic!("it was opened");
    };
    assert_eq!(
        (done.channel, done.state.deposit),
        (prepared.channel, DEPOSIT)
    );
}

#[test]
fn a_channel_is_told_to_its_two_sides_and_to_nobody_else() {
    let setup = Setup::new();
    let opened = setup.open(Some(VoucherScheme::HashChain { step: PRICE }), 1);
    let channel = HoldId::from_bytes(opened.channel.0);
    for side in [ALICE, SHOP] {
        let answer = setup.run(remote(&setup, side).ask(Question::Channel(channel)));
        let Answer::Channel {
            channel: Some(told),
        } = answer.unwrap()
        else {
            panic!("no channel");
        };
        assert_eq!(told.channel_id, channel.to_string());
        assert_eq!(
            (told.payer, told.payee),
            (account(ALICE).to_string(), account(SHOP).to_string())
        );
        assert_eq!(
            (told.voucher.as_str(), told.grace_seconds),
            ("hash-chain", 900)
        );
        assert_eq!(
            (told.deposit.as_str(), told.state.as_str()),
            ("10000", "open")
        );
    }
    let mint = Action::Mint {
        to: account(MALLORY),
        amount: 1,
        currency: CurrencyCode::new("usd").unwrap(),
        first_key: Some(key(MALLORY).did()),
        owner: None,
    };
    let ledger = setup.base.embedded.ledger();
    setup.run(crate::tests::setup::execute(
        ledger,
        crate::tests::setup::ISSUER,
        [9; 16],
        mint,
    ));
    let stranger = setup.run(remote(&setup, MALLORY).channel(channel)).unwrap();
    assert_eq!(stranger, None);
    let nowhere = HoldId::from_bytes([1; 32]);
    let nothing = setup.run(remote(&setup, ALICE).channel(nowhere)).unwrap();
    assert_eq!(nothing, None);
}

#[test]
fn a_payer_that_lost_its_records_finds_its_channels_and_leaves_them() {
    let setup = Setup::new();
    let ledger = setup.base.embedded.ledger().id();
    let mut opened: Vec<Opened> = (1..=3).map(|call| setup.open(None, call)).collect();
    opened.sort_by_key(|it| it.channel);
    setup.execute(&setup.settle(&opened[1], None, 0, true, 1));
    let remote = remote(&setup, ALICE);
    let ask = |after, limit| match setup.run(remote.ask(Question::Channels { after, limit })) {
        Ok(Answer::Channels { channels, next }) => (channels, next),
        other => panic!("no channels: {other:?}"),
    };
    let (first, next) = ask(None, 1);
    let next = next.unwrap().parse().unwrap();
    let (second, end) = ask(Some(next), 50);
    assert_eq!((first.len(), second.len(), end), (1, 1, None));
    let payer = payer(&setup);
    for (told, opened, number) in [(&first[0], &opened[0], 10), (&second[0], &opened[2], 20)] {
        let record = payer.stranded(ledger, told).unwrap();
        assert!(payer.signer(&record).is_err());
        let state = setup.run(payer.state(&record)).unwrap().unwrap();
        assert_eq!(state, setup.state(opened));
        let call = |number: u8| CallKey::from_bytes([number; 16]);
        let close = setup.run(payer.prepare_forced_close(&record, call(number), setup.now()));
        setup.run(payer.execute(&close.unwrap())).unwrap();
        setup.wait(901_000);
        let leave = payer.prepare_withdraw(&record, call(number + 1), setup.now());
        setup
            .run(payer.execute(&setup.run(leave).unwrap()))
            .unwrap();
    }
    assert_eq!(setup.base.available(ALICE), 1_000_000);
    // Another payer makes nothing of it.
    let stranger = LedgerSessionPayer::new(LedgerSessionPayerConfig::new(
        Arc::new(key(MALLORY)),
        ledger,
        vec![usd()],
        None,
    ));
    assert!(stranger.stranded(ledger, &first[0]).is_err());
}

/// Brings an artefact's order to the ledger, as a payee elsewhere.
fn bring(setup: &Setup, artefact: &Artefact) -> Result<Vec<u8>, SubmitRefusal> {
    let signed = SignedOrder::from_bytes(&artefact.bytes).unwrap();
    let body = submit::body(&signed.verify().unwrap());
    assert!(submit::is_submission(&body));
    setup.run(submit::serve(&body, &setup.base.embedded, setup.now()))
}

#[test]
fn a_payee_elsewhere_brings_openings_top_ups_and_captures() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let prepared = setup.prepare(
        &challenge,
        Some(VoucherScheme::HashChain { step: PRICE }),
        1,
    );
    let opening = setup.decode_open(&challenge, &setup.fund(&prepared.artefact, None).payload);
    bring(&setup, &prepared.artefact).unwrap();
    let opened = Opened {
        channel: prepared.channel,
        record: prepared.record,
        terms: opening.terms,
    };
    bring(&setup, &setup.top_up(&setup.challenge(2), &opened, 500)).unwrap();
    let voucher = setup.sign(setup.signer(&opened).as_mut(), 100);
    bring(&setup, &setup.settle(&opened, Some(&voucher), 90, true, 1)).unwrap();
    let state = setup.state(&opened);
    assert_eq!((state.deposit, state.settled), (DEPOSIT + 500, 90));
    assert_eq!(state.ended, Some(Ended::Closed));
}

#[test]
fn a_far_word_for_a_channel_that_is_not_its_own_is_refused_without_hashing_to_it() {
    let setup = Setup::new();
    let opened = setup.open(Some(VoucherScheme::HashChain { step: 1 }), 1);
    let hold = setup.hold(&opened);
    let Condition::Words { root, .. } = hold.condition else {
        panic!("a channel on words");
    };
    // It leads nowhere, which only so many hashes would tell.
    let capture = |channel, root, by: u8| {
        let order = Order {
            ledger: setup.base.embedded.ledger().id(),
            account: account(by),
            nonce: Nonce::from_bytes([3; 16]),
            expires: setup.now().plus_millis(60_000),
            action: Action::Capture {
                channel,
                cumulative: 1,
                last: false,
                proof: CaptureProof::Word {
                    root,
                    index: CHAIN_WORDS_MAX,
                    word: [1; 32],
                },
            },
        };
        let signature = key(by).sign_message(&order.encode());
        let body = stiver_core::json::Object::serialize(&crate::wire::Payload {
            order: stiver_core::base64url::encode(&order.encode()),
            key: key(by).did().to_string(),
            signature: stiver_core::base64url::encode(&signature),
        });
        let body = body.unwrap().as_str().as_bytes().to_vec();
        setup.run(submit::serve(&body, &setup.base.embedded, setup.now()))
    };
    for told in [
        capture(HoldId::from_bytes([1; 32]), root, SHOP),
        capture(hold.id, [2; 32], SHOP),
        capture(hold.id, root, MALLORY),
    ] {
        assert!(matches!(told, Err(SubmitRefusal::Channel)), "{told:?}");
    }
    // For its own it is hashed, and leads nowhere.
    let told = capture(hold.id, root, SHOP);
    assert!(matches!(told, Err(SubmitRefusal::Denied)), "{told:?}");
    assert_eq!(setup.hold(&opened), hold);
}

#[test]
fn orders_that_bring_nothing_but_an_account_or_a_hold_are_not_taken() {
    let setup = Setup::new();
    let hold = |condition, charge| Action::Hold {
        capturer: account(SHOP),
        amount: 5,
        currency: CurrencyCode::new("usd").unwrap(),
        until: None,
        condition,
        charge,
    };
    let vouchers = Condition::Vouchers {
        key: key(ALICE).did(),
        grace_ms: 60_000,
    };
    let charge = stiver_ledger::order::Charge {
        challenge: "c".to_owned(),
        realm: "r".to_owned(),
    };
    let top_up = Action::TopUp {
        channel: HoldId::from_bytes([1; 32]),
        amount: 5,
        charge: None,
    };
    for action in [
        hold(Condition::None, Some(charge)),
        hold(vouchers, None),
        top_up,
    ] {
        let order = Order {
            ledger: setup.base.embedded.ledger().id(),
            account: account(ALICE),
            nonce: Nonce::from_bytes([3; 16]),
            expires: setup.now().plus_millis(60_000),
            action,
        };
        let signed = setup.run(sign::order(&order, &key(ALICE))).unwrap();
        let body = submit::body(&signed);
        assert!(!submit::leaves_a_channel(&body));
        let told = setup.run(submit::serve(&body, &setup.base.embedded, setup.now()));
        assert!(matches!(told, Err(SubmitRefusal::Kind)), "{told:?}");
    }
    assert_eq!(setup.base.available(ALICE), 1_000_000);
}
