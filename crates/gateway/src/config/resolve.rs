//! From the TOML file to checked values.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use stiver_core::{Amount, Currency, name::Realm};
use stiver_server::route::{OnFailure, StoreResponses};
use toml::Spanned;

use super::{
    Access, BODY_LIMIT_BYTES_DEFAULT, BODY_LIMIT_BYTES_MAX, CHALLENGE_LIFETIME_S_DEFAULT,
    CHALLENGE_LIFETIME_S_MAX, CONFIG_BYTES_MAX, CONNECTIONS_MAX_DEFAULT, Config, ConfigError,
    MAX_ATTEMPTS_DEFAULT, Priced, RESUME_WINDOW_S_DEFAULT, RESUME_WINDOW_S_MAX, ROUTES_MAX, Route,
    SHUTDOWN_GRACE_S_DEFAULT, UPSTREAM_TIMEOUT_S_DEFAULT, Upstream, wire,
};
use crate::path::Pattern;

/// Decimals of the ledger's US dollar.
const USD_DECIMALS: u8 = 6;

/// Turns byte offsets into lines, and problems into errors.
struct Source<'a> {
    text: &'a str,
    file: &'a Path,
}

impl Source<'_> {
    fn error(&self, offset: usize, problem: impl Into<String>) -> ConfigError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        ConfigError {
            file: self.file.to_path_buf(),
            line: before.matches('\n').count() + 1,
            problem: problem.into(),
        }
    }

    fn at<T>(&self, place: &Spanned<T>, problem: impl Into<String>) -> ConfigError {
        self.error(place.span().start, problem)
    }

    /// A number between `low` and `high`, or the default.
    fn bounded(
        &self,
        key: &str,
        value: Option<&Spanned<u64>>,
        default: u64,
        (low, high): (u64, u64),
    ) -> Result<u64, ConfigError> {
        let Some(value) = value else {
            return Ok(default);
        };
        let number = *value.get_ref();
        if (low..=high).contains(&number) {
            Ok(number)
        } else {
            Err(self.at(
                value,
                format!("{key} is {number}: it must be from {low} to {high}"),
            ))
        }
    }

    fn seconds(
        &self,
        key: &str,
        value: Option<&Spanned<u64>>,
        default: u64,
        range: (u64, u64),
    ) -> Result<Duration, ConfigError> {
        self.bounded(key, value, default, range)
            .map(Duration::from_secs)
    }
}

pub(super) fn resolve(text: &str, file: &Path, folder: &Path) -> Result<Config, ConfigError> {
    let source = Source { text, file };
    if u64::try_from(text.len()).is_ok_and(|length| length > CONFIG_BYTES_MAX) {
        return Err(source.error(
            0,
            format!("the file is longer than {CONFIG_BYTES_MAX} bytes"),
        ));
    }
    let parsed: wire::File = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        source.error(offset, error.message().to_owned())
    })?;
    let gateway = &parsed.gateway;
    let realm_text = gateway.realm.get_ref();
    let realm = Realm::new(realm_text)
        .map_err(|error| source.at(&gateway.realm, format!("realm {realm_text:?}: {error}")))?;
    let data_dir = path_of(gateway.data_dir.as_ref(), folder, "stiver-data");
    let secret_file = match &gateway.secret_file {
        Some(_) => path_of(gateway.secret_file.as_ref(), folder, ""),
        None => data_dir.join("challenge.secret"),
    };
    let body_limit = source.bounded(
        "body_limit_bytes",
        gateway.body_limit_bytes.as_ref(),
        BODY_LIMIT_BYTES_DEFAULT,
        (0, BODY_LIMIT_BYTES_MAX),
    )?;
    let connections = source.bounded(
        "connections_max",
        gateway.connections_max.as_ref(),
        CONNECTIONS_MAX_DEFAULT,
        (1, 1_000_000),
    )?;
    let currencies = currencies(&source, &parsed.ledger)?;
    let routes = routes(&source, &parsed.routes, &currencies)?;
    Ok(Config {
        listen: listen(&source, gateway)?,
        realm,
        behind_tls_proxy: gateway.behind_tls_proxy == Some(true),
        upstream: upstream(&source, &gateway.upstream)?,
        data_dir,
        secret_file,
        challenge_lifetime: source.seconds(
            "challenge_lifetime_s",
            gateway.challenge_lifetime_s.as_ref(),
            CHALLENGE_LIFETIME_S_DEFAULT,
            (10, CHALLENGE_LIFETIME_S_MAX),
        )?,
        upstream_timeout: source.seconds(
            "upstream_timeout_s",
            gateway.upstream_timeout_s.as_ref(),
            UPSTREAM_TIMEOUT_S_DEFAULT,
            (1, 3600),
        )?,
        shutdown_grace: source.seconds(
            "shutdown_grace_s",
            gateway.shutdown_grace_s.as_ref(),
            SHUTDOWN_GRACE_S_DEFAULT,
            (0, 3600),
        )?,
        body_limit_bytes: usize::try_from(body_limit).unwrap_or(usize::MAX),
        connections_max: usize::try_from(connections).unwrap_or(usize::MAX),
        currencies,
        accept_orders: parsed.ledger.accept_orders == Some(true),
        routes,
    })
}

