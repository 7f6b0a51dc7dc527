//! Power cuts, kills and failing syncs at any moment: what was acknowledged stays, an unanswered
//! command may be repeated, and each epoch of a claim has one winner.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share are tests too"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use stiver_env::{Env, Spawner};
use stiver_store::{
    Advance, Claim, ClaimState, Command, EmbeddedStore, Limits, NewClaim, Reply, Store, StoreError,
};
use stiver_testkit::{
    disk::Operation,
    entropy::Random,
    fixtures::{LEASE_MS, attempt, challenge_id, hash, new_claim},
    simulation::Simulation,
};

/// Challenges in one run, each with two rival credentials.
const CHALLENGES: u64 = 6;
/// How many times the machine fails in one run.
const LIVES: u32 = 5;

/// What the outside world was told. Outlives the machine.
#[derive(Default)]
struct Told {
    /// The newest acknowledged claim of each challenge.
    claims: BTreeMap<String, Claim>,
    /// Who was told that an epoch is theirs.
    winners: BTreeMap<(String, u64), u64>,
    /// What each worker does next.
    work: BTreeMap<u64, Work>,
}

/// Where a worker is.
#[derive(Clone)]
enum Work {
    /// Sends a claim, as often as it takes to be answered.
    Claim(Box<NewClaim>),
    /// Settles and starts the handler.
    Settle(String, u64),
    /// Delivers.
    Deliver(String, u64),
    /// Nothing is left.
    Done,
}

impl Told {
    fn heard(&mut self, worker: u64, claim: &Claim) {
        let id = &claim.challenge_id;
        let winner = self
            .winners
            .entry((id.clone(), claim.epoch))
            .or_insert(worker);
        assert_eq!(
            *winner, worker,
            "two workers hold epoch {} of {id}",
            claim.epoch
        );
        let newest = self
            .claims
            .entry(id.clone())
            .or_insert_with(|| claim.clone());
        if (claim.epoch, rank(claim)) >= (newest.epoch, rank(newest)) {
            assert!(rank(claim) >= rank(newest), "{id} went back");
            *newest = claim.clone();
        }
    }
}

/// How far a claim is. Nothing in this test leads back.
fn rank(claim: &Claim) -> u8 {
    match claim.state {
        ClaimState::Settling { .. } => 0,
        ClaimState::Delivering { .. } => 1,
        ClaimState::Delivered(_) => 2,
        _ => panic!("{claim:?} is in a state that this test never asks for"),
    }
}

/// Works until nothing is left or the store has no answer.
async fn work(store: EmbeddedStore, told: Arc<Mutex<Told>>, worker: u64) -> Result<(), StoreError> {
    loop {
        let work = told.lock().unwrap().work[&worker].clone();
        let command = match &work {
            Work::Claim(new) => Command::Claim((**new).clone()),
            Work::Settle(id, epoch) => advance(
                id,
                *epoch,
                Advance::Settled {
                    settlement: b"settlement"[..].into(),
                    deliver: true,
                },
            ),
            Work::Deliver(id, epoch) => advance(
                id,
                *epoch,
                Advance::Delivered {
                    receipt: format!("receipt of {worker}").into(),
                    response: None,
                },
            ),
            Work::Done => return Ok(()),
        };
        let reply = store.submit(command).await?;
        let mut told = told.lock().unwrap();
        let next = match (work, reply) {
            (Work::Claim(_), Reply::Won(claim)) => {
                told.heard(worker, &claim);
                assert!(store.might_know(&claim.challenge_id));
                Work::Settle(claim.challenge_id, claim.epoch)
            }
            (Work::Claim(_), Reply::Exists(_) | Reply::ReplayKeyUsed) => Work::Done,
            (Work::Settle(id, epoch), Reply::Advanced(claim)) => {
                told.heard(worker, &claim);
                Work::Deliver(id, epoch)
            }
            (Work::Deliver(..), Reply::Advanced(claim)) => {
                told.heard(worker, &claim);
                Work::Done
            }
            (Work::Settle(..) | Work::Deliver(..), Reply::Fenced) => Work::Done,
            (_, reply) => panic!("worker {worker} is told {reply:?}"),
        };
        told.work.insert(worker, next);
    }
}

fn advance(id: &str, epoch: u64, to: Advance) -> Command {
    Command::Advance {
        challenge_id: id.to_owned(),
        epoch,
        to,
    }
}

/// Two rivals for each challenge: over one challenge id, or over one replay key.
fn rivals() -> BTreeMap<u64, Work> {
    let mut work = BTreeMap::new();
    for n in 0..CHALLENGES {
        for rival in 0..2 {
            let mut new = new_claim(n * 10 + rival);
            new.attempt = attempt(n * 10 + rival);
            new.replay_keys.push(hash(b'k', 1000 + n));
            if n % 2 == 0 {
                new.challenge_id = challenge_id(n * 10);
            }
            work.insert(n * 10 + rival, Work::Claim(Box::new(new)));
        }
    }
    work
}

fn open(simulation: &Simulation, env: &Env) -> EmbeddedStore {
    let mut config = EmbeddedStore::config("/data/store");
    config.segment_bytes = 0;
    let opened = simulation.block_on(EmbeddedStore::open(config, env, Limits::default()));
    opened.unwrap_or_else(|error| panic!("the store does not open: {error:?}"))
}

async fn found(store: &EmbeddedStore, id: &str) -> Claim {
    let challenge_id = id.to_owned();
    match store.submit(Command::Get { challenge_id }).await {
        Ok(Reply::Found(claim)) => *claim,
        other => panic!("{id} was acknowledged, and now: {other:?}"),
    }
}

