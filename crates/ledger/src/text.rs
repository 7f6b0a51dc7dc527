//! Short texts inside orders and accounts.

use std::{fmt, sync::Arc};

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};

/// Longest currency code, bytes.
pub const CURRENCY_BYTES_MAX: usize = stiver_core::limits::CURRENCY_BYTES_MAX;
/// Longest label, bytes.
pub const LABEL_BYTES_MAX: usize = 64;

/// A currency's code as it stands on the wire: 1 to 128 visible ASCII characters, no `|`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CurrencyCode(Arc<str>);

/// A label for people, such as an account's owner or a refund's reason: 1 to 64 bytes, no control
/// characters. Untrusted: whoever signed it chose it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(Arc<str>);

impl CurrencyCode {
    /// Checks and keeps a code.
    ///
    /// # Errors
    ///
    /// [`TextError`] when it is empty, too long, or holds another character.
    pub fn new(text: &str) -> Result<Self, TextError> {
        let fits = (1..=CURRENCY_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic() && b != b'|') {
            Ok(Self(text.into()))
        } else {
            Err(TextError::Currency)
        }
    }
    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Label {
    /// Checks and keeps a label.
    ///
    /// # Errors
    ///
    /// [`TextError`] when it is empty, too long, or holds a control character.
    pub fn new(text: &str) -> Result<Self, TextError> {
        let fits = (1..=LABEL_BYTES_MAX).contains(&text.len());
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(TextError::Label)
        }
    }
    /// The label nearest to a text: control characters become spaces, what is too long is cut.
    /// `None` when nothing remains.
    pub fn lossy(text: &str) -> Option<Self> {
        let mut label = String::new();
        for c in text.trim().chars() {
            let c = if c.is_control() { ' ' } else { c };
            if label.len() + c.len_utf8() > LABEL_BYTES_MAX {
                break;
            }
            label.push(c);
        }
        Self::new(&label).ok()
    }
    /// The label.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl<C> Encode<C> for $name {
            fn encode<W: Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), EncodeError<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }
        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                Self::new(d.str()?).map_err(DecodeError::message)
            }
        }
    };
}
text!(CurrencyCode);
text!(Label);

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// No currency code.
    #[error("not a currency code: 1 to 128 visible ASCII characters without `|`")]
    Currency,
    /// No label.
    #[error("not a label: 1 to 64 bytes without control characters")]
    Label,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_are_refused() {
        for text in ["", "u|d", "u d", "ü", "u\n", &"u".repeat(129)] {
            assert_eq!(CurrencyCode::new(text), Err(TextError::Currency), "{text}");
        }
        for text in ["", "a\nb", "\u{85}", &"u".repeat(65)] {
            assert_eq!(Label::new(text), Err(TextError::Label), "{text}");
        }
    }

    #[test]
    fn a_lossy_label_keeps_what_it_can() {
        let label = Label::lossy(&format!(" a\nb{}", "ü".repeat(64))).unwrap();
        assert_eq!(label.as_str(), format!("a b{}", "ü".repeat(30)));
        assert_eq!(Label::lossy(" \n "), None);
    }
}
