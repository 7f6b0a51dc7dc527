//! The ledger as a machine over a log.

use stiver_core::{Currency, Timestamp, did::DidKey};
use stiver_wal::{Inconsistent, Machine};

use crate::{
    event::{Began, Event, EventKind, Executed, Registered},
    id::{AccountId, HoldId, LedgerId, TransferId},
    ledger::{CurrencyConfig, LedgerConfig},
    order::{SignedOrder, VerifiedOrder},
    refusal::Refusal,
    rows::{CurrencyRow, Origin},
    state::{Ruling, State},
    text::{CurrencyCode, Label, TextError},
    view::{Account, Books, Hold, Outcome, Remembered, Statement, StatementRequest, Transfer},
};

/// The ledger's state, as [`stiver_wal::Engine`] runs it. Opaque: [`crate::Ledger`] is the way in.
#[derive(Debug, Default)]
pub struct LedgerMachine(pub(crate) State);

/// What the machine can be asked.
pub(crate) enum Command {
    /// Begins the ledger, unless it has begun.
    Begin(Genesis),
    /// Registers a currency, unless it is registered.
    Register(NewCurrency),
    /// Executes an order.
    Execute(Box<VerifiedOrder>),
    /// What became of an order.
    Status(Box<SignedOrder>),
    /// An account.
    Account(AccountId),
    /// A page of accounts.
    Accounts(Option<AccountId>, usize),
    /// A movement.
    Transfer(TransferId),
    /// A hold.
    Hold(HoldId),
    /// A page of the open channels that an account pays.
    Channels(AccountId, Option<HoldId>, usize),
    /// Movements of an account.
    Statement(StatementRequest),
    /// The books.
    Books,
    /// The ledger's clock.
    Time,
    /// Goes through all invariants.
    Check,
}

/// How a ledger begins.
pub(crate) struct Genesis {
    pub(crate) ledger: LedgerId,
    pub(crate) operator: DidKey,
    pub(crate) permissioned: bool,
    pub(crate) memory_ms: u64,
    pub(crate) receipt_key: DidKey,
}

/// A currency to register.
pub(crate) struct NewCurrency {
    pub(crate) code: CurrencyCode,
    pub(crate) decimals: u8,
    pub(crate) issuer_key: DidKey,
}

/// What the machine answers.
pub(crate) enum Reply {
    /// To `Begin`.
    Begun(BegunLedger),
    /// To `Register`.
    Registered(Result<(), RegisterRefusal>),
    /// To `Execute`.
    Executed(Result<Outcome, Refusal>),
    /// To `Status`.
    Status(Remembered),
    /// To `Account`.
    Account(Option<Account>),
    /// To `Accounts`.
    Accounts(Vec<Account>),
    /// To `Transfer`.
    Transfer(Option<Transfer>),
    /// To `Hold`.
    Hold(Option<Hold>),
    /// To `Channels`.
    Channels(Vec<Hold>),
    /// To `Statement`.
    Statement(Statement),
    /// To `Books`.
    Books(Option<Books>),
    /// To `Time`.
    Time(Timestamp),
    /// To `Check`.
    Checked(Result<Option<Books>, Inconsistent>),
}

/// A ledger that has begun.
pub(crate) struct BegunLedger {
    pub(crate) ledger: LedgerId,
    pub(crate) operator: AccountId,
    pub(crate) receipt_key: DidKey,
    pub(crate) memory_ms: u64,
}

/// Why a currency was not registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RegisterRefusal {
    /// It is registered with other decimals or another issuer.
    Differs { decimals: u8, issuer: AccountId },
    /// There are too many.
    TooMany,
    /// The code and decimals make no currency.
    Malformed,
}

impl LedgerMachine {
    fn begin(&self, now: Timestamp, genesis: Genesis) -> (Reply, Option<Event>) {
        let operator = AccountId::of_first_key(&genesis.operator);
        if let Some(origin) = self.0.origin() {
            let begun = BegunLedger {
                ledger: origin.ledger,
                operator: origin.operator,
                receipt_key: origin.receipt_key,
                memory_ms: origin.memory_ms,
            };
            return (Reply::Begun(begun), None);
        }
        let begun = BegunLedger {
            ledger: genesis.ledger,
            operator,
            receipt_key: genesis.receipt_key,
            memory_ms: genesis.memory_ms,
        };
        let event = EventKind::Began(Began {
            origin: Origin {
                ledger: genesis.ledger,
                operator,
                permissioned: genesis.permissioned,
                memory_ms: genesis.memory_ms,
                receipt_key: genesis.receipt_key,
                at: now,
            },
            operator_key: genesis.operator,
        });
        (Reply::Begun(begun), Some(Event(event)))
    }

