//! What the admin interface says, as JSON. Amounts are base units in decimal digits, with the human
//! form beside them.

use serde::{Deserialize, Serialize};
use stiver_core::{Amount, Currency};
use stiver_ledger::{id::AccountId, view};
use stiver_server::gate;

/// `{"error": "..."}`
#[derive(Debug, Serialize, Deserialize)]
pub struct Failed {
    /// What is wrong.
    pub error: String,
}

/// An amount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Money {
    /// Base units; negative for what an issuer owes.
    pub units: String,
    /// The currency's code.
    pub currency: String,
    /// The human form.
    pub display: String,
}

impl From<&Amount> for Money {
    fn from(amount: &Amount) -> Self {
        Self {
            units: amount.to_wire(),
            currency: amount.currency().code().to_owned(),
            display: amount.to_string(),
        }
    }
}

impl Money {
    fn signed(units: i128, currency: &Currency) -> Self {
        let amount = currency.units(units.unsigned_abs());
        let sign = if units < 0 { "-" } else { "" };
        Self {
            units: format!("{sign}{}", amount.to_wire()),
            currency: currency.code().to_owned(),
            display: format!("{sign}{amount}"),
        }
    }
}

/// The ledger as a whole.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Books {
    /// The ledger's id.
    pub ledger: String,
    /// Now, by the ledger's clock.
    pub at: String,
    /// How many accounts.
    pub accounts: usize,
    /// Orders executed since the beginning.
    pub executed: u64,
    /// Open holds.
    pub open_holds: usize,
    /// Each currency.
    pub currencies: Vec<CurrencyBooks>,
}

/// One currency of the ledger.
#[derive(Debug, Serialize, Deserialize)]
pub struct CurrencyBooks {
    /// Its code.
    pub currency: String,
    /// Decimals of its base unit.
    pub decimals: u8,
    /// Its issuer's account.
    pub issuer: String,
    /// In circulation.
    pub issued: Money,
    /// Of it, held.
    pub held: Money,
    /// The sum over all accounts: zero.
    pub sum: Money,
}

impl From<&view::Books> for Books {
    fn from(books: &view::Books) -> Self {
        let currencies = books.currencies.iter().map(|row| CurrencyBooks {
            currency: row.currency.code().to_owned(),
            decimals: row.currency.decimals(),
            issuer: row.issuer.to_string(),
            issued: Money::from(&row.currency.units(row.issued)),
            held: Money::from(&row.currency.units(row.held)),
            sum: Money::signed(row.sum, &row.currency),
        });
        Self {
            ledger: books.ledger.to_string(),
            at: books.at.to_rfc3339(),
            accounts: books.accounts,
            executed: books.executed,
            open_holds: books.open_holds,
            currencies: currencies.collect(),
        }
    }
}

/// A page of accounts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Accounts {
    /// The accounts, in the order of their ids.
    pub accounts: Vec<Account>,
}

/// An account.
#[derive(Debug, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its owner's label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its keys.
    pub keys: Vec<String>,
    /// Whether it is frozen.
    pub frozen: bool,
    /// Its balances.
    pub balances: Vec<Balance>,
}

/// A balance.
#[derive(Debug, Serialize, Deserialize)]
pub struct Balance {
    /// Credits less debits.
    pub posted: Money,
    /// Of it, held.
    pub held: Money,
    /// What can be spent.
    pub available: Money,
}

impl From<&view::Account> for Account {
    fn from(account: &view::Account) -> Self {
        let balances = account.balances.iter().map(|row| Balance {
            posted: Money::signed(row.posted, &row.currency),
            held: Money::from(&row.currency.units(row.held)),
            available: Money::from(&row.available()),
        });
        Self {
            id: account.id.to_string(),
            owner: account.owner.clone(),
            keys: account.keys.iter().map(|key| key.key.to_string()).collect(),
            frozen: account.frozen,
            balances: balances.collect(),
        }
    }
}

/// A page of movements.
#[derive(Debug, Serialize, Deserialize)]
pub struct Statement {
    /// The movements, newest first.
    pub movements: Vec<Movement>,
    /// `before` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A movement, seen from one account.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Movement {
    /// Its place in the ledger.
    pub sequence: u64,
    /// When.
    pub at: String,
    /// `transfer`, `mint`, `burn`, `refund` or `post`.
    pub kind: String,
    /// The transfer's id.
    pub id: String,
    /// The other account.
    pub other: String,
    /// The amount, negative when it left the account.
    pub amount: Money,
    /// The challenge it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// The transfer it gives back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_of: Option<String>,
}

impl Movement {
    /// A transfer as an account sees it.
    pub fn of(transfer: &view::Transfer, account: AccountId) -> Self {
        let out = transfer.debit == account;
        let mut amount = Money::from(&transfer.amount);
        if out {
            amount.units = format!("-{}", amount.units);
            amount.display = format!("-{}", amount.display);
        }
        let other = if out { transfer.credit } else { transfer.debit };
        Self {
            sequence: transfer.sequence,
            at: transfer.at.to_rfc3339(),
            kind: transfer.kind.name().to_owned(),
            id: transfer.id.to_string(),
            other: other.to_string(),
            amount,
            challenge: transfer.challenge.clone(),
            refund_of: transfer.refund_of.map(|id| id.to_string()),
        }
    }
}

