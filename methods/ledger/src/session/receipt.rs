//! Signed receipts of sessions.
//!
//! The receipt's JSON carries what the ledger signed member by member; the signed bytes are
//! [`SessionReceiptBody`], made again from the members.

use stiver_core::{Receipt, did::DidKey, json::Value};
use stiver_ledger::{receipt::SessionReceiptBody, text::CurrencyCode};

use super::asked::base_units;
use crate::{
    METHOD,
    receipt::{ReceiptRefusal, parse, resource, signature_of, text},
};

/// Verifies a ledger's signature on the receipt of a session.
///
/// `key` is the ledger's receipt key as the payer knows it, as for
/// [`verify_receipt`](crate::receipt::verify_receipt).
///
/// # Errors
///
/// [`ReceiptRefusal`]: it is no such receipt, a member is missing, or the signature is over
/// something else.
pub fn verify_session_receipt(
    receipt: &Receipt,
    key: &DidKey,
) -> Result<SessionReceiptBody, ReceiptRefusal> {
    let body = body_of(receipt)?;
    body.verify(key, &signature_of(receipt)?)
        .map_err(ReceiptRefusal::Signature)?;
    Ok(body)
}

/// What is signed of a session's receipt.
pub(super) fn body_of(receipt: &Receipt) -> Result<SessionReceiptBody, ReceiptRefusal> {
    if receipt.method.as_str() != METHOD {
        return Err(ReceiptRefusal::OtherMethod);
    }
    if text(receipt, "intent")? != "session" {
        return Err(ReceiptRefusal::Member("intent"));
    }
    if text(receipt, "channelId")? != receipt.reference {
        return Err(ReceiptRefusal::Member("channelId"));
    }
    let units = |member: &'static str| {
        base_units(text(receipt, member)?).map_err(|_| ReceiptRefusal::Member(member))
    };
    Ok(SessionReceiptBody {
        ledger: parse(receipt, "ledger")?,
        challenge: receipt.challenge_id.as_ref().map(ToString::to_string),
        channel: receipt
            .reference
            .parse()
            .map_err(|_| ReceiptRefusal::Member("reference"))?,
        payer: parse(receipt, "payerAccount")?,
        payer_key: parse(receipt, "payer")?,
        payee: parse(receipt, "payee")?,
        accepted: units("acceptedCumulative")?,
        currency: CurrencyCode::new(text(receipt, "currency")?)
            .map_err(|_| ReceiptRefusal::Member("currency"))?,
        resource: resource(receipt)?,
        at: receipt.timestamp,
        spent: units("spent")?,
        units: receipt.extra.get("units").map(Value::to_jcs),
    })
}
