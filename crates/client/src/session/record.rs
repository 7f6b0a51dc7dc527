//! What the journal holds of one channel.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use stiver_core::{Amount, Currency, Timestamp};
use stiver_method::{artefact::Artefact, payer::CallKey};
use zeroize::Zeroizing;

use super::wire;
use crate::CallId;

/// Names one channel in the payer's journal: 16 random bytes, printed as 32 hexadecimal digits.
///
/// The same bytes are the rail's [`CallKey`] of its opening. Not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(CallId);

impl SessionId {
    /// From 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(CallId::from_bytes(bytes))
    }
    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
    /// The rail nonce of its opening.
    pub fn call_key(&self) -> CallKey {
        self.0.call_key()
    }
    /// As what is sealed for it is bound.
    pub(crate) fn sealing(&self) -> CallId {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        text.parse().map(Self).map_err(|_| SessionIdError)
    }
}

/// The text is no session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session id: 32 hexadecimal digits, as `stiver sessions list` prints them")]
pub struct SessionIdError;

/// Where a channel stands. The diagram is in [`crate::session`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionState {
    /// The policy said yes to a deposit. Nothing is signed.
    Intended,
    /// The opening is signed; whether the rail has it is not known yet.
    Opening,
    /// Open: vouchers can be signed.
    Open,
    /// The payee was asked to close it. No voucher is signed any more.
    Closing,
    /// The rail is being asked to close it without the payee.
    Forcing,
    /// The rail has been asked; what remains can be taken back after the grace period.
    Forced,
    /// What remains is being taken back.
    Withdrawing,
    /// The payee closed it. Final.
    Closed,
    /// What remained was taken back. Final.
    Withdrawn,
    /// The rail never opened it and never will. Final.
    Void,
    /// Given up before anything was signed. Final.
    Abandoned,
}

/// Every state with its word.
const STATES: [(SessionState, &str); 11] = [
    (SessionState::Intended, "intended"),
    (SessionState::Opening, "opening"),
    (SessionState::Open, "open"),
    (SessionState::Closing, "closing"),
    (SessionState::Forcing, "forcing"),
    (SessionState::Forced, "forced"),
    (SessionState::Withdrawing, "withdrawing"),
    (SessionState::Closed, "closed"),
    (SessionState::Withdrawn, "withdrawn"),
    (SessionState::Void, "void"),
    (SessionState::Abandoned, "abandoned"),
];

impl SessionState {
    /// Every state.
    pub fn all() -> impl Iterator<Item = Self> {
        STATES.iter().map(|(state, _)| *state)
    }

    /// True when nothing can happen to the channel any more: its secrets are gone.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Closed | Self::Withdrawn | Self::Void | Self::Abandoned
        )
    }

    /// The word for it, as the journal and `stiver sessions list` write it.
    pub fn as_str(self) -> &'static str {
        let found = STATES.iter().find(|(state, _)| *state == self);
        found.map_or("unknown", |(_, word)| word)
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a channel pays: it is used for these and no others.
///
/// `network` and `payee` come from the peer: print them through
/// [`stiver_core::untrusted::Untrusted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTerms {
    /// `https://api.example`.
    pub origin: String,
    /// The realm.
    pub realm: String,
    /// The payment method.
    pub method: String,
    /// The network, ledger or processor.
    pub network: String,
    /// Who gets it, in the method's form.
    pub payee: String,
    /// In which currency.
    #[serde(with = "wire::currency")]
    pub currency: Currency,
}

/// What this side holds itself to, whatever the payee says. Base units of the channel's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The most that is ever set aside in the channel, and so the most that is ever signed.
    #[serde(with = "wire::units")]
    pub cap: u128,
    /// How far what is signed may be ahead of what this side agreed to pay: the most that a payee
    /// can take for nothing.
    #[serde(with = "wire::units")]
    pub window: u128,
    /// Vouchers are multiples of this; 1 where any figure can be signed. What is signed may be
    /// ahead by one unit less than this more.
    #[serde(with = "wire::units")]
    pub grain: u128,
}

impl Bounds {
    /// The most that may be signed when so much has been agreed to and so much is set aside.
    pub fn may_sign(&self, agreed: u128, deposit: u128) -> u128 {
        agreed
            .saturating_add(self.window)
            .saturating_add(self.grain.saturating_sub(1))
            .min(deposit)
            .min(self.cap)
    }

