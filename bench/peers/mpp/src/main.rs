//! The session server of the `mpp` crate, verifying vouchers in this process.
//!
//! What is timed is `SessionMethod::verify_session` of a credential that was parsed before: its
//! payload is read, the channel found and checked, the voucher's EIP-712 signature verified and the
//! voucher accepted, in the crate's own store in memory. Before that the method asks the chain
//! about the channel, for each voucher. The chain is at the URL that the program is given, asked
//! over HTTP by the crate's own libraries; without a URL, a transport in this process answers at
//! once.
//!
//! A line `TASKS VOUCHERS` on the input has each task verify so many vouchers of a channel of its
//! own; the answer is the wall time that took, nanoseconds. With the argument `answer` the program
//! prints what a chain has to answer, and ends.

use std::{
    future::ready,
    io::{BufRead as _, Write as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use alloy::{
    primitives::{Address, B256},
    providers::{ProviderBuilder, RootProvider},
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload},
    },
    signers::local::PrivateKeySigner,
    transports::TransportError,
};
use anyhow::{Context as _, Result, anyhow, ensure};
use mpp::{
    PaymentCredential,
    protocol::{
        core::{Base64UrlJson, PaymentChallenge},
        intents::SessionRequest,
        methods::tempo::session_method::{
            ChannelState, InMemoryChannelStore, SessionMethod, SessionMethodConfig,
        },
        methods::tempo::sign_voucher,
        traits::SessionMethod as _,
    },
};
use tempo_alloy::TempoNetwork;

/// Channels, one for each thread.
const CHANNELS: usize = 2;
/// Vouchers of each channel. A round has no more.
const VOUCHERS: usize = 2000;
/// The chain of the vouchers.
const CHAIN: u64 = 42431;
const DEPOSIT: u128 = 1_000_000;

fn escrow() -> Address {
    Address::repeat_byte(0x55)
}

fn payee() -> Address {
    Address::repeat_byte(0x22)
}

fn token() -> Address {
    Address::repeat_byte(0x33)
}

/// The chain, which answers every question with the same channel.
#[derive(Clone)]
struct Chain {
    answer: Arc<serde_json::value::RawValue>,
}

impl Chain {
    /// What `getChannel` returns for a channel of this signer: eight words.
    fn new(signer: Address) -> Result<Self> {
        let number = |number: u128| format!("{number:064x}");
        let address = |address: Address| format!("{:0>64}", format!("{address:x}"));
        let words = [
            number(0),
            number(0),
            address(signer),
            address(payee()),
            address(token()),
            address(signer),
            number(DEPOSIT),
            number(0),
        ];
        let answer = serde_json::value::to_raw_value(&format!("0x{}", words.concat()))?;
        Ok(Self {
            answer: answer.into(),
        })
    }

    fn answer(&self, request: &RequestPacket) -> ResponsePacket {
        let one = |id: &alloy::rpc::json_rpc::Id| Response {
            id: id.clone(),
            payload: ResponsePayload::Success((*self.answer).to_owned()),
        };
        match request {
            RequestPacket::Single(request) => ResponsePacket::Single(one(request.id())),
            RequestPacket::Batch(requests) => {
                ResponsePacket::Batch(requests.iter().map(|it| one(it.id())).collect())
            }
        }
    }
}

impl tower::Service<RequestPacket> for Chain {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<ResponsePacket, TransportError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(ready(Ok(self.answer(&request))))
    }
}

/// A channel, and the credentials of its vouchers.
struct Channel {
    id: String,
    state: ChannelState,
    credentials: Vec<PaymentCredential>,
}

type Provider = RootProvider<TempoNetwork>;

struct Server {
    request: SessionRequest,
    store: Arc<InMemoryChannelStore>,
    method: SessionMethod<Provider>,
    channels: Vec<Channel>,
}

