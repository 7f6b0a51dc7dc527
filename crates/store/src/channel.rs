//! Channels of sessions: what is kept of each, and what can be asked of it.
//!
//! A channel is keyed by its id alone: a new challenge never resets what was spent. Its phase and
//! figures are a [`stiver_channel::Channel`], which decides; this module makes what it decides
//! durable, together with what proves it: the highest voucher, the server's own bytes, and a
//! settlement that is under way.
//!
//! Vouchers are verified before they come here. One that is accepted, and what it pays for, are one
//! command and one event.
//!
//! ```
//! use stiver_channel::{Caps, ChannelId, Rules, Voucher};
//! use stiver_store::{
//!     ChannelCommand, ChannelReply, ChannelStore, EmbeddedStore, Limits, NewChannel, Present,
//!     Take, Taken,
//! };
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! # pollster::block_on(async {
//! let env = stiver_env::native::env();
//! let store = EmbeddedStore::open(EmbeddedStore::config(folder), &env, Limits::default()).await?;
//! let id = ChannelId([7; 32]);
//! let rules = Rules { caps: Caps::LEDGER, voucher_delta_min: 0 };
//!
//! // The rail says that the deposit is there.
//! let open = NewChannel {
//!     id,
//!     rules,
//!     deposit: 1_000,
//!     settled: 0,
//!     voucher: None,
//!     details: b"method, payee, and the method's own terms"[..].into(),
//! };
//! store.channel(ChannelCommand::Open(Box::new(open))).await?;
//!
//! // A verified voucher, and what it pays for: durable before anything is served.
//! let present = Present {
//!     id,
//!     rules,
//!     voucher: Some(Voucher { channel: id, cumulative: 30, proof: [9; 64].into() }),
//!     take: Take::Spend(10),
//!     key: None,
//!     reruns: 0,
//! };
//! let reply = store.channel(ChannelCommand::Present(Box::new(present))).await?;
//! let ChannelReply::Presented(presented) = reply else { panic!("the channel is open") };
//! assert_eq!(presented.taken, Taken::Done);
//! assert_eq!(presented.channel.figures().available(), 20);
//! # store.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod book;
mod carried;
mod event;
mod keys;
mod record;

use std::{fmt, sync::Arc};

use stiver_channel::{Channel, ChannelId, Op, Refusal, Rules, Voucher};
use stiver_env::BoxFuture;

use crate::{SecretBytes, StoreError, StoredResponse};

pub use book::ChannelReader;
pub(crate) use book::Channels;
pub use carried::{Carried, Left};
pub use event::{ChannelEvent, ChannelWork};
pub(crate) use keys::{Keyed, Keys};
pub(crate) use record::Record;

/// A store that keeps channels.
pub trait ChannelStore: Send + Sync {
    /// Submits one command. A future that is dropped before it is done leaves open whether the
    /// command is carried out.
    ///
    /// An unanswered command is not to be repeated blindly: one that takes money would take it
    /// twice. Read the channel first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when there is no answer. Everything that the store decides is a
    /// [`ChannelReply`].
    fn channel(&self, command: ChannelCommand) -> BoxFuture<'_, Result<ChannelReply, StoreError>>;
    /// Reads channels past the log's queue: what is found there may not be durable yet, so it
    /// serves to price, to verify and to refuse early. The command decides.
    fn channels(&self) -> &ChannelReader;
}

impl<T: ChannelStore + ?Sized> ChannelStore for Arc<T> {
    fn channel(&self, command: ChannelCommand) -> BoxFuture<'_, Result<ChannelReply, StoreError>> {
        (**self).channel(command)
    }
    fn channels(&self) -> &ChannelReader {
        (**self).channels()
    }
}

/// What can be asked of the channels: each one conditional write, or a question.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelCommand {
    /// Opens a channel whose deposit the rail has confirmed. Asked again for a channel that is
    /// there, it changes nothing and is answered [`ChannelReply::Exists`].
    Open(Box<NewChannel>),
    /// Accepts a verified voucher, and takes for a request: in one event, durable at once.
    /// Answered [`ChannelReply::Presented`], or [`ChannelReply::Refused`] when the voucher is
    /// refused: then nothing is taken either.
    Present(Box<Present>),
    /// Ends a reservation: spends of it, and frees the rest. Answered [`ChannelReply::Concluded`].
    Conclude(Conclude),
    /// Keeps what was answered under a key that was spent before. Answered [`ChannelReply::Done`],
    /// also when there is no room for it.
    Keep(Keep),
    /// Anything else that can happen to a channel. Answered [`ChannelReply::Done`].
    Apply(Box<Apply>),
    /// Reads a channel, after all that was submitted before. Answered [`ChannelReply::Found`].
    Read {
        /// Which.
        id: ChannelId,
    },
}

