//! Sends requests upstream, and passes the answers on.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

use http::{HeaderName, HeaderValue, Request, Response, Version, header, request::Parts};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use stiver_core::{Problem, problem::ProblemKind, untrusted::Untrusted};
use stiver_env::Clock;
use stiver_server::{Paid, grant::PayeeFailure, tower::RequestBody};
use tower::Service;

use super::{Charged, problem_response};
use crate::{
    connections::ResponseBody,
    routes::Serving,
    upstream::{HeaderRules, join_cookies},
};

/// The header that keeps its value however often a request is sent upstream for one payment.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// What a client says to us about paying.
const ACCEPT_PAYMENT: HeaderName = HeaderName::from_static("accept-payment");
/// What only we may say about payments.
const OURS: [HeaderName; 2] = [
    HeaderName::from_static("payment-receipt"),
    HeaderName::from_static("idempotency-replayed"),
];

/// Sends requests upstream.
#[derive(Clone)]
pub(super) struct Forward {
    pub(super) clock: Arc<dyn Clock>,
}

impl Service<Request<RequestBody<Incoming>>> for Forward {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Incoming>>) -> Self::Future {
        let forward = self.clone();
        Box::pin(async move {
            let charged = request.extensions().get::<Charged>();
            let Some(serving) = charged.map(|charged| Arc::clone(&charged.serving)) else {
                return Ok(upstream_problem("the request has no route", true));
            };
            Ok(forward.send(request, &serving).await)
        })
    }
}

impl Forward {
    /// Sends a request of a route to its upstream.
    pub(super) async fn send(
        self,
        request: Request<RequestBody<Incoming>>,
        serving: &Serving,
    ) -> Response<ResponseBody> {
        let (mut parts, body) = request.into_parts();
        let rules = serving.upstream.rules();
        request_headers(&mut parts, rules);
        let Ok(uri) = serving.upstream.uri(parts.uri) else {
            return upstream_problem("the upstream's address cannot be made", true);
        };
        let mut outgoing = Request::new(UnsyncBoxBody::new(body.map_err(Into::into)));
        *outgoing.method_mut() = parts.method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = parts.headers;
        let answer = tokio::select! {
            answer = serving.upstream.send(outgoing) => answer,
            () = self.clock.sleep(serving.timeout) => {
                return upstream_problem("the upstream took too long", false);
            }
        };
        match answer {
            Ok(response) => from_upstream(response, rules),
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                let why = cause.source().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(reached = error.reached, why = %Untrusted(&why), "no answer");
                upstream_problem("the upstream gave no answer", !error.reached)
            }
        }
    }
}

fn request_headers(parts: &mut Parts, rules: &HeaderRules) {
    let headers = &mut parts.headers;
    rules.request(headers);
    headers.remove(header::HOST);
    headers.remove(ACCEPT_PAYMENT);
    if parts.version >= Version::HTTP_2 {
        join_cookies(headers);
    }
    if let Some(paid) = parts.extensions.get::<Paid>() {
        // The client's own key was for us; the upstream gets the one that outlives its retries.
        if let Ok(value) = HeaderValue::from_str(&paid.upstream_key) {
            headers.insert(IDEMPOTENCY_KEY, value);
        }
    }
}

fn from_upstream(mut response: Response<Incoming>, rules: &HeaderRules) -> Response<ResponseBody> {
    rules.response(response.headers_mut());
    for name in &OURS {
        response.headers_mut().remove(name);
    }
    response.map(|body| UnsyncBoxBody::new(body.map_err(Into::into)))
}

/// A 502 for the client, and what the gate must know: whether the upstream can have had an effect.
fn upstream_problem(detail: &str, not_reached: bool) -> Response<ResponseBody> {
    let mut response = problem_response(&Problem::new(ProblemKind::UpstreamFailed, detail));
    let failure = if not_reached {
        PayeeFailure::NotReached
    } else {
        PayeeFailure::MayHaveRun
    };
    response.extensions_mut().insert(failure);
    response
}
