//! Channels: what a ledger does with deposits and vouchers, told as stories, and what is tried
//! against them.

use proptest::prelude::*;
use stiver_core::Timestamp;

use super::{
    keys::{account, did, order, sign_bytes, usd},
    language::{World, chain_word, voucher},
};
use crate::{
    id::HoldId,
    limits,
    order::{Action, Condition, Order, OrderError, VerifyError},
    view::HoldState,
    voucher::{CaptureProof, ProofError, VoucherBody},
};

fn check(scenario: &str) {
    World::new(false).run(scenario);
}

fn channel(world: &World, name: &str) -> crate::view::Hold {
    let id = HoldId::from(world.named(name).hash());
    world.machine.0.hold(id, world.now).unwrap()
}

#[test]
fn a_channel_is_captured_by_vouchers_and_closed_with_an_exact_capture() {
    let mut world = World::new(false);
    world.run(
        "mint alice 100
         open bob
         channel alice bob 50 key=alice as=c
         balance alice 100 50
         pay alice bob 51 -> Insufficient
         capture bob @c 20 key=alice voucher=20
         balance alice 80 30
         balance bob 20 0
         # Less than the voucher, and the rest of it later.
         capture bob @c 25 key=alice voucher=45
         capture bob @c 31 last key=alice voucher=45
         balance alice 69 0
         balance bob 31 0
         capture bob @c 45 key=alice voucher=45 -> HoldClosed",
    );
    let closed = channel(&world, "@c");
    assert_eq!(closed.state, HoldState::Posted);
    assert_eq!(closed.captured.units(), 31);
}

#[test]
fn captures_name_the_sum_of_all_so_that_two_never_add_up() {
    check(
        "mint alice 100
         open bob
         channel alice bob 50 key=alice as=c
         capture bob @c 20 key=alice voucher=40 as=first
         # Whoever does not know what became of the first sends another for the same sum.
         capture bob @c 20 key=alice voucher=40 -> CaptureTooLow
         capture bob @c 19 key=alice voucher=40 -> CaptureTooLow
         again @first
         balance bob 20 0
         # Only the last may add nothing.
         capture bob @c 20 last key=alice voucher=40 as=end
         again @end
         balance alice 80 0",
    );
}

#[test]
fn a_capture_is_bounded_by_its_voucher_and_by_the_deposit() {
    check(
        "mint alice 100
         open bob
         channel alice bob 50 key=alice as=c
         capture bob @c 21 key=alice voucher=20 -> OverVoucher
         # A voucher may be for more than the deposit; the capture may not.
         capture bob @c 51 key=alice voucher=60 as=early -> CaptureTooLarge
         topup alice @c 10
         balance alice 100 60
         again @early
         balance alice 49 9
         capture bob @c 60 key=alice voucher=60
         # All of it was taken: the channel is open still, and can be topped up.
         balance alice 40 0
         topup alice @c 5
         capture bob @c 65 last key=alice voucher=65
         balance alice 35 0
         balance bob 65 0",
    );
}

#[test]
fn only_the_channels_own_key_and_capturer_take_from_it() {
    check(
        "mint alice 100
         open bob
         open carol
         channel alice bob 50 key=session as=c
         hold alice bob 10 as=h
         capture bob @c 20 key=alice voucher=20 -> ConditionNotMet
         capture carol @c 20 key=session voucher=20 -> NotCapturer
         capture alice @c 20 key=session voucher=20 -> NotCapturer
         capture bob @c 20 chain=seed words=30 word=20 -> ConditionNotMet
         capture bob @h 10 key=session voucher=10 -> NotAChannel
         post bob @c 20 -> ConditionNotMet
         post bob @c 20 preimage=x -> ConditionNotMet
         topup carol @c 20 -> NotPayer
         topup alice @h 20 -> NotAChannel
         forceclose bob @c -> NotPayer
         withdraw bob @c -> NotPayer
         forceclose alice @h -> NotAChannel
         withdraw alice @h -> NotAChannel
         addkey bob till roles=1
         capture bob @c 20 key=session voucher=20 by=till -> KeyLacksRole
         addkey alice seller roles=2
         topup alice @c 1 by=seller -> KeyLacksRole
         forceclose alice @c by=seller -> KeyLacksRole
         balance alice 100 60
         capture bob @c 20 key=session voucher=20",
    );
}

#[test]
fn a_channel_that_was_given_up_frees_what_was_not_taken() {
    check(
        "mint alice 100
         open bob
         channel alice bob 50 key=alice as=c
         capture bob @c 20 key=alice voucher=20
         void alice @c -> NotCapturer
         void bob @c
         balance alice 80 0
         topup alice @c 1 -> HoldClosed
         forceclose alice @c -> HoldClosed
         withdraw alice @c -> HoldClosed
         void bob @c -> HoldClosed",
    );
}

