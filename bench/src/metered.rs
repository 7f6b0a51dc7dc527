//! Metered event streams, in process: every event is priced, and paid for before it leaves.

use std::{convert::Infallible, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, header},
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use stiver_channel::{ChannelId, voucher::eip712::SigningKey};
use stiver_core::{
    Challenge, Credential, Currency,
    binding::{KeyRing, Secret},
    json::Object,
    name::Realm,
};
use stiver_method::session::{PayeeSession, UnitPrice};
use stiver_server::{Gate, route::Route, session::SessionOffer, tower::PaymentLayer};
use stiver_store::{EmbeddedStore, Limits};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::{
    measure::{Side, cpu_of_process, interleave},
    report::Finding,
    rows::Setting,
    sessions::signed::{self, SignedPayee},
};

/// Its rows.
pub const ROWS: [&str; 3] = ["metered-sse", "metered-sse/tokens", "metered-sse/memory"];

/// How much the longest stream carries, bytes, unless told.
pub const STREAM_BYTES: u64 = 10_000_000_000;
/// Events of one round.
const EVENTS: u64 = 100_000;
/// What is reserved at once, base units: an event costs one.
const WINDOW: u128 = 1000;
/// The length of an event in the longest stream, bytes.
const LONG_EVENT_BYTES: usize = 16 << 10;
/// Of every channel.
const DEPOSIT: u128 = 1 << 60;

/// An event of plain data.
const PLAIN: &[u8] = b"data: {\"celsius\":21.5,\"at\":\"2026-01-01T00:00:00Z\"}\n\n";
/// An event as language models send them.
const TOKEN: &[u8] = b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\
    \"created\":1767225600,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" of\"},\
    \"finish_reason\":null}]}\n\n";

/// Measures all of them.
pub fn run(setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
    let world = World::new()?;
    let (mut plain, mut tokens) = (world.payer("/event")?, world.payer("/token")?);
    let mut sides: [Side<'_>; 2] = [
        Box::new(|| world.per_second(&mut plain, PLAIN)),
        Box::new(|| world.per_second(&mut tokens, TOKEN)),
    ];
    let medians = interleave(setting.rounds, &mut sides)?;
    drop(sides);
    for (name, value) in ROWS.into_iter().zip(medians) {
        found(Finding {
            name: name.to_owned(),
            unit: "events per second of CPU",
            value,
            baseline: None,
        });
    }
    if setting.wants(ROWS[2]) {
        found(Finding {
            name: ROWS[2].to_owned(),
            unit: "MB more resident at the end of a long stream",
            value: world.growth(&mut plain, setting.stream_bytes)?,
            baseline: None,
        });
    }
    Ok(())
}

struct World {
    runtime: Runtime,
    gate: Gate,
    method: Arc<dyn PayeeSession>,
    currency: Currency,
    _folder: TempDir,
}

/// Who pays for one route: a channel, and how far it is signed.
struct Payer {
    path: &'static str,
    challenge: Challenge,
    key: SigningKey,
    channel: ChannelId,
    cumulative: u128,
}

