//! The account of one metered response.
//!
//! A window is reserved durably before anything of it is delivered. Delivery is charged against it
//! in memory; when it is used up it is spent durably, and the next one reserved. So one durable
//! write is made for a window, not for a chunk, and a window is what a crash can cost the payee.

use std::{sync::Arc, time::Duration};

use stiver_channel::{
    Channel, Op, Phase, Refusal,
    meter::{Meter, Price, Quantity, Tab, Total, Unit},
};
use stiver_core::json::Value;
use stiver_method::session::UnitPrice;
use stiver_store::{
    Apply, Carried, ChannelCommand, ChannelReply, Conclude, Left, Present, Take, Taken,
};

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
    session::{
        Metered, Patience,
        usage::{Each, Reported, UsageSource},
    },
};

/// What was counted since it was charged last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) events: u64,
    /// Of what is reported, meter by meter.
    pub(crate) reported: Each,
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
        // Meters count whole steps: some units are many.
        let per = price.per.checked_mul(unit.steps())?;
        let each = Price::new(price.amount.units(), per).ok()?;
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
    /// Steps that were charged, meter by meter.
    units: Each,
    /// What the handler reports.
    pub(crate) reported: Reported,
    sources: Arc<[Option<UsageSource>]>,
    carried: Carried,
    /// Until when time was charged for.
    charged_until: Duration,
    channel: Channel,
    /// All that was charged.
    charged: u128,
    begun: Duration,
    /// What the meters carry was given to the channel.
    ended: bool,
    /// Counted in [`Gate::at_work`] while it runs.
    _place: Option<Place>,
    /// While it runs, nobody else is served under its key.
    _running: Option<Running>,
}

/// What a piece costs, to be charged once it leaves.
pub(crate) struct Cost {
    total: Total,
    quantities: Each,
    until: Duration,
}

