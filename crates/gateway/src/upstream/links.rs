//! HTTP/1.1 connections to one upstream, each driven by whoever waits for its answer.
//!
//! A connection has no task of its own: the task of the request polls it, so that an answer wakes
//! one task and not three. Between two requests nobody polls it. What an upstream does to an idle
//! connection (closing it, as a rule) is seen when the connection is taken up again, and another
//! one is used.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use stiver_env::{BoxFuture, Clock, Env, Spawner};

use super::{BoxError, RequestBody, UpstreamError, connect::Connector};

type Connection = BoxFuture<'static, hyper::Result<()>>;

/// The connections to one upstream. Cheap to clone.
#[derive(Clone)]
pub(super) struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    idle: Mutex<Idle>,
    idle_max: usize,
    idle_timeout: Duration,
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawner>,
}

/// Connections that wait for another request; the one that was used last is used next.
#[derive(Default)]
struct Idle {
    links: Vec<(Duration, Link)>,
    /// A task is there that ends connections which nobody takes.
    watched: bool,
}

/// A connection, and the way to put a request on it.
struct Link {
    sender: SendRequest<RequestBody>,
    /// `None` once it has ended.
    connection: Option<Connection>,
}

impl Link {
    /// Lets the connection go on as far as it can. What becomes of it is told to whoever waits for
    /// the answer or reads its body.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(context).is_ready()
        {
            self.connection = None;
        }
    }

    /// The answer is read, and another request may follow.
    fn is_free(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }
}

impl Links {
    /// Connections made by this connector. `idle_max` of them are kept for `idle_timeout`.
    pub(super) fn new(
        connector: Connector,
        (idle_max, idle_timeout): (usize, Duration),
        env: &Env,
    ) -> Self {
        let shared = Shared {
            connector,
            idle: Mutex::default(),
            idle_max,
            idle_timeout,
            clock: Arc::clone(&env.clock),
            spawner: Arc::clone(&env.spawner),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Sends a request and waits for the head of the answer. The request has its `Host`, and its
    /// URI is the target only.
    pub(super) async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        loop {
            let taken = self.shared.take();
            let used = taken.is_some();
            let mut link = match taken {
                Some(link) => link,
                None => self.shared.connect().await?,
            };
            let mut answer = std::pin::pin!(link.sender.try_send_request(request));
            let answered = std::future::poll_fn(|context| {
                link.drive(context);
                answer.as_mut().poll(context)
            })
            .await;
            match answered {
                Ok(response) => return Ok(self.shared.answered(link, response)),
                Err(mut error) => match error.take_message() {
                    // The upstream had closed it, and has seen nothing of the request.
                    Some(unsent) if used => request = unsent,
                    unsent => {
                        return Err(UpstreamError {
                            reached: unsent.is_none(),
                            source: error.into_error().into(),
                        });
                    }
                },
            }
        }
    }

    /// How many connections wait for another request.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.shared.idle().links.len()
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Link> {
        self.idle().links.pop().map(|(_, link)| link)
    }

    async fn connect(&self) -> Result<Link, UpstreamError> {
        let failed = |source: BoxError| UpstreamError {
            reached: false,
            source,
        };
        let stream = self.connector.connect().await;
        let stream = stream.map_err(|error| failed(error.into()))?;
        let made = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| failed(error.into()))?;
        Ok(Link {
            sender,
            connection: Some(Box::pin(connection.with_upgrades())),
        })
    }

    /// The answer, with the connection as long as its body needs it.
    fn answered(
        self: &Arc<Self>,
        mut link: Link,
        response: Response<Incoming>,
    ) -> Response<UpstreamBody> {
        let mut rest = None;
        if link.is_free() {
            self.put(link);
        } else if link.connection.is_none() {
            // It was the last answer on it, and all of that is here.
        } else if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // It is handed over to whoever asked for another protocol, and no body drives it.
            if let Some(connection) = link.connection.take() {
                self.spawner.spawn(Box::pin(async {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a switch of protocols did not come about");
                    }
                }));
            }
        } else {
            rest = Some(Rest {
                link,
                links: Arc::clone(self),
            });
        }
        response.map(|body| UpstreamBody { body, rest })
    }

    /// Keeps a connection for another request.
    fn put(self: &Arc<Self>, link: Link) {
        self.put_if(true, link);
    }

    /// Keeps a connection, when somebody looks after those that are kept, or `may_watch`.
    fn put_if(self: &Arc<Self>, may_watch: bool, link: Link) {
        let mut idle = self.idle();
        if idle.links.len() >= self.idle_max || !(idle.watched || may_watch) {
            return;
        }
        idle.links.push((self.clock.monotonic(), link));
        if !std::mem::replace(&mut idle.watched, true) {
            drop(idle);
            let watch = watch(Arc::downgrade(self), self.clock.sleep(self.idle_timeout));
            self.spawner.spawn(Box::pin(watch));
        }
    }

    /// Ends the connections that nobody has taken for too long. Tells how long to wait until the
    /// next look; nothing when there is none left.
    fn end_old(&self) -> Option<Duration> {
        let now = self.clock.monotonic();
        let mut idle = self.idle();
        let is_old = |since: Duration| now.saturating_sub(since) >= self.idle_timeout;
        let old = idle.links.partition_point(|(since, _)| is_old(*since));
        let old: Vec<_> = idle.links.drain(..old).collect();
        let next = idle.links.first().map(|(since, _)| *since);
        idle.watched = next.is_some();
        drop(idle);
        drop(old);
        let next = next?.saturating_add(self.idle_timeout);
        Some(next.saturating_sub(now))
    }
}

/// Looks after idle connections for as long as there are any.
async fn watch(links: Weak<Shared>, first: BoxFuture<'static, ()>) {
    let mut waiting = first;
    loop {
        waiting.await;
        let Some(links) = links.upgrade() else { return };
        let Some(next) = links.end_old() else { return };
        waiting = links.clock.sleep(next);
    }
}

/// The body of an answer.
pub(crate) struct UpstreamBody {
    body: Incoming,
    /// The connection, while the body is still on it.
    rest: Option<Rest>,
}

struct Rest {
    link: Link,
    links: Arc<Shared>,
}

impl UpstreamBody {
    /// Gives the connection back when the body has left it.
    fn give_back(&mut self, may_watch: bool) {
        if self.rest.as_ref().is_some_and(|rest| rest.link.is_free())
            && let Some(Rest { link, links }) = self.rest.take()
        {
            links.put_if(may_watch, link);
        }
    }
}

/// A body whose connection somebody else drives.
impl From<Incoming> for UpstreamBody {
    fn from(body: Incoming) -> Self {
        Self { body, rest: None }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if let Some(rest) = &mut this.rest {
            rest.link.drive(context);
            this.give_back(true);
        }
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // Who knows how long a body is need not ask whether more comes. No task is started here:
        // there may be no runtime any more.
        self.give_back(false);
    }
}

#[cfg(test)]
mod tests;
