//! An open socket: what comes is read, what is asked for is paid, what the caller says is sent.

use std::{
    collections::VecDeque,
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use stiver_core::socket::{Frame, Framing};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{
    SocketEnd, SocketMessage,
    exchange::{Ask, Opened, Reply, receipt_fields, refusal},
};
use crate::session::sse::NeedVoucher;

/// What the caller wants.
pub(super) enum Command {
    Send(SocketMessage),
    Close,
}

pub(super) struct Drive {
    opened: Opened,
    to_reader: mpsc::Sender<SocketMessage>,
    commands: mpsc::Receiver<Command>,
    end: Arc<Mutex<Option<SocketEnd>>>,
    /// Who waits for what becomes of credentials, in the order in which those were sent.
    replies: VecDeque<oneshot::Sender<Reply>>,
    /// What the reader has no room for yet.
    held: Option<SocketMessage>,
    /// The payee has been told that no more is wanted.
    closing: bool,
}

enum Woke {
    Frame(Option<Result<Message, Error>>),
    Room,
    Ask(Ask),
    Command(Option<Command>),
}

impl Drive {
    pub(super) fn new(
        opened: Opened,
        to_reader: mpsc::Sender<SocketMessage>,
        commands: mpsc::Receiver<Command>,
        end: Arc<Mutex<Option<SocketEnd>>>,
    ) -> Self {
        Self {
            opened,
            to_reader,
            commands,
            end,
            replies: VecDeque::new(),
            held: None,
            closing: false,
        }
    }

    pub(super) async fn run(mut self) {
        let end = loop {
            let ended = match self.next().await {
                Woke::Frame(Some(Ok(Message::Text(text)))) => self.text(&text).await,
                Woke::Frame(Some(Ok(Message::Binary(data)))) => {
                    self.message(data.len(), SocketMessage::Binary(data));
                    None
                }
                Woke::Frame(Some(Ok(Message::Close(_))) | None) => {
                    Some(SocketEnd::BrokeOff("the payee closed it".to_owned()))
                }
                Woke::Frame(Some(Ok(_))) => None,
                Woke::Frame(Some(Err(error))) => Some(SocketEnd::BrokeOff(error.to_string())),
                Woke::Room => {
                    self.hand_over();
                    None
                }
                Woke::Ask(ask) => {
                    let frame = Frame::Authorization(ask.credential.into());
                    self.replies.push_back(ask.reply);
                    self.send(&frame).await
                }
                Woke::Command(Some(Command::Send(message))) => self.say(message).await,
                Woke::Command(Some(Command::Close) | None) => self.wish_to_close().await,
            };
            if let Some(end) = ended {
                break end;
            }
        };
        self.finish(end).await;
    }

    async fn next(&mut self) -> Woke {
        let has_held = self.held.is_some();
        let to_reader = self.to_reader.clone();
        let mut room = pin!(async move {
            match has_held {
                // A reader that has gone makes room too.
                true => drop(to_reader.reserve().await),
                false => pending().await,
            }
        });
        let closing = self.closing;
        let (opened, commands) = (&mut self.opened, &mut self.commands);
        poll_fn(|context| {
            if let Some(stream) = &mut opened.stream {
                // Whatever comes of it: what else there is may be what it waits for.
                let _ = stream.poll_work(context);
            }
            if let Poll::Ready(Some(ask)) = opened.asks.poll_recv(context) {
                return Poll::Ready(Woke::Ask(ask));
            }
            if room.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woke::Room);
            }
            if !has_held && let Poll::Ready(frame) = opened.socket.poll_next_unpin(context) {
                return Poll::Ready(Woke::Frame(frame));
            }
            if !closing && let Poll::Ready(command) = commands.poll_recv(context) {
                return Poll::Ready(Woke::Command(command));
            }
            Poll::Pending
        })
        .await
    }

    async fn text(&mut self, text: &str) -> Option<SocketEnd> {
        let frame = match Frame::parse(text, Framing::Mpp) {
            Ok(frame) => frame,
            Err(error) => return Some(SocketEnd::BrokeOff(error.to_string())),
        };
        match frame {
            Frame::Message(data) => {
                self.message(data.len(), SocketMessage::Text(data.into_owned()));
            }
            Frame::Plain(data) => {
                self.message(data.len(), SocketMessage::Text(data.to_owned()));
            }
            Frame::NeedVoucher(need) => {
                if let Some(stream) = &mut self.opened.stream {
                    stream.needs(NeedVoucher {
                        channel: need.channel.into_owned(),
                        required: need.required,
                    });
                }
            }
            Frame::Receipt(json) => {
                if let Some(reply) = self.replies.pop_front() {
                    let told = (StatusCode::NO_CONTENT, receipt_fields(json), Vec::new());
                    let _ = reply.send(told);
                }
            }
            Frame::CloseReady(json) => {
                if let Some(stream) = &mut self.opened.stream {
                    stream.receipt(json.as_bytes().to_vec());
                }
                return Some(SocketEnd::Complete);
            }
            Frame::Error(error) => {
                if let Some(reply) = self.replies.pop_front() {
                    let _ = reply.send(refusal(&error));
                }
                return Some(SocketEnd::Refused {
                    status: error.status,
                    message: error.message.into_owned(),
                });
            }
            Frame::Authorization(_) | Frame::CloseRequest | Frame::Challenge(_) => {
                let why = "the payee sent a frame that only a payer sends";
                return Some(SocketEnd::BrokeOff(why.to_owned()));
            }
        }
        None
    }

    /// Counts a message, and hands it over when the reader has room.
    fn message(&mut self, bytes: usize, message: SocketMessage) {
        if let Some(stream) = &mut self.opened.stream {
            stream.message(bytes);
        }
        self.held = Some(message);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let Some(message) = self.held.take() else {
            return;
        };
        match self.to_reader.try_send(message) {
            Err(mpsc::error::TrySendError::Full(message)) => self.held = Some(message),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }

    async fn say(&mut self, message: SocketMessage) -> Option<SocketEnd> {
        let message = match message {
            SocketMessage::Text(text) => {
                // Wrapped, so that nothing in it can pass for a payment.
                let frame = Frame::Message(text.into());
                return self.send(&frame).await;
            }
            SocketMessage::Binary(data) => Message::Binary(data),
        };
        let sent = self.opened.socket.send(message).await;
        sent.err()
            .map(|error| SocketEnd::BrokeOff(error.to_string()))
    }

    async fn wish_to_close(&mut self) -> Option<SocketEnd> {
        self.closing = true;
        self.send(&Frame::CloseRequest).await
    }

    async fn send(&mut self, frame: &Frame<'_>) -> Option<SocketEnd> {
        let text = frame.to_text(Framing::Mpp)?;
        let sent = self.opened.socket.send(Message::text(text)).await;
        sent.err()
            .map(|error| SocketEnd::BrokeOff(error.to_string()))
    }

    /// Ends the payment, and then tells the reader.
    async fn finish(mut self, end: SocketEnd) {
        // What is still asked for goes by requests of its own.
        self.opened.cut();
        self.opened.asks.close();
        self.replies.clear();
        while self.opened.asks.try_recv().is_ok() {}
        if let Some(mut stream) = self.opened.stream.take() {
            stream.finish(end != SocketEnd::Complete);
            poll_fn(|context| stream.poll_work(context)).await;
        }
        let _ = self.opened.socket.close(None).await;
        if let Some(message) = self.held.take() {
            let _ = self.to_reader.send(message).await;
        }
        let mut told = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        *told = Some(end);
    }
}
