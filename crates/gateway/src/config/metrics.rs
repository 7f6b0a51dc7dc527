//! `[metrics]`: a listener of its own for metrics, health and readiness.

use std::net::SocketAddr;

use super::{ConfigError, address, source::Source, wire};

/// Where metrics are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Where `/metrics`, `/healthz` and `/readyz` are served. They tell turnover: keep them from
    /// strangers.
    pub listen: SocketAddr,
}

pub(super) fn resolve(source: &Source<'_>, wire: &wire::Metrics) -> Result<Metrics, ConfigError> {
    let example = "127.0.0.1:9402";
    Ok(Metrics {
        listen: address::socket(source, "listen", &wire.listen, example)?,
    })
}
