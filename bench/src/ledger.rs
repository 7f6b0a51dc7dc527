//! The ledger: the pure machine, and durable against PostgreSQL on the same disk.

pub mod postgres;

use anyhow::{Context as _, Result};
use stiver_core::Timestamp;
use stiver_ledger::{
    Event, Ledger, LedgerConfig, LedgerMachine, MachineCommand,
    id::{AccountId, LedgerId, Nonce},
    order::{Action, Order, SignedOrder, VerifiedOrder},
    text::CurrencyCode,
};
use stiver_method::key::Ed25519Key;
use stiver_wal::Machine as _;

use crate::{
    measure::{Side, cpu_of_thread, interleave, wall},
    report::Finding,
    rows::Setting,
};
use postgres::Postgres;

/// The rows of the machine alone.
pub const APPLY_ROWS: [&str; 2] = ["ledger-apply", "ledger-replay"];
/// The rows of the disk.
pub const DURABLE_ROWS: [&str; 2] = ["ledger-durable", "ledger-durable/balances"];

/// Accounts that pay each other.
const ACCOUNTS: usize = 1000;
/// Transfers of one round of the machine.
const TRANSFERS: usize = 8192;
/// Transfers that are made durable together.
const BATCH: usize = 256;
/// Batches of one round.
const BATCHES: usize = 32;

/// Makes orders of accounts that exist.
struct Orders {
    ledger: LedgerId,
    operator: Ed25519Key,
    keys: Vec<Ed25519Key>,
    now: Timestamp,
    made: u64,
}

impl Orders {
    fn new(ledger: LedgerId, now: Timestamp) -> Self {
        let key = |index: u64| {
            let mut seed = [9; 32];
            seed[..8].copy_from_slice(&index.to_be_bytes());
            Ed25519Key::from_seed(&seed)
        };
        Self {
            ledger,
            operator: Ed25519Key::from_seed(&[1; 32]),
            keys: (0..ACCOUNTS as u64).map(key).collect(),
            now,
            made: 0,
        }
    }

    /// The next order of a key, signed and verified.
    fn sign(&mut self, by: Option<usize>, action: Action) -> Result<VerifiedOrder> {
        self.made += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.made.to_be_bytes());
        let key = by.map_or(&self.operator, |by| &self.keys[by]);
        let order = Order {
            ledger: self.ledger,
            account: AccountId::of_first_key(&key.did()),
            nonce: Nonce::from_bytes(nonce),
            // A few minutes ahead, as challenges are, and not all the same.
            expires: self.now.plus_millis(300_000 + self.made % 1000),
            action,
        };
        let bytes = order.encode();
        let signed = SignedOrder::new(&bytes, key.did(), key.sign_message(&bytes))?;
        Ok(signed.verify()?)
    }

    /// Money for every account, which opens it.
    fn mints(&mut self) -> Result<Vec<VerifiedOrder>> {
        (0..ACCOUNTS)
            .map(|index| {
                let key = self.keys[index].did();
                let mint = Action::Mint {
                    to: AccountId::of_first_key(&key),
                    amount: 1_000_000_000_000,
                    currency: CurrencyCode::new("usd")?,
                    first_key: Some(key),
                    owner: None,
                };
                self.sign(None, mint)
            })
            .collect()
    }

    /// So many transfers between accounts that are not neighbours in memory.
    fn transfers(&mut self, count: usize) -> Result<Vec<VerifiedOrder>> {
        (0..count)
            .map(|_| {
                let from = (self.made as usize * 7919) % ACCOUNTS;
                let to = (from + 1 + self.made as usize % (ACCOUNTS - 1)) % ACCOUNTS;
                let transfer = Action::Transfer {
                    payee: AccountId::of_first_key(&self.keys[to].did()),
                    amount: 1000,
                    currency: CurrencyCode::new("usd")?,
                    charge: None,
                };
                self.sign(Some(from), transfer)
            })
            .collect()
    }
}

