//! What a stranger, a hostile payer or a hostile payee might send. Each is refused for what is
//! wrong with it, and nothing has moved.

use stiver_channel::{ChannelId, Voucher, VoucherError};
use stiver_core::{
    Challenge,
    json::{Object, Value},
};
use stiver_ledger::{
    id::{HoldId, Nonce},
    order::{Action, Charge, Condition, Order},
    text::CurrencyCode,
};
use stiver_method::{
    artefact::RefusalKind,
    key::Ed25519Key,
    payer::{CallKey, Unpayable},
    session::{OpenRequest, PayeeSession, PayerSession, SessionAction, SettleError, VoucherScheme},
};
use zeroize::Zeroizing;

use super::setup::{DEPOSIT, PRICE, Setup, text, with};
use crate::{
    payee::artefact,
    sign,
    tests::setup::{ALICE, MALLORY, SHOP, account, key, usd},
};

/// Refused, for this, with nothing moved.
fn refused(setup: &Setup, challenge: &Challenge, payload: &Object, detail: &str) {
    let refusal = setup.decode(challenge, payload).unwrap_err();
    assert!(refusal.detail.contains(detail), "{detail}: {refusal}");
    assert_eq!(setup.base.available(ALICE), 1_000_000, "{detail}");
}

#[test]
fn a_payload_in_another_form_is_refused_for_what_is_wrong_with_it() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let prepared = setup.prepare(&challenge, None, 1);
    let good = setup.fund(&prepared.artefact, None).payload;
    setup.decode_open(&challenge, &good);
    let long = "A".repeat(100_000);
    for (member, value, detail) in [
        ("action", None, "must have action"),
        (
            "action",
            text("opn"),
            "must be open, topUp, voucher or close",
        ),
        (
            "action",
            text("Open"),
            "must be open, topUp, voucher or close",
        ),
        ("action", Some(Value::Null), "must have action"),
        ("channelId", None, "must have action and channelId"),
        ("channelId", text("hold_AAAA"), "channelId: not a hold id"),
        ("channelId", text(&long), "channelId: not a hold id"),
        ("type", None, "type must be transaction"),
        ("type", text("hash"), "type must be transaction"),
        ("transaction", None, "transaction is missing"),
        ("transaction", text("***"), "not base64url"),
        (
            "transaction",
            text("AAAA"),
            "payload.transaction: not a signed order",
        ),
        (
            "transaction",
            text(&long),
            "payload.transaction: not a signed order",
        ),
        (
            "additionalDeposit",
            text("5"),
            "additionalDeposit belongs to a top-up",
        ),
        ("signature", text("AAAA"), "cumulativeAmount must be"),
        ("cumulativeAmount", text("5"), "either signature"),
        ("cumulativeAmount", text("-5"), "cumulativeAmount must be"),
        ("cumulativeAmount", text("05"), "cumulativeAmount must be"),
    ] {
        refused(&setup, &challenge, &with(&good, member, value), detail);
    }
    let other = text("hold_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let payload = with(&good, "channelId", other);
    refused(&setup, &challenge, &payload, "not the hash of the order");
}

