//! Opening a channel, and raising its deposit: claimed once, as a payment is.
//!
//! ```text
//! claim ► Settling ── execute ─► the channel is kept ─► Settled ─► Delivered
//!            └ lookup: never ──► Failed
//! ```
//!
//! Each arrow is durable before the next. A process that dies in between leaves a claim from which
//! the same credential, or recovery, goes on: executing again gives the same channel, and keeping
//! it again changes nothing.

use std::sync::Arc;

use stiver_channel::{Op, Rules};
use stiver_core::{Credential, Timestamp};
use stiver_method::{
    artefact::{Artefact, ExecuteError, Refusal, RefusalKind},
    session::{ChannelLookup, ChannelMoved, ChannelState, Ended, Opening, PayeeSession, TopUp},
};
use stiver_store::{
    Advance, Apply, ChannelCommand, ChannelReply, Claim, ClaimState, Command, NewChannel, NewClaim,
    Reply,
};

use super::{
    super::{Gate, admit::Asked, journal::Hold},
    refusal::SessionRefused,
};
use crate::{
    error::GateError,
    hash,
    limits::{CLOCK_MARGIN_MS, LEASE_MS, SETTLING_MAX},
    record::{self, ChannelDetails, Funding, FundingKind},
    session::SessionOffer,
};

/// What is known of a movement of a channel after asking.
pub(super) enum Fate {
    Done(Box<ChannelMoved>),
    Never(Refusal),
    Unknown,
}

/// A checked funding, ready to claim.
struct Checked {
    funding: Funding,
    artefact: Artefact,
    replay_keys: Vec<Vec<u8>>,
}

impl Gate {
    /// Opens a channel. False when this very credential has done so before.
    pub(super) async fn open(
        &self,
        asked: &Asked,
        credential: &Credential,
        offer: &SessionOffer,
        opening: Opening,
        now: Timestamp,
    ) -> Result<bool, GateError> {
        let deposit = opening.deposit.units();
        if deposit < offer.deposit_min {
            let least = offer.deposit_min;
            return Err(GateError::DepositTooSmall { deposit, least });
        }
        if let Some(most) = offer.deposit_max.filter(|most| deposit > *most) {
            return Err(GateError::DepositTooLarge { deposit, most });
        }
        let details = ChannelDetails {
            method: offer.method().as_str().to_owned(),
            currency: opening.deposit.currency().clone(),
            voucher_delta_min: offer.min_voucher_delta,
            terms: opening.terms,
        };
        let checked = Checked {
            funding: Funding {
                kind: FundingKind::Open,
                method: offer.method().as_str().to_owned(),
                channel: opening.channel,
                amount: opening.deposit,
                payer: opening.payer,
                replayable_until: opening.replayable_until,
                details: details.encode(),
                voucher: opening.voucher,
            },
            artefact: opening.artefact,
            replay_keys: opening.replay_keys,
        };
        self.fund(asked, credential, checked, now).await
    }

    pub(super) async fn top_up(
        &self,
        asked: &Asked,
        credential: &Credential,
        method: &Arc<dyn PayeeSession>,
        top_up: TopUp,
        now: Timestamp,
    ) -> Result<(), GateError> {
        let checked = Checked {
            funding: Funding {
                kind: FundingKind::TopUp,
                method: method.name().as_str().to_owned(),
                channel: top_up.channel,
                amount: top_up.added,
                payer: None,
                replayable_until: top_up.replayable_until,
                details: Vec::new(),
                voucher: None,
            },
            artefact: top_up.artefact,
            replay_keys: top_up.replay_keys,
        };
        self.fund(asked, credential, checked, now).await.map(drop)
    }

    /// Funds a channel: true; or finds that this very credential has done so: false.
    async fn fund(
        &self,
        asked: &Asked,
        credential: &Credential,
        checked: Checked,
        now: Timestamp,
    ) -> Result<bool, GateError> {
        let id = credential.challenge.id.as_str();
        if let Some(claim) = self.find(id).await.map_err(GateError::JournalLost)? {
            return self.go_on_funding(asked, claim).await.map(|()| false);
        }
        let expires = credential.challenge.params.expires.as_ref();
        let expires = expires.ok_or(GateError::Foreign)?;
        if expires.has_passed(now) {
            return Err(SessionRefused::challenge_expired());
        }
        self.has_room(&checked.funding)?;
        let _place = self
            .inner
            .settling
            .take(SETTLING_MAX)
            .ok_or(GateError::Busy)?;
        let retain_until = expires.instant().max(checked.funding.replayable_until);
        let command = self.claim_command(asked, id, &checked, retain_until);
        match self.ask(command).await.map_err(GateError::JournalLost)? {
            Reply::Won(claim) => {
                let hold = Hold::new(self, claim);
                self.execute_funding(hold, true).await.map(|()| true)
            }
            Reply::Exists(claim) => self.go_on_funding(asked, claim).await.map(|()| false),
            Reply::ReplayKeyUsed => Err(GateError::ProofUsed),
            Reply::TooLarge { part, limit } => Err(GateError::TooLarge { part, limit }),
            Reply::Full => Err(GateError::Busy),
            _ => Err(GateError::JournalOutOfStep),
        }
    }

