//! What one voucher costs its payee, part by part: the same code that the gateway runs, over the
//! vouchers that were sent to it, one part after the other.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use http::HeaderValue;
use stiver_channel::{ChannelId, Rules, VerifyVoucher, Voucher};
use stiver_core::{
    Credential,
    binding::{KeyRing, Secret},
    credential::{self, presented},
};
use stiver_env::Env;
use stiver_gateway::{books, keys};
use stiver_method::{
    payee::Presented,
    session::{PayeeSession, SessionAction},
};
use stiver_method_ledger::{LedgerSessionPayee, LedgerSessionPayeeConfig};
use stiver_store::{
    ChannelCommand, ChannelReply, ChannelStore, Conclude, EmbeddedStore, Limits, NewChannel,
    Present, Take,
};
use tokio::task::JoinSet;

use super::{super::cpu, purse::Purse};
use crate::{config::read_config, failure::Failure};

/// CPU time of one voucher, part by part.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shares {
    /// From the header to a voucher, its binding verified; and the receipt's header.
    pub(super) codec: Duration,
    /// The proof: a signature, or a step of a hash chain.
    pub(super) proof: Duration,
    /// The durable write of the voucher and of what it pays for.
    pub(super) disk: Duration,
    /// How long half of those writes took at most, on the clock.
    pub(super) durable_within: Duration,
}

/// The payee of a gateway that does not run any more, without its HTTP.
pub(super) struct Payee {
    method: LedgerSessionPayee,
    env: Env,
}

impl Payee {
    /// Opens the books of a gateway.
    pub(super) async fn open(config: &Path, env: &Env) -> Result<Self, Failure> {
        let config = read_config(config, env)?;
        let issuer = keys::read_key(&config.issuer_key_file(), env)?.did();
        let ledger = Arc::new(books::open(&config, issuer, env).await?);
        let key = keys::read_key(&config.payee_key_file(), env)?;
        let account = books::open_payee(&ledger, &key, env).await?;
        let parts = LedgerSessionPayeeConfig::new(ledger, account, key, config.currencies.clone());
        let method = LedgerSessionPayee::new(parts).map_err(|why| anyhow!(why))?;
        Ok(Self {
            method,
            env: env.clone(),
        })
    }

    /// Measures each part over the vouchers of channels.
    pub(super) async fn shares(&self, purses: &[Purse], folder: &Path) -> Result<Shares, Failure> {
        let mut shares = Shares::default();
        let mut count = 0_u32;
        for purse in purses {
            let (codec, vouchers) = self.codec(purse)?;
            shares.codec += codec;
            shares.proof += self.proofs(purse, &vouchers)?;
            count = count.saturating_add(u32::try_from(vouchers.len())?);
        }
        let (disk, durable_within) = self.disk(purses, folder).await?;
        let each = |sum: Duration| sum.checked_div(count).unwrap_or_default();
        Ok(Shares {
            codec: each(shares.codec),
            proof: each(shares.proof),
            disk: each(disk),
            durable_within,
        })
    }

    /// Reads the vouchers of all headers, and writes a receipt for each.
    fn codec(&self, purse: &Purse) -> Result<(Duration, Vec<Voucher>), Failure> {
        // Another secret than the gateway's costs the same.
        let secret: [u8; 32] = self.env.random();
        let keys = KeyRing::new(Secret::from_bytes(&secret));
        let bound = keys.bind(purse.challenge.params.clone());
        let receipt = purse.receipt.as_ref().context("it was answered")?;
        let now = self.env.clock.now();
        let mut vouchers = Vec::with_capacity(purse.headers.len());
        let begun = cpu::here();
        for line in &purse.headers {
            let read = read(line)?;
            let SessionAction::Spend(voucher) = self.decode(&read)? else {
                return Err(anyhow!("a voucher was read as something else").into());
            };
            keys.verify(&bound, now)?;
            std::hint::black_box(receipt.to_header());
            vouchers.push(voucher);
        }
        Ok((cpu::here().saturating_sub(begun), vouchers))
    }

