//! A session's `request` in the method's own types.

use std::num::NonZeroU64;

use stiver_channel::ChannelId;
use stiver_core::{Amount, Currency, amount::parse_base_units, did::DidKey, json::Object};
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId},
    limits::{GRACE_MS_MAX, GRACE_MS_MIN},
};
use stiver_method::session::{PRICES_MAX, Snapshot, UNIT_BYTES_MAX, UnitPrice};

use super::wire::{self, Scheme};

/// Amounts of this method are at most this wide.
pub(super) const AMOUNT_BITS: u8 = 127;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) prices: Vec<UnitPrice>,
    pub(super) currency: Currency,
    pub(super) recipient: AccountId,
    pub(super) ledger: LedgerId,
    pub(super) receipt_key: Option<DidKey>,
    pub(super) suggested_deposit: Option<Amount>,
    pub(super) min_voucher_delta: u128,
    pub(super) schemes: Vec<Scheme>,
    pub(super) grace_ms: u64,
    pub(super) snapshot: Option<Snapshot>,
}

impl Asked {
    /// Reads a request. Its currency must be one of `known`, with the same decimals: decimals are
    /// never guessed.
    pub(super) fn read(request: &Object, known: &[Currency]) -> Result<Self, BadRequest> {
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
        let receipt_key = details.receipt_key.as_deref().map(str::parse).transpose();
        let deposit = wire.suggested_deposit.as_deref().map(base_units);
        let deposit = deposit.transpose().map_err(|_| BadRequest::Deposit)?;
        let delta = details
            .min_voucher_delta
            .as_deref()
            .map_or(Ok(0), base_units);
        Ok(Self {
            prices: prices(&wire, currency)?,
            recipient: wire.recipient.parse().map_err(|_| BadRequest::Recipient)?,
            ledger: details.ledger.parse().map_err(|_| BadRequest::Ledger)?,
            receipt_key: receipt_key.map_err(|_| BadRequest::ReceiptKey)?,
            suggested_deposit: deposit.map(|units| currency.units(units)),
            min_voucher_delta: delta.map_err(|_| BadRequest::Delta)?,
            schemes: schemes(&details.voucher)?,
            grace_ms: grace_ms(details.grace_seconds).ok_or(BadRequest::Grace)?,
            snapshot: details
                .session_snapshot
                .as_ref()
                .map(snapshot)
                .transpose()?,
            currency: currency.clone(),
        })
    }
}

/// A grace in milliseconds, when the ledger allows it.
pub(super) fn grace_ms(seconds: u64) -> Option<u64> {
    let grace_ms = seconds.checked_mul(1000)?;
    (GRACE_MS_MIN..=GRACE_MS_MAX)
        .contains(&grace_ms)
        .then_some(grace_ms)
}

/// Reads base units.
pub(super) fn base_units(text: &str) -> Result<u128, stiver_core::amount::AmountError> {
    parse_base_units(text, AMOUNT_BITS)
}

/// Whether a text can name a unit.
pub(super) fn is_unit(unit: &str) -> bool {
    (1..=UNIT_BYTES_MAX).contains(&unit.len()) && !unit.chars().any(char::is_control)
}

fn prices(wire: &wire::Request, currency: &Currency) -> Result<Vec<UnitPrice>, BadRequest> {
    let details = &wire.method_details;
    if details.meters.len() >= PRICES_MAX {
        return Err(BadRequest::Meters);
    }
    let price = |amount: &str, per: Option<&str>, unit: Option<&str>| {
        let units = base_units(amount).map_err(|_| BadRequest::Amount)?;
        if units == 0 {
            return Err(BadRequest::Amount);
        }
        if unit.is_some_and(|unit| !is_unit(unit)) {
            return Err(BadRequest::Unit);
        }
        Ok(UnitPrice {
            amount: currency.units(units),
            per: per.map_or(Ok(1), unit_count)?,
            unit: unit.map(str::to_owned),
        })
    };
    let first = price(
        &wire.amount,
        details.unit_count.as_deref(),
        wire.unit_type.as_deref(),
    );
    let others = details.meters.iter().map(|meter| {
        price(
            &meter.amount,
            meter.unit_count.as_deref(),
            Some(&meter.unit_type),
        )
    });
    std::iter::once(first).chain(others).collect()
}

/// A count of units has one text: no sign, no leading zero, not zero.
fn unit_count(text: &str) -> Result<u64, BadRequest> {
    let count: NonZeroU64 = text.parse().map_err(|_| BadRequest::UnitCount)?;
    if count.to_string() != text {
        return Err(BadRequest::UnitCount);
    }
    Ok(count.get())
}

fn schemes(names: &[String]) -> Result<Vec<Scheme>, BadRequest> {
    let schemes: Vec<Scheme> = names
        .iter()
        .filter_map(|name| Scheme::of_name(name))
        .collect();
    if schemes.is_empty() {
        return Err(BadRequest::Voucher);
    }
    Ok(schemes)
}

fn snapshot(wire: &wire::Snapshot) -> Result<Snapshot, BadRequest> {
    let units = |text: &str| base_units(text).map_err(|_| BadRequest::Snapshot);
    let hold: HoldId = wire.channel_id.parse().map_err(|_| BadRequest::Snapshot)?;
    Ok(Snapshot {
        channel: ChannelId(*hold.as_bytes()),
        deposit: units(&wire.deposit)?,
        accepted: units(&wire.accepted_cumulative)?,
        spent: units(&wire.spent)?,
    })
}

/// Why a request is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    #[error("the request lacks amount, currency, recipient or methodDetails, or has them wrong")]
    Shape,
    #[error("the currency is not known on this ledger")]
    Currency,
    #[error("the currency has {known} decimals here, but methodDetails.decimals says {asked}")]
    Decimals { asked: u8, known: u8 },
    #[error("a price must be base units above zero, in at most 127 bits")]
    Amount,
    #[error("a unit is named by 1 to {UNIT_BYTES_MAX} bytes without control characters")]
    Unit,
    #[error("unitCount must be a number above zero in decimal")]
    UnitCount,
    #[error("more than {PRICES_MAX} prices")]
    Meters,
    #[error("suggestedDeposit must be base units in at most 127 bits")]
    Deposit,
    #[error("methodDetails.minVoucherDelta must be base units in at most 127 bits")]
    Delta,
    #[error("the recipient is no account id")]
    Recipient,
    #[error("methodDetails.ledger is no ledger id")]
    Ledger,
    #[error("methodDetails.receiptKey is no did:key of Ed25519")]
    ReceiptKey,
    #[error("methodDetails.voucher has neither ed25519 nor hash-chain")]
    Voucher,
    #[error("methodDetails.graceSeconds must be 60 to 2592000")]
    Grace,
    #[error("methodDetails.sessionSnapshot is malformed")]
    Snapshot,
}
