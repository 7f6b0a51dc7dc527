//! Requests that leave HTTP: WebSocket, and whatever else HTTP/1.1 may upgrade to.
//!
//! A route says so (`upgrade = true`), or the request is an ordinary one. The handshake is what is
//! charged for; afterwards bytes go both ways unread.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, request::Parts};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use stiver_env::{Clock, Spawner};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use crate::{connections::Place, upstream::UpstreamBody};

/// How long a connection that has left HTTP may be silent in both directions.
pub(crate) const UPGRADE_IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Protocols that are HTTP again: requests within them would pass unpaid.
const HTTP_AGAIN: [&str; 4] = ["h2c", "h2", "http", "tls"];

/// A request's wish to leave HTTP.
pub(super) struct Wish {
    protocol: HeaderValue,
    client: OnUpgrade,
    place: Place,
}

impl Wish {
    /// Takes the wish out of a request that has a good one.
    pub(super) fn take(parts: &mut Parts) -> Option<Self> {
        if parts.version != Version::HTTP_11 || !asks(&parts.headers) {
            return None;
        }
        let protocol = only_protocol(&parts.headers)?.clone();
        let client = parts.extensions.remove::<OnUpgrade>()?;
        let place = parts.extensions.remove::<Place>()?;
        Some(Self {
            protocol,
            client,
            place,
        })
    }

    /// Writes it into the headers for the upstream.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
    }

    /// Joins the two connections once the client has the answer. `None` when the upstream agreed
    /// to something else than was asked.
    pub(super) fn grant(
        self,
        response: &mut Response<UpstreamBody>,
        clock: &Arc<dyn Clock>,
        spawner: &Arc<dyn Spawner>,
    ) -> Option<HeaderValue> {
        let agreed = only_protocol(response.headers())?;
        if !agreed
            .as_bytes()
            .eq_ignore_ascii_case(self.protocol.as_bytes())
        {
            return None;
        }
        let upstream = hyper::upgrade::on(response);
        let Self {
            protocol,
            client,
            place,
        } = self;
        let clock = Arc::clone(clock);
        spawner.spawn(Box::pin(async move {
            let (client, upstream) = match tokio::try_join!(client, upstream) {
                Ok(both) => both,
                Err(error) => {
                    tracing::debug!(%error, "an upgrade did not come about");
                    return;
                }
            };
            join(client, upstream, place, &*clock).await;
        }));
        Some(protocol)
    }
}

/// True when the connection itself is asked to change.
fn asks(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// The one protocol that a message names, when it is one that we let through.
fn only_protocol(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(header::UPGRADE).iter();
    let only = lines.next().filter(|_| lines.next().is_none())?;
    let text = only.to_str().ok()?;
    let name = text.split('/').next().unwrap_or(text).trim();
    let is_http = HTTP_AGAIN
        .iter()
        .any(|again| name.eq_ignore_ascii_case(again));
    (!text.contains(',') && !is_http).then_some(only)
}

/// True when a response says that the connection has changed.
pub(super) fn is_switch<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// Passes bytes both ways until both sides have ended, nothing flows for too long, or the grace of
/// a shutdown is over.
async fn join(client: Upgraded, upstream: Upgraded, place: Place, clock: &dyn Clock) {
    let flows = Arc::new(AtomicBool::new(false));
    let mut client = Watched {
        stream: TokioIo::new(client),
        flows: Arc::clone(&flows),
    };
    let mut upstream = TokioIo::new(upstream);
    let idle = async {
        loop {
            clock.sleep(UPGRADE_IDLE_TIMEOUT).await;
            if !flows.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    };
    let mut stop = place.stop.clone();
    let stopped = async {
        // The sender is gone only when the gateway is: that is a stop too.
        let _ = stop.wait_for(|stop| *stop).await;
        clock.sleep(place.grace).await;
    };
    tokio::select! {
        biased;
        ended = copy_bidirectional(&mut client, &mut upstream) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "an upgraded connection ended early");
            }
        }
        () = idle => tracing::debug!("an upgraded connection was silent for too long"),
        () = stopped => tracing::warn!("an upgraded connection was cut by the shutdown"),
    }
}

/// A stream that tells when bytes flow.
struct Watched<S> {
    stream: S,
    flows: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.flows.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.flows.store(true, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_protocols_that_are_not_http_again_pass() {
        for (lines, passes) in [
            (&["websocket"][..], true),
            (&["WebSocket"], true),
            (&["custom/1"], true),
            (&["h2c"], false),
            (&["H2C"], false),
            (&["HTTP/2.0"], false),
            (&["TLS/1.2"], false),
            (&["websocket, h2c"], false),
            (&["websocket", "h2c"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::UPGRADE, HeaderValue::from_static(line));
            }
            assert_eq!(only_protocol(&headers).is_some(), passes, "{lines:?}");
        }
    }
}
