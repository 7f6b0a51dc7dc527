//! Meters: what is counted, what it costs, and charging for it without losing a fraction.
//!
//! A [`Meter`] counts one thing in whole steps, at a [`Price`] that is a fraction of two whole
//! numbers of base units. What a reading costs beyond whole base units is carried as an exact
//! [`Carry`] into the next, so that however a quantity is cut into readings, the same is paid:
//! the price times all of it, rounded down once. A price far below one base unit is never rounded
//! away, and nothing drifts.
//!
//! # What either side can lose
//! [`Price::most`] is what a quantity can cost at most in base units, whatever is carried: with the
//! quantity that is served before the next voucher is looked at, it is the payee's window; with
//! the quantity that is paid in advance, the payer's. What is carried when a channel closes is
//! below one base unit for each meter, and is the payer's.
//!
//! # Examples
//! ```
//! use stiver_channel::meter::{Carry, Meter, Price, Unit};
//! use stiver_core::Currency;
//! let usd = Currency::new("usd", 6)?;
//! // Three ten-millionths of a dollar: a third of a base unit, nearly.
//! let price = Price::parse("0.0000003", &usd, 1)?;
//! let meter = Meter::new("answer", Unit::Token, price)?;
//! let mut carry = Carry::default();
//! let mut paid = 0;
//! for _ in 0..1000 {
//!     let metered = meter.price().charge(1, carry)?;
//!     paid += metered.units;
//!     carry = metered.carry;
//! }
//! assert_eq!(paid, 300);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod price;
mod quantity;
mod tab;
mod unit;

pub use price::{Carry, Metered, Price, PriceError};
pub use quantity::{
    QUANTITY_BYTES_MAX, QUANTITY_DECIMALS, Quantity, QuantityError, REPORT_UNITS_MAX,
};
pub use tab::{Reading, Tab, TabError, Total};
pub use unit::{Unit, UnitError};

use alloc::sync::Arc;

/// Longest id of a meter and longest name of a custom unit, bytes.
pub const NAME_BYTES_MAX: usize = 32;
/// Most meters that one channel is charged by.
pub const METERS_MAX: usize = 16;
/// Longest text of a price, bytes: 39 digits, a point, and 38 digits more.
pub const PRICE_BYTES_MAX: usize = 78;

/// One thing that is counted and charged for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    id: Arc<str>,
    unit: Unit,
    price: Price,
}

impl Meter {
    /// A meter.
    ///
    /// The id tells it from the others of a channel: lower-case letters, digits, `_` and `-`,
    /// a letter first, at most [`NAME_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`UnitError`] when the id is none.
    pub fn new(id: &str, unit: Unit, price: Price) -> Result<Self, UnitError> {
        unit::check_name(id)?;
        Ok(Self {
            id: id.into(),
            unit,
            price,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it counts.
    #[must_use]
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// What a step costs.
    #[must_use]
    pub fn price(&self) -> &Price {
        &self.price
    }
}

#[cfg(test)]
mod tests;
