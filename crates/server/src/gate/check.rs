//! The checks of a credential that is not known yet. Pure but for the method's own code.

use std::sync::Arc;

use stiver_core::{
    Credential, Timestamp, base64url, challenge::DigestText, digest::BodyDigest, name::IntentName,
    opaque::Opaque,
};
use stiver_method::payee::{self, PayeeCharge, Plan, Terms};

use super::{
    Gate,
    challenge::{BODY, PRICED_INPUTS, STREAMS},
};
use crate::{
    error::GateError,
    idempotency::IdempotencyKey,
    limits::CLOCK_MARGIN_MS,
    record::Details,
    request::{BodyState, Request},
    route::{Offer, PriceBasis, Route, Settle, StoreResponses, UpstreamRepeats},
};

/// A credential that passed every check.
pub(super) struct Checked {
    pub(super) method: Arc<dyn PayeeCharge>,
    pub(super) plan: Plan,
    pub(super) details: Details,
    pub(super) retain_until: Timestamp,
    pub(super) handler_first: bool,
}

impl Gate {
    /// Checks a bound credential, with its opaque as [`echoed`] reads it, against its request and
    /// route, in the order of the module docs.
    pub(super) fn check(
        &self,
        request: &Request<'_>,
        route: &Route,
        (credential, opaque): (&Credential, Option<&Opaque>),
        key: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Checked, GateError> {
        let params = &credential.challenge.params;
        let expires = params.expires.as_ref().ok_or(GateError::Foreign)?;
        if expires.has_passed(now) {
            return Err(GateError::Expired {
                at: expires.instant(),
            });
        }
        let opaque = opaque.ok_or(GateError::Foreign)?;
        if params.intent != IntentName::charge() {
            return Err(GateError::IntentNotOffered);
        }
        let mut offers = route.forms().flat_map(Route::offers);
        if !offers.any(|offer| offer.method() == &params.method) {
            return Err(GateError::MethodNotOffered);
        }
        let scope = request.scope();
        if opaque.scope != scope {
            return Err(GateError::OtherScope);
        }
        let (method, terms) = honoured_terms(route, credential, opaque)?;
        let streams = opaque.extra.get(BODY).is_some_and(|body| body == STREAMS);
        let digest = same_body(request.body, params.digest.as_ref(), streams)?;
        let presented = payee::Presented {
            challenge: &credential.challenge,
            payload: &credential.payload,
            source: credential.source.as_deref(),
            now,
        };
        let plan = method.precheck(presented).map_err(GateError::Refused)?;
        let store_response_ms = match route.store_responses {
            StoreResponses::Always => Some(route.response_lifetime_ms),
            StoreResponses::WithIdempotencyKey => key.map(|_| route.response_lifetime_ms),
            StoreResponses::Never => None,
        };
        let resume_until = now.plus_millis(route.resume_window_ms);
        // Not for the resume window: a claim that is not terminal is never dropped. And one that
        // is stays for as long as its response, by the store's rule.
        let retain_until = expires
            .instant()
            .max(plan.replayable_until)
            .plus_millis(CLOCK_MARGIN_MS);
        let details = Details {
            method: params.method.as_str().to_owned(),
            amount: terms.amount,
            payee: terms.payee,
            payer: plan.payer.clone(),
            source: credential.source.clone(),
            resource: scope,
            request_digest: digest,
            price_revision: opaque.price_revision.clone(),
            on_failure: route.on_failure,
            repeatable: is_repeatable(request, route),
            attempts_max: route.attempts_max,
            resume_until,
            replayable_until: plan.replayable_until,
            store_response_ms,
            key_hash: key.map(IdempotencyKey::hash),
            agreement: None,
        };
        Ok(Checked {
            method,
            plan,
            details,
            retain_until,
            handler_first: route.settle == Settle::After,
        })
    }
}

/// Whether a run that may have had its effect may be repeated.
fn is_repeatable(request: &Request<'_>, route: &Route) -> bool {
    request.body != BodyState::Unbound
        && (request.method_is_idempotent() || route.upstream_repeats == UpstreamRepeats::HonoursKey)
}

/// The terms of the echoed request, when they are the route's or those of an earlier form of it.
fn honoured_terms(
    route: &Route,
    credential: &Credential,
    opaque: &Opaque,
) -> Result<(Arc<dyn PayeeCharge>, Terms), GateError> {
    terms(route, credential, opaque).or_else(|error| {
        let earlier = route.forms().skip(1);
        let mut good = earlier.filter_map(|form| terms(form, credential, opaque).ok());
        good.next().ok_or(error)
    })
}

/// The opaque of an echoed challenge, when it is one of a gate.
pub(super) fn echoed(credential: &Credential) -> Option<Opaque> {
    Opaque::decode(credential.challenge.params.opaque.as_ref()?).ok()
}

/// The digest of priced inputs in an echoed opaque.
pub(super) fn inputs_of(opaque: Option<&Opaque>) -> Option<&str> {
    opaque?.extra.get(PRICED_INPUTS).map(String::as_str)
}

/// The digest of priced inputs in an echoed challenge.
pub(super) fn echoed_inputs(credential: &Credential) -> Option<String> {
    inputs_of(echoed(credential).as_ref()).map(str::to_owned)
}

/// Whether a request, as its route has it, is made of the inputs that were paid for: a credential
/// that is known must not carry others.
pub(super) fn same_inputs(route: &Route, echoed: Option<&str>) -> Result<(), GateError> {
    if echoed.is_none() || route.forms().any(|form| has_inputs(form, echoed)) {
        Ok(())
    } else {
        Err(GateError::OtherInputs)
    }
}

fn has_inputs(route: &Route, echoed: Option<&str>) -> bool {
    let inputs = route.inputs.map(|it| base64url::encode(&it));
    inputs.as_deref() == echoed
}

/// The terms of the echoed request, when they are the route's.
fn terms(
    route: &Route,
    credential: &Credential,
    opaque: &Opaque,
) -> Result<(Arc<dyn PayeeCharge>, Terms), GateError> {
    let params = &credential.challenge.params;
    if !has_inputs(route, opaque.extra.get(PRICED_INPUTS).map(String::as_str)) {
        return Err(GateError::OtherInputs);
    }
    let mut offers = route
        .offers
        .iter()
        .filter(|offer| offer.method() == &params.method)
        .peekable();
    let method = offers.peek().map(|offer| Arc::clone(&offer.method));
    let method = method.ok_or(GateError::MethodNotOffered)?;
    if let Some(offer) = as_quoted(route, credential, opaque) {
        return Ok((Arc::clone(&offer.method), Terms::clone(&offer.terms)));
    }
    let terms = method
        .terms(params.request.object())
        .map_err(GateError::Refused)?;
    let same = match &route.basis {
        PriceBasis::Fixed => {
            if opaque.price_revision.is_some() {
                return Err(GateError::OtherRevision);
            }
            offers.any(|offer| *offer.terms == terms)
        }
        PriceBasis::Computed { revision } => {
            if opaque.price_revision.as_ref() != Some(revision) {
                return Err(GateError::OtherRevision);
            }
            let currency = terms.amount.currency();
            offers.any(|offer| offer.price.currency() == currency)
                && method
                    .expected_terms(&terms.amount)
                    .is_ok_and(|expected| expected == terms)
        }
    };
    if same {
        Ok((method, terms))
    } else {
        Err(GateError::OtherTerms)
    }
}

/// The offer whose request the credential echoes to the letter, as nearly all do: then its terms
/// are the offer's, and need not be read.
fn as_quoted<'r>(route: &'r Route, credential: &Credential, opaque: &Opaque) -> Option<&'r Offer> {
    let params = &credential.challenge.params;
    if route.basis != PriceBasis::Fixed || opaque.price_revision.is_some() {
        return None;
    }
    route.offers.iter().find(|offer| {
        let quoted = offer.quoted.get();
        offer.method() == &params.method
            && quoted.is_some_and(|quoted| quoted.wire() == params.request.wire())
    })
}

/// The digest of the body, when it is the one that the challenge was issued for. A challenge for no
/// body is not one for a body of any length.
fn same_body(
    body: BodyState,
    challenge: Option<&DigestText>,
    streams: bool,
) -> Result<Option<BodyDigest>, GateError> {
    match (body, challenge, streams) {
        (BodyState::None, None, false) | (BodyState::Unbound, None, true) => Ok(None),
        (BodyState::Digest(body), Some(text), false) => match BodyDigest::parse(text.as_str()) {
            Ok(digest) if digest == body => Ok(Some(body)),
            _ => Err(GateError::OtherBody),
        },
        _ => Err(GateError::OtherBody),
    }
}
