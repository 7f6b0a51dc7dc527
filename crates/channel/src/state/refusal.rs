//! Why a channel does not do what it was asked.

use super::PhaseName;
use stiver_core::Timestamp;

/// Why an operation was refused. The channel is unchanged.
///
/// When several apply the first of this order is told: the phase, the kind of channel, the width,
/// then the amounts. Closed: whoever answers a payer maps every one of these to a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The deposit is not confirmed.
    #[error("the channel is not open yet: wait for its deposit")]
    NotOpen,
    /// It was opened before.
    #[error("the channel is open already")]
    AlreadyOpen,
    /// The payer has asked for a forced close.
    #[error("the payer has asked for a forced close: nothing new is served")]
    Suspended {
        /// From when on the payer can withdraw.
        withdrawable_at: Timestamp,
    },
    /// The close has begun.
    #[error("the channel is being closed: open another one")]
    Closing,
    /// There is no close to fix the capture of.
    #[error("the channel is {phase}: begin its close first")]
    NotClosing {
        /// Where the channel stands.
        phase: PhaseName,
    },
    /// It has ended.
    #[error("the channel is {phase}: open another one")]
    Finished {
        /// How it ended.
        phase: PhaseName,
    },
    /// The method knows no forced close.
    #[error("channels of this method have no forced close")]
    NoForcedClose,
    /// The proof of funding has to bring a voucher.
    #[error("the channel has to be opened with a voucher")]
    InitialVoucherMissing,
    /// The proof of funding must not bring a voucher.
    #[error("the channel must not be opened with a voucher")]
    InitialVoucherRefused,
    /// The deposit itself authorises.
    #[error("the deposit authorises spending: this channel takes no vouchers")]
    VouchersUnused,
    /// An amount that the rail's integer cannot hold.
    #[error("the amount does not fit in {bits} bits")]
    OverWidth {
        /// The width.
        bits: u8,
    },
    /// A voucher for more than was put in.
    #[error("a voucher for {cumulative} exceeds the deposit of {deposit}: top up first")]
    ExceedsDeposit {
        /// The voucher's amount.
        cumulative: u128,
        /// What was put in.
        deposit: u128,
    },
    /// A voucher below the highest one.
    #[error("a voucher for {cumulative} is below the one for {accepted} that was accepted")]
    Lower {
        /// The voucher's amount.
        cumulative: u128,
        /// The highest voucher.
        accepted: u128,
    },
    /// A voucher that raises the highest one by too little.
    #[error("the voucher adds {delta}: the least is {delta_min}")]
    DeltaTooSmall {
        /// What it adds.
        delta: u128,
        /// The least it may add.
        delta_min: u128,
    },
    /// A first voucher below what was settled already.
    #[error("a voucher for {cumulative} is below the {settled} settled before")]
    BelowSettled {
        /// The voucher's amount.
        cumulative: u128,
        /// What was settled.
        settled: u128,
    },
    /// The rail reports a lower deposit than it did before.
    #[error("a deposit of {reported} was reported, after one of {deposit}")]
    DepositLowered {
        /// What was put in, as far as is known.
        deposit: u128,
        /// As reported.
        reported: u128,
    },
    /// A voucher that was not accepted before.
    #[error("the voucher for {cumulative} was not accepted: the highest one is for {accepted}")]
    NotAccepted {
        /// The voucher's amount.
        cumulative: u128,
        /// The highest voucher.
        accepted: u128,
    },
    /// Another voucher has been accepted since.
    #[error("the voucher for {cumulative} was followed by one for {accepted}: present that one")]
    Superseded {
        /// The voucher's amount.
        cumulative: u128,
        /// The highest voucher.
        accepted: u128,
    },
    /// A voucher that others have seen, so that whoever presents it need not be the payer.
    #[error("the voucher for {cumulative} was published in a settlement: sign a higher one")]
    Published {
        /// The voucher's amount.
        cumulative: u128,
        /// The highest voucher published.
        published: u128,
    },
    /// Not enough is authorised.
    #[error("{required} has to be authorised in all, {accepted} is, of a deposit of {deposit}")]
    Insufficient {
        /// What has to be authorised in all.
        required: u128,
        /// What is authorised.
        accepted: u128,
        /// What was put in: when `required` exceeds this the payer has to top up first.
        deposit: u128,
    },
    /// More is spent or released from reservations than was reserved.
    #[error("{asked} is not reserved, {reserved} is")]
    NotReserved {
        /// As asked for.
        asked: u128,
        /// What is reserved.
        reserved: u128,
    },
    /// Something is being served still.
    #[error("{reserved} is reserved: end the responses that run first")]
    StillReserved {
        /// How much.
        reserved: u128,
    },
    /// A voucher for the close that does not cover what was served or settled.
    #[error("a close for {voucher} does not cover the {owed} that is owed")]
    CloseTooLow {
        /// The voucher's amount.
        voucher: u128,
        /// What was served or settled.
        owed: u128,
    },
    /// The voucher to present would capture more than was served, and the rail cannot capture
    /// less than the voucher.
    #[error("a capture of {voucher} exceeds the {owed} that is owed: present a lower voucher")]
    CaptureAboveSpent {
        /// The voucher's amount.
        voucher: u128,
        /// What was served or settled.
        owed: u128,
    },
    /// The capture was fixed at another amount.
    #[error("the capture was fixed at {fixed}: it cannot be {asked}")]
    CaptureFixed {
        /// What was fixed.
        fixed: u128,
        /// As asked for or reported.
        asked: u128,
    },
    /// The rail reports less taken out than it did before.
    #[error("{reported} was reported as settled, after {settled}")]
    SettledLowered {
        /// What was settled, as far as is known.
        settled: u128,
        /// As reported.
        reported: u128,
    },
    /// The rail reports more taken out than the payer authorised here.
    #[error("{reported} was reported as settled: only {accepted} is accepted here")]
    SettledAboveAccepted {
        /// As reported.
        reported: u128,
        /// The highest voucher.
        accepted: u128,
    },
}

impl Refusal {
    /// By how much the payer has to raise what it authorised, where that is what is missing.
    #[must_use]
    pub fn required_top_up(&self) -> Option<u128> {
        match self {
            Self::Insufficient {
                required, accepted, ..
            } => Some(required.saturating_sub(*accepted)),
            _ => None,
        }
    }
}
