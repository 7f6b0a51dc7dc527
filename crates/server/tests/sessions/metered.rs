//! Metered responses: paid before they leave, paused and resumed, and never paid beyond.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use stiver_channel::PhaseName;
use stiver_core::Receipt;
use stiver_method::session::UnitPrice;
use stiver_server::{Route, limits::PAUSE_MS_MAX, session::SessionOffer, tower::PaymentLayer};
use stiver_store::ChannelStore as _;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::common::{DEPOSIT, World, get, member, usd};

/// What a client has read so far.
#[derive(Default)]
struct Read {
    status: Option<StatusCode>,
    head: Option<Receipt>,
    text: String,
    trailer: Option<Receipt>,
    ended: bool,
    /// The body broke off with an error.
    broke: bool,
}

type Shared = Arc<Mutex<Read>>;

fn price(amount: u128, unit: &str) -> UnitPrice {
    UnitPrice {
        amount: usd(amount),
        per: 1,
        unit: Some(unit.to_owned()),
    }
}

fn route(world: &World, prices: Vec<UnitPrice>, window: u128) -> Arc<Route> {
    let method = Arc::new(world.escrow.clone());
    let offer = SessionOffer::metered(method, prices, &usd(window)).unwrap();
    Arc::new(Route::for_sessions(vec![offer]).unwrap())
}

/// What the upstream sends.
#[derive(Clone, Copy)]
struct Upstream {
    media_type: &'static str,
    pieces: &'static [&'static str],
    /// It never ends.
    hangs: bool,
}

const fn events(pieces: &'static [&'static str]) -> Upstream {
    Upstream {
        media_type: "text/event-stream",
        pieces,
        hangs: false,
    }
}

/// How much of it a client reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    All,
    /// So many pieces, and then it goes away.
    Leaves(usize),
    /// So many pieces, and then it keeps the connection open.
    Stalls(usize),
}

fn answer(upstream: Upstream) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let mut pieces = Vec::new();
    for piece in upstream.pieces {
        pieces.push(Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
    }
    let rest = stream::poll_fn(move |_| match upstream.hangs {
        true => std::task::Poll::Pending,
        false => std::task::Poll::Ready(None),
    });
    let body = StreamBody::new(stream::iter(pieces).chain(rest));
    let response = Response::builder().header("content-type", upstream.media_type);
    Ok(response.body(body.boxed_unsync()).unwrap())
}

fn start(
    world: &World,
    route: &Arc<Route>,
    credential: String,
    (upstream, reads): (Upstream, Reads),
) -> Shared {
    let read = Shared::default();
    let to = Arc::clone(&read);
    let handler = service_fn(move |_: Request<_>| std::future::ready(answer(upstream)));
    let service = PaymentLayer::fixed(world.gate.clone(), Arc::clone(route)).layer(handler);
    let request = Request::builder()
        .uri("/stream")
        .header("te", "trailers")
        .header("authorization", credential)
        .body(http_body_util::Empty::<Bytes>::new())
        .unwrap();
    drop(world.start(async move {
        let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
        let receipt = |headers: &http::HeaderMap| {
            let field = headers.get("payment-receipt")?;
            Some(Receipt::parse(field.as_bytes()).unwrap())
        };
        {
            let mut read = to.lock().unwrap();
            read.status = Some(parts.status);
            read.head = receipt(&parts.headers);
        }
        let mut body = Box::pin(body);
        let mut count = 0;
        loop {
            match reads {
                Reads::Leaves(most) if count >= most => break,
                Reads::Stalls(most) if count >= most => std::future::pending::<()>().await,
                _ => {}
            }
            let Some(frame) = body.frame().await else {
                break;
            };
            count += 1;
            let mut read = to.lock().unwrap();
            let Ok(frame) = frame else {
                read.broke = true;
                continue;
            };
            match frame.into_data() {
                Ok(data) => read.text.push_str(std::str::from_utf8(&data).unwrap()),
                Err(frame) => read.trailer = receipt(frame.trailers_ref().unwrap()),
            }
        }
        to.lock().unwrap().ended = true;
    }));
    world.sim.run_until_idle();
    read
}

