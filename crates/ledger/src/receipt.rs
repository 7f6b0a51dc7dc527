//! Receipts that the ledger's key signs.
//!
//! A receipt says who paid whom how much, for which challenge and resource, by which order. It is
//! deterministic CBOR, a map with these keys:
//!
//! | key | member | type |
//! |---|---|---|
//! | 0 | domain, `stiver-ledger/receipt/1` | text |
//! | 1 | ledger | 16 bytes |
//! | 2 | challenge id | text, absent when there was none |
//! | 3 | transfer: the hash of its order | 32 bytes |
//! | 4 | payer's account | 16 bytes |
//! | 5 | payer's key, which signed the order | 32 bytes |
//! | 6 | payee's account | 16 bytes |
//! | 7 | amount, base units | integer or bignum |
//! | 8 | currency | text |
//! | 9 | resource | text, absent when none was named |
//! | 10 | time, milliseconds since 1970 | integer |

//!
//! The receipt of a **session** says how far a channel's vouchers were accepted and how much of
//! that was used. It confirms what the payee says, at a payee whose ledger signs for it:
//!
//! | key | member | type |
//! |---|---|---|
//! | 0 | domain, `stiver-ledger/session-receipt/1` | text |
//! | 1 | ledger | 16 bytes |
//! | 2 | challenge id | text, absent when there was none |
//! | 3 | channel | 32 bytes |
//! | 4 | payer's account | 16 bytes |
//! | 5 | payer's key, which opened the channel | 32 bytes |
//! | 6 | payee's account | 16 bytes |
//! | 7 | accepted, cumulative base units | integer or bignum |
//! | 8 | currency | text |
//! | 9 | resource | text, absent when none was named |
//! | 10 | time, milliseconds since 1970 | integer |
//! | 11 | spent, cumulative base units | integer or bignum |
//! | 12 | units: meter readings, canonical JSON | text, absent when there are none |

use minicbor::{Decode, Encode};
use stiver_core::{Timestamp, did::DidKey};

use crate::{
    cbor::{self, CborError},
    id::{AccountId, HoldId, LedgerId, TransferId},
    key::{self, SignatureError},
    text::CurrencyCode,
};

/// First member of every receipt.
pub const RECEIPT_DOMAIN: &str = "stiver-ledger/receipt/1";

/// First member of every session's receipt.
pub const SESSION_RECEIPT_DOMAIN: &str = "stiver-ledger/session-receipt/1";

/// What a ledger confirms of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptBody {
    /// Which ledger.
    pub ledger: LedgerId,
    /// The challenge that was answered.
    pub challenge: Option<String>,
    /// The movement: the hash of the order that made it.
    pub transfer: TransferId,
    /// Who paid.
    pub payer: AccountId,
    /// The payer's key that signed the order.
    pub payer_key: DidKey,
    /// Who was paid.
    pub payee: AccountId,
    /// How much, base units.
    pub amount: u128,
    /// Of what.
    pub currency: CurrencyCode,
    /// For what: HTTP method and path.
    pub resource: Option<String>,
    /// When the money moved, by the ledger's clock.
    pub at: Timestamp,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ReceiptMap<'b> {
    #[b(0)]
    domain: &'b str,
    #[n(1)]
    ledger: LedgerId,
    #[b(2)]
    challenge: Option<&'b str>,
    #[n(3)]
    transfer: TransferId,
    #[n(4)]
    payer: AccountId,
    #[cbor(n(5), with = "crate::cbor::key")]
    payer_key: DidKey,
    #[n(6)]
    payee: AccountId,
    #[n(7)]
    amount: u128,
    #[n(8)]
    currency: CurrencyCode,
    #[b(9)]
    resource: Option<&'b str>,
    #[cbor(n(10), with = "crate::cbor::time")]
    at: Timestamp,
}

