//! The outbox as a state machine: which step may follow which, and what is kept of a call.

use std::collections::BTreeMap;

use stiver_core::Timestamp;
use stiver_wal::{Inconsistent, Machine};

use super::{
    entry::{CallId, Entry, Resource, State, Terms},
    seal::Sealed,
    wire,
};

/// Most calls that are under way or unresolved in one lane.
pub const LIVE_CALLS_MAX: usize = 10_000;

/// A step as the log holds it: what is secret is sealed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// See [`super::Step::Begun`]; the request and the challenge are sealed.
    Begun {
        /// What is called.
        resource: Resource,
        /// What it costs.
        terms: Terms,
        /// The request and the challenge.
        secret: Sealed,
    },
    /// See [`super::Step::Rechallenged`].
    Rechallenged {
        /// What it costs now.
        terms: Terms,
        /// The challenge.
        secret: Sealed,
    },
    /// See [`super::Step::Authorised`].
    Authorised {
        /// The artefact.
        secret: Sealed,
    },
    /// See [`super::Step::Sent`].
    Sent {
        /// The credential.
        secret: Sealed,
    },
    /// See [`super::Step::Refused`].
    Refused {
        /// Why.
        note: String,
    },
    /// See [`super::Step::Unknown`].
    Unknown {
        /// Why.
        note: String,
    },
    /// See [`super::Step::Unread`].
    Unread {
        /// The receipt.
        receipt: Option<String>,
        /// Its reference.
        reference: Option<String>,
        /// What was odd.
        note: Option<String>,
    },
    /// See [`super::Step::Paid`].
    Paid {
        /// The receipt.
        receipt: Option<String>,
        /// Its reference.
        reference: Option<String>,
        /// What was odd.
        note: Option<String>,
    },
    /// See [`super::Step::Settled`].
    Settled {
        /// The rail's id.
        reference: String,
    },
    /// See [`super::Step::Void`].
    Void {
        /// Why.
        note: String,
    },
    /// See [`super::Step::Abandoned`].
    Abandoned {
        /// Why.
        note: String,
    },
}

/// A change of one call: what the log stores.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which call.
    pub id: CallId,
    /// What happened.
    pub change: Change,
}

/// A call that is not final, with its secrets sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// The public part.
    pub entry: Entry,
    /// The request and the first challenge.
    pub request: Sealed,
    /// The fresh challenge, after a refusal.
    pub rechallenge: Option<Sealed>,
    /// Everything signed.
    pub artefacts: Vec<Sealed>,
    /// The latest credential.
    pub credential: Option<Sealed>,
}

impl Live {
    /// Everything sealed, for keeping the keys that are still needed.
    pub fn sealed(&self) -> impl Iterator<Item = &Sealed> {
        std::iter::once(&self.request)
            .chain(&self.rechallenge)
            .chain(&self.artefacts)
            .chain(&self.credential)
    }
}

/// What is asked of the machine.
#[derive(Debug, Clone)]
pub enum Command {
    /// Record a step.
    Record(Box<Event>),
    /// Tell every call that is not final.
    Live,
    /// Tell one call that is not final.
    Find(CallId),
}

/// What the machine answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Recorded, durably.
    Recorded,
    /// Not recorded: nothing changed.
    Rejected(StepError),
    /// The calls asked for.
    Calls(Vec<Live>),
}

/// Why a step was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// A call of this id is there already.
    #[error("call {0} has begun already")]
    Begun(CallId),
    /// No call of this id is open here.
    #[error("no call {0} is open in this outbox")]
    NotOpen(CallId),
    /// This step cannot follow.
    #[error("call {id} is {state}: it cannot become {step}")]
    Order {
        /// Which call.
        id: CallId,
        /// Where it stands.
        state: State,
        /// What was asked.
        step: &'static str,
    },
    /// There are [`LIVE_CALLS_MAX`] unresolved calls.
    #[error(
        "{LIVE_CALLS_MAX} calls are unresolved: resolve some before paying more \
         (`stiver wallet history --unresolved`)"
    )]
    Full,
}

