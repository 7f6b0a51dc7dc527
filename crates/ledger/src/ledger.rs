//! A ledger that runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use stiver_core::{Currency, Timestamp, did::DidKey};
use stiver_env::Env;
use stiver_wal::{Engine, EngineError, Health, OpenError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    history::{OrderScan, StatementScan, verify_signature},
    id::{AccountId, HoldId, LedgerId, TransferId},
    limits,
    machine::{
        BegunLedger, Command, Genesis, LedgerMachine, MachineCommand, NewCurrency, RegisterRefusal,
        Reply,
    },
    order::{SignedOrder, VerifiedOrder},
    refusal::Refusal,
    text::CurrencyCode,
    view::{
        Account, Books, Hold, OrderStatus, Outcome, Remembered, Statement, StatementRequest,
        Transfer,
    },
};

/// The folder of the log inside a ledger's folder.
pub const LOG_FOLDER: &str = "log";

/// How a ledger is opened. What it began with must be the same each time.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// The ledger's folder; made when absent. The log is in its folder `log`.
    pub folder: PathBuf,
    /// The first key of the operator's account, which may freeze, limit, open and refund.
    pub operator: DidKey,
    /// The key that signs the ledger's receipts.
    pub receipt_key: DidKey,
    /// The currencies it has; new ones are added to a ledger that exists.
    pub currencies: Vec<CurrencyConfig>,
    /// Whether only the operator and issuers open accounts.
    pub permissioned: bool,
    /// How long executed orders are remembered after their expiry, milliseconds: as long as they
    /// can be refunded. At least [`limits::MEMORY_MS_MIN`]. Fixed when the ledger begins.
    pub memory_ms: u64,
    /// A segment of the log is closed and a snapshot taken after this many bytes.
    pub segment_bytes: u64,
}

/// A currency and who issues it.
#[derive(Debug, Clone)]
pub struct CurrencyConfig {
    /// The currency.
    pub currency: Currency,
    /// The first key of its issuer's account.
    pub issuer: DidKey,
}

impl LedgerConfig {
    /// A ledger with US dollars of 6 decimals, operated and issued by one key, open to everybody.
    ///
    /// ```
    /// use stiver_core::did::DidKey;
    /// use stiver_ledger::LedgerConfig;
    /// let operator = DidKey::from_public_key([7; 32]);
    /// let config = LedgerConfig::new("/var/lib/ledger", operator, operator);
    /// assert_eq!(config.currencies[0].currency.decimals(), 6);
    /// ```
    pub fn new(folder: impl Into<PathBuf>, operator: DidKey, receipt_key: DidKey) -> Self {
        let usd = Currency::new("usd", 6)
            .expect("usd is a currency, because its code is visible ASCII and 6 decimals fit");
        Self {
            folder: folder.into(),
            operator,
            receipt_key,
            currencies: vec![CurrencyConfig {
                currency: usd,
                issuer: operator,
            }],
            permissioned: false,
            memory_ms: limits::MEMORY_MS_DEFAULT,
            segment_bytes: limits::SEGMENT_BYTES_DEFAULT,
        }
    }
}

/// An open ledger. Cheap to clone; every clone is the same ledger.
///
/// Whatever it answers was durable before it answered.
#[derive(Clone)]
pub struct Ledger {
    engine: Engine<LedgerMachine>,
    folder: PathBuf,
    env: Env,
    id: LedgerId,
    operator: AccountId,
    receipt_key: DidKey,
    memory_ms: u64,
    /// One permit for each reading of the whole log.
    pub(crate) scans: Arc<Semaphore>,
}

impl Ledger {
    /// Opens a ledger, and begins it when there is none. Blocks on disk.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]: the log cannot be opened, or the ledger there began otherwise.
    pub async fn open(config: LedgerConfig, env: &Env) -> Result<Self, LedgerError> {
        if config.memory_ms < limits::MEMORY_MS_MIN {
            return Err(LedgerError::MemoryTooShort {
                given: config.memory_ms,
            });
        }
        let engine = open_engine(&config.folder, config.segment_bytes, env)?;
        let genesis = Genesis {
            ledger: LedgerId::from_bytes(env.random()),
            operator: config.operator,
            permissioned: config.permissioned,
            memory_ms: config.memory_ms,
            receipt_key: config.receipt_key,
        };
        let Reply::Begun(begun) = submit(&engine, Command::Begin(genesis)).await? else {
            return Err(LedgerError::Internal);
        };
        let operator = AccountId::of_first_key(&config.operator);
        if begun.operator != operator {
            return Err(LedgerError::OtherOperator {
                found: begun.operator,
                configured: operator,
            });
        }
        if begun.receipt_key != config.receipt_key {
            return Err(LedgerError::OtherReceiptKey {
                found: begun.receipt_key,
                configured: config.receipt_key,
            });
        }
        for row in config.currencies {
            register(&engine, row).await?;
        }
        Ok(Self::over(engine, &config.folder, env, &begun))
    }

