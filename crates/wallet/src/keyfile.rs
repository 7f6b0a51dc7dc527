//! What lies in `keys/NAME.key`: a key, an encrypted key, or where in the keyring it is.

use stiver_core::{base64url, did::DidKey};
use stiver_method::key::{Ed25519Key, KeyFileError};

use crate::sealed::{self, SealedKey, SealedKeyError};

/// First line of a file that points to the keyring, with its version.
const KEYRING_HEADER: &str = "stiver-keyring-key 1 ed25519";
/// What the first line of every version of it begins with.
const KEYRING_KIND: &str = "stiver-keyring-key ";
/// Random bytes in the name of a keyring's item.
const ITEM_RANDOM_BYTES: usize = 16;
/// Longest name of a keyring's item, bytes.
const ITEM_BYTES_MAX: usize = 256;

/// A key file of any kind.
///
/// A plain one is as [`Ed25519Key::to_file_text`] writes it, an encrypted one as
/// [`SealedKey::to_file_text`] does. One that points to the keyring holds no secret:
///
/// ```text
/// stiver-keyring-key 1 ed25519
/// public did:key:z6Mk...
/// item did:key:z6Mk....AbCd...
/// ```
pub enum KeyFile {
    /// The secret as it is.
    Plain(Box<Ed25519Key>),
    /// Under a passphrase.
    Sealed(SealedKey),
    /// In the operating system's keyring.
    Keyring(KeyringItem),
}

/// A key that the keyring has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringItem {
    /// The public key.
    pub public: DidKey,
    /// The name of the item.
    pub item: String,
}

impl KeyFile {
    /// Reads a key file of any kind.
    ///
    /// # Errors
    ///
    /// What is wrong, by line; nothing of a secret.
    pub fn from_text(text: &str) -> Result<Self, BadKeyFile> {
        if text.starts_with(sealed::FILE_KIND) {
            return SealedKey::from_file_text(text)
                .map(Self::Sealed)
                .map_err(BadKeyFile::Sealed);
        }
        if text.starts_with(KEYRING_KIND) {
            return KeyringItem::from_file_text(text).map(Self::Keyring);
        }
        Ed25519Key::from_file_text(text)
            .map(|key| Self::Plain(Box::new(key)))
            .map_err(BadKeyFile::Plain)
    }

    /// The public key.
    pub fn did(&self) -> DidKey {
        match self {
            Self::Plain(key) => key.did(),
            Self::Sealed(sealed) => sealed.did(),
            Self::Keyring(item) => item.public,
        }
    }
}

impl KeyringItem {
    /// The item that a key gets: named by its public half, and by random bytes, so that no two
    /// files share one.
    pub(crate) fn new(public: DidKey, random: &[u8; ITEM_RANDOM_BYTES]) -> Self {
        let item = format!("{public}.{}", base64url::encode(random));
        Self { public, item }
    }

    /// The text of the file.
    pub fn to_file_text(&self) -> String {
        format!(
            "{KEYRING_HEADER}\npublic {}\nitem {}\n",
            self.public, self.item
        )
    }

    fn from_file_text(text: &str) -> Result<Self, BadKeyFile> {
        let mut lines = text.split('\n');
        if lines.next() != Some(KEYRING_HEADER) {
            return Err(BadKeyFile::KeyringVersion);
        }
        let field = |line: Option<&str>, name| line?.strip_prefix(name).map(str::to_owned);
        let public = field(lines.next(), "public ").and_then(|text| text.parse().ok());
        let item = field(lines.next(), "item ").filter(|item| {
            let visible = item.bytes().all(|byte| byte.is_ascii_graphic());
            visible && !item.is_empty() && item.len() <= ITEM_BYTES_MAX
        });
        match (public, item, lines.next(), lines.next()) {
            (Some(public), Some(item), Some(""), None) => Ok(Self { public, item }),
            _ => Err(BadKeyFile::Keyring),
        }
    }
}

/// Why a key file was refused. Holds nothing of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKeyFile {
    /// A plain one.
    #[error(transparent)]
    Plain(KeyFileError),
    /// An encrypted one.
    #[error(transparent)]
    Sealed(SealedKeyError),
    /// One that points to the keyring.
    #[error("line 2 must be `public did:key:z6Mk...`, line 3 `item NAME`, and no more lines")]
    Keyring,
    /// One that points to the keyring, of another version.
    #[error("a keyring key file of a version or kind that this program does not know")]
    KeyringVersion,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> KeyringItem {
        KeyringItem::new(Ed25519Key::from_seed(&[9; 32]).did(), &[1; 16])
    }

    #[test]
    fn a_file_that_points_to_the_keyring_gives_back_the_item() {
        let text = item().to_file_text();
        let Ok(KeyFile::Keyring(again)) = KeyFile::from_text(&text) else {
            panic!("{text}");
        };
        assert_eq!(again, item());
        assert!(again.item.starts_with(&format!("{}.", again.public)));
    }

    #[test]
    fn damaged_files_are_told_by_their_kind() {
        let good = item().to_file_text();
        let long = format!("item {}\n", "x".repeat(ITEM_BYTES_MAX + 1));
        let lines: Vec<&str> = good.lines().collect();
        for (text, error) in [
            ("", BadKeyFile::Plain(KeyFileError::NotAKeyFile)),
            ("stiver-key 2 x", BadKeyFile::Plain(KeyFileError::Version)),
            (
                "stiver-sealed-key 2",
                BadKeyFile::Sealed(SealedKeyError::Version),
            ),
            (&good.replace("key 1", "key 2"), BadKeyFile::KeyringVersion),
            (&good.replace("z6Mk", "z6Mj"), BadKeyFile::Keyring),
            (lines[0], BadKeyFile::Keyring),
            (&good.replace("item did", "item  did"), BadKeyFile::Keyring),
            (
                &format!("{}\n{}\nitem \n", lines[0], lines[1]),
                BadKeyFile::Keyring,
            ),
            (
                &format!("{}\n{}\n{long}", lines[0], lines[1]),
                BadKeyFile::Keyring,
            ),
            (&format!("{good}\n"), BadKeyFile::Keyring),
            (good.trim_end(), BadKeyFile::Keyring),
        ] {
            assert_eq!(KeyFile::from_text(text).err(), Some(error), "{text:?}");
        }
    }
}
