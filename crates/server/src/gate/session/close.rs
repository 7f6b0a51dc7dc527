//! Taking what was earned: settlements while a channel is open, and its close.
//!
//! ```text
//! BeginClose ─► nothing reserved ─► FixCapture ─► artefact journaled ── execute ─► Closed
//!   (fenced)                                        └ unknown: recovery looks it up
//! ```
//!
//! What a close captures is fixed durably before anything is signed, and what is executed is
//! journaled before it is executed: whatever stops in between is finished by
//! [`Gate::recover_channels`].

use std::{sync::Arc, time::Duration};

use stiver_channel::{Channel, ChannelId, Op, Phase, PhaseName, Voucher};
use stiver_core::Credential;
use stiver_method::{
    artefact::Artefact,
    session::{ChannelMoved, Ended, SettleRequest},
};
use stiver_store::{
    Apply, Carried, ChannelCommand, ChannelReply, ChannelSeen, ChannelWork, Settling,
};

use super::{
    super::{Gate, log},
    busy::Busy,
    fund::Fate,
    receipt,
    refusal::SessionRefused,
};
use crate::{
    error::GateError,
    hash,
    limits::{CLOSE_DRAIN_MS, CLOSE_DRAIN_STEP_MS},
    outcome::Outcome,
    record,
    session::Acknowledged,
};

/// How a close ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// What was captured in all, base units.
    pub captured: u128,
    /// The receipt of the close.
    pub receipt: Arc<str>,
}

impl Gate {
    /// Closes a channel by the wish of its payer, who shows a voucher.
    pub(super) async fn close_asked(
        &self,
        credential: &Credential,
        id: ChannelId,
        voucher: Option<Voucher>,
    ) -> Result<Outcome, GateError> {
        let busy = self.busy(&id)?;
        let seen = self.seen(&busy)?;
        // Whoever knows the id of a channel is not its payer yet.
        let error = stiver_channel::VoucherError::MalformedProof;
        let voucher = voucher.ok_or_else(|| SessionRefused::voucher(&busy, error))?;
        if seen.voucher.as_ref() != Some(&voucher) {
            let verified = busy
                .channel
                .verifier
                .verify(seen.voucher.as_ref(), &voucher);
            verified.map_err(|error| SessionRefused::voucher(&busy, error))?;
        }
        let now = self.inner.env.clock.monotonic();
        if !busy.within_rate(self.sessions()?.limits.vouchers_per_second, now) {
            return Err(GateError::VoucherRate);
        }
        if seen.channel.phase().name() == PhaseName::Closed {
            let receipt = ended_receipt(&seen).ok_or(GateError::JournalOutOfStep)?;
            let status = 200;
            return Ok(Outcome::Acknowledge(Acknowledged { status, receipt }));
        }
        self.is_exact(&busy, &seen.channel, &voucher)?;
        let challenge_id = credential.challenge.id.as_str();
        let closed = self.close(&busy, Some(voucher), challenge_id).await?;
        Ok(Outcome::Acknowledge(Acknowledged {
            status: 204,
            receipt: closed.receipt,
        }))
    }

    /// Closes a channel: by the operator, or because it is idle. What was served is captured, the
    /// rest goes back to the payer.
    ///
    /// # Errors
    /// [`GateError`]: the channel is not there, has ended, or waits for something; then
    /// [`Gate::recover_channels`] finishes it.
    pub async fn close_channel(&self, id: ChannelId) -> Result<Closed, GateError> {
        let busy = self.busy(&id)?;
        self.close(&busy, None, "").await
    }

    async fn close(
        &self,
        busy: &Arc<Busy>,
        voucher: Option<Voucher>,
        challenge_id: &str,
    ) -> Result<Closed, GateError> {
        let op = Op::BeginClose {
            voucher: voucher.as_ref().map(|it| it.cumulative),
        };
        let begin = Apply {
            proof: voucher.as_ref().map(|it| it.proof.clone()),
            ..Apply::op(busy.id, busy.rules, op)
        };
        let mut channel = self.change(busy, begin).await?;
        busy.changed.notify_waiters();
        let mut left = CLOSE_DRAIN_MS;
        while channel.figures().reserved > 0 && left > 0 {
            let step = Duration::from_millis(CLOSE_DRAIN_STEP_MS);
            self.inner.env.clock.sleep(step).await;
            left = left.saturating_sub(CLOSE_DRAIN_STEP_MS);
            channel = self.seen(busy)?.channel;
        }
        if channel.figures().reserved > 0 {
            return Err(GateError::InProgress);
        }
        self.finish_close(busy, challenge_id, voucher).await
    }

