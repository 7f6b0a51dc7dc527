//! A `request` in the method's own types.

use stiver_core::{Amount, Currency, amount::parse_base_units, did::DidKey, json::Object};
use stiver_ledger::id::{AccountId, LedgerId};

use crate::wire;

/// Amounts of this method are at most this wide.
const AMOUNT_BITS: u8 = 127;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) amount: Amount,
    pub(crate) recipient: AccountId,
    pub(crate) ledger: LedgerId,
    pub(crate) receipt_key: Option<DidKey>,
}

impl Asked {
    /// Reads a request. Its currency must be one of `known`, with the same decimals: decimals are
    /// never guessed.
    pub(crate) fn read(request: &Object, known: &[Currency]) -> Result<Self, BadRequest> {
        let wire: wire::Request = request.deserialize().map_err(|_| BadRequest::Shape)?;
        let details = &wire.method_details;
        let currency = known
            .iter()
            .find(|currency| currency.code() == wire.currency)
            .ok_or(BadRequest::Currency)?;
        if currency.decimals() != details.decimals {
            return Err(BadRequest::Decimals {
                asked: details.decimals,
                known: currency.decimals(),
            });
        }
        let units = parse_base_units(&wire.amount, AMOUNT_BITS).map_err(|_| BadRequest::Amount)?;
        if units == 0 {
            return Err(BadRequest::Amount);
        }
        let receipt_key = details.receipt_key.as_deref().map(str::parse).transpose();
        Ok(Self {
            amount: currency.units(units),
            recipient: wire.recipient.parse().map_err(|_| BadRequest::Recipient)?,
            ledger: details.ledger.parse().map_err(|_| BadRequest::Ledger)?,
            receipt_key: receipt_key.map_err(|_| BadRequest::ReceiptKey)?,
        })
    }
}

/// Why a request is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("the request lacks amount, currency, recipient or methodDetails")]
    Shape,
    #[error("the currency is not known on this ledger")]
    Currency,
    #[error("the currency has {known} decimals here, but methodDetails.decimals says {asked}")]
    Decimals { asked: u8, known: u8 },
    #[error("the amount must be base units above zero, in at most 127 bits")]
    Amount,
    #[error("the recipient is no account id")]
    Recipient,
    #[error("methodDetails.ledger is no ledger id")]
    Ledger,
    #[error("methodDetails.receiptKey is no did:key of Ed25519")]
    ReceiptKey,
}
