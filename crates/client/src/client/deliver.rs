//! Sends the credential, again and again if it must be, until an answer settles the call or the
//! bounds are reached.

use http::StatusCode;
use stiver_core::{Receipt, problem::ReceivedProblem};

use super::{
    Answer, Delivery, Exchange, Fate, Guard, Outgoing, Payment, PaymentClient, note_text,
    pay::Underway, words,
};
use crate::{
    CallError, MoneyMoved,
    call::{Call, Head, Meaning, Replay, meaning},
    choose,
    error::{LastSeen, Refused},
    events::{self, Spending},
    limits,
    outbox::{OutboxError, Step},
};

/// What became of one sending.
enum Sent<R> {
    /// A response.
    Answer(Head, R),
    /// None.
    Nothing(LastSeen),
}

/// How the client goes on after a refusal.
enum Next {
    SendAgain(Box<Underway>),
    Fail(CallError),
}

impl PaymentClient {
    /// Sends the credential until the call is settled. Only an answer that settles it is `Ok`.
    pub(super) async fn deliver<E: Exchange>(
        &self,
        outgoing: &Outgoing,
        underway: Underway,
        mut call: Call,
        (guard, exchange): (Option<Guard>, &mut E),
    ) -> Result<Answer<E::Response>, CallError> {
        let mut underway = underway;
        loop {
            call.sent();
            let (head, last) = match self.send_paid(outgoing, &underway, exchange).await {
                Sent::Nothing(last) => (None, last),
                Sent::Answer(head, response) => match judge(&head) {
                    Meaning::Paid => {
                        let paying = (&underway, &call);
                        let answer = self.paid::<E>(paying, &head, response, guard).await;
                        self.tell_answered(outgoing, &answer);
                        return Ok(answer);
                    }
                    Meaning::Answered => match self.not_yet::<E>(&head, response).await {
                        Ok(last) => (Some(head), last),
                        Err(response) => {
                            let answer = self.answered(&underway, &head, &call, response).await;
                            self.tell_answered(outgoing, &answer);
                            return Ok(answer);
                        }
                    },
                    Meaning::Refused { .. } => {
                        let words = self.refusal::<E>(response, head.status()).await;
                        let (id, terms) = (underway.id, underway.terms.clone());
                        match self
                            .refused(outgoing, underway, &head, words, &mut call)
                            .await
                        {
                            Next::SendAgain(next) => {
                                underway = *next;
                                continue;
                            }
                            Next::Fail(error) => {
                                self.tell_failed(outgoing, id, &terms, &error);
                                return Err(error);
                            }
                        }
                    }
                    Meaning::Again => {
                        let refusal = self.refusal::<E>(response, head.status()).await.0;
                        (Some(head), LastSeen::Answer(refusal))
                    }
                },
            };
            match call.replay(head.as_ref()) {
                Replay::After(wait) => self.wait(wait).await,
                Replay::Exhausted => return Err(self.unknown(outgoing, &underway, last).await),
                Replay::TooLong(wait) => {
                    let last = match last {
                        LastSeen::Answer(refusal) => LastSeen::AskedToWait {
                            seconds: wait.as_secs(),
                            refusal,
                        },
                        other => other,
                    };
                    return Err(self.unknown(outgoing, &underway, last).await);
                }
            }
        }
    }

    async fn send_paid<E: Exchange>(
        &self,
        outgoing: &Outgoing,
        underway: &Underway,
        exchange: &mut E,
    ) -> Sent<E::Response> {
        let sending = exchange.send(outgoing.request(Some(&underway.credential)));
        match self
            .within(self.parts().options.reply_timeout, sending)
            .await
        {
            None => Sent::Nothing(LastSeen::TimedOut),
            Some(Err(source)) => Sent::Nothing(LastSeen::NoResponse(source)),
            Some(Ok(response)) => {
                let (status, headers) = E::head(&response);
                Sent::Answer(Head::new(status, headers, self.now()), response)
            }
        }
    }

