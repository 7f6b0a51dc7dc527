//! `price = "... per token"`, `prices` and `[route.session]`: what a session pays.

use std::time::Duration;

use stiver_channel::meter::Price as Fraction;
use stiver_core::{Amount, Currency};
use stiver_method::session::{PRICES_MAX, UnitPrice};
use stiver_server::limits::{PAUSE_MS_MAX, STALL_MS_MAX};
use toml::Spanned;

use super::{ConfigError, pricing, source::Source, wire};

/// What a price says between its amount and its unit.
const PER: &str = " per ";
/// The unit of requests.
const REQUEST: &str = "request";
/// The longest that a metered answer may be told to wait, seconds.
pub const WAIT_S_MAX: u64 = 86_400;
/// The units that are counted, for errors.
const UNITS: &str = "units are request, byte, KB, MB, event, millisecond, second, minute, hour and \
                     token";

/// How sessions pay for a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What is counted, and what it costs: at least one, each of another unit, all of one currency.
    pub meters: Vec<Meter>,
    /// What may be served before it is spent, when more than requests is counted.
    pub window: Option<Amount>,
    /// The deposit that challenges suggest.
    pub suggested_deposit: Option<Amount>,
    /// The least that a channel is opened with.
    pub deposit_min: Option<Amount>,
    /// The most that a channel is opened with.
    pub deposit_max: Option<Amount>,
    /// The least by which a voucher must exceed the one before it; zero for none.
    pub min_voucher: Amount,
    /// How long a metered answer waits for a voucher.
    pub pause: Duration,
    /// How long a metered answer waits for a client that does not read.
    pub stall: Duration,
}

/// A price by the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    /// As the file has it.
    pub text: String,
    /// As challenges tell it, and as it is charged.
    pub price: UnitPrice,
}

impl Session {
    /// What each request costs, when that is all: single payments may pay it too.
    #[must_use]
    pub fn per_request(&self) -> Option<&Amount> {
        match &self.meters[..] {
            [meter] if meter.counts_requests() => Some(&meter.price.amount),
            _ => None,
        }
    }

    /// The prices, in the order of the file.
    #[must_use]
    pub fn prices(&self) -> Vec<UnitPrice> {
        let meters = self.meters.iter();
        meters.map(|meter| meter.price.clone()).collect()
    }

    /// The prices as the file has them.
    #[must_use]
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.meters.iter().map(|meter| &*meter.text).collect();
        texts.join(", ")
    }

    /// True when the answer must be read to count what it used: it must not be compressed.
    #[must_use]
    pub fn reads_answers(&self) -> bool {
        let mut units = self.meters.iter().map(|meter| meter.price.unit.as_deref());
        units.any(|unit| matches!(unit, Some("token" | "event")))
    }
}

impl Meter {
    fn counts_requests(&self) -> bool {
        self.price.unit.as_deref() == Some(REQUEST)
    }
}

/// The session of a route: with a price by a unit, or with `[route.session]` beside its price.
pub(super) fn resolve(
    source: &Source<'_>,
    prices: &[&Spanned<String>],
    wire: Option<&Spanned<wire::Session>>,
    currencies: &[Currency],
) -> Result<Session, ConfigError> {
    let offset = prices.first().map_or(0, |price| price.span().start);
    source.at_most("prices", prices.len(), PRICES_MAX, offset)?;
    let mut meters: Vec<Meter> = Vec::with_capacity(prices.len());
    for price in prices {
        let meter = meter(source, price, currencies)?;
        if meters
            .iter()
            .any(|known| known.price.unit == meter.price.unit)
        {
            let problem = "two prices count the same: keep one";
            return Err(source.at(price, problem));
        }
        let mut known = meters.iter().map(|known| known.price.amount.currency());
        if known.any(|known| known != meter.price.amount.currency()) {
            return Err(source.at(price, "the prices of one route are of one currency"));
        }
        meters.push(meter);
    }
    let Some(first) = meters.first() else {
        return Err(source.error(offset, "a session needs a price"));
    };
    let currency = first.price.amount.currency().clone();
    let session = wire.map(Spanned::get_ref);
    let given = |key: &str, value: Option<&Spanned<String>>| match value {
        None => Ok(None),
        Some(value) => {
            let amount = pricing::amount(source, key, value, currencies)?;
            if *amount.currency() != currency {
                let problem = format!("{key} is of another currency than the price");
                return Err(source.at(value, problem));
            }
            if amount.is_zero() {
                return Err(source.at(value, format!("{key} is zero: leave it out")));
            }
            Ok(Some(amount))
        }
    };
    let window = session.and_then(|session| session.window.as_ref());
    let suggested = session.and_then(|session| session.suggested_deposit.as_ref());
    let least = session.and_then(|session| session.deposit_min.as_ref());
    let most = session.and_then(|session| session.deposit_max.as_ref());
    let step = session.and_then(|session| session.min_voucher.as_ref());
    let step = given("min_voucher", step)?;
    let waits = |key: &str, value: Option<&Spanned<u64>>, default: u64| {
        source.seconds(key, value, Duration::from_millis(default), (1, WAIT_S_MAX))
    };
    let pause = session.and_then(|session| session.pause_s.as_ref());
    let stall = session.and_then(|session| session.stall_s.as_ref());
    let resolved = Session {
        pause: waits("pause_s", pause, PAUSE_MS_MAX)?,
        stall: waits("stall_s", stall, STALL_MS_MAX)?,
        window: given("window", window)?,
        suggested_deposit: given("suggested_deposit", suggested)?,
        deposit_min: given("deposit_min", least)?,
        deposit_max: given("deposit_max", most)?,
        min_voucher: step.unwrap_or_else(|| currency.units(0)),
        meters,
    };
    in_order(source, &resolved, (least, most, suggested))?;
    has_window(source, &resolved, (window, offset))?;
    Ok(resolved)
}

