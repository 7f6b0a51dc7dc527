//! The account of one metered response.
//!
//! A window is reserved durably before anything of it is delivered. Delivery is charged against it
//! in memory; when it is used up it is spent durably, and the next one reserved. So one durable
//! write is made for a window, not for a chunk, and a window is what a crash can cost the payee.

use std::{sync::Arc, time::Duration};

use stiver_channel::{
    Channel, Op, Phase, Refusal,
    meter::{Meter, Price, Reading, Tab, Total, Unit},
};
use stiver_method::session::UnitPrice;
use stiver_store::{Apply, ChannelCommand, ChannelReply, Conclude, Present, Take, Taken};

use super::{
    super::{Gate, Place, log},
    busy::Busy,
    grant::payment,
    keyed::Running,
    receipt,
    refusal::SessionRefused,
};
use crate::{
    error::GateError,
    events::{By, Event},
    outcome::Paid,
    session::{Metered, Patience},
};

/// What was counted since it was charged last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) events: u64,
    pub(crate) tokens: u64,
}

/// What a stream has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// What has to be authorised in all.
    pub(crate) required: u128,
    pub(crate) accepted: u128,
    pub(crate) deposit: u128,
}

/// What came of asking for more.
pub(crate) enum Refill {
    Done,
    Need(Need),
}

/// The meters of an offer, by their place.
pub(crate) fn tab(prices: &[UnitPrice]) -> Option<Tab> {
    let meters = prices.iter().enumerate().map(|(at, price)| {
        let unit: Unit = price.unit.as_deref().unwrap_or("request").parse().ok()?;
        let each = Price::new(price.amount.units(), price.per).ok()?;
        Meter::new(&format!("m{at}"), unit, each).ok()
    });
    let meters: Option<Vec<Meter>> = meters.collect();
    Tab::new(meters?).ok()
}

/// The account of one metered response. Dropping it spends what was charged and frees the rest.
pub(crate) struct Metering {
    gate: Gate,
    pub(crate) busy: Arc<Busy>,
    paid: Paid,
    key: Option<[u8; 32]>,
    tab: Tab,
    window: u128,
    pub(crate) patience: Patience,
    /// Reserved, as far as is known.
    reserved: u128,
    /// Of what is reserved: charged for.
    used: u128,
    /// Steps of the first meter.
    units: u64,
    /// Until when time was charged for.
    charged_until: Duration,
    channel: Channel,
    /// All that was charged.
    charged: u128,
    begun: Duration,
    /// Counted in [`Gate::at_work`] while it runs.
    _place: Option<Place>,
    /// While it runs, nobody else is served under its key.
    _running: Option<Running>,
}

/// What a piece costs, to be charged once it leaves.
pub(crate) struct Cost {
    total: Total,
    first: u64,
    until: Duration,
}

impl Metering {
    pub(super) fn new(
        gate: Gate,
        busy: Arc<Busy>,
        paid: Paid,
        metered: Metered,
        (running, channel): (Option<Running>, Channel),
    ) -> Self {
        let key = running.as_ref().map(Running::key);
        let charged_until = gate.inner.env.clock.monotonic();
        let place = gate.start_work();
        Self {
            gate,
            busy,
            paid,
            key,
            tab: metered.tab,
            window: metered.window,
            patience: metered.patience,
            reserved: metered.window,
            used: 0,
            units: 0,
            charged_until,
            channel,
            charged: 0,
            begun: charged_until,
            _place: place,
            _running: running,
        }
    }

