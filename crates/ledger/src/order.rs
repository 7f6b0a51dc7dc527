//! Orders: what an account's key signs to have the ledger do something.
//!
//! An order is a map in deterministic CBOR whose keys are small integers, so that it takes about
//! 200 bytes and a small device needs no JSON. It is separated from every other signed thing by
//! its first member, and names the ledger, the account, a nonce and an expiry. Bytes in another
//! form than the deterministic one are refused, so an order has one hash, and executing it is
//! idempotent by that hash.
//!
//! | key | member | type | in |
//! |---|---|---|---|
//! | 0 | domain, `stiver-ledger/order/1` | text | all |
//! | 1 | kind, 1 to 16 | integer | all |
//! | 2 | ledger | 16 bytes | all |
//! | 3 | account whose key signs | 16 bytes | all |
//! | 4 | nonce | 16 bytes | all |
//! | 5 | expiry, milliseconds since 1970 | integer | all |
//! | 6, 7 | challenge id, realm | text | transfer, hold and top-up that answer a challenge |
//! | 8 | payee, capturer, or account concerned | 16 bytes | transfer, mint, hold, freeze, limit |
//! | 9 | amount, base units | integer or bignum | whatever moves money; limit |
//! | 10 | currency | text | transfer, mint, burn, hold |
//! | 11 | key | 32 bytes | mint, open, add key, revoke key |
//! | 12 | roles, bits | integer | add key |
//! | 13 | transfer | 32 bytes | refund |
//! | 14 | hold | 32 bytes | post, void, capture, top-up, forced close, withdrawal |
//! | 15 | end of the hold, milliseconds | integer | hold that expires |
//! | 16 | SHA-256 of a preimage | 32 bytes | hold on a preimage |
//! | 17 | digest of an agreement | 32 bytes | hold on an agreement, and its post |
//! | 18 | preimage | 32 bytes | post of a hold on a preimage |
//! | 19 | last (post, capture), frozen (freeze) | boolean | post, capture, freeze |
//! | 20 | label: owner or reason | text | mint, open, refund |
//! | 21 | voucher key | 32 bytes | hold on vouchers, and its capture |
//! | 22 | root of a hash chain | 32 bytes | hold on words, and its capture |
//! | 23 | step: base units of one word | integer or bignum | hold on words |
//! | 24 | words of the chain (hold), index of the word (capture) | integer | the same |
//! | 25 | grace of a forced close, milliseconds | integer | hold on vouchers or words |
//! | 26 | cumulative of the voucher | integer or bignum | capture by voucher |
//! | 27 | signature of the voucher | 64 bytes | capture by voucher |
//! | 28 | ack of the voucher | 32 bytes | capture by a voucher that has one |
//! | 29 | word | 32 bytes | capture by word |
//!
//! A hold on vouchers or words is a **channel**: what it is for is in [`crate::voucher`].

mod signed;
mod wire;

use stiver_core::{Timestamp, did::DidKey};

pub use self::signed::{BadSignedOrder, SignedOrder, VerifiedOrder, VerifyError};
use crate::{
    cbor::{self, CborError},
    id::{AccountId, HoldId, LedgerId, Nonce, OrderHash, TransferId},
    key::Roles,
    text::{CurrencyCode, Label},
    voucher::CaptureProof,
};

/// First member of every order: no signature over one is a signature over anything else.
pub const ORDER_DOMAIN: &str = "stiver-ledger/order/1";
/// Longest order, bytes.
pub const ORDER_BYTES_MAX: usize = 2048;
/// Longest challenge id or realm in an order, bytes.
pub const CHARGE_TEXT_BYTES_MAX: usize = 256;