#[test]
fn a_voucher_in_another_form_is_refused_for_what_is_wrong_with_it() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let prepared = setup.prepare(&challenge, None, 1);
    let mut signer = setup.payer.signer(&prepared.record).unwrap();
    let voucher = setup.sign(signer.as_mut(), 40);
    let good = setup.payer.spend(&voucher).unwrap().payload;
    setup.decode(&challenge, &good).unwrap();
    let wide = (u128::MAX >> 1).saturating_add(1).to_string();
    let ack = "A".repeat(42);
    for (member, value, detail) in [
        ("cumulativeAmount", None, "cumulativeAmount must be"),
        ("cumulativeAmount", text(&wide), "in at most 127 bits"),
        ("cumulativeAmount", text("1e3"), "cumulativeAmount must be"),
        ("signature", None, "either signature"),
        ("signature", text("AAAA"), "not 64 bytes"),
        ("signature", text("="), "not base64url"),
        ("ack", text(&ack), "ack is not"),
        (
            "index",
            Some(Value::parse(b"1").unwrap()),
            "either signature",
        ),
        (
            "index",
            Some(Value::parse(b"-1").unwrap()),
            "must have action",
        ),
        ("word", text("AAAA"), "either signature"),
        ("transaction", text("AAAA"), "carry no transaction"),
        ("additionalDeposit", text("5"), "carry no transaction"),
    ] {
        refused(&setup, &challenge, &with(&good, member, value), detail);
    }
    let word = with(&good, "signature", None);
    let word = with(&word, "word", text(&"A".repeat(43)));
    let far = with(&word, "index", Some(Value::parse(b"65537").unwrap()));
    refused(&setup, &challenge, &far, "index must be at most 65536");
    let acked = with(&word, "index", Some(Value::parse(b"1").unwrap()));
    let acked = with(&acked, "ack", text(&"A".repeat(43)));
    refused(&setup, &challenge, &acked, "either signature");
}

/// An opening that alice signs, bent as it is told.
fn bent(setup: &Setup, challenge: &Challenge, bend: impl FnOnce(&mut Order)) -> Object {
    let mut order = Order {
        ledger: setup.base.embedded.ledger().id(),
        account: account(ALICE),
        nonce: Nonce::from_bytes([9; 16]),
        expires: setup.now().plus_millis(300_000),
        action: Action::Hold {
            capturer: account(SHOP),
            amount: DEPOSIT,
            currency: CurrencyCode::new("usd").unwrap(),
            until: None,
            condition: Condition::Vouchers {
                key: key(9).did(),
                grace_ms: 900_000,
            },
            charge: Some(Charge {
                challenge: challenge.id.as_str().to_owned(),
                realm: challenge.params.realm.as_str().to_owned(),
            }),
        },
    };
    bend(&mut order);
    let signed = setup.run(sign::order(&order, &key(ALICE))).unwrap();
    setup.fund(&artefact(signed.signed()), None).payload
}

/// Bends the hold of an opening.
macro_rules! hold {
    ($member:ident = $value:expr) => {
        |order: &mut Order| {
            if let Action::Hold { $member, .. } = &mut order.action {
                *$member = $value;
            }
        }
    };
}

#[test]
fn an_opening_that_is_not_for_this_challenge_is_refused() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let open = |bend: &dyn Fn(&mut Order)| bent(&setup, &challenge, |order| bend(order));
    setup.decode_open(&challenge, &open(&|_| ()));
    let other = setup.challenge(2);
    refused(&setup, &other, &open(&|_| ()), "another challenge");
    let realm = Some(Charge {
        challenge: challenge.id.as_str().to_owned(),
        realm: "other.example.com".to_owned(),
    });
    let ledger = stiver_ledger::id::LedgerId::from_bytes([1; 16]);
    let late = setup.now().plus_millis(3_600_000);
    let now = setup.now();
    let vouchers = |key, grace_ms| Condition::Vouchers { key, grace_ms };
    let eur = CurrencyCode::new("eur").unwrap();
    let table: Vec<(Object, &str)> = vec![
        (open(&hold!(charge = None)), "names no challenge"),
        (open(&hold!(charge = realm.clone())), "another realm"),
        (open(&|order| order.ledger = ledger), "another ledger"),
        (
            open(&hold!(capturer = account(MALLORY))),
            "pays another account",
        ),
        (open(&hold!(currency = eur.clone())), "another currency"),
        (
            open(&hold!(condition = Condition::None)),
            "opens no channel",
        ),
        (
            open(&hold!(condition = vouchers(key(9).did(), 899_999))),
            "grace is shorter",
        ),
        (open(&hold!(amount = PRICE - 1)), "below the price of 20"),
        (open(&|order| order.expires = late), "may expire at"),
        (open(&|order| order.expires = now), "expired at"),
    ];
    for (payload, detail) in table {
        refused(&setup, &challenge, &payload, detail);
    }
    let post = |order: &mut Order| {
        order.action = Action::ForceClose {
            channel: HoldId::from_bytes([1; 32]),
        }
    };
    let mut order = None;
    bent(&setup, &challenge, |it| order = Some(it.clone()));
    let mut order = order.unwrap();
    post(&mut order);
    let signed = setup.run(sign::order(&order, &key(ALICE))).unwrap();
    let bytes = stiver_core::base64url::encode(&signed.signed().to_bytes());
    let good = open(&|_| ());
    let payload = with(&good, "transaction", text(&bytes));
    refused(&setup, &challenge, &payload, "opens no channel");
}

