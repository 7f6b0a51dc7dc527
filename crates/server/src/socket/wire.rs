//! A socket over a connection: between WebSocket's own frames and the two ends of [`super::line`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    Sink, SinkExt as _, Stream, StreamExt as _,
    future::{Either, join, select},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use stiver_env::Clock;
use tokio::sync::mpsc;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    Run,
    line::{Incoming, Outgoing, in_time},
};
use crate::limits::{SOCKET_CLOSE_MS_MAX, SOCKET_MESSAGE_BYTES_MAX, SOCKET_PING_MS};

/// Carries a socket until it has ended.
pub(super) async fn carry(
    upgraded: Upgraded,
    run: impl FnOnce(mpsc::Receiver<Incoming>, mpsc::Sender<Outgoing>) -> Run,
    clock: Arc<dyn Clock>,
) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(SOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(SOCKET_MESSAGE_BYTES_MAX));
    let io = TokioIo::new(upgraded);
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let (sink, stream) = socket.split();
    let (to_run, from_client) = mpsc::channel(1);
    let (to_client, from_run) = mpsc::channel(1);
    let seen = AtomicU64::new(millis(clock.monotonic()));
    let reading = read(stream, to_run, &seen, &*clock);
    let writing = write(sink, from_run, &seen, &*clock);
    let io = std::pin::pin!(join(reading, writing));
    let work = Box::pin(run(from_client, to_client).run());
    match select(work, io).await {
        // What has left is written, and the client says goodbye: or it does not read.
        Either::Left(((), io)) => {
            in_time(&*clock, Duration::from_millis(SOCKET_CLOSE_MS_MAX), io).await;
        }
        Either::Right((_, work)) => work.await,
    }
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

async fn read(
    mut stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    to: mpsc::Sender<Incoming>,
    seen: &AtomicU64,
    clock: &dyn Clock,
) {
    while let Some(message) = stream.next().await {
        seen.store(millis(clock.monotonic()), Ordering::Relaxed);
        let incoming = match message {
            Ok(Message::Text(text)) => Incoming::Text(text.as_str().to_owned()),
            Ok(Message::Binary(data)) => Incoming::Binary(data),
            Ok(Message::Close(_)) => break,
            Ok(_) => continue,
            Err(Error::Capacity(_)) => {
                let _ = to.send(Incoming::TooLong).await;
                break;
            }
            Err(error) => {
                tracing::debug!(%error, "a socket broke off");
                break;
            }
        };
        if to.send(incoming).await.is_err() {
            // Nobody listens any more: what still comes is for the closing only.
            break;
        }
    }
    drop(to);
    while let Some(Ok(_)) = stream.next().await {}
}

async fn write(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    mut from: mpsc::Receiver<Outgoing>,
    seen: &AtomicU64,
    clock: &dyn Clock,
) {
    let ping = Duration::from_millis(SOCKET_PING_MS);
    loop {
        let next = in_time(clock, ping, from.recv()).await;
        let message = match next {
            None => {
                let silent = millis(clock.monotonic()).saturating_sub(seen.load(Ordering::Relaxed));
                if silent >= 2 * SOCKET_PING_MS {
                    tracing::debug!("a socket's client gives no sign of life");
                    return;
                }
                Message::Ping(bytes::Bytes::new())
            }
            Some(Some(Outgoing::Text(text))) => Message::text(text),
            Some(Some(Outgoing::Binary(data))) => Message::Binary(data),
            Some(Some(Outgoing::Close(code, why))) => {
                let frame = CloseFrame {
                    code: CloseCode::from(code),
                    reason: why.into(),
                };
                let _ = sink.send(Message::Close(Some(frame))).await;
                return;
            }
            Some(None) => {
                let _ = sink.close().await;
                return;
            }
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}
