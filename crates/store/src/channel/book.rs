//! Every channel, and the rules between a channel and what is kept beside it.
//!
//! One writer, which is the log's; any number of readers, shard by shard.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use stiver_channel::{Authority, Change, Channel, ChannelId, Event, Op, Phase, Refusal};
use stiver_core::Timestamp;
use stiver_wal::Inconsistent;

use super::{
    Apply, Carried, ChannelCommand, ChannelEvent, ChannelReply, ChannelSeen, ChannelUsage,
    ChannelWork, Conclude, Glance, Keep, Keys, Left, NewChannel, Present, Presented, Record,
    SpendAnswer, SpendKey, Take, Taken,
};
use crate::limits::{
    ARTEFACT_BYTES_MAX, CARRIED_METERS_MAX, CHANNEL_DETAILS_BYTES_MAX, ENDED_CHANNEL_RETAIN_MS,
    FREED_PER_EVENT_MAX, METER_NAME_BYTES_MAX, PROOF_BYTES_MAX, RECORD_BYTES_MAX,
    SPEND_RECEIPT_BYTES_MAX,
};
use crate::rules::TooLarge;

/// Shards, so that readers seldom meet the writer.
const SHARDS: usize = 256;

type Shard = HashMap<ChannelId, Box<Record>>;
type Decided = (ChannelReply, Option<ChannelEvent>);

/// Reads channels while they are written. Cheap to clone.
#[derive(Clone)]
pub struct ChannelReader(Arc<Shared>);

struct Shared {
    shards: Vec<RwLock<Shard>>,
    open: AtomicU64,
    ended: AtomicU64,
    bytes: AtomicU64,
    keys: AtomicU64,
    answers_bytes: AtomicU64,
}

impl Shared {
    fn shard(&self, id: &ChannelId) -> &RwLock<Shard> {
        // Ids are hashes, and tests number them from the last byte on.
        let [first, .., last] = id.0;
        let index = usize::from(first ^ last) % SHARDS;
        &self.shards[index]
    }

    fn read(&self, id: &ChannelId) -> RwLockReadGuard<'_, Shard> {
        self.shard(id)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, id: &ChannelId) -> RwLockWriteGuard<'_, Shard> {
        self.shard(id)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChannelReader {
    fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self(Arc::new(Shared {
            shards,
            open: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            answers_bytes: AtomicU64::new(0),
        }))
    }

    /// All that is kept of a channel. `None` when there is none, and from some time on for one
    /// that has ended.
    pub fn read(&self, id: &ChannelId) -> Option<ChannelSeen> {
        Some(self.0.read(id).get(id)?.seen(*id))
    }

    /// Phase and figures of a channel: cheaper than [`ChannelReader::read`].
    pub fn channel(&self, id: &ChannelId) -> Option<Channel> {
        Some(self.0.read(id).get(id)?.channel())
    }

    /// What the meters of a channel carry.
    pub fn carried(&self, id: &ChannelId) -> Carried {
        let shard = self.0.read(id);
        shard.get(id).map(|it| it.carried()).unwrap_or_default()
    }

    /// How many channels are kept.
    pub fn usage(&self) -> ChannelUsage {
        let all = &self.0;
        ChannelUsage {
            open: all.open.load(Ordering::Relaxed),
            ended: all.ended.load(Ordering::Relaxed),
            bytes: all.bytes.load(Ordering::Relaxed),
            keys: all.keys.load(Ordering::Relaxed),
            answers_bytes: all.answers_bytes.load(Ordering::Relaxed),
        }
    }

    /// Visits every channel, in no order: the writer waits for a 256th of them at a time.
    /// `wanted` decides whether a channel is visited.
    pub fn select(&self, wanted: &dyn Fn(&Glance) -> bool, visit: &mut dyn FnMut(ChannelId)) {
        for shard in &self.0.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let found = shard.iter().filter(|(_, record)| wanted(&record.glance()));
            let found: Vec<ChannelId> = found.map(|(id, _)| *id).collect();
            drop(shard);
            found.into_iter().for_each(&mut *visit);
        }
    }
}

/// The channels, as the state keeps them.
pub(crate) struct Channels {
    reader: ChannelReader,
    pub(crate) keys: Keys,
    /// Those that have ended, by when they are forgotten.
    ended: BTreeSet<(Timestamp, ChannelId)>,
    open: u64,
    bytes: u64,
}

