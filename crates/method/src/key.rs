//! An Ed25519 key held in memory, and the file it is kept in.

use ed25519_dalek::{Signer as _, SigningKey};
use stiver_core::{base64url, did::DidKey};
use zeroize::Zeroizing;

use crate::{
    BoxFuture,
    signer::{SignError, SignRequest, Signer},
};

/// First line of a key file, with its version.
const FILE_HEADER: &str = "stiver-key 1 ed25519";
/// Longest key file, bytes.
pub const KEY_FILE_BYTES_MAX: u64 = 4096;

/// An Ed25519 key in memory, wiped on drop. No `Debug`.
pub struct Ed25519Key {
    key: SigningKey,
}

impl Ed25519Key {
    /// From 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(seed),
        }
    }

    /// The public key's name.
    pub fn did(&self) -> DidKey {
        DidKey::from_public_key(self.key.verifying_key().to_bytes())
    }

    /// Signs at once.
    pub fn sign_message(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// The 32-byte seed. Whoever has it can sign.
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.key.as_bytes())
    }

    /// The secret as text: the 32-byte seed in base64url, 43 characters. Whoever has it can sign.
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url::encode(self.key.as_bytes()))
    }

    /// Reads a secret that [`Ed25519Key::to_secret_text`] wrote.
    ///
    /// # Errors
    ///
    /// [`SecretTextError`], which holds nothing of the text.
    pub fn from_secret_text(text: &str) -> Result<Self, SecretTextError> {
        let seed = base64url::decode(text.as_bytes()).map_err(|_| SecretTextError)?;
        let seed = Zeroizing::new(seed);
        let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| SecretTextError)?;
        Ok(Self::from_seed(seed))
    }

    /// The text of a key file: three lines, the last one secret. Keep it in a file that only its
    /// owner can read.
    ///
    /// ```text
    /// stiver-key 1 ed25519
    /// public did:key:z6Mk...
    /// secret <base64url of the 32-byte seed>
    /// ```
    pub fn to_file_text(&self) -> Zeroizing<String> {
        let secret = self.to_secret_text();
        Zeroizing::new(format!(
            "{FILE_HEADER}\npublic {}\nsecret {}\n",
            self.did(),
            secret.as_str()
        ))
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] names the line that is wrong; no error holds any of the secret.
    pub fn from_file_text(text: &str) -> Result<Self, KeyFileError> {
        let mut lines = text.lines();
        match lines.next() {
            Some(FILE_HEADER) => {}
            Some(line) if line.starts_with("stiver-key ") => return Err(KeyFileError::Version),
            _ => return Err(KeyFileError::NotAKeyFile),
        }
        let public: DidKey = field(lines.next(), "public ")
            .and_then(|text| text.parse().ok())
            .ok_or(KeyFileError::Public)?;
        let secret = field(lines.next(), "secret ").ok_or(KeyFileError::Secret)?;
        let key = Self::from_secret_text(secret).map_err(|SecretTextError| KeyFileError::Secret)?;
        if lines.next().is_some() {
            return Err(KeyFileError::Trailing);
        }
        if key.did() == public {
            Ok(key)
        } else {
            Err(KeyFileError::Mismatch)
        }
    }
}

fn field<'a>(line: Option<&'a str>, name: &str) -> Option<&'a str> {
    line?.strip_prefix(name)
}

impl Signer for Ed25519Key {
    fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn sign<'a>(&'a self, request: SignRequest<'a>) -> BoxFuture<'a, Result<[u8; 64], SignError>> {
        Box::pin(std::future::ready(Ok(self.sign_message(request.message))))
    }
}

/// The text is no secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret key is 32 bytes in base64url without padding: 43 characters")]
pub struct SecretTextError;

/// Why a key file was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The first line is another.
    #[error("not a Stiver key file: line 1 must be `stiver-key 1 ed25519`")]
    NotAKeyFile,
    /// A version or kind this program does not know.
    #[error("a key file of a version or kind that this program does not know")]
    Version,
    /// The second line.
    #[error("line 2 must be `public did:key:z6Mk...`")]
    Public,
    /// The third line.
    #[error("line 3 must be `secret` and 32 bytes in base64url")]
    Secret,
    /// More lines.
    #[error("there is something after line 3")]
    Trailing,
    /// The secret is another key's.
    #[error("the secret on line 3 does not belong to the public key on line 2")]
    Mismatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_gives_back_the_key() {
        let key = Ed25519Key::from_seed(&[9; 32]);
        let again = Ed25519Key::from_file_text(&key.to_file_text()).unwrap();
        assert_eq!(again.did(), key.did());
        assert_eq!(again.sign_message(b"m"), key.sign_message(b"m"));
    }

    #[test]
    fn a_secret_text_gives_back_the_key_and_nothing_else_is_one() {
        let key = Ed25519Key::from_seed(&[9; 32]);
        let text = key.to_secret_text();
        assert_eq!(text.len(), 43);
        let again = Ed25519Key::from_secret_text(&text).unwrap();
        assert_eq!(again.did(), key.did());
        for wrong in ["", "A", &text[1..], &format!("{}A", text.as_str()), "!"] {
            let error = Ed25519Key::from_secret_text(wrong).err();
            assert_eq!(error, Some(SecretTextError), "{wrong}");
        }
    }

    #[test]
    fn damaged_key_files_are_refused_by_line() {
        let good = Ed25519Key::from_seed(&[9; 32]).to_file_text();
        let other = Ed25519Key::from_seed(&[8; 32]).did().to_string();
        let lines: Vec<&str> = good.lines().collect();
        let table = [
            (String::new(), KeyFileError::NotAKeyFile),
            ("hello\n".into(), KeyFileError::NotAKeyFile),
            (good.replace("key 1", "key 2"), KeyFileError::Version),
            (lines[0].into(), KeyFileError::Public),
            (good.replace("z6Mk", "z6Mj"), KeyFileError::Public),
            (lines[..2].join("\n"), KeyFileError::Secret),
            (good.replace("secret ", "secret A"), KeyFileError::Secret),
            (format!("{}x\n", good.as_str()), KeyFileError::Trailing),
            (
                format!("{}\npublic {other}\n{}\n", lines[0], lines[2]),
                KeyFileError::Mismatch,
            ),
        ];
        for (text, error) in table {
            assert_eq!(
                Ed25519Key::from_file_text(&text).err(),
                Some(error),
                "{text}"
            );
        }
    }
}
