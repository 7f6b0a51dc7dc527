//! WebSockets that a session pays for, in the deployed peers' frames
//! ([`stiver_core::socket`]).
//!
//! The payment is that of an event stream: the same journal, limits, window and checks. What
//! differs is what carries it: the first frame brings the credential, vouchers go as frames while
//! the socket is open, and by requests of their own when it is not.

mod drive;
mod exchange;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, uri::Scheme};
use tokio::sync::mpsc;

pub use exchange::{SocketExchange, SocketResponse};

use self::drive::{Command, Drive};
use crate::{Answer, CallError, PayingClient, Payment};

/// Longest message that is read, bytes, with what wraps it.
pub const MESSAGE_BYTES_MAX: usize = stiver_core::limits::SOCKET_TEXT_BYTES_MAX;
/// Most messages that wait for their reader. When it takes none, the payee is not read either.
pub const MESSAGES_HELD_MAX: usize = 16;

/// A message of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketMessage {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl From<&str> for SocketMessage {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for SocketMessage {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for SocketMessage {
    fn from(data: Bytes) -> Self {
        Self::Binary(data)
    }
}

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketEnd {
    /// The payee has told its last receipt.
    Complete,
    /// The payee refused something.
    Refused {
        /// The status that this has in HTTP.
        status: Option<u16>,
        /// The payee's words: untrusted.
        message: String,
    },
    /// It broke off, or sent what cannot be read.
    BrokeOff(String),
}

/// A socket that is paid for as it delivers. Dropped, it tells the payee that no more is wanted,
/// and ends in a task of its own.
pub struct PaidSocket {
    incoming: mpsc::Receiver<SocketMessage>,
    commands: mpsc::Sender<Command>,
    end: Arc<Mutex<Option<SocketEnd>>>,
}

/// The socket has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the socket has ended")]
pub struct SocketEnded;

impl PaidSocket {
    /// The payee's next message; `None` once the socket has ended and its payment is journaled:
    /// then [`PaidSocket::end`] tells how.
    pub async fn recv(&mut self) -> Option<SocketMessage> {
        self.incoming.recv().await
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`SocketEnded`].
    pub async fn send(&self, message: impl Into<SocketMessage>) -> Result<(), SocketEnded> {
        self.put(Command::Send(message.into())).await
    }

    /// Says that no more is wanted. What has been delivered by then still comes, and the last
    /// receipt. The channel stays open for other requests.
    ///
    /// # Errors
    /// [`SocketEnded`].
    pub async fn close(&self) -> Result<(), SocketEnded> {
        self.put(Command::Close).await
    }

    async fn put(&self, command: Command) -> Result<(), SocketEnded> {
        self.commands.send(command).await.map_err(|_| SocketEnded)
    }

    /// How the socket ended; `None` while it has not.
    pub fn end(&self) -> Option<SocketEnd> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.clone()
    }
}

/// What came of asking for a socket.
pub enum SocketAnswer {
    /// It is open, and paid for.
    Open(PaidSocket, Box<Payment>),
    /// An answer that is no socket. The payment, when one was made.
    Other(StatusCode, Vec<u8>, Option<Box<Payment>>),
}

impl PayingClient {
    /// Opens a socket, `ws` or `wss`, and pays for it by a session: the client needs
    /// [`PaymentClient::with_sessions`](crate::PaymentClient::with_sessions).
    ///
    /// # Errors
    ///
    /// Those of [`PaymentClient::call`](crate::PaymentClient::call).
    pub async fn socket(&self, request: Request<Bytes>) -> Result<SocketAnswer, CallError> {
        let mut exchange = SocketExchange::new(self.exchange());
        let answer = self.payments().call(over_http(request), &mut exchange);
        Ok(self.opened(answer.await?).await)
    }

    /// The socket of an answer to a [`SocketExchange`].
    pub async fn opened(&self, answer: Answer<SocketResponse>) -> SocketAnswer {
        let payment = answer.payment.map(Box::new);
        let status = answer.response.status();
        match (answer.response.into_socket(), payment) {
            (Ok(opened), Some(payment)) => {
                let (to_reader, incoming) = mpsc::channel(MESSAGES_HELD_MAX);
                let (commands, from_caller) = mpsc::channel(MESSAGES_HELD_MAX);
                let end = Arc::default();
                let drive = Drive::new(*opened, to_reader, from_caller, Arc::clone(&end));
                let env = self.payments().env();
                env.spawner.spawn(Box::pin(drive.run()));
                let socket = PaidSocket {
                    incoming,
                    commands,
                    end,
                };
                SocketAnswer::Open(socket, payment)
            }
            (Ok(_), None) => SocketAnswer::Other(status, Vec::new(), None),
            (Err(response), payment) => {
                let body = response.into_body().await;
                SocketAnswer::Other(status, body, payment)
            }
        }
    }
}

/// The request by which a socket's price is asked for, and its handshake made.
pub fn over_http(mut request: Request<Bytes>) -> Request<Bytes> {
    let scheme = match request.uri().scheme_str() {
        Some("ws") => Scheme::HTTP,
        Some("wss") => Scheme::HTTPS,
        _ => return request,
    };
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(scheme);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}