/// A channel to be opened.
#[derive(Clone, PartialEq, Eq)]
pub struct NewChannel {
    /// Its id.
    pub id: ChannelId,
    /// What the method's channels can do.
    pub rules: Rules,
    /// The deposit, base units.
    pub deposit: u128,
    /// What the rail says was settled before.
    pub settled: u128,
    /// The voucher that came with the proof of funding.
    pub voucher: Option<Voucher>,
    /// The server's own bytes: at most
    /// [`CHANNEL_DETAILS_BYTES_MAX`](crate::limits::CHANNEL_DETAILS_BYTES_MAX). They never change.
    pub details: Box<[u8]>,
}

impl fmt::Debug for NewChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewChannel")
            .field("id", &self.id)
            .field("deposit", &self.deposit)
            .field("settled", &self.settled)
            .field("voucher", &self.voucher)
            .finish_non_exhaustive()
    }
}

/// A voucher, and what it is to pay for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The channel.
    pub id: ChannelId,
    /// What the method's channels can do.
    pub rules: Rules,
    /// The voucher, verified. `None` for a response that is running.
    pub voucher: Option<Voucher>,
    /// What to take.
    pub take: Take,
    /// The request's Idempotency-Key: what is taken under one key is taken once.
    pub key: Option<SpendKey>,
    /// How often the handler may run again for this request, without a charge, when it was paid for
    /// under the key and its answer is not kept.
    pub reruns: u32,
}

/// What to take of what is authorised, base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Nothing: only the voucher counts.
    Nothing,
    /// Spends at once, for good.
    Spend(u128),
    /// Sets aside, until [`Conclude`], or until the store is opened again: what is reserved then is
    /// free.
    Reserve(u128),
}

/// An Idempotency-Key, bound to one channel and one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendKey {
    /// SHA-256 over the channel and the key.
    pub key: [u8; 32],
    /// SHA-256 over the request.
    pub request: [u8; 32],
}

/// What was answered to a request under its Idempotency-Key.
#[derive(Clone, PartialEq, Eq)]
pub struct SpendAnswer {
    /// The server's own bytes: what it needs, besides the channel's figures, to print the receipt
    /// again. At most [`SPEND_RECEIPT_BYTES_MAX`](crate::limits::SPEND_RECEIPT_BYTES_MAX).
    pub receipt: Box<[u8]>,
    /// The response.
    pub response: Arc<StoredResponse>,
}

impl SpendAnswer {
    /// What it counts for in the limits, bytes.
    pub fn weight(&self) -> u64 {
        let more = self.receipt.len().saturating_add(ANSWER_OVERHEAD_BYTES);
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        self.response.weight().saturating_add(more)
    }
}

impl fmt::Debug for SpendAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.response.fmt(f)
    }
}

/// Memory counted for a kept answer besides its bytes.
const ANSWER_OVERHEAD_BYTES: usize = 256;

/// An answer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The answer.
    pub answer: Arc<SpendAnswer>,
    /// What was authorised in the channel once it was kept.
    pub accepted: u128,
    /// What was spent in the channel once it was kept.
    pub spent: u128,
    /// What the channel carried once it was kept.
    pub carried: Carried,
}

/// What was answered under a key that was spent before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The channel.
    pub id: ChannelId,
    /// The key.
    pub key: [u8; 32],
    /// The answer.
    pub answer: Arc<SpendAnswer>,
}

/// The end of a reservation, or of a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclude {
    /// The channel.
    pub id: ChannelId,
    /// What the method's channels can do.
    pub rules: Rules,
    /// What was served. Beyond `from_reserved` it is taken of what is available.
    pub spend: u128,
    /// How much of what is reserved this ends.
    pub from_reserved: u128,
    /// The key under which it was reserved: bound for good when something was served, free again
    /// when nothing was.
    pub key: Option<[u8; 32]>,
    /// What is answered under the key: kept with what is spent, in one write, when there is room.
    pub answer: Option<Arc<SpendAnswer>>,
    /// What was served beyond `spend`: fractions of a base unit, meter by meter. They are added to
    /// what the channel carries; what makes a whole base unit then is spent too, as far as it is
    /// reserved or available. At most [`CARRIED_METERS_MAX`](crate::limits::CARRIED_METERS_MAX).
    pub left: Vec<Left>,
}

