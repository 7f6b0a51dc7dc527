//! Accepts connections, and ends them without cutting a request off.

mod stall;

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use stiver_env::{
    BoxFuture, Clock, Env, Spawner,
    net::{Listener, Stream},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;

use self::stall::Unstalled;
use crate::{timer::EnvTimer, tls::Protocols};

/// A response on its way to the client.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, crate::upstream::BoxError>;
/// What answers requests.
pub(crate) type Handler = Arc<
    dyn Fn(Request<Incoming>, Peer) -> BoxFuture<'static, Response<ResponseBody>> + Send + Sync,
>;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Its address. `None` on a Unix socket.
    pub(crate) address: Option<SocketAddr>,
}

/// The place of a connection among those that may be open at once. A request that leaves HTTP finds
/// it among its extensions, and keeps it for as long as bytes flow.
#[derive(Clone)]
pub(crate) struct Place {
    /// Given back when the last holder drops it.
    _slot: Arc<OwnedSemaphorePermit>,
    /// Turns true when the gateway stops.
    pub(crate) stop: watch::Receiver<bool>,
    /// How long it may go on then.
    pub(crate) grace: Duration,
}

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may take from connecting to the end of its first request's head, with the TLS
/// handshake.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an HTTP/2 connection may be idle before the client is asked whether it is there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// How often it is looked whether a connection has done nothing since: no request, and none in
/// flight. One that has not is closed, with notice, after one to two of these.
const IDLE_LOOK: Duration = Duration::from_secs(120);
/// Longest request head, bytes: room for a credential of the protocol's limit and other fields.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Requests in flight at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// How long to wait after a connection could not be accepted (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves one listener until told to stop, then finishes the requests in flight within `grace`.
pub(crate) struct Connections {
    /// What answers.
    pub(crate) handler: Handler,
    /// TLS, where the listener speaks it.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Which versions of HTTP it speaks.
    pub(crate) protocols: Protocols,
    /// Connections open at once, over all listeners that share them.
    pub(crate) slots: Arc<Semaphore>,
    /// How long a shutdown waits.
    pub(crate) grace: Duration,
    /// Time and tasks.
    pub(crate) env: Env,
}

impl Connections {
    /// Accepts and serves. Returns when every connection has ended or the grace is over.
    pub(crate) async fn serve(
        self,
        mut listener: Box<dyn Listener>,
        mut stop: watch::Receiver<bool>,
    ) {
        // Each connection holds a sender: when the last is gone, all have ended.
        let (open, mut all_ended) = mpsc::channel::<()>(1);
        let stopped = stop.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                // First, so that a crowd at the door does not keep it open. The sender is gone only
                // when the gateway is: that is a stop too.
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.accept(&mut *listener) => accepted,
            };
            match accepted {
                Ok((stream, peer, slot)) => {
                    let place = Place {
                        _slot: Arc::new(slot),
                        stop: stopped.clone(),
                        grace: self.grace,
                    };
                    self.start(stream, peer, place, open.clone());
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.env.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        drop(open);
        tokio::select! {
            biased;
            _ = all_ended.recv() => {}
            () = self.env.clock.sleep(self.grace) => {
                tracing::warn!("some requests did not end within the shutdown's grace");
            }
        }
    }

    async fn accept(
        &self,
        listener: &mut dyn Listener,
    ) -> io::Result<(Box<dyn Stream>, Peer, OwnedSemaphorePermit)> {
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, address) = listener.accept().await?;
        Ok((stream, Peer { address }, slot))
    }

    fn start(&self, stream: Box<dyn Stream>, peer: Peer, place: Place, open: mpsc::Sender<()>) {
        let stream: Box<dyn Stream> = Box::new(Unstalled::new(stream, &self.env.clock));
        let handler = Arc::clone(&self.handler);
        let use_of = Arc::new(Use::default());
        let used = Arc::clone(&use_of);
        let kept = place.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let in_flight = InFlight::begin(&used);
            // For the few requests that may leave HTTP: an extension costs an allocation.
            if request.headers().contains_key(header::UPGRADE) {
                request.extensions_mut().insert(kept.clone());
            }
            let answer = handler(request, peer);
            async move {
                Ok::<_, Infallible>(answer.await.map(|body| Tracked {
                    body,
                    _in_flight: in_flight,
                }))
            }
        });
        let (tls, protocols, timer) = (self.tls.clone(), self.protocols, EnvTimer::new(&self.env));
        let silent = silence(Arc::clone(&self.env.clock), Arc::clone(&use_of));
        let idle = idle(Arc::clone(&self.env.clock), use_of);
        let mut stop = place.stop.clone();
        let spawner = Arc::clone(&self.env.spawner);
        self.env.spawner.spawn(Box::pin(async move {
            let conversation = async {
                let (stream, protocols) = match tls {
                    Some(tls) => secure(&tls, stream, protocols).await?,
                    None => (stream, protocols),
                };
                let builder = builder(protocols, spawner, timer);
                let connection =
                    builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    biased;
                    ended = connection.as_mut() => return ended,
                    _ = stop.wait_for(|stop| *stop) => {}
                    () = idle => {}
                }
                // What is in flight is finished, and nothing new is taken.
                connection.as_mut().graceful_shutdown();
                connection.await
            };
            tokio::select! {
                biased;
                ended = conversation => {
                    if let Err(error) = ended {
                        tracing::debug!(error, peer = ?peer.address, "a connection ended early");
                    }
                }
                () = silent => tracing::debug!(peer = ?peer.address, "a connection said nothing"),
            }
            drop(place);
            drop(open);
        }));
    }
}

