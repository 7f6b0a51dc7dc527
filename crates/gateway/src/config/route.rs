//! `[[route]]`: who may come in where, and on what terms.

use std::{collections::BTreeMap, time::Duration};

use stiver_core::{Currency, language::LanguageTag};
use stiver_server::route::{OnFailure, StoreResponses};
use toml::Spanned;

use super::{
    ConfigError, MAX_ATTEMPTS_DEFAULT, RESUME_WINDOW_DEFAULT, RESUME_WINDOW_S_MAX, ROUTES_MAX,
    body_limit,
    limits::{self, Rate},
    pricing::{self, Price},
    session::{self, Session},
    source::Source,
    upstream::{DEFAULT_UPSTREAM, TIMEOUT_S_MAX, Upstream},
    wire,
};
use crate::path::Pattern;

/// Most requests of a free quota.
pub const FREE_REQUESTS_MAX: u64 = 1_000_000;

/// Most languages of a description.
pub const DESCRIPTIONS_MAX: usize = 64;

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The path pattern.
    pub pattern: Pattern,
    /// The methods it is for; empty means all.
    pub methods: Vec<String>,
    /// Who may come in.
    pub access: Access,
    /// Where it leads: a key of [`Config::upstreams`](super::Config::upstreams), always there.
    pub upstream: String,
    /// How long the upstream may take to read a request and begin its answer.
    pub timeout: Duration,
    /// Connections may change to another protocol, such as WebSocket, after payment.
    pub upgrade: bool,
    /// What is done with request bodies.
    pub body: BodyMode,
    /// Longest request body that is spooled, bytes.
    pub body_limit: usize,
    /// How many requests of one source address it takes; no limit of its own when absent.
    pub rate_limit: Option<Rate>,
}

/// What is done with request bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyMode {
    /// They are held, up to the limit, and bound to the challenge by their digest.
    Spool,
    /// Those that are declared to be within the limit are held and bound. Others go through as they
    /// come: not bound to the challenge, and a failed delivery is not tried again.
    Stream,
}

/// Who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Free,
    /// Nobody.
    Denied,
    /// Whoever pays.
    Priced(Box<Priced>),
}

/// What a priced route asks and promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priced {
    /// What one request costs.
    pub price: Price,
    /// How sessions pay, when they may.
    pub session: Option<Session>,
    /// Shown to the payer.
    pub description: Option<String>,
    /// The same in other languages, for payers that ask for one.
    pub descriptions: BTreeMap<LanguageTag, String>,
    /// When the money moves.
    pub settle: Settle,
    /// The price is worked out and logged, and nobody has to pay it.
    pub shadow: bool,
    /// Requests that each source address has for nothing.
    pub free_quota: Option<FreeQuota>,
    /// What happens when the upstream fails after payment.
    pub on_failure: OnFailure,
    /// How often the upstream is tried for one payment.
    pub max_attempts: u32,
    /// How long after payment a failed delivery may be tried again.
    pub resume_window: Duration,
    /// The upstream honours our stable `Idempotency-Key`, so that any request may be sent to it
    /// again.
    pub upstream_idempotent: bool,
    /// Which responses are kept for repetition.
    pub keep_responses: StoreResponses,
}

/// When the money moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Before the upstream is asked.
    Before,
    /// After the upstream has answered with success.
    After,
}

/// Requests that each source address has for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeQuota {
    /// How many, from 1 to [`FREE_REQUESTS_MAX`].
    pub requests: u32,
    /// In which time.
    pub per: Period,
}

/// A span of the calendar, by UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
}

impl Period {
    /// Its word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// What routes refer to.
pub(super) struct Known<'a> {
    pub(super) currencies: &'a [Currency],
    pub(super) upstreams: &'a BTreeMap<String, Upstream>,
    pub(super) gateway: &'a wire::Gateway,
}

/// Every route.
pub(super) fn resolve(
    source: &Source<'_>,
    routes: &[wire::Route],
    known: &Known<'_>,
) -> Result<Vec<Route>, ConfigError> {
    if routes.is_empty() {
        let problem = "there is no [[route]]: what no route names is denied, so nothing is \
                       served; write one with path = \"/**\" and price = \"0.01 USD\"";
        return Err(source.error(0, problem));
    }
    if routes.len() > ROUTES_MAX {
        return Err(source.error(0, format!("there are more than {ROUTES_MAX} routes")));
    }
    routes
        .iter()
        .map(|route| resolve_route(source, route, known))
        .collect()
}

