//! Numbers: finite doubles, as RFC 8785 has them.

/// The largest magnitude up to which a double holds every integer: 2^53.
const EXACT_MAX: i64 = 1 << 53;

/// A finite double. Opaque, so that nobody computes money with it.
///
/// Minus zero is read as zero: RFC 8785 prints both as `0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(f64);

/// Lawful: a [`Number`] is never NaN.
impl Eq for Number {}

impl Number {
    /// An integer of magnitude up to 2^53, which a double holds exactly.
    #[must_use]
    pub fn from_integer(integer: i64) -> Option<Self> {
        if !(-EXACT_MAX..=EXACT_MAX).contains(&integer) {
            return None;
        }
        #[expect(
            clippy::as_conversions,
            reason = "no From exists; exact up to 2^53, which was checked"
        )]
        let double = integer as f64;
        Some(Self(double))
    }

    /// The integer, when it is one of magnitude up to 2^53.
    #[must_use]
    pub fn as_integer(self) -> Option<i64> {
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "no TryFrom exists; the cast saturates and the comparison finds a loss"
        )]
        let integer = self.0 as i64;
        Self::from_integer(integer)
            .filter(|number| *number == self)
            .map(|_| integer)
    }

    /// A double, if it is finite.
    pub(super) fn from_double(double: f64) -> Option<Self> {
        // Equal to zero is both zeros: keep the positive one.
        double
            .is_finite()
            .then_some(Self(if double == 0.0 { 0.0 } else { double }))
    }

    /// The double.
    pub(super) fn as_double(self) -> f64 {
        self.0
    }

    /// Reads an integer literal of any length, if it prints as it stands.
    ///
    /// RFC 8785 prints integers below 10^21 digit for digit by the shortest digits that read back
    /// as the same double. So this holds for every integer up to 2^53, and beyond for just those
    /// texts that a canonical printer writes.
    pub(super) fn from_exact_digits(literal: &str) -> Option<Self> {
        let number = Self::from_double(literal.parse().ok()?)?;
        let mut buffer = ryu_js::Buffer::new();
        (number.0 == 0.0 || buffer.format_finite(number.0) == literal).then_some(number)
    }
}

impl From<u32> for Number {
    fn from(integer: u32) -> Self {
        Self(f64::from(integer))
    }
}

impl From<i32> for Number {
    fn from(integer: i32) -> Self {
        Self(f64::from(integer))
    }
}

/// Prints as RFC 8785 does: the shortest digits that read back as the same double.
impl core::fmt::Display for Number {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(ryu_js::Buffer::new().format_finite(self.0))
    }
}
