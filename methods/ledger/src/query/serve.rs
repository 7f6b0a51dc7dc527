//! The ledger's side.

use stiver_core::{Timestamp, did::DidKey};
use stiver_ledger::{
    Ledger, LedgerError,
    view::{Account, OrderStatus, StatementRequest},
};

use super::{
    QUERY_SKEW_MS, Query, Question, STATEMENT_ROWS_MAX,
    answer::{AccountAnswer, Answer, ChannelAnswer, OrderAnswer},
    asked_order, open,
};

/// The code of [`QueryRefusal::NoAccount`].
pub(super) const NO_ACCOUNT: &str = "no-account";

/// Answers a question: a body in, a body out. `now` is the host's clock.
///
/// # Errors
///
/// [`QueryRefusal`]; it says no more than whoever may not ask can know.
pub async fn serve(body: &[u8], ledger: &Ledger, now: Timestamp) -> Result<Vec<u8>, QueryRefusal> {
    let (query, key) = open(body)?;
    let skew = query.at.millis_since(now).max(now.millis_since(query.at));
    if query.ledger != ledger.id() {
        return Err(QueryRefusal::OtherLedger);
    }
    if skew > QUERY_SKEW_MS {
        return Err(QueryRefusal::Skewed);
    }
    let account = ledger
        .account(query.account)
        .await?
        .ok_or(QueryRefusal::NoAccount)?;
    if !account.keys.iter().any(|row| row.key == key) {
        return Err(QueryRefusal::Denied);
    }
    let answer = answer(ledger, &query, account, key).await?;
    Ok(answer.to_body(query.ledger, now, None))
}

async fn answer(
    ledger: &Ledger,
    query: &Query,
    account: Account,
    key: DidKey,
) -> Result<Answer, QueryRefusal> {
    Ok(match &query.question {
        Question::Account => Answer::Account(AccountAnswer::from(&account)),
        Question::Order(bytes) => {
            let order = asked_order(bytes, query.account, key)?;
            Answer::Order(match ledger.status_unless_busy(&order).await? {
                OrderStatus::Executed(outcome) => OrderAnswer::executed(&outcome),
                OrderStatus::Never(refusal) => OrderAnswer::never(refusal),
                OrderStatus::Pending => OrderAnswer::Pending,
            })
        }
        Question::Channel(channel) => {
            let hold = ledger.hold(*channel).await?;
            // A stranger is told of somebody else's channel what it is told of none.
            let known =
                hold.filter(|hold| hold.payer == query.account || hold.capturer == query.account);
            Answer::Channel {
                channel: known.as_ref().and_then(ChannelAnswer::of),
            }
        }
        Question::Channels { after, limit } => {
            let limit = usize::try_from((*limit).clamp(1, STATEMENT_ROWS_MAX));
            let limit = limit.unwrap_or(usize::MAX);
            // One more than asked for tells whether there is a next page.
            let holds = ledger.channels(query.account, *after, limit + 1).await?;
            let next = holds.get(limit).and(holds.get(limit - 1));
            Answer::Channels {
                next: next.map(|hold| hold.id.to_string()),
                channels: holds
                    .iter()
                    .take(limit)
                    .filter_map(ChannelAnswer::of)
                    .collect(),
            }
        }
        Question::Statement {
            from,
            to,
            before,
            limit,
        } => {
            let limit = (*limit).clamp(1, STATEMENT_ROWS_MAX);
            let request = StatementRequest {
                account: query.account,
                from: *from,
                to: *to,
                before: *before,
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
            };
            let page = ledger.statement(request).await?;
            Answer::Statement {
                transfers: page.transfers.iter().map(Into::into).collect(),
                next: page.next,
            }
        }
    })
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryRefusal {
    /// The body is no question. (HTTP: 400)
    #[error("not a signed query: send query, key and signature, all of them in their wire form")]
    Malformed,
    /// The question is for another ledger. (HTTP: 404)
    #[error("the query is for another ledger")]
    OtherLedger,
    /// The asker's clock is off. (HTTP: 403)
    #[error("the query's time is more than 5 minutes away: set the clock")]
    Skewed,
    /// The signature is wrong, or the key is not the account's. (HTTP: 403)
    #[error("the query is not signed by a key of the account")]
    Denied,
    /// There is no such account. (HTTP: 404)
    #[error("no such account on this ledger; it is opened by its first payment or order")]
    NoAccount,
    /// Enough others are asking for what only the whole log can tell. (HTTP: 503)
    #[error("the ledger is busy reading its log: ask again in some seconds")]
    Busy,
    /// The ledger does not answer. (HTTP: 503)
    #[error("the ledger does not answer")]
    Ledger(#[source] LedgerError),
}

impl QueryRefusal {
    /// A stable name for it, to travel beside the words: programs tell refusals apart by it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed-query",
            Self::OtherLedger => "other-ledger",
            Self::Skewed => "skewed-clock",
            Self::Denied => "denied",
            Self::NoAccount => NO_ACCOUNT,
            Self::Busy => "busy",
            Self::Ledger(_) => "ledger-failed",
        }
    }
}

impl From<LedgerError> for QueryRefusal {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Busy => Self::Busy,
            error => Self::Ledger(error),
        }
    }
}
