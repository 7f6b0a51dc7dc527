//! Passes over all channels: what a crash left is finished, what is due is taken, and the rail is
//! asked for payers that leave.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use stiver_channel::{Channel, ChannelId, Phase, PhaseName};
use stiver_store::{ChannelReader, Glance};

use super::super::{Gate, log};
use crate::{
    error::GateError,
    limits::{CLOSES_AT_ONCE_MAX, WATCHED_PER_PASS_MAX},
};

/// What one pass over the channels did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Settlements and closes that were found under way, or were begun.
    pub seen: usize,
    /// Those that were done.
    pub settled: usize,
    /// Channels that were closed.
    pub closed: usize,
    /// Those that wait: for the rail, or for what is being served.
    pub left: usize,
    /// Those that could not go on; the log says why.
    pub errors: usize,
    /// Channels for whose state the rail was asked.
    pub watched: usize,
}

/// When a gate takes what it has earned, and when it gives up on a payer. Everything is off unless
/// it is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SettleSchedule {
    /// Settles a channel in which at least this much is served and not settled, base units.
    pub unsettled_max: Option<u128>,
    /// Settles a channel in which something was spent at least so often since it was settled last:
    /// once for each request, and for each window of a metered response.
    pub count_max: Option<u32>,
    /// Settles a channel in which anything is served and not settled, once nothing has happened in
    /// it for so long.
    pub quiet: Option<Duration>,
    /// Closes a channel in which nothing has happened for so long.
    pub idle: Option<Duration>,
    /// Asks the rail for the state of every open channel once within so long, to see a payer's
    /// forced close in time. The passes share the work: each asks for the part of the channels that
    /// the time since the last one is of this, one channel after another in the order of their ids,
    /// and for [`WATCHED_PER_PASS_MAX`] at most.
    pub watch: Option<Duration>,
}

/// How far the rail was asked for the channels.
#[derive(Default)]
pub(crate) struct Watched(Mutex<Place>);

#[derive(Default, Clone, Copy)]
struct Place {
    /// The channel that was asked for last.
    last: Option<ChannelId>,
    /// When the last pass was, by the monotonic clock.
    at: Option<Duration>,
    /// How many channels were open when this round began: those that end meanwhile slow it down
    /// for no other.
    round: u64,
}

impl Watched {
    /// The channels of this pass.
    fn turn(&self, channels: &ChannelReader, within: Duration, now: Duration) -> Vec<ChannelId> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = place.at.map_or(within, |at| now.saturating_sub(at));
        let within = within.as_millis().max(1);
        let open = channels.usage().open;
        let most = u128::from(open.max(place.round));
        let share = most.saturating_mul(passed.as_millis()).div_ceil(within);
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        if share == 0 {
            return Vec::new();
        }
        if share > WATCHED_PER_PASS_MAX {
            tracing::warn!(
                open,
                "too many channels to ask the rail for each of them in time"
            );
        }
        let share = share.min(WATCHED_PER_PASS_MAX);
        place.at = Some(now);
        let turn = next_after(channels, place.last, share);
        let last = turn.last().copied();
        if last <= place.last || place.round == 0 {
            place.round = open;
        }
        place.last = last.or(place.last);
        turn
    }
}

/// So many open channels that come after one, and from the first on again.
fn next_after(channels: &ChannelReader, last: Option<ChannelId>, most: usize) -> Vec<ChannelId> {
    let (mut after, mut before) = (BTreeSet::new(), BTreeSet::new());
    let open = |it: &Glance| is_open(&it.channel);
    channels.select(&open, &mut |id| {
        let part = match last.is_none_or(|last| id > last) {
            true => &mut after,
            false => &mut before,
        };
        part.insert(id);
        if part.len() > most {
            part.pop_last();
        }
    });
    after.into_iter().chain(before).take(most).collect()
}

fn is_open(channel: &Channel) -> bool {
    let phase = channel.phase().name();
    !phase.is_final() && phase != PhaseName::Closing
}

impl CloseReport {
    fn count(&mut self, done: Result<bool, GateError>) {
        self.seen += 1;
        match done {
            Ok(true) => self.closed += 1,
            Ok(false) => self.settled += 1,
            Err(GateError::InProgress | GateError::OutcomeUnknown) => self.left += 1,
            Err(error) => {
                log(&error);
                self.errors += 1;
            }
        }
    }
}

