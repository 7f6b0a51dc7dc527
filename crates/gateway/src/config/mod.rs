//! The gateway's configuration: one TOML file, resolved once into checked values.
//!
//! `docs/configuration.md` lists every key. Relative paths are relative to the file's folder.

mod resolve;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use stiver_core::{Amount, Currency, name::Realm};
use stiver_server::route::{OnFailure, StoreResponses};

use crate::path::Pattern;

/// Longest configuration file, bytes.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Most routes in one file.
pub const ROUTES_MAX: usize = 4096;
/// Request bodies of priced routes are spooled up to this many bytes unless the file says
/// otherwise.
pub const BODY_LIMIT_BYTES_DEFAULT: u64 = 1024 * 1024;
/// The most a file may allow for a spooled body, bytes.
pub const BODY_LIMIT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long a challenge can be answered unless the file says otherwise, seconds.
pub const CHALLENGE_LIFETIME_S_DEFAULT: u64 = 300;
/// The longest challenge lifetime, seconds.
pub const CHALLENGE_LIFETIME_S_MAX: u64 = 3600;
/// How long the upstream may take to begin its answer unless the file says otherwise, seconds.
pub const UPSTREAM_TIMEOUT_S_DEFAULT: u64 = 30;
/// How long a shutdown waits for requests in flight unless the file says otherwise, seconds.
pub const SHUTDOWN_GRACE_S_DEFAULT: u64 = 30;
/// Connections open at once unless the file says otherwise.
pub const CONNECTIONS_MAX_DEFAULT: u64 = 10_000;
/// How often the upstream is tried for one payment unless the route says otherwise.
pub const MAX_ATTEMPTS_DEFAULT: u32 = 3;
/// The longest resume window, seconds: six days. A refund at its end must find the payment in the
/// ledger's memory, which is a day longer.
pub const RESUME_WINDOW_S_MAX: u64 = 6 * 24 * 3600;
/// How long after payment a failed delivery may be tried again unless the route says otherwise,
/// seconds.
pub const RESUME_WINDOW_S_DEFAULT: u64 = 24 * 3600;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The protection space named in challenges.
    pub realm: Realm,
    /// A proxy in front ends TLS: what it says of the client goes on to the upstream.
    pub behind_tls_proxy: bool,
    /// The API behind the gateway.
    pub upstream: Upstream,
    /// The folder of the logs, keys and the admin socket.
    pub data_dir: PathBuf,
    /// The file of challenge secrets.
    pub secret_file: PathBuf,
    /// How long a challenge can be answered.
    pub challenge_lifetime: Duration,
    /// How long the upstream may take to begin its answer.
    pub upstream_timeout: Duration,
    /// How long a shutdown waits for requests in flight.
    pub shutdown_grace: Duration,
    /// Longest request body, bytes.
    pub body_limit_bytes: usize,
    /// Connections open at once.
    pub connections_max: usize,
    /// Every currency of the ledger: `usd` with 6 decimals, and the file's own.
    pub currencies: Vec<Currency>,
    /// Payees elsewhere may bring the orders that their payers signed.
    pub accept_orders: bool,
    /// Routes, in the file's order: the first match counts.
    pub routes: Vec<Route>,
}

/// The API behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// `https`, or `http`.
    pub tls: bool,
    /// Host and port as they go into URIs.
    pub authority: String,
    /// Put before every path, without a slash at its end.
    pub base_path: String,
}

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// The path pattern.
    pub pattern: Pattern,
    /// The methods it is for; empty means all.
    pub methods: Vec<String>,
    /// Who may come in.
    pub access: Access,
}

/// Who may come in.
#[derive(Debug, Clone)]
pub enum Access {
    /// Everybody.
    Free,
    /// Nobody.
    Denied,
    /// Whoever pays.
    Priced(Box<Priced>),
}

/// What a priced route asks and promises.
#[derive(Debug, Clone)]
pub struct Priced {
    /// The price of one request.
    pub amount: Amount,
    /// Shown to the payer.
    pub description: Option<String>,
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

impl Config {
    /// Reads a configuration from its text. `folder` is what relative paths are relative to; `file`
    /// is named in errors.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the file, the line and what to do.
    pub fn parse(text: &str, file: &Path, folder: &Path) -> Result<Self, ConfigError> {
        resolve::resolve(text, file, folder)
    }

    /// The folder of the ledger's log.
    pub fn ledger_dir(&self) -> PathBuf {
        self.data_dir.join("ledger")
    }

    /// The folder of the store's log.
    pub fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// The admin socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.data_dir.join("admin.sock")
    }

    /// The key of the account that is paid.
    pub fn payee_key_file(&self) -> PathBuf {
        self.data_dir.join("payee.key")
    }

    /// The key that may issue money.
    pub fn issuer_key_file(&self) -> PathBuf {
        self.data_dir.join("issuer.key")
    }
}

/// What is wrong with a configuration file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {problem}", file.display())]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub problem: String,
}
