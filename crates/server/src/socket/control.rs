//! What a client sends while its socket is open: vouchers, top-ups, the wish to close, messages.
//!
//! It is read beside what is delivered, so that a voucher is taken while a message waits for it. An
//! accepted voucher wakes the delivery as one does that came by any other request.

use std::{sync::Arc, time::Duration};

use stiver_core::{problem::ProblemKind, socket::Frame};
use tokio::sync::{mpsc, watch};

use super::{
    Message,
    asker::{Asker, Later, refused},
    line::{Incoming, Line, in_time},
};
use crate::{
    Refused,
    gate::session::{busy::Busy, socket::Brings},
    limits::STALL_MS_MAX,
};

/// What the client wants of the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// It goes on.
    On,
    /// It ends, with its receipt.
    Close,
    /// It ends, and the client has been told why.
    Stop,
}

/// How far the delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Delivers,
    Ended,
}

pub(super) struct Control {
    pub(super) asker: Arc<Asker>,
    pub(super) busy: Arc<Busy>,
    pub(super) line: Line,
    pub(super) to_app: mpsc::Sender<Message>,
    pub(super) wish: watch::Sender<Wish>,
    pub(super) stage: watch::Receiver<Stage>,
}

impl Control {
    /// Reads until the client goes, or is sent away.
    pub(super) async fn run(mut self, mut from: mpsc::Receiver<Incoming>) {
        while let Some(incoming) = from.recv().await {
            let taken = match &incoming {
                Incoming::Text(text) => match Frame::parse(text, self.line.framing) {
                    Ok(Frame::Authorization(credential)) => {
                        self.credential(credential.as_bytes()).await
                    }
                    Ok(Frame::CloseRequest) => {
                        self.wish.send_replace(Wish::Close);
                        Ok(true)
                    }
                    Ok(Frame::Message(data)) => self.message(data.into_owned().into()).await,
                    Ok(Frame::Plain(data)) => self.message(data.to_owned().into()).await,
                    Ok(_) => Err(refused(
                        ProblemKind::BadRequest,
                        "the frame is one that only a payee sends",
                    )),
                    Err(error) => Err(refused(ProblemKind::BadRequest, &error.to_string())),
                },
                Incoming::Binary(data) => self.message(Message::Binary(data.clone())).await,
                Incoming::TooLong => {
                    Err(refused(ProblemKind::BodyTooLarge, "the message is too big"))
                }
            };
            match taken {
                Ok(true) => {}
                Ok(false) => break,
                Err(refused) => {
                    self.line.refuse(&refused).await;
                    break;
                }
            }
        }
        self.wish.send_replace(Wish::Stop);
    }

    /// Takes a message for the handler. False when that has gone on without the client.
    async fn message(&self, message: Message) -> Result<bool, Box<Refused>> {
        let stall = Duration::from_millis(STALL_MS_MAX);
        let sending = self.to_app.send(message);
        match in_time(&*self.line.clock, stall, sending).await {
            // A handler that only sends has let go of its end.
            Some(_) => Ok(true),
            None => Err(refused(
                ProblemKind::Unavailable,
                "the messages that were sent are not taken: send them more slowly",
            )),
        }
    }

    /// Takes a credential. False when the socket ends by it.
    async fn credential(&mut self, credential: &[u8]) -> Result<bool, Box<Refused>> {
        let brings = self.asker.later_is_for(credential, &self.busy)?;
        if brings == Brings::Close {
            // What is reserved has to be free, or spent, before a close is exact.
            self.wish.send_replace(Wish::Close);
            let ended = self.stage.wait_for(|it| *it == Stage::Ended).await;
            if ended.is_err() {
                return Ok(false);
            }
        }
        match self.asker.later(credential).await {
            Later::Told(json) => {
                let sent = self.line.frame(&Frame::Receipt(&json)).await;
                if brings == Brings::Close {
                    self.line.close("the channel is closed").await;
                    return Ok(false);
                }
                Ok(sent.is_ok())
            }
            Later::Refused(refused) => Err(refused),
        }
    }
}
