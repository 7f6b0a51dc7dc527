//! The machine against a naive reference, by random operations; and what single rules say.

use super::*;
use crate::{AuthorisedBy, InitialVoucher, StaleVoucher};
use alloc::vec::Vec;
use proptest::prelude::*;

mod model;
mod sequences;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_700_000_900_000);
const LEDGER: Rules = Rules {
    caps: Caps::LEDGER,
    voucher_delta_min: 0,
};

/// A channel that some operations have been done to, all of which pass.
fn after(rules: &Rules, ops: &[Op]) -> Channel {
    let mut channel = Channel::opening(NOW);
    for op in ops {
        let event = channel.decide(rules, op, NOW);
        let event = event.unwrap_or_else(|refusal| panic!("{op:?}: {refusal}"));
        channel.apply(&event.expect("a change")).unwrap();
    }
    channel
}

fn open(deposit: u128) -> Op {
    Op::ConfirmOpen {
        deposit,
        settled: 0,
        voucher: None,
    }
}

fn accept(cumulative: u128) -> Op {
    Op::Accept { cumulative }
}

fn spend(amount: u128) -> Op {
    Op::Spend {
        amount,
        from_reserved: 0,
        authority: Authority::Established,
    }
}

fn spend_by(amount: u128, cumulative: u128) -> Op {
    Op::Spend {
        amount,
        from_reserved: 0,
        authority: Authority::Voucher { cumulative },
    }
}

fn spend_reserved(amount: u128, from_reserved: u128) -> Op {
    Op::Spend {
        amount,
        from_reserved,
        authority: Authority::Established,
    }
}

fn reserve(amount: u128) -> Op {
    Op::Reserve {
        amount,
        authority: Authority::Established,
    }
}

fn publish(cumulative: u128) -> Op {
    Op::Publish { cumulative }
}

const CLOSE: Op = Op::BeginClose { voucher: None };
const SUSPEND: Op = Op::Suspend {
    withdrawable_at: LATER,
};

/// What is said to an operation; a refusal is checked to have changed nothing by its type.
fn refusal(rules: &Rules, ops: &[Op], op: Op) -> Refusal {
    after(rules, ops)
        .decide(rules, &op, NOW)
        .expect_err("a refusal")
}

fn unchanged(rules: &Rules, ops: &[Op], op: Op) {
    assert_eq!(after(rules, ops).decide(rules, &op, NOW), Ok(None));
}

fn rules(caps: Caps) -> Rules {
    Rules {
        caps,
        voucher_delta_min: 0,
    }
}

#[test]
fn figures_follow_a_channel_from_its_opening_to_its_close() {
    let channel = after(
        &LEDGER,
        &[
            open(1000),
            accept(100),
            reserve(60),
            spend_reserved(40, 60),
            spend_by(10, 100),
            Op::Settle { settled: 30 },
            Op::TopUp { deposit: 1500 },
            CLOSE,
            Op::FixCapture { voucher: 100 },
            Op::Close { captured: 50 },
        ],
    );
    assert_eq!(channel.phase(), Phase::Closed);
    let expected = Figures {
        deposit: 1500,
        accepted: 100,
        spent: 50,
        reserved: 0,
        settled: 50,
        published: 0,
    };
    assert_eq!(channel.figures(), expected);
}

#[test]
fn what_each_side_could_lose_is_told() {
    let ops = [open(100), accept(50), spend(30), Op::Settle { settled: 20 }];
    let figures = after(&LEDGER, &ops).figures();
    assert_eq!((figures.unserved(), figures.unsettled()), (20, 10));
}

#[test]
fn an_equal_voucher_changes_nothing_and_a_lower_one_is_refused_or_answered() {
    let ops = [open(100), accept(50)];
    unchanged(&LEDGER, &ops, accept(50));
    let lower = Refusal::Lower {
        cumulative: 49,
        accepted: 50,
    };
    assert_eq!(refusal(&LEDGER, &ops, accept(49)), lower);
    let evm = Rules {
        caps: Caps {
            initial_voucher: InitialVoucher::Optional,
            ..Caps::EVM
        },
        voucher_delta_min: 0,
    };
    unchanged(&evm, &ops, accept(49));
    // It buys nothing there either.
    let superseded = Refusal::Superseded {
        cumulative: 49,
        accepted: 50,
    };
    assert_eq!(refusal(&evm, &ops, spend_by(1, 49)), superseded);
}

