//! One request, from its head to the head of its response: its id, its log line, its numbers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use stiver_core::problem::ProblemKind;
use stiver_env::{Clock, Env};
use stiver_server::{
    events::Payment,
    tower::{Answered, Note},
};
use tracing::{Level, Span};

use super::metrics::{Metrics, problem_name};
use crate::{
    connections::ResponseBody,
    limits::{Limit, Source},
    trace,
};

/// The field that names a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken from a client, bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// Where access lines are logged.
pub const ACCESS: &str = "stiver_gateway::access";
/// The route of requests that have none.
const NO_ROUTE: &str = "-";

/// What became of a request, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Free,
    Challenged,
    Refused,
    Delivered,
    Failed,
    Replayed,
    Acknowledged,
    Limited,
    Unrouted,
    Own,
    Gone,
}

impl Outcome {
    pub(super) fn name(self) -> &'static str {
        match self {
            // Passed on without a payment.
            Self::Free => "free",
            // Asked to pay.
            Self::Challenged => "challenged",
            // Answered with another problem.
            Self::Refused => "refused",
            // Paid and delivered.
            Self::Delivered => "delivered",
            // Paid, and the delivery failed.
            Self::Failed => "failed",
            // A stored response was repeated.
            Self::Replayed => "replayed",
            // A session's voucher, top-up or close was taken.
            Self::Acknowledged => "acknowledged",
            // Over a rate limit.
            Self::Limited => "limited",
            // No route.
            Self::Unrouted => "unrouted",
            // Answered by the gateway itself: the ledger, discovery.
            Self::Own => "own",
            // The client went away.
            Self::Gone => "gone",
        }
    }
}

/// What is found out about a request while it is answered.
#[derive(Default)]
pub(crate) struct About {
    /// The label of its route.
    pub(crate) route: Option<Arc<str>>,
    /// The rate limit that refused it.
    pub(crate) limited: Option<Limit>,
    /// It took a route without a price.
    pub(crate) free: bool,
    /// Whom a bad credential is charged to, when there is a limit of challenges.
    pub(crate) bears_credential_of: Option<Source>,
    /// Whether anybody wants to know what the gate says of it.
    pub(crate) wants_note: bool,
    /// What the gate says of it.
    pub(crate) note: Note,
}

/// Observes requests. One for a gateway.
pub(crate) struct Requests {
    pub(crate) metrics: Option<Arc<Metrics>>,
    clock: Arc<dyn Clock>,
    /// Begins every id of this process.
    prefix: u64,
    next: AtomicU64,
}

impl Requests {
    pub(crate) fn new(env: &Env, metrics: Option<Arc<Metrics>>) -> Self {
        Self {
            metrics,
            clock: Arc::clone(&env.clock),
            prefix: u64::from_be_bytes(env.random()),
            next: AtomicU64::new(0),
        }
    }

    /// True when somebody wants to know what the gate says of a request.
    pub(crate) fn notes(&self) -> bool {
        self.metrics.is_some() || tracing::enabled!(target: ACCESS, Level::INFO)
    }

    /// Now, by the monotonic clock.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// A request came. Its headers name it from now on.
    pub(crate) fn begin(self: &Arc<Self>, method: &Method, headers: &mut HeaderMap) -> Seen {
        if let Some(metrics) = &self.metrics {
            metrics.begun();
        }
        let id = match headers.get(REQUEST_ID) {
            Some(id) if is_fit(id) => id.clone(),
            _ => self.fresh_id(),
        };
        headers.insert(REQUEST_ID, id.clone());
        Seen {
            requests: Arc::clone(self),
            id,
            method: known(method),
            span: trace::request(known(method), headers),
            begun: self.clock.monotonic(),
            open: true,
        }
    }

    /// Unique among all processes, by the random prefix; and nobody has to keep it secret.
    fn fresh_id(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        HeaderValue::try_from(format!("{:016x}-{number:x}", self.prefix))
            .expect("hexadecimal digits are a field value")
    }
}

/// Short, and nothing that could forge a line of a log.
fn is_fit(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    let fit = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(fit)
}

/// A method as it is logged: what a client makes up is not repeated.
fn known(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let found = known.into_iter().find(|known| method.as_str() == *known);
    found.unwrap_or("other")
}

/// A request that is being answered. Dropped before [`Seen::end`], its client went away.
pub(crate) struct Seen {
    requests: Arc<Requests>,
    id: HeaderValue,
    method: &'static str,
    /// The request's span.
    pub(crate) span: Span,
    begun: Duration,
    open: bool,
}

