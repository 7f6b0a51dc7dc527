//! Metered streams while either side is killed with SIGKILL, again and again: the gateway, and the
//! programs that pay. What was served was paid but for a window, what was taken was served but for
//! a window, and in the end both sides' books agree to one base unit.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::panic, reason = "what tests share is a test too")]
#![expect(
    clippy::print_stdout,
    reason = "a run is told by its seed and its figures"
)]

mod buyer;
mod stage;
mod wires;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use stiver_testkit::entropy::Random;

use crate::{
    buyer::{Buyer, Run},
    stage::{Stage, text, units},
    wires::{Relay, upstream},
};

/// How often somebody is killed while a stream runs.
const KILLS: usize = 200;
/// Wallets that pay at the same time.
const BUYERS: usize = 4;
/// Events of a stream, the price of each, and what may be served before it is spent, base units.
const EVENTS: u64 = 60;
const PRICE: u128 = 1000;
const WINDOW: u128 = 4000;
/// How far a buyer signs ahead, base units.
const AHEAD: u128 = 10_000;
/// What each wallet begins with, base units.
const FUNDS: u128 = 100_000_000;
/// The gateway is killed after at most so many events, and lives at least for one.
const GATEWAY_EVENTS_MAX: u64 = 160;
/// How long nothing may happen at all.
const STALL: Duration = Duration::from_secs(60);
/// How often it is looked whether all is over.
const LOOK: Duration = Duration::from_millis(100);
/// The seed, when the environment gives none.
const SEED: u64 = 0x5714e4;

/// What the killers share.
struct Scene {
    stage: Stage,
    relay: Relay,
    /// How often the gateway was started.
    lives: AtomicUsize,
    /// Streams of which something has come and that have not ended.
    streaming: AtomicUsize,
    gateway_kills: AtomicUsize,
    buyer_kills: AtomicUsize,
    over: AtomicBool,
    /// Windows of the payee that a death may have cost.
    windows: AtomicU64,
    /// Windows of the payers that a cut stream may have cost.
    cuts: AtomicU64,
    runs: Mutex<Vec<Run>>,
}

impl Scene {
    fn kills(&self) -> usize {
        let (ours, theirs) = (&self.buyer_kills, &self.gateway_kills);
        ours.load(Ordering::SeqCst) + theirs.load(Ordering::SeqCst)
    }
}

