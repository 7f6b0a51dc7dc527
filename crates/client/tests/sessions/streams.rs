//! Bodies that are paid for as they come, of payees that do as a script says.

use std::{
    collections::VecDeque,
    future::Future as _,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use stiver_client::{
    CallError, PayLayer, Payment, WatchedBody,
    session::{SessionLimits, SessionState},
};
use stiver_env::BoxFuture;
use stiver_testkit::fixtures;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    URL, World,
    channels::{Broken, Feed, Payee},
    limits,
};

/// What a body does next.
#[derive(Debug, Clone)]
enum Do {
    /// So many bytes, once what was accepted pays for all that was sent.
    Bytes(usize),
    /// Words of an event stream.
    Say(&'static str),
    /// Asks for a voucher of so much, for this channel or another.
    Need(Option<&'static str>, u128),
    /// The receipt that ends an event stream.
    Receipt(u128),
    /// The receipt that ends another body.
    Trailer(u128),
    /// A second goes by, and it has to be paid for.
    Second,
    /// The connection breaks.
    Break,
}

/// A payee whose answers have such a body.
#[derive(Clone)]
struct Scripted {
    payee: Payee,
    events: bool,
    script: Arc<Mutex<VecDeque<Do>>>,
    env: stiver_env::Env,
}

impl Service<Request<Full<Bytes>>> for Scripted {
    type Response = Response<Told>;
    type Error = Broken;
    type Future = BoxFuture<'static, Result<Response<Told>, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let mut this = self.clone();
        let get = request.method() == http::Method::GET;
        Box::pin(async move {
            if !get {
                this.env.clock.sleep(Duration::from_millis(50)).await;
            }
            let response = this.payee.call(request).await?;
            let paid = get && response.status().is_success();
            let kind = match this.events {
                true => "text/event-stream",
                false => "application/octet-stream",
            };
            let script = paid.then(|| std::mem::take(&mut *this.script.lock().unwrap()));
            let mut response = response.map(|feed| Told {
                feed,
                script,
                shop: this,
                sent: 0,
                alarm: None,
            });
            let kind = HeaderValue::from_static(kind);
            response.headers_mut().insert("content-type", kind);
            Ok(response)
        })
    }
}

/// The body of a script, or the payee's own.
struct Told {
    feed: Feed,
    script: Option<VecDeque<Do>>,
    shop: Scripted,
    sent: u128,
    alarm: Option<BoxFuture<'static, ()>>,
}

impl Told {
    fn receipt(&self, spent: u128) -> stiver_core::Receipt {
        let payee = &self.shop.payee;
        let channel = *payee.shop().accounts.keys().next().unwrap();
        payee.receipt_of(channel, spent)
    }