/// What an account's key signs.
///
/// ```
/// use stiver_core::{Timestamp, did::DidKey};
/// use stiver_ledger::{
///     id::{AccountId, LedgerId, Nonce},
///     order::{Action, Order},
///     text::CurrencyCode,
/// };
/// let key = DidKey::from_public_key([7; 32]);
/// let order = Order {
///     ledger: LedgerId::from_bytes([1; 16]),
///     account: AccountId::of_first_key(&key),
///     nonce: Nonce::from_bytes([2; 16]),
///     expires: Timestamp::from_millis(1_767_225_600_000),
///     action: Action::Transfer {
///         payee: AccountId::from_bytes([3; 16]),
///         amount: 10_000,
///         currency: CurrencyCode::new("usd")?,
///         charge: None,
///     },
/// };
/// let bytes = order.encode();
/// assert_eq!(Order::decode(&bytes)?, order);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The ledger that may execute it; no other will.
    pub ledger: LedgerId,
    /// The account whose key signs.
    pub account: AccountId,
    /// At most one order of this account and nonce executes.
    pub nonce: Nonce,
    /// From this instant on it executes no more.
    pub expires: Timestamp,
    /// What to do.
    pub action: Action,
}

/// What to do. Amounts are base units.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// 1: pays.
    Transfer {
        /// Who is paid.
        payee: AccountId,
        /// How much.
        amount: u128,
        /// Of what.
        currency: CurrencyCode,
        /// The challenge it answers, if one.
        charge: Option<Charge>,
    },
    /// 2: issues money. Only the currency's issuer may.
    Mint {
        /// Who gets it.
        to: AccountId,
        /// How much.
        amount: u128,
        /// Of what.
        currency: CurrencyCode,
        /// The first key of `to`, which opens the account when there is none.
        first_key: Option<DidKey>,
        /// The owner's label, when the account is opened.
        owner: Option<Label>,
    },
    /// 3: gives money back to the currency's issuer, which destroys it.
    Burn {
        /// How much.
        amount: u128,
        /// Of what.
        currency: CurrencyCode,
    },
    /// 4: gives a transfer back to who paid it. Signed by who was paid, or by the operator.
    Refund {
        /// Which.
        transfer: TransferId,
        /// How much of it.
        amount: u128,
        /// Why.
        reason: Option<Label>,
    },
    /// 5: opens the account of a first key. Signed by that key, or by the operator.
    Open {
        /// The account's first key, which gets every role.
        first_key: DidKey,
        /// The owner's label.
        owner: Option<Label>,
    },
    /// 6: adds a key, or changes the roles of one.
    AddKey {
        /// The key.
        key: DidKey,
        /// What it may do.
        roles: Roles,
    },
    /// 7: revokes a key.
    RevokeKey {
        /// The key.
        key: DidKey,
    },
    /// 8: sets money aside for somebody who may take it later.
    Hold {
        /// Who may take it: posts go to this account.
        capturer: AccountId,
        /// At most how much.
        amount: u128,
        /// Of what.
        currency: CurrencyCode,
        /// When what was not taken is free again; `None` never is by itself.
        until: Option<Timestamp>,
        /// On what condition.
        condition: Condition,
        /// The challenge it answers, if one.
        charge: Option<Charge>,
    },
    /// 9: takes money from a hold. Signed by its capturer.
    Post {
        /// Which.
        hold: HoldId,
        /// How much.
        amount: u128,
        /// Whether what remains is freed, or may be taken by further posts.
        last: bool,
        /// How the hold's condition is met.
        met: Met,
    },
    /// 10: frees what remains of a hold. Signed by its capturer.
    Void {
        /// Which.
        hold: HoldId,
    },
    /// 11: freezes an account, or thaws it. Signed by the operator.
    Freeze {
        /// Which.
        account: AccountId,
        /// Frozen, or not.
        frozen: bool,
    },
    /// 12: limits each single amount an account may pay or hold. Signed by the operator.
    Limit {
        /// Which.
        account: AccountId,
        /// Base units of any currency; `None` lifts the limit.
        amount: Option<u128>,
    },
    /// 13: takes money from a channel. Signed by its capturer.
    Capture {
        /// Which.
        channel: HoldId,
        /// How much is to have been taken afterwards, in all since it was opened: at most what the
        /// proof allows. Cumulative, so that two captures never add up to more than was meant.
        cumulative: u128,
        /// Whether the channel ends with it: then what remains is freed.
        last: bool,
        /// How the channel's condition is met.
        proof: CaptureProof,
    },
    /// 14: adds to a channel's deposit, and cancels a forced close. Signed by its payer.
    TopUp {
        /// Which.
        channel: HoldId,
        /// How much is added.
        amount: u128,
        /// The challenge it answers, if one.
        charge: Option<Charge>,
    },
    /// 15: begins the channel's grace, after which its payer may withdraw. Signed by its payer.
    ForceClose {
        /// Which.
        channel: HoldId,
    },
    /// 16: ends a channel whose grace is over: what remains is free. Signed by its payer.
    Withdraw {
        /// Which.
        channel: HoldId,
    },
}

