//! Quantities with decimals, exactly.

use super::Unit;
use core::{fmt, str::FromStr};

/// Digits behind the point that a quantity of a unit with decimals may have: see
/// [`Unit::decimals`].
pub const QUANTITY_DECIMALS: u8 = 9;
/// The most units of something that one report may say, whole ones.
pub const REPORT_UNITS_MAX: u64 = 1_000_000_000;
/// Longest text of a quantity, bytes.
pub const QUANTITY_BYTES_MAX: usize = 32;

/// So much of something: a decimal number, exact, never below zero.
///
/// Text form: `(0|[1-9][0-9]*)` and, if need be, a point with digits: `12`, `0.25`. No sign, no
/// exponent.
///
/// ```
/// use stiver_channel::meter::{Quantity, Unit};
/// let reading: Quantity = "0.25".parse()?;
/// assert_eq!(reading.steps(&Unit::KilowattHour)?, 250_000_000);
/// // 250 watt-hours are the same.
/// assert_eq!(Quantity::new(250, 3), reading);
/// assert!(reading.steps(&Unit::Token).is_err());
/// # Ok::<(), stiver_channel::meter::QuantityError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quantity {
    digits: u64,
    decimals: u8,
}

impl Quantity {
    /// `digits` with a point before the last `decimals` of them: 250 with 3 decimals are 0.25.
    #[must_use]
    pub fn new(digits: u64, decimals: u8) -> Self {
        let mut it = Self { digits, decimals };
        while it.decimals > 0 && it.digits.is_multiple_of(10) {
            it.digits = it.digits.checked_div(10).unwrap_or(0);
            it.decimals = it.decimals.saturating_sub(1);
        }
        it
    }

    /// A whole number.
    #[must_use]
    pub fn whole(units: u64) -> Self {
        Self::new(units, 0)
    }

    /// A 10 to the `places`th of it: what is counted in watt-hours, in kilowatt-hours.
    #[must_use]
    pub fn scaled_down(self, places: u8) -> Self {
        Self::new(self.digits, self.decimals.saturating_add(places))
    }

    /// The steps by which a meter of this unit counts it.
    ///
    /// # Errors
    /// [`QuantityError`] when it is finer than the unit's decimals, or more than
    /// [`REPORT_UNITS_MAX`].
    pub fn steps(self, unit: &Unit) -> Result<u64, QuantityError> {
        let finer = unit
            .decimals()
            .checked_sub(self.decimals)
            .ok_or(QuantityError::TooFine)?;
        let steps = 10_u64
            .checked_pow(finer.into())
            .and_then(|scale| self.digits.checked_mul(scale))
            .ok_or(QuantityError::TooLarge)?;
        if steps > REPORT_UNITS_MAX.saturating_mul(unit.steps()) {
            return Err(QuantityError::TooLarge);
        }
        Ok(steps)
    }

    /// What so many steps of a meter of this unit are.
    #[must_use]
    pub fn of_steps(steps: u64, unit: &Unit) -> Self {
        Self::new(steps, unit.decimals())
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.len() > QUANTITY_BYTES_MAX {
            return Err(QuantityError::TooLarge);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) {
            return Err(QuantityError::Syntax);
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(QuantityError::Syntax);
        }
        let fraction = fraction.trim_end_matches('0');
        let decimals = u8::try_from(fraction.len()).unwrap_or(u8::MAX);
        if decimals > QUANTITY_DECIMALS {
            return Err(QuantityError::TooFine);
        }
        let mut digits = 0_u64;
        for byte in whole.bytes().chain(fraction.bytes()) {
            digits = digits
                .checked_mul(10)
                .and_then(|digits| digits.checked_add(byte.wrapping_sub(b'0').into()))
                .ok_or(QuantityError::TooLarge)?;
        }
        Ok(Self::new(digits, decimals))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10_u64.checked_pow(self.decimals.into());
        match scale.filter(|_| self.decimals > 0) {
            None if self.decimals == 0 => write!(f, "{}", self.digits),
            None => write!(f, "0.{:0width$}", self.digits, width = self.decimals.into()),
            Some(scale) => {
                let whole = self.digits.checked_div(scale).unwrap_or(0);
                let rest = self.digits.checked_rem(scale).unwrap_or(0);
                write!(f, "{whole}.{rest:0width$}", width = self.decimals.into())
            }
        }
    }
}

