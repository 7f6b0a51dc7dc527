//! The `opaque` parameter: a registry of short keys with a byte budget, readable by the client.

use crate::{
    amount::{AmountError, parse_base_units},
    base64url,
    digest::BodyDigest,
    json::{
        EncodedObject, Object, Value,
        jcs::write_string,
        plain::{Members, string},
    },
    limits::OPAQUE_BYTES_MAX,
    time::Timestamp,
};
use alloc::{
    borrow::{Cow, ToOwned as _},
    collections::BTreeMap,
    string::{String, ToString as _},
};

const NONCE: &str = "n";
const SCOPE: &str = "s";
const ISSUED_AT: &str = "t";
const PRICE_REVISION: &str = "p";
const DIGEST: &str = "d";
/// The keys that are fields of [`Opaque`], so that `extra` may not hold them.
const FIELDS: [&str; 5] = [NONCE, SCOPE, ISSUED_AT, PRICE_REVISION, DIGEST];

/// What our challenges carry in `opaque`. Never a secret.
///
/// | key | value |
/// |---|---|
/// | `n` | nonce, 16 bytes base64url: no two challenges share an id |
/// | `s` | scope: HTTP method, a space, normalised path and query |
/// | `t` | issue time, decimal milliseconds |
/// | `p` | price revision |
/// | `d` | body digest, base64url, when a computed price depends on the body |
/// | `i` | digest of the header fields that a price depends on, base64url (the server's) |
/// | `agr`, `neg`, `att` | reserved |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// `n`
    pub nonce: [u8; 16],
    /// `s`
    pub scope: String,
    /// `t`
    pub issued_at: Timestamp,
    /// `p`
    pub price_revision: Option<String>,
    /// `d`
    pub digest: Option<BodyDigest>,
    /// Any other keys, the reserved ones among them.
    pub extra: BTreeMap<String, String>,
}

impl Opaque {
    /// Encodes, or says that the budget of `limits::OPAQUE_BYTES_MAX` is exceeded or an extra key
    /// shadows a registered one.
    ///
    /// # Errors
    /// [`OpaqueError::TooLarge`], [`OpaqueError::Shadowed`].
    pub fn encode(&self) -> Result<EncodedObject, OpaqueError> {
        for key in self.extra.keys() {
            if let Some(field) = FIELDS.iter().find(|field| *field == key) {
                return Err(OpaqueError::Shadowed { key: field });
            }
        }
        if !self.extra.is_empty() {
            let object = Object::from_members(self.members());
            within_budget(&object)?;
            return Ok(EncodedObject::encode(&object));
        }
        let text = self.canonical();
        if text.len() > OPAQUE_BYTES_MAX {
            return Err(OpaqueError::TooLarge { bytes: text.len() });
        }
        Ok(EncodedObject::of_canonical(text))
    }

    /// The fields in the order of their keys: the canonical form when there are no others.
    fn canonical(&self) -> String {
        let mut text = String::with_capacity(96 + self.scope.len());
        let mut separator = '{';
        let mut put = |key: &str, value: &str| {
            text.push(separator);
            write_string(&mut text, key);
            text.push(':');
            write_string(&mut text, value);
            separator = ',';
        };
        if let Some(digest) = &self.digest {
            put(DIGEST, &base64url::encode(digest.as_bytes()));
        }
        put(NONCE, &base64url::encode(&self.nonce));
        if let Some(revision) = &self.price_revision {
            put(PRICE_REVISION, revision);
        }
        put(SCOPE, &self.scope);
        put(ISSUED_AT, &self.issued_at.as_millis().to_string());
        text.push('}');
        text
    }

    fn members(&self) -> BTreeMap<String, Value> {
        let mut members = BTreeMap::new();
        let mut put = |key: &str, value: String| {
            members.insert(key.to_owned(), Value::String(value));
        };
        for (key, value) in &self.extra {
            put(key, value.clone());
        }
        put(NONCE, base64url::encode(&self.nonce));
        put(SCOPE, self.scope.clone());
        put(ISSUED_AT, self.issued_at.as_millis().to_string());
        if let Some(revision) = &self.price_revision {
            put(PRICE_REVISION, revision.clone());
        }
        if let Some(digest) = &self.digest {
            put(DIGEST, base64url::encode(digest.as_bytes()));
        }
        members
    }

