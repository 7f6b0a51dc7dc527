//! Vouchers accepted durably, without signatures: beside Redis with `appendfsync always` and
//! PostgreSQL committing each, on the same disk; and beside one bare `fdatasync`.

mod redis;

use std::{cell::RefCell, fs::File, os::unix::fs::FileExt as _, path::Path, sync::Arc, thread};

use anyhow::{Context as _, Result, anyhow, ensure};
use stiver_channel::{Caps, ChannelId, Rules, Voucher};
use stiver_store::{
    ChannelCommand, ChannelReply, ChannelStore as _, EmbeddedStore, Limits, NewChannel, Present,
    Take, Taken,
};
use tokio::runtime::Runtime;

use self::redis::Redis;
use crate::{
    ledger::postgres,
    measure::{Side, cpu_of_process, interleave, median, wall},
    report::Finding,
    rows::Setting,
};

/// Its rows.
pub const ROWS: [&str; 5] = [
    "voucher-accept-durable/redis",
    "voucher-accept-durable/postgres",
    "voucher-accept-durable/cpu",
    "voucher-accept-durable/p50-alone",
    "voucher-accept-durable/p50-256",
];

/// Vouchers that wait for the disk at once, each of its own channel.
pub const IN_FLIGHT: usize = 256;
/// Vouchers of each channel in one round.
const EACH: usize = 60;
/// The same for the databases, which are slower.
const EACH_OTHERS: usize = 12;
/// Accepts one after the other, and as many bare syncs.
const ALONE: usize = 200;
/// What our log writes for one accept, bytes, about: so long is the write before a bare sync.
const EVENT_BYTES: usize = 160;
/// What one voucher pays for.
pub const COST: u128 = 2;
/// More than all rounds take.
const DEPOSIT: u128 = 1 << 40;

/// The rules of the channels.
pub const RULES: Rules = Rules {
    caps: Caps::LEDGER,
    voucher_delta_min: 0,
};

/// Measures all of them.
pub fn run(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let base = tempfile::tempdir().context("making a folder")?;
    let ours = RefCell::new(Ours::open(&base.path().join("store"))?);
    let redis = Redis::start(base.path(), ours.borrow().runtime.handle())?;
    let postgres = Postgres::start(base.path())?;
    let (latencies, cpu) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let mut sides: [Side<'_>; 5] = [
        Box::new(|| {
            let round = ours.borrow_mut().round()?;
            latencies.borrow_mut().push(round.p50);
            cpu.borrow_mut().push(round.cpu);
            Ok(round.per_second)
        }),
        Box::new(|| redis.round(EACH_OTHERS)),
        Box::new(|| postgres.round()),
        Box::new(|| ours.borrow_mut().alone()),
        Box::new(|| bare_sync(&base.path().join("bare"))),
    ];
    let medians = interleave(setting.rounds, &mut sides)?;
    drop(sides);
    let [ours_rate, redis_rate, postgres_rate, alone, bare] = medians[..] else {
        anyhow::bail!("a side is missing");
    };
    let rate = "accepts per second";
    let values = [
        (rate, ours_rate, Some(redis_rate)),
        (rate, ours_rate, Some(postgres_rate)),
        ("us CPU per accept", median(cpu.take()), None),
        ("us until durable, alone", alone, Some(bare)),
        (
            "us until durable, 256 at once",
            median(latencies.take()),
            Some(bare),
        ),
    ];
    for (name, (unit, value, baseline)) in ROWS.into_iter().zip(values) {
        found(Finding {
            name: name.to_owned(),
            unit,
            value,
            baseline,
        });
    }
    Ok(())
}

/// Our store, and the channels in it.
struct Ours {
    runtime: Runtime,
    store: EmbeddedStore,
    cumulative: u128,
}

struct Round {
    per_second: f64,
    /// Microseconds.
    p50: f64,
    /// Microseconds of this process for each.
    cpu: f64,
}

impl Ours {
    fn open(folder: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let env = stiver_env::native::env();
        let config = EmbeddedStore::config(folder);
        let store = runtime.block_on(EmbeddedStore::open(config, &env, Limits::default()))?;
        for index in 0..=IN_FLIGHT {
            runtime.block_on(open(&store, channel(index as u64), DEPOSIT))?;
        }
        Ok(Self {
            runtime,
            store,
            cumulative: 0,
        })
    }

    fn round(&mut self) -> Result<Round> {
        let from = self.cumulative;
        self.cumulative += COST * EACH as u128;
        let id = std::process::id();
        let (start, cpu) = (wall()?, cpu_of_process(id)?);
        let tasks: Vec<_> = (1..=IN_FLIGHT)
            .map(|index| {
                let store = self.store.clone();
                self.runtime.spawn(async move {
                    let mut took = Vec::with_capacity(EACH);
                    for step in 1..=EACH as u128 {
                        let begun = wall()?;
                        accept(&store, channel(index as u64), from + step * COST).await?;
                        took.push((wall()? - begun) / 1e3);
                    }
                    Ok::<_, anyhow::Error>(took)
                })
            })
            .collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(self.runtime.block_on(task)??);
        }
        let count = took.len() as f64;
        Ok(Round {
            per_second: count / (wall()? - start) * 1e9,
            p50: median(took),
            cpu: (cpu_of_process(id)? - cpu) / count / 1e3,
        })
    }

    /// One after the other, with nothing else to do: the median, microseconds.
    fn alone(&mut self) -> Result<f64> {
        let from = self.cumulative;
        self.cumulative += COST * ALONE as u128;
        let store = self.store.clone();
        let task = self.runtime.spawn(async move {
            let mut took = Vec::with_capacity(ALONE);
            for step in 1..=ALONE as u128 {
                let begun = wall()?;
                accept(&store, channel(0), from + step * COST).await?;
                took.push((wall()? - begun) / 1e3);
            }
            Ok::<_, anyhow::Error>(median(took))
        });
        self.runtime.block_on(task)?
    }
}

