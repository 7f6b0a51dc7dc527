//! How long a payment takes to be final: from the last byte of a credential sent to the first byte
//! of an answer whose receipt survives `kill -9`. Open loop: requests leave by the clock, whether
//! or not others were answered.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use stiver_store::{ChannelStore as _, EmbeddedStore, Limits};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    load::Answer,
    measure::wall,
    report::Finding,
    rows::Setting,
    server::{Kind, Server},
    sessions::{IN_FLIGHT, KINDS, Payers},
};

/// Its rows.
pub const ROWS: [&str; 2] = ["finality/p50", "finality/p99"];

/// Between two requests.
const STEP: Duration = Duration::from_millis(1);
/// Which of the kinds of sessions: Ed25519, taken at once.
const KIND: usize = 2;

/// Measures both.
pub fn run(_: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let server = Server::start(Kind::Sessions)?;
    let kind = KINDS.get(KIND).context("no such kind")?;
    let mut payers = Payers::open(&server, kind, 1)?;
    let queues = payers.requests(kind)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let address = server.address();
    let mut took = runtime.block_on(async {
        let begin = tokio::time::Instant::now() + Duration::from_millis(100);
        let tasks: Vec<_> = (0_u32..)
            .zip(queues)
            .map(|(index, queue)| {
                let first = begin + STEP * index;
                tokio::spawn(async move { connection(address, queue, first).await })
            })
            .collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await??);
        }
        Ok::<_, anyhow::Error>(took)
    })?;
    survives(server, &payers)?;
    took.sort_by(f64::total_cmp);
    for (name, part) in ROWS.into_iter().zip([0.5, 0.99]) {
        let place = (took.len() as f64 * part) as usize;
        found(Finding {
            name: name.to_owned(),
            unit: "ms until the receipt, 1,000 a second",
            value: took.get(place).copied().unwrap_or(f64::NAN) / 1e6,
            baseline: None,
        });
    }
    Ok(())
}

/// Sends its requests by the clock; how long each answer took to begin, nanoseconds.
async fn connection(
    address: SocketAddr,
    queue: Vec<Vec<u8>>,
    first: tokio::time::Instant,
) -> Result<Vec<f64>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut took = Vec::with_capacity(queue.len());
    let every = STEP * u32::try_from(IN_FLIGHT)?;
    let mut inbox = Vec::new();
    for (index, request) in (0_u32..).zip(queue) {
        tokio::time::sleep_until(first + every * index).await;
        stream.write_all(&request).await?;
        let sent = wall()?;
        stream.readable().await?;
        took.push(wall()? - sent);
        inbox.clear();
        let answer = loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await?;
            ensure!(count > 0, "the server closed a connection");
            inbox.extend_from_slice(chunk.get(..count).unwrap_or_default());
            if let Some(answer) = Answer::parse(&inbox)? {
                break answer;
            }
        };
        ensure!(answer.status == 200, "the answer is {}", answer.status);
        answer.field("payment-receipt").context("no receipt")?;
    }
    Ok(took)
}

/// Kills the server, and finds all that receipts were given for.
fn survives(server: Server, payers: &Payers) -> Result<()> {
    let folder = server.kill().context("a server without a folder")?;
    let config = EmbeddedStore::config(folder.path().join("store"));
    let env = stiver_env::native::env();
    let store = pollster::block_on(EmbeddedStore::open(config, &env, Limits::default()))?;
    for (channel, signed) in payers.signed() {
        let kept = store.channels().channel(&channel);
        let spent = kept.context("a channel was lost")?.figures().spent;
        ensure!(spent == signed, "of {signed} only {spent} survived");
    }
    Ok(())
}