    /// The smallest voucher of at least so much; `None` beyond all figures.
    pub fn round_up(&self, cumulative: u128) -> Option<u128> {
        let grain = self.grain.max(1);
        cumulative.checked_next_multiple_of(grain)
    }
}

/// One channel as the journal has it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Session {
    /// Which.
    #[serde(with = "wire::text")]
    pub id: SessionId,
    /// Where it stands.
    pub state: SessionState,
    /// When it began.
    #[serde(with = "wire::millis")]
    pub begun_at: Timestamp,
    /// When the journal last wrote of it.
    #[serde(with = "wire::millis")]
    pub changed_at: Timestamp,
    /// Whom it pays.
    pub terms: SessionTerms,
    /// The URL it was opened at.
    pub url: String,
    /// The challenge it was opened for, as a field value.
    pub challenge: String,
    /// What this side holds itself to.
    pub bounds: Bounds,
    /// The channel's id, as the wire has it; `None` until the opening is signed.
    pub channel: Option<String>,
    /// What is set aside for certain.
    #[serde(with = "wire::units")]
    pub deposit: u128,
    /// What was asked to be set aside on top of it and is not confirmed: an opening or a top-up.
    #[serde(with = "wire::units")]
    pub asked: u128,
    /// The highest voucher ever signed: what the payee can take at most.
    #[serde(with = "wire::units")]
    pub signed: u128,
    /// What this side agreed to pay, request by request: for those that were charged, and for
    /// those whose outcome is not known.
    #[serde(with = "wire::units")]
    pub agreed: u128,
    /// The requests whose outcome is not known, with what was agreed for each.
    #[serde(with = "wire::requests")]
    pub in_flight: BTreeMap<CallId, u128>,
    /// The highest voucher that the payee has confirmed.
    #[serde(with = "wire::units")]
    pub accepted: u128,
    /// What the payee says was used.
    #[serde(with = "wire::units")]
    pub spent: u128,
    /// What the payee has taken, as the rail tells; known when it is final.
    #[serde(with = "wire::some_units")]
    pub captured: Option<u128>,
    /// From when what remains can be taken back, after a forced close.
    #[serde(with = "wire::some_millis")]
    pub withdrawable_at: Option<Timestamp>,
    /// Requests begun.
    pub requests: u64,
    /// Vouchers signed.
    pub vouchers: u64,
    /// What happened last, in words.
    pub note: Option<String>,
}

impl Session {
    /// What is or may be set aside: what counts as spent against a budget until the channel ends.
    /// Afterwards it is what the payee took.
    pub fn exposure(&self) -> u128 {
        match self.state {
            SessionState::Intended | SessionState::Void | SessionState::Abandoned => 0,
            SessionState::Closed | SessionState::Withdrawn => self.captured.unwrap_or(self.signed),
            _ => self.deposit.saturating_add(self.asked),
        }
    }

    /// What is set aside and has not been signed away.
    pub fn unsigned(&self) -> u128 {
        self.deposit.saturating_sub(self.signed)
    }

    /// So many base units, in the channel's currency.
    pub fn amount(&self, units: u128) -> Amount {
        self.terms.currency.units(units)
    }

    /// What may be set aside for vouchers: in an opening, what the opening asks for.
    pub(crate) fn backing(&self) -> u128 {
        match self.state {
            SessionState::Opening => self.asked,
            _ => self.deposit,
        }
    }
}

/// What is kept sealed of a channel, and of a step.
#[derive(Debug, Clone, Default)]
pub struct SessionSecrets {
    /// What the method needs to use the channel: see `PreparedOpen::record` of the method's seam.
    pub record: Option<ChannelRecord>,
    /// The movement that is under way: the opening, a top-up, a forced close or a withdrawal.
    pub movement: Option<Artefact>,
}

impl SessionSecrets {
    /// A movement alone.
    pub fn movement(artefact: Artefact) -> Self {
        Self {
            record: None,
            movement: Some(artefact),
        }
    }
}

/// The bytes that a method needs to use a channel. `Debug` prints none of them.
#[derive(Clone)]
pub struct ChannelRecord(pub Zeroizing<Vec<u8>>);

impl fmt::Debug for ChannelRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelRecord({} bytes)", self.0.len())
    }
}