    /// What is captured in whole vouchers is closed with one for what was served: one for more
    /// would pay for nothing, and the payee may not present it.
    #[expect(clippy::unused_self, reason = "it reads as the other steps do")]
    fn is_exact(&self, busy: &Busy, channel: &Channel, voucher: &Voucher) -> Result<(), GateError> {
        let figures = channel.figures();
        let used = figures.spent.saturating_add(figures.reserved);
        let owed = used.max(figures.settled);
        match busy.rules.caps.partial_capture || voucher.cumulative <= owed {
            true => Ok(()),
            false => Err(SessionRefused::not_exact(busy, owed)),
        }
    }

    /// Goes on with a close that was begun and that nothing is reserved under.
    pub(super) async fn finish_close(
        &self,
        busy: &Busy,
        challenge_id: &str,
        shown: Option<Voucher>,
    ) -> Result<Closed, GateError> {
        let seen = self.seen(busy)?;
        if seen.channel.phase().name().is_final() {
            let receipt = ended_receipt(&seen).ok_or(GateError::JournalOutOfStep)?;
            let captured = seen.channel.figures().settled;
            return Ok(Closed { captured, receipt });
        }
        if let Some(settling) = &seen.settling {
            // One that is under way ends first: a close, or a settlement before it.
            let last = settling.last;
            let ended = self
                .end_settlement(busy, settling, false, challenge_id)
                .await?;
            match (last, ended) {
                (true, Some(closed)) => return Ok(closed),
                (true, None) => return Err(GateError::OutcomeUnknown),
                (false, _) => {}
            }
        }
        if !busy.rules.caps.partial_capture {
            let settling = self.begin_whole(busy, shown).await?;
            let closed = self
                .end_settlement(busy, &settling, true, challenge_id)
                .await?;
            return closed.ok_or(GateError::OutcomeUnknown);
        }
        let highest = seen.voucher.as_ref().map_or(0, |it| it.cumulative);
        let fix = Op::FixCapture { voucher: highest };
        let channel = self
            .change(busy, Apply::op(busy.id, busy.rules, fix))
            .await?;
        let Phase::Closing {
            capture: Some(capture),
        } = channel.phase()
        else {
            return Err(GateError::JournalOutOfStep);
        };
        let settling = self.begin_settlement(busy, capture, true).await?;
        let closed = self
            .end_settlement(busy, &settling, true, challenge_id)
            .await?;
        closed.ok_or(GateError::OutcomeUnknown)
    }

    /// Takes what a channel has earned so far, when it has earned anything. The channel stays open.
    ///
    /// # Errors
    /// [`GateError`]: the channel is not there, has ended, or the rail refused.
    pub async fn settle_channel(&self, id: ChannelId) -> Result<(), GateError> {
        let busy = self.busy(&id)?;
        let seen = self.seen(&busy)?;
        let settling = match seen.settling {
            Some(settling) => settling,
            None if seen.channel.figures().unsettled() == 0 => return Ok(()),
            None => {
                let figures = seen.channel.figures();
                // What the rail can only take in whole vouchers waits for the close.
                if !busy.rules.caps.partial_capture && figures.accepted != figures.spent {
                    return Ok(());
                }
                self.begin_settlement(&busy, figures.spent, false).await?
            }
        };
        self.end_settlement(&busy, &settling, false, "")
            .await
            .map(drop)
    }