#[test]
fn words_of_a_hash_chain_take_a_step_each() {
    let mut world = World::new(false);
    world.run(
        "mint alice 1000
         open bob
         channel alice bob 600 chain=seed words=200 step=3 as=c
         capture bob @c 4 chain=seed words=200 word=1 -> OverVoucher
         capture bob @c 3 chain=seed words=200 word=1
         # Any number of words may be skipped, and less be captured than they allow.
         capture bob @c 500 chain=seed words=200 word=199
         capture bob @c 600 last chain=seed words=200 word=200
         balance alice 400 0
         balance bob 600 0",
    );
    // A longer chain has other words: its word 200 leads to another root.
    world.run(
        "channel alice bob 300 chain=seed words=100 step=3 as=short
         capture bob @short 300 chain=seed words=200 word=100 -> ConditionNotMet
         capture bob @short 300 chain=other words=100 word=100 -> ConditionNotMet
         capture bob @short 300 key=alice voucher=300 -> ConditionNotMet
         capture bob @short 300 chain=seed words=100 word=100",
    );
}

#[test]
fn a_word_beyond_the_channels_chain_takes_nothing() {
    // The payer's secret is the chain's last word. If a payee learns words before the root in a
    // longer chain, an index beyond the channel's length still allows nothing.
    let mut world = World::new(false);
    world.run("mint alice 1000\nopen bob");
    let root = chain_word("seed", 50, 0);
    let open = order(
        world.ledger,
        "alice",
        1,
        world.now,
        Action::Hold {
            capturer: account("bob"),
            amount: 1000,
            currency: usd(),
            until: None,
            condition: Condition::Words {
                root,
                step: 10,
                words: 40,
                grace_ms: limits::GRACE_MS_MIN,
            },
            charge: None,
        },
    );
    let open = super::keys::sign(&open, "alice");
    let channel = HoldId::from(open.hash());
    world.execute(open).unwrap();
    for (number, index, refused) in [(1, 41, true), (2, 50, true), (3, 40, false)] {
        let capture = Action::Capture {
            channel,
            cumulative: 10,
            last: false,
            proof: CaptureProof::Word {
                root,
                index,
                word: chain_word("seed", 50, index),
            },
        };
        let capture = order(world.ledger, "bob", number, world.now, capture);
        let result = world.execute(super::keys::sign(&capture, "bob"));
        assert_eq!(result.is_err(), refused, "word {index}");
    }
}

#[test]
fn a_payer_withdraws_after_the_grace_and_not_before() {
    let mut world = World::new(false);
    world.run(
        "mint alice 100
         open bob
         channel alice bob 50 key=alice grace=90000 as=c
         withdraw alice @c -> NotClosing
         tick 5000
         forceclose alice @c as=f
         tick 60000
         # Ordered again, the first instant stays.
         forceclose alice @c
         withdraw alice @c -> GraceNotOver
         # The payee is on time.
         capture bob @c 20 key=alice voucher=20
         tick 29999
         withdraw alice @c -> GraceNotOver
         tick 1
         again @f
         withdraw alice @c as=w
         again @w
         balance alice 80 0
         balance bob 20 0
         capture bob @c 25 key=alice voucher=25 -> HoldClosed",
    );
    let ended = channel(&world, "@c");
    assert_eq!(ended.state, HoldState::Withdrawn);
    let at = super::keys::BEGIN_MS + 5_000 + 90_000;
    assert_eq!(ended.withdrawable_at, Some(Timestamp::from_millis(at)));
}

#[test]
fn a_payee_may_capture_after_the_grace_as_long_as_nobody_withdrew() {
    check(
        "mint alice 100
         open bob
         channel alice bob 50 key=alice as=c
         forceclose alice @c
         tick 86400000
         capture bob @c 40 key=alice voucher=40
         withdraw alice @c
         balance alice 60 0",
    );
}

#[test]
fn a_top_up_cancels_the_forced_close() {
    let mut world = World::new(false);
    world.run(
        "mint alice 100
         open bob
         channel alice bob 50 key=alice as=c
         forceclose alice @c
         topup alice @c 1
         tick 60000
         withdraw alice @c -> NotClosing",
    );
    assert_eq!(channel(&world, "@c").withdrawable_at, None);
    world.run("forceclose alice @c\ntick 60000\nwithdraw alice @c\nbalance alice 100 0");
}