impl Server {
    async fn new(chain: Option<&str>) -> Result<Self> {
        let signer = PrivateKeySigner::from_slice(&[9; 32])?;
        let client = match chain {
            Some(url) => RpcClient::new_http(url.parse()?),
            None => RpcClient::new(Chain::new(signer.address())?, true),
        };
        let provider: Provider =
            ProviderBuilder::<_, _, TempoNetwork>::default().connect_client(client);
        let store = Arc::new(InMemoryChannelStore::new());
        let config = SessionMethodConfig {
            escrow_contract: escrow(),
            chain_id: CHAIN,
            min_voucher_delta: 0,
        };
        let method = SessionMethod::new(provider, Arc::clone(&store) as _, config);
        let request = SessionRequest {
            amount: "1".to_owned(),
            unit_type: Some("request".to_owned()),
            currency: format!("{:#x}", token()),
            decimals: None,
            recipient: Some(format!("{:#x}", payee())),
            suggested_deposit: None,
            method_details: method.challenge_method_details(),
        };
        let mut channels = Vec::new();
        for index in 0..CHANNELS {
            let id = B256::repeat_byte(0x70 + u8::try_from(index)?);
            channels.push(channel(&signer, id, &request).await?);
        }
        Ok(Self {
            request,
            store,
            method,
            channels,
        })
    }

    /// Verifies vouchers, each task those of its own channel. Wall nanoseconds.
    async fn round(self: &Arc<Self>, tasks: usize, vouchers: usize) -> Result<u128> {
        ensure!(tasks <= self.channels.len() && vouchers <= VOUCHERS);
        for channel in &self.channels {
            self.store.insert(&channel.id, channel.state.clone());
        }
        let start = Instant::now();
        let tasks: Vec<_> = (0..tasks)
            .map(|index| tokio::spawn(Arc::clone(self).verify(index, vouchers)))
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(start.elapsed().as_nanos())
    }

    /// Verifies vouchers of one channel.
    async fn verify(self: Arc<Self>, index: usize, vouchers: usize) -> Result<()> {
        let channel = self.channels.get(index).context("no such channel")?;
        for credential in channel.credentials.iter().take(vouchers) {
            let verified = self.method.verify_session(credential, &self.request);
            verified.await.map_err(|error| anyhow!("{error:?}"))?;
        }
        Ok(())
    }
}

async fn channel(signer: &PrivateKeySigner, id: B256, request: &SessionRequest) -> Result<Channel> {
    let text = format!("{id:#x}");
    let challenge = PaymentChallenge::new(
        "bench",
        "api.example.com",
        "tempo",
        "session",
        Base64UrlJson::from_typed(request)?,
    );
    let mut credentials = Vec::new();
    for cumulative in 1..=u128::try_from(VOUCHERS)? {
        let signature = sign_voucher(signer, id, cumulative, escrow(), CHAIN).await?;
        let payload = serde_json::json!({
            "action": "voucher",
            "channelId": text,
            "cumulativeAmount": cumulative.to_string(),
            "signature": signature.to_string(),
        });
        credentials.push(PaymentCredential::new(challenge.to_echo(), payload));
    }
    let state = ChannelState {
        channel_id: text.clone(),
        chain_id: CHAIN,
        escrow_contract: escrow(),
        payer: signer.address(),
        payee: payee(),
        token: token(),
        settlement_route: None,
        authorized_signer: signer.address(),
        deposit: DEPOSIT,
        settled_on_chain: 0,
        highest_voucher_amount: 0,
        highest_voucher_signature: None,
        spent: 0,
        units: 0,
        finalized: false,
        closing: false,
        pending_close: None,
        close_requested_at: 0,
        created_at: "2026-01-01T00:00:00Z".to_owned(),
    };
    Ok(Channel {
        id: text,
        state,
        credentials,
    })
}

fn main() -> Result<()> {
    let chain = std::env::args().nth(1);
    if chain.as_deref() == Some("answer") {
        let signer = PrivateKeySigner::from_slice(&[9; 32])?;
        println!("{}", Chain::new(signer.address())?.answer);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CHANNELS)
        .enable_all()
        .build()?;
    let server = Arc::new(runtime.block_on(Server::new(chain.as_deref()))?);
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (threads, vouchers) = line.split_once(' ').context("two numbers are asked for")?;
        let nanos = server.round(threads.parse()?, vouchers.parse()?);
        let nanos = runtime.block_on(nanos)?;
        println!("{nanos}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
