//! `[sessions]`: what holds for the channels of all sessions.

use std::time::Duration;

use stiver_method_ledger::session::GRACE_SECONDS_DEFAULT;
use stiver_server::{limits::VOUCHERS_PER_SECOND, session::SessionLimits};

use super::{ConfigError, source::Source, wire};

/// The shortest and the longest grace of a payer's forced close, seconds: a minute, thirty days.
pub const GRACE_S: (u64, u64) = (60, 2_592_000);
/// The longest time after which an unused channel is settled or closed, seconds: a year.
pub const IDLE_S_MAX: u64 = 31_536_000;
/// The most vouchers a second that a file may allow for one channel.
pub const VOUCHERS_PER_SECOND_MAX: u64 = 1_000_000;

/// What holds for the channels of all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sessions {
    /// Vouchers may be words of a hash chain, besides signatures.
    pub hash_chain: bool,
    /// How long a payer that closes a channel by force must wait for its money.
    pub grace: Duration,
    /// A channel that was not used for so long is closed.
    pub idle_close: Option<Duration>,
    /// What a channel has earned is taken when it was not used for so long.
    pub settle_quiet: Option<Duration>,
    /// What a channel has earned is taken when it is this much, base units of its currency.
    pub settle_after_units: Option<u64>,
    /// What a channel has earned is taken when something was taken in it so often.
    pub settle_after_requests: Option<u32>,
    /// Most channels that have not ended.
    pub channels_max: u64,
    /// Most vouchers of one channel in a second.
    pub vouchers_per_second: u32,
}

pub(super) fn resolve(source: &Source<'_>, wire: &wire::Sessions) -> Result<Sessions, ConfigError> {
    let span = |key: &str, value: Option<&toml::Spanned<u64>>| match value {
        None => Ok(None),
        Some(_) => {
            let seconds = source.bounded(key, value, 0, (1, IDLE_S_MAX))?;
            Ok(Some(Duration::from_secs(seconds)))
        }
    };
    let grace = Duration::from_secs(GRACE_SECONDS_DEFAULT);
    let units = wire.settle_after_units.as_ref();
    let limits = SessionLimits::default();
    let channels = (1, limits.channels_max);
    let rate = wire.vouchers_per_second.as_ref();
    let range = (1, VOUCHERS_PER_SECOND_MAX);
    let rate = source.bounded(
        "vouchers_per_second",
        rate,
        VOUCHERS_PER_SECOND.into(),
        range,
    )?;
    Ok(Sessions {
        hash_chain: wire.hash_chain.unwrap_or(true),
        grace: source.seconds("grace_s", wire.grace_s.as_ref(), grace, GRACE_S)?,
        idle_close: span("idle_close_s", wire.idle_close_s.as_ref())?,
        settle_quiet: span("settle_quiet_s", wire.settle_quiet_s.as_ref())?,
        settle_after_units: match units {
            None => None,
            Some(_) => {
                let range = (1, i64::MAX.unsigned_abs());
                Some(source.bounded("settle_after_units", units, 1, range)?)
            }
        },
        settle_after_requests: match &wire.settle_after_requests {
            None => None,
            requests => {
                let range = (1, u32::MAX.into());
                let most = source.bounded("settle_after_requests", requests.as_ref(), 1, range)?;
                u32::try_from(most).ok()
            }
        },
        channels_max: source.bounded(
            "channels_max",
            wire.channels_max.as_ref(),
            limits.channels_max,
            channels,
        )?,
        vouchers_per_second: u32::try_from(rate).unwrap_or(u32::MAX),
    })
}
