//! One request through the gate.

use stiver_core::{
    Credential, Problem, Timestamp,
    credential::{Presented, presented, token_hash},
    limits::CREDENTIAL_BYTES_MAX,
    name::IntentName,
    problem::ProblemKind,
};

use tracing::Instrument as _;

use super::{
    Gate,
    check::{echoed, inputs_of, same_inputs},
    settle::Claimed,
};
use crate::{
    SPANS,
    error::GateError,
    events::Event,
    grant::Grant,
    idempotency::IdempotencyKey,
    limits::{RETRY_AFTER_SLOW_SECONDS, SETTLING_MAX, TARGET_BYTES_MAX},
    outcome::{Outcome, Refused},
    request::Request,
    route::{Pricing, Route},
};
use std::{future::Future, sync::Arc};

/// What identifies the asker of one request.
pub(super) struct Asked {
    pub(super) credential_hash: [u8; 32],
    pub(super) request_hash: [u8; 32],
    pub(super) others_hash: [u8; 32],
    pub(super) key: Option<IdempotencyKey>,
}

/// What the fields of a paying request say.
pub(super) struct Fields<'r> {
    pub(super) token: &'r [u8],
    pub(super) credential: Credential,
    pub(super) key: Option<IdempotencyKey>,
    /// The challenge is of this gate and of a secret that is on its ring.
    pub(super) bound: bool,
}

/// The price of one request, worked out at most once and only when it is needed.
struct Lazy<P, H> {
    make: Option<P>,
    made: Option<Pricing>,
    /// What holds for a challenge that this gate issued, when that is less work than the price.
    honour: Option<H>,
}

impl<P, F, H, G> Lazy<P, H>
where
    P: FnOnce() -> F,
    F: Future<Output = Pricing>,
    H: FnOnce() -> G,
    G: Future<Output = Pricing>,
{
    async fn honoured(&mut self) -> Pricing {
        match (self.honour.take(), &self.made) {
            (Some(honour), None) => honour().await,
            _ => self.get().await,
        }
    }

    /// What becomes of a known credential before it is looked at, by the priced inputs that its
    /// challenge is bound to: nothing, when they are still the same.
    async fn changed(&mut self, inputs: Option<&str>) -> Result<Option<Outcome>, GateError> {
        if inputs.is_none() {
            return Ok(None);
        }
        match self.honoured().await {
            Pricing::Priced(route) => same_inputs(&route, inputs).map(|()| None),
            Pricing::Free => Ok(Some(Outcome::Free)),
            Pricing::Denied(problem) => Ok(Some(Outcome::Refuse(denied(problem)))),
        }
    }

    /// The route, or what becomes of a request that has none.
    async fn route(&mut self) -> Result<Arc<Route>, Outcome> {
        match self.honoured().await {
            Pricing::Priced(route) => Ok(route),
            Pricing::Free => Err(Outcome::Free),
            Pricing::Denied(problem) => Err(Outcome::Refuse(denied(problem))),
        }
    }

    async fn get(&mut self) -> Pricing {
        if let Some(make) = self.make.take() {
            let span = tracing::trace_span!(target: SPANS, "price");
            self.made = Some(make().instrument(span).await);
        }
        self.made
            .clone()
            .expect("the price is made once, because its maker is taken once")
    }
}

