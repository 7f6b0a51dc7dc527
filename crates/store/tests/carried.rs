//! Fractions of a base unit that one request leaves over for the next.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share are tests too"
)]

use std::time::Duration;

use proptest::prelude::*;
use stiver_channel::{
    Caps, Channel, ChannelId, Rules, Voucher,
    meter::{Carry, Price},
};
use stiver_store::{
    Carried, ChannelCommand, ChannelReply, ChannelStore, Conclude, EmbeddedStore, Left, Limits,
    NewChannel, Present, SpendKey, Take, Taken, limits::CARRIED_METERS_MAX,
};
use stiver_testkit::simulation::Simulation;

const ID: ChannelId = ChannelId([7; 32]);
const RULES: Rules = Rules {
    caps: Caps::LEDGER,
    voucher_delta_min: 0,
};

struct World {
    sim: Simulation,
    store: EmbeddedStore,
    signed: u128,
}

fn open(sim: &Simulation) -> EmbeddedStore {
    let mut config = EmbeddedStore::config("/data/store");
    config.segment_bytes = 0;
    let env = sim.env();
    let opened = sim.block_on(EmbeddedStore::open(config, &env, Limits::default()));
    opened.unwrap()
}

fn left(meter: &str, parts: u64, of: u64) -> Left {
    Left {
        meter: meter.into(),
        carry: Carry::restore(parts, of).unwrap(),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let sim = Simulation::new(seed);
        let store = open(&sim);
        let new = NewChannel {
            id: ID,
            rules: RULES,
            deposit: 1_000_000,
            settled: 0,
            voucher: None,
            details: b"details"[..].into(),
        };
        let world = Self {
            sim,
            store,
            signed: 0,
        };
        world.ask(ChannelCommand::Open(Box::new(new)));
        world
    }

    fn ask(&self, command: ChannelCommand) -> ChannelReply {
        self.sim.block_on(self.store.channel(command)).unwrap()
    }

    fn restart(&mut self) {
        self.sim.crash();
        self.sim.clock.advance(Duration::from_millis(1));
        self.store = open(&self.sim);
    }

    fn reserve(&mut self, amount: u128, key: Option<SpendKey>) -> Taken {
        self.signed += amount;
        let present = Present {
            id: ID,
            rules: RULES,
            voucher: Some(Voucher {
                channel: ID,
                cumulative: self.signed,
                proof: [9; 64].into(),
            }),
            take: Take::Reserve(amount),
            key,
            reruns: 0,
        };
        match self.ask(ChannelCommand::Present(Box::new(present))) {
            ChannelReply::Presented(it) => it.taken,
            other => panic!("{other:?}"),
        }
    }

    fn conclude(&self, spend: u128, from_reserved: u128, left: Vec<Left>) -> (Channel, Carried) {
        let conclude = Conclude {
            id: ID,
            rules: RULES,
            spend,
            from_reserved,
            key: None,
            answer: None,
            left,
        };
        match self.ask(ChannelCommand::Conclude(conclude)) {
            ChannelReply::Concluded {
                channel, carried, ..
            } => (channel, carried),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_hundred_requests_at_two_fifths_cost_forty_also_over_restarts() {
    let mut world = World::new(1);
    for n in 1..=100_u128 {
        assert_eq!(world.reserve(1, None), Taken::Done);
        let (channel, carried) = world.conclude(0, 1, vec![left("request", 2, 5)]);
        assert_eq!(channel.figures().spent, n * 2 / 5, "after {n}");
        assert_eq!(channel.figures().reserved, 0);
        assert_eq!(carried.is_empty(), n % 5 == 0, "after {n}");
        if n % 7 == 0 {
            world.restart();
            assert_eq!(world.store.channels().carried(&ID), carried, "it was lost");
        }
    }
}

#[test]
fn a_request_that_cost_a_fraction_is_not_served_again_under_its_key() {
    let mut world = World::new(2);
    let key = SpendKey {
        key: [1; 32],
        request: [2; 32],
    };
    assert_eq!(world.reserve(1, Some(key)), Taken::Done);
    let conclude = Conclude {
        id: ID,
        rules: RULES,
        spend: 0,
        from_reserved: 1,
        key: Some(key.key),
        answer: None,
        left: vec![left("request", 2, 5)],
    };
    world.ask(ChannelCommand::Conclude(conclude));
    assert_eq!(world.reserve(1, Some(key)), Taken::Before);
    world.restart();
    assert_eq!(world.reserve(1, Some(key)), Taken::Before);
}

#[test]
fn what_is_not_authorised_yet_is_owed_and_taken_with_the_next() {
    let mut world = World::new(3);
    world.reserve(1, None);
    // All that is authorised is spent, and the fractions make a base unit of their own.
    world.conclude(0, 0, vec![left("token", 3, 5)]);
    let (channel, carried) = world.conclude(1, 1, vec![left("token", 3, 5)]);
    assert_eq!((channel.figures().spent, carried.owed), (1, 1));
    assert_eq!(carried.meters, [left("token", 1, 5)]);
    world.restart();
    world.reserve(2, None);
    let (channel, carried) = world.conclude(0, 2, Vec::new());
    assert_eq!(
        (channel.figures().spent, carried.owed),
        (1, 1),
        "nothing was served"
    );
    world.reserve(1, None);
    let (channel, carried) = world.conclude(1, 1, Vec::new());
    assert_eq!((channel.figures().spent, carried.owed), (3, 0));
}

#[test]
fn meters_are_bounded_and_the_first_goes() {
    let world = World::new(4);
    for n in 0..=CARRIED_METERS_MAX {
        world.conclude(0, 0, vec![left(&format!("meter-{n}"), 1, 2)]);
    }
    let carried = world.store.channels().carried(&ID);
    assert_eq!(carried.meters.len(), CARRIED_METERS_MAX);
    assert!(carried.meters.iter().all(|it| &*it.meter != "meter-0"));
    let long = Conclude {
        id: ID,
        rules: RULES,
        spend: 0,
        from_reserved: 0,
        key: None,
        answer: None,
        left: vec![left(&"m".repeat(33), 1, 2)],
    };
    let reply = world.ask(ChannelCommand::Conclude(long));
    assert!(matches!(
        reply,
        ChannelReply::TooLarge { part: "meter", .. }
    ));
    assert_eq!(world.store.channels().carried(&ID), carried);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever the prices and however they change, all that was served is spent, but for less
    /// than one base unit a meter.
    #[test]
    fn nothing_is_rounded_away(
        prices in prop::collection::vec((0..5_u8, 0..40_u128, 1..30_u64, 1..9_u64), 1..60),
    ) {
        let mut world = World::new(5);
        // The least common multiple of all that `per` may be: exact parts of a base unit.
        const PARTS: u128 = 2_329_089_562_800;
        let mut due = 0_u128;
        for (meter, units, per, quantity) in prices {
            let price = Price::new(units, per).unwrap();
            let most = price.most(quantity).unwrap();
            world.reserve(most, None);
            let metered = price.charge(quantity, Carry::default()).unwrap();
            due += units * u128::from(quantity) * PARTS / u128::from(per);
            let left = Left { meter: format!("m{meter}").into(), carry: metered.carry };
            let (channel, carried) = world.conclude(metered.units, most, vec![left]);
            let kept: u128 = carried
                .meters
                .iter()
                .map(|it| u128::from(it.carry.parts()) * PARTS / u128::from(it.carry.of()))
                .sum();
            let owed = u128::from(carried.owed) * PARTS;
            prop_assert_eq!(channel.figures().spent * PARTS + kept + owed, due);
        }
    }
}