    /// Begins the close of a channel that is captured in whole vouchers: with the highest one when
    /// it is for no more than was served, else with the one that the payer has shown, else with
    /// none: then what was settled before is all. What is captured is fixed in the same write that
    /// journals it, because the voucher that was shown is kept nowhere else.
    async fn begin_whole(
        &self,
        busy: &Busy,
        shown: Option<Voucher>,
    ) -> Result<Settling, GateError> {
        let seen = self.seen(busy)?;
        let figures = seen.channel.figures();
        let owed = figures.spent.max(figures.settled);
        let mut known = [seen.voucher, shown].into_iter().flatten();
        let voucher = known.find(|it| it.cumulative <= owed);
        let amount = voucher.as_ref().map_or(0, |it| it.cumulative);
        let capture = amount.max(figures.settled);
        if capture < owed {
            let lost = owed - capture;
            tracing::warn!(channel = %busy.id, lost, "no voucher is for what was served");
        }
        let voucher = voucher.filter(|it| it.cumulative > figures.settled);
        let settling = self
            .sign_settlement(busy, (capture, true), voucher.as_ref())
            .await?;
        if let Some(publish) = self.publishes(busy, voucher.as_ref()) {
            self.change(busy, Apply::op(busy.id, busy.rules, publish))
                .await?;
        }
        let fix = Op::FixCapture { voucher: amount };
        let begin = Apply {
            work: ChannelWork::Begin(Box::new(settling.clone())),
            ..Apply::op(busy.id, busy.rules, fix)
        };
        self.change(busy, begin).await?;
        Ok(settling)
    }

    /// Signs a settlement, and journals it.
    async fn begin_settlement(
        &self,
        busy: &Busy,
        capture: u128,
        last: bool,
    ) -> Result<Settling, GateError> {
        let voucher = self.seen(busy)?.voucher;
        let settling = self
            .sign_settlement(busy, (capture, last), voucher.as_ref())
            .await?;
        let begin = Apply {
            id: busy.id,
            rules: busy.rules,
            op: self.publishes(busy, voucher.as_ref()),
            proof: None,
            work: ChannelWork::Begin(Box::new(settling.clone())),
        };
        self.change(busy, begin).await?;
        Ok(settling)
    }

    /// What is to be written down before a voucher is shown to others.
    #[expect(clippy::unused_self, reason = "it reads as the other steps do")]
    fn publishes(&self, busy: &Busy, voucher: Option<&Voucher>) -> Option<Op> {
        let shown = voucher.filter(|_| busy.rules.caps.public_settlement)?;
        let cumulative = shown.cumulative;
        Some(Op::Publish { cumulative })
    }

    async fn sign_settlement(
        &self,
        busy: &Busy,
        (capture, last): (u128, bool),
        voucher: Option<&Voucher>,
    ) -> Result<Settling, GateError> {
        let seen = self.seen(busy)?;
        let details = record::ChannelDetails::decode(&seen.details).map_err(GateError::Record)?;
        let settled = seen.channel.figures().settled;
        let key = settle_key(busy.id, capture, last, settled);
        let request = SettleRequest {
            channel: busy.id,
            terms: &details.terms,
            voucher,
            capture,
            last,
            key,
            now: self.now(),
        };
        let artefact = busy.method.prepare_settle(request).await.map_err(|error| {
            tracing::warn!(channel = %busy.id, %error, "a settlement was not prepared");
            GateError::OutcomeUnknown
        })?;
        Ok(Settling {
            artefact: record::encode_artefact(&artefact).into(),
            capture,
            last,
        })
    }

    /// Executes a settlement that is journaled, and writes down what became of it. `None` when
    /// nobody can tell yet, or when it was no close.
    async fn end_settlement(
        &self,
        busy: &Busy,
        settling: &Settling,
        fresh: bool,
        challenge_id: &str,
    ) -> Result<Option<Closed>, GateError> {
        let artefact: Artefact =
            record::decode_artefact(&settling.artefact).map_err(GateError::Record)?;
        match self.channel_fate(&busy.method, &artefact, fresh).await {
            Fate::Done(moved) if settling.last => {
                self.closed(busy, &moved, challenge_id).await.map(Some)
            }
            Fate::Done(moved) => {
                let settled = moved.state.settled;
                let end = Apply {
                    work: ChannelWork::End(None),
                    ..Apply::op(busy.id, busy.rules, Op::Settle { settled })
                };
                self.change(busy, end).await?;
                Ok(None)
            }
            Fate::Never(refusal) => {
                tracing::error!(channel = %busy.id, %refusal, "the rail refused a settlement");
                self.without_op(busy, ChannelWork::End(None)).await?;
                if let Err(error) = self.learn(busy).await {
                    log(&error);
                }
                Err(GateError::Refused(refusal))
            }
            Fate::Unknown => match settling.last {
                true => Err(GateError::OutcomeUnknown),
                false => Ok(None),
            },
        }
    }

