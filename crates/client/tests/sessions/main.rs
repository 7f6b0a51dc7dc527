//! Sessions against a payee that follows a script: what is signed stays within this side's own
//! record and limits, whatever the payee says, and nothing is paid twice.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod channels;
mod feed;
mod streams;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use channels::{Act, Broken, GRACE_MS, Payee, PlainPayer, Rail};
use http::Request;
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use stiver_client::{
    CallError, MoneyMoved, Options, Parts, PayLayer, Payment, PaymentClient, SessionFailure,
    outbox::MemoryOutbox,
    pins::MemoryPins,
    policy::{self, Policy},
    session::{MemorySessions, OwnMeter, Session, SessionLimits, SessionParts, SessionState},
};
use stiver_core::problem::ProblemKind;
use stiver_env::Env;
use stiver_method::session::UnitPrice;
use stiver_testkit::{fixtures, simulation::Simulation};
use tower_layer::Layer;
use tower_service::Service;

const URL: &str = "https://api.example/reading";

struct World {
    simulation: Simulation,
    payee: Payee,
    rail: Rail,
    journal: Arc<MemorySessions>,
    client: PaymentClient,
}

fn limits(max: u128) -> SessionLimits {
    SessionLimits::new(fixtures::micro_usd(max))
}

fn client(
    env: &Env,
    rail: &Rail,
    journal: &Arc<MemorySessions>,
    (limits, policy): (SessionLimits, Arc<dyn Policy>),
) -> PaymentClient {
    PaymentClient::new(Parts {
        env: env.clone(),
        payers: Vec::new(),
        policy,
        outbox: Arc::new(MemoryOutbox::new(env.clock.clone())),
        pins: Arc::new(MemoryPins::new()),
        options: Options::default(),
    })
    .with_sessions(SessionParts {
        payers: vec![Arc::new(PlainPayer::new(rail))],
        journal: journal.clone(),
        limits,
    })
}

fn allow() -> Arc<dyn Policy> {
    Arc::new(policy::dangerous_allow_any_amount())
}

impl World {
    fn new(limits: SessionLimits) -> Self {
        Self::seeded(1, limits)
    }

    fn seeded(seed: u64, limits: SessionLimits) -> Self {
        Self::with_policy(seed, limits, allow())
    }

    fn with_policy(seed: u64, limits: SessionLimits, policy: Arc<dyn Policy>) -> Self {
        let simulation = Simulation::new(seed);
        let env = simulation.env();
        let rail = Rail::default();
        rail.at(env.clock.now().as_millis());
        let journal = Arc::new(MemorySessions::new(env.clock.clone()));
        let client = client(&env, &rail, &journal, (limits, policy));
        let payee = Payee::new(env, &rail);
        Self {
            simulation,
            payee,
            rail,
            journal,
            client,
        }
    }

    fn send(&self) -> Result<(u16, Bytes, Option<Arc<Payment>>), CallError> {
        let mut service = PayLayer::new(self.client.clone()).layer(self.payee.clone());
        let request = Request::get(URL).body(Full::<Bytes>::default()).unwrap();
        let response = self.simulation.block_on(service.call(request))?;
        let payment = response.extensions().get::<Arc<Payment>>().cloned();
        let status = response.status().as_u16();
        let read = self.simulation.block_on(response.into_body().collect());
        let body = read.map(|body| body.to_bytes()).unwrap_or_default();
        Ok((status, body, payment))
    }

    fn fails(&self) -> (SessionFailure, MoneyMoved) {
        match self.send() {
            Err(CallError::Session { failure, moved, .. }) => (*failure, moved),
            Err(other) => panic!("{other:?}"),
            Ok((status, ..)) => panic!("answered with {status}"),
        }
    }

    fn session(&self) -> Session {
        let mut all = self.journal.all();
        assert_eq!(all.len(), 1, "one session");
        all.remove(0)
    }

    fn close(&self) -> Result<Session, CallError> {
        let exchange = Beside(self.payee.clone());
        let id = self.journal.all().last().unwrap().id;
        self.simulation
            .block_on(self.client.close_session(id, &exchange))
    }
}

/// The payee as an exchange, for what is sent beside requests.
struct Beside(Payee);

