//! Money: integer base units of a named currency.
//!
//! Nothing here rounds and nothing wraps: what does not fit or does not match is an error.
//!
//! # Examples
//! ```
//! use stiver_core::{Amount, Currency};
//! let usd = Currency::new("usd", 6)?;
//! let price = usd.parse_decimal("0.01")?;
//! assert_eq!(price.units(), 10_000);
//! assert_eq!(price.to_wire(), "10000");
//! assert_eq!(price.to_string(), "0.01 USD");
//! let eur = Currency::new("eur", 2)?;
//! assert!(price.checked_add(&eur.units(1)).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::limits::{CURRENCY_BYTES_MAX, CURRENCY_DECIMALS_MAX, HUMAN_AMOUNT_BYTES_MAX};
use alloc::{
    format,
    string::{String, ToString as _},
    sync::Arc,
};
use core::cmp::Ordering;

/// Decimals that the human form keeps even when they are zeros, where the currency has them.
const DECIMALS_SHOWN_MIN: usize = 2;
/// Longest code that is taken for an acronym and shown in upper case, bytes.
const ACRONYM_BYTES_MAX: usize = 8;

/// A currency or token: its code on the wire and how many decimals its base unit has.
///
/// Two currencies are equal when both the code, with its case, and the decimals are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency {
    code: Arc<str>,
    decimals: u8,
}

impl Currency {
    /// Makes a currency from its wire code (1 to 128 visible ASCII characters, no `|`) and its
    /// decimals (0 to 38).
    ///
    /// ISO 4217 codes are lower case on the wire (`usd`); token ids keep their case.
    ///
    /// # Errors
    /// The first rule broken, see [`CurrencyError`].
    pub fn new(code: &str, decimals: u8) -> Result<Self, CurrencyError> {
        if code.is_empty() {
            return Err(CurrencyError::Empty);
        }
        if code.len() > CURRENCY_BYTES_MAX {
            return Err(CurrencyError::TooLong { bytes: code.len() });
        }
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'|';
        if let Some(offset) = code.bytes().position(|byte| !allowed(byte)) {
            return Err(CurrencyError::Character { offset });
        }
        if decimals > CURRENCY_DECIMALS_MAX {
            return Err(CurrencyError::Decimals { decimals });
        }
        Ok(Self {
            code: Arc::from(code),
            decimals,
        })
    }

    /// The code as it stands on the wire, for example `usd`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Decimals of the base unit: 6 means that 1 unit is a millionth.
    #[must_use]
    pub fn decimals(&self) -> u8 {
        self.decimals
    }

    /// Reads a human amount such as `0.01` in this currency. Exact, or an error.
    ///
    /// The form is `(0|[1-9][0-9]*)` and, if need be, a point with 1 to [`Currency::decimals`]
    /// digits. No sign, exponent, space or separator of thousands.
    ///
    /// # Errors
    /// [`AmountError::Empty`], [`AmountError::Character`], [`AmountError::LeadingZero`],
    /// [`AmountError::Point`], [`AmountError::TooManyDecimals`], [`AmountError::TooLarge`].
    pub fn parse_decimal(&self, text: &str) -> Result<Amount, AmountError> {
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text, None),
        };
        let mut units = if whole.is_empty() && fraction.is_some() {
            return Err(AmountError::Point { offset: 0 });
        } else {
            parse_base_units(whole, 128)?
        };
        let fraction_offset = whole.len().saturating_add(1);
        let fraction = match fraction {
            Some("") => {
                return Err(AmountError::Point {
                    offset: whole.len(),
                });
            }
            Some(digits) => digits,
            None => "",
        };
        if let Some((offset, found)) = first_non_digit(fraction) {
            let offset = fraction_offset.saturating_add(offset);
            return Err(AmountError::Character { offset, found });
        }
        let missing = usize::from(self.decimals)
            .checked_sub(fraction.len())
            .ok_or(AmountError::TooManyDecimals {
                decimals: fraction.len(),
                decimals_max: self.decimals,
            })?;
        let digits = fraction.bytes().map(|digit| digit.wrapping_sub(b'0'));
        for digit in digits.chain(core::iter::repeat_n(0, missing)) {
            units = push_digit(units, digit).ok_or(AmountError::TooLarge { bits: 128 })?;
        }
        Ok(self.units(units))
    }

    /// `units` base units of this currency.
    #[must_use]
    pub fn units(&self, units: u128) -> Amount {
        Amount {
            units,
            currency: self.clone(),
        }
    }

    /// Nothing, in this currency.
    #[must_use]
    pub fn zero(&self) -> Amount {
        self.units(0)
    }

    /// The code for people: short codes of letters in upper case, others as they stand, because
    /// the case of a token id can carry meaning.
    fn shown_code(&self) -> String {
        let acronym = self.code.len() <= ACRONYM_BYTES_MAX
            && self.code.bytes().all(|byte| byte.is_ascii_alphabetic());
        if acronym {
            self.code.to_ascii_uppercase()
        } else {
            self.code.to_string()
        }
    }
}