fn resolve_route(
    source: &Source<'_>,
    route: &wire::Route,
    known: &Known<'_>,
) -> Result<Route, ConfigError> {
    let path = route.path.get_ref();
    let pattern = Pattern::parse(path)
        .map_err(|error| source.at(&route.path, format!("path {path:?}: {error}")))?;
    let (upstream, leads_to) = upstream(source, route, known)?;
    let body_key = route.body_limit_bytes.as_ref();
    let body_key = body_key.or(known.gateway.body_limit_bytes.as_ref());
    let rate_limit = route.rate_limit.as_ref();
    let resolved = Route {
        methods: methods(source, route.methods.as_ref())?,
        access: access(source, route, known)?,
        timeout: source.seconds(
            "timeout_s",
            route.timeout_s.as_ref(),
            leads_to.timeout,
            (1, TIMEOUT_S_MAX),
        )?,
        upgrade: route.upgrade.unwrap_or(false),
        body: source.word(
            "body",
            route.body.as_ref(),
            BodyMode::Spool,
            &[("spool", BodyMode::Spool), ("stream", BodyMode::Stream)],
        )?,
        body_limit: body_limit(source, body_key)?,
        rate_limit: rate_limit
            .map(|rate| limits::rate(source, "rate_limit", rate))
            .transpose()?,
        pattern,
        upstream,
    };
    check_bodies(source, route, &resolved)?;
    if resolved.upgrade && leads_to.http2 {
        let problem = "upgrade needs HTTP/1.1: give the route an upstream without http2 = true";
        return Err(source.at(&route.path, problem));
    }
    Ok(resolved)
}

/// A body that streams past is bound to nothing: one could be priced, and another sent.
fn check_bodies(source: &Source<'_>, wire: &wire::Route, route: &Route) -> Result<(), ConfigError> {
    let priced_by_body = match &route.access {
        Access::Priced(priced) => priced.price.depends_on_body(),
        Access::Free | Access::Denied => false,
    };
    match &wire.body {
        Some(body) if route.body == BodyMode::Stream && priced_by_body => {
            let problem = "the price depends on the body, which is not bound when it streams: \
                           leave out body = \"stream\"";
            Err(source.at(body, problem))
        }
        _ => Ok(()),
    }
}

/// The named upstream, or the one that needs no name.
fn upstream<'a>(
    source: &Source<'_>,
    route: &wire::Route,
    known: &Known<'a>,
) -> Result<(String, &'a Upstream), ConfigError> {
    let listed = || {
        let names: Vec<&str> = known.upstreams.keys().map(String::as_str).collect();
        names.join(", ")
    };
    if let Some(name) = &route.upstream {
        let text = name.get_ref();
        return match known.upstreams.get(text) {
            Some(found) => Ok((text.clone(), found)),
            None => {
                let problem = format!("there is no upstream {text:?}: there is {}", listed());
                Err(source.at(name, problem))
            }
        };
    }
    let mut all = known.upstreams.iter();
    let found = match (
        known.upstreams.get_key_value(DEFAULT_UPSTREAM),
        all.next(),
        all.next(),
    ) {
        (Some(found), ..) | (None, Some(found), None) => found,
        _ => {
            let problem = format!(
                "the route must say where it leads, by upstream = \"NAME\": there is {}",
                listed()
            );
            return Err(source.at(&route.path, problem));
        }
    };
    Ok((found.0.clone(), found.1))
}

fn methods(
    source: &Source<'_>,
    list: Option<&Spanned<Vec<String>>>,
) -> Result<Vec<String>, ConfigError> {
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    for method in list.get_ref() {
        let known = http::Method::from_bytes(method.as_bytes()).is_ok()
            && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if !known {
            let problem = format!("method {method:?}: write it in capitals, such as GET");
            return Err(source.at(list, problem));
        }
    }
    if list.get_ref().is_empty() {
        return Err(source.at(list, "methods is empty: leave it out for all methods"));
    }
    Ok(list.get_ref().clone())
}

