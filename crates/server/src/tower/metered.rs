//! Metered bodies: each piece is paid for before it leaves.
//!
//! A task takes the inner service's body piece by piece and gives it to the connection when the
//! connection is ready: so a client that does not read is charged for one piece at most, and holds
//! no more than that one in memory. An event stream is cut at its events; between two of them the
//! payer is asked for a voucher when there is need, and told the receipt at the end.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use tokio::sync::mpsc;

use super::{BoxError, body::BrokenOff, future::PAYMENT_RECEIPT, used::Used};
use crate::{
    gate::session::metered::{Counts, Metering, Need, Refill},
    limits::{EVENT_BYTES_MAX, TIME_STEP_MS},
    session::usage::Each,
};

/// What kind of body is metered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Events, between which others may be put.
    Events,
    /// Bytes. `trailers`: the client reads the receipt behind them.
    Bytes {
        /// Whether a receipt is sent as a trailer.
        trailers: bool,
    },
}

/// Whether a stream goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    /// It is over: all of it has left, or its payment has ended and it can say so.
    End,
    /// It breaks off before its end.
    Cut,
}

/// Where pieces go.
pub(super) type Pieces = mpsc::Sender<Result<Frame<Bytes>, BoxError>>;

/// One metered response that is on its way.
struct Stream {
    account: Metering,
    kind: Kind,
    to: Pieces,
    whole: Arc<AtomicBool>,
    used: Used,
    requests: u64,
    /// What the inner body ended with.
    trailers: HeaderMap,
}

/// Passes a body on, piece by piece, as it is paid for. What `to` gets is all of it only if `whole`
/// is set by then.
pub(super) async fn pump<R>(
    body: R,
    (to, whole): (Pieces, Arc<AtomicBool>),
    (account, used): (Metering, Used),
    kind: Kind,
) where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let mut body = Box::pin(body);
    let mut events = Events::default();
    let mut stream = Stream {
        account,
        kind,
        to,
        whole,
        used,
        requests: 1,
        trailers: HeaderMap::new(),
    };
    loop {
        let flow = match stream.next(body.as_mut()).await {
            Woke::Piece(Some(Ok(frame))) => match (frame.into_data(), kind) {
                (Ok(data), Kind::Events) => stream.events(&mut events, &data).await,
                (Ok(data), Kind::Bytes { .. }) => stream.bytes(data).await,
                (Err(frame), _) => {
                    stream
                        .trailers
                        .extend(frame.into_trailers().unwrap_or_default());
                    Flow::On
                }
            },
            Woke::Piece(Some(Err(error))) => {
                // The connection breaks off as the upstream did; what has left is paid.
                stream.give(Err(error.into())).await;
                return;
            }
            Woke::Piece(None) => stream.last(events.rest()).await,
            Woke::Step | Woke::Reported => stream.deliver(Bytes::new(), Counts::default()).await,
            Woke::Changed if !stream.account.is_fenced() => Flow::On,
            Woke::Changed => stream.unpaid(),
            Woke::Gone => return,
        };
        match flow {
            Flow::On if events.ended => return,
            Flow::On => {}
            Flow::End => return stream.finish(None).await,
            Flow::Cut => return stream.cut().await,
        }
    }
}

enum Woke<E> {
    Piece(Option<Result<Frame<Bytes>, E>>),
    Step,
    /// The handler has reported something.
    Reported,
    Changed,
    Gone,
}

