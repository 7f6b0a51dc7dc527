//! What a ledger does, told as stories.

use stiver_wal::Machine as _;

use super::{
    keys::{account, order, sign, usd},
    language::World,
};
use crate::{
    limits,
    order::{Action, CHARGE_TEXT_BYTES_MAX, Charge, Condition},
    state::Room,
};

fn check(scenario: &str) {
    World::new(false).run(scenario);
}

#[test]
fn money_is_minted_paid_and_burned() {
    check(
        "mint alice 100
         balance alice 100 0
         balance issuer -100 0
         open bob
         pay alice bob 30
         balance alice 70 0
         balance bob 30 0
         burn bob 10
         balance bob 20 0
         balance issuer -90 0
         pay bob issuer 20
         balance issuer -70 0",
    );
}

#[test]
fn currencies_are_kept_apart() {
    check(
        "mint alice 100 cur=usd
         mint alice 5 cur=kwh
         open bob
         pay alice bob 6 cur=kwh -> Insufficient
         pay alice bob 5 cur=kwh
         balance alice 0 0 cur=kwh
         balance alice 100 0 cur=usd
         balance issuer -5 0 cur=kwh",
    );
}

#[test]
fn executing_an_order_again_moves_nothing_more() {
    check(
        "mint alice 100
         open bob
         pay alice bob 30 as=p
         again @p
         again @p
         balance alice 70 0
         status @p -> executed
         # Long after its expiry it still tells what happened.
         tick 86400000
         again @p
         balance alice 70 0",
    );
}

#[test]
fn a_nonce_executes_one_order_only() {
    check(
        "mint alice 100
         open bob
         pay alice bob 30 nonce=5 as=first
         pay alice bob 31 nonce=5 as=second -> NonceUsed
         status @second -> NonceUsed
         # The nonce is alice's: bob may use the same.
         pay bob alice 1 nonce=5
         # It stays used after the first order has expired, for as long as the memory is.
         tick 60000
         pay alice bob 30 nonce=5 -> NonceUsed
         tick 604799000
         pay alice bob 30 nonce=5 -> NonceUsed",
    );
}

#[test]
fn a_refused_order_leaves_its_nonce_free() {
    check(
        "open alice
         open bob
         pay alice bob 30 nonce=5 as=p -> Insufficient
         status @p -> pending
         mint alice 100
         pay alice bob 29 nonce=5
         again @p -> NonceUsed
         status @p -> NonceUsed",
    );
}

#[test]
fn orders_are_forgotten_when_their_memory_is_over() {
    let mut world = World::new(false);
    world.run(
        "mint alice 100
         open bob
         pay alice bob 30 nonce=5 as=p
         tick 604860000
         pay alice bob 1
         status @p -> forgotten
         again @p -> Expired
         refund bob @p 30 -> UnknownTransfer
         # No order that could still execute can share the nonce with one that is forgotten, unless
         # it was signed a week later.
         pay alice bob 1 nonce=5
         balance alice 68 0",
    );
    let books = world.machine.0.books(world.now).unwrap();
    assert_eq!(books.remembered, 2);
    assert_eq!(books.executed, 5);
}

#[test]
fn orders_live_between_now_and_a_day() {
    check(
        "mint alice 100
         open bob
         pay alice bob 1 ttl=0 -> Expired
         pay alice bob 1 ttl=1
         pay alice bob 1 ttl=86400000
         pay alice bob 1 ttl=86400001 -> ExpiryTooFar
         pay alice bob 1 ttl=10 nonce=9 as=late -> ok
         tick 10
         pay alice bob 1 ttl=0 as=never -> Expired
         status @never -> Expired",
    );
}

#[test]
fn refunds_give_back_at_most_what_was_paid() {
    check(
        "mint alice 100
         open bob
         pay alice bob 30 as=p
         refund bob @p 31 -> RefundTooLarge
         refund bob @p 10 as=r
         refund bob @p 21 -> RefundTooLarge
         balance alice 80 0
         # The operator may too.
         refund op @p 5
         refund alice @p 1 -> NotPayee
         refund bob @p 15
         refund bob @p 1 -> RefundTooLarge
         balance alice 100 0
         balance bob 0 0
         refund alice @r 1 -> NotRefundable",
    );
}

