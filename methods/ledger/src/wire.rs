//! The method's JSON, field by field as `docs/spec/ledger-charge.md` has it. Unknown fields are
//! ignored.

use serde::{Deserialize, Serialize};

/// `request` of a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Base units.
    pub amount: String,
    /// The currency's code.
    pub currency: String,
    /// The payee's account, `acct_...`.
    pub recipient: String,
    /// For people; never relied upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The merchant's reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// What only this method has.
    pub method_details: MethodDetails,
}

/// `methodDetails` of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodDetails {
    /// The ledger: 16 bytes in base64url.
    pub ledger: String,
    /// The currency's decimals on this ledger.
    pub decimals: u8,
    /// The `did:key` that signs the ledger's receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_key: Option<String>,
}

/// `payload` of a credential.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// The order: deterministic CBOR in base64url.
    pub order: String,
    /// The `did:key` that signed it.
    pub key: String,
    /// Its Ed25519 signature: 64 bytes in base64url.
    pub signature: String,
}