#[test]
fn a_top_up_is_bounded_by_funds_limit_and_freezes() {
    check(
        "mint alice 100
         open bob
         channel alice bob 50 key=alice as=c
         topup alice @c 0 -> ZeroAmount
         topup alice @c 51 -> Insufficient
         topup alice @c huge -> Insufficient
         limit alice 60
         # What the channel would hold counts, not only what is added.
         topup alice @c 11 -> OverLimit
         topup alice @c 10 as=t
         again @t
         balance alice 100 60
         limit alice
         freeze bob
         topup alice @c 1 -> PayeeFrozen
         capture bob @c 10 key=alice voucher=10 -> AccountFrozen
         thaw bob
         freeze alice
         topup alice @c 1 -> AccountFrozen
         # What was set aside is the payee's to take; what is left is the payer's to free.
         capture bob @c 10 key=alice voucher=10
         forceclose alice @c
         tick 60000
         withdraw alice @c
         balance alice 90 0
         pay alice bob 1 -> AccountFrozen",
    );
}

#[test]
fn an_open_channel_outlives_the_memory_of_its_order() {
    check(
        "mint alice 100
         open bob
         channel alice bob 50 key=alice as=c
         tick 2000000000
         topup alice @c 1
         tick 2000000000
         capture bob @c 20 key=alice voucher=20
         status @c -> executed
         capture bob @c 21 last key=alice voucher=21
         tick 2000000000
         pay alice bob 1
         # Closed, it is forgotten as every order is.
         capture bob @c 22 key=alice voucher=22 -> UnknownHold",
    );
}

#[test]
fn a_capture_of_a_channel_can_be_refunded() {
    check(
        "mint alice 100
         open bob
         channel alice bob 50 key=alice as=c
         capture bob @c 20 last key=alice voucher=20 as=p
         refund bob @p 21 -> RefundTooLarge
         refund bob @p 5
         balance alice 85 0
         capture bob @c 20 last key=alice voucher=20 -> HoldClosed",
    );
}

/// An order of bob's to capture, signed, its proof not verified.
fn capture_with(world: &World, channel: HoldId, proof: CaptureProof) -> Result<(), VerifyError> {
    let action = Action::Capture {
        channel,
        cumulative: 10,
        last: false,
        proof,
    };
    let order = order(world.ledger, "bob", 9, world.now, action);
    sign_bytes(&order.encode(), "bob").verify().map(drop)
}

#[test]
fn a_forged_proof_never_reaches_the_ledger() {
    let mut world = World::new(false);
    world.run("mint alice 100\nopen bob\nchannel alice bob 50 key=alice as=c");
    let channel = HoldId::from(world.named("@c").hash());
    let body = VoucherBody {
        ledger: world.ledger,
        channel,
        cumulative: 10,
        ack: Some([4; 32]),
    };
    let CaptureProof::Voucher { signature, .. } = voucher(&body, "alice") else {
        panic!("a voucher is a voucher");
    };
    let proof = |key, cumulative, ack, signature| CaptureProof::Voucher {
        key: did(key),
        cumulative,
        ack,
        signature,
    };
    let good = proof("alice", 10, Some([4; 32]), signature);
    assert_eq!(capture_with(&world, channel, good), Ok(()));
    let mut bent = signature;
    bent[40] ^= 1;
    let forged = [
        (
            "another amount",
            proof("alice", 11, Some([4; 32]), signature),
        ),
        ("another ack", proof("alice", 10, Some([5; 32]), signature)),
        ("no ack", proof("alice", 10, None, signature)),
        ("another key", proof("bob", 10, Some([4; 32]), signature)),
        (
            "a bit of the signature",
            proof("alice", 10, Some([4; 32]), bent),
        ),
        (
            "another channel's voucher",
            voucher(
                &VoucherBody {
                    channel: HoldId::from_bytes([1; 32]),
                    ..body
                },
                "alice",
            ),
        ),
        (
            "another ledger's voucher",
            voucher(
                &VoucherBody {
                    ledger: crate::id::LedgerId::from_bytes([9; 16]),
                    ..body
                },
                "alice",
            ),
        ),
    ];
    for (what, proof) in forged {
        let error = capture_with(&world, channel, proof).unwrap_err();
        let proof = matches!(error, VerifyError::Proof(ProofError::Voucher(_)));
        assert!(proof, "{what}: {error}");
    }
    let word = CaptureProof::Word {
        root: [1; 32],
        index: 3,
        word: [2; 32],
    };
    assert_eq!(
        capture_with(&world, channel, word),
        Err(VerifyError::Proof(ProofError::Word))
    );
}