    /// Writes down that a channel is closed.
    async fn closed(
        &self,
        busy: &Busy,
        moved: &ChannelMoved,
        challenge_id: &str,
    ) -> Result<Closed, GateError> {
        let captured = moved.state.settled;
        let mut channel = self.seen(busy)?.channel;
        // What the receipt says is what the next write makes true.
        let close = Op::Close { captured };
        if let Ok(Some(event)) = channel.decide(&busy.rules, &close, self.now()) {
            let applied = channel.apply(&event);
            applied.map_err(|_| GateError::JournalOutOfStep)?;
        }
        let receipt = receipt::Session {
            busy,
            challenge_id,
            figures: channel.figures(),
            units: None,
            carried: &Carried::default(),
            at: moved.at,
            more: &moved.receipt,
        };
        let receipt = receipt.print(true).await;
        let end = Apply {
            work: ChannelWork::End(Some(receipt.as_bytes().into())),
            ..Apply::op(busy.id, busy.rules, close)
        };
        self.change(busy, end).await?;
        tracing::info!(channel = %busy.id, captured, "closed");
        busy.changed.notify_waiters();
        self.sessions()?.busy.forget(&busy.id);
        Ok(Closed { captured, receipt })
    }

    /// Asks the rail how a channel is, and writes down what is news.
    pub(super) async fn learn(&self, busy: &Busy) -> Result<(), GateError> {
        let Some(Ok(Some(state))) = self.in_time(busy.method.state(&busy.id)).await else {
            return Ok(());
        };
        let known = self.seen(busy)?.channel;
        let suspended = matches!(known.phase(), Phase::Suspended { .. });
        let op = match (state.ended, state.withdrawable_at) {
            (Some(Ended::Closed), _) => Op::Close {
                captured: state.settled,
            },
            (Some(Ended::Withdrawn), _) => Op::Withdraw,
            (None, Some(withdrawable_at)) => Op::Suspend { withdrawable_at },
            (None, None) if suspended => Op::CancelSuspension,
            (None, None) => Op::TopUp {
                deposit: state.deposit,
            },
        };
        let learnt = self.change(busy, Apply::op(busy.id, busy.rules, op)).await;
        if let Ok(channel) = &learnt
            && channel.phase() != known.phase()
        {
            busy.changed.notify_waiters();
        }
        learnt.map(drop)
    }

    /// All that is kept of a channel.
    pub(super) fn seen(&self, busy: &Busy) -> Result<ChannelSeen, GateError> {
        let seen = self.sessions()?.store.channels().read(&busy.id);
        seen.ok_or_else(|| SessionRefused::not_found(Some(&busy.text)))
    }

    async fn without_op(&self, busy: &Busy, work: ChannelWork) -> Result<Channel, GateError> {
        let apply = Apply {
            id: busy.id,
            rules: busy.rules,
            op: None,
            proof: None,
            work,
        };
        self.change(busy, apply).await
    }

    /// Changes a channel, durably. Everything that comes here may be said twice.
    pub(super) async fn change(&self, busy: &Busy, apply: Apply) -> Result<Channel, GateError> {
        let store = &self.sessions()?.store;
        let command = ChannelCommand::Apply(Box::new(apply));
        let reply = match store.channel(command.clone()).await {
            Err(_) => store.channel(command).await,
            answered => answered,
        };
        match reply.map_err(GateError::JournalLost)? {
            ChannelReply::Done(channel) => Ok(channel),
            ChannelReply::Refused { refusal, .. } => Err(SessionRefused::channel(busy, &refusal)),
            ChannelReply::Settling(_) => Err(GateError::InProgress),
            ChannelReply::TooLarge { part, limit } => Err(GateError::TooLarge { part, limit }),
            ChannelReply::Absent => Err(SessionRefused::not_found(Some(&busy.text))),
            _ => Err(GateError::JournalOutOfStep),
        }
    }
}

/// The receipt of a channel that is closed.
fn ended_receipt(seen: &ChannelSeen) -> Option<Arc<str>> {
    let receipt = seen.outcome.as_deref()?;
    std::str::from_utf8(receipt).ok().map(Arc::from)
}

/// One settlement of a channel has one key, however often it is prepared.
fn settle_key(id: ChannelId, capture: u128, last: bool, settled: u128) -> [u8; 16] {
    let parts: [&[u8]; 4] = [
        &id.0,
        &capture.to_be_bytes(),
        &[u8::from(last)],
        &settled.to_be_bytes(),
    ];
    let hash = hash::of("stiver channel settlement", &parts);
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(hash) {
        *to = from;
    }
    key
}