/// Opens the channel at this route, paying for `cumulative` in all.
fn open(world: &World, route: &Arc<Route>, cumulative: u128) -> (stiver_core::Challenge, String) {
    let mut ask = get(None);
    ask.target = "/stream";
    let challenge = world.send_to(ask, route).refused().challenges[0].clone();
    let open = world.payer.open(&challenge, &usd(DEPOSIT), cumulative);
    (challenge, open)
}

const FIVE: Upstream = events(&[
    "data: 1\n\n",
    "data: 2\n\ndata: 3\n",
    "\n",
    ": a comment\n\ndata: 4\n\n",
    "data: 5\n\n",
]);

#[test]
fn a_stream_pauses_for_a_voucher_resumes_and_tells_its_receipt() {
    let world = World::new(1);
    let route = route(&world, vec![price(10, "event")], 20);
    let (challenge, credential) = open(&world, &route, 20);
    let read = start(&world, &route, credential, (FIVE, Reads::All));
    {
        let read = read.lock().unwrap();
        assert_eq!(read.status, Some(StatusCode::OK));
        assert_eq!(
            member(read.head.as_ref().unwrap(), "acceptedCumulative"),
            "20"
        );
        assert!(
            read.text.contains("data: 2\n\n") && !read.text.contains("data: 3"),
            "{}",
            read.text
        );
        let id = world.payer.channel();
        let need = format!(
            "event: payment-need-voucher\ndata: {{\"acceptedCumulative\":\"20\",\
             \"channelId\":\"{}\",\"deposit\":\"1000\",\"requiredCumulative\":\"40\"}}\n\n",
            stiver_core::base64url::encode(&id.0)
        );
        assert!(read.text.ends_with(&need), "{}", read.text);
    }
    let id = world.payer.channel();
    let phase = || world.store.channels().channel(&id).unwrap().phase().name();
    assert_eq!(phase(), PhaseName::Paused);
    let before = world.figures();
    assert_eq!((before.spent, before.reserved), (20, 0));
    // By any request to the same realm.
    let mut ask = get(world.payer.voucher(&challenge, 90)).method("HEAD");
    ask.target = "/elsewhere";
    assert_eq!(world.send(ask).state().0, 204);
    world.sim.run_until_idle();
    let read = read.lock().unwrap();
    assert!(read.ended && phase() == PhaseName::Active);
    let (_, receipt) = read
        .text
        .split_once("event: payment-receipt\ndata: ")
        .unwrap();
    let receipt = Receipt::from_json(receipt.trim().as_bytes()).unwrap();
    assert_eq!(
        (member(&receipt, "spent"), member(&receipt, "units")),
        ("50", "5")
    );
    assert!(read.text.contains("data: 5\n\n"));
    let figures = world.figures();
    assert_eq!((figures.spent, figures.reserved), (50, 0));
}

#[test]
fn a_pause_that_nobody_ends_ends_the_stream() {
    let world = World::new(2);
    let route = route(&world, vec![price(10, "event")], 20);
    let (challenge, credential) = open(&world, &route, 20);
    let read = start(&world, &route, credential, (FIVE, Reads::All));
    // Too little: it goes on waiting.
    world.sim.run_for(Duration::from_millis(PAUSE_MS_MAX / 2));
    let little = world.payer.voucher(&challenge, 25);
    world.send(get(little).method("HEAD")).state();
    world.sim.run_for(Duration::from_millis(PAUSE_MS_MAX - 1));
    assert!(!read.lock().unwrap().ended);
    world.sim.run_for(Duration::from_millis(1));
    let read = read.lock().unwrap();
    assert!(read.ended && read.text.contains("payment-receipt"));
    let figures = world.figures();
    assert_eq!(
        (figures.spent, figures.reserved, figures.accepted),
        (20, 0, 25)
    );
}