/// Prints the code for people: short codes of letters in upper case, others as they stand.
impl core::fmt::Display for Currency {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(&self.shown_code())
    }
}

/// An amount of money: base units and their currency. No total order across currencies.
/// `Display` prints the human form with the upper-case code, for example `0.01 USD`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Amount {
    units: u128,
    currency: Currency,
}

impl Amount {
    /// Base units.
    #[must_use]
    pub fn units(&self) -> u128 {
        self.units
    }

    /// The currency.
    #[must_use]
    pub fn currency(&self) -> &Currency {
        &self.currency
    }

    /// True for zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.units == 0
    }

    /// Sum, when both are of one currency and it fits.
    ///
    /// # Errors
    /// [`AmountError::CurrencyMismatch`], [`AmountError::Overflow`].
    pub fn checked_add(&self, other: &Self) -> Result<Self, AmountError> {
        self.same_currency(other)?;
        let units = self.units.checked_add(other.units);
        Ok(self.currency.units(units.ok_or(AmountError::Overflow)?))
    }

    /// Difference, when both are of one currency and it is not negative.
    ///
    /// # Errors
    /// [`AmountError::CurrencyMismatch`], [`AmountError::Negative`].
    pub fn checked_sub(&self, other: &Self) -> Result<Self, AmountError> {
        self.same_currency(other)?;
        let units = self.units.checked_sub(other.units);
        Ok(self.currency.units(units.ok_or(AmountError::Negative)?))
    }

    /// Product with a count.
    ///
    /// # Errors
    /// [`AmountError::Overflow`].
    pub fn checked_mul(&self, count: u128) -> Result<Self, AmountError> {
        let units = self.units.checked_mul(count);
        Ok(self.currency.units(units.ok_or(AmountError::Overflow)?))
    }

    /// Order, when both are of one currency.
    ///
    /// # Errors
    /// [`AmountError::CurrencyMismatch`].
    pub fn compare(&self, other: &Self) -> Result<Ordering, AmountError> {
        self.same_currency(other)?;
        Ok(self.units.cmp(&other.units))
    }

    /// The wire form: `0|[1-9][0-9]*`.
    #[must_use]
    pub fn to_wire(&self) -> String {
        self.units.to_string()
    }

    /// The human form without the currency, for example `0.01`. Zeros at the end are left out,
    /// but two decimals are kept where the currency has them. [`Currency::parse_decimal`] reads
    /// it back.
    #[must_use]
    pub fn to_decimal(&self) -> String {
        let decimals = usize::from(self.currency.decimals);
        let width = decimals.saturating_add(1);
        let digits = format!("{:0width$}", self.units);
        let (whole, fraction) = digits
            .split_at_checked(digits.len().saturating_sub(decimals))
            .unwrap_or((&digits, ""));
        let significant = fraction.trim_end_matches('0').len();
        let shown = significant.max(decimals.min(DECIMALS_SHOWN_MIN));
        match fraction.get(..shown) {
            None | Some("") => String::from(whole),
            Some(fraction) => format!("{whole}.{fraction}"),
        }
    }

    /// Reads a human amount with its currency, such as `0.01 USD`: a decimal as
    /// [`Currency::parse_decimal`] reads it, one space, a code.
    ///
    /// `lookup` is asked for the code as written, then in lower case; it need know only the wire
    /// form. What it answers must have that code but for its case.
    ///
    /// # Errors
    /// [`AmountError::NoCurrency`], [`AmountError::UnknownCurrency`], and those of
    /// [`Currency::parse_decimal`].
    ///
    /// # Examples
    /// ```
    /// use stiver_core::{Amount, Currency};
    /// let usd = Currency::new("usd", 6).ok();
    /// let lookup = |code: &str| usd.clone().filter(|usd| usd.code() == code);
    /// assert_eq!(Amount::parse_human("0.01 USD", lookup)?.units(), 10_000);
    /// # Ok::<(), stiver_core::amount::AmountError>(())
    /// ```
    pub fn parse_human(
        text: &str,
        lookup: impl Fn(&str) -> Option<Currency>,
    ) -> Result<Self, AmountError> {
        if text.len() > HUMAN_AMOUNT_BYTES_MAX {
            return Err(AmountError::TooLong { bytes: text.len() });
        }
        let (decimal, code) = text.split_once(' ').ok_or(AmountError::NoCurrency)?;
        if code.is_empty() {
            return Err(AmountError::NoCurrency);
        }
        let currency = lookup(code)
            .or_else(|| lookup(&code.to_ascii_lowercase()))
            .filter(|currency| currency.code.eq_ignore_ascii_case(code))
            .ok_or_else(|| AmountError::UnknownCurrency { code: code.into() })?;
        currency.parse_decimal(decimal)
    }

    /// Refuses two currencies.
    fn same_currency(&self, other: &Self) -> Result<(), AmountError> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(AmountError::CurrencyMismatch {
            left: self.currency.clone(),
            right: other.currency.clone(),
        })
    }
}