/// The calls of one lane that are not final.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutboxMachine {
    live: BTreeMap<CallId, Live>,
}

impl OutboxMachine {
    /// The calls that are not final.
    pub fn live(&self) -> impl Iterator<Item = &Live> {
        self.live.values()
    }

    fn judge(&self, event: &Event) -> Result<(), StepError> {
        let id = event.id;
        match (self.live.get(&id), &event.change) {
            (Some(_), Change::Begun { .. }) => Err(StepError::Begun(id)),
            (None, Change::Begun { .. }) if self.live.len() >= LIVE_CALLS_MAX => {
                Err(StepError::Full)
            }
            (None, Change::Begun { .. }) => Ok(()),
            (None, _) => Err(StepError::NotOpen(id)),
            (Some(live), change) if follows(&live.entry, change) => Ok(()),
            (Some(live), change) => Err(StepError::Order {
                id,
                state: live.entry.state,
                step: change.state().as_str(),
            }),
        }
    }
}

/// Whether a change may follow. One arm per state, so that the table reads as the diagram does.
fn follows(entry: &Entry, change: &Change) -> bool {
    let signed = entry.signatures > 0;
    match entry.state {
        State::Challenged => match change {
            Change::Authorised { .. } => true,
            Change::Abandoned { .. } => !signed,
            Change::Refused { .. } | Change::Settled { .. } | Change::Void { .. } => signed,
            _ => false,
        },
        State::Authorised => matches!(
            change,
            Change::Sent { .. }
                | Change::Unknown { .. }
                | Change::Settled { .. }
                | Change::Void { .. }
        ),
        State::Sent | State::Unknown => matches!(
            change,
            Change::Unread { .. }
                | Change::Paid { .. }
                | Change::Refused { .. }
                | Change::Unknown { .. }
                | Change::Settled { .. }
                | Change::Void { .. }
        ),
        State::Refused => matches!(
            change,
            Change::Rechallenged { .. }
                | Change::Unread { .. }
                | Change::Paid { .. }
                | Change::Refused { .. }
                | Change::Unknown { .. }
                | Change::Settled { .. }
                | Change::Void { .. }
        ),
        // A refusal or a silence, when it is fetched again, is noted: it stays paid.
        State::Unread => matches!(
            change,
            Change::Unread { .. }
                | Change::Paid { .. }
                | Change::Refused { .. }
                | Change::Unknown { .. }
                | Change::Settled { .. }
                | Change::Void { .. }
        ),
        State::Paid | State::Settled | State::Void | State::Abandoned => false,
    }
}

impl Change {
    /// The state it leads to.
    pub fn state(&self) -> State {
        match self {
            Self::Begun { .. } | Self::Rechallenged { .. } => State::Challenged,
            Self::Authorised { .. } => State::Authorised,
            Self::Sent { .. } => State::Sent,
            Self::Refused { .. } => State::Refused,
            Self::Unknown { .. } => State::Unknown,
            Self::Unread { .. } => State::Unread,
            Self::Paid { .. } => State::Paid,
            Self::Settled { .. } => State::Settled,
            Self::Void { .. } => State::Void,
            Self::Abandoned { .. } => State::Abandoned,
        }
    }

    /// Applies the public part of a change to a call's entry. Shared by the machine and the
    /// history, so that both tell the same.
    pub fn apply(&self, at: Timestamp, entry: &mut Entry) {
        if entry.state != State::Unread || self.state().is_final() {
            entry.state = self.state();
        }
        entry.changed_at = at;
        match self {
            Self::Begun { .. } | Self::Sent { .. } => {}
            Self::Rechallenged { terms, .. } => entry.terms = terms.clone(),
            Self::Authorised { .. } => entry.signatures = entry.signatures.saturating_add(1),
            Self::Refused { note }
            | Self::Unknown { note }
            | Self::Void { note }
            | Self::Abandoned { note } => entry.note = Some(note.clone()),
            Self::Unread {
                receipt,
                reference,
                note,
            }
            | Self::Paid {
                receipt,
                reference,
                note,
            } => {
                entry.receipt.clone_from(receipt);
                entry.reference.clone_from(reference);
                entry.note.clone_from(note);
            }
            Self::Settled { reference } => entry.reference = Some(reference.clone()),
        }
    }
}

