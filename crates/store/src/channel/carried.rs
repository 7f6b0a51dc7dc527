//! What the meters of a channel have left over from one request to the next.

use stiver_channel::meter::Carry;

/// Fractions of a base unit that were served and are not spent yet.
///
/// So a price below one base unit is never rounded away: what a request costs beyond whole base
/// units is kept here, and taken once it makes one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Whole base units that were not authorised when they came together. They are taken first.
    pub owed: u64,
    /// A fraction for each meter, by name, oldest first. None is zero.
    pub meters: Vec<Left>,
}

/// What one meter has left over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The meter's name: at most [`METER_NAME_BYTES_MAX`](crate::limits::METER_NAME_BYTES_MAX).
    pub meter: Box<str>,
    /// Less than one base unit.
    pub carry: Carry,
}

impl Carried {
    /// True when nothing is carried.
    pub fn is_empty(&self) -> bool {
        self.owed == 0 && self.meters.is_empty()
    }

    /// Adds what was left over. Beyond `most` meters, the one that was added first is let go: less
    /// than one base unit, in the payer's favour.
    pub(crate) fn add(&mut self, left: &[Left], most: usize) {
        for it in left {
            let known = self.meters.iter().position(|known| known.meter == it.meter);
            let before = known.map(|at| self.meters.remove(at).carry);
            let (whole, carry) = before.unwrap_or_default().plus(it.carry);
            self.owed = self.owed.saturating_add(whole);
            if carry.parts() > 0 {
                let meter = it.meter.clone();
                self.meters.push(Left { meter, carry });
            }
        }
        let over = self.meters.len().saturating_sub(most);
        self.meters.drain(..over);
    }
}