    /// A channel is funded only when it can be kept, and topped up only while it serves.
    fn has_room(&self, funding: &Funding) -> Result<(), GateError> {
        let sessions = self.sessions()?;
        let channels = sessions.store.channels();
        match funding.kind {
            FundingKind::Open => {
                if channels.channel(&funding.channel).is_some() {
                    return Err(GateError::ProofUsed);
                }
                match channels.usage().open < sessions.limits.channels_max {
                    true => Ok(()),
                    false => Err(GateError::Busy),
                }
            }
            FundingKind::TopUp => {
                let busy = self.busy(&funding.channel)?;
                if *funding.amount.currency() != busy.channel.currency {
                    return Err(GateError::OtherTerms);
                }
                let channel = channels.channel(&funding.channel);
                let channel = channel.ok_or_else(|| SessionRefused::not_found(None))?;
                let deposit = channel.figures().deposit;
                let deposit = deposit.saturating_add(funding.amount.units());
                let decided = channel.decide(&busy.rules, &Op::TopUp { deposit }, self.now());
                let decided = decided.map_err(|refusal| SessionRefused::channel(&busy, &refusal));
                decided.map(drop)
            }
        }
    }

    fn claim_command(
        &self,
        asked: &Asked,
        challenge_id: &str,
        checked: &Checked,
        retain_until: Timestamp,
    ) -> Command {
        let name = checked.funding.method.as_bytes();
        let keys = checked.replay_keys.iter();
        let mut attempt = [0; 16];
        self.inner.env.entropy.fill(&mut attempt);
        Command::Claim(NewClaim {
            challenge_id: challenge_id.to_owned(),
            credential_hash: asked.credential_hash,
            request_hash: asked.request_hash,
            idempotency_key_hash: None,
            replay_keys: keys
                .map(|key| hash::of("stiver replay key", &[name, key]))
                .collect(),
            details: checked.funding.encode().into(),
            artefact: record::encode_artefact(&checked.artefact).into(),
            handler_first: false,
            owner: self.next_owner(),
            lease_ms: LEASE_MS,
            attempt,
            retain_until: retain_until.plus_millis(CLOCK_MARGIN_MS),
        })
    }

    /// Goes on with a claim of this challenge, when it is the asker's.
    async fn go_on_funding(&self, asked: &Asked, claim: Box<Claim>) -> Result<(), GateError> {
        if claim.credential_hash != asked.credential_hash {
            return Err(SessionRefused::challenge_used());
        }
        if !Funding::is(&claim.details) {
            return Err(GateError::JournalOutOfStep);
        }
        if claim.state.is_terminal() {
            return funded(&claim);
        }
        match self.take_over(&claim.challenge_id).await? {
            Ok(hold) => self.execute_funding(hold, false).await,
            Err(Some(claim)) if claim.state.is_terminal() => funded(&claim),
            Err(_) => Err(GateError::InProgress),
        }
    }

    /// Brings a claim that funds a channel to its end. `fresh` says that its artefact was never
    /// executed.
    pub(in super::super) async fn execute_funding(
        &self,
        mut hold: Hold,
        fresh: bool,
    ) -> Result<(), GateError> {
        let funding = Funding::decode(&hold.claim.details).map_err(GateError::Record)?;
        if let ClaimState::Settling { artefact } = &hold.claim.state {
            let artefact = record::decode_artefact(artefact).map_err(GateError::Record)?;
            let method = self.session_method(&funding.method)?;
            let fate = self.channel_fate(&method, &artefact, fresh).await;
            match still_open(funding.kind, fate) {
                Fate::Done(moved) => self.keep_funded(&mut hold, &funding, &moved).await?,
                Fate::Never(refusal) => {
                    let record = record::encode_refusal(&refusal).into();
                    hold.advance(Advance::Failed { refusal: record }).await?;
                    return Err(GateError::Refused(refusal));
                }
                Fate::Unknown => {
                    hold.release().await;
                    return Err(GateError::OutcomeUnknown);
                }
            }
        }
        if !matches!(hold.claim.state, ClaimState::Delivering { .. }) {
            hold.advance(Advance::Deliver).await?;
        }
        let receipt = funding.channel.to_hex().into();
        let response = None;
        hold.advance(Advance::Delivered { receipt, response }).await
    }

