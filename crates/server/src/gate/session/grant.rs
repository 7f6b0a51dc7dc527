//! The right to run a handler once, for what a session has paid.

use std::{sync::Arc, time::Duration};

use stiver_channel::Channel;
use stiver_store::{ChannelCommand, ChannelReply, Conclude, StoreError};

use super::{
    super::{Gate, log},
    busy::Busy,
    metered::Metering,
    receipt,
};
use crate::{
    error::GateError,
    events::{By, Event, Payment},
    grant::{Delivered, PayeeFailure},
    outcome::{Paid, Refused},
    session::Metered,
};

/// The right to run a handler once, for a request that a session pays for.
///
/// End it with [`SessionGrant::complete`] before the first byte of the response leaves, or with
/// [`SessionGrant::fail`]. Dropping it gives back what was reserved.
#[must_use = "a grant that is dropped counts as a run that failed"]
pub struct SessionGrant {
    gate: Gate,
    busy: Arc<Busy>,
    paid: Paid,
    /// What is reserved and not spent.
    held: Option<u128>,
    key: Option<[u8; 32]>,
    channel: Channel,
    begun: Duration,
    /// The meters, and the window that is held.
    metered: Option<Metered>,
}

impl SessionGrant {
    pub(super) fn new(
        gate: Gate,
        busy: Arc<Busy>,
        paid: Paid,
        (held, key, channel): (Option<u128>, Option<[u8; 32]>, Channel),
    ) -> Self {
        let begun = gate.inner.env.clock.monotonic();
        Self {
            gate,
            busy,
            paid,
            held,
            key,
            channel,
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
        let (paid, channel) = (self.paid.clone(), self.channel.clone());
        let reserved = self.held.take();
        let key = (self.key, channel);
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

    /// Takes what the request costs, durably. Call it before the first byte of the response
    /// leaves. A status of 400 or more is no less a delivery: the request was wrong.
    ///
    /// # Errors
    /// A refusal to send in place of the response, when the store gave no answer.
    pub async fn complete(mut self, status: u16) -> Result<Delivered, Refused> {
        // What is metered and goes past its meters has delivered nothing that was counted.
        let spend = |held| if self.metered.is_some() { 0 } else { held };
        if let Some(amount) = self.held.map(spend) {
            match self.conclude(amount).await {
                Ok(channel) => self.channel = channel,
                Err(error) => {
                    log(&error);
                    let refused = error.refused();
                    self.gate.tell_refused(&refused);
                    return Err(refused);
                }
            }
        }
        let now = self.gate.inner.env.clock.monotonic();
        if self.metered.is_none() {
            self.gate.tell(|| Event::Settled {
                payment: payment(&self.paid),
                by: By::Request,
                latency: Duration::ZERO,
            });
        }
        self.gate.tell(|| Event::Delivered {
            payment: payment(&self.paid),
            status,
            latency: now.saturating_sub(self.begun),
        });
        if status >= 400 {
            return Ok(Delivered { receipt: None });
        }
        let receipt = receipt::Session {
            busy: &self.busy,
            challenge_id: &self.paid.challenge_id,
            channel: &self.channel,
            units: Some(1),
            at: self.gate.now(),
            more: &[],
        };
        Ok(Delivered {
            receipt: Some(receipt.print(false).await),
        })
    }

    /// Ends the run as failed: what was reserved is free again. The refusal is the answer to send.
    pub async fn fail(mut self, failure: PayeeFailure) -> Refused {
        tracing::warn!(challenge_id = %self.paid.challenge_id, ?failure, "delivery failed");
        self.gate.tell(|| Event::DeliveryFailed {
            payment: payment(&self.paid),
            failure,
        });
        let error = match self.held {
            None => GateError::DeliveryKept,
            Some(_) => match self.conclude(0).await {
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
    async fn conclude(&mut self, spend: u128) -> Result<Channel, GateError> {
        let Some(from_reserved) = self.held.take() else {
            return Ok(self.channel.clone());
        };
        let store = &self.gate.sessions()?.store;
        let command = ended(&self.busy, spend, from_reserved, self.key);
        match store.channel(command).await {
            Ok(ChannelReply::Done(channel)) => Ok(channel),
            Ok(_) => Err(GateError::JournalOutOfStep),
            Err(error) => Err(GateError::JournalLost(error)),
        }
    }
}

impl Drop for SessionGrant {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let (busy, key) = (Arc::clone(&self.busy), self.key);
        let Ok(sessions) = self.gate.sessions() else {
            return;
        };
        let store = Arc::clone(&sessions.store);
        self.gate.inner.env.spawner.spawn(Box::pin(async move {
            let ended: Result<ChannelReply, StoreError> =
                store.channel(ended(&busy, 0, held, key)).await;
            if let Err(error) = ended {
                tracing::warn!(%error, "a dropped reservation was not given back");
            }
        }));
    }
}

fn ended(busy: &Busy, spend: u128, from_reserved: u128, key: Option<[u8; 32]>) -> ChannelCommand {
    ChannelCommand::Conclude(Conclude {
        id: busy.id,
        rules: busy.rules,
        spend,
        from_reserved,
        key,
    })
}

pub(super) fn payment(paid: &Paid) -> Payment {
    Payment {
        challenge_id: Arc::clone(&paid.challenge_id),
        method: paid.method.as_str().into(),
        amount: paid.amount.clone(),
    }
}
