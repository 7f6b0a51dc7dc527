//! What the outbox holds of one logical call.

use std::{fmt, str::FromStr};

use stiver_core::{Amount, Timestamp};
use stiver_method::{artefact::Artefact, payer::CallKey};
use zeroize::Zeroizing;

use crate::MoneyMoved;

/// Names one logical paid call: 16 random bytes, printed as 32 hexadecimal digits.
///
/// The same bytes are the rail's [`CallKey`] and, unless the caller sets one, the
/// `Idempotency-Key`. Not a secret.
///
/// ```
/// use stiver_client::CallId;
/// let id = CallId::from_bytes([0xab; 16]);
/// assert_eq!(id.to_string(), "ab".repeat(16));
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId([u8; 16]);

impl CallId {
    /// From 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
    /// The rail nonce of every attempt of the call.
    pub fn call_key(&self) -> CallKey {
        CallKey::from_bytes(self.0)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for CallId {
    type Err = CallIdError;

    fn from_str(text: &str) -> Result<Self, CallIdError> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(CallIdError);
        }
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or(CallIdError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| CallIdError)?;
        }
        Ok(Self(bytes))
    }
}

/// The text is no call id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a call id: 32 hexadecimal digits, as `stiver wallet history` prints them")]
pub struct CallIdError;

/// Where a call stands. The diagram is in [`crate::outbox`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// The policy said yes to a challenge. Nothing is signed.
    Challenged,
    /// Signed, not sent.
    Authorised,
    /// The credential is on its way, or was when the process ended.
    Sent,
    /// The server said no. That proves nothing about the money.
    Refused,
    /// No answer, or none that tells.
    Unknown,
    /// Paid and answered, and the answer's body was not read to its end: it can be fetched again.
    Unread,
    /// Paid, answered and read. Final.
    Paid,
    /// The rail says that money moved; the answer was not seen whole, or was a refusal. Final.
    Settled,
    /// The rail says that no money moved and none will. Final.
    Void,
    /// Given up before anything was signed. Final.
    Abandoned,
}

impl State {
    /// True when nothing can happen to the call any more: its secrets are gone.
    pub fn is_final(self) -> bool {
        match self {
            Self::Challenged
            | Self::Authorised
            | Self::Sent
            | Self::Refused
            | Self::Unknown
            | Self::Unread => false,
            Self::Paid | Self::Settled | Self::Void | Self::Abandoned => true,
        }
    }

    /// The word for it, as the journal and the history write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Challenged => "challenged",
            Self::Authorised => "authorised",
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Unread => "unread",
            Self::Paid => "paid",
            Self::Settled => "settled",
            Self::Void => "void",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One logical call, as the history shows it. Holds no secret.
///
/// `payee`, `network` and `note` come from the peer: print them through
/// [`stiver_core::untrusted::Untrusted`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Which call.
    pub id: CallId,
    /// Where it stands.
    pub state: State,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it came to its state.
    pub changed_at: Timestamp,
    /// What was called.
    pub resource: Resource,
    /// What it costs, to whom.
    pub terms: Terms,
    /// Signatures made so far.
    pub signatures: u32,
    /// What happened last, in words.
    pub note: Option<String>,
    /// The rail's or the receipt's id of the payment.
    pub reference: Option<String>,
    /// The `Payment-Receipt` value as it came, when one did.
    pub receipt: Option<String>,
}

impl Entry {
    /// Whether money moved, as far as the journal tells.
    pub fn money_moved(&self) -> MoneyMoved {
        match self.state {
            State::Challenged if self.signatures == 0 => MoneyMoved::No,
            State::Void | State::Abandoned => MoneyMoved::No,
            State::Challenged
            | State::Authorised
            | State::Sent
            | State::Refused
            | State::Unknown => MoneyMoved::Maybe,
            State::Unread | State::Paid | State::Settled => MoneyMoved::Yes,
        }
    }
}

/// What a call asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `https://api.example`.
    pub origin: String,
    /// The HTTP method.
    pub method: String,
    /// The whole URL.
    pub url: String,
}

/// The terms of the challenge that the policy said yes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The most it can cost.
    pub amount: Amount,
    /// Who gets it, in the method's form.
    pub payee: String,
    /// The network, ledger or processor.
    pub network: String,
    /// The realm.
    pub realm: String,
    /// The payment method.
    pub method: String,
    /// The intent.
    pub intent: String,
    /// The challenge's id.
    pub challenge_id: String,
    /// When the challenge or the payment expires, whichever is first.
    pub expires: Option<Timestamp>,
}

/// One step of a call, to be durable before the next.
#[derive(Clone)]
#[non_exhaustive]
pub enum Step {
    /// The call begins with a challenge that the policy said yes to.
    Begun {
        /// What is called.
        resource: Resource,
        /// What it costs.
        terms: Terms,
        /// The request, for sending it again.
        request: StoredRequest,
        /// The challenge as a field value, for making the credential again.
        challenge: String,
    },
    /// After a refusal the policy said yes to a fresh challenge.
    Rechallenged {
        /// What it costs now.
        terms: Terms,
        /// The fresh challenge.
        challenge: String,
    },
    /// Signed.
    Authorised {
        /// The signed bytes.
        artefact: Artefact,
    },
    /// About to be sent for the first time.
    Sent {
        /// The whole credential field value.
        credential: Zeroizing<String>,
    },
    /// The server said no.
    Refused {
        /// In its words.
        note: String,
    },
    /// The outcome is not known.
    Unknown {
        /// Why.
        note: String,
    },
    /// Answered; the body is still to be read.
    Unread {
        /// The receipt as it came.
        receipt: Option<String>,
        /// Its reference.
        reference: Option<String>,
        /// What was odd about it, if anything.
        note: Option<String>,
    },
    /// Answered, and the body was read.
    Paid {
        /// The receipt as it came.
        receipt: Option<String>,
        /// Its reference.
        reference: Option<String>,
        /// What was odd about it, if anything.
        note: Option<String>,
    },
    /// The rail says that money moved.
    Settled {
        /// The rail's id.
        reference: String,
    },
    /// The rail says that no money moved and none will.
    Void {
        /// Why.
        note: String,
    },
    /// Given up before anything was signed.
    Abandoned {
        /// Why.
        note: String,
    },
}

/// A request, kept so that it can be sent again unchanged.
#[derive(Clone)]
pub struct StoredRequest {
    /// All field lines, in order, `Idempotency-Key` among them.
    pub fields: Zeroizing<Vec<(String, Vec<u8>)>>,
    /// The body; `None` when it is longer than [`crate::limits::STORED_BODY_BYTES_MAX`].
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// The SHA-256 of the body.
    pub body_digest: [u8; 32],
}

/// Everything needed to go on with a call. Secret; no `Debug`.
pub struct StoredCall {
    /// The public part.
    pub entry: Entry,
    /// The request.
    pub request: StoredRequest,
    /// The latest challenge, as a field value.
    pub challenge: String,
    /// Everything signed for this call, oldest first.
    pub artefacts: Vec<Artefact>,
    /// The latest credential, once it was about to be sent.
    pub credential: Option<Zeroizing<String>>,
}
