//! A configuration as a file again: every default written out, secrets by reference.

use std::{path::Path, time::Duration};

use http::HeaderName;
use serde_json::Value as Json;
use stiver_core::Amount;
use stiver_server::route::{OnFailure, StoreResponses};
use toml::{Table, Value};

use super::{
    Config, Discovery, LogFormat,
    cors::Cors,
    limits::{Limits, Rate},
    listener::{Listener, Protocols},
    pricing::{Choice, HookFailure, Place, Price, Pricing, Quantity, Round, Term},
    route::{Access, BodyMode, Priced, Route, Settle},
    secret::SecretRef,
    session::{Session, UsageAt},
    sessions::Sessions,
    upstream::{HeaderSource, Upstream},
};

impl Config {
    /// The configuration as a TOML file that parses to the same: every default is written out,
    /// paths are as they were resolved, of secrets there is only where they are.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(&file(self))
            .expect("it is TOML, because it was made of TOML's own values")
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Json {
        serde_json::to_value(file(self))
            .expect("it is JSON, because it holds only text, numbers, lists and tables")
    }
}

/// A table from its rows; those without a value are left out.
fn table<const N: usize>(rows: [(&str, Option<Value>); N]) -> Value {
    let rows = rows.into_iter();
    let given = rows.filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Table(given.collect())
}

fn text(text: impl ToString) -> Option<Value> {
    Some(Value::String(text.to_string()))
}

fn flag(flag: bool) -> Option<Value> {
    Some(Value::Boolean(flag))
}

fn number(number: impl TryInto<i64>) -> Option<Value> {
    Some(Value::Integer(number.try_into().unwrap_or(i64::MAX)))
}

fn seconds(span: Duration) -> Option<Value> {
    number(span.as_secs())
}

fn path(path: &Path) -> Option<Value> {
    text(path.display())
}

fn list(values: impl IntoIterator<Item = Value>) -> Option<Value> {
    Some(Value::Array(values.into_iter().collect()))
}

fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Option<Value> {
    list(values.into_iter().filter_map(text))
}

fn map<K: ToString>(rows: impl IntoIterator<Item = (K, Value)>) -> Option<Value> {
    let rows = rows.into_iter();
    Some(Value::Table(
        rows.map(|(key, value)| (key.to_string(), value)).collect(),
    ))
}

fn file(config: &Config) -> Table {
    let upstreams = config.upstreams.iter();
    let metrics = config.metrics.as_ref();
    let tracing = config.tracing.as_ref();
    let file = table([
        ("gateway", Some(gateway(config))),
        ("listener", list(config.listeners.iter().map(listener))),
        (
            "upstreams",
            map(upstreams.map(|(name, row)| (name, upstream(row)))),
        ),
        ("limits", Some(limits(&config.limits))),
        (
            "metrics",
            metrics.map(|metrics| table([("listen", text(metrics.listen))])),
        ),
        (
            "tracing",
            tracing.map(|tracing| {
                table([
                    ("otlp_endpoint", text(&tracing.otlp_endpoint)),
                    ("service_name", text(&tracing.service_name)),
                    ("sample_ratio_percent", number(tracing.sample_ratio_percent)),
                ])
            }),
        ),
        ("discovery", Some(discovery(&config.discovery))),
        ("cors", Some(cors(&config.cors))),
        ("ledger", Some(ledger(config))),
        ("sessions", Some(sessions(&config.sessions))),
        ("route", list(config.routes.iter().map(route))),
    ]);
    match file {
        Value::Table(file) => file,
        other => Table::from_iter([("file".to_owned(), other)]),
    }
}

fn gateway(config: &Config) -> Value {
    let log_format = match config.log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    table([
        ("realm", text(config.realm.as_str())),
        ("data_dir", path(&config.data_dir)),
        ("secret_file", path(&config.secret_file)),
        ("behind_tls_proxy", flag(config.behind_tls_proxy)),
        ("shadow", flag(config.shadow)),
        ("shadow_header", flag(config.shadow_header)),
        ("public_url", config.public_url.as_ref().and_then(text)),
        ("trusted_proxies", texts(&config.trusted_proxies)),
        ("log_format", text(log_format)),
        ("challenge_lifetime_s", seconds(config.challenge_lifetime)),
        ("shutdown_grace_s", seconds(config.shutdown_grace)),
        ("spool_total_bytes", number(config.spool_total_bytes)),
        ("connections_max", number(config.connections_max)),
    ])
}

fn discovery(told: &Discovery) -> Value {
    table([
        ("enabled", flag(told.enabled)),
        ("title", text(&told.title)),
        ("version", text(&told.version)),
        ("description", told.description.as_ref().and_then(text)),
        ("categories", texts(&told.categories)),
    ])
}

fn cors(cors: &Cors) -> Value {
    let listed = cors
        .origins
        .iter()
        .filter_map(|origin| origin.to_str().ok());
    let origins: Vec<&str> = if cors.any {
        vec!["*"]
    } else {
        listed.collect()
    };
    // Written out when it is empty too: nobody is not everybody.
    let origins = origins.into_iter().map(Value::from).collect();
    table([
        ("origins", Some(Value::Array(origins))),
        ("max_age_s", seconds(cors.max_age)),
    ])
}

