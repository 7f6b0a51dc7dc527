//! A payment method over a rail that loses answers, settles late and lies: by script, and it counts
//! what really moved.
//!
//! [`HostileRail`] is the rail and the payee's side of the method `hostile`; [`HostileRail::payer`]
//! is a payer's side. Clones are the same rail, so it outlives a server that a test stops and
//! starts again. Each `execute` of a charge takes the next [`Step`] from one queue, each `execute`
//! of a refund from another, each `lookup` of either the next [`LookupStep`] from a third; an empty
//! queue means honesty. The truth is kept by artefact key, apart from what was said:
//! [`HostileRail::moves`] counts real movements.
//!
//! ```no_run
//! use stiver_method::payer::CallKey;
//! use stiver_testkit::{fixtures, rail::{Gate, HostileRail, Step}};
//!
//! # async fn test() {
//! let rail = HostileRail::new("merchant", fixtures::usd());
//! let alice = rail.payer("alice");
//! let call = CallKey::from_bytes([1; 16]);
//! let gate = Gate::closed();
//! rail.script([Step::lost_answer(), Step::slow(&gate)]);
//! // ... give rail.clone() to a gate as its method, pay as alice ...
//! gate.reached(1).await; // the second payment has come to the rail
//! gate.open();
//! assert_eq!(rail.moves(&alice.key(call)), 1, "moved exactly once");
//! # }
//! ```

mod gate;
mod payee;
mod payer;
mod script;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use stiver_core::{Currency, Timestamp, name::MethodName};
use stiver_method::artefact::{Artefact, Lookup, Refusal, RefusalKind, Settled};

pub use self::{
    gate::Gate,
    payer::RailPayer,
    script::{LookupStep, Step},
};
use self::{script::Does, wire::Transfer};
use crate::fixtures;

/// How long after a credential's check the rail could still accept its proof, milliseconds: one
/// hour.
pub const REPLAYABLE_MS: u64 = 3_600_000;

/// A rail with a script. See the [module](self).
#[derive(Clone)]
pub struct HostileRail {
    name: MethodName,
    payee: Arc<str>,
    currency: Currency,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    charges: VecDeque<Step>,
    refunds: VecDeque<Step>,
    lookups: VecDeque<LookupStep>,
    accounts: BTreeMap<Vec<u8>, Account>,
    movements: Vec<Movement>,
    invoices: u64,
    payments: u64,
    refunds_off: bool,
}

/// What is true of one artefact key.
#[derive(Default)]
struct Account {
    /// The challenge of the payment that took this key.
    taken_by: Option<String>,
    fate: Fate,
    moves: u32,
    executes: u32,
    lookups: u32,
}

#[derive(Default, Clone)]
enum Fate {
    #[default]
    Open,
    Late {
        pending: u32,
        moves: bool,
    },
    Done(Settled),
    Never(Refusal),
}

/// Money that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The artefact's key.
    pub key: Vec<u8>,
    /// Who paid.
    pub from: String,
    /// Who was paid.
    pub to: String,
    /// How much, in base units.
    pub units: u128,
}

impl HostileRail {
    /// A rail whose payee has this name, in this currency.
    pub fn new(payee: &str, currency: Currency) -> Self {
        Self {
            name: MethodName::new("hostile").expect("the name is valid, because it is a word"),
            payee: payee.into(),
            currency,
            inner: Arc::default(),
        }
    }

    /// A payer with one nonce per call: of two payments for one call only the first to come to the
    /// rail can move money, the other is refused as already used. [`RailPayer::key`] tells the
    /// artefact key.
    pub fn payer(&self, name: &str) -> RailPayer {
        RailPayer::new(self.clone(), name)
    }