    fn decode(&self, read: &Credential) -> Result<SessionAction, Failure> {
        let decoded = self.method.decode(Presented {
            challenge: &read.challenge,
            payload: &read.payload,
            source: read.source.as_deref(),
            now: self.env.clock.now(),
        });
        decoded.map_err(|refusal| anyhow!(refusal.detail).into())
    }

    /// Verifies vouchers one by one, by the key that the opening named.
    fn proofs(&self, purse: &Purse, vouchers: &[Voucher]) -> Result<Duration, Failure> {
        let SessionAction::Open(opening) = self.decode(&purse.opening)? else {
            return Err(anyhow!("an opening was read as something else").into());
        };
        let channel = self.method.channel(opening.channel, &opening.terms);
        let channel = channel.map_err(|refusal| anyhow!(refusal.detail))?;
        let verifier: Arc<dyn VerifyVoucher> = channel.verifier;
        let mut last = purse.vouchers.first();
        let begun = cpu::here();
        for voucher in vouchers {
            verifier.verify(last, voucher)?;
            last = Some(voucher);
        }
        Ok(cpu::here().saturating_sub(begun))
    }

    /// Keeps every voucher and what it pays for, all channels at once, in a store on this disk:
    /// as the gateway does, set aside first and spent when it was served.
    async fn disk(&self, purses: &[Purse], folder: &Path) -> Result<(Duration, Duration), Failure> {
        let config = EmbeddedStore::config(folder);
        let store = EmbeddedStore::open(config, &self.env, Limits::default()).await?;
        let rules = Rules {
            caps: *self.method.caps(),
            voucher_delta_min: 0,
        };
        let mut tasks = JoinSet::new();
        let mut begun = Vec::new();
        for purse in purses {
            let first = purse.vouchers.first().context("it has vouchers")?.clone();
            let last = purse.vouchers.last().context("it has vouchers")?;
            let (id, deposit) = (first.channel, last.cumulative);
            let open = NewChannel {
                id,
                rules,
                deposit,
                settled: 0,
                voucher: None,
                details: Box::default(),
            };
            store.channel(ChannelCommand::Open(Box::new(open))).await?;
            begun.push((id, purse.vouchers.clone()));
        }
        let start = cpu::here();
        for (id, vouchers) in begun {
            let (store, env) = (store.clone(), self.env.clone());
            tasks.spawn(async move { keep(&store, &env, (id, rules), vouchers).await });
        }
        let mut latencies: Vec<Duration> = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            latencies.append(&mut joined??);
        }
        let took = cpu::here().saturating_sub(start);
        store.close().await?;
        latencies.sort_unstable();
        let half = latencies.get(latencies.len() / 2).copied();
        Ok((took, half.unwrap_or_default()))
    }
}

/// Reads a credential as it stands in a header.
fn read(line: &HeaderValue) -> Result<Credential, Failure> {
    match presented([line.as_bytes()]) {
        credential::Presented::One(token) => Ok(Credential::parse(token)?),
        _ => Err(anyhow!("no credential in a header of ours").into()),
    }
}

async fn keep(
    store: &EmbeddedStore,
    env: &Env,
    (id, rules): (ChannelId, Rules),
    vouchers: Vec<Voucher>,
) -> Result<Vec<Duration>, Failure> {
    let mut latencies = Vec::with_capacity(vouchers.len());
    let mut paid = 0;
    for voucher in vouchers {
        let price = voucher.cumulative.saturating_sub(paid);
        paid = voucher.cumulative;
        let begun = env.clock.monotonic();
        let present = Present {
            id,
            rules,
            voucher: Some(voucher),
            take: Take::Reserve(price),
            key: None,
            reruns: 0,
        };
        let reply = store.channel(ChannelCommand::Present(Box::new(present)));
        let ChannelReply::Presented(_) = reply.await? else {
            return Err(anyhow!("the store refused a voucher that the gateway took").into());
        };
        latencies.push(env.clock.monotonic().saturating_sub(begun));
        let conclude = Conclude {
            id,
            rules,
            spend: price,
            from_reserved: price,
            key: None,
            answer: None,
            left: Vec::new(),
        };
        store.channel(ChannelCommand::Conclude(conclude)).await?;
    }
    Ok(latencies)
}
