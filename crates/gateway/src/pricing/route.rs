//! The price of one route, ready for the gate.

use std::sync::Arc;

use http::request::Parts;
use stiver_core::{Amount, Problem, problem::ProblemKind};
use stiver_method::payee::PayeeCharge;
use stiver_server::{
    Offer, Pricing, Route,
    tower::{ReadBody, Shadow},
};

use super::{
    Inputs, evaluate,
    hook::{Answer, HookClient},
    priced_headers,
    quota::Quota,
    readable,
};
use crate::config;

/// Names the way in which prices are computed. A change of the amounts does not change it: what a
/// challenge says holds until it expires.
const REVISION: &str = "1";

/// A route that asks for money.
pub(crate) struct PricedRoute {
    how: How,
    /// Everything but the price of a single request. Its offer is of the most that one can cost.
    policy: Arc<Route>,
    /// Requests that each source has for nothing.
    pub(crate) quota: Option<Arc<Quota>>,
    /// Nobody has to pay.
    pub(crate) shadow: Option<Shadow>,
}

enum How {
    /// Always that of the policy.
    Fixed,
    /// By a function of the request.
    Function(Computed),
    /// By asking a service.
    Hook(Computed, Box<HookClient>),
}

/// What computed prices are made of.
struct Computed {
    pricing: config::pricing::Pricing,
    method: Arc<dyn PayeeCharge>,
}

impl PricedRoute {
    /// Prices requests and lets them pass.
    pub(crate) fn shadow(mut self, shadow: Option<Shadow>) -> Self {
        self.shadow = shadow;
        self
    }

    /// A route with a fixed price.
    pub(crate) fn fixed(policy: Route, quota: Option<Arc<Quota>>) -> Self {
        Self {
            how: How::Fixed,
            policy: Arc::new(policy),
            quota,
            shadow: None,
        }
    }

    /// A route whose price is computed: by the hook, when there is one.
    pub(crate) fn computed(
        policy: Route,
        quota: Option<Arc<Quota>>,
        (pricing, method): (config::pricing::Pricing, Arc<dyn PayeeCharge>),
        hook: Option<HookClient>,
    ) -> Self {
        let computed = Computed { pricing, method };
        Self {
            how: match hook {
                Some(hook) => How::Hook(computed, Box::new(hook)),
                None => How::Function(computed),
            },
            policy: Arc::new(policy.computed(REVISION)),
            quota,
            shadow: None,
        }
    }

    /// True when no request of the route is free, but for its quota.
    pub(crate) fn is_never_free(&self) -> bool {
        match &self.how {
            How::Fixed => true,
            How::Function(computed) => !computed.pricing.base.is_zero(),
            How::Hook(..) => false,
        }
    }

    /// True when the price is made of the bytes of the body.
    pub(crate) fn reads_body(&self) -> bool {
        match &self.how {
            How::Fixed | How::Hook(..) => false,
            How::Function(computed) => super::reads_body(&computed.pricing),
        }
    }

    /// True when another service is asked for the price.
    pub(crate) fn asks_hook(&self) -> bool {
        matches!(self.how, How::Hook(..))
    }

    /// What a request costs. `bound` says that it brings a credential whose challenge this gateway
    /// issued.
    pub(crate) async fn price(&self, parts: &Parts, body: &ReadBody, bound: bool) -> Pricing {
        match &self.how {
            How::Fixed => Pricing::Priced(Arc::clone(&self.policy)),
            How::Function(computed) => match evaluate(&computed.pricing, &inputs(parts, body)) {
                Ok(amount) if amount.is_zero() => Pricing::Free,
                Ok(amount) => self.at(computed, amount, self.inputs(parts)),
                Err(unpriced) => Pricing::Denied(unpriced.problem()),
            },
            How::Hook(computed, hook) => match hook.ask(parts, body, bound).await {
                Answer::Amount(amount) => self.at(computed, amount, self.inputs(parts)),
                Answer::Free => Pricing::Free,
                Answer::Deny(problem) => Pricing::Denied(problem),
            },
        }
    }

    /// What holds for a credential whose challenge this gateway issued: the amount is that of the
    /// challenge.
    /// What an upstream could read in another way is refused as ever: nothing else binds it.
    pub(crate) fn honour(&self, parts: &Parts, body: &ReadBody) -> Pricing {
        let good = match &self.how {
            How::Fixed => Ok(()),
            How::Function(computed) => readable(&computed.pricing, &inputs(parts, body)),
            How::Hook(_, hook) => hook.readable(parts),
        };
        if let Err(unpriced) = good {
            return Pricing::Denied(unpriced.problem());
        }
        match self.inputs(parts) {
            None => Pricing::Priced(Arc::clone(&self.policy)),
            Some(digest) => {
                let route = Route::clone(&self.policy).priced_inputs(digest);
                Pricing::Priced(Arc::new(route))
            }
        }
    }

    /// The digest of the header fields that the price is made of.
    fn inputs(&self, parts: &Parts) -> Option<[u8; 32]> {
        match &self.how {
            How::Fixed => None,
            How::Function(computed) => priced_headers(&computed.pricing, &parts.headers),
            How::Hook(_, hook) => hook.priced_headers(parts),
        }
    }

    fn at(&self, computed: &Computed, amount: Amount, inputs: Option<[u8; 32]>) -> Pricing {
        let offer = Offer::new(Arc::clone(&computed.method), amount);
        let route = offer.map(|offer| Route::clone(&self.policy).offering(vec![offer]));
        let Ok(Ok(mut route)) = route else {
            tracing::error!("a computed price cannot be charged by the method");
            let detail = "the price of this request cannot be charged";
            return Pricing::Denied(Problem::new(ProblemKind::Internal, detail));
        };
        if let Some(digest) = inputs {
            route = route.priced_inputs(digest);
        }
        Pricing::Priced(Arc::new(route))
    }
}

fn inputs<'a>(parts: &'a Parts, body: &'a ReadBody) -> Inputs<'a> {
    Inputs {
        query: parts.uri.query(),
        headers: &parts.headers,
        body: body.bytes().map(|bytes| &bytes[..]),
    }
}
