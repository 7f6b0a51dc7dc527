//! From offers to a credential: compare with what is remembered, ask the policy, journal, sign.

use std::sync::Arc;

use http::{HeaderValue, header::InvalidHeaderValue};
use stiver_core::{Credential, challenge::Challenge, untrusted::Untrusted};
use stiver_method::{
    artefact::Artefact,
    payer::{PayError, Payer, Proof},
};
use zeroize::Zeroizing;

use super::{Outgoing, PaymentClient, note_text};
use crate::{
    CallError, CallId, MoneyMoved,
    call::Call,
    choose::Offer,
    error::Unusable,
    events::{Event, Spending},
    origin::RealmClaim,
    outbox::{OutboxError, Step, Terms},
    pins::Claim,
    policy::{Decision, PaymentView, Trust},
};

/// An offer that the policy said yes to.
pub(super) struct Chosen {
    pub(super) offer: Offer,
    claim: Claim,
}

/// A call with a credential in hand.
pub(super) struct Underway {
    pub(super) id: CallId,
    pub(super) payer: Arc<dyn Payer>,
    pub(super) terms: Terms,
    pub(super) challenge: Challenge,
    pub(super) artefacts: Vec<Artefact>,
    pub(super) credential: HeaderValue,
    /// The reference of the receipt that came with an answer whose body was not read to its end.
    pub(super) receipted: Option<String>,
}

impl PaymentClient {
    /// Asks the policy about the offers, best first, until it says yes to one.
    pub(super) async fn select(
        &self,
        id: CallId,
        outgoing: &Outgoing,
        offers: Vec<Offer>,
        call: &Call,
    ) -> Result<Chosen, CallError> {
        let mut reasons = Vec::new();
        let signature = call.next_signature().unwrap_or(u32::MAX);
        let url = outgoing.uri.to_string();
        for offer in offers {
            let claim = claim(outgoing, &offer);
            let trust = self.trust(outgoing, &claim).await?;
            let view = self.view((id, signature), (outgoing, &url), &offer, &trust);
            let decision = self.parts().policy.decide(&view).await;
            match (decision, trust) {
                (Decision::Refuse(reason), _) => reasons.push(reason),
                (Decision::Allow, Trust::Changed(changes)) => {
                    reasons.push(Unusable::Changed(changes).to_string());
                }
                (Decision::Allow | Decision::AllowChange, _) => {
                    return match offer.expires() {
                        Some(at) if offer.too_late(self.now()) => {
                            Err(CallError::ExpiredMeanwhile { at })
                        }
                        _ => Ok(Chosen { offer, claim }),
                    };
                }
            }
        }
        Err(CallError::Declined { reasons })
    }

