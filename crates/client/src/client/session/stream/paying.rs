//! The paying half of a body that is paid for as it comes: what is agreed to, signed, and written
//! down at the end.

use http::{HeaderMap, HeaderName};
use stiver_core::Receipt;

use super::{
    super::{super::note_text, Work},
    Delivered, NeedVoucher, Plain, Streamed,
};
use crate::{
    CallError, SessionFailure, limits,
    session::{SessionState, SessionStep, Told},
};

/// The receipt, in the trailers of a body without events.
const PAYMENT_RECEIPT: HeaderName = HeaderName::from_static("payment-receipt");

/// A plain body is signed on for when this part of what was signed ahead is used up: a quarter.
const PLAIN_STEP: u128 = 4;

/// The work, and what was seen at the last voucher.
pub(super) struct Paying {
    pub(super) work: Work,
    before: Delivered,
    /// What the receipt at its head told.
    told_first: Option<Told>,
    /// What the last receipt tells.
    told: Option<Told>,
    note: Option<String>,
    plain: Plain,
    /// Vouchers that were asked for since something came.
    in_vain: u32,
    /// All that the limit of the request or of the session allows is signed.
    limited: bool,
    /// The payee has said its last word: nothing is signed after it.
    receipted: bool,
    streamed: Streamed,
}

impl Paying {
    pub(super) fn new(
        work: Work,
        before: Delivered,
        plain: Plain,
        (told_first, note): (Option<Told>, Option<String>),
    ) -> Self {
        Self {
            streamed: work.streamed.clone(),
            work,
            before,
            told_first,
            told: None,
            note,
            plain,
            in_vain: 0,
            limited: false,
            receipted: false,
        }
    }

    /// Answers the payee's wish for a voucher. Whoever reads learns in the end why it got none.
    pub(super) async fn answer(&mut self, need: NeedVoucher, got: Delivered) {
        if self.receipted {
            return;
        }
        self.in_vain = match got.events > self.before.events {
            true => 0,
            false => self.in_vain.saturating_add(1),
        };
        if self.in_vain > limits::VOUCHERS_IN_VAIN_MAX {
            return;
        }
        let supplied = self.supply(need, got).await;
        self.tell(supplied).await;
    }

    /// Signs on for a plain body.
    pub(super) async fn go_on(&mut self, got: Delivered) {
        let signed = self.sign_on(got).await;
        if signed.is_err() {
            self.plain = Plain::Stopped;
        }
        self.tell(signed).await;
        if self.limited && self.plain == Plain::Measured {
            let why = "what a limit of this side allows for it is signed".to_owned();
            self.streamed.change(|end| end.unpaid = Some(why));
        }
    }

    async fn tell(&mut self, done: Result<(), CallError>) {
        let why = done.err().map(|error| note_text(&error.to_string()));
        self.streamed.change(|end| end.unpaid.clone_from(&why));
        if let Some(note) = why {
            let _ = self.work.record(SessionStep::Noted { note }).await;
        }
    }

    /// The payee asks for a voucher. It gets one of at least what it asks for, when this side's own
    /// measure, window and limits allow that; else none, and the stream pauses until the payee
    /// gives up.
    async fn supply(&mut self, need: NeedVoucher, got: Delivered) -> Result<(), CallError> {
        let session = self.work.session()?;
        if session.channel.as_deref() != Some(need.channel.as_str()) {
            let why = "the stream asks for a voucher of another channel".to_owned();
            return Err(self.work.failed(SessionFailure::Declined(why)));
        }
        let own = session.in_flight.get(&self.work.id).copied().unwrap_or(0);
        let others = session.agreed.saturating_sub(own);
        let asked = need.required.saturating_sub(others);
        if need.required > session.signed {
            self.work.allow_request(asked)?;
        }
        let cost = self.cost(got, asked, own);
        self.before = got;
        self.pay(cost, need.required).await
    }

    /// Signs for `cost` more than was agreed, and for at least `least` in all, and sends it.
    async fn pay(&mut self, cost: u128, least: u128) -> Result<(), CallError> {
        let cumulative = self.work.target(cost, least).await?;
        let voucher = self.work.sign(cost, cumulative).await?;
        self.work.send_aside(&voucher).await
    }

    /// What a plain body has cost beyond what was agreed for it, after `more_ms` milliseconds.
    fn beyond(&self, got: Delivered, more_ms: u64) -> u128 {
        let now = self.work.client.now().plus_millis(more_ms);
        let measured = self.work.measured(got, now).unwrap_or(0);
        let session = self.work.lease.session.as_ref();
        let own = session.and_then(|it| it.in_flight.get(&self.work.id));
        measured.saturating_sub(own.copied().unwrap_or(0))
    }

    /// True when a good part of what was signed ahead for a plain body is used up.
    pub(super) fn is_due(&self, got: Delivered) -> bool {
        self.is_due_after(got, 0)
    }

    fn is_due_after(&self, got: Delivered, more_ms: u64) -> bool {
        if self.plain != Plain::Measured || self.receipted {
            return false;
        }
        // Once the request has ended in the journal, nothing is signed for it any more.
        let session = self.work.lease.session.as_ref();
        let open = session.filter(|it| it.in_flight.contains_key(&self.work.id));
        let Some(session) = open else {
            return false;
        };
        let ahead = session.signed.saturating_sub(session.agreed);
        let beyond = self.beyond(got, more_ms);
        beyond > 0 && beyond >= ahead / PLAIN_STEP
    }