    /// Opens a ledger that exists, whatever it began with. Blocks on disk.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]: there is none, or its log cannot be opened.
    pub async fn open_existing(folder: &Path, env: &Env) -> Result<Self, LedgerError> {
        let log = folder.join(LOG_FOLDER);
        let absent = || LedgerError::NoLedger {
            folder: folder.to_owned(),
        };
        match env.disk.list(&log) {
            Ok(files) if !files.is_empty() => {}
            _ => return Err(absent()),
        }
        let engine = open_engine(folder, limits::SEGMENT_BYTES_DEFAULT, env)?;
        let Reply::Books(books) = submit(&engine, Command::Books).await? else {
            return Err(LedgerError::Internal);
        };
        let books = books.ok_or_else(absent)?;
        let begun = BegunLedger {
            ledger: books.ledger,
            operator: books.operator,
            receipt_key: books.receipt_key,
            memory_ms: books.memory_ms,
        };
        Ok(Self::over(engine, folder, env, &begun))
    }

    fn over(engine: Engine<LedgerMachine>, folder: &Path, env: &Env, begun: &BegunLedger) -> Self {
        Self {
            engine,
            folder: folder.to_owned(),
            env: env.clone(),
            id: begun.ledger,
            operator: begun.operator,
            receipt_key: begun.receipt_key,
            memory_ms: begun.memory_ms,
            scans: Arc::new(Semaphore::new(limits::SCANS_MAX)),
        }
    }

    /// Its id.
    pub fn id(&self) -> LedgerId {
        self.id
    }
    /// The operator's account.
    pub fn operator(&self) -> AccountId {
        self.operator
    }
    /// The key that signs its receipts.
    pub fn receipt_key(&self) -> DidKey {
        self.receipt_key
    }

    /// How long it remembers an executed order after that order's expiry, milliseconds: as long as
    /// a payment can be given back. It was fixed when the ledger began.
    pub fn memory_ms(&self) -> u64 {
        self.memory_ms
    }

    /// Executes an order, once: executing it again tells the same outcome.
    ///
    /// # Errors
    ///
    /// [`ExecuteFailure::Refused`]: nothing moved. [`ExecuteFailure::Unknown`]: it may have been
    /// executed; ask [`Ledger::status`] when the ledger is open again.
    pub async fn execute(&self, order: VerifiedOrder) -> Result<Outcome, ExecuteFailure> {
        executed(self.ask(Command::Execute(Box::new(order))).await)
    }

    /// Executes orders in their order, each as [`Ledger::execute`] does, whatever becomes of the
    /// others. Those that fit into one batch of the log are made durable together.
    ///
    /// # Errors
    ///
    /// Each order has its own outcome.
    pub async fn execute_all(
        &self,
        orders: Vec<VerifiedOrder>,
    ) -> Vec<Result<Outcome, ExecuteFailure>> {
        let commands = orders.into_iter().map(MachineCommand::execute).collect();
        let replies = self.engine.submit_all(commands).await.into_iter();
        replies
            .map(|reply| executed(reply.map(|it| it.0).map_err(LedgerError::Engine)))
            .collect()
    }

    /// What became of an order. Reads the log when the order is older than the ledger's memory,
    /// and waits while [`limits::SCANS_MAX`] others read it.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the ledger cannot tell.
    pub async fn status(&self, order: &SignedOrder) -> Result<OrderStatus, LedgerError> {
        match self.remembered(order).await? {
            Remembered::Status(status) => Ok(status),
            Remembered::Forgotten(_) => {
                let turn = self.turn().await?;
                self.search(order, turn).await
            }
        }
    }

