//! The session server of the `mpp` crate, verifying vouchers in this process.
//!
//! What is timed is `SessionMethod::verify_session` of a credential that was parsed before: its
//! payload is read, the channel found and checked, the voucher's EIP-712 signature verified and
//! the voucher accepted, in the crate's own store in memory. Before that the method asks the chain
//! about the channel, for each voucher. Its own seam for that is a provider: here one over a transport
//! that answers at once, in this process, always the same. So of the chain only the crate's own
//! work is counted, and no network.
//!
//! A line `THREADS VOUCHERS` on the input has each thread verify so many vouchers of a channel of
//! its own; the answer is the wall time that took, and the CPU time, nanoseconds.

use std::{
    future::{Ready, ready},
    io::{BufRead as _, Write as _},
    sync::{Arc, Barrier},
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
    type Future = std::pin::Pin<Box<Ready<Result<ResponsePacket, TransportError>>>>;

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
    async fn new() -> Result<Self> {
        let signer = PrivateKeySigner::from_slice(&[9; 32])?;
        let chain = Chain::new(signer.address())?;
        let client = RpcClient::new(chain, true);
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

    /// Verifies vouchers, each thread those of its own channel. Wall nanoseconds.
    fn round(&self, threads: usize, vouchers: usize) -> Result<u128> {
        ensure!(threads <= self.channels.len() && vouchers <= VOUCHERS);
        for channel in &self.channels {
            self.store.insert(&channel.id, channel.state.clone());
        }
        let together = Barrier::new(threads + 1);
        let work = |channel: &Channel| -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            together.wait();
            runtime.block_on(async {
                for credential in channel.credentials.iter().take(vouchers) {
                    let verified = self.method.verify_session(credential, &self.request);
                    verified.await.map_err(|error| anyhow!("{error:?}"))?;
                }
                Ok(())
            })
        };
        let work = &work;
        std::thread::scope(|scope| {
            let channels = self.channels.iter().take(threads);
            let threads: Vec<_> = channels
                .map(|channel| scope.spawn(move || work(channel)))
                .collect();
            together.wait();
            let start = Instant::now();
            for thread in threads {
                thread.join().map_err(|_| anyhow!("a thread panicked"))??;
            }
            Ok(start.elapsed().as_nanos())
        })
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
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let server = runtime.block_on(Server::new())?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (threads, vouchers) = line.split_once(' ').context("two numbers are asked for")?;
        let nanos = server.round(threads.parse()?, vouchers.parse()?)?;
        println!("{nanos}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
