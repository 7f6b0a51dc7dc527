//! The right to run a handler once, for what a session has paid.

use std::{sync::Arc, time::Duration};

use stiver_channel::{
    Channel,
    meter::{Carry, Price},
};
use stiver_env::Clock;
use stiver_store::{
    Carried, ChannelCommand, ChannelReply, Conclude, Keep, Left, SpendAnswer, StoreError,
};

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
    session::{
        Metered,
        usage::{Reported, UsageReporter},
    },
};

/// The meter of requests.
const REQUEST: &str = "request";

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
    carried: Carried,
    begun: Duration,
    by: Counted,
}

/// How the request is charged.
enum Counted {
    /// What is held is what it costs.
    Whole,
    /// A price that is no whole number of base units. `keeps`: it is paid though the handler fails.
    Fraction { price: Price, keeps: bool },
    /// By meters: the window is held.
    Metered(Box<(Metered, Reported)>),
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
            carried: Carried::default(),
            begun,
            by: Counted::Whole,
        }
    }

    pub(super) fn by_meters(mut self, metered: Metered) -> Self {
        let units = metered.tab.meters().map(|meter| meter.unit().clone());
        let reported = Reported::new(units.collect());
        self.by = Counted::Metered(Box::new((metered, reported)));
        self
    }

    pub(super) fn by_fraction(mut self, price: Price, keeps: bool) -> Self {
        self.by = Counted::Fraction { price, keeps };
        self
    }

    /// By what a handler reports what it used, when that is metered.
    pub(crate) fn reporter(&self) -> Option<UsageReporter> {
        match &self.by {
            Counted::Metered(it) => Some(it.1.reporter()),
            Counted::Whole | Counted::Fraction { .. } => None,
        }
    }

    /// True when what is delivered is counted: the response is to go through its meters.
    pub(crate) fn is_metered(&self) -> bool {
        matches!(self.by, Counted::Metered(_))
    }

    /// The account of a metered response, in the grant's place.
    pub(crate) fn into_metering(mut self) -> Option<Metering> {
        let metered = match std::mem::replace(&mut self.by, Counted::Whole) {
            Counted::Metered(metered) => *metered,
            Counted::Whole | Counted::Fraction { .. } => return None,
        };
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
        self.bought.running.as_ref().is_some_and(Running::keeps) && !self.is_metered()
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
        let (told, amount) = match self.take(head, body).await {
            Ok(taken) => taken,
            Err(error) => {
                log(&error);
                let refused = error.refused();
                self.gate.tell_refused(&refused);
                return Err(refused);
            }
        };
        let now = self.gate.inner.env.clock.monotonic();
        if !self.is_metered() && !self.bought.again {
            let mut payment = payment(&self.paid);
            payment.amount = self.busy.channel.currency.units(amount);
            self.gate.tell(|| Event::Settled {
                payment,
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
        let figures = (self.bought.channel.figures(), &self.carried);
        let receipt = receipt::served(&self.busy, &told, figures).await;
        Ok(Delivered {
            receipt: Some(receipt),
        })
    }

    /// Spends what is reserved, and keeps the answer with it. How much was spent, too.
    async fn take(
        &mut self,
        head: ResponseHead<'_>,
        body: Option<&[u8]>,
    ) -> Result<(SpendReceipt, u128), GateError> {
        let mut told = SpendReceipt {
            challenge_id: self.paid.challenge_id.as_ref().to_owned(),
            at: self.gate.now(),
            figures: None,
        };
        if self.bought.held.is_none() {
            // It was spent before: the figures are those of that write.
            told.figures = Some(keyed::told(&self.bought.channel));
            let channels = self.gate.sessions()?.store.channels();
            self.carried = channels.carried(&self.busy.id);
            if let (Some(key), Some(answer)) = (self.bought.key(), self.answer(head, body, &told)) {
                self.keep(key, answer).await;
            }
            return Ok((told, self.paid.amount.units()));
        }
        let answer = self.answer(head, body, &told);
        let spent = self.conclude(true, answer).await?;
        Ok((told, spent))
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
            Some(_) => {
                let keeps = matches!(self.by, Counted::Fraction { keeps: true, .. });
                match self.conclude(keeps, None).await {
                    Ok(_) if keeps => GateError::DeliveryKept,
                    Ok(_) => GateError::DeliveryVoided,
                    Err(error) => error,
                }
            }
        };
        log(&error);
        let refused = error.refused();
        self.gate.tell_refused(&refused);
        refused
    }

    /// Ends the reservation. Not repeated: what is reserved and never ended is free at the next
    /// start.
    ///
    /// What was spent, when the request was `served`.
    async fn conclude(
        &mut self,
        served: bool,
        answer: Option<Arc<SpendAnswer>>,
    ) -> Result<u128, GateError> {
        let Some(from_reserved) = self.bought.held.take() else {
            return Ok(0);
        };
        let (spend, left) = match &self.by {
            _ if !served => (0, Vec::new()),
            Counted::Whole => (from_reserved, Vec::new()),
            // What is metered and goes past its meters has delivered nothing that was counted.
            Counted::Metered(_) => (0, Vec::new()),
            Counted::Fraction { price, .. } => charged(price)?,
        };
        let store = &self.gate.sessions()?.store;
        let mut conclude = ended(&self.busy, spend, from_reserved, self.bought.key());
        (conclude.answer, conclude.left) = (answer, left);
        match store.channel(ChannelCommand::Conclude(conclude)).await {
            Ok(ChannelReply::Concluded {
                channel,
                carried,
                spent,
            }) => {
                (self.bought.channel, self.carried) = (channel, carried);
                Ok(spent)
            }
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

/// What one request costs: whole base units, and what is left over for the next.
fn charged(price: &Price) -> Result<(u128, Vec<Left>), GateError> {
    let metered = price.charge(1, Carry::default());
    let metered = metered.map_err(|_| GateError::Misconfigured)?;
    let left = Left {
        meter: REQUEST.into(),
        carry: metered.carry,
    };
    Ok((metered.units, vec![left]))
}

fn ended(busy: &Busy, spend: u128, from_reserved: u128, key: Option<[u8; 32]>) -> Conclude {
    Conclude {
        id: busy.id,
        rules: busy.rules,
        spend,
        from_reserved,
        key,
        answer: None,
        left: Vec::new(),
    }
}

pub(super) fn payment(paid: &Paid) -> Payment {
    Payment {
        challenge_id: Arc::clone(&paid.challenge_id),
        method: paid.method.as_str().into(),
        amount: paid.amount.clone(),
    }
}
