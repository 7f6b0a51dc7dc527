//! `price` and `[route.pricing]`: what one request costs.

use std::{collections::BTreeMap, time::Duration};

use http::HeaderName;
use stiver_core::{Amount, Currency, amount::AmountError};
use toml::Spanned;

use super::{
    ConfigError,
    address::{self, HttpUrl},
    source::Source,
    wire,
};

/// Most terms, and most choices, of one route.
pub const PARTS_MAX: usize = 32;
/// Most values of one choice.
pub const VALUES_MAX: usize = 1024;
/// The most units that an amount can be for: TOML's largest number.
pub const UNITS_MAX: u64 = i64::MAX.unsigned_abs();
/// Longest JSON pointer or name of a query parameter, bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Headers that hold credentials.
const SECRET_HEADERS: [&str; 5] = [
    "authorization",
    "cookie",
    "payment-authorization",
    "proxy-authorization",
    "set-cookie",
];
/// How long a pricing hook may take unless the file says otherwise.
pub const HOOK_TIMEOUT_DEFAULT: Duration = Duration::from_millis(500);
/// The longest time a pricing hook may be given, milliseconds.
pub const HOOK_TIMEOUT_MS_MAX: u64 = 30_000;

/// What one request costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Price {
    /// Always the same, and more than nothing.
    Fixed(Amount),
    /// A function of the request.
    Computed(Box<Pricing>),
    /// What only a session can pay: see [`Priced::session`](super::Priced::session).
    Session,
}

impl Price {
    /// True when what a request costs depends on its body.
    pub fn depends_on_body(&self) -> bool {
        let Self::Computed(pricing) = self else {
            return false;
        };
        let in_body = |place: &Place| matches!(place, Place::Json(_));
        pricing.terms.iter().any(|term| match &term.of {
            Quantity::BodyBytes => true,
            Quantity::Told(place) => in_body(place),
        }) || pricing.choices.iter().any(|choice| in_body(&choice.of))
    }
}

/// A price that depends on the request: `base`, and the terms, and the choices, at most the cap;
/// or what the hook says, at most the cap. Every amount in it is of one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pricing {
    /// What every request costs before anything else; perhaps zero.
    pub base: Amount,
    /// The most that one request costs; more than nothing.
    pub cap: Amount,
    /// How fractions of the currency's smallest unit are rounded.
    pub round: Round,
    /// Amounts for each of something in the request.
    pub terms: Vec<Term>,
    /// Amounts that are looked up by a value in the request.
    pub choices: Vec<Choice>,
    /// An HTTP service that says the price. When there is one, there are no terms and choices.
    pub hook: Option<Hook>,
}

/// How fractions of the smallest unit are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Up.
    Up,
    /// Down.
    Down,
}

/// An amount for each `per` units of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What is counted.
    pub of: Quantity,
    /// The count when the request does not tell it; the request is refused when absent.
    pub default: Option<u64>,
    /// What `per` units cost.
    pub amount: Amount,
    /// Units, at least 1.
    pub per: u64,
}

/// What a term counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quantity {
    /// A number that the request tells.
    Told(Place),
    /// The bytes of the request's body.
    BodyBytes,
}

/// A place in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a JSON body: a pointer (RFC 6901), such as `/max_tokens`.
    Json(String),
    /// A query parameter, by its name.
    Query(String),
    /// A header.
    Header(HeaderName),
}

/// An amount by a value in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Where the value is.
    pub of: Place,
    /// The amounts of known values.
    pub values: BTreeMap<String, Amount>,
    /// The amount for every other value and for none; the request is refused when absent.
    pub otherwise: Option<Amount>,
}

/// An HTTP service that says what a request costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Where it is.
    pub url: HttpUrl,
    /// How long it may take.
    pub timeout: Duration,
    /// What happens when it gives no usable answer in time.
    pub on_failure: HookFailure,
    /// The header fields that it is told, and that a challenge is bound to. Never a credential.
    pub headers: Vec<HeaderName>,
}

/// What happens when a pricing hook gives no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookFailure {
    /// The request is refused.
    Deny,
    /// The request costs the cap.
    Cap,
}

/// A fixed price.
pub(super) fn fixed(
    source: &Source<'_>,
    price: &Spanned<String>,
    currencies: &[Currency],
) -> Result<Amount, ConfigError> {
    let amount = amount(source, "price", price, currencies)?;
    if amount.is_zero() {
        return Err(source.at(price, "the price is zero: say access = \"free\""));
    }
    Ok(amount)
}