impl stiver_client::Exchange for Beside {
    type Response = http::Response<channels::Feed>;
    fn send(
        &mut self,
        request: Request<Bytes>,
    ) -> stiver_env::BoxFuture<'_, Result<Self::Response, stiver_client::error::BoxError>> {
        let sending = self.0.call(request.map(Full::new));
        Box::pin(async move { sending.await.map_err(|error: Broken| error.into()) })
    }
    fn head(response: &Self::Response) -> (http::StatusCode, &http::HeaderMap) {
        (response.status(), response.headers())
    }
    fn read(response: Self::Response, _: usize) -> stiver_env::BoxFuture<'static, Vec<u8>> {
        Box::pin(async move {
            let read = response.into_body().collect().await;
            read.map(|body| body.to_bytes().to_vec())
                .unwrap_or_default()
        })
    }
    fn peek(
        response: Self::Response,
        _: usize,
    ) -> stiver_env::BoxFuture<'static, (Vec<u8>, Self::Response)> {
        Box::pin(async move { (Vec::new(), response) })
    }
    fn watch(
        response: Self::Response,
        _: stiver_client::Delivery,
    ) -> stiver_env::BoxFuture<'static, Self::Response> {
        Box::pin(async move { response })
    }
    fn stream(response: Self::Response, _: stiver_client::SessionStream) -> Self::Response {
        response
    }
    fn side(&self) -> Arc<dyn stiver_client::Side> {
        Arc::new(Self(self.0.clone()))
    }
}

impl stiver_client::Side for Beside {
    fn ask(
        &self,
        request: Request<Bytes>,
    ) -> stiver_env::BoxFuture<'static, stiver_client::SideAnswer> {
        let mut payee = self.0.clone();
        Box::pin(async move {
            let response = payee.call(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes().to_vec();
            Ok((head.status, head.headers, body))
        })
    }
}

