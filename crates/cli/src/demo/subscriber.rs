//! A payer of streams inside of the demo: the client library with a wallet's sessions.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::Request;
use stiver_client::{
    Options, Parts, PayingClient, PaymentClient, Streamed,
    events::{Event, Observer},
    policy::MaxAmount,
    session::{OwnMeter, Session, SessionLimits, SessionParts},
};
use stiver_core::Timestamp;
use stiver_env::Env;
use stiver_method::{payer::Payer, session::VoucherScheme};
use stiver_wallet::{Home, WalletName};

use crate::{
    commands::{get::Connect, sessions::failure},
    failure::Failure,
    payer::{bound_account, ledger_payer, ledger_session_payer},
};

/// How often it is asked whether a close that was agreed to is done, and how long between.
const CLOSES_MAX: u32 = 50;
const CLOSE_PAUSE: Duration = Duration::from_millis(100);

/// A payer of streams.
pub(crate) struct Subscriber {
    client: PayingClient,
    seen: Arc<Seen>,
    env: Env,
}

/// How it pays, where that is not left to the client.
#[derive(Default)]
pub(crate) struct Ways {
    /// How vouchers are made.
    pub(crate) scheme: Option<VoucherScheme>,
    /// An instrument of its own.
    pub(crate) meter: Option<Arc<dyn OwnMeter>>,
}

/// The session as the journal has it.
#[derive(Default)]
struct Seen(Mutex<Option<Session>>);

impl Observer<Event> for Seen {
    fn observe(&self, _: Timestamp, event: &Event) {
        if let Event::Session { session, .. } = event {
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some((**session).clone());
        }
    }
}

/// An event stream that is read.
pub(crate) struct Reading {
    response: reqwest::Response,
    held: Vec<u8>,
    streamed: Option<Streamed>,
}

impl Subscriber {
    /// Opens the wallet of a folder; it must have joined a ledger.
    pub(crate) async fn new(
        home: PathBuf,
        limits: SessionLimits,
        ways: Ways,
        env: &Env,
    ) -> Result<Self, Failure> {
        let home = Home::new(home, env.clone());
        let wallet = home.wallet(&WalletName::new("default")?)?;
        let account = bound_account(&wallet)?;
        let connect = Connect::default();
        let payer: Arc<dyn Payer> = Arc::new(ledger_payer(&wallet, &account, &connect, env)?);
        let parts = Parts {
            env: env.clone(),
            payers: vec![payer],
            policy: Arc::new(MaxAmount::new(limits.max_session.clone())),
            outbox: Arc::new(wallet.outbox().await?),
            pins: Arc::new(home.pins()?),
            options: Options::default(),
        };
        let seen = Arc::new(Seen::default());
        let payer = ledger_session_payer(&wallet, &account, &connect, env)?;
        let payer = match ways.scheme {
            Some(scheme) => payer.with_scheme(scheme),
            None => payer,
        };
        let sessions = SessionParts {
            payers: vec![Arc::new(payer)],
            journal: Arc::new(wallet.sessions().await?),
            limits,
        };
        let payments = PaymentClient::with_events(parts, vec![seen.clone()]);
        let payments = payments.with_sessions(sessions);
        let payments = match ways.meter {
            Some(meter) => payments.with_own_meter(meter),
            None => payments,
        };
        Ok(Self {
            client: PayingClient::new(payments)?,
            seen,
            env: env.clone(),
        })
    }

    /// Asks for a stream.
    pub(crate) async fn ask(&self, request: Request<Bytes>) -> Result<Reading, Failure> {
        let answer = self.client.call(request).await.map_err(failure)?;
        let status = answer.response.status();
        if !status.is_success() {
            return Err(anyhow!("the stream was answered {status}").into());
        }
        Ok(Reading {
            response: answer.response,
            held: Vec::new(),
            streamed: answer.payment.and_then(|payment| payment.streamed),
        })
    }

    /// The session, as it stands in the journal.
    pub(crate) fn session(&self) -> Option<Session> {
        let last = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// Closes the session: what was used is taken, and the rest comes back.
    pub(crate) async fn close(&self) -> Result<Session, Failure> {
        let open = self.client.payments().sessions().await.map_err(failure)?;
        let open = open.iter().find(|session| !session.state.is_final());
        let id = open.context("there is no open session")?.id;
        let exchange = self.client.exchange();
        let payments = self.client.payments();
        let mut closed = payments
            .close_session(id, &exchange)
            .await
            .map_err(failure)?;
        for _ in 0..CLOSES_MAX {
            if closed.state.is_final() {
                break;
            }
            // Agreed to, and not done yet.
            self.env.clock.sleep(CLOSE_PAUSE).await;
            let told = payments.recover_sessions().await.map_err(failure)?;
            let same = told.into_iter().find(|(session, _)| session.id == id);
            closed = same.map_or(closed, |(session, _)| session);
        }
        let _ = payments.close().await;
        Ok(closed)
    }
}

impl Reading {
    /// Why it is paid no further, once it is not.
    pub(crate) fn unpaid(&self) -> Option<String> {
        self.streamed.as_ref().and_then(|it| it.end().unpaid)
    }

    /// The data of the next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(end) = self.held.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.held.drain(..end + 2).collect();
                let event = String::from_utf8_lossy(&event);
                let data: Vec<&str> = event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .map(str::trim_start)
                    .collect();
                if !data.is_empty() {
                    return Ok(Some(data.join("\n")));
                }
                continue;
            }
            match self.response.chunk().await? {
                Some(bytes) => self.held.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}
