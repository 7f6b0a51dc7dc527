//! A payer inside of the demo: the client library with the stage's wallet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use stiver_client::{CallId, PayingClient, Payment, Retry, policy::MaxAmount};
use stiver_core::Currency;
use stiver_env::Env;
use stiver_wallet::{Account, Home, Wallet, WalletName};
use tokio::task::JoinSet;

use super::stage::Stage;
use crate::{
    failure::Failure,
    payer::{bound_account, paying_client},
};

/// The most a call of the demo may cost, millionths of a dollar.
const LIMIT_UNITS: u128 = 100_000;
/// How long an answer may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a call is made again while nobody listens, and how long between tries.
const TRIES_MAX: u32 = 200;
const TRY_PAUSE: Duration = Duration::from_millis(50);

/// A payer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shopper {
    client: PayingClient,
    wallet: Wallet,
    url: String,
}

/// How one call ended.
pub(crate) enum Bought {
    /// Paid and delivered.
    Paid(Box<Payment>),
    /// Nobody listened, or nothing was paid: a new call is safe.
    NotPaid,
    /// Money moved or may have, and the answer was not seen whole: to be resumed.
    Open(CallId),
}

/// What a burst came to.
pub(crate) struct Burst {
    /// Calls that were paid and delivered.
    pub(crate) paid: Vec<Payment>,
    /// Calls whose answer was not seen whole.
    pub(crate) open: Vec<CallId>,
    /// How many calls were never paid.
    pub(crate) not_paid: usize,
    /// How long each paid call took, sorted.
    pub(crate) latencies: Vec<Duration>,
    /// How long all of them took together.
    pub(crate) took: Duration,
}

impl Shopper {
    /// Opens the stage's wallet, which must have joined the ledger.
    pub(crate) async fn new(stage: &Stage, env: &Env) -> Result<Self, Failure> {
        let home = Home::new(stage.wallet_home(), env.clone());
        let wallet = home.wallet(&WalletName::new("default")?)?;
        let account: Account = bound_account(&wallet)?;
        let limit = Currency::new("usd", 6)?.units(LIMIT_UNITS);
        let policy = Arc::new(MaxAmount::new(limit));
        let client = paying_client(&home, &wallet, &account, policy, REPLY_TIMEOUT, env).await?;
        Ok(Self {
            client,
            wallet,
            url: stage.gateway_url().to_owned(),
        })
    }

    /// The paying client.
    pub(crate) fn client(&self) -> &PayingClient {
        &self.client
    }

    /// The wallet.
    pub(crate) fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// One paid GET.
    pub(crate) async fn buy(&self, path: &str) -> Result<Bought, Failure> {
        let request = Request::get(format!("{}{path}", self.url)).body(Bytes::new())?;
        let answer = match self.client.call(request).await {
            Ok(answer) => answer,
            Err(error) => return ended(&error),
        };
        let status = answer.response.status();
        let Some(payment) = answer.payment.filter(|_| status.is_success()) else {
            return Err(anyhow::anyhow!("{path} answered {status} without a payment").into());
        };
        // A body that was cut off can be fetched again: it is paid for.
        Ok(match answer.response.bytes().await {
            Ok(_) => Bought::Paid(Box::new(payment)),
            Err(_) => Bought::Open(payment.call),
        })
    }

    /// One paid GET; while nobody listens, when the client says that a new call is safe, again.
    async fn buy_when_up(&self, path: &str, env: &Env) -> Result<Bought, Failure> {
        for _ in 0..TRIES_MAX {
            match self.buy(path).await? {
                Bought::NotPaid => {
                    env.clock.sleep(TRY_PAUSE).await;
                }
                bought => return Ok(bought),
            }
        }
        self.buy(path).await
    }

    /// Buys `count` times, `at_once` of them at any time, and counts into `done` as it goes.
    pub(crate) async fn burst(
        &self,
        path: &str,
        count: usize,
        at_once: usize,
        done: &Arc<AtomicUsize>,
        env: &Env,
    ) -> Result<Burst, Failure> {
        let started = env.clock.monotonic();
        let next = Arc::new(AtomicUsize::new(0));
        let mut buyers = JoinSet::new();
        for _ in 0..at_once {
            let buyer = self.clone();
            let (path, next) = (path.to_owned(), Arc::clone(&next));
            let (done, env) = (Arc::clone(done), env.clone());
            buyers.spawn(async move {
                let mut bought = Vec::new();
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    let begun = env.clock.monotonic();
                    let result = buyer.buy_when_up(&path, &env).await?;
                    bought.push((env.clock.monotonic().saturating_sub(begun), result));
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, Failure>(bought)
            });
        }
        let mut burst = Burst {
            paid: Vec::new(),
            open: Vec::new(),
            not_paid: 0,
            latencies: Vec::new(),
            took: started,
        };
        while let Some(joined) = buyers.join_next().await {
            for (latency, result) in joined?? {
                match result {
                    Bought::Paid(payment) => {
                        burst.paid.push(*payment);
                        burst.latencies.push(latency);
                    }
                    Bought::Open(call) => burst.open.push(call),
                    Bought::NotPaid => burst.not_paid += 1,
                }
            }
        }
        burst.took = env.clock.monotonic().saturating_sub(started);
        burst.latencies.sort_unstable();
        Ok(burst)
    }
}

/// What an error leaves: nothing, or a call to resume. A call that failed for good ends the scene.
fn ended(error: &stiver_client::CallError) -> Result<Bought, Failure> {
    match error.retry() {
        Retry::NewCall => Ok(Bought::NotPaid),
        Retry::Resume(call) => Ok(Bought::Open(call)),
        Retry::No => Err(anyhow::anyhow!("{error}").into()),
    }
}

impl Burst {
    /// Paid calls per second, whole.
    pub(crate) fn rate(&self) -> u64 {
        let paid = u128::try_from(self.paid.len()).unwrap_or(u128::MAX);
        let rate = paid.saturating_mul(1_000_000) / self.took.as_micros().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// The latency that `percent` of the paid calls did not exceed, in milliseconds with one digit.
    pub(crate) fn percentile(&self, percent: usize) -> String {
        let last = self.latencies.len().saturating_sub(1);
        let latency = self
            .latencies
            .get(last * percent / 100)
            .copied()
            .unwrap_or_default();
        let tenths = latency.as_micros() / 100;
        format!("{}.{} ms", tenths / 10, tenths % 10)
    }
}