impl Stream {
    /// Waits for whatever comes first. A body that has a piece ready is not waited for: nothing is
    /// listened to, and no timer is set.
    async fn next<R>(&self, mut body: Pin<&mut R>) -> Woke<R::Error>
    where
        R: Body<Data = Bytes>,
    {
        if self.to.is_closed() {
            return Woke::Gone;
        }
        if self.account.is_fenced() {
            return Woke::Changed;
        }
        if let Poll::Ready(piece) = now(|context| body.as_mut().poll_frame(context)).await {
            return Woke::Piece(piece);
        }
        let changed = self.account.busy.changed.notified();
        let (mut gone, mut changed) = (pin!(self.to.closed()), pin!(changed));
        let mut reported = pin!(self.account.reported.changed());
        let step = Duration::from_millis(TIME_STEP_MS);
        let by_time = self.account.counts_time();
        let mut step = by_time.then(|| self.account.gate().env().clock.sleep(step));
        // Listens before it looks, so that no close is missed in between.
        changed.as_mut().enable();
        if self.account.is_fenced() {
            return Woke::Changed;
        }
        poll_fn(|context| {
            if gone.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woke::Gone);
            }
            if changed.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woke::Changed);
            }
            if let Poll::Ready(piece) = body.as_mut().poll_frame(context) {
                return Poll::Ready(Woke::Piece(piece));
            }
            if reported.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woke::Reported);
            }
            match &mut step {
                Some(step) => step.as_mut().poll(context).map(|()| Woke::Step),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Takes the events apart that a piece completes.
    async fn events(&mut self, events: &mut Events, data: &Bytes) -> Flow {
        events.held.extend_from_slice(data);
        while let Some(event) = events.next() {
            if is_done(&event) {
                // Readers stop at this one: the receipt comes before it.
                events.ended = true;
                self.finish(Some(event)).await;
                return Flow::On;
            }
            let flow = self.event(event).await;
            if flow != Flow::On {
                return flow;
            }
        }
        match events.held.len() > EVENT_BYTES_MAX {
            true => Flow::Cut,
            false => Flow::On,
        }
    }

    /// Cuts what a window does not pay for at once.
    async fn bytes(&mut self, mut data: Bytes) -> Flow {
        let most = self.account.bytes_at_once();
        while data.len() > most {
            let piece = data.split_to(most);
            let flow = self.deliver(piece, Counts::default()).await;
            if flow != Flow::On {
                return flow;
            }
        }
        self.deliver(data, Counts::default()).await
    }

    async fn event(&mut self, event: Bytes) -> Flow {
        let counts = Counts {
            events: u64::from(has_data(&event)),
            ..Counts::default()
        };
        self.used.look_in_event(&self.account, &event);
        self.deliver(event, counts).await
    }

    /// Lets a piece leave once it is paid for.
    async fn deliver(&mut self, piece: Bytes, mut counts: Counts) -> Flow {
        counts.bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        counts.requests = self.requests;
        counts.reported = self.used.open(&self.account);
        let flow = self.pay(counts).await;
        if flow != Flow::On {
            return flow;
        }
        let stall = self.account.patience.stall;
        let Some(Ok(place)) = self.in_time(stall, self.to.reserve()).await else {
            return Flow::Cut;
        };
        // Only now, that it leaves, is it charged for: with the time that has passed till now.
        let cost = match self.account.cost(counts) {
            Ok(cost) if self.account.covers(&cost) => cost,
            // It took so long that time has used up what was reserved.
            _ => return self.unpaid(),
        };
        if !piece.is_empty() {
            place.send(Ok(Frame::data(piece)));
        }
        self.account.charge(&cost);
        self.requests = 0;
        self.used.charged(&counts.reported);
        Flow::On
    }

    /// Waits until what is reserved covers these.
    async fn pay(&mut self, counts: Counts) -> Flow {
        // Mostly it does, and nothing is listened to.
        if let Ok(cost) = self.account.cost(counts)
            && self.account.covers(&cost)
        {
            return Flow::On;
        }
        let mut asked = None;
        loop {
            let busy = Arc::clone(&self.account.busy);
            // Listens before it looks, so that no voucher is missed in between.
            let mut changed = pin!(busy.changed.notified());
            changed.as_mut().enable();
            let Ok(cost) = self.account.cost(counts) else {
                return self.unpaid();
            };
            if self.account.covers(&cost) {
                return Flow::On;
            }
            match self.account.refill(&cost).await {
                Ok(Refill::Done) => continue,
                Ok(Refill::Need(need)) => {
                    let flow = match asked == Some(need.required) {
                        true => Flow::On,
                        false => self.ask(need).await,
                    };
                    if flow != Flow::On {
                        return flow;
                    }
                    asked = Some(need.required);
                }
                Err(_) => return self.unpaid(),
            }
            let gone = pin!(self.to.closed());
            let woken = select(changed, gone);
            match self.in_time(self.account.patience.pause, woken).await {
                Some(Either::Left(_)) => {}
                Some(Either::Right(_)) | None => return self.unpaid(),
            }
        }
    }

    /// What becomes of a stream whose payment has ended: one of events says so by its receipt.
    /// Others would look whole.
    fn unpaid(&self) -> Flow {
        match self.kind {
            Kind::Events => Flow::End,
            Kind::Bytes { .. } => Flow::Cut,
        }
    }

    /// Asks for a voucher, where that can be done.
    ///
    /// # Spec
    /// draft-tempo-session-00, TSES-38.
    async fn ask(&self, need: Need) -> Flow {
        if self.kind != Kind::Events {
            return Flow::On;
        }
        let event = format!(
            "event: payment-need-voucher\ndata: {{\"acceptedCumulative\":\"{}\",\"channelId\":\
             \"{}\",\"deposit\":\"{}\",\"requiredCumulative\":\"{}\"}}\n\n",
            need.accepted, self.account.busy.text, need.deposit, need.required
        );
        self.send(Frame::data(event.into())).await
    }

    /// Sends what costs nothing.
    async fn send(&self, frame: Frame<Bytes>) -> Flow {
        match self.give(Ok(frame)).await {
            true => Flow::On,
            false => Flow::Cut,
        }
    }

    async fn give(&self, what: Result<Frame<Bytes>, BoxError>) -> bool {
        let given = Box::pin(self.to.send(what));
        let given = self.in_time(self.account.patience.stall, given).await;
        matches!(given, Some(Ok(())))
    }

    async fn in_time<T>(&self, most: Duration, what: impl Future<Output = T>) -> Option<T> {
        let mut what = pin!(what);
        if let Poll::Ready(value) = now(|context| what.as_mut().poll(context)).await {
            return Some(value);
        }
        let end = self.account.gate().env().clock.sleep(most);
        match select(what, end).await {
            Either::Left((value, _)) => Some(value),
            Either::Right(_) => None,
        }
    }

    /// The inner body is over: what is left of it, and what was never charged for.
    async fn last(&mut self, rest: Bytes) -> Flow {
        self.used.look_in_trailers(&self.account, &self.trailers);
        let open = self.requests > 0 || self.used.open(&self.account) != Each::default();
        let flow = match rest.is_empty() {
            true if !open => Flow::On,
            true => self.deliver(rest, Counts::default()).await,
            false => self.event(rest).await,
        };
        match flow {
            Flow::On => Flow::End,
            flow => flow,
        }
    }

    /// Ends the account of a body that breaks off. No receipt can follow: whatever ends a body
    /// says that it was whole.
    async fn cut(mut self) {
        drop(self.account.end().await);
        self.give(Err(BrokenOff.into())).await;
    }

    /// Ends the account, and tells the receipt.
    async fn finish(&mut self, last: Option<Bytes>) {
        let receipt = self.account.end().await;
        let flow = match (receipt, self.kind) {
            (Some((_, json)), Kind::Events) => {
                let event = format!("event: payment-receipt\ndata: {json}\n\n");
                self.send(Frame::data(event.into())).await
            }
            (Some((field, _)), Kind::Bytes { trailers: true }) => {
                if let Ok(value) = HeaderValue::from_str(&field) {
                    self.trailers.insert(PAYMENT_RECEIPT, value);
                }
                Flow::On
            }
            (Some(_), Kind::Bytes { trailers: false }) | (None, _) => Flow::On,
        };
        if flow != Flow::On {
            return;
        }
        if let Some(last) = last
            && self.send(Frame::data(last)).await != Flow::On
        {
            return;
        }
        let trailers = std::mem::take(&mut self.trailers);
        if !trailers.is_empty() && self.send(Frame::trailers(trailers)).await != Flow::On {
            return;
        }
        self.whole.store(true, Ordering::Release);
    }
}

