//! A body that is paid for as it comes.
//!
//! Of an event stream the payment's events are read: the payee says when it needs a voucher, and
//! gets one while that is within this side's own measure and limits. Other bodies say nothing. For
//! them this side signs on by its own measure, before what was signed ahead is used up.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use stiver_core::Receipt;
use stiver_env::BoxFuture;
use stiver_method::session::UnitPrice;

use super::{super::note_text, Work};
use crate::{
    CallError, SessionFailure,
    session::{
        SessionState, SessionStep, Told,
        meter::{Delivered, counts_events, measured},
        sse::{Events, NeedVoucher, PaymentEvent},
    },
};

/// A plain body is signed on for when this part of what was signed ahead is used up: a quarter.
const PLAIN_STEP: u128 = 4;

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
    is_plain: bool,
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
    plain: Plain,
}

/// How a body without events is paid for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plain {
    /// It is none: the payee asks.
    No,
    /// By this side's own measure.
    Measured,
    /// No further: a limit was met, or the payee refused.
    Stopped,
}

impl SessionStream {
    /// An event stream.
    pub(super) fn events(work: Work) -> Self {
        Self::new(work, None, Plain::No)
    }

    /// A body without events, after the receipt in its head.
    pub(super) fn plain(work: Work, told: Option<Told>, note: Option<String>) -> Self {
        let mut stream = Self::new(work, told, Plain::Measured);
        if let At::Rest(paying) = &mut stream.at {
            paying.note = note;
        }
        stream
    }

    /// Whether a metered body without events can be paid for: its price has to be one that this
    /// side measures.
    pub(super) fn takes_plain(work: &Work) -> bool {
        let none = Delivered {
            since: work.since,
            bytes: 0,
            events: 0,
        };
        let prices = &work.offer.view.prices;
        let events = |price: &UnitPrice| price.unit.as_deref().is_some_and(counts_events);
        !prices.iter().any(events) && measured(prices, none, work.since).is_some()
    }

    fn new(work: Work, told: Option<Told>, plain: Plain) -> Self {
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
                told,
                note: None,
                plain,
            })),
            finished: false,
            is_plain: plain != Plain::No,
        }
    }

    /// Takes a piece of the body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.is_plain {
            let passed = u128::try_from(bytes.len()).unwrap_or(u128::MAX);
            self.got.bytes = self.got.bytes.saturating_add(passed);
            self.output.push_back(Bytes::copy_from_slice(bytes));
            return;
        }
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
                    let got = self.got;
                    let future: BoxFuture<'static, Box<Paying>> = match self.said.pop_front() {
                        None if paying.is_due(got) => Box::pin(async move {
                            if let Err(error) = paying.sign_on(got).await {
                                paying.plain = Plain::Stopped;
                                paying.note(&error).await;
                            }
                            paying
                        }),
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
        self.before = got;
        self.pay(cost, need.required).await
    }

    /// Signs for `cost` more than was agreed, and for at least `least` in all, and sends it.
    async fn pay(&mut self, cost: u128, least: u128) -> Result<(), CallError> {
        let cumulative = self.work.target(cost, least).await?;
        let voucher = self.work.sign(cost, cumulative).await?;
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

    /// What a plain body has cost beyond what was agreed for it.
    fn beyond(&self, got: Delivered) -> u128 {
        let prices = &self.work.offer.view.prices;
        let measured = measured(prices, got, self.work.client.now()).unwrap_or(0);
        let session = self.work.lease.session.as_ref();
        let own = session.and_then(|it| it.in_flight.get(&self.work.id));
        measured.saturating_sub(own.copied().unwrap_or(0))
    }

    /// True when a good part of what was signed ahead for a plain body is used up.
    fn is_due(&self, got: Delivered) -> bool {
        if self.plain != Plain::Measured {
            return false;
        }
        // Once the request has ended in the journal, nothing is signed for it any more.
        let session = self.work.lease.session.as_ref();
        let open = session.filter(|it| it.in_flight.contains_key(&self.work.id));
        let Some(session) = open else {
            return false;
        };
        let ahead = session.signed.saturating_sub(session.agreed);
        let beyond = self.beyond(got);
        beyond > 0 && beyond >= ahead / PLAIN_STEP
    }

    /// Agrees to what a plain body has cost so far, and signs ahead from there.
    async fn sign_on(&mut self, got: Delivered) -> Result<(), CallError> {
        let cost = self.beyond(got);
        let session = self.work.session()?;
        let own = session.in_flight.get(&self.work.id).copied().unwrap_or(0);
        let signed = session.signed;
        self.work.allow_request(own.saturating_add(cost))?;
        self.pay(cost, 0).await?;
        if self.work.session()?.signed == signed {
            self.plain = Plain::Stopped;
        }
        Ok(())
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
        if self.plain != Plain::No {
            let charged = measured;
            let (told, note) = (self.told, self.note.take());
            return self.work.answered_by(told, charged, note).await;
        }
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
