//! Bodies: reading a request's before it is charged, and a response's when it is to be stored.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either as Raced, select};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Either, Full};
use sha2::{Digest as _, Sha256};
use stiver_core::{Problem, digest::BodyDigest, problem::ProblemKind};
use stiver_env::Clock;
use tokio::sync::mpsc;

use super::{BoxError, price::BodyRule};
use crate::{
    BodyState, Refused,
    limits::{RETRY_AFTER_SLOW_SECONDS, SPOOL_MS_MAX},
};

/// The body that the inner service gets: read in full, the original that still streams, or its
/// beginning and then the rest.
pub type RequestBody<B> = Either<Full<Bytes>, Either<B, Prefixed<B>>>;

/// The body that leaves: ours, the inner service's, or its beginning and then the rest.
pub type ResponseBody<R> = Either<Full<Bytes>, Either<R, Prefixed<R>>>;

/// A body whose first frames were read already.
pub struct Prefixed<R: Body> {
    first: VecDeque<Frame<Bytes>>,
    rest: Rest<R>,
}

/// What follows.
enum Rest<R: Body> {
    /// The rest of the body.
    Body(Pin<Box<R>>),
    /// Pieces of it, as they are paid for.
    Paid(Paid),
}

/// Pieces that come as they are paid for.
struct Paid {
    pieces: mpsc::Receiver<Result<Frame<Bytes>, BoxError>>,
    /// Set before the last of them has gone: what ends without it has broken off.
    whole: Arc<AtomicBool>,
    ended: bool,
}

/// A metered body has broken off: its payment did not reach to the end.
///
/// The connection (or, in HTTP/2, its stream) breaks off with it, so that nobody takes what came
/// for the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the metered body breaks off here: nothing more of it was paid for, or it was not read")]
pub struct BrokenOff;

impl<R: Body<Data = Bytes>> Prefixed<R> {
    fn new(first: VecDeque<Frame<Bytes>>, rest: Pin<Box<R>>) -> Self {
        let rest = Rest::Body(rest);
        Self { first, rest }
    }

    /// A body that comes in pieces, as they are paid for.
    ///
    /// `whole` is set before the last piece has gone, or the body breaks off.
    pub(super) fn paid(
        pieces: mpsc::Receiver<Result<Frame<Bytes>, BoxError>>,
        whole: Arc<AtomicBool>,
    ) -> Self {
        Self {
            first: VecDeque::new(),
            rest: Rest::Paid(Paid {
                pieces,
                whole,
                ended: false,
            }),
        }
    }
}

impl Paid {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        self.ended = !matches!(piece, Some(Ok(_)));
        Poll::Ready(match piece {
            None if !self.whole.load(Ordering::Acquire) => Some(Err(BrokenOff.into())),
            piece => piece,
        })
    }
}

impl<R> Body for Prefixed<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.first.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Rest::Body(rest) => rest
                .as_mut()
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            Rest::Paid(paid) => paid.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = match &self.rest {
            Rest::Body(rest) => rest.is_end_stream(),
            Rest::Paid(_) => false,
        };
        self.first.is_empty() && ended
    }

    fn size_hint(&self) -> SizeHint {
        let read: usize = self
            .first
            .iter()
            .filter_map(Frame::data_ref)
            .map(Bytes::len)
            .sum();
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        let rest = match &self.rest {
            Rest::Body(rest) => rest.size_hint(),
            Rest::Paid(_) => SizeHint::default(),
        };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint.set_lower(rest.lower().saturating_add(read));
        hint
    }
}

/// What was read of a request body before its price is known.
#[derive(Debug, Clone)]
pub struct ReadBody {
    state: BodyState,
    length: u64,
    bytes: Option<Bytes>,
}

impl ReadBody {
    /// No body.
    pub fn none() -> Self {
        Self::of_state(BodyState::None, 0, Some(Bytes::new()))
    }

