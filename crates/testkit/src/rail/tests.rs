//! The rail keeps its own truth, whatever it says.

use stiver_core::{Challenge, challenge::Params, json::EncodedObject, name::IntentName};
use stiver_method::{
    artefact::{Artefact, ExecuteError, Lookup, RefusalKind},
    payee::{PayeeCharge, Presented, Quote, RefundRequest},
    payer::{CallKey, Payer},
};

use super::*;

fn call() -> CallKey {
    CallKey::from_bytes([5; 16])
}

fn rail() -> HostileRail {
    HostileRail::new("merchant", fixtures::usd())
}

async fn challenge(rail: &HostileRail) -> Challenge {
    let price = fixtures::micro_usd(100);
    let request = rail
        .quote(Quote {
            price: &price,
            description: None,
            external_id: None,
            now: fixtures::now(),
            expires: fixtures::now().plus_millis(fixtures::MINUTE_MS),
        })
        .await
        .unwrap();
    fixtures::key_ring().bind(Params {
        realm: fixtures::realm(),
        method: rail.name().clone(),
        intent: IntentName::charge(),
        request: EncodedObject::encode(&request),
        expires: None,
        digest: None,
        description: None,
        opaque: None,
    })
}

/// Pays as `alice`, and gives what the payee would execute.
async fn payment(rail: &HostileRail) -> Artefact {
    payment_of(rail, &rail.payer("alice").without_nonces()).await
}

async fn payment_of(rail: &HostileRail, alice: &RailPayer) -> Artefact {
    let challenge = challenge(rail).await;
    let prepared = alice
        .prepare(&challenge, fixtures::now(), call())
        .await
        .unwrap();
    let proof = alice.execute(&prepared).await.unwrap();
    let plan = rail
        .precheck(Presented {
            challenge: &challenge,
            payload: &proof.payload,
            source: None,
            now: fixtures::now(),
        })
        .unwrap();
    assert_eq!(plan.payer.as_deref(), Some("alice"));
    assert_eq!(
        plan.replay_keys,
        std::slice::from_ref(&plan.artefact.rail_key)
    );
    plan.artefact
}

fn run<F: Future>(test: impl FnOnce(HostileRail) -> F) {
    pollster::block_on(test(rail()));
}

#[test]
fn executing_twice_moves_once_and_says_the_same() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        let first = rail.execute(&artefact).await.unwrap();
        let second = rail.execute(&artefact).await.unwrap();
        assert_eq!(first, second);
        assert_eq!(first.amount, fixtures::micro_usd(100));
        assert_eq!(rail.moves(b"alice/0"), 1);
        assert_eq!(rail.executes(b"alice/0"), 2);
        assert_eq!(
            (rail.balance("alice"), rail.balance("merchant")),
            (-100, 100)
        );
    });
}

#[test]
fn a_lost_answer_has_moved_money() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        rail.script([Step::lost_answer()]);
        let answer = rail.execute(&artefact).await;
        assert!(matches!(answer, Err(ExecuteError::Unknown(_))));
        assert_eq!(rail.moves(b"alice/0"), 1);
        assert!(matches!(rail.lookup(&artefact).await, Ok(Lookup::Done(_))));
    });
}

#[test]
fn a_lost_request_has_moved_nothing_and_may_be_repeated() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        rail.script([Step::lost_request()]);
        let answer = rail.execute(&artefact).await;
        assert!(matches!(answer, Err(ExecuteError::Unknown(_))));
        assert_eq!(rail.moves(b"alice/0"), 0);
        assert_eq!(rail.lookup(&artefact).await, Ok(Lookup::Pending));
        assert!(rail.execute(&artefact).await.is_ok());
        assert_eq!(rail.moves(b"alice/0"), 1);
    });
}

#[test]
fn late_settlement_is_pending_for_so_many_lookups() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        rail.script([Step::late(2)]);
        assert!(rail.execute(&artefact).await.is_err());
        assert_eq!(rail.lookup(&artefact).await, Ok(Lookup::Pending));
        assert!(
            rail.execute(&artefact).await.is_err(),
            "an execute changes nothing"
        );
        assert_eq!(rail.lookup(&artefact).await, Ok(Lookup::Pending));
        assert_eq!(rail.moves(b"alice/0"), 0);
        assert!(matches!(rail.lookup(&artefact).await, Ok(Lookup::Done(_))));
        assert_eq!(rail.moves(b"alice/0"), 1);
    });
}

#[test]
fn what_lapses_never_moves() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        rail.script([Step::lapses(1)]);
        assert!(rail.execute(&artefact).await.is_err());
        assert_eq!(rail.lookup(&artefact).await, Ok(Lookup::Pending));
        assert!(matches!(rail.lookup(&artefact).await, Ok(Lookup::Never(_))));
        assert!(matches!(
            rail.execute(&artefact).await,
            Err(ExecuteError::Refused(_))
        ));
        assert_eq!(rail.moves(b"alice/0"), 0);
    });
}

