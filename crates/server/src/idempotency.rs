//! The `Idempotency-Key` of a request.

use stiver_core::{limits::IDEMPOTENCY_KEY_BYTES_MAX, name::Realm};

use crate::hash;

/// A checked key: 1 to 255 visible ASCII characters. Only its hash is kept.
///
/// Both forms in use are read: the bare one (`abc`) and the quoted string of the HTTP API working
/// group (`"abc"`). They name the same key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdempotencyKey {
    hash: [u8; 32],
}

impl IdempotencyKey {
    /// Reads the field lines of one request.
    pub(crate) fn parse(lines: &[&[u8]]) -> Result<Option<Self>, IdempotencyKeyError> {
        let line = match lines {
            [] => return Ok(None),
            [line] => line.trim_ascii(),
            _ => return Err(IdempotencyKeyError::Several),
        };
        let key = match line {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'"') && !inner.contains(&b'\\') => inner,
            [b'"', ..] => return Err(IdempotencyKeyError::Quotes),
            bare => bare,
        };
        if key.is_empty() {
            return Err(IdempotencyKeyError::Empty);
        }
        if key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(IdempotencyKeyError::TooLong { bytes: key.len() });
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err(IdempotencyKeyError::NotVisible);
        }
        Ok(Some(Self {
            hash: hash::of("stiver idempotency-key", &[key]),
        }))
    }

    /// The key alone, hashed: tells whether the same credential came with the same key.
    pub(crate) fn hash(self) -> [u8; 32] {
        self.hash
    }

    /// What the store binds: the key belongs to a realm, to who *provably* pays, and to the user
    /// that the request's other credentials name (`others`, a hash of those lines): users of one
    /// wallet must not see each other's responses. Without a proven payer it belongs to the one
    /// payment credential: whoever presents the same hash is handed the earlier payment, so a
    /// claimed `source` must not be enough.
    pub(crate) fn bind(
        self,
        realm: &Realm,
        payer: Option<&str>,
        credential_hash: &[u8; 32],
        others: &[u8; 32],
    ) -> [u8; 32] {
        let (tag, who) = match payer {
            Some(payer) => (&b"payer"[..], payer.as_bytes()),
            None => (&b"credential"[..], &credential_hash[..]),
        };
        hash::of(
            "stiver bound key",
            &[realm.as_str().as_bytes(), tag, who, others, &self.hash],
        )
    }
}

/// Why an `Idempotency-Key` was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdempotencyKeyError {
    /// More than one field line.
    #[error("send one Idempotency-Key, not several")]
    Several,
    /// No characters.
    #[error("the Idempotency-Key is empty")]
    Empty,
    /// Over [`IDEMPOTENCY_KEY_BYTES_MAX`].
    #[error(
        "the Idempotency-Key has {bytes} bytes; at most {IDEMPOTENCY_KEY_BYTES_MAX} are allowed"
    )]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A space, a control character, or something outside of ASCII.
    #[error("the Idempotency-Key must be visible ASCII characters")]
    NotVisible,
    /// A quoted string that does not end, or that holds quotes or escapes.
    #[error("the quoted Idempotency-Key does not end, or holds a quote or an escape")]
    Quotes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Result<Option<[u8; 32]>, IdempotencyKeyError> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        Ok(IdempotencyKey::parse(&lines)?.map(|key| key.hash))
    }

    #[test]
    fn quoted_and_bare_forms_name_the_same_key() {
        assert_eq!(parse(&["abc"]), parse(&["\"abc\""]));
        assert_eq!(parse(&[" abc "]), parse(&["abc"]));
        assert_ne!(parse(&["abc"]), parse(&["abd"]));
        assert_eq!(parse(&[]), Ok(None));
    }

    #[test]
    fn longest_key_passes_and_one_more_is_refused() {
        let longest = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX);
        assert!(parse(&[&longest]).is_ok_and(|key| key.is_some()));
        let over = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1);
        assert_eq!(
            parse(&[&over]),
            Err(IdempotencyKeyError::TooLong { bytes: 256 })
        );
    }

    #[test]
    fn a_key_belongs_to_the_proven_payer_and_user_else_to_the_credential() {
        let key = IdempotencyKey::parse(&[b"abc"]).unwrap().unwrap();
        let realm = Realm::new("api.example.com").unwrap();
        let other = Realm::new("api.example.org").unwrap();
        let (one, two) = ([1; 32], [2; 32]);
        let (user, another) = ([3; 32], [4; 32]);
        let alice = key.bind(&realm, Some("alice"), &one, &user);
        assert_eq!(alice, key.bind(&realm, Some("alice"), &two, &user));
        assert_ne!(alice, key.bind(&realm, Some("alice"), &one, &another));
        assert_ne!(alice, key.bind(&realm, Some("bob"), &one, &user));
        assert_ne!(alice, key.bind(&other, Some("alice"), &one, &user));
        let unproven = |credential| key.bind(&realm, None, credential, &user);
        assert_ne!(unproven(&one), unproven(&two));
    }

    #[test]
    fn hostile_keys_are_refused_by_name() {
        use IdempotencyKeyError::{Empty, NotVisible, Quotes, Several};
        for (lines, expected) in [
            (&["a", "a"][..], Several),
            (&[""], Empty),
            (&["  "], Empty),
            (&["\"\""], Empty),
            (&["a b"], NotVisible),
            (&["a\u{7f}"], NotVisible),
            (&["a\r\nb"], NotVisible),
            (&["schl\u{fc}ssel"], NotVisible),
            (&["\"abc"], Quotes),
            (&["\"a\"b\""], Quotes),
            (&["\"a\\\"\""], Quotes),
        ] {
            assert_eq!(parse(lines), Err(expected), "{lines:?}");
        }
    }
}
