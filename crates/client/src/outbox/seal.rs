//! Sealing what must not outlive its call: requests, artefacts and credentials are encrypted in the
//! log under a key that is thrown away when no open call needs it. The log is append-only; throwing
//! the key away is how its secrets are wiped.

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{Aead, Payload},
};
use stiver_core::base64url;
use zeroize::Zeroizing;

use super::entry::CallId;

/// First line of a key file, with its version.
const FILE_HEADER: &str = "stiver-seals 1";
/// Bytes of a key's name, and of a nonce, before the ciphertext.
const NAME_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;

/// Something encrypted: the name of its key, a nonce, and the ciphertext.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// As the log holds it.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
    /// As the log holds it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// The name of the key it was sealed under.
    pub fn key_name(&self) -> Option<KeyName> {
        self.0.first_chunk::<NAME_BYTES>().copied().map(KeyName)
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Names a sealing key. Random, so that no name is ever used for two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName([u8; NAME_BYTES]);

/// What a sealed thing is: part of what is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Challenge,
    Artefact,
    Credential,
    /// Of a session: the opening, a top-up, a forced close, a withdrawal.
    Funding,
    /// Of a session: what the method needs to use its channel.
    Channel,
}

impl Kind {
    fn tag(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Challenge => 2,
            Self::Artefact => 3,
            Self::Credential => 4,
            Self::Funding => 5,
            Self::Channel => 6,
        }
    }
}

/// One sealing key. No `Debug`; wiped on drop.
struct SealingKey {
    name: KeyName,
    bytes: Zeroizing<[u8; 32]>,
}

/// The keys of one outbox lane: one that seals, and those that open calls still need.
pub(crate) struct Keys {
    current: SealingKey,
    seals: u64,
    older: Vec<SealingKey>,
}

impl Keys {
    /// Fresh keys around the given random bytes.
    pub(crate) fn new(name: [u8; 8], key: Zeroizing<[u8; 32]>) -> Self {
        Self {
            current: SealingKey {
                name: KeyName(name),
                bytes: key,
            },
            seals: 0,
            older: Vec::new(),
        }
    }

    /// Reads the keys of an earlier opening; they open, and seal no more.
    pub(crate) fn adopt_file(&mut self, text: &str) -> Result<(), KeysFileError> {
        let mut lines = text.lines();
        if lines.next() != Some(FILE_HEADER) {
            return Err(KeysFileError);
        }
        for line in lines {
            let (name, key) = line.split_once(' ').ok_or(KeysFileError)?;
            let name = base64url::decode(name.as_bytes()).map_err(|_| KeysFileError)?;
            let key = base64url::decode(key.as_bytes()).map_err(|_| KeysFileError)?;
            let key = Zeroizing::new(key);
            self.older.push(SealingKey {
                name: KeyName(name.try_into().map_err(|_| KeysFileError)?),
                bytes: Zeroizing::new(key.as_slice().try_into().map_err(|_| KeysFileError)?),
            });
        }
        Ok(())
    }

    /// The text of the key file. Secret.
    pub(crate) fn to_file(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::from(FILE_HEADER));
        text.push('\n');
        for key in std::iter::once(&self.current).chain(&self.older) {
            let bytes = Zeroizing::new(base64url::encode(key.bytes.as_slice()));
            text.push_str(&base64url::encode(&key.name.0));
            text.push(' ');
            text.push_str(&bytes);
            text.push('\n');
        }
        text
    }

    /// Forgets the older keys that are not needed.
    pub(crate) fn keep_only(&mut self, needed: impl Fn(KeyName) -> bool) {
        self.older.retain(|key| needed(key.name));
    }

    /// Things sealed under the current key.
    pub(crate) fn seals(&self) -> u64 {
        self.seals
    }

    /// Makes another key current.
    pub(crate) fn rotate(&mut self, name: [u8; 8], key: Zeroizing<[u8; 32]>) {
        let fresh = SealingKey {
            name: KeyName(name),
            bytes: key,
        };
        self.older.push(std::mem::replace(&mut self.current, fresh));
        self.seals = 0;
    }

    /// Seals. The nonce is a counter: every key is used by one process only, and named at random.
    pub(crate) fn seal(
        &mut self,
        call: CallId,
        kind: Kind,
        plain: &[u8],
    ) -> Result<Sealed, SealError> {
        self.seals = self.seals.checked_add(1).ok_or(SealError::Sealing)?;
        let mut nonce = [0; NONCE_BYTES];
        nonce[NONCE_BYTES - 8..].copy_from_slice(&self.seals.to_be_bytes());
        let payload = Payload {
            msg: plain,
            aad: &context(call, kind),
        };
        let text = ChaCha20Poly1305::new(&(*self.current.bytes).into())
            .encrypt(&nonce.into(), payload)
            .map_err(|_| SealError::Sealing)?;
        let mut bytes = Vec::with_capacity(NAME_BYTES + NONCE_BYTES + text.len());
        bytes.extend_from_slice(&self.current.name.0);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&text);
        Ok(Sealed(bytes))
    }

    /// Opens.
    pub(crate) fn open(
        &self,
        call: CallId,
        kind: Kind,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (name, rest) = sealed
            .0
            .split_first_chunk::<NAME_BYTES>()
            .ok_or(SealError::Altered)?;
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SealError::Altered)?;
        let key = std::iter::once(&self.current)
            .chain(&self.older)
            .find(|key| key.name.0 == *name)
            .ok_or(SealError::KeyGone)?;
        let payload = Payload {
            msg: text,
            aad: &context(call, kind),
        };
        ChaCha20Poly1305::new(&(*key.bytes).into())
            .decrypt(&(*nonce).into(), payload)
            .map(Zeroizing::new)
            .map_err(|_| SealError::Altered)
    }
}

