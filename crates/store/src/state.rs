//! The store's state: every claim in memory, and the rules between claims.
//!
//! Time comes with each command and never decreases. From its `retain_until` on, a terminal claim
//! is *gone*: no command sees it, its challenge and its replay keys are free. From its `expires_at`
//! on, a stored response is gone likewise. That is what decides; the memory is freed with later
//! events, a bounded number at a time.

mod check;
mod codec;
mod evolve;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use stiver_core::Timestamp;
use stiver_wal::{Inconsistent, Machine};

use crate::{
    channel::{ChannelCommand, ChannelReader, ChannelReply, Channels},
    claim::{Claim, ClaimState},
    command::{Advance, Command, NewClaim, Reply},
    event::{Change, Event},
    known::{Known, Usage},
    limits::{Limits, UNFINISHED_MAX},
    rules::{self, Step},
};

/// What the state is asked: a store's command, or the operator's wish.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Request {
    /// A command of [`Store`](crate::Store).
    Store(Command),
    /// A command of [`ChannelStore`](crate::ChannelStore).
    Channel(ChannelCommand),
    /// Sets the limits from now on. Answered by a handle on the ids of all claims.
    Configure(Limits),
}

/// What the state answers.
#[non_exhaustive]
pub enum Answer {
    /// To a command.
    Store(Reply),
    /// To a command for a channel.
    Channel(ChannelReply),
    /// To [`Request::Configure`].
    Configured(KnownClaims),
}

/// Asks which challenges have a claim, and reads channels, past the log's queue. Cheap to clone.
#[derive(Clone)]
pub struct KnownClaims(Arc<Known>, ChannelReader);

impl KnownClaims {
    /// How much the store holds.
    pub fn usage(&self) -> Usage {
        self.0.usage()
    }

    /// False only when no claim for this challenge is kept.
    pub fn might_know(&self, challenge_id: &str) -> bool {
        self.0.contains(challenge_id)
    }

    /// Reads channels.
    pub fn channels(&self) -> &ChannelReader {
        &self.1
    }
}

/// Every claim and every channel.
pub struct State {
    limits: Limits,
    claims: HashMap<Arc<str>, Entry>,
    /// Which claim holds a replay key.
    replay_keys: HashMap<[u8; 32], Arc<str>>,
    /// Which claim an Idempotency-Key is bound to.
    idempotency_keys: HashMap<[u8; 32], Arc<str>>,
    /// Claims that are not terminal, in the order in which they were made.
    unfinished: BTreeMap<u64, Arc<str>>,
    /// Terminal claims by when they are gone.
    retained: BTreeSet<(Timestamp, u64, Arc<str>)>,
    /// Claims with a stored response, in the order of delivery.
    responses: BTreeMap<u64, Arc<str>>,
    /// Stored responses by when they are gone.
    expiring: BTreeSet<(Timestamp, u64)>,
    /// Memory of all claims, bytes, by [`rules::weight`].
    claims_bytes: u64,
    /// Memory of all stored responses, bytes.
    responses_bytes: u64,
    /// Claims by state, as [`ClaimState::NAMES`] orders them.
    counts: [u64; ClaimState::NAMES.len()],
    /// The next number for a claim or a delivery.
    next: u64,
    known: Arc<Known>,
    channels: Channels,
}

/// A claim and its places in the indexes.
struct Entry {
    claim: Claim,
    replay_keys: Vec<[u8; 32]>,
    /// Its number among the claims.
    number: u64,
    /// The number of its delivery, while its response is kept.
    response: Option<u64>,
}

impl Entry {
    fn weight(&self) -> u64 {
        rules::weight(&self.claim, self.replay_keys.len())
    }
}

