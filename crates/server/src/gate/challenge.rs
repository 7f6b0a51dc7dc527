//! Issuing challenges. Changes no state: a challenge exists only on the wire.

use std::collections::BTreeMap;

use stiver_core::{
    Challenge, Timestamp,
    accept::AcceptPayment,
    base64url,
    challenge::{DigestText, Expires, Params},
    json::EncodedObject,
    limits::CHALLENGE_HEADER_BYTES_MAX,
    name::{IntentName, MethodName},
    opaque::Opaque,
};
use stiver_method::{
    payee::Quote,
    session::{SessionQuote, Snapshot},
};

use super::Gate;
use crate::{
    error::GateError,
    request::{BodyState, Request},
    route::{Offer, PriceBasis, Route},
    session::SessionOffer,
};

/// The key of [`Route::priced_inputs`] in `opaque`.
pub(super) const PRICED_INPUTS: &str = "i";
/// The key in `opaque` of what is known of the body besides its digest.
pub(super) const BODY: &str = "b";
/// There is a body, and it streams past the gate.
pub(super) const STREAMS: &str = "stream";

impl Gate {
    /// Fresh challenges for a request, filtered and ordered by its `Accept-Payment`.
    ///
    /// An offer whose method cannot quote just now is left out. No two challenges share an id.
    ///
    /// # Spec
    /// draft-httpauth-payment-00, sections 5.1 and 6 (CORE-12 to CORE-26, CORE-37 to CORE-40).
    pub(super) async fn challenges(
        &self,
        request: &Request<'_>,
        route: &Route,
        known: Option<&(MethodName, Snapshot)>,
    ) -> Result<Vec<Challenge>, GateError> {
        let mut challenges = Vec::with_capacity(route.offers.len());
        let mut failure = GateError::NoQuote;
        let mut bytes = 0;
        for offer in ranked(request, route) {
            let challenge = match offer {
                Any::Charge(offer) => self.challenge(request, route, offer).await,
                Any::Session(offer) => {
                    let known = known.filter(|(method, _)| method == offer.method());
                    let known = known.map(|(_, snapshot)| snapshot);
                    self.session_challenge(request, route, offer, known).await
                }
            };
            match challenge {
                Ok(challenge) => {
                    bytes += challenge.header_bytes_about();
                    if bytes > CHALLENGE_HEADER_BYTES_MAX {
                        failure = GateError::Misconfigured;
                        break;
                    }
                    challenges.push(challenge);
                }
                Err(error) => failure = error,
            }
        }
        if challenges.is_empty() {
            Err(failure)
        } else {
            Ok(challenges)
        }
    }

    /// What the method asks for, encoded. Asked once where it is always the same.
    async fn quoted(
        &self,
        route: &Route,
        offer: &Offer,
        now: Timestamp,
        expires: &Expires,
    ) -> Result<EncodedObject, GateError> {
        if let Some(quoted) = offer.quoted.get() {
            return Ok(quoted.clone());
        }
        let quote = Quote {
            price: &offer.price,
            description: route.description.as_deref(),
            external_id: route.external_id.as_deref(),
            now,
            expires: expires.instant(),
        };
        let quoted = offer.method.quote(quote).await.map_err(|error| {
            tracing::warn!(method = %offer.method(), %error, "an offer was left out");
            GateError::NoQuote
        })?;
        let quoted = EncodedObject::encode(&quoted);
        if offer.method.quotes_the_same() {
            // Whoever was first asked the same.
            let _ = offer.quoted.set(quoted.clone());
        }
        Ok(quoted)
    }

    /// What a session asks for, encoded. Asked once where it is always the same.
    async fn session_quoted(
        &self,
        route: &Route,
        offer: &SessionOffer,
        snapshot: Option<&Snapshot>,
        (now, expires): (Timestamp, &Expires),
    ) -> Result<EncodedObject, GateError> {
        if snapshot.is_none()
            && let Some(quoted) = offer.quoted.get()
        {
            return Ok(quoted.clone());
        }
        let quote = SessionQuote {
            prices: &offer.prices,
            suggested_deposit: offer.suggested_deposit.as_ref(),
            min_voucher_delta: offer.min_voucher_delta,
            window: offer.window(),
            snapshot,
            description: route.description.as_deref(),
            external_id: route.external_id.as_deref(),
            now,
            expires: expires.instant(),
        };
        let quoted = offer.method.quote(quote).await.map_err(|error| {
            tracing::warn!(method = %offer.method(), %error, "a session offer was left out");
            GateError::NoQuote
        })?;
        let quoted = EncodedObject::encode(&quoted);
        if snapshot.is_none() && offer.method.quotes_the_same() {
            // Whoever was first asked the same.
            let _ = offer.quoted.set(quoted.clone());
        }
        Ok(quoted)
    }

