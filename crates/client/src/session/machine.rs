//! The session journal as a state machine. It refuses what this side must never sign, whoever asks:
//! the rules hold for every program that writes the journal.

use std::collections::BTreeMap;

use stiver_core::Timestamp;
use stiver_wal::{Inconsistent, Machine};

use super::{
    record::{Bounds, Session, SessionId, SessionState, SessionTerms, Told},
    wire,
};
use crate::{
    CallId,
    outbox::{KeyName, Sealed},
};

/// Most channels that are not final in one lane.
pub const LIVE_SESSIONS_MAX: usize = 4096;
/// Most requests of one channel whose outcome is not known.
pub const IN_FLIGHT_MAX: usize = 256;
/// Final channels that a lane remembers; older ones are in the log only.
pub const FINAL_SESSIONS_KEPT: usize = 1000;

/// A step as the log holds it: what is secret is sealed.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "each is a variant of SessionStep, which says what it is"
)]
pub enum SessionChange {
    Intended {
        terms: SessionTerms,
        url: String,
        challenge: String,
        bounds: Bounds,
    },
    Opening {
        channel: String,
        deposit: u128,
        grain: u128,
        record: Sealed,
        movement: Sealed,
    },
    Opened,
    Signing {
        request: CallId,
        cost: u128,
        cumulative: u128,
    },
    Answered {
        request: CallId,
        told: Option<Told>,
        note: Option<String>,
    },
    Released {
        request: CallId,
        note: String,
    },
    ToppingUp {
        add: u128,
        movement: Sealed,
    },
    ToppedUp,
    TopUpVoid {
        note: String,
    },
    Closing,
    Forcing {
        movement: Sealed,
    },
    Forced {
        withdrawable_at: Option<Timestamp>,
    },
    Withdrawing {
        movement: Sealed,
    },
    Closed {
        captured: Option<u128>,
        note: Option<String>,
    },
    Withdrawn {
        captured: Option<u128>,
    },
    Void {
        note: String,
    },
    Abandoned {
        note: String,
    },
    Noted {
        note: String,
    },
}

