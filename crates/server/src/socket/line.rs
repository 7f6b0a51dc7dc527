//! Both ends of a socket, without the socket: what carries it is [`super::wire`], or a test.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use stiver_core::socket::{Frame, Framing};
use stiver_env::Clock;
use tokio::sync::mpsc;

use super::asker::error_text;
use crate::{Refused, limits::STALL_MS_MAX};

/// A close that is as it should be (RFC 6455, section 7.4.1).
pub(super) const NORMAL: u16 = 1000;
/// A close because of what the other side did.
pub(super) const POLICY: u16 = 1008;
/// A close because a message is too big.
pub(super) const TOO_BIG: u16 = 1009;
/// A close because of what this side did.
pub(super) const INTERNAL: u16 = 1011;

/// What comes from a client. The end of the channel is the client's.
pub(super) enum Incoming {
    Text(String),
    Binary(Bytes),
    TooLong,
}

/// What goes to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outgoing {
    Text(String),
    Binary(Bytes),
    Close(u16, &'static str),
}

/// The way to a client. One message waits in it at most.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) to: mpsc::Sender<Outgoing>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) framing: Framing,
}

/// The client is gone, or does not read.
#[derive(Debug)]
pub(super) struct Gone;

impl Line {
    /// Sends what costs nothing.
    pub(super) async fn send(&self, out: Outgoing) -> Result<(), Gone> {
        let stall = Duration::from_millis(STALL_MS_MAX);
        match in_time(&*self.clock, stall, self.to.send(out)).await {
            Some(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    /// Sends a frame, where the framing has a form for it.
    pub(super) async fn frame(&self, frame: &Frame<'_>) -> Result<(), Gone> {
        match frame.to_text(self.framing) {
            Some(text) => self.send(Outgoing::Text(text)).await,
            None => Ok(()),
        }
    }

    /// Ends the socket with a refusal.
    pub(super) async fn refuse(&self, refused: &Refused) {
        let text = error_text(refused, self.framing);
        let (code, why) = match refused.status() {
            413 => (TOO_BIG, "the message is too big"),
            500.. => (INTERNAL, "the socket failed"),
            _ => (POLICY, "refused: see the frame before"),
        };
        if self.send(Outgoing::Text(text)).await.is_ok() {
            let _ = self.send(Outgoing::Close(code, why)).await;
        }
    }

    /// Ends the socket as it should be.
    pub(super) async fn close(&self, why: &'static str) {
        let _ = self.send(Outgoing::Close(NORMAL, why)).await;
    }
}

/// Waits at most so long.
pub(super) async fn in_time<T>(
    clock: &dyn Clock,
    limit: Duration,
    what: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(what), clock.sleep(limit)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}
