//! A Redis server of our own, on the disk under measurement, with `appendfsync always`.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    net::{UnixStream, unix::OwnedWriteHalf},
    runtime::Handle,
};

use super::{COST, IN_FLIGHT, channel};
use crate::{measure::wall, proxy::find};

const MISSING: &str = "Redis is not installed: `apt-get install redis-server` (Debian) brings it";
/// How long it may take to start.
const START_STEPS_MAX: u32 = 100;
const START_STEP: Duration = Duration::from_millis(20);

/// A server, asked over its socket. Killed when dropped.
pub struct Redis {
    child: Child,
    socket: PathBuf,
    runtime: Handle,
}

impl Redis {
    /// Starts a server in a folder.
    pub fn start(base: &Path, runtime: &Handle) -> Result<Self> {
        let program = find("redis-server", &["/usr/bin"]).context(MISSING)?;
        let folder = base.join("redis");
        std::fs::create_dir(&folder).context("making a folder")?;
        let socket = folder.join("socket");
        let child = Command::new(program)
            .args([
                "--port",
                "0",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ])
            .args(["--save", "", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting Redis")?;
        let redis = Self {
            child,
            socket,
            runtime: runtime.clone(),
        };
        for _ in 0..START_STEPS_MAX {
            if std::os::unix::net::UnixStream::connect(&redis.socket).is_ok() {
                return Ok(redis);
            }
            // It says nowhere that it is ready.
            sleep(START_STEP);
        }
        bail!("Redis did not start in time")
    }

    /// A connection for each voucher in flight, each with its own channel, which is a hash: accepts
    /// per second. Nothing is checked: that a voucher is higher than the last one is taken as read.
    pub fn round(&self, each: usize) -> Result<f64> {
        let streams = (1..=IN_FLIGHT as u64).map(|index| {
            let stream = self.runtime.block_on(UnixStream::connect(&self.socket));
            Ok((command(index), stream.context("connecting to Redis")?))
        });
        let streams: Vec<(Vec<u8>, UnixStream)> = streams.collect::<Result<_>>()?;
        let start = wall()?;
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|(command, stream)| self.runtime.spawn(ask(stream, command, each)))
            .collect();
        for task in tasks {
            self.runtime.block_on(task)??;
        }
        Ok((IN_FLIGHT * each) as f64 / (wall()? - start) * 1e9)
    }
}

/// Sends the same command so many times, each when the last is answered.
async fn ask(stream: UnixStream, command: Vec<u8>, count: usize) -> Result<()> {
    let (reader, writer) = stream.into_split();
    let mut answer = [0; 256];
    for _ in 0..count {
        write(&writer, &command).await?;
        let length = loop {
            reader.readable().await?;
            match reader.try_read(&mut answer) {
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        };
        let answer = answer.get(..length).unwrap_or_default();
        ensure!(
            answer.starts_with(b":") && answer.ends_with(b"\r\n"),
            "Redis answered {:?}",
            String::from_utf8_lossy(answer)
        );
    }
    Ok(())
}

async fn write(writer: &OwnedWriteHalf, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        writer.writable().await?;
        match writer.try_write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What is authorised, what is spent, and the proof.
fn command(index: u64) -> Vec<u8> {
    let id = channel(index).0;
    let figure = (COST * u128::from(index)).to_string();
    let parts: [&[u8]; 8] = [
        b"HSET",
        &id,
        b"accepted",
        figure.as_bytes(),
        b"spent",
        figure.as_bytes(),
        b"proof",
        &[9; 64],
    ];
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend(format!("${}\r\n", part.len()).bytes());
        bytes.extend(part);
        bytes.extend(b"\r\n");
    }
    bytes
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself: that is no matter here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
