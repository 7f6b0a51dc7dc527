//! The chaos of the gate's own tests, for longer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::panic, reason = "a test that cannot go on may panic")]
#![expect(dead_code, reason = "the machine is shared with the other tests")]

use stiver_server::route::Settle;

#[path = "gate/chaos.rs"]
mod chaos;
#[path = "gate/common.rs"]
mod common;

#[test]
fn ten_thousand_seeds_move_money_once_and_leave_nothing_in_between() {
    chaos::run_all(Settle::Before, 10_000..20_000);
}

#[test]
fn ten_thousand_seeds_of_handlers_that_run_first_move_money_once_or_never() {
    chaos::run_all(Settle::After, 10_000..20_000);
}