#[test]
fn a_refund_needs_the_payees_money() {
    check(
        "mint alice 100
         open bob
         pay alice bob 30 as=p
         pay bob alice 25
         refund bob @p 30 -> Insufficient
         refund bob @p 5
         balance bob 0 0",
    );
}

#[test]
fn a_hold_sets_money_aside_until_it_is_posted() {
    check(
        "mint alice 100
         open bob
         hold alice bob 60 as=h
         balance alice 100 60
         pay alice bob 41 -> Insufficient
         pay alice bob 40
         post bob @h 20
         balance alice 40 40
         balance bob 60 0
         post bob @h 41 -> PostTooLarge
         post bob @h 10 last as=p
         balance alice 30 0
         post bob @h 1 -> HoldClosed
         void bob @h -> HoldClosed
         # What was posted can be refunded.
         refund bob @p 10
         balance alice 40 0",
    );
}

#[test]
fn a_hold_that_is_posted_in_full_closes_by_itself() {
    check(
        "mint alice 100
         open bob
         hold alice bob 60 as=h
         post bob @h 60
         post bob @h 1 -> HoldClosed
         balance alice 40 0",
    );
}

#[test]
fn only_its_capturer_voids_a_hold() {
    check(
        "mint alice 100
         open bob
         hold alice bob 60 as=h
         void alice @h -> NotCapturer
         void bob @h
         balance alice 100 0
         pay alice bob 100",
    );
}

#[test]
fn a_hold_lapses_at_its_end_and_a_session_hold_never() {
    check(
        "mint alice 100
         open bob
         hold alice bob 60 until=1000 as=h
         hold alice bob 40 as=session
         tick 999
         pay alice bob 1 -> Insufficient
         tick 1
         post bob @h 1 -> HoldEnded
         # The money is free before any event says so.
         pay alice bob 60
         balance alice 40 40
         void bob @h -> HoldEnded
         # Two weeks later the session's hold is still there.
         tick 1209600000
         post bob @session 40
         balance alice 0 0
         hold alice bob 1 until=0 -> HoldEndPassed",
    );
}

#[test]
fn a_hold_on_a_preimage_is_taken_with_the_preimage() {
    check(
        "mint alice 100
         open bob
         hold alice bob 60 preimage=word as=h
         post bob @h 60 -> ConditionNotMet
         post bob @h 60 preimage=other -> ConditionNotMet
         post bob @h 60 agreement=word -> ConditionNotMet
         post bob @h 60 preimage=word
         balance bob 60 0
         hold alice bob 40 agreement=deal as=a
         post bob @a 40 -> ConditionNotMet
         post bob @a 40 agreement=deal",
    );
}

#[test]
fn a_hold_outlives_its_orders_memory_while_it_is_open() {
    check(
        "mint alice 100
         open bob
         hold alice bob 60 nonce=5 as=h
         tick 700000000
         pay alice bob 1
         status @h -> executed
         post bob @h 60
         tick 1400000000
         pay alice bob 1
         post bob @h 1 -> UnknownHold",
    );
}

#[test]
fn keys_rotate_without_moving_money() {
    check(
        "mint alice 100
         open bob
         addkey alice new roles=7
         revoke alice alice by=new
         pay alice bob 1 -> KeyNotOfAccount
         pay alice bob 1 by=new
         balance alice 99 0
         revoke alice new by=new -> LastAdminKey
         addkey alice new by=new roles=3 -> LastAdminKey
         revoke alice bob by=new -> UnknownKey",
    );
}

#[test]
fn a_key_does_what_its_roles_say() {
    check(
        "mint alice 100
         open bob
         addkey alice spender roles=1
         addkey bob till roles=2
         pay alice bob 50 by=spender as=p
         refund bob @p 1 by=till
         pay bob alice 1 by=till -> KeyLacksRole
         addkey alice thief by=spender roles=7 -> KeyLacksRole
         refund bob @p 1 by=spender -> KeyNotOfAccount",
    );
}

