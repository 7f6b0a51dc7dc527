//! What the method asks of a ledger, embedded or remote.

use stiver_core::{did::DidKey, json::Value};
use stiver_ledger::receipt::ReceiptBody;
use stiver_ledger::{
    id::{AccountId, LedgerId, TransferId},
    order::{SignedOrder, VerifiedOrder},
    view::{OrderStatus, Outcome, Transfer},
};
use stiver_method::{
    BoxFuture,
    artefact::{ExecuteError, Lookup, RailUnavailable, Settled},
    signer::SignError,
};

use crate::refusal;

/// Asks what became of an order.
pub trait OrderQuery: Send + Sync {
    /// What became of it.
    fn lookup<'a>(
        &'a self,
        order: &'a SignedOrder,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>>;
}

/// A ledger that executes orders and signs receipts.
pub trait LedgerApi: OrderQuery {
    /// Which ledger.
    fn id(&self) -> LedgerId;
    /// The key that signs its receipts.
    fn receipt_key(&self) -> DidKey;
    /// Executes an order, once.
    fn execute(&self, order: VerifiedOrder) -> BoxFuture<'_, Result<Settled, ExecuteError>>;
    /// Signs a receipt.
    fn sign_receipt<'a>(
        &'a self,
        receipt: &'a ReceiptBody,
    ) -> BoxFuture<'a, Result<[u8; 64], SignError>>;
}

/// A ledger's word on an order, in the seam's terms.
pub(crate) fn lookup_of(ledger: LedgerId, status: OrderStatus) -> Lookup {
    match status {
        OrderStatus::Pending => Lookup::Pending,
        OrderStatus::Never(never) => Lookup::Never(refusal::refusal(never)),
        OrderStatus::Executed(outcome) => match settled_of(ledger, outcome) {
            Some(settled) => Lookup::Done(Box::new(settled)),
            None => Lookup::Never(refusal::invalid("the order moved no money")),
        },
    }
}

/// A movement as a settlement; none for an outcome that is no movement.
pub(crate) fn settled_of(ledger: LedgerId, outcome: Outcome) -> Option<Settled> {
    match outcome {
        Outcome::Transfer(transfer) => Some(settled(ledger, *transfer)),
        _ => None,
    }
}

fn settled(ledger: LedgerId, transfer: Transfer) -> Settled {
    Settled {
        reference: transfer.id.to_string(),
        at: transfer.at,
        amount: transfer.amount,
        payer: Some(transfer.key.to_string()),
        payee: transfer.credit.to_string(),
        receipt: members(ledger, transfer.debit, transfer.refund_of, transfer.reason),
    }
}

/// What the method adds to a receipt.
pub(crate) fn members(
    ledger: LedgerId,
    payer: AccountId,
    refund_of: Option<TransferId>,
    reason: Option<String>,
) -> Vec<(String, Value)> {
    let member = |name: &str, text: String| (name.to_owned(), Value::String(text));
    let mut members = vec![
        member("ledger", ledger.to_string()),
        member("payerAccount", payer.to_string()),
    ];
    members.extend(refund_of.map(|of| member("refundOf", of.to_string())));
    members.extend(reason.map(|reason| member("reason", reason)));
    members
}