#[test]
fn a_voucher_key_that_everybody_can_sign_for_opens_nothing() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let mut identity = [0; 32];
    identity[0] = 1;
    let weak = stiver_core::did::DidKey::from_public_key(identity);
    let everybodys = Condition::Vouchers {
        key: weak,
        grace_ms: 900_000,
    };
    let payload = bent(&setup, &challenge, hold!(condition = everybodys));
    refused(&setup, &challenge, &payload, "no voucher could be proven");
}

#[test]
fn a_kind_of_voucher_that_was_not_offered_opens_nothing() {
    let setup = Setup::new();
    let request = setup.request();
    let details = request.get("methodDetails").unwrap();
    let mut details = details.as_object().unwrap().clone();
    details.insert(
        "voucher".to_owned(),
        Value::parse(br#"["hash-chain"]"#).unwrap(),
    );
    let request = with(&request, "methodDetails", Some(Value::Object(details)));
    let challenge = setup.challenge_of(&request, 1);
    let payload = bent(&setup, &challenge, |_| ());
    refused(
        &setup,
        &challenge,
        &payload,
        "kind of voucher was not offered",
    );
    let deposit = usd().units(DEPOSIT);
    let signed = setup.run(setup.payer.prepare_open(OpenRequest {
        challenge: &challenge,
        deposit: &deposit,
        scheme: Some(VoucherScheme::Signed),
        call: CallKey::from_bytes([1; 16]),
        entropy: Zeroizing::new([1; 32]),
        now: setup.now(),
    }));
    assert!(signed.is_err());
    // Left to itself the payer takes what is offered: words of the price.
    let prepared = setup.prepare(&challenge, None, 1);
    let signer = setup.payer.signer(&prepared.record).unwrap();
    assert_eq!(signer.granularity(), PRICE);
}

#[test]
fn a_first_voucher_that_is_forged_or_over_the_deposit_opens_nothing() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let prepared = setup.prepare(&challenge, None, 1);
    let mut signer = setup.payer.signer(&prepared.record).unwrap();
    let good = setup.sign(signer.as_mut(), DEPOSIT);
    let payload = setup.fund(&prepared.artefact, Some(&good)).payload;
    setup.decode_open(&challenge, &payload);
    let over = setup.sign(signer.as_mut(), DEPOSIT + 1);
    let payload = setup.fund(&prepared.artefact, Some(&over)).payload;
    let refusal = setup.decode(&challenge, &payload).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Insufficient);
    let mut forged = good;
    forged.cumulative = DEPOSIT - 1;
    let payload = setup.fund(&prepared.artefact, Some(&forged)).payload;
    refused(&setup, &challenge, &payload, "signature is not valid");
}

#[test]
fn a_signature_of_an_opening_that_is_not_of_its_key_is_refused() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let prepared = setup.prepare(&challenge, None, 1);
    let good = setup.fund(&prepared.artefact, None).payload;
    let mut bytes = prepared.artefact.bytes.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let forged = text(&stiver_core::base64url::encode(&bytes));
    let payload = with(&good, "transaction", forged);
    refused(&setup, &challenge, &payload, "does not verify");
}

