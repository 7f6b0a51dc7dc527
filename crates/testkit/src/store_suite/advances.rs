//! Which transitions there are, and that repeating one changes nothing.

use stiver_env::{BoxFuture, Clock as _};
use stiver_store::{Advance, Claim, ClaimState, NewClaim, Reply, StoredResponse, limits};

use super::{
    Behaviour, Subject, bytes, capture, captured, delivered, failed, refund, refunded, settled,
    settled_and_deliver,
};
use crate::fixtures::{LEASE_MS, new_claim};

pub(super) const ALL: &[Behaviour] = &[
    every_transition_of_the_diagram_is_made_and_no_other,
    an_unanswered_advance_may_be_repeated,
    a_repeated_advance_with_other_bytes_is_refused,
    an_older_epoch_is_fenced,
    a_later_epoch_is_fenced,
    a_refund_artefact_gives_way_until_the_refund_is_made,
    artefacts_are_let_go_with_their_state,
    records_beyond_their_limit_are_refused,
    an_unknown_claim_is_absent,
    deliveries_are_counted_when_started,
    a_handler_that_runs_first_is_counted_from_its_claim_on,
    a_response_waits_for_its_settlement_and_is_replaced_at_delivery,
];

/// A claim in `Settling`, or one whose handler runs first.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Begins {
    Settling,
    Serving,
}

/// The ways from a new claim to each state.
fn all_ways() -> Vec<(&'static str, Begins, Vec<Advance>)> {
    let settling = ways().into_iter();
    let settling = settling.map(|(state, way)| (state, Begins::Settling, way));
    let serving = vec![
        ("serving", vec![]),
        ("authorised", vec![Advance::DeliveryFailed]),
        ("serving", vec![Advance::DeliveryFailed, Advance::Deliver]),
        ("capturing", vec![capture()]),
        ("settled", vec![capture(), settled()]),
        ("delivering", vec![capture(), settled_and_deliver()]),
        ("delivered", vec![capture(), captured()]),
        ("failed", vec![failed()]),
        ("failed", vec![capture(), failed()]),
    ];
    let serving = serving.into_iter();
    settling
        .chain(serving.map(|(state, way)| (state, Begins::Serving, way)))
        .collect()
}

/// The ways from a new claim in `Settling`.
fn ways() -> Vec<(&'static str, Vec<Advance>)> {
    let delivered_way = || vec![settled_and_deliver(), delivered()];
    let with = |mut way: Vec<Advance>, more: Vec<Advance>| {
        way.extend(more);
        way
    };
    vec![
        ("settling", vec![]),
        ("settled", vec![settled()]),
        ("delivering", vec![settled_and_deliver()]),
        ("delivering", vec![settled(), Advance::Deliver]),
        ("delivered", delivered_way()),
        ("failed", vec![failed()]),
        ("refunding", vec![settled(), refund()]),
        ("refunded", vec![settled(), refund(), refunded()]),
        ("disputed", with(delivered_way(), vec![Advance::Disputed])),
        (
            "reversed",
            with(delivered_way(), vec![Advance::Disputed, Advance::Reversed]),
        ),
    ]
}

/// Every advance but `Release`, which changes no state.
fn advances() -> Vec<Advance> {
    vec![
        settled(),
        settled_and_deliver(),
        failed(),
        capture(),
        captured(),
        Advance::Deliver,
        delivered(),
        Advance::DeliveryFailed,
        refund(),
        refunded(),
        Advance::Disputed,
        Advance::Reversed,
    ]
}

/// Where an advance leads from a state: the diagram.
fn leads_to(from: &str, to: &Advance) -> Option<&'static str> {
    match (from, to.name()) {
        ("settling" | "capturing", "settled") => Some("settled"),
        ("settling" | "capturing", "settled and deliver") => Some("delivering"),
        ("settling" | "authorised" | "serving" | "capturing", "failed") => Some("failed"),
        ("authorised", "deliver") => Some("serving"),
        ("serving", "delivery failed") => Some("authorised"),
        ("serving", "capture") => Some("capturing"),
        ("capturing", "captured") => Some("delivered"),
        ("settled", "deliver") => Some("delivering"),
        ("settled" | "delivering" | "delivered", "refund") => Some("refunding"),
        ("delivering" | "refunding", "delivered") => Some("delivered"),
        ("delivering", "delivery failed") => Some("settled"),
        ("refunding", "refunded") => Some("refunded"),
        ("delivered", "disputed") => Some("disputed"),
        ("disputed", "reversed") => Some("reversed"),
        _ => None,
    }
}

/// True when an advance repeats the one that led to a state.
fn repeats(state: &str, to: &Advance) -> bool {
    matches!(
        (state, to.name()),
        ("settled", "settled")
            | ("delivering", "settled and deliver" | "deliver")
            | ("serving", "deliver")
            | ("authorised", "delivery failed")
            | ("capturing", "capture")
            | ("delivered", "delivered" | "captured")
            | ("failed", "failed")
            | ("refunding", "refund")
            | ("refunded", "refunded")
            | ("disputed", "disputed")
            | ("reversed", "reversed")
    )
}