/// What is counted while it is served needs a window, and a price per request has none.
fn has_window(
    source: &Source<'_>,
    session: &Session,
    (window, offset): (Option<&Spanned<String>>, usize),
) -> Result<(), ConfigError> {
    match (session.per_request(), window) {
        (Some(_), Some(window)) => {
            let problem = "window is for what is counted while it is served: a price per request \
                           is reserved as a whole";
            Err(source.at(window, problem))
        }
        (None, None) => {
            let problem = "say how much may be served before it is paid for good, such as \
                           window = \"0.01 USD\" in [route.session]";
            Err(source.error(offset, problem))
        }
        _ => Ok(()),
    }
}

/// The bounds of a deposit, and what is suggested, must not contradict each other.
fn in_order(
    source: &Source<'_>,
    session: &Session,
    (least, most, suggested): Deposits<'_>,
) -> Result<(), ConfigError> {
    let units = |amount: &Option<Amount>| amount.as_ref().map(Amount::units);
    let lower = units(&session.deposit_min).unwrap_or(0);
    let upper = units(&session.deposit_max).unwrap_or(u128::MAX);
    let wished = units(&session.suggested_deposit);
    match (most.or(least), suggested) {
        (Some(bound), _) if lower > upper => {
            Err(source.at(bound, "deposit_min is above deposit_max"))
        }
        (_, Some(place)) if wished.is_some_and(|it| it < lower || it > upper) => Err(source.at(
            place,
            "suggested_deposit is not within deposit_min and deposit_max",
        )),
        _ => Ok(()),
    }
}

type Deposits<'a> = (
    Option<&'a Spanned<String>>,
    Option<&'a Spanned<String>>,
    Option<&'a Spanned<String>>,
);

/// One price. The unit of one without a unit is the request.
fn meter(
    source: &Source<'_>,
    price: &Spanned<String>,
    currencies: &[Currency],
) -> Result<Meter, ConfigError> {
    let text = price.get_ref();
    let wrong = |problem: String| source.at(price, format!("price {text:?}: {problem}"));
    let (amount, per) = text.split_once(PER).unwrap_or((text, REQUEST));
    let (number, code) = amount
        .split_once(' ')
        .ok_or_else(|| wrong("name its currency, such as 0.01 USD".to_owned()))?;
    let currency = pricing::currency(code, currencies)
        .ok_or_else(|| wrong(format!("there is no currency {code:?}")))?;
    let (count, word) = match per.split_once(' ') {
        Some((count, word)) => (parse_count(count), word),
        None => (Some(1), per),
    };
    let count = count.ok_or_else(|| {
        wrong("say for how many in plain digits, such as per 1000 tokens".to_owned())
    })?;
    let (unit, steps) =
        unit(word).ok_or_else(|| wrong(format!("{word:?} is not counted: {UNITS}")))?;
    let steps = count
        .checked_mul(steps)
        .ok_or_else(|| wrong("it is for too many at once".to_owned()))?;
    let fraction = Fraction::parse(number, currency, steps);
    let fraction = fraction.map_err(|error| wrong(error.to_string()))?;
    if fraction.units() == 0 {
        return Err(wrong("it is zero: say access = \"free\"".to_owned()));
    }
    if unit == REQUEST && fraction.per() > 1 {
        // A fraction is carried within one answer, and this would be all of it.
        let least = currency.units(1);
        return Err(wrong(format!(
            "a request costs whole base units, each {least}"
        )));
    }
    Ok(Meter {
        text: text.clone(),
        price: UnitPrice {
            amount: currency.units(fraction.units()),
            per: fraction.per(),
            unit: Some(unit.to_owned()),
        },
    })
}

/// What is counted for a word, and how many of it the word means.
fn unit(word: &str) -> Option<(&'static str, u64)> {
    Some(match word {
        "request" | "requests" => (REQUEST, 1),
        "byte" | "bytes" => ("byte", 1),
        "KB" => ("byte", 1_000),
        "MB" => ("byte", 1_000_000),
        "event" | "events" => ("event", 1),
        "millisecond" | "milliseconds" => ("millisecond", 1),
        "second" | "seconds" => ("second", 1),
        "minute" | "minutes" => ("second", 60),
        "hour" | "hours" => ("second", 3_600),
        "token" | "tokens" => ("token", 1),
        _ => return None,
    })
}

/// A number above zero, in plain digits.
fn parse_count(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.then(|| text.parse().ok())??;
    (count > 0 && !text.starts_with('0')).then_some(count)
}