fn context(call: CallId, kind: Kind) -> [u8; 17] {
    let mut context = [kind.tag(); 17];
    context[..16].copy_from_slice(call.as_bytes());
    context
}

/// The key file is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a seal key file of this version: line 1 must be `{FILE_HEADER}`, \
     each other line a name and a key"
)]
pub struct KeysFileError;

/// Why something sealed could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The cipher refused, which only happens at absurd lengths or counts.
    #[error("could not be sealed")]
    Sealing,
    /// The key file was lost: the call cannot be replayed, only looked up on the rail by hand.
    #[error("its sealing key is gone")]
    KeyGone,
    /// The bytes are not those that were sealed.
    #[error("the sealed bytes were altered")]
    Altered,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallId = CallId::from_bytes([1; 16]);

    fn keys(n: u8) -> Keys {
        Keys::new([n; 8], Zeroizing::new([n; 32]))
    }

    #[test]
    fn what_was_sealed_opens_for_its_call_and_kind_only() {
        let mut keys = keys(1);
        let sealed = keys.seal(CALL, Kind::Artefact, b"signed").unwrap();
        let opened = keys.open(CALL, Kind::Artefact, &sealed).unwrap();
        assert_eq!(opened.as_slice(), b"signed");
        let other = CallId::from_bytes([2; 16]);
        for result in [
            keys.open(other, Kind::Artefact, &sealed),
            keys.open(CALL, Kind::Credential, &sealed),
        ] {
            assert_eq!(result.err(), Some(SealError::Altered));
        }
        assert!(!sealed.as_bytes().windows(6).any(|part| part == b"signed"));
    }

    #[test]
    fn two_seals_never_share_a_nonce() {
        let mut keys = keys(1);
        let one = keys.seal(CALL, Kind::Request, b"x").unwrap();
        let two = keys.seal(CALL, Kind::Request, b"x").unwrap();
        assert_ne!(one, two);
    }

    #[test]
    fn older_keys_open_until_they_are_dropped() {
        let mut first = keys(1);
        let sealed = first.seal(CALL, Kind::Request, b"x").unwrap();
        let mut second = keys(2);
        second.adopt_file(&first.to_file()).unwrap();
        assert!(second.open(CALL, Kind::Request, &sealed).is_ok());
        second.keep_only(|name| Some(name) != sealed.key_name());
        assert_eq!(
            second.open(CALL, Kind::Request, &sealed).err(),
            Some(SealError::KeyGone)
        );
    }

    #[test]
    fn altered_bytes_and_damaged_key_files_are_refused() {
        let mut keys = keys(1);
        let sealed = keys.seal(CALL, Kind::Request, b"x").unwrap();
        for index in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[index] ^= 1;
            let opened = keys.open(CALL, Kind::Request, &Sealed::from_bytes(bytes));
            assert!(opened.is_err(), "byte {index}");
        }
        let short = Sealed::from_bytes(vec![1; 9]);
        assert!(keys.open(CALL, Kind::Request, &short).is_err());
        for text in ["", "stiver-seals 2\n", "stiver-seals 1\nx\n"] {
            assert_eq!(keys.adopt_file(text), Err(KeysFileError), "{text:?}");
        }
    }
}
