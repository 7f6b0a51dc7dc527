//! Instants as arguments: the core never reads a clock.

use alloc::string::String;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Nanoseconds in a millisecond, as the `time` crate counts.
const NANOS_PER_MILLI: i128 = 1_000_000;
/// Milliseconds in a second.
const MILLIS_PER_SECOND: u64 = 1000;
/// Where the `T` stands in an RFC 3339 date-time.
const SEPARATOR_OFFSET: usize = 10;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, never before it.
///
/// # Examples
/// ```
/// use stiver_core::Timestamp;
/// let at = Timestamp::parse_rfc3339("2025-01-15T13:05:00+01:00")?;
/// assert_eq!(at.to_rfc3339(), "2025-01-15T12:05:00Z");
/// # Ok::<(), stiver_core::time::TimestampError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The earliest instant: 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The latest instant that RFC 3339 can print: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since the epoch; later than [`Timestamp::MAX`] is clamped to it.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        if millis > Self::MAX.0 {
            return Self::MAX;
        }
        Self(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Later by `millis`, clamped to [`Timestamp::MAX`].
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Earlier by `millis`, clamped to [`Timestamp::EPOCH`].
    #[must_use]
    pub fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }

    /// Milliseconds from `earlier` to `self`, 0 when `earlier` is later.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads an RFC 3339 date-time. Any offset; fractions below a millisecond are dropped.
    ///
    /// `T` and `Z` may be lower case, nothing else may stand in their place. A leap second
    /// (`23:59:60` UTC on the last day of a month) is read as the last millisecond before it:
    /// this clock does not count leap seconds, and an `expires` must not be read as later than
    /// its author meant. Any other `:60` is refused.
    ///
    /// # Spec
    /// RFC 3339, section 5.6.
    ///
    /// # Errors
    /// [`TimestampError`]: not a date-time, or outside of 1970 to 9999 in UTC.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimestampError> {
        // The `time` crate takes any byte as separator.
        if !matches!(text.as_bytes().get(SEPARATOR_OFFSET), Some(b'T' | b't')) {
            return Err(TimestampError::Syntax);
        }
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError::Syntax)?;
        let millis = at.unix_timestamp_nanos().div_euclid(NANOS_PER_MILLI);
        let millis = u64::try_from(millis).map_err(|_| TimestampError::BeforeEpoch)?;
        if millis > Self::MAX.0 {
            return Err(TimestampError::TooLate);
        }
        Ok(Self(millis))
    }

    /// Prints UTC with milliseconds only when they are not zero: `2025-01-15T12:05:00Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let seconds = i64::try_from(self.0 / MILLIS_PER_SECOND).unwrap_or(i64::MAX);
        let millis = self.0 % MILLIS_PER_SECOND;
        // `self.0` is at most `MAX`, and the `time` crate represents all years up to 9999.
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let date = at.date();
        let (hour, minute, second) = at.time().as_hms();
        let (month, day) = (u8::from(date.month()), date.day());
        let year = u64::try_from(date.year()).unwrap_or(0);
        let mut text = String::with_capacity("2025-01-15T12:05:00.000Z".len());
        push_digits(&mut text, year, 1000);
        for (separator, number) in [
            ('-', month),
            ('-', day),
            ('T', hour),
            (':', minute),
            (':', second),
        ] {
            text.push(separator);
            push_digits(&mut text, number.into(), 10);
        }
        if millis > 0 {
            text.push('.');
            push_digits(&mut text, millis, 100);
        }
        text.push('Z');
        text
    }
}

/// Appends the decimal digits of a number, from the one of this place on: every challenge has a
/// date, and the machinery of `format!` costs more than the date.
fn push_digits(text: &mut String, number: u64, mut place: u64) {
    while place > 0 {
        let digit = u8::try_from(number / place % 10).unwrap_or(0);
        text.push(char::from(b'0' + digit));
        place /= 10;
    }
}

impl core::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(&self.to_rfc3339())
    }
}

impl core::str::FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::parse_rfc3339(text)
    }
}

/// The text is no RFC 3339 date-time, or lies before 1970 or after 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// Not of the form, or no such day or time.
    #[error("not an RFC 3339 date-time such as 2025-01-15T12:05:00Z")]
    Syntax,
    /// Before 1970-01-01T00:00:00Z.
    #[error("the date-time lies before 1970-01-01T00:00:00Z")]
    BeforeEpoch,
    /// After 9999-12-31T23:59:59.999Z, by its offset.
    #[error("the date-time lies after the year 9999 in UTC")]
    TooLate,
}

#[cfg(test)]
mod tests;