#[test]
fn a_channel_with_an_end_or_outside_of_the_limits_is_no_order() {
    let hold = |until, condition| {
        let action = Action::Hold {
            capturer: account("bob"),
            amount: 10,
            currency: usd(),
            until,
            condition,
            charge: None,
        };
        let ledger = crate::id::LedgerId::from_bytes([7; 16]);
        order(ledger, "alice", 1, Timestamp::from_millis(0), action).encode()
    };
    let vouchers = |grace_ms| Condition::Vouchers {
        key: did("alice"),
        grace_ms,
    };
    let words = |step, words| Condition::Words {
        root: [1; 32],
        step,
        words,
        grace_ms: limits::GRACE_MS_MIN,
    };
    let at = Some(Timestamp::from_millis(5));
    for (bytes, error) in [
        (
            hold(at, vouchers(limits::GRACE_MS_MIN)),
            OrderError::Unexpected(15),
        ),
        (hold(at, words(1, 1)), OrderError::Unexpected(15)),
        (
            hold(None, vouchers(limits::GRACE_MS_MIN - 1)),
            OrderError::Value(25),
        ),
        (
            hold(None, vouchers(limits::GRACE_MS_MAX + 1)),
            OrderError::Value(25),
        ),
        (hold(None, words(0, 1)), OrderError::Value(23)),
        (hold(None, words(1, 0)), OrderError::Value(24)),
        (
            hold(None, words(1, limits::CHAIN_WORDS_MAX + 1)),
            OrderError::Value(24),
        ),
    ] {
        assert_eq!(Order::decode(&bytes), Err(error));
    }
    let capture = |index| {
        let action = Action::Capture {
            channel: HoldId::from_bytes([1; 32]),
            cumulative: 10,
            last: false,
            proof: CaptureProof::Word {
                root: [1; 32],
                index,
                word: [2; 32],
            },
        };
        let ledger = crate::id::LedgerId::from_bytes([7; 16]);
        order(ledger, "bob", 1, Timestamp::from_millis(0), action).encode()
    };
    assert_eq!(Order::decode(&capture(0)), Err(OrderError::Value(24)));
    let far = capture(limits::CHAIN_WORDS_MAX + 1);
    assert_eq!(Order::decode(&far), Err(OrderError::Value(24)));
}

#[test]
fn the_open_channels_of_a_payer_are_paged_and_ended_ones_are_not() {
    let mut world = World::new(false);
    world.run(
        "mint alice 100
         mint carol 100
         open bob
         channel alice bob 5 key=alice as=a
         channel alice bob 5 key=alice as=b
         channel alice bob 5 key=alice as=c
         channel alice bob 5 key=alice as=d
         channel carol bob 5 key=carol as=other
         hold alice bob 5
         void bob @a
         capture bob @b 5 last key=alice voucher=5",
    );
    let page = |after, limit| -> Vec<HoldId> {
        let state = &world.machine.0;
        let page = state.channels(account("alice"), after, limit, world.now);
        page.iter().map(|hold| hold.id).collect()
    };
    let mut open = ["@c", "@d"].map(|name| HoldId::from(world.named(name).hash()));
    open.sort_unstable();
    assert_eq!(page(None, 10), open);
    assert_eq!(page(None, 1), open[..1]);
    assert_eq!(page(Some(open[0]), 10), open[1..]);
    assert_eq!(page(Some(HoldId::from_bytes([0xff; 32])), 10), []);
    world.assert_replays();
}

#[test]
fn an_issuer_sets_nothing_aside() {
    check("open bob\nchannel issuer bob 5 key=issuer -> Insufficient");
}

/// One random step with one channel, of alice to bob.
#[derive(Debug, Clone)]
enum Op {
    Capture(u128, u128, bool),
    TopUp(u128),
    ForceClose,
    Withdraw,
    Void,
    Pay(u128),
    Tick(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..120_u128, 0..120_u128, prop::bool::weighted(0.1))
            .prop_map(|(cumulative, voucher, last)| Op::Capture(cumulative, voucher, last)),
        3 => (0..30_u128).prop_map(Op::TopUp),
        2 => Just(Op::ForceClose),
        2 => Just(Op::Withdraw),
        1 => Just(Op::Void),
        2 => (0..30_u128).prop_map(Op::Pay),
        3 => prop_oneof![0..5000_u64, Just(60_000)].prop_map(Op::Tick),
    ]
}

/// A channel as anybody would write it down: the model the ledger is held against.
#[derive(Debug, PartialEq)]
struct Model {
    alice: u128,
    bob: u128,
    deposit: u128,
    captured: u128,
    withdrawable_at: Option<u64>,
    open: bool,
    now: u64,
}