    /// As [`Ledger::status`], for questions from outside: it does not wait for others who read the
    /// log, so that no number of questions piles up work.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Busy`] when [`limits::SCANS_MAX`] others read the log: ask again later. Other
    /// [`LedgerError`]s when the ledger cannot tell.
    pub async fn status_unless_busy(
        &self,
        order: &SignedOrder,
    ) -> Result<OrderStatus, LedgerError> {
        match self.remembered(order).await? {
            Remembered::Status(status) => Ok(status),
            Remembered::Forgotten(_) => {
                let turn = Arc::clone(&self.scans).try_acquire_owned();
                self.search(order, turn.map_err(|_| LedgerError::Busy)?)
                    .await
            }
        }
    }

    async fn remembered(&self, order: &SignedOrder) -> Result<Remembered, LedgerError> {
        match self.ask(Command::Status(Box::new(order.clone()))).await? {
            Reply::Status(remembered) => Ok(remembered),
            _ => Err(LedgerError::Internal),
        }
    }

    /// Looks for an order in the log.
    async fn search(
        &self,
        order: &SignedOrder,
        turn: OwnedSemaphorePermit,
    ) -> Result<OrderStatus, LedgerError> {
        let hash = order.hash();
        let found = self
            .scan(turn, move |ledger| {
                let mut scan = OrderScan::new(hash);
                ledger
                    .engine
                    .history(&mut |_, at, event| !scan.visit(at, &event))?;
                Ok(scan.finish())
            })
            .await?;
        Ok(match found {
            Some(outcome) => OrderStatus::Executed(outcome),
            None => OrderStatus::Never(Refusal::Expired {
                at: order.order().expires,
            }),
        })
    }

