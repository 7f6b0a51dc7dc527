//! The TOML file as it is written. `schema` knows the same keys, to tell what is wrong better.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A value and where it stands, when it is given.
type Given<T> = Option<Spanned<T>>;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) gateway: Spanned<Gateway>,
    #[serde(default, rename = "listener")]
    pub(super) listeners: Vec<Listener>,
    #[serde(default)]
    pub(super) upstreams: BTreeMap<String, Upstream>,
    #[serde(default)]
    pub(super) limits: Limits,
    pub(super) metrics: Option<Metrics>,
    pub(super) tracing: Option<Tracing>,
    #[serde(default)]
    pub(super) discovery: Discovery,
    #[serde(default)]
    pub(super) cors: Cors,
    #[serde(default)]
    pub(super) ledger: Ledger,
    #[serde(default)]
    pub(super) sessions: Sessions,
    #[serde(default, rename = "route")]
    pub(super) routes: Vec<Route>,
}

/// `[gateway]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) realm: Spanned<String>,
    pub(super) listen: Given<String>,
    pub(super) upstream: Given<String>,
    pub(super) data_dir: Given<String>,
    pub(super) secret_file: Given<String>,
    pub(super) behind_tls_proxy: Option<bool>,
    pub(super) shadow: Option<bool>,
    pub(super) shadow_header: Option<bool>,
    pub(super) public_url: Given<String>,
    pub(super) trusted_proxies: Given<Vec<Spanned<String>>>,
    pub(super) log_format: Given<String>,
    pub(super) challenge_lifetime_s: Given<u64>,
    pub(super) upstream_timeout_s: Given<u64>,
    pub(super) shutdown_grace_s: Given<u64>,
    pub(super) body_limit_bytes: Given<u64>,
    pub(super) spool_total_bytes: Given<u64>,
    pub(super) connections_max: Given<u64>,
}

/// `[[listener]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) address: Spanned<String>,
    pub(super) tls: Option<Tls>,
    pub(super) protocols: Given<Vec<Spanned<String>>>,
}

/// `tls` of a listener.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: Spanned<String>,
    pub(super) key: Spanned<String>,
}

/// `[upstreams.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) url: Spanned<String>,
    pub(super) connect_timeout_s: Given<u64>,
    pub(super) timeout_s: Given<u64>,
    pub(super) idle_timeout_s: Given<u64>,
    pub(super) idle_connections_max: Given<u64>,
    pub(super) http2: Option<bool>,
    pub(super) ca_file: Given<String>,
    #[serde(default)]
    pub(super) set_headers: BTreeMap<String, Spanned<SetHeader>>,
    pub(super) remove_request_headers: Given<Vec<Spanned<String>>>,
    pub(super) remove_response_headers: Given<Vec<Spanned<String>>>,
}

/// A header that is set on requests to the upstream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetHeader {
    pub(super) env: Option<String>,
    pub(super) file: Given<String>,
    pub(super) value: Option<String>,
    pub(super) prefix: Option<String>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) per_source: Option<Rate>,
    pub(super) total: Option<Rate>,
    pub(super) challenges_per_source: Option<Rate>,
    pub(super) sources_max: Given<u64>,
}

/// `{ per_second = 5, burst = 10 }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    pub(super) per_second: Spanned<u64>,
    pub(super) burst: Given<u64>,
}

/// `[metrics]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: Spanned<String>,
}

/// `[tracing]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tracing {
    pub(super) otlp_endpoint: Spanned<String>,
    pub(super) service_name: Given<String>,
    pub(super) sample_ratio_percent: Given<u64>,
}

/// `[cors]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cors {
    pub(super) origins: Given<Vec<Spanned<String>>>,
    pub(super) max_age_s: Given<u64>,
}

/// `[discovery]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Discovery {
    pub(super) enabled: Option<bool>,
    pub(super) title: Option<String>,
    pub(super) version: Option<String>,
    pub(super) description: Option<String>,
    pub(super) categories: Given<Vec<Spanned<String>>>,
}