#[test]
fn a_stolen_key_that_was_revoked_learns_nothing_by_sending_an_order_again() {
    check(
        "mint alice 100
         open bob
         pay alice bob 1 as=p
         again @p
         again @p by=mallory -> KeyNotOfAccount
         addkey alice new roles=7
         again @p by=new
         revoke alice alice by=new
         # Whoever executed it may always ask again: a gateway that restarts does.
         again @p",
    );
}

#[test]
fn frozen_accounts_neither_pay_nor_are_paid_but_rotate_keys() {
    check(
        "mint alice 100
         open bob
         pay alice bob 10 as=p
         hold alice bob 10 as=h
         freeze alice
         pay alice bob 1 -> AccountFrozen
         pay bob alice 1 -> PayeeFrozen
         burn alice 1 -> AccountFrozen
         hold alice bob 1 -> AccountFrozen
         addkey alice new roles=7
         # What was set aside before the freeze, and refunds, still go through.
         post bob @h 5
         refund bob @p 10
         thaw alice
         pay alice bob 1
         freeze bob from=alice -> NotOperator
         freeze nobody -> UnknownPayee",
    );
}

#[test]
fn limits_bound_each_single_amount() {
    check(
        "mint alice 100
         open bob
         limit alice 10
         pay alice bob 11 -> OverLimit
         hold alice bob 11 -> OverLimit
         pay alice bob 10
         limit alice
         pay alice bob 11",
    );
}

#[test]
fn only_the_issuer_mints() {
    check(
        "open alice
         mint alice 5 from=alice -> NotIssuer
         mint alice 5 from=op -> NotIssuer
         mint alice 5
         mint bob 5 first=none -> UnknownPayee
         mint bob 5 first=carol -> WrongFirstKey
         mint alice 5 cur=eur -> UnknownCurrency
         mint issuer 5 -> SelfPayment
         burn issuer 5 -> SelfPayment
         pay issuer alice 5
         balance issuer -10 0",
    );
}

#[test]
fn nothing_overflows() {
    check(
        "mint alice huge -> Overflow
         mint alice most
         balance alice 170141183460469231731687303715884105727 0
         mint bob 1
         pay bob alice 1 -> Overflow
         open carol
         pay alice carol most
         mint alice most -> Overflow",
    );
}

#[test]
fn a_permissioned_ledger_opens_accounts_by_operator_or_issuer_only() {
    World::new(true).run(
        "open alice -> NotPermitted
         open alice from=op
         open alice from=op -> AccountExists
         mint bob 10
         open carol from=alice -> NotOperator
         pay bob alice 5",
    );
}

#[test]
fn an_open_ledger_opens_the_account_of_whoever_asks_once() {
    check(
        "open alice
         open alice -> AccountExists
         open bob from=alice -> NotOperator
         open bob from=nobody -> UnknownAccount
         open carol from=op",
    );
}

#[test]
fn a_mint_names_the_first_key_of_whom_it_pays_or_opens_nothing() {
    let mut world = World::new(false);
    world.run(
        "
        mint alice 100
        mint alice 5 first=eve -> WrongFirstKey
        balance alice 100 0
        pay eve alice 1 -> UnknownAccount
        open eve
        mint alice 5
        balance alice 105 0
        ",
    );
}

/// Little room: for 4 orders, 5 when they settle, 6 when they are the operator's.
const ROOM: Room = Room {
    any: 4,
    settling: 5,
    operator: 6,
};

