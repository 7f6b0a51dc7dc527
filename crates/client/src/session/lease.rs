//! The channels that a client uses, and who uses which: one request at a time for each channel, so
//! that its vouchers are in order.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::lock::{Mutex as AsyncMutex, OwnedMutexGuard};
use stiver_core::challenge::Challenge;
use stiver_method::session::{PayerSession, SessionView, VoucherSigner};

use super::{
    OwnMeter, Session, SessionId, SessionJournal, SessionJournalError, SessionLimits, SessionState,
    SessionTerms,
};
use crate::{Origin, lane::lock, limits};

/// What a client needs to pay by sessions.
#[derive(Clone)]
pub struct SessionParts {
    /// What can pay, preferred first. One for each method.
    pub payers: Vec<Arc<dyn PayerSession>>,
    /// The journal.
    pub journal: Arc<dyn SessionJournal>,
    /// What is allowed.
    pub limits: SessionLimits,
}

/// A session challenge that can be paid.
#[derive(Clone)]
pub(crate) struct SessionOffer {
    pub(crate) challenge: Challenge,
    pub(crate) payer: Arc<dyn PayerSession>,
    pub(crate) view: SessionView,
    /// Whom it pays.
    pub(crate) terms: SessionTerms,
}

/// Where a remembered challenge holds: HTTP method, origin and path.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    pub(crate) method: String,
    pub(crate) origin: Origin,
    pub(crate) path: String,
}

/// One place for a channel.
#[derive(Default)]
pub(crate) struct Slot {
    /// The channel, as the journal has it.
    pub(crate) session: Option<Session>,
    /// What signs its vouchers.
    pub(crate) signer: Option<Signing>,
}

/// What signs the vouchers of one channel. The mutex is never locked: it makes a lease `Sync`.
pub(crate) struct Signing(Mutex<Box<dyn VoucherSigner>>);

impl Signing {
    pub(crate) fn new(signer: Box<dyn VoucherSigner>) -> Self {
        Self(Mutex::new(signer))
    }

    pub(crate) fn signer(&mut self) -> &mut dyn VoucherSigner {
        let signer = self.0.get_mut();
        signer.unwrap_or_else(PoisonError::into_inner).as_mut()
    }
}

/// The use of a channel by one request.
pub(crate) type Lease = OwnedMutexGuard<Slot>;

/// The channels of one payee.
#[derive(Default)]
struct Lot {
    slots: Vec<Arc<AsyncMutex<Slot>>>,
    next: AtomicUsize,
}

/// All channels of a client.
pub(crate) struct Sessions {
    pub(crate) parts: SessionParts,
    /// What the payer measures with an instrument of its own.
    pub(crate) own_meter: Option<Arc<dyn OwnMeter>>,
    lots: Mutex<Vec<(SessionTerms, Arc<Lot>)>>,
    scopes: Mutex<HashMap<Scope, SessionOffer>>,
    /// Opening one channel after the other: so what is set aside is counted right.
    pub(crate) opening: AsyncMutex<()>,
    loaded: AsyncMutex<bool>,
    /// The channels whose idle time is watched.
    watched: Mutex<HashSet<SessionId>>,
}

impl Sessions {
    pub(crate) fn new(parts: SessionParts) -> Self {
        Self {
            parts,
            own_meter: None,
            lots: Mutex::default(),
            scopes: Mutex::default(),
            opening: AsyncMutex::default(),
            loaded: AsyncMutex::default(),
            watched: Mutex::default(),
        }
    }

    /// Finds the channels that earlier programs left open, once.
    async fn load(&self) -> Result<(), SessionJournalError> {
        let mut loaded = self.loaded.lock().await;
        if *loaded {
            return Ok(());
        }
        for session in self.parts.journal.sessions().await? {
            if session.state == SessionState::Open {
                self.add(session);
            }
        }
        *loaded = true;
        Ok(())
    }

    fn add(&self, session: Session) {
        let mut lots = lock(&self.lots);
        let place = lots.iter().position(|(terms, _)| *terms == session.terms);
        let mut slots = place
            .and_then(|place| lots.get(place))
            .map_or_else(Vec::new, |(_, lot)| lot.slots.clone());
        let terms = session.terms.clone();
        slots.push(Arc::new(AsyncMutex::new(Slot {
            session: Some(session),
            signer: None,
        })));
        let lot = Arc::new(Lot {
            slots,
            next: AtomicUsize::new(0),
        });
        match place.and_then(|place| lots.get_mut(place)) {
            Some(known) => known.1 = lot,
            None => lots.push((terms, lot)),
        }
    }