    fn view<'a>(
        &'a self,
        (call, signature): (CallId, u32),
        (outgoing, url): (&'a Outgoing, &'a str),
        offer: &'a Offer,
        trust: &'a Trust,
    ) -> PaymentView<'a> {
        let params = &offer.challenge.params;
        PaymentView {
            call,
            amount: &offer.view.amount,
            payee: Untrusted(&offer.view.payee),
            network: Untrusted(&offer.view.network),
            method: &params.method,
            intent: &params.intent,
            realm: &params.realm,
            origin: &outgoing.origin,
            http_method: outgoing.method.as_str(),
            url,
            expires: offer.expires(),
            description: params.description.as_deref().map(Untrusted),
            trust,
            signature,
            now: self.now(),
        }
    }

    async fn trust(&self, outgoing: &Outgoing, claim: &Claim) -> Result<Trust, CallError> {
        let compared = self.parts().pins.compare(&outgoing.origin, claim).await;
        compared.map_err(|source| CallError::Pins {
            origin: outgoing.origin.clone(),
            source,
        })
    }

    /// Journals the call's beginning, and makes its first credential.
    pub(super) async fn begin(
        &self,
        id: CallId,
        outgoing: &Outgoing,
        chosen: Chosen,
        call: &mut Call,
    ) -> Result<Underway, CallError> {
        self.learn(outgoing, &chosen.claim).await?;
        let step = Step::Begun {
            resource: outgoing.resource(),
            terms: terms(&chosen.offer),
            request: outgoing.to_store(),
            challenge: chosen.offer.challenge.to_header(),
        };
        self.record(id, step)
            .await
            .map_err(|source| nothing_signed(id, source))?;
        let terms = terms(&chosen.offer);
        let authorised = self.authorise((id, outgoing), chosen.offer, Vec::new(), call);
        let underway = authorised.await;
        underway.inspect_err(|error| self.tell_failed(outgoing, id, &terms, error))
    }

    /// Journals that a refused call is signed again, and makes its next credential.
    pub(super) async fn begin_again(
        &self,
        outgoing: &Outgoing,
        chosen: Chosen,
        before: Underway,
        call: &mut Call,
    ) -> Result<Underway, CallError> {
        let id = before.id;
        self.learn(outgoing, &chosen.claim).await?;
        let step = Step::Rechallenged {
            terms: terms(&chosen.offer),
            challenge: chosen.offer.challenge.to_header(),
        };
        self.record(id, step)
            .await
            .map_err(|source| signed(id, source))?;
        self.authorise((id, outgoing), chosen.offer, before.artefacts, call)
            .await
    }

    async fn learn(&self, outgoing: &Outgoing, claim: &Claim) -> Result<(), CallError> {
        let learned = self.parts().pins.learn(&outgoing.origin, claim).await;
        learned.map_err(|source| CallError::Pins {
            origin: outgoing.origin.clone(),
            source,
        })
    }

    /// Signs, journals, makes the proof, journals. Nothing is sent to the server yet.
    async fn authorise(
        &self,
        (id, outgoing): (CallId, &Outgoing),
        offer: Offer,
        mut artefacts: Vec<Artefact>,
        call: &mut Call,
    ) -> Result<Underway, CallError> {
        let payer = offer.payer.clone();
        let preparing = payer.prepare(&offer.challenge, self.now(), id.call_key());
        let artefact = match preparing.await {
            Ok(artefact) => artefact,
            Err(source) => {
                return Err(self
                    .not_prepared(id, source, &artefacts, payer.as_ref())
                    .await);
            }
        };
        call.signed();
        let step = Step::Authorised {
            artefact: artefact.clone(),
        };
        artefacts.push(artefact);
        self.record(id, step)
            .await
            .map_err(|source| signed(id, source))?;
        let terms = terms(&offer);
        self.tell(|| Event::Signed(Spending::new(id, &outgoing.origin, &terms)));
        self.prove(id, payer, offer.challenge, terms, artefacts)
            .await
    }

    /// Makes the proof of the latest artefact, paying where the rail works so, and journals that
    /// its credential is about to be sent.
    pub(super) async fn prove(
        &self,
        id: CallId,
        payer: Arc<dyn Payer>,
        challenge: Challenge,
        terms: Terms,
        artefacts: Vec<Artefact>,
    ) -> Result<Underway, CallError> {
        let proved = match artefacts.last() {
            Some(artefact) => payer.execute(artefact).await,
            None => Err(PayError::Unknown("nothing was signed".into())),
        };
        let proof = match proved {
            Ok(proof) => proof,
            Err(source) => {
                return Err(self
                    .not_proved(id, source, &artefacts, payer.as_ref())
                    .await);
            }
        };
        let text = credential_text(&challenge, proof);
        let step = Step::Sent {
            credential: text.clone(),
        };
        self.record(id, step)
            .await
            .map_err(|source| signed(id, source))?;
        Ok(Underway {
            id,
            payer,
            terms,
            challenge,
            artefacts,
            credential: credential_value(&text)
                .expect("a credential is a field value because it is `Payment` and base64url"),
            receipted: None,
        })
    }

    /// Nothing new was signed; what was signed before, if anything, may still land.
    async fn not_prepared(
        &self,
        id: CallId,
        source: PayError,
        artefacts: &[Artefact],
        payer: &dyn Payer,
    ) -> CallError {
        let note = note_text(&source.to_string());
        let moved = if artefacts.is_empty() {
            // That the journal failed changes nothing: nothing was signed.
            let _ = self.record(id, Step::Abandoned { note }).await;
            MoneyMoved::No
        } else {
            let _ = self.record(id, Step::Refused { note }).await;
            self.resolve(id, payer, artefacts).await
        };
        CallError::Pay {
            call: id,
            moved,
            source,
        }
    }

    /// Signed, and the rail would not or could not say that it paid.
    async fn not_proved(
        &self,
        id: CallId,
        source: PayError,
        artefacts: &[Artefact],
        payer: &dyn Payer,
    ) -> CallError {
        let note = note_text(&source.to_string());
        let only = artefacts.len() == 1;
        let moved = match &source {
            // A definite no, about the only thing that was signed.
            PayError::Refused(_) if only => {
                let _ = self.record(id, Step::Void { note }).await;
                MoneyMoved::No
            }
            _ => {
                let _ = self.record(id, Step::Unknown { note }).await;
                self.resolve(id, payer, artefacts).await
            }
        };
        CallError::Pay {
            call: id,
            moved,
            source,
        }
    }
}

/// What the memory of origins is asked about.
fn claim(outgoing: &Outgoing, offer: &Offer) -> Claim {
    let params = &offer.challenge.params;
    let own_host = outgoing.origin.claim(&params.realm) == RealmClaim::ThisHost;
    Claim {
        realm: (!own_host).then(|| params.realm.to_string()),
        method: params.method.to_string(),
        network: offer.view.network.clone(),
        payee: offer.view.payee.clone(),
    }
}

fn terms(offer: &Offer) -> Terms {
    let params = &offer.challenge.params;
    Terms {
        amount: offer.view.amount.clone(),
        payee: offer.view.payee.clone(),
        network: offer.view.network.clone(),
        realm: params.realm.to_string(),
        method: params.method.to_string(),
        intent: params.intent.to_string(),
        challenge_id: offer.challenge.id.to_string(),
        expires: offer.expires(),
    }
}

fn credential_text(challenge: &Challenge, proof: Proof) -> Zeroizing<String> {
    let credential = Credential {
        challenge: challenge.clone(),
        payload: proof.payload,
        source: proof.source,
    };
    Zeroizing::new(credential.to_header())
}

/// The credential as a field value that nothing prints.
pub(super) fn credential_of(challenge: &Challenge, proof: Proof) -> HeaderValue {
    credential_value(&credential_text(challenge, proof))
        .expect("a credential is a field value because it is `Payment` and base64url")
}

/// The field value, marked so that nothing prints it.
pub(super) fn credential_value(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

fn nothing_signed(call: CallId, source: OutboxError) -> CallError {
    CallError::Journal {
        call,
        moved: MoneyMoved::No,
        source,
    }
}

fn signed(call: CallId, source: OutboxError) -> CallError {
    CallError::Journal {
        call,
        moved: MoneyMoved::Maybe,
        source,
    }
}
