//! Queued vouchers, deterministically.

use std::sync::Arc;

use stiver_channel::{Caps, Rules};
use stiver_store::{EmbeddedStore, Limits, NewChannel};
use stiver_testkit::{
    escrow::{Escrow, EscrowPayer},
    fixtures,
    simulation::Simulation,
    store_memory::MemoryStore,
};

use super::*;

struct World {
    sim: Simulation,
    gate: Gate,
    store: Arc<dyn ChannelStore>,
    payer: EscrowPayer,
    escrow: Escrow,
}

fn world() -> World {
    let sim = Simulation::new(1);
    let env = sim.env();
    let config = EmbeddedStore::config("/data/store");
    let store = sim.block_on(EmbeddedStore::open(config, &env, Limits::default()));
    let memory = MemoryStore::new(env.clock.clone(), Limits::default(), 1);
    let (realm, keys) = (fixtures::realm(), fixtures::key_ring());
    let gate = Gate::builder(realm, keys, Arc::new(memory), env).build();
    World {
        gate: gate.unwrap(),
        store: Arc::new(store.unwrap()),
        payer: EscrowPayer::new(1),
        escrow: Escrow::new("merchant", fixtures::usd()),
        sim,
    }
}

impl World {
    fn busy(&self) -> Arc<Busy> {
        let id = self.payer.channel();
        let rules = Rules {
            caps: Caps::LEDGER,
            voucher_delta_min: 0,
        };
        let terms = self.payer.terms("merchant", &fixtures::usd());
        let method: Arc<dyn PayeeSession> = Arc::new(self.escrow.clone());
        let channel = method.channel(id, &terms).unwrap();
        let new = NewChannel {
            id,
            rules,
            deposit: 1_000,
            settled: 0,
            voucher: None,
            details: b"details"[..].into(),
        };
        let open = self.store.channel(ChannelCommand::Open(Box::new(new)));
        self.sim.block_on(open).unwrap();
        Arc::new(Busy::new(id, method, channel, rules))
    }

    /// Lays a voucher into the queue.
    fn queue(
        &self,
        busy: &Busy,
        cumulative: u128,
        proof: [u8; 64],
    ) -> oneshot::Receiver<Result<Submitted, NotPresented>> {
        let (answer, verdict) = oneshot::channel();
        lock(&busy.queue).waiting.push(Waiting {
            voucher: Voucher {
                channel: busy.id,
                cumulative,
                proof: proof.into(),
            },
            take: Take::Spend(10),
            key: None,
            answer,
        });
        verdict
    }

    fn verdict(
        &self,
        mut of: oneshot::Receiver<Result<Submitted, NotPresented>>,
    ) -> Result<ChannelReply, NotPresented> {
        let submitted = of.try_recv().unwrap()?;
        Ok(self.sim.block_on(submitted.answer()).unwrap())
    }
}

#[test]
fn a_queued_burst_is_verified_each_and_served_by_amount() {
    let world = world();
    let busy = world.busy();
    let mut verdicts = Vec::new();
    for n in [9_u128, 2, 5, 1, 7, 3] {
        let genuine = world.payer.sign(n * 10);
        let proof = if n == 5 { [6; 64] } else { genuine };
        verdicts.push((n, world.queue(&busy, n * 10, proof)));
    }
    assert!(busy.work(&world.gate, &world.store, 1) || lock(&busy.queue).waiting.is_empty());
    for (n, verdict) in verdicts {
        match world.verdict(verdict) {
            Ok(ChannelReply::Presented(it)) => assert_eq!(it.taken, Taken::Done, "{n}"),
            Err(NotPresented::Proof(VoucherError::InvalidSignature)) => assert_eq!(n, 5),
            other => panic!("{n}: {other:?}"),
        }
    }
    let figures = world.store.channels().channel(&busy.id).unwrap().figures();
    assert_eq!((figures.accepted, figures.spent), (90, 50));
}

#[test]
fn more_than_a_batch_is_left_for_the_next_round() {
    let world = world();
    let busy = world.busy();
    let most = u128::try_from(VERIFY_BATCH_MAX).unwrap();
    let queue = |n: u128| world.queue(&busy, n * 10, world.payer.sign(n * 10));
    let verdicts: Vec<_> = (1..=most + 1).map(queue).collect();
    lock(&busy.queue).worked = true;
    assert!(!busy.work(&world.gate, &world.store, 1));
    assert_eq!(lock(&busy.queue).waiting.len(), 1);
    assert!(busy.work(&world.gate, &world.store, 2));
    assert!(!lock(&busy.queue).worked);
    for verdict in verdicts {
        assert!(world.verdict(verdict).is_ok());
    }
}

#[test]
fn the_cache_forgets_what_nobody_uses_and_keeps_what_somebody_does() {
    let world = world();
    let channels = BusyChannels::new(1);
    let template = world.busy();
    let with_id = |n: u8| {
        let mut id = [0; 32];
        // All in one shard.
        (id[0], id[1]) = (0, n);
        let channel = template.channel.clone();
        let method = Arc::clone(&template.method);
        Arc::new(Busy::new(ChannelId(id), method, channel, template.rules))
    };
    let used = channels.keep(with_id(1));
    drop(channels.keep(with_id(2)));
    drop(channels.keep(with_id(3)));
    assert!(channels.get(&used.id).is_some());
    assert!(channels.get(&with_id(2).id).is_none());
    assert_eq!(channels.len(), 2);
}
