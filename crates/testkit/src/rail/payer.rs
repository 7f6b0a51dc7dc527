//! The payer's side.

use stiver_core::{
    Challenge, Timestamp,
    json::Object,
    name::{IntentName, MethodName},
};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, Lookup, RailUnavailable},
    payee::PayeeCharge,
    payer::{CallKey, PayError, Payer, PolicyView, Proof, Unpayable},
};

use super::{
    HostileRail,
    wire::{Payload, Request, Transfer},
};

/// A payer on a [`HostileRail`]. It pays by credential: nothing moves until the payee executes it.
pub struct RailPayer {
    rail: HostileRail,
    who: String,
    intents: Vec<IntentName>,
    nonces: Nonces,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Nonces {
    PerCall,
    PerPayment,
}

impl RailPayer {
    pub(super) fn new(rail: HostileRail, who: &str) -> Self {
        Self {
            rail,
            who: who.to_owned(),
            intents: vec![IntentName::charge()],
            nonces: Nonces::PerCall,
        }
    }

    /// Takes another nonce for each payment, as a payer on a rail without nonces: a client that
    /// prepares twice for one call can then be made to pay twice. Keys are `alice/0`, `alice/1` and
    /// so on, counted over all payers of the rail.
    #[must_use]
    pub fn without_nonces(mut self) -> Self {
        self.nonces = Nonces::PerPayment;
        self
    }

    /// The artefact key of every payment for this call, for [`HostileRail::moves`]: `alice/` and 32
    /// hexadecimal digits.
    pub fn key(&self, call: CallKey) -> Vec<u8> {
        self.key_text(call).into_bytes()
    }

    fn key_text(&self, call: CallKey) -> String {
        let number = u128::from_be_bytes(*call.as_bytes());
        format!("{}/{number:032x}", self.who)
    }

    fn next_key(&self, call: CallKey) -> String {
        if self.nonces == Nonces::PerCall {
            return self.key_text(call);
        }
        let mut inner = self.rail.lock();
        inner.payments += 1;
        format!("{}/{}", self.who, inner.payments - 1)
    }
}

impl Payer for RailPayer {
    fn name(&self) -> &MethodName {
        self.rail.name()
    }

    fn intents(&self) -> &[IntentName] {
        &self.intents
    }

    fn policy_view(&self, challenge: &Challenge) -> Result<PolicyView, Unpayable> {
        let request = challenge.params.request.object();
        let (request, amount) = Request::read(request, &self.rail.currency)
            .map_err(|refusal| Unpayable::Malformed(refusal.detail))?;
        Ok(PolicyView {
            amount,
            payee: request.recipient,
            network: "a hostile rail".to_owned(),
            expires: challenge.params.expires.as_ref().map(|it| it.instant()),
        })
    }

    fn prepare<'a>(
        &'a self,
        challenge: &'a Challenge,
        _now: Timestamp,
        call: CallKey,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        Box::pin(async move {
            let view = self.policy_view(challenge).map_err(PayError::Unpayable)?;
            Ok(Transfer {
                amount: view.amount.to_wire(),
                challenge: challenge.id.as_str().to_owned(),
                from: self.who.clone(),
                key: self.next_key(call),
                refund: false,
                to: view.payee,
            }
            .into_artefact())
        })
    }

    fn shares_call_key(&self) -> bool {
        self.nonces == Nonces::PerCall
    }

    fn execute<'a>(&'a self, artefact: &'a Artefact) -> BoxFuture<'a, Result<Proof, PayError>> {
        Box::pin(async move {
            let transfer = Transfer::read(artefact).map_err(PayError::Refused)?;
            let payload = Payload {
                amount: transfer.amount,
                challenge: transfer.challenge,
                key: transfer.key,
                payer: transfer.from,
            };
            Ok(Proof {
                payload: Object::serialize(&payload).expect("a struct of strings is a JSON object"),
                source: None,
            })
        })
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        self.rail.lookup(artefact)
    }
}
