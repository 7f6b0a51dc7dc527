//! A buyer of readings as a process of its own, so that it can be killed.

use std::{io::Write, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::Request;
use serde::{Deserialize, Serialize};
use stiver_client::session::{Session, SessionLimits};
use stiver_core::Currency;
use stiver_env::Env;
use stiver_method::session::VoucherScheme;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::subscriber::{Subscriber, Ways};
use crate::{args::DemoBuyer, failure::Failure};

/// How long it may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// What the buyer says with each reading, base units, and at its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Said {
    /// Readings that it has got.
    pub(super) readings: u64,
    /// How long that took, milliseconds.
    pub(super) took_ms: u64,
    /// Its session, as its journal has it.
    pub(super) session: String,
    pub(super) payee: String,
    pub(super) deposit: u64,
    pub(super) signed: u64,
    pub(super) agreed: u64,
    pub(super) vouchers: u64,
    /// What the payee took, once the session is closed.
    pub(super) captured: Option<u64>,
}

impl Said {
    fn new(readings: u64, took: Duration, session: &Session) -> Result<Self, Failure> {
        Ok(Self {
            readings,
            took_ms: u64::try_from(took.as_millis())?,
            session: session.id.to_string(),
            payee: session.terms.payee.clone(),
            deposit: u64::try_from(session.deposit)?,
            signed: u64::try_from(session.signed)?,
            agreed: u64::try_from(session.agreed)?,
            vouchers: session.vouchers,
            captured: session.captured.map(u64::try_from).transpose()?,
        })
    }
}

/// Buys readings, tells of each, and closes its session when it has enough.
pub(crate) async fn run(args: &DemoBuyer, env: &Env) -> Result<(), Failure> {
    let usd = Currency::new("usd", 6)?;
    let limits = SessionLimits::new(usd.units(args.deposit)).with_sign_ahead(usd.units(args.ahead));
    let ways = Ways {
        scheme: Some(VoucherScheme::HashChain { step: args.step }),
        ..Ways::default()
    };
    let subscriber = Subscriber::new(args.home.clone(), limits, ways, env).await?;
    let begun = env.clock.monotonic();
    let request = Request::get(&args.url).body(Bytes::new())?;
    let mut stream = subscriber.ask(request).await?;
    let mut readings = 0;
    while readings < args.readings {
        let reading = stream.next().await?;
        reading.context("the stream ended")?;
        readings += 1;
        let session = subscriber.session().context("it has a session")?;
        let took = env.clock.monotonic().saturating_sub(begun);
        tell(&Said::new(readings, took, &session)?)?;
    }
    drop(stream);
    let took = env.clock.monotonic().saturating_sub(begun);
    tell(&Said::new(readings, took, &subscriber.close().await?)?)
}

fn tell(said: &Said) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(said)?)?;
    Ok(out.flush()?)
}

/// A buyer that runs.
pub(super) struct Buyer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Buyer {
    /// Starts it. Its errors go to a file.
    pub(super) fn start(mut command: Command, log: PathBuf) -> Result<Self, Failure> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()?;
        let out = child.stdout.take().context("no standard output")?;
        Ok(Self {
            child,
            lines: BufReader::new(out).lines(),
            log,
        })
    }

    /// What it says next; `None` when it has ended as it should.
    pub(super) async fn hear(&mut self) -> Result<Option<Said>, Failure> {
        let line = timeout(SILENCE_MAX, self.lines.next_line()).await;
        match line.context("the buyer says nothing")?? {
            Some(line) => Ok(Some(serde_json::from_str(&line)?)),
            None if self.child.wait().await?.success() => Ok(None),
            None => {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                Err(anyhow!("the buyer failed: {}", said.trim()).into())
            }
        }
    }

    /// Kills it as `kill -9` does. Gives what it had said last.
    pub(super) async fn kill(mut self) -> Result<Option<Said>, Failure> {
        self.child.kill().await?;
        let mut last = None;
        while let Some(line) = self.lines.next_line().await? {
            // A line that it was killed in.
            last = serde_json::from_str(&line).ok().or(last);
        }
        Ok(last)
    }
}
