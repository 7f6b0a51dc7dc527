//! The ledger over its log: restarts, crashes, history.

use std::{path::Path, time::Duration};

use stiver_core::Timestamp;
use stiver_testkit::{entropy::Random, simulation::Simulation};

use super::{
    keys::{account, did, order, sign, usd},
    language::voucher,
};
use crate::{
    CheckReport, ExecuteFailure, Ledger, LedgerConfig, LedgerError,
    id::HoldId,
    order::{Action, Condition, VerifiedOrder},
    refusal::Refusal,
    view::{OrderStatus, Outcome, StatementRequest, TransferKind},
    voucher::VoucherBody,
};

const FOLDER: &str = "/data/ledger";

/// Small segments: a snapshot every dozen orders.
fn config() -> LedgerConfig {
    let mut config = LedgerConfig::new(FOLDER, did("issuer"), did("receipts"));
    config.segment_bytes = 4096;
    config
}

async fn open(simulation: &Simulation) -> Ledger {
    Ledger::open(config(), &simulation.env()).await.unwrap()
}

fn transfer(amount: u128, to: &str) -> Action {
    Action::Transfer {
        payee: account(to),
        amount,
        currency: usd(),
        charge: None,
    }
}

fn mint(amount: u128, to: &str) -> Action {
    Action::Mint {
        to: account(to),
        amount,
        currency: usd(),
        first_key: Some(did(to)),
        owner: None,
    }
}

async fn signed(ledger: &Ledger, by: &str, number: u64, action: Action) -> VerifiedOrder {
    let now = ledger.time().await.unwrap();
    sign(&order(ledger.id(), by, number, now, action), by)
}

async fn posted(ledger: &Ledger, name: &str) -> i128 {
    let account = ledger.account(account(name)).await.unwrap();
    account
        .and_then(|account| account.balance("usd").map(|balance| balance.posted))
        .unwrap_or(0)
}

/// Everything, of everybody.
fn everything(name: &str) -> StatementRequest {
    StatementRequest {
        account: account(name),
        from: Timestamp::from_millis(0),
        to: Timestamp::MAX,
        before: None,
        limit: 1000,
    }
}

#[test]
fn a_ledger_is_the_same_after_a_restart() {
    let simulation = Simulation::new(1);
    simulation.block_on(async {
        let ledger = open(&simulation).await;
        let id = ledger.id();
        for (number, to) in [(1, "alice"), (2, "bob")] {
            let order = signed(&ledger, "issuer", number, mint(100, to)).await;
            ledger.execute(order).await.unwrap();
        }
        let pay = signed(&ledger, "alice", 1, transfer(30, "bob")).await;
        let outcome = ledger.execute(pay.clone()).await.unwrap();
        ledger.close().await.unwrap();

        let ledger = open(&simulation).await;
        assert_eq!(ledger.id(), id);
        assert_eq!(posted(&ledger, "alice").await, 70);
        assert_eq!(ledger.execute(pay.clone()).await.unwrap(), outcome);
        assert_eq!(posted(&ledger, "alice").await, 70);
        let again = signed(&ledger, "alice", 1, transfer(31, "bob")).await;
        let refused = ledger.execute(again).await.unwrap_err();
        assert!(matches!(
            refused,
            ExecuteFailure::Refused(Refusal::NonceUsed { by }) if by == pay.hash()
        ));
        let CheckReport {
            books, signatures, ..
        } = ledger.check().await.unwrap();
        assert_eq!(signatures, 3);
        assert_eq!(books.currencies[0].issued, 200);
        assert_eq!(books.currencies[0].sum, 0);
    });
}

