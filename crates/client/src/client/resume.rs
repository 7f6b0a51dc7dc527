//! After a crash or an unknown outcome: what is open, and how it is brought to an end.

use http::StatusCode;
use stiver_core::challenge::Challenge;

use super::{
    Answer, Exchange, Outgoing, PaymentClient,
    pay::{Underway, credential_value},
};
use crate::{
    CallError, CallId, MoneyMoved,
    call::Call,
    error::{NotResumable, Refused},
    outbox::{Entry, OutboxError, State, Step, StoredCall},
};

impl PaymentClient {
    /// The calls that are open and that nobody is at: money may have moved for each. Calls that
    /// ended before anything was signed are closed on the way.
    ///
    /// # Errors
    ///
    /// Those of the outbox.
    pub async fn recover(&self) -> Result<Vec<Entry>, OutboxError> {
        let mut open = Vec::new();
        for entry in self.parts().outbox.open_calls().await? {
            let Some(_guard) = self.guard(entry.id) else {
                continue;
            };
            if entry.state == State::Challenged && entry.signatures == 0 {
                let note = "the process ended before anything was signed".to_owned();
                self.record(entry.id, Step::Abandoned { note }).await?;
            } else {
                open.push(entry);
            }
        }
        Ok(open)
    }

    /// Asks the rail what became of an open call, and journals a final answer, after which it can
    /// no longer be resumed. Sends nothing to the server.
    ///
    /// # Errors
    ///
    /// [`CallError::NotResumable`], or [`CallError::Journal`].
    pub async fn look_up(&self, id: CallId) -> Result<MoneyMoved, CallError> {
        let _guard = self.guard(id).ok_or(not(id, NotResumable::UnderWay))?;
        let stored = self.stored(id).await?;
        let payer = self.payer_of(&stored)?;
        let moved = self.resolve(id, payer.as_ref(), &stored.artefacts).await;
        Ok(match moved {
            // What the journal says holds while the rail cannot tell.
            MoneyMoved::Maybe => stored.entry.money_moved(),
            told => told,
        })
    }

    /// Goes on with an open call: sends the same request with the same credential and
    /// `Idempotency-Key` again. A credential that was sent before its challenge expired may be sent
    /// after it. Nothing is ever signed here.
    ///
    /// An [`Unread`](State::Unread) call is fetched again so. When the server no longer has what
    /// was paid for, the call ends as settled.
    ///
    /// # Errors
    ///
    /// As [`PaymentClient::call`], and [`CallError::NotResumable`].
    pub async fn resume<E: Exchange>(
        &self,
        id: CallId,
        exchange: &mut E,
    ) -> Result<Answer<E::Response>, CallError> {
        let guard = self.guard(id).ok_or(not(id, NotResumable::UnderWay))?;
        let stored = self.stored(id).await?;
        let payer = self.payer_of(&stored)?;
        if stored.request.body.is_none() {
            return Err(not(id, NotResumable::BodyNotKept));
        }
        let unusable = |why: String| not(id, NotResumable::Unusable(why));
        let plain_http = self.parts().options.dangerous_plain_http;
        let outgoing = Outgoing::stored(&stored.entry.resource, &stored.request, plain_http)
            .map_err(unusable)?;
        let mut challenges = Challenge::parse_all([stored.challenge.as_bytes()]);
        let challenge = match challenges.pop() {
            Some(Ok(challenge)) if challenges.is_empty() => challenge,
            _ => return Err(unusable("its challenge is damaged".into())),
        };
        let signatures = stored.entry.signatures;
        let receipted = match stored.entry.state {
            State::Unread => stored.entry.reference.clone(),
            _ => None,
        };
        let underway = match stored.credential {
            Some(text) => Underway {
                id,
                payer,
                terms: stored.entry.terms,
                challenge,
                artefacts: stored.artefacts,
                credential: credential_value(&text)
                    .map_err(|_| unusable("its credential is damaged".into()))?,
                receipted,
            },
            None if stored.entry.state == State::Authorised => {
                let expires = stored.entry.terms.expires;
                if expires.is_some_and(|expires| self.now() >= expires) {
                    self.resolve(id, payer.as_ref(), &stored.artefacts).await;
                    return Err(not(id, NotResumable::Expired));
                }
                let terms = stored.entry.terms;
                self.prove(id, payer, challenge, terms, stored.artefacts)
                    .await?
            }
            None => return Err(self.refused_before(id, &stored).await),
        };
        // No further signature: the bounds of the call are used up.
        let call = Call::resumed(signatures, self.parts().options.sends_max);
        let carried = (Some(guard), exchange);
        self.deliver(&outgoing, underway, call, carried).await
    }

    /// Ended between a refusal and the next signature: only the rail can say more.
    async fn refused_before(&self, id: CallId, stored: &StoredCall) -> CallError {
        let moved = match self.payer_of(stored) {
            Ok(payer) => {
                let note = "the process ended before it was signed again".to_owned();
                let _ = self.record(id, Step::Refused { note }).await;
                self.resolve(id, payer.as_ref(), &stored.artefacts).await
            }
            Err(error) => return error,
        };
        CallError::Refused {
            call: id,
            moved,
            refusal: Refused::new(StatusCode::PAYMENT_REQUIRED.as_u16(), None),
        }
    }

    /// Everything kept of an open call that something was signed for.
    async fn stored(&self, id: CallId) -> Result<StoredCall, CallError> {
        let stored = self.parts().outbox.stored(id).await;
        let stored = stored.map_err(|source| CallError::Journal {
            call: id,
            moved: MoneyMoved::Maybe,
            source,
        })?;
        let stored = stored.ok_or(not(id, NotResumable::NotOpen))?;
        if stored.artefacts.is_empty() {
            let note = "the process ended before anything was signed".to_owned();
            let _ = self.record(id, Step::Abandoned { note }).await;
            return Err(not(id, NotResumable::NothingSigned));
        }
        Ok(stored)
    }

    fn payer_of(
        &self,
        stored: &StoredCall,
    ) -> Result<std::sync::Arc<dyn stiver_method::payer::Payer>, CallError> {
        let method = &stored.entry.terms.method;
        let mut payers = self.parts().payers.iter();
        let found = payers.find(|payer| payer.name().as_str() == method);
        found.cloned().ok_or_else(|| {
            let why = format!("no account for its method {method} is set up here");
            not(stored.entry.id, NotResumable::Unusable(why))
        })
    }
}

fn not(call: CallId, why: NotResumable) -> CallError {
    CallError::NotResumable { call, why }
}
