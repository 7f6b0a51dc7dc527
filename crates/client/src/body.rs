//! A response body that can be looked into before it is handed over, and whose end is journaled.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use stiver_env::BoxFuture;

use crate::client::{Delivery, SessionStream};

/// A response body. What the client read of it, to learn what an answer means, comes first.
///
/// The body of what was paid for must be read to its end: that is what ends the call in the
/// journal. Dropped before, or broken off, it leaves the call open as
/// [`State::Unread`](crate::outbox::State::Unread), and it can be fetched again.
pub struct WatchedBody<R: Body> {
    inner: Pin<Box<R>>,
    held: VecDeque<Result<Frame<Bytes>, R::Error>>,
    ended: bool,
    watch: Watch,
    stream: Option<Box<SessionStream>>,
}

/// Who wants to know of the end.
enum Watch {
    /// Nobody, or it is told.
    Over,
    /// Still to be told, when a reader asks beyond the last frame.
    AtEnd(Delivery),
    /// Still to be told, when the last frame is about to be handed over: for readers that know the
    /// length and do not ask for more.
    AtLastFrame(Delivery),
    /// Being told. The mutex is never locked: it makes the body `Sync`.
    Telling(Mutex<BoxFuture<'static, ()>>),
}

// Nothing in it is pinned in place: the inner body is in a box.
impl<R: Body> Unpin for WatchedBody<R> {}

impl<R: Body> WatchedBody<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner: Box::pin(inner),
            held: VecDeque::new(),
            ended: false,
            watch: Watch::Over,
            stream: None,
        }
    }

    /// Reads the payment's events on the way, and answers them.
    pub(crate) fn paid_as_it_comes(mut self, stream: SessionStream) -> Self {
        self.stream = Some(Box::new(stream));
        self
    }

    /// The next frame of a stream that is paid for as it comes.
    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        loop {
            let Some(stream) = &mut self.stream else {
                return Poll::Ready(None);
            };
            // What is here goes on before the payee's next word is answered.
            if let Some(bytes) = stream.next() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            ready!(stream.poll_work(cx));
            if self.ended {
                return Poll::Ready(self.held.pop_front());
            }
            let next = match self.held.pop_front() {
                Some(held) => Some(held),
                None => match self.inner.as_mut().poll_frame(cx) {
                    Poll::Ready(next) => next.map(|next| next.map(in_bytes)),
                    Poll::Pending => {
                        // Time may be paid for while nothing comes.
                        ready!(stream.poll_alarm(cx));
                        continue;
                    }
                },
            };
            match next {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => stream.feed(&data),
                    Err(frame) => {
                        if let Some(trailers) = frame.trailers_ref() {
                            stream.trailers(trailers);
                        }
                        return Poll::Ready(Some(Ok(frame)));
                    }
                },
                other => {
                    self.ended = true;
                    stream.finish(other.is_some());
                    // An error is told after what the journal needs to know.
                    self.held.extend(other);
                }
            }
        }
    }

    /// Tells when a reader has asked beyond the last frame.
    #[cfg_attr(
        not(feature = "reqwest"),
        expect(
            dead_code,
            reason = "only the reqwest wrapper asks beyond the last frame"
        )
    )]
    pub(crate) async fn tell_at_end(self, delivery: Delivery) -> Self {
        self.watched(Watch::AtEnd(delivery)).await
    }

    /// Tells when the last frame is handed over.
    pub(crate) async fn tell_at_last_frame(self, delivery: Delivery) -> Self {
        self.watched(Watch::AtLastFrame(delivery)).await
    }

    async fn watched(mut self, watch: Watch) -> Self {
        self.watch = watch;
        if self.ended || self.inner.is_end_stream() {
            self.ended = true;
            poll_fn(|cx| self.poll_told(cx)).await;
        }
        self
    }

    /// Tells of the end.
    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.watch = match std::mem::replace(&mut self.watch, Watch::Over) {
            Watch::AtEnd(delivery) | Watch::AtLastFrame(delivery) => {
                Watch::Telling(Mutex::new(Box::pin(delivery.reached())))
            }
            other => other,
        };
        if let Watch::Telling(telling) = &mut self.watch {
            let telling = telling.get_mut().unwrap_or_else(PoisonError::into_inner);
            ready!(telling.as_mut().poll(cx));
            self.watch = Watch::Over;
        }
        Poll::Ready(())
    }

    /// The first bytes, about `limit` of them, fewer when it ends or breaks before. They stay.
    pub(crate) async fn peek(&mut self, limit: usize) -> Vec<u8> {
        let mut read = Vec::new();
        // What an earlier look found.
        for frame in self.held.iter().flatten() {
            read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        while read.len() < limit && !self.ended {
            let next = poll_fn(|cx| self.inner.as_mut().poll_frame(cx)).await;
            self.ended = !matches!(next, Some(Ok(_)));
            let frame = next.map(|next| next.map(in_bytes));
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                read.extend_from_slice(data);
            }
            self.held.extend(frame);
        }
        read
    }
}

fn in_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

impl<R: Body> Body for WatchedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        if self.stream.is_some() {
            return self.poll_stream(cx);
        }
        if matches!(self.watch, Watch::Telling(_)) {
            ready!(self.poll_told(cx));
        }
        if let Some(frame) = self.held.pop_front() {
            return Poll::Ready(Some(frame));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(self.inner.as_mut().poll_frame(cx)) {
            None => {
                self.ended = true;
                ready!(self.poll_told(cx));
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.ended = true;
                // Not the end: the call stays open.
                self.watch = Watch::Over;
                Poll::Ready(Some(Err(error)))
            }
            Some(Ok(frame)) => {
                self.held.push_back(Ok(in_bytes(frame)));
                if matches!(self.watch, Watch::AtLastFrame(_)) && self.inner.is_end_stream() {
                    self.ended = true;
                    ready!(self.poll_told(cx));
                }
                Poll::Ready(self.held.pop_front())
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let over = matches!(self.watch, Watch::Over) && self.stream.is_none();
        over && self.held.is_empty() && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.stream.is_some() {
            // Some of it may be taken out.
            return SizeHint::new();
        }
        let held = self.held.iter().flatten().filter_map(Frame::data_ref);
        let held = held.fold(0_u64, |sum, data| {
            sum.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX))
        });
        let rest = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(held)) {
            hint.set_upper(upper);
        }
        hint
    }
}
