//! The chaos of the gate's own tests, for longer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::panic, reason = "a test that cannot go on may panic")]
#![expect(dead_code, reason = "the machine is shared with the other tests")]

#[path = "gate/chaos.rs"]
mod chaos;
#[path = "gate/common.rs"]
mod common;

#[test]
fn ten_thousand_seeds_move_money_once_and_leave_nothing_in_between() {
    chaos::run_all(10_000..20_000);
}