impl Channels {
    pub(crate) fn new() -> Self {
        Self {
            reader: ChannelReader::new(),
            keys: Keys::default(),
            ended: BTreeSet::new(),
            open: 0,
            bytes: 0,
        }
    }

    pub(crate) fn reader(&self) -> ChannelReader {
        self.reader.clone()
    }

    pub(crate) fn publish(&self) {
        let all = &self.reader.0;
        let number = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        all.open.store(self.open, Ordering::Relaxed);
        all.ended.store(number(self.ended.len()), Ordering::Relaxed);
        all.bytes.store(self.bytes, Ordering::Relaxed);
        all.keys.store(number(self.keys.len()), Ordering::Relaxed);
        let answers = self.keys.answers_bytes();
        all.answers_bytes.store(answers, Ordering::Relaxed);
    }

    fn channel(&self, id: &ChannelId, now: Timestamp) -> Option<Channel> {
        let channel = self.reader.channel(id)?;
        (!is_gone(&channel, now)).then_some(channel)
    }

    pub(crate) fn decide(&self, now: Timestamp, command: ChannelCommand) -> Decided {
        match command {
            ChannelCommand::Open(new) => self.open(now, *new),
            ChannelCommand::Present(it) => self.present(now, *it),
            ChannelCommand::Conclude(it) => self.conclude(now, it),
            ChannelCommand::Keep(it) => self.keep(now, it),
            ChannelCommand::Apply(it) => self.apply(now, *it),
            ChannelCommand::Read { id } => {
                let seen = self.reader.read(&id);
                let seen = seen.filter(|it| !is_gone(&it.channel, now));
                let reply = seen.map(|it| ChannelReply::Found(Box::new(it)));
                (reply.unwrap_or(ChannelReply::Absent), None)
            }
        }
    }

    fn open(&self, now: Timestamp, new: NewChannel) -> Decided {
        let proof = new.voucher.as_ref().map(|it| it.proof.clone());
        if let Err(it) = at_most("details", new.details.len(), CHANNEL_DETAILS_BYTES_MAX)
            .and_then(|()| check_proof(proof.as_deref()))
        {
            return too_large(&it);
        }
        if let Some(channel) = self.channel(&new.id, now) {
            return (ChannelReply::Exists(channel), None);
        }
        let mut channel = Channel::opening(now);
        let op = Op::ConfirmOpen {
            deposit: new.deposit,
            settled: new.settled,
            voucher: new.voucher.as_ref().map(|it| it.cumulative),
        };
        match step(&mut channel, &new.rules, &op, now) {
            Err(refusal) => refused(refusal, channel),
            Ok(None) => (ChannelReply::Exists(channel), None),
            Ok(Some(change)) => {
                let event = ChannelEvent::Opened {
                    id: new.id,
                    change,
                    proof,
                    details: new.details,
                };
                (ChannelReply::Done(channel), Some(event))
            }
        }
    }

    fn present(&self, now: Timestamp, it: Present) -> Decided {
        if let Err(it) = check_proof(it.voucher.as_ref().map(|it| &*it.proof)) {
            return too_large(&it);
        }
        let Some(mut channel) = self.channel(&it.id, now) else {
            return (ChannelReply::Absent, None);
        };
        let known = it.key.filter(|_| it.take != Take::Nothing);
        let known = known.and_then(|key| self.known(&key, it.reruns, now));
        let mut authority = Authority::Established;
        let mut accepted = None;
        if let Some(voucher) = it.voucher {
            let cumulative = voucher.cumulative;
            authority = Authority::Voucher { cumulative };
            match step(&mut channel, &it.rules, &Op::Accept { cumulative }, now) {
                // What was paid for under a key is answered for, whatever came since.
                Err(_) if known.is_some() => {}
                Err(refusal) => return refused(refusal, channel),
                Ok(Some(_)) => accepted = Some((cumulative, voucher.proof)),
                Ok(None) => {}
            }
        }
        let op = match it.take {
            Take::Nothing => None,
            Take::Spend(amount) => Some(Op::Spend {
                amount,
                from_reserved: 0,
                authority,
            }),
            Take::Reserve(amount) => Some(Op::Reserve { amount, authority }),
        };
        let full = it.key.and_then(|_| self.keys.wait(&it.id, now));
        let (taken, change) = match (op, known, full) {
            (None, ..) => (Taken::Nothing, None),
            (Some(_), Some(known), _) => (known, None),
            (Some(_), None, Some(wait_ms)) => (Taken::TooManyKeys { wait_ms }, None),
            (Some(op), None, None) => match step(&mut channel, &it.rules, &op, now) {
                Ok(change) => (Taken::Done, change),
                Err(refusal) => (Taken::Refused(refusal), None),
            },
        };
        let raised = accepted.is_some();
        let keyed = change.is_some() || taken == Taken::Again;
        let event = (raised || keyed).then_some(ChannelEvent::Presented {
            id: it.id,
            accepted,
            taken: change,
            key: it.key.filter(|_| keyed),
        });
        let presented = Presented {
            channel,
            raised,
            taken,
        };
        (ChannelReply::Presented(presented), event)
    }

