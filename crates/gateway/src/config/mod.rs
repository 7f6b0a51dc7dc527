//! The gateway's configuration: one TOML file, resolved once into checked values.
//!
//! `docs/configuration.md` lists every key. Relative paths are relative to the file's folder.

pub mod address;
mod check;
pub mod cors;
pub mod discovery;
mod gateway;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod pricing;
mod print;
pub mod route;
mod schema;
pub mod secret;
pub mod session;
pub mod sessions;
mod source;
pub mod tracing;
pub mod upstream;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use stiver_core::{Currency, name::Realm};
use stiver_env::Env;

use self::{
    address::{HttpUrl, IpBlock},
    gateway::body_limit,
};
pub use self::{
    cors::Cors,
    discovery::Discovery,
    limits::Limits,
    listener::Listener,
    metrics::Metrics,
    route::{Access, Priced, Route},
    session::Session,
    sessions::Sessions,
    tracing::Tracing,
    upstream::Upstream,
};

/// Longest configuration file, bytes.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Most routes in one file.
pub const ROUTES_MAX: usize = 4096;
/// Request bodies are spooled up to this many bytes unless the file says otherwise.
pub const BODY_LIMIT_BYTES_DEFAULT: u64 = 1024 * 1024;
/// The most a file may allow for a spooled body, bytes.
pub const BODY_LIMIT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The bytes of all spooled bodies together unless the file says otherwise.
pub const SPOOL_TOTAL_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
/// The most a file may allow for all spooled bodies together, bytes.
pub const SPOOL_TOTAL_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Most blocks of trusted proxies.
pub const TRUSTED_PROXIES_MAX: usize = 256;
/// How long a challenge can be answered unless the file says otherwise.
pub const CHALLENGE_LIFETIME_DEFAULT: Duration = Duration::from_secs(300);
/// The longest challenge lifetime, seconds.
pub const CHALLENGE_LIFETIME_S_MAX: u64 = 3600;
/// How long an upstream may take to begin its answer unless the file says otherwise.
pub const UPSTREAM_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long a shutdown waits for requests in flight unless the file says otherwise.
pub const SHUTDOWN_GRACE_DEFAULT: Duration = Duration::from_secs(30);
/// Connections open at once unless the file says otherwise.
pub const CONNECTIONS_MAX_DEFAULT: u64 = 10_000;
/// How often the upstream is tried for one payment unless the route says otherwise.
pub const MAX_ATTEMPTS_DEFAULT: u32 = 3;
/// The longest resume window, seconds: six days. A refund at its end must find the payment in the
/// ledger's memory, which is a day longer.
pub const RESUME_WINDOW_S_MAX: u64 = 6 * 24 * 3600;
/// How long after payment a failed delivery may be tried again unless the route says otherwise.
pub const RESUME_WINDOW_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// A checked configuration. What the file leaves out has its default here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// What its relative paths are relative to.
    pub folder: PathBuf,
    /// Where to listen: at least one.
    pub listeners: Vec<Listener>,
    /// The protection space named in challenges.
    pub realm: Realm,
    /// A proxy in front ends TLS: what it says of the client goes on to the upstream.
    pub behind_tls_proxy: bool,
    /// The APIs behind the gateway, by name: at least one. `gateway.upstream` is
    /// [`DEFAULT_UPSTREAM`](upstream::DEFAULT_UPSTREAM).
    pub upstreams: BTreeMap<String, Upstream>,
    /// How many requests are taken.
    pub limits: Limits,
    /// Where metrics are told, when they are.
    pub metrics: Option<Metrics>,
    /// Where spans are sent, when they are.
    pub tracing: Option<Tracing>,
    /// The default of [`Priced::shadow`].
    pub shadow: bool,
    /// Answers in shadow mode tell what would have been charged.
    pub shadow_header: bool,
    /// What the gateway tells of itself.
    pub discovery: Discovery,
    /// Whose pages may use priced routes.
    pub cors: Cors,
    /// What discovery documents call the gateway.
    pub public_url: Option<HttpUrl>,
    /// Proxies whose `X-Forwarded-For` names the client, for limits and quotas.
    pub trusted_proxies: Vec<IpBlock>,
    /// The form of the log.
    pub log_format: LogFormat,
    /// The folder of the logs, keys and the admin socket.
    pub data_dir: PathBuf,
    /// The file of challenge secrets.
    pub secret_file: PathBuf,
    /// How long a challenge can be answered.
    pub challenge_lifetime: Duration,
    /// How long a shutdown waits for requests in flight.
    pub shutdown_grace: Duration,
    /// Bytes of all spooled bodies together.
    pub spool_total_bytes: usize,
    /// Connections open at once, over all listeners.
    pub connections_max: usize,
    /// Every currency of the ledger: `usd` with 6 decimals, and the file's own.
    pub currencies: Vec<Currency>,
    /// Payees elsewhere may bring the orders that their payers signed.
    pub accept_orders: bool,
    /// What holds for the channels of all sessions.
    pub sessions: Sessions,
    /// Routes, in the file's order: the first match counts.
    pub routes: Vec<Route>,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads a configuration from its text. `folder` is what relative paths are relative to; `file`
    /// is named in errors.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the file, the line and what to do.
    pub fn parse(text: &str, file: &Path, folder: &Path) -> Result<Self, ConfigError> {
        gateway::resolve(text, file, folder)
    }

    /// Reads a configuration file. Its folder is what relative paths are relative to.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the file cannot be read, or says something wrong.
    pub fn read(file: &Path, env: &Env) -> Result<Self, ReadError> {
        let unread = |source| ReadError::Read {
            file: file.to_path_buf(),
            source,
        };
        let bytes = env.disk.read(file, CONFIG_BYTES_MAX).map_err(unread)?;
        let text = String::from_utf8(bytes).map_err(|error| unread(io::Error::other(error)))?;
        // A file in the current folder has an empty parent.
        let folder = file.parent().unwrap_or(Path::new("."));
        Self::parse(&text, file, folder).map_err(ReadError::Config)
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

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("reading {}; `stiver init` writes one", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It says something wrong.
    #[error("the configuration is not valid")]
    Config(#[source] ConfigError),
}
