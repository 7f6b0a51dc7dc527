//! Instants as arguments: the core never reads a clock.

use alloc::string::String;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, never before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest instant that RFC 3339 can print: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);
    /// From milliseconds since the epoch; later than [`Timestamp::MAX`] is clamped to it.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(Self::MAX.0))
    }
    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> u64 {
        self.0
    }
    /// Later by `millis`, clamped to [`Timestamp::MAX`].
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }
    /// Milliseconds from `earlier` to `self`, 0 when `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
    /// Reads an RFC 3339 date-time. Any offset; fractions below a millisecond are dropped.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimestampError> {
        todo!()
    }
    /// Prints UTC with milliseconds only when they are not zero: `2025-01-15T12:05:00Z`.
    pub fn to_rfc3339(self) -> String {
        todo!()
    }
}

/// The text is no RFC 3339 date-time, or lies before 1970.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date-time from 1970 on, such as 2025-01-15T12:05:00Z")]
pub struct TimestampError;