/// One step of a channel, to be durable before the next is taken. What is secret of it goes beside
/// it: [`SessionSecrets`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionStep {
    /// The policy said yes to a deposit.
    Intended {
        /// Whom it pays.
        terms: SessionTerms,
        /// The URL.
        url: String,
        /// The challenge, as a field value.
        challenge: String,
        /// What this side holds itself to.
        bounds: Bounds,
    },
    /// The opening is signed. Secret: the opening, and what the method needs to use the channel.
    Opening {
        /// The channel's id, as the wire has it.
        channel: String,
        /// How much it sets aside.
        #[serde(with = "wire::units")]
        deposit: u128,
        /// What vouchers are multiples of.
        #[serde(with = "wire::units")]
        grain: u128,
        /// The most that vouchers can ever be for, where they come to an end.
        #[serde(
            default,
            with = "wire::some_units",
            skip_serializing_if = "Option::is_none"
        )]
        most: Option<u128>,
    },
    /// The opening was confirmed: by the payee's receipt or by the rail.
    Opened,
    /// A request is about to be sent, or goes on, and a voucher goes with it.
    Signing {
        /// The request.
        #[serde(with = "wire::text")]
        request: CallId,
        /// What is agreed for it now, on top of what was agreed for it before.
        #[serde(with = "wire::units")]
        cost: u128,
        /// What the voucher is for: at least what was signed before.
        #[serde(with = "wire::units")]
        cumulative: u128,
    },
    /// The payee has answered a request that it charges for.
    Answered {
        /// The request.
        #[serde(with = "wire::text")]
        request: CallId,
        /// What it says it accepted and used, when it says so.
        told: Option<Told>,
        /// What this side accepts as its price, where that was not known before: it takes the
        /// place of what was agreed for it, and is at most what is signed.
        #[serde(with = "wire::some_units")]
        charged: Option<u128>,
        /// What was odd about it.
        note: Option<String>,
    },
    /// The payee has told what was used in all, while this request alone is under way. Those that
    /// were begun before and whose outcome is not known are settled by that: nobody will say more.
    Settled {
        /// The request.
        #[serde(with = "wire::text")]
        request: CallId,
        /// What it says it accepted and used.
        told: Told,
    },
    /// The payee has answered a request that it does not charge for.
    Released {
        /// The request.
        #[serde(with = "wire::text")]
        request: CallId,
        /// Why.
        note: String,
    },
    /// A top-up is signed. Secret: the top-up.
    ToppingUp {
        /// How much is added.
        #[serde(with = "wire::units")]
        add: u128,
    },
    /// The top-up was confirmed.
    ToppedUp,
    /// The top-up never happened and never will.
    TopUpVoid {
        /// Why.
        note: String,
    },
    /// The payee is asked to close.
    Closing,
    /// A forced close is signed. Secret: the forced close.
    Forcing,
    /// The rail confirmed the forced close.
    Forced {
        /// From when what remains can be taken back.
        #[serde(with = "wire::some_millis")]
        withdrawable_at: Option<Timestamp>,
    },
    /// A withdrawal is signed. Secret: the withdrawal.
    Withdrawing,
    /// It ended: the payee closed it.
    Closed {
        /// What the payee took, as the rail or the payee tells.
        #[serde(with = "wire::some_units")]
        captured: Option<u128>,
        /// What was odd about it.
        note: Option<String>,
    },
    /// It ended: what remained was taken back.
    Withdrawn {
        /// What the payee took, as the rail tells.
        #[serde(with = "wire::some_units")]
        captured: Option<u128>,
    },
    /// The rail will never open it.
    Void {
        /// Why.
        note: String,
    },
    /// Given up before anything was signed.
    Abandoned {
        /// Why.
        note: String,
    },
    /// Something worth knowing happened; nothing else changes.
    Noted {
        /// What.
        note: String,
    },
}

impl SessionStep {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Intended { .. } => "intended",
            Self::Opening { .. } => "opening",
            Self::Opened => "opened",
            Self::Signing { .. } => "signing",
            Self::Answered { .. } => "answered",
            Self::Settled { .. } => "settled",
            Self::Released { .. } => "released",
            Self::ToppingUp { .. } => "topping up",
            Self::ToppedUp => "topped up",
            Self::TopUpVoid { .. } => "void top-up",
            Self::Closing => "closing",
            Self::Forcing => "forcing",
            Self::Forced { .. } => "forced",
            Self::Withdrawing => "withdrawing",
            Self::Closed { .. } => "closed",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Void { .. } => "void",
            Self::Abandoned { .. } => "abandoned",
            Self::Noted { .. } => "note",
        }
    }
}

/// A payee's word on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Told {
    /// The highest voucher it accepted.
    #[serde(with = "wire::units")]
    pub accepted: u128,
    /// What it says was used.
    #[serde(with = "wire::units")]
    pub spent: u128,
}
