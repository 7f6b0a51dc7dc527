//! `price = "... per token"`, `prices` and `[route.session]`: what a session pays.

use std::{collections::BTreeMap, time::Duration};

use http::HeaderName;
use stiver_channel::meter::{Price as Fraction, Unit};
use stiver_core::{Amount, Currency};
use stiver_method::session::{PRICES_MAX, UnitPrice};
use stiver_server::{
    limits::{PAUSE_MS_MAX, STALL_MS_MAX},
    session::UsageSource,
};
use toml::Spanned;

use super::{ConfigError, pricing, source::Source, wire};

/// What a price says between its amount and its unit.
const PER: &str = " per ";
/// The unit of requests.
const REQUEST: &str = "request";
/// The unit of language models.
const TOKEN: &str = "token";
/// The unit of energy.
const KWH: &str = "kWh";
/// The longest that a metered answer may be told to wait, seconds.
pub const WAIT_S_MAX: u64 = 86_400;
/// The units that are counted, for errors.
const UNITS: &str = "units are request, byte, KB, MB, event, millisecond, second, minute, hour, \
                     token, kWh, and names of your own in a-z 0-9 _ -";
/// An example of where units are reported, for errors.
const USAGE_EXAMPLE: &str = "[route.session.usage]\nkWh = { json = \"/energy_wh\", in = \"Wh\" }";
/// Watt-hours are thousandths of kilowatt-hours.
const WATT_HOUR_PLACES: u8 = 3;

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
    /// Where the upstream reports what was used, by unit.
    pub usage: BTreeMap<String, Usage>,
}

/// Where an upstream reports how many of a unit its answer used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Where it stands.
    pub at: UsageAt,
    /// Each event says how much more, and not how much in all.
    pub adds: bool,
    /// The values are watt-hours.
    pub in_watt_hours: bool,
}

/// Where a report stands in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageAt {
    /// In JSON: a pointer (RFC 6901).
    Json(String),
    /// In a header field.
    Header(HeaderName),
    /// In a trailer field.
    Trailer(HeaderName),
}

impl Usage {
    /// As the engine reads it.
    #[must_use]
    pub fn source(&self) -> Option<UsageSource> {
        let source = match &self.at {
            UsageAt::Json(pointer) => UsageSource::json(pointer)?,
            UsageAt::Header(name) => UsageSource::header(name.clone()),
            UsageAt::Trailer(name) => UsageSource::trailer(name.clone()),
        };
        let source = match self.in_watt_hours {
            true => source.scaled_down(WATT_HOUR_PLACES),
            false => source,
        };
        Some(if self.adds { source.adds() } else { source })
    }
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
    /// What each request costs, when that is all, and in whole base units: single payments may pay
    /// it too.
    #[must_use]
    pub fn per_request(&self) -> Option<&Amount> {
        self.requests()
            .filter(|price| price.per == 1)
            .map(|price| &price.amount)
    }

