//! Money: integer base units of a named currency.

use alloc::{string::String, sync::Arc};

/// A currency or token: its code on the wire and how many decimals its base unit has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency {
    code: Arc<str>,
    decimals: u8,
}

impl Currency {
    /// Makes a currency from its wire code (1 to 128 visible ASCII characters, no `|`) and its decimals.
    pub fn new(code: &str, decimals: u8) -> Result<Self, CurrencyError> {
        todo!()
    }
    /// The code as it stands on the wire, for example `usd`.
    pub fn code(&self) -> &str {
        &self.code
    }
    /// Decimals of the base unit: 6 means that 1 unit is a millionth.
    pub fn decimals(&self) -> u8 {
        self.decimals
    }
    /// Reads a human amount such as `0.01` in this currency. Exact, or an error.
    pub fn parse_decimal(&self, text: &str) -> Result<Amount, AmountError> {
        todo!()
    }
    /// `units` base units of this currency.
    pub fn units(&self, units: u128) -> Amount {
        Amount {
            units,
            currency: self.clone(),
        }
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
    pub fn units(&self) -> u128 {
        self.units
    }
    /// The currency.
    pub fn currency(&self) -> &Currency {
        &self.currency
    }
    /// True for zero.
    pub fn is_zero(&self) -> bool {
        self.units == 0
    }
    /// Sum, when both are of one currency and it fits.
    pub fn checked_add(&self, other: &Self) -> Result<Self, AmountError> {
        todo!()
    }
    /// Difference, when both are of one currency and it is not negative.
    pub fn checked_sub(&self, other: &Self) -> Result<Self, AmountError> {
        todo!()
    }
    /// Product with a count.
    pub fn checked_mul(&self, count: u128) -> Result<Self, AmountError> {
        todo!()
    }
    /// Order, when both are of one currency.
    pub fn compare(&self, other: &Self) -> Result<core::cmp::Ordering, AmountError> {
        todo!()
    }
    /// The wire form: `0|[1-9][0-9]*`.
    pub fn to_wire(&self) -> String {
        todo!()
    }
}

/// Reads base units from their wire form `0|[1-9][0-9]*`, refusing more than `bits` bits (1..=128).
pub fn parse_base_units(text: &str, bits: u8) -> Result<u128, AmountError> {
    todo!()
}

/// Why an amount was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmountError {
    /// Placeholder, the implementer completes this list.
    #[error("the amount is not digits")]
    NotDigits,
}

/// Why a currency was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CurrencyError {
    /// Placeholder, the implementer completes this list.
    #[error("the currency code is empty")]
    Empty,
}
