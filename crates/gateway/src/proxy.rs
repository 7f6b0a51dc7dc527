//! One request through the gateway: find its route, charge for it, forward it.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    request::Parts,
};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use stiver_core::{Problem, problem::ProblemKind, untrusted::Untrusted};
use stiver_env::{BoxFuture, Clock};
use stiver_server::{
    BodyState, Paid, Pricing,
    grant::PayeeFailure,
    route::Route,
    tower::{BodyRule, Payment, PaymentLayer, Price, RequestBody, remove_credentials},
};
use tower::{Layer, Service, ServiceExt};

use crate::{
    connections::ResponseBody,
    path,
    routes::{Found, Routes},
    upstream::{UpstreamClient, strip_forwarded, strip_hop_headers},
};

/// The header that keeps its value however often a request is sent upstream for one payment.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// What only we may say about payments.
const OURS: [HeaderName; 2] = [
    HeaderName::from_static("payment-receipt"),
    HeaderName::from_static("idempotency-replayed"),
];

/// Finds routes, charges, forwards. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proxy {
    routes: Arc<Routes>,
    free: Forward,
    paid: Payment<Forward>,
    behind_proxy: bool,
}

impl Proxy {
    /// A proxy of an upstream behind a gate.
    pub(crate) fn new(
        gate: stiver_server::Gate,
        routes: Arc<Routes>,
        upstream: UpstreamClient,
        limits: Limits,
    ) -> Self {
        let clock = Arc::clone(&gate.env().clock);
        let forward = Forward {
            upstream,
            clock,
            timeout: limits.upstream_timeout,
        };
        let price = RoutePrice {
            body_limit_bytes: limits.body_limit_bytes,
        };
        let paid = PaymentLayer::new(gate, price).layer(forward.clone());
        Self {
            routes,
            free: forward,
            paid,
            behind_proxy: limits.behind_proxy,
        }
    }

    /// Answers one request.
    pub(crate) async fn handle(self, request: Request<Incoming>) -> Response<ResponseBody> {
        let (mut parts, body) = request.into_parts();
        let checked = checked_method(&parts.method).and_then(|()| normal_target(&parts.uri));
        let target = match checked {
            Ok(target) => target,
            Err(problem) => return problem_response(&problem),
        };
        if !self.behind_proxy {
            strip_forwarded(&mut parts.headers);
        }
        let found = self.routes.find(parts.method.as_str(), target.path());
        parts.uri = target;
        match found {
            Found::None | Found::Denied => {
                let detail = "no route of this gateway serves this method and path";
                problem_response(&Problem::new(ProblemKind::NotFound, detail))
            }
            Found::Free => {
                remove_credentials(&mut parts.headers);
                let request = Request::from_parts(parts, RequestBody::Right(body));
                match self.free.oneshot(request).await {
                    Ok(response) => response.map(UnsyncBoxBody::new),
                    Err(never) => match never {},
                }
            }
            Found::Priced(route) => {
                parts.extensions.insert(Charged(route));
                let request = Request::from_parts(parts, body);
                match self.paid.oneshot(request).await {
                    Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
                    Err(never) => match never {},
                }
            }
        }
    }
}

/// What bounds a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Longest request body of a priced route, bytes.
    pub(crate) body_limit_bytes: usize,
    /// How long the upstream may take to read a request and begin its answer.
    pub(crate) upstream_timeout: Duration,
    /// Whether a proxy in front may say who the client is.
    pub(crate) behind_proxy: bool,
}

/// HTTP methods are compared by case. One that only looks like another must not find another route.
fn checked_method(method: &Method) -> Result<(), Problem> {
    if method
        .as_str()
        .bytes()
        .any(|byte| byte.is_ascii_lowercase())
    {
        let detail = "HTTP methods are written in capitals";
        return Err(Problem::new(ProblemKind::BadRequest, detail));
    }
    Ok(())
}