#[test]
fn a_top_up_of_another_channel_amount_or_challenge_is_refused() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let challenge = setup.challenge(2);
    let artefact = setup.top_up(&challenge, &opened, 500);
    let good = setup.fund(&artefact, None).payload;
    let other = text("hold_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    for (payload, detail) in [
        (with(&good, "channelId", other), "another channel"),
        (
            with(&good, "additionalDeposit", text("501")),
            "not what the order adds",
        ),
        (with(&good, "additionalDeposit", None), "a top-up needs it"),
        (
            with(&good, "cumulativeAmount", text("5")),
            "carries no voucher",
        ),
        (with(&good, "action", text("open")), "belongs to a top-up"),
    ] {
        let refusal = setup.decode(&challenge, &payload).unwrap_err();
        assert!(refusal.detail.contains(detail), "{detail}: {refusal}");
    }
    let refusal = setup.decode(&setup.challenge(3), &good).unwrap_err();
    assert!(refusal.detail.contains("another challenge"));
    assert_eq!(setup.state(&opened).deposit, DEPOSIT);
}

#[test]
fn a_stranger_can_neither_top_up_nor_leave_nor_capture() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let channel = HoldId::from_bytes(opened.channel.0);
    let voucher = setup.sign(setup.signer(&opened).as_mut(), 100);
    let before = setup.hold(&opened);
    let settle = setup.settle(&opened, Some(&voucher), 100, false, 1);
    let capture = stiver_ledger::order::SignedOrder::from_bytes(&settle.bytes).unwrap();
    let capture = capture.order().action.clone();
    for (number, action) in [
        Action::ForceClose { channel },
        Action::Withdraw { channel },
        Action::Void { hold: channel },
        capture,
        Action::TopUp {
            channel,
            amount: 5,
            charge: None,
        },
    ]
    .into_iter()
    .enumerate()
    {
        let order = Order {
            ledger: setup.base.embedded.ledger().id(),
            account: account(ALICE),
            nonce: Nonce::from_bytes([u8::try_from(number).unwrap(); 16]),
            expires: setup.now().plus_millis(60_000),
            action,
        };
        // Alice's account, mallory's key.
        let signed = setup.run(sign::order(&order, &key(MALLORY))).unwrap();
        assert!(
            setup
                .run(setup.payee.execute(&artefact(signed.signed())))
                .is_err()
        );
    }
    assert_eq!(setup.hold(&opened), before);
}

/// A forged copy of a voucher, and what is wrong with it.
fn forgeries(good: &Voucher, words: bool) -> Vec<(Voucher, VoucherError)> {
    let wrong = if words {
        VoucherError::WrongWord
    } else {
        VoucherError::InvalidSignature
    };
    let mut all = Vec::new();
    for at in [0, 3, 5, 20, 33] {
        let mut bent = good.clone();
        let at = if words { at.max(4) } else { at };
        bent.proof[at] ^= 1;
        all.push((bent, wrong));
    }
    let mut higher = good.clone();
    higher.cumulative += 20;
    let amount = if words {
        VoucherError::WrongAmount
    } else {
        wrong
    };
    all.push((higher, amount));
    let mut elsewhere = good.clone();
    elsewhere.channel = ChannelId([1; 32]);
    all.push((elsewhere, VoucherError::WrongChannel));
    for proof in [&good.proof[..good.proof.len() - 1], &[]] {
        let mut cut = good.clone();
        cut.proof = proof.into();
        all.push((cut, VoucherError::MalformedProof));
    }
    all
}