    /// What an answer of the 4xx class says, when it is the payment's own "not yet"; else the
    /// response, untouched, as it is the caller's.
    pub(super) async fn not_yet<E: Exchange>(
        &self,
        head: &Head,
        response: E::Response,
    ) -> Result<LastSeen, E::Response> {
        if !head.may_say_again() {
            return Err(response);
        }
        let peeking = E::peek(response, limits::PROBLEM_BYTES_MAX);
        let limit = self.parts().options.reply_timeout;
        let Some((body, response)) = self.within(limit, peeking).await else {
            return Ok(LastSeen::TimedOut);
        };
        let (refusal, problem) = words(head.status(), &body);
        match meaning(head.status(), problem.as_ref()) {
            Meaning::Again => Ok(LastSeen::Answer(refusal)),
            _ => Err(response),
        }
    }

    /// A success: journals the receipt now, and the end of the call when its body has been read.
    /// The answer is handed over even when the journal fails, for it has been paid for.
    async fn paid<E: Exchange>(
        &self,
        (underway, call): (&Underway, &Call),
        head: &Head,
        response: E::Response,
        guard: Option<Guard>,
    ) -> Answer<E::Response> {
        let (receipt, fault) = receipt(underway, head);
        let text = receipt.as_ref().map(|(text, _)| text.clone());
        let reference = receipt.as_ref().map(|(_, r)| r.reference.clone());
        let step = Step::Unread {
            receipt: text.clone(),
            // A receipt with a fault tells nothing about the money while the rail cannot.
            reference: fault.is_none().then(|| reference.clone()).flatten(),
            note: fault.clone(),
        };
        let recorded = self.record(underway.id, step).await;
        let read = Step::Paid {
            receipt: text,
            reference,
            note: fault.clone(),
        };
        let delivery = Delivery::new(self.clone(), underway.id, read, guard);
        let response = E::watch(response, delivery).await;
        let mut payment = payment(underway, call, MoneyMoved::Yes, recorded);
        payment.receipt = receipt.map(|(_, receipt)| receipt);
        payment.receipt_fault = fault;
        Answer {
            response,
            payment: Some(payment),
        }
    }

    /// An answer that is no success and that asking again would not change: the caller's. Whether
    /// it was paid for is for the rail to say.
    async fn answered<R>(
        &self,
        underway: &Underway,
        head: &Head,
        call: &Call,
        response: R,
    ) -> Answer<R> {
        let note = format!("answered with status {}", head.status().as_u16());
        let recorded = self.record(underway.id, Step::Unknown { note }).await;
        let fate = self.fate_of(underway).await;
        let moved = self.settle(underway.id, fate).await;
        Answer {
            response,
            payment: Some(payment(underway, call, moved, recorded)),
        }
    }

    /// A refusal: journals it, asks the rail, and signs again only when that cannot pay twice.
    async fn refused(
        &self,
        outgoing: &Outgoing,
        underway: Underway,
        head: &Head,
        (refusal, problem): (Refused, Option<ReceivedProblem>),
        call: &mut Call,
    ) -> Next {
        let id = underway.id;
        let note = note_text(&refusal.to_string());
        if let Err(source) = self.record(id, Step::Refused { note }).await {
            return Next::Fail(CallError::Journal {
                call: id,
                moved: MoneyMoved::Maybe,
                source,
            });
        }
        let payer = underway.payer.clone();
        let fate = self.fate_of(&underway).await;
        let mendable = matches!(
            meaning(head.status(), problem.as_ref()),
            Meaning::Refused {
                may_sign_again: true
            }
        ) && call.next_signature().is_some();
        let safe = match &fate {
            Fate::Done { .. } => false,
            Fate::Never(_) => true,
            Fate::Pending => payer.shares_call_key(),
        };
        if !(mendable && safe) {
            let moved = self.settle(id, fate).await;
            return Next::Fail(CallError::Refused {
                call: id,
                moved,
                refusal,
            });
        }
        let (mut offers, _) = choose::choose(head.challenges(), &self.asked(outgoing));
        if fate == Fate::Pending {
            // Only this payer's nonce makes sure that one of the two can land.
            offers.retain(|offer| offer.payer.name() == payer.name());
        }
        let chosen = match self.select(id, outgoing, offers, call).await {
            Ok(chosen) => chosen,
            // Not paid again: the first refusal is what the caller needs to know.
            Err(_) => {
                let moved = self.settle(id, fate).await;
                return Next::Fail(CallError::Refused {
                    call: id,
                    moved,
                    refusal,
                });
            }
        };
        match self.begin_again(outgoing, chosen, underway, call).await {
            Ok(next) => Next::SendAgain(Box::new(next)),
            Err(error) => Next::Fail(error),
        }
    }