    /// An account.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the ledger cannot tell.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, LedgerError> {
        match self.ask(Command::Account(id)).await? {
            Reply::Account(account) => Ok(account),
            _ => Err(LedgerError::Internal),
        }
    }

    /// A page of accounts, at most [`limits::PAGE_MAX`], in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the ledger cannot tell.
    pub async fn accounts(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<Account>, LedgerError> {
        match self.ask(Command::Accounts(after, limit)).await? {
            Reply::Accounts(accounts) => Ok(accounts),
            _ => Err(LedgerError::Internal),
        }
    }

    /// A movement, as long as it is remembered.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the ledger cannot tell.
    pub async fn transfer(&self, id: TransferId) -> Result<Option<Transfer>, LedgerError> {
        match self.ask(Command::Transfer(id)).await? {
            Reply::Transfer(transfer) => Ok(transfer),
            _ => Err(LedgerError::Internal),
        }
    }

    /// A hold, as long as it is open or remembered.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the ledger cannot tell.
    pub async fn hold(&self, id: HoldId) -> Result<Option<Hold>, LedgerError> {
        match self.ask(Command::Hold(id)).await? {
            Reply::Hold(hold) => Ok(hold),
            _ => Err(LedgerError::Internal),
        }
    }

    /// A page of the open channels that an account pays, in the order of their ids: those after
    /// one, at most so many, never more than [`crate::limits::PAGE_MAX`].
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the ledger cannot tell.
    pub async fn channels(
        &self,
        payer: AccountId,
        after: Option<HoldId>,
        limit: usize,
    ) -> Result<Vec<Hold>, LedgerError> {
        match self.ask(Command::Channels(payer, after, limit)).await? {
            Reply::Channels(channels) => Ok(channels),
            _ => Err(LedgerError::Internal),
        }
    }

    /// Movements of an account that the ledger remembers, newest first. Complete back to the
    /// ledger's memory; [`Ledger::full_statement`] goes back to the beginning.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the ledger cannot tell.
    pub async fn statement(&self, request: StatementRequest) -> Result<Statement, LedgerError> {
        match self.ask(Command::Statement(request)).await? {
            Reply::Statement(statement) => Ok(statement),
            _ => Err(LedgerError::Internal),
        }
    }

    /// Movements of an account from the whole log, newest first. Reads all of it from disk: for
    /// the operator, not for everybody.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the log cannot be read.
    pub async fn full_statement(
        &self,
        request: StatementRequest,
    ) -> Result<Statement, LedgerError> {
        let turn = self.turn().await?;
        self.scan(turn, move |ledger| {
            let mut scan = StatementScan::new(request);
            ledger.engine.history(&mut |_, at, event| {
                scan.visit(at, &event);
                true
            })?;
            Ok(scan.finish())
        })
        .await
    }

    /// The books of the whole ledger.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the ledger cannot tell.
    pub async fn books(&self) -> Result<Books, LedgerError> {
        match self.ask(Command::Books).await? {
            Reply::Books(Some(books)) => Ok(books),
            _ => Err(LedgerError::Internal),
        }
    }

    /// Now, by the ledger's clock, which never goes back.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the ledger cannot tell.
    pub async fn time(&self) -> Result<Timestamp, LedgerError> {
        match self.ask(Command::Time).await? {
            Reply::Time(at) => Ok(at),
            _ => Err(LedgerError::Internal),
        }
    }

    /// Checks everything: the invariants of the state as it is, the log's checksums and chain of
    /// hashes, that following the log gives a sound state again, and the signature of every order
    /// that was ever executed. Reads the whole log twice; only the first of these steps makes
    /// others wait.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]: the first thing that is wrong.
    pub async fn check(&self) -> Result<CheckReport, LedgerError> {
        let Reply::Checked(checked) = self.ask(Command::Check).await? else {
            return Err(LedgerError::Internal);
        };
        let books = checked
            .map_err(LedgerError::Unsound)?
            .ok_or(LedgerError::Internal)?;
        let turn = self.turn().await?;
        self.scan(turn, move |ledger| {
            let log = ledger.folder.join(LOG_FOLDER);
            let verified = stiver_wal::verify::<LedgerMachine>(&log, &ledger.env)?;
            let mut signatures = 0_u64;
            let mut forged = None;
            ledger.engine.history(&mut |sequence, _, event| {
                match verify_signature(&event) {
                    Ok(signed) => signatures += u64::from(signed),
                    Err(_) => forged = Some(sequence),
                }
                forged.is_none()
            })?;
            if let Some(event) = forged {
                return Err(LedgerError::Forged { event });
            }
            Ok(CheckReport {
                books,
                events: verified.last,
                chain: verified.chain,
                signatures,
            })
        })
        .await
    }

    /// How its log is doing. Waits for nobody.
    pub fn health(&self) -> Health {
        self.engine.health()
    }

    /// Finishes what was accepted, takes a snapshot, and frees the folder.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when the log had failed, or fails now.
    pub async fn close(&self) -> Result<(), LedgerError> {
        self.engine.close().await.map_err(LedgerError::Engine)
    }

    async fn ask(&self, command: Command) -> Result<Reply, LedgerError> {
        submit(&self.engine, command).await
    }

    /// Waits for a turn to read the whole log.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, LedgerError> {
        let turn = Arc::clone(&self.scans).acquire_owned().await;
        turn.map_err(|_| LedgerError::Internal)
    }

    /// Reads the whole log where blocking is allowed. The turn ends when the reading does, even if
    /// whoever asked has gone.
    async fn scan<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        work: impl FnOnce(&Self) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (sender, receiver) = oneshot::channel();
        let ledger = self.clone();
        self.env.spawner.spawn_blocking_task(
            "ledger-scan",
            Box::pin(async move {
                // Whoever asked may have gone: then nobody wants the answer.
                let done = work(&ledger);
                drop(turn);
                let _ = sender.send(done);
            }),
        );
        receiver.await.map_err(|_| LedgerError::Internal)?
    }
}

/// What an answer says of an order.
fn executed(reply: Result<Reply, LedgerError>) -> Result<Outcome, ExecuteFailure> {
    match reply {
        Ok(Reply::Executed(Ok(outcome))) => Ok(outcome),
        Ok(Reply::Executed(Err(refusal))) => Err(ExecuteFailure::Refused(refusal)),
        Ok(_) => Err(ExecuteFailure::Unknown(LedgerError::Internal)),
        Err(error) => Err(ExecuteFailure::Unknown(error)),
    }
}

fn open_engine(
    folder: &Path,
    segment_bytes: u64,
    env: &Env,
) -> Result<Engine<LedgerMachine>, LedgerError> {
    let mut config = stiver_wal::Config::new(folder.join(LOG_FOLDER));
    config.segment_bytes = segment_bytes;
    Engine::open(config, env, LedgerMachine::default).map_err(LedgerError::Open)
}

