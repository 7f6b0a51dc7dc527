//! The state machine of a channel.
//!
//! ```text
//!             ┌────────────► Rejected
//!             │ RejectOpen
//!          Opening
//!             │ ConfirmOpen                 CancelSuspension, TopUp (where it cancels)
//!             ▼                        ┌──────────────────────────────┐
//!           Active ──── Suspend ──────►│          Suspended           │
//!           │  ▲ ▲                     └──┬─────────────┬─────────┬───┘
//!     Pause │  │ │ Resume, Accept         │ BeginClose  │ Close   │ Withdraw
//!           ▼  │ │                        │             ▼         ▼
//!          Paused┘      BeginClose        ▼           Closed   Withdrawn
//!           └────────────────────────► Closing ─────────┘         ▲
//!                                      (fenced, then the          │
//!                                       capture is fixed) ────────┘
//! ```
//!
//! # Invariants
//! - `spent + reserved <= accepted <= deposit`
//! - `settled <= accepted` and `published <= accepted`
//! - all but `reserved` only grow
//! - nothing is reserved once the capture is fixed or the channel has ended

mod apply;
mod decide;
mod op;
mod refusal;

pub use op::{Authority, Change, Event, Op};
pub use refusal::Refusal;

use crate::Caps;
use core::fmt;
use stiver_core::Timestamp;

/// One channel: how far it is, and its figures. What proves the figures (the highest voucher, the
/// terms of the channel) is kept beside it by whoever keeps the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    phase: Phase,
    figures: Figures,
    active_at: Timestamp,
}

/// The sums of a channel, each in base units since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// What the payer has put in.
    pub deposit: u128,
    /// What the payer has authorised: the highest accepted voucher.
    pub accepted: u128,
    /// What was served.
    pub spent: u128,
    /// What is being served: it becomes spent or free again.
    pub reserved: u128,
    /// What the payee has taken out of the deposit.
    pub settled: u128,
    /// The highest voucher that was, or was about to be, shown to others in a settlement. It can
    /// be copied, so a request that presents it proves nothing.
    pub published: u128,
}

impl Figures {
    /// What is authorised and neither spent nor reserved.
    #[must_use]
    pub fn available(&self) -> u128 {
        self.accepted
            .saturating_sub(self.spent)
            .saturating_sub(self.reserved)
    }

    /// What the payer would lose if the payee were gone now: authorised, but not served.
    #[must_use]
    pub fn unserved(&self) -> u128 {
        self.accepted.saturating_sub(self.spent)
    }

    /// What the payee would lose if the payer were gone now: served, but not settled.
    #[must_use]
    pub fn unsettled(&self) -> u128 {
        self.spent.saturating_sub(self.settled)
    }
}

/// How far a channel is.
///
/// The set is closed: these are the phases of every method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The deposit is on its way.
    Opening,
    /// Vouchers are accepted and services rendered.
    Active,
    /// As [`Phase::Active`], and a metered response waits for a voucher.
    Paused {
        /// The cumulative amount that is waited for.
        required: u128,
    },
    /// The payer has asked the rail for a forced close: nothing new is served, what was accepted
    /// can be settled.
    Suspended {
        /// From when on the payer can withdraw what was not settled.
        withdrawable_at: Timestamp,
    },
    /// The close has begun: streams are fenced off.
    Closing {
        /// What the close captures in all, once nothing is reserved any more.
        capture: Option<u128>,
    },
    /// Final: the payee has its share, the payer the rest.
    Closed,
    /// Final: the payer has withdrawn what was not settled in time.
    Withdrawn,
    /// Final: the deposit never came.
    Rejected,
}

impl Phase {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> PhaseName {
        match self {
            Self::Opening => PhaseName::Opening,
            Self::Active => PhaseName::Active,
            Self::Paused { .. } => PhaseName::Paused,
            Self::Suspended { .. } => PhaseName::Suspended,
            Self::Closing { .. } => PhaseName::Closing,
            Self::Closed => PhaseName::Closed,
            Self::Withdrawn => PhaseName::Withdrawn,
            Self::Rejected => PhaseName::Rejected,
        }
    }
}

