//! Messages of a paid WebSocket: payment and application data share its text frames.
//!
//! No draft defines this. It is what deployed peers do, in two forms ([`Framing`]): a JSON object
//! whose one member says what it is. A text that is none of these is the application's own, and so
//! is every binary frame. Whoever writes application data writes it wrapped ([`Frame::Message`]),
//! so that nothing in it can pass for a payment.
//!
//! # Examples
//! ```
//! use stiver_core::socket::{Frame, Framing};
//! let text = r#"{"mpp":"message","data":"22.5"}"#;
//! let frame = Frame::parse(text, Framing::Mpp)?;
//! assert_eq!(frame, Frame::Message("22.5".into()));
//! assert_eq!(Frame::parse("22.5", Framing::Mpp)?, Frame::Plain("22.5"));
//! # Ok::<(), stiver_core::socket::FrameError>(())
//! ```

mod wire;

#[cfg(test)]
mod tests;

use alloc::{borrow::Cow, string::String, vec::Vec};

use crate::limits::SOCKET_TEXT_BYTES_MAX;

/// Which of the deployed forms a socket speaks. The payer chooses, by its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Named by the member `mpp`: `{"mpp":"message","data":"…"}`. That of `mppx`.
    #[default]
    Mpp,
    /// Named by the member `type`: `{"type":"message","data":"…"}`. That of the crate `mpp`. It has
    /// no request to close, and nothing that says that a close is due.
    Type,
}

/// One text frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Payer to payee: a credential, as an `Authorization` field has it.
    Authorization(Cow<'a, str>),
    /// Application data, both ways.
    Message(Cow<'a, str>),
    /// Application data that nobody wrapped.
    Plain(&'a str),
    /// Payee to payer: what can be paid, a challenge as JSON. [`Framing::Type`] only.
    Challenge(&'a str),
    /// Payee to payer: no more is delivered before a voucher comes.
    NeedVoucher(NeedVoucher<'a>),
    /// Payee to payer: a receipt as JSON.
    Receipt(&'a str),
    /// Payee to payer: something was refused, and the socket ends.
    Error(ErrorFrame<'a>),
    /// Payer to payee: it wants no more. [`Framing::Mpp`] only.
    CloseRequest,
    /// Payee to payer: nothing more is delivered; the last receipt as JSON. What it says was spent
    /// is what a close is for. [`Framing::Mpp`] only.
    CloseReady(&'a str),
}

/// What a payee needs before it goes on. Amounts are base units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedVoucher<'a> {
    /// The channel.
    pub channel: Cow<'a, str>,
    /// What has to be authorised in all.
    pub required: u128,
    /// What is authorised in all.
    pub accepted: u128,
    /// What the channel holds.
    pub deposit: u128,
}

/// What a payee refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorFrame<'a> {
    /// The HTTP status that the refusal has elsewhere. [`Framing::Type`] has none.
    pub status: Option<u16>,
    /// Why, in words.
    pub message: Cow<'a, str>,
    /// The whole problem (RFC 9457) as JSON. An addition of ours that the peers pass over.
    pub problem: Option<&'a str>,
    /// Challenges that could be answered instead, as `WWW-Authenticate` has them. As `problem`.
    pub challenges: Vec<Cow<'a, str>>,
}

/// Why a text frame cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is longer than [`SOCKET_TEXT_BYTES_MAX`].
    #[error("the frame has {bytes} bytes, at most {SOCKET_TEXT_BYTES_MAX} are read")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It names itself a payment's frame and is not readable JSON, or says one thing twice.
    #[error("the frame is of a payment, and is no readable JSON object")]
    Json,
    /// It names itself something that is not known.
    #[error("the frame is of a payment, and of a kind that is not known")]
    Unknown,
    /// A member is missing or is not what it should be.
    #[error("the frame is of a payment, and its member `{0}` is missing or is not right")]
    Member(&'static str),
}

impl<'a> Frame<'a> {
    /// Reads a text frame.
    ///
    /// Only an object that has the naming member of `framing` at its top is a payment's. With
    /// [`Framing::Type`] that member is a common one: an object of an unknown `type` is the
    /// application's, where [`Framing::Mpp`] refuses it.
    ///
    /// # Errors
    /// [`FrameError`]: it is too long, or of a payment and wrong.
    pub fn parse(text: &'a str, framing: Framing) -> Result<Self, FrameError> {
        let bytes = text.len();
        if bytes > SOCKET_TEXT_BYTES_MAX {
            return Err(FrameError::TooLong { bytes });
        }
        wire::parse(text, framing)
    }

    /// The framing of a payer's first frame, when it brings a credential in either.
    pub fn framing_of(text: &str) -> Option<Framing> {
        let brings =
            |framing: &Framing| matches!(Frame::parse(text, *framing), Ok(Frame::Authorization(_)));
        [Framing::Mpp, Framing::Type].into_iter().find(brings)
    }

    /// The text of a frame; `None` for what the framing has no form for.
    #[must_use]
    pub fn to_text(&self, framing: Framing) -> Option<String> {
        wire::write(self, framing)
    }
}