fn access(
    source: &Source<'_>,
    route: &wire::Route,
    known: &Known<'_>,
) -> Result<Access, ConfigError> {
    if let Some(access) = &route.access {
        return match priced_key(route) {
            Some((key, offset)) => {
                let problem = format!("the route has both {key} and access: keep one");
                Err(source.error(offset, problem))
            }
            None => unpriced(source, route, access),
        };
    }
    let (price, session) = match (&route.price, &route.prices, &route.pricing) {
        (Some(price), None, None) => by_unit(source, &[price], route, known)?,
        (None, Some(prices), None) if prices.get_ref().is_empty() => {
            let problem = "prices is empty: write prices = [\"0.000002 USD per token\"]";
            return Err(source.at(prices, problem));
        }
        (None, Some(prices), None) => {
            let prices: Vec<&Spanned<String>> = prices.get_ref().iter().collect();
            by_unit(source, &prices, route, known)?
        }
        (None, None, Some(pricing)) => {
            if let Some(session) = &route.session {
                let problem = "[route.session] goes with price or prices: a price of \
                               [route.pricing] is paid request by request";
                return Err(source.at(session, problem));
            }
            (pricing::computed(source, pricing, known.currencies)?, None)
        }
        (None, None, None) => {
            let problem = "the route has neither a price nor access: write price = \"0.01 USD\", \
                           or access = \"free\" or \"denied\"";
            return Err(source.at(&route.path, problem));
        }
        (Some(price), Some(_), _) => {
            return Err(source.at(price, "the route has both price and prices: keep one"));
        }
        (Some(price), None, Some(_)) => {
            let problem = "the route has both a price and pricing: a fixed part of the price is \
                           base in [route.pricing]";
            return Err(source.at(price, problem));
        }
        (None, Some(prices), Some(_)) => {
            return Err(source.at(prices, "the route has both prices and pricing: keep one"));
        }
    };
    priced(source, route, (price, session), known).map(|priced| Access::Priced(Box::new(priced)))
}

/// A price of one request, by the unit, or both.
fn by_unit(
    source: &Source<'_>,
    prices: &[&Spanned<String>],
    route: &wire::Route,
    known: &Known<'_>,
) -> Result<(Price, Option<Session>), ConfigError> {
    if let ([price], None) = (prices, &route.session)
        && !price.get_ref().contains(" per ")
    {
        let price = pricing::fixed(source, price, known.currencies)?;
        return Ok((Price::Fixed(price), None));
    }
    let wire = route.session.as_ref();
    let session = session::resolve(source, prices, wire, known.currencies)?;
    if let Some(amount) = session.per_request() {
        return Ok((Price::Fixed(amount.clone()), Some(session)));
    }
    let only_charged = [
        ("settle", route.settle.is_some()),
        ("on_failure", route.on_failure.is_some()),
        ("max_attempts", route.max_attempts.is_some()),
        ("resume_window_s", route.resume_window_s.is_some()),
        ("upstream_idempotent", route.upstream_idempotent.is_some()),
        ("keep_responses", route.keep_responses.is_some()),
    ];
    if let Some((key, _)) = only_charged.iter().find(|(_, given)| *given) {
        let at = prices.first().map_or(0, |price| price.span().start);
        let problem = format!(
            "{key} does not go with this price: only a session pays it, for what is counted while \
             it is served"
        );
        return Err(source.error(at, problem));
    }
    Ok((Price::Session, Some(session)))
}

/// The key by which a route is priced, and where it stands.
fn priced_key(route: &wire::Route) -> Option<(&'static str, usize)> {
    fn at<T>(value: Option<&Spanned<T>>) -> Option<usize> {
        value.map(|value| value.span().start)
    }
    let keys = [
        ("a price", at(route.price.as_ref())),
        ("prices", at(route.prices.as_ref())),
        ("pricing", at(route.pricing.as_ref())),
        ("[route.session]", at(route.session.as_ref())),
    ];
    keys.into_iter()
        .find_map(|(key, offset)| Some((key, offset?)))
}