    fn text(text: String) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if this.script.is_none() {
            return Pin::new(&mut this.feed).poll_frame(cx);
        }
        loop {
            if let Some(alarm) = &mut this.alarm {
                ready!(alarm.as_mut().poll(cx));
                this.alarm = None;
            }
            let script = this.script.as_mut().unwrap();
            let next = script.front().cloned();
            let unpaid = match next {
                Some(Do::Bytes(count)) => u128::try_from(count).unwrap(),
                _ => 0,
            };
            if unpaid > 0 && this.shop.payee.accepted() < this.sent + unpaid {
                let wait = Duration::from_millis(10);
                this.alarm = Some(this.shop.env.clock.sleep(wait));
                continue;
            }
            script.pop_front();
            this.sent += unpaid;
            return match next {
                None => Poll::Ready(None),
                Some(Do::Break) => Poll::Ready(Some(Err(Broken))),
                Some(Do::Say(text)) => Self::text(text.to_owned()),
                Some(Do::Bytes(count)) => Self::text("x".repeat(count)),
                Some(Do::Second) => {
                    let wait = Duration::from_secs(1);
                    this.alarm = Some(this.shop.env.clock.sleep(wait));
                    this.sent += this.shop.payee.shop().price;
                    if this.shop.payee.accepted() < this.sent {
                        return Poll::Ready(Some(Err(Broken)));
                    }
                    continue;
                }
                Some(Do::Need(channel, required)) => {
                    let own = this.shop.payee.shop();
                    let own = own.accounts.keys().next().unwrap().to_hex();
                    let channel = channel.unwrap_or(&own);
                    Self::text(format!(
                        "event: payment-need-voucher\ndata: {{\"channelId\":\"{channel}\",\
                         \"acceptedCumulative\":\"{required}\",\"deposit\":\"9\",\
                         \"requiredCumulative\":\"{required}\"}}\n\n"
                    ))
                }
                Some(Do::Receipt(spent)) => {
                    let json = this.receipt(spent).to_json();
                    Self::text(format!("event: payment-receipt\ndata: {json}\n\n"))
                }
                Some(Do::Trailer(spent)) => {
                    let mut trailers = HeaderMap::new();
                    let line = HeaderValue::from_str(&this.receipt(spent).to_header());
                    trailers.insert("payment-receipt", line.unwrap());
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
            };
        }
    }
}

/// A world whose payee sells by `unit` at 10 base units, and answers as the script says.
struct Show {
    world: World,
    shop: Scripted,
}

type Reply = Response<WatchedBody<Told>>;

impl Show {
    fn new(limits: SessionLimits, unit: &'static str, events: bool) -> Self {
        let world = World::new(limits);
        world.payee.shop().unit = Some(unit);
        let shop = Scripted {
            payee: world.payee.clone(),
            events,
            script: Arc::default(),
            env: world.simulation.env(),
        };
        Self { world, shop }
    }

    fn with(self, script: impl IntoIterator<Item = Do>) -> Self {
        self.shop.script.lock().unwrap().extend(script);
        self
    }

    fn begin(&self) -> Reply {
        self.world.simulation.block_on(self.ask()).unwrap()
    }

    fn ask(&self) -> BoxFuture<'static, Result<Reply, CallError>> {
        let mut service = PayLayer::new(self.world.client.clone()).layer(self.shop.clone());
        service.call(Request::get(URL).body(Full::default()).unwrap())
    }

    /// Reads to the end, or until nothing has come for two minutes: the bytes, and whether it
    /// broke.
    fn read(&self, body: &mut WatchedBody<Told>) -> (usize, bool) {
        let clock = self.world.simulation.env().clock;
        self.world.simulation.block_on(async {
            let mut count = 0;
            loop {
                let wait = clock.sleep(Duration::from_secs(120));
                let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
                let next = futures_util::future::select(Box::pin(frame), wait).await;
                match next {
                    futures_util::future::Either::Left((Some(Ok(frame)), _)) => {
                        count += frame.data_ref().map_or(0, Bytes::len);
                    }
                    futures_util::future::Either::Left((Some(Err(_)), _)) => return (count, true),
                    _ => return (count, false),
                }
            }
        })
    }

    fn vouchers_aside(&self) -> usize {
        let actions = self.world.payee.actions();
        actions.iter().filter(|it| *it == "HEAD voucher").count()
    }
}

fn payment(reply: &Reply) -> Arc<Payment> {
    reply.extensions().get::<Arc<Payment>>().unwrap().clone()
}

fn ahead(max: u128, ahead: u128) -> SessionLimits {
    limits(max).with_sign_ahead(fixtures::micro_usd(ahead))
}

#[test]
fn a_voucher_of_another_channel_or_of_an_absurd_sum_is_not_signed_and_nothing_is_set_aside() {
    let own = ahead(10_000, 20).with_deposit(fixtures::micro_usd(100));
    for need in [
        Do::Need(Some("00"), 20),
        Do::Need(None, u128::MAX),
        Do::Need(None, 900),
        Do::Need(None, 10_001),
    ] {
        let show = Show::new(own.clone(), "reading", true);
        let show = show.with([Do::Say("data: a\n\n"), need.clone(), Do::Say("data: b\n\n")]);
        let mut reply = show.begin();
        let signed = show.world.session().signed;
        show.read(reply.body_mut());
        let session = show.world.session();
        assert_eq!((session.signed, session.deposit), (signed, 100), "{need:?}");
        assert_eq!(show.vouchers_aside(), 0, "{need:?}");
        let end = payment(&reply).streamed.as_ref().unwrap().end();
        assert!(end.unpaid.is_some() && end.ended, "{need:?}: {end:?}");
    }
}

