//! A stream that is paid for as it comes: reads the payment's events, and signs on while what was
//! asked is within this side's own measure and limits.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use stiver_core::Receipt;
use stiver_env::BoxFuture;

use super::{super::note_text, Work};
use crate::{
    CallError, SessionFailure,
    session::{
        SessionState, SessionStep, Told,
        meter::{Delivered, measured},
        sse::{Events, NeedVoucher, PaymentEvent},
    },
};

/// The payment of a stream under way. What carries HTTP feeds it the body: see
/// [`WatchedBody`](crate::WatchedBody).
///
/// Dropped before its end, it leaves the request in the journal as one whose outcome is not known:
/// what was agreed for it stays counted.
pub struct SessionStream {
    events: Events,
    keep: bool,
    /// What the reader gets next.
    output: VecDeque<Bytes>,
    /// What the payee said and is not answered yet.
    said: VecDeque<Said>,
    got: Delivered,
    at: At,
    finished: bool,
}

enum Said {
    Need(NeedVoucher, Delivered),
    Receipt(Vec<u8>),
    End(Delivered),
}

/// Who has the channel at the moment.
enum At {
    /// Nobody: it can be worked with.
    Rest(Box<Paying>),
    /// A voucher on its way. The mutex is never locked: it makes the stream `Sync`.
    Busy(Mutex<BoxFuture<'static, Box<Paying>>>),
    /// Done.
    Over,
}

/// The work, and what was seen at the last voucher.
struct Paying {
    work: Work,
    before: Delivered,
    told: Option<Told>,
    note: Option<String>,
}

impl SessionStream {
    pub(super) fn new(work: Work) -> Self {
        let got = Delivered {
            since: work.since,
            bytes: 0,
            events: 0,
        };
        Self {
            events: Events::default(),
            keep: work.sessions.parts.limits.keep_events,
            output: VecDeque::new(),
            said: VecDeque::new(),
            got,
            at: At::Rest(Box::new(Paying {
                work,
                before: got,
                told: None,
                note: None,
            })),
            finished: false,
        }
    }

    /// Takes a piece of the body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let fed = self.events.feed(bytes, self.keep);
        let passed = u128::try_from(fed.pass.len()).unwrap_or(u128::MAX);
        self.got.bytes = self.got.bytes.saturating_add(passed);
        self.got.events = self.got.events.saturating_add(fed.others);
        if !fed.pass.is_empty() {
            self.output.push_back(fed.pass.into());
        }
        let got = self.got;
        self.said
            .extend(fed.said.into_iter().map(|said| match said {
                PaymentEvent::NeedVoucher(need) => Said::Need(need, got),
                PaymentEvent::Receipt(json) => Said::Receipt(json),
            }));
    }

    /// The body has ended, or broke off.
    pub(crate) fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let rest = self.events.finish();
        if !rest.is_empty() {
            self.output.push_back(rest.into());
        }
        self.said.push_back(Said::End(self.got));
    }

    /// The next piece for the reader.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        self.output.pop_front()
    }

    /// Answers what was said; ready when nothing is left to answer.
    pub(crate) fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match std::mem::replace(&mut self.at, At::Over) {
                At::Over => return Poll::Ready(()),
                At::Busy(mut working) => {
                    let future = working.get_mut().unwrap_or_else(PoisonError::into_inner);
                    match future.as_mut().poll(cx) {
                        Poll::Ready(paying) => self.at = At::Rest(paying),
                        Poll::Pending => {
                            self.at = At::Busy(working);
                            return Poll::Pending;
                        }
                    }
                }
                At::Rest(mut paying) => {
                    let future: BoxFuture<'static, Box<Paying>> = match self.said.pop_front() {
                        None => {
                            self.at = At::Rest(paying);
                            return Poll::Ready(());
                        }
                        Some(Said::Receipt(json)) => {
                            paying.take_receipt(&json);
                            self.at = At::Rest(paying);
                            continue;
                        }
                        Some(Said::Need(need, got)) => Box::pin(async move {
                            if let Err(error) = paying.supply(need, got).await {
                                paying.note(&error).await;
                            }
                            paying
                        }),
                        Some(Said::End(got)) => Box::pin(async move {
                            // If it is not recorded, the request stays counted.
                            let _ = paying.end(got).await;
                            paying
                        }),
                    };
                    self.at = At::Busy(Mutex::new(future));
                }
            }
        }
    }
}

impl Paying {
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
        let cumulative = self.work.target(cost, need.required).await?;
        let voucher = self.work.sign(cost, cumulative).await?;
        self.before = got;
        let proof = self.work.spend(&voucher)?;
        let credential = self.work.credential(proof);
        match self.work.ask_aside(&credential).await {
            Ok(answer) if answer.head.status().is_success() => Ok(()),
            Ok(answer) => {
                let refusal = super::words(answer.head.status(), &answer.body).0;
                Err(self.work.failed(SessionFailure::Refused(refusal)))
            }
            Err(last) => Err(self.work.failed(SessionFailure::Unknown(last))),
        }
    }

    /// What is agreed for the stream now, on top of what was before: what this side measured, where
    /// it can measure; else what was signed before, provided that something came for it.
    fn cost(&self, got: Delivered, asked: u128, own: u128) -> u128 {
        let prices = &self.work.offer.view.prices;
        if let Some(measured) = measured(prices, got, self.work.client.now()) {
            return measured.min(asked).saturating_sub(own);
        }
        let came = got.events > self.before.events || got.bytes > self.before.bytes;
        let session = self.work.lease.session.as_ref().filter(|_| came);
        session.map_or(0, |session| session.signed.saturating_sub(session.agreed))
    }

    async fn note(&mut self, error: &CallError) {
        let note = note_text(&error.to_string());
        let _ = self.work.record(SessionStep::Noted { note }).await;
    }

    /// The receipt that ends the stream.
    fn take_receipt(&mut self, json: &[u8]) {
        match Receipt::from_json(json) {
            Ok(receipt) => {
                let (told, fault) = self.work.judge_receipt(&receipt, true);
                self.told = told.or(self.told);
                self.note = fault;
            }
            Err(error) => self.note = Some(format!("the last receipt is malformed: {error}")),
        }
    }

    /// The stream has ended.
    async fn end(&mut self, got: Delivered) -> Result<(), CallError> {
        if self.work.state().is_none_or(SessionState::is_final) {
            return Ok(());
        }
        let prices = &self.work.offer.view.prices;
        let measured = measured(prices, got, self.work.client.now());
        let session = self.work.session()?;
        let own = session.in_flight.get(&self.work.id).copied().unwrap_or(0);
        let others = session.agreed.saturating_sub(own);
        let told = self.told.map(|told| told.spent.saturating_sub(others));
        if let (Some(measured), Some(told), None) = (measured, told, &self.note)
            && told > measured
        {
            let (counted, measured) = (session.amount(told), session.amount(measured));
            self.note = Some(format!(
                "the payee counts {counted}, this side measured {measured}"
            ));
        }
        let note = self.note.take();
        self.work.answered(self.told, true, note).await?;
        Ok(())
    }
}