    /// What the rail says; while it cannot tell, what the server's receipt said.
    async fn fate_of(&self, underway: &Underway) -> Fate {
        let fate = self.fate(underway.payer.as_ref(), &underway.artefacts);
        match (fate.await, &underway.receipted) {
            (Fate::Pending, Some(reference)) => Fate::Done {
                reference: reference.clone(),
            },
            (told, _) => told,
        }
    }

    /// No answer settles the call: journals that, and asks the rail once. Only that no money moved
    /// ends the call here.
    async fn unknown(&self, outgoing: &Outgoing, underway: &Underway, last: LastSeen) -> CallError {
        let call = underway.id;
        let note = note_text(&last.to_string());
        // The journal says `sent` already: if this is not recorded, nothing is lost.
        let _ = self.record(call, Step::Unknown { note }).await;
        let moved = match self.fate_of(underway).await {
            // What was paid for may still be had: the call stays open, and can be resumed.
            Fate::Done { .. } => MoneyMoved::Yes,
            fate => self.settle(call, fate).await,
        };
        let error = CallError::Unknown { call, moved, last };
        self.tell_failed(outgoing, call, &underway.terms, &error);
        error
    }

    fn tell_answered<R>(&self, outgoing: &Outgoing, answer: &Answer<R>) {
        if let Some(payment) = &answer.payment {
            let spending = || Spending::new(payment.call, &outgoing.origin, &payment.terms);
            self.tell(|| events::answered(spending(), payment.moved));
        }
    }
}

/// The meaning of an answer before its body is read.
fn judge(head: &Head) -> Meaning {
    match meaning(head.status(), None) {
        // A receipt is only sent with a success. Whatever the status, it was paid.
        Meaning::Answered if !head.receipts().is_empty() => Meaning::Paid,
        other => other,
    }
}

fn payment(
    underway: &Underway,
    call: &Call,
    moved: MoneyMoved,
    recorded: Result<(), OutboxError>,
) -> Payment {
    Payment {
        call: underway.id,
        terms: underway.terms.clone(),
        moved,
        receipt: None,
        receipt_fault: None,
        streamed: None,
        signatures: call.signatures(),
        unrecorded: recorded.err(),
        session: None,
    }
}

/// The receipt as text and value, and what is odd about it.
fn receipt(underway: &Underway, head: &Head) -> (Option<(String, Receipt)>, Option<String>) {
    let line = match head.receipts() {
        [] if head.status() == StatusCode::OK => {
            return (None, Some("the server sent no receipt".into()));
        }
        [] => return (None, None),
        [line] => line,
        _ => return (None, Some("the server sent several receipts".into())),
    };
    let receipt = match Receipt::parse(line) {
        Ok(receipt) => receipt,
        Err(error) => return (None, Some(format!("the receipt is malformed: {error}"))),
    };
    let params = &underway.challenge.params;
    let other_call = receipt
        .challenge_id
        .as_ref()
        .is_some_and(|id| *id != underway.challenge.id);
    let fault = if receipt.method != params.method {
        Some("the receipt is for another payment method".to_owned())
    } else if other_call {
        Some("the receipt is for another challenge".to_owned())
    } else {
        let complaint = underway.payer.check_receipt(&receipt).err();
        complaint.map(|why| note_text(&why))
    };
    let text = String::from_utf8_lossy(line).into_owned();
    (Some((text, receipt)), fault)
}
