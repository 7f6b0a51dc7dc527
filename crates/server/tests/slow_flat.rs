//! A large metered body goes through without anything piling up.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::UnsyncBoxBody};
use stiver_method::session::UnitPrice;
use stiver_server::{Gate, Route, session::SessionOffer, tower::PaymentLayer};
use stiver_store::{ChannelStore as _, EmbeddedStore, Limits};
use stiver_testkit::{
    escrow::{Escrow, EscrowPayer},
    fixtures,
};
use tower::{Layer as _, ServiceExt as _, service_fn};

/// One piece of the body, bytes.
const PIECE: usize = 64 * 1024;
/// Pieces: a gibibyte in all.
const PIECES: u64 = 16 * 1024;
/// The most bytes of the body that may be held at once: the piece that is read, the one that waits,
/// and the one that is charged.
const HELD_MAX: u64 = 4 * 64 * 1024;
/// What the process may grow by, bytes.
const GROWTH_MAX: u64 = 64 * 1024 * 1024;

/// A piece that says how much of the body is alive.
struct Piece {
    bytes: Box<[u8]>,
    alive: Arc<AtomicU64>,
}

impl Piece {
    fn new(alive: &Arc<AtomicU64>, most: &AtomicU64) -> Self {
        let more = u64::try_from(PIECE).unwrap();
        let now = alive.fetch_add(more, Ordering::SeqCst) + more;
        most.fetch_max(now, Ordering::SeqCst);
        Self {
            bytes: vec![7; PIECE].into(),
            alive: Arc::clone(alive),
        }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let less = u64::try_from(PIECE).unwrap();
        self.alive.fetch_sub(less, Ordering::SeqCst);
    }
}

/// Memory of this process, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

async fn gate(folder: &std::path::Path, escrow: &Escrow) -> (Gate, EmbeddedStore) {
    let env = stiver_env::native::env();
    let config = EmbeddedStore::config(folder);
    let opened = EmbeddedStore::open(config, &env, Limits::default()).await;
    let store = opened.unwrap();
    let (realm, keys) = (fixtures::realm(), fixtures::key_ring());
    let gate = Gate::builder(realm, keys, Arc::new(store.clone()), env)
        .channels(Arc::new(store.clone()))
        .session_method(Arc::new(escrow.clone()))
        .build();
    (gate.unwrap(), store)
}

fn answer(
    (alive, most): (&Arc<AtomicU64>, &Arc<AtomicU64>),
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let (alive, most) = (Arc::clone(alive), Arc::clone(most));
    let pieces = (0..PIECES).map(move |_| {
        let piece = Bytes::from_owner(Piece::new(&alive, &most));
        Ok(Frame::data(piece))
    });
    let body = StreamBody::new(stream::iter(pieces));
    Ok(Response::new(body.boxed_unsync()))
}

#[tokio::test]
async fn a_gibibyte_of_metered_body_leaves_memory_flat() {
    let folder = tempfile::tempdir().unwrap();
    let escrow = Escrow::new("merchant", fixtures::usd());
    let (gate, store) = gate(folder.path(), &escrow).await;
    let price = UnitPrice {
        amount: fixtures::micro_usd(1),
        per: 3_000,
        unit: Some("byte".to_owned()),
    };
    let window = fixtures::micro_usd(1_000);
    let offer = SessionOffer::metered(Arc::new(escrow), vec![price], &window).unwrap();
    let route = Arc::new(Route::for_sessions(vec![offer]).unwrap());
    let (alive, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (living, highest) = (Arc::clone(&alive), Arc::clone(&most));
    let handler = service_fn(move |_: Request<_>| std::future::ready(answer((&living, &highest))));
    let service = PaymentLayer::fixed(gate, route).layer(handler);
    let ask = |credential: Option<String>| {
        let mut request = Request::get("/file");
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        service
            .clone()
            .oneshot(request.body(Empty::<Bytes>::new()).unwrap())
    };
    let refused = ask(None).await.unwrap();
    let challenge = refused.headers()["www-authenticate"].as_bytes();
    let challenge = stiver_core::Challenge::parse_all([challenge]).remove(0);
    let total = PIECES * u64::try_from(PIECE).unwrap();
    let due = u128::from(total) / 3_000;
    let payer = EscrowPayer::new(1);
    let deposit = fixtures::micro_usd(due * 2);
    let credential = payer.open(&challenge.unwrap(), &deposit, due * 2);
    let mut body = Box::pin(ask(Some(credential)).await.unwrap().into_body());
    let (mut read, mut before) = (0_u64, 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.unwrap().into_data() else {
            continue;
        };
        assert!(data.iter().all(|byte| *byte == 7));
        read += u64::try_from(data.len()).unwrap();
        drop(data);
        // What a process takes to begin with is not the body's.
        if before == 0 && read > total / 16 {
            before = resident();
        }
    }
    assert_eq!(read, total);
    let held = most.load(Ordering::SeqCst);
    assert!(
        held <= HELD_MAX,
        "{held} bytes of the body were held at once"
    );
    assert_eq!(alive.load(Ordering::SeqCst), 0, "nothing of it is kept");
    let grown = resident().saturating_sub(before);
    assert!(grown <= GROWTH_MAX, "the process grew by {grown} bytes");
    let figures = store
        .channels()
        .channel(&payer.channel())
        .unwrap()
        .figures();
    assert_eq!(
        (figures.spent, figures.reserved),
        (due, 0),
        "all of it is paid"
    );
}