/// A price by `[route.pricing]`.
pub(super) fn computed(
    source: &Source<'_>,
    pricing: &Spanned<wire::Pricing>,
    currencies: &[Currency],
) -> Result<Price, ConfigError> {
    let wire = pricing.get_ref();
    let parts = Parts { source, currencies };
    let offset = pricing.span().start;
    source.at_most("terms", wire.terms.len(), PARTS_MAX, offset)?;
    source.at_most("choices", wire.choices.len(), PARTS_MAX, offset)?;
    let terms: Vec<Term> = collect(&wire.terms, |term| parts.term(term))?;
    let choices: Vec<Choice> = collect(&wire.choices, |choice| parts.choice(choice))?;
    let hook = wire
        .hook
        .as_ref()
        .map(|hook| parts.hook(hook))
        .transpose()?;
    if hook.is_some() && !(terms.is_empty() && choices.is_empty()) {
        let problem = "a hook says the whole price: it goes with neither terms nor choices";
        return Err(source.at(pricing, problem));
    }
    if hook.is_none() && terms.is_empty() && choices.is_empty() {
        let problem = "[route.pricing] has no terms, choices or hook: a fixed price is \
                       price = \"0.01 USD\" in [[route]]";
        return Err(source.at(pricing, problem));
    }
    let given = |key, value: &Option<Spanned<String>>| match value {
        Some(value) => amount(source, key, value, currencies).map(Some),
        None => Ok(None),
    };
    let (base, cap) = (given("base", &wire.base)?, given("cap", &wire.cap)?);
    let bounded = hook.is_none() && terms.is_empty();
    let cap = match cap {
        Some(cap) => cap,
        None if bounded => dearest(base.as_ref(), &choices)
            .map_err(|error| source.at(pricing, error.to_string()))?,
        None => {
            let problem = "the price has no cap, and what is sent decides it: write \
                           cap = \"1 USD\"";
            return Err(source.at(pricing, problem));
        }
    };
    if cap.is_zero() {
        return Err(source.at(pricing, "the cap is zero: say access = \"free\""));
    }
    let base = base.unwrap_or_else(|| cap.currency().units(0));
    let rounds = [("up", Round::Up), ("down", Round::Down)];
    let round = source.word("round", wire.round.as_ref(), Round::Up, &rounds)?;
    let all = Pricing {
        base,
        cap,
        round,
        terms,
        choices,
        hook,
    };
    one_currency(&all).map_err(|error| source.at(pricing, error.to_string()))?;
    if all.base.units() > all.cap.units() {
        return Err(source.at(pricing, "the base is above the cap"));
    }
    Ok(Price::Computed(Box::new(all)))
}

fn collect<W, T>(
    parts: &[Spanned<W>],
    resolve: impl Fn(&Spanned<W>) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    parts.iter().map(resolve).collect()
}

/// The most that the base and the choices can come to.
fn dearest(base: Option<&Amount>, choices: &[Choice]) -> Result<Amount, AmountError> {
    let mut sum = base.cloned();
    for choice in choices {
        let amounts = choice.values.values().chain(&choice.otherwise);
        let Some(most) = amounts.max_by_key(|amount| amount.units()) else {
            continue;
        };
        sum = Some(match sum {
            Some(sum) => sum.checked_add(most)?,
            None => most.clone(),
        });
    }
    sum.ok_or(AmountError::NoCurrency)
}

/// Refuses a second currency.
fn one_currency(pricing: &Pricing) -> Result<(), AmountError> {
    let terms = pricing.terms.iter().map(|term| &term.amount);
    let choices = pricing.choices.iter();
    let choices = choices.flat_map(|choice| choice.values.values().chain(&choice.otherwise));
    let zero = pricing.cap.currency().units(0);
    for amount in terms.chain(choices) {
        // Only the currencies are compared.
        amount.currency().units(0).checked_add(&zero)?;
    }
    pricing
        .base
        .currency()
        .units(0)
        .checked_add(&zero)
        .map(|_| ())
}

/// What parts of a price are read with.
struct Parts<'a> {
    source: &'a Source<'a>,
    currencies: &'a [Currency],
}

