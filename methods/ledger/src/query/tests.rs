//! Questions, answers, and who may ask.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use stiver_core::{Timestamp, base64url};
use stiver_ledger::{
    id::LedgerId,
    limits::SCANS_MAX,
    order::{Action, SignedOrder},
};
use stiver_method::{
    BoxFuture,
    artefact::{Lookup, RailUnavailable, RefusalKind},
    payee::PayeeCharge,
    payer::{CallKey, Payer},
};

use super::{
    Answer, AnswerError, AskError, OrderAnswer, Query, QueryRefusal, QueryTransport, Question,
    RemoteLedger, serve,
};
use crate::tests::setup::{ALICE, MALLORY, SHOP, Setup, account, execute, key};
use crate::{EmbeddedLedger, api::OrderQuery};

/// Straight to the ledger, by its own clock.
struct Direct(EmbeddedLedger);

impl QueryTransport for Direct {
    fn post(&self, body: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, AskError>> {
        Box::pin(async move {
            let ledger = self.0.ledger();
            let now = ledger
                .time()
                .await
                .map_err(|e| RailUnavailable(e.to_string()))?;
            let answer = serve(&body, ledger, now).await;
            answer.map_err(|refusal| AskError::Refused {
                code: Some(refusal.code().to_owned()),
                detail: refusal.to_string(),
            })
        })
    }
}

fn remote(setup: &Setup, number: u8, about: u8) -> RemoteLedger {
    RemoteLedger {
        ledger: setup.embedded.ledger().id(),
        account: account(about),
        signer: Arc::new(key(number)),
        transport: Arc::new(Direct(setup.embedded.clone())),
        clock: setup.simulation.env().clock,
    }
}

fn query(setup: &Setup, question: Question) -> Query {
    Query {
        ledger: setup.embedded.ledger().id(),
        account: account(ALICE),
        at: setup.now(),
        question,
    }
}

#[test]
fn an_account_is_told_to_its_own_key() {
    let setup = Setup::new();
    let Ok(Answer::Account(told)) = setup.run(remote(&setup, ALICE, ALICE).ask(Question::Account))
    else {
        panic!("no account");
    };
    assert_eq!(told.account, account(ALICE).to_string());
    assert_eq!(told.balances.len(), 1);
    assert_eq!(told.balances[0].available, "1000000");
    assert_eq!(told.balances[0].decimals, 6);
    assert_eq!(
        told.keys,
        [format!("{} spend+settle+admin", key(ALICE).did())]
    );
}

#[test]
fn a_payer_learns_what_became_of_an_order() {
    let setup = Setup::new();
    let payer = setup.payer(ALICE, Some(Arc::new(remote(&setup, ALICE, ALICE))));
    let challenge = setup.challenge(1);
    let call = CallKey::from_bytes([1; 16]);
    let artefact = setup
        .run(payer.prepare(&challenge, setup.now(), call))
        .unwrap();
    assert_eq!(setup.run(payer.lookup(&artefact)), Ok(Lookup::Pending));
    let settled = setup.run(setup.payee.execute(&artefact)).unwrap();
    assert_eq!(
        setup.run(payer.lookup(&artefact)),
        Ok(Lookup::Done(Box::new(settled)))
    );

    let other = setup.challenge(2);
    let artefact = setup.run(payer.prepare(&other, setup.now(), call)).unwrap();
    let never = setup.run(payer.lookup(&artefact)).unwrap();
    assert!(matches!(never, Lookup::Never(never) if never.kind == RefusalKind::AlreadyUsed));
    let unsent = CallKey::from_bytes([2; 16]);
    let artefact = setup
        .run(payer.prepare(&other, setup.now(), unsent))
        .unwrap();
    setup.simulation.clock.advance(Duration::from_secs(300));
    let never = setup.run(payer.lookup(&artefact)).unwrap();
    assert!(matches!(never, Lookup::Never(never) if never.kind == RefusalKind::Expired));
}

#[test]
fn a_statement_comes_in_pages() {
    let setup = Setup::new();
    let payer = setup.payer(ALICE, None);
    for number in 1..=5 {
        let credential = setup.pay(&payer, &setup.challenge(number), number);
        let plan = setup.precheck(&credential).unwrap();
        setup.run(setup.payee.execute(&plan.artefact)).unwrap();
    }
    let remote = remote(&setup, ALICE, ALICE);
    let mut amounts = Vec::new();
    let mut before = None;
    loop {
        let question = Question::Statement {
            from: Timestamp::from_millis(0),
            to: Timestamp::MAX,
            before,
            limit: 2,
        };
        let Ok(Answer::Statement { transfers, next }) = setup.run(remote.ask(question)) else {
            panic!("no statement");
        };
        assert!(transfers.len() <= 2);
        amounts.extend(transfers.into_iter().map(|row| row.amount));
        before = next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(
        amounts,
        ["10000", "10000", "10000", "10000", "10000", "1000000"]
    );
}

#[test]
fn questions_that_need_the_whole_log_are_refused_while_enough_others_are_answered() {
    let setup = Setup::new();
    let payer = setup.payer(ALICE, None);
    let credential = setup.pay(&payer, &setup.challenge(1), 1);
    let plan = setup.precheck(&credential).unwrap();
    setup.run(setup.payee.execute(&plan.artefact)).unwrap();
    let ledger = setup.embedded.ledger();
    for number in 10..20 {
        // Log time follows the clock by a day at a time, and forgetting follows what is executed.
        setup
            .simulation
            .clock
            .advance(Duration::from_secs(24 * 3600));
        let open = Action::Open {
            first_key: key(number).did(),
            owner: None,
        };
        setup.run(execute(ledger, number, [number; 16], open));
    }
    let order = SignedOrder::from_bytes(&plan.artefact.bytes).unwrap();
    let question = query(&setup, Question::Order(order.order_bytes().to_vec()));
    let body = setup.run(question.sign(&key(ALICE))).unwrap();
    let now = setup.now();
    let answers = setup.run(all((0..8).map(|_| serve(&body, ledger, now)).collect()));
    let busy = |answer: &&Result<_, QueryRefusal>| matches!(answer, Err(QueryRefusal::Busy));
    let refused = answers.iter().filter(busy).count();
    let told = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!((told, refused), (SCANS_MAX, 8 - SCANS_MAX), "{answers:?}");

    let body = setup.run(serve(&body, ledger, now)).unwrap();
    let Ok(Answer::Order(answer)) = Answer::parse(&body, ledger.id()) else {
        panic!("no answer");
    };
    assert!(matches!(answer, OrderAnswer::Executed { .. }));
}

/// The outputs of all futures, run together.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs = Vec::new();
    poll_fn(|context| {
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            Poll::Pending => true,
        });
        match waiting.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    outputs
}

#[test]
fn nobody_learns_anything_about_another_account() {
    let setup = Setup::new();
    for (signer, about) in [(MALLORY, ALICE), (SHOP, ALICE)] {
        let denied = setup.run(remote(&setup, signer, about).ask(Question::Account));
        let denied = denied.unwrap_err().to_string();
        assert!(
            denied.contains("not signed by a key of the account"),
            "{denied}"
        );
    }
    let absent = setup.run(remote(&setup, MALLORY, MALLORY).ask(Question::Account));
    assert!(absent.unwrap_err().to_string().contains("no such account"));

    // Nor about another's order.
    let payer = setup.payer(ALICE, None);
    let credential = setup.pay(&payer, &setup.challenge(1), 1);
    let plan = setup.precheck(&credential).unwrap();
    let order = SignedOrder::from_bytes(&plan.artefact.bytes).unwrap();
    let question = Question::Order(order.order_bytes().to_vec());
    let denied = setup.run(remote(&setup, SHOP, SHOP).ask(question));
    assert!(
        denied
            .unwrap_err()
            .to_string()
            .contains("not signed by a key")
    );
    let refused = setup.run(remote(&setup, SHOP, SHOP).lookup(&order));
    assert!(refused.is_err());
}

#[test]
fn hostile_questions_are_refused() {
    let setup = Setup::new();
    let ledger = setup.embedded.ledger().clone();
    let ask = |body: &[u8], now: Timestamp| setup.run(serve(body, &ledger, now));
    let sign = |query: &Query| setup.run(query.sign(&key(ALICE))).unwrap();
    let good = query(&setup, Question::Account);
    let now = setup.now();
    assert!(ask(&sign(&good), now).is_ok());

    for body in [
        &b""[..],
        b"{}",
        b"[]",
        br#"{"query":"","key":"","signature":""}"#,
        &vec![b' '; 9000],
    ] {
        assert!(matches!(ask(body, now), Err(QueryRefusal::Malformed)));
    }
    for skew in [300_000, 300_001] {
        let late = ask(&sign(&good), now.plus_millis(skew));
        assert_eq!(matches!(late, Err(QueryRefusal::Skewed)), skew > 300_000);
    }
    let mut other = good.clone();
    other.ledger = LedgerId::from_bytes([0; 16]);
    assert!(matches!(
        ask(&sign(&other), now),
        Err(QueryRefusal::OtherLedger)
    ));

    // A signature over another question.
    let text = String::from_utf8(sign(&good)).unwrap();
    let statement = query(&setup, Question::Order(vec![1]));
    let swapped = text.replace(
        &base64url::encode(&good.encode()),
        &base64url::encode(&statement.encode()),
    );
    assert!(matches!(
        ask(swapped.as_bytes(), now),
        Err(QueryRefusal::Denied)
    ));
    let garbage = query(&setup, Question::Order(b"no order".to_vec()));
    assert!(matches!(
        ask(&sign(&garbage), now),
        Err(QueryRefusal::Malformed)
    ));
    let huge = query(&setup, Question::Order(vec![0; 3000]));
    assert!(matches!(
        ask(&sign(&huge), now),
        Err(QueryRefusal::Malformed)
    ));
}

#[test]
fn a_question_has_one_byte_form() {
    let setup = Setup::new();
    let from = Timestamp::from_millis(5);
    for question in [
        Question::Account,
        Question::Order(vec![1, 2, 3]),
        Question::Statement {
            from,
            to: Timestamp::MAX,
            before: Some(7),
            limit: 2,
        },
        Question::Statement {
            from,
            to: from,
            before: None,
            limit: 0,
        },
    ] {
        let query = query(&setup, question);
        let bytes = query.encode();
        assert_eq!(Query::decode(&bytes).as_ref(), Some(&query));
        for end in 0..bytes.len() {
            assert_eq!(Query::decode(&bytes[..end]), None);
        }
        assert_eq!(Query::decode(&[&bytes[..], &[0]].concat()), None);
        let unknown = [&[bytes[0] + 1], &bytes[1..], &[0x18, 99, 0]].concat();
        assert_eq!(Query::decode(&unknown), None);
    }
}

#[test]
fn hostile_answers_are_refused() {
    let ledger = LedgerId::from_bytes([7; 16]);
    let name = ledger.to_string();
    let body = |answer: &str| format!(r#"{{"ledger":"{name}","at":"now","answer":{answer}}}"#);
    let pending = body(r#"{"kind":"order","status":"pending"}"#);
    assert_eq!(
        Answer::parse(pending.as_bytes(), ledger),
        Ok(Answer::Order(OrderAnswer::Pending))
    );
    for (text, error) in [
        (String::new(), AnswerError::Malformed),
        (body("null"), AnswerError::Malformed),
        (body("{}"), AnswerError::Malformed),
        (
            body(r#"{"kind":"order","status":"maybe"}"#),
            AnswerError::Malformed,
        ),
        (" ".repeat(70_000), AnswerError::TooLong),
        (pending.replace(&name, "x"), AnswerError::OtherLedger),
    ] {
        assert_eq!(Answer::parse(text.as_bytes(), ledger), Err(error), "{text}");
    }
    // What contradicts itself is no answer: nothing is known.
    let setup = Setup::new();
    let payer = setup.payer(ALICE, None);
    let credential = setup.pay(&payer, &setup.challenge(1), 1);
    let plan = setup.precheck(&credential).unwrap();
    let asked = SignedOrder::from_bytes(&plan.artefact.bytes).unwrap();
    for answer in [
        r#"{"kind":"order","status":"executed"}"#,
        r#"{"kind":"order","status":"never","reason":"because","detail":""}"#,
    ] {
        let Ok(Answer::Order(order)) = Answer::parse(body(answer).as_bytes(), ledger) else {
            panic!("{answer}");
        };
        assert_eq!(order.lookup(&asked), None, "{answer}");
    }
}

/// Answers a question with another answer, changed on the way.
struct Lying {
    direct: Direct,
    from: String,
    to: String,
}

impl QueryTransport for Lying {
    fn post(&self, body: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, AskError>> {
        Box::pin(async move {
            let answer = String::from_utf8(self.direct.post(body).await?).unwrap();
            assert!(answer.contains(&self.from), "{answer}");
            Ok(answer.replacen(&self.from, &self.to, 1).into_bytes())
        })
    }
}

#[test]
fn an_answer_about_another_movement_than_the_one_asked_about_tells_nothing() {
    let setup = Setup::new();
    let payer = setup.payer(ALICE, None);
    let credential = setup.pay(&payer, &setup.challenge(1), 1);
    let plan = setup.precheck(&credential).unwrap();
    setup.run(setup.payee.execute(&plan.artefact)).unwrap();
    let order = SignedOrder::from_bytes(&plan.artefact.bytes).unwrap();
    let shop = account(SHOP).to_string();
    let other = account(MALLORY).to_string();
    let id = order.hash().to_string();
    let other_id = id.replace(['a', 'b', 'c', '1', '2', '3'], "4");
    let look = |from: &str, to: &str| {
        let mut asked = remote(&setup, ALICE, ALICE);
        asked.transport = Arc::new(Lying {
            direct: Direct(setup.embedded.clone()),
            from: from.to_owned(),
            to: to.to_owned(),
        });
        setup.run(asked.lookup(&order))
    };
    assert!(matches!(look(&shop, &shop), Ok(Lookup::Done(_))));
    for (from, to) in [
        (shop.as_str(), other.as_str()),
        (&id, &other_id),
        (r#""amount":"10000""#, r#""amount":"1""#),
        (r#""currency":"usd""#, r#""currency":"eur""#),
        (r#""refunded":"0""#, r#""refunded":"0","x":1"#),
    ] {
        let told = look(from, to);
        let harmless = from.contains("refunded");
        assert_eq!(told.is_ok(), harmless, "{to}: {told:?}");
    }
}
