//! The end of a channel: closed by the payee, or forced at the rail; and what an earlier program
//! left half done.

use std::sync::Arc;

use stiver_core::{Timestamp, challenge::Challenge};
use stiver_method::{
    artefact::{Artefact, ExecuteError},
    payer::CallKey,
    session::{ChannelLookup, ChannelMoved, PayerSession},
};

use super::{
    super::{Exchange, Outgoing, PaymentClient, Side, note_text, pay, words},
    work::{ask_aside, ended},
};
use crate::{
    CallError, CallId, MoneyMoved, SessionFailure,
    error::LastSeen,
    session::{
        ChannelRecord, Session, SessionId, SessionSecrets, SessionState, SessionStep,
        lease::Sessions,
    },
};

fn failed(id: SessionId, failure: SessionFailure) -> CallError {
    CallError::Session {
        session: Some(id),
        moved: MoneyMoved::No,
        failure: Box::new(failure),
    }
}

/// A channel that is to be ended, with what that needs.
struct Ending<'a> {
    sessions: &'a Sessions,
    session: Session,
    payer: Arc<dyn PayerSession>,
    secrets: SessionSecrets,
}

impl Ending<'_> {
    async fn record(&mut self, step: SessionStep) -> Result<(), CallError> {
        self.record_with(step, SessionSecrets::default()).await
    }

    async fn record_with(
        &mut self,
        step: SessionStep,
        secrets: SessionSecrets,
    ) -> Result<(), CallError> {
        let id = self.session.id;
        let recorded = self.sessions.parts.journal.record(id, step, secrets).await;
        self.session = recorded.map_err(|source| failed(id, SessionFailure::Journal(source)))?;
        Ok(())
    }

    fn failed(&self, failure: SessionFailure) -> CallError {
        failed(self.session.id, failure)
    }

    fn channel_record(&self) -> Result<ChannelRecord, CallError> {
        let record = self.secrets.record.clone();
        record.ok_or_else(|| self.failed(SessionFailure::NotOpen))
    }

    fn movement(&self) -> Result<Artefact, CallError> {
        let movement = self.secrets.movement.clone();
        movement.ok_or_else(|| self.failed(SessionFailure::NotOpen))
    }

    /// What the rail says, written down when it is an end. True when it has ended.
    async fn ended_at_the_rail(&mut self) -> Result<bool, CallError> {
        let record = self.channel_record()?;
        let state = self.payer.state(&record.0).await;
        let state = state.map_err(|source| self.failed(SessionFailure::Rail(source)))?;
        match ended(state.as_ref(), &self.session) {
            Some(step) => {
                self.record(step).await?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Executes a movement at the rail; when nobody knows, asks what became of it.
    async fn execute(&self, movement: &Artefact) -> Result<ChannelMoved, CallError> {
        match self.payer.execute(movement).await {
            Ok(moved) => Ok(moved),
            Err(ExecuteError::Refused(refusal)) => {
                Err(self.failed(SessionFailure::RailRefused(refusal.detail)))
            }
            Err(ExecuteError::Unknown(_)) => match self.payer.lookup(movement).await {
                Ok(ChannelLookup::Done(moved)) => Ok(*moved),
                Ok(ChannelLookup::Never(refusal)) => {
                    Err(self.failed(SessionFailure::RailRefused(refusal.detail)))
                }
                Ok(ChannelLookup::Pending) => {
                    Err(self.failed(SessionFailure::Unknown(LastSeen::TimedOut)))
                }
                Err(source) => Err(self.failed(SessionFailure::Rail(source))),
            },
        }
    }

    async fn forced(&mut self, moved: &ChannelMoved) -> Result<(), CallError> {
        if let Some(step) = ended(Some(&moved.state), &self.session) {
            return self.record(step).await;
        }
        let withdrawable_at = moved.state.withdrawable_at;
        self.record(SessionStep::Forced { withdrawable_at }).await
    }

    async fn withdrawn(&mut self, moved: &ChannelMoved) -> Result<(), CallError> {
        let captured = Some(moved.state.settled);
        self.record(SessionStep::Withdrawn { captured }).await
    }

    /// Goes on with what an earlier program left half done.
    async fn recover(&mut self, now: Timestamp, call: CallKey) -> Result<(), CallError> {
        match self.session.state {
            SessionState::Intended => {
                let note = "the program ended before anything was signed".to_owned();
                self.record(SessionStep::Abandoned { note }).await
            }
            SessionState::Opening => self.recover_movement(SessionStep::Opened, true).await,
            SessionState::Open | SessionState::Closing => {
                if self.ended_at_the_rail().await? || self.session.asked == 0 {
                    return Ok(());
                }
                self.recover_movement(SessionStep::ToppedUp, false).await
            }
            SessionState::Forcing => {
                let movement = self.movement()?;
                let moved = self.execute(&movement).await?;
                self.forced(&moved).await
            }
            SessionState::Forced => {
                if self.ended_at_the_rail().await? {
                    return Ok(());
                }
                match self.session.withdrawable_at {
                    Some(at) if now < at => Ok(()),
                    _ => self.withdraw(call, now).await,
                }
            }
            SessionState::Withdrawing => {
                let movement = self.movement()?;
                let moved = self.execute(&movement).await?;
                self.withdrawn(&moved).await
            }
            _ => Ok(()),
        }
    }

    async fn recover_movement(&mut self, done: SessionStep, opens: bool) -> Result<(), CallError> {
        let movement = self.movement()?;
        let told = self.payer.lookup(&movement).await;
        match told.map_err(|source| self.failed(SessionFailure::Rail(source)))? {
            ChannelLookup::Done(_) => self.record(done).await,
            ChannelLookup::Never(refusal) => {
                let note = note_text(&refusal.detail);
                let step = match opens {
                    true => SessionStep::Void { note },
                    false => SessionStep::TopUpVoid { note },
                };
                self.record(step).await
            }
            ChannelLookup::Pending => Ok(()),
        }
    }

    async fn withdraw(&mut self, call: CallKey, now: Timestamp) -> Result<(), CallError> {
        let record = self.channel_record()?;
        let prepared = self.payer.prepare_withdraw(&record.0, call, now).await;
        let movement = prepared.map_err(|source| self.failed(SessionFailure::Pay(source)))?;
        let secrets = SessionSecrets::movement(movement.clone());
        self.record_with(SessionStep::Withdrawing, secrets).await?;
        let moved = self.execute(&movement).await?;
        self.withdrawn(&moved).await
    }
}

impl PaymentClient {
    /// Every session that this process can use, and those that ended, oldest first.
    ///
    /// # Errors
    ///
    /// [`CallError::Session`] when the journal failed, or no sessions are set up.
    pub async fn sessions(&self) -> Result<Vec<Session>, CallError> {
        let sessions = self.all()?;
        let listed = sessions.parts.journal.sessions().await;
        listed.map_err(|source| CallError::Session {
            session: None,
            moved: MoneyMoved::No,
            failure: Box::new(SessionFailure::Journal(source)),
        })
    }

    /// A key for one movement at the rail.
    fn call_key(&self) -> CallKey {
        CallKey::from_bytes(self.env().random())
    }

    pub(super) fn all(&self) -> Result<&Arc<Sessions>, CallError> {
        self.sessions.as_ref().ok_or(CallError::Session {
            session: None,
            moved: MoneyMoved::No,
            failure: Box::new(SessionFailure::NotOpen),
        })
    }

    async fn ending(&self, id: SessionId) -> Result<Ending<'_>, CallError> {
        let sessions = self.all()?;
        let listed = self.sessions().await?;
        let found = listed.into_iter().find(|session| session.id == id);
        let session = found.filter(|session| !session.state.is_final());
        let session = session.ok_or_else(|| failed(id, SessionFailure::NotOpen))?;
        let mut payers = sessions.parts.payers.iter();
        let payer = payers.find(|payer| payer.name().as_str() == session.terms.method);
        let payer = payer.cloned();
        let payer = payer
            .ok_or_else(|| failed(id, SessionFailure::NoPayer(session.terms.method.clone())))?;
        let secrets = sessions.parts.journal.secrets(id).await;
        let secrets = secrets.map_err(|source| failed(id, SessionFailure::Journal(source)))?;
        Ok(Ending {
            sessions,
            session,
            payer,
            secrets: secrets.unwrap_or_default(),
        })
    }

    /// Asks the payee to close a session: it takes what was used, and the rest comes back. Waits
    /// for the request that uses the channel, if there is one.
    ///
    /// # Errors
    ///
    /// [`CallError::Session`]. When the payee does not answer, [`PaymentClient::force_close`] asks
    /// the rail.
    pub async fn close_session<E: Exchange>(
        &self,
        id: SessionId,
        exchange: &E,
    ) -> Result<Session, CallError> {
        let mut lease = self.all()?.lease_of(id).await;
        if let Some(lease) = &mut lease {
            lease.session = None;
            lease.signer = None;
        }
        self.close_held(id, &exchange.side()).await
    }

    /// Asks the payee to close a session that nobody else uses meanwhile.
    pub(super) async fn close_held(
        &self,
        id: SessionId,
        side: &Arc<dyn Side>,
    ) -> Result<Session, CallError> {
        let mut ending = self.ending(id).await?;
        if ending.session.state == SessionState::Intended
            || ending.session.state == SessionState::Opening
        {
            ending.recover(self.now(), self.call_key()).await?;
        }
        if ending.session.state.is_final() || ending.ended_at_the_rail().await? {
            return Ok(ending.session);
        }
        let record = ending.channel_record()?;
        let unusable = |why: String| failed(id, SessionFailure::RailRefused(why));
        let signer = ending.payer.signer(&record.0);
        let mut signer = signer.map_err(|why| unusable(why.to_string()))?;
        ending.record(SessionStep::Closing).await?;
        // Not so far above the last one that the payee has that it could not be verified.
        let reach = ending.session.accepted.saturating_add(signer.leap_max());
        let last = signer.sign(ending.session.signed.min(reach), None);
        let voucher = last.await;
        let voucher = voucher.map_err(|source| failed(id, SessionFailure::Pay(source)))?;
        let proof = ending.payer.close(&voucher);
        let proof = proof.map_err(|refusal| unusable(refusal.detail))?;
        let mut challenges = Challenge::parse_all([ending.session.challenge.as_bytes()]);
        let challenge = match challenges.pop() {
            Some(Ok(challenge)) => challenge,
            _ => return Err(unusable("its challenge is damaged".into())),
        };
        let request = http::Request::get(&ending.session.url).body(bytes::Bytes::new());
        let request = request.map_err(|error| unusable(error.to_string()))?;
        let outgoing = Outgoing::new(
            request,
            CallId::from_bytes(self.env().random()),
            (self.parts(), self.sessions.as_deref()),
        )?;
        let credential = pay::credential_of(&challenge, proof);
        let answer = ask_aside(self, &outgoing, side, &credential).await;
        if ending.ended_at_the_rail().await? {
            return Ok(ending.session);
        }
        let failure = match answer {
            Ok(answer) if answer.head.status().is_success() => {
                // Agreed to, and not done at the rail yet: `sessions recover` looks again.
                return Ok(ending.session);
            }
            Ok(answer) => SessionFailure::Refused(words(answer.head.status(), &answer.body).0),
            Err(last) => SessionFailure::Unknown(last),
        };
        Err(ending.failed(failure))
    }

    /// Closes every open session that this process holds. Gives those that could not be closed.
    ///
    /// # Errors
    ///
    /// The journal.
    pub async fn close_sessions<E: Exchange>(
        &self,
        exchange: &E,
    ) -> Result<Vec<(SessionId, CallError)>, CallError> {
        let mut open = self.sessions().await?;
        open.retain(|s| matches!(s.state, SessionState::Open | SessionState::Closing));
        let mut left = Vec::new();
        for session in open {
            if let Err(error) = self.close_session(session.id, exchange).await {
                left.push((session.id, error));
            }
        }
        Ok(left)
    }

    /// Goes on with what earlier programs left half done: asks the rail about openings, top-ups
    /// and forced closes, and takes back what can be taken back. Signs no voucher.
    ///
    /// # Errors
    ///
    /// The journal. What the rail cannot tell now stays as it is, and is given with the reason.
    pub async fn recover_sessions(&self) -> Result<Vec<(Session, Option<CallError>)>, CallError> {
        let mut open = self.sessions().await?;
        open.retain(|session| !session.state.is_final());
        let mut told = Vec::new();
        for session in open {
            let mut ending = self.ending(session.id).await?;
            let error = ending.recover(self.now(), self.call_key()).await.err();
            told.push((ending.session, error));
        }
        Ok(told)
    }

    /// Asks the rail to close a session without the payee. A period of grace begins, in which the
    /// payee may still take what is signed; [`PaymentClient::recover_sessions`] takes back the
    /// rest after it.
    ///
    /// # Errors
    ///
    /// [`CallError::Session`].
    pub async fn force_close(&self, id: SessionId) -> Result<Session, CallError> {
        let mut lease = self.all()?.lease_of(id).await;
        let mut ending = self.ending(id).await?;
        if let Some(lease) = &mut lease {
            lease.session = None;
            lease.signer = None;
        }
        if matches!(
            ending.session.state,
            SessionState::Intended | SessionState::Opening
        ) {
            ending.recover(self.now(), self.call_key()).await?;
        }
        if ending.session.state.is_final() || ending.ended_at_the_rail().await? {
            return Ok(ending.session);
        }
        if !matches!(
            ending.session.state,
            SessionState::Open | SessionState::Closing
        ) {
            ending.recover(self.now(), self.call_key()).await?;
            return Ok(ending.session);
        }
        let record = ending.channel_record()?;
        let call = self.call_key();
        let prepared = ending
            .payer
            .prepare_forced_close(&record.0, call, self.now());
        let prepared = prepared.await;
        let movement = prepared.map_err(|source| failed(id, SessionFailure::Pay(source)))?;
        let secrets = SessionSecrets::movement(movement.clone());
        ending.record_with(SessionStep::Forcing, secrets).await?;
        let moved = ending.execute(&movement).await?;
        ending.forced(&moved).await?;
        Ok(ending.session)
    }
}
