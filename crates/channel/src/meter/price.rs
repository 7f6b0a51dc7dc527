//! A price as a fraction, and what is left over when it is charged.

use super::PRICE_BYTES_MAX;
use stiver_core::Currency;

/// What one step of a quantity costs: a fraction of base units, in lowest terms. It may be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Price {
    units: u128,
    per: u64,
}

/// What was counted and is not paid yet: less than one base unit.
///
/// Exact: `parts` out of `of`. Where it has to be kept, both numbers are; with
/// [`Carry::restore`] they come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Carry {
    parts: u64,
    of: u64,
}

/// What a reading costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metered {
    /// Whole base units, to be paid now.
    pub units: u128,
    /// What is carried into the next reading.
    pub carry: Carry,
}

impl Price {
    /// `units` base units for every `per` steps.
    ///
    /// # Errors
    /// [`PriceError::PerNothing`].
    pub fn new(units: u128, per: u64) -> Result<Self, PriceError> {
        if per == 0 {
            return Err(PriceError::PerNothing);
        }
        // A divisor of a u64 fits in one.
        let divisor = gcd(units, per.into());
        Ok(Self {
            units: units.checked_div(divisor).unwrap_or(0),
            per: u64::try_from(u128::from(per).checked_div(divisor).unwrap_or(1)).unwrap_or(per),
        })
    }

    /// Reads a decimal price such as `0.0000003` in `currency`, for every `per` steps. Exact, or
    /// an error; unlike an amount it may have more decimals than the currency.
    ///
    /// The form is `(0|[1-9][0-9]*)` and, if need be, a point with digits: at most
    /// [`PRICE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`PriceError`] says which rule is broken, or that the fraction does not fit.
    pub fn parse(text: &str, currency: &Currency, per: u64) -> Result<Self, PriceError> {
        if text.len() > PRICE_BYTES_MAX {
            return Err(PriceError::TooLong { bytes: text.len() });
        }
        if per == 0 {
            return Err(PriceError::PerNothing);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(PriceError::Syntax);
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(PriceError::Syntax);
        }
        let fraction = fraction.trim_end_matches('0');
        let mut units = 0_u128;
        for digit in whole.bytes().chain(fraction.bytes()) {
            units = units
                .checked_mul(10)
                .and_then(|units| units.checked_add(digit.wrapping_sub(b'0').into()))
                .ok_or(PriceError::TooLarge)?;
        }
        let decimals = usize::from(currency.decimals());
        let more = decimals.saturating_sub(fraction.len());
        let units = power_of_ten(more)
            .and_then(|scale| units.checked_mul(scale))
            .ok_or(PriceError::TooLarge)?;
        let fewer = fraction.len().saturating_sub(decimals);
        let parts = power_of_ten(fewer).ok_or(PriceError::TooFine)?;
        // The two denominators are reduced one after the other: their product need not fit.
        let divisor = gcd(units, parts);
        let units = units.checked_div(divisor).unwrap_or(0);
        let parts = parts.checked_div(divisor).unwrap_or(1);
        let divisor = gcd(units, per.into());
        let units = units.checked_div(divisor).unwrap_or(0);
        let per = u128::from(per).checked_div(divisor).unwrap_or(1);
        let per = parts.checked_mul(per).ok_or(PriceError::TooFine)?;
        Self::new(units, u64::try_from(per).map_err(|_| PriceError::TooFine)?)
    }

    /// Base units for every [`Price::per`] steps.
    #[must_use]
    pub fn units(&self) -> u128 {
        self.units
    }

    /// The steps that [`Price::units`] are for, at least 1.
    #[must_use]
    pub fn per(&self) -> u64 {
        self.per
    }

    /// Charges for `quantity` steps, and for what was carried.
    ///
    /// A carry at another price is taken over: exactly, or, where the new price knows no such
    /// fraction, rounded down to one that it does.
    ///
    /// # Errors
    /// [`PriceError::TooLarge`] when that is more than an amount can be.
    pub fn charge(&self, quantity: u64, carry: Carry) -> Result<Metered, PriceError> {
        let parts = self.parts(quantity, carry.rescale(self.per))?;
        let per = u128::from(self.per);
        let rest = parts.checked_rem(per).unwrap_or(0);
        Ok(Metered {
            units: parts.checked_div(per).unwrap_or(0),
            carry: Carry {
                parts: u64::try_from(rest).unwrap_or(0),
                of: self.per,
            },
        })
    }