impl Gate {
    /// Decides what becomes of a request.
    ///
    /// `price` is called at most once. A credential that is known already is served under the terms
    /// it was paid for: for it, `price` is only called when its challenge is bound to
    /// [`Route::priced_inputs`], to see that they are still the same. It must not change any state,
    /// because unpaid requests call it too.
    ///
    /// Dropping the future at any point is safe: the claim is released as it stands, and the same
    /// credential goes on from the journal. A settlement that was under way is asked for first, and
    /// executed again only under the same artefact. No handler has run by then, so a payment that
    /// is given back later bought nothing. What is *not* safe to drop is the [`Grant`]: see there.
    ///
    /// [`Grant`]: crate::Grant
    ///
    /// # Spec
    /// draft-httpauth-payment-00, sections 3 to 8; Z1, Z12, Z43, Z44.
    pub async fn admit<P, F>(&self, request: &Request<'_>, price: P) -> Outcome
    where
        P: FnOnce() -> F,
        F: Future<Output = Pricing>,
    {
        let none: Option<fn() -> std::future::Ready<Pricing>> = None;
        self.admit_by(request, price, none).await
    }

    /// [`Gate::admit`], with less to ask for a credential whose challenge this gate issued.
    pub(crate) async fn admit_with<P, F, H, G>(
        &self,
        request: &Request<'_>,
        price: P,
        honour: H,
    ) -> Outcome
    where
        P: FnOnce() -> F,
        F: Future<Output = Pricing>,
        H: FnOnce() -> G,
        G: Future<Output = Pricing>,
    {
        self.admit_by(request, price, Some(honour)).await
    }

    async fn admit_by<P, F, H, G>(
        &self,
        request: &Request<'_>,
        price: P,
        honour: Option<H>,
    ) -> Outcome
    where
        P: FnOnce() -> F,
        F: Future<Output = Pricing>,
        H: FnOnce() -> G,
        G: Future<Output = Pricing>,
    {
        let mut pricing = Lazy {
            make: Some(price),
            made: None,
            honour,
        };
        let span = tracing::trace_span!(target: SPANS, "admit");
        let considered = self.consider(request, &mut pricing).instrument(span);
        let outcome = match considered.await {
            Ok(outcome) => outcome,
            Err(error) => self.answer(&error, request, &mut pricing).await,
        };
        if let Outcome::Refuse(refused) = &outcome {
            self.tell_refused(refused);
        }
        outcome
    }

    /// [`Gate::admit`] with a route that is known beforehand.
    pub async fn admit_at(&self, request: &Request<'_>, route: &Arc<Route>) -> Outcome {
        self.admit(request, || {
            std::future::ready(Pricing::Priced(Arc::clone(route)))
        })
        .await
    }

    async fn consider<P, F, H, G>(
        &self,
        request: &Request<'_>,
        pricing: &mut Lazy<P, H>,
    ) -> Result<Outcome, GateError>
    where
        P: FnOnce() -> F,
        F: Future<Output = Pricing>,
        H: FnOnce() -> G,
        G: Future<Output = Pricing>,
    {
        let now = self.now();
        let Some(fields) = self.read_fields(request, now)? else {
            return self.unpaid(request, pricing).await;
        };
        if fields.credential.challenge.params.intent == IntentName::session() {
            if !fields.bound {
                return Err(GateError::NotBound);
            }
            let route = pricing.route();
            return Box::pin(self.consider_session(request, fields, now, route)).await;
        }
        let Fields {
            token,
            credential,
            key,
            bound,
        } = fields;
        let id = credential.challenge.id.as_str();
        let opaque = echoed(&credential);
        let inputs = inputs_of(opaque.as_ref());
        let asked = || Asked {
            credential_hash: token_hash(token),
            request_hash: request.hash(inputs),
            others_hash: request.others_hash(),
            key,
        };
        if let Some(claim) = self.find(id).await.map_err(GateError::JournalLost)? {
            let asked = asked();
            // A credential that was verified once stays good for what it bought, also when its
            // secret has left the ring. Its hash is the proof.
            if bound || claim.credential_hash == asked.credential_hash {
                return match pricing.changed(inputs).await? {
                    Some(outcome) => Ok(outcome),
                    None => Box::pin(self.resume(&asked, claim)).await,
                };
            }
        }
        if !bound {
            return Err(GateError::NotBound);
        }
        let route = match pricing.route().await {
            Ok(route) => route,
            Err(outcome) => return Ok(outcome),
        };
        let echo = (&credential, opaque.as_ref());
        let checked = self.check(request, &route, echo, key, now)?;
        let _place = self
            .inner
            .settling
            .take(SETTLING_MAX)
            .ok_or(GateError::Busy)?;
        let unsettled = match checked.handler_first {
            true => Some(self.unsettled_place().ok_or(GateError::Busy)?),
            false => None,
        };
        let asked = asked();
        match Box::pin(self.claim(&asked, &credential, &checked)).await? {
            Claimed::Won(hold) => match unsettled {
                Some(place) => {
                    let grant = Grant::unsettled(hold, checked.method, checked.details, place)?;
                    Ok(Outcome::Serve(Box::new(grant)))
                }
                None => Box::pin(self.settle_and_grant(hold, true)).await,
            },
            Claimed::Known(claim) => Box::pin(self.resume(&asked, claim)).await,
            Claimed::SameKey(claim) => Box::pin(self.resume_by_key(claim)).await,
        }
    }

    /// The checks that need no body: limits, one credential, its form, binding and realm. `None`
    /// when there is no credential.
    pub(super) fn read_fields<'r>(
        &self,
        request: &Request<'r>,
        now: Timestamp,
    ) -> Result<Option<Fields<'r>>, GateError> {
        let bytes = request.target.len();
        if bytes > TARGET_BYTES_MAX {
            return Err(GateError::TargetTooLong { bytes });
        }
        let token = match presented(request.authorization.iter().copied()) {
            Presented::One(token) => token,
            Presented::Several => return Err(GateError::SeveralCredentials),
            Presented::None => return Ok(None),
        };
        if token.len() > CREDENTIAL_BYTES_MAX {
            return Err(GateError::CredentialTooLarge { bytes: token.len() });
        }
        if request.method == "HEAD" && !asks_session(token) {
            return Err(GateError::Head);
        }
        let key =
            IdempotencyKey::parse(request.idempotency_key).map_err(GateError::IdempotencyKey)?;
        let credential = Credential::parse(token).map_err(GateError::Malformed)?;
        let bound = self.keys().verify(&credential.challenge, now).is_ok()
            && credential.challenge.params.realm == self.inner.realm;
        let id = credential.challenge.id.as_str();
        if !bound && !self.inner.store.might_know(id) {
            return Err(GateError::NotBound);
        }
        Ok(Some(Fields {
            token,
            credential,
            key,
            bound,
        }))
    }

    /// [`Gate::admit`]'s checks of a request that is never free and whose body is not read yet: an
    /// error is final, and has no other cause than the fields.
    pub(crate) fn check_fields(&self, request: &Request<'_>) -> Result<(), GateError> {
        match self.read_fields(request, self.now())? {
            Some(_) => Ok(()),
            None => {
                IdempotencyKey::parse(request.idempotency_key)
                    .map_err(GateError::IdempotencyKey)?;
                Err(GateError::NoCredential)
            }
        }
    }

    /// The answer to an error of [`Gate::check_fields`].
    pub(crate) async fn refuse<P, F>(
        &self,
        error: &GateError,
        request: &Request<'_>,
        price: P,
    ) -> Refused
    where
        P: FnOnce() -> F,
        F: Future<Output = Pricing>,
    {
        let honour: Option<fn() -> std::future::Ready<Pricing>> = None;
        let mut pricing = Lazy {
            make: Some(price),
            made: None,
            honour,
        };
        let refused = match self.answer(error, request, &mut pricing).await {
            Outcome::Refuse(refused) => refused,
            _ => {
                tracing::error!("a price list that is never free gave a free price");
                GateError::Misconfigured.refused()
            }
        };
        self.tell_refused(&refused);
        refused
    }

    /// Adds fresh challenges to a 402 that came of [`Grant::complete`]: the payment was refused
    /// after the handler had run, and paying is the remedy. Other refusals stay as they are.
    pub async fn renew<P, F>(&self, refused: Refused, request: &Request<'_>, price: P) -> Refused
    where
        P: FnOnce() -> F,
        F: Future<Output = Pricing>,
    {
        if refused.status() != 402 || !refused.challenges.is_empty() {
            return refused;
        }
        let challenges = match price().await {
            Pricing::Priced(route) => self.challenges(request, &route, None).await,
            Pricing::Free | Pricing::Denied(_) => Err(GateError::NoQuote),
        };
        match challenges {
            Ok(challenges) => {
                let mut renewed = refused;
                renewed.problem.challenge_id =
                    challenges.first().map(|challenge| challenge.id.clone());
                renewed.challenges = challenges;
                let challenges = renewed.challenges.len();
                self.tell(|| Event::Challenged { challenges });
                renewed
            }
            Err(error) => {
                log(&error);
                error.refused()
            }
        }
    }

    /// Tells of an answer that is about to leave, and of the challenges in it.
    pub(crate) fn tell_refused(&self, refused: &Refused) {
        let problem = refused.problem.kind;
        self.tell(|| Event::Refused { problem });
        let challenges = refused.challenges.len();
        if challenges > 0 {
            self.tell(|| Event::Challenged { challenges });
        }
    }

    async fn unpaid<P, F, H, G>(
        &self,
        request: &Request<'_>,
        pricing: &mut Lazy<P, H>,
    ) -> Result<Outcome, GateError>
    where
        P: FnOnce() -> F,
        F: Future<Output = Pricing>,
        H: FnOnce() -> G,
        G: Future<Output = Pricing>,
    {
        match pricing.get().await {
            Pricing::Free => Ok(Outcome::Free),
            Pricing::Denied(problem) => Ok(Outcome::Refuse(denied(problem))),
            Pricing::Priced(_) => {
                IdempotencyKey::parse(request.idempotency_key)
                    .map_err(GateError::IdempotencyKey)?;
                Err(GateError::NoCredential)
            }
        }
    }

    /// Turns an error into an answer, with fresh challenges where paying is the remedy.
    async fn answer<P, F, H, G>(
        &self,
        error: &GateError,
        request: &Request<'_>,
        pricing: &mut Lazy<P, H>,
    ) -> Outcome
    where
        P: FnOnce() -> F,
        F: Future<Output = Pricing>,
        H: FnOnce() -> G,
        G: Future<Output = Pricing>,
    {
        let meaning = error.meaning();
        log(error);
        if !meaning.challenge && !is_of_the_credential(error) {
            return Outcome::Refuse(error.refused());
        }
        match pricing.get().await {
            // Whatever is wrong with the credential: nobody asks for one.
            Pricing::Free => Outcome::Free,
            Pricing::Denied(problem) if meaning.challenge => Outcome::Refuse(denied(problem)),
            Pricing::Priced(route) if meaning.challenge => {
                let known = match error {
                    GateError::Session(refused) => refused.known.as_ref(),
                    _ => None,
                };
                let challenges = match self.challenges(request, &route, known).await {
                    Ok(challenges) => challenges,
                    Err(error) => {
                        log(&error);
                        return Outcome::Refuse(error.refused());
                    }
                };
                let mut refused = error.refused();
                refused.problem.challenge_id =
                    challenges.first().map(|challenge| challenge.id.clone());
                refused.challenges = challenges;
                Outcome::Refuse(refused)
            }
            Pricing::Priced(_) | Pricing::Denied(_) => Outcome::Refuse(error.refused()),
        }
    }
}