    /// An account that reserves when something is to be delivered.
    pub(super) fn with_nothing_reserved(mut self) -> Self {
        self.reserved = 0;
        self
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    #[cfg(feature = "websocket")]
    pub(crate) fn paid(&self) -> &Paid {
        &self.paid
    }

    /// Whether tokens are counted.
    pub(crate) fn counts_tokens(&self) -> bool {
        self.tab.meters().any(|meter| *meter.unit() == Unit::Token)
    }

    /// Whether time is counted: then it passes without anything being delivered too.
    pub(crate) fn counts_time(&self) -> bool {
        let is_time = |meter: &Meter| matches!(meter.unit(), Unit::Second | Unit::Millisecond);
        self.tab.meters().any(is_time)
    }

    /// The most bytes that a window pays for: larger pieces are cut, so that a body comes as far
    /// as it is paid.
    pub(crate) fn bytes_at_once(&self) -> usize {
        let mut by_bytes = self.tab.meters().filter(|it| *it.unit() == Unit::Byte);
        let covered = by_bytes.next().map(|it| it.price().covered(self.window));
        let covered = covered.map(|it| usize::try_from(it).unwrap_or(usize::MAX));
        covered.map_or(usize::MAX, |it| it.max(1))
    }

    /// What this costs, with the time that has passed. Changes nothing.
    pub(crate) fn cost(&self, counts: Counts) -> Result<Cost, GateError> {
        let now = self.gate.inner.env.clock.monotonic();
        let passed = now.saturating_sub(self.charged_until);
        let mut until = self.charged_until;
        let ids: Vec<(String, u64)> = self
            .tab
            .meters()
            .map(|meter| {
                let quantity = match meter.unit() {
                    Unit::Request => counts.requests,
                    Unit::Byte => counts.bytes,
                    Unit::Token => counts.tokens,
                    Unit::Second => {
                        until =
                            until.max(self.charged_until + Duration::from_secs(passed.as_secs()));
                        passed.as_secs()
                    }
                    Unit::Millisecond => {
                        until = now;
                        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
                    }
                    unit if unit.as_str() == "event" => counts.events,
                    _ => 0,
                };
                (meter.id().to_owned(), quantity)
            })
            .collect();
        let readings: Vec<Reading<'_>> = ids
            .iter()
            .map(|(meter, quantity)| Reading {
                meter,
                quantity: *quantity,
            })
            .collect();
        let total = self.tab.charge(&readings).map_err(|error| {
            tracing::error!(%error, "a metered response costs more than can be");
            GateError::Misconfigured
        })?;
        let first = ids.first().map_or(0, |(_, quantity)| *quantity);
        Ok(Cost {
            total,
            first,
            until,
        })
    }

    /// Whether what is reserved covers it.
    pub(crate) fn covers(&self, cost: &Cost) -> bool {
        self.used.saturating_add(cost.total.units) <= self.reserved
    }

    /// Charges what leaves. It is covered.
    pub(crate) fn charge(&mut self, cost: &Cost) {
        self.tab.commit(&cost.total);
        self.used = self
            .used
            .saturating_add(cost.total.units)
            .min(self.reserved);
        self.charged = self.charged.saturating_add(cost.total.units);
        self.units = self.units.saturating_add(cost.first);
        self.charged_until = cost.until;
    }

    /// Spends what was charged, and reserves for this and a window more, or what there is.
    ///
    /// # Errors
    /// [`GateError`]: the channel serves no more, or the store is gone.
    pub(crate) async fn refill(&mut self, cost: &Cost) -> Result<Refill, GateError> {
        self.conclude().await?;
        let least = cost.total.units;
        let wanted = self.window.max(least);
        let figures = self.channel.figures();
        let amount = wanted.min(figures.available()).max(least);
        let store = &self.gate.sessions()?.store;
        let present = Present {
            id: self.busy.id,
            rules: self.busy.rules,
            voucher: None,
            take: Take::Reserve(amount),
            key: None,
            reruns: 0,
        };
        let command = ChannelCommand::Present(Box::new(present));
        match store
            .channel(command)
            .await
            .map_err(GateError::JournalLost)?
        {
            ChannelReply::Presented(it) => {
                self.channel = it.channel;
                match it.taken {
                    Taken::Done => {
                        self.reserved = amount;
                        Ok(Refill::Done)
                    }
                    Taken::Refused(Refusal::Insufficient { .. }) => {
                        Ok(Refill::Need(self.need(least, wanted).await))
                    }
                    Taken::Refused(refusal) => Err(SessionRefused::channel(&self.busy, &refusal)),
                    _ => Err(GateError::JournalOutOfStep),
                }
            }
            ChannelReply::Absent => Err(SessionRefused::not_found(Some(&self.busy.text))),
            _ => Err(GateError::JournalOutOfStep),
        }
    }

    async fn need(&mut self, least: u128, wanted: u128) -> Need {
        let figures = self.channel.figures();
        let taken = figures.spent.saturating_add(figures.reserved);
        let least = taken.saturating_add(least);
        // Beyond the deposit the payer has to top up first: not for the sake of a whole window.
        let required = taken.saturating_add(wanted).min(figures.deposit.max(least));
        let pause = Apply::op(self.busy.id, self.busy.rules, Op::Pause { required });
        if let Err(error) = self.gate.change(&self.busy, pause).await {
            log(&error);
        }
        Need {
            required,
            accepted: figures.accepted,
            deposit: figures.deposit,
        }
    }

    /// The 402 for a response that is not covered.
    pub(crate) fn short_of(&self, need: Need) -> GateError {
        let refusal = Refusal::Insufficient {
            required: need.required,
            accepted: need.accepted,
            deposit: need.deposit,
        };
        SessionRefused::channel(&self.busy, &refusal)
    }

    /// True once the channel takes nothing on any more: the stream has to end.
    pub(crate) fn is_fenced(&self) -> bool {
        let Ok(sessions) = self.gate.sessions() else {
            return true;
        };
        let channel = sessions.store.channels().channel(&self.busy.id);
        !channel.is_some_and(|it| matches!(it.phase(), Phase::Active | Phase::Paused { .. }))
    }

    /// Spends what was charged, and frees what was not.
    async fn conclude(&mut self) -> Result<(), GateError> {
        let Some(command) = self.ending() else {
            return Ok(());
        };
        let store = Arc::clone(&self.gate.sessions()?.store);
        match store
            .channel(command)
            .await
            .map_err(GateError::JournalLost)?
        {
            ChannelReply::Done(channel) => {
                self.channel = channel;
                Ok(())
            }
            _ => Err(GateError::JournalOutOfStep),
        }
    }

    /// The command that ends what is reserved. From then on nothing is.
    fn ending(&mut self) -> Option<ChannelCommand> {
        let (spend, from_reserved) = (self.used, self.reserved);
        (self.used, self.reserved) = (0, 0);
        let key = match spend {
            0 => self.key,
            _ => self.key.take(),
        };
        (from_reserved > 0).then(|| {
            ChannelCommand::Conclude(Conclude {
                id: self.busy.id,
                rules: self.busy.rules,
                spend,
                from_reserved,
                key,
                answer: None,
            })
        })
    }

    /// Ends the account: spends what was charged, frees the rest. The receipt, as a field value
    /// and as JSON; `None` when the store gave no answer.
    pub(crate) async fn end(&mut self) -> Option<(Arc<str>, String)> {
        if let Err(error) = self.conclude().await {
            log(&error);
            return None;
        }
        let mut payment = payment(&self.paid);
        payment.amount = self.busy.channel.currency.units(self.charged);
        let now = self.gate.inner.env.clock.monotonic();
        self.gate.tell(|| Event::Settled {
            payment: payment.clone(),
            by: By::Request,
            latency: Duration::ZERO,
        });
        self.gate.tell(|| Event::Delivered {
            payment,
            status: 200,
            latency: now.saturating_sub(self.begun),
        });
        Some(self.receipt(true).await)
    }

    /// The channel as it stands now.
    pub(crate) async fn receipt(&self, sealed: bool) -> (Arc<str>, String) {
        let receipt = receipt::Session {
            busy: &self.busy,
            challenge_id: &self.paid.challenge_id,
            figures: self.channel.figures(),
            units: Some(self.units),
            at: self.gate.now(),
            more: &[],
        };
        receipt.both(sealed).await
    }
}

impl Drop for Metering {
    fn drop(&mut self) {
        let Some(command) = self.ending() else { return };
        let Ok(sessions) = self.gate.sessions() else {
            return;
        };
        let store = Arc::clone(&sessions.store);
        self.gate.inner.env.spawner.spawn(Box::pin(async move {
            if let Err(error) = store.channel(command).await {
                tracing::warn!(%error, "a metered response's account was not ended");
            }
        }));
    }
}
