//! What a request costs, asked per request.

use std::sync::Arc;

use http::request::Parts;
use stiver_env::BoxFuture;

use super::body::ReadBody;
use crate::{Pricing, Route, limits::SPOOLED_BODY_BYTES_MAX};

/// A price list.
pub trait Price: Send + Sync + 'static {
    /// Whether the body is read before the request is priced. Default: up to
    /// [`SPOOLED_BODY_BYTES_MAX`]. It holds for free requests too: let large free uploads stream.
    fn body_rule(&self, parts: &Parts) -> BodyRule {
        let _ = parts;
        BodyRule::Digest {
            bytes_max: SPOOLED_BODY_BYTES_MAX,
        }
    }

    /// True when no request like this one passes for free. Then the body of a request that does not
    /// pay is hashed for its challenge and let go, and one whose credential is no good in itself is
    /// refused before its body is held. Default: false, and bodies are held until the price is
    /// known.
    fn is_never_free(&self, parts: &Parts) -> bool {
        let _ = parts;
        false
    }

    /// True when [`Price::price`] looks at the bytes of the body. Then they are held, within the
    /// layer's total, for requests that do not pay too. Default: true.
    fn reads_body(&self, parts: &Parts) -> bool {
        let _ = parts;
        true
    }

    /// Whether the request passes whatever it costs, and only what it would have cost is told.
    /// Default: no.
    fn shadow(&self, parts: &Parts) -> Option<Shadow> {
        let _ = parts;
        None
    }

    /// What the request costs. Unpaid requests ask too: it must change no state.
    fn price<'a>(&'a self, parts: &'a Parts, body: &'a ReadBody) -> BoxFuture<'a, Pricing>;

    /// What holds for a request whose credential answers a challenge of this gate: the offers, the
    /// policies, and [`Route::priced_inputs`]. The amount of a [computed](Route::computed) price is
    /// the challenge's and not compared, so that a price list that is costly to ask need not be
    /// asked again. Default: [`Price::price`].
    fn honour<'a>(&'a self, parts: &'a Parts, body: &'a ReadBody) -> BoxFuture<'a, Pricing> {
        self.price(parts, body)
    }
}

/// How a request passes that is priced and not charged: credentials are taken out of it, and its
/// response carries no other payment field than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shadow {
    /// The client is told nothing.
    Silent,
    /// The client is told by `Stiver-Shadow`, for example `would-charge="0.01 USD"`.
    Told,
}

/// What to do with a request body before the gate decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyRule {
    /// Read it in full, and bind the challenge to its digest.
    Digest {
        /// Longest body, bytes; a longer one is refused with 413.
        bytes_max: usize,
    },
    /// Let it stream past. The payment is not bound to it, and a run that may have begun is never
    /// repeated.
    Stream,
}

impl<F> Price for F
where
    F: Fn(&Parts, &ReadBody) -> Pricing + Send + Sync + 'static,
{
    fn price<'a>(&'a self, parts: &'a Parts, body: &'a ReadBody) -> BoxFuture<'a, Pricing> {
        Box::pin(std::future::ready(self(parts, body)))
    }
}

/// One route for every request.
pub struct FixedPrice {
    route: Arc<Route>,
    body: BodyRule,
}

impl FixedPrice {
    /// Bodies up to [`SPOOLED_BODY_BYTES_MAX`] are read and bound.
    pub fn new(route: impl Into<Arc<Route>>) -> Self {
        let body = BodyRule::Digest {
            bytes_max: SPOOLED_BODY_BYTES_MAX,
        };
        Self {
            route: route.into(),
            body,
        }
    }

    /// With another rule for bodies.
    #[must_use]
    pub fn body(mut self, rule: BodyRule) -> Self {
        self.body = rule;
        self
    }
}

impl Price for FixedPrice {
    fn body_rule(&self, _: &Parts) -> BodyRule {
        self.body
    }

    fn is_never_free(&self, _: &Parts) -> bool {
        true
    }

    fn reads_body(&self, _: &Parts) -> bool {
        false
    }

    fn price<'a>(&'a self, _: &'a Parts, _: &'a ReadBody) -> BoxFuture<'a, Pricing> {
        Box::pin(std::future::ready(Pricing::Priced(Arc::clone(&self.route))))
    }
}

/// An asynchronous closure as a price list.
pub struct AsyncPrice<F>(F);

impl<F> AsyncPrice<F>
where
    F: Fn(&Parts, &ReadBody) -> BoxFuture<'static, Pricing> + Send + Sync + 'static,
{
    /// Wraps a closure that returns a boxed future.
    pub fn new(price: F) -> Self {
        Self(price)
    }
}

impl<F> Price for AsyncPrice<F>
where
    F: Fn(&Parts, &ReadBody) -> BoxFuture<'static, Pricing> + Send + Sync + 'static,
{
    fn price<'a>(&'a self, parts: &'a Parts, body: &'a ReadBody) -> BoxFuture<'a, Pricing> {
        (self.0)(parts, body)
    }
}
