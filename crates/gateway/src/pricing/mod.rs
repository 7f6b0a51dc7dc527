//! What a request costs: a function of its body, query, headers and size.
//!
//! Pure: bytes go in, an amount or the reason for a refusal comes out. Integers only. Whatever an
//! upstream could read in another way than we do is refused, because it would be a discount: a name
//! that stands twice, a name in another case, a number that is not written plainly, a body that is
//! not said to be JSON.

pub mod hook;
mod json;
mod places;
mod query;
pub mod quota;
mod route;

#[cfg(test)]
mod tests;

use http::{
    HeaderMap, HeaderName,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use stiver_core::{Amount, Problem, digest::BodyDigest, problem::ProblemKind};

pub(crate) use self::route::PricedRoute;
pub use self::{
    json::JSON_DEPTH_MAX,
    places::{Found, NotFound},
};
use crate::config::pricing::{Choice, Place, Pricing, Quantity, Round, Term};

/// What a price may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The query of the target, without its question mark, as it stands on the wire.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The whole body, empty when there is none; `None` when it streams past.
    pub body: Option<&'a [u8]>,
}

/// What a request costs: the base, the terms and the choices, and never more than the cap.
///
/// # Errors
///
/// [`Unpriced`] says what to send instead.
pub fn evaluate(pricing: &Pricing, inputs: &Inputs<'_>) -> Result<Amount, Unpriced> {
    let cap = pricing.cap.units();
    let mut sum = pricing.base.units();
    for term in &pricing.terms {
        let units = counted(term, inputs)?;
        // What is over any number is over the cap.
        let amount = proportional(units, term, pricing.round).unwrap_or(u128::MAX);
        sum = sum.saturating_add(amount);
    }
    for choice in &pricing.choices {
        sum = sum.saturating_add(chosen(choice, inputs)?.units());
    }
    Ok(pricing.cap.currency().units(sum.min(cap)))
}

/// What [`evaluate`] refuses in a request whatever its amount: a value that an upstream could read
/// in another way. For requests whose amount was worked out before.
///
/// # Errors
///
/// [`Unpriced`] says what to send instead.
pub fn readable(pricing: &Pricing, inputs: &Inputs<'_>) -> Result<(), Unpriced> {
    for place in places_of(pricing) {
        places::find(place, inputs).map_err(|problem| Unpriced::At {
            place: place.clone(),
            problem,
        })?;
    }
    Ok(())
}

/// Every place that a price looks at.
fn places_of(pricing: &Pricing) -> impl Iterator<Item = &Place> {
    let terms = pricing.terms.iter().filter_map(|term| match &term.of {
        Quantity::Told(place) => Some(place),
        Quantity::BodyBytes => None,
    });
    terms.chain(pricing.choices.iter().map(|choice| &choice.of))
}

/// True when a price is made of the bytes of the body.
pub fn reads_body(pricing: &Pricing) -> bool {
    let mut terms = pricing.terms.iter();
    terms.any(|term| term.of == Quantity::BodyBytes) || reads_json(pricing)
}

fn reads_json(pricing: &Pricing) -> bool {
    places_of(pricing).any(|place| matches!(place, Place::Json(_)))
}

/// The header fields that a price depends on, those that a hook is told too.
pub(crate) fn named_headers(pricing: &Pricing) -> Vec<HeaderName> {
    let of_places = places_of(pricing).filter_map(|place| match place {
        Place::Header(name) => Some(name),
        Place::Json(_) | Place::Query(_) => None,
    });
    let of_hook = pricing.hook.iter().flat_map(|hook| &hook.headers);
    of_places.chain(of_hook).cloned().collect()
}

/// Takes out of a request's trailers what an upstream may take for one of these fields: the price
/// was made without it.
pub(crate) fn strip_priced(names: &[HeaderName], trailers: &mut HeaderMap) {
    for name in names {
        let alike = |key: &&HeaderName| places::alike(key.as_str(), name.as_str());
        let found: Vec<HeaderName> = trailers.keys().filter(alike).cloned().collect();
        for key in found {
            trailers.remove(key);
        }
    }
}

