//! Signed receipts: what is signed, and how a payer verifies it.
//!
//! The receipt's JSON carries what the ledger signed member by member, and the signature in
//! `signature`, the key in `receiptKey`. The signed bytes are [`ReceiptBody`], made again from the
//! members.

use stiver_core::{Receipt, amount::parse_base_units, base64url, did::DidKey, json::Value};
use stiver_ledger::{key::SignatureError, receipt::ReceiptBody, text::CurrencyCode};

use crate::METHOD;

/// The member that holds the signature.
pub(crate) const SIGNATURE: &str = "signature";
/// The member that names the key.
pub(crate) const RECEIPT_KEY: &str = "receiptKey";

/// Verifies a ledger's signature on a receipt.
///
/// `key` is the ledger's receipt key as the payer knows it: from its own configuration, or from
/// `methodDetails.receiptKey` of the challenge it paid. The receipt's own `receiptKey` proves
/// nothing.
///
/// # Errors
///
/// [`ReceiptRefusal`]: it is no receipt of this method, a member is missing, or the signature is
/// over something else.
pub fn verify_receipt(receipt: &Receipt, key: &DidKey) -> Result<ReceiptBody, ReceiptRefusal> {
    let body = body_of(receipt)?;
    body.verify(key, &signature_of(receipt)?)
        .map_err(ReceiptRefusal::Signature)?;
    Ok(body)
}

/// The signature in a receipt.
pub(crate) fn signature_of(receipt: &Receipt) -> Result<[u8; 64], ReceiptRefusal> {
    let signature = text(receipt, SIGNATURE)?;
    base64url::decode(signature.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(ReceiptRefusal::Member(SIGNATURE))
}

/// Puts a signature and the key that made it into a receipt.
pub(crate) fn put_signature(receipt: &mut Receipt, key: &DidKey, signature: &[u8; 64]) {
    let mut put = |name: &str, text: String| {
        receipt.extra.insert(name.to_owned(), Value::String(text));
    };
    put(RECEIPT_KEY, key.to_string());
    put(SIGNATURE, base64url::encode(signature));
}

/// The member `resource`, when there is one.
pub(crate) fn resource(receipt: &Receipt) -> Result<Option<String>, ReceiptRefusal> {
    match receipt.extra.get("resource") {
        None => Ok(None),
        Some(Value::String(resource)) => Ok(Some(resource.clone())),
        Some(_) => Err(ReceiptRefusal::Member("resource")),
    }
}

/// What is signed of a receipt.
pub(crate) fn body_of(receipt: &Receipt) -> Result<ReceiptBody, ReceiptRefusal> {
    if receipt.method.as_str() != METHOD {
        return Err(ReceiptRefusal::OtherMethod);
    }
    let amount = parse_base_units(text(receipt, "amount")?, 128);
    Ok(ReceiptBody {
        ledger: parse(receipt, "ledger")?,
        challenge: receipt.challenge_id.as_ref().map(ToString::to_string),
        transfer: receipt
            .reference
            .parse()
            .map_err(|_| ReceiptRefusal::Member("reference"))?,
        payer: parse(receipt, "payerAccount")?,
        payer_key: parse(receipt, "payer")?,
        payee: parse(receipt, "payee")?,
        amount: amount.map_err(|_| ReceiptRefusal::Member("amount"))?,
        currency: CurrencyCode::new(text(receipt, "currency")?)
            .map_err(|_| ReceiptRefusal::Member("currency"))?,
        resource: resource(receipt)?,
        at: receipt.timestamp,
    })
}

pub(crate) fn text<'a>(
    receipt: &'a Receipt,
    member: &'static str,
) -> Result<&'a str, ReceiptRefusal> {
    receipt
        .extra
        .get(member)
        .and_then(Value::as_str)
        .ok_or(ReceiptRefusal::Member(member))
}

pub(crate) fn parse<T: std::str::FromStr>(
    receipt: &Receipt,
    member: &'static str,
) -> Result<T, ReceiptRefusal> {
    text(receipt, member)?
        .parse()
        .map_err(|_| ReceiptRefusal::Member(member))
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptRefusal {
    /// A receipt of another method.
    #[error("not a receipt of the ledger method")]
    OtherMethod,
    /// A member is missing or malformed.
    #[error("the receipt's {0} is missing or malformed")]
    Member(&'static str),
    /// The signature does not verify.
    #[error("the receipt is not signed by the ledger's key, or was altered")]
    Signature(#[source] SignatureError),
}
