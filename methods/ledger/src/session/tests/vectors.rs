//! Golden vectors, made from the specification by other software.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use stiver_channel::ChannelId;
use stiver_core::{
    Challenge, Currency, Receipt, Timestamp,
    binding::{KeyRing, Secret},
    did::DidKey,
    json::Object,
};
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId, Nonce, OrderHash},
    order::{Action, Charge, Condition, Order, SignedOrder},
    text::CurrencyCode,
    voucher::{CaptureProof, VoucherBody, chain_salt, word_back},
};
use stiver_method::{
    key::Ed25519Key,
    payee::Presented,
    payer::CallKey,
    session::{
        OpenRequest, PayeeSession, PayerSession, PreparedOpen, SessionAction, TopUpRequest,
        VoucherScheme,
    },
};
use zeroize::Zeroizing;

use super::setup::Setup;
use crate::{
    LedgerSessionPayer, LedgerSessionPayerConfig,
    query::{Query, Question},
    session::verify_session_receipt,
};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../vectors/session.json")).unwrap()
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

fn usd() -> Currency {
    Currency::new("usd", 6).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &Value) -> [u8; N] {
    let digits = text.as_str().unwrap();
    let bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
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

fn challenge(vectors: &Value) -> Challenge {
    let header = vectors["challenge"].as_str().unwrap();
    let challenge = Challenge::parse_all([header.as_bytes()]).remove(0).unwrap();
    let secret = Secret::from_bytes(vectors["secret"].as_str().unwrap().as_bytes());
    assert!(KeyRing::new(secret).verify(&challenge, now()).is_ok());
    challenge
}

fn payer() -> LedgerSessionPayer {
    LedgerSessionPayer::new(LedgerSessionPayerConfig::new(
        Arc::new(key("alice")),
        ledger(),
        vec![usd()],
        None,
    ))
}

fn open(vectors: &Value, call: u128, words: bool) -> PreparedOpen {
    let challenge = challenge(vectors);
    let deposit = usd().units(10_000);
    let (scheme, seed) = if words {
        let scheme = VoucherScheme::HashChain { step: 20 };
        (Some(scheme), &vectors["chain"]["seed"])
    } else {
        (None, &vectors["sessionSeed"])
    };
    let open = OpenRequest {
        challenge: &challenge,
        deposit: &deposit,
        scheme,
        call: CallKey::from_bytes(call.to_be_bytes()),
        entropy: Zeroizing::new(unhex(seed)),
        now: now(),
    };
    pollster::block_on(payer().prepare_open(open)).unwrap()
}

fn channel(vectors: &Value, number: usize) -> HoldId {
    HoldId::from_bytes(unhex(&vectors["orders"][number]["sha256"]))
}

/// Each order of the vectors, who signs it, and its nonce.
fn orders(vectors: &Value) -> Vec<(&'static str, Action)> {
    let challenge = challenge(vectors);
    let charge = Some(Charge {
        challenge: challenge.id.as_str().to_owned(),
        realm: "api.example.com".to_owned(),
    });
    let session = key("session").did();
    let opening = |condition| Action::Hold {
        capturer: account("shop"),
        amount: 10_000,
        currency: CurrencyCode::new("usd").unwrap(),
        until: None,
        condition,
        charge: charge.clone(),
    };
    let root = unhex(&vectors["chain"]["root"]);
    let (by_voucher, by_word) = (channel(vectors, 0), channel(vectors, 1));
    let capture = |channel, cumulative, last, proof| Action::Capture {
        channel,
        cumulative,
        last,
        proof,
    };
    let grace_ms = 900_000;
    let key = session;
    let signed = CaptureProof::Voucher {
        key,
        cumulative: 400,
        ack: Some(Sha256::digest("what was delivered").into()),
        signature: unhex(&vectors["vouchers"][1]["signature"]),
    };
    let word = CaptureProof::Word {
        root,
        index: 20,
        word: unhex(&vectors["chain"]["word20"]),
    };
    vec![
        ("alice", opening(Condition::Vouchers { key, grace_ms })),
        (
            "alice",
            opening(Condition::Words {
                root,
                step: 20,
                words: 2_000,
                grace_ms,
            }),
        ),
        ("shop", capture(by_voucher, 380, true, signed)),
        ("shop", capture(by_word, 390, false, word)),
        (
            "alice",
            Action::TopUp {
                channel: by_voucher,
                amount: 500,
                charge: charge.clone(),
            },
        ),
        (
            "alice",
            Action::ForceClose {
                channel: by_voucher,
            },
        ),
        (
            "alice",
            Action::Withdraw {
                channel: by_voucher,
            },
        ),
    ]
}

#[test]
fn every_kind_of_order_is_that_of_the_vectors_and_its_proof_verifies() {
    let vectors = vectors();
    let expected = vectors["orders"].as_array().unwrap();
    let orders = orders(&vectors);
    assert_eq!(orders.len(), expected.len());
    for ((number, (by, action)), vector) in (1_u128..).zip(orders).zip(expected) {
        let order = Order {
            ledger: ledger(),
            account: account(by),
            nonce: Nonce::from_bytes(number.to_be_bytes()),
            expires: Timestamp::from_millis(1_767_225_900_000),
            action,
        };
        assert_signed(vector, &order.encode(), by);
        let signature = unhex(&vector["signature"]);
        let signed = SignedOrder::new(&order.encode(), key(by).did(), signature).unwrap();
        assert_eq!(signed.order(), &order);
        assert!(signed.verify().is_ok(), "{}", vector["name"]);
    }
}

#[test]
fn vouchers_are_those_of_the_vectors() {
    let vectors = vectors();
    let expected = vectors["vouchers"].as_array().unwrap();
    let ack: [u8; 32] = Sha256::digest("what was delivered").into();
    let figures = [(20, None), (400, Some(ack)), (1 << 64, None)];
    for ((cumulative, ack), vector) in figures.into_iter().zip(expected) {
        let body = VoucherBody {
            ledger: ledger(),
            channel: channel(&vectors, 0),
            cumulative,
            ack,
        };
        assert_signed(vector, &body.encode(), "session");
        let key = key("session").did();
        assert_eq!(body.verify(&key, &unhex(&vector["signature"])), Ok(()));
    }
}

#[test]
fn words_are_those_of_the_vectors() {
    let vectors = vectors();
    let chain = &vectors["chain"];
    assert_eq!(hex(&chain_salt(ledger())), chain["salt"].as_str().unwrap());
    for (index, member) in [(0, "root"), (1, "word1"), (20, "word20"), (2_000, "seed")] {
        let word = word_back(ledger(), &unhex(&chain["seed"]), 2_000 - index).unwrap();
        assert_eq!(hex(&word), chain[member].as_str().unwrap(), "{member}");
    }
}

fn parsed(payload: &Value) -> Object {
    Object::parse(payload.to_string().as_bytes()).unwrap()
}

fn assert_payload(vectors: &Value, name: &str, payload: &Object) {
    let expected = parsed(&vectors["payloads"][name]);
    assert_eq!(payload.to_jcs(), expected.to_jcs(), "{name}");
}

#[test]
fn a_payer_answers_the_vectors_challenge_byte_for_byte() {
    let vectors = vectors();
    let payer = payer();
    let prepared = open(&vectors, 1, false);
    assert_eq!(
        prepared.channel,
        ChannelId(*channel(&vectors, 0).as_bytes())
    );
    let mut signer = payer.signer(&prepared.record).unwrap();
    let ack: [u8; 32] = Sha256::digest("what was delivered").into();
    pollster::block_on(async {
        let first = signer.sign(20, None).await.unwrap();
        let proof = payer.fund(&prepared.artefact, Some(&first)).await.unwrap();
        assert_payload(&vectors, "open", &proof.payload);
        let later = signer.sign(400, Some(ack)).await.unwrap();
        assert_payload(&vectors, "voucher", &payer.spend(&later).unwrap().payload);
        assert_payload(&vectors, "close", &payer.close(&later).unwrap().payload);
        let add = usd().units(500);
        let top_up = TopUpRequest {
            challenge: &challenge(&vectors),
            record: &prepared.record,
            add: &add,
            call: CallKey::from_bytes(5_u128.to_be_bytes()),
            now: now(),
        };
        let artefact = payer.prepare_top_up(top_up).await.unwrap();
        let proof = payer.fund(&artefact, None).await.unwrap();
        assert_payload(&vectors, "topUp", &proof.payload);
    });
    let words = open(&vectors, 2, true);
    assert_eq!(words.channel, ChannelId(*channel(&vectors, 1).as_bytes()));
    let mut signer = payer.signer(&words.record).unwrap();
    let word = pollster::block_on(signer.sign(400, None)).unwrap();
    assert_payload(&vectors, "word", &payer.spend(&word).unwrap().payload);
}

#[test]
fn a_payee_takes_every_payload_of_the_vectors() {
    let vectors = vectors();
    let challenge = challenge(&vectors);
    let setup = Setup::new();
    let decode = |name: &str| {
        let payload = parsed(&vectors["payloads"][name]);
        setup.payee.decode(Presented {
            challenge: &challenge,
            payload: &payload,
            source: None,
            now: now(),
        })
    };
    let SessionAction::Open(opening) = decode("open").unwrap() else {
        panic!("an opening opens");
    };
    assert_eq!(opening.channel, ChannelId(*channel(&vectors, 0).as_bytes()));
    assert_eq!(opening.deposit, usd().units(10_000));
    let known = setup
        .payee
        .channel(opening.channel, &opening.terms)
        .unwrap();
    let Ok(SessionAction::Spend(voucher)) = decode("voucher") else {
        panic!("a voucher is spent");
    };
    assert_eq!(known.verifier.verify(None, &voucher), Ok(()));
    let Ok(SessionAction::Close { voucher: last, .. }) = decode("close") else {
        panic!("a close closes");
    };
    assert_eq!(last, Some(voucher));
    assert!(
        matches!(decode("topUp"), Ok(SessionAction::TopUp(top_up)) if top_up.added.units() == 500)
    );
    assert!(matches!(decode("word"), Ok(SessionAction::Spend(word)) if word.cumulative == 400));
}

#[test]
fn questions_and_a_receipt_are_those_of_the_vectors() {
    let vectors = vectors();
    let channel = channel(&vectors, 0);
    let page = |after| Question::Channels { after, limit: 20 };
    let questions = [Question::Channel(channel), page(None), page(Some(channel))];
    let expected = vectors["queries"].as_array().unwrap();
    assert_eq!(questions.len(), expected.len());
    for (question, vector) in questions.into_iter().zip(expected) {
        let query = Query {
            ledger: ledger(),
            account: account("alice"),
            at: Timestamp::from_millis(1_767_225_601_250),
            question,
        };
        assert_signed(vector, &query.encode(), "alice");
        assert_eq!(Query::decode(&query.encode()), Some(query));
    }
    let printed = vectors["receipt"].as_str().unwrap();
    let receipt = Receipt::parse(printed.as_bytes()).unwrap();
    let receipts: DidKey = key("receipts").did();
    let body = verify_session_receipt(&receipt, &receipts).unwrap();
    assert_signed(&vectors["receiptBody"], &body.encode(), "receipts");
    assert_eq!((body.accepted, body.spent), (400, 380));
    assert_eq!(body.units.as_deref(), Some(r#""19""#));
    assert_eq!(receipt.to_header(), printed);
}

#[test]
fn the_specifications_examples_are_the_vectors() {
    let spec = include_str!("../../../../../docs/spec/ledger-session.md");
    let vectors = vectors();
    let voucher = vectors["vouchers"][1]["bytes"].as_str().unwrap();
    for part in voucher.as_bytes().chunks(80) {
        let line = std::str::from_utf8(part).unwrap();
        assert!(spec.contains(&format!("\n{line}\n")), "{line}");
    }
    let challenge = challenge(&vectors);
    assert!(spec.contains(challenge.id.as_str()));
    for example in [
        &vectors["payloads"]["open"]["channelId"],
        &vectors["payloads"]["open"]["signature"],
        &vectors["payloads"]["voucher"]["signature"],
        &vectors["payloads"]["voucher"]["ack"],
        &vectors["payloads"]["word"]["channelId"],
        &vectors["payloads"]["word"]["word"],
        &vectors["chain"]["root"],
        &vectors["receiptJson"]["signature"],
        &vectors["request"]["recipient"],
    ] {
        let example = example.as_str().unwrap();
        assert!(spec.contains(example), "{example}");
    }
}
