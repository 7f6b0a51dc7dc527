//! What a session costs, as it is told while an answer comes.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use stiver_client::{
    Payment,
    events::{Event, Observer},
    session::Session,
};
use stiver_core::{Amount, Timestamp};

use crate::{args::get::Get, output::Output};

/// Follows the session of a fetch. On a terminal it shows the cost of a stream as it runs, when
/// that does not run into the body.
pub(super) struct Meter {
    live: bool,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    session: Option<Session>,
    /// The live line is on the terminal.
    shown: bool,
}

impl Meter {
    pub(super) fn new(args: &Get, output: Output) -> Self {
        let body_elsewhere =
            args.output.output.is_some() || args.output.remote_name || !io::stdout().is_terminal();
        Self {
            live: args.payment.session
                && !args.output.silent
                && !output.is_json()
                && body_elsewhere
                && io::stderr().is_terminal(),
            last: Mutex::default(),
        }
    }

    /// The session as it stands now, and what the payment has cost by it.
    pub(super) fn now(&self, payment: &Payment) -> Option<(Session, Amount)> {
        let before = payment.session.as_ref()?;
        let last = self.last();
        let now = last.session.as_ref().filter(|now| now.id == before.id);
        let now = now.unwrap_or(before);
        let own = before.in_flight.get(&payment.call).copied().unwrap_or(0);
        let others = before.agreed.saturating_sub(own);
        let cost = match before.in_flight.contains_key(&payment.call) {
            true => now.amount(now.agreed.saturating_sub(others)),
            false => payment.terms.amount.clone(),
        };
        Some((now.clone(), cost))
    }

    /// Takes the live line away.
    pub(super) fn clear(&self) {
        let mut last = self.last();
        if std::mem::take(&mut last.shown) {
            let mut err = io::stderr().lock();
            let _ = err.write_all(b"\r\x1b[2K").and_then(|()| err.flush());
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer<Event> for Meter {
    fn observe(&self, _: Timestamp, event: &Event) {
        let Event::Session { session, .. } = event else {
            return;
        };
        let mut last = self.last();
        if self.live {
            last.shown = true;
            let agreed = session.amount(session.agreed);
            let signed = session.amount(session.signed);
            let deposit = session.amount(session.deposit.saturating_add(session.asked));
            let mut err = io::stderr().lock();
            let line = format!("\r\x1b[2Kcost {agreed}, signed {signed} of {deposit}");
            let _ = err.write_all(line.as_bytes()).and_then(|()| err.flush());
        }
        last.session = Some((**session).clone());
    }
}