impl Unit {
    /// Digits behind the point that a quantity of it may have. None of what is counted one by one;
    /// [`QUANTITY_DECIMALS`] of kilowatt-hours and of units with a name of their own.
    #[must_use]
    pub fn decimals(&self) -> u8 {
        match self {
            Self::KilowattHour => QUANTITY_DECIMALS,
            Self::Custom(_) if self.as_str() != "event" => QUANTITY_DECIMALS,
            _ => 0,
        }
    }

    /// The steps of a meter that one of it is: meters count whole steps.
    #[must_use]
    pub fn steps(&self) -> u64 {
        10_u64.saturating_pow(self.decimals().into())
    }
}

/// Why a text or a number is no quantity of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Something else than digits with at most one point between them.
    #[error("no quantity: write digits and at most one point, such as 0.25")]
    Syntax,
    /// More digits behind the point than are counted.
    #[error("the quantity is finer than what is counted")]
    TooFine,
    /// More than [`REPORT_UNITS_MAX`].
    #[error("the quantity is more than {REPORT_UNITS_MAX} units, the most that is taken at once")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn decimal_texts_are_read_exactly_or_not_at_all() {
        for (text, digits, decimals) in [
            ("0", 0, 0),
            ("12", 12, 0),
            ("0.25", 25, 2),
            ("0.250", 25, 2),
            ("1.0", 1, 0),
            ("0.000000001", 1, 9),
            ("1000000000", 1_000_000_000, 0),
        ] {
            let read: Quantity = text.parse().unwrap();
            assert_eq!((read.digits, read.decimals), (digits, decimals), "{text}");
        }
        for (text, error) in [
            ("", QuantityError::Syntax),
            ("-1", QuantityError::Syntax),
            ("+1", QuantityError::Syntax),
            ("1e3", QuantityError::Syntax),
            ("01", QuantityError::Syntax),
            (".5", QuantityError::Syntax),
            ("5.", QuantityError::Syntax),
            ("1.2.3", QuantityError::Syntax),
            ("NaN", QuantityError::Syntax),
            ("0.0000000001", QuantityError::TooFine),
            ("18446744073709551616", QuantityError::TooLarge),
            ("000000000000000000000000000000000", QuantityError::TooLarge),
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn steps_are_whole_and_bounded() {
        let kwh = Unit::KilowattHour;
        assert_eq!(Quantity::new(1, 9).steps(&kwh), Ok(1));
        assert_eq!(
            Quantity::new(1, 10).steps(&kwh),
            Err(QuantityError::TooFine)
        );
        let most = Quantity::whole(REPORT_UNITS_MAX);
        assert_eq!(most.steps(&kwh), Ok(1_000_000_000_000_000_000));
        assert_eq!(most.steps(&Unit::Token), Ok(REPORT_UNITS_MAX));
        for unit in [&kwh, &Unit::Token] {
            let over = Quantity::whole(REPORT_UNITS_MAX + 1);
            assert_eq!(over.steps(unit), Err(QuantityError::TooLarge));
        }
        let half = Quantity::new(5, 1);
        assert_eq!(half.steps(&Unit::Token), Err(QuantityError::TooFine));
        assert_eq!(half.steps(&"image".parse().unwrap()), Ok(500_000_000));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(digits in any::<u64>(), decimals in 0_u8..=9) {
            let quantity = Quantity::new(digits, decimals);
            prop_assert_eq!(quantity.to_string().parse::<Quantity>(), Ok(quantity));
            let steps = digits >> 4;
            let again = Quantity::of_steps(steps, &Unit::KilowattHour);
            if let Ok(counted) = again.steps(&Unit::KilowattHour) {
                prop_assert_eq!(counted, steps);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
