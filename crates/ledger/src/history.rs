//! What only the log remembers: movements and orders older than the memory of the state.

use std::collections::{BTreeMap, VecDeque};

use stiver_core::{Currency, Timestamp};

use crate::{
    event::{Event, EventKind, Executed},
    id::{AccountId, HoldId, OrderHash, TransferId},
    key::{self, SignatureError},
    order::Action,
    rows::Posting,
    view::{Outcome, Statement, StatementRequest, Transfer, TransferKind},
};

/// Reads events in their order and collects what is asked for.
#[derive(Default)]
pub(crate) struct Scan {
    currencies: Vec<Currency>,
    sequence: u64,
}

impl Scan {
    /// The next event; an executed order with its sequence, if it is one.
    fn next<'e>(&mut self, event: &'e Event) -> Option<(u64, &'e Executed)> {
        match &event.0 {
            EventKind::Began(_) => None,
            EventKind::Registered(registered) => {
                let row = &registered.currency;
                self.currencies
                    .extend(Currency::new(row.code.as_str(), row.decimals));
                None
            }
            EventKind::Executed(executed) => {
                self.sequence += 1;
                Some((self.sequence, executed))
            }
        }
    }

    /// The movement of an executed order, if it moved money.
    fn transfer(&self, sequence: u64, at: Timestamp, event: &Executed) -> Option<Transfer> {
        let [debit, credit] = event.postings.as_slice() else {
            return None;
        };
        let currency = self.currencies.get(usize::from(credit.currency))?;
        let mut transfer = Transfer {
            id: TransferId::from(event.order.hash()),
            sequence,
            kind: TransferKind::Transfer,
            debit: debit.account,
            credit: credit.account,
            amount: currency.units(units(credit)),
            at,
            key: event.order.key(),
            challenge: None,
            refund_of: None,
            hold: None,
            reason: None,
            refunded: currency.units(0),
        };
        match &event.order.order().action {
            Action::Transfer { charge, .. } => {
                transfer.challenge = charge.as_ref().map(|charge| charge.challenge.clone());
            }
            Action::Mint { .. } => transfer.kind = TransferKind::Mint,
            Action::Burn { .. } => transfer.kind = TransferKind::Burn,
            Action::Refund {
                transfer: of,
                reason,
                ..
            } => {
                transfer.kind = TransferKind::Refund;
                transfer.refund_of = Some(*of);
                transfer.reason = reason.as_ref().map(ToString::to_string);
            }
            Action::Post { hold, .. } => {
                transfer.kind = TransferKind::Post;
                transfer.hold = Some(*hold);
            }
            _ => return None,
        }
        Some(transfer)
    }
}

fn units(posting: &Posting) -> u128 {
    posting.delta.unsigned_abs()
}

/// Collects a statement.
pub(crate) struct StatementScan {
    scan: Scan,
    request: StatementRequest,
    limit: usize,
    page: VecDeque<Transfer>,
    more: bool,
    refunds: BTreeMap<TransferId, u128>,
}

impl StatementScan {
    pub(crate) fn new(request: StatementRequest) -> Self {
        Self {
            scan: Scan::default(),
            limit: request.limit.clamp(1, crate::limits::PAGE_MAX),
            request,
            page: VecDeque::new(),
            more: false,
            refunds: BTreeMap::new(),
        }
    }

    pub(crate) fn visit(&mut self, at: Timestamp, event: &Event) {
        let Some((sequence, executed)) = self.scan.next(event) else {
            return;
        };
        let Some(transfer) = self.scan.transfer(sequence, at, executed) else {
            return;
        };
        if let Some(of) = transfer.refund_of {
            let sum = self.refunds.entry(of).or_default();
            *sum = sum.saturating_add(transfer.amount.units());
        }
        let request = &self.request;
        let concerned = [transfer.debit, transfer.credit].contains(&request.account);
        let asked = (request.from..request.to).contains(&at)
            && request.before.is_none_or(|before| sequence < before);
        if concerned && asked {
            self.page.push_front(transfer);
            if self.page.len() > self.limit {
                self.page.pop_back();
                self.more = true;
            }
        }
    }

    pub(crate) fn finish(self) -> Statement {
        let refunds = self.refunds;
        let transfers: Vec<Transfer> = self
            .page
            .into_iter()
            .map(|mut transfer| {
                let refunded = refunds.get(&transfer.id).copied().unwrap_or(0);
                transfer.refunded = transfer.amount.currency().units(refunded);
                transfer
            })
            .collect();
        let oldest = transfers.last().map(|transfer| transfer.sequence);
        Statement {
            next: oldest.filter(|_| self.more),
            transfers,
        }
    }
}

/// Looks for one order.
pub(crate) struct OrderScan {
    scan: Scan,
    hash: OrderHash,
    found: Option<Outcome>,
}

impl OrderScan {
    pub(crate) fn new(hash: OrderHash) -> Self {
        Self {
            scan: Scan::default(),
            hash,
            found: None,
        }
    }

    /// True when there is nothing more to look for.
    pub(crate) fn visit(&mut self, at: Timestamp, event: &Event) -> bool {
        if let Some((sequence, executed)) = self.scan.next(event)
            && executed.order.hash() == self.hash
        {
            let order = executed.order.order();
            self.found = Some(match self.scan.transfer(sequence, at, executed) {
                Some(transfer) => Outcome::Transfer(Box::new(transfer)),
                None => other_outcome(self.hash, order.account, &order.action),
            });
        }
        self.found.is_some()
    }

    pub(crate) fn finish(self) -> Option<Outcome> {
        self.found
    }
}

fn other_outcome(hash: OrderHash, signer: AccountId, action: &Action) -> Outcome {
    match action {
        Action::Hold { .. } => Outcome::Held(HoldId::from(hash)),
        Action::Void { hold } => Outcome::Voided(*hold),
        Action::Open { first_key, .. } => Outcome::Changed(AccountId::of_first_key(first_key)),
        Action::Freeze { account, .. } | Action::Limit { account, .. } => {
            Outcome::Changed(*account)
        }
        _ => Outcome::Changed(signer),
    }
}

/// Verifies the signature of an executed order again. True when there was one.
pub(crate) fn verify_signature(event: &Event) -> Result<bool, SignatureError> {
    let EventKind::Executed(executed) = &event.0 else {
        return Ok(false);
    };
    let order = &executed.order;
    key::verify(&order.key(), order.order_bytes(), order.signature())?;
    Ok(true)
}
