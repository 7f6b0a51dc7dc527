//! Bodies that are watched: they take as long as they like, as long as they flow.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use stiver_env::{BoxFuture, Clock};

use super::forward::remove_ours;
use crate::{
    pricing::strip_priced,
    routes::Serving,
    upstream::{BoxError, UpstreamClient},
};

/// A body from an upstream. It breaks off when nothing comes for too long while the client waits.
pub(super) struct Download<B> {
    body: B,
    upstream: UpstreamClient,
    clock: Arc<dyn Clock>,
    idle: Duration,
    /// Since when nothing has come.
    waiting: Option<Duration>,
    timer: Option<BoxFuture<'static, ()>>,
}

impl<B> Download<B> {
    /// Watches a body.
    pub(super) fn new(
        body: B,
        upstream: &UpstreamClient,
        clock: &Arc<dyn Clock>,
        idle: Duration,
    ) -> Self {
        Self {
            body,
            upstream: upstream.clone(),
            clock: Arc::clone(clock),
            idle,
            waiting: None,
            timer: None,
        }
    }

    /// Resolves when nothing has come for too long. The timer is set once and looked at when it
    /// fires: a body that flows costs no timer for each of its frames.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.clock.monotonic();
            let since = *self.waiting.get_or_insert(now);
            let left = self.idle.saturating_sub(now.saturating_sub(since));
            if left.is_zero() {
                return Poll::Ready(());
            }
            let clock = &self.clock;
            let timer = self.timer.get_or_insert_with(|| clock.sleep(left));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }
}

impl<B> Body for Download<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                this.waiting = None;
                Poll::Ready(frame.map(|frame| {
                    let mut frame = frame.map_err(Into::into)?;
                    if let Some(trailers) = frame.trailers_mut() {
                        this.upstream.rules().response(trailers);
                        remove_ours(trailers);
                    }
                    Ok(frame)
                }))
            }
            Poll::Pending => this.poll_idle(context).map(|()| Some(Err(Idle.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Nothing came for too long.
#[derive(Debug, thiserror::Error)]
#[error("the upstream sent nothing for too long")]
struct Idle;

/// Counts the bytes of a body that goes to an upstream.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Gone>);

#[derive(Default)]
struct Gone {
    bytes: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    /// How many bytes have gone.
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Whether all of it has.
    pub(super) fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }
}

/// A body from a client that goes to an upstream as it comes.
pub(super) struct Upload<B> {
    body: B,
    serving: Arc<Serving>,
    progress: Progress,
}

impl<B> Upload<B> {
    /// Lets a body flow, and counts.
    pub(super) fn new(body: B, serving: &Arc<Serving>, progress: &Progress) -> Self {
        Self {
            body,
            serving: Arc::clone(serving),
            progress: progress.clone(),
        }
    }
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        polled.map(|frame| {
            let gone = &this.progress.0;
            if let Some(Ok(frame)) = &frame {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                gone.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            if frame.is_none() || this.body.is_end_stream() {
                gone.ended.store(true, Ordering::Relaxed);
            }
            frame.map(|frame| {
                let mut frame = frame.map_err(Into::into)?;
                if let Some(trailers) = frame.trailers_mut() {
                    this.serving.upstream.rules().request_trailers(trailers);
                    strip_priced(&this.serving.priced_headers, trailers);
                }
                Ok(frame)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
