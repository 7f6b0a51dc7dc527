//! The session journal as a state machine. It refuses what this side must never sign, whoever asks:
//! the rules hold for every program that writes the journal.

use std::collections::BTreeMap;

use stiver_core::Timestamp;
use stiver_wal::{Inconsistent, Machine};

use super::{
    record::{Bounds, Session, SessionId, SessionState, SessionStep, SessionTerms},
    wire,
};
use crate::{
    CallId,
    outbox::{KeyName, Sealed},
};

/// Most channels that are not final in one lane.
pub const LIVE_SESSIONS_MAX: usize = 4096;
/// Most requests of one channel whose outcome is not known. Beyond it one of them is taken as
/// charged.
pub const IN_FLIGHT_MAX: usize = 256;
/// Final channels that a lane remembers; older ones are in the log only.
pub const FINAL_SESSIONS_KEPT: usize = 1000;

/// A change of one channel: what the log stores.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionEvent {
    /// Which.
    pub id: SessionId,
    /// What happened.
    pub step: SessionStep,
    /// What the method needs to use the channel, sealed; with an opening.
    pub record: Option<Sealed>,
    /// The movement that is begun with it, sealed.
    pub movement: Option<Sealed>,
}

/// A channel with its secrets sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveSession {
    /// The public part.
    pub session: Session,
    /// What the method needs to use it.
    pub record: Option<Sealed>,
    /// The movement that is under way.
    pub movement: Option<Sealed>,
}

impl LiveSession {
    /// The keys that its secrets need.
    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyName> {
        let sealed = self.record.iter().chain(&self.movement);
        sealed.filter_map(Sealed::key_name)
    }
}

/// What is asked of the machine.
#[derive(Debug, Clone)]
pub enum SessionCommand {
    /// Record a step.
    Record(Box<SessionEvent>),
    /// Tell every channel that is remembered.
    List,
    /// Tell one channel.
    Find(SessionId),
}

/// What the machine answers.
#[derive(Debug, Clone)]
pub enum SessionReply {
    /// Recorded, durably: the channel is so now.
    Recorded(Box<Session>),
    /// Not recorded: nothing changed.
    Rejected(SessionRefusal),
    /// The channels asked for.
    Sessions(Vec<LiveSession>),
}

/// Why a step was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionRefusal {
    /// A channel of this id is there already.
    #[error("session {0} has begun already")]
    Begun(SessionId),
    /// No channel of this id is open here.
    #[error("no session {0} is open in this journal")]
    NotOpen(SessionId),
    /// This step cannot follow.
    #[error("session {id} is {state}: {step} cannot follow")]
    Order {
        /// Which.
        id: SessionId,
        /// Where it stands.
        state: SessionState,
        /// What was asked.
        step: &'static str,
    },
    /// The voucher would be below one that was signed.
    #[error("a voucher of {asked} would be below the one of {signed} that was signed")]
    Lower {
        /// What was asked.
        asked: u128,
        /// What is signed.
        signed: u128,
    },
    /// The voucher would be for more than this side allows.
    #[error(
        "a voucher of {asked} would be more than {allowed}, which is what this side's own record \
         and limits allow"
    )]
    TooMuch {
        /// What was asked.
        asked: u128,
        /// What is allowed.
        allowed: u128,
    },
    /// The deposit would be more than the cap.
    #[error("a deposit of {asked} would be more than the limit of {cap}")]
    OverCap {
        /// What was asked.
        asked: u128,
        /// The cap.
        cap: u128,
    },
    /// No such request is in flight.
    #[error("request {0} is not in flight")]
    NoRequest(CallId),
    /// A figure is beyond 128 bits.
    #[error("a figure is too large")]
    Overflow,
    /// There are [`LIVE_SESSIONS_MAX`] channels that are not final.
    #[error("too many sessions are not over: `stiver sessions close` ends them")]
    Full,
}

/// The channels of one lane.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionMachine {
    live: BTreeMap<SessionId, LiveSession>,
    /// Final ones, oldest first.
    ended: Vec<Session>,
}