#[test]
fn a_channel_is_the_same_after_a_restart_and_its_vouchers_are_proven_again() {
    let simulation = Simulation::new(11);
    simulation.block_on(async {
        let ledger = open(&simulation).await;
        let fund = signed(&ledger, "issuer", 1, mint(100, "alice")).await;
        ledger.execute(fund).await.unwrap();
        let fund = signed(&ledger, "issuer", 2, mint(1, "bob")).await;
        ledger.execute(fund).await.unwrap();
        let hold = Action::Hold {
            capturer: account("bob"),
            amount: 50,
            currency: usd(),
            until: None,
            condition: Condition::Vouchers {
                key: did("session"),
                grace_ms: 60_000,
            },
            charge: None,
        };
        let opened = signed(&ledger, "alice", 1, hold).await;
        let channel = HoldId::from(opened.hash());
        ledger.execute(opened).await.unwrap();
        let body = VoucherBody {
            ledger: ledger.id(),
            channel,
            cumulative: 30,
            ack: None,
        };
        let capture = Action::Capture {
            channel,
            cumulative: 20,
            last: false,
            proof: voucher(&body, "session"),
        };
        let capture = signed(&ledger, "bob", 1, capture).await;
        ledger.execute(capture.clone()).await.unwrap();
        let force = signed(&ledger, "alice", 2, Action::ForceClose { channel }).await;
        let forced = ledger.execute(force).await.unwrap();
        assert_eq!(forced, Outcome::Channel(channel));
        let before = ledger.hold(channel).await.unwrap().unwrap();
        assert!(before.withdrawable_at.is_some());
        ledger.close().await.unwrap();

        let ledger = open(&simulation).await;
        assert_eq!(ledger.hold(channel).await.unwrap(), Some(before));
        let Outcome::Transfer(again) = ledger.execute(capture).await.unwrap() else {
            panic!("a capture moves money");
        };
        assert_eq!((again.amount.units(), again.hold), (20, Some(channel)));
        assert_eq!(ledger.check().await.unwrap().signatures, 5);
    });
}

#[test]
fn a_ledger_that_began_otherwise_is_not_opened() {
    let simulation = Simulation::new(2);
    simulation.block_on(async {
        open(&simulation).await.close().await.unwrap();
        let env = simulation.env();
        let mut other = config();
        other.operator = did("mallory");
        let error = Ledger::open(other, &env).await.err().unwrap();
        assert!(
            matches!(error, LedgerError::OtherOperator { .. }),
            "{error}"
        );
    });
    simulation.kill();
    simulation.block_on(async {
        let env = simulation.env();
        let mut other = config();
        other.receipt_key = did("mallory");
        let error = Ledger::open(other, &env).await.err().unwrap();
        assert!(
            matches!(error, LedgerError::OtherReceiptKey { .. }),
            "{error}"
        );
    });
    simulation.kill();
    simulation.block_on(async {
        let env = simulation.env();
        let mut other = config();
        other.currencies[0].issuer = did("mallory");
        let error = Ledger::open(other, &env).await.err().unwrap();
        assert!(
            matches!(error, LedgerError::OtherCurrency { .. }),
            "{error}"
        );
        let mut short = config();
        short.memory_ms = 1;
        let error = Ledger::open(short, &env).await.err().unwrap();
        assert!(matches!(error, LedgerError::MemoryTooShort { given: 1 }));
        let absent = Ledger::open_existing(Path::new("/nowhere"), &env).await;
        assert!(matches!(absent.err(), Some(LedgerError::NoLedger { .. })));
    });
    simulation.kill();
    simulation.block_on(async {
        let ledger = Ledger::open_existing(Path::new(FOLDER), &simulation.env()).await;
        assert_eq!(ledger.unwrap().operator(), account("issuer"));
    });
}

#[test]
fn a_ledger_tells_the_memory_it_began_with() {
    let simulation = Simulation::new(6);
    simulation.block_on(async {
        let env = simulation.env();
        let mut begun = config();
        begun.memory_ms = 2 * crate::limits::MEMORY_MS_MIN;
        let ledger = Ledger::open(begun, &env).await.unwrap();
        assert_eq!(ledger.memory_ms(), 2 * crate::limits::MEMORY_MS_MIN);
        ledger.close().await.unwrap();
        // What is configured later changes nothing.
        let ledger = open(&simulation).await;
        assert_eq!(ledger.memory_ms(), 2 * crate::limits::MEMORY_MS_MIN);
        ledger.close().await.unwrap();
        let ledger = Ledger::open_existing(Path::new(FOLDER), &env)
            .await
            .unwrap();
        assert_eq!(ledger.memory_ms(), 2 * crate::limits::MEMORY_MS_MIN);
        let books = ledger.books().await.unwrap();
        assert_eq!(books.memory_ms, ledger.memory_ms());
    });
}