    /// What became of what was taken under a key before. `None` when nothing was.
    fn known(&self, key: &SpendKey, reruns: u32, now: Timestamp) -> Option<Taken> {
        let known = self.keys.get(&key.key, now)?;
        if known.request != key.request {
            return Some(Taken::OtherRequest);
        }
        if known.pending {
            return Some(Taken::InProgress);
        }
        let kept = known.kept.as_ref();
        Some(match kept {
            Some(it) if now < it.answer.response.expires_at => Taken::Kept(it.clone()),
            _ if known.runs < reruns => Taken::Again,
            _ => Taken::Before,
        })
    }

    fn keep(&self, now: Timestamp, it: Keep) -> Decided {
        let Some(channel) = self.channel(&it.id, now) else {
            return (ChannelReply::Absent, None);
        };
        if let Err(it) = check_answer(&it.answer) {
            return too_large(&it);
        }
        let keeps = self.keys.takes_answer(&it.key, &it.id, &it.answer, now);
        let event = keeps.then_some(ChannelEvent::Kept {
            id: it.id,
            key: it.key,
            answer: it.answer,
        });
        (ChannelReply::Done(channel), event)
    }

    fn conclude(&self, now: Timestamp, it: Conclude) -> Decided {
        let sizes = it.answer.as_deref().map_or(Ok(()), check_answer);
        if let Err(it) = sizes.and_then(|()| check_left(&it.left)) {
            return too_large(&it);
        }
        let Some(mut channel) = self.channel(&it.id, now) else {
            return (ChannelReply::Absent, None);
        };
        let before = self.reader.carried(&it.id);
        let mut carried = before.clone();
        carried.add(&it.left, CARRIED_METERS_MAX);
        // A fraction that makes a whole base unit is taken, as far as it is authorised: with what
        // was served, so that what failed takes nothing.
        let served = it.spend > 0 || !it.left.is_empty();
        let figures = channel.figures();
        let room = it.from_reserved.saturating_add(figures.available());
        let room = room.saturating_sub(it.spend);
        let more = u128::from(carried.owed).min(if served { room } else { 0 });
        carried.owed = carried
            .owed
            .saturating_sub(u64::try_from(more).unwrap_or(u64::MAX));
        let spent = it.spend.saturating_add(more);
        let op = match spent {
            0 if it.from_reserved == 0 => None,
            0 => Some(Op::Release {
                amount: it.from_reserved,
            }),
            amount => Some(Op::Spend {
                amount,
                from_reserved: it.from_reserved,
                authority: Authority::Established,
            }),
        };
        let change = match op {
            None => None,
            Some(op) => match step(&mut channel, &it.rules, &op, now) {
                Err(refusal) => return refused(refusal, channel),
                Ok(change) => change,
            },
        };
        let told = (carried != before || !it.left.is_empty()).then(|| carried.clone());
        let answer = it
            .key
            .zip(it.answer)
            .filter(|(key, answer)| served && self.keys.takes_answer(key, &it.id, answer, now));
        let event = (change.is_some() || told.is_some()).then_some(ChannelEvent::Concluded {
            id: it.id,
            change,
            key: it.key,
            answer: answer.map(|(_, answer)| answer),
            carried: told,
        });
        let reply = ChannelReply::Concluded {
            channel,
            carried,
            spent,
        };
        (reply, event)
    }

