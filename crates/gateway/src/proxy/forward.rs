//! Sends requests upstream, and passes the answers on.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header,
    request::Parts,
};
use http_body::Body as _;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use stiver_core::{Problem, problem::ProblemKind, untrusted::Untrusted};
use stiver_env::{Clock, Spawner};
use stiver_server::{Paid, grant::PayeeFailure, tower::RequestBody};
use tower::Service;
use tracing::Instrument as _;

use super::{
    Charged,
    flow::{Download, Progress, Upload},
    problem_response,
    upgrade::{Wish, is_switch},
};
use crate::{
    connections::ResponseBody,
    observe::Metrics,
    routes::Serving,
    trace,
    upstream::{self, HeaderRules, UpstreamBody, UpstreamError, join_cookies, remove_any},
};

/// How fast the body of a request must come when it streams past the gateway, bytes each second, on
/// average over the route's time-out.
pub(crate) const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 256;
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
    pub(super) spawner: Arc<dyn Spawner>,
    pub(super) metrics: Option<Arc<Metrics>>,
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
        &self,
        request: Request<RequestBody<Incoming>>,
        serving: &Arc<Serving>,
    ) -> Response<ResponseBody> {
        let (mut parts, body) = request.into_parts();
        let upstream = &serving.upstream;
        let wish = match serving.upgrade && body.is_end_stream() {
            true => Wish::take(&mut parts),
            false => None,
        };
        request_headers(&mut parts, upstream.rules());
        if serving.reads_answers {
            let plain = HeaderValue::from_static("identity");
            parts.headers.insert(header::ACCEPT_ENCODING, plain);
        }
        if let Some(wish) = &wish {
            wish.write(&mut parts.headers);
        }
        let Ok(uri) = upstream.uri(parts.uri) else {
            return upstream_problem("the upstream's address cannot be made", true);
        };
        let (body, progress) = request_body(body, serving);
        let mut outgoing = Request::new(body);
        *outgoing.method_mut() = parts.method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = parts.headers;
        let span = trace::upstream(&serving.upstream_name);
        trace::name_parent(&span, outgoing.headers_mut());
        let begun = self.clock.monotonic();
        let sending = upstream.send(outgoing).instrument(span.clone());
        let answer = self.within(sending, serving, progress).await;
        self.observe(serving, begun, &answer);
        if let Some(Ok(response)) = &answer {
            span.record("http.response.status_code", response.status().as_u16());
        }
        match answer {
            None => upstream_problem("the upstream took too long", false),
            Some(Ok(response)) if is_switch(&response) => self.switch(response, wish, serving),
            Some(Ok(response)) if serving.reads_answers && is_encoded(response.headers()) => {
                tracing::error!("what an answer used cannot be read: it has a Content-Encoding");
                upstream_problem("the upstream's answer cannot be read", false)
            }
            Some(Ok(response)) => self.pass_on(response, serving),
            Some(Err(error)) => {
                let cause: &dyn std::error::Error = &error;
                let why = cause.source().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(reached = error.reached, why = %Untrusted(&why), "no answer");
                upstream_problem("the upstream gave no answer", !error.reached)
            }
        }
    }

    /// Counts what came of a request that was sent since `begun`.
    fn observe(
        &self,
        serving: &Serving,
        begun: Duration,
        answer: &Option<Result<Response<UpstreamBody>, UpstreamError>>,
    ) {
        let Some(metrics) = &self.metrics else { return };
        let name = &serving.upstream_name;
        match answer {
            Some(Ok(_)) => {
                let took = self.clock.monotonic().saturating_sub(begun);
                metrics.upstream_answered(name, took);
            }
            Some(Err(error)) => metrics.upstream_failed(name, error.reached),
            None => metrics.upstream_failed(name, true),
        }
    }

    /// Waits for the head of an answer. A body that is still going up is given more time for as
    /// long as it moves, by at least [`UPLOAD_BYTES_PER_SECOND_MIN`].
    async fn within(
        &self,
        answer: impl Future<Output = Result<Response<UpstreamBody>, UpstreamError>>,
        serving: &Serving,
        progress: Option<Progress>,
    ) -> Option<Result<Response<UpstreamBody>, UpstreamError>> {
        let mut answer = std::pin::pin!(answer);
        let least = UPLOAD_BYTES_PER_SECOND_MIN.saturating_mul(serving.timeout.as_secs().max(1));
        let (mut seen, mut ended) = (0, false);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                () = self.clock.sleep(serving.timeout) => {}
            }
            let progress = progress.as_ref()?;
            let (bytes, has_ended) = (progress.bytes(), progress.has_ended());
            let just_ended = has_ended && !ended;
            if bytes.saturating_sub(seen) < least && !just_ended {
                return None;
            }
            (seen, ended) = (bytes, has_ended);
        }
    }

    fn pass_on(
        &self,
        mut response: Response<UpstreamBody>,
        serving: &Serving,
    ) -> Response<ResponseBody> {
        let upstream = &serving.upstream;
        upstream.rules().response(response.headers_mut());
        remove_ours(response.headers_mut());
        response.map(|body| {
            let body = Download::new(body, upstream, &self.clock, serving.timeout);
            UnsyncBoxBody::new(body)
        })
    }

    /// The answer of an upstream that leaves HTTP.
    fn switch(
        &self,
        mut response: Response<UpstreamBody>,
        wish: Option<Wish>,
        serving: &Serving,
    ) -> Response<ResponseBody> {
        let agreed = wish.and_then(|wish| wish.grant(&mut response, &self.clock, &self.spawner));
        let Some(protocol) = agreed else {
            return upstream_problem(
                "the upstream switched to a protocol nobody asked for",
                false,
            );
        };
        let mut switched = self.pass_on(response, serving);
        let headers = switched.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
        *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        switched
    }
}

/// The body for the upstream, and how far it has gone when it still comes from the client.
fn request_body(
    body: RequestBody<Incoming>,
    serving: &Arc<Serving>,
) -> (upstream::RequestBody, Option<Progress>) {
    match body {
        RequestBody::Left(whole) => {
            let whole = whole.map_err(|never| match never {});
            (UnsyncBoxBody::new(whole), None)
        }
        RequestBody::Right(body) if body.is_end_stream() => {
            (UnsyncBoxBody::new(body.map_err(Into::into)), None)
        }
        RequestBody::Right(body) => {
            let progress = Progress::default();
            let body = Upload::new(body, serving, &progress);
            (UnsyncBoxBody::new(body), Some(progress))
        }
    }
}

pub(super) fn request_headers(parts: &mut Parts, rules: &HeaderRules) {
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

/// True for a body that is not sent as it is.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|value| {
        !value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
    })
}

/// Removes what only we may say about payments.
pub(super) fn remove_ours(headers: &mut HeaderMap) {
    remove_any(headers, &OURS);
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