/// Accepts a voucher and takes what it pays for, durably.
pub async fn accept(store: &EmbeddedStore, id: ChannelId, cumulative: u128) -> Result<()> {
    let present = Present {
        id,
        rules: RULES,
        voucher: Some(Voucher {
            channel: id,
            cumulative,
            proof: [9; 64].into(),
        }),
        take: Take::Spend(COST),
        key: None,
        reruns: 0,
    };
    let reply = store.channel(ChannelCommand::Present(Box::new(present)));
    match reply.await? {
        ChannelReply::Presented(it) if it.taken == Taken::Done => Ok(()),
        other => Err(anyhow!("a voucher was not accepted: {other:?}")),
    }
}

/// Opens a channel, with as many bytes of the server's own as one on the ledger has.
pub async fn open(store: &EmbeddedStore, id: ChannelId, deposit: u128) -> Result<()> {
    let open = NewChannel {
        id,
        rules: RULES,
        deposit,
        settled: 0,
        voucher: None,
        details: [7; DETAILS_BYTES].into(),
    };
    let reply = store.channel(ChannelCommand::Open(Box::new(open))).await?;
    ensure!(
        matches!(reply, ChannelReply::Done(_)),
        "a channel was not opened: {reply:?}"
    );
    Ok(())
}

/// What a server keeps of a channel on the ledger: its method, currency and terms, bytes.
const DETAILS_BYTES: usize = 160;

/// The id of a channel: ids are hashes, so their bytes are all different.
pub fn channel(index: u64) -> ChannelId {
    use sha2::Digest as _;
    ChannelId(sha2::Sha256::digest(index.to_be_bytes()).into())
}

/// A write of one event's size into space that is reserved, and one sync: the median, microseconds.
fn bare_sync(path: &Path) -> Result<f64> {
    let file = File::create(path)?;
    file.write_all_at(&vec![0; 1 << 20], 0)?;
    file.sync_all()?;
    let bytes = [1; EVENT_BYTES];
    let mut took = Vec::with_capacity(ALONE);
    for index in 0..ALONE {
        let begun = wall()?;
        file.write_all_at(&bytes, (index * EVENT_BYTES) as u64)?;
        file.sync_data()?;
        took.push((wall()? - begun) / 1e3);
    }
    Ok(median(took))
}

/// PostgreSQL, which commits each voucher: an update of the channel's row that only raises it.
struct Postgres {
    server: postgres::Server,
}

const TABLE: &str = "
create table channel (id bytea primary key, accepted bigint not null, spent bigint not null,
  proof bytea not null) with (fillfactor = 50)";
const ACCEPT: &str = "
update channel set accepted = accepted + $2, spent = spent + $2, proof = $3 where id = $1";

impl Postgres {
    fn start(base: &Path) -> Result<Self> {
        let options = format!("-c max_connections={}", IN_FLIGHT + 10);
        let server = postgres::Server::start(base, &options)?;
        let mut client = server.client()?;
        client.batch_execute(TABLE)?;
        for index in 1..=IN_FLIGHT as u64 {
            let id = channel(index).0;
            client.execute(
                "insert into channel values ($1, 0, 0, '')",
                &[&id.as_slice()],
            )?;
        }
        Ok(Self { server })
    }

    /// A connection for each voucher in flight: accepts per second.
    fn round(&self) -> Result<f64> {
        let together = Arc::new(std::sync::Barrier::new(IN_FLIGHT + 1));
        let threads = (1..=IN_FLIGHT as u64).map(|index| {
            let mut client = self.server.client()?;
            let together = Arc::clone(&together);
            Ok(thread::spawn(move || {
                let accept = client.prepare(ACCEPT);
                together.wait();
                let accept = accept?;
                let id = channel(index).0;
                let (proof, cost) = ([9_u8; 64], 2_i64);
                for _ in 0..EACH_OTHERS {
                    let params: [&(dyn ::postgres::types::ToSql + Sync); 3] =
                        [&id.as_slice(), &cost, &proof.as_slice()];
                    let rows = client.execute(&accept, &params)?;
                    ensure!(rows == 1, "PostgreSQL accepted {rows} vouchers at once");
                }
                Ok(())
            }))
        });
        let threads: Vec<thread::JoinHandle<Result<()>>> = threads.collect::<Result<_>>()?;
        together.wait();
        let start = wall()?;
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        Ok((IN_FLIGHT * EACH_OTHERS) as f64 / (wall()? - start) * 1e9)
    }
}
