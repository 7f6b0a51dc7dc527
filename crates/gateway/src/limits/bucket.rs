//! One token bucket, kept as one instant.

use std::time::Duration;

use crate::config;

/// Nanoseconds in a second.
const SECOND_NS: u64 = 1_000_000_000;
/// The fastest rate, tokens a second.
const PER_SECOND_MAX: u32 = 1_000_000;
/// The largest burst, tokens.
const BURST_MAX: u32 = 10_000_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    burst: u32,
}

impl Rate {
    /// The fastest rate, tokens a second.
    pub const PER_SECOND_MAX: u32 = PER_SECOND_MAX;
    /// The largest burst, tokens.
    pub const BURST_MAX: u32 = BURST_MAX;

    /// `per_second` tokens a second, from 1 to [`Rate::PER_SECOND_MAX`]; at most `burst` at once,
    /// from 1 to [`Rate::BURST_MAX`]. `None` outside of these.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        let good = (1..=PER_SECOND_MAX).contains(&per_second) && (1..=BURST_MAX).contains(&burst);
        good.then_some(Self { per_second, burst })
    }

    /// For constants.
    pub(super) const fn of(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst }
    }

    /// Tokens a second.
    pub fn per_second(self) -> u32 {
        self.per_second
    }

    /// Tokens in a full bucket.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// Time for one token, nanoseconds; rounded up, so that the rate is never passed.
    fn interval(self) -> u64 {
        SECOND_NS.div_ceil(u64::from(self.per_second))
    }

    /// Time for a whole bucket, nanoseconds. At most 10^16.
    fn capacity(self) -> u64 {
        self.interval().saturating_mul(u64::from(self.burst))
    }
}

impl From<config::limits::Rate> for Rate {
    /// A configuration holds no rate that this one does not take.
    fn from(rate: config::limits::Rate) -> Self {
        Self {
            per_second: rate.per_second.clamp(1, PER_SECOND_MAX),
            burst: rate.burst.clamp(1, BURST_MAX),
        }
    }
}

/// A bucket: the instant at which it will be full, nanoseconds of the monotonic clock. Full when
/// that is past. (This is the generic cell rate algorithm.)
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    full_at: u64,
}

impl Bucket {
    /// Takes one token, or tells how long until there is one.
    pub(super) fn take(&mut self, now: Duration, rate: Rate) -> Result<(), Duration> {
        let then = self.after_one(now, rate)?;
        self.full_at = then;
        Ok(())
    }

    /// Whether there is a token.
    pub(super) fn look(self, now: Duration, rate: Rate) -> Result<(), Duration> {
        self.after_one(now, rate).map(drop)
    }

    /// True when it is full: a new bucket is the same.
    pub(super) fn is_full(self, now: Duration) -> bool {
        self.full_at <= nanos(now)
    }

    /// When it would be full after taking one token.
    fn after_one(self, now: Duration, rate: Rate) -> Result<u64, Duration> {
        let now = nanos(now);
        // A rate that was lowered since may leave more debt than the bucket holds: no matter, a
        // whole bucket is the most that anybody waits for.
        let from = self.full_at.clamp(now, now.saturating_add(rate.capacity()));
        let then = from.saturating_add(rate.interval());
        let latest = now.saturating_add(rate.capacity());
        if then <= latest {
            Ok(then)
        } else {
            Err(Duration::from_nanos(then - latest))
        }
    }
}

/// Good for five centuries of uptime.
fn nanos(instant: Duration) -> u64 {
    u64::try_from(instant.as_nanos()).unwrap_or(u64::MAX)
}
