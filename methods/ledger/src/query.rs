//! How a payer asks a ledger about its own money: one signed question, one answer, both JSON.
//!
//! A question is deterministic CBOR, signed by a key of the account it is about, and carried in
//! JSON: `{"query": base64url, "key": did:key, "signature": base64url}`. It is good for
//! [`QUERY_SKEW_MS`] around the time it names; it changes nothing, so hearing it twice does no
//! harm. The transport is somebody else's: [`serve`] takes a body and gives a body.
//!
//! | key | member | type | in |
//! |---|---|---|---|
//! | 0 | domain, `stiver-ledger/query/1` | text | all |
//! | 1 | kind: 1 account, 2 order, 3 statement, 4 channel, 5 channels | integer | all |
//! | 2 | ledger | 16 bytes | all |
//! | 3 | account | 16 bytes | all |
//! | 4 | time of asking, milliseconds since 1970 | integer | all |
//! | 5 | the order's bytes | bytes | order |
//! | 6, 7 | from, to, milliseconds since 1970 | integer | statement |
//! | 8 | before this sequence | integer | statement, optional |
//! | 9 | at most so many | integer | statement, channels |
//! | 10 | channel, or after which | 32 bytes | channel; channels, optional |

mod answer;
mod remote;
mod serve;
#[cfg(test)]
mod tests;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use stiver_core::{Timestamp, base64url, did::DidKey, json::Object};
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId},
    key,
    order::{ORDER_BYTES_MAX, Order, SignedOrder},
};
use stiver_method::signer::{Purpose, SignError, SignRequest, Signer};

pub use self::{
    answer::{
        AccountAnswer, Answer, AnswerError, BalanceAnswer, ChannelAnswer, OrderAnswer,
        TransferAnswer,
    },
    remote::{AskError, QueryTransport, RemoteLedger},
    serve::{QueryRefusal, serve},
};

/// First member of every question.
pub const QUERY_DOMAIN: &str = "stiver-ledger/query/1";
/// How far a question's time may be from the ledger's host's, milliseconds: 5 minutes.
pub const QUERY_SKEW_MS: u64 = 5 * 60_000;
/// Longest question, bytes of JSON.
pub const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Longest answer, bytes of JSON: a page of [`STATEMENT_ROWS_MAX`] movements fits.
pub const ANSWER_BYTES_MAX: usize = stiver_core::limits::JSON_BYTES_MAX;
/// Most movements or channels in one answer.
pub const STATEMENT_ROWS_MAX: u32 = 50;

/// A question about one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Which ledger.
    pub ledger: LedgerId,
    /// The account: a key of it signs.
    pub account: AccountId,
    /// When it is asked, by the asker's clock.
    pub at: Timestamp,
    /// What is asked.
    pub question: Question,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// The account: balances, keys, limits.
    Account,
    /// What became of an order of the account.
    Order(Vec<u8>),
    /// Movements of the account, newest first.
    Statement {
        /// Not before.
        from: Timestamp,
        /// Before.
        to: Timestamp,
        /// Only older than this sequence.
        before: Option<u64>,
        /// At most so many, up to [`STATEMENT_ROWS_MAX`].
        limit: u32,
    },
    /// A channel that the account pays or is paid by.
    Channel(HoldId),
    /// The open channels that the account pays, in the order of their ids.
    Channels {
        /// Only after this one.
        after: Option<HoldId>,
        /// At most so many, up to [`STATEMENT_ROWS_MAX`].
        limit: u32,
    },
}

#[derive(Default, Encode, Decode)]
#[cbor(map)]
struct QueryMap<'b> {
    #[b(0)]
    domain: &'b str,
    #[n(1)]
    kind: u8,
    #[n(2)]
    ledger: Option<LedgerId>,
    #[n(3)]
    account: Option<AccountId>,
    #[n(4)]
    at: u64,
    #[b(5)]
    order: Option<&'b minicbor::bytes::ByteSlice>,
    #[n(6)]
    from: Option<u64>,
    #[n(7)]
    to: Option<u64>,
    #[n(8)]
    before: Option<u64>,
    #[n(9)]
    limit: Option<u32>,
    #[n(10)]
    channel: Option<HoldId>,
}

/// A question as it travels.
#[derive(Serialize, Deserialize)]
struct Envelope {
    query: String,
    key: String,
    signature: String,
}