impl SessionMachine {
    /// Every channel that is remembered.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        let live = self.live.values().map(|live| &live.session);
        self.ended.iter().chain(live)
    }

    /// The channels that are not final.
    pub fn live(&self) -> impl Iterator<Item = &LiveSession> {
        self.live.values()
    }

    fn list(&self) -> Vec<LiveSession> {
        let ended = self.ended.iter().map(|session| LiveSession {
            session: session.clone(),
            record: None,
            movement: None,
        });
        ended.chain(self.live.values().cloned()).collect()
    }

    /// The channel as it would be after an event, or why there is no such thing.
    fn after(&self, now: Timestamp, event: &SessionEvent) -> Result<LiveSession, SessionRefusal> {
        let id = event.id;
        match (self.live.get(&id), &event.step) {
            (Some(_), SessionStep::Intended { .. }) => Err(SessionRefusal::Begun(id)),
            (None, SessionStep::Intended { .. })
                if self.ended.iter().any(|ended| ended.id == id) =>
            {
                Err(SessionRefusal::Begun(id))
            }
            (None, SessionStep::Intended { .. }) if self.live.len() >= LIVE_SESSIONS_MAX => {
                Err(SessionRefusal::Full)
            }
            (
                None,
                SessionStep::Intended {
                    terms,
                    url,
                    challenge,
                    bounds,
                },
            ) => Ok(LiveSession {
                session: intended(id, now, terms, (url, challenge), *bounds),
                record: None,
                movement: None,
            }),
            (None, _) => Err(SessionRefusal::NotOpen(id)),
            (Some(live), step) => {
                let mut live = live.clone();
                live.session.changed_at = now;
                step.apply(&mut live.session)?;
                live.record = event.record.clone().or(live.record);
                live.movement = match step.ends_movement() {
                    true => None,
                    false => event.movement.clone().or(live.movement),
                };
                Ok(live)
            }
        }
    }

    fn put(&mut self, live: LiveSession) {
        if !live.session.state.is_final() {
            self.live.insert(live.session.id, live);
            return;
        }
        self.live.remove(&live.session.id);
        self.ended.push(live.session);
        let over = self.ended.len().saturating_sub(FINAL_SESSIONS_KEPT);
        self.ended.drain(..over);
    }
}

fn intended(
    id: SessionId,
    now: Timestamp,
    terms: &SessionTerms,
    (url, challenge): (&str, &str),
    bounds: Bounds,
) -> Session {
    Session {
        id,
        state: SessionState::Intended,
        begun_at: now,
        changed_at: now,
        terms: terms.clone(),
        url: url.to_owned(),
        challenge: challenge.to_owned(),
        bounds,
        channel: None,
        deposit: 0,
        asked: 0,
        signed: 0,
        agreed: 0,
        in_flight: BTreeMap::new(),
        accepted: 0,
        spent: 0,
        captured: None,
        withdrawable_at: None,
        requests: 0,
        vouchers: 0,
        note: None,
    }
}

impl SessionStep {
    /// Whether the movement that was under way is decided with it.
    fn ends_movement(&self) -> bool {
        matches!(
            self,
            Self::Opened | Self::ToppedUp | Self::TopUpVoid { .. } | Self::Forced { .. }
        )
    }

    /// The states that a step may come in. One row per step, as the diagram reads.
    fn may_follow(&self, state: SessionState, asked: u128) -> bool {
        use SessionState as S;
        match self {
            Self::Intended { .. } => false,
            Self::Opening { .. } | Self::Abandoned { .. } => state == S::Intended,
            Self::Opened | Self::Void { .. } => state == S::Opening,
            Self::Signing { .. } => matches!(state, S::Opening | S::Open),
            // An answer may come late, while the channel closes.
            Self::Answered { .. }
            | Self::Settled { .. }
            | Self::Released { .. }
            | Self::Noted { .. } => !state.is_final() && state != S::Intended,
            Self::ToppingUp { .. } => state == S::Open && asked == 0,
            Self::ToppedUp | Self::TopUpVoid { .. } => state == S::Open && asked > 0,
            Self::Closing => matches!(state, S::Open | S::Closing),
            Self::Forcing => matches!(state, S::Open | S::Closing | S::Forcing),
            Self::Forced { .. } => state == S::Forcing,
            Self::Withdrawing => matches!(state, S::Forced | S::Withdrawing),
            // The payee may close at any time; and so what remains may have been taken back by
            // another program with the same key.
            Self::Closed { .. } | Self::Withdrawn { .. } => {
                !state.is_final() && state != S::Intended
            }
        }
    }