/// `ledger-apply`: what the ledger's one writer does between its queue and its log. The order,
/// whose signature was verified before, is decided by all rules, and the state follows the event.
/// `ledger-replay`: the state follows an event that was decided before, as at start.
pub fn apply(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let now = Timestamp::from_millis(1_767_225_600_000);
    let mut machine = LedgerMachine::default();
    let mut replayed = LedgerMachine::default();
    let ledger = LedgerId::from_bytes([7; 16]);
    let mut orders = Orders::new(ledger, now);
    let operator = orders.operator.did();
    let config = LedgerConfig::new("unused", operator, operator);
    let mut begin = vec![MachineCommand::begin(ledger, &config)];
    for currency in &config.currencies {
        begin.push(MachineCommand::register(currency)?);
    }
    begin.extend(orders.mints()?.into_iter().map(MachineCommand::execute));
    for command in begin {
        let (_, event) = machine.decide(now, command);
        let event = event.context("the ledger refused to begin")?;
        machine.evolve(now, &event)?;
        replayed.evolve(now, &event)?;
    }
    let shared = std::cell::RefCell::new(Vec::new());
    let mut sides: [Side<'_>; 2] = [
        Box::new(|| {
            let mut took = 0.0;
            let mut signed = orders.transfers(TRANSFERS)?.into_iter();
            for _ in 0..TRANSFERS / BATCH {
                let orders = signed.by_ref().take(BATCH).collect();
                took += decide_and_evolve(&mut machine, now, orders, &mut shared.borrow_mut())?;
            }
            Ok(took / TRANSFERS as f64 / 1e3)
        }),
        Box::new(|| {
            let log = shared.take();
            let events = log.iter().map(|bytes| LedgerMachine::decode_event(bytes));
            let events: Vec<Event> = events.collect::<Result<_, _>>()?;
            let start = cpu_of_thread()?;
            for event in &events {
                replayed.evolve(now, event)?;
            }
            Ok((cpu_of_thread()? - start) / TRANSFERS as f64 / 1e3)
        }),
    ];
    let medians = interleave(setting.rounds, &mut sides)?;
    drop(sides);
    machine.check()?;
    replayed.check()?;
    for (name, value) in APPLY_ROWS.into_iter().zip(medians) {
        found(Finding {
            name: name.to_owned(),
            unit: "us CPU per transfer",
            value,
            baseline: None,
        });
    }
    Ok(())
}

/// The CPU time that a batch of orders takes, as the engine has it run: each is decided, and the
/// state follows. The events are written down, outside of that time, and let go.
fn decide_and_evolve(
    machine: &mut LedgerMachine,
    now: Timestamp,
    orders: Vec<VerifiedOrder>,
    log: &mut Vec<Vec<u8>>,
) -> Result<f64> {
    let commands: Vec<MachineCommand> = orders.into_iter().map(MachineCommand::execute).collect();
    let mut events = Vec::with_capacity(commands.len());
    let mut replies = Vec::with_capacity(commands.len());
    let start = cpu_of_thread()?;
    for command in commands {
        let (reply, event) = machine.decide(now, command);
        if let Some(event) = &event {
            machine.evolve(now, event)?;
        }
        events.push(event);
        replies.push(reply);
    }
    let took = cpu_of_thread()? - start;
    for event in events {
        let mut bytes = Vec::new();
        LedgerMachine::encode_event(&event.context("a transfer was refused")?, &mut bytes);
        log.push(bytes);
    }
    Ok(took)
}

/// Batches of transfers, one after the other: the next begins when the last is on disk. Wall time,
/// because a disk is waited for. The signatures were verified before.
///
/// PostgreSQL inserts the same orders, 256 in one statement and one commit, with a primary key on
/// the order's hash; `balances` also keeps the two balances of each transfer.
pub fn durable(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let base = tempfile::tempdir().context("making a folder")?;
    let mut postgres = Postgres::start(base.path())?;
    let env = stiver_env::native::env();
    let operator = Ed25519Key::from_seed(&[1; 32]).did();
    let config = LedgerConfig::new(base.path().join("ledger"), operator, operator);
    let ledger = pollster::block_on(Ledger::open(config, &env))?;
    let mut orders = Orders::new(ledger.id(), env.clock.now());
    let mints = orders.mints()?;
    pollster::block_on(execute(&ledger, mints))?;
    postgres.open_accounts(
        orders
            .keys
            .iter()
            .map(|key| AccountId::of_first_key(&key.did())),
    )?;
    let orders = std::cell::RefCell::new(orders);
    let postgres = std::cell::RefCell::new(postgres);
    let batches = || -> Result<Vec<Vec<VerifiedOrder>>> {
        let mut orders = orders.borrow_mut();
        orders.now = env.clock.now();
        (0..BATCHES).map(|_| orders.transfers(BATCH)).collect()
    };
    let timed = |mut write: Box<dyn FnMut(Vec<VerifiedOrder>) -> Result<()> + '_>| -> Result<f64> {
        let batches = batches()?;
        let start = wall()?;
        for batch in batches {
            write(batch)?;
        }
        let seconds = (wall()? - start) / 1e9;
        Ok((BATCH * BATCHES) as f64 / seconds)
    };
    let mut sides: [Side<'_>; 3] = [
        Box::new(|| {
            timed(Box::new(|batch| {
                pollster::block_on(execute(&ledger, batch))
            }))
        }),
        Box::new(|| timed(Box::new(|batch| postgres.borrow_mut().insert(&batch)))),
        Box::new(|| timed(Box::new(|batch| postgres.borrow_mut().transfer(&batch)))),
    ];
    let medians = interleave(setting.rounds, &mut sides)?;
    drop(sides);
    pollster::block_on(ledger.close())?;
    for (name, baseline) in DURABLE_ROWS.into_iter().zip(medians.iter().skip(1)) {
        found(Finding {
            name: name.to_owned(),
            unit: "transfers per second",
            value: medians[0],
            baseline: Some(*baseline),
        });
    }
    Ok(())
}

/// Executes orders together, and waits until all of them are durable.
async fn execute(ledger: &Ledger, orders: Vec<VerifiedOrder>) -> Result<()> {
    for outcome in ledger.execute_all(orders).await {
        outcome?;
    }
    Ok(())
}
