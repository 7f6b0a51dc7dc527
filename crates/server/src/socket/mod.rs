//! WebSockets that a session pays for, message by message.
//!
//! No draft defines this: it is the deployed peers' form, see [`stiver_core::socket`]. A
//! [`PaidSocket`] is a service of its own at a path:
//!
//! | request | answer |
//! |---|---|
//! | no handshake, no credential | 402 with challenges: this is how payers ask the price |
//! | no handshake, a voucher, top-up or close as an update | as anywhere behind the gate |
//! | a handshake with a credential | 101 when it is good, with the receipt; else its refusal |
//! | a handshake without one | 101; the first frame has to bring the credential |
//!
//! What the handler sends is counted by the offer's meters and charged as metered bodies are: a
//! message that is not covered waits, and the payer is asked for a voucher. That may come as a
//! frame, or by any request to the same realm. When the handler ends, the payer wishes to close or
//! the channel is fenced, the last receipt goes out, and the payer may close its channel with one
//! more frame.
//!
//! ```
//! # use std::sync::Arc;
//! # use stiver_channel::meter::Unit;
//! # use stiver_method::session::UnitPrice;
//! # use stiver_testkit::{escrow::Escrow, fixtures, simulation::Simulation, store_memory};
//! use axum::Router;
//! use stiver_server::{Gate, session::SessionOffer, socket::{PaidSocket, Socket}};
//!
//! # async fn example(gate: Gate, ticks: SessionOffer) -> Result<(), Box<dyn std::error::Error>> {
//! let ticks = PaidSocket::new(gate, vec![ticks], async |socket: Socket| {
//!     for reading in 0_u64.. {
//!         if socket.send(format!("reading {reading}")).await.is_err() {
//!             break; // The payer has gone, or pays no more.
//!         }
//!     }
//! })?;
//! let app: Router = Router::new().route_service("/ticks", ticks);
//! # drop(app);
//! # Ok(())
//! # }
//! ```

mod asker;
mod control;
mod line;
mod pump;
mod service;
mod wire;

#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use stiver_core::{
    problem::ProblemKind,
    socket::{Frame, Framing},
};
use stiver_env::BoxFuture;
use tokio::sync::{mpsc, watch};

pub use service::{Handshake, PaidSocket, PaidSocketError, Sockets};

use self::{
    asker::{Asker, First, refused},
    control::{Control, Stage, Wish},
    line::{Incoming, Line, Outgoing, in_time},
    pump::Pump,
};
use crate::{
    Paid, Refused,
    gate::session::metered::Metering,
    limits::{SOCKET_MESSAGES_HELD_MAX, SOCKET_UNPAID_MS_MAX},
};

/// A message of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text: it goes out wrapped.
    Text(String),
    /// Bytes: they go out as they are.
    Binary(Bytes),
}

impl Message {
    /// Its length, bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(data) => data.len(),
        }
    }

    /// True when there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(data: Bytes) -> Self {
        Self::Binary(data)
    }
}

/// What a handler tells its socket.
enum FromApp {
    /// A message, and how many tokens it took, where the handler knows.
    Message(Message, Option<u64>),
    /// It has taken a message: the socket is not idle.
    Taken,
    /// It cannot go on.
    Fail(Box<Refused>),
}

/// A handler's end of a socket that is paid for. Dropping it ends the socket with its receipt.
pub struct Socket {
    paid: Paid,
    reader: SocketReader,
    writer: SocketWriter,
}

/// What a payer sends.
pub struct SocketReader {
    from: mpsc::Receiver<Message>,
    /// Weak: reading alone keeps no socket open.
    to: mpsc::WeakSender<FromApp>,
}

/// The way to a payer. Dropping it ends the socket with its receipt.
pub struct SocketWriter {
    to: mpsc::Sender<FromApp>,
}

/// The socket has ended: the payer has gone, or has wished to close, or pays no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the socket has ended")]
pub struct SocketEnded;

impl Socket {
    fn new(paid: Paid, from: mpsc::Receiver<Message>, to: mpsc::Sender<FromApp>) -> Self {
        let weak = to.downgrade();
        Self {
            paid,
            reader: SocketReader { from, to: weak },
            writer: SocketWriter { to },
        }
    }

    /// What is known of the payment.
    pub fn paid(&self) -> &Paid {
        &self.paid
    }

    /// As [`SocketReader::recv`].
    pub async fn recv(&mut self) -> Option<Message> {
        self.reader.recv().await
    }

    /// As [`SocketWriter::send`].
    ///
    /// # Errors
    /// [`SocketEnded`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SocketEnded> {
        self.writer.send(message).await
    }

    /// Both directions, to be used side by side.
    pub fn split(self) -> (SocketReader, SocketWriter) {
        (self.reader, self.writer)
    }
}

impl SocketReader {
    /// The payer's next message; `None` once the socket has ended.
    pub async fn recv(&mut self) -> Option<Message> {
        let message = self.from.recv().await?;
        if let Some(to) = self.to.upgrade() {
            let _ = to.try_send(FromApp::Taken);
        }
        Some(message)
    }
}