    fn apply(&self, session: &mut Session) -> Result<(), SessionRefusal> {
        if !self.may_follow(session.state, session.asked) {
            return Err(SessionRefusal::Order {
                id: session.id,
                state: session.state,
                step: self.name(),
            });
        }
        if let Some(note) = self.note() {
            session.note = Some(note.clone());
        }
        match self {
            Self::Intended { .. } | Self::Noted { .. } => {}
            Self::Opening { .. }
            | Self::ToppingUp { .. }
            | Self::Signing { .. }
            | Self::Answered { .. }
            | Self::Settled { .. }
            | Self::Released { .. } => return self.apply_money(session),
            Self::Opened | Self::ToppedUp => {
                session.state = SessionState::Open;
                session.deposit = sum(session.deposit, session.asked)?;
                session.asked = 0;
            }
            Self::TopUpVoid { .. } => session.asked = 0,
            Self::Closing => session.state = SessionState::Closing,
            Self::Forcing => session.state = SessionState::Forcing,
            Self::Forced { withdrawable_at } => {
                session.state = SessionState::Forced;
                session.withdrawable_at = *withdrawable_at;
            }
            Self::Withdrawing => session.state = SessionState::Withdrawing,
            Self::Closed { captured, .. } => {
                session.state = SessionState::Closed;
                session.captured = *captured;
            }
            Self::Withdrawn { captured } => {
                session.state = SessionState::Withdrawn;
                session.captured = *captured;
            }
            Self::Void { .. } => session.state = SessionState::Void,
            Self::Abandoned { .. } => session.state = SessionState::Abandoned,
        }
        Ok(())
    }

    fn note(&self) -> Option<&String> {
        match self {
            Self::Answered { note, .. } | Self::Closed { note, .. } => note.as_ref(),
            Self::Released { note, .. }
            | Self::TopUpVoid { note }
            | Self::Void { note }
            | Self::Abandoned { note }
            | Self::Noted { note } => Some(note),
            _ => None,
        }
    }

    /// The steps that change what a payee can take, or what this side agreed to: here is every
    /// rule about money.
    fn apply_money(&self, session: &mut Session) -> Result<(), SessionRefusal> {
        match self {
            Self::Opening {
                channel,
                deposit,
                grain,
                most,
            } => {
                let most = most.unwrap_or(u128::MAX);
                session.bounds.cap = session.bounds.cap.min(most.max(*deposit));
                within_cap(*deposit, session.bounds.cap)?;
                session.state = SessionState::Opening;
                session.channel = Some(channel.clone());
                session.asked = *deposit;
                session.bounds.grain = (*grain).max(1);
            }
            Self::ToppingUp { add } => {
                within_cap(sum(session.deposit, *add)?, session.bounds.cap)?;
                session.asked = *add;
            }
            Self::Signing {
                request,
                cost,
                cumulative,
            } => return sign(session, *request, *cost, *cumulative),
            Self::Answered {
                request,
                told,
                charged,
                ..
            } => {
                let cost = take(session, *request)?;
                if let Some(charged) = charged {
                    let others = session.agreed.saturating_sub(cost);
                    // What is signed can be taken anyway: more than that is agreed to by nobody.
                    let most = session.signed.saturating_sub(others);
                    session.agreed = sum(others, (*charged).min(most))?;
                }
                if let Some(told) = told {
                    session.accepted = session.accepted.max(told.accepted);
                    session.spent = session.spent.max(told.spent);
                }
            }
            Self::Settled { request, told } => {
                let before = session.in_flight.len();
                session.in_flight.retain(|begun, _| begun == request);
                if session.in_flight.len() < before {
                    session.agreed = session.agreed.max(told.spent.min(session.signed));
                }
                session.accepted = session.accepted.max(told.accepted);
                session.spent = session.spent.max(told.spent);
            }
            Self::Released { request, .. } => {
                let cost = take(session, *request)?;
                session.agreed = session.agreed.saturating_sub(cost);
            }
            _ => {}
        }
        Ok(())
    }
}