/// `[ledger]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    /// Further currencies: code and decimals.
    #[serde(default)]
    pub(super) currencies: BTreeMap<String, Spanned<u8>>,
    /// Payees elsewhere may bring the orders that their payers signed.
    pub(super) accept_orders: Option<bool>,
}

/// `[sessions]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sessions {
    pub(super) hash_chain: Option<bool>,
    pub(super) grace_s: Given<u64>,
    pub(super) idle_close_s: Given<u64>,
    pub(super) settle_quiet_s: Given<u64>,
    pub(super) settle_after_units: Given<u64>,
    pub(super) settle_after_requests: Given<u64>,
    pub(super) channels_max: Given<u64>,
    pub(super) vouchers_per_second: Given<u64>,
}

/// `[[route]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) path: Spanned<String>,
    pub(super) methods: Given<Vec<String>>,
    pub(super) price: Given<String>,
    pub(super) prices: Given<Vec<Spanned<String>>>,
    pub(super) session: Given<Session>,
    pub(super) pricing: Given<Pricing>,
    pub(super) access: Given<String>,
    pub(super) upstream: Given<String>,
    pub(super) timeout_s: Given<u64>,
    pub(super) upgrade: Option<bool>,
    pub(super) body: Given<String>,
    pub(super) body_limit_bytes: Given<u64>,
    pub(super) rate_limit: Option<Rate>,
    pub(super) description: Option<String>,
    pub(super) descriptions: Option<BTreeMap<String, Spanned<String>>>,
    pub(super) settle: Given<String>,
    pub(super) shadow: Option<bool>,
    pub(super) free_quota: Option<FreeQuota>,
    pub(super) on_failure: Given<String>,
    pub(super) max_attempts: Given<u64>,
    pub(super) resume_window_s: Given<u64>,
    pub(super) upstream_idempotent: Option<bool>,
    pub(super) keep_responses: Given<String>,
}

/// `free_quota` of a route.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FreeQuota {
    pub(super) requests: Spanned<u64>,
    pub(super) per: Spanned<String>,
}

/// `[route.session]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) window: Given<String>,
    pub(super) suggested_deposit: Given<String>,
    pub(super) deposit_min: Given<String>,
    pub(super) deposit_max: Given<String>,
    pub(super) min_voucher: Given<String>,
    pub(super) pause_s: Given<u64>,
    pub(super) stall_s: Given<u64>,
    #[serde(default)]
    pub(super) usage: BTreeMap<String, Spanned<Usage>>,
}

/// An entry of `[route.session.usage]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Usage {
    pub(super) json: Option<String>,
    pub(super) header: Option<String>,
    pub(super) trailer: Option<String>,
    pub(super) adds: Option<bool>,
    #[serde(rename = "in")]
    pub(super) unit: Option<String>,
}

/// `[route.pricing]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pricing {
    pub(super) base: Given<String>,
    pub(super) cap: Given<String>,
    pub(super) round: Given<String>,
    #[serde(default)]
    pub(super) terms: Vec<Spanned<Term>>,
    #[serde(default)]
    pub(super) choices: Vec<Spanned<Choice>>,
    pub(super) hook: Option<Hook>,
}

/// An entry of `terms`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Term {
    pub(super) json: Given<String>,
    pub(super) query: Given<String>,
    pub(super) header: Given<String>,
    pub(super) body_bytes: Given<bool>,
    pub(super) default: Option<u64>,
    pub(super) amount: Spanned<String>,
    pub(super) per: Given<u64>,
}

/// An entry of `choices`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    pub(super) json: Given<String>,
    pub(super) query: Given<String>,
    pub(super) header: Given<String>,
    pub(super) values: Spanned<BTreeMap<String, Spanned<String>>>,
    pub(super) otherwise: Given<String>,
}

/// `hook` of `[route.pricing]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hook {
    pub(super) url: Spanned<String>,
    pub(super) timeout_ms: Given<u64>,
    pub(super) on_failure: Given<String>,
    pub(super) headers: Given<Vec<String>>,
}