    /// A body that was read in full.
    pub fn whole(bytes: Bytes) -> Self {
        let state = match bytes.is_empty() {
            true => BodyState::None,
            false => BodyState::Digest(BodyDigest::of(&bytes)),
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self::of_state(state, length, Some(bytes))
    }

    /// A body that streams past the gate.
    pub fn streaming() -> Self {
        Self::of_state(BodyState::Unbound, 0, None)
    }

    fn of_state(state: BodyState, length: u64, bytes: Option<Bytes>) -> Self {
        Self {
            state,
            length,
            bytes,
        }
    }

    /// What the challenge is bound to.
    pub fn state(&self) -> BodyState {
        self.state
    }

    /// How long the body is, bytes; `None` for one that streams.
    pub fn length(&self) -> Option<u64> {
        (self.state != BodyState::Unbound).then_some(self.length)
    }

    /// The whole body, empty when there is none. `None` when it streams, or when it was let go
    /// because [`Price::reads_body`](super::Price::reads_body) says that nobody looks at it.
    pub fn bytes(&self) -> Option<&Bytes> {
        self.bytes.as_ref()
    }
}

/// A request body, ready for the gate.
pub(super) struct Spooled<B: Body> {
    pub(super) read: ReadBody,
    pub(super) body: RequestBody<B>,
    /// The share of the total that its bytes take, given back on drop.
    pub(super) share: Share,
}

/// Bytes taken from a shared total.
pub(super) struct Share {
    total: Arc<AtomicUsize>,
    taken: usize,
}

impl Share {
    fn take(&mut self, bytes: usize, max: usize) -> bool {
        let next = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= max);
        let taken = self
            .total
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            .is_ok();
        if taken {
            self.taken += bytes;
        }
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.fetch_sub(self.taken, Ordering::AcqRel);
    }
}

/// Where the bytes of a body go.
pub(super) enum Sink<'t> {
    /// They are held, within a total.
    Held {
        total: &'t Arc<AtomicUsize>,
        max: usize,
    },
    /// They are hashed and let go: the body that comes out is empty.
    Hashed,
}

/// Reads a request body by the rule. The error is the answer to send.
pub(super) async fn spool<B>(
    body: B,
    rule: BodyRule,
    clock: &dyn Clock,
    sink: Sink<'_>,
) -> Result<Spooled<B>, Refused>
where
    B: Body<Data = Bytes>,
{
    let (total, total_max) = match sink {
        Sink::Held { total, max } => (Arc::clone(total), Some(max)),
        Sink::Hashed => (Arc::default(), None),
    };
    let mut share = Share { total, taken: 0 };
    if body.is_end_stream() {
        return Ok(Spooled {
            read: ReadBody::none(),
            body: Either::Right(Either::Left(body)),
            share,
        });
    }
    let bytes_max = match rule {
        BodyRule::Stream => {
            return Ok(Spooled {
                read: ReadBody::streaming(),
                body: Either::Right(Either::Left(body)),
                share,
            });
        }
        BodyRule::Digest { bytes_max } => bytes_max,
    };
    let late = clock.sleep(Duration::from_millis(SPOOL_MS_MAX));
    let read = Box::pin(read(body, bytes_max, &mut share, total_max));
    let (read, bytes) = match select(read, late).await {
        Raced::Left((read, _)) => read?,
        Raced::Right(_) => return Err(unread("the body did not arrive in time")),
    };
    Ok(Spooled {
        read,
        body: Either::Left(Full::new(bytes)),
        share,
    })
}

/// Reads a request body by the rule, as [`spool`] does, but never refuses it: one that is too long,
/// too slow or too much goes on as it comes, and its price is not known by its body.
pub(super) async fn peek<B>(
    body: B,
    rule: BodyRule,
    clock: &dyn Clock,
    (total, total_max): (&Arc<AtomicUsize>, usize),
) -> Result<Spooled<B>, Refused>
where
    B: Body<Data = Bytes>,
{
    let mut share = Share {
        total: Arc::clone(total),
        taken: 0,
    };
    let BodyRule::Digest { bytes_max } = rule else {
        return Ok(Spooled {
            read: ReadBody::streaming(),
            body: Either::Right(Either::Left(body)),
            share,
        });
    };
    let mut rest = Box::pin(body);
    let mut pieces = Pieces::default();
    let mut late = clock.sleep(Duration::from_millis(SPOOL_MS_MAX));
    let left = loop {
        match select(rest.frame(), late).await {
            Raced::Left((None, _)) => {
                let bytes = pieces.join();
                return Ok(Spooled {
                    read: ReadBody::whole(bytes.clone()),
                    body: Either::Left(Full::new(bytes)),
                    share,
                });
            }
            // What came so far must not look like all of it.
            Raced::Left((Some(Err(_)), _)) => {
                return Err(unread("the body broke off before its end"));
            }
            Raced::Left((Some(Ok(frame)), still)) => {
                late = still;
                let fits = frame.data_ref().is_some_and(|data| {
                    let length = pieces.len().saturating_add(data.len());
                    length <= bytes_max && share.take(data.len(), total_max)
                });
                match frame.into_data() {
                    Ok(data) if fits => pieces.push(data),
                    Ok(data) => break Some(Frame::data(data)),
                    Err(trailers) => break Some(trailers),
                }
            }
            Raced::Right(_) => break None,
        }
    };
    let first = std::iter::once(Frame::data(pieces.join())).chain(left);
    Ok(Spooled {
        read: ReadBody::streaming(),
        body: Either::Right(Either::Right(Prefixed::new(first.collect(), rest))),
        share,
    })
}

