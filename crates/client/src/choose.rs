//! Which of a response's challenges to pay: checked, then ranked by preference and price. Pure.

use std::sync::Arc;

use bytes::Bytes;
use stiver_core::{
    Timestamp,
    accept::{AcceptPayment, Range},
    challenge::{Challenge, ChallengeError},
    digest::BodyDigest,
    name::IntentName,
};
use stiver_method::payer::{Payer, PolicyView};

use crate::{Origin, error::Unusable, limits, origin::RealmClaim, session::lease::Sessions};

/// A challenge that can be paid.
#[derive(Clone)]
pub(crate) struct Offer {
    /// The challenge.
    pub(crate) challenge: Challenge,
    /// What can pay it.
    pub(crate) payer: Arc<dyn Payer>,
    /// Its place among the payers; a lower one is preferred.
    pub(crate) preference: usize,
    /// In plain terms.
    pub(crate) view: PolicyView,
}

impl Offer {
    /// When the challenge or the payment expires, whichever is first.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        let challenge = self.challenge.params.expires.as_ref();
        let challenge = challenge.map(|expires| expires.instant());
        match (challenge, self.view.expires) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// True when a payment made now would come too late.
    pub(crate) fn too_late(&self, now: Timestamp) -> bool {
        let margin = u64::try_from(limits::EXPIRY_MARGIN.as_millis()).unwrap_or(u64::MAX);
        self.expires()
            .is_some_and(|expires| now.plus_millis(margin) >= expires)
    }
}

/// What a challenge is judged against.
pub(crate) struct Asked<'a> {
    /// Where the request went.
    pub(crate) origin: &'a Origin,
    /// Its body.
    pub(crate) body: &'a Bytes,
    /// What can pay, preferred first.
    pub(crate) payers: &'a [Arc<dyn Payer>],
    /// Now.
    pub(crate) now: Timestamp,
}

/// Checks challenges. The offers come best first: by payer, then in the server's order, but of two
/// in one currency the cheaper one first. The refused come with their reasons.
pub(crate) fn choose(
    challenges: Vec<Result<Challenge, ChallengeError>>,
    asked: &Asked<'_>,
) -> (Vec<Offer>, Vec<Unusable>) {
    let mut offers = Vec::new();
    let mut reasons = Vec::new();
    for challenge in challenges {
        let judged = match challenge {
            Ok(challenge) => judge(challenge, asked),
            Err(error) => Err(Unusable::Malformed(error)),
        };
        match judged {
            Ok(offer) => offers.push(offer),
            Err(reason) => reasons.push(reason),
        }
    }
    (rank(offers), reasons)
}

fn judge(challenge: Challenge, asked: &Asked<'_>) -> Result<Offer, Unusable> {
    let params = &challenge.params;
    if asked.origin.claim(&params.realm) == RealmClaim::OtherHost {
        return Err(Unusable::OtherHost {
            realm: params.realm.to_string(),
            origin: asked.origin.to_string(),
        });
    }
    let mut payers = asked.payers.iter().enumerate();
    let found = payers.find(|(_, payer)| *payer.name() == params.method);
    let Some((preference, payer)) = found else {
        return Err(Unusable::Method(params.method.to_string()));
    };
    if !payer.intents().contains(&params.intent) {
        return Err(Unusable::Intent {
            method: params.method.to_string(),
            intent: params.intent.to_string(),
        });
    }
    if let Some(digest) = &params.digest {
        match BodyDigest::parse(digest.as_str()) {
            Ok(digest) if digest == BodyDigest::of(asked.body) => {}
            Ok(_) => return Err(Unusable::OtherBody),
            Err(_) => return Err(Unusable::UnknownDigest(digest.as_str().to_owned())),
        }
    }
    let view = payer
        .policy_view(&challenge)
        .map_err(|why| Unusable::Unpayable {
            method: params.method.to_string(),
            why,
        })?;
    let offer = Offer {
        challenge,
        payer: payer.clone(),
        preference,
        view,
    };
    match offer.expires() {
        Some(at) if offer.too_late(asked.now) => Err(Unusable::Expired { at, now: asked.now }),
        _ => Ok(offer),
    }
}

fn rank(offers: Vec<Offer>) -> Vec<Offer> {
    let mut left = offers;
    let mut ranked = Vec::with_capacity(left.len());
    while let Some(preferred) = left.iter().map(|offer| offer.preference).min() {
        let mut best: Option<usize> = None;
        for (index, offer) in left.iter().enumerate() {
            if offer.preference != preferred {
                continue;
            }
            let cheaper = best.and_then(|best| left.get(best)).is_none_or(|best| {
                matches!(
                    offer.view.amount.compare(&best.view.amount),
                    Ok(std::cmp::Ordering::Less)
                )
            });
            if cheaper {
                best = Some(index);
            }
        }
        match best {
            Some(index) => ranked.push(left.remove(index)),
            None => break,
        }
    }
    ranked
}

/// The `Accept-Payment` of these payers: the first weighs most, and sessions more than single
/// payments. `None` when nothing can pay.
pub(crate) fn accept_payment(
    sessions: Option<&Sessions>,
    payers: &[Arc<dyn Payer>],
) -> Option<AcceptPayment> {
    let mut ranges = Vec::new();
    let mut weight: u16 = 1000;
    for payer in sessions.iter().flat_map(|sessions| &sessions.parts.payers) {
        ranges.push(Range {
            method: Some(payer.name().clone()),
            intent: Some(IntentName::session()),
            weight,
        });
    }
    if !ranges.is_empty() {
        weight = 900;
    }
    for payer in payers {
        for intent in payer.intents() {
            ranges.push(Range {
                method: Some(payer.name().clone()),
                intent: Some(intent.clone()),
                weight,
            });
        }
        weight = weight.saturating_sub(100).max(100);
    }
    (!ranges.is_empty()).then(|| AcceptPayment::new(ranges))
}

#[cfg(test)]
mod tests;