impl Model {
    fn new() -> Self {
        Self {
            alice: 200,
            bob: 0,
            deposit: 50,
            captured: 0,
            withdrawable_at: None,
            open: true,
            now: super::keys::BEGIN_MS,
        }
    }

    fn held(&self) -> u128 {
        if self.open {
            self.deposit - self.captured
        } else {
            0
        }
    }

    /// Takes a step if it may be taken; whether it was.
    fn step(&mut self, op: &Op) -> bool {
        let free = self.alice - self.held();
        let allowed = match op {
            Op::Capture(cumulative, voucher, last) => {
                let more = cumulative > &self.captured || (*last && *cumulative == self.captured);
                self.open && more && cumulative <= voucher && *cumulative <= self.deposit
            }
            Op::TopUp(units) => self.open && *units > 0 && *units <= free,
            Op::ForceClose | Op::Void => self.open,
            Op::Withdraw => self.open && self.withdrawable_at.is_some_and(|at| self.now >= at),
            Op::Pay(units) => *units > 0 && *units <= free,
            Op::Tick(_) => true,
        };
        if !allowed {
            return false;
        }
        match op {
            Op::Capture(cumulative, _, last) => {
                let units = cumulative - self.captured;
                self.alice -= units;
                self.bob += units;
                self.captured = *cumulative;
                self.open = !last;
            }
            Op::TopUp(units) => {
                self.deposit += units;
                self.withdrawable_at = None;
            }
            Op::ForceClose => {
                let at = self.now + limits::GRACE_MS_MIN;
                self.withdrawable_at.get_or_insert(at);
            }
            Op::Withdraw | Op::Void => self.open = false,
            Op::Pay(units) => {
                self.alice -= units;
                self.bob += units;
            }
            Op::Tick(ms) => self.now += ms,
        }
        true
    }
}

fn line(op: &Op, condition: &str) -> String {
    match op {
        Op::Capture(cumulative, voucher, last) => {
            let last = if *last { "last" } else { "" };
            let proof = match condition {
                "chain" => format!("chain=seed words=120 word={}", (*voucher).max(1)),
                _ => format!("key=alice voucher={voucher}"),
            };
            format!("capture bob @c {cumulative} {last} {proof}")
        }
        Op::TopUp(units) => format!("topup alice @c {units}"),
        Op::ForceClose => "forceclose alice @c".to_owned(),
        Op::Withdraw => "withdraw alice @c".to_owned(),
        Op::Void => "void bob @c".to_owned(),
        Op::Pay(units) => format!("pay alice bob {units}"),
        Op::Tick(ms) => format!("tick {ms}"),
    }
}

fn against_the_model(ops: &[Op], condition: &str) -> Result<(), TestCaseError> {
    let mut world = World::new(false);
    world.run("mint alice 200\nopen bob");
    let proof = match condition {
        "chain" => "chain=seed words=120 step=1",
        _ => "key=alice",
    };
    let opened = world.step_line(&format!("channel alice bob 50 {proof} as=c"));
    prop_assert_eq!(opened, "ok");
    let mut model = Model::new();
    for op in ops {
        // Word 0 is the root, which no capture may show.
        let op = match op {
            Op::Capture(cumulative, 0, last) if condition == "chain" => {
                Op::Capture(*cumulative, 1, *last)
            }
            op => op.clone(),
        };
        let line = line(&op, condition);
        let before = world.machine.0.clone();
        let told = world.step_line(&line);
        prop_assert_eq!(model.step(&op), told == "ok", "{}: {}", line, told);
        if told != "ok" {
            prop_assert_eq!(&world.machine.0, &before, "{} changed something", line);
        }
        let channel = channel(&world, "@c");
        prop_assert_eq!(channel.max.units(), model.deposit, "{}", line);
        prop_assert_eq!(channel.captured.units(), model.captured, "{}", line);
        prop_assert_eq!(channel.state == HoldState::Open, model.open, "{}", line);
        world.step_line(&format!("balance alice {} {}", model.alice, model.held()));
        world.step_line(&format!("balance bob {} 0", model.bob));
    }
    world.assert_replays();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// After every step the books, the deposit, what was captured and whether it is open are what a
    /// naive model says; a step that was refused changed nothing.
    #[test]
    fn a_channel_of_vouchers_does_what_a_naive_model_does(
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        against_the_model(&ops, "vouchers")?;
    }

    /// The same for a hash chain.
    #[test]
    fn a_channel_of_words_does_what_a_naive_model_does(
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        against_the_model(&ops, "chain")?;
    }
}
