//! What the method asks of a ledger, embedded or remote.

use stiver_channel::ChannelId;
use stiver_core::{Timestamp, did::DidKey, json::Value};
use stiver_ledger::{
    id::{AccountId, HoldId, LedgerId, TransferId},
    order::{Action, Condition, SignedOrder, VerifiedOrder},
    receipt::{ReceiptBody, SessionReceiptBody},
    view::{Hold, HoldState, OrderStatus, Outcome, Transfer},
};
use stiver_method::{
    BoxFuture,
    artefact::{ExecuteError, Lookup, RailUnavailable, Settled},
    session::{ChannelLookup, ChannelMoved, ChannelState, Ended},
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

/// A ledger that keeps channels, in this process or elsewhere.
pub trait ChannelLedger: Send + Sync {
    /// The channel as it is now. None when the ledger does not know it, or not to this asker.
    fn channel(
        &self,
        channel: HoldId,
    ) -> BoxFuture<'_, Result<Option<ChannelState>, RailUnavailable>>;
    /// Executes an order about a channel, once: its opening too.
    fn execute_on_channel(
        &self,
        order: VerifiedOrder,
    ) -> BoxFuture<'_, Result<ChannelMoved, ExecuteError>>;
    /// What became of an order about a channel.
    fn lookup_on_channel<'a>(
        &'a self,
        order: &'a SignedOrder,
    ) -> BoxFuture<'a, Result<ChannelLookup, RailUnavailable>>;
}

/// A ledger that sells by sessions: it keeps channels and signs their receipts.
pub trait SessionLedger: ChannelLedger {
    /// Which ledger.
    fn id(&self) -> LedgerId;
    /// The key that signs its receipts.
    fn receipt_key(&self) -> DidKey;
    /// Signs the receipt of a session.
    fn sign_session_receipt<'a>(
        &'a self,
        receipt: &'a SessionReceiptBody,
    ) -> BoxFuture<'a, Result<[u8; 64], SignError>>;
}

/// The channel that an order is about; none when it is about something else.
pub(crate) fn channel_of(order: &SignedOrder) -> Option<HoldId> {
    match &order.order().action {
        Action::Hold {
            condition: Condition::Vouchers { .. } | Condition::Words { .. },
            ..
        } => Some(HoldId::from(order.hash())),
        Action::Capture { channel, .. }
        | Action::TopUp { channel, .. }
        | Action::ForceClose { channel }
        | Action::Withdraw { channel } => Some(*channel),
        Action::Void { hold } => Some(*hold),
        _ => None,
    }
}

/// A hold as a channel; none when it is no channel.
pub(crate) fn channel_state(hold: &Hold) -> Option<ChannelState> {
    if !matches!(
        hold.condition,
        Condition::Vouchers { .. } | Condition::Words { .. }
    ) {
        return None;
    }
    let ended = match hold.state {
        HoldState::Open => None,
        HoldState::Withdrawn => Some(Ended::Withdrawn),
        HoldState::Posted | HoldState::Voided | HoldState::Lapsed => Some(Ended::Closed),
    };
    Some(ChannelState {
        deposit: hold.max.units(),
        settled: hold.captured.units(),
        withdrawable_at: hold.withdrawable_at.filter(|_| ended.is_none()),
        ended,
    })
}

/// A movement of a channel that was done, and the channel as the ledger tells it afterwards. A
/// channel that the ledger has forgotten has ended.
pub(crate) fn moved(
    channel: HoldId,
    order: &SignedOrder,
    at: Timestamp,
    state: Option<ChannelState>,
) -> ChannelMoved {
    let (deposit, settled) = match &order.order().action {
        Action::Hold { amount, .. } => (*amount, 0),
        Action::Capture { cumulative, .. } => (*cumulative, *cumulative),
        _ => (0, 0),
    };
    let state = state.unwrap_or(ChannelState {
        deposit,
        settled,
        withdrawable_at: None,
        ended: Some(Ended::Closed),
    });
    let reference = match &order.order().action {
        Action::Hold { .. } => channel.to_string(),
        _ => TransferId::from(order.hash()).to_string(),
    };
    ChannelMoved {
        channel: ChannelId(*channel.as_bytes()),
        receipt: vec![(
            "settled".to_owned(),
            Value::String(state.settled.to_string()),
        )],
        reference,
        at,
        state,
    }
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