    fn lot(&self, terms: &SessionTerms) -> Arc<Lot> {
        let mut lots = lock(&self.lots);
        let place = lots.iter().position(|(known, _)| known == terms);
        let mut slots = match place.and_then(|place| lots.get(place)) {
            Some((_, lot)) if lot.slots.len() >= self.parts.limits.channels_per_payee => {
                return lot.clone();
            }
            Some((_, lot)) => lot.slots.clone(),
            None => Vec::new(),
        };
        let wanted = self.parts.limits.channels_per_payee.max(1);
        slots.resize_with(wanted.max(slots.len()), Arc::default);
        let lot = Arc::new(Lot {
            slots,
            next: AtomicUsize::new(0),
        });
        match place.and_then(|place| lots.get_mut(place)) {
            Some(known) => known.1 = lot.clone(),
            None => lots.push((terms.clone(), lot.clone())),
        }
        lot
    }

    /// The use of a channel: of an open one that is free, else of a place for a new one, else of
    /// the next that becomes free.
    pub(crate) async fn lease(&self, terms: &SessionTerms) -> Result<Lease, SessionJournalError> {
        self.load().await?;
        let lot = self.lot(terms);
        let mut empty = None;
        for slot in &lot.slots {
            match slot.try_lock_owned() {
                Some(lease) if lease.session.is_some() => return Ok(lease),
                Some(lease) => empty = empty.or(Some(lease)),
                None => {}
            }
        }
        if let Some(lease) = empty {
            return Ok(lease);
        }
        let turn = lot.next.fetch_add(1, Ordering::Relaxed);
        let slot = turn.checked_rem(lot.slots.len());
        let slot = slot.and_then(|index| lot.slots.get(index));
        let slot = slot.expect("a lot has slots because it is made with at least one");
        Ok(slot.clone().lock_owned().await)
    }

    /// What is set aside for a payee, as far as this process knows.
    pub(crate) async fn set_aside(
        &self,
        terms: &SessionTerms,
        but: Option<SessionId>,
    ) -> Result<u128, SessionJournalError> {
        let sessions = self.parts.journal.sessions().await?;
        let same = sessions.iter().filter(|session| {
            session.terms == *terms && !session.state.is_final() && Some(session.id) != but
        });
        Ok(same.fold(0_u128, |sum, session| {
            sum.saturating_add(session.exposure())
        }))
    }

    /// The place of a channel, when it is in use here, for closing it.
    pub(crate) async fn lease_of(&self, id: SessionId) -> Option<Lease> {
        let lots: Vec<Arc<Lot>> = lock(&self.lots)
            .iter()
            .map(|(_, lot)| lot.clone())
            .collect();
        for lot in lots {
            for slot in &lot.slots {
                let lease = slot.clone().lock_owned().await;
                if lease.session.as_ref().is_some_and(|held| held.id == id) {
                    return Some(lease);
                }
            }
        }
        None
    }

    /// The place of a channel, when nobody uses it now.
    pub(crate) fn free_lease_of(&self, id: SessionId) -> Option<Lease> {
        let lots = lock(&self.lots);
        let slots = lots.iter().flat_map(|(_, lot)| &lot.slots);
        let mut free = slots.filter_map(|slot| slot.try_lock_owned());
        free.find(|lease| lease.session.as_ref().is_some_and(|held| held.id == id))
    }

    /// True for the first who watches a channel.
    pub(crate) fn begin_watch(&self, id: SessionId) -> bool {
        lock(&self.watched).insert(id)
    }

    pub(crate) fn end_watch(&self, id: SessionId) {
        lock(&self.watched).remove(&id);
    }

    /// The challenge that a request of this scope was answered with before.
    pub(crate) fn remembered(&self, scope: &Scope) -> Option<SessionOffer> {
        lock(&self.scopes).get(scope).cloned()
    }

    pub(crate) fn remember(&self, scope: Scope, offer: SessionOffer) {
        let mut scopes = lock(&self.scopes);
        if scopes.len() >= limits::SCOPES_MAX && !scopes.contains_key(&scope) {
            scopes.clear();
        }
        scopes.insert(scope, offer);
    }

    pub(crate) fn forget(&self, scope: &Scope) {
        lock(&self.scopes).remove(scope);
    }
}
