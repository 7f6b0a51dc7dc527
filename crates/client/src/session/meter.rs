//! What this side measures of a stream by itself. A payee's count is compared with it where both
//! count the same thing.

use http::Uri;
use stiver_core::Timestamp;
use stiver_method::session::UnitPrice;

use super::policy::cost_of;

/// What was delivered so far, as this side sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// When the request was sent.
    pub(crate) since: Timestamp,
    /// Bytes of the body.
    pub(crate) bytes: u128,
    /// Events that are no payment's.
    pub(crate) events: u128,
}

/// An instrument of the payer's own, such as the energy meter of a car. What it says of a unit
/// takes the place of what this client would count, so that a payee that counts more is not signed
/// for beyond the window: see
/// [`PaymentClient::with_own_meter`](crate::PaymentClient::with_own_meter).
pub trait OwnMeter: Send + Sync {
    /// How much of a unit a request has been delivered so far, in thousandths of the unit: Wh where
    /// the unit is `kWh`. `None` for what it does not measure.
    ///
    /// It never falls while the request runs. It is asked whenever a voucher is due, and must not
    /// wait.
    fn thousandths(&self, url: &Uri, unit: &str) -> Option<u128>;
}

/// Thousandths in a unit.
const THOUSANDTHS: u64 = 1_000;

/// How a unit is measured here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Request,
    Byte,
    Kilobyte,
    Event,
    Millisecond,
    Second,
    Minute,
}

impl Unit {
    /// `None` for what cannot be measured here, such as tokens.
    fn of(price: &UnitPrice) -> Option<Self> {
        match price.unit.as_deref() {
            None | Some("request") => Some(Self::Request),
            Some("byte" | "bytes") => Some(Self::Byte),
            Some("KB" | "kilobyte" | "kilobytes") => Some(Self::Kilobyte),
            Some(unit) if counts_events(unit) => Some(Self::Event),
            Some("ms" | "millisecond" | "milliseconds") => Some(Self::Millisecond),
            Some("s" | "second" | "seconds") => Some(Self::Second),
            Some("minute" | "minutes") => Some(Self::Minute),
            Some(_) => None,
        }
    }
}

/// True for a unit that only event streams have.
pub(crate) fn counts_events(unit: &str) -> bool {
    matches!(unit, "event" | "events" | "message" | "reading" | "chunk")
}

/// True when a price is for time: then a body costs though nothing comes.
pub(crate) fn counts_time(prices: &[UnitPrice]) -> bool {
    let by_time = |price: &UnitPrice| {
        let unit = Unit::of(price);
        matches!(unit, Some(Unit::Millisecond | Unit::Second | Unit::Minute))
    };
    prices.iter().any(by_time)
}

/// What a request has cost so far by this side's own measure, rounded up; `None` where one of the
/// units cannot be measured here. What `own` tells comes first.
pub(crate) fn measured(
    prices: &[UnitPrice],
    got: Delivered,
    now: Timestamp,
    own: impl Fn(&str) -> Option<u128>,
) -> Option<u128> {
    let elapsed = u128::from(now.as_millis().saturating_sub(got.since.as_millis()));
    prices.iter().try_fold(0_u128, |sum, price| {
        if let Some(thousandths) = price.unit.as_deref().and_then(&own) {
            let fine = UnitPrice {
                per: price.per.saturating_mul(THOUSANDTHS),
                ..price.clone()
            };
            return Some(sum.saturating_add(cost_of(&fine, thousandths)));
        }
        let quantity = match Unit::of(price)? {
            Unit::Request => 1,
            Unit::Byte => got.bytes,
            Unit::Kilobyte => got.bytes.div_ceil(1_000),
            // The one that the payee wants to be paid for before it sends it.
            Unit::Event => got.events.saturating_add(1),
            Unit::Millisecond => elapsed.saturating_add(1),
            Unit::Second => elapsed.saturating_add(1).div_ceil(1_000),
            Unit::Minute => elapsed.saturating_add(1).div_ceil(60_000),
        };
        Some(sum.saturating_add(cost_of(price, quantity)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stiver_core::Currency;

    fn price(units: u128, per: u64, unit: &str) -> UnitPrice {
        UnitPrice {
            amount: Currency::new("usd", 6).unwrap().units(units),
            per,
            unit: Some(unit.into()),
        }
    }

    #[test]
    fn seconds_bytes_and_events_are_measured_and_tokens_are_not() {
        let got = Delivered {
            since: Timestamp::from_millis(1_000),
            bytes: 2_500,
            events: 3,
        };
        let now = Timestamp::from_millis(3_500);
        let cost = |price| measured(&[price], got, now, |_| None);
        assert_eq!(cost(price(10, 1, "second")), Some(30));
        assert_eq!(cost(price(1, 1, "ms")), Some(2_501));
        assert_eq!(cost(price(1, 1_000, "byte")), Some(3));
        assert_eq!(cost(price(5, 1, "KB")), Some(15));
        assert_eq!(cost(price(2, 1, "reading")), Some(8));
        assert_eq!(cost(price(9, 1, "request")), Some(9));
        assert_eq!(cost(price(9, 1, "token")), None);
        let two = [price(10, 1, "second"), price(2, 1, "reading")];
        assert_eq!(measured(&two, got, now, |_| None), Some(38));
    }

    #[test]
    fn what_an_instrument_of_ones_own_says_comes_first() {
        let got = Delivered {
            since: Timestamp::from_millis(0),
            bytes: 0,
            events: 105,
        };
        let now = Timestamp::from_millis(1_999);
        let watt_hours = |unit: &str| (unit == "kWh").then_some(1_500);
        let prices = [price(400, 1, "kWh"), price(10, 1, "second")];
        assert_eq!(measured(&prices, got, now, watt_hours), Some(620));
        assert_eq!(measured(&prices, got, now, |_| None), None);
        let tenth = |unit: &str| (unit == "reading").then_some(100);
        let readings = [price(10, 4, "reading")];
        assert_eq!(measured(&readings, got, now, tenth), Some(1), "rounded up");
    }
}
