//! Power cuts, kills and failing syncs while vouchers are presented: what was answered stays, and
//! nothing is ever taken twice or lost.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share are tests too"
)]

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use stiver_channel::{Caps, ChannelId, Rules, Voucher};
use stiver_env::Env;
use stiver_store::{
    ChannelCommand, ChannelReply, ChannelStore, Conclude, EmbeddedStore, Limits, NewChannel,
    Present, Store, StoreError, Take, Taken,
};
use stiver_testkit::{disk::Operation, entropy::Random, fixtures, simulation::Simulation};

const CHANNELS: u64 = 4;
const LIVES: u32 = 6;
const COST: u128 = 7;
const STEP: u128 = 10;
const RULES: Rules = Rules {
    caps: Caps::LEDGER,
    voucher_delta_min: 0,
};

/// What one payer signed, and what it and its payee were told. Outlives the machine.
#[derive(Default)]
struct Told {
    signed: u128,
    accepted: u128,
    /// Answered as spent: it was served.
    served: u128,
    /// Asked for, and never answered: it may have been taken.
    unanswered: u128,
}

fn id(n: u64) -> ChannelId {
    ChannelId(fixtures::hash(b'h', n))
}

fn open(simulation: &Simulation, env: &Env) -> EmbeddedStore {
    let mut config = EmbeddedStore::config("/data/store");
    config.segment_bytes = 0;
    let opened = simulation.block_on(EmbeddedStore::open(config, env, Limits::default()));
    opened.unwrap_or_else(|error| panic!("the store does not open: {error:?}"))
}

/// Presents vouchers and pays with them, at once or by a reservation, until there is no answer.
async fn pay(store: EmbeddedStore, told: Arc<Vec<Mutex<Told>>>, n: u64) -> Result<(), StoreError> {
    let told = &told[usize::try_from(n).unwrap()];
    let new = NewChannel {
        id: id(n),
        rules: RULES,
        deposit: 1 << 70,
        settled: 0,
        voucher: None,
        details: b"details"[..].into(),
    };
    store.channel(ChannelCommand::Open(Box::new(new))).await?;
    loop {
        let (cumulative, reserves) = {
            let mut told = told.lock().unwrap();
            told.signed += STEP;
            told.unanswered += COST;
            (told.signed, told.signed.is_multiple_of(3))
        };
        let present = Present {
            id: id(n),
            rules: RULES,
            voucher: Some(Voucher {
                channel: id(n),
                cumulative,
                proof: vec![1; 64].into(),
            }),
            take: match reserves {
                true => Take::Reserve(COST + 2),
                false => Take::Spend(COST),
            },
            key: None,
            reruns: 0,
        };
        let reply = store.channel(ChannelCommand::Present(Box::new(present)));
        let ChannelReply::Presented(presented) = reply.await? else {
            panic!("vouchers are presented in order");
        };
        assert!(presented.raised);
        assert_eq!(presented.taken, Taken::Done);
        told.lock().unwrap().accepted = cumulative;
        if reserves {
            let end = Conclude {
                id: id(n),
                rules: RULES,
                spend: COST,
                from_reserved: COST + 2,
                key: None,
                answer: None,
                left: Vec::new(),
            };
            match store.channel(ChannelCommand::Conclude(end)).await? {
                ChannelReply::Concluded { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        let mut told = told.lock().unwrap();
        told.served += COST;
        told.unanswered -= COST;
    }
}

/// What was told still holds.
fn check(store: &EmbeddedStore, told: &[Mutex<Told>]) {
    for (n, told) in told.iter().enumerate() {
        let told = told.lock().unwrap();
        let Some(seen) = store.channels().read(&id(u64::try_from(n).unwrap())) else {
            assert_eq!(told.accepted, 0, "an answered opening is lost");
            continue;
        };
        let figures = seen.channel.figures();
        assert!(figures.accepted >= told.accepted, "an answer was lost");
        assert!(figures.accepted <= told.signed, "a voucher was made up");
        assert!(figures.spent >= told.served, "served and not taken");
        let most = told.served + told.unanswered;
        assert!(figures.spent <= most, "taken and never asked for");
        assert_eq!(figures.reserved, 0, "nobody serves");
        let highest = seen.voucher.map_or(0, |it| it.cumulative);
        assert_eq!(highest, figures.accepted);
    }
}

fn run(seed: u64) -> u128 {
    let simulation = Simulation::new(seed);
    let env = simulation.env();
    let mut random = Random::new(seed);
    let told = Arc::new((0..CHANNELS).map(|_| Mutex::default()).collect::<Vec<_>>());
    for _ in 0..LIVES {
        let store = open(&simulation, &env);
        check(&store, &told);
        match random.below(3) {
            0 => simulation
                .disk
                .fail(Operation::Sync, random.below(4), io::ErrorKind::Other),
            1 => simulation.disk.cut_power_after(random.below(60)),
            _ => {}
        }
        for n in 0..CHANNELS {
            let task = pay(store.clone(), Arc::clone(&told), n);
            env.spawner.spawn(Box::pin(async move {
                // No answer: the next life finds out.
                let _ = task.await;
            }));
        }
        for _ in 0..random.below(600) {
            simulation.executor.step();
        }
        drop(store);
        if random.once_in(3) {
            simulation.kill();
            simulation.disk.crash();
        } else {
            simulation.crash();
        }
        simulation.clock.advance(Duration::from_millis(1));
    }
    let store = open(&simulation, &env);
    check(&store, &told);
    assert!(!store.might_know("a challenge"));
    simulation.block_on(store.close()).unwrap();
    told.iter().map(|told| told.lock().unwrap().served).sum()
}

#[test]
fn what_was_served_was_taken_and_nothing_else_was() {
    let served: u128 = (0..150).map(run).sum();
    assert!(served > 1_000 * COST, "{served}");
}