/// The challenge that an order answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The challenge's id.
    pub challenge: String,
    /// The challenge's realm.
    pub realm: String,
}

/// On what condition a hold may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// None.
    None,
    /// Whoever posts shows the 32 bytes of which this is the SHA-256.
    Preimage([u8; 32]),
    /// Whoever posts repeats this digest of an agreement that the ledger does not read, and so
    /// signs that it was kept. A dispute has that signature.
    Agreement([u8; 32]),
    /// A channel on signed vouchers. Taken by captures, not by posts.
    Vouchers {
        /// The key that signs them.
        key: DidKey,
        /// How long after a forced close the payer may withdraw, milliseconds:
        /// [`limits::GRACE_MS_MIN`](crate::limits::GRACE_MS_MIN) to
        /// [`limits::GRACE_MS_MAX`](crate::limits::GRACE_MS_MAX).
        grace_ms: u64,
    },
    /// A channel on the words of a hash chain. Taken by captures, not by posts.
    Words {
        /// Word 0.
        root: [u8; 32],
        /// Base units of one word, above zero.
        step: u128,
        /// Words after the root, 1 to [`limits::CHAIN_WORDS_MAX`](crate::limits::CHAIN_WORDS_MAX).
        words: u32,
        /// As for vouchers.
        grace_ms: u64,
    },
}

/// How a post meets the condition of its hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// There was none.
    None,
    /// The preimage.
    Preimage([u8; 32]),
    /// The agreement's digest.
    Agreement([u8; 32]),
}

impl Order {
    /// The bytes to sign.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(&wire::OrderMap::from(self))
    }

    /// Reads an order.
    ///
    /// # Errors
    ///
    /// [`OrderError`] unless the bytes are the deterministic form of an order.
    pub fn decode(bytes: &[u8]) -> Result<Self, OrderError> {
        if bytes.len() > ORDER_BYTES_MAX {
            return Err(OrderError::TooLong { bytes: bytes.len() });
        }
        let map: wire::OrderMap<'_> = cbor::decode_strict(bytes).map_err(OrderError::Cbor)?;
        Self::try_from(map)
    }

    /// SHA-256 of [`Order::encode`].
    pub fn hash(&self) -> OrderHash {
        OrderHash::of(&self.encode())
    }
}

/// Why bytes are no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Too long.
    #[error("an order of {bytes} bytes is over the limit of {ORDER_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not deterministic CBOR.
    #[error("not an order")]
    Cbor(#[source] CborError),
    /// Another domain, or none.
    #[error("not an order of this version: member 0 must be `{ORDER_DOMAIN}`")]
    Domain,
    /// An unknown kind.
    #[error("unknown kind of order: {0}")]
    Kind(u8),
    /// A member that the kind needs.
    #[error("member {0} is missing")]
    Missing(u8),
    /// A member that the kind does not have.
    #[error("member {0} does not belong to this kind of order")]
    Unexpected(u8),
    /// A member with a value it may not have.
    #[error("member {0} has a value that it may not have")]
    Value(u8),
}