impl SocketWriter {
    /// Sends a message. Waits until the one before has been paid for and has left.
    ///
    /// # Errors
    /// [`SocketEnded`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SocketEnded> {
        self.put(FromApp::Message(message.into(), None)).await
    }

    /// Sends a message that took so many tokens, beyond those of the messages before it.
    ///
    /// # Errors
    /// [`SocketEnded`].
    pub async fn send_with_tokens(
        &self,
        message: impl Into<Message>,
        tokens: u64,
    ) -> Result<(), SocketEnded> {
        let message = message.into();
        self.put(FromApp::Message(message, Some(tokens))).await
    }

    /// Ends the socket because this side cannot go on. The payer is told `detail`, and pays for
    /// what has left.
    pub async fn fail(self, detail: &str) {
        let failed = refused(ProblemKind::UpstreamFailed, detail);
        let _ = self.put(FromApp::Fail(failed)).await;
    }

    async fn put(&self, what: FromApp) -> Result<(), SocketEnded> {
        self.to.send(what).await.map_err(|_| SocketEnded)
    }
}

/// Runs handlers. Each socket has its own.
pub(crate) type Handler = Arc<dyn Fn(Socket) -> BoxFuture<'static, ()> + Send + Sync>;

/// What one socket needs.
struct Run {
    asker: Arc<Asker>,
    handler: Handler,
    /// Ready when the server stops.
    stop: BoxFuture<'static, ()>,
    from: mpsc::Receiver<Incoming>,
    to: mpsc::Sender<Outgoing>,
    /// The account that the handshake has opened.
    account: Option<Metering>,
    /// Dropped once a credential was good.
    unpaid: Option<service::Unpaid>,
}

impl Run {
    /// Runs one socket to its end.
    async fn run(mut self) {
        let env = self.asker.gate.env();
        let (clock, spawner) = (Arc::clone(&env.clock), Arc::clone(&env.spawner));
        let mut line = Line {
            to: self.to.clone(),
            clock,
            framing: Framing::Mpp,
        };
        let account = match self.account.take() {
            Some(account) => account,
            None => {
                let limit = Duration::from_millis(SOCKET_UNPAID_MS_MAX);
                let clock = Arc::clone(&line.clock);
                let opening = self.open(&mut line);
                match in_time(&*clock, limit, opening).await {
                    Some(Some(account)) => *account,
                    Some(None) => return,
                    None => {
                        let why = "no credential came in time";
                        let late = refused(ProblemKind::PaymentRequired, why);
                        return line.refuse(&late).await;
                    }
                }
            }
        };
        drop(self.unpaid.take());
        let (wish, wished) = watch::channel(Wish::On);
        let (staged, stage) = watch::channel(Stage::Delivers);
        let (to_app, from_client) = mpsc::channel(SOCKET_MESSAGES_HELD_MAX);
        let (to_pump, from_app) = mpsc::channel(1);
        let control = Control {
            asker: Arc::clone(&self.asker),
            busy: Arc::clone(&account.busy),
            line: line.clone(),
            to_app,
            wish,
            stage,
        };
        let socket = Socket::new(account.paid().clone(), from_client, to_pump);
        let mut pump = Pump {
            account,
            line,
            wish: wished,
            stage: staged,
            stop: self.stop,
            requests: 1,
            tokens: 0,
        };
        let handler = self.handler;
        let delivery = async move {
            if pump.begin().await {
                spawner.spawn(handler(socket));
                pump.run(from_app).await;
            }
        };
        both(delivery, control.run(self.from)).await;
    }

    /// Waits for a credential that is good.
    async fn open(&mut self, line: &mut Line) -> Option<Box<Metering>> {
        let mut framing = None;
        while let Some(incoming) = self.from.recv().await {
            let text = match incoming {
                Incoming::Text(text) => text,
                Incoming::Binary(_) => {
                    line.refuse(&*self.asker.unpaid().await).await;
                    return None;
                }
                Incoming::TooLong => {
                    let why = "the message is too big";
                    line.refuse(&refused(ProblemKind::BodyTooLarge, why)).await;
                    return None;
                }
            };
            framing = framing.or_else(|| Frame::framing_of(&text));
            line.framing = framing.unwrap_or_default();
            let credential = match Frame::parse(&text, line.framing) {
                Ok(Frame::Authorization(credential)) => credential,
                Ok(_) => {
                    line.refuse(&*self.asker.unpaid().await).await;
                    return None;
                }
                Err(error) => {
                    let why = error.to_string();
                    line.refuse(&refused(ProblemKind::BadRequest, &why)).await;
                    return None;
                }
            };
            match self.asker.first(credential.as_bytes()).await {
                First::Account(account, json, _) => {
                    line.frame(&Frame::Receipt(&json)).await.ok()?;
                    return Some(account);
                }
                First::Told(json) => line.frame(&Frame::Receipt(&json)).await.ok()?,
                First::Closed(json) => {
                    line.frame(&Frame::Receipt(&json)).await.ok()?;
                    line.close("the channel is closed").await;
                    return None;
                }
                First::Refused(refused) => {
                    line.refuse(&refused).await;
                    return None;
                }
            }
        }
        None
    }
}

/// Drives both; over when the first is.
async fn both(first: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut first, mut other) = (std::pin::pin!(first), std::pin::pin!(other));
    let mut other_runs = true;
    std::future::poll_fn(|context| {
        if other_runs && other.as_mut().poll(context).is_ready() {
            other_runs = false;
        }
        first.as_mut().poll(context)
    })
    .await;
}
