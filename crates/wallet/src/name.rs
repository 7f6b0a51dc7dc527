//! Names of wallets.

use std::{fmt, str::FromStr};

/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 64;

/// A wallet's name: a letter or digit, then letters, digits, `-` and `_`, all ASCII, at most 64.
/// It names files, so nothing else is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WalletName(String);

impl WalletName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`NameError`] for any other text.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if first && rest && text.len() <= NAME_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WalletName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WalletName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// The text is no wallet name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a wallet's name is 1 to {NAME_BYTES_MAX} ASCII letters, digits, `-` and `_`, \
     and begins with a letter or digit"
)]
pub struct NameError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for good in ["a", "main", "robot-7_b", "7"] {
            assert_eq!(WalletName::new(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(65);
        for bad in ["", ".", "..", "a/b", "-a", "_a", "a.b", "ä", "a b", &long] {
            assert_eq!(WalletName::new(bad), Err(NameError), "{bad:?}");
        }
    }
}