impl State {
    /// No claims.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: limits.bounded(),
            claims: HashMap::new(),
            replay_keys: HashMap::new(),
            idempotency_keys: HashMap::new(),
            unfinished: BTreeMap::new(),
            retained: BTreeSet::new(),
            responses: BTreeMap::new(),
            expiring: BTreeSet::new(),
            claims_bytes: 0,
            responses_bytes: 0,
            counts: [0; ClaimState::NAMES.len()],
            next: 0,
            known: Arc::default(),
            channels: Channels::new(),
        }
    }

    /// Lets everybody know how much is held.
    fn publish(&self) {
        self.known.publish(Usage {
            claims: u64::try_from(self.claims.len()).unwrap_or(u64::MAX),
            claims_bytes: self.claims_bytes,
            responses_bytes: self.responses_bytes,
        });
        self.channels.publish();
    }

    /// The claim of a challenge, unless it is gone.
    fn live(&self, challenge_id: &str, now: Timestamp) -> Option<&Claim> {
        let claim = &self.claims.get(challenge_id)?.claim;
        (!rules::is_gone(claim, now)).then_some(claim)
    }

    fn decide_command(&self, now: Timestamp, command: Command) -> (Reply, Option<Event>) {
        match command {
            Command::Claim(new) => self.claim(now, new),
            Command::Advance {
                challenge_id,
                epoch,
                to,
            } => self.advance(now, challenge_id, epoch, to),
            Command::TakeOver {
                challenge_id,
                owner,
                lease_ms,
            } => {
                let Some(claim) = self.live(&challenge_id, now) else {
                    return (Reply::Absent, None);
                };
                let change = Change::TakenOver { owner, lease_ms };
                change_to(claim, change, now, Reply::Won)
            }
            Command::Renew {
                challenge_id,
                epoch,
                lease_ms,
            } => match self.live(&challenge_id, now) {
                None => (Reply::Absent, None),
                Some(claim) if claim.epoch != epoch => (Reply::Fenced, None),
                Some(claim) => change_to(claim, Change::Renewed { lease_ms }, now, Reply::Advanced),
            },
            Command::Get { challenge_id } => {
                let claim = self.live(&challenge_id, now);
                let reply = claim.map(|it| Reply::Found(rules::seen(it, now)));
                (reply.unwrap_or(Reply::Absent), None)
            }
            Command::Unfinished { after, limit } => (self.unfinished(now, after, limit), None),
            Command::List { after, limit } => (self.list(now, after, limit), None),
            Command::Count => (self.count(now), None),
        }
    }

    fn claim(&self, now: Timestamp, mut new: NewClaim) -> (Reply, Option<Event>) {
        new.replay_keys = rules::distinct(new.replay_keys);
        if let Err(it) = rules::check_new(&new) {
            return (too_large(&it), None);
        }
        if let Some(claim) = self.live(&new.challenge_id, now) {
            let seen = rules::seen(claim, now);
            let reply = if rules::was_won_by(claim, &new) {
                Reply::Won(seen)
            } else {
                Reply::Exists(seen)
            };
            return (reply, None);
        }
        let holder = |id: &Arc<str>| self.live(id, now);
        let key = new.idempotency_key_hash;
        let bound = key.and_then(|key| self.idempotency_keys.get(&key));
        if let Some(bound) = bound.and_then(holder) {
            let reply = if bound.request_hash == new.request_hash {
                Reply::IdempotencyHit(rules::seen(bound, now))
            } else {
                Reply::IdempotencyConflict
            };
            return (reply, None);
        }
        let mut keys = new.replay_keys.iter();
        if keys.any(|key| self.replay_keys.get(key).and_then(holder).is_some()) {
            return (Reply::ReplayKeyUsed, None);
        }
        if self.is_full(now) {
            return (Reply::Full, None);
        }
        let claim = Box::new(rules::open(&new, now));
        (Reply::Won(claim), Some(Event::Claimed(Box::new(new))))
    }

    /// True when the claims that are not gone have reached a limit.
    fn is_full(&self, now: Timestamp) -> bool {
        let (mut count, mut bytes) = (self.claims.len(), self.claims_bytes);
        let mut gone = self.retained.iter().take_while(|(until, ..)| *until <= now);
        while count >= self.limits.claims_max || bytes >= self.limits.claims_bytes_max {
            let Some((.., id)) = gone.next() else {
                return true;
            };
            count = count.saturating_sub(1);
            bytes = bytes.saturating_sub(self.claims.get(id).map_or(0, Entry::weight));
        }
        false
    }

    fn advance(
        &self,
        now: Timestamp,
        challenge_id: String,
        epoch: u64,
        to: Advance,
    ) -> (Reply, Option<Event>) {
        if let Err(it) = rules::check_advance(&to) {
            return (too_large(&it), None);
        }
        let Some(claim) = self.live(&challenge_id, now) else {
            return (Reply::Absent, None);
        };
        if claim.epoch != epoch {
            return (Reply::Fenced, None);
        }
        match rules::plan(claim, to, &self.limits, now) {
            Step::Already => (Reply::Advanced(rules::seen(claim, now)), None),
            Step::Change(change) => change_to(claim, change, now, Reply::Advanced),
        }
    }

    fn unfinished(&self, now: Timestamp, after: Option<String>, limit: usize) -> Reply {
        let after = after.filter(|id| self.live(id, now).is_some());
        let after = after.and_then(|id| self.claims.get(id.as_str()));
        let first = after.map_or(0, |entry| entry.number.saturating_add(1));
        let claims = self.unfinished.range(first..).map(|(_, id)| id);
        let claims = claims.filter_map(|id| self.claims.get(id).map(|entry| &entry.claim));
        let ended = claims.filter(|claim| claim.lease_ended(now));
        Reply::Claims(ended.take(limit.min(UNFINISHED_MAX)).cloned().collect())
    }

    fn list(&self, now: Timestamp, after: Option<String>, limit: usize) -> Reply {
        let after = after.filter(|id| self.live(id, now).is_some());
        let after = after.and_then(|id| self.claims.get_key_value(id.as_str()));
        let mut unfinished = u64::MAX;
        let mut retained = None;
        if let Some((id, entry)) = after {
            unfinished = entry.number;
            if entry.claim.state.is_terminal() {
                unfinished = 0;
                retained = Some((entry.claim.retain_until, entry.number, id.clone()));
            }
        }
        let open = self.unfinished.range(..unfinished).rev().map(|(_, id)| id);
        let first = match retained {
            Some(place) => self.retained.range(..place),
            None => self.retained.range(..),
        };
        let kept = first.rev().take_while(|(until, ..)| *until > now);
        let ids = open.chain(kept.map(|(.., id)| id));
        let claims = ids.filter_map(|id| self.claims.get(id));
        let claims = claims.take(limit.min(UNFINISHED_MAX));
        Reply::Claims(claims.map(|it| *rules::seen(&it.claim, now)).collect())
    }

    /// Whether anybody is said to be at work on a claim.
    fn has_lease(&self, now: Timestamp) -> bool {
        let claims = self
            .unfinished
            .values()
            .filter_map(|id| self.claims.get(id));
        claims
            .into_iter()
            .any(|entry| !entry.claim.lease_ended(now))
    }

    fn count(&self, now: Timestamp) -> Reply {
        let mut counts = self.counts;
        let gone = self.retained.iter().take_while(|(until, ..)| *until <= now);
        for entry in gone.filter_map(|(.., id)| self.claims.get(id)) {
            let count = &mut counts[entry.claim.state.index()];
            *count = count.saturating_sub(1);
        }
        Reply::Counts(ClaimState::NAMES.into_iter().zip(counts).collect())
    }
}