#[test]
fn one_opening_pays_for_many_requests_and_each_costs_one_round_trip() {
    let world = World::new(limits(1_000));
    for n in 1..=5_u128 {
        let (status, body, payment) = world.send().unwrap();
        assert_eq!((status, body), (200, Bytes::from_static(b"goods")));
        let payment = payment.unwrap();
        assert_eq!(payment.terms.amount, fixtures::micro_usd(10));
        assert_eq!(payment.receipt_fault, None);
        let session = world.session();
        assert_eq!(
            (session.signed, session.agreed, session.spent),
            (n * 10, n * 10, n * 10)
        );
        assert_eq!(session.deposit, 1_000);
    }
    assert_eq!(
        world.payee.actions(),
        [
            "GET -",
            "GET open",
            "GET voucher",
            "GET voucher",
            "GET voucher",
            "GET voucher"
        ]
    );
    let closed = world.close().unwrap();
    assert_eq!(closed.state, SessionState::Closed);
    assert_eq!((closed.captured, closed.exposure()), (Some(50), 50));
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_voucher_and_charged_once() {
    let world = World::new(limits(1_000));
    world
        .payee
        .script([Act::ServeAndCut, Act::ServeAndCut, Act::Serve, Act::Cut]);
    world.send().unwrap();
    world.send().unwrap();
    assert_eq!(world.payee.spent(), 20);
    let session = world.session();
    assert_eq!((session.signed, session.vouchers), (20, 2));
}

#[test]
fn an_answer_with_the_state_alone_is_no_success_and_says_whether_it_was_charged() {
    let world = World::new(limits(1_000));
    world.payee.shop().keeps_answers = false;
    world.send().unwrap();
    // The answer is lost, and the payee keeps none.
    world.payee.script([Act::ServeAndCut, Act::Serve]);
    let (failure, moved) = world.fails();
    assert!(
        matches!(failure, SessionFailure::NotDelivered { charged: true }),
        "{failure}"
    );
    assert_eq!(moved, MoneyMoved::Yes);
    let session = world.session();
    assert_eq!((session.spent, session.agreed), (20, 20));
    assert!(session.in_flight.is_empty());
    assert_eq!(world.payee.spent(), 20);
}

#[test]
fn a_request_that_was_charged_and_is_not_kept_is_told_so_and_stays_counted() {
    let world = World::new(limits(1_000));
    world.send().unwrap();
    let lost = [Act::ServeAndCut, Act::Refuse(ProblemKind::AnswerNotKept)];
    world.payee.script(lost);
    let (failure, moved) = world.fails();
    assert!(
        matches!(failure, SessionFailure::NotDelivered { charged: true }),
        "{failure}"
    );
    assert_eq!(moved, MoneyMoved::Yes);
    let session = world.session();
    assert_eq!((session.agreed, session.in_flight.len()), (20, 0));
    world.send().unwrap();
    assert_eq!(world.payee.spent(), 30);
}

#[test]
fn a_snapshot_beyond_what_was_signed_stops_the_signing_and_one_within_it_changes_nothing() {
    for (accepted, stops) in [(21, true), (20, false)] {
        let world = World::new(limits(1_000));
        world.send().unwrap();
        world.payee.shop().snapshot = Some(accepted);
        let refusals = [Act::Refuse(ProblemKind::SessionDeltaTooSmall)];
        world.payee.script(refusals);
        let (failure, _) = world.fails();
        assert_eq!(failure.code() == "journal-behind", stops, "{failure}");
        let session = world.session();
        assert_eq!((session.signed, session.agreed), (20, 10));
        // The way out is open: nothing but what was signed is shown for it.
        assert_eq!(world.close().unwrap().captured, Some(10));
        assert_eq!(world.payee.accepted(), 20);
    }
}

#[test]
fn a_delivery_that_did_not_come_and_was_not_charged_is_told_so_and_its_voucher_pays_for_the_next() {
    let world = World::new(limits(1_000));
    world.send().unwrap();
    world.payee.script([Act::State]);
    let (failure, moved) = world.fails();
    assert!(
        matches!(failure, SessionFailure::NotDelivered { charged: false }),
        "{failure}"
    );
    assert_eq!(moved, MoneyMoved::No);
    let session = world.session();
    assert_eq!((session.signed, session.agreed), (20, 10));
    world.send().unwrap();
    assert_eq!((world.payee.spent(), world.session().signed), (20, 20));
}

#[test]
fn an_unknown_outcome_stays_counted_and_what_was_not_used_is_used_by_the_next_request() {
    let world = World::new(limits(1_000));
    world.send().unwrap();
    world.payee.script(vec![Act::Cut; 5]);
    let (failure, moved) = world.fails();
    assert!(matches!(failure, SessionFailure::Unknown(_)), "{failure}");
    assert_eq!(moved, MoneyMoved::Maybe);
    let session = world.session();
    assert_eq!((session.signed, session.agreed), (20, 20));
    assert_eq!(session.in_flight.len(), 1);
    world.send().unwrap();
    assert_eq!((world.payee.spent(), world.session().signed), (20, 30));
}

#[test]
fn a_deposit_that_is_used_up_is_topped_up_within_the_limit_and_not_beyond() {
    let world = World::new(limits(50).with_deposit(fixtures::micro_usd(20)));
    for _ in 0..5 {
        world.send().unwrap();
    }
    let session = world.session();
    assert_eq!((session.deposit, session.signed), (50, 50));
    let top_ups = world.payee.actions();
    let top_ups = top_ups
        .iter()
        .filter(|action| *action == "HEAD topUp")
        .count();
    assert_eq!(top_ups, 2);
    let (failure, moved) = world.fails();
    assert!(matches!(failure, SessionFailure::OverLimit(_)), "{failure}");
    assert_eq!(moved, MoneyMoved::No);
    assert_eq!(world.payee.accepted(), 50);
}

#[test]
fn the_policy_is_asked_about_the_deposit_and_a_no_sets_nothing_aside() {
    let no: Arc<dyn Policy> = Arc::new(policy::MaxAmount::new(fixtures::micro_usd(99)));
    let world = World::with_policy(1, limits(100), no);
    let (failure, moved) = world.fails();
    assert!(matches!(failure, SessionFailure::Declined(_)), "{failure}");
    assert_eq!(moved, MoneyMoved::No);
    assert!(world.journal.all().is_empty());
    assert!(world.rail.channels().is_empty());
}

#[test]
fn a_payee_that_demands_more_than_was_agreed_gets_the_window_and_no_more() {
    let ahead = fixtures::micro_usd(7);
    let world = World::new(limits(1_000).with_sign_ahead(ahead));
    world
        .payee
        .script([Act::Serve, Act::Demand(7), Act::Demand(7)]);
    world.send().unwrap();
    let (failure, moved) = world.fails();
    assert!(
        matches!(failure, SessionFailure::Claims { .. }),
        "{failure}"
    );
    assert_eq!(moved, MoneyMoved::Maybe);
    assert_eq!(world.payee.accepted(), 27);
    assert_eq!(world.session().signed, 27);
}

#[test]
fn a_receipt_that_claims_more_than_was_signed_is_noted_and_raises_nothing() {
    let world = World::new(limits(1_000));
    world.payee.script([Act::Claim(500)]);
    let (_, _, payment) = world.send().unwrap();
    let fault = payment.unwrap().receipt_fault.clone().unwrap();
    assert!(fault.contains("more than was signed"), "{fault}");
    let session = world.session();
    assert_eq!((session.signed, session.spent), (10, 0));
    assert_eq!(session.note.as_deref(), Some(fault.as_str()));
    world.send().unwrap();
    assert_eq!(world.session().signed, 20);
}

#[test]
fn a_refused_request_is_not_counted_and_its_voucher_pays_for_the_next() {
    let world = World::new(limits(1_000));
    world
        .payee
        .script([Act::Serve, Act::Refuse(ProblemKind::VerificationFailed)]);
    world.send().unwrap();
    let (failure, _) = world.fails();
    assert!(matches!(failure, SessionFailure::Refused(_)), "{failure}");
    assert_eq!((world.session().signed, world.session().agreed), (20, 10));
    world.send().unwrap();
    assert_eq!((world.session().signed, world.session().agreed), (20, 20));
}

#[test]
fn a_payee_that_forgot_the_channel_gets_no_second_deposit_beyond_the_limit() {
    let world = World::new(limits(100));
    world.send().unwrap();
    world
        .payee
        .script([Act::Refuse(ProblemKind::SessionChannelNotFound)]);
    let (failure, _) = world.fails();
    assert!(matches!(failure, SessionFailure::OverLimit(_)), "{failure}");
    assert_eq!(world.rail.channels().len(), 1);
}

#[test]
fn a_channel_that_the_payee_closed_is_found_out_and_another_is_opened() {
    let world = World::new(limits(200).with_deposit(fixtures::micro_usd(100)));
    world.send().unwrap();
    world.close().unwrap();
    let (status, ..) = world.send().unwrap();
    assert_eq!(status, 200);
    let states: Vec<SessionState> = world.journal.all().iter().map(|s| s.state).collect();
    assert_eq!(states.len(), 2);
    assert!(states.contains(&SessionState::Closed) && states.contains(&SessionState::Open));
}

#[test]
fn another_payee_behind_the_same_name_gets_no_voucher_of_the_first() {
    let world = World::new(limits(1_000).with_deposit(fixtures::micro_usd(100)));
    world.send().unwrap();
    world.payee.shop().recipient = "somebody else";
    world
        .payee
        .script([Act::Refuse(ProblemKind::InvalidChallenge)]);
    let (failure, _) = world.fails();
    // The payee is not the one remembered: the policy would have to allow the change.
    assert!(matches!(failure, SessionFailure::Declined(_)), "{failure}");
    assert_eq!(world.payee.accepted(), 10);
    assert_eq!(world.rail.channels().len(), 1);
}

#[test]
fn an_answer_of_the_application_is_the_callers_and_stays_counted() {
    let world = World::new(limits(1_000));
    world.payee.script([Act::Serve, Act::Say(404)]);
    world.send().unwrap();
    let (status, _, payment) = world.send().unwrap();
    assert_eq!(status, 404);
    assert_eq!(payment.unwrap().moved, MoneyMoved::Maybe);
    assert_eq!(world.session().agreed, 20);
}

#[test]
fn an_opening_whose_answer_was_lost_is_settled_by_the_rail() {
    let world = World::new(limits(1_000));
    world.payee.script(vec![Act::ServeAndCut; 5]);
    let (failure, moved) = world.fails();
    assert!(matches!(failure, SessionFailure::Unknown(_)), "{failure}");
    assert_eq!(moved, MoneyMoved::Maybe);
    assert_eq!(world.session().state, SessionState::Open);
    let other = World::new(limits(1_000));
    other.payee.script(vec![Act::Cut; 5]);
    other.fails();
    assert_eq!(other.session().state, SessionState::Void);
    assert_eq!(other.session().exposure(), 0);
}

#[test]
fn what_remains_with_a_payee_that_is_gone_comes_back_after_the_grace_period() {
    let world = World::new(limits(1_000));
    world.send().unwrap();
    world.payee.script(vec![Act::Cut; 5]);
    assert!(world.close().is_err());
    assert_eq!(world.session().state, SessionState::Closing);
    let id = world.session().id;
    let run = |future| world.simulation.block_on(future);
    let forced: Session = run(world.client.force_close(id)).unwrap();
    assert_eq!(forced.state, SessionState::Forced);
    world
        .simulation
        .block_on(world.client.recover_sessions())
        .unwrap();
    assert_eq!(world.session().state, SessionState::Forced, "too early");
    world
        .simulation
        .run_for(std::time::Duration::from_millis(GRACE_MS));
    world
        .simulation
        .block_on(world.client.recover_sessions())
        .unwrap();
    let session = world.session();
    assert_eq!(
        (session.state, session.captured),
        (SessionState::Withdrawn, Some(0))
    );
}

fn streaming(limits: SessionLimits, unit: &'static str, events: usize) -> World {
    let world = World::new(limits);
    {
        let mut shop = world.payee.shop();
        shop.unit = Some(unit);
        shop.events = Some(events);
    }
    world
}

#[test]
fn a_stream_is_paid_for_as_it_comes_and_its_payment_events_are_hidden() {
    let ahead = fixtures::micro_usd(20);
    let world = streaming(limits(1_000).with_sign_ahead(ahead), "reading", 12);
    let (status, body, payment) = world.send().unwrap();
    assert_eq!(status, 200);
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(body.matches("data: reading").count(), 12);
    assert!(!body.contains("payment-"), "{body}");
    assert!(payment.unwrap().session.is_some());
    let session = world.session();
    assert_eq!((session.spent, session.agreed), (120, 120));
    assert!(session.signed <= 120 + 20 + 10, "{}", session.signed);
    assert!(session.in_flight.is_empty());
    assert_eq!(session.note, None);
    let vouchers = world.payee.actions();
    let vouchers = vouchers
        .iter()
        .filter(|action| *action == "HEAD voucher")
        .count();
    assert!((3..12).contains(&vouchers), "{vouchers}");
    let closed = world.close().unwrap();
    assert_eq!(closed.captured, Some(120));
}

#[test]
fn a_stream_of_what_cannot_be_measured_here_is_paid_window_by_window() {
    let ahead = fixtures::micro_usd(30);
    let world = streaming(limits(1_000).with_sign_ahead(ahead), "token", 20);
    let (_, body, _) = world.send().unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(body.matches("data: reading").count(), 20);
    assert_eq!(world.session().agreed, 200);
}

#[test]
fn a_payee_that_counts_every_reading_twice_is_stopped_within_the_window() {
    let ahead = fixtures::micro_usd(40);
    let world = streaming(limits(10_000).with_sign_ahead(ahead), "reading", 1_000);
    world.payee.shop().counts = 2;
    let mut service = PayLayer::new(world.client.clone()).layer(world.payee.clone());
    let request = Request::get(URL).body(Full::<Bytes>::default()).unwrap();
    let response = world.simulation.block_on(service.call(request)).unwrap();
    // The stream stands still: the reader gives up after a while.
    let clock = world.simulation.env().clock;
    let mut body = response.into_body();
    let read = world.simulation.block_on(async {
        let mut read = 0_u128;
        loop {
            let wait = clock.sleep(std::time::Duration::from_secs(60));
            match futures_util::future::select(Box::pin(body.frame()), wait).await {
                futures_util::future::Either::Left((Some(Ok(_)), _)) => read += 1,
                _ => return read,
            }
        }
    });
    let accepted = world.payee.accepted();
    assert!(
        accepted <= read * 10 + 10 + 40,
        "{read} readings, {accepted} signed"
    );
    assert!(read >= 3, "{read}");
    let note = world.session().note.unwrap();
    assert!(note.contains("own record"), "{note}");
}

#[test]
fn a_stream_whose_program_was_killed_counts_all_that_was_signed_and_its_channel_goes_on() {
    let ahead = || limits(10_000).with_sign_ahead(fixtures::micro_usd(40));
    let world = streaming(ahead(), "reading", 1_000);
    let mut service = PayLayer::new(world.client.clone()).layer(world.payee.clone());
    let request = || Request::get(URL).body(Full::<Bytes>::default()).unwrap();
    let response = world.simulation.block_on(service.call(request())).unwrap();
    let mut body = response.into_body();
    world.simulation.block_on(async {
        for _ in 0..7 {
            body.frame().await.unwrap().unwrap();
        }
    });
    // Killed: nothing of it runs any more, and its last line in the journal stays.
    let _never_dropped = std::mem::ManuallyDrop::new(body);
    let before = world.session();
    assert_eq!(before.in_flight.len(), 1);
    assert!(before.agreed < before.signed, "{before:?}");
    world.payee.shop().events = Some(12);
    let env = world.simulation.env();
    let client = client(&env, &world.rail, &world.journal, (ahead(), allow()));
    let mut service = PayLayer::new(client).layer(world.payee.clone());
    let response = world.simulation.block_on(service.call(request())).unwrap();
    let body = world.simulation.block_on(response.into_body().collect());
    let body = String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap();
    assert_eq!(body.matches("data: reading").count(), 12);
    let after = world.session();
    assert_eq!(after.id, before.id);
    assert!(after.in_flight.is_empty(), "{after:?}");
    assert!(after.agreed >= before.signed + 120 - 40, "{after:?}");
    assert!(after.agreed <= before.signed + 120, "{after:?}");
}

/// An instrument that counts what its reader was handed, and knows what it is worth.
#[derive(Default)]
struct Cable(AtomicU64);

impl OwnMeter for Cable {
    fn thousandths(&self, _: &http::Uri, unit: &str) -> Option<u128> {
        (unit == "kWh").then(|| u128::from(self.0.load(Ordering::Relaxed)))
    }
}

/// Reads until the stream stands still; gives how many events came.
fn read_with(world: &World, cable: &Arc<Cable>, watt_hours: u64) -> u128 {
    let parts = (
        limits(10_000).with_sign_ahead(fixtures::micro_usd(40)),
        allow(),
    );
    let env = world.simulation.env();
    let client = client(&env, &world.rail, &world.journal, parts);
    let client = client.with_own_meter(cable.clone());
    let mut service = PayLayer::new(client).layer(world.payee.clone());
    let request = Request::get(URL).body(Full::<Bytes>::default()).unwrap();
    let response = world.simulation.block_on(service.call(request)).unwrap();
    let clock = world.simulation.env().clock;
    let mut body = response.into_body();
    world.simulation.block_on(async {
        let mut read = 0_u128;
        loop {
            let wait = clock.sleep(std::time::Duration::from_secs(60));
            match futures_util::future::select(Box::pin(body.frame()), wait).await {
                futures_util::future::Either::Left((Some(Ok(_)), _)) => read += 1,
                _ => return read,
            }
            cable.0.fetch_add(watt_hours, Ordering::Relaxed);
        }
    })
}

#[test]
fn an_instrument_of_ones_own_lets_a_stream_go_on_and_stops_a_payee_that_counts_more() {
    let honest = streaming(limits(10_000), "kWh", 50);
    let read = read_with(&honest, &Arc::new(Cable::default()), 1_000);
    assert_eq!(read, 50);
    assert_eq!(honest.session().agreed, 500);
    // It sells a kilowatt-hour with each event, and half of it flows.
    let liar = streaming(limits(10_000), "kWh", 1_000);
    let cable = Arc::new(Cable::default());
    let read = read_with(&liar, &cable, 500);
    assert!((3..20).contains(&read), "{read}");
    let flowed = u128::from(cable.0.load(Ordering::Relaxed));
    let accepted = liar.payee.accepted();
    assert!(
        accepted <= flowed * 10 / 1_000 + 10 + 40,
        "{flowed} Wh, {accepted} signed"
    );
    let note = liar.session().note.unwrap();
    assert!(note.contains("own record"), "{note}");
}

#[test]
fn a_price_above_its_limit_is_not_paid_in_an_open_channel_either() {
    let cap = UnitPrice {
        amount: fixtures::micro_usd(12),
        per: 1,
        unit: Some("reading".to_owned()),
    };
    let limits = || limits(10_000).with_max_price(cap.clone());
    let world = streaming(limits(), "reading", 5);
    // Each is a program of its own, that remembers no price.
    let buy = |price| {
        world.payee.shop().price = price;
        world.payee.shop().events = Some(5);
        let env = world.simulation.env();
        let client = client(&env, &world.rail, &world.journal, (limits(), allow()));
        let mut service = PayLayer::new(client).layer(world.payee.clone());
        let request = Request::get(URL).body(Full::<Bytes>::default()).unwrap();
        let response = world.simulation.block_on(service.call(request));
        let read =
            |it: http::Response<_>| world.simulation.block_on(BodyExt::collect(it.into_body()));
        response.map(|response| read(response).is_ok())
    };
    assert!(buy(10).unwrap());
    let before = world.session();
    let error = buy(13).unwrap_err();
    assert!(error.to_string().contains("the price is"), "{error}");
    let after = world.session();
    assert_eq!((after.signed, after.agreed), (before.signed, before.agreed));
    assert!(buy(12).unwrap(), "a lower one is paid again");
    assert_eq!(world.session().id, before.id);
}

#[test]
fn a_stream_stops_at_the_limit_of_a_request() {
    let limits = limits(10_000)
        .with_sign_ahead(fixtures::micro_usd(30))
        .with_max_request(fixtures::micro_usd(60));
    let world = streaming(limits, "reading", 1_000);
    let mut service = PayLayer::new(world.client.clone()).layer(world.payee.clone());
    let request = Request::get(URL).body(Full::<Bytes>::default()).unwrap();
    let response = world.simulation.block_on(service.call(request)).unwrap();
    let clock = world.simulation.env().clock;
    let mut body = response.into_body();
    world.simulation.block_on(async {
        loop {
            let wait = clock.sleep(std::time::Duration::from_secs(60));
            let next = futures_util::future::select(Box::pin(body.frame()), wait).await;
            if matches!(next, futures_util::future::Either::Right(_)) {
                return;
            }
        }
    });
    assert!(world.payee.accepted() <= 60, "{}", world.payee.accepted());
    assert!(
        world
            .session()
            .note
            .unwrap()
            .contains("the limit for a request")
    );
}

#[test]
fn requests_at_the_same_time_use_channels_of_their_own_up_to_the_limit() {
    let mut limits = limits(1_000).with_deposit(fixtures::micro_usd(100));
    limits.channels_per_payee = 2;
    let world = World::new(limits);
    let calls = (0..6).map(|_| {
        let mut service = PayLayer::new(world.client.clone()).layer(world.payee.clone());
        let request = Request::get(URL).body(Full::<Bytes>::default()).unwrap();
        service.call(request)
    });
    let answers = world
        .simulation
        .block_on(futures_util::future::join_all(calls));
    assert!(answers.iter().all(|answer| answer.is_ok()));
    assert_eq!(world.payee.spent(), 60);
    assert!(world.journal.all().len() <= 2);
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Serve),
        1 => Just(Act::ServeAndCut),
        1 => Just(Act::Cut),
        2 => (0_u128..60).prop_map(Act::Demand),
        1 => any::<u128>().prop_map(Act::Demand),
        1 => (0_u128..100).prop_map(Act::Claim),
        1 => Just(Act::State),
        1 => Just(Act::Say(500)),
        1 => Just(Act::Say(404)),
        1 => Just(Act::Refuse(ProblemKind::SessionChannelNotFound)),
        1 => Just(Act::Refuse(ProblemKind::SessionChannelFinalized)),
        1 => Just(Act::Refuse(ProblemKind::SessionChallengeNotFound)),
        1 => Just(Act::Refuse(ProblemKind::InvalidChallenge)),
        1 => Just(Act::Refuse(ProblemKind::SessionAmountExceedsDeposit)),
        1 => Just(Act::Refuse(ProblemKind::PaymentRequired)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_a_payee_says_it_gets_what_was_asked_for_and_the_windows_at_most(
        seed in any::<u64>(),
        acts in proptest::collection::vec(any_act(), 0..40),
        requests in 1_u128..12,
        ahead in 0_u128..30,
    ) {
        let own = limits(400)
            .with_deposit(fixtures::micro_usd(100))
            .with_sign_ahead(fixtures::micro_usd(ahead));
        let world = World::seeded(seed, own);
        world.payee.script(acts);
        for _ in 0..requests {
            let _ = world.send();
        }
        let sessions = world.journal.all();
        let signed: u128 = sessions.iter().map(|session| session.signed).sum();
        let opened = u128::try_from(sessions.len()).unwrap();
        // Ten for each request, once; and the window for each channel. A request that had to go
        // to another channel may have left its ten in the one before.
        prop_assert!(signed <= requests * 10 + opened * (ahead + 10), "{signed}");
        prop_assert!(world.payee.accepted() <= signed, "a voucher that the journal has not");
        let aside: u128 = sessions.iter().map(Session::exposure).sum();
        prop_assert!(aside <= 400 + sessions.iter().filter_map(|s| s.captured).sum::<u128>());
        for session in &sessions {
            prop_assert!(session.signed <= session.deposit + session.asked);
        }
    }
}