fn path_of(value: Option<&Spanned<String>>, folder: &Path, default: &str) -> PathBuf {
    folder.join(value.map_or(default, |value| value.get_ref().as_str()))
}

/// Plain HTTP is for loopback, or for behind a proxy that ends TLS (CORE-48).
fn listen(source: &Source<'_>, gateway: &wire::Gateway) -> Result<SocketAddr, ConfigError> {
    let text = gateway.listen.get_ref();
    let address: SocketAddr = text.parse().map_err(|_| {
        let hint = "write an IP address and a port, such as 127.0.0.1:8402";
        source.at(
            &gateway.listen,
            format!("listen {text:?} is no address: {hint}"),
        )
    })?;
    if !address.ip().is_loopback() && gateway.behind_tls_proxy != Some(true) {
        let problem = format!(
            "listen {text} would send challenges and credentials over plain HTTP: listen on \
             127.0.0.1, or put a TLS proxy in front and say behind_tls_proxy = true"
        );
        return Err(source.at(&gateway.listen, problem));
    }
    Ok(address)
}

fn upstream(source: &Source<'_>, value: &Spanned<String>) -> Result<Upstream, ConfigError> {
    let text = value.get_ref();
    let wrong = |why: &str| {
        let hint = "write a URL such as http://127.0.0.1:3000";
        source.at(value, format!("upstream {text:?} {why}: {hint}"))
    };
    let uri: http::Uri = text.parse().map_err(|_| wrong("is no URL"))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("has no http or https scheme")),
    };
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("holds a user name: credentials do not belong here"));
    }
    if uri.query().is_some() {
        return Err(wrong("has a query"));
    }
    let base_path = uri.path().trim_end_matches('/').to_owned();
    Ok(Upstream {
        tls,
        authority: authority.as_str().to_owned(),
        base_path,
    })
}

fn currencies(source: &Source<'_>, ledger: &wire::Ledger) -> Result<Vec<Currency>, ConfigError> {
    let usd = Currency::new("usd", USD_DECIMALS)
        .map_err(|error| source.error(0, format!("usd: {error}")))?;
    let mut all = vec![usd];
    for (code, decimals) in &ledger.currencies {
        let currency = Currency::new(code, *decimals.get_ref())
            .map_err(|error| source.at(decimals, format!("currency {code:?}: {error}")))?;
        if all.iter().any(|known| known.code() == currency.code()) {
            let problem = format!("currency {code:?} is there already");
            return Err(source.at(decimals, problem));
        }
        all.push(currency);
    }
    Ok(all)
}

fn routes(
    source: &Source<'_>,
    routes: &[wire::Route],
    currencies: &[Currency],
) -> Result<Vec<Route>, ConfigError> {
    if routes.is_empty() {
        let problem = "there is no [[route]]: what no route names is denied, so nothing is served";
        return Err(source.error(0, problem));
    }
    if routes.len() > ROUTES_MAX {
        return Err(source.error(0, format!("there are more than {ROUTES_MAX} routes")));
    }
    routes
        .iter()
        .map(|route| resolve_route(source, route, currencies))
        .collect()
}

