//! Channels whose vouchers were made before, so that what is measured is the payee's work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow};
use http::{HeaderValue, StatusCode, header};
use stiver_channel::Voucher;
use stiver_core::{Amount, Challenge, Credential, Receipt, amount::parse_base_units, json::Value};
use stiver_env::Env;
use stiver_method::{
    payer::{CallKey, Proof},
    session::{OpenRequest, PayerSession, VoucherScheme},
};
use stiver_method_ledger::LedgerSessionPayer;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The intent.
const SESSION: &str = "session";
/// What a payee answers with.
const RECEIPT: &str = "payment-receipt";

/// Opens channels and sends their vouchers over HTTP.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) http: reqwest::Client,
    pub(super) payer: Arc<LedgerSessionPayer>,
    pub(super) url: String,
    /// How many requests were answered.
    pub(super) done: Arc<AtomicUsize>,
    pub(super) env: Env,
}

/// An open channel, and vouchers for it that are not sent yet.
#[derive(Clone)]
pub(super) struct Purse {
    pub(super) challenge: Challenge,
    /// What opened it.
    pub(super) opening: Credential,
    pub(super) vouchers: Vec<Voucher>,
    /// The header of each voucher.
    pub(super) headers: Vec<HeaderValue>,
    /// How many of them were sent and paid for a request.
    pub(super) sent: usize,
    /// How long each of those took.
    pub(super) latencies: Vec<Duration>,
    /// The receipt of the last answer.
    pub(super) receipt: Option<Receipt>,
}

/// How a burst of requests went.
pub(super) struct Sent {
    /// How many were answered.
    pub(super) count: usize,
    /// How long all of them took together.
    pub(super) took: Duration,
    /// How long each took, sorted.
    pub(super) latencies: Vec<Duration>,
}

impl Sent {
    /// Requests in a second, whole.
    pub(super) fn rate(&self) -> u64 {
        let count = u128::try_from(self.count).unwrap_or(u128::MAX);
        let rate = count.saturating_mul(1_000_000) / self.took.as_micros().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// The time that `percent` of the requests did not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let latency = self.latencies.get(last * percent / 100);
        latency.copied().unwrap_or_default()
    }
}

impl Sender {
    /// The session challenge of the URL.
    async fn challenge(&self) -> Result<Challenge, Failure> {
        let response = self.http.get(&self.url).send().await?;
        let lines = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
        let challenges = Challenge::parse_all(lines.map(HeaderValue::as_bytes));
        let mut challenges = challenges.into_iter().flatten();
        let session = challenges.find(|it| it.params.intent.as_str() == SESSION);
        Ok(session.context("the route offers no session")?)
    }

    /// Opens a channel, pays for one request with it, and makes vouchers for `count` more.
    pub(super) async fn open(
        &self,
        scheme: VoucherScheme,
        price: &Amount,
        count: usize,
    ) -> Result<Purse, Failure> {
        let challenge = self.challenge().await?;
        let deposit = price.checked_mul(u128::try_from(count)?.saturating_add(1))?;
        let open = OpenRequest {
            challenge: &challenge,
            deposit: &deposit,
            scheme: Some(scheme),
            call: CallKey::from_bytes(self.env.random()),
            entropy: Zeroizing::new(self.env.random()),
            now: self.env.clock.now(),
        };
        let prepared = self.payer.prepare_open(open).await?;
        let mut signer = self.payer.signer(&prepared.record)?;
        let first = signer.sign(price.units(), None).await?;
        let proof = self.payer.fund(&prepared.artefact, Some(&first)).await?;
        let opening = credential(&challenge, proof);
        let (_, receipt) = self
            .get(&HeaderValue::from_str(&opening.to_header())?)
            .await?;
        let mut vouchers = vec![first];
        let mut headers = Vec::with_capacity(count);
        for n in 0..count {
            let cumulative = price.checked_mul(u128::try_from(n)?.saturating_add(2))?;
            let voucher = signer.sign(cumulative.units(), None).await?;
            let proof = self.payer.spend(&voucher)?;
            let credential = credential(&challenge, proof);
            headers.push(HeaderValue::from_str(&credential.to_header())?);
            vouchers.push(voucher);
        }
        Ok(Purse {
            challenge,
            opening,
            vouchers,
            headers,
            sent: 0,
            latencies: Vec::with_capacity(count),
            receipt,
        })
    }