/// The TLS handshake, and what was agreed to speak within.
async fn secure(
    tls: &TlsAcceptor,
    stream: Box<dyn Stream>,
    protocols: Protocols,
) -> io::Result<(Box<dyn Stream>, Protocols)> {
    let stream = tls.accept(stream).await?;
    let agreed = stream.get_ref().1.alpn_protocol();
    let protocols = protocols.agreed(agreed);
    Ok((Box::new(stream), protocols))
}

fn builder(
    protocols: Protocols,
    spawner: Arc<dyn Spawner>,
    timer: EnvTimer,
) -> auto::Builder<Spawn> {
    let mut builder = auto::Builder::new(Spawn(spawner));
    builder
        .http1()
        .timer(timer.clone())
        .header_read_timeout(HEAD_TIMEOUT)
        // At most 100 fields: hyper's own limit, for which it takes no memory.
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(timer)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(HEAD_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    match protocols {
        Protocols::Http1 => builder.http1_only(),
        Protocols::Http2 => builder.http2_only(),
        Protocols::Both => builder,
    }
}

/// Resolves when a connection has not made its first request in time. The server tells HTTP/1.1
/// from HTTP/2 by the first bytes, and waits for those without a limit of its own.
async fn silence(clock: Arc<dyn Clock>, connection: Arc<Use>) {
    clock.sleep(FIRST_REQUEST_TIMEOUT).await;
    if connection.requests.load(Ordering::Relaxed) > 0 {
        std::future::pending::<()>().await;
    }
}

/// Resolves when a connection has made its first request and none since for too long. HTTP/2 has no
/// end of its own for that: a client that answers pings would hold its place for ever.
async fn idle(clock: Arc<dyn Clock>, connection: Arc<Use>) {
    let mut seen = 0;
    loop {
        clock.sleep(IDLE_LOOK).await;
        let requests = connection.requests.load(Ordering::Relaxed);
        let busy = connection.in_flight.load(Ordering::Relaxed) > 0;
        if requests > 0 && requests == seen && !busy {
            return;
        }
        // A request that ended since the last look counts as one that was made then.
        seen = if busy { 0 } else { requests };
    }
}

/// How a connection is used.
#[derive(Default)]
struct Use {
    /// Requests so far.
    requests: AtomicU64,
    /// Requests whose answer has not gone out in full.
    in_flight: AtomicUsize,
}

/// A request from its head to the end of its answer.
struct InFlight(Arc<Use>);

impl InFlight {
    fn begin(connection: &Arc<Use>) -> Self {
        connection.requests.fetch_add(1, Ordering::Relaxed);
        connection.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, whose end is the end of its request.
struct Tracked {
    body: ResponseBody,
    _in_flight: InFlight,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = crate::upstream::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Tasks of HTTP connections, started by the injected spawner.
#[derive(Clone)]
pub(crate) struct Spawn(pub(crate) Arc<dyn Spawner>);

impl<F> Executor<F> for Spawn
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(Box::pin(task));
    }
}

#[cfg(test)]
mod tests {
    use stiver_testkit::simulation::Simulation;

    use super::*;

    #[test]
    fn connection_is_idle_only_when_nothing_was_asked_and_nothing_is_in_flight() {
        let simulation = Simulation::new(1);
        let clock = simulation.env().clock;
        let connection = Arc::new(Use::default());
        let used = Arc::clone(&connection);
        let watch = Arc::clone(&clock);
        let ended = simulation.block_on(async move {
            let begun = clock.monotonic();
            let using = async {
                // An answer that takes long, and one more request a while later.
                let long = InFlight::begin(&used);
                clock.sleep(IDLE_LOOK * 7 / 2).await;
                drop(long);
                clock.sleep(IDLE_LOOK).await;
                drop(InFlight::begin(&used));
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = using => unreachable!("it goes on for ever"),
                () = idle(watch, connection) => clock.monotonic() - begun,
            }
        });
        assert_eq!(ended, IDLE_LOOK * 6, "looked at every {IDLE_LOOK:?}");
    }
}