/// Everything that was told still holds.
async fn check(store: &EmbeddedStore, told: &Mutex<Told>) {
    let mut keys = BTreeSet::new();
    let claims = told.lock().unwrap().claims.clone();
    for (id, told) in &claims {
        assert!(store.might_know(id), "{id} is not known");
        let now = found(store, id).await;
        assert!(now.epoch >= told.epoch, "{id} has an older epoch");
        assert!(rank(&now) >= rank(told), "{id} went back");
        assert_eq!(now.credential_hash, told.credential_hash);
        assert_eq!(now.attempt, told.attempt);
        if (now.epoch, rank(&now)) == (told.epoch, rank(told)) {
            // Opening the log again ends every lease, and changes nothing else.
            assert!(
                now.lease_until <= told.lease_until,
                "{id} is leased longer than told"
            );
            let lease_until = now.lease_until;
            assert_eq!(
                now,
                Claim {
                    lease_until,
                    ..told.clone()
                }
            );
        }
        // Both rivals of a pair share the tens of their numbers.
        let pair = u128::from_be_bytes(now.attempt) / 10;
        assert!(keys.insert(pair), "both rivals of pair {pair} have a claim");
    }
}

/// Takes over every claim whose lease has ended, and works on it as a new worker.
async fn adopt(
    store: EmbeddedStore,
    told: Arc<Mutex<Told>>,
    worker: u64,
) -> Result<(), StoreError> {
    let list = Command::Unfinished {
        after: None,
        limit: 2,
    };
    let Reply::Claims(claims) = store.submit(list).await? else {
        panic!("a list is due");
    };
    for claim in claims {
        let challenge_id = claim.challenge_id;
        let reply = store
            .submit(Command::TakeOver {
                challenge_id,
                owner: worker,
                lease_ms: LEASE_MS,
            })
            .await?;
        let next = match reply {
            Reply::Won(claim) => {
                told.lock().unwrap().heard(worker, &claim);
                match &claim.state {
                    ClaimState::Settling { .. } => Work::Settle(claim.challenge_id, claim.epoch),
                    _ => Work::Deliver(claim.challenge_id, claim.epoch),
                }
            }
            Reply::Refused(_) => Work::Done,
            other => panic!("worker {worker} is told {other:?}"),
        };
        told.lock().unwrap().work.insert(worker, next);
        work(store.clone(), told.clone(), worker).await?;
    }
    Ok(())
}

/// Starts every worker, and three more that take claims over.
fn start(spawner: &dyn Spawner, store: &EmbeddedStore, told: &Arc<Mutex<Told>>, life: u32) {
    let workers: Vec<u64> = told.lock().unwrap().work.keys().copied().collect();
    for worker in workers {
        let task = work(store.clone(), told.clone(), worker);
        spawner.spawn(Box::pin(async move {
            // No answer: the next life asks again.
            let _ = task.await;
        }));
    }
    for adopter in 0..3 {
        let worker = 1000 + u64::from(life) * 10 + adopter;
        told.lock().unwrap().work.insert(worker, Work::Done);
        let task = adopt(store.clone(), told.clone(), worker);
        spawner.spawn(Box::pin(async move {
            let _ = task.await;
        }));
    }
}

fn run(seed: u64) {
    let simulation = Simulation::new(seed);
    let env = simulation.env();
    let mut random = Random::new(seed);
    let told = Arc::new(Mutex::new(Told {
        work: rivals(),
        ..Told::default()
    }));
    for life in 0..LIVES {
        let store = open(&simulation, &env);
        simulation.block_on(check(&store, &told));
        match random.below(3) {
            0 => simulation
                .disk
                .fail(Operation::Sync, random.below(4), io::ErrorKind::Other),
            1 => simulation.disk.cut_power_after(random.below(40)),
            _ => {}
        }
        start(env.spawner.as_ref(), &store, &told, life);
        for _ in 0..random.below(400) {
            simulation.executor.step();
        }
        drop(store);
        if random.once_in(3) {
            simulation.kill();
            simulation.disk.crash();
        } else {
            simulation.crash();
        }
        simulation
            .clock
            .advance(Duration::from_millis(random.below(2 * LEASE_MS)));
    }
    finish(&simulation, &env, &told);
}

/// A last life without faults: everything comes to its end.
fn finish(simulation: &Simulation, env: &Env, told: &Arc<Mutex<Told>>) {
    for life in LIVES..LIVES + 6 {
        let store = open(simulation, env);
        simulation
            .clock
            .advance(Duration::from_millis(2 * LEASE_MS));
        start(env.spawner.as_ref(), &store, told, life);
        simulation.run_until_idle();
        simulation.block_on(async {
            check(&store, told).await;
            store.close().await.unwrap();
        });
    }
    let told = told.lock().unwrap();
    let of_pair = |pair: u64| {
        let rivals = [challenge_id(pair * 10), challenge_id(pair * 10 + 1)];
        let claims = rivals.iter().filter_map(|id| told.claims.get(id));
        claims.map(rank).collect::<Vec<u8>>()
    };
    for pair in 0..CHALLENGES {
        assert_eq!(of_pair(pair), [2], "one rival of pair {pair} is delivered");
    }
}

#[test]
fn acknowledged_claims_survive_and_each_epoch_has_one_winner() {
    for seed in 0..150 {
        let run = std::panic::catch_unwind(|| run(seed));
        assert!(run.is_ok(), "seed {seed}");
    }
}