#[test]
fn over_deposit_over_width_and_too_small_a_step_are_refused() {
    let ops = [open(100), accept(50)];
    let exceeds = Refusal::ExceedsDeposit {
        cumulative: 101,
        deposit: 100,
    };
    assert_eq!(refusal(&LEDGER, &ops, accept(101)), exceeds);
    let narrow = Rules {
        caps: Caps {
            bits: 96,
            ..Caps::LEDGER
        },
        voucher_delta_min: 10,
    };
    let wide = refusal(&narrow, &ops, accept(1 << 96));
    assert_eq!(wide, Refusal::OverWidth { bits: 96 });
    let most = (1 << 96) - 1;
    let exceeds = refusal(&narrow, &ops, accept(most));
    assert!(matches!(exceeds, Refusal::ExceedsDeposit { .. }));
    let small = Refusal::DeltaTooSmall {
        delta: 9,
        delta_min: 10,
    };
    assert_eq!(refusal(&narrow, &ops, accept(59)), small);
    after(&narrow, &[open(100), accept(50), accept(60)]);
}

#[test]
fn spending_beyond_what_is_accepted_says_what_is_missing() {
    let ops = [open(100), accept(50), spend(20), reserve(10)];
    let refused = refusal(&LEDGER, &ops, spend(21));
    let insufficient = Refusal::Insufficient {
        required: 51,
        accepted: 50,
        deposit: 100,
    };
    assert_eq!(refused, insufficient);
    assert_eq!(refused.required_top_up(), Some(1));
    // Nothing overflows, whatever is asked.
    let refused = refusal(&LEDGER, &ops, spend(u128::MAX));
    assert_eq!(refused.required_top_up(), Some(u128::MAX - 50));
    let refused = refusal(&LEDGER, &ops, reserve(u128::MAX));
    assert!(matches!(refused, Refusal::Insufficient { .. }));
    let refused = refusal(&LEDGER, &ops, spend_reserved(u128::MAX, u128::MAX));
    assert!(matches!(refused, Refusal::NotReserved { .. }));
}

#[test]
fn a_published_voucher_buys_nothing_and_a_higher_one_does() {
    let tempo = rules(Caps {
        initial_voucher: InitialVoucher::Optional,
        ..Caps::TEMPO_V2
    });
    let ops = [open(100), accept(50), spend_by(10, 50), publish(50)];
    let published = Refusal::Published {
        cumulative: 50,
        published: 50,
    };
    assert_eq!(refusal(&tempo, &ops, spend_by(10, 50)), published);
    unchanged(&tempo, &ops, accept(50));
    // A response that runs goes on.
    after(&tempo, &[&ops[..], &[spend(10)]].concat());
    after(
        &tempo,
        &[&ops[..], &[accept(51), spend_by(41, 51)]].concat(),
    );
    // Where settlements are public, a settlement publishes.
    let ops = [open(100), accept(50), Op::Settle { settled: 50 }];
    assert_eq!(after(&tempo, &ops).figures().published, 50);
    assert_eq!(after(&LEDGER, &ops).figures().published, 0);
}

#[test]
fn nothing_new_happens_to_a_channel_that_is_closing_suspended_or_over() {
    let new = [accept(60), reserve(1), spend(1), Op::Pause { required: 70 }];
    let base = [open(100), accept(50), spend(20)];
    let with = |ops: &[Op]| [&base[..], ops].concat();
    for op in new {
        assert_eq!(refusal(&LEDGER, &with(&[CLOSE]), op), Refusal::Closing);
        let suspended = refusal(&LEDGER, &with(&[SUSPEND]), op);
        let withdrawable_at = LATER;
        assert_eq!(suspended, Refusal::Suspended { withdrawable_at });
        let closed = refusal(&LEDGER, &with(&[Op::Close { captured: 20 }]), op);
        let phase = PhaseName::Closed;
        assert_eq!(closed, Refusal::Finished { phase });
        let withdrawn = refusal(&LEDGER, &with(&[SUSPEND, Op::Withdraw]), op);
        let phase = PhaseName::Withdrawn;
        assert_eq!(withdrawn, Refusal::Finished { phase });
        assert_eq!(refusal(&LEDGER, &[], op), Refusal::NotOpen);
        let rejected = refusal(&LEDGER, &[Op::RejectOpen], op);
        let phase = PhaseName::Rejected;
        assert_eq!(rejected, Refusal::Finished { phase });
    }
}