    /// Adds steps for the coming calls of `execute` with a charge, in the order in which they come
    /// to the rail.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        self.lock().charges.extend(steps);
    }

    /// Adds steps for the coming calls of `execute` with a refund.
    pub fn script_refunds(&self, steps: impl IntoIterator<Item = Step>) {
        self.lock().refunds.extend(steps);
    }

    /// Adds steps for the coming calls of `lookup`.
    pub fn script_lookups(&self, steps: impl IntoIterator<Item = LookupStep>) {
        self.lock().lookups.extend(steps);
    }

    /// From now on this rail cannot give money back.
    pub fn refuse_refunds(&self) {
        self.lock().refunds_off = true;
    }

    /// How many times money really moved for an artefact key: more than once is a payment made
    /// twice.
    pub fn moves(&self, key: &[u8]) -> u32 {
        self.account(key, |account| account.moves)
    }

    /// How many times `execute` was called for an artefact key.
    pub fn executes(&self, key: &[u8]) -> u32 {
        self.account(key, |account| account.executes)
    }

    /// How many times `lookup` was called for an artefact key.
    pub fn lookups(&self, key: &[u8]) -> u32 {
        self.account(key, |account| account.lookups)
    }

    /// Everything that moved, in order.
    pub fn movements(&self) -> Vec<Movement> {
        self.lock().movements.clone()
    }

    /// What somebody was paid less what they paid out, in base units.
    pub fn balance(&self, who: &str) -> i128 {
        let inner = self.lock();
        let units = |units: u128| i128::try_from(units).expect("test amounts fit an i128");
        inner.movements.iter().fold(0, |sum, movement| {
            let paid = if movement.to == who {
                units(movement.units)
            } else {
                0
            };
            let spent = if movement.from == who {
                units(movement.units)
            } else {
                0
            };
            sum + paid - spent
        })
    }

    fn account<T>(&self, key: &[u8], read: impl FnOnce(&Account) -> T) -> T {
        read(self.lock().accounts.get(key).unwrap_or(&Account::default()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("the rail is sound, because no caller panics while it holds the lock")
    }

    /// Lets a step happen, and gives what is true then.
    fn apply(&self, transfer: &Transfer, units: u128, does: &Does) -> Fate {
        let mut inner = self.lock();
        let key = transfer.key.clone().into_bytes();
        let account = inner.accounts.entry(key.clone()).or_default();
        if let Some(used) = account.used_by_other(transfer) {
            return Fate::Never(used);
        }
        if !matches!(does, Does::Nothing) {
            account.taken_by = Some(transfer.challenge.clone());
        }
        let fate = account.fate.clone();
        let next = match (&fate, does) {
            (Fate::Done(_), Does::MoveAgain) | (Fate::Open, Does::Move | Does::MoveAgain) => {
                Fate::Done(inner.transfer(transfer, units, &self.currency))
            }
            (Fate::Open, Does::Never(refusal)) => Fate::Never(refusal.clone()),
            (Fate::Open, Does::MoveLate { pending }) => Fate::Late {
                pending: *pending,
                moves: true,
            },
            (Fate::Open, Does::LapseLate { pending }) => Fate::Late {
                pending: *pending,
                moves: false,
            },
            (Fate::Open, Does::Nothing)
            | (Fate::Done(_) | Fate::Never(_) | Fate::Late { .. }, _) => fate,
        };
        inner.accounts.entry(key).or_default().fate = next.clone();
        next
    }

    /// The truth for a lookup; time passes for what settles late.
    fn look(&self, artefact: &Artefact, transfer: &Transfer, units: u128) -> Lookup {
        let mut inner = self.lock();
        let account = inner.accounts.entry(artefact.rail_key.clone()).or_default();
        if let Some(used) = account.used_by_other(transfer) {
            return Lookup::Never(used);
        }
        let next = match account.fate.clone() {
            Fate::Late { pending: 0, moves } if moves => {
                Fate::Done(inner.transfer(transfer, units, &self.currency))
            }
            Fate::Late { pending: 0, .. } => Fate::Never(wire::invalid("what has lapsed")),
            Fate::Late { pending, moves } => Fate::Late {
                pending: pending - 1,
                moves,
            },
            fate => fate,
        };
        let said = match &next {
            Fate::Done(settled) => Lookup::Done(Box::new(settled.clone())),
            Fate::Never(refusal) => Lookup::Never(refusal.clone()),
            Fate::Late { .. } | Fate::Open => Lookup::Pending,
        };
        inner
            .accounts
            .entry(artefact.rail_key.clone())
            .or_default()
            .fate = next;
        said
    }
}

impl Account {
    fn used_by_other(&self, transfer: &Transfer) -> Option<Refusal> {
        let taken = self.taken_by.as_ref()?;
        (*taken != transfer.challenge).then(|| script::refusal(RefusalKind::AlreadyUsed))
    }
}

impl Inner {
    /// Moves money, unconditionally.
    fn transfer(&mut self, transfer: &Transfer, units: u128, currency: &Currency) -> Settled {
        let key = transfer.key.clone().into_bytes();
        self.movements.push(Movement {
            key: key.clone(),
            from: transfer.from.clone(),
            to: transfer.to.clone(),
            units,
        });
        let account = self.accounts.entry(key).or_default();
        account.moves += 1;
        let number = u64::try_from(self.movements.len()).expect("a length fits 64 bits");
        Settled {
            reference: format!("hostile-{number}"),
            at: moved_at(number),
            amount: currency.units(units),
            payer: Some(transfer.from.clone()),
            payee: transfer.to.clone(),
            receipt: Vec::new(),
        }
    }
}

/// The rail has a clock of its own: one second per movement.
fn moved_at(number: u64) -> Timestamp {
    fixtures::now().plus_millis(number.saturating_mul(1000))
}