/// Reads a body of at most `bytes_max` bytes. Without a `total_max` its bytes are let go.
async fn read<B>(
    body: B,
    bytes_max: usize,
    share: &mut Share,
    total_max: Option<usize>,
) -> Result<(ReadBody, Bytes), Refused>
where
    B: Body<Data = Bytes>,
{
    let over = || {
        let detail = format!("the body is longer than the {bytes_max} bytes this resource takes");
        Refused::plain(Problem::new(ProblemKind::BodyTooLarge, detail))
    };
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > bytes_max {
        return Err(over());
    }
    let mut body = pin!(body);
    let mut pieces = Pieces::default();
    let mut hasher = Sha256::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| unread("the body broke off before its end"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        if length > bytes_max {
            return Err(over());
        }
        hasher.update(&data);
        let Some(total_max) = total_max else { continue };
        if !share.take(data.len(), total_max) {
            return Err(full());
        }
        pieces.push(data);
    }
    let state = match length {
        0 => BodyState::None,
        _ => BodyState::Digest(BodyDigest::from_bytes(hasher.finalize().into())),
    };
    let bytes = pieces.join();
    let held = (length == 0 || total_max.is_some()).then(|| bytes.clone());
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    Ok((ReadBody::of_state(state, length, held), bytes))
}

/// What has arrived of a body. Takes memory as it arrives, whatever was declared, and copies
/// nothing when it comes in one piece.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    more: BytesMut,
}

impl Pieces {
    fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.more.is_empty() && self.first.is_empty() {
            self.first = data;
            return;
        }
        if self.more.is_empty() {
            self.more
                .extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.more.extend_from_slice(&data);
    }

    fn join(self) -> Bytes {
        if self.more.is_empty() {
            return self.first;
        }
        self.more.freeze()
    }
}

fn unread(detail: &str) -> Refused {
    Refused::plain(Problem::new(ProblemKind::BadRequest, detail))
}

fn full() -> Refused {
    let detail = "too many request bodies are being read just now; nothing was taken";
    let mut refused = Refused::plain(Problem::new(ProblemKind::Unavailable, detail));
    refused.retry_after = Some(RETRY_AFTER_SLOW_SECONDS);
    refused
}

/// A response body, read as far as it may be stored.
pub(super) enum Buffered<R: Body> {
    /// All of it.
    Whole(Bytes),
    /// Too long to store, or with trailers: its beginning, and the rest.
    Over(Prefixed<R>),
    /// It broke off.
    Broken(BoxError),
}

/// Reads a response body up to `bytes_max`.
pub(super) async fn buffer<R>(body: R, bytes_max: usize) -> Buffered<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    buffer_until(body, bytes_max, std::future::pending()).await
}

/// Reads a response body up to `bytes_max`, and only until `late` is ready: what came by then, and
/// the rest, are [`Buffered::Over`].
pub(super) async fn buffer_until<R>(
    body: R,
    bytes_max: usize,
    late: impl Future<Output = ()>,
) -> Buffered<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let mut rest = Box::pin(body);
    let mut late = pin!(late);
    let mut read = Pieces::default();
    loop {
        let frame = match select(rest.frame(), late.as_mut()).await {
            Raced::Left((Some(Ok(frame)), _)) => frame,
            Raced::Left((None, _)) => return Buffered::Whole(read.join()),
            Raced::Left((Some(Err(error)), _)) => return Buffered::Broken(error.into()),
            Raced::Right(_) => {
                let first = [Frame::data(read.join())].into();
                return Buffered::Over(Prefixed::new(first, rest));
            }
        };
        match frame.into_data() {
            Ok(data) if read.len() + data.len() <= bytes_max => read.push(data),
            Ok(data) => {
                let first = [Frame::data(read.join()), Frame::data(data)].into();
                return Buffered::Over(Prefixed::new(first, rest));
            }
            Err(trailers) => {
                let first = [Frame::data(read.join()), trailers].into();
                return Buffered::Over(Prefixed::new(first, rest));
            }
        }
    }
}
