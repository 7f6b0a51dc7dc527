//! A key in a file that a passphrase opens.
//!
//! ```text
//! stiver-sealed-key 1 ed25519
//! public did:key:z6Mk...
//! argon2id m=65536 t=3 p=4 salt=<22 characters>
//! chacha20poly1305 <80 characters>
//! ```
//!
//! Argon2id (RFC 9106, version 0x13) makes a 32-byte key of the passphrase and the 16-byte salt;
//! `m` is in KiB. The last line is a 12-byte nonce and what ChaCha20-Poly1305 (RFC 8439) makes of
//! the 32-byte seed. The three lines before it are the associated data: nobody can put another
//! public key or other costs in front of the same secret. Text is base64url without padding.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{Aead, Payload},
};
use stiver_core::{base64url, did::DidKey};
use stiver_method::key::Ed25519Key;
use zeroize::Zeroizing;

/// First line, with its version.
const FILE_HEADER: &str = "stiver-sealed-key 1 ed25519";
/// What the first line of every version begins with.
pub(crate) const FILE_KIND: &str = "stiver-sealed-key ";
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
/// The seed and the tag.
const BOX_BYTES: usize = 32 + 16;

/// Most memory that a file may ask for, KiB: 1 GiB. A hostile file cannot take more.
pub const KDF_MEMORY_KIB_MAX: u32 = 1 << 20;
/// Most passes over the memory that a file may ask for.
pub const KDF_PASSES_MAX: u32 = 16;
/// Most lanes that a file may ask for.
pub const KDF_LANES_MAX: u32 = 16;
/// Longest passphrase, bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Shortest passphrase for a new file, bytes.
pub const PASSPHRASE_BYTES_MIN: usize = 8;

/// What one guess at a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfCost {
    /// 64 MiB, 3 passes, 4 lanes: the second choice that RFC 9106 section 4 recommends.
    pub const RECOMMENDED: Self = Self {
        memory_kib: 64 << 10,
        passes: 3,
        lanes: 4,
    };
    /// The least that Argon2 takes: for tests, protects nothing.
    pub const DANGEROUSLY_LOW: Self = Self {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    /// Within the limits.
    fn params(self) -> Result<Params, SealedKeyError> {
        let fits = self.memory_kib <= KDF_MEMORY_KIB_MAX
            && self.passes <= KDF_PASSES_MAX
            && self.lanes <= KDF_LANES_MAX;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32));
        params
            .ok()
            .filter(|_| fits)
            .ok_or(SealedKeyError::Cost(self))
    }
}

/// A key under a passphrase. Holds no secret that the file does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    public: DidKey,
    cost: KdfCost,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    text: [u8; BOX_BYTES],
}

/// Random bytes for one file, used once.
#[derive(Clone, Copy)]
pub struct SealRandom {
    /// For Argon2id.
    pub salt: [u8; SALT_BYTES],
    /// For ChaCha20-Poly1305.
    pub nonce: [u8; NONCE_BYTES],
}

impl SealedKey {
    /// Seals a key. Takes the time that the cost says: half a second or so for the recommended one.
    ///
    /// # Errors
    ///
    /// The passphrase is empty or too long, or the cost is outside of the limits.
    pub fn seal(
        key: &Ed25519Key,
        passphrase: &str,
        cost: KdfCost,
        random: SealRandom,
    ) -> Result<Self, SealedKeyError> {
        let mut sealed = Self {
            public: key.did(),
            cost,
            salt: random.salt,
            nonce: random.nonce,
            text: [0; BOX_BYTES],
        };
        let (seed, head) = (key.to_seed(), sealed.head());
        let payload = Payload {
            msg: seed.as_slice(),
            aad: head.as_bytes(),
        };
        let text = sealed
            .cipher(passphrase)?
            .encrypt(&random.nonce.into(), payload)
            .map_err(|_| SealedKeyError::Box)?;
        sealed.text = text.try_into().map_err(|_| SealedKeyError::Box)?;
        Ok(sealed)
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`SealedKeyError::Passphrase`] for a wrong passphrase or altered bytes: the two cannot be
    /// told apart.
    pub fn open(&self, passphrase: &str) -> Result<Ed25519Key, SealedKeyError> {
        let head = self.head();
        let payload = Payload {
            msg: &self.text,
            aad: head.as_bytes(),
        };
        let seed = self
            .cipher(passphrase)?
            .decrypt(&self.nonce.into(), payload)
            .map(Zeroizing::new)
            .map_err(|_| SealedKeyError::Passphrase)?;
        let seed: &[u8; 32] = seed
            .as_slice()
            .try_into()
            .map_err(|_| SealedKeyError::Box)?;
        let key = Ed25519Key::from_seed(seed);
        if key.did() == self.public {
            Ok(key)
        } else {
            Err(SealedKeyError::Mismatch)
        }
    }

    /// The public key.
    pub fn did(&self) -> DidKey {
        self.public
    }

    /// What a guess at the passphrase costs.
    pub fn cost(&self) -> KdfCost {
        self.cost
    }

