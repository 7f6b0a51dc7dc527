//! The JSON of sessions, field by field as `docs/spec/ledger-session.md` has it. Unknown fields are
//! ignored.

use serde::{Deserialize, Serialize};

/// `request` of a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Base units for `methodDetails.unitCount` units.
    pub amount: String,
    /// The currency's code.
    pub currency: String,
    /// The payee's account, `acct_...`.
    pub recipient: String,
    /// What is paid for: `request`, `token`, `second`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_type: Option<String>,
    /// The deposit that the payee suggests, base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_deposit: Option<String>,
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
    /// How many units `amount` buys, in decimal; absent for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_count: Option<String>,
    /// Prices beside the first: each is metered too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meters: Vec<Meter>,
    /// The smallest step between two vouchers, base units; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_voucher_delta: Option<String>,
    /// What is served before it is paid for good, base units; absent where each request is paid
    /// before it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// The kinds of voucher that the payee takes.
    pub voucher: Vec<String>,
    /// The shortest grace of a forced close that the payee accepts, seconds.
    pub grace_seconds: u64,
    /// A channel that the server knows: a hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_snapshot: Option<Snapshot>,
}

/// A price beside the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meter {
    /// Base units for `unitCount` units.
    pub amount: String,
    /// What is paid for.
    pub unit_type: String,
    /// How many units `amount` buys; absent for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_count: Option<String>,
}

/// A server's word on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The channel, `hold_...`.
    pub channel_id: String,
    /// What was set aside, base units.
    pub deposit: String,
    /// The highest voucher accepted, base units.
    pub accepted_cumulative: String,
    /// What was used, base units.
    pub spent: String,
}

/// Kinds of voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Signed one by one with Ed25519.
    Ed25519,
    /// Words of a hash chain.
    HashChain,
}

impl Scheme {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::HashChain => "hash-chain",
        }
    }

    /// The kind of a name. Unknown ones are somebody else's, and ignored.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Ed25519, Self::HashChain]
            .into_iter()
            .find(|scheme| scheme.name() == name)
    }
}

/// `payload` of a credential: members of all actions. Which of them an action has is checked where
/// it is read.
#[derive(Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// `open`, `topUp`, `voucher` or `close`.
    pub action: String,
    /// `transaction`, of open and top-up.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The channel, `hold_...`.
    pub channel_id: String,
    /// The signed order that opens or tops up: CBOR in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// What is added, base units: of a top-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_deposit: Option<String>,
    /// What the voucher allows in all, base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cumulative_amount: Option<String>,
    /// The voucher's Ed25519 signature: 64 bytes in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// What the payer confirms to have got: 32 bytes in base64url. Of a signed voucher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<String>,
    /// Which word of a hash chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The word: 32 bytes in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
}
