//! How somebody else's server settles on a ledger: one signed order in, one answer out, both JSON.
//!
//! The order is what a payer signed for a challenge, in the very form of a credential's payload:
//! `{"order": base64url, "key": did:key, "signature": base64url}`. So a payee that runs no ledger
//! hands on what it got. A refund, signed by the payee's own key, travels the same way. Who
//! sends it does not matter: it moves what its signer signed, once, and to whom its signer said.
//!
//! The answer is that of [`crate::query`], with the signed receipt of a payment beside it.
//!
//! Channels of sessions travel the same way: a payee elsewhere brings openings and top-ups that
//! name a challenge, captures, and voids. A payer brings its own forced close and withdrawal, with
//! nobody's help: [`leaves_a_channel`].

use stiver_core::{
    Receipt, Timestamp, base64url,
    json::{Object, Value},
    name::{ChallengeId, MethodName},
};
use stiver_ledger::{
    ExecuteFailure, LedgerError,
    id::HoldId,
    order::{Action, Condition, Order, VerifiedOrder},
    view::{HoldState, Outcome, Transfer},
    voucher::CaptureProof,
};
use stiver_method::artefact::{Refusal, Settled};

use crate::{
    EmbeddedLedger, LedgerApi, METHOD,
    api::settled_of,
    payee::read_payload,
    query::{Answer, OrderAnswer},
    receipt, wire,
};

/// Longest order with its key and signature, bytes of JSON.
pub const SUBMISSION_BYTES_MAX: usize = 8 * 1024;

/// True when a body is an order to be executed rather than a question. It is not read further.
pub fn is_submission(body: &[u8]) -> bool {
    let object = (body.len() <= SUBMISSION_BYTES_MAX).then(|| Object::parse(body).ok());
    match object.flatten().map(|object| object.to_value()) {
        Some(Value::Object(members)) => members.contains_key("order"),
        _ => false,
    }
}

/// True when a body is a payer's order to leave a channel: a forced close or a withdrawal. A ledger
/// that takes no orders from payees elsewhere takes these all the same: they are the payer's way
/// out, and change nothing but a channel of the signer's own.
pub fn leaves_a_channel(body: &[u8]) -> bool {
    let payload = (body.len() <= SUBMISSION_BYTES_MAX).then(|| Object::parse(body).ok());
    let signed = payload.flatten().and_then(|it| read_payload(&it).ok());
    signed.is_some_and(|signed| {
        matches!(
            signed.order().action,
            Action::ForceClose { .. } | Action::Withdraw { .. }
        )
    })
}

/// Executes an order: a body in, a body out. An order that was executed before is answered again.
///
/// A refusal of the ledger is an answer, with the status `refused`: nothing moved.
///
/// # Errors
///
/// [`SubmitRefusal`]: the ledger was not asked, or gave no answer.
pub async fn serve(
    body: &[u8],
    ledger: &EmbeddedLedger,
    now: Timestamp,
) -> Result<Vec<u8>, SubmitRefusal> {
    let order = open(body, ledger).await?;
    let (answer, receipt) = match ledger.ledger().execute(order).await {
        Ok(Outcome::Transfer(transfer)) => {
            let receipt = signed_receipt(ledger, &transfer).await;
            let outcome = Outcome::Transfer(transfer);
            (OrderAnswer::executed(&outcome), receipt)
        }
        Ok(outcome) => (OrderAnswer::executed(&outcome), None),
        Err(ExecuteFailure::Refused(refused)) => (OrderAnswer::refused(refused), None),
        Err(ExecuteFailure::Unknown(error)) => return Err(SubmitRefusal::Ledger(error)),
    };
    Ok(Answer::Order(answer).to_body(ledger.id(), now, receipt))
}

/// Reads and verifies an order that a payee may bring.
async fn open(body: &[u8], ledger: &EmbeddedLedger) -> Result<VerifiedOrder, SubmitRefusal> {
    let malformed = |refusal: Refusal| SubmitRefusal::Malformed(refusal.detail);
    let not_json = |_| SubmitRefusal::Malformed("the body is no JSON object".to_owned());
    if body.len() > SUBMISSION_BYTES_MAX {
        return Err(SubmitRefusal::Malformed(format!(
            "an order with its signature has at most {SUBMISSION_BYTES_MAX} bytes"
        )));
    }
    let payload = Object::parse(body).map_err(not_json)?;
    let signed = read_payload(&payload).map_err(malformed)?;
    if signed.order().ledger != ledger.id() {
        return Err(SubmitRefusal::OtherLedger);
    }
    if !may_be_brought(signed.order()) {
        return Err(SubmitRefusal::Kind);
    }
    if let Action::Capture { channel, proof, .. } = &signed.order().action {
        check_capture(ledger, signed.order(), *channel, proof).await?;
    }
    signed.verify().map_err(|_| SubmitRefusal::Denied)
}

