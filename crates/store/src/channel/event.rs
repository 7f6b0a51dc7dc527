//! What happened to channels: the facts that the log keeps.

use std::sync::Arc;

use stiver_channel::{Change, ChannelId};

use super::{Carried, Settling, SpendAnswer, SpendKey};

/// One fact about one channel. The log's time is the time of each change in it.
#[derive(Clone, PartialEq, Eq)]
pub enum ChannelEvent {
    /// The channel is open.
    Opened {
        /// Which.
        id: ChannelId,
        /// [`Change::Opened`]
        change: Change,
        /// The proof of the first voucher.
        proof: Option<Box<[u8]>>,
        /// The server's own bytes.
        details: Box<[u8]>,
    },
    /// A voucher was accepted, something was taken, or both.
    Presented {
        /// Which.
        id: ChannelId,
        /// The cumulative amount that is authorised now, and its proof.
        accepted: Option<(u128, Box<[u8]>)>,
        /// [`Change::Spent`] or [`Change::Reserved`]
        taken: Option<Change>,
        /// The key under which it was taken; without anything taken, the key under which the
        /// handler runs once more.
        key: Option<SpendKey>,
    },
    /// A reservation ended.
    Concluded {
        /// Which.
        id: ChannelId,
        /// [`Change::Spent`] or [`Change::Released`]; `None` when only fractions were served.
        change: Option<Change>,
        /// The key under which it was reserved.
        key: Option<[u8; 32]>,
        /// What is kept under the key.
        answer: Option<Arc<SpendAnswer>>,
        /// What the channel's meters carry from now on; `None`: as before.
        carried: Option<Carried>,
    },
    /// What was answered under a key is kept.
    Kept {
        /// Which.
        id: ChannelId,
        /// The key.
        key: [u8; 32],
        /// The answer.
        answer: Arc<SpendAnswer>,
    },
    /// Anything else.
    Applied {
        /// Which.
        id: ChannelId,
        /// What changed.
        change: Option<Change>,
        /// The proof of what is authorised now.
        proof: Option<Box<[u8]>>,
        /// What became of the settlement.
        work: ChannelWork,
    },
}

/// What becomes of a channel's settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelWork {
    /// Nothing.
    Same,
    /// One begins.
    Begin(Box<Settling>),
    /// It has ended, with what the server writes down of it.
    End(Option<Box<[u8]>>),
}

impl ChannelEvent {
    /// Which channel.
    pub fn id(&self) -> ChannelId {
        match self {
            Self::Opened { id, .. }
            | Self::Presented { id, .. }
            | Self::Concluded { id, .. }
            | Self::Kept { id, .. }
            | Self::Applied { id, .. } => *id,
        }
    }
}