impl Query {
    /// The bytes to sign.
    pub fn encode(&self) -> Vec<u8> {
        let mut map = QueryMap {
            domain: QUERY_DOMAIN,
            ledger: Some(self.ledger),
            account: Some(self.account),
            at: self.at.as_millis(),
            ..QueryMap::default()
        };
        match &self.question {
            Question::Account => map.kind = 1,
            Question::Order(order) => {
                map.kind = 2;
                map.order = Some(order.as_slice().into());
            }
            Question::Statement {
                from,
                to,
                before,
                limit,
            } => {
                map.kind = 3;
                map.from = Some(from.as_millis());
                map.to = Some(to.as_millis());
                map.before = *before;
                map.limit = Some(*limit);
            }
            Question::Channel(channel) => {
                map.kind = 4;
                map.channel = Some(*channel);
            }
            Question::Channels { after, limit } => {
                map.kind = 5;
                map.channel = *after;
                map.limit = Some(*limit);
            }
        }
        minicbor::to_vec(&map).expect(
            "encoding cannot fail, because writing to a Vec cannot and no type here refuses",
        )
    }

    /// Reads a question. `None` unless the bytes are the deterministic form of one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let map: QueryMap<'_> = minicbor::decode(bytes).ok()?;
        if map.domain != QUERY_DOMAIN {
            return None;
        }
        let question = match map.kind {
            1 => Question::Account,
            2 => Question::Order(map.order?.to_vec()),
            3 => Question::Statement {
                from: Timestamp::from_millis(map.from?),
                to: Timestamp::from_millis(map.to?),
                before: map.before,
                limit: map.limit?,
            },
            4 => Question::Channel(map.channel?),
            5 => Question::Channels {
                after: map.channel,
                limit: map.limit?,
            },
            _ => return None,
        };
        let query = Self {
            ledger: map.ledger?,
            account: map.account?,
            at: Timestamp::from_millis(map.at),
            question,
        };
        // One question has one byte form: members of another kind show here too.
        (query.encode() == bytes).then_some(query)
    }

    /// Signs the question: the body to send.
    ///
    /// # Errors
    ///
    /// [`SignError`] when the signer does not sign.
    pub async fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
        let message = self.encode();
        let request = SignRequest {
            purpose: Purpose::Query,
            message: &message,
        };
        let envelope = Envelope {
            query: base64url::encode(&message),
            key: DidKey::from_public_key(signer.public_key()).to_string(),
            signature: base64url::encode(&signer.sign(request).await?),
        };
        Object::serialize(&envelope)
            .map(|object| object.as_str().as_bytes().to_vec())
            .map_err(|error| SignError::Refused(error.to_string()))
    }
}

/// Reads a body: the question and the key that signed it. The signature is verified.
fn open(body: &[u8]) -> Result<(Query, DidKey), QueryRefusal> {
    if body.len() > QUERY_BYTES_MAX {
        return Err(QueryRefusal::Malformed);
    }
    let envelope: Envelope = Object::parse(body)
        .and_then(|object| object.deserialize())
        .map_err(|_| QueryRefusal::Malformed)?;
    let key: DidKey = envelope.key.parse().map_err(|_| QueryRefusal::Malformed)?;
    let decode = |text: &str| base64url::decode(text.as_bytes());
    let bytes = decode(&envelope.query).map_err(|_| QueryRefusal::Malformed)?;
    let query = Query::decode(&bytes).ok_or(QueryRefusal::Malformed)?;
    let signature: [u8; 64] = decode(&envelope.signature)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(QueryRefusal::Malformed)?;
    key::verify(&key, &bytes, &signature).map_err(|_| QueryRefusal::Denied)?;
    Ok((query, key))
}

/// The order in a question, which must be one of the account that asks. Its signature does not
/// matter: what is asked for is told by its hash.
fn asked_order(bytes: &[u8], account: AccountId, key: DidKey) -> Result<SignedOrder, QueryRefusal> {
    if bytes.len() > ORDER_BYTES_MAX {
        return Err(QueryRefusal::Malformed);
    }
    let order = Order::decode(bytes).map_err(|_| QueryRefusal::Malformed)?;
    if order.account != account {
        return Err(QueryRefusal::Denied);
    }
    SignedOrder::new(bytes, key, [0; 64]).map_err(|_| QueryRefusal::Malformed)
}