/// Makes a change if it is legal.
fn change_to(
    claim: &Claim,
    change: Change,
    now: Timestamp,
    done: fn(Box<Claim>) -> Reply,
) -> (Reply, Option<Event>) {
    match rules::apply(claim, &change, now) {
        Ok(next) => {
            let event = Event::Changed {
                challenge_id: next.challenge_id.clone(),
                change,
            };
            (done(rules::seen(&next, now)), Some(event))
        }
        Err(rules::Illegal) => (Reply::Refused(rules::seen(claim, now)), None),
    }
}

fn too_large(it: &rules::TooLarge) -> Reply {
    Reply::TooLarge {
        part: it.part,
        limit: it.limit,
    }
}

impl Machine for State {
    const NAME: &'static str = "stiver-store";
    const VERSION: u32 = 1;
    type Command = Request;
    type Event = Event;
    type Reply = Answer;

    fn decide(&self, now: Timestamp, request: Request) -> (Answer, Option<Event>) {
        match request {
            Request::Store(command) => {
                let (reply, event) = self.decide_command(now, command);
                (Answer::Store(reply), event)
            }
            Request::Channel(command) => {
                let (reply, event) = self.channels.decide(now, command);
                (Answer::Channel(reply), event.map(Event::Channel))
            }
            Request::Configure(limits) => {
                let limits = limits.bounded();
                let left = self.has_lease(now) || self.channels.in_service();
                let is_news = limits != self.limits || left;
                let event = is_news.then_some(Event::Configured(limits));
                self.publish();
                let known = KnownClaims(self.known.clone(), self.channels.reader());
                (Answer::Configured(known), event)
            }
        }
    }

    fn evolve(&mut self, now: Timestamp, event: &Event) -> Result<(), Inconsistent> {
        let done = self.apply_event(now, event);
        self.publish();
        done
    }

    fn encode_event(event: &Event, into: &mut Vec<u8>) {
        codec::write_event(event, into);
    }

    fn decode_event(bytes: &[u8]) -> Result<Event, Inconsistent> {
        codec::read_event(bytes)
    }

    fn snapshot(&self) -> Vec<u8> {
        codec::write_state(self)
    }

    fn restore(bytes: &[u8]) -> Result<Self, Inconsistent> {
        let state = codec::read_state(bytes)?;
        state.check()?;
        Ok(state)
    }

    fn check(&self) -> Result<(), Inconsistent> {
        check::check(self)
    }
}