#[test]
fn a_payee_that_demands_more_than_was_agreed_is_not_given_a_larger_deposit_either() {
    let own = ahead(1_000, 7).with_deposit(fixtures::micro_usd(20));
    let world = World::new(own);
    world.payee.script([super::Act::Demand(500)]);
    let (failure, _) = world.fails();
    assert_eq!(failure.code(), "session-claims", "{failure}");
    let session = world.session();
    assert_eq!((session.deposit + session.asked, session.signed), (20, 10));
}

#[test]
fn a_request_is_not_signed_for_beyond_its_limit_by_a_window_or_a_demand() {
    let own = ahead(1_000, 500).with_max_request(fixtures::micro_usd(60));
    let world = World::new(own);
    world.payee.script([super::Act::Demand(51)]);
    let (failure, _) = world.fails();
    assert_eq!(failure.code(), "session-claims", "{failure}");
    assert_eq!((world.session().signed, world.session().agreed), (10, 0));
    world.payee.script([super::Act::Demand(50)]);
    world.send().unwrap();
    assert_eq!(world.session().signed, 60);
}

#[test]
fn nothing_is_signed_after_the_last_receipt() {
    let show = Show::new(ahead(1_000, 20), "reading", true);
    let show = show.with([
        Do::Say("data: a\n\n"),
        Do::Receipt(10),
        Do::Say("data: b\n\ndata: c\n\n"),
        Do::Need(None, 30),
    ]);
    let mut reply = show.begin();
    show.read(reply.body_mut());
    assert_eq!(show.vouchers_aside(), 0);
    let end = payment(&reply).streamed.as_ref().unwrap().end();
    assert_eq!(end.receipt_fault, None);
    assert!(end.receipt.is_some() && end.unpaid.is_none());
    assert_eq!(show.world.session().agreed, 10);
}

#[test]
fn a_stream_that_only_asks_is_answered_a_few_times() {
    let show = Show::new(ahead(1_000, 20), "token", true);
    let show = show.with((0..500).map(|_| Do::Need(None, 1)));
    let mut reply = show.begin();
    show.read(reply.body_mut());
    assert_eq!(show.vouchers_aside(), 8);
}

#[test]
fn a_comment_is_nothing_that_is_paid_for() {
    let asks = (1..100).flat_map(|n| [Do::Say(": nothing\n\n"), Do::Need(None, n * 10)]);
    let show = Show::new(ahead(1_000, 20), "token", true).with(asks);
    let mut reply = show.begin();
    show.read(reply.body_mut());
    assert!(show.world.payee.accepted() <= 20);
}

#[test]
fn a_plain_body_that_never_ends_is_signed_for_up_to_the_limit_of_a_request() {
    let own = ahead(100_000, 400).with_max_request(fixtures::micro_usd(2_000));
    let show = Show::new(own, "byte", false);
    show.world.payee.shop().price = 1;
    let show = show.with((0..10_000).map(|_| Do::Bytes(100)));
    let mut reply = show.begin();
    let (read, broke) = show.read(reply.body_mut());
    assert_eq!((read, broke), (2_000, false), "it stands still");
    assert_eq!(show.world.payee.accepted(), 2_000);
    let end = payment(&reply).streamed.as_ref().unwrap().end();
    let why = end.unpaid.unwrap();
    assert!(why.contains("limit"), "{why}");
    assert!(!end.ended);
    drop(reply);
    show.world.simulation.run_for(Duration::from_millis(1));
    let session = show.world.session();
    assert_eq!((session.agreed, session.in_flight.len()), (2_000, 0));
}

