//! A million open channels: memory, recovery, and what an accept costs among them.

use std::{io::BufRead as _, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use stiver_channel::ChannelId;
use stiver_store::{ChannelStore as _, EmbeddedStore, Limits};
use tempfile::TempDir;

use crate::{
    accept::{COST, IN_FLIGHT, accept, channel, open},
    child::Program,
    measure::{Side, cpu_of_process, interleave, wall},
    report::Finding,
    rows::Setting,
};

/// Its rows.
pub const ROWS: [&str; 4] = [
    "channels-million/memory",
    "channels-million/memory-peak",
    "channels-million/recovery",
    "channels-million/cost",
];

/// Channels that are open.
const MANY: u64 = 1_000_000;
/// Channels that the cost is compared with.
const FEW: u64 = 1_000;
/// Accepts of each task in one round.
const EACH: u64 = 40;
/// Of every channel.
const DEPOSIT: u128 = 1 << 40;

/// A store in a process of its own, with so many channels.
struct Channels {
    program: Program,
    /// What it took to open the folder, wall milliseconds.
    opened: f64,
}

impl Channels {
    fn start(folder: &Path, count: u64) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--serve", "channels", "--channels", &count.to_string()]);
        command.arg("--folder").arg(folder);
        let (program, opened) = Program::start(command)?;
        Ok(Self {
            program,
            opened: opened.parse()?,
        })
    }
}

/// Measures all of them.
pub fn run(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let (many, few) = (folder()?, folder()?);
    // Killed when it is done, as by a crash: so what is measured next is a recovery.
    drop(Channels::start(many.path(), MANY)?);
    let mut many = Channels::start(many.path(), MANY)?;
    let mut few = Channels::start(few.path(), FEW)?;
    let recovery = many.opened / 1e3;
    let mut sides: [Side<'_>; 2] = [
        Box::new(|| many.program.number("round")),
        Box::new(|| few.program.number("round")),
    ];
    let medians = interleave(setting.rounds, &mut sides)?;
    drop(sides);
    let (resident, peak) = many.program.memory()?;
    let values = [
        ("MB resident with 1,000,000 channels", resident, None),
        ("MB resident at most, recovery included", peak, None),
        ("s to open again after a kill", recovery, None),
        ("us CPU per accept", medians[0], Some(medians[1])),
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

fn folder() -> Result<TempDir> {
    tempfile::tempdir().context("making a folder")
}

/// Is such a process: opens the store and the channels that are not there yet, then tells the CPU
/// time of each accept, microseconds, whenever it is asked.
pub fn serve(folder: &Path, count: u64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let env = stiver_env::native::env();
    let begun = wall()?;
    let config = EmbeddedStore::config(folder);
    let store = runtime.block_on(EmbeddedStore::open(config, &env, Limits::default()))?;
    let opened = (wall()? - begun) / 1e6;
    let missing = count.saturating_sub(store.channels().usage().open);
    if missing > 0 {
        runtime.block_on(each(count, {
            let store = store.clone();
            move |index| {
                let store = store.clone();
                async move {
                    open(&store, channel(index), DEPOSIT).await?;
                    accept(&store, channel(index), COST).await
                }
            }
        }))?;
    }
    println!("{opened}");
    let mut round = 0_u64;
    for line in std::io::stdin().lock().lines() {
        if line? != "round" {
            bail!("only rounds can be asked for");
        }
        round += 1;
        let cpu = cpu_of_process(std::process::id())?;
        runtime.block_on(each(EACH * IN_FLIGHT as u64, {
            let store = store.clone();
            move |place| {
                // Any channel, and each task only its own: so vouchers come in order.
                let spread = (place ^ round << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
                let lanes = IN_FLIGHT as u64;
                let id = channel(spread % (count / lanes) * lanes + place % lanes);
                pay(store.clone(), id)
            }
        }))?;
        let took = cpu_of_process(std::process::id())? - cpu;
        println!("{}", took / (EACH * IN_FLIGHT as u64) as f64 / 1e3);
    }
    Ok(())
}

async fn pay(store: EmbeddedStore, id: ChannelId) -> Result<()> {
    let now = store.channels().channel(&id);
    let accepted = now.context("no such channel")?.figures().accepted;
    accept(&store, id, accepted + COST).await
}

/// Does something with each number below a count, [`IN_FLIGHT`] at a time; those of one remainder
/// one after the other.
async fn each<F>(count: u64, work: impl Fn(u64) -> F + Clone + Send + 'static) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let lanes = IN_FLIGHT as u64;
    let tasks: Vec<_> = (0..lanes)
        .map(|lane| {
            let work = work.clone();
            tokio::spawn(async move {
                for index in (lane..count).step_by(IN_FLIGHT) {
                    work(index).await?;
                }
                Ok::<_, anyhow::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}
