//! Whatever a server does, one logical call has at most one authorisation that can land, and the
//! client tells of the money what is true.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use http::Request;
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use stiver_client::{MoneyMoved, limits, outbox::State};
use stiver_core::problem::ProblemKind;
use stiver_method::{
    artefact::RefusalKind,
    payee::{PayeeCharge, Presented},
    payer::CallKey,
};
use stiver_testkit::rail::{LookupStep, Step};
use support::{Act, Price, Setup, URL, World, charge};

fn problem() -> impl Strategy<Value = Option<ProblemKind>> {
    prop::sample::select(vec![
        None,
        Some(ProblemKind::PaymentRequired),
        Some(ProblemKind::InvalidChallenge),
        Some(ProblemKind::VerificationFailed),
        Some(ProblemKind::PaymentExpired),
        Some(ProblemKind::PaymentInsufficient),
        Some(ProblemKind::OutcomeUnknown),
        Some(ProblemKind::Internal),
    ])
}

fn act() -> impl Strategy<Value = Act> {
    let status = prop::sample::select(vec![200, 204, 303, 400, 402, 403, 409, 429, 500, 503]);
    let prices = prop::collection::vec(1_u128..50, 0..3).prop_map(|units| {
        let price = |units| Price {
            units,
            ..Price::default()
        };
        units.into_iter().map(price).collect()
    });
    prop_oneof![
        3 => (prices, problem()).prop_map(|(prices, problem)| Act::Charge(prices, problem)),
        2 => Just(Act::Serve),
        2 => Just(Act::ServeAndCut),
        1 => Just(Act::ServeAndHang),
        2 => Just(Act::ServeAndBreak),
        3 => (status.clone(), problem()).prop_map(|(s, p)| Act::ServeAndSay(s, p)),
        1 => Just(Act::Cut),
        1 => Just(Act::Hang),
        2 => (status, problem()).prop_map(|(s, p)| Act::Say(s, vec![], p)),
    ]
}

/// What the rail does with one execution.
#[derive(Debug, Clone, Copy)]
enum Rail {
    Honest,
    LosesAnswer,
    LosesRequest,
    Late,
    Lapses,
    Refuses,
    LiesRefusal,
}

impl Rail {
    fn step(self) -> Step {
        match self {
            Self::Honest => Step::honest(),
            Self::LosesAnswer => Step::lost_answer(),
            Self::LosesRequest => Step::lost_request(),
            Self::Late => Step::late(1),
            Self::Lapses => Step::lapses(1),
            Self::Refuses => Step::refused(RefusalKind::Invalid),
            Self::LiesRefusal => Step::lying_refusal(RefusalKind::Expired),
        }
    }
}

fn rail() -> impl Strategy<Value = Rail> {
    prop::sample::select(vec![
        Rail::Honest,
        Rail::Honest,
        Rail::LosesAnswer,
        Rail::LosesRequest,
        Rail::Late,
        Rail::Lapses,
        Rail::Refuses,
        Rail::LiesRefusal,
    ])
}

/// What a look-up tells.
#[derive(Debug, Clone, Copy)]
enum Look {
    Truth,
    Pending,
    Unavailable,
}

impl Look {
    fn step(self) -> LookupStep {
        match self {
            Self::Truth => LookupStep::honest(),
            Self::Pending => LookupStep::pending(),
            Self::Unavailable => LookupStep::unavailable(),
        }
    }
}

fn look() -> impl Strategy<Value = Look> {
    prop::sample::select(vec![
        Look::Truth,
        Look::Truth,
        Look::Pending,
        Look::Unavailable,
    ])
}

/// Whether the payer's rail has nonces.
#[derive(Debug, Clone, Copy)]
struct Weather {
    nonces: bool,
}

/// What the rail would do with every credential the server has ever seen, presented once more.
fn present_all_again(world: &World) {
    for seen in world.server.paid() {
        let credential = seen.credential.unwrap();
        let plan = world.rail.precheck(Presented {
            challenge: &credential.challenge,
            payload: &credential.payload,
            source: None,
            now: world.simulation.env().clock.now(),
        });
        let plan = plan.unwrap();
        let _ = world.run(world.rail.execute(&plan.artefact));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn one_call_never_pays_twice_and_tells_the_truth(
        seed in any::<u64>(),
        nonces in any::<bool>(),
        acts in prop::collection::vec(act(), 0..12),
        resumed in prop::collection::vec(act(), 0..8),
        rails in prop::collection::vec(rail(), 0..6),
        looks in prop::collection::vec(look(), 0..8),
    ) {
        let weather = Weather { nonces };
        let world = World::new(Setup { seed, nonces, ..Setup::default() });
        world.server.script([charge()]);
        world.server.script(acts);
        world.rail.script(rails.into_iter().map(Rail::step));
        world.rail.script_lookups(looks.into_iter().map(Look::step));
        let request = Request::get(URL).body(Full::default()).unwrap();
        let result = world.head(request).map(|response| {
            let _ = world.run(response.into_body().collect());
        });
        let mut said_no = check(&world, &weather, &result.map_err(|e| e.money_moved()));

        // Whatever is left open is resumed, and then closed by the rail as far as it can be.
        world.server.script(resumed);
        for entry in world.run(world.client.recover()).unwrap() {
            let result = world.resume(entry.id);
            said_no = check(&world, &weather, &result.map(drop).map_err(|e| e.money_moved()));
        }
        // More often than the rail's script is long.
        for _ in 0..8 {
            present_all_again(&world);
        }
        let moved = world.rail.movements().len();
        prop_assert!(!said_no || moved == 0, "{weather:?}: said that none can move");
        prop_assert!(world.rail.movements().len() <= 1, "{weather:?}: paid twice");
    }
}

/// True when the client said that no money moved and none will.
fn check(world: &World, weather: &Weather, result: &Result<(), MoneyMoved>) -> bool {
    let entries = world.outbox.history();
    let entry = entries.last();
    let paid = world.server.paid();
    let most = usize::try_from(limits::SIGNATURES_MAX).unwrap();
    assert!(world.server.credentials() <= most, "{weather:?}");
    for seen in &paid {
        // Never sent before it is journaled.
        let journaled = matches!(
            seen.journal,
            Some(State::Sent | State::Unknown | State::Refused | State::Unread)
        );
        assert!(journaled, "{weather:?}: {:?}", seen.journal);
        let key = &seen.headers["idempotency-key"];
        assert_eq!(key, &paid[0].headers["idempotency-key"], "{weather:?}");
    }
    if let Some(entry) = entry {
        let key = CallKey::from_bytes(*entry.id.as_bytes());
        if weather.nonces {
            let own = world.rail.payer("alice").key(key);
            assert!(world.rail.moves(&own) <= 1, "{weather:?}");
        }
    }
    let moved = world.rail.movements().len();
    assert!(moved <= 1, "{weather:?}: paid twice");
    match result {
        Err(MoneyMoved::No) => assert_eq!(moved, 0, "{weather:?}: said that none moved"),
        Err(MoneyMoved::Yes) => assert_eq!(moved, 1, "{weather:?}: said that money moved"),
        Err(MoneyMoved::Maybe) | Ok(()) => {}
    }
    if let Some(entry) = entry.filter(|entry| entry.state == State::Void) {
        assert_eq!(moved, 0, "{weather:?}: {} is void", entry.id);
    }
    matches!(result, Err(MoneyMoved::No))
}