impl Parts<'_> {
    fn term(&self, wire: &Spanned<wire::Term>) -> Result<Term, ConfigError> {
        let term = wire.get_ref();
        let told = [&term.json, &term.query, &term.header];
        let of = match &term.body_bytes {
            Some(flag) if !*flag.get_ref() => {
                return Err(self.source.at(flag, "body_bytes is true or left out"));
            }
            Some(flag) if told.iter().any(|key| key.is_some()) || term.default.is_some() => {
                let problem = "body_bytes goes with none of json, query, header and default";
                return Err(self.source.at(flag, problem));
            }
            Some(_) => Quantity::BodyBytes,
            None => Quantity::Told(self.place(wire.span().start, told, "body_bytes")?),
        };
        let per = self
            .source
            .bounded("per", term.per.as_ref(), 1, (1, UNITS_MAX))?;
        Ok(Term {
            of,
            default: term.default,
            amount: amount(self.source, "amount", &term.amount, self.currencies)?,
            per,
        })
    }

    fn choice(&self, wire: &Spanned<wire::Choice>) -> Result<Choice, ConfigError> {
        let choice = wire.get_ref();
        let told = [&choice.json, &choice.query, &choice.header];
        let list = choice.values.get_ref();
        let offset = choice.values.span().start;
        if list.is_empty() {
            let problem = "values is empty: write values = { small = \"0.01 USD\" }";
            return Err(self.source.error(offset, problem));
        }
        self.source
            .at_most("values", list.len(), VALUES_MAX, offset)?;
        let mut values = BTreeMap::new();
        for (name, value) in list {
            let amount = amount(self.source, name, value, self.currencies)?;
            values.insert(name.clone(), amount);
        }
        let otherwise = choice.otherwise.as_ref();
        Ok(Choice {
            of: self.place(wire.span().start, told, "")?,
            values,
            otherwise: otherwise
                .map(|value| amount(self.source, "otherwise", value, self.currencies))
                .transpose()?,
        })
    }

    fn place(
        &self,
        offset: usize,
        [json, query, header]: [&Option<Spanned<String>>; 3],
        or: &str,
    ) -> Result<Place, ConfigError> {
        let (key, place) = match (json, query, header) {
            (Some(json), None, None) => (json, Place::Json(json.get_ref().clone())),
            (None, Some(query), None) => (query, Place::Query(query.get_ref().clone())),
            (None, None, Some(header)) => {
                let text = header.get_ref();
                let name = text.parse().map_err(|_| {
                    let problem = format!("header {text:?} is no name of a header");
                    self.source.at(header, problem)
                })?;
                (header, Place::Header(name))
            }
            _ => {
                let or = if or.is_empty() {
                    ""
                } else {
                    ", body_bytes = true"
                };
                let problem = format!(
                    "say where the value is, by one of json = \"/max_tokens\", query = \"n\", \
                     header = \"x-units\"{or}"
                );
                return Err(self.source.error(offset, problem));
            }
        };
        if key.get_ref().len() > NAME_BYTES_MAX {
            let problem = format!("at most {NAME_BYTES_MAX} bytes");
            return Err(self.source.at(key, problem));
        }
        match &place {
            Place::Json(pointer) if !is_pointer(pointer) => {
                let problem =
                    format!("json {pointer:?} is no pointer: write it as \"/max_tokens\"");
                Err(self.source.at(key, problem))
            }
            Place::Query(name) if name.is_empty() => {
                Err(self.source.at(key, "query names no parameter"))
            }
            _ => Ok(place),
        }
    }

    fn hook(&self, wire: &wire::Hook) -> Result<Hook, ConfigError> {
        let timeout = wire.timeout_ms.as_ref();
        let default = u64::try_from(HOOK_TIMEOUT_DEFAULT.as_millis()).unwrap_or(u64::MAX);
        let range = (1, HOOK_TIMEOUT_MS_MAX);
        let timeout = self.source.bounded("timeout_ms", timeout, default, range)?;
        let failures = [("deny", HookFailure::Deny), ("cap", HookFailure::Cap)];
        let on_failure = wire.on_failure.as_ref();
        let example = "http://127.0.0.1:9000/price";
        Ok(Hook {
            url: address::url(self.source, "url", &wire.url, example)?,
            timeout: Duration::from_millis(timeout),
            on_failure: self
                .source
                .word("on_failure", on_failure, HookFailure::Deny, &failures)?,
            headers: self.hook_headers(wire.headers.as_ref())?,
        })
    }

    fn hook_headers(
        &self,
        list: Option<&Spanned<Vec<String>>>,
    ) -> Result<Vec<HeaderName>, ConfigError> {
        let Some(list) = list else {
            return Ok(Vec::new());
        };
        let names = list.get_ref();
        let offset = list.span().start;
        self.source
            .at_most("headers", names.len(), PARTS_MAX, offset)?;
        let mut headers: Vec<HeaderName> = Vec::with_capacity(names.len());
        for text in names {
            let name: HeaderName = text.parse().map_err(|_| {
                let problem = format!("header {text:?} is no name of a header");
                self.source.at(list, problem)
            })?;
            if SECRET_HEADERS.contains(&name.as_str()) {
                let problem = format!("header {text:?} holds credentials: no hook is told it");
                return Err(self.source.at(list, problem));
            }
            headers.push(name);
        }
        headers.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        headers.dedup();
        Ok(headers)
    }
}

/// A JSON pointer to something inside the document (RFC 6901, section 3).
fn is_pointer(text: &str) -> bool {
    let escapes_are_good = text
        .split('~')
        .skip(1)
        .all(|after| after.starts_with(['0', '1']));
    text.starts_with('/') && escapes_are_good
}

/// A currency by its code, in any case.
pub(super) fn currency<'c>(code: &str, currencies: &'c [Currency]) -> Option<&'c Currency> {
    let mut known = currencies.iter();
    known.find(|known| known.code().eq_ignore_ascii_case(code))
}

/// An amount of the file.
pub(super) fn amount(
    source: &Source<'_>,
    key: &str,
    value: &Spanned<String>,
    currencies: &[Currency],
) -> Result<Amount, ConfigError> {
    let text = value.get_ref();
    let find = |code: &str| currency(code, currencies).cloned();
    Amount::parse_human(text, find)
        .map_err(|error| source.at(value, format!("{key} {text:?}: {error}")))
}