async fn submit(engine: &Engine<LedgerMachine>, command: Command) -> Result<Reply, LedgerError> {
    let reply = engine.submit(MachineCommand(command)).await;
    reply.map(|reply| reply.0).map_err(LedgerError::Engine)
}

async fn register(
    engine: &Engine<LedgerMachine>,
    config: CurrencyConfig,
) -> Result<(), LedgerError> {
    let code = config.currency.code();
    let malformed = || LedgerError::Currency {
        code: config.currency.code().to_owned(),
    };
    let new = NewCurrency {
        code: CurrencyCode::new(code).map_err(|_| malformed())?,
        decimals: config.currency.decimals(),
        issuer_key: config.issuer,
    };
    let Reply::Registered(registered) = submit(engine, Command::Register(new)).await? else {
        return Err(LedgerError::Internal);
    };
    registered.map_err(|refusal| match refusal {
        RegisterRefusal::Differs { decimals, issuer } => LedgerError::OtherCurrency {
            code: code.to_owned(),
            decimals,
            issuer,
        },
        RegisterRefusal::TooMany => LedgerError::TooManyCurrencies,
        RegisterRefusal::Malformed => malformed(),
    })
}

/// What [`Ledger::check`] found in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The books; every currency's sum is zero.
    pub books: Books,
    /// Events in the log.
    pub events: u64,
    /// The hash of the log's last frame: whoever keeps it can prove later that nothing before it
    /// was changed.
    pub chain: [u8; 32],
    /// Signatures verified.
    pub signatures: u64,
}

/// Why an order has no outcome to show.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteFailure {
    /// The ledger refused: nothing moved.
    #[error("the ledger refused")]
    Refused(#[source] Refusal),
    /// Nobody knows yet.
    #[error("the ledger gave no answer")]
    Unknown(#[source] LedgerError),
}

/// Why a ledger could not be opened, or has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The log could not be opened or read.
    #[error("the ledger's log cannot be read")]
    Open(#[source] OpenError),
    /// The log takes no more.
    #[error("the ledger's log does not answer")]
    Engine(#[source] EngineError),
    /// An invariant is broken.
    #[error("the ledger is not sound")]
    Unsound(#[source] stiver_wal::Inconsistent),
    /// A logged order's signature does not verify.
    #[error("event {event} of the log holds an order whose signature does not verify")]
    Forged {
        /// Which event.
        event: u64,
    },
    /// There is no ledger in the folder.
    #[error("there is no ledger in {}; `stiver init` makes one", folder.display())]
    NoLedger {
        /// The folder.
        folder: PathBuf,
    },
    /// The ledger began with another operator.
    #[error("the ledger's operator is {found}, but {configured} is configured")]
    OtherOperator {
        /// The ledger's.
        found: AccountId,
        /// The configuration's.
        configured: AccountId,
    },
    /// The ledger began with another receipt key.
    #[error("the ledger's receipt key is {found}, but {configured} was given; restore its file")]
    OtherReceiptKey {
        /// The ledger's.
        found: DidKey,
        /// The configuration's.
        configured: DidKey,
    },
    /// The ledger has the currency with other decimals or another issuer.
    #[error("the ledger has {code} with {decimals} decimals, issued by {issuer}")]
    OtherCurrency {
        /// The code.
        code: String,
        /// The ledger's decimals.
        decimals: u8,
        /// The ledger's issuer.
        issuer: AccountId,
    },
    /// No currency that a ledger can have.
    #[error("{code} is no currency that a ledger can have")]
    Currency {
        /// The code.
        code: String,
    },
    /// Too many currencies.
    #[error("the ledger is at its limit of {} currencies", limits::CURRENCIES_MAX)]
    TooManyCurrencies,
    /// The memory configured is too short.
    #[error(
        "a memory of {given} ms is too short; at least {} ms",
        limits::MEMORY_MS_MIN
    )]
    MemoryTooShort {
        /// What was configured, milliseconds.
        given: u64,
    },
    /// Enough others read the whole log now.
    #[error(
        "{} others are reading the ledger's whole log; ask again later",
        limits::SCANS_MAX
    )]
    Busy,
    /// The ledger's task ended without an answer.
    #[error("the ledger's task ended without an answer")]
    Internal,
}

impl From<OpenError> for LedgerError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}
