//! The receipt: `Payment-Receipt: <base64url>` (section 5.3).
//!
//! ```
//! use stiver_core::{Receipt, Timestamp, name::{ChallengeId, MethodName}};
//!
//! let receipt = Receipt {
//!     method: MethodName::new("ledger")?,
//!     timestamp: Timestamp::parse_rfc3339("2025-01-15T12:00:00Z")?,
//!     reference: "tr_1".into(),
//!     challenge_id: Some(ChallengeId::new("x7Tg2pLqR9mKvNwY3hBcZa")?),
//!     extra: Default::default(),
//! };
//! assert_eq!(Receipt::parse(receipt.to_header().as_bytes())?, receipt);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::{
    base64url::{self, Base64UrlError},
    header,
    json::{JsonError, Value, jcs},
    limits,
    name::{ChallengeId, MethodName, NameError},
    time::{Timestamp, TimestampError},
};
use alloc::{collections::BTreeMap, string::String, vec::Vec};

#[cfg(test)]
mod tests;

const STATUS: &str = "status";
const SUCCESS: &str = "success";
const METHOD: &str = "method";
const TIMESTAMP: &str = "timestamp";
const REFERENCE: &str = "reference";
const CHALLENGE_ID: &str = "challengeId";

/// A receipt. `status` is always `success`: nothing else may be printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// `method`
    pub method: MethodName,
    /// `timestamp`
    pub timestamp: Timestamp,
    /// `reference`: the method's own id for the payment.
    pub reference: String,
    /// `challengeId`: always printed by us, optional from others.
    pub challenge_id: Option<ChallengeId>,
    /// Further members; none may be named like one of the above.
    pub extra: BTreeMap<String, Value>,
}

impl Receipt {
    /// Prints the JSON form, canonical (RFC 8785). An extra member named like one of ours gives
    /// way to ours.
    pub fn to_json(&self) -> String {
        let timestamp = self.timestamp.to_rfc3339();
        let challenge_id = self.challenge_id.as_ref().map(ChallengeId::as_str);
        let ours = [
            (CHALLENGE_ID, challenge_id),
            (METHOD, Some(self.method.as_str())),
            (REFERENCE, Some(&*self.reference)),
            (STATUS, Some(SUCCESS)),
            (TIMESTAMP, Some(&*timestamp)),
        ];
        let is_ours = |name: &str| ours.iter().any(|(ours, _)| *ours == name);
        let extra = self.extra.iter().filter(|(name, _)| !is_ours(name));
        let mut members: Vec<(&str, Member<'_>)> = ours
            .into_iter()
            .filter_map(|(name, text)| Some((name, Member::Ours(text?))))
            .chain(extra.map(|(name, value)| (name.as_str(), Member::Extra(value))))
            .collect();
        members.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
        let mut json = String::with_capacity(512);
        let mut separator = '{';
        for (name, member) in members {
            json.push(separator);
            jcs::write_string(&mut json, name);
            json.push(':');
            match member {
                Member::Ours(text) => jcs::write_string(&mut json, text),
                Member::Extra(value) => jcs::write_value(&mut json, value),
            }
            separator = ',';
        }
        json.push('}');
        json
    }
    /// Prints the field value.
    pub fn to_header(&self) -> String {
        base64url::encode(self.to_json().as_bytes())
    }
    /// Reads a field value. White space around it is ignored, unknown members are kept in
    /// `extra`.
    ///
    /// # Errors
    /// One variant of [`ReceiptError`] for each rule.
    pub fn parse(value: &[u8]) -> Result<Self, ReceiptError> {
        if value.len() > limits::RECEIPT_BYTES_MAX {
            return Err(ReceiptError::TooLong { bytes: value.len() });
        }
        let json = base64url::decode(header::trim(value)).map_err(ReceiptError::Base64)?;
        Self::from_json(&json)
    }
    /// Reads the JSON form: what the field value encodes.
    ///
    /// # Errors
    /// As [`Receipt::parse`].
    pub fn from_json(json: &[u8]) -> Result<Self, ReceiptError> {
        let Value::Object(mut members) = Value::parse(json).map_err(ReceiptError::Json)? else {
            return Err(ReceiptError::NotObject);
        };
        if text(&mut members, STATUS)? != SUCCESS {
            return Err(ReceiptError::NotSuccess);
        }
        let method = MethodName::new(&text(&mut members, METHOD)?).map_err(ReceiptError::Method)?;
        let timestamp = Timestamp::parse_rfc3339(&text(&mut members, TIMESTAMP)?)
            .map_err(ReceiptError::Timestamp)?;
        let reference = text(&mut members, REFERENCE)?;
        let challenge_id = match text(&mut members, CHALLENGE_ID) {
            Err(ReceiptError::Missing { .. }) => None,
            Err(error) => return Err(error),
            Ok(id) => Some(ChallengeId::new(&id).map_err(ReceiptError::ChallengeId)?),
        };
        Ok(Self {
            method,
            timestamp,
            reference,
            challenge_id,
            extra: members,
        })
    }
}

/// A member of a receipt that is printed.
enum Member<'a> {
    Ours(&'a str),
    Extra(&'a Value),
}

/// Takes a member that must be a string.
fn text(members: &mut BTreeMap<String, Value>, name: &'static str) -> Result<String, ReceiptError> {
    match members.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(ReceiptError::NotString { name }),
        None => Err(ReceiptError::Missing { name }),
    }
}

/// Why a receipt was refused: one variant for each rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Over [`limits::RECEIPT_BYTES_MAX`].
    #[error(
        "the receipt is {bytes} bytes long, at most {} are read",
        limits::RECEIPT_BYTES_MAX
    )]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Not unpadded base64url.
    #[error("the receipt is not base64url without padding")]
    Base64(#[source] Base64UrlError),
    /// Not acceptable JSON.
    #[error("the receipt is not acceptable JSON")]
    Json(#[source] JsonError),
    /// JSON, but no object.
    #[error("the receipt is not a JSON object")]
    NotObject,
    /// A required member is absent.
    #[error("the receipt has no `{name}`")]
    Missing {
        /// Which.
        name: &'static str,
    },
    /// A member that must be a string is none.
    #[error("`{name}` of the receipt is not a string")]
    NotString {
        /// Which.
        name: &'static str,
    },
    /// `status` is not `success`: no receipt at all.
    #[error("the receipt's `status` is not `success`")]
    NotSuccess,
    /// `method` breaks its grammar.
    #[error("`method` of the receipt is malformed")]
    Method(#[source] NameError),
    /// `timestamp` is no RFC 3339 date-time.
    #[error("`timestamp` of the receipt is malformed")]
    Timestamp(#[source] TimestampError),
    /// `challengeId` breaks its grammar.
    #[error("`challengeId` of the receipt is malformed")]
    ChallengeId(#[source] NameError),
}