/// The target in its one normal form: what is matched, paid for and forwarded.
fn normal_target(uri: &Uri) -> Result<Uri, Problem> {
    let bad = |detail: String| Problem::new(ProblemKind::BadRequest, detail);
    let path = path::normalise(uri.path()).map_err(|error| bad(error.to_string()))?;
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    if target.len() > path::TARGET_BYTES_MAX {
        return Err(bad(format!(
            "the target is over {} bytes",
            path::TARGET_BYTES_MAX
        )));
    }
    target
        .parse()
        .map_err(|_| bad("the target cannot be read".to_owned()))
}

/// A problem as a response that no cache keeps.
pub(crate) fn problem_response(problem: &Problem) -> Response<ResponseBody> {
    let body = Full::new(Bytes::from(problem.to_json())).map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body));
    *response.status_mut() = StatusCode::from_u16(problem.kind.status())
        .expect("a problem's status is a status, because each is a constant of ours");
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The route that a request was matched with.
#[derive(Clone)]
struct Charged(Arc<Route>);

/// The price of a request: that of the route it was matched with.
struct RoutePrice {
    body_limit_bytes: usize,
}

impl Price for RoutePrice {
    fn body_rule(&self, _: &Parts) -> BodyRule {
        BodyRule::Digest {
            bytes_max: self.body_limit_bytes,
        }
    }

    fn is_never_free(&self, _: &Parts) -> bool {
        true
    }

    fn price<'a>(&'a self, parts: &'a Parts, _: BodyState) -> BoxFuture<'a, Pricing> {
        let pricing = match parts.extensions.get::<Charged>() {
            Some(Charged(route)) => Pricing::Priced(Arc::clone(route)),
            // Only priced routes come here: whatever else does is not served.
            None => Pricing::Denied(Problem::new(ProblemKind::Internal, "no route")),
        };
        Box::pin(std::future::ready(pricing))
    }
}

/// Sends requests upstream.
#[derive(Clone)]
struct Forward {
    upstream: UpstreamClient,
    clock: Arc<dyn Clock>,
    timeout: Duration,
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
        Box::pin(async move { Ok(forward.send(request).await) })
    }
}

impl Forward {
    async fn send(self, request: Request<RequestBody<Incoming>>) -> Response<ResponseBody> {
        let (parts, body) = request.into_parts();
        let Some(uri) = parts
            .uri
            .path_and_query()
            .and_then(|target| self.upstream.uri(target.as_str()).ok())
        else {
            return upstream_problem("the upstream's address cannot be made", true);
        };
        let mut outgoing = Request::new(UnsyncBoxBody::new(body.map_err(Into::into)));
        *outgoing.method_mut() = parts.method.clone();
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = request_headers(parts.headers, parts.extensions.get::<Paid>());
        let answer = tokio::select! {
            answer = self.upstream.send(outgoing) => answer,
            () = self.clock.sleep(self.timeout) => {
                return upstream_problem("the upstream took too long", false);
            }
        };
        match answer {
            Ok(response) => from_upstream(response, &parts.method),
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                let why = cause.source().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(reached = error.reached, why = %Untrusted(&why), "no answer");
                upstream_problem("the upstream gave no answer", !error.reached)
            }
        }
    }
}

fn request_headers(mut headers: HeaderMap, paid: Option<&Paid>) -> HeaderMap {
    strip_hop_headers(&mut headers);
    headers.remove(header::HOST);
    headers.remove(HeaderName::from_static("accept-payment"));
    if let Some(paid) = paid {
        // The client's own key was for us; the upstream gets the one that outlives its retries.
        if let Ok(value) = HeaderValue::from_str(&paid.upstream_key) {
            headers.insert(IDEMPOTENCY_KEY, value);
        }
    }
    headers
}

fn from_upstream(mut response: Response<Incoming>, method: &Method) -> Response<ResponseBody> {
    let status = response.status();
    tracing::debug!(%method, status = status.as_u16(), "the upstream answered");
    strip_hop_headers(response.headers_mut());
    for name in OURS {
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