    /// The text of the file.
    pub fn to_file_text(&self) -> String {
        let mut bytes = self.nonce.to_vec();
        bytes.extend_from_slice(&self.text);
        format!(
            "{}chacha20poly1305 {}\n",
            self.head(),
            base64url::encode(&bytes)
        )
    }

    /// Reads the text of a file. Derives nothing: cheap, whatever the file says.
    ///
    /// # Errors
    ///
    /// [`SealedKeyError`] names the line that is wrong.
    pub fn from_file_text(text: &str) -> Result<Self, SealedKeyError> {
        let mut lines = text.split('\n');
        match lines.next() {
            Some(FILE_HEADER) => {}
            Some(line) if line.starts_with(FILE_KIND) => return Err(SealedKeyError::Version),
            _ => return Err(SealedKeyError::NotASealedKey),
        }
        let public = field(lines.next(), "public ")
            .and_then(|text| text.parse().ok())
            .ok_or(SealedKeyError::Public)?;
        let (cost, salt) = field(lines.next(), "argon2id ")
            .and_then(kdf)
            .ok_or(SealedKeyError::Kdf)?;
        cost.params()?;
        let bytes = field(lines.next(), "chacha20poly1305 ")
            .and_then(|text| base64url::decode(text.as_bytes()).ok())
            .ok_or(SealedKeyError::Box)?;
        let (nonce, text) = bytes.split_first_chunk().ok_or(SealedKeyError::Box)?;
        if lines.next() != Some("") || lines.next().is_some() {
            return Err(SealedKeyError::Trailing);
        }
        Ok(Self {
            public,
            cost,
            salt,
            nonce: *nonce,
            text: text.try_into().map_err(|_| SealedKeyError::Box)?,
        })
    }

    /// The first three lines.
    fn head(&self) -> String {
        let KdfCost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        format!(
            "{FILE_HEADER}\npublic {}\nargon2id m={memory_kib} t={passes} p={lanes} salt={}\n",
            self.public,
            base64url::encode(&self.salt)
        )
    }

    fn cipher(&self, passphrase: &str) -> Result<ChaCha20Poly1305, SealedKeyError> {
        if passphrase.is_empty() || passphrase.len() > PASSPHRASE_BYTES_MAX {
            return Err(SealedKeyError::PassphraseLength);
        }
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.cost.params()?)
            .hash_password_into(passphrase.as_bytes(), &self.salt, key.as_mut_slice())
            .map_err(|_| SealedKeyError::Cost(self.cost))?;
        Ok(ChaCha20Poly1305::new(&(*key).into()))
    }
}

fn field<'a>(line: Option<&'a str>, name: &str) -> Option<&'a str> {
    line?.strip_prefix(name)
}

/// `m=65536 t=3 p=4 salt=...`
fn kdf(text: &str) -> Option<(KdfCost, [u8; SALT_BYTES])> {
    let mut parts = text.split(' ');
    let cost = KdfCost {
        memory_kib: number(parts.next(), "m=")?,
        passes: number(parts.next(), "t=")?,
        lanes: number(parts.next(), "p=")?,
    };
    let salt = field(parts.next(), "salt=")?;
    let salt = base64url::decode(salt.as_bytes()).ok()?;
    match parts.next() {
        None => Some((cost, salt.try_into().ok()?)),
        Some(_) => None,
    }
}

/// A decimal number in its one spelling: no sign, no leading zero.
fn number(part: Option<&str>, name: &str) -> Option<u32> {
    let digits = field(part, name)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

/// Why a sealed key could not be read or opened. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedKeyError {
    /// The first line is another.
    #[error("not an encrypted key file: line 1 must be `{FILE_HEADER}`")]
    NotASealedKey,
    /// A version or kind this program does not know.
    #[error("an encrypted key file of a version or kind that this program does not know")]
    Version,
    /// The second line.
    #[error("line 2 must be `public did:key:z6Mk...`")]
    Public,
    /// The third line.
    #[error("line 3 must be `argon2id m=KIB t=PASSES p=LANES salt=` and 16 bytes in base64url")]
    Kdf,
    /// The third line asks for too much, or for less than Argon2 takes.
    #[error(
        "the cost {0:?} is outside of the limits ({KDF_MEMORY_KIB_MAX} KiB, \
         {KDF_PASSES_MAX} passes, {KDF_LANES_MAX} lanes)"
    )]
    Cost(KdfCost),
    /// The fourth line.
    #[error("line 4 must be `chacha20poly1305` and 60 bytes in base64url")]
    Box,
    /// No line break at the end of line 4, or something after it.
    #[error("line 4 must be the last, and end with a line break")]
    Trailing,
    /// It did not open.
    #[error("the passphrase is wrong, or the file was altered")]
    Passphrase,
    /// No passphrase is so short or so long.
    #[error("a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes")]
    PassphraseLength,
    /// It opened, and holds another key than it says.
    #[error("the secret in it does not belong to the public key on line 2")]
    Mismatch,
}

#[cfg(test)]
mod tests;