#[test]
fn what_is_ordered_when_too_many_orders_are_remembered_is_refused_refunds_later_than_payments() {
    let mut world = World::new(false);
    world.run("mint alice 100\nopen bob\npay alice bob 10 as=p");
    assert_eq!(world.ruled_within("pay alice bob 1", ROOM), "ok");
    world.run("hold alice bob 5 as=h");
    for step in ["pay alice bob 1", "mint alice 1", "open eve"] {
        assert_eq!(world.ruled_within(step, ROOM), "TooManyOrders", "{step}");
    }
    // What was executed is told again, and every other rule is told first.
    assert_eq!(world.ruled_within("again @p", ROOM), "ok");
    assert_eq!(
        world.ruled_within("pay alice bob 999", ROOM),
        "Insufficient"
    );
    for step in [
        "refund bob @p 1",
        "post bob @h 1",
        "void bob @h",
        "freeze bob",
    ] {
        assert_eq!(world.ruled_within(step, ROOM), "ok", "{step}");
    }
    world.run("refund bob @p 1");
    assert_eq!(world.ruled_within("refund bob @p 1", ROOM), "TooManyOrders");
    assert_eq!(world.ruled_within("freeze bob", ROOM), "ok");
    world.run("freeze bob\nthaw bob");
    assert_eq!(world.ruled_within("freeze bob", ROOM), "TooManyOrders");
}

#[test]
fn there_is_room_again_once_the_oldest_orders_can_be_forgotten() {
    let mut world = World::new(false);
    world.run("mint alice 100\nopen bob\nhold alice bob 5 as=h\ntick 1000\npay alice bob 1");
    let keep = limits::MEMORY_MS_DEFAULT + 60_000;
    world.run(&format!("tick {}", keep - 1_001));
    assert_eq!(world.ruled_within("pay alice bob 1", ROOM), "TooManyOrders");
    // The mint and the opening are forgotten, the open hold is not.
    world.run("tick 1");
    assert_eq!(world.ruled_within("pay alice bob 1", ROOM), "ok");
    let three = Room { any: 3, ..ROOM };
    assert_eq!(world.ruled_within("pay alice bob 1", three), "ok");
    let two = Room { any: 2, ..ROOM };
    assert_eq!(world.ruled_within("pay alice bob 1", two), "TooManyOrders");
    world.run("pay alice bob 1\nvoid bob @h\nbalance alice 98 0");
}

#[test]
fn all_remembered_orders_fit_into_half_of_a_snapshot() {
    let mut world = World::new(false);
    world.run("mint alice most\nopen bob");
    let charge = Some(Charge {
        challenge: "c".repeat(CHARGE_TEXT_BYTES_MAX),
        realm: "r".to_owned(),
    });
    let half = u128::MAX >> 2;
    let (currency, bob) = (usd(), account("bob"));
    let pay = Action::Transfer {
        payee: bob,
        amount: half,
        currency: currency.clone(),
        charge: charge.clone(),
    };
    let hold = Action::Hold {
        capturer: bob,
        amount: half / 2,
        currency: currency.clone(),
        until: Some(world.now.plus_millis(limits::MEMORY_MS_DEFAULT)),
        condition: Condition::Preimage([0xff; 32]),
        charge: charge.clone(),
    };
    let channel = Action::Hold {
        capturer: bob,
        amount: half / 2,
        currency,
        until: None,
        condition: Condition::Words {
            root: [0xff; 32],
            step: u128::MAX,
            words: limits::CHAIN_WORDS_MAX,
            grace_ms: limits::GRACE_MS_MAX,
        },
        charge,
    };
    let actions = [
        (u64::MAX, pay),
        (u64::MAX - 1, hold),
        (u64::MAX - 2, channel),
    ];
    for (number, action) in actions {
        let before = world.machine.snapshot().len();
        let order = order(world.ledger, "alice", number, world.now, action);
        world.execute(sign(&order, "alice")).unwrap();
        let bytes = world.machine.snapshot().len() - before;
        assert!(bytes <= limits::REMEMBERED_ORDER_BYTES_MAX, "{bytes}");
    }
    let all = limits::REMEMBERED_ORDERS_MAX * limits::REMEMBERED_ORDER_BYTES_MAX;
    assert!(u64::try_from(all).unwrap() <= stiver_wal::SNAPSHOT_BYTES_MAX / 2);
}