    /// Reads what [`Opaque::encode`] wrote, once the binding has proved that it is ours.
    ///
    /// # Errors
    /// Whatever [`Opaque::encode`] could not have written, see [`OpaqueError`].
    pub fn decode(encoded: &EncodedObject) -> Result<Self, OpaqueError> {
        let object = encoded.object();
        within_budget(object)?;
        let mut extra = BTreeMap::new();
        let mut fields: [Option<Cow<'_, str>>; FIELDS.len()] = Default::default();
        for (key, value) in Members::of(object.as_str()) {
            let text = string(value).ok_or(OpaqueError::NotText)?;
            let field = FIELDS.iter().position(|field| *field == key);
            match field.and_then(|at| fields.get_mut(at)) {
                Some(field) => *field = Some(text),
                None => drop(extra.insert(key.into_owned(), text.into_owned())),
            }
        }
        // In the order of `FIELDS`.
        let [nonce, scope, issued_at, price_revision, digest] = fields;
        let nonce = nonce.ok_or(OpaqueError::Missing { key: NONCE })?;
        let scope = scope.ok_or(OpaqueError::Missing { key: SCOPE })?;
        let issued_at = issued_at.ok_or(OpaqueError::Missing { key: ISSUED_AT })?;
        let digest = match digest {
            Some(text) => Some(BodyDigest::from_bytes(decode_bytes(DIGEST, &text)?)),
            None => None,
        };
        Ok(Self {
            nonce: decode_bytes(NONCE, &nonce)?,
            scope: scope.into_owned(),
            issued_at: decode_instant(&issued_at)?,
            price_revision: price_revision.map(Cow::into_owned),
            digest,
            extra,
        })
    }
}

/// Refuses an object over the budget.
fn within_budget(object: &Object) -> Result<(), OpaqueError> {
    let bytes = object.as_str().len();
    if bytes > OPAQUE_BYTES_MAX {
        return Err(OpaqueError::TooLarge { bytes });
    }
    Ok(())
}

/// Reads a fixed number of bytes in base64url.
fn decode_bytes<const N: usize>(key: &'static str, text: &str) -> Result<[u8; N], OpaqueError> {
    base64url::decode(text.as_bytes())
        .ok()
        .and_then(|bytes| <[u8; N]>::try_from(bytes).ok())
        .ok_or(OpaqueError::Bytes { key, bytes: N })
}

/// Reads decimal milliseconds, up to [`Timestamp::MAX`].
fn decode_instant(text: &str) -> Result<Timestamp, OpaqueError> {
    let millis = parse_base_units(text, 64).map_err(OpaqueError::IssuedAt)?;
    u64::try_from(millis)
        .ok()
        .filter(|millis| *millis <= Timestamp::MAX.as_millis())
        .map(Timestamp::from_millis)
        .ok_or(OpaqueError::IssuedAt(AmountError::TooLarge { bits: 64 }))
}

/// Why an `opaque` object was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpaqueError {
    /// Over the byte budget.
    #[error("opaque has {bytes} bytes of JSON: the limit is {OPAQUE_BYTES_MAX}, shorten the scope")]
    TooLarge {
        /// Its length in bytes, before base64url.
        bytes: usize,
    },
    /// An extra key has the name of a field.
    #[error("the extra opaque key {key:?} is a registered one: choose another")]
    Shadowed {
        /// The key.
        key: &'static str,
    },
    /// A member is no string.
    #[error("opaque must map strings to strings")]
    NotText,
    /// A registered key is absent.
    #[error("opaque lacks the key {key:?}")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value is not so many bytes in base64url.
    #[error("the opaque key {key:?} is not {bytes} bytes in base64url")]
    Bytes {
        /// The key.
        key: &'static str,
        /// How many it must be.
        bytes: usize,
    },
    /// The issue time is no number of milliseconds up to the year 9999.
    #[error("the opaque key \"t\" is not a time in milliseconds")]
    IssuedAt(#[source] AmountError),
}

#[cfg(test)]
mod tests;