#[test]
fn vouchers_that_may_not_leap_are_sent_in_steps() {
    let own = ahead(100_000, 400).with_deposit(fixtures::micro_usd(5_000));
    let show = Show::new(own, "byte", false);
    show.world.payee.shop().price = 1;
    show.world.rail.leaps(70);
    let show = show.with((0..30).map(|_| Do::Bytes(60)));
    let mut reply = show.begin();
    assert_eq!(
        show.world.session().signed,
        70,
        "the first comes with the opening"
    );
    assert_eq!(show.read(reply.body_mut()), (1_800, false));
    assert_eq!(show.world.session().agreed, 1_800);
    // Nobody leaps when it is closed either.
    assert_eq!(show.world.close().unwrap().captured, Some(1));
}

#[test]
fn a_body_that_breaks_off_for_want_of_payment_is_told_from_one_that_just_breaks() {
    for (limit, unpaid) in [(300, true), (100_000, false)] {
        let own = ahead(100_000, 200).with_max_request(fixtures::micro_usd(limit));
        let show = Show::new(own, "byte", false);
        show.world.payee.shop().price = 1;
        let show = show.with([Do::Bytes(100), Do::Bytes(100), Do::Bytes(100), Do::Break]);
        let mut reply = show.begin();
        let (read, broke) = show.read(reply.body_mut());
        assert_eq!((read, broke), (300, true));
        let end = payment(&reply).streamed.as_ref().unwrap().end();
        assert!(!end.ended);
        assert_eq!(end.unpaid.is_some(), unpaid, "{end:?}");
        assert_eq!(show.world.session().agreed, 300);
    }
}

#[test]
fn a_body_that_is_paid_by_time_is_signed_for_though_nothing_comes() {
    let show = Show::new(ahead(10_000, 40), "second", false);
    let show = show.with((0..60).map(|_| Do::Second).chain([Do::Say("done")]));
    let mut reply = show.begin();
    assert_eq!(show.read(reply.body_mut()), (4, false));
    let session = show.world.session();
    assert!((600..=620).contains(&session.agreed), "{}", session.agreed);
    assert!(session.signed <= session.agreed + 40);
}

#[test]
fn the_receipt_in_a_trailer_says_what_a_body_has_cost() {
    for (spent, charged, fault) in [(45, 45, false), (500, 50, true)] {
        let show = Show::new(ahead(1_000, 100), "byte", false);
        show.world.payee.shop().price = 1;
        let show = show.with([Do::Bytes(50), Do::Trailer(spent)]);
        let mut reply = show.begin();
        show.read(reply.body_mut());
        let end = payment(&reply).streamed.as_ref().unwrap().end();
        assert_eq!(end.receipt.is_some(), !fault);
        assert_eq!(end.receipt_fault.is_some(), fault, "{end:?}");
        let session = show.world.session();
        assert_eq!((session.agreed, session.note.is_some()), (charged, fault));
    }
}

#[test]
fn a_metered_request_says_that_it_reads_trailers_and_another_does_not() {
    for (unit, reads) in [("byte", true), ("request", false)] {
        let show = Show::new(ahead(1_000, 100), unit, false);
        let mut reply = show.begin();
        show.read(reply.body_mut());
        let fields = show.world.payee.shop().fields.clone();
        let te = fields.last().unwrap().get("te").cloned();
        assert_eq!(te.is_some_and(|te| te == "trailers"), reads, "{unit}");
    }
}

#[test]
fn a_body_that_is_dropped_is_charged_for_what_had_come_and_the_channel_goes_on() {
    let mut own = ahead(1_000, 100);
    own.channels_per_payee = 1;
    let show = Show::new(own, "byte", false);
    show.world.payee.shop().price = 1;
    let show = show.with([Do::Bytes(30), Do::Bytes(40), Do::Bytes(50)]);
    let mut reply = show.begin();
    let frame = show.world.simulation.block_on(reply.body_mut().frame());
    assert!(frame.unwrap().is_ok());
    drop(reply);
    // The next one has to wait for the journal, and gets the same channel.
    let reply = show.begin();
    let session = show.world.session();
    assert_eq!((session.agreed, session.requests), (30, 2));
    assert_eq!(session.in_flight.len(), 1);
    drop(reply);
}