    /// One request, and what it was answered with.
    async fn get(
        &self,
        authorization: &HeaderValue,
    ) -> Result<(StatusCode, Option<Receipt>), Failure> {
        let request = self.http.get(&self.url);
        let request = request.header(header::AUTHORIZATION, authorization);
        let response = request.send().await?;
        let status = response.status();
        let receipt = response.headers().get(RECEIPT).cloned();
        let body = response.bytes().await?;
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body).into_owned();
            return Err(anyhow!("a voucher was answered {status}: {said}").into());
        }
        let receipt = receipt.map(|line| Receipt::parse(line.as_bytes()));
        Ok((status, receipt.transpose()?))
    }

    /// Sends the vouchers of a channel in their order, until there are none or the time is over.
    async fn spend(&self, mut purse: Purse, until: Duration) -> Result<Purse, Failure> {
        while let Some(line) = purse.headers.get(purse.sent) {
            let begun = self.env.clock.monotonic();
            if begun >= until {
                break;
            }
            let (_, receipt) = self.get(line).await?;
            purse
                .latencies
                .push(self.env.clock.monotonic().saturating_sub(begun));
            purse.receipt = receipt;
            purse.sent += 1;
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(purse)
    }

    /// Sends the vouchers of all channels, each channel's one after the other.
    pub(super) async fn burst(
        &self,
        purses: Vec<Purse>,
        limit: Duration,
    ) -> Result<(Vec<Purse>, Sent), Failure> {
        let started = self.env.clock.monotonic();
        let until = started.saturating_add(limit);
        let mut tasks = JoinSet::new();
        for purse in purses {
            let sender = self.clone();
            tasks.spawn(async move { sender.spend(purse, until).await });
        }
        let mut purses = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            purses.push(joined??);
        }
        let took = self.env.clock.monotonic().saturating_sub(started);
        let mut latencies: Vec<Duration> = Vec::new();
        for purse in &mut purses {
            latencies.append(&mut purse.latencies);
        }
        latencies.sort_unstable();
        let sent = Sent {
            count: latencies.len(),
            took,
            latencies,
        };
        Ok((purses, sent))
    }

    /// Asks the payee to close a channel, with its last voucher that was sent. Gives what the
    /// payee took.
    pub(super) async fn close(&self, purse: &Purse) -> Result<u128, Failure> {
        let last = purse.vouchers.get(purse.sent).context("it has vouchers")?;
        let proof = self.payer.close(last)?;
        let line = HeaderValue::from_str(&credential(&purse.challenge, proof).to_header())?;
        let (status, receipt) = self.get(&line).await?;
        if status != StatusCode::NO_CONTENT {
            return Err(anyhow!("a close was answered {status}").into());
        }
        let receipt = receipt.context("a close is answered with a receipt")?;
        let settled = receipt.extra.get("settled").and_then(Value::as_str);
        Ok(parse_base_units(
            settled.context("it tells what was taken")?,
            128,
        )?)
    }
}

impl Purse {
    /// What its vouchers that were sent pay for, base units.
    pub(super) fn paid(&self) -> u128 {
        let last = self.vouchers.get(self.sent);
        last.map_or(0, |voucher| voucher.cumulative)
    }
}

fn credential(challenge: &Challenge, proof: Proof) -> Credential {
    Credential {
        challenge: challenge.clone(),
        payload: proof.payload,
        source: proof.source,
    }
}
