//! What is counted.

use super::NAME_BYTES_MAX;
use alloc::sync::Arc;
use core::{fmt, str::FromStr};

/// What a meter counts, in whole steps.
///
/// Text form: `request`, `byte`, `second`, `millisecond`, `token`, `kWh`, or a name of its own:
/// lower-case letters, digits, `_` and `-`, a letter first, at most 32 bytes.
///
/// ```
/// use stiver_channel::meter::Unit;
/// assert_eq!("kWh".parse::<Unit>()?, Unit::KilowattHour);
/// assert_eq!("image".parse::<Unit>()?.to_string(), "image");
/// assert!("Image 1".parse::<Unit>().is_err());
/// # Ok::<(), stiver_channel::meter::UnitError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Requests.
    Request,
    /// Bytes of a body, as they are delivered.
    Byte,
    /// Seconds. Charge in milliseconds at a price for every 1000 to leave none over.
    Second,
    /// Milliseconds.
    Millisecond,
    /// Tokens of a language model.
    Token,
    /// Kilowatt-hours, with decimals: see [`Unit::decimals`].
    KilowattHour,
    /// Something else, by a name that is no other unit's.
    Custom(UnitName),
}

/// The name of a custom unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnitName(Arc<str>);

impl Unit {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Request => "request",
            Self::Byte => "byte",
            Self::Second => "second",
            Self::Millisecond => "millisecond",
            Self::Token => "token",
            Self::KilowattHour => "kWh",
            Self::Custom(name) => &name.0,
        }
    }
}

impl FromStr for Unit {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        Ok(match text {
            "request" => Self::Request,
            "byte" => Self::Byte,
            "second" => Self::Second,
            "millisecond" => Self::Millisecond,
            "token" => Self::Token,
            "kWh" => Self::KilowattHour,
            _ => {
                check_name(text)?;
                Self::Custom(UnitName(text.into()))
            }
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Checks a name of a meter or unit.
pub(super) fn check_name(text: &str) -> Result<(), UnitError> {
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(UnitError::TooLong { bytes: text.len() });
    }
    let allowed = |(offset, byte): (usize, u8)| {
        byte.is_ascii_lowercase()
            || (offset > 0 && (byte.is_ascii_digit() || matches!(byte, b'_' | b'-')))
    };
    match text.bytes().enumerate().position(|at| !allowed(at)) {
        Some(offset) => Err(UnitError::Character { offset }),
        None => Ok(()),
    }
}

/// Why a text names no unit or meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No character at all.
    #[error("the name is empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a name of {bytes} bytes is too long: the limit is {NAME_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Something else than a-z, and from the second on 0-9, _ and -.
    #[error("byte {offset} of the name is not allowed: use a-z 0-9 _ - with a letter first")]
    Character {
        /// Where, in bytes from the start.
        offset: usize,
    },
}
