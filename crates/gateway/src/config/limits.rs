//! `[limits]`: how many requests are taken, from one source and in all.

use super::{ConfigError, source::Source, wire};

/// Most requests in one second that a rate can allow.
pub const RATE_MAX: u64 = 1_000_000;
/// Sources that are remembered at once unless the file says otherwise.
pub const SOURCES_MAX_DEFAULT: u64 = 100_000;

/// How many requests are taken. What is over a limit gets 429 and `Retry-After`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one source address; no limit when absent.
    pub per_source: Option<Rate>,
    /// Requests of all sources together; no limit when absent.
    pub total: Option<Rate>,
    /// Challenges made for one source address; no limit when absent.
    pub challenges_per_source: Option<Rate>,
    /// Source addresses that are remembered at once, for limits and free quotas.
    pub sources_max: usize,
}

/// A rate and how much may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests each second, from 1 to [`RATE_MAX`].
    pub per_second: u32,
    /// Requests at once after a pause, from 1 to [`RATE_MAX`]; as many as each second by default.
    pub burst: u32,
}

pub(super) fn resolve(source: &Source<'_>, wire: &wire::Limits) -> Result<Limits, ConfigError> {
    let rate = |key, value: &Option<wire::Rate>| match value {
        Some(value) => rate(source, key, value).map(Some),
        None => Ok(None),
    };
    Ok(Limits {
        per_source: rate("per_source", &wire.per_source)?,
        total: rate("total", &wire.total)?,
        challenges_per_source: rate("challenges_per_source", &wire.challenges_per_source)?,
        sources_max: source.count(
            "sources_max",
            wire.sources_max.as_ref(),
            SOURCES_MAX_DEFAULT,
            (1, 10_000_000),
        )?,
    })
}

/// A rate of one key.
pub(super) fn rate(source: &Source<'_>, key: &str, wire: &wire::Rate) -> Result<Rate, ConfigError> {
    let range = (1, RATE_MAX);
    let name = format!("per_second of {key}");
    let per_second = source.bounded(&name, Some(&wire.per_second), 1, range)?;
    let name = format!("burst of {key}");
    let burst = source.bounded(&name, wire.burst.as_ref(), per_second, range)?;
    Ok(Rate {
        per_second: u32::try_from(per_second).unwrap_or(u32::MAX),
        burst: u32::try_from(burst).unwrap_or(u32::MAX),
    })
}