#[test]
fn a_client_that_leaves_is_charged_for_what_left_and_no_more() {
    for reads in 0..4 {
        let world = World::new(3);
        let route = route(&world, vec![price(10, "event")], 500);
        let (_, credential) = open(&world, &route, 500);
        let how = (FIVE, Reads::Leaves(reads));
        let read = start(&world, &route, credential, how);
        world.sim.run_until_idle();
        let delivered = read.lock().unwrap().text.matches("data: ").count();
        let figures = world.figures();
        let delivered = u128::try_from(delivered).unwrap() * 10;
        assert_eq!(figures.reserved, 0);
        assert!(figures.spent >= delivered, "served for nothing");
        assert!(
            figures.spent <= delivered + 10,
            "{} for {delivered}",
            figures.spent
        );
    }
}

#[test]
fn a_client_that_does_not_read_holds_one_piece_and_pays_for_one() {
    let world = World::new(4);
    let route = route(&world, vec![price(10, "event")], 500);
    let (_, credential) = open(&world, &route, 500);
    let read = start(&world, &route, credential, (FIVE, Reads::Stalls(1)));
    assert_eq!(world.figures().reserved, 500);
    world.sim.run_for(Duration::from_millis(PAUSE_MS_MAX * 2));
    assert!(!read.lock().unwrap().ended);
    let figures = world.figures();
    assert_eq!((figures.spent, figures.reserved), (20, 0));
}

#[test]
fn bytes_are_charged_as_they_leave_and_the_receipt_is_a_trailer() {
    let world = World::new(5);
    let prices = vec![price(1, "byte"), price(3, "request")];
    let route = route(&world, prices, 10);
    let (challenge, credential) = open(&world, &route, 10);
    let upstream = Upstream {
        media_type: "application/octet-stream",
        pieces: &["seven b", "twelve bytes", "!"],
        hangs: false,
    };
    let read = start(&world, &route, credential, (upstream, Reads::All));
    assert_eq!(read.lock().unwrap().text, "seven b");
    assert_eq!(world.figures().spent, 10);
    world
        .send(get(world.payer.voucher(&challenge, 50)).method("HEAD"))
        .state();
    world.sim.run_until_idle();
    let read = read.lock().unwrap();
    assert_eq!(read.text, "seven btwelve bytes!");
    let trailer = read.trailer.as_ref().unwrap();
    assert_eq!(member(trailer, "spent"), "23");
    let units = trailer.extra["units"].to_jcs();
    assert_eq!(units, r#"{"byte":"20","request":"1"}"#, "meter by meter");
    assert_eq!(world.figures().spent, 23);
}

#[test]
fn a_piece_that_costs_more_than_the_window_is_cut_and_leaves_as_far_as_it_is_paid() {
    let world = World::new(9);
    let route = route(&world, vec![price(1, "byte")], 10);
    let (challenge, credential) = open(&world, &route, 10);
    let upstream = Upstream {
        media_type: "application/octet-stream",
        pieces: &["0123456789abcdefghijklmno"],
        hangs: false,
    };
    let read = start(&world, &route, credential, (upstream, Reads::All));
    assert_eq!(read.lock().unwrap().text, "0123456789");
    for (cumulative, text) in [(20, "0123456789abcdefghij"), (25, upstream.pieces[0])] {
        let voucher = world.payer.voucher(&challenge, cumulative);
        world.send(get(voucher).method("HEAD")).state();
        world.sim.run_until_idle();
        assert_eq!(read.lock().unwrap().text, text);
        assert_eq!(world.figures().spent, cumulative);
    }
    assert!(read.lock().unwrap().ended);
}

/// A body that is no event stream.
const fn bytes(pieces: &'static [&'static str]) -> Upstream {
    Upstream {
        media_type: "application/octet-stream",
        pieces,
        hangs: false,
    }
}

