//! What only the log remembers: movements and orders older than the memory of the state.

use std::collections::{BTreeMap, VecDeque};

use stiver_core::{Currency, Timestamp};

use crate::{
    event::{Event, EventKind, Executed},
    id::{OrderHash, TransferId},
    order::VerifyError,
    rows::ExecutedRow,
    view::{Outcome, Statement, StatementRequest, Transfer},
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

    /// What an executed order did. Always something in a log that the ledger could follow.
    fn outcome(&self, sequence: u64, at: Timestamp, event: &Executed) -> Option<Outcome> {
        let row = ExecutedRow::of(&event.order, &event.postings, sequence, at, 0)?;
        row.outcome(event.order.hash(), &self.currencies)
    }
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
        let Some(Outcome::Transfer(transfer)) = self.scan.outcome(sequence, at, executed) else {
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
            self.page.push_front(*transfer);
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
            self.found = self.scan.outcome(sequence, at, executed);
        }
        self.found.is_some()
    }

    pub(crate) fn finish(self) -> Option<Outcome> {
        self.found
    }
}

/// Verifies the signature of an executed order again, and what a capture proved. True when there
/// was one.
pub(crate) fn verify_signature(event: &Event) -> Result<bool, VerifyError> {
    let EventKind::Executed(executed) = &event.0 else {
        return Ok(false);
    };
    executed.order.check().map(|()| true)
}