    /// A challenge that a session answers: bound to no body, since vouchers for many requests
    /// echo it.
    async fn session_challenge(
        &self,
        request: &Request<'_>,
        route: &Route,
        offer: &SessionOffer,
        snapshot: Option<&Snapshot>,
    ) -> Result<Challenge, GateError> {
        let now = self.now();
        let expires = Expires::at(now.plus_millis(route.challenge_lifetime_ms));
        let asked = self
            .session_quoted(route, offer, snapshot, (now, &expires))
            .await?;
        let inputs = route.inputs.map(|digest| base64url::encode(&digest));
        let opaque = Opaque {
            nonce: self.inner.nonces.next(),
            scope: request.scope(),
            issued_at: now,
            price_revision: None,
            digest: None,
            extra: inputs
                .into_iter()
                .map(|digest| (PRICED_INPUTS.to_owned(), digest))
                .collect(),
        };
        let opaque = opaque.encode().map_err(|_| GateError::Misconfigured)?;
        let description = route.description_for(request.accept_language);
        Ok(self.keys().bind(Params {
            realm: self.inner.realm.clone(),
            method: offer.method().clone(),
            intent: IntentName::session(),
            request: asked,
            expires: Some(expires),
            digest: None,
            description: description.map(str::to_owned),
            opaque: Some(opaque),
        }))
    }

    async fn challenge(
        &self,
        request: &Request<'_>,
        route: &Route,
        offer: &Offer,
    ) -> Result<Challenge, GateError> {
        let now = self.now();
        let expires = Expires::at(now.plus_millis(route.challenge_lifetime_ms));
        let asked = self.quoted(route, offer, now, &expires).await?;
        // The request is the same in every language: only the parameter for people differs.
        let description = route.description_for(request.accept_language);
        let price_revision = match &route.basis {
            PriceBasis::Fixed => None,
            PriceBasis::Computed { revision } => Some(revision.clone()),
        };
        let inputs = route.inputs.map(|digest| base64url::encode(&digest));
        let mut extra: BTreeMap<String, String> = inputs
            .into_iter()
            .map(|digest| (PRICED_INPUTS.to_owned(), digest))
            .collect();
        if request.body == BodyState::Unbound {
            extra.insert(BODY.to_owned(), STREAMS.to_owned());
        }
        let opaque = Opaque {
            nonce: self.inner.nonces.next(),
            scope: request.scope(),
            issued_at: now,
            price_revision,
            digest: None,
            extra,
        };
        let opaque = opaque.encode().map_err(|_| GateError::Misconfigured)?;
        let digest = match request.body {
            BodyState::Digest(digest) => {
                let text = DigestText::new(&digest.to_header());
                Some(text.map_err(|_| GateError::Misconfigured)?)
            }
            BodyState::None | BodyState::Frames | BodyState::Unbound => None,
        };
        Ok(self.keys().bind(Params {
            realm: self.inner.realm.clone(),
            method: offer.method().clone(),
            intent: IntentName::charge(),
            request: asked,
            expires: Some(expires),
            digest,
            description: description.map(str::to_owned),
            opaque: Some(opaque),
        }))
    }
}

/// An offer of either intent.
enum Any<'r> {
    Charge(&'r Offer),
    Session(&'r SessionOffer),
}

/// The offers the client can pay by, best first. All of them when it does not say, says it wrong,
/// or can pay none.
fn ranked<'r>(request: &Request<'_>, route: &'r Route) -> Vec<Any<'r>> {
    let charges = || route.offers.iter().map(Any::Charge);
    let all = || charges().chain(route.sessions.iter().map(Any::Session));
    let Ok(Some(accept)) = AcceptPayment::parse(request.accept_payment.iter().copied()) else {
        return all().collect();
    };
    let (charge, session) = (IntentName::charge(), IntentName::session());
    let names: Vec<_> = all()
        .map(|offer| match offer {
            Any::Charge(offer) => (offer.method(), &charge),
            Any::Session(offer) => (offer.method(), &session),
        })
        .collect();
    let ranked = accept.rank(&names);
    if ranked.is_empty() {
        return all().collect();
    }
    ranked
        .into_iter()
        .filter_map(|index| all().nth(index))
        .collect()
}
