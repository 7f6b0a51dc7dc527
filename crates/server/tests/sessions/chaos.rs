//! Everything at once: power cuts, a rail that loses answers, requests side by side.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stiver_channel::PhaseName;
use stiver_server::limits::LEASE_MS;
use stiver_store::ChannelStore as _;
use stiver_testkit::{
    entropy::Random,
    escrow::{Does, EscrowPayer},
};

use crate::common::{Answer, COST, DEPOSIT, Run, World, exchange, get, usd};

const PAYERS: u8 = 3;

/// What the payers know. Outlives the machine.
#[derive(Default)]
struct Payer {
    /// The highest voucher that was signed.
    signed: u128,
    /// How often the resource came.
    served: u128,
}

fn run(seed: u64) -> u128 {
    let mut random = Random::new(seed);
    let mut world = World::new(seed);
    let payers: Vec<EscrowPayer> = (1..=PAYERS).map(EscrowPayer::new).collect();
    let mut told: BTreeMap<usize, Payer> = BTreeMap::new();
    let challenges: Vec<_> = payers.iter().map(|_| world.challenge()).collect();
    for _ in 0..8 {
        world
            .escrow
            .script((0..random.below(3)).map(|_| match random.below(3) {
                0 => Does::LosesAnswer,
                1 => Does::LosesQuestion,
                _ => Does::Works,
            }));
        if random.once_in(2) {
            world.sim.disk.cut_power_after(random.below(40));
        }
        let route = world.route();
        let mut slots = Vec::new();
        for _ in 0..1 + random.below(6) {
            let n = usize::try_from(random.below(u64::from(PAYERS))).unwrap();
            let (payer, challenge) = (&payers[n], &challenges[n]);
            let it = told.entry(n).or_default();
            let credential = if it.signed == 0 {
                it.signed = COST;
                payer.open(challenge, &usd(DEPOSIT), COST)
            } else if random.once_in(8) {
                payer.open(challenge, &usd(DEPOSIT), COST)
            } else {
                if !random.once_in(4) {
                    it.signed += COST;
                }
                payer.voucher(challenge, it.signed)
            };
            let how = match random.below(6) {
                0 => Run::Fails,
                1 => Run::Dies,
                _ => Run::Works,
            };
            let ask = get(credential).run(how);
            let work = exchange(world.gate.clone(), ask, Arc::clone(&route));
            slots.push((n, world.start(work)));
        }
        for _ in 0..random.below(300) {
            world.sim.executor.step();
        }
        let hear = |slots: &[(usize, _)], told: &mut BTreeMap<usize, Payer>| {
            for (n, slot) in slots {
                let slot: &Arc<std::sync::Mutex<Option<Answer>>> = slot;
                if let Some(Answer::Served(Some(_))) = slot.lock().unwrap().take() {
                    told.entry(*n).or_default().served += COST;
                }
            }
        };
        hear(&slots, &mut told);
        if random.once_in(2) {
            world.restart();
        } else {
            world.sim.run_for(Duration::from_secs(1));
            hear(&slots, &mut told);
            // A disk that was cut off serves nobody until the process starts anew.
            world.restart();
        }
        check(&world, &payers, &told, seed);
    }
    finish(&mut world, &payers, &told, seed)
}

/// Served is at most taken, taken at most signed.
fn check(world: &World, payers: &[EscrowPayer], told: &BTreeMap<usize, Payer>, seed: u64) {
    for (n, told) in told {
        let channel = world.store.channels().channel(&payers[*n].channel());
        let figures = channel.map(|it| it.figures()).unwrap_or_default();
        assert!(
            told.served <= figures.spent,
            "seed {seed}: served and not taken"
        );
        assert!(
            figures.spent <= told.signed,
            "seed {seed}: taken and not signed"
        );
        assert!(figures.accepted <= told.signed, "seed {seed}: made up");
        assert_eq!(figures.reserved, 0, "seed {seed}: nobody serves");
    }
}

/// Everything is recovered and closed: both sides agree.
fn finish(
    world: &mut World,
    payers: &[EscrowPayer],
    told: &BTreeMap<usize, Payer>,
    seed: u64,
) -> u128 {
    world.sim.run_for(Duration::from_millis(LEASE_MS));
    let gate = world.gate.clone();
    world.run(async move {
        for _ in 0..12 {
            gate.recover().await.unwrap();
        }
    });
    let mut served = 0;
    for (n, told) in told {
        let id = payers[*n].channel();
        let Some(truth) = world.escrow.truth(&id) else {
            assert_eq!(told.served, 0, "seed {seed}: served from nothing");
            continue;
        };
        let channel = world.store.channels().channel(&id);
        let channel = channel.unwrap_or_else(|| panic!("seed {seed}: a funded channel is lost"));
        assert_eq!(channel.figures().deposit, truth.deposit, "seed {seed}");
        for _ in 0..8 {
            let gate = world.gate.clone();
            if world.run(async move { gate.close_channel(id).await.is_ok() }) {
                break;
            }
        }
        let channel = world.store.channels().channel(&id).unwrap();
        assert_eq!(channel.phase().name(), PhaseName::Closed, "seed {seed}");
        let captured = world.escrow.truth(&id).unwrap().settled;
        assert_eq!(
            captured,
            channel.figures().spent,
            "seed {seed}: books differ"
        );
        assert!(captured >= told.served, "seed {seed}: served for nothing");
        assert!(
            captured <= told.signed,
            "seed {seed}: captured and not signed"
        );
        served += told.served;
    }
    served
}

#[test]
fn whatever_goes_wrong_what_was_served_is_taken_once_and_both_sides_agree() {
    let served: u128 = (0..200).map(run).sum();
    assert!(served > COST * 500, "{served}");
}
