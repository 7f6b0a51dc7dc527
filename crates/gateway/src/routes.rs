//! Which route a request takes, and its price ready for the gate.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, header};
use stiver_core::{Amount, Timestamp};
use stiver_env::Env;
use stiver_method::{
    payee::{PayeeCharge, QuoteError},
    session::PayeeSession,
};
use stiver_server::{
    route::{Offer, OnFailure, Route, RouteError, Settle, UpstreamRepeats},
    session::{SessionFailure, SessionOffer},
    tower::{BodyRule, Shadow},
};

use crate::{
    config::{
        self, Access, Config, Priced, Session,
        pricing::Price,
        route::{BodyMode, FreeQuota},
    },
    limits::Rate,
    observe::RouteLabels,
    path::Pattern,
    pricing::{self, PricedRoute, hook::HookClient, quota::Quota},
    upstream::{UpstreamClient, UpstreamSetupError},
};

/// The routes of a gateway, in the order of its file.
pub(crate) struct Routes {
    routes: Vec<Entry>,
    earlier: Vec<Earlier>,
}

/// Routes that were in force before, for the prices of challenges that are out.
#[derive(Clone)]
pub(crate) struct Earlier {
    /// What they were.
    pub(crate) routes: Arc<Routes>,
    /// When the last of their challenges has expired.
    pub(crate) until: Timestamp,
}

#[derive(Clone)]
struct Entry {
    pattern: Pattern,
    methods: Vec<String>,
    found: Found,
    /// Where sessions pay: what a `HEAD` finds that no route takes. It brings a voucher to a
    /// stream that another method asked for, and is never handed on.
    updates: Option<Found>,
}

/// How a gateway is paid.
#[derive(Clone)]
pub(crate) struct Methods {
    /// Request by request.
    pub(crate) charge: Arc<dyn PayeeCharge>,
    /// By sessions.
    pub(crate) session: Arc<dyn PayeeSession>,
}

/// What a request found.
#[derive(Clone)]
pub(crate) enum Found {
    /// No route.
    None,
    /// A route that serves nobody.
    Denied,
    /// A free route.
    Free(Arc<Serving>),
    /// A route with a price.
    Priced(Arc<Serving>, Arc<PricedRoute>),
}

/// How the requests of a route are served.
pub(crate) struct Serving {
    /// Its place in the file.
    pub(crate) number: u32,
    /// What logs and metrics call the route.
    pub(crate) label: Arc<str>,
    /// How often one source may ask for it.
    pub(crate) rate_limit: Option<Rate>,
    /// The name of its upstream.
    pub(crate) upstream_name: Arc<str>,
    /// The header fields that its price depends on.
    pub(crate) priced_headers: Vec<HeaderName>,
    /// The API behind the route.
    pub(crate) upstream: UpstreamClient,
    /// How long the upstream may take to read a request and begin its answer.
    pub(crate) timeout: Duration,
    /// What answers used is read in them: they must not be compressed.
    pub(crate) reads_answers: bool,
    /// Requests may leave HTTP (WebSocket), and nobody counts what follows.
    pub(crate) upgrade: bool,
    /// WebSockets are served, and paid for by what they deliver.
    pub(crate) sockets: bool,
    /// What becomes of request bodies before the payment, on a priced route.
    pub(crate) body: Bodies,
}

/// What becomes of the request bodies of a priced route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// They are read in full and bound to the payment; a longer one is refused.
    Spool {
        /// Longest body, bytes.
        bytes_max: usize,
    },
    /// Those that are declared to be short are read in full and bound; others stream past.
    Stream {
        /// Longest body that is bound, bytes.
        bound_bytes_max: usize,
    },
}

impl Bodies {
    /// What to do with the body of a request.
    pub(crate) fn rule(self, headers: &HeaderMap) -> BodyRule {
        match self {
            Self::Spool { bytes_max } => BodyRule::Digest { bytes_max },
            Self::Stream { bound_bytes_max } => match declared(headers) {
                Some(length) if length <= bound_bytes_max => BodyRule::Digest {
                    bytes_max: bound_bytes_max,
                },
                _ => BodyRule::Stream,
            },
        }
    }
}