impl Metering {
    pub(super) fn new(
        gate: Gate,
        busy: Arc<Busy>,
        paid: Paid,
        (metered, reported): (Metered, Reported),
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
            units: Each::default(),
            reported,
            sources: metered.sources,
            carried: Carried::default(),
            charged_until,
            channel,
            charged: 0,
            begun: charged_until,
            ended: false,
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

    /// What is counted, meter by meter, with where an upstream reports it.
    pub(crate) fn meters(&self) -> impl Iterator<Item = (&Unit, Option<&UsageSource>)> {
        let sources = self.sources.iter().map(Option::as_ref);
        self.tab.meters().map(Meter::unit).zip(sources)
    }

    /// Whether tokens are counted.
    #[cfg(feature = "websocket")]
    pub(crate) fn counts_tokens(&self) -> bool {
        self.tab.meters().any(|meter| *meter.unit() == Unit::Token)
    }

    /// What is reported and not charged for yet, with so many tokens more.
    #[cfg(feature = "websocket")]
    pub(crate) fn with_tokens(&self, tokens: u64) -> Each {
        let told = self.reported.due();
        let mut open = Each::default();
        let charged = told.iter().zip(self.units);
        for (meter, (open, (told, charged))) in self.tab.meters().zip(open.iter_mut().zip(charged))
        {
            let tokens = match meter.unit() {
                Unit::Token => tokens,
                _ => 0,
            };
            *open = told.saturating_sub(charged).max(tokens);
        }
        open
    }

    /// Whether what is used is read in the body.
    pub(crate) fn reads_body(&self) -> bool {
        self.meters().any(|(unit, source)| match source {
            Some(source) => source.reads_body(),
            None => *unit == Unit::Token,
        })
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
        let mut quantities = Each::default();
        let slots = quantities.iter_mut().zip(counts.reported);
        for (meter, (quantity, reported)) in self.tab.meters().zip(slots) {
            *quantity = match meter.unit() {
                Unit::Request => counts.requests,
                Unit::Byte => counts.bytes,
                Unit::Second => {
                    let whole = Duration::from_secs(passed.as_secs());
                    until = until.max(self.charged_until.saturating_add(whole));
                    passed.as_secs()
                }
                Unit::Millisecond => {
                    until = now;
                    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
                }
                unit if unit.as_str() == "event" => counts.events,
                _ => reported,
            };
        }
        let total = self.tab.charge_each(&quantities).map_err(|error| {
            tracing::error!(%error, "a metered response costs more than can be");
            GateError::Misconfigured
        })?;
        Ok(Cost {
            total,
            quantities,
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
        for (units, more) in self.units.iter_mut().zip(cost.quantities) {
            *units = units.saturating_add(more);
        }
        self.charged_until = cost.until;
    }

    /// Spends what was charged, and reserves for this and a window more, or what there is.
    ///
    /// # Errors
    /// [`GateError`]: the channel serves no more, or the store is gone.
    pub(crate) async fn refill(&mut self, cost: &Cost) -> Result<Refill, GateError> {
        self.conclude(false).await?;
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

    /// Spends what was charged, and frees what was not. `last`: what the meters carry goes to the
    /// channel.
    async fn conclude(&mut self, last: bool) -> Result<(), GateError> {
        let spend = self.used;
        let Some(command) = self.ending(last) else {
            return Ok(());
        };
        let store = Arc::clone(&self.gate.sessions()?.store);
        match store
            .channel(command)
            .await
            .map_err(GateError::JournalLost)?
        {
            ChannelReply::Concluded {
                channel,
                carried,
                spent,
            } => {
                (self.channel, self.carried) = (channel, carried);
                // With what other requests have left over.
                let more = spent.saturating_sub(spend);
                self.charged = self.charged.saturating_add(more);
                Ok(())
            }
            _ => Err(GateError::JournalOutOfStep),
        }
    }

    /// The command that ends what is reserved. From then on nothing is.
    fn ending(&mut self, last: bool) -> Option<ChannelCommand> {
        let (spend, from_reserved) = (self.used, self.reserved);
        (self.used, self.reserved) = (0, 0);
        let left = match last {
            true => self.left(),
            false => Vec::new(),
        };
        let key = match spend {
            0 => self.key,
            _ => self.key.take(),
        };
        (from_reserved > 0 || !left.is_empty()).then(|| {
            ChannelCommand::Conclude(Conclude {
                id: self.busy.id,
                rules: self.busy.rules,
                spend,
                from_reserved,
                key,
                answer: None,
                left,
            })
        })
    }

    /// What the meters carry, once: it is the channel's from then on.
    fn left(&mut self) -> Vec<Left> {
        if std::mem::replace(&mut self.ended, true) {
            return Vec::new();
        }
        let units = self.tab.meters().map(|meter| meter.unit().as_str());
        let carries = self.tab.carries().map(|(_, carry)| carry);
        let left = units.zip(carries).filter(|(_, carry)| carry.parts() > 0);
        left.map(|(unit, carry)| Left {
            meter: unit.into(),
            carry,
        })
        .collect()
    }

    /// Ends the account: spends what was charged, frees the rest. The receipt, as a field value
    /// and as JSON; `None` when the store gave no answer.
    pub(crate) async fn end(&mut self) -> Option<(Arc<str>, String)> {
        if let Err(error) = self.conclude(true).await {
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

    /// How much was delivered: a count, or, of several meters, a count for each unit.
    fn units_told(&self) -> Value {
        let units = self.tab.meters().map(Meter::unit).zip(self.units);
        let mut told = units.map(|(unit, steps)| {
            let count = Quantity::of_steps(steps, unit).to_string();
            (unit.as_str().to_owned(), Value::String(count))
        });
        let first = told.next();
        let Some(second) = told.next() else {
            return first.map_or(Value::Null, |(_, count)| count);
        };
        Value::Object(first.into_iter().chain([second]).chain(told).collect())
    }

    /// The channel as it stands now.
    pub(crate) async fn receipt(&self, sealed: bool) -> (Arc<str>, String) {
        let receipt = receipt::Session {
            busy: &self.busy,
            challenge_id: &self.paid.challenge_id,
            figures: self.channel.figures(),
            units: Some(self.units_told()),
            carried: &self.carried,
            at: self.gate.now(),
            more: &[],
        };
        receipt.both(sealed).await
    }
}

impl Drop for Metering {
    fn drop(&mut self) {
        let Some(command) = self.ending(true) else {
            return;
        };
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