#[test]
fn what_is_reserved_can_be_spent_while_the_channel_is_fenced_and_no_more() {
    for fence in [CLOSE, SUSPEND] {
        let ops = [open(100), accept(50), reserve(30), fence];
        let spent = after(&LEDGER, &[&ops[..], &[spend_reserved(20, 30)]].concat());
        assert_eq!(spent.figures().spent, 20);
        assert_eq!(spent.figures().reserved, 0);
        let beyond = refusal(&LEDGER, &ops, spend_reserved(31, 30));
        assert!(matches!(
            beyond,
            Refusal::Closing | Refusal::Suspended { .. }
        ));
        after(&LEDGER, &[&ops[..], &[Op::Release { amount: 30 }]].concat());
    }
}

#[test]
fn the_capture_is_fixed_after_the_streams_and_is_what_was_spent() {
    let ops = [open(100), accept(50), spend(20), reserve(10), CLOSE];
    let fix = Op::FixCapture { voucher: 50 };
    let reserved = refusal(&LEDGER, &ops, fix);
    assert_eq!(reserved, Refusal::StillReserved { reserved: 10 });
    let ended = [&ops[..], &[spend_reserved(5, 10)]].concat();
    let too_low = refusal(&LEDGER, &ended, Op::FixCapture { voucher: 24 });
    let expected = Refusal::CloseTooLow {
        voucher: 24,
        owed: 25,
    };
    assert_eq!(too_low, expected);
    let fixed = [&ended[..], &[fix]].concat();
    let capture = Some(25);
    assert_eq!(after(&LEDGER, &fixed).phase(), Phase::Closing { capture });
    unchanged(&LEDGER, &fixed, fix);
    for asked in [24, 26] {
        let other = refusal(&LEDGER, &fixed, Op::Close { captured: asked });
        assert_eq!(other, Refusal::CaptureFixed { fixed: 25, asked });
    }
    let above = refusal(&LEDGER, &fixed, Op::Settle { settled: 26 });
    assert_eq!(
        above,
        Refusal::CaptureFixed {
            fixed: 25,
            asked: 26
        }
    );
    let phase = PhaseName::Active;
    let early = refusal(&LEDGER, &ops[..3], fix);
    assert_eq!(early, Refusal::NotClosing { phase });
}

#[test]
fn without_partial_capture_no_voucher_above_what_was_spent_is_presented() {
    let tempo = rules(Caps::TEMPO_V1);
    let open = Op::ConfirmOpen {
        deposit: 100,
        settled: 0,
        voucher: Some(0),
    };
    let ops = [open, accept(50), spend(20)];
    let low = Op::BeginClose { voucher: Some(19) };
    let expected = Refusal::CloseTooLow {
        voucher: 19,
        owed: 20,
    };
    assert_eq!(refusal(&tempo, &ops, low), expected);
    let closing = [&ops[..], &[Op::BeginClose { voucher: Some(20) }]].concat();
    let expected = Refusal::CaptureAboveSpent {
        voucher: 50,
        owed: 20,
    };
    let above = refusal(&tempo, &closing, Op::FixCapture { voucher: 50 });
    assert_eq!(above, expected);
    for (voucher, capture) in [(20, 20), (15, 15), (0, 0)] {
        let fixed = [&closing[..], &[Op::FixCapture { voucher }]].concat();
        let capture = Some(capture);
        assert_eq!(after(&tempo, &fixed).phase(), Phase::Closing { capture });
    }
}

#[test]
fn a_close_may_bring_a_higher_voucher_within_the_deposit() {
    let ops = [open(100), accept(50)];
    let close = |voucher| Op::BeginClose {
        voucher: Some(voucher),
    };
    let channel = after(&LEDGER, &[&ops[..], &[close(60)]].concat());
    assert_eq!(channel.figures().accepted, 60);
    let refused = refusal(&LEDGER, &ops, close(101));
    assert!(matches!(refused, Refusal::ExceedsDeposit { .. }));
    // Asked for again, the close goes on; it cannot raise anything.
    let closing = [&ops[..], &[close(60)]].concat();
    unchanged(&LEDGER, &closing, close(60));
    unchanged(&LEDGER, &closing, CLOSE);
    assert_eq!(refusal(&LEDGER, &closing, close(61)), Refusal::Closing);
}