#[test]
fn a_body_that_is_not_paid_to_its_end_breaks_off_and_is_never_taken_for_whole() {
    let world = World::new(10);
    let method = Arc::new(world.escrow.clone());
    let offer = SessionOffer::metered(method, vec![price(1, "byte")], &usd(10)).unwrap();
    let offer = offer.pause_max(Duration::from_secs(3));
    let route = Arc::new(Route::for_sessions(vec![offer]).unwrap());
    let (challenge, credential) = open(&world, &route, 10);
    let how = (bytes(&["0123456789abcdefghijklmno"]), Reads::All);
    let read = start(&world, &route, credential, how);
    world.sim.run_for(Duration::from_millis(2_999));
    assert!(!read.lock().unwrap().ended, "it waits as long as it says");
    world.sim.run_for(Duration::from_millis(1));
    {
        let read = read.lock().unwrap();
        assert!(read.ended && read.broke);
        assert_eq!((&*read.text, &read.trailer), ("0123456789", &None));
    }
    let figures = world.figures();
    assert_eq!((figures.spent, figures.reserved), (10, 0));

    // One that is paid for ends as bodies do, and so does one that is empty.
    let voucher = world.payer.voucher(&challenge, 50);
    let read = start(&world, &route, voucher, (bytes(&["whole"]), Reads::All));
    {
        let read = read.lock().unwrap();
        assert!(read.ended && !read.broke && read.trailer.is_some());
    }
    let voucher = world.payer.voucher(&challenge, 60);
    let read = start(&world, &route, voucher, (bytes(&[]), Reads::All));
    let read = read.lock().unwrap();
    assert!(read.ended && !read.broke && read.trailer.is_some());
    assert_eq!(world.figures().spent, 15);
}

#[test]
fn a_close_breaks_off_a_body_that_is_no_event_stream() {
    let world = World::new(11);
    let route = route(&world, vec![price(1, "byte")], 100);
    let (challenge, credential) = open(&world, &route, 100);
    let upstream = Upstream {
        hangs: true,
        ..bytes(&["some"])
    };
    let read = start(&world, &route, credential, (upstream, Reads::All));
    world.send(get(world.payer.close(&challenge, 100))).state();
    world.sim.run_until_idle();
    let read = read.lock().unwrap();
    assert!(read.ended && read.broke);
    assert_eq!((&*read.text, world.captured()), ("some", 4));
}

#[test]
fn a_request_is_charged_though_its_answer_is_empty() {
    let world = World::new(12);
    let prices = vec![price(3, "request"), price(1, "byte")];
    let route = route(&world, prices, 10);
    let (_, credential) = open(&world, &route, 10);
    let read = start(&world, &route, credential, (bytes(&[]), Reads::All));
    assert!(read.lock().unwrap().ended);
    assert_eq!(world.figures().spent, 3);
}

#[test]
fn time_is_charged_while_the_response_runs() {
    let world = World::new(6);
    let route = route(&world, vec![price(2, "second")], 10);
    let (_, credential) = open(&world, &route, 10);
    let upstream = Upstream {
        hangs: true,
        ..events(&["data: first\n\n"])
    };
    let read = start(&world, &route, credential, (upstream, Reads::All));
    world.sim.run_for(Duration::from_millis(4_500));
    assert!(!read.lock().unwrap().text.contains("payment-need-voucher"));
    world.sim.run_for(Duration::from_millis(2_000));
    assert!(read.lock().unwrap().text.contains("payment-need-voucher"));
    assert_eq!(world.figures().spent, 10);
}

const ANSWER: Upstream = events(&[
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\
     \"total_tokens\":12}}\n\n",
    "data: [DONE]\n\n",
]);

#[test]
fn a_language_model_is_charged_by_the_tokens_that_it_reports() {
    let world = World::new(7);
    let route = route(&world, vec![price(2, "token")], 50);
    let (_, credential) = open(&world, &route, 100);
    let read = start(&world, &route, credential, (ANSWER, Reads::All));
    let read = read.lock().unwrap();
    assert_eq!(world.figures().spent, 24);
    let (before, after) = read.text.split_once("event: payment-receipt").unwrap();
    assert_eq!(world.told(), [24]);
    assert!(before.contains("usage") && after.ends_with("data: [DONE]\n\n"));
    assert!(after.contains("\"units\":\"12\""), "{after}");
}

