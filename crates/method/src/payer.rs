//! The payer's side of a method.

use stiver_core::{
    Amount, Receipt, Timestamp,
    challenge::Challenge,
    json::Object,
    name::{IntentName, MethodName},
};

use crate::{
    BoxFuture,
    artefact::{Artefact, Lookup, RailUnavailable, Refusal},
};

/// A method, for a payer.
pub trait Payer: Send + Sync {
    /// The method's name on the wire.
    fn name(&self) -> &MethodName;
    /// The intents it can answer.
    fn intents(&self) -> &[IntentName];
    /// The challenge in plain terms, for the budget and the human. Refuses what it could not pay.
    /// Pure.
    fn policy_view(&self, challenge: &Challenge) -> Result<PolicyView, Unpayable>;
    /// Signs a payment; moves nothing and sends nothing.
    ///
    /// Artefacts prepared with one [`CallKey`] share the rail's nonce where the rail has one: at
    /// most one of them can land, so a logical call can be signed again without paying twice.
    fn prepare<'a>(
        &'a self,
        challenge: &'a Challenge,
        now: Timestamp,
        call: CallKey,
    ) -> BoxFuture<'a, Result<Artefact, PayError>>;
    /// True when of all artefacts prepared with one [`CallKey`] at most one can ever land, whatever
    /// their challenges say. Only then may a refused call be signed again before the fate of its
    /// first authorisation is known.
    fn shares_call_key(&self) -> bool {
        false
    }
    /// Makes the proof of a prepared payment, paying first where the rail works so. Repeatable.
    fn execute<'a>(&'a self, artefact: &'a Artefact) -> BoxFuture<'a, Result<Proof, PayError>>;
    /// What became of a prepared payment.
    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>>;
    /// Checks what a receipt proves by itself: a signature of the rail, where the method has one
    /// and this payer knows the key. Pure. The default finds nothing to check.
    ///
    /// # Errors
    ///
    /// Why the receipt proves nothing, in words for the payer. The payment is not undone by it.
    fn check_receipt(&self, receipt: &Receipt) -> Result<(), String> {
        let _ = receipt;
        Ok(())
    }
}

/// Names one logical paid call: 16 random bytes, drawn once and journaled before anything is
/// signed.
///
/// A rail with nonces uses them as the nonce of every payment of the call. Not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallKey([u8; 16]);

impl CallKey {
    /// From 16 bytes of a cryptographically secure source.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A challenge in plain terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyView {
    /// The most that paying it can cost.
    pub amount: Amount,
    /// Who gets it, in the method's form.
    pub payee: String,
    /// The network, ledger or processor, in plain words.
    pub network: String,
    /// After this the payment cannot land any more.
    pub expires: Option<Timestamp>,
}

/// What goes into the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// `payload`
    pub payload: Object,
    /// `source`
    pub source: Option<String>,
}

/// Why a challenge cannot be paid by this method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unpayable {
    /// The request is not one this method understands.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// A currency, network or ledger that this payer has no account on.
    #[error("{0}")]
    NoAccount(String),
}

/// Why there is no payment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayError {
    /// The challenge cannot be paid.
    #[error("cannot be paid")]
    Unpayable(#[source] Unpayable),
    /// The key did not sign.
    #[error("not signed")]
    Sign(#[source] crate::signer::SignError),
    /// The rail refused: nothing moved.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// Nobody knows: `lookup` decides.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}
