//! Requests that each source has for nothing.
//!
//! They are counted in memory, from the start of the hour, day or month on (UTC). A gateway that
//! starts again begins anew. At most [`SOURCES_MAX`] sources of one route are counted at once; one
//! more has nothing for free until the period ends, so that nobody gets a fresh allowance by
//! filling the table.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use stiver_core::{
    Timestamp,
    credential::{Presented, presented},
};

use crate::{
    config::route::{FreeQuota, Period},
    limits::Source,
};

/// Most sources that one route counts in one period.
pub const SOURCES_MAX: usize = 100_000;

/// Where a credential may be besides `Authorization`.
const PAYMENT_AUTHORIZATION: HeaderName = HeaderName::from_static("payment-authorization");
/// What a free request is told: `"free";r=LEFT;t=SECONDS`.
const LEFT: HeaderName = HeaderName::from_static("ratelimit");
/// How much there is: `"free";q=REQUESTS;w=SECONDS`.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The free requests of one route.
pub struct Quota {
    quota: FreeQuota,
    sources_max: usize,
    used: Mutex<Used>,
}

/// What was used in one period.
#[derive(Default)]
struct Used {
    /// The period's first instant.
    since: Option<Timestamp>,
    by_source: HashMap<Source, u32>,
}

/// What a source has left after a free request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    quota: FreeQuota,
    /// Requests.
    pub requests: u32,
    /// Seconds until it has all of them again.
    pub seconds: u64,
    /// The length of the period, seconds.
    pub period: u64,
}

impl Quota {
    /// Nothing used.
    pub fn new(quota: FreeQuota) -> Self {
        Self::bounded(quota, SOURCES_MAX)
    }

    /// What it counts.
    pub(crate) fn of(&self) -> FreeQuota {
        self.quota
    }

    /// With another bound on how many sources are counted.
    pub fn bounded(quota: FreeQuota, sources_max: usize) -> Self {
        Self {
            quota,
            sources_max,
            used: Mutex::default(),
        }
    }

    /// Takes a free request, and tells what is left. `None` when there is none: pay.
    pub fn take(&self, source: Source, now: Timestamp) -> Option<Left> {
        let (since, until) = period(self.quota.per, now);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that steps back stays in the later period: nothing is given twice.
        if used.since.is_none_or(|known| known < since) {
            *used = Used {
                since: Some(since),
                by_source: HashMap::new(),
            };
        }
        let full = used.by_source.len() >= self.sources_max;
        if full && !used.by_source.contains_key(&source) {
            return None;
        }
        let count = used.by_source.entry(source).or_default();
        let left = self.quota.requests.checked_sub(*count + 1)?;
        *count += 1;
        let seconds = |from: Timestamp| until.as_millis().saturating_sub(from.as_millis()) / 1000;
        Some(Left {
            quota: self.quota,
            requests: left,
            seconds: seconds(now).max(1),
            period: seconds(since),
        })
    }

    /// How many sources are counted.
    pub fn sources(&self) -> usize {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.by_source.len()
    }
}

impl Left {
    /// Tells it in the fields of a response.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let left = format!("\"free\";r={};t={}", self.requests, self.seconds);
        let policy = format!("\"free\";q={};w={}", self.quota.requests, self.period);
        for (name, value) in [(LEFT, left), (POLICY, policy)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(name, value);
            }
        }
    }
}

/// True when a request bears a Payment credential, or several: it is not free then.
pub(crate) fn pays(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::AUTHORIZATION).iter();
    let lines = lines.chain(headers.get_all(PAYMENT_AUTHORIZATION));
    !matches!(presented(lines.map(HeaderValue::as_bytes)), Presented::None)
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// The period that an instant is in: its first instant, and that of the next.
fn period(per: Period, now: Timestamp) -> (Timestamp, Timestamp) {
    let fixed = |length: u64| {
        let since = now.as_millis() / length * length;
        (
            Timestamp::from_millis(since),
            Timestamp::from_millis(since).plus_millis(length),
        )
    };
    match per {
        Period::Hour => fixed(HOUR_MS),
        Period::Day => fixed(DAY_MS),
        Period::Month => month(now),
    }
}