/// A digest of the header fields that a price depends on, for
/// [`Route::priced_inputs`](stiver_server::Route::priced_inputs): method, query and body are bound
/// without it. How a body is to be read is among them. `None` when there are none.
pub fn priced_headers(pricing: &Pricing, headers: &HeaderMap) -> Option<[u8; 32]> {
    let mut names: Vec<&str> = places_of(pricing)
        .filter_map(|place| match place {
            Place::Header(name) => Some(name.as_str()),
            Place::Json(_) | Place::Query(_) => None,
        })
        .collect();
    if reads_json(pricing) {
        names.extend([CONTENT_ENCODING.as_str(), CONTENT_TYPE.as_str()]);
    }
    names.sort_unstable();
    names.dedup();
    digest(&names, headers)
}

/// A digest of these header fields: of every name that may be read as one of these, and every value
/// in order.
pub(crate) fn digest(names: &[&str], headers: &HeaderMap) -> Option<[u8; 32]> {
    if names.is_empty() {
        return None;
    }
    let mut text = Vec::new();
    let mut put = |bytes: &[u8]| {
        text.extend_from_slice(&count(bytes.len()));
        text.extend_from_slice(bytes);
    };
    for name in names {
        put(name.as_bytes());
        let keys = headers.keys().map(HeaderName::as_str);
        let mut keys: Vec<&str> = keys.filter(|key| places::alike(key, name)).collect();
        keys.sort_unstable();
        put(&count(keys.len()));
        for key in keys {
            put(key.as_bytes());
            let values: Vec<&[u8]> = headers
                .get_all(key)
                .iter()
                .map(|value| value.as_bytes().trim_ascii())
                .collect();
            put(&count(values.len()));
            values.into_iter().for_each(&mut put);
        }
    }
    Some(*BodyDigest::of(&text).as_bytes())
}

fn count(number: usize) -> [u8; 8] {
    u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes()
}

/// How many units of a term a request has.
fn counted(term: &Term, inputs: &Inputs<'_>) -> Result<u64, Unpriced> {
    let place = match &term.of {
        Quantity::Told(place) => place,
        Quantity::BodyBytes => {
            let body = inputs.body.ok_or(Unpriced::Streams)?;
            return Ok(u64::try_from(body.len()).unwrap_or(u64::MAX));
        }
    };
    let at = |problem| Unpriced::At {
        place: place.clone(),
        problem,
    };
    match places::find(place, inputs).map_err(at)? {
        Found::Absent => term.default.ok_or_else(|| at(NotFound::Absent)),
        Found::Number(number) => Ok(number),
        Found::Text(_) | Found::Flag(_) => Err(at(NotFound::NotUnsigned)),
    }
}

/// The amount of a choice.
fn chosen<'p>(choice: &'p Choice, inputs: &Inputs<'_>) -> Result<&'p Amount, Unpriced> {
    let at = |problem| Unpriced::At {
        place: choice.of.clone(),
        problem,
    };
    let value = match places::find(&choice.of, inputs).map_err(at)? {
        Found::Absent => {
            return choice
                .otherwise
                .as_ref()
                .ok_or_else(|| at(NotFound::Absent));
        }
        Found::Number(number) => number.to_string(),
        Found::Flag(flag) => flag.to_string(),
        Found::Text(text) => text,
    };
    let known = choice.values.get(&value).or(choice.otherwise.as_ref());
    known.ok_or_else(|| {
        at(NotFound::Unknown {
            known: choice.values.keys().cloned().collect(),
        })
    })
}

/// `units` of a term, each `per` of which cost its amount. `None` when no number holds it.
fn proportional(units: u64, term: &Term, round: Round) -> Option<u128> {
    let whole = u128::from(units).checked_mul(term.amount.units())?;
    let per = u128::from(term.per);
    match round {
        Round::Up => Some(whole.div_ceil(per)),
        Round::Down => Some(whole / per),
    }
}

/// Why a request has no price. `Display` tells its sender what to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpriced {
    /// A value that the price depends on.
    #[error("the price depends on {}: {problem}", written(.place))]
    At {
        /// Where it should be.
        place: Place,
        /// What is wrong with it.
        problem: NotFound,
    },
    /// The price depends on a body that streams past.
    #[error("the price depends on the body, and this body is too long to be read first")]
    Streams,
}

impl Unpriced {
    /// The answer.
    pub fn problem(&self) -> Problem {
        Problem::new(ProblemKind::BadRequest, self.to_string())
    }
}

/// A place as its owner knows it.
fn written(place: &Place) -> String {
    match place {
        Place::Json(pointer) => format!("{pointer} of the JSON body"),
        Place::Query(name) => format!("the query parameter {name}"),
        Place::Header(name) => format!("the header {name}"),
    }
}