/// True in `Settled` after a run: its failure is what may have led there.
fn failed_before(claim: &Claim, to: &Advance) -> bool {
    claim.state.name() == "settled"
        && claim.deliveries_started > 0
        && *to == Advance::DeliveryFailed
}

/// Makes the claim of a number and leads it along a way.
async fn led(it: &Subject, n: u64, way: &[Advance]) -> Claim {
    led_from(it, n, Begins::Settling, way).await
}

async fn led_from(it: &Subject, n: u64, begins: Begins, way: &[Advance]) -> Claim {
    let new = NewClaim {
        handler_first: begins == Begins::Serving,
        ..new_claim(n)
    };
    let mut claim = it.won(&new).await;
    for to in way {
        claim = it.advanced(n, to.clone()).await;
    }
    claim
}

fn every_transition_of_the_diagram_is_made_and_no_other(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let mut n = 0;
        for (state, begins, way) in all_ways() {
            for to in advances() {
                n += 1;
                let before = led_from(it, n, begins, &way).await;
                assert_eq!(before.state.name(), state);
                let reply = it.advance(n, to.clone()).await;
                let after = it.found(n).await;
                match leads_to(state, &to) {
                    Some(next) => {
                        assert_eq!(after.state.name(), next, "{state}, {to:?}");
                        assert_eq!(reply, Reply::Advanced(Box::new(after)));
                    }
                    None if repeats(state, &to) || failed_before(&before, &to) => {
                        assert_eq!(after, before, "{state}, {to:?}");
                        assert_eq!(reply, Reply::Advanced(Box::new(before)));
                    }
                    None => {
                        assert_eq!(after, before, "{state}, {to:?}");
                        assert_eq!(reply, Reply::Refused(Box::new(before)));
                    }
                }
                finish(it, n).await;
            }
        }
    })
}

/// Leads a claim to its end and lets it go, so that the store does not fill up.
async fn finish(it: &Subject, n: u64) {
    for to in [failed(), settled(), refund(), refunded()] {
        it.advance(n, to).await;
    }
    it.pass(1000 * stiver_store::TERMINAL_RETAIN_MS);
    assert_eq!(it.get(n).await, Reply::Absent);
}

fn an_unanswered_advance_may_be_repeated(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        let way = [
            settled(),
            Advance::Deliver,
            Advance::DeliveryFailed,
            Advance::Deliver,
        ];
        for to in way
            .into_iter()
            .chain([delivered(), Advance::Disputed, Advance::Reversed])
        {
            let first = it.advanced(1, to.clone()).await;
            it.pass(10);
            assert_eq!(first, it.advanced(1, to.clone()).await, "{to:?}");
        }
        it.won(&new_claim(2)).await;
        for to in [settled_and_deliver(), refund(), refunded()] {
            let first = it.advanced(2, to.clone()).await;
            assert_eq!(first, it.advanced(2, to.clone()).await, "{to:?}");
        }
    })
}

fn a_repeated_advance_with_other_bytes_is_refused(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let others = [
            Advance::Settled {
                settlement: bytes("other"),
                deliver: false,
            },
            Advance::Delivered {
                receipt: "other".into(),
                response: None,
            },
            Advance::Failed {
                refusal: bytes("other"),
            },
            Advance::Refunded {
                refund: bytes("other"),
            },
        ];
        let ways = [
            vec![settled()],
            vec![settled_and_deliver(), delivered()],
            vec![failed()],
            vec![settled(), refund(), refunded()],
        ];
        for (n, (other, way)) in (1..).zip(others.into_iter().zip(ways)) {
            let before = led(it, n, &way).await;
            assert_eq!(it.advance(n, other).await, Reply::Refused(Box::new(before)));
        }
    })
}

fn an_older_epoch_is_fenced(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        it.pass(LEASE_MS);
        assert!(matches!(it.take_over(1, 2).await, Reply::Won(_)));
        let before = it.found(1).await;
        for to in advances().into_iter().chain([Advance::Release]) {
            assert_eq!(it.advance_as(1, 1, to).await, Reply::Fenced);
        }
        assert_eq!(it.renew(1, 1, LEASE_MS).await, Reply::Fenced);
        assert_eq!(it.found(1).await, before);
        let reply = it.advance_as(1, 2, settled()).await;
        assert!(matches!(reply, Reply::Advanced(_)));
        assert_eq!(
            it.advance_as(1, 1, settled()).await,
            Reply::Fenced,
            "a repetition too"
        );
    })
}

fn a_later_epoch_is_fenced(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        assert_eq!(it.advance_as(1, 2, settled()).await, Reply::Fenced);
        assert_eq!(it.renew(1, 2, LEASE_MS).await, Reply::Fenced);
    })
}