/// The calendar month of an instant.
fn month(now: Timestamp) -> (Timestamp, Timestamp) {
    let days = now.as_millis() / DAY_MS;
    let (mut year, mut left) = (1970_u64, days);
    // Whole groups of 400 years are alike.
    year += left / 146_097 * 400;
    left %= 146_097;
    while left >= year_days(year) {
        left -= year_days(year);
        year += 1;
    }
    let mut first = days - left;
    for month in 0..12 {
        let length = month_days(year, month);
        if left < length {
            return (
                Timestamp::from_millis(first * DAY_MS),
                Timestamp::from_millis((first + length) * DAY_MS),
            );
        }
        left -= length;
        first += length;
    }
    (now, now.plus_millis(DAY_MS))
}

fn is_leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

fn year_days(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

/// `month` from 0.
fn month_days(year: u64, month: usize) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn source(n: u8) -> Source {
        Source::V4(Ipv4Addr::new(192, 0, 2, n))
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn quota(requests: u32, per: Period) -> Quota {
        Quota::bounded(FreeQuota { requests, per }, 2)
    }

    #[test]
    fn each_source_has_its_requests_and_then_pays_until_the_period_ends() {
        let quota = quota(2, Period::Hour);
        let now = at("2026-02-03T10:59:00Z");
        let left = quota.take(source(1), now).unwrap();
        assert_eq!((left.requests, left.seconds, left.period), (1, 60, 3600));
        assert_eq!(quota.take(source(1), now).unwrap().requests, 0);
        assert_eq!(quota.take(source(1), now), None);
        assert_eq!(quota.take(source(2), now).unwrap().requests, 1);
        let next = at("2026-02-03T11:00:00Z");
        assert_eq!(quota.take(source(1), next).unwrap().requests, 1);
    }

    #[test]
    fn full_table_gives_newcomers_nothing_and_keeps_what_it_counted() {
        let quota = quota(2, Period::Day);
        let now = at("2026-02-03T10:00:00Z");
        assert!(quota.take(source(1), now).is_some());
        assert!(quota.take(source(2), now).is_some());
        for n in 3..200 {
            assert_eq!(quota.take(source(n), now), None);
        }
        assert_eq!(quota.sources(), 2);
        assert!(quota.take(source(1), now).is_some());
        assert_eq!(quota.take(source(1), now), None);
    }

    #[test]
    fn clock_that_steps_back_gives_nothing_anew() {
        let quota = quota(1, Period::Hour);
        assert!(quota.take(source(1), at("2026-02-03T11:00:00Z")).is_some());
        assert_eq!(quota.take(source(1), at("2026-02-03T10:00:00Z")), None);
        assert_eq!(quota.take(source(1), at("2026-02-03T11:30:00Z")), None);
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        for (now, since, until) in [
            (
                "1970-01-01T00:00:00Z",
                "1970-01-01T00:00:00Z",
                "1970-02-01T00:00:00Z",
            ),
            (
                "2024-02-29T23:59:59Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                "2025-02-28T00:00:00Z",
                "2025-02-01T00:00:00Z",
                "2025-03-01T00:00:00Z",
            ),
            (
                "2026-12-31T23:00:00Z",
                "2026-12-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                "2100-02-28T12:00:00Z",
                "2100-02-01T00:00:00Z",
                "2100-03-01T00:00:00Z",
            ),
            (
                "2400-02-29T12:00:00Z",
                "2400-02-01T00:00:00Z",
                "2400-03-01T00:00:00Z",
            ),
            (
                "2026-04-30T12:00:00Z",
                "2026-04-01T00:00:00Z",
                "2026-05-01T00:00:00Z",
            ),
        ] {
            assert_eq!(
                period(Period::Month, at(now)),
                (at(since), at(until)),
                "{now}"
            );
        }
    }

    #[test]
    fn what_is_left_is_told_in_fields() {
        let quota = quota(10, Period::Hour);
        let mut headers = HeaderMap::new();
        let left = quota.take(source(1), at("2026-02-03T10:40:00Z")).unwrap();
        left.write(&mut headers);
        assert_eq!(headers["ratelimit"], "\"free\";r=9;t=1200");
        assert_eq!(headers["ratelimit-policy"], "\"free\";q=10;w=3600");
    }
}