    fn apply(&self, now: Timestamp, it: Apply) -> Decided {
        let sizes = check_proof(it.proof.as_deref()).and_then(|()| check_work(&it.work));
        if let Err(it) = sizes {
            return too_large(&it);
        }
        let Some(seen) = self.reader.read(&it.id) else {
            return (ChannelReply::Absent, None);
        };
        let mut channel = seen.channel;
        if is_gone(&channel, now) {
            return (ChannelReply::Absent, None);
        }
        let work = match (it.work, &seen.settling) {
            (ChannelWork::Begin(new), Some(old)) if *new == *old => ChannelWork::Same,
            (ChannelWork::Begin(_), Some(_)) => return (ChannelReply::Settling(channel), None),
            (ChannelWork::End(outcome), None) if outcome == seen.outcome => ChannelWork::Same,
            (work, _) => work,
        };
        let before = channel.figures().accepted;
        let change = match &it.op {
            None => None,
            Some(op) => match step(&mut channel, &it.rules, op, now) {
                Ok(change) => change,
                Err(refusal) => return refused(refusal, channel),
            },
        };
        let raised = channel.figures().accepted > before;
        let event =
            (change.is_some() || work != ChannelWork::Same).then_some(ChannelEvent::Applied {
                id: it.id,
                change,
                proof: it.proof.filter(|_| raised),
                work,
            });
        (ChannelReply::Done(channel), event)
    }

    pub(crate) fn evolve(
        &mut self,
        now: Timestamp,
        event: &ChannelEvent,
    ) -> Result<(), Inconsistent> {
        let id = event.id();
        match event {
            ChannelEvent::Opened {
                change,
                proof,
                details,
                ..
            } => {
                if self.channel(&id, now).is_some() {
                    return Err(broken(&id, "is opened twice"));
                }
                self.forget(&id);
                let mut channel = Channel::opening(now);
                follow(&mut channel, &id, *change, now)?;
                self.insert(id, Record::new(channel, proof.as_deref(), details))
            }
            ChannelEvent::Presented {
                accepted,
                taken,
                key,
                ..
            } => self.presented(now, id, accepted.as_ref(), (*taken, *key)),
            ChannelEvent::Concluded {
                change,
                key,
                answer,
                carried,
                ..
            } => {
                self.concluded(id, now, (*change, carried.as_ref()), key.as_ref())?;
                match (key, answer) {
                    (Some(key), Some(answer)) => self.keep_answer(&id, key, answer),
                    _ => Ok(()),
                }
            }
            ChannelEvent::Kept { key, answer, .. } => self.keep_answer(&id, key, answer),
            ChannelEvent::Applied {
                change,
                proof,
                work,
                ..
            } => self.change(id, |record, channel| {
                if let Some(change) = change {
                    follow(channel, &id, *change, now)?;
                }
                if let Some(proof) = proof {
                    record.set_proof(proof);
                }
                match work {
                    ChannelWork::Same => {}
                    ChannelWork::Begin(settling) => record.begin((**settling).clone()),
                    ChannelWork::End(outcome) => record.end(outcome.clone()),
                }
                Ok(())
            }),
        }
    }

    fn presented(
        &mut self,
        now: Timestamp,
        id: ChannelId,
        accepted: Option<&(u128, Box<[u8]>)>,
        (taken, key): (Option<Change>, Option<SpendKey>),
    ) -> Result<(), Inconsistent> {
        self.change(id, |record, channel| {
            if let Some((accepted, proof)) = accepted {
                let accepted = *accepted;
                follow(channel, &id, Change::Accepted { accepted }, now)?;
                record.set_proof(proof);
            }
            match taken {
                Some(change) => follow(channel, &id, change, now),
                None => Ok(()),
            }
        })?;
        match (key, taken) {
            (Some(key), Some(taken)) => {
                let pending = matches!(taken, Change::Reserved { .. });
                self.keys.bind(id, key, pending, now);
            }
            (Some(key), None) => self.keys.run_again(&key.key),
            (None, _) => {}
        }
        Ok(())
    }