impl Seen {
    /// The response is ready: names it, logs it, counts it.
    pub(crate) fn end(mut self, about: &About, response: &mut Response<ResponseBody>) {
        self.open = false;
        response.headers_mut().insert(REQUEST_ID, self.id.clone());
        let answered = about.note.read();
        let ours = response.extensions().get::<ProblemKind>().copied();
        let (outcome, payment, problem) = outcome(about, answered, ours);
        let status = response.status().as_u16();
        self.tell(
            about.route.as_ref(),
            outcome,
            Some(status),
            payment,
            problem,
        );
    }

    fn tell(
        &self,
        route: Option<&Arc<str>>,
        outcome: Outcome,
        status: Option<u16>,
        payment: Option<&Payment>,
        problem: Option<ProblemKind>,
    ) {
        let took = self.requests.clock.monotonic().saturating_sub(self.begun);
        if let Some(metrics) = &self.requests.metrics {
            metrics.ended();
            if let Some(problem) = problem {
                metrics.refused(problem);
            }
            match route {
                Some(route) => metrics.answered(route, outcome, took),
                None => metrics.answered(&NO_ROUTE.into(), outcome, took),
            }
        }
        self.trace(route, outcome, status, payment, problem);
        tracing::info!(
            target: ACCESS,
            request_id = self.id.to_str().unwrap_or_default(),
            method = self.method,
            route = route.map_or(NO_ROUTE, |route| &**route),
            status,
            outcome = outcome.name(),
            amount = payment.map(|payment| tracing::field::display(&payment.amount)),
            challenge_id = payment.map(|payment| &*payment.challenge_id),
            problem = problem.map(problem_name),
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

impl Seen {
    fn trace(
        &self,
        route: Option<&Arc<str>>,
        outcome: Outcome,
        status: Option<u16>,
        payment: Option<&Payment>,
        problem: Option<ProblemKind>,
    ) {
        let span = &self.span;
        if span.is_disabled() {
            return;
        }
        let route = route.map_or(NO_ROUTE, |route| &**route);
        span.record("http.route", route);
        span.record("stiver.outcome", outcome.name());
        if let Some(status) = status {
            span.record("http.response.status_code", status);
        }
        if let Some(problem) = problem {
            span.record("stiver.problem", problem_name(problem));
        }
        if let Some(payment) = payment {
            span.record("stiver.payment.method", &*payment.method);
            span.record("stiver.payment.amount", payment.amount.to_string());
            span.record("stiver.challenge.id", &*payment.challenge_id);
        }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        if self.open {
            self.tell(None, Outcome::Gone, None, None, None);
        }
    }
}

fn outcome<'a>(
    about: &About,
    answered: Option<&'a Answered>,
    ours: Option<ProblemKind>,
) -> (Outcome, Option<&'a Payment>, Option<ProblemKind>) {
    match answered {
        Some(Answered::Free) => (Outcome::Free, None, ours),
        Some(Answered::Delivered(payment)) => (Outcome::Delivered, Some(payment), None),
        Some(Answered::Failed { payment, problem }) => {
            (Outcome::Failed, Some(payment), Some(*problem))
        }
        Some(Answered::Replayed) => (Outcome::Replayed, None, None),
        Some(Answered::Acknowledged) => (Outcome::Acknowledged, None, None),
        Some(Answered::Refused { problem, .. }) if *problem == ProblemKind::PaymentRequired => {
            (Outcome::Challenged, None, Some(*problem))
        }
        Some(Answered::Refused { problem, .. }) => (Outcome::Refused, None, Some(*problem)),
        _ if about.limited.is_some() => (Outcome::Limited, None, ours),
        _ if about.free => (Outcome::Free, None, ours),
        _ => match ours {
            Some(ProblemKind::NotFound) => (Outcome::Unrouted, None, ours),
            Some(_) => (Outcome::Refused, None, ours),
            None => (Outcome::Own, None, None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> bool {
        is_fit(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn a_request_id_of_a_client_is_short_and_plain() {
        assert!(id("a") && id("0af7651916cd43dd8448eb211c80319c") && id("x_y-z.1"));
        assert!(!id("") && !id(&"a".repeat(65)) && !id("a b") && !id("a;b") && !id("a=b"));
    }

    #[test]
    fn a_method_that_a_client_makes_up_is_not_repeated() {
        assert_eq!(known(&Method::DELETE), "DELETE");
        let method = Method::from_bytes(b"SECRET").unwrap();
        assert_eq!(known(&method), "other");
    }
}