    /// What `quantity` steps cost at most, in base units, whatever is carried: what has to be
    /// reserved for them, and what is at stake in them.
    ///
    /// # Errors
    /// [`PriceError::TooLarge`] when that is more than an amount can be.
    pub fn most(&self, quantity: u64) -> Result<u128, PriceError> {
        let almost = Carry {
            parts: self.per.saturating_sub(1),
            of: self.per,
        };
        self.charge(quantity, almost).map(|most| most.units)
    }

    /// How many steps `units` pay for, whatever is carried.
    #[must_use]
    pub fn covered(&self, units: u128) -> u64 {
        // The most q with most(q) <= units: q·price < units + 1/per, that is q·n <= units·per.
        let parts = units.saturating_mul(self.per.into());
        let steps = parts.checked_div(self.units).unwrap_or(u128::MAX);
        u64::try_from(steps).unwrap_or(u64::MAX)
    }

    fn parts(&self, quantity: u64, carried: u64) -> Result<u128, PriceError> {
        self.units
            .checked_mul(quantity.into())
            .and_then(|parts| parts.checked_add(carried.into()))
            .ok_or(PriceError::TooLarge)
    }
}

impl Default for Carry {
    /// Nothing.
    fn default() -> Self {
        Self { parts: 0, of: 1 }
    }
}

impl Carry {
    /// A carry as it was kept.
    ///
    /// # Errors
    /// [`PriceError::NoFraction`] unless `parts` is less than `of`.
    pub fn restore(parts: u64, of: u64) -> Result<Self, PriceError> {
        if parts >= of {
            return Err(PriceError::NoFraction { parts, of });
        }
        Ok(Self { parts, of })
    }

    /// How many parts.
    #[must_use]
    pub fn parts(&self) -> u64 {
        self.parts
    }

    /// How many parts make one base unit.
    #[must_use]
    pub fn of(&self) -> u64 {
        self.of
    }

    /// Joins what two readings left over: whole base units, 0 or 1, and what is left then.
    ///
    /// Exact where both are of one price, and where a u64 holds their common denominator. Else this
    /// one is rounded down to a fraction that the other knows.
    #[must_use]
    pub fn plus(self, other: Self) -> (u64, Self) {
        let common = u128::from(self.of)
            .checked_div(gcd(self.of.into(), other.of.into()))
            .and_then(|share| share.checked_mul(other.of.into()))
            .and_then(|of| u64::try_from(of).ok())
            .unwrap_or(other.of);
        let parts = u128::from(self.rescale(common)) + u128::from(other.rescale(common));
        let of = u128::from(common);
        let whole = u64::from(parts >= of);
        let rest = parts.checked_rem(of).unwrap_or(0);
        let divisor = gcd(rest, of);
        let reduced = |part: u128| {
            let part = part.checked_div(divisor).unwrap_or(0);
            u64::try_from(part).unwrap_or(0)
        };
        let carry = Self {
            parts: reduced(rest),
            of: reduced(of).max(1),
        };
        (whole, carry)
    }

    /// The carry in parts of another size, rounded down.
    fn rescale(&self, of: u64) -> u64 {
        if self.of == of {
            return self.parts;
        }
        let parts = u128::from(self.parts).saturating_mul(of.into());
        u64::try_from(parts.checked_div(self.of.into()).unwrap_or(0)).unwrap_or(0)
    }
}

fn power_of_ten(exponent: usize) -> Option<u128> {
    10_u128.checked_pow(u32::try_from(exponent).ok()?)
}

/// The greatest common divisor, at least 1.
fn gcd(a: u128, b: u128) -> u128 {
    let (mut a, mut b) = (a, b);
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a.max(1)
}

/// Why there is no such price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Something else than digits with at most one point between them.
    #[error("no price: write digits and at most one point, such as 0.0000003")]
    Syntax,
    /// Longer than [`PRICE_BYTES_MAX`].
    #[error("a price of {bytes} bytes is too long: the limit is {PRICE_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// For every 0 steps.
    #[error("a price for every 0 of something: use at least 1")]
    PerNothing,
    /// The fraction's denominator does not fit.
    #[error("the price is too fine: at most some 19 digits below the base unit are kept exactly")]
    TooFine,
    /// More base units than an amount can be.
    #[error("the price, or what it comes to, is more than an amount can be")]
    TooLarge,
    /// A carry that is one base unit or more.
    #[error("{parts} out of {of} is no fraction of a base unit")]
    NoFraction {
        /// How many parts.
        parts: u64,
        /// How many make one base unit.
        of: u64,
    },
}