#[test]
fn a_whole_answer_is_charged_by_its_usage_or_not_delivered() {
    const WHOLE: Upstream = Upstream {
        media_type: "application/json",
        pieces: &["{\"usage\":{\"total_tokens\":40},", "\"choices\":[]}"],
        hangs: false,
    };
    let world = World::new(8);
    let route = route(&world, vec![price(2, "token")], 50);
    let (challenge, credential) = open(&world, &route, 60);
    let read = start(&world, &route, credential, (WHOLE, Reads::All));
    {
        let read = read.lock().unwrap();
        assert_eq!(read.status, Some(StatusCode::PAYMENT_REQUIRED));
        assert!(
            read.text.contains("session/insufficient-balance"),
            "{}",
            read.text
        );
        assert!(
            read.text.contains("\"requiredTopUp\":\"20\""),
            "{}",
            read.text
        );
    }
    assert_eq!((world.figures().spent, world.figures().reserved), (0, 0));
    let voucher = world.payer.voucher(&challenge, 100);
    let read = start(&world, &route, voucher, (WHOLE, Reads::All));
    let read = read.lock().unwrap();
    assert_eq!(read.status, Some(StatusCode::OK));
    assert_eq!(member(read.head.as_ref().unwrap(), "spent"), "80");
    assert_eq!((world.figures().spent, world.figures().reserved), (80, 0));
}

#[test]
fn a_close_ends_the_stream_and_captures_what_was_delivered() {
    let world = World::new(9);
    let route = route(&world, vec![price(10, "event")], 100);
    let (challenge, credential) = open(&world, &route, 100);
    let upstream = Upstream {
        hangs: true,
        ..FIVE
    };
    let read = start(&world, &route, credential, (upstream, Reads::All));
    assert_eq!((world.figures().reserved, world.gate.at_work()), (100, 1));
    let close = world.send(get(world.payer.close(&challenge, 100)));
    assert_eq!(close.state().0, 204);
    world.sim.run_until_idle();
    assert!(read.lock().unwrap().ended);
    assert_eq!(world.gate.at_work(), 0);
    assert_eq!((world.captured(), world.figures().spent), (50, 50));
}

/// Either side goes away at some point of a stream, 200 times.
#[test]
fn killing_either_side_of_a_stream_costs_at_most_the_window() {
    let (mut lost, mut served_in_all) = (0, 0);
    for seed in 0..200_u64 {
        let mut world = World::new(100 + seed);
        let window = 20;
        let route = route(&world, vec![price(10, "event")], window);
        let (_, credential) = open(&world, &route, 200);
        world.sim.disk.cut_power_after(4 + seed % 40);
        let reads = match seed % 3 {
            0 => Reads::Leaves(usize::try_from(seed % 7).unwrap()),
            _ => Reads::All,
        };
        let read = start(&world, &route, credential, (FIVE, reads));
        let text = read.lock().unwrap().text.clone();
        let served = (1..=5).filter(|n| text.contains(&format!("data: {n}")));
        let served = u128::try_from(served.count()).unwrap() * 10;
        world.restart();
        world
            .sim
            .run_for(Duration::from_millis(stiver_server::limits::LEASE_MS));
        let (gate, id) = (world.gate.clone(), world.payer.channel());
        world.run(async move {
            gate.recover().await.unwrap();
            drop(gate.close_channel(id).await);
        });
        let figures = world.figures();
        assert_eq!(figures.reserved, 0, "seed {seed}");
        assert!(
            served <= figures.spent + window,
            "seed {seed}: {served} of {figures:?}"
        );
        assert!(
            figures.spent <= served + window,
            "seed {seed}: {served} of {figures:?}"
        );
        assert_eq!(
            world.captured(),
            figures.spent,
            "seed {seed}: the books differ"
        );
        lost += usize::from(figures.spent < served);
        served_in_all += served;
    }
    assert!(lost > 3, "the payee lost a window {lost} times");
    assert!(served_in_all > 1_000, "{served_in_all}");
}
