//! The right to run a handler once, for what a session has paid.

use std::{sync::Arc, time::Duration};

use stiver_channel::Channel;
use stiver_env::Clock;
use stiver_store::{ChannelCommand, ChannelReply, Conclude, Keep, SpendAnswer, StoreError};

use super::{
    super::{Gate, log},
    busy::Busy,
    keyed::{self, Running},
    metered::Metering,
    receipt,
};
use crate::{
    error::GateError,
    events::{By, Event, Payment},
    grant::{Delivered, PayeeFailure, ResponseHead},
    outcome::{Paid, Refused},
    record::SpendReceipt,
    session::Metered,
};

/// The right to run a handler once, for a request that a session pays for.
///
/// End it with [`SessionGrant::deliver`] or [`SessionGrant::complete`] before the first byte of the
/// response leaves, or with [`SessionGrant::fail`]. Dropping it gives back what was reserved.
#[must_use = "a grant that is dropped counts as a run that failed"]
pub struct SessionGrant {
    gate: Gate,
    busy: Arc<Busy>,
    paid: Paid,
    bought: Bought,
    begun: Duration,
    /// The meters, and the window that is held.
    metered: Option<Metered>,
}

/// What a voucher has bought.
pub(super) struct Bought {
    /// What is reserved and not spent.
    pub(super) held: Option<u128>,
    /// The request's Idempotency-Key.
    pub(super) running: Option<Running>,
    /// It was charged before: the handler runs once more.
    pub(super) again: bool,
    pub(super) channel: Channel,
}

impl Bought {
    /// Nothing yet: what is delivered is reserved then.
    #[cfg(feature = "websocket")]
    pub(super) fn nothing(channel: Channel) -> Self {
        Self {
            held: None,
            running: None,
            again: false,
            channel,
        }
    }

    fn key(&self) -> Option<[u8; 32]> {
        self.running.as_ref().map(Running::key)
    }
}

impl SessionGrant {
    pub(super) fn new(gate: Gate, busy: Arc<Busy>, paid: Paid, bought: Bought) -> Self {
        let begun = gate.inner.env.clock.monotonic();
        Self {
            gate,
            busy,
            paid,
            bought,
            begun,
            metered: None,
        }
    }

    pub(super) fn by_meters(mut self, metered: Option<Metered>) -> Self {
        self.metered = metered;
        self
    }

    /// True when what is delivered is counted: the response is to go through its meters.
    pub(crate) fn is_metered(&self) -> bool {
        self.metered.is_some()
    }

    /// The account of a metered response, in the grant's place.
    pub(crate) fn into_metering(mut self) -> Option<Metering> {
        let metered = self.metered.take()?;
        let (paid, channel) = (self.paid.clone(), self.bought.channel.clone());
        let reserved = self.bought.held.take();
        let key = (self.bought.running.take(), channel);
        let account = Metering::new(
            self.gate.clone(),
            Arc::clone(&self.busy),
            paid,
            metered,
            key,
        );
        Some(match reserved {
            Some(_) => account,
            None => account.with_nothing_reserved(),
        })
    }

    /// What the handler may know of the payment.
    pub fn paid(&self) -> &Paid {
        &self.paid
    }

    /// The payment, as events name it.
    pub(crate) fn payment(&self) -> Payment {
        payment(&self.paid)
    }

    /// True when the answer is to be kept for a repetition of the request, if it is small: then
    /// read its body, up to
    /// [`SESSION_ANSWER_BYTES_MAX`](crate::limits::SESSION_ANSWER_BYTES_MAX) and only as long as
    /// the client need not wait for it, and give it to [`SessionGrant::deliver`].
    pub fn wants_body(&self) -> bool {
        self.bought.running.as_ref().is_some_and(Running::keeps) && self.metered.is_none()
    }

