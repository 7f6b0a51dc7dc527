//! The payee's side.

use stiver_core::{Amount, json::Object, name::MethodName};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, Lookup, RailUnavailable, Refusal, RefusalKind, Settled},
    payee::{PayeeCharge, Plan, Presented, Quote, QuoteError, RefundError, RefundRequest, Terms},
};

use super::{
    Fate, HostileRail, REPLAYABLE_MS,
    script::{LookupSays, LookupStep, Says, Step},
    wire::{Payload, Request, Transfer, invalid},
};

impl PayeeCharge for HostileRail {
    fn name(&self) -> &MethodName {
        &self.name
    }

    fn quote<'a>(&'a self, quote: Quote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>> {
        Box::pin(async move {
            self.expected_terms(quote.price)?;
            let invoice = {
                let mut inner = self.lock();
                inner.invoices += 1;
                inner.invoices
            };
            let request = Request {
                amount: quote.price.to_wire(),
                currency: self.currency.code().to_owned(),
                invoice: invoice.to_string(),
                recipient: self.payee.to_string(),
            };
            Ok(Object::serialize(&request).expect("a struct of strings is a JSON object"))
        })
    }

    fn expected_terms(&self, price: &Amount) -> Result<Terms, QuoteError> {
        if *price.currency() != self.currency {
            return Err(QuoteError::Currency {
                method: self.name.clone(),
                currency: price.currency().code().to_owned(),
            });
        }
        Ok(terms(price.clone(), &self.payee))
    }

    fn terms(&self, request: &Object) -> Result<Terms, Refusal> {
        let (request, amount) = Request::read(request, &self.currency)?;
        Ok(terms(amount, &request.recipient))
    }

    fn precheck(&self, presented: Presented<'_>) -> Result<Plan, Refusal> {
        let request = presented.challenge.params.request.object();
        let (request, amount) = Request::read(request, &self.currency)?;
        let payload = Payload::read(presented.payload)?;
        if !payload.is_for(&presented.challenge.id, &amount) {
            return Err(invalid("a proof made for another challenge"));
        }
        let key = payload.key.clone().into_bytes();
        Ok(Plan {
            replay_keys: vec![key],
            replayable_until: presented.now.plus_millis(REPLAYABLE_MS),
            payer: Some(payload.payer.clone()),
            artefact: Transfer {
                amount: payload.amount,
                challenge: payload.challenge,
                from: payload.payer,
                key: payload.key,
                refund: false,
                to: request.recipient,
            }
            .into_artefact(),
        })
    }

    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Settled, ExecuteError>> {
        Box::pin(async move {
            let transfer = Transfer::read(artefact).map_err(ExecuteError::Refused)?;
            let units = transfer.units().map_err(ExecuteError::Refused)?;
            let step = self.next_step(artefact, transfer.refund);
            if let Some(gate) = &step.before {
                gate.pass().await;
            }
            let fate = self.apply(&transfer, units, &step.does);
            if let Some(gate) = &step.after {
                gate.pass().await;
            }
            self.answer(fate, step.says)
        })
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        Box::pin(async move {
            let transfer = Transfer::read(artefact);
            let Ok((transfer, units)) = transfer.and_then(|it| it.units().map(|units| (it, units)))
            else {
                return Ok(Lookup::Never(invalid("the artefact")));
            };
            let step = self.next_lookup(artefact);
            if let Some(gate) = &step.before {
                gate.pass().await;
            }
            match step.says {
                LookupSays::Truth => Ok(self.look(artefact, &transfer, units)),
                LookupSays::Pending => Ok(Lookup::Pending),
                LookupSays::Never(refusal) => Ok(Lookup::Never(refusal)),
                LookupSays::Unavailable => Err(RailUnavailable("scripted".to_owned())),
            }
        })
    }

    fn prepare_refund<'a>(
        &'a self,
        refund: RefundRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, RefundError>> {
        Box::pin(async move {
            if self.lock().refunds_off {
                return Err(RefundError::Unsupported);
            }
            let Some(payer) = refund.settled.payer.clone() else {
                return Err(RefundError::Refused(invalid("a refund to nobody")));
            };
            if refund.amount.units() > refund.settled.amount.units() {
                return Err(RefundError::Refused(Refusal {
                    kind: RefusalKind::Invalid,
                    detail: "a refund is at most what was paid".to_owned(),
                }));
            }
            Ok(Transfer {
                amount: refund.amount.to_wire(),
                challenge: String::new(),
                from: refund.settled.payee.clone(),
                key: refund_key(refund.key),
                refund: true,
                to: payer,
            }
            .into_artefact())
        })
    }
}

/// The artefact key of a refund: `refund/` and the request's key in hexadecimal, 32 digits.
pub(super) fn refund_key(key: [u8; 16]) -> String {
    format!("refund/{:032x}", u128::from_be_bytes(key))
}

impl HostileRail {
    /// The artefact key of the refund with this [`RefundRequest::key`], for [`HostileRail::moves`].
    pub fn refund_key(key: [u8; 16]) -> Vec<u8> {
        refund_key(key).into_bytes()
    }

    fn next_step(&self, artefact: &Artefact, refund: bool) -> Step {
        let mut inner = self.lock();
        let account = inner.accounts.entry(artefact.rail_key.clone()).or_default();
        account.executes += 1;
        let queue = if refund {
            &mut inner.refunds
        } else {
            &mut inner.charges
        };
        queue.pop_front().unwrap_or_else(Step::honest)
    }

    fn next_lookup(&self, artefact: &Artefact) -> LookupStep {
        let mut inner = self.lock();
        let account = inner.accounts.entry(artefact.rail_key.clone()).or_default();
        account.lookups += 1;
        let step = inner.lookups.pop_front();
        step.unwrap_or_else(LookupStep::honest)
    }

    fn answer(&self, fate: Fate, says: Says) -> Result<Settled, ExecuteError> {
        let lost = || ExecuteError::Unknown("the answer was lost".to_owned());
        match (fate, says) {
            (_, Says::Unknown) => Err(lost()),
            (_, Says::Refused(refusal)) | (Fate::Never(refusal), _) => {
                Err(ExecuteError::Refused(refusal))
            }
            (Fate::Done(settled), Says::Truth) => Ok(settled),
            (Fate::Done(settled), Says::Units(units)) => Ok(Settled {
                amount: self.currency.units(units),
                ..settled
            }),
            (Fate::Done(settled), Says::Payee(payee)) => Ok(Settled { payee, ..settled }),
            (Fate::Open | Fate::Late { .. }, _) => Err(lost()),
        }
    }
}

fn terms(amount: Amount, payee: &str) -> Terms {
    Terms {
        amount,
        payee: payee.to_owned(),
        rest: "hostile rail".to_owned(),
    }
}