#[test]
fn a_forged_voucher_is_refused_and_captures_nothing() {
    let setup = Setup::new();
    for (call, words) in [(1, false), (2, true)] {
        let scheme = match words {
            true => VoucherScheme::HashChain { step: PRICE },
            false => VoucherScheme::Signed,
        };
        let opened = setup.open(Some(scheme), call);
        let known = setup.payee.channel(opened.channel, &opened.terms).unwrap();
        let good = setup.sign(setup.signer(&opened).as_mut(), 100);
        known.verifier.verify(None, &good).unwrap();
        for (forged, error) in forgeries(&good, words) {
            assert_eq!(
                known.verifier.verify(None, &forged),
                Err(error),
                "{forged:?}"
            );
            let settle = stiver_method::session::SettleRequest {
                channel: opened.channel,
                terms: &opened.terms,
                voucher: Some(&forged),
                capture: forged.cumulative,
                last: true,
                key: [1; 16],
                now: setup.now(),
            };
            // The payee's own signer would not sign it, nor the ledger take it.
            let prepared = setup.run(setup.payee.prepare_settle(settle));
            assert!(prepared.is_err(), "{forged:?}");
        }
        assert_eq!(setup.state(&opened).settled, 0);
        // The other channel's kind of proof is no proof here.
        let other = setup.open(
            Some(match words {
                true => VoucherScheme::Signed,
                false => VoucherScheme::HashChain { step: PRICE },
            }),
            call + 10,
        );
        let mut foreign = setup.sign(setup.signer(&other).as_mut(), 100);
        foreign.channel = opened.channel;
        let refused = known.verifier.verify(None, &foreign);
        assert_eq!(refused, Err(VoucherError::MalformedProof));
    }
}

#[test]
fn a_word_that_skips_too_many_or_is_beyond_the_chain_is_refused() {
    let setup = Setup::new();
    let opened = setup.open(Some(VoucherScheme::HashChain { step: 1 }), 1);
    let known = setup.payee.channel(opened.channel, &opened.terms).unwrap();
    let mut signer = setup.signer(&opened);
    let first = setup.sign(signer.as_mut(), 1);
    let far = setup.sign(signer.as_mut(), 1026);
    let refused = known.verifier.verify(Some(&first), &far);
    assert_eq!(refused, Err(VoucherError::SkipTooLarge { skip_max: 1024 }));
    let near = setup.sign(signer.as_mut(), 1025);
    known.verifier.verify(Some(&first), &near).unwrap();
    let mut beyond = far.clone();
    beyond.proof[..4].copy_from_slice(&60_000_u32.to_be_bytes());
    beyond.cumulative = 60_000;
    let refused = known.verifier.verify(Some(&first), &beyond);
    assert!(
        matches!(refused, Err(VoucherError::ChainExhausted { .. })),
        "{refused:?}"
    );
    // The signer says so itself, before the payee does.
    assert!(setup.run(signer.sign(1_000_000, None)).is_err());
}

#[test]
fn a_settlement_that_the_rail_would_refuse_is_not_prepared() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let other = setup.open(None, 2);
    let voucher = setup.sign(setup.signer(&opened).as_mut(), 100);
    let settle = |opened: &super::setup::Opened, voucher, capture, last| {
        let settle = stiver_method::session::SettleRequest {
            channel: opened.channel,
            terms: &opened.terms,
            voucher,
            capture,
            last,
            key: [1; 16],
            now: setup.now(),
        };
        match setup.run(setup.payee.prepare_settle(settle)) {
            Err(SettleError::Refused(refusal)) => refusal.detail,
            other => panic!("not refused: {:?}", other.is_ok()),
        }
    };
    assert!(settle(&opened, Some(&voucher), 101, true).contains("over the voucher"));
    assert!(settle(&other, Some(&voucher), 100, true).contains("another channel"));
    assert!(settle(&opened, None, 1, true).contains("nothing to take"));
    assert!(settle(&opened, None, 0, false).contains("nothing to take"));
    let garbled = setup.payee.channel(opened.channel, &opened.terms[1..]);
    assert!(garbled.is_err());
    let mut version = opened.terms.clone();
    version[1] = 2;
    assert!(setup.payee.channel(opened.channel, &version).is_err());
}