#[test]
fn lies_do_not_change_the_truth() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        rail.script([
            Step::lying_refusal(RefusalKind::Denied),
            Step::lying_units(1),
            Step::lying_payee("mallory"),
        ]);
        assert!(matches!(
            rail.execute(&artefact).await,
            Err(ExecuteError::Refused(_))
        ));
        let told = rail.execute(&artefact).await.unwrap();
        assert_eq!(told.amount, fixtures::micro_usd(1));
        assert_eq!(rail.execute(&artefact).await.unwrap().payee, "mallory");
        let moved = [Movement {
            key: b"alice/0".to_vec(),
            from: "alice".to_owned(),
            to: "merchant".to_owned(),
            units: 100,
        }];
        assert_eq!(rail.movements(), moved);
    });
}

#[test]
fn of_two_payments_for_one_call_only_the_first_moves_money() {
    run(|rail| async move {
        let alice = rail.payer("alice");
        let first = payment_of(&rail, &alice).await;
        let second = payment_of(&rail, &alice).await;
        assert_eq!(first.rail_key, second.rail_key);
        rail.script([Step::lost_request()]);
        assert!(
            rail.execute(&first).await.is_err(),
            "the rail never got the first"
        );
        assert!(rail.execute(&second).await.is_ok());
        let Err(ExecuteError::Refused(refusal)) = rail.execute(&first).await else {
            panic!("the first must be refused");
        };
        assert_eq!(refusal.kind, RefusalKind::AlreadyUsed);
        assert!(matches!(rail.lookup(&first).await, Ok(Lookup::Never(_))));
        assert_eq!(rail.moves(&alice.key(call())), 1);
    });
}

#[test]
fn a_broken_rail_is_seen_to_move_twice() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        rail.script([Step::moves_again(), Step::moves_again()]);
        let first = rail.execute(&artefact).await.unwrap();
        let second = rail.execute(&artefact).await.unwrap();
        assert_ne!(first.reference, second.reference);
        assert_eq!(rail.moves(b"alice/0"), 2);
    });
}

#[test]
fn a_gate_holds_until_it_is_opened() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        let gate = Gate::closed();
        rail.script([Step::slow(&gate)]);
        let mut paying = rail.execute(&artefact);
        let pending = std::future::poll_fn(|context| {
            std::task::Poll::Ready(paying.as_mut().poll(context).is_pending())
        });
        assert!(pending.await);
        gate.reached(1).await;
        assert_eq!(rail.moves(b"alice/0"), 0);
        gate.open();
        assert!(paying.await.is_ok());
        assert_eq!(rail.moves(b"alice/0"), 1);
    });
}

#[test]
fn a_held_answer_has_moved_money_even_when_the_caller_gives_up() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        let gate = Gate::closed();
        rail.script([Step::honest().holding_answer(&gate)]);
        let mut paying = rail.execute(&artefact);
        std::future::poll_fn(|context| {
            assert!(paying.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(paying);
        assert_eq!(rail.moves(b"alice/0"), 1);
    });
}

#[test]
fn a_refund_moves_the_money_back_once() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        let settled = rail.execute(&artefact).await.unwrap();
        let refund = rail
            .prepare_refund(RefundRequest {
                settled: &settled,
                amount: &settled.amount,
                reason: "the upstream failed",
                key: [7; 16],
                now: fixtures::now(),
            })
            .await
            .unwrap();
        rail.script_refunds([Step::lost_answer()]);
        assert!(rail.execute(&refund).await.is_err());
        assert!(rail.execute(&refund).await.is_ok());
        assert_eq!(rail.moves(&HostileRail::refund_key([7; 16])), 1);
        assert_eq!((rail.balance("alice"), rail.balance("merchant")), (0, 0));
    });
}

#[test]
fn a_scripted_lookup_says_what_it_is_told() {
    run(|rail| async move {
        let artefact = payment(&rail).await;
        assert!(rail.execute(&artefact).await.is_ok());
        rail.script_lookups([
            LookupStep::unavailable(),
            LookupStep::pending(),
            LookupStep::lying_never(RefusalKind::Expired),
        ]);
        assert!(rail.lookup(&artefact).await.is_err());
        assert_eq!(rail.lookup(&artefact).await, Ok(Lookup::Pending));
        assert!(matches!(rail.lookup(&artefact).await, Ok(Lookup::Never(_))));
        assert!(matches!(rail.lookup(&artefact).await, Ok(Lookup::Done(_))));
        assert_eq!(rail.lookups(b"alice/0"), 4);
    });
}

#[test]
fn a_proof_for_another_challenge_is_refused() {
    run(|rail| async move {
        let (one, other) = (challenge(&rail).await, challenge(&rail).await);
        assert_ne!(one.id, other.id, "each challenge has its own invoice");
        let alice = rail.payer("alice");
        let prepared = alice.prepare(&one, fixtures::now(), call()).await.unwrap();
        let proof = alice.execute(&prepared).await.unwrap();
        let presented = Presented {
            challenge: &other,
            payload: &proof.payload,
            source: None,
            now: fixtures::now(),
        };
        assert_eq!(
            rail.precheck(presented).unwrap_err().kind,
            RefusalKind::Invalid
        );
    });
}