/// The name of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PhaseName {
    /// [`Phase::Opening`]
    Opening,
    /// [`Phase::Active`]
    Active,
    /// [`Phase::Paused`]
    Paused,
    /// [`Phase::Suspended`]
    Suspended,
    /// [`Phase::Closing`]
    Closing,
    /// [`Phase::Closed`]
    Closed,
    /// [`Phase::Withdrawn`]
    Withdrawn,
    /// [`Phase::Rejected`]
    Rejected,
}

impl PhaseName {
    /// True for the phases that nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Closed | Self::Withdrawn | Self::Rejected)
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Withdrawn => "withdrawn",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a channel is decided by, besides its own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What the method's channels can do.
    pub caps: Caps,
    /// The least by which a voucher must exceed the one before it, in base units. 0 and 1 are the
    /// same.
    pub voucher_delta_min: u128,
}

impl Channel {
    /// A channel whose deposit is on its way.
    #[must_use]
    pub fn opening(now: Timestamp) -> Self {
        Self {
            phase: Phase::Opening,
            figures: Figures::default(),
            active_at: now,
        }
    }

    /// A channel as it was kept somewhere.
    ///
    /// # Errors
    /// [`Broken`] when the figures contradict each other.
    pub fn restore(phase: Phase, figures: Figures, active_at: Timestamp) -> Result<Self, Broken> {
        let channel = Self {
            phase,
            figures,
            active_at,
        };
        channel.check()?;
        Ok(channel)
    }

    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Its sums.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// When a payer last did something with it, which an idle close is measured from; of a channel
    /// that has ended, when it did.
    #[must_use]
    pub fn active_at(&self) -> Timestamp {
        self.active_at
    }

    /// Checks the invariants.
    ///
    /// # Errors
    /// The first one that is broken.
    pub fn check(&self) -> Result<(), Broken> {
        let Figures {
            deposit,
            accepted,
            spent,
            reserved,
            settled,
            published,
        } = self.figures;
        let used = spent.checked_add(reserved);
        if used.is_none_or(|used| used > accepted) {
            return Err(Broken::UsedAboveAccepted);
        }
        if accepted > deposit {
            return Err(Broken::AcceptedAboveDeposit);
        }
        if settled > accepted {
            return Err(Broken::SettledAboveAccepted);
        }
        if published > accepted {
            return Err(Broken::PublishedAboveAccepted);
        }
        let fixed = match self.phase {
            Phase::Closing { capture } => capture,
            _ => None,
        };
        if reserved > 0 && (fixed.is_some() || self.phase.name().is_final()) {
            return Err(Broken::ReservedAtEnd);
        }
        if fixed.is_some_and(|capture| capture < settled || capture > spent.max(settled)) {
            return Err(Broken::Capture);
        }
        let unfunded = matches!(self.phase, Phase::Opening | Phase::Rejected);
        if unfunded && self.figures != Figures::default() {
            return Err(Broken::MoneyBeforeOpen);
        }
        if let Phase::Paused { required } = self.phase
            && required <= accepted
        {
            return Err(Broken::PausedForNothing);
        }
        Ok(())
    }
}

/// An invariant that does not hold: the record is damaged, or there is a fault in the program. No
/// peer can cause one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// More is spent and reserved than was authorised.
    #[error("more is spent and reserved than was accepted")]
    UsedAboveAccepted,
    /// More is authorised than was put in.
    #[error("more is accepted than was deposited")]
    AcceptedAboveDeposit,
    /// Something was settled that was never accepted.
    #[error("more is settled than was accepted")]
    SettledAboveAccepted,
    /// Something was published that was never accepted.
    #[error("more is published than was accepted")]
    PublishedAboveAccepted,
    /// Something is reserved though the capture is fixed or the channel has ended.
    #[error("something is reserved in a channel that serves no more")]
    ReservedAtEnd,
    /// The capture is less than was settled, or more than was served.
    #[error("the capture is less than was settled, or more than was served")]
    Capture,
    /// There are figures before there is a deposit.
    #[error("there is money in a channel that was never opened")]
    MoneyBeforeOpen,
    /// A pause for an amount that is authorised already.
    #[error("the channel is paused for what it has")]
    PausedForNothing,
    /// A figure that only grows became less.
    #[error("the event would lower a figure that only grows")]
    Lowered,
    /// The event does not follow from the phase.
    #[error("the event does not fit a channel that is {phase}")]
    OutOfPhase {
        /// Where the channel stands.
        phase: PhaseName,
    },
}

#[cfg(test)]
mod tests;