    /// The clock of its gate.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.gate.inner.env.clock
    }

    /// [`SessionGrant::deliver`] of an answer that is not kept.
    ///
    /// # Errors
    /// A refusal to send in place of the response, when the store gave no answer.
    pub async fn complete(self, status: u16) -> Result<Delivered, Refused> {
        let headers = &[];
        self.deliver(ResponseHead { status, headers }, None).await
    }

    /// Takes what the request costs, durably. Call it before the first byte of the response
    /// leaves. A status of 400 or more is no less a delivery: the request was wrong.
    ///
    /// With a whole `body`, the answer is kept under the request's Idempotency-Key in the same
    /// write, when it is small enough: a repetition is given the same.
    ///
    /// # Errors
    /// A refusal to send in place of the response, when the store gave no answer.
    pub async fn deliver(
        mut self,
        head: ResponseHead<'_>,
        body: Option<&[u8]>,
    ) -> Result<Delivered, Refused> {
        let told = match self.take(head, body).await {
            Ok(told) => told,
            Err(error) => {
                log(&error);
                let refused = error.refused();
                self.gate.tell_refused(&refused);
                return Err(refused);
            }
        };
        let now = self.gate.inner.env.clock.monotonic();
        if self.metered.is_none() && !self.bought.again {
            self.gate.tell(|| Event::Settled {
                payment: payment(&self.paid),
                by: By::Request,
                latency: Duration::ZERO,
            });
        }
        self.gate.tell(|| Event::Delivered {
            payment: payment(&self.paid),
            status: head.status,
            latency: now.saturating_sub(self.begun),
        });
        if head.status >= 400 {
            return Ok(Delivered { receipt: None });
        }
        let figures = self.bought.channel.figures();
        let receipt = receipt::served(&self.busy, &told, figures).await;
        Ok(Delivered {
            receipt: Some(receipt),
        })
    }

    /// Spends what is reserved, and keeps the answer with it.
    async fn take(
        &mut self,
        head: ResponseHead<'_>,
        body: Option<&[u8]>,
    ) -> Result<SpendReceipt, GateError> {
        let mut told = SpendReceipt {
            challenge_id: self.paid.challenge_id.as_ref().to_owned(),
            at: self.gate.now(),
            figures: None,
        };
        let Some(held) = self.bought.held else {
            // It was spent before: the figures are those of that write.
            told.figures = Some(keyed::told(&self.bought.channel));
            if let (Some(key), Some(answer)) = (self.bought.key(), self.answer(head, body, &told)) {
                self.keep(key, answer).await;
            }
            return Ok(told);
        };
        let answer = self.answer(head, body, &told);
        // What is metered and goes past its meters has delivered nothing that was counted.
        let spend = match self.metered {
            Some(_) => 0,
            None => held,
        };
        self.bought.channel = self.conclude(spend, answer).await?;
        Ok(told)
    }

    /// What is kept of an answer.
    fn answer(
        &self,
        head: ResponseHead<'_>,
        body: Option<&[u8]>,
        told: &SpendReceipt,
    ) -> Option<Arc<SpendAnswer>> {
        let body = body.filter(|_| self.wants_body())?;
        self.bought.running.as_ref()?.answer(head, body, told)
    }

    /// Keeps an answer to what is charged for already: a repetition that does not find it is told
    /// so, or is served anew.
    async fn keep(&self, key: [u8; 32], answer: Arc<SpendAnswer>) {
        let Ok(sessions) = self.gate.sessions() else {
            return;
        };
        let id = self.busy.id;
        let keep = ChannelCommand::Keep(Keep { id, key, answer });
        if let Err(error) = sessions.store.channel(keep).await {
            tracing::warn!(%error, "an answer was not kept");
        }
    }

    /// Ends the run as failed: what was reserved is free again. The refusal is the answer to send.
    pub async fn fail(mut self, failure: PayeeFailure) -> Refused {
        tracing::warn!(challenge_id = %self.paid.challenge_id, ?failure, "delivery failed");
        self.gate.tell(|| Event::DeliveryFailed {
            payment: payment(&self.paid),
            failure,
        });
        let repeatable = |it: &Running| it.is_repeatable();
        let error = match self.bought.held {
            // Under its key the handler runs again.
            None if self.bought.running.as_ref().is_some_and(repeatable) => {
                GateError::DeliveryFailed
            }
            None => GateError::DeliveryKept,
            Some(_) => match self.conclude(0, None).await {
                Ok(_) => GateError::DeliveryVoided,
                Err(error) => error,
            },
        };
        log(&error);
        let refused = error.refused();
        self.gate.tell_refused(&refused);
        refused
    }

    /// Ends the reservation. Not repeated: what is reserved and never ended is free at the next
    /// start.
    async fn conclude(
        &mut self,
        spend: u128,
        answer: Option<Arc<SpendAnswer>>,
    ) -> Result<Channel, GateError> {
        let Some(from_reserved) = self.bought.held.take() else {
            return Ok(self.bought.channel.clone());
        };
        let store = &self.gate.sessions()?.store;
        let mut conclude = ended(&self.busy, spend, from_reserved, self.bought.key());
        conclude.answer = answer;
        match store.channel(ChannelCommand::Conclude(conclude)).await {
            Ok(ChannelReply::Done(channel)) => Ok(channel),
            Ok(_) => Err(GateError::JournalOutOfStep),
            Err(error) => Err(GateError::JournalLost(error)),
        }
    }
}

impl Drop for SessionGrant {
    fn drop(&mut self) {
        let Some(held) = self.bought.held.take() else {
            return;
        };
        let (busy, key) = (Arc::clone(&self.busy), self.bought.key());
        let Ok(sessions) = self.gate.sessions() else {
            return;
        };
        let store = Arc::clone(&sessions.store);
        self.gate.inner.env.spawner.spawn(Box::pin(async move {
            let conclude = ChannelCommand::Conclude(ended(&busy, 0, held, key));
            let ended: Result<ChannelReply, StoreError> = store.channel(conclude).await;
            if let Err(error) = ended {
                tracing::warn!(%error, "a dropped reservation was not given back");
            }
        }));
    }
}

fn ended(busy: &Busy, spend: u128, from_reserved: u128, key: Option<[u8; 32]>) -> Conclude {
    Conclude {
        id: busy.id,
        rules: busy.rules,
        spend,
        from_reserved,
        key,
        answer: None,
    }
}

pub(super) fn payment(paid: &Paid) -> Payment {
    Payment {
        challenge_id: Arc::clone(&paid.challenge_id),
        method: paid.method.as_str().into(),
        amount: paid.amount.clone(),
    }
}