/// Something that happens to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    /// The channel.
    pub id: ChannelId,
    /// What the method's channels can do.
    pub rules: Rules,
    /// What happens. `None` when only `work` changes.
    pub op: Option<Op>,
    /// The proof of the voucher that `op` names, when it may be a new highest one.
    pub proof: Option<Box<[u8]>>,
    /// What becomes of the settlement that is under way.
    pub work: ChannelWork,
}

impl Apply {
    /// Only this.
    pub fn op(id: ChannelId, rules: Rules, op: Op) -> Self {
        Self {
            id,
            rules,
            op: Some(op),
            proof: None,
            work: ChannelWork::Same,
        }
    }
}

/// A settlement that is under way: durable before it is executed.
#[derive(Clone, PartialEq, Eq)]
pub struct Settling {
    /// What is executed. Let go when the settlement has ended.
    pub artefact: SecretBytes,
    /// What was taken in all once it is done.
    pub capture: u128,
    /// Whether the channel ends with it.
    pub last: bool,
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settling")
            .field("capture", &self.capture)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// What is kept of a channel.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelSeen {
    /// Phase and figures.
    pub channel: Channel,
    /// The highest voucher.
    pub voucher: Option<Voucher>,
    /// The server's own bytes.
    pub details: Box<[u8]>,
    /// A settlement that is under way.
    pub settling: Option<Settling>,
    /// What the server wrote down when the last settlement ended.
    pub outcome: Option<Box<[u8]>>,
    /// What its meters carry.
    pub carried: Carried,
}

impl fmt::Debug for ChannelSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSeen")
            .field("channel", &self.channel)
            .field("voucher", &self.voucher)
            .field("settling", &self.settling)
            .finish_non_exhaustive()
    }
}

/// What a channel is chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// Phase and figures.
    pub channel: Channel,
    /// Whether a settlement is under way.
    pub settling: bool,
    /// How often something was spent since the last settlement: once for each request, or for each
    /// window of a metered response.
    pub spends: u32,
}

/// What a store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelReply {
    /// [`ChannelCommand::Open`]: it is open. [`ChannelCommand::Apply`]: done, or it was so already.
    Done(Channel),
    /// [`ChannelCommand::Conclude`]: done.
    Concluded {
        /// The channel as it stands now.
        channel: Channel,
        /// What its meters carry now.
        carried: Carried,
        /// What was spent by it, fractions that made whole base units included.
        spent: u128,
    },
    /// [`ChannelCommand::Open`]: it was there before, as it is now.
    Exists(Channel),
    /// [`ChannelCommand::Present`]: the voucher stands.
    Presented(Presented),
    /// The channel does not allow it: nothing changed.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The channel as it stands.
        channel: Channel,
    },
    /// A settlement is under way already: nothing changed.
    Settling(Channel),
    /// A part is larger than its limit: nothing changed.
    TooLarge {
        /// Which part.
        part: &'static str,
        /// The limit, bytes.
        limit: usize,
    },
    /// [`ChannelCommand::Read`]
    Found(Box<ChannelSeen>),
    /// No such channel is kept.
    Absent,
}

/// What came of [`ChannelCommand::Present`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The channel as it stands now.
    pub channel: Channel,
    /// Whether the voucher raised what is authorised. False for one that was accepted before.
    pub raised: bool,
    /// What became of the taking.
    pub taken: Taken,
}

/// What became of a [`Take`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Nothing was asked.
    Nothing,
    /// It was taken.
    Done,
    /// Under this key it was taken before, for the same request: nothing is taken again, and its
    /// answer is not kept.
    Before,
    /// As [`Taken::Before`], and the handler may run once more: this is counted.
    Again,
    /// Under this key it was taken before, for the same request, and this was its answer.
    Kept(Box<KeptAnswer>),
    /// Under this key it is reserved now, for the same request.
    InProgress,
    /// The key is bound to another request. Nothing was taken.
    OtherRequest,
    /// So many keys were bound lately that none can be forgotten yet. Nothing was taken.
    TooManyKeys {
        /// When there may be room, milliseconds from now.
        wait_ms: u64,
    },
    /// It was not taken. The voucher stands all the same.
    Refused(Refusal),
}

/// How many channels a store keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelUsage {
    /// Channels that have not ended.
    pub open: u64,
    /// Channels that have ended and are still remembered.
    pub ended: u64,
    /// Memory of both, bytes, about.
    pub bytes: u64,
    /// Idempotency-Keys.
    pub keys: u64,
    /// Memory of the answers that are kept under them, bytes.
    pub answers_bytes: u64,
}
