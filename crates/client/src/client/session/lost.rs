//! Channels that the rail has and the journal has not.

use stiver_core::Timestamp;

use super::super::PaymentClient;
use crate::{
    CallError, MoneyMoved, SessionFailure,
    session::{
        Bounds, ChannelRecord, Session, SessionId, SessionSecrets, SessionStep, SessionTerms,
    },
};

/// What stands for the server of a channel that only the rail knows.
const UNKNOWN: &str = "unknown";

/// A channel that the rail has for this payer, as the rail tells it.
#[derive(Debug, Clone)]
pub struct LostChannel {
    /// Whom it pays. The rail knows no origin and no realm: those given here are not used.
    pub terms: SessionTerms,
    /// Its id, as the wire has it.
    pub channel: String,
    /// All that was set aside.
    pub deposit: u128,
    /// From when what remains can be taken back, when its close was forced already.
    pub withdrawable_at: Option<Timestamp>,
    /// What the method needs to leave it.
    pub record: ChannelRecord,
}

impl PaymentClient {
    /// Takes a channel into the journal whose own journal is lost. No voucher of it can be signed;
    /// it can be left: [`PaymentClient::force_close`], then [`PaymentClient::recover_sessions`].
    /// `None` when the journal knows it.
    ///
    /// # Errors
    ///
    /// [`CallError::Session`] when the journal failed, or no sessions are set up.
    pub async fn adopt_lost(&self, lost: LostChannel) -> Result<Option<Session>, CallError> {
        let journal = self.all()?.parts.journal.clone();
        let failed = |source| CallError::Session {
            session: None,
            moved: MoneyMoved::No,
            failure: Box::new(SessionFailure::Journal(source)),
        };
        if journal.knows(&lost.channel).await.map_err(failed)? {
            return Ok(None);
        }
        let id = SessionId::from_bytes(self.env().random());
        let mut terms = lost.terms;
        // Of no server: it is used for no request.
        terms.origin = UNKNOWN.to_owned();
        terms.realm = UNKNOWN.to_owned();
        let intended = SessionStep::Intended {
            terms,
            url: String::new(),
            challenge: String::new(),
            bounds: Bounds {
                cap: lost.deposit,
                window: 0,
                grain: 1,
            },
        };
        let opening = SessionStep::Opening {
            channel: lost.channel,
            deposit: lost.deposit,
            grain: 1,
            most: None,
        };
        let found = SessionStep::Noted {
            note: "found at the rail: close it with --force, its vouchers are lost".to_owned(),
        };
        let mut steps = vec![intended, opening, SessionStep::Opened, found];
        if lost.withdrawable_at.is_some() {
            let withdrawable_at = lost.withdrawable_at;
            steps.extend([
                SessionStep::Forcing,
                SessionStep::Forced { withdrawable_at },
            ]);
        }
        let mut session = None;
        for step in steps {
            let secrets = match &step {
                SessionStep::Opening { .. } => SessionSecrets {
                    record: Some(lost.record.clone()),
                    movement: None,
                },
                _ => SessionSecrets::default(),
            };
            session = Some(journal.record(id, step, secrets).await.map_err(failed)?);
        }
        Ok(session)
    }
}
