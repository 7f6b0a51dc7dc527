//! Bytes from outside.

use proptest::prelude::*;
use stiver_core::Timestamp;

use super::keys::{account, did, key, nonce, order, sign_bytes, usd};
use crate::{
    CborError,
    event::{Event, EventKind, Executed},
    id::{HoldId, LedgerId, OrderHash, TransferId},
    key::{Roles, SignatureError},
    limits,
    machine::LedgerMachine,
    order::{
        Action, Charge, Condition, Met, ORDER_BYTES_MAX, Order, OrderError, SignedOrder,
        VerifyError,
    },
    rows::Posting,
    text::Label,
    voucher::CaptureProof,
};

const NOW: Timestamp = Timestamp::MAX;

fn ledger() -> LedgerId {
    LedgerId::from_bytes([7; 16])
}

fn pay() -> Order {
    Order {
        ledger: ledger(),
        account: account("alice"),
        nonce: nonce(1),
        expires: Timestamp::from_millis(1_767_225_660_000),
        action: Action::Transfer {
            payee: account("bob"),
            amount: 30,
            currency: usd(),
            charge: Some(Charge {
                challenge: "c".to_owned(),
                realm: "r".to_owned(),
            }),
        },
    }
}

/// One order of each kind, with every optional member once there and once not.
fn all_kinds() -> Vec<Order> {
    let hash = OrderHash::from_bytes([5; 32]);
    let label = Label::new("till 7").ok();
    let mut actions = vec![
        pay().action,
        Action::Transfer {
            payee: account("bob"),
            amount: u128::MAX,
            currency: usd(),
            charge: None,
        },
        Action::Mint {
            to: account("bob"),
            amount: 1 << 64,
            currency: usd(),
            first_key: Some(did("bob")),
            owner: label.clone(),
        },
        Action::Mint {
            to: account("bob"),
            amount: 0,
            currency: usd(),
            first_key: None,
            owner: None,
        },
        Action::Burn {
            amount: 5,
            currency: usd(),
        },
        Action::Refund {
            transfer: TransferId::from(hash),
            amount: 23,
            reason: label,
        },
        Action::Open {
            first_key: did("bob"),
            owner: None,
        },
        Action::AddKey {
            key: did("new"),
            roles: Roles::SPEND,
        },
        Action::RevokeKey { key: did("new") },
    ];
    actions.extend(kinds_of_holds(hash));
    actions.extend(kinds_of_channels(hash.into()));
    actions
        .into_iter()
        .map(|action| order(ledger(), "alice", 1, Timestamp::from_millis(0), action))
        .collect()
}

/// Of holds, and of the operator.
fn kinds_of_holds(hash: OrderHash) -> Vec<Action> {
    vec![
        Action::Hold {
            capturer: account("bob"),
            amount: 24,
            currency: usd(),
            until: Some(Timestamp::MAX),
            condition: Condition::Preimage([1; 32]),
            charge: None,
        },
        Action::Hold {
            capturer: account("bob"),
            amount: 255,
            currency: usd(),
            until: None,
            condition: Condition::Agreement([1; 32]),
            charge: Some(Charge {
                challenge: "c".repeat(256),
                realm: "r".repeat(256),
            }),
        },
        Action::Post {
            hold: hash.into(),
            amount: 256,
            last: true,
            met: Met::Preimage([1; 32]),
        },
        Action::Post {
            hold: hash.into(),
            amount: 65_536,
            last: false,
            met: Met::Agreement([1; 32]),
        },
        Action::Void { hold: hash.into() },
        Action::Freeze {
            account: account("bob"),
            frozen: true,
        },
        Action::Limit {
            account: account("bob"),
            amount: Some(5),
        },
        Action::Limit {
            account: account("bob"),
            amount: None,
        },
    ]
}