impl core::fmt::Display for Amount {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(&format!("{} {}", self.to_decimal(), self.currency))
    }
}

/// Reads base units from their wire form `0|[1-9][0-9]*`, refusing more than `bits` bits.
///
/// `bits` is the width of the method's integer, 1 to 128; more counts as 128.
///
/// # Errors
/// [`AmountError::Empty`], [`AmountError::Character`], [`AmountError::LeadingZero`],
/// [`AmountError::TooLarge`].
pub fn parse_base_units(text: &str, bits: u8) -> Result<u128, AmountError> {
    if text.is_empty() {
        return Err(AmountError::Empty);
    }
    if let Some((offset, found)) = first_non_digit(text) {
        return Err(AmountError::Character { offset, found });
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(AmountError::LeadingZero);
    }
    let too_large = AmountError::TooLarge {
        bits: bits.min(128),
    };
    let mut units = 0_u128;
    for digit in text.bytes().map(|digit| digit.wrapping_sub(b'0')) {
        let Some(more) = push_digit(units, digit) else {
            return Err(too_large);
        };
        units = more;
    }
    match units.checked_shr(u32::from(bits)) {
        Some(beyond) if beyond > 0 => Err(too_large),
        _ => Ok(units),
    }
}

/// `units * 10 + digit`, when it fits.
fn push_digit(units: u128, digit: u8) -> Option<u128> {
    units.checked_mul(10)?.checked_add(u128::from(digit))
}

/// The first character that is no ASCII digit, and where.
fn first_non_digit(text: &str) -> Option<(usize, char)> {
    text.char_indices()
        .find(|(_, found)| !found.is_ascii_digit())
}

/// Why an amount was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmountError {
    /// No digit at all.
    #[error("the amount is empty: write digits such as 10000")]
    Empty,
    /// A sign, exponent, space, separator or anything else that is no digit.
    #[error("{found:?} at byte {offset} of the amount is no digit: no sign, exponent or space")]
    Character {
        /// Where, in bytes from the start.
        offset: usize,
        /// What stands there.
        found: char,
    },
    /// A zero before other digits.
    #[error("the amount begins with a needless 0")]
    LeadingZero,
    /// A point without digits on both sides.
    #[error("the point at byte {offset} of the amount needs digits on both sides")]
    Point {
        /// Where, in bytes from the start.
        offset: usize,
    },
    /// More decimals than the currency has: the amount would have to be rounded.
    #[error("the amount has {decimals} decimals: the currency has {decimals_max}")]
    TooManyDecimals {
        /// Decimals written.
        decimals: usize,
        /// Decimals of the currency.
        decimals_max: u8,
    },
    /// More base units than the method's integer holds.
    #[error("the amount does not fit in {bits} bits of base units")]
    TooLarge {
        /// Width of the integer.
        bits: u8,
    },
    /// Longer than [`HUMAN_AMOUNT_BYTES_MAX`].
    #[error("an amount of {bytes} bytes is too long: the limit is {HUMAN_AMOUNT_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A human amount without a currency.
    #[error("the amount names no currency: write it as in 0.01 USD, with one space")]
    NoCurrency,
    /// A human amount in a currency that is not configured.
    #[error("the currency {:?} is not known here", crate::untrusted::Untrusted(.code))]
    UnknownCurrency {
        /// The code as written.
        code: String,
    },
    /// Two currencies, which do not mix.
    #[error(
        "{} with {} decimals and {} with {} decimals do not mix",
        .left.code(), .left.decimals(), .right.code(), .right.decimals()
    )]
    CurrencyMismatch {
        /// Currency of the left side.
        left: Currency,
        /// Currency of the right side.
        right: Currency,
    },
    /// A sum or product beyond 128 bits.
    #[error("the sum does not fit in 128 bits of base units")]
    Overflow,
    /// A difference below zero.
    #[error("the difference is negative")]
    Negative,
}

/// Why a currency was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CurrencyError {
    /// No character at all.
    #[error("the currency code is empty")]
    Empty,
    /// Longer than [`CURRENCY_BYTES_MAX`].
    #[error("a currency code of {bytes} bytes is too long: the limit is {CURRENCY_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Something else than visible ASCII without `|`.
    #[error("byte {offset} of the currency code is not allowed: use visible ASCII without |")]
    Character {
        /// Where, in bytes from the start.
        offset: usize,
    },
    /// More than [`CURRENCY_DECIMALS_MAX`].
    #[error("{decimals} decimals are too many: the limit is {CURRENCY_DECIMALS_MAX}")]
    Decimals {
        /// As asked for.
        decimals: u8,
    },
}

#[cfg(test)]
mod tests;