#[test]
fn vouchers_after_the_close_take_nothing() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let mut signer = setup.signer(&opened);
    let voucher = setup.sign(signer.as_mut(), 100);
    setup.execute(&setup.settle(&opened, Some(&voucher), 100, true, 1));
    let late = setup.sign(signer.as_mut(), 200);
    let settle = setup.settle(&opened, Some(&late), 200, true, 2);
    assert!(setup.run(setup.payee.execute(&settle)).is_err());
    let challenge = setup.challenge(2);
    let top_up = setup.top_up(&challenge, &opened, 500);
    assert!(setup.run(setup.payee.execute(&top_up)).is_err());
    let state = setup.state(&opened);
    assert_eq!((state.settled, state.deposit), (100, DEPOSIT));
    assert_eq!(setup.base.available(ALICE), 1_000_000 - 100);
}

/// A request with one of its methodDetails changed.
fn details(setup: &Setup, member: &str, value: &str) -> Object {
    let request = setup.request();
    let details = request.get("methodDetails").unwrap();
    let mut details = details.as_object().unwrap().clone();
    details.insert(member.to_owned(), Value::parse(value.as_bytes()).unwrap());
    with(&request, "methodDetails", Some(Value::Object(details)))
}

#[test]
fn a_payer_refuses_a_request_that_it_does_not_understand_or_trust() {
    let setup = Setup::new();
    let request = setup.request();
    let ours = account(ALICE).to_string();
    for (request, detail) in [
        (with(&request, "amount", text("0")), "above zero"),
        (with(&request, "amount", text("0.5")), "above zero"),
        (
            with(&request, "currency", text("eur")),
            "currency is not known",
        ),
        (with(&request, "recipient", text("bob")), "no account id"),
        (with(&request, "recipient", text(&ours)), "pay itself"),
        (with(&request, "unitType", text("a\nb")), "unit is named"),
        (
            with(&request, "suggestedDeposit", text("all")),
            "suggestedDeposit",
        ),
    ] {
        let error = setup
            .payer
            .view(&setup.challenge_of(&request, 1))
            .unwrap_err();
        assert!(error.to_string().contains(detail), "{detail}: {error}");
    }
}