    /// In how many milliseconds it is due though nothing comes, where time is paid for.
    pub(super) fn due_in_ms(&self, got: Delivered) -> u64 {
        let (mut early, mut late) = (0, limits::SIGN_ON_LOOK_MS_MAX);
        while late.saturating_sub(early) > 1 {
            let middle = early.midpoint(late);
            match self.is_due_after(got, middle) {
                true => late = middle,
                false => early = middle,
            }
        }
        late
    }

    /// Agrees to what a plain body has cost so far, and signs ahead from there.
    async fn sign_on(&mut self, got: Delivered) -> Result<(), CallError> {
        let cost = self.beyond(got, 0);
        let session = self.work.session()?;
        let own = session.in_flight.get(&self.work.id).copied().unwrap_or(0);
        let (signed, bounds) = (session.signed, session.bounds);
        let agreed = session.agreed.saturating_add(cost);
        self.work.allow_request(own.saturating_add(cost))?;
        // Enough to go on with, though the deposit has to grow for it.
        let room = self.work.ahead(cost);
        let least = agreed.saturating_add(room.div_ceil(PLAIN_STEP));
        let cumulative = self.work.target(cost, least.min(bounds.cap)).await?;
        let voucher = self.work.sign(cost, cumulative).await?;
        if cumulative > signed {
            self.work.send_aside(&voucher).await?;
        }
        if room < bounds.window || agreed.saturating_add(room) > bounds.cap {
            self.limited = true;
        }
        Ok(())
    }

    /// What is agreed for the stream now, on top of what was before: what this side measured, where
    /// it can measure; else what was signed before, provided that something came for it.
    fn cost(&self, got: Delivered, asked: u128, own: u128) -> u128 {
        if let Some(measured) = self.work.measured(got, self.work.client.now()) {
            return measured.min(asked).saturating_sub(own);
        }
        let session = self.work.lease.session.as_ref();
        let session = session.filter(|_| got.events > self.before.events);
        session.map_or(0, |session| session.signed.saturating_sub(session.agreed))
    }

    /// The receipt that ends an event stream.
    pub(super) fn take_receipt(&mut self, json: &[u8]) {
        match Receipt::from_json(json) {
            Ok(receipt) => self.judge(receipt),
            Err(error) => self.faulty(format!("the last receipt is malformed: {error}")),
        }
    }

    /// The receipt that ends another body.
    pub(super) fn take_trailers(&mut self, trailers: &HeaderMap) {
        let mut lines = trailers.get_all(PAYMENT_RECEIPT).into_iter();
        match (lines.next(), lines.next()) {
            (None, _) => {}
            (Some(line), None) => match Receipt::parse(line.as_bytes()) {
                Ok(receipt) => self.judge(receipt),
                Err(error) => self.faulty(format!("the last receipt is malformed: {error}")),
            },
            (Some(_), Some(_)) => self.faulty("the trailers have several receipts".to_owned()),
        }
    }

    fn judge(&mut self, receipt: Receipt) {
        self.receipted = true;
        let (told, fault) = self.work.judge_receipt(&receipt, true);
        self.told = told.or(self.told);
        match fault {
            Some(fault) => self.faulty(fault),
            None => self.streamed.change(|end| end.receipt = Some(receipt)),
        }
    }

    fn faulty(&mut self, fault: String) {
        self.streamed
            .change(|end| end.receipt_fault = Some(fault.clone()));
        self.note = Some(fault);
    }

    /// The stream has ended, or its reader has gone. What it has cost is what the payee says in its
    /// last receipt; without one what this side measured; and where it can measure nothing, all
    /// that is signed, once something came for it. At most what is signed.
    pub(super) async fn end(&mut self, got: Delivered) {
        if self.plain != Plain::No {
            // A body that came to its end was paid for.
            self.streamed.change(|end| {
                if end.ended {
                    end.unpaid = None;
                }
            });
        }
        // If it is not recorded, the request stays counted.
        let _ = self.end_in_journal(got).await;
    }

    async fn end_in_journal(&mut self, got: Delivered) -> Result<(), CallError> {
        if self.work.state().is_none_or(SessionState::is_final) {
            return Ok(());
        }
        let measured = self.work.measured(got, self.work.client.now());
        let session = self.work.session()?;
        let own = session.in_flight.get(&self.work.id).copied().unwrap_or(0);
        let others = session.agreed.saturating_sub(own);
        let came = got.events > self.before.events || got.bytes > self.before.bytes;
        let told = self.told.map(|told| told.spent.saturating_sub(others));
        let all = came.then(|| session.signed.saturating_sub(others));
        let charged = told.or(measured).or(all);
        if let (Some(measured), Some(told), None) = (measured, told, &self.note)
            && told > measured
        {
            let (counted, measured) = (session.amount(told), session.amount(measured));
            self.note = Some(format!(
                "the payee counts {counted}, this side measured {measured}"
            ));
        }
        let note = self.note.take();
        let told = self.told.or(self.told_first);
        self.work.answered_by(told, charged, note).await
    }
}