#[test]
fn a_voucher_on_its_way_when_a_body_is_dropped_is_written_down() {
    let show = Show::new(ahead(1_000, 20), "token", true);
    let show = show.with([Do::Say("data: a\n\n"), Do::Need(None, 30)]);
    let mut reply = show.begin();
    // Reads as far as the payee's wish, and no further.
    let mut frame = Box::pin(async {
        reply.body_mut().frame().await;
        let mut next = Box::pin(reply.body_mut().frame());
        poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await
    });
    assert!(show.world.simulation.block_on(frame.as_mut()));
    assert_eq!(show.vouchers_aside(), 0);
    drop(frame);
    drop(reply);
    show.world.simulation.run_for(Duration::from_secs(1));
    assert_eq!(show.vouchers_aside(), 1);
    let session = show.world.session();
    assert!(session.in_flight.is_empty());
    assert!(show.world.payee.accepted() <= session.signed);
    assert!(session.agreed <= session.signed);
}

#[test]
fn a_channel_is_free_once_its_body_has_been_read_though_the_response_is_kept() {
    let mut own = ahead(1_000, 100);
    own.channels_per_payee = 1;
    let show = Show::new(own, "byte", false).with([Do::Bytes(3)]);
    let mut reply = show.begin();
    show.read(reply.body_mut());
    let again = show.begin();
    assert_eq!(show.world.journal.all().len(), 1);
    drop((reply, again));
}

#[test]
fn a_channel_that_nothing_uses_is_closed_after_its_time_and_one_in_use_is_not() {
    let own = ahead(1_000, 20).with_idle_close(Duration::from_secs(60));
    let show = Show::new(own, "byte", false).with([Do::Say("x"), Do::Say("y")]);
    let mut reply = show.begin();
    // A reader that takes its time has the channel.
    show.world.simulation.run_for(Duration::from_secs(300));
    assert_eq!(show.world.session().state, SessionState::Open);
    show.read(reply.body_mut());
    show.world.simulation.run_for(Duration::from_secs(50));
    let mut again = show.begin();
    show.read(again.body_mut());
    show.world.simulation.run_for(Duration::from_secs(50));
    assert_eq!(show.world.session().state, SessionState::Open);
    show.world.simulation.run_for(Duration::from_secs(70));
    let session = show.world.session();
    assert_eq!(session.state, SessionState::Closed);
    assert_eq!(session.captured, Some(show.world.payee.spent()));
}

#[test]
fn a_client_that_is_gone_watches_nothing_any_more() {
    let own = ahead(1_000, 20).with_idle_close(Duration::from_secs(60));
    let mut show = Show::new(own, "byte", false);
    let mut reply = show.begin();
    show.read(reply.body_mut());
    let spare = World::new(limits(1));
    drop(reply);
    show.world.client = spare.client.clone();
    show.world.simulation.run_for(Duration::from_secs(300));
    assert_eq!(show.world.session().state, SessionState::Open);
    assert!(
        !show
            .world
            .payee
            .actions()
            .contains(&"HEAD close".to_owned())
    );
}

#[test]
fn while_a_stream_has_one_channel_other_requests_use_another_or_wait() {
    for (channels, opened) in [(2, 2), (1, 1)] {
        let mut own = ahead(1_000, 20).with_deposit(fixtures::micro_usd(100));
        own.channels_per_payee = channels;
        let show = Show::new(own, "byte", false).with([Do::Say("x"), Do::Say("y")]);
        let stream = show.begin();
        let clock = show.world.simulation.env().clock;
        let second = show.ask();
        let wait = clock.sleep(Duration::from_secs(5));
        let second = futures_util::future::select(second, wait);
        let second = show.world.simulation.block_on(second);
        assert_eq!(show.world.journal.all().len(), opened);
        match second {
            futures_util::future::Either::Left((answer, _)) => {
                assert!(answer.is_ok() && channels == 2);
            }
            futures_util::future::Either::Right((_, second)) => {
                assert_eq!(channels, 1);
                drop(stream);
                assert!(show.world.simulation.block_on(second).is_ok());
            }
        }
    }
}