#[test]
fn a_payer_refuses_method_details_that_it_does_not_understand_or_trust() {
    let setup = Setup::new();
    let meters = format!("[{}]", [r#"{"amount":"1","unitType":"s"}"#; 8].join(","));
    let snapshot = r#"{"channelId":"x","deposit":"1","acceptedCumulative":"1","spent":"1"}"#;
    for (request, detail) in [
        (
            details(&setup, "ledger", r#""BwcHBwcHBwcHBwcHBwcHBg""#),
            "ledger",
        ),
        (details(&setup, "decimals", "2"), "has 6 decimals here"),
        (
            details(&setup, "voucher", "[]"),
            "neither ed25519 nor hash-chain",
        ),
        (
            details(&setup, "voucher", r#"["bearer"]"#),
            "neither ed25519 nor hash-chain",
        ),
        (
            details(&setup, "graceSeconds", "59"),
            "graceSeconds must be",
        ),
        (
            details(&setup, "graceSeconds", "2592001"),
            "graceSeconds must be",
        ),
        (
            details(&setup, "graceSeconds", "86401"),
            "at most 86400 are agreed",
        ),
        (details(&setup, "unitCount", r#""0""#), "unitCount"),
        (details(&setup, "unitCount", r#""+5""#), "unitCount"),
        (
            details(&setup, "minVoucherDelta", r#""-1""#),
            "minVoucherDelta",
        ),
        (details(&setup, "meters", &meters), "more than 8 prices"),
        (
            details(&setup, "sessionSnapshot", snapshot),
            "sessionSnapshot",
        ),
        (
            details(
                &setup,
                "receiptKey",
                &format!(r#""{}""#, key(MALLORY).did()),
            ),
            "are signed by",
        ),
    ] {
        let error = setup
            .payer
            .view(&setup.challenge_of(&request, 1))
            .unwrap_err();
        assert!(error.to_string().contains(detail), "{detail}: {error}");
    }
}

#[test]
fn a_payer_opens_nothing_with_a_deposit_that_does_not_fit() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let eur = stiver_core::Currency::new("eur", 6).unwrap();
    for (deposit, scheme, detail) in [
        (usd().units(0), None, "must be an amount of usd"),
        (eur.units(5), None, "must be an amount of usd"),
        (
            usd().units(65_537),
            Some(VoucherScheme::HashChain { step: 1 }),
            "a chain has at most 65536",
        ),
        (
            usd().units(5),
            Some(VoucherScheme::HashChain { step: 0 }),
            "does not take this kind",
        ),
        (
            usd().units(5),
            Some(VoucherScheme::HashChain { step: u128::MAX }),
            "a chain has at most",
        ),
    ] {
        let open = OpenRequest {
            challenge: &challenge,
            deposit: &deposit,
            scheme,
            call: CallKey::from_bytes([1; 16]),
            entropy: Zeroizing::new([1; 32]),
            now: setup.now(),
        };
        let error = match setup.run(setup.payer.prepare_open(open)) {
            Err(stiver_method::payer::PayError::Unpayable(error)) => error.to_string(),
            other => panic!("not refused: {}", other.is_ok()),
        };
        assert!(error.contains(detail), "{detail}: {error}");
    }
}

#[test]
fn a_record_of_another_account_or_none_at_all_signs_nothing() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let stranger = crate::LedgerSessionPayer::new(crate::LedgerSessionPayerConfig::new(
        std::sync::Arc::new(Ed25519Key::from_seed(&[MALLORY; 32])),
        setup.base.embedded.ledger().id(),
        vec![usd()],
        None,
    ));
    let refused = stranger.signer(&opened.record).err();
    assert!(matches!(refused, Some(Unpayable::NoAccount(_))));
    for end in 0..opened.record.len() {
        assert!(setup.payer.signer(&opened.record[..end]).is_err(), "{end}");
    }
    let close = setup.run(stranger.prepare_forced_close(
        &opened.record,
        CallKey::from_bytes([1; 16]),
        setup.now(),
    ));
    assert!(close.is_err());
}

#[test]
fn a_top_up_for_a_challenge_of_another_payee_is_not_signed() {
    let setup = Setup::new();
    let opened = setup.open(None, 1);
    let other = account(MALLORY).to_string();
    let request = with(&setup.request(), "recipient", text(&other));
    let challenge = setup.challenge_of(&request, 2);
    let add = usd().units(5);
    let top_up = stiver_method::session::TopUpRequest {
        challenge: &challenge,
        record: &opened.record,
        add: &add,
        call: CallKey::from_bytes([5; 16]),
        now: setup.now(),
    };
    assert!(setup.run(setup.payer.prepare_top_up(top_up)).is_err());
}

#[test]
fn a_voucher_of_another_method_is_neither_spent_nor_funded_with() {
    let setup = Setup::new();
    let challenge = setup.challenge(1);
    let prepared = setup.prepare(&challenge, None, 1);
    let foreign = Voucher {
        channel: prepared.channel,
        cumulative: 5,
        proof: vec![1; 65].into(),
    };
    assert!(setup.payer.spend(&foreign).is_err());
    assert!(setup.payer.close(&foreign).is_err());
    let fund = setup.run(setup.payer.fund(&prepared.artefact, Some(&foreign)));
    assert!(fund.is_err());
    let decoded = setup.decode(&challenge, &setup.fund(&prepared.artefact, None).payload);
    assert!(matches!(decoded, Ok(SessionAction::Open(_))));
}