impl GateError {
    /// The answer without challenges.
    pub(crate) fn refused(&self) -> Refused {
        let meaning = self.meaning();
        Refused {
            problem: Problem {
                session: match self {
                    Self::Session(refused) => Some(Box::new(refused.session.clone())),
                    _ => None,
                },
                ..Problem::new(meaning.kind, self.to_string())
            },
            challenges: Vec::new(),
            retry_after: meaning.retry_after,
        }
    }
}

/// True for a credential of a session, which may come with a `HEAD`.
fn asks_session(token: &[u8]) -> bool {
    let credential = Credential::parse(token);
    credential.is_ok_and(|it| it.challenge.params.intent == IntentName::session())
}

/// What a price list refuses, paid or not.
fn denied(problem: Problem) -> Refused {
    let later = [ProblemKind::Unavailable, ProblemKind::TooManyRequests];
    let retry_after = later
        .contains(&problem.kind)
        .then_some(RETRY_AFTER_SLOW_SECONDS);
    Refused {
        retry_after,
        ..Refused::plain(problem)
    }
}

/// True for what is wrong before the price is known: on a free request, nobody cares.
fn is_of_the_credential(error: &GateError) -> bool {
    matches!(
        error,
        GateError::SeveralCredentials
            | GateError::CredentialTooLarge { .. }
            | GateError::TargetTooLong { .. }
            | GateError::IdempotencyKey(_)
            | GateError::Head
    )
}

/// Tells the operator. The text holds no credential; the cause may say more than the peer learns.
pub(crate) fn log(error: &GateError) {
    let status = error.meaning().kind.status();
    let cause = std::error::Error::source(error).map(ToString::to_string);
    if status >= 500 {
        tracing::warn!(status, %error, cause, "refused");
    } else {
        tracing::debug!(status, %error, "refused");
    }
}