    /// The price of requests, when that is all.
    #[must_use]
    pub fn requests(&self) -> Option<&UnitPrice> {
        match &self.meters[..] {
            [meter] if meter.counts_requests() => Some(&meter.price),
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
        units.any(|unit| match unit.and_then(|unit| self.usage.get(unit)) {
            Some(usage) => matches!(usage.at, UsageAt::Json(_)),
            None => matches!(unit, Some("token" | "event")),
        })
    }

    /// What either side can lose, for people.
    #[must_use]
    pub fn at_stake(&self) -> String {
        match &self.window {
            Some(window) => format!("either side can lose {window}"),
            None => "each request is paid before it is served".to_owned(),
        }
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
    let usage = usage(source, session, &meters)?;
    let resolved = Session {
        usage,
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
    match (session.requests(), window) {
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

/// Where units are reported. Each has a price, and each unit that only the upstream counts a place.
fn usage(
    source: &Source<'_>,
    session: Option<&wire::Session>,
    meters: &[Meter],
) -> Result<BTreeMap<String, Usage>, ConfigError> {
    let mut found = BTreeMap::new();
    let given = session.map(|session| &session.usage);
    for (unit, usage) in given.into_iter().flatten() {
        let has_price = |meter: &Meter| meter.price.unit.as_deref() == Some(unit);
        if !meters.iter().any(has_price) {
            let problem = format!("usage.{unit}: no price is per {unit}");
            return Err(source.at(usage, problem));
        }
        if is_counted(unit) {
            let problem = format!("usage.{unit}: it is counted by the gateway itself");
            return Err(source.at(usage, problem));
        }
        found.insert(unit.clone(), place(source, unit, usage)?);
    }
    for meter in meters {
        let unit = meter.price.unit.as_deref().unwrap_or(REQUEST);
        if !is_counted(unit) && unit != TOKEN && !found.contains_key(unit) {
            let problem = format!(
                "price {:?}: say where the upstream reports each {unit}, such as\n{USAGE_EXAMPLE}",
                meter.text
            );
            return Err(source.error(0, problem));
        }
    }
    Ok(found)
}

fn is_counted(unit: &str) -> bool {
    matches!(unit, REQUEST | "byte" | "event" | "second" | "millisecond")
}

fn place(
    source: &Source<'_>,
    unit: &str,
    usage: &Spanned<wire::Usage>,
) -> Result<Usage, ConfigError> {
    let wire = usage.get_ref();
    let wrong = |problem: String| source.at(usage, format!("usage.{unit}: {problem}"));
    let name = |text: &str| {
        let name = text.parse::<HeaderName>();
        name.map_err(|_| wrong(format!("{text:?} is no name of a field")))
    };
    let at = match (&wire.json, &wire.header, &wire.trailer) {
        (Some(json), None, None) => match UsageSource::json(json) {
            Some(_) => UsageAt::Json(json.clone()),
            None => {
                let problem = format!("{json:?} is no pointer, such as /usage/total_tokens");
                return Err(wrong(problem));
            }
        },
        (None, Some(header), None) => UsageAt::Header(name(header)?),
        (None, None, Some(trailer)) => UsageAt::Trailer(name(trailer)?),
        _ => {
            let problem = "say one of json = \"/usage/total_tokens\", header = \"x-units\" and \
                           trailer = \"x-units\"";
            return Err(wrong(problem.to_owned()));
        }
    };
    let in_watt_hours = match wire.unit.as_deref() {
        None => false,
        Some("kWh") if unit == KWH => false,
        Some("Wh") if unit == KWH => true,
        Some(other) => {
            return Err(wrong(format!(
                "in = {other:?}: only kWh is told in Wh or kWh"
            )));
        }
    };
    let adds = wire.adds.unwrap_or(false);
    if adds && !matches!(at, UsageAt::Json(_)) {
        return Err(wrong("a field stands once: adds goes with json".to_owned()));
    }
    Ok(Usage {
        at,
        adds,
        in_watt_hours,
    })
}

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
    // Units with decimals are metered in steps of them.
    let steps = unit.parse().map_or(1, |unit: Unit| unit.steps());
    if fraction.per().checked_mul(steps).is_none() {
        return Err(wrong("it is too fine for a unit with decimals".to_owned()));
    }
    Ok(Meter {
        text: text.clone(),
        price: UnitPrice {
            amount: currency.units(fraction.units()),
            per: fraction.per(),
            unit: Some(unit),
        },
    })
}

/// What is counted for a word, and how many of it the word means.
fn unit(word: &str) -> Option<(String, u64)> {
    let (unit, steps) = match word {
        "request" | "requests" => (REQUEST, 1),
        "byte" | "bytes" => ("byte", 1),
        "KB" => ("byte", 1_000),
        "MB" => ("byte", 1_000_000),
        "event" | "events" => ("event", 1),
        "millisecond" | "milliseconds" => ("millisecond", 1),
        "second" | "seconds" => ("second", 1),
        "minute" | "minutes" => ("second", 60),
        "hour" | "hours" => ("second", 3_600),
        "token" | "tokens" => (TOKEN, 1),
        // A name of one's own: not one that could be taken for another.
        "KiB" | "MiB" | "GB" | "kwh" | "Wh" | "wh" | "ms" | "s" => return None,
        _ => (word, 1),
    };
    let known: Unit = unit.parse().ok()?;
    Some((known.as_str().to_owned(), steps))
}

/// A number above zero, in plain digits.
fn parse_count(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.then(|| text.parse().ok())??;
    (count > 0 && !text.starts_with('0')).then_some(count)
}
