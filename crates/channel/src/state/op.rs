//! What can be asked of a channel, and what comes of it.

use stiver_core::Timestamp;

/// What can be asked of a channel. All amounts are base units.
///
/// Vouchers in here have been verified: only their amounts are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The rail says that the deposit is there.
    ConfirmOpen {
        /// The deposit.
        deposit: u128,
        /// What the rail says was settled before: more than 0 for a channel that was lost here.
        settled: u128,
        /// The amount of the voucher that came with the proof of funding.
        voucher: Option<u128>,
    },
    /// The rail says that the deposit will never be there.
    RejectOpen,
    /// The rail says that the deposit was raised.
    TopUp {
        /// The new deposit in all.
        deposit: u128,
    },
    /// The payer authorises more.
    Accept {
        /// The voucher's amount.
        cumulative: u128,
    },
    /// Sets something aside before it is served.
    Reserve {
        /// How much.
        amount: u128,
        /// On whose authority.
        authority: Authority,
    },
    /// Takes for what was served.
    Spend {
        /// How much.
        amount: u128,
        /// How much of what is reserved this ends. What it exceeds `amount` by is free again;
        /// what `amount` exceeds it by is taken from what is available.
        from_reserved: u128,
        /// On whose authority, when `amount` exceeds `from_reserved`.
        authority: Authority,
    },
    /// Frees what was reserved and not served.
    Release {
        /// How much.
        amount: u128,
    },
    /// A metered response waits for a voucher.
    Pause {
        /// The cumulative amount that it needs.
        required: u128,
    },
    /// Nothing waits any more.
    Resume,
    /// A settlement with this voucher is about to be shown to others. To be durable before it is.
    Publish {
        /// The voucher's amount.
        cumulative: u128,
    },
    /// The rail says that so much was taken out of the deposit.
    Settle {
        /// In all.
        settled: u128,
    },
    /// The rail says that the payer has asked for a forced close.
    Suspend {
        /// From when on the payer can withdraw.
        withdrawable_at: Timestamp,
    },
    /// The rail says that the payer's forced close is off.
    CancelSuspension,
    /// Fences the channel off: nothing new is accepted or reserved.
    BeginClose {
        /// The amount of the voucher that the payer signed for the close. It may be below the
        /// highest one.
        voucher: Option<u128>,
    },
    /// Fixes what the close captures, once nothing is reserved.
    FixCapture {
        /// The amount of the voucher that will be presented, 0 when there is none.
        voucher: u128,
    },
    /// The rail says that the channel is closed.
    Close {
        /// What the payee got out of the deposit in all.
        captured: u128,
    },
    /// The rail says that the payer has withdrawn.
    Withdraw,
}

/// On whose authority something is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// A request that presented a voucher. It has to be the highest one, and one that was never
    /// published. Decide this in one go with [`Op::Accept`] of that voucher.
    Voucher {
        /// The voucher's amount.
        cumulative: u128,
    },
    /// Established before: a response that is running, or a proof that the method verified in
    /// another way.
    Established,
}

/// What happened to a channel. Made by [`Channel::decide`](super::Channel::decide), made durable
/// by the caller, then applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When, never before the event before.
    pub at: Timestamp,
    /// What.
    pub change: Change,
}

/// What an [`Event`] changes. Amounts are those after the change where the name of the figure
/// says so, and differences where it is `amount`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The channel is open.
    Opened {
        /// The deposit.
        deposit: u128,
        /// What is authorised.
        accepted: u128,
        /// What was settled before, and so spent.
        settled: u128,
    },
    /// The channel will never be open.
    Rejected,
    /// The deposit was raised.
    ToppedUp {
        /// The deposit.
        deposit: u128,
        /// What is authorised: higher only where the deposit itself authorises.
        accepted: u128,
        /// Whether this cancels the payer's forced close.
        resumes: bool,
    },
    /// More is authorised.
    Accepted {
        /// In all.
        accepted: u128,
    },
    /// Something was set aside.
    Reserved {
        /// How much.
        amount: u128,
    },
    /// Something was served.
    Spent {
        /// How much.
        amount: u128,
        /// How much is not reserved any more.
        from_reserved: u128,
    },
    /// Something is free again.
    Released {
        /// How much.
        amount: u128,
    },
    /// A metered response waits.
    Paused {
        /// The cumulative amount that it needs.
        required: u128,
    },
    /// Nothing waits any more.
    Resumed,
    /// A voucher is about to be seen by others.
    Published {
        /// Its amount.
        published: u128,
    },
    /// The payee has taken something out.
    Settled {
        /// In all.
        settled: u128,
        /// What was seen by others: higher where settlements are public.
        published: u128,
    },
    /// The payer has asked for a forced close.
    Suspended {
        /// From when on the payer can withdraw.
        withdrawable_at: Timestamp,
    },
    /// The payer's forced close is off.
    SuspensionCancelled,
    /// The channel is fenced off.
    CloseBegun {
        /// What is authorised: higher when the payer's last voucher is.
        accepted: u128,
    },
    /// What the close captures is fixed.
    CaptureFixed {
        /// In all.
        capture: u128,
    },
    /// The channel is closed.
    Closed {
        /// What was captured in all.
        captured: u128,
    },
    /// The payer has withdrawn.
    Withdrawn,
}
