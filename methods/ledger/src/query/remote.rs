//! The payer's side: a ledger that is asked over some transport.

use std::sync::Arc;

use stiver_core::Timestamp;
use stiver_env::Clock;
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId},
    order::{SignedOrder, VerifiedOrder},
};
use stiver_method::{
    BoxFuture,
    artefact::{ExecuteError, Lookup, RailUnavailable},
    session::{ChannelLookup, ChannelMoved, ChannelState},
    signer::Signer,
};

use super::{Answer, OrderAnswer, Query, Question, serve::NO_ACCOUNT};
use crate::{
    api::{ChannelLedger, OrderQuery, channel_of, moved},
    refusal, submit,
};

/// Carries a question to a ledger and its answer back, by HTTP or otherwise.
pub trait QueryTransport: Send + Sync {
    /// Sends a body, gives the answer's body. An answer that is no success is an error.
    fn post(&self, body: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, AskError>>;
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The ledger refused it.
    #[error("the ledger refused: {detail}")]
    Refused {
        /// [`super::QueryRefusal::code`], when one came.
        code: Option<String>,
        /// In its words: print them through [`stiver_core::untrusted::Untrusted`].
        detail: String,
    },
    /// Nothing is known.
    #[error(transparent)]
    Unavailable(#[from] RailUnavailable),
}

impl AskError {
    /// True when the ledger has no such account yet: nobody has funded it.
    pub fn is_no_account(&self) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if code == NO_ACCOUNT)
    }
}

impl From<AskError> for RailUnavailable {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unavailable(error) => error,
            refused => Self(refused.to_string()),
        }
    }
}

/// A ledger that is asked over a transport, about one account.
pub struct RemoteLedger {
    /// Which ledger.
    pub ledger: LedgerId,
    /// The account asked about.
    pub account: AccountId,
    /// A key of it.
    pub signer: Arc<dyn Signer>,
    /// How to reach the ledger.
    pub transport: Arc<dyn QueryTransport>,
    /// The time of asking.
    pub clock: Arc<dyn Clock>,
}

impl RemoteLedger {
    /// Asks one question.
    ///
    /// # Errors
    ///
    /// [`AskError`]: refused, or nothing is known.
    pub async fn ask(&self, question: Question) -> Result<Answer, AskError> {
        let query = Query {
            ledger: self.ledger,
            account: self.account,
            at: self.clock.now(),
            question,
        };
        let body = query
            .sign(self.signer.as_ref())
            .await
            .map_err(|error| RailUnavailable(error.to_string()))?;
        let body = self.transport.post(body).await?;
        let answer = Answer::parse(&body, self.ledger);
        Ok(answer.map_err(|error| RailUnavailable(error.to_string()))?)
    }

    async fn post(&self, body: Vec<u8>) -> Result<(Answer, Timestamp), AskError> {
        let body = self.transport.post(body).await?;
        let answer = Answer::parse_timed(&body, self.ledger);
        Ok(answer.map_err(|error| RailUnavailable(error.to_string()))?)
    }

    /// That an order is one that this asker may know of.
    fn is_ours(&self, order: &SignedOrder) -> Result<(), RailUnavailable> {
        if order.order().ledger != self.ledger || order.order().account != self.account {
            return Err(RailUnavailable(
                "the order is for another ledger or account".to_owned(),
            ));
        }
        Ok(())
    }

    /// The channel, after an order about it was executed.
    async fn moved(
        &self,
        channel: HoldId,
        order: &SignedOrder,
        at: Timestamp,
    ) -> Result<ChannelMoved, RailUnavailable> {
        let state = self.channel(channel).await?;
        Ok(moved(channel, order, at, state))
    }
}

fn contradiction() -> RailUnavailable {
    RailUnavailable("the ledger's answer makes no sense".to_owned())
}

impl ChannelLedger for RemoteLedger {
    fn channel(
        &self,
        channel: HoldId,
    ) -> BoxFuture<'_, Result<Option<ChannelState>, RailUnavailable>> {
        Box::pin(async move {
            match self.ask(Question::Channel(channel)).await? {
                Answer::Channel { channel: None } => Ok(None),
                Answer::Channel {
                    channel: Some(told),
                } => told.state(channel).map(Some).ok_or_else(contradiction),
                _ => Err(contradiction()),
            }
        })
    }

    fn execute_on_channel(
        &self,
        order: VerifiedOrder,
    ) -> BoxFuture<'_, Result<ChannelMoved, ExecuteError>> {
        Box::pin(async move {
            let unknown = |error: RailUnavailable| ExecuteError::Unknown(error.to_string());
            let signed = order.signed();
            self.is_ours(signed).map_err(unknown)?;
            let channel = channel_of(signed).ok_or_else(|| {
                ExecuteError::Refused(refusal::invalid("the order is about no channel"))
            })?;
            // A door that is shut is no refusal of the ledger's: the order may be executed yet.
            let (answer, at) = self
                .post(submit::body(&order))
                .await
                .map_err(|error| unknown(error.into()))?;
            match answer {
                Answer::Order(OrderAnswer::Executed { .. }) => {
                    self.moved(channel, signed, at).await.map_err(unknown)
                }
                Answer::Order(told) => Err(told
                    .refusal()
                    .map_or_else(|| unknown(contradiction()), ExecuteError::Refused)),
                _ => Err(unknown(contradiction())),
            }
        })
    }

    fn lookup_on_channel<'a>(
        &'a self,
        order: &'a SignedOrder,
    ) -> BoxFuture<'a, Result<ChannelLookup, RailUnavailable>> {
        Box::pin(async move {
            self.is_ours(order)?;
            let Some(channel) = channel_of(order) else {
                return Ok(ChannelLookup::Never(refusal::invalid(
                    "the order is about no channel",
                )));
            };
            let question = Question::Order(order.order_bytes().to_vec());
            match self.ask(question).await? {
                Answer::Order(OrderAnswer::Executed { .. }) => {
                    let at = self.clock.now();
                    let moved = self.moved(channel, order, at).await?;
                    Ok(ChannelLookup::Done(Box::new(moved)))
                }
                Answer::Order(OrderAnswer::Pending | OrderAnswer::Refused { .. }) => {
                    Ok(ChannelLookup::Pending)
                }
                Answer::Order(told) => told
                    .refusal()
                    .map(ChannelLookup::Never)
                    .ok_or_else(contradiction),
                _ => Err(contradiction()),
            }
        })
    }
}

impl OrderQuery for RemoteLedger {
    fn lookup<'a>(
        &'a self,
        order: &'a SignedOrder,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        Box::pin(async move {
            self.is_ours(order)?;
            let question = Question::Order(order.order_bytes().to_vec());
            match self.ask(question).await? {
                Answer::Order(answer) => answer.lookup(order).ok_or_else(contradiction),
                _ => Err(contradiction()),
            }
        })
    }
}