/// Polls once: whether it is ready now.
async fn now<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|context| Poll::Ready(poll(context))).await
}

/// What has come of an event stream and is no whole event yet.
#[derive(Default)]
struct Events {
    held: BytesMut,
    /// Up to where no event ends.
    seen: usize,
    ended: bool,
}

impl Events {
    /// The next whole event, with the blank line that ends it.
    fn next(&mut self) -> Option<Bytes> {
        let held = &self.held[..];
        let mut at = self.seen;
        while let Some(found) = held.get(at..).and_then(|it| it.iter().position(is_newline)) {
            let line_end = at + found;
            let next = after_newline(held, line_end)?;
            let blank = held.get(next).is_some_and(is_newline);
            if blank {
                let end = after_newline(held, next)?;
                self.seen = 0;
                return Some(self.held.split_to(end).freeze());
            }
            at = next;
            self.seen = at.saturating_sub(1).min(line_end);
        }
        None
    }

    /// What is left at the end of the stream.
    fn rest(&mut self) -> Bytes {
        self.seen = 0;
        self.held.split().freeze()
    }
}

fn is_newline(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Behind the line end at `at`; `None` when its second half may still come.
fn after_newline(held: &[u8], at: usize) -> Option<usize> {
    match (held.get(at), held.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Some(at + 2),
        (Some(b'\r'), None) => None,
        _ => Some(at + 1),
    }
}

/// The data of an event, line by line.
pub(super) fn data(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = event.split(is_newline);
    let data = lines.filter_map(|line| line.strip_prefix(b"data:"));
    data.map(<[u8]>::trim_ascii)
}

fn has_data(event: &[u8]) -> bool {
    data(event).next().is_some()
}

fn is_done(event: &[u8]) -> bool {
    data(event).eq([&b"[DONE]"[..]])
}

#[cfg(test)]
mod tests;
