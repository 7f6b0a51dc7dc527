//! What a ledger tells about itself.

use minicbor::{Decode, Encode};
use stiver_core::{Amount, Currency, Timestamp, did::DidKey};

use crate::{
    id::{AccountId, HoldId, LedgerId, OrderHash, TransferId},
    key::AccountKey,
    order::Condition,
    refusal::Refusal,
};

/// A movement of money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its id: the hash of the order that made it.
    pub id: TransferId,
    /// Its place in the ledger, counted over all executed orders from 1.
    pub sequence: u64,
    /// What kind of movement.
    pub kind: TransferKind,
    /// Where the money came from.
    pub debit: AccountId,
    /// Where it went.
    pub credit: AccountId,
    /// How much.
    pub amount: Amount,
    /// When, by the ledger's clock.
    pub at: Timestamp,
    /// The key that signed the order.
    pub key: DidKey,
    /// The challenge it answered, if one.
    pub challenge: Option<String>,
    /// The transfer it gives back, if it is a refund.
    pub refund_of: Option<TransferId>,
    /// The hold it was taken from, if it was.
    pub hold: Option<HoldId>,
    /// Why, for a refund.
    pub reason: Option<String>,
    /// How much of it was refunded since.
    pub refunded: Amount,
}

/// Kinds of movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum TransferKind {
    /// A payment.
    #[n(1)]
    Transfer,
    /// Issued.
    #[n(2)]
    Mint,
    /// Destroyed.
    #[n(3)]
    Burn,
    /// Given back.
    #[n(4)]
    Refund,
    /// Taken from a hold.
    #[n(9)]
    Post,
}

impl TransferKind {
    /// Its name: `transfer`, `mint`, `burn`, `refund` or `post`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Mint => "mint",
            Self::Burn => "burn",
            Self::Refund => "refund",
            Self::Post => "post",
        }
    }
}

/// What an order did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It moved money.
    Transfer(Box<Transfer>),
    /// It made a hold.
    Held(HoldId),
    /// It voided a hold.
    Voided(HoldId),
    /// It opened or changed an account.
    Changed(AccountId),
    /// It topped a channel up, forced its close, withdrew from it or closed it: no money changed
    /// hands.
    Channel(HoldId),
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderStatus {
    /// It was executed.
    Executed(Outcome),
    /// It was not, and never can be.
    Never(Refusal),
    /// It was not, and may yet be until it expires.
    Pending,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Its owner's label, chosen by whoever opened it.
    pub owner: Option<String>,
    /// Its keys.
    pub keys: Vec<AccountKey>,
    /// Frozen accounts neither pay nor are paid.
    pub frozen: bool,
    /// The most it may pay or hold at once, base units of any currency.
    pub limit: Option<u128>,
    /// Its balances, in the order the currencies were registered.
    pub balances: Vec<Balance>,
    /// How many of its holds are open.
    pub open_holds: u32,
}

impl Account {
    /// The balance of a currency, if it ever had one.
    pub fn balance(&self, currency: &str) -> Option<&Balance> {
        self.balances
            .iter()
            .find(|balance| balance.currency.code() == currency)
    }
}

/// What an account has of one currency, in base units. Only an issuer's may be negative: it is
/// what the issuer owes to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The currency.
    pub currency: Currency,
    /// Credits less debits.
    pub posted: i128,
    /// Of it, set aside by open holds.
    pub held: u128,
}

impl Balance {
    /// What can be spent now: posted less held, nothing when that is negative.
    pub fn available(&self) -> Amount {
        let posted = u128::try_from(self.posted).unwrap_or(0);
        self.currency.units(posted.saturating_sub(self.held))
    }
}

/// A hold: money set aside.
///
/// `Open → Posted` (by a last post, or by posts of all of it), `Open → Voided` (by the capturer),
/// `Open → Lapsed` (at its end), `Open → Withdrawn` (a channel, by its payer after the grace). A
/// hold without an end never lapses. A channel stays open when all of it was taken, since it can be
/// topped up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its id: the hash of the order that made it.
    pub id: HoldId,
    /// Whose money.
    pub payer: AccountId,
    /// Who may take it.
    pub capturer: AccountId,
    /// At most how much.
    pub max: Amount,
    /// How much was taken.
    pub captured: Amount,
    /// When what was not taken is free again.
    pub until: Option<Timestamp>,
    /// On what condition it may be taken.
    pub condition: Condition,
    /// From when on its payer may withdraw, once it has forced the close of a channel.
    pub withdrawable_at: Option<Timestamp>,
    /// How far it is.
    pub state: HoldState,
    /// The challenge it answers, if one.
    pub challenge: Option<String>,
}

/// How far a hold is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// Money is set aside.
    Open,
    /// Taken; what remained is free.
    Posted,
    /// Given up by its capturer.
    Voided,
    /// Its end has passed.
    Lapsed,
    /// A channel whose payer withdrew what remained.
    Withdrawn,
}

/// A currency of the ledger, and the books of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrencyBooks {
    /// The currency.
    pub currency: Currency,
    /// Its issuer's account.
    pub issuer: AccountId,
    /// Base units in circulation: what all accounts but the issuer's have together.
    pub issued: u128,
    /// Of them, set aside by open holds.
    pub held: u128,
    /// The sum over all accounts: zero, or money was made of nothing.
    pub sum: i128,
}

/// The ledger as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    /// Which ledger.
    pub ledger: LedgerId,
    /// The operator's account.
    pub operator: AccountId,
    /// Whether only the operator and issuers open accounts.
    pub permissioned: bool,
    /// The key that signs receipts.
    pub receipt_key: DidKey,
    /// How long an executed order is remembered after its expiry, milliseconds.
    pub memory_ms: u64,
    /// When the ledger began.
    pub opened_at: Timestamp,
    /// Now, by the ledger's clock.
    pub at: Timestamp,
    /// Accounts.
    pub accounts: usize,
    /// Orders executed since the ledger began.
    pub executed: u64,
    /// Orders remembered now.
    pub remembered: usize,
    /// Open holds.
    pub open_holds: usize,
    /// Each currency.
    pub currencies: Vec<CurrencyBooks>,
}

/// Which movements of an account to list: newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementRequest {
    /// Whose.
    pub account: AccountId,
    /// Not before.
    pub from: Timestamp,
    /// Before.
    pub to: Timestamp,
    /// Only older than this sequence: where the last page ended.
    pub before: Option<u64>,
    /// At most so many; never more than [`crate::limits::PAGE_MAX`].
    pub limit: usize,
}

/// A page of an account's movements, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The movements.
    pub transfers: Vec<Transfer>,
    /// Where the next page goes on: `before` of the next request. `None` at the end.
    pub next: Option<u64>,
}

/// What the ledger remembers of an order's hash alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// As [`OrderStatus`].
    Status(OrderStatus),
    /// So old that only the log can tell.
    Forgotten(OrderHash),
}
