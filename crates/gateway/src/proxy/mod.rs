//! One request through the gateway: find its route, charge for it, forward it.

mod cors;
mod flow;
mod forward;
mod guard;
mod socket;
mod upgrade;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request::Parts,
};
use http_body_util::{BodyExt, Either, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use stiver_core::{Problem, problem::ProblemKind};
use stiver_env::BoxFuture;
use stiver_server::{
    Gate, Pricing, Route,
    socket::{Handshake, Sockets},
    tower::{
        BodyRule, Payment, PaymentLayer, Price, ReadBody, RequestBody, Shadow, may_be_paid,
        presents_credential, remove_credentials,
    },
};
use tower::{Layer, ServiceExt};

use self::{forward::Forward, guard::Guard};
use crate::{
    config::{Config, cors::Cors},
    connections::{Peer, ResponseBody},
    limits::Source,
    observe::{About, Watching},
    path,
    pricing::{
        PricedRoute,
        quota::{self, Left},
    },
    routes::{Found, Routes, Serving},
    upstream::{strip_forwarded, strip_named},
};

/// Finds routes, charges, forwards. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proxy {
    routes: Arc<Routes>,
    forward: Forward,
    paid: Payment<Forward>,
    sockets: Sockets,
    cors: Arc<Cors>,
    guard: Guard,
    behind_proxy: bool,
}

impl Proxy {
    /// A proxy of the routes' upstreams behind a gate.
    pub(crate) fn new(
        gate: Gate,
        routes: Arc<Routes>,
        limits: Limits,
        watching: &Watching,
    ) -> Self {
        let env = gate.env();
        let forward = Forward {
            clock: Arc::clone(&env.clock),
            spawner: Arc::clone(&env.spawner),
            metrics: watching.requests.metrics.clone(),
        };
        let guard = Guard::new(&gate, watching);
        let price = RoutePrice { gate: gate.clone() };
        let sockets = Sockets::new(gate.clone(), RoutePrice { gate: gate.clone() });
        let layer =
            PaymentLayer::new(gate, price).spooled_total_bytes_max(limits.spool_total_bytes);
        watching.spooled(layer.clone());
        let paid = layer.layer(forward.clone());
        Self {
            routes,
            forward,
            paid,
            sockets,
            cors: Arc::new(limits.cors),
            guard,
            behind_proxy: limits.behind_proxy,
        }
    }

    /// The answer to a request that the gateway serves itself, when it came too soon.
    pub(crate) fn refuse_own(
        &self,
        headers: &HeaderMap,
        peer: Peer,
        about: &mut About,
    ) -> Option<Response<ResponseBody>> {
        self.guard.refuse_own(headers, peer, about)
    }

    /// The same proxy with other routes, and what else may change while it runs.
    pub(crate) fn with_routes(&self, routes: Arc<Routes>, config: &Config) -> Self {
        Self {
            routes,
            behind_proxy: config.behind_tls_proxy,
            cors: Arc::new(config.cors.clone()),
            ..self.clone()
        }
    }

    /// Answers one request.
    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        about: &mut About,
    ) -> Response<ResponseBody> {
        let (mut parts, body) = request.into_parts();
        let checked = checked_method(&parts.method).and_then(|()| normal_target(&parts.uri));
        let target = match checked {
            Err(problem) => return problem_response(&problem),
            Ok(target) => target,
        };
        if let Some(asked) = cors::asked(&parts)
            && let Found::Priced(..) = self.routes.find(asked, target.path())
        {
            let refused = self.refuse_own(&parts.headers, peer, about);
            return refused.unwrap_or_else(|| cors::preflight(&self.cors, &parts.headers));
        }
        let found = self.routes.find(parts.method.as_str(), target.path());
        parts.uri = target;
        if let Err(answer) = self.guard.admit(&parts, peer, &found, about) {
            return answer;
        }
        // While the headers still say what a proxy in front has put there.
        let source = self.guard.source(&parts.headers, peer);
        if !self.behind_proxy {
            strip_forwarded(&mut parts.headers);
        }
        // What the upstream never sees is not priced either.
        strip_named(&mut parts.headers);
        match found {
            Found::None | Found::Denied => {
                let detail = "no route of this gateway serves this method and path";
                problem_response(&Problem::new(ProblemKind::NotFound, detail))
            }
            Found::Free(serving) => {
                about.free = true;
                remove_credentials(&mut parts.headers);
                let request = Request::from_parts(parts, RequestBody::Right(Either::Left(body)));
                self.forward.send(request, &serving).await
            }
            // Much larger a future than that of a free route.
            Found::Priced(serving, route) => {
                Box::pin(self.sell(parts, body, (serving, route), source, peer, about)).await
            }
        }
    }

    /// Answers a request of a priced route.
    async fn sell(
        &self,
        mut parts: Parts,
        body: Incoming,
        (serving, route): (Arc<Serving>, Arc<PricedRoute>),
        source: Source,
        peer: Peer,
        about: &mut About,
    ) -> Response<ResponseBody> {
        let page = cors::allowed(&self.cors, &parts.headers);
        if let Some(left) = self.take_free(&route, &parts, source) {
            about.free = true;
            let request = Request::from_parts(parts, RequestBody::Right(Either::Left(body)));
            let mut response = self.forward.send(request, &serving).await;
            left.write(response.headers_mut());
            if let Some(page) = page {
                cors::expose(page, response.headers_mut());
            }
            return response;
        }
        if about.wants_note {
            parts.extensions.insert(about.note.clone());
        }
        let earlier = self.earlier(&parts);
        let handshake = match serving.sockets {
            true => Handshake::take(&mut parts),
            false => None,
        };
        let for_socket = Arc::clone(&serving);
        parts.extensions.insert(Charged {
            serving,
            route,
            earlier,
            peer,
        });
        let mut response = match handshake {
            Some(handshake) => {
                let (sockets, forward) = (&self.sockets, &self.forward);
                socket::answer(sockets, forward, parts, handshake, for_socket).await
            }
            None => match self
                .paid
                .clone()
                .oneshot(Request::from_parts(parts, body))
                .await
            {
                Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
                Err(never) => match never {},
            },
        };
        if let Some(page) = page {
            cors::expose(page, response.headers_mut());
        }
        response
    }
}