/// Of channels.
fn kinds_of_channels(channel: HoldId) -> Vec<Action> {
    let hold = |condition| Action::Hold {
        capturer: account("bob"),
        amount: 24,
        currency: usd(),
        until: None,
        condition,
        charge: None,
    };
    let capture = |cumulative, last, proof| Action::Capture {
        channel,
        cumulative,
        last,
        proof,
    };
    vec![
        hold(Condition::Vouchers {
            key: did("alice"),
            grace_ms: limits::GRACE_MS_MIN,
        }),
        hold(Condition::Words {
            root: [1; 32],
            step: u128::MAX,
            words: limits::CHAIN_WORDS_MAX,
            grace_ms: limits::GRACE_MS_MAX,
        }),
        capture(
            0,
            true,
            CaptureProof::Voucher {
                key: did("alice"),
                cumulative: u128::MAX,
                ack: Some([1; 32]),
                signature: [2; 64],
            },
        ),
        capture(
            1,
            false,
            CaptureProof::Voucher {
                key: did("alice"),
                cumulative: 0,
                ack: None,
                signature: [2; 64],
            },
        ),
        capture(
            1 << 64,
            false,
            CaptureProof::Word {
                root: [1; 32],
                index: 1,
                word: [3; 32],
            },
        ),
        Action::TopUp {
            channel,
            amount: 1,
            charge: None,
        },
        Action::TopUp {
            channel,
            amount: u128::MAX,
            charge: Some(Charge {
                challenge: "c".to_owned(),
                realm: "r".to_owned(),
            }),
        },
        Action::ForceClose { channel },
        Action::Withdraw { channel },
    ]
}

#[test]
fn every_kind_of_order_reads_back() {
    for order in all_kinds() {
        let bytes = order.encode();
        assert!(bytes.len() <= ORDER_BYTES_MAX, "{order:?}");
        assert_eq!(Order::decode(&bytes), Ok(order));
    }
}

#[test]
fn a_signed_order_reads_back_and_nothing_beside_it_does() {
    let bytes = pay().encode();
    let signed = sign_bytes(&bytes, "alice");
    let stored = signed.to_bytes();
    assert_eq!(SignedOrder::from_bytes(&stored).as_ref(), Ok(&signed));
    for end in 0..stored.len() {
        assert!(SignedOrder::from_bytes(&stored[..end]).is_err(), "{end}");
    }
    let mut more = stored;
    more.push(0);
    assert!(SignedOrder::from_bytes(&more).is_err());
}

