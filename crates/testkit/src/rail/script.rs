//! What a hostile rail does, call by call.

use stiver_method::artefact::{Refusal, RefusalKind};

use super::gate::Gate;

/// What the rail does in one `execute`: whether money moves, and what it says of it.
///
/// ```
/// use stiver_testkit::rail::{Gate, Step};
///
/// // Money moves; the answer waits for the test, and is then lost.
/// let gate = Gate::closed();
/// let step = Step::lost_answer().holding_answer(&gate);
/// ```
#[derive(Clone)]
pub struct Step {
    pub(super) before: Option<Gate>,
    pub(super) after: Option<Gate>,
    pub(super) does: Does,
    pub(super) says: Says,
}

/// What happens to the money.
#[derive(Clone)]
pub(super) enum Does {
    /// It moves, unless it has.
    Move,
    /// It moves, even when it has: the rail breaks its promise.
    MoveAgain,
    /// Nothing, and the next call decides anew.
    Nothing,
    /// Nothing and never, for this reason.
    Never(Refusal),
    /// It moves in the lookup after so many that say `Pending`.
    MoveLate { pending: u32 },
    /// The lookup after so many that say `Pending` says `Never`.
    LapseLate { pending: u32 },
}

/// What the caller of `execute` hears.
#[derive(Clone)]
pub(super) enum Says {
    /// What happened; `Unknown` when nothing is decided yet.
    Truth,
    /// `Unknown`.
    Unknown,
    /// A refusal.
    Refused(Refusal),
    /// A settlement over so many units, whatever moved.
    Units(u128),
    /// A settlement to somebody else.
    Payee(String),
}

impl Step {
    fn new(does: Does, says: Says) -> Self {
        Self {
            before: None,
            after: None,
            does,
            says,
        }
    }

    /// Money moves and the caller hears so. What happens when nothing is scripted.
    pub fn honest() -> Self {
        Self::new(Does::Move, Says::Truth)
    }

    /// As [`Step::honest`], once the gate opens.
    pub fn slow(gate: &Gate) -> Self {
        Self::honest().behind(gate)
    }

    /// Money moves; the caller hears `Unknown`.
    pub fn lost_answer() -> Self {
        Self::new(Does::Move, Says::Unknown)
    }

    /// The rail never got the call: nothing moves, the caller hears `Unknown`, lookups say
    /// `Pending`, and another `execute` may move it.
    pub fn lost_request() -> Self {
        Self::new(Does::Nothing, Says::Unknown)
    }

    /// The caller hears `Unknown`; so many lookups say `Pending`; the next one finds that money has
    /// moved. An `execute` meanwhile hears `Unknown` again and changes nothing.
    pub fn late(pending: u32) -> Self {
        Self::new(Does::MoveLate { pending }, Says::Truth)
    }

    /// As [`Step::late`], but the last lookup says `Never`.
    pub fn lapses(pending: u32) -> Self {
        Self::new(Does::LapseLate { pending }, Says::Truth)
    }

    /// A definite no: nothing moves, and lookups say `Never`.
    pub fn refused(kind: RefusalKind) -> Self {
        Self::new(Does::Never(refusal(kind)), Says::Truth)
    }

    /// A no that the rail does not write down: nothing moves, lookups say `Pending`, and another
    /// `execute` may move it.
    pub fn refused_for_now(kind: RefusalKind) -> Self {
        Self::new(Does::Nothing, Says::Refused(refusal(kind)))
    }

    /// A lie: money moves, the caller hears a refusal. Lookups tell the truth.
    pub fn lying_refusal(kind: RefusalKind) -> Self {
        Self::new(Does::Move, Says::Refused(refusal(kind)))
    }

    /// A lie: the right amount moves, the caller hears of another one. Lookups tell the truth.
    pub fn lying_units(units: u128) -> Self {
        Self::new(Does::Move, Says::Units(units))
    }

    /// A lie: the payee is paid, the caller hears of another payee. Lookups tell the truth.
    pub fn lying_payee(payee: &str) -> Self {
        Self::new(Does::Move, Says::Payee(payee.to_owned()))
    }

    /// A broken rail: money moves once more, even when it has, and the reference is another each
    /// time.
    pub fn moves_again() -> Self {
        Self::new(Does::MoveAgain, Says::Truth)
    }

    /// Waits for the gate before anything happens. A caller that gives up meanwhile has moved
    /// nothing.
    #[must_use]
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.before = Some(gate.clone());
        self
    }

    /// Waits for the gate after it has happened: a caller that gives up meanwhile may have moved
    /// money.
    #[must_use]
    pub fn holding_answer(mut self, gate: &Gate) -> Self {
        self.after = Some(gate.clone());
        self
    }
}

/// What the rail does in one `lookup`.
#[derive(Clone)]
pub struct LookupStep {
    pub(super) before: Option<Gate>,
    pub(super) says: LookupSays,
}

/// What the caller of `lookup` hears.
#[derive(Clone)]
pub(super) enum LookupSays {
    Truth,
    Pending,
    Unavailable,
    Never(Refusal),
}

impl LookupStep {
    fn new(says: LookupSays) -> Self {
        Self { before: None, says }
    }

    /// The truth. What happens when nothing is scripted.
    pub fn honest() -> Self {
        Self::new(LookupSays::Truth)
    }

    /// `Pending`, whatever is true.
    pub fn pending() -> Self {
        Self::new(LookupSays::Pending)
    }

    /// The rail cannot be asked.
    pub fn unavailable() -> Self {
        Self::new(LookupSays::Unavailable)
    }

    /// `Never`, whatever is true: a lie when money has moved.
    pub fn lying_never(kind: RefusalKind) -> Self {
        Self::new(LookupSays::Never(refusal(kind)))
    }

    /// Waits for the gate first.
    #[must_use]
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.before = Some(gate.clone());
        self
    }
}

pub(super) fn refusal(kind: RefusalKind) -> Refusal {
    Refusal {
        kind,
        detail: format!("the hostile rail refuses: {kind:?}"),
    }
}
