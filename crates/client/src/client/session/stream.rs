//! A body that is paid for as it comes.
//!
//! Of an event stream the payment's events are read: the payee says when it needs a voucher, and
//! gets one while that is within this side's own measure and limits. Other bodies say nothing. For
//! them this side signs on by its own measure, before what was signed ahead is used up.

mod paying;
mod report;

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use stiver_env::{BoxFuture, Env};
use stiver_method::session::UnitPrice;

pub use report::{StreamEnd, Streamed};

use super::Work;
use crate::session::{
    Told,
    meter::{Delivered, counts_events, counts_time},
    sse::{Events, NeedVoucher, PaymentEvent},
};
use paying::Paying;

/// The payment of a stream under way. What carries HTTP feeds it the body: see
/// [`WatchedBody`](crate::WatchedBody).
///
/// It has its channel to itself until the body has ended or is dropped. Dropped before its end, it
/// goes on in a task of its own until the journal has what the stream has cost: the last voucher
/// may be on its way.
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
    /// Wakes a body that is paid for by time when nothing comes. The mutex is never locked: it
    /// makes the stream `Sync`.
    alarm: Option<Mutex<BoxFuture<'static, ()>>>,
    by_time: bool,
    streamed: Streamed,
    env: Env,
}

enum Said {
    Need(NeedVoucher, Delivered),
    Receipt(Vec<u8>),
    Trailers(Box<HeaderMap>),
    End(Delivered),
}

/// A step of the payment. Gives nothing back when it was the last one.
type Working = BoxFuture<'static, Option<Box<Paying>>>;

/// Who has the channel at the moment.
enum At {
    /// Nobody: it can be worked with.
    Rest(Box<Paying>),
    /// A voucher on its way. The mutex is never locked: it makes the stream `Sync`.
    Busy(Mutex<Working>),
    /// Done: another request may use the channel.
    Over,
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
        Self::new(work, (None, None), Plain::No)
    }

    /// A body without events, after the receipt in its head.
    pub(super) fn plain(work: Work, told: Option<Told>, note: Option<String>) -> Self {
        Self::new(work, (told, note), Plain::Measured)
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
        !prices.iter().any(events) && work.measured(none, work.since).is_some()
    }

    fn new(work: Work, told: (Option<Told>, Option<String>), plain: Plain) -> Self {
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
            finished: false,
            is_plain: plain != Plain::No,
            alarm: None,
            by_time: counts_time(&work.offer.view.prices),
            streamed: work.streamed.clone(),
            env: work.client.env().clone(),
            at: At::Rest(Box::new(Paying::new(work, got, plain, told))),
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

    /// Counts a message of a socket.
    #[cfg(feature = "websocket")]
    pub(crate) fn message(&mut self, bytes: usize) {
        let bytes = u128::try_from(bytes).unwrap_or(u128::MAX);
        self.got.bytes = self.got.bytes.saturating_add(bytes);
        self.got.events = self.got.events.saturating_add(1);
    }

    /// The payee of a socket asks for a voucher.
    #[cfg(feature = "websocket")]
    pub(crate) fn needs(&mut self, need: NeedVoucher) {
        self.said.push_back(Said::Need(need, self.got));
    }

    /// The payee of a socket tells the last receipt, as JSON.
    #[cfg(feature = "websocket")]
    pub(crate) fn receipt(&mut self, json: Vec<u8>) {
        self.said.push_back(Said::Receipt(json));
    }

    /// Takes the trailers of the body.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if self.is_plain {
            self.said
                .push_back(Said::Trailers(Box::new(trailers.clone())));
        }
    }

    /// The body has ended, or broke off.
    pub(crate) fn finish(&mut self, broke_off: bool) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let rest = self.events.finish();
        if !rest.is_empty() {
            self.output.push_back(rest.into());
        }
        self.streamed.change(|end| end.ended = !broke_off);
        self.said.push_back(Said::End(self.got));
    }

    /// The next piece for the reader.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        self.output.pop_front()
    }

    /// Ready when the payment may have something to do though nothing came.
    pub(crate) fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let At::Rest(paying) = &self.at else {
            return Poll::Pending;
        };
        if !(self.is_plain && self.by_time) {
            return Poll::Pending;
        }
        let mut alarm = match self.alarm.take() {
            Some(alarm) => alarm,
            None => {
                let wait = Duration::from_millis(paying.due_in_ms(self.got));
                Mutex::new(self.env.clock.sleep(wait))
            }
        };
        let future = alarm.get_mut().unwrap_or_else(PoisonError::into_inner);
        match future.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => {
                self.alarm = Some(alarm);
                Poll::Pending
            }
        }
    }

    /// Answers what was said; ready when nothing is left to answer.
    pub(crate) fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match std::mem::replace(&mut self.at, At::Over) {
                At::Over => return Poll::Ready(()),
                At::Busy(mut working) => {
                    let future = working.get_mut().unwrap_or_else(PoisonError::into_inner);
                    match future.as_mut().poll(cx) {
                        Poll::Ready(Some(paying)) => self.at = At::Rest(paying),
                        Poll::Ready(None) => {}
                        Poll::Pending => {
                            self.at = At::Busy(working);
                            return Poll::Pending;
                        }
                    }
                }
                At::Rest(paying) => match self.step(paying) {
                    Some(working) => self.at = At::Busy(Mutex::new(working)),
                    None => return Poll::Ready(()),
                },
            }
        }
    }

    /// What is to be done next; `None` when there is nothing.
    fn step(&mut self, mut paying: Box<Paying>) -> Option<Working> {
        let got = self.got;
        loop {
            return Some(match self.said.pop_front() {
                None if paying.is_due(got) => Box::pin(async move {
                    paying.go_on(got).await;
                    Some(paying)
                }),
                None => {
                    self.at = At::Rest(paying);
                    return None;
                }
                Some(Said::Receipt(json)) => {
                    paying.take_receipt(&json);
                    continue;
                }
                Some(Said::Trailers(trailers)) => {
                    paying.take_trailers(&trailers);
                    continue;
                }
                Some(Said::Need(need, got)) => Box::pin(async move {
                    paying.answer(need, got).await;
                    Some(paying)
                }),
                Some(Said::End(got)) => Box::pin(async move {
                    paying.end(got).await;
                    None
                }),
            });
        }
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        let got = self.got;
        let working: Working = match std::mem::replace(&mut self.at, At::Over) {
            At::Over => return,
            At::Rest(paying) => Box::pin(std::future::ready(Some(paying))),
            At::Busy(working) => working.into_inner().unwrap_or_else(PoisonError::into_inner),
        };
        self.env.spawner.spawn(Box::pin(async move {
            if let Some(mut paying) = working.await {
                paying.end(got).await;
            }
        }));
    }
}