#[test]
fn a_top_up_cancels_a_forced_close_where_the_method_says_so() {
    let ops = [open(100), accept(50), SUSPEND];
    let top_up = Op::TopUp { deposit: 200 };
    let channel = after(&LEDGER, &[&ops[..], &[top_up, accept(150)]].concat());
    assert_eq!(channel.phase(), Phase::Active);
    let solana = rules(Caps::SOLANA);
    let withdrawable_at = LATER;
    let suspended = refusal(&solana, &ops, top_up);
    assert_eq!(suspended, Refusal::Suspended { withdrawable_at });
    // A report that is old news cancels nothing.
    unchanged(&LEDGER, &ops, Op::TopUp { deposit: 100 });
    let lowered = refusal(&LEDGER, &ops, Op::TopUp { deposit: 99 });
    let deposit = 100;
    let reported = 99;
    assert_eq!(lowered, Refusal::DepositLowered { deposit, reported });
    let resumed = after(&LEDGER, &[&ops[..], &[Op::CancelSuspension]].concat());
    assert_eq!(resumed.phase(), Phase::Active);
}

#[test]
fn a_pause_ends_with_the_voucher_that_was_waited_for() {
    let pause = |required| Op::Pause { required };
    let ops = [open(100), accept(50), pause(80)];
    let channel = after(&LEDGER, &[&ops[..], &[accept(79)]].concat());
    assert_eq!(channel.phase(), Phase::Paused { required: 80 });
    let channel = after(&LEDGER, &[&ops[..], &[accept(80)]].concat());
    assert_eq!(channel.phase(), Phase::Active);
    // Somebody who waits for less is seen first; what is there is not waited for.
    unchanged(&LEDGER, &ops, pause(90));
    let channel = after(&LEDGER, &[&ops[..], &[pause(70)]].concat());
    assert_eq!(channel.phase(), Phase::Paused { required: 70 });
    unchanged(&LEDGER, &ops[..2], pause(50));
    let channel = after(&LEDGER, &[&ops[..], &[Op::Resume]].concat());
    assert_eq!(channel.phase(), Phase::Active);
    unchanged(&LEDGER, &ops[..2], Op::Resume);
}

#[test]
fn a_first_voucher_is_required_or_refused_as_the_method_says() {
    let with = |voucher, settled| Op::ConfirmOpen {
        deposit: 100,
        settled,
        voucher,
    };
    let tempo = rules(Caps::TEMPO_V1);
    let solana = rules(Caps::SOLANA);
    let missing = refusal(&tempo, &[], with(None, 0));
    assert_eq!(missing, Refusal::InitialVoucherMissing);
    let refused = refusal(&solana, &[], with(Some(1), 0));
    assert_eq!(refused, Refusal::InitialVoucherRefused);
    let exceeds = refusal(&tempo, &[], with(Some(101), 0));
    assert!(matches!(exceeds, Refusal::ExceedsDeposit { .. }));
    let below = refusal(&tempo, &[], with(Some(9), 10));
    let expected = Refusal::BelowSettled {
        cumulative: 9,
        settled: 10,
    };
    assert_eq!(below, expected);
    // A channel that was lost here: what was settled is spent, and copied by whoever looked.
    let found = after(&tempo, &[with(Some(30), 10)]).figures();
    assert_eq!((found.spent, found.settled, found.published), (10, 10, 10));
    assert_eq!(found.available(), 20);
}

#[test]
fn a_deposit_that_authorises_takes_no_vouchers_and_no_forced_close() {
    let lightning = rules(Caps::LIGHTNING);
    let ops = [open(100), spend(30), Op::TopUp { deposit: 150 }];
    assert_eq!(after(&lightning, &ops).figures().available(), 120);
    for op in [accept(120), Op::BeginClose { voucher: Some(120) }] {
        assert_eq!(refusal(&lightning, &ops, op), Refusal::VouchersUnused);
    }
    for op in [SUSPEND, Op::Withdraw] {
        assert_eq!(refusal(&lightning, &ops, op), Refusal::NoForcedClose);
    }
    let fix = Op::FixCapture { voucher: 0 };
    let closed = after(&lightning, &[&ops[..], &[CLOSE, fix]].concat());
    let capture = Some(30);
    assert_eq!(closed.phase(), Phase::Closing { capture });
}

#[test]
fn reports_of_the_rail_that_contradict_the_channel_are_refused() {
    let ops = [open(100), accept(50), Op::Settle { settled: 40 }];
    for reported in [39, 51] {
        for op in [
            Op::Settle { settled: reported },
            Op::Close { captured: reported },
        ] {
            let expected = match reported {
                39 => Refusal::SettledLowered {
                    settled: 40,
                    reported,
                },
                _ => Refusal::SettledAboveAccepted {
                    reported,
                    accepted: 50,
                },
            };
            assert_eq!(refusal(&LEDGER, &ops, op), expected);
        }
    }
    let unknown = refusal(&LEDGER, &ops, publish(51));
    let expected = Refusal::NotAccepted {
        cumulative: 51,
        accepted: 50,
    };
    assert_eq!(unknown, expected);
    assert_eq!(refusal(&LEDGER, &ops, open(101)), Refusal::AlreadyOpen);
    assert_eq!(refusal(&LEDGER, &ops, Op::RejectOpen), Refusal::AlreadyOpen);
}

