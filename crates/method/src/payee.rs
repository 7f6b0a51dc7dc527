//! The payee's side of a method.

use stiver_core::{Amount, Timestamp, challenge::Challenge, json::Object, name::MethodName};

use crate::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, Lookup, RailUnavailable, Refusal, Settled},
};

/// The `charge` intent, for a payee.
pub trait PayeeCharge: Send + Sync {
    /// The method's name on the wire.
    fn name(&self) -> &MethodName;
    /// Makes the `request` of a challenge for this price. Creates no outside state unless the rail
    /// needs it.
    fn quote<'a>(&'a self, quote: Quote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>>;

    /// Whether [`PayeeCharge::quote`] gives the same for the same price, description and external
    /// id, whenever it is asked. Then it is asked once for each route. False by default: a method
    /// that makes an invoice makes another one each time.
    fn quotes_the_same(&self) -> bool {
        false
    }

    /// The terms a route with this price asks: what [`PayeeCharge::terms`] must give for a request
    /// quoted for it. Pure.
    fn expected_terms(&self, price: &Amount) -> Result<Terms, QuoteError>;
    /// The terms of a request: what stays the same from challenge to challenge (amount, currency,
    /// payee, network), without what differs (invoices, nonces). Pure.
    fn terms(&self, request: &Object) -> Result<Terms, Refusal>;
    /// Checks a credential without I/O: format, policy, signature, in that order. Never called
    /// under a lock.
    fn precheck(&self, presented: Presented<'_>) -> Result<Plan, Refusal>;
    /// Settles. Repeatable: executing again what has moved money returns the same settlement.
    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Settled, ExecuteError>>;
    /// What became of an artefact.
    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>>;
    /// Prepares giving `amount` of a settled payment back, when the rail can. Signs, moves nothing.
    fn prepare_refund<'a>(
        &'a self,
        refund: RefundRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, RefundError>>;
    /// Adds the method's signature to a receipt, when it signs receipts. The default adds nothing.
    fn seal_receipt<'a>(
        &'a self,
        receipt: &'a mut stiver_core::Receipt,
    ) -> BoxFuture<'a, Result<(), crate::signer::SignError>> {
        let _ = receipt;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What to quote for.
#[derive(Debug, Clone, Copy)]
pub struct Quote<'a> {
    /// The price.
    pub price: &'a Amount,
    /// Shown to the payer; never relied upon.
    pub description: Option<&'a str>,
    /// The merchant's reference.
    pub external_id: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
    /// When the challenge will expire.
    pub expires: Timestamp,
}

/// Why there is no quote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// The method does not take this currency.
    #[error("{method} does not take {currency}")]
    Currency {
        /// The method.
        method: MethodName,
        /// The currency's code.
        currency: String,
    },
    /// The amount is outside of what the method can carry.
    #[error("the amount is outside of what the method can carry")]
    Amount,
    /// The rail could not be asked.
    #[error("no quote")]
    Rail(#[source] RailUnavailable),
}

/// What two challenges for one price have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How much.
    pub amount: Amount,
    /// To whom, in the method's form.
    pub payee: String,
    /// Everything else that must agree (network, ledger, contract), canonical text.
    pub rest: String,
}

/// A credential whose binding, expiry and terms were checked.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The challenge it answers.
    pub challenge: &'a Challenge,
    /// Its payload.
    pub payload: &'a Object,
    /// Its `source`, claimed.
    pub source: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
}

/// A checked credential, ready to claim and settle.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Every key under which this proof could be presented again, the method's name not included.
    /// At least one.
    pub replay_keys: Vec<Vec<u8>>,
    /// Until when the rail could accept this proof again: claims are kept at least as long.
    pub replayable_until: Timestamp,
    /// What to execute.
    pub artefact: Artefact,
    /// The payer, proven by signature.
    pub payer: Option<String>,
}

/// What to give back.
#[derive(Debug, Clone, Copy)]
pub struct RefundRequest<'a> {
    /// The payment.
    pub settled: &'a Settled,
    /// How much of it.
    pub amount: &'a Amount,
    /// Why, for the payer.
    pub reason: &'a str,
    /// A stable key: two refunds of one key are one refund.
    pub key: [u8; 16],
    /// Now, or at most an hour ago: a refund that is asked for twice is to be the same bytes.
    pub now: Timestamp,
}

/// Why a refund was not prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefundError {
    /// The method cannot give money back.
    #[error("this method cannot refund")]
    Unsupported,
    /// The refund is refused.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// Signing failed.
    #[error("not signed")]
    Sign(#[source] crate::signer::SignError),
}
