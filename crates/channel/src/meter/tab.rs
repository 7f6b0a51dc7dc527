//! Several meters of one channel.

use super::{Carry, METERS_MAX, Meter, Price, PriceError};
use alloc::vec::Vec;

/// The meters of one channel, and what each carries.
///
/// It is plain data, to be kept beside the channel: [`Tab::carries`] says what to keep. Changes of
/// price begin a new segment: [`Tab::set_price`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tab {
    meters: Vec<(Meter, Carry)>,
}

/// What one meter counted since it was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading<'a> {
    /// The meter's id.
    pub meter: &'a str,
    /// How many steps.
    pub quantity: u64,
}

/// What readings cost, to be settled by [`Tab::commit`] once it is paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Whole base units, to be paid now.
    pub units: u128,
    carries: Vec<Carry>,
}

impl Tab {
    /// Meters that carry nothing yet.
    ///
    /// # Errors
    /// [`TabError`] when there are too many, or two of one id.
    pub fn new(meters: impl IntoIterator<Item = Meter>) -> Result<Self, TabError> {
        let mut tab = Self { meters: Vec::new() };
        for meter in meters {
            if tab.meters.len() == METERS_MAX {
                return Err(TabError::TooMany);
            }
            if tab.position(meter.id()).is_some() {
                return Err(TabError::Twice);
            }
            tab.meters.push((meter, Carry::default()));
        }
        Ok(tab)
    }

    /// The meters.
    pub fn meters(&self) -> impl Iterator<Item = &Meter> {
        self.meters.iter().map(|(meter, _)| meter)
    }

    /// What each meter carries, by id.
    pub fn carries(&self) -> impl Iterator<Item = (&str, Carry)> {
        self.meters
            .iter()
            .map(|(meter, carry)| (meter.id(), *carry))
    }

    /// Gives a meter what it carried when it was kept.
    ///
    /// # Errors
    /// [`TabError::Unknown`].
    pub fn restore(&mut self, meter: &str, carry: Carry) -> Result<(), TabError> {
        self.entry(meter)?.1 = carry;
        Ok(())
    }

    /// Changes a meter's price from now on. What it carries stays.
    ///
    /// # Errors
    /// [`TabError::Unknown`].
    pub fn set_price(&mut self, meter: &str, price: Price) -> Result<(), TabError> {
        self.entry(meter)?.0.price = price;
        Ok(())
    }

    /// What readings cost. Changes nothing: what is carried moves with [`Tab::commit`], when the
    /// units are paid.
    ///
    /// # Errors
    /// [`TabError::Unknown`] for a meter that is not here, [`TabError::Price`] when the sum is
    /// more than an amount can be.
    pub fn charge(&self, readings: &[Reading<'_>]) -> Result<Total, TabError> {
        let mut carries: Vec<Carry> = self.meters.iter().map(|(_, carry)| *carry).collect();
        let mut units = 0_u128;
        for reading in readings {
            let at = self.position(reading.meter).ok_or(TabError::Unknown)?;
            let (Some((meter, _)), Some(carry)) = (self.meters.get(at), carries.get_mut(at)) else {
                return Err(TabError::Unknown);
            };
            let metered = meter.price.charge(reading.quantity, *carry)?;
            *carry = metered.carry;
            units = units
                .checked_add(metered.units)
                .ok_or(PriceError::TooLarge)?;
        }
        Ok(Total { units, carries })
    }

    /// What one reading of every meter costs, in the order of the meters; a missing one is 0. As
    /// [`Tab::charge`], without looking anything up.
    ///
    /// # Errors
    /// [`TabError::Price`].
    pub fn charge_each(&self, quantities: &[u64]) -> Result<Total, TabError> {
        let mut carries = Vec::with_capacity(self.meters.len());
        let mut units = 0_u128;
        let quantities = quantities.iter().copied().chain(core::iter::repeat(0));
        for ((meter, carry), quantity) in self.meters.iter().zip(quantities) {
            let metered = meter.price.charge(quantity, *carry)?;
            carries.push(metered.carry);
            units = units
                .checked_add(metered.units)
                .ok_or(PriceError::TooLarge)?;
        }
        Ok(Total { units, carries })
    }

    /// Takes over what a charge leaves over.
    pub fn commit(&mut self, total: &Total) {
        for ((_, carry), new) in self.meters.iter_mut().zip(&total.carries) {
            *carry = *new;
        }
    }

    /// What readings cost at most, whatever is carried: what to reserve for them, and what is at
    /// stake in them.
    ///
    /// # Errors
    /// As [`Tab::charge`].
    pub fn most(&self, readings: &[Reading<'_>]) -> Result<u128, TabError> {
        let mut units = 0_u128;
        for reading in readings {
            let at = self.position(reading.meter).ok_or(TabError::Unknown)?;
            let (meter, _) = self.meters.get(at).ok_or(TabError::Unknown)?;
            units = units
                .checked_add(meter.price.most(reading.quantity)?)
                .ok_or(PriceError::TooLarge)?;
        }
        Ok(units)
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.meters.iter().position(|(meter, _)| meter.id() == id)
    }

    fn entry(&mut self, id: &str) -> Result<&mut (Meter, Carry), TabError> {
        let mut entries = self.meters.iter_mut();
        entries
            .find(|(meter, _)| meter.id() == id)
            .ok_or(TabError::Unknown)
    }
}

/// Why meters cannot be read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TabError {
    /// More than [`METERS_MAX`].
    #[error("too many meters: the limit is {METERS_MAX}")]
    TooMany,
    /// Two meters of one id.
    #[error("two meters have the same id")]
    Twice,
    /// A reading of a meter that is not here.
    #[error("there is no meter of that id")]
    Unknown,
    /// The price or the sum does not fit.
    #[error("the readings cannot be charged for")]
    Price(#[from] PriceError),
}
