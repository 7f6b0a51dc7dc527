//! A response body that can be looked into before it is handed over.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

/// A response body. What the client read of it, to learn what an answer means, comes first.
pub struct WatchedBody<R: Body> {
    inner: Pin<Box<R>>,
    held: VecDeque<Result<Frame<Bytes>, R::Error>>,
    ended: bool,
}

// Nothing in it is pinned in place: the inner body is in a box.
impl<R: Body> Unpin for WatchedBody<R> {}

impl<R: Body> WatchedBody<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner: Box::pin(inner),
            held: VecDeque::new(),
            ended: false,
        }
    }

    /// The first bytes, about `limit` of them, fewer when it ends or breaks before. They stay.
    pub(crate) async fn peek(&mut self, limit: usize) -> Vec<u8> {
        let mut read = Vec::new();
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
        if let Some(frame) = self.held.pop_front() {
            return Poll::Ready(Some(frame));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let next = ready!(self.inner.as_mut().poll_frame(cx));
        self.ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next.map(|next| next.map(in_bytes)))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
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