impl Gate {
    /// Does the same for channel after channel, for [`CLOSES_AT_ONCE_MAX`] at once.
    async fn each<F, T>(&self, channels: Vec<ChannelId>, work: fn(Self, ChannelId) -> F) -> Vec<T>
    where
        F: Future<Output = T>,
    {
        let begun = channels.into_iter().map(|id| work(self.clone(), id));
        let all = stream::iter(begun).buffer_unordered(CLOSES_AT_ONCE_MAX);
        all.collect().await
    }

    /// Finishes settlements and closes that a crash or a silent rail left behind, several at once.
    pub async fn recover_channels(&self) -> CloseReport {
        let mut report = CloseReport::default();
        let Ok(sessions) = self.sessions() else {
            return report;
        };
        let mut found = Vec::new();
        let wanted = |it: &Glance| it.settling || it.channel.phase().name() == PhaseName::Closing;
        let channels = sessions.store.channels();
        channels.select(&wanted, &mut |id| found.push(id));
        let done = self.each(found, Self::recovered).await;
        done.into_iter().for_each(|it| report.count(it));
        report
    }

    async fn recovered(self, id: ChannelId) -> Result<bool, GateError> {
        let busy = self.busy(&id)?;
        let seen = self.seen(&busy)?;
        if seen.channel.phase().name() == PhaseName::Closing {
            if seen.channel.figures().reserved > 0 {
                return Err(GateError::InProgress);
            }
            return self.finish_close(&busy, "", None).await.map(|_| true);
        }
        self.settle_channel(id).await.map(|()| false)
    }

    /// One pass by a schedule: settles what is due, closes what is idle, and learns of forced
    /// closes. Run it from time to time; together with [`Gate::recover_channels`].
    pub async fn settle_due(&self, schedule: &SettleSchedule) -> CloseReport {
        let mut report = CloseReport::default();
        let Ok(sessions) = self.sessions() else {
            return report;
        };
        let channels = sessions.store.channels();
        if let Some(within) = schedule.watch {
            let now = self.inner.env.clock.monotonic();
            let turn = sessions.watched.turn(channels, within, now);
            report.watched = turn.len();
            self.each(turn, Self::learnt).await;
        }
        let now = self.now();
        let since = |after: Option<Duration>, channel: &Channel| {
            let millis = after.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
            millis.is_some_and(|it| channel.active_at().plus_millis(it) <= now)
        };
        // What is owed is taken before the payer can withdraw it.
        let suspended = |it: &Channel| matches!(it.phase(), Phase::Suspended { .. });
        let closes = |it: &Glance| {
            is_open(&it.channel) && (suspended(&it.channel) || since(schedule.idle, &it.channel))
        };
        let settles = |it: &Glance| {
            let unsettled = it.channel.figures().unsettled();
            let much = schedule.unsettled_max.is_some_and(|most| unsettled >= most);
            let often = schedule.count_max.is_some_and(|most| it.spends >= most);
            let due = much || often || since(schedule.quiet, &it.channel);
            is_open(&it.channel) && unsettled > 0 && due && !closes(it)
        };
        let (mut closing, mut settling) = (Vec::new(), Vec::new());
        channels.select(&closes, &mut |id| closing.push(id));
        channels.select(&settles, &mut |id| settling.push(id));
        let closed = self.each(closing, Self::closed_when_due).await;
        let settled = self.each(settling, Self::settled_when_due).await;
        let done = closed.into_iter().chain(settled);
        done.for_each(|it| report.count(it));
        report
    }

    async fn closed_when_due(self, id: ChannelId) -> Result<bool, GateError> {
        self.close_channel(id).await.map(|_| true)
    }

    async fn settled_when_due(self, id: ChannelId) -> Result<bool, GateError> {
        self.settle_channel(id).await.map(|()| false)
    }

    async fn learnt(self, id: ChannelId) {
        let learnt = match self.busy(&id) {
            Ok(busy) => self.learn(&busy).await,
            Err(error) => Err(error),
        };
        if let Err(error) = learnt {
            log(&error);
        }
    }
}
