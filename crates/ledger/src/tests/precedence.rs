//! The first rule that an order breaks is the one it is told.

use super::language::World;

/// Each line breaks the rule it names and every later one it can.
const TABLE: &str = "
    mint alice 100
    open bob
    open cold
    freeze cold
    addkey alice till roles=2
    pay alice bob 10 nonce=1 as=p
    hold alice bob 10 as=closed until=500
    void bob @closed
    hold alice bob 10 preimage=x as=h
    hold alice bob 10 until=500 as=ended
    burn alice 1 as=burned
    tick 1000
    pay ghost ghost 0 ledger=other ttl=0 cur=eur -> WrongLedger
    pay ghost ghost 0 ttl=0 cur=eur -> Expired
    pay ghost ghost 0 ttl=90000000 cur=eur -> ExpiryTooFar
    pay ghost ghost 0 cur=eur -> UnknownAccount
    pay alice ghost 0 nonce=1 cur=eur by=bob -> KeyNotOfAccount
    pay alice ghost 0 nonce=1 cur=eur by=till -> KeyLacksRole
    freeze alice
    limit alice 5
    pay alice ghost 0 nonce=1 cur=eur -> NonceUsed
    freeze ghost from=alice -> NotOperator
    mint ghost 0 from=alice -> NotIssuer
    pay alice ghost 0 cur=eur -> AccountFrozen
    thaw alice
    pay alice ghost 0 cur=eur -> UnknownCurrency
    pay alice ghost 0 -> ZeroAmount
    pay alice ghost 999 -> OverLimit
    limit alice
    pay alice ghost 999 -> UnknownPayee
    pay alice alice 999 -> SelfPayment
    pay alice cold 999 -> PayeeFrozen
    mint dora huge first=bob -> WrongFirstKey
    refund alice @burned 0 -> ZeroAmount
    refund bob @h 999 -> NotRefundable
    refund bob @burned 999 -> NotRefundable
    refund alice @p 999 -> NotPayee
    refund bob @p 999 -> RefundTooLarge
    post bob @p 0 -> ZeroAmount
    post bob @p 999 -> UnknownHold
    post alice @closed 999 -> NotCapturer
    post bob @closed 999 -> HoldClosed
    post bob @ended 999 -> HoldEnded
    post bob @h 999 -> ConditionNotMet
    post bob @h 999 preimage=x -> PostTooLarge
    channel alice bob 10 key=alice as=c
    capture alice @p 999 key=bob voucher=5 -> UnknownHold
    capture alice @h 999 key=bob voucher=5 -> NotAChannel
    capture alice @c 999 key=bob voucher=5 -> NotCapturer
    capture bob @c 999 key=bob voucher=5 -> ConditionNotMet
    capture bob @c 999 key=alice voucher=5 -> OverVoucher
    capture bob @c 4 key=alice voucher=5
    capture bob @c 4 key=alice voucher=3 -> OverVoucher
    capture bob @c 3 key=alice voucher=999 -> CaptureTooLow
    capture bob @c 11 key=alice voucher=999 -> CaptureTooLarge
    topup bob @p 0 -> ZeroAmount
    topup bob @p 999 -> UnknownHold
    topup bob @h 999 -> NotAChannel
    topup bob @c 999 -> NotPayer
    withdraw bob @c -> NotPayer
    withdraw alice @c -> NotClosing
    forceclose alice @c
    withdraw alice @c -> GraceNotOver
    capture bob @c 10 last key=alice voucher=10
    withdraw alice @c -> HoldClosed
    forceclose alice @c -> HoldClosed
    topup alice @c 999 -> HoldClosed
    hold alice bob 999 until=0 -> HoldEndPassed
    hold alice bob huge -> Insufficient
    pay alice bob huge -> Insufficient
    pay issuer alice huge -> Overflow
    revoke alice ghost -> UnknownKey
    revoke alice alice -> LastAdminKey
    addkey alice alice roles=1 -> LastAdminKey
    open alice from=bob -> NotOperator
    open alice -> AccountExists
";

#[test]
fn the_first_broken_rule_is_told() {
    World::new(false).run(TABLE);
    World::new(true).run("open alice from=op\nopen alice -> NotPermitted");
}

#[test]
fn too_many_holds_and_keys_are_refused() {
    let mut world = World::new(false);
    world.run("mint alice 5000\nopen bob");
    for _ in 0..crate::limits::OPEN_HOLDS_PER_ACCOUNT_MAX {
        world.step_line("hold alice bob 1");
    }
    world.run("hold alice bob 9999 -> TooManyHolds\npay alice bob 1");
    for number in 1..crate::limits::KEYS_PER_ACCOUNT_MAX {
        world.step_line(&format!("addkey alice key{number} roles=1"));
    }
    world.run("addkey alice more roles=1 -> TooManyKeys\naddkey alice key1 roles=2");
}