impl ReceiptBody {
    /// The bytes to sign.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(&ReceiptMap {
            domain: RECEIPT_DOMAIN,
            ledger: self.ledger,
            challenge: self.challenge.as_deref(),
            transfer: self.transfer,
            payer: self.payer,
            payer_key: self.payer_key,
            payee: self.payee,
            amount: self.amount,
            currency: self.currency.clone(),
            resource: self.resource.as_deref(),
            at: self.at,
        })
    }

    /// Reads a receipt.
    ///
    /// # Errors
    ///
    /// [`CborError`] unless the bytes are the deterministic form of a receipt.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let map: ReceiptMap<'_> = cbor::decode_strict(bytes)?;
        if map.domain != RECEIPT_DOMAIN {
            return Err(CborError::Malformed);
        }
        Ok(Self {
            ledger: map.ledger,
            challenge: map.challenge.map(str::to_owned),
            transfer: map.transfer,
            payer: map.payer,
            payer_key: map.payer_key,
            payee: map.payee,
            amount: map.amount,
            currency: map.currency,
            resource: map.resource.map(str::to_owned),
            at: map.at,
        })
    }

    /// Verifies a ledger's signature over this receipt.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] when it is not this receipt that this key signed.
    pub fn verify(&self, key: &DidKey, signature: &[u8; 64]) -> Result<(), SignatureError> {
        key::verify(key, &self.encode(), signature)
    }
}

/// What a ledger confirms of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionReceiptBody {
    /// Which ledger.
    pub ledger: LedgerId,
    /// The challenge that was answered.
    pub challenge: Option<String>,
    /// The channel.
    pub channel: HoldId,
    /// Who pays.
    pub payer: AccountId,
    /// The payer's key that opened the channel.
    pub payer_key: DidKey,
    /// Who is paid.
    pub payee: AccountId,
    /// The highest voucher accepted, cumulative base units.
    pub accepted: u128,
    /// Of what.
    pub currency: CurrencyCode,
    /// For what: HTTP method and path.
    pub resource: Option<String>,
    /// When, by the payee's clock.
    pub at: Timestamp,
    /// What was used, cumulative base units.
    pub spent: u128,
    /// Meter readings, canonical JSON.
    pub units: Option<String>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct SessionReceiptMap<'b> {
    #[b(0)]
    domain: &'b str,
    #[n(1)]
    ledger: LedgerId,
    #[b(2)]
    challenge: Option<&'b str>,
    #[n(3)]
    channel: HoldId,
    #[n(4)]
    payer: AccountId,
    #[cbor(n(5), with = "crate::cbor::key")]
    payer_key: DidKey,
    #[n(6)]
    payee: AccountId,
    #[n(7)]
    accepted: u128,
    #[n(8)]
    currency: CurrencyCode,
    #[b(9)]
    resource: Option<&'b str>,
    #[cbor(n(10), with = "crate::cbor::time")]
    at: Timestamp,
    #[n(11)]
    spent: u128,
    #[b(12)]
    units: Option<&'b str>,
}

impl SessionReceiptBody {
    /// The bytes to sign.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(&SessionReceiptMap {
            domain: SESSION_RECEIPT_DOMAIN,
            ledger: self.ledger,
            challenge: self.challenge.as_deref(),
            channel: self.channel,
            payer: self.payer,
            payer_key: self.payer_key,
            payee: self.payee,
            accepted: self.accepted,
            currency: self.currency.clone(),
            resource: self.resource.as_deref(),
            at: self.at,
            spent: self.spent,
            units: self.units.as_deref(),
        })
    }

    /// Reads a session's receipt.
    ///
    /// # Errors
    ///
    /// [`CborError`] unless the bytes are the deterministic form of one.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let map: SessionReceiptMap<'_> = cbor::decode_strict(bytes)?;
        if map.domain != SESSION_RECEIPT_DOMAIN {
            return Err(CborError::Malformed);
        }
        Ok(Self {
            ledger: map.ledger,
            challenge: map.challenge.map(str::to_owned),
            channel: map.channel,
            payer: map.payer,
            payer_key: map.payer_key,
            payee: map.payee,
            accepted: map.accepted,
            currency: map.currency,
            resource: map.resource.map(str::to_owned),
            at: map.at,
            spent: map.spent,
            units: map.units.map(str::to_owned),
        })
    }

    /// Verifies a ledger's signature over this receipt.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] when it is not this receipt that this key signed.
    pub fn verify(&self, key: &DidKey, signature: &[u8; 64]) -> Result<(), SignatureError> {
        key::verify(key, &self.encode(), signature)
    }
}
