//! The TOML file as it is written. Unknown keys are errors.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) gateway: Gateway,
    #[serde(default)]
    pub(super) ledger: Ledger,
    #[serde(default, rename = "route")]
    pub(super) routes: Vec<Route>,
}

/// `[gateway]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) listen: Spanned<String>,
    pub(super) realm: Spanned<String>,
    pub(super) upstream: Spanned<String>,
    pub(super) data_dir: Option<Spanned<String>>,
    pub(super) secret_file: Option<Spanned<String>>,
    pub(super) behind_tls_proxy: Option<bool>,
    pub(super) challenge_lifetime_s: Option<Spanned<u64>>,
    pub(super) upstream_timeout_s: Option<Spanned<u64>>,
    pub(super) shutdown_grace_s: Option<Spanned<u64>>,
    pub(super) body_limit_bytes: Option<Spanned<u64>>,
    pub(super) connections_max: Option<Spanned<u64>>,
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

/// `[[route]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) path: Spanned<String>,
    pub(super) methods: Option<Spanned<Vec<String>>>,
    pub(super) price: Option<Spanned<String>>,
    pub(super) access: Option<Spanned<String>>,
    pub(super) description: Option<String>,
    pub(super) on_failure: Option<Spanned<String>>,
    pub(super) max_attempts: Option<Spanned<u32>>,
    pub(super) resume_window_s: Option<Spanned<u64>>,
    pub(super) upstream_idempotent: Option<bool>,
    pub(super) keep_responses: Option<Spanned<String>>,
}
