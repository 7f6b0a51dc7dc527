//! One request through the gateway: find its route, charge for it, forward it.

mod forward;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use stiver_core::{Problem, problem::ProblemKind};
use stiver_env::BoxFuture;
use stiver_server::{
    BodyState, Pricing,
    route::Route,
    tower::{BodyRule, Payment, PaymentLayer, Price, RequestBody, remove_credentials},
};
use tower::{Layer, ServiceExt};

use self::forward::Forward;
use crate::{
    connections::{Peer, ResponseBody},
    path,
    routes::{Found, Routes, Serving},
    upstream::strip_forwarded,
};

/// Finds routes, charges, forwards. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proxy {
    routes: Arc<Routes>,
    forward: Forward,
    paid: Payment<Forward>,
    behind_proxy: bool,
}

impl Proxy {
    /// A proxy of the routes' upstreams behind a gate.
    pub(crate) fn new(gate: stiver_server::Gate, routes: Arc<Routes>, limits: Limits) -> Self {
        let forward = Forward {
            clock: Arc::clone(&gate.env().clock),
        };
        let paid = PaymentLayer::new(gate, RoutePrice).layer(forward.clone());
        Self {
            routes,
            forward,
            paid,
            behind_proxy: limits.behind_proxy,
        }
    }

    /// Answers one request.
    pub(crate) async fn handle(
        self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Response<ResponseBody> {
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
            Found::Free(serving) => {
                remove_credentials(&mut parts.headers);
                let request = Request::from_parts(parts, RequestBody::Right(body));
                self.forward.send(request, &serving).await
            }
            Found::Priced(serving, route) => {
                parts.extensions.insert(Charged {
                    serving,
                    route,
                    peer,
                });
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

/// The route that a request was matched with, and who asks.
#[derive(Clone)]
struct Charged {
    serving: Arc<Serving>,
    route: Arc<Route>,
    /// For what depends on who asks.
    peer: Peer,
}

/// The price of a request: that of the route it was matched with.
struct RoutePrice;

impl Price for RoutePrice {
    fn body_rule(&self, parts: &Parts) -> BodyRule {
        let charged = parts.extensions.get::<Charged>();
        BodyRule::Digest {
            bytes_max: charged.map_or(0, |charged| charged.serving.body_limit),
        }
    }

    fn is_never_free(&self, _: &Parts) -> bool {
        true
    }

    fn price<'a>(&'a self, parts: &'a Parts, _: BodyState) -> BoxFuture<'a, Pricing> {
        let pricing = match parts.extensions.get::<Charged>() {
            Some(charged) => Pricing::Priced(Arc::clone(&charged.route)),
            // Only priced routes come here: whatever else does is not served.
            None => Pricing::Denied(Problem::new(ProblemKind::Internal, "no route")),
        };
        Box::pin(std::future::ready(pricing))
    }
}
