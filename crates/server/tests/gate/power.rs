//! The real store under the gate, and the power goes: what was answered is durable, what was not
//! is finished by the same credential.

use std::sync::Arc;

use stiver_env::Env;
use stiver_server::{Gate, Offer, Pricing, Route, limits::LEASE_MS, route::Settle};
use stiver_store::{EmbeddedStore, Limits};
use stiver_testkit::{entropy::Random, fixtures};

use crate::common::{Answer, Ask, PRICE, World, exchange};

/// How many payments are under way when the power goes.
const PAYMENTS: usize = 5;

fn start(world: &World, env: &Env) -> Gate {
    let mut config = EmbeddedStore::config("/data/store");
    config.segment_bytes = 0;
    let opened = world
        .sim
        .block_on(EmbeddedStore::open(config, env, Limits::default()));
    Gate::builder(
        fixtures::realm(),
        fixtures::key_ring(),
        Arc::new(opened.unwrap()),
        env.clone(),
    )
    .method(Arc::new(world.rail.clone()))
    .build()
    .unwrap()
}

#[test]
fn power_cut_at_any_step_loses_nothing_and_delivers_nothing_twice() {
    cut_the_power(Settle::Before);
}

#[test]
fn power_cut_around_a_handler_that_runs_first_loses_nothing_and_delivers_nothing_twice() {
    cut_the_power(Settle::After);
}

fn cut_the_power(settle: Settle) {
    let (mut finished_before, mut replayed) = (0, 0);
    for seed in 0..60 {
        let world = World::new(seed);
        let mut random = Random::new(seed);
        let env = world.sim.env();
        let offer = Offer::new(Arc::new(world.rail.clone()), fixtures::micro_usd(PRICE)).unwrap();
        let route = Route::new(vec![offer]).unwrap().settle(settle);
        let pricing = Pricing::Priced(Arc::new(route.clone()));
        let asks: Vec<Ask> = (0..PAYMENTS)
            .map(|number| {
                let ask = Ask::get(&format!("/reading/{number}"));
                world.paid(&ask, &route).key(&format!("k-{number}"))
            })
            .collect();

        let gate = start(&world, &env);
        let slots: Vec<_> = asks
            .iter()
            .map(|ask| {
                let handler = Arc::clone(&world.handler);
                world.start(exchange(
                    gate.clone(),
                    ask.clone(),
                    pricing.clone(),
                    handler,
                ))
            })
            .collect();
        let steps = random.below(80);
        for _ in 0..steps {
            world.sim.executor.step();
        }
        let answered: Vec<bool> = slots
            .iter()
            .map(|slot| slot.lock().unwrap().is_some())
            .collect();
        drop(gate);
        world.sim.crash();

        let gate = start(&world, &env);
        world.pass(LEASE_MS);
        for (ask, answered) in asks.iter().zip(answered) {
            let handler = Arc::clone(&world.handler);
            let again = exchange(gate.clone(), ask.clone(), pricing.clone(), handler);
            match world.run(again) {
                Answer::Replayed {
                    receipt: Some(_), ..
                } => replayed += 1,
                Answer::Delivered { receipt: Some(_) } => {
                    assert!(
                        !answered,
                        "seed {seed}: delivered again after {steps} steps"
                    );
                }
                other => panic!("seed {seed}: {other:?}"),
            }
            finished_before += usize::from(answered);
        }
        assert_eq!(world.payments(), PAYMENTS, "seed {seed}");
        assert!(world.handler.delivered() <= PAYMENTS, "seed {seed}");
    }
    assert!(
        finished_before > 20 && replayed >= finished_before,
        "{finished_before} {replayed}"
    );
    assert!(replayed < 60 * PAYMENTS, "some were cut short: {replayed}");
}