fn resolve_route(
    source: &Source<'_>,
    route: &wire::Route,
    currencies: &[Currency],
) -> Result<Route, ConfigError> {
    let path = route.path.get_ref();
    let pattern = Pattern::parse(path)
        .map_err(|error| source.at(&route.path, format!("path {path:?}: {error}")))?;
    let methods = match &route.methods {
        None => Vec::new(),
        Some(list) => {
            for method in list.get_ref() {
                let known = http::Method::from_bytes(method.as_bytes()).is_ok()
                    && method.bytes().all(|byte| byte.is_ascii_uppercase());
                if !known {
                    let problem = format!("method {method:?}: write it in capitals, such as GET");
                    return Err(source.at(list, problem));
                }
            }
            list.get_ref().clone()
        }
    };
    let access = match (&route.price, &route.access) {
        (Some(price), None) => Access::Priced(Box::new(priced(source, route, price, currencies)?)),
        (None, Some(access)) => unpriced(source, route, access)?,
        (None, None) => {
            let problem = "the route has neither a price nor access = \"free\" or \"denied\"";
            return Err(source.at(&route.path, problem));
        }
        (Some(price), Some(_)) => {
            return Err(source.at(price, "the route has both a price and access: keep one"));
        }
    };
    Ok(Route {
        pattern,
        methods,
        access,
    })
}

fn unpriced(
    source: &Source<'_>,
    route: &wire::Route,
    access: &Spanned<String>,
) -> Result<Access, ConfigError> {
    let only_priced = [
        ("description", route.description.is_some()),
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
    price: &Spanned<String>,
    currencies: &[Currency],
) -> Result<Priced, ConfigError> {
    let text = price.get_ref();
    let find = |code: &str| {
        currencies
            .iter()
            .find(|known| known.code().eq_ignore_ascii_case(code))
            .cloned()
    };
    let amount = Amount::parse_human(text, find)
        .map_err(|error| source.at(price, format!("price {text:?}: {error}")))?;
    if amount.is_zero() {
        return Err(source.at(price, "the price is zero: say access = \"free\""));
    }
    let max_attempts = match &route.max_attempts {
        None => MAX_ATTEMPTS_DEFAULT,
        Some(value) if (1..=100).contains(value.get_ref()) => *value.get_ref(),
        Some(value) => return Err(source.at(value, "max_attempts must be from 1 to 100")),
    };
    Ok(Priced {
        amount,
        description: route.description.clone(),
        on_failure: on_failure(source, route.on_failure.as_ref())?,
        max_attempts,
        resume_window: source.seconds(
            "resume_window_s",
            route.resume_window_s.as_ref(),
            RESUME_WINDOW_S_DEFAULT,
            (1, RESUME_WINDOW_S_MAX),
        )?,
        upstream_idempotent: route.upstream_idempotent.unwrap_or(false),
        keep_responses: keep_responses(source, route.keep_responses.as_ref())?,
    })
}

fn on_failure(
    source: &Source<'_>,
    value: Option<&Spanned<String>>,
) -> Result<OnFailure, ConfigError> {
    let Some(value) = value else {
        return Ok(OnFailure::Retry);
    };
    match value.get_ref().as_str() {
        "retry" => Ok(OnFailure::Retry),
        "refund" => Ok(OnFailure::Refund),
        "keep" => Ok(OnFailure::Keep),
        other => {
            let problem = format!("on_failure {other:?} must be \"retry\", \"refund\" or \"keep\"");
            Err(source.at(value, problem))
        }
    }
}

fn keep_responses(
    source: &Source<'_>,
    value: Option<&Spanned<String>>,
) -> Result<StoreResponses, ConfigError> {
    let Some(value) = value else {
        return Ok(StoreResponses::WithIdempotencyKey);
    };
    match value.get_ref().as_str() {
        "with-key" => Ok(StoreResponses::WithIdempotencyKey),
        "always" => Ok(StoreResponses::Always),
        "never" => Ok(StoreResponses::Never),
        other => {
            let problem =
                format!("keep_responses {other:?} must be \"with-key\", \"always\" or \"never\"");
            Err(source.at(value, problem))
        }
    }
}