/// A change of one channel: what the log stores.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionEvent {
    /// Which.
    pub id: SessionId,
    /// What happened.
    pub change: SessionChange,
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
    /// There are [`LIVE_SESSIONS_MAX`] channels that are not final, or [`IN_FLIGHT_MAX`] requests
    /// without an outcome in one.
    #[error(
        "too many sessions or requests are unresolved: `stiver sessions recover` resolves them"
    )]
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
        match (self.live.get(&id), &event.change) {
            (Some(_), SessionChange::Intended { .. }) => Err(SessionRefusal::Begun(id)),
            (None, SessionChange::Intended { .. })
                if self.ended.iter().any(|ended| ended.id == id) =>
            {
                Err(SessionRefusal::Begun(id))
            }
            (None, SessionChange::Intended { .. }) if self.live.len() >= LIVE_SESSIONS_MAX => {
                Err(SessionRefusal::Full)
            }
            (
                None,
                SessionChange::Intended {
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
            (Some(live), change) => {
                let mut live = live.clone();
                live.session.changed_at = now;
                change.apply(&mut live)?;
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

impl SessionChange {
    fn name(&self) -> &'static str {
        match self {
            Self::Intended { .. } => "intended",
            Self::Opening { .. } => "opening",
            Self::Opened => "opened",
            Self::Signing { .. } => "signing",
            Self::Answered { .. } => "answered",
            Self::Released { .. } => "released",
            Self::ToppingUp { .. } => "topping up",
            Self::ToppedUp => "topped up",
            Self::TopUpVoid { .. } => "void top-up",
            Self::Closing => "closing",
            Self::Forcing { .. } => "forcing",
            Self::Forced { .. } => "forced",
            Self::Withdrawing { .. } => "withdrawing",
            Self::Closed { .. } => "closed",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Void { .. } => "void",
            Self::Abandoned { .. } => "abandoned",
            Self::Noted { .. } => "note",
        }
    }

    /// The states that a change may come in. One row per change, as the diagram reads.
    fn may_follow(&self, state: SessionState, asked: u128) -> bool {
        use SessionState as S;
        match self {
            Self::Intended { .. } => false,
            Self::Opening { .. } | Self::Abandoned { .. } => state == S::Intended,
            Self::Opened | Self::Void { .. } => state == S::Opening,
            Self::Signing { .. } => matches!(state, S::Opening | S::Open),
            // An answer may come late, while the channel closes.
            Self::Answered { .. } | Self::Released { .. } | Self::Noted { .. } => {
                !state.is_final() && state != S::Intended
            }
            Self::ToppingUp { .. } => state == S::Open && asked == 0,
            Self::ToppedUp | Self::TopUpVoid { .. } => state == S::Open && asked > 0,
            Self::Closing => matches!(state, S::Open | S::Closing),
            Self::Forcing { .. } => matches!(state, S::Open | S::Closing | S::Forcing),
            Self::Forced { .. } => state == S::Forcing,
            Self::Withdrawing { .. } => matches!(state, S::Forced | S::Withdrawing),
            // The payee may close at any time; and so what remains may have been taken back by
            // another program with the same key.
            Self::Closed { .. } | Self::Withdrawn { .. } => {
                !state.is_final() && state != S::Intended
            }
        }
    }

    fn apply(&self, live: &mut LiveSession) -> Result<(), SessionRefusal> {
        let session = &mut live.session;
        if !self.may_follow(session.state, session.asked) {
            return Err(SessionRefusal::Order {
                id: session.id,
                state: session.state,
                step: self.name(),
            });
        }
        match self {
            Self::Intended { .. } => {}
            Self::Opening { .. } | Self::ToppingUp { .. } | Self::Signing { .. } => {
                return self.apply_money(live);
            }
            Self::Opened | Self::ToppedUp => {
                session.state = SessionState::Open;
                session.deposit = sum(session.deposit, session.asked)?;
                session.asked = 0;
                live.movement = None;
            }
            Self::TopUpVoid { note } => {
                session.asked = 0;
                session.note = Some(note.clone());
                live.movement = None;
            }
            Self::Answered {
                request,
                told,
                note,
            } => {
                take(session, *request)?;
                if let Some(told) = told {
                    session.accepted = session.accepted.max(told.accepted);
                    session.spent = session.spent.max(told.spent);
                }
                session.note.clone_from(note);
            }
            Self::Released { request, note } => {
                let cost = take(session, *request)?;
                session.agreed = session.agreed.saturating_sub(cost);
                session.note = Some(note.clone());
            }
            Self::Closing => session.state = SessionState::Closing,
            Self::Forcing { movement } => {
                session.state = SessionState::Forcing;
                live.movement = Some(movement.clone());
            }
            Self::Forced { withdrawable_at } => {
                session.state = SessionState::Forced;
                session.withdrawable_at = *withdrawable_at;
                live.movement = None;
            }
            Self::Withdrawing { movement } => {
                session.state = SessionState::Withdrawing;
                live.movement = Some(movement.clone());
            }
            Self::Closed { captured, note } => {
                session.state = SessionState::Closed;
                session.captured = *captured;
                session.note.clone_from(note);
            }
            Self::Withdrawn { captured } => {
                session.state = SessionState::Withdrawn;
                session.captured = *captured;
            }
            Self::Void { note } => {
                session.state = SessionState::Void;
                session.note = Some(note.clone());
            }
            Self::Abandoned { note } => {
                session.state = SessionState::Abandoned;
                session.note = Some(note.clone());
            }
            Self::Noted { note } => session.note = Some(note.clone()),
        }
        Ok(())
    }

    /// The changes after which a payee can take more than before: here is every rule about money.
    fn apply_money(&self, live: &mut LiveSession) -> Result<(), SessionRefusal> {
        let session = &mut live.session;
        match self {
            Self::Opening {
                channel,
                deposit,
                grain,
                record,
                movement,
            } => {
                within_cap(*deposit, session.bounds.cap)?;
                session.state = SessionState::Opening;
                session.channel = Some(channel.clone());
                session.asked = *deposit;
                session.bounds.grain = (*grain).max(1);
                live.record = Some(record.clone());
                live.movement = Some(movement.clone());
            }
            Self::ToppingUp { add, movement } => {
                within_cap(sum(session.deposit, *add)?, session.bounds.cap)?;
                session.asked = *add;
                live.movement = Some(movement.clone());
            }
            Self::Signing {
                request,
                cost,
                cumulative,
            } => {
                let agreed = sum(session.agreed, *cost)?;
                if *cumulative < session.signed {
                    return Err(SessionRefusal::Lower {
                        asked: *cumulative,
                        signed: session.signed,
                    });
                }
                let allowed = session.bounds.may_sign(agreed, session.backing());
                if *cumulative > session.signed && *cumulative > allowed {
                    return Err(SessionRefusal::TooMuch {
                        asked: *cumulative,
                        allowed,
                    });
                }
                let begins = !session.in_flight.contains_key(request);
                if begins && session.in_flight.len() >= IN_FLIGHT_MAX {
                    return Err(SessionRefusal::Full);
                }
                let before = session.in_flight.get(request).copied().unwrap_or(0);
                session.in_flight.insert(*request, sum(before, *cost)?);
                session.agreed = agreed;
                session.requests = session.requests.saturating_add(u64::from(begins));
                let higher = *cumulative > session.signed;
                session.vouchers = session.vouchers.saturating_add(u64::from(higher));
                session.signed = *cumulative;
            }
            _ => {}
        }
        Ok(())
    }
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