/// What a check found in order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Check {
    /// Always true: what is wrong is an error.
    pub ok: bool,
    /// Events in the log.
    pub events: u64,
    /// Signatures verified.
    pub signatures: u64,
    /// The hash of the log's last frame.
    pub chain: String,
    /// The books.
    pub books: Books,
}

/// An order to execute.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewOrder {
    /// The signed order, base64url.
    pub order: String,
}

/// What an order did.
#[derive(Debug, Serialize, Deserialize)]
pub struct Executed {
    /// `transfer`, `hold`, `void` or `account`.
    pub kind: String,
    /// The id of what it made or changed.
    pub id: String,
    /// The account that was credited or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The amount moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
}

impl From<&view::Outcome> for Executed {
    fn from(outcome: &view::Outcome) -> Self {
        let bare = |kind: &str, id: String| Self {
            kind: kind.to_owned(),
            id,
            account: None,
            amount: None,
        };
        match outcome {
            view::Outcome::Transfer(transfer) => Self {
                kind: transfer.kind.name().to_owned(),
                id: transfer.id.to_string(),
                account: Some(transfer.credit.to_string()),
                amount: Some(Money::from(&transfer.amount)),
            },
            view::Outcome::Held(hold) => bare("hold", hold.to_string()),
            view::Outcome::Voided(hold) => bare("void", hold.to_string()),
            view::Outcome::Changed(account) => bare("account", account.to_string()),
            view::Outcome::Channel(channel) => bare("channel", channel.to_string()),
            other => bare("other", format!("{other:?}")),
        }
    }
}

/// What a reload put into force.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// Routes.
    pub routes: usize,
    /// Upstreams.
    pub upstreams: usize,
    /// Whether anything but the secrets has changed.
    pub changed: bool,
}

/// What a rotation of the challenge secrets did.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotated {
    /// When the secret that was current ends.
    pub previous_until: String,
}

/// A page of payments.
#[derive(Debug, Serialize, Deserialize)]
pub struct Payments {
    /// Those with work left, newest first, then those that have ended, latest first.
    pub payments: Vec<Payment>,
    /// `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A payment, as the journal knows it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// The id of the challenge that it answers.
    pub challenge: String,
    /// How far it is.
    pub state: String,
    /// It counts as delivered and nothing was: the money was kept.
    pub kept: bool,
    /// The payment method.
    pub method: String,
    /// What was asked.
    pub amount: Money,
    /// Who is paid.
    pub payee: String,
    /// Who pays, where the method can prove it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// HTTP method and path.
    pub resource: String,
    /// When its credential came.
    pub claimed_at: String,
    /// Until when the journal keeps it, once there is nothing left to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<String>,
    /// How many times the upstream was asked.
    pub deliveries_started: u32,
    /// The settlement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<Moved>,
    /// The whole refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Moved>,
    /// Why the rail refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// A movement of money.
#[derive(Debug, Serialize, Deserialize)]
pub struct Moved {
    /// The rail's id of it.
    pub reference: String,
    /// When.
    pub at: String,
    /// How much.
    pub amount: Money,
}

impl From<&gate::Moved> for Moved {
    fn from(moved: &gate::Moved) -> Self {
        Self {
            reference: moved.reference.clone(),
            at: moved.at.to_rfc3339(),
            amount: Money::from(&moved.amount),
        }
    }
}

impl From<&gate::PaymentRecord> for Payment {
    fn from(row: &gate::PaymentRecord) -> Self {
        Self {
            challenge: row.challenge_id.clone(),
            state: row.state.to_owned(),
            kept: row.kept,
            method: row.method.clone(),
            amount: Money::from(&row.amount),
            payee: row.payee.clone(),
            payer: row.payer.clone(),
            resource: row.resource.clone(),
            claimed_at: row.claimed_at.to_rfc3339(),
            kept_until: row.kept_until.map(|at| at.to_rfc3339()),
            deliveries_started: row.deliveries_started,
            settled: row.settled.as_ref().map(Moved::from),
            refunded: row.refunded.as_ref().map(Moved::from),
            refusal: row.refusal.clone(),
        }
    }
}

/// A refund to make.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRefund {
    /// The id of the challenge that the payment answers.
    pub challenge: String,
    /// A part, such as `0.01 USD`; the whole when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Why, for the payer's statement.
    pub reason: String,
    /// The same key is the same refund.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What became of a refund. Without `amount` and `reference` nobody knows yet.
#[derive(Debug, Serialize, Deserialize)]
pub struct RefundMade {
    /// How much went back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// The rail's id of the movement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}
