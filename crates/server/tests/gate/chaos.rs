//! Everything that can go wrong, at random: crashes, lost answers, late rails, dying handlers,
//! impatient clients. Money moves at most once, is delivered at most once, and never stays in
//! between.

use std::{sync::Arc, time::Duration};

use stiver_method::artefact::RefusalKind;
use stiver_server::{
    Pricing,
    grant::PayeeFailure,
    route::{OnFailure, Settle, UpstreamRepeats},
};
use stiver_testkit::{
    entropy::Random,
    rail::{LookupStep, REPLAYABLE_MS, Step},
    store_memory::Fault,
};

use crate::common::{Answer, Ask, PRICE, Run, World, exchange};

/// Seeds that have found something.
const FOUND: [u64; 2] = [1845, 4066];
const ATTEMPTS_MAX: u32 = 3;
/// The route's resume window, milliseconds.
const WINDOW_MS: u64 = 600_000;

fn pick<T: Clone>(random: &mut Random, of: &[T]) -> T {
    of[random.index(of.len())].clone()
}

fn script(world: &World, random: &mut Random) {
    let steps = [
        Step::honest(),
        Step::lost_answer(),
        Step::lost_request(),
        Step::late(2),
        Step::lapses(2),
        Step::refused(RefusalKind::Insufficient),
    ];
    let lookups = [
        LookupStep::honest(),
        LookupStep::honest(),
        LookupStep::pending(),
        LookupStep::unavailable(),
    ];
    let refunds = [Step::honest(), Step::lost_answer(), Step::lost_request()];
    let runs = [
        Run::Answers(200),
        Run::Answers(404),
        Run::Dies,
        Run::Fails(PayeeFailure::NotReached),
        Run::Fails(PayeeFailure::MayHaveRun),
    ];
    let faults = [
        Fault::None,
        Fault::None,
        Fault::None,
        Fault::None,
        Fault::LosesCommand,
        Fault::LosesAnswer,
    ];
    for _ in 0..4 {
        world.rail.script([pick(random, &steps)]);
        world.rail.script_lookups([pick(random, &lookups)]);
        world.rail.script_refunds([pick(random, &refunds)]);
        world.handler.script([pick(random, &runs)]);
    }
    for _ in 0..20 {
        world.memory.script([pick(random, &faults)]);
    }
    if random.once_in(4) {
        world.rail.refuse_refunds();
    }
}

fn recover(world: &World) {
    let gate = world.gate.clone();
    let slot = world.start(async move { gate.recover().await.is_ok() });
    world.pass(60_000);
    drop(slot);
}

/// Sends a request, perhaps twice at once, to a process that may die meanwhile.
fn attempt(world: &mut World, random: &mut Random, ask: &Ask, pricing: &Pricing) -> Vec<Answer> {
    if random.once_in(3) {
        let soon = world.front.commands().len() + 1 + random.index(4);
        world.front.die_at(soon, random.once_in(2));
    }
    let count = 1 + random.index(2);
    let start = |_| {
        let handler = Arc::clone(&world.handler);
        world.start(exchange(
            world.gate.clone(),
            ask.clone(),
            pricing.clone(),
            handler,
        ))
    };
    let slots: Vec<_> = (0..count).map(start).collect();
    let patience = pick(random, &[20, 1_000, 60_000]);
    world.pass(patience);
    if random.once_in(3) || world.front.has_died() {
        world.restart();
    }
    slots
        .iter()
        .filter_map(|slot| slot.lock().unwrap().take())
        .collect()
}

