//! `price = "... per request"` and `[route.session]`: what a session pays.

use stiver_core::{Amount, Currency};
use toml::Spanned;

use super::{ConfigError, pricing, source::Source, wire};

/// What a price of a session says after its amount.
const PER_REQUEST: &str = " per request";

/// How sessions pay for a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What each request costs; more than nothing.
    pub price: Amount,
    /// The deposit that challenges suggest.
    pub suggested_deposit: Option<Amount>,
    /// The least by which a voucher must exceed the one before it; zero for none.
    pub min_voucher: Amount,
}

/// The session of a route with a price per request, or with `[route.session]` beside its price.
pub(super) fn resolve(
    source: &Source<'_>,
    price: &Spanned<String>,
    wire: Option<&Spanned<wire::Session>>,
    currencies: &[Currency],
) -> Result<(Amount, Option<Session>), ConfigError> {
    let text = price.get_ref();
    let plain = text.strip_suffix(PER_REQUEST);
    let amount = Spanned::new(price.span(), plain.unwrap_or(text).to_owned());
    let price = pricing::fixed(source, &amount, currencies)?;
    if plain.is_none() && wire.is_none() {
        return Ok((price, None));
    }
    let session = wire.map(Spanned::get_ref);
    let given = |key: &str, value: Option<&Spanned<String>>| match value {
        None => Ok(None),
        Some(value) => {
            let amount = pricing::amount(source, key, value, currencies)?;
            if amount.currency() != price.currency() {
                let problem = format!("{key} is of another currency than the price");
                return Err(source.at(value, problem));
            }
            if amount.is_zero() {
                return Err(source.at(value, format!("{key} is zero: leave it out")));
            }
            Ok(Some(amount))
        }
    };
    let suggested = session.and_then(|session| session.suggested_deposit.as_ref());
    let step = session.and_then(|session| session.min_voucher.as_ref());
    let step = given("min_voucher", step)?;
    let session = Session {
        suggested_deposit: given("suggested_deposit", suggested)?,
        min_voucher: step.unwrap_or_else(|| price.currency().units(0)),
        price: price.clone(),
    };
    Ok((price, Some(session)))
}