/// A voucher is about to be signed and sent.
fn sign(
    session: &mut Session,
    request: CallId,
    cost: u128,
    cumulative: u128,
) -> Result<(), SessionRefusal> {
    let agreed = sum(session.agreed, cost)?;
    if cumulative < session.signed {
        return Err(SessionRefusal::Lower {
            asked: cumulative,
            signed: session.signed,
        });
    }
    let allowed = session.bounds.may_sign(agreed, session.backing());
    if cumulative > session.signed && cumulative > allowed {
        return Err(SessionRefusal::TooMuch {
            asked: cumulative,
            allowed,
        });
    }
    let begins = !session.in_flight.contains_key(&request);
    if begins && session.in_flight.len() >= IN_FLIGHT_MAX {
        // What was agreed for it stays counted, as if it had been charged.
        session.in_flight.pop_first();
    }
    let before = session.in_flight.get(&request).copied().unwrap_or(0);
    session.in_flight.insert(request, sum(before, cost)?);
    session.agreed = agreed;
    session.requests = session.requests.saturating_add(u64::from(begins));
    let higher = cumulative > session.signed;
    session.vouchers = session.vouchers.saturating_add(u64::from(higher));
    session.signed = cumulative;
    Ok(())
}

fn sum(left: u128, right: u128) -> Result<u128, SessionRefusal> {
    left.checked_add(right).ok_or(SessionRefusal::Overflow)
}

fn within_cap(asked: u128, cap: u128) -> Result<(), SessionRefusal> {
    if asked > cap {
        Err(SessionRefusal::OverCap { asked, cap })
    } else {
        Ok(())
    }
}

fn take(session: &mut Session, request: CallId) -> Result<u128, SessionRefusal> {
    let taken = session.in_flight.remove(&request);
    taken.ok_or(SessionRefusal::NoRequest(request))
}

impl Machine for SessionMachine {
    const NAME: &'static str = "sessions";
    const VERSION: u32 = 1;
    type Command = SessionCommand;
    type Event = SessionEvent;
    type Reply = SessionReply;

    fn decide(
        &self,
        now: Timestamp,
        command: SessionCommand,
    ) -> (SessionReply, Option<SessionEvent>) {
        match command {
            SessionCommand::Record(event) => match self.after(now, &event) {
                Ok(live) => {
                    let session = Box::new(live.session);
                    (SessionReply::Recorded(session), Some(*event))
                }
                Err(why) => (SessionReply::Rejected(why), None),
            },
            SessionCommand::List => (SessionReply::Sessions(self.list()), None),
            SessionCommand::Find(id) => {
                let mut found = self.list();
                found.retain(|live| live.session.id == id);
                (SessionReply::Sessions(found), None)
            }
        }
    }

    fn evolve(&mut self, now: Timestamp, event: &SessionEvent) -> Result<(), Inconsistent> {
        let live = self.after(now, event);
        let live = live.map_err(|why| Inconsistent(why.to_string()))?;
        self.put(live);
        Ok(())
    }

    fn encode_event(event: &SessionEvent, into: &mut Vec<u8>) {
        wire::encode_event(event, into);
    }

    fn decode_event(bytes: &[u8]) -> Result<SessionEvent, Inconsistent> {
        wire::decode_event(bytes)
    }

    fn snapshot(&self) -> Vec<u8> {
        wire::encode_state(&self.ended, self.live.values())
    }

    fn restore(bytes: &[u8]) -> Result<Self, Inconsistent> {
        let (ended, live) = wire::decode_state(bytes)?;
        let machine = Self {
            live: live
                .into_iter()
                .map(|live| (live.session.id, live))
                .collect(),
            ended,
        };
        machine.check()?;
        Ok(machine)
    }

    fn check(&self) -> Result<(), Inconsistent> {
        let live = self.live.values().map(|live| (&live.session, false));
        let ended = self.ended.iter().map(|session| (session, true));
        for (session, is_final) in live.chain(ended) {
            let backing = session.deposit.saturating_add(session.asked);
            let mut in_flight = session.in_flight.values();
            let in_flight = in_flight.try_fold(0_u128, |sum, cost| sum.checked_add(*cost));
            let sound = session.state.is_final() == is_final
                && session.signed <= backing
                && backing <= session.bounds.cap
                && in_flight.is_some_and(|sum| sum <= session.agreed);
            if !sound {
                let id = session.id;
                return Err(Inconsistent(format!("session {id} contradicts itself")));
            }
        }
        Ok(())
    }
}
