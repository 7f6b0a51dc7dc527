//! The vouchers of one request: for how much, and making them.

use stiver_channel::Voucher;
use stiver_method::payer::PayError;

use super::Work;
use crate::{
    CallError, SessionFailure,
    session::{
        SessionJournalError, SessionRefusal, SessionState, SessionStep, lease::Signing,
        policy::request_cost,
    },
};

impl Work {
    /// What the voucher is to be for. Tops the channel up when that is needed and allowed.
    pub(super) async fn target(&mut self, agree: u128, least: u128) -> Result<u128, CallError> {
        let metered = request_cost(&self.offer.view.prices).is_none();
        let ahead = self.ahead(agree);
        let session = self.session()?;
        let agreed = session.agreed.saturating_add(agree);
        let needed = least.max(agreed).max(session.signed);
        // What a payee claims is compared before anything is set aside for it.
        let most = agreed.saturating_add(ahead);
        let most = most.saturating_add(session.bounds.grain.saturating_sub(1));
        if needed > session.signed && needed > most {
            return Err(self.claims(needed, most));
        }
        if needed > session.backing() && session.state == SessionState::Open {
            self.top_up(needed).await?;
        }
        // The first voucher of a channel comes with its opening: none can be sent before it.
        let reach = match (self.state(), &mut self.lease.signer) {
            (Some(SessionState::Opening), Some(signer)) => signer.signer().leap_max(),
            _ => u128::MAX,
        };
        let session = self.session()?;
        let allowed = session.bounds.may_sign(agreed, session.backing()).min(most);
        let wanted = match metered {
            // As far ahead as it may be, so that the stream need not wait for long.
            true => needed.max(agreed.saturating_add(ahead).min(allowed).min(reach)),
            false => needed,
        };
        let step = wanted.saturating_sub(session.signed);
        let wanted = match step {
            0 => wanted,
            _ => wanted.max(
                session
                    .signed
                    .saturating_add(self.offer.view.min_voucher_delta),
            ),
        };
        let rounded = session.bounds.round_up(wanted).unwrap_or(u128::MAX);
        if rounded > session.signed && rounded > allowed {
            return Err(self.claims(rounded, allowed));
        }
        Ok(rounded)
    }

    fn claims(&self, asked: u128, allowed: u128) -> CallError {
        let currency = &self.offer.terms.currency;
        self.failed(SessionFailure::Claims {
            asked: currency.units(asked),
            allowed: currency.units(allowed),
        })
    }

    /// How far ahead of what is agreed, `agree` of it now, the voucher of a metered request may be.
    pub(super) fn ahead(&self, agree: u128) -> u128 {
        let Some(session) = &self.lease.session else {
            return 0;
        };
        let limits = &self.sessions.parts.limits;
        let agreed = session.in_flight.get(&self.id).copied().unwrap_or(0);
        let agreed = agreed.saturating_add(agree);
        let most = limits
            .max_request
            .as_ref()
            .map_or(u128::MAX, |most| most.units());
        session.bounds.window.min(most.saturating_sub(agreed))
    }

    /// Journals what is signed, then signs it.
    pub(super) async fn sign(
        &mut self,
        cost: u128,
        cumulative: u128,
    ) -> Result<Voucher, CallError> {
        let request = self.id;
        let step = SessionStep::Signing {
            request,
            cost,
            cumulative,
        };
        self.record(step)
            .await
            .map_err(|error| self.translate(error))?;
        self.signer().await?;
        self.leap(cumulative).await?;
        let voucher = self.voucher(cumulative).await?;
        self.taken = cumulative;
        Ok(voucher)
    }

    /// Sends vouchers in between where the payee could not verify one so far above its last.
    async fn leap(&mut self, cumulative: u128) -> Result<(), CallError> {
        let Some(signer) = self.lease.signer.as_mut() else {
            return Err(self.failed(SessionFailure::NotOpen));
        };
        let leap = signer.signer().leap_max().max(1);
        let known = self.session()?.accepted;
        self.taken = self.taken.max(known);
        while self.state() == Some(SessionState::Open)
            && cumulative.saturating_sub(self.taken) > leap
        {
            self.taken = self.taken.saturating_add(leap);
            let between = self.voucher(self.taken).await?;
            // The payee may have taken a higher one already: the last voucher decides.
            let sent = self.send_aside(&between).await;
            if let Err(error) = sent
                && matches!(&error, CallError::Session { failure, .. }
                    if matches!(**failure, SessionFailure::Unknown(_)))
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether the vouchers of the channel come to an end before the limit of the session does:
    /// a hash chain is too short for more.
    pub(super) fn is_worn(&mut self) -> bool {
        let cap = match &self.lease.session {
            Some(session) if session.state == SessionState::Open => session.bounds.cap,
            _ => return false,
        };
        let signer = self.lease.signer.as_mut();
        signer.is_some_and(|signer| signer.signer().most() <= cap)
    }

    /// Closes a channel whose vouchers have come to an end, so that another can be opened in its
    /// place. True when it is closed.
    pub(super) async fn retire(&mut self) -> bool {
        let Some(id) = self.lease.session.as_ref().map(|session| session.id) else {
            return false;
        };
        let closed = self.client.close_held(id, &self.side).await;
        let over = closed.is_ok_and(|session| session.state.is_final());
        self.lease.session = None;
        self.lease.signer = None;
        self.taken = 0;
        over
    }

    /// Makes a voucher of what is journaled as signed.
    async fn voucher(&mut self, cumulative: u128) -> Result<Voucher, CallError> {
        let Some(signer) = self.lease.signer.as_mut() else {
            return Err(self.failed(SessionFailure::NotOpen));
        };
        let voucher = signer.signer().sign(cumulative, None).await;
        self.signatures = self.signatures.saturating_add(1);
        match voucher {
            Ok(voucher) if voucher.cumulative == cumulative => Ok(voucher),
            Ok(_) => {
                let why = "the method made a voucher of another amount".to_owned();
                Err(self.failed(SessionFailure::RailRefused(why)))
            }
            Err(source) => Err(self.failed(SessionFailure::Pay(source))),
        }
    }

    /// A journal that refuses to let so much be signed says so in amounts.
    fn translate(&self, error: CallError) -> CallError {
        let CallError::Session { failure, .. } = &error else {
            return error;
        };
        let SessionFailure::Journal(SessionJournalError::Refused(SessionRefusal::TooMuch {
            asked,
            allowed,
        })) = failure.as_ref()
        else {
            return error;
        };
        self.claims(*asked, *allowed)
    }

    /// Sets up what signs the channel's vouchers, once.
    async fn signer(&mut self) -> Result<(), CallError> {
        if self.lease.signer.is_some() {
            return Ok(());
        }
        let record = self.channel_record().await?;
        let signer = self.offer.payer.signer(&record.0);
        let signer = signer.map_err(|why| {
            let source = PayError::Unpayable(why);
            self.failed(SessionFailure::Pay(source))
        })?;
        self.lease.signer = Some(Signing::new(signer));
        Ok(())
    }
}