#[test]
fn reports_that_were_heard_before_change_nothing() {
    let ops = [open(100), accept(50), Op::Settle { settled: 40 }];
    unchanged(&LEDGER, &ops, open(100));
    unchanged(&LEDGER, &ops, Op::Settle { settled: 40 });
    unchanged(&LEDGER, &ops, Op::TopUp { deposit: 100 });
    unchanged(&LEDGER, &[Op::RejectOpen], Op::RejectOpen);
    let suspended = [&ops[..], &[SUSPEND]].concat();
    unchanged(&LEDGER, &suspended, SUSPEND);
    let closed = [&ops[..], &[Op::Close { captured: 45 }]].concat();
    unchanged(&LEDGER, &closed, Op::Close { captured: 45 });
    let withdrawn = [&suspended[..], &[Op::Withdraw]].concat();
    unchanged(&LEDGER, &withdrawn, Op::Withdraw);
}

#[test]
fn only_what_the_payer_does_counts_against_idleness_and_time_never_runs_back() {
    let mut channel = after(&LEDGER, &[open(100), accept(50)]);
    let earlier = Timestamp::from_millis(5);
    let event = channel.decide(&LEDGER, &spend(1), earlier).unwrap();
    assert_eq!(event.unwrap().at, NOW);
    for (op, moved) in [(publish(50), false), (accept(60), true)] {
        let event = channel.decide(&LEDGER, &op, LATER).unwrap().unwrap();
        channel.apply(&event).unwrap();
        assert_eq!(channel.active_at() == LATER, moved, "{op:?}");
    }
}

#[test]
fn damaged_records_and_events_are_refused_and_change_nothing() {
    let good = Figures {
        deposit: 100,
        accepted: 50,
        spent: 30,
        reserved: 20,
        settled: 10,
        published: 50,
    };
    let broken = |phase, figures| Channel::restore(phase, figures, NOW).unwrap_err();
    assert!(Channel::restore(Phase::Active, good, NOW).is_ok());
    let with = |change: fn(&mut Figures)| {
        let mut figures = good;
        change(&mut figures);
        figures
    };
    for (figures, expected) in [
        (with(|f| f.spent = 31), Broken::UsedAboveAccepted),
        (with(|f| f.reserved = u128::MAX), Broken::UsedAboveAccepted),
        (with(|f| f.deposit = 49), Broken::AcceptedAboveDeposit),
        (with(|f| f.settled = 51), Broken::SettledAboveAccepted),
        (with(|f| f.published = 51), Broken::PublishedAboveAccepted),
    ] {
        assert_eq!(broken(Phase::Active, figures), expected);
    }
    assert_eq!(broken(Phase::Closed, good), Broken::ReservedAtEnd);
    assert_eq!(broken(Phase::Opening, good), Broken::MoneyBeforeOpen);
    let required = 50;
    let paused = broken(Phase::Paused { required }, good);
    assert_eq!(paused, Broken::PausedForNothing);
    let free = with(|f| f.reserved = 0);
    for capture in [9, 31] {
        let capture = Some(capture);
        let fixed = broken(Phase::Closing { capture }, free);
        assert_eq!(fixed, Broken::Capture);
    }

    let mut channel = Channel::restore(Phase::Active, good, NOW).unwrap();
    let before = channel.clone();
    for (change, expected) in [
        (Change::Accepted { accepted: 49 }, Broken::UsedAboveAccepted),
        (Change::Released { amount: 21 }, Broken::Lowered),
        (Change::Reserved { amount: 1 }, Broken::UsedAboveAccepted),
        (Change::Published { published: 49 }, Broken::Lowered),
        (
            Change::SuspensionCancelled,
            Broken::OutOfPhase {
                phase: PhaseName::Active,
            },
        ),
    ] {
        let event = Event { at: NOW, change };
        assert_eq!(channel.apply(&event), Err(expected), "{change:?}");
        assert_eq!(channel, before);
    }
}

#[test]
fn widths_are_those_of_the_rails() {
    assert!(Caps::TEMPO_V2.fits((1 << 96) - 1));
    assert!(!Caps::TEMPO_V2.fits(1 << 96));
    assert!(Caps::TEMPO_V1.fits(u128::MAX));
    assert!(!Caps::SOLANA.fits(1 << 64));
}