/// Kills the gateway after a random number of events, and starts it again.
fn kill_gateways(scene: &Scene, passed: &Receiver<()>, mut random: Random) {
    let mut gateway = Some(scene.stage.serve());
    scene.lives.fetch_add(1, Ordering::SeqCst);
    let mut left = 1 + random.below(GATEWAY_EVENTS_MAX);
    let mut quiet = Duration::ZERO;
    while !scene.over.load(Ordering::SeqCst) {
        match passed.recv_timeout(LOOK) {
            Ok(()) => {
                left -= 1;
                quiet = Duration::ZERO;
            }
            Err(RecvTimeoutError::Timeout) => {
                quiet += LOOK;
                assert!(quiet < STALL, "no event has come for a while");
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if left > 0 {
            continue;
        }
        let during = scene.streaming.load(Ordering::SeqCst) > 0;
        drop(gateway.take());
        if during {
            scene.gateway_kills.fetch_add(1, Ordering::SeqCst);
        }
        gateway = Some(scene.stage.serve());
        scene.lives.fetch_add(1, Ordering::SeqCst);
        left = 1 + random.below(GATEWAY_EVENTS_MAX);
    }
    if gateway.is_none() {
        gateway = Some(scene.stage.serve());
    }
    *scene.stage.gateway.lock().unwrap() = gateway;
}

/// Buys stream after stream, and is killed in the middle of most of them.
fn buy(scene: &Scene, mut buyer: Buyer, mut random: Random) -> Buyer {
    while !scene.over.load(Ordering::SeqCst) {
        let lives = scene.lives.load(Ordering::SeqCst);
        let run = buyer.run(&scene.relay.url, &mut random, &scene.streaming);
        let deaths = scene.lives.load(Ordering::SeqCst) - lives;
        scene
            .windows
            .fetch_add(u64::try_from(deaths).unwrap(), Ordering::SeqCst);
        if run.killed || deaths > 0 || !run.whole {
            scene.cuts.fetch_add(1, Ordering::SeqCst);
        }
        if run.killed && run.events > 0 {
            scene.buyer_kills.fetch_add(1, Ordering::SeqCst);
        }
        scene.runs.lock().unwrap().push(run);
        if scene.kills() >= KILLS {
            scene.over.store(true, Ordering::SeqCst);
        }
    }
    buyer
}

/// Resolves what is open, closes all, and compares each wallet's journal with the ledger. Gives
/// the payee, and what it took.
fn settle(scene: &Scene, buyer: &Buyer) -> (String, u128) {
    let home = buyer.home();
    scene.stage.stiver(&["sessions", "recover"], home);
    scene.stage.stiver(&["sessions", "close"], home);
    let told = scene.stage.stiver(&["sessions", "list", "--all"], home);
    let sessions = told.pointer("/sessions").and_then(Value::as_array).unwrap();
    let payee = text(sessions.first().unwrap(), "/payee");
    let mut taken = 0;
    for session in sessions {
        let state = text(session, "/state");
        if matches!(&*state, "void" | "abandoned") {
            continue;
        }
        assert_eq!(state, "closed", "{session}");
        let (captured, signed) = (units(session, "/captured"), units(session, "/signed"));
        assert!(captured <= signed, "taken and never signed: {session}");
        taken += captured;
    }
    let balance = scene.stage.stiver(&["wallet", "balance"], home);
    let (left, held) = (
        units(&balance, "/balances/0/available"),
        units(&balance, "/balances/0/held"),
    );
    assert_eq!(held, 0, "nothing is set aside any more: {told}");
    assert_eq!(left + taken, FUNDS, "the journal and the ledger: {told}");
    (payee, taken)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test starts its own threads")]
fn two_hundred_kills_during_metered_streams_cost_no_more_than_windows() {
    let seed = std::env::var("STIVER_SEED").ok();
    let seed = seed.map_or(SEED, |seed| seed.parse().unwrap());
    println!("STIVER_SEED={seed}");
    let mut random = Random::new(seed);
    let (tell, passed) = channel();
    let stage = Stage::new(&upstream(EVENTS), PRICE, WINDOW);
    let relay = Relay::start(&stage.address, tell);
    let gateway = stage.serve();
    let buyers: Vec<Buyer> = (0..BUYERS)
        .map(|n| Buyer::new(&stage, &relay.url, n, (FUNDS, AHEAD)))
        .collect();
    drop(gateway);
    let scene = Arc::new(Scene {
        stage,
        relay,
        lives: AtomicUsize::new(0),
        streaming: AtomicUsize::new(0),
        gateway_kills: AtomicUsize::new(0),
        buyer_kills: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        windows: AtomicU64::new(0),
        cuts: AtomicU64::new(0),
        runs: Mutex::default(),
    });
    let (shared, killing) = (Arc::clone(&scene), random.fork());
    let killer = thread::spawn(move || kill_gateways(&shared, &passed, killing));
    let buying: Vec<_> = buyers
        .into_iter()
        .map(|buyer| {
            let (scene, random) = (Arc::clone(&scene), random.fork());
            thread::spawn(move || buy(&scene, buyer, random))
        })
        .collect();
    let buyers: Vec<Buyer> = buying.into_iter().map(|it| it.join().unwrap()).collect();
    killer.join().unwrap();
    compare(&scene, &buyers);
}

fn compare(scene: &Scene, buyers: &[Buyer]) {
    let settled: Vec<_> = buyers.iter().map(|it| settle(scene, it)).collect();
    let taken: u128 = settled.iter().map(|(_, taken)| taken).sum();
    let left_the_gateway = u128::from(scene.relay.passed());
    let runs = scene.runs.lock().unwrap();
    let printed: u64 = runs.iter().map(|run| run.events).sum();
    let whole = runs.iter().filter(|run| run.whole).count();
    let windows = u128::from(scene.windows.load(Ordering::SeqCst));
    let cuts = u128::from(scene.cuts.load(Ordering::SeqCst));
    println!(
        "{} kills of the gateway, {} of buyers; {} streams, {whole} of them whole; {} events left \
         the gateway, {printed} were printed; {taken} base units were taken",
        scene.gateway_kills.load(Ordering::SeqCst),
        scene.buyer_kills.load(Ordering::SeqCst),
        runs.len(),
        left_the_gateway,
    );
    let served = left_the_gateway * PRICE;
    println!(
        "served beyond what was taken: {} of {} at most; taken beyond what was served: {} of {} at \
         most",
        served.saturating_sub(taken),
        windows * WINDOW,
        taken.saturating_sub(served),
        cuts * WINDOW,
    );
    assert!(scene.kills() >= KILLS, "both sides were killed often");
    assert!(scene.gateway_kills.load(Ordering::SeqCst) > 0);
    assert!(scene.buyer_kills.load(Ordering::SeqCst) > 0);
    assert!(u128::from(printed) <= left_the_gateway);
    assert!(
        served <= taken + windows * WINDOW,
        "the payee lost more than a window for each of its deaths"
    );
    assert!(
        taken <= served + cuts * WINDOW,
        "a payer lost more than a window for each stream that was cut"
    );
    let check = scene.stage.ledger(&["check"]);
    assert_eq!(check.pointer("/ok"), Some(&Value::Bool(true)), "{check}");
    assert_eq!(text(&check, "/books/currencies/0/sum/units"), "0");
    let earned = scene.stage.funds(&settled[0].0);
    assert_eq!(earned, taken, "what was taken is the payee's");
}