#[test]
fn statements_page_newest_first_and_agree_with_the_whole_log() {
    let simulation = Simulation::new(3);
    simulation.block_on(async {
        let ledger = open(&simulation).await;
        let order = signed(&ledger, "issuer", 1, mint(100, "alice")).await;
        ledger.execute(order).await.unwrap();
        let order = signed(&ledger, "issuer", 2, mint(1, "bob")).await;
        ledger.execute(order).await.unwrap();
        let mut last = None;
        for number in 1..=9_u64 {
            simulation.clock.advance(Duration::from_secs(1));
            let order = signed(&ledger, "alice", number, transfer(number.into(), "bob")).await;
            last = Some(order.hash());
            ledger.execute(order).await.unwrap();
        }
        let refund = Action::Refund {
            transfer: last.unwrap().into(),
            amount: 4,
            reason: None,
        };
        let order = signed(&ledger, "bob", 77, refund).await;
        ledger.execute(order).await.unwrap();

        let whole = ledger.statement(everything("alice")).await.unwrap();
        assert_eq!(whole.transfers.len(), 11);
        assert_eq!(whole.next, None);
        assert_eq!(whole.transfers[0].kind, TransferKind::Refund);
        assert_eq!(whole.transfers[1].refunded.units(), 4);
        assert_eq!(whole.transfers[10].kind, TransferKind::Mint);
        assert_eq!(
            ledger.full_statement(everything("alice")).await.unwrap(),
            whole
        );

        for full in [false, true] {
            let mut seen = Vec::new();
            let mut request = everything("alice");
            request.limit = 4;
            loop {
                let page = match full {
                    false => ledger.statement(request).await.unwrap(),
                    true => ledger.full_statement(request).await.unwrap(),
                };
                assert!(page.transfers.len() <= 4);
                seen.extend(page.transfers);
                match page.next {
                    Some(next) => request.before = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, whole.transfers);
        }

        let mut some = everything("alice");
        some.from = whole.transfers[3].at;
        some.to = whole.transfers[1].at;
        let some = ledger.statement(some).await.unwrap();
        assert_eq!(some.transfers, whole.transfers[2..=3]);
    });
}

#[test]
fn an_order_beyond_memory_is_found_in_the_log() {
    let simulation = Simulation::new(4);
    simulation.block_on(async {
        let ledger = open(&simulation).await;
        let order = signed(&ledger, "issuer", 1, mint(100, "alice")).await;
        ledger.execute(order).await.unwrap();
        let order = signed(&ledger, "issuer", 2, mint(1, "bob")).await;
        ledger.execute(order).await.unwrap();
        let paid = signed(&ledger, "alice", 1, transfer(10, "bob")).await;
        let outcome = ledger.execute(paid.clone()).await.unwrap();
        let never = signed(&ledger, "alice", 2, transfer(10, "bob")).await;
        let pending = ledger.status(never.signed()).await.unwrap();
        assert_eq!(pending, OrderStatus::Pending);

        // Log time follows the clock by a day at a time.
        for number in 0..20 {
            simulation.clock.advance(Duration::from_secs(24 * 3600));
            let order = signed(&ledger, "alice", 10 + number, transfer(1, "bob")).await;
            ledger.execute(order).await.unwrap();
        }
        let id = match &outcome {
            Outcome::Transfer(transfer) => transfer.id,
            other => panic!("{other:?}"),
        };
        assert_eq!(ledger.transfer(id).await.unwrap(), None, "forgotten");
        let found = ledger.status(paid.signed()).await.unwrap();
        assert_eq!(found, OrderStatus::Executed(outcome));
        let never = ledger.status(never.signed()).await.unwrap();
        assert!(matches!(never, OrderStatus::Never(Refusal::Expired { .. })));
        let full = ledger.full_statement(everything("bob")).await.unwrap();
        assert_eq!(full.transfers.len(), 22);
        assert!(
            ledger
                .statement(everything("bob"))
                .await
                .unwrap()
                .transfers
                .len()
                < 22
        );
        ledger.check().await.unwrap();
    });
}

#[test]
fn the_log_is_read_by_few_at_a_time_and_never_for_orders_that_cannot_be_in_it() {
    let simulation = Simulation::new(7);
    simulation.block_on(async {
        let ledger = open(&simulation).await;
        let mint = signed(&ledger, "issuer", 1, mint(100, "alice")).await;
        ledger.execute(mint.clone()).await.unwrap();
        let began = ledger.books().await.unwrap().opened_at;
        for number in 0..9 {
            simulation.clock.advance(Duration::from_secs(24 * 3600));
            let open = Action::Open {
                first_key: did(&format!("eve{number}")),
                owner: None,
            };
            let order = signed(&ledger, "issuer", 10 + number, open).await;
            ledger.execute(order).await.unwrap();
        }
        let mut made_up = mint.order().clone();
        made_up.expires = began;
        let made_up = sign(&made_up, "issuer");

        let turns = u32::try_from(crate::limits::SCANS_MAX).unwrap();
        let turns = ledger.scans.clone().try_acquire_many_owned(turns).unwrap();
        let busy = ledger.status_unless_busy(mint.signed()).await;
        assert!(matches!(busy, Err(LedgerError::Busy)), "{busy:?}");
        for never in [
            ledger.status(made_up.signed()).await,
            ledger.status_unless_busy(made_up.signed()).await,
        ] {
            assert!(
                matches!(never, Ok(OrderStatus::Never(Refusal::Expired { at })) if at == began)
            );
        }
        drop(turns);
        for _ in 0..=crate::limits::SCANS_MAX {
            let found = ledger.status_unless_busy(mint.signed()).await;
            assert!(matches!(found, Ok(OrderStatus::Executed(_))), "{found:?}");
        }
    });
}

/// What a payer was told before the power failed.
struct Told {
    order: VerifiedOrder,
    outcome: Option<Outcome>,
}

/// Pays until the power fails, then looks at what is left.
fn crash_once(seed: u64) {
    let mut random = Random::new(seed);
    let simulation = Simulation::new(seed);
    let (ledger, mut told) = simulation.block_on(async {
        let ledger = open(&simulation).await;
        let order = signed(&ledger, "issuer", 1, mint(1_000_000, "alice")).await;
        let outcome = ledger.execute(order.clone()).await.ok();
        let mut told = vec![Told { order, outcome }];
        let order = signed(&ledger, "issuer", 2, mint(1, "bob")).await;
        let outcome = ledger.execute(order.clone()).await.ok();
        told.push(Told { order, outcome });
        (ledger, told)
    });
    simulation.disk.cut_power_after(random.below(120));
    simulation.block_on(async {
        for number in 0..60 {
            let Ok(now) = ledger.time().await else { break };
            let action = transfer(1 + u128::from(random.below(9)), "bob");
            let order = sign(&order(ledger.id(), "alice", number, now, action), "alice");
            let result = ledger.execute(order.clone()).await;
            assert!(
                !matches!(result, Err(ExecuteFailure::Refused(_))),
                "{result:?}"
            );
            told.push(Told {
                order,
                outcome: result.ok(),
            });
        }
    });
    drop(ledger);
    simulation.crash();
    simulation.block_on(async {
        let ledger = open(&simulation).await;
        let mut moved = 0;
        for Told { order, outcome } in &told {
            let status = ledger.status(order.signed()).await.unwrap();
            match (&status, outcome) {
                (OrderStatus::Executed(found), Some(outcome)) => assert_eq!(found, outcome),
                (OrderStatus::Executed(_) | OrderStatus::Pending, None) => {}
                (status, outcome) => panic!("seed {seed}: told {outcome:?}, found {status:?}"),
            }
            // The payer of an unknown outcome sends the same order again.
            let outcome = ledger.execute(order.clone()).await.unwrap();
            if let Outcome::Transfer(transfer) = outcome
                && transfer.kind == TransferKind::Transfer
            {
                moved += i128::try_from(transfer.amount.units()).unwrap();
            }
        }
        assert_eq!(posted(&ledger, "bob").await, 1 + moved, "seed {seed}");
        assert_eq!(
            posted(&ledger, "alice").await,
            1_000_000 - moved,
            "seed {seed}"
        );
        ledger.check().await.unwrap();
    });
}

#[test]
fn no_acknowledged_payment_is_lost_and_none_is_made_twice_whenever_power_fails() {
    for seed in 0..40 {
        crash_once(seed);
    }
}

#[test]
fn the_log_holds_no_secret() {
    let simulation = Simulation::new(5);
    simulation.block_on(async {
        let ledger = open(&simulation).await;
        let order = signed(&ledger, "issuer", 1, mint(100, "alice")).await;
        ledger.execute(order).await.unwrap();
        ledger.close().await.unwrap();
    });
    let secrets: Vec<[u8; 32]> = ["issuer", "alice", "receipts"]
        .map(|name| super::keys::key(name).to_bytes())
        .to_vec();
    for path in simulation.disk.files() {
        let bytes = simulation.disk.bytes(&path).unwrap();
        for secret in &secrets {
            let found = bytes.windows(32).any(|window| window == secret);
            assert!(!found, "{} holds a secret", path.display());
        }
    }
}