#[test]
fn a_signature_over_other_bytes_or_by_another_key_is_refused() {
    let bytes = pay().encode();
    let good = sign_bytes(&bytes, "alice");
    assert!(good.clone().verify().is_ok());
    let other = SignedOrder::new(&bytes, did("bob"), *good.signature()).unwrap();
    assert_eq!(
        other.verify().err(),
        Some(VerifyError::Order(SignatureError))
    );
    for bit in 0..512 {
        let mut signature = *good.signature();
        signature[bit / 8] ^= 1 << (bit % 8);
        let forged = SignedOrder::new(&bytes, did("alice"), signature).unwrap();
        assert_eq!(
            forged.verify().err(),
            Some(VerifyError::Order(SignatureError)),
            "bit {bit}"
        );
    }
    // The same scalar plus the group order: valid to a lax verifier, another signature to us.
    const GROUP_ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut malleable = *good.signature();
    let mut carry = 0_u16;
    for (byte, add) in malleable[32..].iter_mut().zip(GROUP_ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    let forged = SignedOrder::new(&bytes, did("alice"), malleable).unwrap();
    assert_eq!(
        forged.verify().err(),
        Some(VerifyError::Order(SignatureError))
    );
}

/// `bytes` with the one occurrence of `from` replaced.
fn with(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .expect("the part is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

/// The kind member and what it says.
fn kind(number: u8) -> Vec<u8> {
    vec![0x01, number, 0x02]
}

/// Refuses each for what is wrong with it.
fn check(table: Vec<(&str, Vec<u8>, OrderError)>) {
    for (what, bytes, error) in table {
        assert_eq!(Order::decode(&bytes), Err(error), "{what}");
    }
}

#[test]
fn bytes_that_are_not_deterministic_cbor_are_refused() {
    let good = pay().encode();
    let other = CborError::NotDeterministic;
    let malformed = CborError::Malformed;
    let amount = [0x09, 0x18, 30, 0x0a];
    check(vec![
        ("nothing", vec![], OrderError::Cbor(malformed)),
        ("text", b"hello".to_vec(), OrderError::Cbor(malformed)),
        (
            "too long",
            vec![0; 2049],
            OrderError::TooLong { bytes: 2049 },
        ),
        (
            "cut",
            good[..good.len() - 1].to_vec(),
            OrderError::Cbor(malformed),
        ),
        (
            "a byte more",
            [&good[..], &[0]].concat(),
            OrderError::Cbor(other),
        ),
        (
            "indefinite length",
            [&[0xbf], &good[1..], &[0xff]].concat(),
            OrderError::Cbor(other),
        ),
        (
            "an integer longer than it need be",
            with(&good, &amount, &[0x09, 0x19, 0, 30, 0x0a]),
            OrderError::Cbor(other),
        ),
        (
            "a bignum that fits into an integer",
            with(&good, &amount, &[0x09, 0xc2, 0x41, 30, 0x0a]),
            OrderError::Cbor(other),
        ),
        (
            "a bignum wider than 128 bits",
            with(
                &good,
                &amount,
                &[&[0x09, 0xc2, 0x51][..], &[1; 17], &[0x0a]].concat(),
            ),
            OrderError::Cbor(malformed),
        ),
        (
            "a negative amount",
            with(&good, &amount, &[0x09, 0x20, 0x0a]),
            OrderError::Cbor(malformed),
        ),
        (
            "a floating-point amount",
            with(&good, &amount, &[0x09, 0xf9, 0x3c, 0, 0x0a]),
            OrderError::Cbor(malformed),
        ),
        (
            "the amount as text",
            with(&good, &amount, &[0x09, 0x62, b'3', b'0', 0x0a]),
            OrderError::Cbor(malformed),
        ),
    ]);
}

#[test]
fn members_that_are_unknown_double_or_out_of_order_are_refused() {
    let good = pay().encode();
    let other = CborError::NotDeterministic;
    check(vec![
        (
            "an unknown member",
            [&[good[0] + 1], &good[1..], &[0x18, 99, 0]].concat(),
            OrderError::Cbor(other),
        ),
        (
            "the currency twice",
            [&[good[0] + 1], &good[1..], &[0x0a, 0x63, b'u', b's', b'd']].concat(),
            OrderError::Cbor(other),
        ),
        (
            "members out of order",
            [&[good[0]], &good[26..], &good[1..26]].concat(),
            OrderError::Cbor(other),
        ),
    ]);
}

#[test]
fn members_that_do_not_belong_or_mean_nothing_are_refused() {
    let good = pay().encode();
    let malformed = CborError::Malformed;
    check(vec![
        (
            "another domain",
            with(&good, b"order/1", b"order/2"),
            OrderError::Domain,
        ),
        (
            "kind 0",
            with(&good, &kind(1), &kind(0)),
            OrderError::Kind(0),
        ),
        (
            "kind 17",
            with(&good, &kind(1), &kind(17)),
            OrderError::Kind(17),
        ),
        (
            "a burn with the members of a payment",
            with(&good, &kind(1), &kind(3)),
            OrderError::Unexpected(6),
        ),
        (
            "a refund without a transfer",
            with(&good, &kind(1), &kind(4)),
            OrderError::Missing(13),
        ),
        (
            "an empty challenge id",
            with(&good, &[0x06, 0x61, b'c'], &[0x06, 0x60]),
            OrderError::Value(6),
        ),
        (
            "a challenge without a realm",
            [&[good[0] - 1], &with(&good, &[0x07, 0x61, b'r'], &[])[1..]].concat(),
            OrderError::Missing(7),
        ),
        (
            "a currency with a bar",
            with(&good, b"usd", b"u|d"),
            OrderError::Cbor(malformed),
        ),
        (
            "a short account",
            with(&good, &[0x03, 0x50], &[0x03, 0x4f]),
            OrderError::Cbor(malformed),
        ),
        (
            "a year beyond 9999",
            with(
                &good,
                &pay().expires.as_millis().to_be_bytes(),
                &[0, 1, 0, 0, 0, 0, 0, 0],
            ),
            OrderError::Value(5),
        ),
    ]);
}

#[test]
fn roles_that_do_not_exist_are_refused() {
    let order = &all_kinds()[7];
    let bytes = with(&order.encode(), &[0x0c, 1], &[0x0c, 8]);
    assert_eq!(Order::decode(&bytes), Err(OrderError::Value(12)));
}

#[test]
fn an_event_whose_debits_are_not_its_credits_is_refused() {
    use stiver_wal::Machine as _;
    let mut world = super::language::World::new(false);
    world.run("mint alice 100\nopen bob");
    let order = order(ledger(), "alice", 99, world.now, pay().action);
    let signed = sign_bytes(&order.encode(), "alice");
    let posting = |name: &str, delta: i128| Posting {
        account: account(name),
        currency: 0,
        delta,
    };
    let table: Vec<(Vec<Posting>, &str)> = vec![
        (vec![posting("alice", -30), posting("bob", 31)], "debits"),
        (vec![posting("alice", -30)], "debits"),
        (vec![], "not those of its order"),
        (
            vec![posting("alice", -101), posting("bob", 101)],
            "overdrawn",
        ),
        (vec![posting("alice", 30), posting("bob", -30)], "overdrawn"),
        (
            vec![posting("alice", -30), posting("ghost", 30)],
            "no account",
        ),
        (
            vec![posting("alice", -30), posting("alice", 30)],
            "not those of its order",
        ),
    ];
    for (postings, wrong) in table {
        let event = Event(EventKind::Executed(Box::new(Executed {
            order: signed.clone(),
            postings,
        })));
        let mut machine = LedgerMachine(world.machine.0.clone());
        let error = machine.evolve(world.now, &event).unwrap_err();
        assert!(error.0.contains(wrong), "{error} should say {wrong}");
    }
}

#[test]
fn a_snapshot_that_breaks_an_invariant_is_not_restored() {
    use stiver_wal::Machine as _;
    let mut world = super::language::World::new(false);
    world.run("mint alice 100");
    let good = world.machine.snapshot();
    assert!(LedgerMachine::restore(&good).is_ok());
    let richer = with(&good, &[0x18, 100, 0], &[0x18, 101, 0]);
    let error = LedgerMachine::restore(&richer).unwrap_err();
    assert!(error.0.contains("sum to 1 instead of zero"), "{error}");
    assert!(LedgerMachine::restore(&good[..good.len() - 1]).is_err());
    assert!(LedgerMachine::restore(b"").is_err());
}

proptest! {
    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        if let Ok(order) = Order::decode(&bytes) {
            prop_assert_eq!(order.encode(), bytes);
        }
    }

    #[test]
    fn an_order_with_a_changed_byte_is_refused_or_another_order(
        kind in 0..17_usize, at in any::<prop::sample::Index>(), to in any::<u8>(),
    ) {
        let order = &all_kinds()[kind];
        let mut bytes = order.encode();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(other) = Order::decode(&bytes) {
            prop_assert_ne!(&other, order);
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}

#[test]
fn keys_of_tests_are_stable() {
    // Vectors and stored seeds lean on them.
    assert_eq!(
        key("alice").verifying_key().to_bytes(),
        *did("alice").public_key()
    );
    assert_eq!(NOW.to_rfc3339(), "9999-12-31T23:59:59.999Z");
}
