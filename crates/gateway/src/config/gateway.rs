//! `[gateway]`, and the file as a whole.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use stiver_core::{Currency, name::Realm};
use toml::{Spanned, de::DeTable};

use super::{
    BODY_LIMIT_BYTES_DEFAULT, BODY_LIMIT_BYTES_MAX, CHALLENGE_LIFETIME_DEFAULT,
    CHALLENGE_LIFETIME_S_MAX, CONFIG_BYTES_MAX, CONNECTIONS_MAX_DEFAULT, Config, ConfigError,
    LogFormat, SHUTDOWN_GRACE_DEFAULT, SPOOL_TOTAL_BYTES_DEFAULT, SPOOL_TOTAL_BYTES_MAX,
    TRUSTED_PROXIES_MAX,
    address::{self, HttpUrl, IpBlock},
    check, cors, discovery, limits, listener, metrics, route, sessions,
    source::Source,
    tracing, upstream, wire,
};

/// Decimals of the ledger's US dollar.
const USD_DECIMALS: u8 = 6;

/// Reads a whole file.
pub(super) fn resolve(text: &str, file: &Path, folder: &Path) -> Result<Config, ConfigError> {
    let source = Source { text, file, folder };
    if u64::try_from(text.len()).is_ok_and(|length| length > CONFIG_BYTES_MAX) {
        return Err(source.error(
            0,
            format!("the file is longer than {CONFIG_BYTES_MAX} bytes"),
        ));
    }
    let wire = read(&source)?;
    let gateway = wire.gateway.get_ref();
    let currencies = currencies(&source, &wire.ledger)?;
    let upstreams = upstream::resolve(&source, &wire)?;
    let known = route::Known {
        currencies: &currencies,
        upstreams: &upstreams,
        gateway,
    };
    let routes = route::resolve(&source, &wire.routes, &known)?;
    let (data_dir, secret_file) = folders(&source, gateway)?;
    let metrics = wire.metrics.as_ref();
    let tracing = wire.tracing.as_ref();
    Ok(Config {
        file: file.to_path_buf(),
        folder: folder.to_path_buf(),
        listeners: listener::resolve(&source, &wire)?,
        limits: limits::resolve(&source, &wire.limits)?,
        metrics: metrics
            .map(|wire| metrics::resolve(&source, wire))
            .transpose()?,
        tracing: tracing
            .map(|wire| tracing::resolve(&source, wire))
            .transpose()?,
        cors: cors::resolve(&source, &wire.cors)?,
        discovery: discovery::resolve(&source, &wire.discovery, gateway.realm.get_ref())?,
        secret_file,
        data_dir,
        currencies,
        sessions: sessions::resolve(&source, &wire.sessions)?,
        accept_orders: wire.ledger.accept_orders == Some(true),
        routes,
        upstreams,
        realm: realm(&source, gateway)?,
        behind_tls_proxy: gateway.behind_tls_proxy == Some(true),
        shadow: gateway.shadow == Some(true),
        shadow_header: gateway.shadow_header == Some(true),
        public_url: public_url(&source, gateway)?,
        trusted_proxies: trusted_proxies(&source, gateway)?,
        log_format: source.word(
            "log_format",
            gateway.log_format.as_ref(),
            LogFormat::Text,
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        )?,
        challenge_lifetime: challenge_lifetime(&source, gateway)?,
        shutdown_grace: source.seconds(
            "shutdown_grace_s",
            gateway.shutdown_grace_s.as_ref(),
            SHUTDOWN_GRACE_DEFAULT,
            (0, 3600),
        )?,
        spool_total_bytes: spool_total(&source, gateway)?,
        connections_max: source.count(
            "connections_max",
            gateway.connections_max.as_ref(),
            CONNECTIONS_MAX_DEFAULT,
            (1, 1_000_000),
        )?,
    })
}

/// The data folder and the secrets file.
fn folders(
    source: &Source<'_>,
    gateway: &wire::Gateway,
) -> Result<(PathBuf, PathBuf), ConfigError> {
    let data_dir = match &gateway.data_dir {
        Some(path) => source.path(path)?,
        None => source.folder.join("stiver-data"),
    };
    let secret_file = match &gateway.secret_file {
        Some(path) => source.path(path)?,
        None => data_dir.join("challenge.secret"),
    };
    Ok((data_dir, secret_file))
}

