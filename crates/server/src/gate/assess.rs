//! Shadow mode: what would become of a request, found out without any effect.

use std::future::Future;

use stiver_core::{Amount, credential::token_hash, name::IntentName, problem::ProblemKind};

use super::{
    Gate,
    admit::Asked,
    check::{echoed, inputs_of, same_inputs},
};
use crate::{error::GateError, events::Event, request::Request, route::Pricing};

/// What would have become of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessed {
    /// What it costs; `None` when it is free or refused.
    pub amount: Option<Amount>,
    /// The problem that it would be answered with; `None` when it would be served. Settlement is
    /// not tried, so this is what can be told before it.
    pub problem: Option<ProblemKind>,
}

impl Gate {
    /// Looks at a request as [`Gate::admit`] does, up to the claim, and does nothing: no challenge
    /// is issued, nothing is claimed, and nothing is refused. It tells
    /// [`Event::WouldCharge`] unless the request is free.
    pub async fn assess<P, F>(&self, request: &Request<'_>, price: P) -> Assessed
    where
        P: FnOnce() -> F,
        F: Future<Output = Pricing>,
    {
        let assessed = self.weigh(request, price().await).await;
        if assessed.amount.is_some() || assessed.problem.is_some() {
            tracing::info!(
                amount = assessed.amount.as_ref().map(tracing::field::display),
                problem = assessed.problem.map(ProblemKind::type_uri),
                "shadow: would charge"
            );
            self.tell(|| Event::WouldCharge {
                amount: assessed.amount.clone(),
                problem: assessed.problem,
            });
        }
        assessed
    }

    async fn weigh(&self, request: &Request<'_>, pricing: Pricing) -> Assessed {
        let route = match pricing {
            Pricing::Free => {
                return Assessed {
                    amount: None,
                    problem: None,
                };
            }
            Pricing::Denied(problem) => {
                return Assessed {
                    amount: None,
                    problem: Some(problem.kind),
                };
            }
            Pricing::Priced(route) => route,
        };
        let problem = self.would_refuse(request, &route).await.err();
        Assessed {
            amount: route.offers.first().map(|offer| offer.price.clone()),
            problem: problem.map(|error| error.meaning().kind),
        }
    }

    /// The checks before the claim. A credential that is known would go on from its journal.
    async fn would_refuse(
        &self,
        request: &Request<'_>,
        route: &crate::Route,
    ) -> Result<(), GateError> {
        let now = self.now();
        let Some(fields) = self.read_fields(request, now)? else {
            return Err(GateError::NoCredential);
        };
        let id = fields.credential.challenge.id.as_str();
        let opaque = echoed(&fields.credential);
        let inputs = inputs_of(opaque.as_ref());
        let asked = Asked {
            credential_hash: token_hash(fields.token),
            request_hash: request.hash(inputs),
            others_hash: request.others_hash(),
            key: fields.key,
        };
        let known = self.find(id).await.map_err(GateError::JournalLost)?;
        let known =
            known.filter(|claim| fields.bound || claim.credential_hash == asked.credential_hash);
        if let Some(claim) = known {
            same_inputs(route, inputs)?;
            return self.whose(&asked, &claim);
        }
        if !fields.bound {
            return Err(GateError::NotBound);
        }
        let intent = &fields.credential.challenge.params.intent;
        if *intent == IntentName::session() && route.sessions().next().is_some() {
            return Ok(());
        }
        let echo = (&fields.credential, opaque.as_ref());
        self.check(request, route, echo, fields.key, now).map(drop)
    }
}