impl World {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let env = stiver_env::native::env();
        let currency = Currency::new("usd", 6)?;
        let method: Arc<dyn PayeeSession> = Arc::new(SignedPayee::new(currency.clone())?);
        let store = EmbeddedStore::config(folder.path());
        let store = EmbeddedStore::open(store, &env, Limits::default());
        let store = Arc::new(runtime.block_on(store)?);
        let keys = KeyRing::new(Secret::configured(&[7; 32])?);
        let journal = Arc::<EmbeddedStore>::clone(&store);
        let gate = Gate::builder(Realm::new("api.example.com")?, keys, journal, env)
            .channels(store)
            .session_method(Arc::clone(&method))
            .build()?;
        Ok(Self {
            runtime,
            gate,
            method,
            currency,
            _folder: folder,
        })
    }

    /// A route of a metered event stream: so many events, all the same.
    fn app(&self, path: &str, events: u64, event: Bytes) -> Result<Router> {
        let price = UnitPrice {
            amount: self.currency.units(1),
            per: 1,
            unit: Some(path.trim_start_matches('/').to_owned()),
        };
        let window = self.currency.units(WINDOW);
        let offer = SessionOffer::metered(Arc::clone(&self.method), vec![price], &window)?;
        let route = Route::for_sessions(vec![offer])?;
        let layer = PaymentLayer::fixed(self.gate.clone(), route);
        let answer = move || {
            let event = event.clone();
            let events = (0..events).map(move |_| Ok::<_, Infallible>(event.clone()));
            let body = Body::from_stream(stream::iter(events));
            std::future::ready(([(header::CONTENT_TYPE, "text/event-stream")], body))
        };
        Ok(Router::new().route(path, get(answer).layer(layer)))
    }

    /// Opens a channel, with the price of one empty stream.
    fn payer(&self, path: &'static str) -> Result<Payer> {
        let app = self.app(path, 0, Bytes::new())?;
        let request = Request::get(path).body(Body::empty())?;
        let refused = self.runtime.block_on(app.oneshot(request))?;
        let field = refused.headers().get(header::WWW_AUTHENTICATE);
        let field = field.context("no challenge")?;
        let challenge = Challenge::parse_all([field.as_bytes()]).into_iter().next();
        let key = SigningKey::from_bytes(&[9; 32])?;
        let mut payer = Payer {
            path,
            challenge: challenge.context("no challenge")??,
            key,
            channel: crate::accept::channel(path.len() as u64 * 31 + u64::from(path.as_bytes()[1])),
            cumulative: 0,
        };
        let opening = payer.voucher(0, true)?;
        let bytes = self.stream(&payer, opening, (0, Bytes::new()), |_| Ok(()))?;
        ensure!(bytes < 1000, "an empty stream has {bytes} bytes");
        Ok(payer)
    }

    /// Streams events to a client that takes them as they come: the bytes that came.
    fn stream(
        &self,
        payer: &Payer,
        payload: Object,
        (events, event): (u64, Bytes),
        mut seen: impl FnMut(u64) -> Result<()> + Send + 'static,
    ) -> Result<u64> {
        let app = self.app(payer.path, events, event)?;
        let credential = Credential {
            challenge: payer.challenge.clone(),
            payload,
            source: None,
        };
        let request = Request::get(payer.path)
            .header(header::AUTHORIZATION, credential.to_header())
            .body(Body::empty())?;
        // On the worker, where a connection would be.
        let task = self.runtime.spawn(async move {
            let answer = app.oneshot(request).await?;
            ensure!(answer.status() == 200, "the answer is {}", answer.status());
            let mut pieces = answer.into_body().into_data_stream();
            let mut bytes = 0;
            while let Some(piece) = pieces.next().await {
                bytes += piece?.len() as u64;
                seen(bytes)?;
            }
            Ok(bytes)
        });
        self.runtime.block_on(task)?
    }

    /// One round: events in a second of this process's CPU.
    fn per_second(&self, payer: &mut Payer, event: &'static [u8]) -> Result<f64> {
        let payload = payer.voucher(EVENTS, false)?;
        let event = Bytes::from_static(event);
        let least = EVENTS * event.len() as u64;
        let id = std::process::id();
        let before = cpu_of_process(id)?;
        let bytes = self.stream(payer, payload, (EVENTS, event), |_| Ok(()))?;
        let took = cpu_of_process(id)? - before;
        ensure!(bytes > least, "the stream ended after {bytes} bytes");
        Ok(EVENTS as f64 / took * 1e9)
    }

    /// By how much this process grows from the first tenth of a long stream to its end, MB.
    fn growth(&self, payer: &mut Payer, bytes: u64) -> Result<f64> {
        let mut event = vec![b'x'; LONG_EVENT_BYTES];
        event[..6].copy_from_slice(b"data: ");
        event.extend(b"\n\n");
        let events = bytes.div_ceil(event.len() as u64);
        let payload = payer.voucher(events, false)?;
        let early = Arc::new(std::sync::OnceLock::new());
        let seen = {
            let early = Arc::clone(&early);
            move |so_far: u64| {
                if so_far > bytes / 10 && early.get().is_none() {
                    early.get_or_init(|| resident().ok());
                }
                Ok(())
            }
        };
        let came = self.stream(payer, payload, (events, event.into()), seen)?;
        ensure!(came >= bytes, "the stream ended after {came} bytes");
        let early = early.get().copied().flatten();
        Ok(resident()? - early.context("the stream was too short")?)
    }
}

impl Payer {
    /// A voucher for so many events more, and a window.
    fn voucher(&mut self, events: u64, opens: bool) -> Result<Object> {
        self.cumulative += u128::from(events) + 2 * WINDOW;
        let voucher = signed::voucher(&self.key, self.channel, self.cumulative)?;
        signed::payload(&voucher, opens.then(|| (DEPOSIT, self.key.address())))
    }
}

/// What is resident of this process, MB.
fn resident() -> Result<f64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages = pages.split(' ').nth(1).context("no memory")?;
    Ok(pages.parse::<f64>()? * 4096.0 / 1e6)
}