/// Dollars are there in any case.
fn ledger(config: &Config) -> Value {
    let own = config.currencies.iter().skip(1);
    let own = own.map(|row| (row.code(), Value::Integer(row.decimals().into())));
    table([
        ("accept_orders", flag(config.accept_orders)),
        ("currencies", map(own)),
    ])
}

fn sessions(row: &Sessions) -> Value {
    table([
        ("hash_chain", flag(row.hash_chain)),
        ("grace_s", seconds(row.grace)),
        ("idle_close_s", row.idle_close.and_then(seconds)),
        ("settle_quiet_s", row.settle_quiet.and_then(seconds)),
        (
            "settle_after_units",
            row.settle_after_units.and_then(number),
        ),
        (
            "settle_after_requests",
            row.settle_after_requests.and_then(number),
        ),
        ("channels_max", number(row.channels_max)),
        ("vouchers_per_second", number(row.vouchers_per_second)),
    ])
}

fn listener(row: &Listener) -> Value {
    let tls = row.tls.as_ref().map(|tls| {
        table([
            ("certificate", path(&tls.certificate)),
            ("key", path(&tls.key)),
        ])
    });
    let protocols: &[&str] = match row.protocols {
        Protocols::Http1 => &["http/1.1"],
        Protocols::Http2 => &["h2"],
        Protocols::Both => &["http/1.1", "h2"],
    };
    table([
        ("address", text(row.address)),
        ("tls", tls),
        ("protocols", texts(protocols)),
    ])
}

fn upstream(row: &Upstream) -> Value {
    let names = |names: &[HeaderName]| texts(names.iter().map(HeaderName::as_str));
    let set = row.set_headers.iter();
    table([
        ("url", text(&row.url)),
        ("connect_timeout_s", seconds(row.connect_timeout)),
        ("timeout_s", seconds(row.timeout)),
        ("idle_timeout_s", seconds(row.idle_timeout)),
        ("idle_connections_max", number(row.idle_connections_max)),
        ("http2", flag(row.http2)),
        ("ca_file", row.ca_file.as_deref().and_then(path)),
        (
            "set_headers",
            map(set.map(|header| (header.name.as_str(), header_source(&header.value)))),
        ),
        ("remove_request_headers", names(&row.remove_request_headers)),
        (
            "remove_response_headers",
            names(&row.remove_response_headers),
        ),
    ])
}

fn header_source(value: &HeaderSource) -> Value {
    match value {
        HeaderSource::Literal(value) => {
            table([("value", text(String::from_utf8_lossy(value.as_bytes())))])
        }
        HeaderSource::Secret { secret, prefix } => {
            let (key, place) = match secret {
                SecretRef::Env(name) => ("env", text(name)),
                SecretRef::File(file) => ("file", path(file)),
            };
            table([(key, place), ("prefix", text(prefix))])
        }
    }
}

fn limits(limits: &Limits) -> Value {
    table([
        ("per_source", limits.per_source.map(rate)),
        ("total", limits.total.map(rate)),
        (
            "challenges_per_source",
            limits.challenges_per_source.map(rate),
        ),
        ("sources_max", number(limits.sources_max)),
    ])
}

fn rate(rate: Rate) -> Value {
    table([
        ("per_second", number(rate.per_second)),
        ("burst", number(rate.burst)),
    ])
}

fn route(route: &Route) -> Value {
    let body = match route.body {
        BodyMode::Spool => "spool",
        BodyMode::Stream => "stream",
    };
    let methods = (!route.methods.is_empty()).then(|| texts(&route.methods));
    let common = table([
        ("path", text(&route.pattern)),
        ("methods", methods.flatten()),
        ("upstream", text(&route.upstream)),
        ("timeout_s", seconds(route.timeout)),
        ("upgrade", flag(route.upgrade)),
        ("body", text(body)),
        ("body_limit_bytes", number(route.body_limit)),
        ("rate_limit", route.rate_limit.map(rate)),
    ]);
    let own = match &route.access {
        Access::Free => table([("access", text("free"))]),
        Access::Denied => table([("access", text("denied"))]),
        Access::Priced(row) => priced(row),
    };
    let both = [common, own].into_iter().filter_map(|value| match value {
        Value::Table(table) => Some(table),
        _ => None,
    });
    Value::Table(both.flatten().collect())
}