fn a_refund_artefact_gives_way_until_the_refund_is_made(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        led(it, 1, &[settled(), refund()]).await;
        let other = Advance::Refund {
            artefact: b"another artefact"[..].into(),
        };
        for _ in 0..2 {
            let claim = it.advanced(1, other.clone()).await;
            let ClaimState::Refunding { artefact, .. } = claim.state else {
                panic!("the claim must be refunding");
            };
            assert_eq!(&*artefact, b"another artefact");
        }
        let done = it.advanced(1, refunded()).await;
        assert_eq!(it.advance(1, other).await, Reply::Refused(Box::new(done)));
    })
}

fn artefacts_are_let_go_with_their_state(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        led(it, 1, &[settled(), refund(), refunded()]).await;
        let ClaimState::Refunded { settlement, refund } = it.found(1).await.state else {
            panic!("the claim must be refunded");
        };
        assert_eq!((settlement, refund), (bytes("settlement"), bytes("refund")));
        led(it, 2, &[settled_and_deliver(), delivered()]).await;
        let claim = it.found(2).await;
        let delivery = claim.state.delivery().expect("it was delivered");
        assert_eq!(delivery.settlement, bytes("settlement"));
        assert_eq!(&*delivery.receipt, "receipt");
    })
}

fn records_beyond_their_limit_are_refused(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let before = it.won(&new_claim(1)).await;
        let large = Advance::Settled {
            settlement: vec![0; limits::RECORD_BYTES_MAX + 1].into(),
            deliver: false,
        };
        let reply = it.advance(1, large).await;
        assert!(
            matches!(
                reply,
                Reply::TooLarge {
                    part: "settlement",
                    ..
                }
            ),
            "{reply:?}"
        );
        assert_eq!(it.found(1).await, before);
        it.advanced(1, settled_and_deliver()).await;
        let large = Advance::Delivered {
            receipt: "x".repeat(limits::RECEIPT_BYTES_MAX + 1).into(),
            response: None,
        };
        let reply = it.advance(1, large).await;
        assert!(
            matches!(
                reply,
                Reply::TooLarge {
                    part: "receipt",
                    ..
                }
            ),
            "{reply:?}"
        );
    })
}

fn an_unknown_claim_is_absent(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        assert_eq!(it.advance(1, settled()).await, Reply::Absent);
        assert_eq!(it.renew(1, 1, LEASE_MS).await, Reply::Absent);
        assert_eq!(it.take_over(1, 1).await, Reply::Absent);
    })
}

fn a_handler_that_runs_first_is_counted_from_its_claim_on(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let claim = led_from(it, 1, Begins::Serving, &[]).await;
        assert_eq!(claim.deliveries_started, 1);
        let claim = it.advanced(1, Advance::DeliveryFailed).await;
        assert_eq!(claim.deliveries_started, 1);
        assert!(matches!(it.take_over(1, 2).await, Reply::Won(_)), "freed");
        for _ in 0..2 {
            let reply = it.advance_as(1, 2, Advance::Deliver).await;
            assert!(matches!(reply, Reply::Advanced(claim) if claim.deliveries_started == 2));
        }
        for to in [capture(), settled_and_deliver()] {
            let reply = it.advance_as(1, 2, to).await;
            assert!(
                matches!(reply, Reply::Advanced(claim) if claim.deliveries_started == 2),
                "the run that has answered is not counted again"
            );
        }
    })
}

fn a_response_waits_for_its_settlement_and_is_replaced_at_delivery(
    it: &Subject,
) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let expires_at = it.clock.now().plus_millis(1000);
        let response = |status| {
            Some(std::sync::Arc::new(StoredResponse {
                status,
                headers: Vec::new(),
                body: b"late".to_vec(),
                expires_at,
            }))
        };
        let response_of = |claim: &Claim| claim.state.response().map(|it| it.status);
        let first = Advance::Capture {
            response: response(200),
        };
        led_from(it, 1, Begins::Serving, std::slice::from_ref(&first)).await;
        assert_eq!(response_of(&it.found(1).await), Some(200));
        let way = [
            first,
            Advance::Captured {
                settlement: bytes("settlement"),
                receipt: "receipt".into(),
                response: response(201),
            },
        ];
        let claim = led_from(it, 2, Begins::Serving, &way).await;
        assert_eq!(response_of(&claim), Some(201));
        it.pass(1000);
        assert_eq!(response_of(&it.found(1).await), None, "it has expired");
        assert_eq!(response_of(&it.found(2).await), None);
    })
}

fn deliveries_are_counted_when_started(it: &Subject) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        it.won(&new_claim(1)).await;
        assert_eq!(
            it.advanced(1, settled_and_deliver())
                .await
                .deliveries_started,
            1
        );
        assert_eq!(
            it.advanced(1, Advance::DeliveryFailed)
                .await
                .deliveries_started,
            1
        );
        assert_eq!(it.advanced(1, Advance::Deliver).await.deliveries_started, 2);
        assert_eq!(
            it.advanced(1, Advance::Deliver).await.deliveries_started,
            2,
            "a repetition"
        );
        assert_eq!(it.advanced(1, delivered()).await.deliveries_started, 2);
    })
}