    fn register(&self, new: NewCurrency) -> (Result<(), RegisterRefusal>, Option<Event>) {
        let issuer = AccountId::of_first_key(&new.issuer_key);
        let code = new.code.as_str();
        if let Some(known) = self.0.currencies().iter().find(|row| row.code() == code) {
            let issuer_known = self.0.issuer(code).unwrap_or(issuer);
            if known.decimals() == new.decimals && issuer_known == issuer {
                return (Ok(()), None);
            }
            let refusal = RegisterRefusal::Differs {
                decimals: known.decimals(),
                issuer: issuer_known,
            };
            return (Err(refusal), None);
        }
        if self.0.currencies().len() >= crate::limits::CURRENCIES_MAX {
            return (Err(RegisterRefusal::TooMany), None);
        }
        if Currency::new(code, new.decimals).is_err() {
            return (Err(RegisterRefusal::Malformed), None);
        }
        let event = EventKind::Registered(Registered {
            currency: CurrencyRow {
                decimals: new.decimals,
                issuer,
                code: new.code,
            },
            issuer_key: new.issuer_key,
            owner: Label::new("issuer").ok(),
        });
        (Ok(()), Some(Event(event)))
    }

    fn execute(
        &self,
        now: Timestamp,
        order: VerifiedOrder,
    ) -> (Result<Outcome, Refusal>, Option<Event>) {
        match self.0.rule(now, order.signed()) {
            Err(refusal) => (Err(refusal), None),
            Ok(Ruling::Repeated) => {
                let outcome = self
                    .0
                    .outcome(order.hash())
                    .expect("a repeated order has an outcome, because its row was found");
                (Ok(outcome), None)
            }
            Ok(Ruling::Execute(postings)) => {
                let outcome = self
                    .0
                    .outcome_to_be(now, order.signed(), &postings)
                    .expect("an order has an outcome, because the rules made its postings");
                let event = EventKind::Executed(Box::new(Executed {
                    order: order.into_signed(),
                    postings,
                }));
                (Ok(outcome), Some(Event(event)))
            }
        }
    }
}

impl Machine for LedgerMachine {
    const NAME: &'static str = "ledger";
    const VERSION: u32 = 1;

    type Command = MachineCommand;
    type Event = Event;
    type Reply = MachineReply;

    fn decide(&self, now: Timestamp, command: MachineCommand) -> (MachineReply, Option<Event>) {
        let (reply, event) = match command.0 {
            Command::Begin(genesis) => self.begin(now, genesis),
            Command::Register(currency) => {
                let (reply, event) = self.register(currency);
                (Reply::Registered(reply), event)
            }
            Command::Execute(order) => {
                let (reply, event) = self.execute(now, *order);
                (Reply::Executed(reply), event)
            }
            Command::Status(order) => (Reply::Status(self.0.status(now, &order)), None),
            Command::Account(id) => (Reply::Account(self.0.account(&id)), None),
            Command::Accounts(after, limit) => {
                (Reply::Accounts(self.0.accounts(after, limit)), None)
            }
            Command::Transfer(id) => (Reply::Transfer(self.0.transfer(id)), None),
            Command::Hold(id) => (Reply::Hold(self.0.hold(id, now)), None),
            Command::Channels(payer, after, limit) => {
                let channels = self.0.channels(payer, after, limit, now);
                (Reply::Channels(channels), None)
            }
            Command::Statement(request) => (Reply::Statement(self.0.statement(&request)), None),
            Command::Books => (Reply::Books(self.0.books(now)), None),
            Command::Time => (Reply::Time(now), None),
            Command::Check => {
                let checked = self.check().map(|()| self.0.books(now));
                (Reply::Checked(checked), None)
            }
        };
        (MachineReply(reply), event)
    }

    fn evolve(&mut self, now: Timestamp, event: &Event) -> Result<(), Inconsistent> {
        self.0
            .apply(now, event)
            .map_err(|broken| Inconsistent(broken.0))
    }

    fn encode_event(event: &Event, into: &mut Vec<u8>) {
        into.extend_from_slice(&event.encode());
    }

    fn decode_event(bytes: &[u8]) -> Result<Event, Inconsistent> {
        Event::decode(bytes).map_err(|error| Inconsistent(format!("an event: {error}")))
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.snapshot()
    }

    fn restore(bytes: &[u8]) -> Result<Self, Inconsistent> {
        State::restore(bytes)
            .map(Self)
            .map_err(|broken| Inconsistent(broken.0))
    }

    fn check(&self) -> Result<(), Inconsistent> {
        self.0.check().map_err(|broken| Inconsistent(broken.0))
    }
}

/// A command. Opaque: [`crate::Ledger`] makes them, and whoever drives a machine without a log.
pub struct MachineCommand(pub(crate) Command);

impl MachineCommand {
    /// Begins the ledger with this id, unless it has begun.
    pub fn begin(ledger: LedgerId, config: &LedgerConfig) -> Self {
        Self(Command::Begin(Genesis {
            ledger,
            operator: config.operator,
            permissioned: config.permissioned,
            memory_ms: config.memory_ms,
            receipt_key: config.receipt_key,
        }))
    }

    /// Registers a currency, unless it is registered.
    ///
    /// # Errors
    ///
    /// [`TextError`] when its code is none of a ledger's.
    pub fn register(config: &CurrencyConfig) -> Result<Self, TextError> {
        Ok(Self(Command::Register(NewCurrency {
            code: CurrencyCode::new(config.currency.code())?,
            decimals: config.currency.decimals(),
            issuer_key: config.issuer,
        })))
    }

    /// Executes an order.
    pub fn execute(order: VerifiedOrder) -> Self {
        Self(Command::Execute(Box::new(order)))
    }
}

/// A reply. Opaque: [`crate::Ledger`] reads them.
pub struct MachineReply(pub(crate) Reply);