fn priced(row: &Priced) -> Value {
    let (price, pricing) = match &row.price {
        Price::Fixed(price) => match &row.session {
            Some(session) => (text(session.text()), None),
            None => (text(price), None),
        },
        Price::Session => (None, None),
        Price::Computed(row) => (None, Some(computed(row))),
    };
    // What goes with single payments only is written where they are offered.
    let charged = |value: Option<Value>| value.filter(|_| row.price != Price::Session);
    let only = row.session.as_ref().filter(|_| price.is_none());
    let prices = only.and_then(|session| texts(session.meters.iter().map(|meter| &meter.text)));
    let settle = match row.settle {
        Settle::Before => "before",
        Settle::After => "after",
    };
    let on_failure = match row.on_failure {
        OnFailure::Retry => "retry",
        OnFailure::Refund => "refund",
        OnFailure::Keep => "keep",
    };
    let keep = match row.keep_responses {
        StoreResponses::WithIdempotencyKey => "with-key",
        StoreResponses::Always => "always",
        StoreResponses::Never => "never",
    };
    let quota = row.free_quota.map(|quota| {
        table([
            ("requests", number(quota.requests)),
            ("per", text(quota.per.name())),
        ])
    });
    let words = row.descriptions.iter();
    let words = map(words.map(|(tag, words)| (tag, Value::String(words.clone()))));
    let descriptions = words.filter(|_| !row.descriptions.is_empty());
    table([
        ("price", price),
        ("prices", prices),
        ("session", row.session.as_ref().map(session)),
        ("pricing", pricing),
        ("description", row.description.as_ref().and_then(text)),
        ("descriptions", descriptions),
        ("settle", charged(text(settle))),
        ("shadow", flag(row.shadow)),
        ("free_quota", quota),
        ("on_failure", charged(text(on_failure))),
        ("max_attempts", charged(number(row.max_attempts))),
        ("resume_window_s", charged(seconds(row.resume_window))),
        (
            "upstream_idempotent",
            charged(flag(row.upstream_idempotent)),
        ),
        ("keep_responses", charged(text(keep))),
    ])
}

fn session(row: &Session) -> Value {
    let suggested = row.suggested_deposit.as_ref();
    let step = Some(&row.min_voucher).filter(|step| !step.is_zero());
    // What only metered answers have is written where they are.
    let metered = |value: Option<Value>| value.filter(|_| row.requests().is_none());
    table([
        ("window", row.window.as_ref().and_then(text)),
        ("suggested_deposit", suggested.and_then(text)),
        ("deposit_min", row.deposit_min.as_ref().and_then(text)),
        ("deposit_max", row.deposit_max.as_ref().and_then(text)),
        ("min_voucher", step.and_then(text)),
        ("pause_s", metered(seconds(row.pause))),
        ("stall_s", metered(seconds(row.stall))),
        ("usage", (!row.usage.is_empty()).then(|| usage(row))),
    ])
}

fn usage(row: &Session) -> Value {
    let places = row.usage.iter().map(|(unit, it)| {
        let (key, value) = match &it.at {
            UsageAt::Json(pointer) => ("json", pointer.as_str()),
            UsageAt::Header(name) => ("header", name.as_str()),
            UsageAt::Trailer(name) => ("trailer", name.as_str()),
        };
        let place = table([
            (key, text(value)),
            ("adds", it.adds.then_some(Value::Boolean(true))),
            (
                "in",
                it.in_watt_hours.then(|| Value::String("Wh".to_owned())),
            ),
        ]);
        (unit.clone(), place)
    });
    Value::Table(places.collect())
}

fn computed(row: &Pricing) -> Value {
    let round = match row.round {
        Round::Up => "up",
        Round::Down => "down",
    };
    let hook = row.hook.as_ref().map(|hook| {
        let on_failure = match hook.on_failure {
            HookFailure::Deny => "deny",
            HookFailure::Cap => "cap",
        };
        table([
            ("url", text(&hook.url)),
            ("timeout_ms", number(hook.timeout.as_millis())),
            ("on_failure", text(on_failure)),
            ("headers", texts(&hook.headers)),
        ])
    });
    let parts = |values: Vec<Value>| (!values.is_empty()).then_some(Value::Array(values));
    table([
        ("base", text(&row.base)),
        ("cap", text(&row.cap)),
        ("round", text(round)),
        ("terms", parts(row.terms.iter().map(term).collect())),
        ("choices", parts(row.choices.iter().map(choice).collect())),
        ("hook", hook),
    ])
}

fn place(place: &Place) -> (&'static str, Option<Value>) {
    match place {
        Place::Json(pointer) => ("json", text(pointer)),
        Place::Query(name) => ("query", text(name)),
        Place::Header(name) => ("header", text(name)),
    }
}

fn term(term: &Term) -> Value {
    let of = match &term.of {
        Quantity::Told(told) => place(told),
        Quantity::BodyBytes => ("body_bytes", flag(true)),
    };
    table([
        of,
        ("default", term.default.and_then(number)),
        ("amount", text(&term.amount)),
        ("per", number(term.per)),
    ])
}

fn choice(choice: &Choice) -> Value {
    let amount = |amount: &Amount| Value::String(amount.to_string());
    let values = choice
        .values
        .iter()
        .map(|(name, value)| (name, amount(value)));
    table([
        place(&choice.of),
        ("values", map(values)),
        ("otherwise", choice.otherwise.as_ref().and_then(text)),
    ])
}
