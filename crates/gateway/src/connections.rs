//! Accepts connections, and ends them without cutting a request off.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use stiver_env::{Clock, Env, Spawner, net::Listener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A response on its way to the client.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, crate::upstream::BoxError>;
/// What answers requests.
pub(crate) type Handler = Arc<
    dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>
        + Send
        + Sync,
>;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may take from connecting to the end of its first request's head.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an HTTP/2 connection may be idle before the client is asked whether it is there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// Longest request head, bytes: room for a credential of the protocol's limit and other fields.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most header fields in one request.
const HEADERS_MAX: usize = 128;
/// Requests in flight at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// How long to wait after a connection could not be accepted (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves one listener until told to stop, then finishes the requests in flight within `grace`.
pub(crate) struct Connections {
    /// What answers.
    pub(crate) handler: Handler,
    /// Connections open at once.
    pub(crate) limit: usize,
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
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(self.limit));
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&mut *listener, &slots) => accepted,
                // The sender is gone only when the gateway is: that is a stop too.
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, slot)) => self.start(stream, slot, &graceful),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.env.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = self.env.clock.sleep(self.grace) => {
                tracing::warn!("some requests did not end within the shutdown's grace");
            }
        }
    }

    async fn accept(
        &self,
        listener: &mut dyn Listener,
        slots: &Arc<Semaphore>,
    ) -> std::io::Result<(Box<dyn stiver_env::net::Stream>, OwnedSemaphorePermit)> {
        let slot = Arc::clone(slots)
            .acquire_owned()
            .await
            .map_err(std::io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        Ok((stream, slot))
    }

    fn start(
        &self,
        stream: Box<dyn stiver_env::net::Stream>,
        slot: OwnedSemaphorePermit,
        graceful: &GracefulShutdown,
    ) {
        let handler = Arc::clone(&self.handler);
        let spoken = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&spoken);
        let service = service_fn(move |request| {
            heard.store(true, Ordering::Relaxed);
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let mut builder = auto::Builder::new(Spawn(Arc::clone(&self.env.spawner)));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(HEAD_TIMEOUT)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let connection = graceful.watch(connection.into_owned());
        let silent = silence(Arc::clone(&self.env.clock), spoken);
        self.env.spawner.spawn(Box::pin(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "a connection ended early");
                    }
                }
                () = silent => tracing::debug!("a connection said nothing"),
            }
            drop(slot);
        }));
    }
}

/// Resolves when a connection has not made its first request in time. The server tells HTTP/1.1
/// from HTTP/2 by the first bytes, and waits for those without a limit of its own.
async fn silence(clock: Arc<dyn Clock>, spoken: Arc<AtomicBool>) {
    clock.sleep(FIRST_REQUEST_TIMEOUT).await;
    if spoken.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
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