    fn concluded(
        &mut self,
        id: ChannelId,
        now: Timestamp,
        (change, carried): (Option<Change>, Option<&Carried>),
        key: Option<&[u8; 32]>,
    ) -> Result<(), Inconsistent> {
        self.change(id, |record, channel| {
            if let Some(carried) = carried {
                record.set_carried(carried.clone());
            }
            change.map_or(Ok(()), |change| follow(channel, &id, change, now))
        })?;
        if let Some(key) = key {
            // A request that cost a fraction was served, too.
            let spent = matches!(change, Some(Change::Spent { .. })) || carried.is_some();
            self.keys.conclude(key, spent);
        }
        Ok(())
    }

    fn keep_answer(
        &mut self,
        id: &ChannelId,
        key: &[u8; 32],
        answer: &Arc<SpendAnswer>,
    ) -> Result<(), Inconsistent> {
        let channel = self.reader.channel(id);
        let channel = channel.ok_or_else(|| broken(id, "answers and is not there"))?;
        let carried = self.reader.carried(id);
        self.keys.answered(key, answer, (&channel, carried));
        Ok(())
    }

    /// Changes a record and its places in the sums.
    fn change(
        &mut self,
        id: ChannelId,
        change: impl FnOnce(&mut Record, &mut Channel) -> Result<(), Inconsistent>,
    ) -> Result<(), Inconsistent> {
        let mut shard = self.reader.0.write(&id);
        let record = shard
            .get_mut(&id)
            .ok_or_else(|| broken(&id, "changes and is not there"))?;
        let (weight, mut channel) = (record.weight(), record.channel());
        let open = !channel.phase().name().is_final();
        let before = channel.figures();
        change(record, &mut channel)?;
        record.count(before, channel.figures());
        let ended = open && channel.phase().name().is_final();
        let until = retain_until(&channel);
        record.set_channel(channel);
        self.bytes = self.bytes.saturating_sub(weight);
        self.bytes = self.bytes.saturating_add(record.weight());
        drop(shard);
        if ended {
            self.open = self.open.saturating_sub(1);
            self.ended.insert((until, id));
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, id: ChannelId, record: Record) -> Result<(), Inconsistent> {
        let channel = record.channel();
        self.bytes = self.bytes.saturating_add(record.weight());
        if channel.phase().name().is_final() {
            self.ended.insert((retain_until(&channel), id));
        } else {
            self.open = self.open.saturating_add(1);
        }
        match self.reader.0.write(&id).insert(id, Box::new(record)) {
            None => Ok(()),
            Some(_) => Err(broken(&id, "is there twice")),
        }
    }

    fn forget(&mut self, id: &ChannelId) {
        let Some(record) = self.reader.0.write(id).remove(id) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(record.weight());
        if !self.ended.remove(&(retain_until(&record.channel()), *id)) {
            self.open = self.open.saturating_sub(1);
        }
    }

    /// Frees the memory of some of what is gone.
    pub(crate) fn free_some(&mut self, now: Timestamp) {
        self.keys.free_some(now);
        for _ in 0..FREED_PER_EVENT_MAX {
            match self.ended.first() {
                Some(&(until, id)) if until <= now => self.forget(&id),
                _ => return,
            }
        }
    }

    /// Whether something was being served when the log was closed.
    pub(crate) fn in_service(&self) -> bool {
        let mut found = self.keys.any_pending();
        let running = |it: &Glance| is_running(&it.channel);
        self.reader.select(&running, &mut |_| found = true);
        found
    }

    /// Nothing is served any more: whoever did is gone. Frees every reservation.
    pub(crate) fn stop_service(&mut self, now: Timestamp) -> Result<(), Inconsistent> {
        self.keys.free_pending();
        let mut running = Vec::new();
        let wanted = |it: &Glance| is_running(&it.channel);
        self.reader.select(&wanted, &mut |id| running.push(id));
        for id in running {
            self.change(id, |_, channel| {
                let amount = channel.figures().reserved;
                if amount > 0 {
                    follow(channel, &id, Change::Released { amount }, now)?;
                }
                match channel.phase() {
                    Phase::Paused { .. } => follow(channel, &id, Change::Resumed, now),
                    _ => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    /// Every record, by id.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(&ChannelId, &Record)) {
        let mut ids = Vec::new();
        self.reader.select(&|_| true, &mut |id| ids.push(id));
        ids.sort_unstable();
        for id in ids {
            if let Some(record) = self.reader.0.read(&id).get(&id) {
                visit(&id, record);
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        let ended = u64::try_from(self.ended.len()).unwrap_or(u64::MAX);
        self.open.saturating_add(ended)
    }

    /// Every invariant, recomputed.
    pub(crate) fn check(&self) -> Result<(), Inconsistent> {
        let mut found = Ok(());
        let (mut open, mut ended, mut bytes) = (0_u64, 0_usize, 0_u64);
        self.each(&mut |id, record| {
            let channel = record.channel();
            bytes = bytes.saturating_add(record.weight());
            if channel.phase().name().is_final() {
                ended += 1;
                if !self.ended.contains(&(retain_until(&channel), *id)) {
                    found = Err(broken(id, "has ended and is not counted so"));
                }
            } else {
                open += 1;
            }
            if let Err(error) = channel.check() {
                found = Err(broken(id, &error.to_string()));
            }
        });
        found?;
        self.keys.check()?;
        if (open, ended, bytes) == (self.open, self.ended.len(), self.bytes) {
            Ok(())
        } else {
            Err(Inconsistent(
                "the sums over all channels are wrong".to_owned(),
            ))
        }
    }
}

/// Decides an operation and applies what comes of it to a copy.
fn step(
    channel: &mut Channel,
    rules: &stiver_channel::Rules,
    op: &Op,
    now: Timestamp,
) -> Result<Option<Change>, Refusal> {
    let Some(event) = channel.decide(rules, op, now)? else {
        return Ok(None);
    };
    channel
        .apply(&event)
        .expect("the event follows, because it was decided from this very state");
    Ok(Some(event.change))
}

/// Applies what the log says.
fn follow(
    channel: &mut Channel,
    id: &ChannelId,
    change: Change,
    now: Timestamp,
) -> Result<(), Inconsistent> {
    let at = now.max(channel.active_at());
    let applied = channel.apply(&Event { at, change });
    applied.map_err(|error| broken(id, &error.to_string()))
}

fn refused(refusal: Refusal, channel: Channel) -> Decided {
    (ChannelReply::Refused { refusal, channel }, None)
}

fn too_large(it: &TooLarge) -> Decided {
    let reply = ChannelReply::TooLarge {
        part: it.part,
        limit: it.limit,
    };
    (reply, None)
}

fn is_running(channel: &Channel) -> bool {
    channel.figures().reserved > 0 || matches!(channel.phase(), Phase::Paused { .. })
}

fn retain_until(channel: &Channel) -> Timestamp {
    channel.active_at().plus_millis(ENDED_CHANNEL_RETAIN_MS)
}

/// True from the instant on at which a channel that has ended is not kept any more.
fn is_gone(channel: &Channel, now: Timestamp) -> bool {
    channel.phase().name().is_final() && now >= retain_until(channel)
}

fn check_proof(proof: Option<&[u8]>) -> Result<(), TooLarge> {
    at_most("proof", proof.map_or(0, <[u8]>::len), PROOF_BYTES_MAX)
}

fn check_answer(answer: &SpendAnswer) -> Result<(), TooLarge> {
    let bytes = answer.receipt.len();
    at_most("receipt", bytes, SPEND_RECEIPT_BYTES_MAX)
}

fn check_left(left: &[Left]) -> Result<(), TooLarge> {
    at_most("meters", left.len(), CARRIED_METERS_MAX)?;
    let mut names = left.iter().map(|it| it.meter.len());
    names.try_for_each(|bytes| at_most("meter", bytes, METER_NAME_BYTES_MAX))
}

fn check_work(work: &ChannelWork) -> Result<(), TooLarge> {
    match work {
        ChannelWork::Same => Ok(()),
        ChannelWork::Begin(it) => at_most("artefact", it.artefact.len(), ARTEFACT_BYTES_MAX),
        ChannelWork::End(it) => {
            let bytes = it.as_ref().map_or(0, |it| it.len());
            at_most("outcome", bytes, RECORD_BYTES_MAX)
        }
    }
}

fn at_most(part: &'static str, size: usize, limit: usize) -> Result<(), TooLarge> {
    if size > limit {
        Err(TooLarge { part, limit })
    } else {
        Ok(())
    }
}

fn broken(id: &ChannelId, what: &str) -> Inconsistent {
    Inconsistent(format!("channel {id} {what}"))
}