fn run(seed: u64, settle: Settle) -> &'static str {
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    let policy = pick(
        &mut random,
        &[OnFailure::Retry, OnFailure::Refund, OnFailure::Keep],
    );
    let repeats = [UpstreamRepeats::ByMethod, UpstreamRepeats::HonoursKey];
    let route = world
        .route()
        .settle(settle)
        .on_failure(policy)
        .upstream_repeats(pick(&mut random, &repeats))
        .resume_window(Duration::from_millis(WINDOW_MS))
        .attempts_max(ATTEMPTS_MAX);
    let ask = pick(
        &mut random,
        &[Ask::get("/reading"), Ask::post("/order", b"one")],
    );
    let mut ask = world.paid(&ask, &route);
    if random.once_in(2) {
        ask = ask.key("k");
    }
    script(&world, &mut random);
    let pricing = Pricing::Priced(Arc::new(route));
    for _ in 0..6 {
        for answer in attempt(&mut world, &mut random, &ask, &pricing) {
            check_answer(&world, answer, seed);
        }
        if random.once_in(3) {
            recover(&world);
        }
    }
    // In the end the client is gone, and the books are closed: first what only waited for the
    // client, then what the rail could not decide before.
    world.restart();
    world.pass(WINDOW_MS);
    (0..6).for_each(|_| recover(&world));
    let open = |(state, _): &(&str, u64)| ["settling", "capturing", "refunding"].contains(state);
    if world.counts().iter().any(open) {
        world.pass(REPLAYABLE_MS);
        (0..6).for_each(|_| recover(&world));
    }
    check_books(&world, seed)
}

/// An answer that may follow a movement of money asks for no other one, unless that is over.
fn check_answer(world: &World, answer: Answer, seed: u64) {
    let Answer::Refused(refused) = answer else {
        return;
    };
    if !refused.challenges.is_empty() {
        let ends = ["delivered", "failed", "refunded"];
        let over = |(state, _): &(&str, u64)| ends.contains(state);
        let counts = world.counts();
        let detail = refused.problem.detail;
        assert!(counts.iter().all(over), "seed {seed}: {counts:?}: {detail}");
    }
}

fn check_books(world: &World, seed: u64) -> &'static str {
    let price = i128::try_from(PRICE).unwrap();
    let (alice, merchant) = (world.rail.balance("alice"), world.rail.balance("merchant"));
    assert_eq!(alice + merchant, 0, "seed {seed}: conserved");
    assert!(world.payments() <= 1, "seed {seed}: paid once at most");
    assert!(
        world.rail.movements().len() <= 2,
        "seed {seed}: refunded once at most"
    );
    assert!(
        world.handler.delivered() <= 1,
        "seed {seed}: delivered once at most"
    );
    let runs = u32::try_from(world.handler.runs()).unwrap();
    assert!(runs <= ATTEMPTS_MAX, "seed {seed}: {runs} runs");
    if world.counts().is_empty() {
        assert_eq!(merchant, 0, "seed {seed}: never claimed, never charged");
        return "never claimed";
    }
    let state = world.state();
    match state {
        "delivered" => assert_eq!(merchant, price, "seed {seed}"),
        "failed" | "refunded" => {
            assert_eq!(
                (merchant, world.handler.delivered()),
                (0, 0),
                "seed {seed}: {state}"
            );
        }
        other => panic!("seed {seed}: left in {other}"),
    }
    state
}

/// Runs these seeds. Each takes some milliseconds.
pub(crate) fn run_all(settle: Settle, seeds: impl IntoIterator<Item = u64>) {
    let mut ends = std::collections::BTreeMap::new();
    for seed in seeds {
        *ends.entry(run(seed, settle)).or_insert(0) += 1;
    }
    let all = ["delivered", "failed", "refunded"];
    // A refund after the handler is rare: only a response that was lost leads there.
    let all = match settle {
        Settle::Before => &all[..],
        Settle::After => &all[..2],
    };
    for end in all {
        assert!(ends.get(*end).is_some_and(|count| *count > 10), "{ends:?}");
    }
}

#[test]
fn whatever_goes_wrong_money_moves_once_and_never_stays_in_between() {
    run_all(Settle::Before, (0..400).chain(FOUND));
}

#[test]
fn whatever_goes_wrong_around_a_handler_that_runs_first_money_moves_once_or_never() {
    run_all(Settle::After, 0..400);
}