    /// Keeps what the rail has confirmed, and says so in the claim.
    async fn keep_funded(
        &self,
        hold: &mut Hold,
        funding: &Funding,
        moved: &ChannelMoved,
    ) -> Result<(), GateError> {
        let sessions = self.sessions()?;
        let method = self.session_method(&funding.method)?;
        let deposit = moved.state.deposit;
        let enough = moved.channel == funding.channel && deposit >= funding.amount.units();
        if !enough {
            tracing::error!(
                method = %funding.method,
                asked = %funding.amount,
                deposit,
                "the rail funded something else than was asked"
            );
            return Err(GateError::SettlementDiffers);
        }
        let mut rules = Rules {
            caps: *method.caps(),
            voucher_delta_min: 0,
        };
        let command = match funding.kind {
            FundingKind::Open => {
                let details = ChannelDetails::decode(&funding.details);
                let details = details.map_err(GateError::Record)?;
                rules.voucher_delta_min = details.voucher_delta_min;
                ChannelCommand::Open(Box::new(NewChannel {
                    id: funding.channel,
                    rules,
                    deposit,
                    settled: moved.state.settled,
                    voucher: funding.voucher.clone(),
                    details: funding.details.as_slice().into(),
                }))
            }
            FundingKind::TopUp => {
                let op = leaving(&moved.state).unwrap_or(Op::TopUp { deposit });
                ChannelCommand::Apply(Box::new(Apply::op(funding.channel, rules, op)))
            }
        };
        // Said twice, it changes nothing: so an answer that was lost may be asked for again.
        let reply = match sessions.store.channel(command.clone()).await {
            Err(_) => sessions.store.channel(command).await,
            answered => answered,
        };
        match reply.map_err(GateError::JournalLost)? {
            ChannelReply::Done(_) | ChannelReply::Exists(_) => {}
            // It is in the rail's deposit all the same, and goes back with the rest of it.
            ChannelReply::Refused { refusal, .. } if funding.kind == FundingKind::TopUp => {
                tracing::warn!(%refusal, "a deposit was raised that can buy nothing any more");
            }
            other => {
                tracing::error!(?other, "a channel that was funded is not kept");
                return Err(GateError::JournalOutOfStep);
            }
        }
        // A payer may have gone to the rail past us: then nothing is served from the first on.
        if funding.kind == FundingKind::Open
            && let Some(op) = leaving(&moved.state)
        {
            let busy = self.busy(&funding.channel)?;
            self.change(&busy, Apply::op(funding.channel, rules, op))
                .await?;
        }
        let settlement = moved.reference.as_bytes().into();
        hold.advance(Advance::Settled {
            settlement,
            deliver: true,
        })
        .await
    }

    /// What became of an artefact: executed when it may not have been, and looked up when nobody
    /// knows.
    pub(super) async fn channel_fate(
        &self,
        method: &Arc<dyn PayeeSession>,
        artefact: &Artefact,
        fresh: bool,
    ) -> Fate {
        if !fresh {
            match self.channel_lookup(method, artefact).await {
                Fate::Unknown => {}
                known => return known,
            }
        }
        match self.in_time(method.execute(artefact)).await {
            Some(Ok(moved)) => Fate::Done(Box::new(moved)),
            Some(Err(ExecuteError::Refused(refusal))) => Fate::Never(refusal),
            Some(Err(ExecuteError::Unknown(reason))) => {
                tracing::warn!(method = %method.name(), %reason, "channel outcome unknown");
                self.channel_lookup(method, artefact).await
            }
            None => {
                tracing::warn!(method = %method.name(), "a channel's movement took too long");
                self.channel_lookup(method, artefact).await
            }
        }
    }

    async fn channel_lookup(&self, method: &Arc<dyn PayeeSession>, artefact: &Artefact) -> Fate {
        match self.in_time(method.lookup(artefact)).await {
            Some(Ok(ChannelLookup::Done(moved))) => Fate::Done(moved),
            Some(Ok(ChannelLookup::Never(refusal))) => Fate::Never(refusal),
            Some(Ok(ChannelLookup::Pending)) | None => Fate::Unknown,
            Some(Err(error)) => {
                tracing::warn!(method = %method.name(), %error, "look-up failed");
                Fate::Unknown
            }
        }
    }
}

/// A channel that had ended before its opening was heard of was never open here: its deposit is
/// gone again.
fn still_open(kind: FundingKind, fate: Fate) -> Fate {
    match fate {
        Fate::Done(moved) if kind == FundingKind::Open && moved.state.ended.is_some() => {
            Fate::Never(Refusal {
                kind: RefusalKind::AlreadyUsed,
                detail: "the channel has ended already: open another".to_owned(),
            })
        }
        fate => fate,
    }
}

/// What is to be written down of a channel that its payer leaves, or has left.
fn leaving(state: &ChannelState) -> Option<Op> {
    match (state.ended, state.withdrawable_at) {
        (Some(Ended::Closed), _) => Some(Op::Close {
            captured: state.settled,
        }),
        (Some(Ended::Withdrawn), _) => Some(Op::Withdraw),
        (None, Some(withdrawable_at)) => Some(Op::Suspend { withdrawable_at }),
        (None, None) => None,
    }
}

/// What a finished claim says.
fn funded(claim: &Claim) -> Result<(), GateError> {
    match &claim.state {
        ClaimState::Delivered(_) => Ok(()),
        ClaimState::Failed { refusal } => {
            let refusal = record::decode_refusal(refusal).map_err(GateError::Record)?;
            Err(GateError::Refused(refusal))
        }
        ClaimState::Disputed(_) | ClaimState::Reversed(_) => Err(GateError::Disputed),
        _ => Err(GateError::JournalOutOfStep),
    }
}
