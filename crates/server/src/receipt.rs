//! The receipt of a delivery.

use std::{collections::BTreeMap, sync::Arc};

use stiver_core::{
    Receipt, digest::BodyDigest, json::Value, limits::RECEIPT_BYTES_MAX, name::ChallengeId,
};
use stiver_method::{artefact::Settled, payee::PayeeCharge};

use crate::record::Details;

/// Members that only the gate writes.
const RESERVED: [&str; 5] = ["status", "method", "timestamp", "reference", "challengeId"];

/// Prints the `Payment-Receipt` value of a payment, signed where the method signs receipts.
///
/// A signer that is away costs the signature, not the delivery: what was paid for is served.
///
/// # Spec
/// draft-httpauth-payment-00, section 5.3 (CORE-34, CORE-35); Z33. Beyond it: `payer`, `payee`,
/// `amount`, `currency`, `resource`, `requestDigest`, `responseDigest`.
pub(crate) async fn print(
    method: &Arc<dyn PayeeCharge>,
    details: &Details,
    settled: &Settled,
    challenge_id: &str,
    response_digest: Option<BodyDigest>,
) -> Arc<str> {
    let mut extra: BTreeMap<String, Value> = settled
        .receipt
        .iter()
        .filter(|(name, _)| !RESERVED.contains(&name.as_str()))
        .cloned()
        .collect();
    let mut put = |name: &str, text: String| {
        extra.insert(name.to_owned(), Value::String(text));
    };
    if let Some(payer) = settled.payer.as_ref().or(details.payer.as_ref()) {
        put("payer", payer.clone());
    }
    put("payee", settled.payee.clone());
    put("amount", settled.amount.to_wire());
    put("currency", settled.amount.currency().code().to_owned());
    put("resource", details.resource.clone());
    if let Some(digest) = details.request_digest {
        put("requestDigest", digest.to_header());
    }
    if let Some(digest) = response_digest {
        put("responseDigest", digest.to_header());
    }
    let mut receipt = Receipt {
        method: method.name().clone(),
        timestamp: settled.at,
        reference: settled.reference.clone(),
        challenge_id: ChallengeId::new(challenge_id).ok(),
        extra,
    };
    if let Err(error) = method.seal_receipt(&mut receipt).await {
        tracing::warn!(method = %method.name(), %error, "a receipt was not signed");
    }
    let header = receipt.to_header();
    if header.len() <= RECEIPT_BYTES_MAX {
        return header.into();
    }
    tracing::error!(
        bytes = header.len(),
        "a receipt is too long: only its core is kept"
    );
    receipt.extra.clear();
    receipt.to_header().into()
}