impl Proxy {
    /// What a request cost before the routes changed.
    fn earlier(&self, parts: &Parts) -> Vec<Arc<PricedRoute>> {
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        let now = || self.forward.clock.now();
        self.routes.earlier_prices(method, path, now)
    }

    /// Takes one of the free requests that the source of an unpaid one has on a route.
    fn take_free(&self, route: &PricedRoute, parts: &Parts, source: Source) -> Option<Left> {
        // In shadow mode nothing is counted.
        let quota = route.quota.as_ref().filter(|_| route.shadow.is_none())?;
        if quota::pays(&parts.headers) {
            return None;
        }
        quota.take(source, self.forward.clock.now())
    }
}

/// What holds for every route.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Bytes of request bodies held at once.
    pub(crate) spool_total_bytes: usize,
    /// Whether a proxy in front may say who the client is.
    pub(crate) behind_proxy: bool,
    /// Whose pages may use priced routes.
    pub(crate) cors: Cors,
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
    if path == uri.path() && uri.scheme().is_none() && uri.authority().is_none() {
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        if target.len() <= path::TARGET_BYTES_MAX {
            // Normal already, as nearly all are: nothing is to be put together anew.
            return Ok(uri.clone());
        }
    }
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
    response.extensions_mut().insert(problem.kind);
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
    route: Arc<PricedRoute>,
    /// What the request cost before the routes changed: it may have a challenge from then.
    earlier: Vec<Arc<PricedRoute>>,
    /// For what depends on who asks.
    #[expect(dead_code, reason = "free quotas by source read it")]
    peer: Peer,
}

impl Charged {
    /// What a credential for the request may have been asked for.
    fn honour(&self, parts: &Parts, body: &ReadBody) -> Pricing {
        let pricing = self.route.honour(parts, body);
        let Pricing::Priced(mut route) = pricing else {
            return pricing;
        };
        for earlier in &self.earlier {
            if let Pricing::Priced(earlier) = earlier.honour(parts, body) {
                route = Arc::new(Route::clone(&route).honouring(earlier));
            }
        }
        Pricing::Priced(route)
    }
}

/// The price of a request: that of the route it was matched with.
struct RoutePrice {
    /// Tells whose credentials are bound to its challenges.
    gate: Gate,
}

impl Price for RoutePrice {
    fn body_rule(&self, parts: &Parts) -> BodyRule {
        match parts.extensions.get::<Charged>() {
            Some(charged) => charged.serving.body.rule(&parts.headers),
            None => BodyRule::Digest { bytes_max: 0 },
        }
    }

    fn is_never_free(&self, parts: &Parts) -> bool {
        let charged = parts.extensions.get::<Charged>();
        charged.is_none_or(|charged| charged.route.is_never_free())
    }

    fn shadow(&self, parts: &Parts) -> Option<Shadow> {
        parts.extensions.get::<Charged>()?.route.shadow
    }

    fn reads_body(&self, parts: &Parts) -> bool {
        let charged = parts.extensions.get::<Charged>();
        charged.is_some_and(|charged| {
            let earlier = charged.earlier.iter();
            let mut forms = std::iter::once(&charged.route).chain(earlier);
            forms.any(|route| route.reads_body())
        })
    }

    fn price<'a>(&'a self, parts: &'a Parts, body: &'a ReadBody) -> BoxFuture<'a, Pricing> {
        match parts.extensions.get::<Charged>() {
            Some(charged) => {
                let bound = charged.route.asks_hook()
                    && presents_credential(&parts.headers)
                    && may_be_paid(&self.gate, parts);
                Box::pin(charged.route.price(parts, body, bound))
            }
            None => Box::pin(std::future::ready(no_route())),
        }
    }

    fn honour<'a>(&'a self, parts: &'a Parts, body: &'a ReadBody) -> BoxFuture<'a, Pricing> {
        let charged = parts.extensions.get::<Charged>();
        let pricing = charged.map_or_else(no_route, |charged| charged.honour(parts, body));
        Box::pin(std::future::ready(pricing))
    }
}

/// Only priced routes are priced: whatever else comes is not served.
fn no_route() -> Pricing {
    Pricing::Denied(Problem::new(ProblemKind::Internal, "no route"))
}