/// The length that a request declares for its body.
fn declared(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

impl Routes {
    /// Prepares every route of a configuration. A route that was among those
    /// of `before`, with the same pattern, methods and free quota, goes on counting where it was.
    pub(crate) fn new(
        config: &Config,
        upstreams: &BTreeMap<String, UpstreamClient>,
        methods: &Methods,
        before: Option<&Self>,
        env: &Env,
    ) -> Result<Self, RoutesError> {
        let mut routes = Vec::with_capacity(config.routes.len());
        let mut labels = RouteLabels::default();
        for (number, route) in config.routes.iter().enumerate() {
            let upstream = upstreams
                .get(&route.upstream)
                .expect("the upstream is there, because the configuration was checked");
            let serving = Arc::new(Serving {
                number: u32::try_from(number).unwrap_or(u32::MAX),
                label: labels.label(&route.pattern.to_string()),
                rate_limit: route.rate_limit.map(Rate::from),
                priced_headers: match &route.access {
                    Access::Priced(priced) => priced_headers(priced),
                    Access::Free | Access::Denied => Vec::new(),
                },
                upstream_name: route.upstream.as_str().into(),
                upstream: upstream.clone(),
                timeout: route.timeout,
                reads_answers: match &route.access {
                    Access::Priced(priced) => {
                        let session = priced.session.as_ref();
                        session.is_some_and(Session::reads_answers)
                    }
                    Access::Free | Access::Denied => false,
                },
                upgrade: route.upgrade && !is_metered(&route.access),
                sockets: route.upgrade && is_metered(&route.access),
                body: match route.body {
                    BodyMode::Spool => Bodies::Spool {
                        bytes_max: route.body_limit,
                    },
                    BodyMode::Stream => Bodies::Stream {
                        bound_bytes_max: route.body_limit,
                    },
                },
            });
            let updates = match &route.access {
                Access::Priced(priced) if priced.session.is_some() => {
                    let route = policy_for_updates(config, priced, methods)?;
                    Some(Found::Priced(Arc::clone(&serving), Arc::new(route)))
                }
                _ => None,
            };
            let found = match &route.access {
                Access::Free => Found::Free(serving),
                Access::Denied => Found::Denied,
                Access::Priced(priced) => {
                    let quota = priced.free_quota.map(|quota| {
                        let before = before.and_then(|it| it.quota(route, quota));
                        before.unwrap_or_else(|| Arc::new(Quota::new(quota)))
                    });
                    let route = prepare(config, priced, quota, methods, env)?;
                    Found::Priced(serving, Arc::new(route))
                }
            };
            let methods = route.methods.clone();
            routes.push(Entry {
                pattern: route.pattern.clone(),
                methods,
                found,
                updates,
            });
        }
        Ok(Self {
            routes,
            earlier: Vec::new(),
        })
    }

    /// The count of free requests of a route that is among these.
    fn quota(&self, route: &config::Route, quota: FreeQuota) -> Option<Arc<Quota>> {
        let same =
            |entry: &&Entry| entry.methods == route.methods && entry.pattern == route.pattern;
        match &self.routes.iter().find(same)?.found {
            Found::Priced(_, priced) => priced.quota.clone().filter(|it| it.of() == quota),
            Found::None | Found::Denied | Found::Free(_) => None,
        }
    }

    /// The same routes, that honour the prices of earlier ones.
    pub(crate) fn honouring(mut self, earlier: Vec<Earlier>) -> Self {
        self.earlier = earlier;
        self
    }

    /// What these honour.
    pub(crate) fn earlier(&self) -> &[Earlier] {
        &self.earlier
    }

    /// These routes, to be honoured by others.
    pub(crate) fn without_earlier(&self) -> Arc<Self> {
        Arc::new(Self {
            routes: self.routes.clone(),
            earlier: Vec::new(),
        })
    }

    /// The prices that a request had under earlier routes, and that may still be paid.
    pub(crate) fn earlier_prices(
        &self,
        method: &str,
        path: &str,
        now: impl FnOnce() -> Timestamp,
    ) -> Vec<Arc<PricedRoute>> {
        if self.earlier.is_empty() {
            return Vec::new();
        }
        let now = now();
        let live = self.earlier.iter().filter(|row| row.until > now);
        live.filter_map(|row| match row.routes.find(method, path) {
            Found::Priced(_, route) => Some(route),
            Found::None | Found::Denied | Found::Free(_) => None,
        })
        .collect()
    }

    /// The first route that matches a method and a normal path. A route for `GET` serves `HEAD`
    /// too, and one that sessions pay takes their vouchers by it.
    pub(crate) fn find(&self, method: &str, path: &str) -> Found {
        let mut here = self.routes.iter().filter(|it| it.pattern.matches(path));
        if let Some(entry) = here.clone().find(|entry| entry.takes(method)) {
            return entry.found.clone();
        }
        let updates = match method {
            "HEAD" => here.find_map(|entry| entry.updates.clone()),
            _ => None,
        };
        updates.unwrap_or(Found::None)
    }
}

impl Entry {
    fn takes(&self, method: &str) -> bool {
        self.methods.is_empty()
            || self
                .methods
                .iter()
                .any(|known| known == method || (known == "GET" && method == "HEAD"))
    }
}

/// The header fields that a price depends on.
fn priced_headers(priced: &Priced) -> Vec<HeaderName> {
    match &priced.price {
        Price::Fixed(_) | Price::Session => Vec::new(),
        Price::Computed(pricing) => pricing::named_headers(pricing),
    }
}

fn prepare(
    config: &Config,
    priced: &Priced,
    quota: Option<Arc<Quota>>,
    methods: &Methods,
    env: &Env,
) -> Result<PricedRoute, RoutesError> {
    let shadow = priced.shadow.then_some(match config.shadow_header {
        true => Shadow::Told,
        false => Shadow::Silent,
    });
    unshadowed(config, priced, quota, methods, env).map(|route| route.shadow(shadow))
}

fn unshadowed(
    config: &Config,
    priced: &Priced,
    quota: Option<Arc<Quota>>,
    methods: &Methods,
    env: &Env,
) -> Result<PricedRoute, RoutesError> {
    match &priced.price {
        Price::Fixed(amount) => Ok(PricedRoute::fixed(
            policy(config, priced, methods, Some(amount))?,
            quota,
        )),
        Price::Session => Ok(PricedRoute::fixed(
            policy(config, priced, methods, None)?,
            quota,
        )),
        Price::Computed(pricing) => {
            let policy = policy(config, priced, methods, Some(&pricing.cap))?;
            let hook = match &pricing.hook {
                Some(hook) => Some(HookClient::new(hook, pricing, env).map_err(RoutesError::Hook)?),
                None => None,
            };
            let computed = (pricing.as_ref().clone(), Arc::clone(&methods.charge));
            Ok(PricedRoute::computed(policy, quota, computed, hook))
        }
    }
}

/// What a route asks of a request that only brings a voucher: nothing but a session, for the
/// request itself is never served.
fn policy_for_updates(
    config: &Config,
    priced: &Priced,
    methods: &Methods,
) -> Result<PricedRoute, RoutesError> {
    let policy = policy(config, priced, methods, None)?;
    Ok(PricedRoute::fixed(policy, None))
}

/// What a priced route asks and promises, at this price for single payments.
fn policy(
    config: &Config,
    priced: &Priced,
    methods: &Methods,
    amount: Option<&Amount>,
) -> Result<Route, RoutesError> {
    let offer = amount.map(|amount| {
        let offer = Offer::new(Arc::clone(&methods.charge), amount.clone());
        offer.map_err(|source| RoutesError::Price {
            price: amount.to_string(),
            source,
        })
    });
    let session = priced.session.as_ref().map(|session| {
        let offer = session_offer(priced, session, methods);
        offer.map_err(|source| RoutesError::Price {
            price: session.text(),
            source,
        })
    });
    let sessions: Vec<SessionOffer> = session.transpose()?.into_iter().collect();
    let route = match offer.transpose()? {
        Some(offer) => Route::new(vec![offer]).and_then(|route| route.with_sessions(sessions)),
        None => Route::for_sessions(sessions),
    };
    let repeats = if priced.upstream_idempotent {
        UpstreamRepeats::HonoursKey
    } else {
        UpstreamRepeats::ByMethod
    };
    let mut route = route
        .map_err(RoutesError::Route)?
        .challenge_lifetime(config.challenge_lifetime)
        .on_failure(priced.on_failure)
        .attempts_max(priced.max_attempts)
        .resume_window(priced.resume_window)
        .store_responses(priced.keep_responses)
        .upstream_repeats(repeats)
        .settle(match priced.settle {
            config::route::Settle::Before => Settle::Before,
            config::route::Settle::After => Settle::After,
        });
    if let Some(description) = &priced.description {
        route = route.description(description);
    }
    for (language, text) in &priced.descriptions {
        route = route.description_in(language.clone(), text);
    }
    Ok(route)
}

/// True when what is delivered is counted.
fn is_metered(access: &Access) -> bool {
    let Access::Priced(priced) = access else {
        return false;
    };
    let session = priced.session.as_ref();
    session.is_some_and(|session| session.per_request().is_none())
}

/// How a session pays for a route.
fn session_offer(
    priced: &Priced,
    session: &Session,
    methods: &Methods,
) -> Result<SessionOffer, QuoteError> {
    let method = Arc::clone(&methods.session);
    let mut offer = match (session.requests(), &session.window) {
        (None, Some(window)) => SessionOffer::metered(method, session.prices(), window)?,
        (Some(price), _) => SessionOffer::for_requests(method, price.amount.clone(), price.per)?,
        (None, None) => return Err(QuoteError::Amount),
    };
    for (unit, usage) in &session.usage {
        let source = usage.source().ok_or(QuoteError::Amount)?;
        offer = offer.usage(unit, source)?;
    }
    let mut offer = offer
        .pause_max(session.pause)
        .stall_max(session.stall)
        .min_voucher_delta(session.min_voucher.units())
        .on_failure(match priced.on_failure {
            OnFailure::Retry | OnFailure::Refund => SessionFailure::Release,
            OnFailure::Keep => SessionFailure::Keep,
        });
    if let Some(deposit) = &session.suggested_deposit {
        offer = offer.suggested_deposit(deposit.clone());
    }
    if let Some(least) = &session.deposit_min {
        offer = offer.deposit_min(least.units());
    }
    if let Some(most) = &session.deposit_max {
        offer = offer.deposit_max(most.units());
    }
    Ok(offer)
}

/// Why the routes are not ready.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// A price that the method does not take.
    #[error("the price {price} cannot be charged")]
    Price {
        /// The price.
        price: String,
        /// Why.
        #[source]
        source: QuoteError,
    },
    /// A pricing hook that cannot be asked at all.
    #[error("the pricing hook cannot be asked")]
    Hook(#[source] UpstreamSetupError),
    /// A route that the gate refuses.
    #[error("a route is not valid")]
    Route(#[source] RouteError),
}
