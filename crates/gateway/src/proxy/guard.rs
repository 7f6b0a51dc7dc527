//! Rate limits in front of the gate.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, header, request::Parts};
use stiver_core::{Problem, problem::ProblemKind};
use stiver_env::Clock;
use stiver_server::{
    Gate,
    tower::{may_be_paid, presents_credential},
};

use super::problem_response;
use crate::{
    connections::{Peer, ResponseBody},
    limits::{Asking, Limits, Source, TooMany, Wants},
    observe::{About, Metrics, Watching},
    routes::Found,
};

/// Asks the limits before anything else is done for a request.
#[derive(Clone)]
pub(super) struct Guard {
    limits: Arc<Limits>,
    gate: Gate,
    clock: Arc<dyn Clock>,
    metrics: Option<Arc<Metrics>>,
}

impl Guard {
    pub(super) fn new(gate: &Gate, watching: &Watching) -> Self {
        Self {
            limits: Arc::clone(&watching.limits),
            clock: Arc::clone(&gate.env().clock),
            metrics: watching.requests.metrics.clone(),
            gate: gate.clone(),
        }
    }

    /// Who asks.
    pub(super) fn source(&self, headers: &HeaderMap, peer: Peer) -> Source {
        let peer = peer.address.map(|address| address.ip());
        self.limits.source(peer, headers)
    }

    /// The answer to a request that the gateway serves itself, when it came too soon.
    pub(super) fn refuse_own(
        &self,
        headers: &HeaderMap,
        peer: Peer,
        about: &mut About,
    ) -> Option<Response<ResponseBody>> {
        if !self.limits.any() {
            return None;
        }
        let asking = Asking {
            source: self.source(headers, peer),
            route: None,
            wants: Wants::Free,
        };
        let refused = self.limits.admit(self.clock.monotonic(), &asking).err();
        refused.map(|too_many| self.answer(too_many, about))
    }

    /// Lets a request pass, or gives its answer. Nothing was claimed yet, so nothing has moved.
    ///
    /// Call it while the headers still say what a proxy in front has put there.
    #[expect(
        clippy::result_large_err,
        reason = "the answer leaves at once, and only where a limit is passed"
    )]
    pub(super) fn admit(
        &self,
        parts: &Parts,
        peer: Peer,
        found: &Found,
        about: &mut About,
    ) -> Result<(), Response<ResponseBody>> {
        let serving = match found {
            Found::None | Found::Denied => None,
            Found::Free(serving) | Found::Priced(serving, _) => Some(serving),
        };
        about.route = serving.map(|serving| Arc::clone(&serving.label));
        let route = serving.and_then(|serving| Some((serving.number, serving.rate_limit?)));
        if route.is_none() && !self.limits.any() {
            return Ok(());
        }
        let source = self.source(&parts.headers, peer);
        let wants = match found {
            Found::Priced(..) if presents_credential(&parts.headers) => Wants::Delivery,
            Found::Priced(..) => Wants::Challenges,
            _ => Wants::Free,
        };
        if wants == Wants::Delivery && self.limits.counts_challenges() {
            about.bears_credential_of = Some(source);
            about.wants_note = true;
        }
        let now = self.clock.monotonic();
        let asking = Asking {
            source,
            route,
            wants,
        };
        let refused = match self.limits.admit(now, &asking) {
            Err(_) if wants == Wants::Delivery && may_be_paid(&self.gate, parts) => {
                self.limits.admit_paid(now, source)
            }
            admitted => admitted,
        };
        refused.map_err(|too_many| self.answer(too_many, about))
    }

    fn answer(&self, too_many: TooMany, about: &mut About) -> Response<ResponseBody> {
        about.limited = Some(too_many.limit);
        if let Some(metrics) = &self.metrics {
            metrics.limited(too_many.limit);
        }
        let seconds = too_many.retry_after_seconds();
        let detail = format!("too many requests: ask again in {seconds} s; nothing was taken");
        let problem = Problem::new(ProblemKind::TooManyRequests, detail);
        let mut response = problem_response(&problem);
        let seconds = HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
        response
    }
}