/// The file as it is written: its syntax, then its keys, then the types of its values.
fn read(source: &Source<'_>) -> Result<wire::File, ConfigError> {
    let syntax = |error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        (offset, error.message().to_owned())
    };
    let document = DeTable::parse(source.text).map_err(|error| {
        let (offset, problem) = syntax(error);
        source.error(offset, problem)
    })?;
    let known = check::keys(source, &document)?;
    wire::File::deserialize(toml::Deserializer::from(document)).map_err(|error| {
        let (offset, mut problem) = syntax(error);
        if let Some(example) = known.example(offset) {
            problem = format!("{problem}: write {example}");
        }
        source.error(offset, problem)
    })
}

fn realm(source: &Source<'_>, gateway: &wire::Gateway) -> Result<Realm, ConfigError> {
    let text = gateway.realm.get_ref();
    Realm::new(text).map_err(|error| source.at(&gateway.realm, format!("realm {text:?}: {error}")))
}

fn challenge_lifetime(
    source: &Source<'_>,
    gateway: &wire::Gateway,
) -> Result<Duration, ConfigError> {
    source.seconds(
        "challenge_lifetime_s",
        gateway.challenge_lifetime_s.as_ref(),
        CHALLENGE_LIFETIME_DEFAULT,
        (10, CHALLENGE_LIFETIME_S_MAX),
    )
}

fn spool_total(source: &Source<'_>, gateway: &wire::Gateway) -> Result<usize, ConfigError> {
    let range = (BODY_LIMIT_BYTES_MAX, SPOOL_TOTAL_BYTES_MAX);
    let value = gateway.spool_total_bytes.as_ref();
    source.count("spool_total_bytes", value, SPOOL_TOTAL_BYTES_DEFAULT, range)
}

/// The limit of a spooled body.
pub(super) fn body_limit(
    source: &Source<'_>,
    value: Option<&Spanned<u64>>,
) -> Result<usize, ConfigError> {
    let range = (0, BODY_LIMIT_BYTES_MAX);
    source.count("body_limit_bytes", value, BODY_LIMIT_BYTES_DEFAULT, range)
}

fn public_url(
    source: &Source<'_>,
    gateway: &wire::Gateway,
) -> Result<Option<HttpUrl>, ConfigError> {
    let example = "https://api.example.com";
    let value = gateway.public_url.as_ref();
    value
        .map(|value| address::url(source, "public_url", value, example))
        .transpose()
}

fn trusted_proxies(
    source: &Source<'_>,
    gateway: &wire::Gateway,
) -> Result<Vec<IpBlock>, ConfigError> {
    let Some(list) = &gateway.trusted_proxies else {
        return Ok(Vec::new());
    };
    let (name, blocks) = ("trusted_proxies", list.get_ref());
    source.at_most(name, blocks.len(), TRUSTED_PROXIES_MAX, list.span().start)?;
    let block = |text: &Spanned<String>| {
        IpBlock::parse(text.get_ref()).ok_or_else(|| {
            let problem = format!(
                "trusted proxy {:?} is no block of IP addresses: write 10.0.0.0/8, with zeros \
                 after the prefix",
                text.get_ref()
            );
            source.at(text, problem)
        })
    };
    blocks.iter().map(block).collect()
}

fn currencies(source: &Source<'_>, ledger: &wire::Ledger) -> Result<Vec<Currency>, ConfigError> {
    let usd = Currency::new("usd", USD_DECIMALS)
        .map_err(|error| source.error(0, format!("usd: {error}")))?;
    let mut all = vec![usd];
    for (code, decimals) in &ledger.currencies {
        let currency = Currency::new(code, *decimals.get_ref())
            .map_err(|error| source.at(decimals, format!("currency {code:?}: {error}")))?;
        if all
            .iter()
            .any(|known| known.code().eq_ignore_ascii_case(currency.code()))
        {
            let problem = format!("currency {code:?} is there already");
            return Err(source.at(decimals, problem));
        }
        all.push(currency);
    }
    Ok(all)
}