/// Some milliseconds of hashing are for nobody but a channel's own payee, for its own chain.
async fn check_capture(
    ledger: &EmbeddedLedger,
    order: &Order,
    channel: HoldId,
    proof: &CaptureProof,
) -> Result<(), SubmitRefusal> {
    let CaptureProof::Word { root: leads_to, .. } = proof else {
        return Ok(());
    };
    let hold = ledger.ledger().hold(channel).await;
    let hold = hold.map_err(SubmitRefusal::Ledger)?;
    let its_own = hold.is_some_and(|hold| {
        hold.capturer == order.account
            && hold.state == HoldState::Open
            && matches!(hold.condition, Condition::Words { root, .. } if root == *leads_to)
    });
    if its_own {
        Ok(())
    } else {
        Err(SubmitRefusal::Channel)
    }
}

/// Payments for a challenge, refunds, and what a session needs. Everything else is the admin's.
fn may_be_brought(order: &Order) -> bool {
    match &order.action {
        Action::Transfer { charge, .. } => charge.is_some(),
        Action::Hold {
            charge, condition, ..
        } => {
            let channel = matches!(
                condition,
                Condition::Vouchers { .. } | Condition::Words { .. }
            );
            channel && charge.is_some()
        }
        Action::TopUp { charge, .. } => charge.is_some(),
        Action::Refund { .. }
        | Action::Capture { .. }
        | Action::Void { .. }
        | Action::ForceClose { .. }
        | Action::Withdraw { .. } => true,
        _ => false,
    }
}

/// The receipt of a payment, for the payee to hand on. A signer that is away costs the receipt,
/// not the answer: the money moved.
async fn signed_receipt(ledger: &EmbeddedLedger, transfer: &Transfer) -> Option<Value> {
    let challenge = ChallengeId::new(transfer.challenge.as_deref()?).ok()?;
    let settled = settled_of(ledger.id(), Outcome::Transfer(Box::new(transfer.clone())))?;
    let mut receipt = unsigned(&settled, challenge);
    let body = receipt::body_of(&receipt).ok()?;
    match ledger.sign_receipt(&body).await {
        Ok(signature) => {
            receipt::put_signature(&mut receipt, &ledger.receipt_key(), &signature);
            Value::parse(receipt.to_json().as_bytes()).ok()
        }
        Err(_) => None,
    }
}

fn unsigned(settled: &Settled, challenge: ChallengeId) -> Receipt {
    let mut extra: std::collections::BTreeMap<_, _> = settled.receipt.iter().cloned().collect();
    let mut put = |name: &str, text: String| {
        extra.insert(name.to_owned(), Value::String(text));
    };
    put("payer", settled.payer.clone().unwrap_or_default());
    put("payee", settled.payee.clone());
    put("amount", settled.amount.to_wire());
    put("currency", settled.amount.currency().code().to_owned());
    Receipt {
        method: MethodName::new(METHOD)
            .expect("the method's name is valid, because it is lower-case letters"),
        timestamp: settled.at,
        reference: settled.reference.clone(),
        challenge_id: Some(challenge),
        extra,
    }
}

/// Why an order was not brought to the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitRefusal {
    /// It is no signed order. (HTTP: 400)
    #[error("not a signed order: {0}")]
    Malformed(String),
    /// It is for another ledger. (HTTP: 404)
    #[error("the order is for another ledger")]
    OtherLedger,
    /// It is of a kind that is not brought by this way. (HTTP: 403)
    #[error(
        "only payments and channels that name a challenge, and what follows from them, are \
             taken here"
    )]
    Kind,
    /// It captures by a word from what is no open channel of its account with this chain. (HTTP:
    /// 403)
    #[error("the account has no open channel with this hash chain to capture from")]
    Channel,
    /// Its signature is wrong. (HTTP: 403)
    #[error("the order's signature is wrong")]
    Denied,
    /// The ledger does not answer: nobody knows yet. Send the same order again. (HTTP: 503)
    #[error("the ledger does not answer: send the same order again")]
    Ledger(#[source] LedgerError),
}

/// The body that brings an order to a ledger.
pub fn body(order: &VerifiedOrder) -> Vec<u8> {
    let signed = order.signed();
    let payload = wire::Payload {
        order: base64url::encode(signed.order_bytes()),
        key: signed.key().to_string(),
        signature: base64url::encode(signed.signature()),
    };
    Object::serialize(&payload)
        .expect("a payload is a JSON object, because its type is a struct of texts")
        .as_str()
        .as_bytes()
        .to_vec()
}