impl Event {
    /// The entry that a [`Change::Begun`] makes; `None` for other changes.
    pub fn begin(&self, at: Timestamp) -> Option<Entry> {
        let Change::Begun {
            resource, terms, ..
        } = &self.change
        else {
            return None;
        };
        Some(Entry {
            id: self.id,
            state: State::Challenged,
            begun_at: at,
            changed_at: at,
            resource: resource.clone(),
            terms: terms.clone(),
            signatures: 0,
            note: None,
            reference: None,
            receipt: None,
        })
    }
}

impl Machine for OutboxMachine {
    const NAME: &'static str = "outbox";
    const VERSION: u32 = 1;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;

    fn decide(&self, _now: Timestamp, command: Command) -> (Reply, Option<Event>) {
        match command {
            Command::Record(event) => match self.judge(&event) {
                Ok(()) => (Reply::Recorded, Some(*event)),
                Err(why) => (Reply::Rejected(why), None),
            },
            Command::Live => (Reply::Calls(self.live.values().cloned().collect()), None),
            Command::Find(id) => {
                let found = self.live.get(&id).cloned();
                (Reply::Calls(found.into_iter().collect()), None)
            }
        }
    }

    fn evolve(&mut self, now: Timestamp, event: &Event) -> Result<(), Inconsistent> {
        self.judge(event)
            .map_err(|why| Inconsistent(why.to_string()))?;
        if let (Some(entry), Change::Begun { secret, .. }) = (event.begin(now), &event.change) {
            let live = Live {
                entry,
                request: secret.clone(),
                rechallenge: None,
                artefacts: Vec::new(),
                credential: None,
            };
            self.live.insert(event.id, live);
            return Ok(());
        }
        if event.change.state().is_final() {
            self.live.remove(&event.id);
            return Ok(());
        }
        let live = self
            .live
            .get_mut(&event.id)
            .ok_or_else(|| Inconsistent(StepError::NotOpen(event.id).to_string()))?;
        event.change.apply(now, &mut live.entry);
        match &event.change {
            Change::Rechallenged { secret, .. } => {
                live.rechallenge = Some(secret.clone());
                live.credential = None;
            }
            Change::Authorised { secret } => live.artefacts.push(secret.clone()),
            Change::Sent { secret } => live.credential = Some(secret.clone()),
            _ => {}
        }
        Ok(())
    }

    fn encode_event(event: &Event, into: &mut Vec<u8>) {
        wire::encode_event(event, into);
    }

    fn decode_event(bytes: &[u8]) -> Result<Event, Inconsistent> {
        wire::decode_event(bytes)
    }

    fn snapshot(&self) -> Vec<u8> {
        wire::encode_state(self.live.values())
    }

    fn restore(bytes: &[u8]) -> Result<Self, Inconsistent> {
        let live = wire::decode_state(bytes)?;
        let machine = Self {
            live: live.into_iter().map(|live| (live.entry.id, live)).collect(),
        };
        machine.check()?;
        Ok(machine)
    }

    fn check(&self) -> Result<(), Inconsistent> {
        for (id, live) in &self.live {
            let entry = &live.entry;
            let signed = usize::try_from(entry.signatures).unwrap_or(usize::MAX);
            let sound = *id == entry.id
                && !entry.state.is_final()
                && signed == live.artefacts.len()
                && (entry.state == State::Challenged || signed > 0)
                && (!matches!(entry.state, State::Sent | State::Unread)
                    || live.credential.is_some());
            if !sound {
                return Err(Inconsistent(format!("call {id} contradicts itself")));
            }
        }
        Ok(())
    }
}