fn unpriced(
    source: &Source<'_>,
    route: &wire::Route,
    access: &Spanned<String>,
) -> Result<Access, ConfigError> {
    let only_priced = [
        ("description", route.description.is_some()),
        ("descriptions", route.descriptions.is_some()),
        ("settle", route.settle.is_some()),
        ("shadow", route.shadow.is_some()),
        ("free_quota", route.free_quota.is_some()),
        ("on_failure", route.on_failure.is_some()),
        ("max_attempts", route.max_attempts.is_some()),
        ("resume_window_s", route.resume_window_s.is_some()),
        ("upstream_idempotent", route.upstream_idempotent.is_some()),
        ("keep_responses", route.keep_responses.is_some()),
    ];
    if let Some((key, _)) = only_priced.iter().find(|(_, given)| *given) {
        return Err(source.at(access, format!("{key} is for routes with a price")));
    }
    match access.get_ref().as_str() {
        "free" => Ok(Access::Free),
        "denied" => Ok(Access::Denied),
        other => Err(source.at(
            access,
            format!("access {other:?} must be \"free\" or \"denied\""),
        )),
    }
}

fn priced(
    source: &Source<'_>,
    route: &wire::Route,
    (price, session): (Price, Option<Session>),
    known: &Known<'_>,
) -> Result<Priced, ConfigError> {
    let attempts = route.max_attempts.as_ref();
    let default = u64::from(MAX_ATTEMPTS_DEFAULT);
    let attempts = source.bounded("max_attempts", attempts, default, (1, 100))?;
    let failures = [
        ("retry", OnFailure::Retry),
        ("refund", OnFailure::Refund),
        ("keep", OnFailure::Keep),
    ];
    let kept = [
        ("with-key", StoreResponses::WithIdempotencyKey),
        ("always", StoreResponses::Always),
        ("never", StoreResponses::Never),
    ];
    let moments = [("before", Settle::Before), ("after", Settle::After)];
    let on_failure = route.on_failure.as_ref();
    let keep = route.keep_responses.as_ref();
    Ok(Priced {
        price,
        session,
        description: route.description.clone(),
        descriptions: descriptions(source, route)?,
        settle: source.word("settle", route.settle.as_ref(), Settle::Before, &moments)?,
        shadow: route.shadow.or(known.gateway.shadow).unwrap_or(false),
        free_quota: free_quota(source, route.free_quota.as_ref())?,
        on_failure: source.word("on_failure", on_failure, OnFailure::Retry, &failures)?,
        max_attempts: u32::try_from(attempts).unwrap_or(MAX_ATTEMPTS_DEFAULT),
        resume_window: source.seconds(
            "resume_window_s",
            route.resume_window_s.as_ref(),
            RESUME_WINDOW_DEFAULT,
            (1, RESUME_WINDOW_S_MAX),
        )?,
        upstream_idempotent: route.upstream_idempotent.unwrap_or(false),
        keep_responses: source.word(
            "keep_responses",
            keep,
            StoreResponses::WithIdempotencyKey,
            &kept,
        )?,
    })
}

fn descriptions(
    source: &Source<'_>,
    route: &wire::Route,
) -> Result<BTreeMap<LanguageTag, String>, ConfigError> {
    let mut descriptions = BTreeMap::new();
    for (language, text) in route.descriptions.iter().flatten() {
        let (entries, offset) = (descriptions.len().saturating_add(1), text.span().start);
        source.at_most("descriptions", entries, DESCRIPTIONS_MAX, offset)?;
        let tag = LanguageTag::new(language)
            .map_err(|error| source.at(text, format!("descriptions.{language}: {error}")))?;
        if descriptions.insert(tag, text.get_ref().clone()).is_some() {
            let problem = format!("descriptions.{language}: the language is there twice");
            return Err(source.at(text, problem));
        }
    }
    Ok(descriptions)
}

fn free_quota(
    source: &Source<'_>,
    wire: Option<&wire::FreeQuota>,
) -> Result<Option<FreeQuota>, ConfigError> {
    let Some(wire) = wire else {
        return Ok(None);
    };
    let range = (1, FREE_REQUESTS_MAX);
    let requests = source.bounded("requests", Some(&wire.requests), 1, range)?;
    let periods = [Period::Hour, Period::Day, Period::Month].map(|period| (period.name(), period));
    Ok(Some(FreeQuota {
        requests: u32::try_from(requests).unwrap_or(u32::MAX),
        per: source.word("per", Some(&wire.per), Period::Day, &periods)?,
    }))
}
