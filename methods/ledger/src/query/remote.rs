//! The payer's side: a ledger that is asked over some transport.

use std::sync::Arc;

use stiver_env::Clock;
use stiver_ledger::{
    id::{AccountId, LedgerId},
    order::SignedOrder,
};
use stiver_method::{
    BoxFuture,
    artefact::{Lookup, RailUnavailable},
    signer::Signer,
};

use super::{Answer, Query, Question, serve::NO_ACCOUNT};
use crate::api::OrderQuery;

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
}

impl OrderQuery for RemoteLedger {
    fn lookup<'a>(
        &'a self,
        order: &'a SignedOrder,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        Box::pin(async move {
            if order.order().ledger != self.ledger || order.order().account != self.account {
                return Err(RailUnavailable(
                    "the order is for another ledger or account".to_owned(),
                ));
            }
            let question = Question::Order(order.order_bytes().to_vec());
            let contradiction = || RailUnavailable("the ledger's answer makes no sense".to_owned());
            match self.ask(question).await? {
                Answer::Order(answer) => answer.lookup(order).ok_or_else(contradiction),
                _ => Err(contradiction()),
            }
        })
    }
}
