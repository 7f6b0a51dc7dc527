//! The receipt: `Payment-Receipt: <base64url>` (section 5.3).

use crate::{
    json::Value,
    name::{ChallengeId, MethodName},
    time::Timestamp,
};
use alloc::{collections::BTreeMap, string::String};

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
    /// Prints the field value.
    pub fn to_header(&self) -> String {
        todo!()
    }
    /// Reads a field value.
    pub fn parse(value: &[u8]) -> Result<Self, ReceiptError> {
        todo!()
    }
}

/// Why a receipt was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Placeholder, the implementer completes this list.
    #[error("malformed")]
    Malformed,
}
