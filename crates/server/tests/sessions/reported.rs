//! Metered responses whose use is reported: by their handler, or by an upstream in a field or in
//! JSON.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use stiver_channel::meter::Quantity;
use stiver_core::Receipt;
use stiver_method::session::UnitPrice;
use stiver_server::{
    Route,
    limits::PAUSE_MS_MAX,
    session::{ReportError, SessionOffer, UsageReporter, UsageSource},
    tower::PaymentLayer,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::common::{DEPOSIT, World, get, member, usd};

fn price(amount: u128, per: u64, unit: &str) -> UnitPrice {
    UnitPrice {
        amount: usd(amount),
        per,
        unit: Some(unit.to_owned()),
    }
}

fn offer(world: &World, prices: Vec<UnitPrice>, window: u128) -> SessionOffer {
    SessionOffer::metered(Arc::new(world.escrow.clone()), prices, &usd(window)).unwrap()
}

fn route(offer: SessionOffer) -> Arc<Route> {
    Arc::new(Route::for_sessions(vec![offer]).unwrap())
}

#[derive(Default)]
struct Read {
    status: Option<StatusCode>,
    text: String,
    trailer: Option<Receipt>,
    ended: bool,
    broke: bool,
}

/// One response under way: what its handler does, and what its client has read.
struct Running {
    pieces: Option<UnboundedSender<Frame<Bytes>>>,
    usage: Arc<Mutex<Option<UsageReporter>>>,
    read: Arc<Mutex<Read>>,
}

/// Header fields of a response.
#[derive(Clone, Copy)]
struct Fields(&'static [(&'static str, &'static str)]);

fn answer(
    body: UnboundedReceiver<Frame<Bytes>>,
    fields: Fields,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let body = futures_util::stream::unfold(body, |mut body| async {
        let frame = body.recv().await?;
        Some((Ok(frame), body))
    });
    let mut response = Response::new(StreamBody::new(body).boxed_unsync());
    for (name, value) in fields.0 {
        let value = value.parse().unwrap();
        response.headers_mut().append(*name, value);
    }
    Ok(response)
}

impl Running {
    /// Sends the request; the handler answers at once, with these fields.
    fn start(world: &World, route: &Arc<Route>, credential: String, fields: Fields) -> Self {
        let (pieces, body) = unbounded_channel();
        let body = Arc::new(Mutex::new(Some(body)));
        let usage = Arc::<Mutex<Option<UsageReporter>>>::default();
        let read = Arc::<Mutex<Read>>::default();
        let (kept, to) = (Arc::clone(&usage), Arc::clone(&read));
        let handler = service_fn(move |request: Request<_>| {
            *kept.lock().unwrap() = request.extensions().get::<UsageReporter>().cloned();
            std::future::ready(answer(body.lock().unwrap().take().unwrap(), fields))
        });
        let service = PaymentLayer::fixed(world.gate.clone(), Arc::clone(route)).layer(handler);
        let request = Request::builder()
            .uri("/stream")
            .header("te", "trailers")
            .header("authorization", credential)
            .body(http_body_util::Empty::<Bytes>::new())
            .unwrap();
        drop(world.start(async move {
            let (parts, mut body) = service.oneshot(request).await.unwrap().into_parts();
            to.lock().unwrap().status = Some(parts.status);
            while let Some(frame) = body.frame().await {
                let mut read = to.lock().unwrap();
                let Ok(frame) = frame else {
                    read.broke = true;
                    break;
                };
                match frame.into_data() {
                    Ok(data) => read.text.push_str(std::str::from_utf8(&data).unwrap()),
                    Err(frame) => {
                        let field = &frame.trailers_ref().unwrap()["payment-receipt"];
                        read.trailer = Some(Receipt::parse(field.as_bytes()).unwrap());
                    }
                }
            }
            to.lock().unwrap().ended = true;
        }));
        world.sim.run_until_idle();
        Self {
            pieces: Some(pieces),
            usage,
            read,
        }
    }

    fn send(&self, world: &World, text: &'static str) {
        let frame = Frame::data(Bytes::from_static(text.as_bytes()));
        self.pieces.as_ref().unwrap().send(frame).unwrap();
        world.sim.run_until_idle();
    }

    fn send_trailers(&self, world: &World, name: &'static str, value: &str) {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, value.parse().unwrap());
        let pieces = self.pieces.as_ref().unwrap();
        pieces.send(Frame::trailers(trailers)).unwrap();
        world.sim.run_until_idle();
    }

    fn end(&mut self, world: &World) {
        self.pieces = None;
        world.sim.run_until_idle();
    }

    fn report(&self, world: &World, unit: &str, quantity: Quantity) -> Result<(), ReportError> {
        let usage = self.usage.lock().unwrap().clone().unwrap();
        let reported = usage.report(unit, quantity);
        world.sim.run_until_idle();
        reported
    }

    fn text(&self) -> String {
        self.read.lock().unwrap().text.clone()
    }
}

fn open(world: &World, route: &Arc<Route>, cumulative: u128) -> (stiver_core::Challenge, String) {
    let mut ask = get(None);
    ask.target = "/stream";
    let challenge = world.send_to(ask, route).refused().challenges[0].clone();
    let open = world.payer.open(&challenge, &usd(DEPOSIT), cumulative);
    (challenge, open)
}

const EVENTS: Fields = Fields(&[("content-type", "text/event-stream")]);
const BYTES: Fields = Fields(&[("content-type", "application/octet-stream")]);

#[test]
fn a_handlers_readings_are_charged_as_they_come_and_pause_as_other_meters_do() {
    let world = World::new(40);
    // A quarter of a dollar a thousand kilowatt-hours: 0.25 base units a watt-hour.
    let prices = vec![price(250, 1, "kWh"), price(2, 1, "second")];
    let route = route(offer(&world, prices, 100));
    let (challenge, credential) = open(&world, &route, 100);
    let mut running = Running::start(&world, &route, credential, EVENTS);
    running.send(&world, ": plugged in\n\n");
    running
        .report(&world, "kWh", Quantity::new(100, 3))
        .unwrap();
    running
        .report(&world, "kWh", "0.1".parse().unwrap())
        .unwrap();
    running.report(&world, "kWh", Quantity::new(1, 3)).unwrap();
    assert!(!running.text().contains("payment-need-voucher"));
    // 0.201 kWh are 50.25; 0.3 more are 125.25 in all, beyond what is authorised.
    running.report(&world, "kWh", Quantity::new(3, 1)).unwrap();
    assert!(
        running.text().contains("payment-need-voucher"),
        "{}",
        running.text()
    );
    assert_eq!(world.figures().spent, 50, "only what was covered is taken");
    let voucher = world.payer.voucher(&challenge, 400);
    world.send(get(voucher).method("HEAD")).state();
    world.sim.run_for(Duration::from_millis(3_500));
    running.end(&world);
    let text = running.text();
    let receipt = text.split("event: payment-receipt\ndata: ").nth(1).unwrap();
    let receipt = Receipt::from_json(receipt.trim().as_bytes()).unwrap();
    assert_eq!(
        receipt.extra["units"].to_jcs(),
        r#"{"kWh":"0.501","second":"3"}"#
    );
    assert_eq!(receipt.extra["carried"].to_jcs(), r#"{"kWh":"1/4"}"#);
    // 125.25 and three seconds at 2: the fraction is carried, not lost.
    assert_eq!(member(&receipt, "spent"), "131");
    let late = running.report(&world, "kWh", Quantity::whole(1));
    assert_eq!(late, Err(ReportError::Ended));
    assert_eq!(world.figures().spent, 131);
}

#[test]
fn what_is_reported_beyond_what_is_authorised_is_never_charged() {
    let world = World::new(41);
    let route = route(offer(&world, vec![price(1, 1, "image")], 10));
    let (_, credential) = open(&world, &route, 10);
    let mut running = Running::start(&world, &route, credential, BYTES);
    running.send(&world, "some");
    running.report(&world, "image", Quantity::whole(7)).unwrap();
    running
        .report(&world, "image", Quantity::whole(999_999_999))
        .unwrap();
    running.end(&world);
    world.sim.run_for(Duration::from_millis(PAUSE_MS_MAX));
    let read = running.read.lock().unwrap();
    assert!(
        read.ended && read.broke,
        "a body that was not paid to its end"
    );
    let figures = world.figures();
    assert_eq!(
        (figures.spent, figures.reserved, figures.accepted),
        (7, 0, 10)
    );
}

#[test]
fn a_field_of_the_head_is_paid_before_anything_leaves() {
    const HEAD: Fields = Fields(&[("content-type", "text/plain"), ("x-usage-tokens", "30")]);
    let world = World::new(42);
    let source = UsageSource::header(HeaderName::from_static("x-usage-tokens"));
    let offer = offer(&world, vec![price(2, 1, "token")], 20);
    let route = route(offer.usage("token", source).unwrap());
    let (challenge, credential) = open(&world, &route, 50);
    let running = Running::start(&world, &route, credential, HEAD);
    {
        let read = running.read.lock().unwrap();
        assert_eq!(read.status, Some(StatusCode::PAYMENT_REQUIRED));
        assert!(
            read.text.contains("\"requiredTopUp\":\"10\""),
            "{}",
            read.text
        );
    }
    assert_eq!((world.figures().spent, world.figures().reserved), (0, 0));
    let voucher = world.payer.voucher(&challenge, 70);
    let mut running = Running::start(&world, &route, voucher, HEAD);
    running.send(&world, "answer");
    running.end(&world);
    let read = running.read.lock().unwrap();
    assert_eq!((read.status, &*read.text), (Some(StatusCode::OK), "answer"));
    let trailer = read.trailer.as_ref().unwrap();
    assert_eq!(
        (member(trailer, "spent"), member(trailer, "units")),
        ("60", "30")
    );
}

#[test]
fn a_trailer_is_paid_before_the_body_is_told_to_be_whole() {
    let world = World::new(43);
    let source = UsageSource::trailer(HeaderName::from_static("x-images"));
    let offer = offer(&world, vec![price(3, 1, "image")], 10);
    let route = route(offer.usage("image", source).unwrap());
    let (challenge, credential) = open(&world, &route, 10);
    let mut running = Running::start(&world, &route, credential, BYTES);
    running.send(&world, "body");
    running.send_trailers(&world, "x-images", "5");
    running.end(&world);
    assert!(
        !running.read.lock().unwrap().ended,
        "15 are due, 10 are authorised"
    );
    let voucher = world.payer.voucher(&challenge, 15);
    world.send(get(voucher).method("HEAD")).state();
    world.sim.run_until_idle();
    let read = running.read.lock().unwrap();
    assert!(read.ended && !read.broke);
    let trailer = read.trailer.as_ref().unwrap();
    assert_eq!(
        (member(trailer, "spent"), member(trailer, "units")),
        ("15", "5")
    );
}

#[test]
fn the_events_of_a_stream_say_totals_or_what_is_added() {
    for adds in [false, true] {
        let world = World::new(44);
        let mut source = UsageSource::json("/meter/wh").unwrap().scaled_down(3);
        if adds {
            source = source.adds();
        }
        let offer = offer(&world, vec![price(1_000, 1, "kWh")], 500);
        let route = route(offer.usage("kWh", source).unwrap());
        let (_, credential) = open(&world, &route, 500);
        let mut running = Running::start(&world, &route, credential, EVENTS);
        for event in [
            "data: {\"meter\":{\"wh\":10}}\n\n",
            "data: {\"meter\":{\"wh\":\"25.5\"}}\n\n",
            "data: {\"meter\":{\"wh\":20}}\n\n",
            "data: {\"meter\":{\"wh\":-5}}\n\n",
            "data: {\"meter\":{\"wh\":9999999999999}}\n\n",
            "data: {\"meter\":{\"wh\":30.25}}\n\n",
            "data: {\"temperature\":21}\n\n",
        ] {
            running.send(&world, event);
        }
        running.end(&world);
        let spent = world.figures().spent;
        // A total that goes back is ignored; what is no quantity, always.
        assert_eq!(spent, if adds { 85 } else { 30 });
        let told = if adds { "0.08575" } else { "0.03025" };
        assert!(
            running.text().contains(&format!("\"units\":\"{told}\"")),
            "{told}"
        );
    }
}

#[test]
fn a_report_of_less_than_was_counted_takes_nothing_back() {
    let world = World::new(45);
    let source = UsageSource::json("/tokens").unwrap();
    let offer = offer(&world, vec![price(2, 1, "token")], 50);
    let route = route(offer.usage("token", source).unwrap());
    let (_, credential) = open(&world, &route, 50);
    let mut running = Running::start(&world, &route, credential, EVENTS);
    for _ in 0..3 {
        running.send(
            &world,
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        );
    }
    running.send(&world, "data: {\"tokens\":2}\n\n");
    assert_eq!(running.read.lock().unwrap().text.matches("data").count(), 4);
    running.send(&world, "data: {\"tokens\":5}\n\n");
    running.end(&world);
    assert_eq!(world.figures().spent, 10);
}

#[test]
fn a_unit_that_is_counted_here_or_has_no_price_is_not_reported() {
    let world = World::new(46);
    let priced = || offer(&world, vec![price(1, 1, "byte"), price(1, 1, "token")], 10);
    let source = || UsageSource::json("/x").unwrap();
    assert!(priced().usage("token", source()).is_ok());
    for unit in ["byte", "kWh", "second", "event"] {
        assert!(priced().usage(unit, source()).is_err(), "{unit}");
    }
}
