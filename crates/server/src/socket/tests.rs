//! Sockets over the real store and an escrow, deterministically: the client is the other end of
//! two channels.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Request as HttpRequest;
use stiver_channel::{Figures, PhaseName};
use stiver_core::{Challenge, json::Value, socket::NeedVoucher};
use stiver_method::session::UnitPrice;
use stiver_store::{ChannelStore as _, EmbeddedStore, Limits};
use stiver_testkit::{
    escrow::{Escrow, EscrowPayer},
    fixtures,
    simulation::Simulation,
};

use super::{
    asker::fixed,
    line::{INTERNAL, NORMAL, POLICY, TOO_BIG},
    *,
};
use crate::{
    BodyState, Gate, Outcome, Pricing, Request, Route,
    limits::{PAUSE_MS_MAX, SOCKET_CLOSE_MS_MAX, SOCKET_IDLE_MS_MAX, STALL_MS_MAX},
    session::SessionOffer,
};

const DEPOSIT: u128 = 1_000;
/// What a message costs.
const EACH: u128 = 10;
/// Two messages.
const WINDOW: u128 = 20;

struct World {
    sim: Simulation,
    escrow: Escrow,
    store: EmbeddedStore,
    gate: Gate,
    payer: EscrowPayer,
    route: Arc<Route>,
}

impl World {
    fn new() -> Self {
        Self::priced(EACH, "event")
    }

    fn priced(amount: u128, unit: &str) -> Self {
        let sim = Simulation::new(7);
        let escrow = Escrow::new("merchant", fixtures::usd());
        let store = open_store(&sim);
        let price = UnitPrice {
            amount: fixtures::micro_usd(amount),
            per: 1,
            unit: Some(unit.to_owned()),
        };
        let window = fixtures::micro_usd(WINDOW);
        let method = Arc::new(escrow.clone());
        let offer = SessionOffer::metered(method, vec![price], &window).unwrap();
        Self {
            gate: gate(&sim, &escrow, &store),
            payer: EscrowPayer::new(1),
            route: Arc::new(Route::for_sessions(vec![offer]).unwrap()),
            sim,
            escrow,
            store,
        }
    }

    fn restart(&mut self) {
        self.sim.crash();
        self.store = open_store(&self.sim);
        self.gate = gate(&self.sim, &self.escrow, &self.store);
    }

    /// A request beside the socket.
    fn ask(&self, method: &str, credential: Option<String>) -> Outcome {
        let lines: Vec<&[u8]> = credential.iter().map(String::as_bytes).collect();
        let request = Request {
            method,
            target: "/ticks",
            authorization: &lines,
            accept_payment: &[],
            accept_language: &[],
            idempotency_key: &[],
            body: BodyState::None,
        };
        self.sim.block_on(self.gate.admit_at(&request, &self.route))
    }

    fn challenge(&self) -> Challenge {
        match self.ask("GET", None) {
            Outcome::Refuse(refused) => refused.challenges[0].clone(),
            _ => panic!("it is not free"),
        }
    }

    fn figures(&self) -> Figures {
        let channel = self.store.channels().channel(&self.payer.channel());
        channel.map(|it| it.figures()).unwrap_or_default()
    }

    fn phase(&self) -> PhaseName {
        let channel = self.store.channels().channel(&self.payer.channel());
        channel.unwrap().phase().name()
    }

    /// A socket whose handler sends these, and then does `then`.
    fn open(&self, says: &[&str], then: Then) -> Client<'_> {
        let says: Vec<String> = says.iter().map(|it| (*it).to_owned()).collect();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&heard);
        let handler = move |mut socket: Socket| {
            let (says, heard) = (says.clone(), Arc::clone(&to));
            async move {
                for say in says {
                    if socket.send(say).await.is_err() {
                        return;
                    }
                }
                match then {
                    Then::Ends => {}
                    Then::Listens => {
                        while let Some(message) = socket.recv().await {
                            heard.lock().unwrap().push(message);
                        }
                    }
                    Then::Fails => socket.split().1.fail("the upstream is away").await,
                }
            }
        };
        let (parts, ()) = HttpRequest::get("/ticks").body(()).unwrap().into_parts();
        let (to_run, from) = mpsc::channel(64);
        let (to, from_run) = mpsc::channel(1);
        let run = Run {
            asker: Arc::new(Asker {
                gate: self.gate.clone(),
                price: Arc::new(fixed(Pricing::Priced(Arc::clone(&self.route)))),
                parts,
                target: "/ticks".to_owned(),
            }),
            handler: Arc::new(move |socket| Box::pin(handler(socket))),
            stop: Box::pin(pending()),
            from,
            to,
            account: None,
            unpaid: None,
        };
        self.sim.env().spawner.spawn(Box::pin(run.run()));
        Client {
            world: self,
            to: Some(to_run),
            from: from_run,
            heard,
        }
    }

    /// A socket that is paid for up to `signed`, behind its first receipt.
    fn opened(&self, says: &[&str], then: Then, signed: u128) -> (Client<'_>, Challenge) {
        let challenge = self.challenge();
        let mut client = self.open(says, then);
        let deposit = fixtures::micro_usd(DEPOSIT);
        client.pays(&self.payer.open(&challenge, &deposit, signed));
        assert_eq!(client.receipt("payment-receipt"), (signed, 0));
        (client, challenge)
    }
}

#[derive(Clone, Copy)]
enum Then {
    Ends,
    Listens,
    Fails,
}

struct Client<'w> {
    world: &'w World,
    to: Option<mpsc::Sender<Incoming>>,
    from: mpsc::Receiver<Outgoing>,
    heard: Arc<Mutex<Vec<Message>>>,
}

impl Client<'_> {
    fn send(&self, incoming: Incoming) {
        let to = self.to.as_ref().unwrap();
        assert!(to.try_send(incoming).is_ok());
        self.world.sim.run_until_idle();
    }

    fn says(&self, text: &str) {
        self.send(Incoming::Text(text.to_owned()));
    }

    fn pays(&self, credential: &str) {
        let frame = Frame::Authorization(credential.into());
        self.says(&frame.to_text(Framing::Mpp).unwrap());
    }

    /// What comes next, without waiting for time to pass.
    fn next(&mut self) -> Option<Outgoing> {
        self.world.sim.run_until_idle();
        self.from.try_recv().ok()
    }

    #[track_caller]
    fn text(&mut self) -> String {
        match self.next() {
            Some(Outgoing::Text(text)) => text,
            other => panic!("expected a text, got {other:?}"),
        }
    }

    #[track_caller]
    fn message(&mut self) -> String {
        let text = self.text();
        match Frame::parse(&text, Framing::Mpp).unwrap() {
            Frame::Message(data) => data.into_owned(),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    #[track_caller]
    fn need(&mut self) -> (u128, u128) {
        let text = self.text();
        match Frame::parse(&text, Framing::Mpp).unwrap() {
            Frame::NeedVoucher(NeedVoucher {
                required, accepted, ..
            }) => (required, accepted),
            other => panic!("expected a wish for a voucher, got {other:?}"),
        }
    }

    /// A frame with a receipt: what was accepted, and what is spent.
    #[track_caller]
    fn receipt(&mut self, name: &str) -> (u128, u128) {
        let value = Value::parse(self.text().as_bytes()).unwrap();
        assert_eq!(value.get("mpp").and_then(Value::as_str), Some(name));
        let data = value.get("data").unwrap();
        let figure = |name: &str| {
            let text = data.get(name).and_then(Value::as_str).unwrap();
            text.parse::<u128>().unwrap()
        };
        (figure("acceptedCumulative"), figure("spent"))
    }

    /// The frame of a refusal: its status, its problem, and how many challenges came with it.
    #[track_caller]
    fn refusal(&mut self) -> (u16, ProblemKind, usize) {
        let text = self.text();
        match Frame::parse(&text, Framing::Mpp).unwrap() {
            Frame::Error(error) => {
                let problem = Value::parse(error.problem.unwrap().as_bytes()).unwrap();
                let kind = problem.get("type").and_then(Value::as_str).unwrap();
                let kind = ProblemKind::from_type_uri(kind).unwrap();
                (error.status.unwrap(), kind, error.challenges.len())
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[track_caller]
    fn closed(&mut self, expected: u16) {
        match self.next() {
            Some(Outgoing::Close(code, _)) => assert_eq!(code, expected),
            other => panic!("expected a close, got {other:?}"),
        }
    }
}

fn open_store(sim: &Simulation) -> EmbeddedStore {
    let config = EmbeddedStore::config("/data/store");
    let env = sim.env();
    let opening = EmbeddedStore::open(config, &env, Limits::default());
    sim.block_on(opening).unwrap()
}

fn gate(sim: &Simulation, escrow: &Escrow, store: &EmbeddedStore) -> Gate {
    let (realm, keys) = (fixtures::realm(), fixtures::key_ring());
    Gate::builder(realm, keys, Arc::new(store.clone()), sim.env())
        .channels(Arc::new(store.clone()))
        .session_method(Arc::new(escrow.clone()))
        .build()
        .unwrap()
}

#[test]
fn messages_are_paid_for_before_they_leave_and_a_voucher_in_the_socket_lets_it_go_on() {
    let world = World::new();
    let (mut client, challenge) = world.opened(&["a", "b", "c"], Then::Ends, 20);
    assert_eq!(client.message(), "a");
    assert_eq!(client.message(), "b");
    assert_eq!(client.need(), (40, 20));
    assert_eq!(client.next(), None);
    client.pays(&world.payer.voucher(&challenge, 40));
    assert_eq!(client.receipt("payment-receipt"), (40, 20));
    assert_eq!(client.message(), "c");
    assert_eq!(client.receipt("payment-close-ready"), (40, 30));
    assert_eq!(world.figures().reserved, 0);
    // The channel is closed with just that.
    client.pays(&world.payer.close(&challenge, 30));
    assert_eq!(client.receipt("payment-receipt"), (40, 30));
    client.closed(NORMAL);
    assert_eq!(
        world.escrow.truth(&world.payer.channel()).unwrap().settled,
        30
    );
    assert_eq!(world.phase(), PhaseName::Closed);
}

#[test]
fn a_voucher_by_any_other_request_lets_a_socket_go_on() {
    let world = World::new();
    let (mut client, challenge) = world.opened(&["a", "b", "c"], Then::Ends, 20);
    client.message();
    client.message();
    client.need();
    let voucher = world.payer.voucher(&challenge, 40);
    assert!(matches!(
        world.ask("HEAD", Some(voucher)),
        Outcome::Acknowledge(_)
    ));
    assert_eq!(client.message(), "c");
}

#[test]
fn a_socket_that_gets_no_voucher_ends_with_its_receipt() {
    let world = World::new();
    let (mut client, _) = world.opened(&["a", "b", "c"], Then::Ends, 20);
    assert_eq!(client.message(), "a");
    assert_eq!(client.message(), "b");
    client.need();
    world.sim.run_for(Duration::from_millis(PAUSE_MS_MAX + 1));
    assert_eq!(client.receipt("payment-close-ready"), (20, 20));
    world
        .sim
        .run_for(Duration::from_millis(SOCKET_CLOSE_MS_MAX + 1));
    client.closed(NORMAL);
    assert_eq!(world.figures().spent, 20);
}

#[test]
fn a_socket_without_a_credential_is_closed_in_time_and_nothing_moved() {
    let world = World::new();
    let mut client = world.open(&["a"], Then::Ends);
    assert_eq!(client.next(), None);
    world
        .sim
        .run_for(Duration::from_millis(SOCKET_UNPAID_MS_MAX + 1));
    assert_eq!(client.refusal(), (402, ProblemKind::PaymentRequired, 0));
    client.closed(POLICY);
    assert_eq!(world.store.channels().channel(&world.payer.channel()), None);
}

#[test]
fn what_comes_before_a_credential_is_told_what_can_be_paid() {
    let world = World::new();
    for first in [
        Incoming::Text("hello".to_owned()),
        Incoming::Text(r#"{"mpp":"payment-close-request"}"#.to_owned()),
        Incoming::Binary(Bytes::from_static(b"\0\xff junk")),
    ] {
        let mut client = world.open(&["a"], Then::Ends);
        client.send(first);
        assert_eq!(client.refusal(), (402, ProblemKind::PaymentRequired, 1));
        client.closed(POLICY);
    }
    assert_eq!(world.escrow.channels(), 0);
}

#[test]
fn a_first_frame_that_is_no_good_gets_its_exact_problem_and_nothing_moves() {
    let world = World::new();
    let challenge = world.challenge();
    let mut other_terms = challenge.clone();
    other_terms.params.expires = None;
    let stranger = EscrowPayer::new(9);
    for (credential, status, problem) in [
        (
            "Payment !".to_owned(),
            402,
            ProblemKind::MalformedCredential,
        ),
        ("Basic YTpi".to_owned(), 402, ProblemKind::PaymentRequired),
        (
            world.payer.voucher(&other_terms, 10),
            402,
            ProblemKind::InvalidChallenge,
        ),
        (
            stranger.voucher(&challenge, 10),
            410,
            ProblemKind::SessionChannelNotFound,
        ),
    ] {
        let mut client = world.open(&["a"], Then::Ends);
        client.pays(&credential);
        let (got, kind, _) = client.refusal();
        assert_eq!((got, kind), (status, problem), "{credential}");
        client.closed(POLICY);
    }
    assert_eq!(world.escrow.channels(), 0);
}

#[test]
fn what_is_wrong_in_the_middle_ends_the_socket_with_its_exact_problem_and_moves_nothing() {
    let other = EscrowPayer::new(2);
    for (n, status, problem, code) in [
        (0, 402, ProblemKind::SessionInvalidSignature, POLICY),
        (1, 402, ProblemKind::SessionInvalidSignature, POLICY),
        (2, 402, ProblemKind::SessionAmountExceedsDeposit, POLICY),
        (3, 400, ProblemKind::BadRequest, POLICY),
        (4, 400, ProblemKind::BadRequest, POLICY),
        (5, 413, ProblemKind::BodyTooLarge, TOO_BIG),
        (6, 402, ProblemKind::SessionDeltaTooSmall, POLICY),
        (7, 402, ProblemKind::MalformedCredential, POLICY),
    ] {
        let world = World::new();
        // Another payer's channel, which is as good.
        let challenge = world.challenge();
        let opening = other.open(&challenge, &fixtures::micro_usd(DEPOSIT), 20);
        assert!(matches!(
            world.ask("HEAD", Some(opening)),
            Outcome::Acknowledge(_)
        ));
        let (mut client, challenge) = world.opened(&["a"], Then::Listens, 20);
        assert_eq!(client.message(), "a");
        match n {
            0 => client.pays(&world.payer.forged(&challenge, 40, &[7; 64])),
            1 => client.pays(&other.voucher(&challenge, 60)),
            2 => client.pays(&world.payer.voucher(&challenge, DEPOSIT + 1)),
            3 => client.says(r#"{"mpp":"payment-receipt","data":{"spent":"0"}}"#),
            4 => client.says(r#"{"mpp":"payment-free"}"#),
            5 => client.send(Incoming::TooLong),
            6 => client.pays(&world.payer.voucher(&challenge, 19)),
            _ => client.pays("Payment %%%"),
        }
        let (got, kind, _) = client.refusal();
        assert_eq!((got, kind), (status, problem), "case {n}");
        client.closed(code);
        world.sim.run_until_idle();
        let figures = world.figures();
        assert_eq!((figures.accepted, figures.spent), (20, 10), "case {n}");
        assert_eq!(figures.reserved, 0, "case {n}");
        let others = world.store.channels().channel(&other.channel()).unwrap();
        assert_eq!(others.figures().accepted, 20, "case {n}");
    }
}

#[test]
fn a_client_that_goes_pays_for_what_had_left_and_for_one_piece_at_most_that_waited() {
    let world = World::new();
    let (mut client, _) = world.opened(&["a", "b", "c", "d"], Then::Ends, 100);
    assert_eq!(client.message(), "a");
    world.sim.run_until_idle();
    // The second one waits in the way.
    client.to = None;
    drop(client);
    world.sim.run_until_idle();
    let figures = world.figures();
    assert_eq!((figures.spent, figures.reserved), (20, 0));
}

#[test]
fn a_client_that_stops_reading_is_charged_for_what_left_and_let_go() {
    let world = World::new();
    let (client, _) = world.opened(&["a", "b", "c", "d"], Then::Ends, 100);
    world.sim.run_for(Duration::from_millis(
        STALL_MS_MAX * 2 + SOCKET_CLOSE_MS_MAX,
    ));
    let figures = world.figures();
    assert_eq!((figures.spent, figures.reserved), (10, 0));
    drop(client);
}

#[test]
fn a_close_in_the_middle_ends_the_delivery_first_and_captures_what_was_delivered() {
    let world = World::new();
    let (mut client, challenge) = world.opened(&["a"], Then::Listens, 100);
    assert_eq!(client.message(), "a");
    assert_eq!(world.figures().reserved, WINDOW);
    client.pays(&world.payer.close(&challenge, 100));
    assert_eq!(client.receipt("payment-close-ready"), (100, 10));
    assert_eq!(client.receipt("payment-receipt"), (100, 10));
    client.closed(NORMAL);
    assert_eq!(
        world.escrow.truth(&world.payer.channel()).unwrap().settled,
        10
    );
}

#[test]
fn a_wish_to_close_is_answered_with_what_was_spent() {
    let world = World::new();
    let (mut client, challenge) = world.opened(&["a"], Then::Listens, 100);
    assert_eq!(client.message(), "a");
    client.says(r#"{"mpp":"payment-close-request"}"#);
    assert_eq!(client.receipt("payment-close-ready"), (100, 10));
    client.pays(&world.payer.close(&challenge, 10));
    assert_eq!(client.receipt("payment-receipt"), (100, 10));
    client.closed(NORMAL);
}

#[test]
fn a_close_by_the_payee_fences_the_socket() {
    let world = World::new();
    let (mut client, _) = world.opened(&["a"], Then::Listens, 100);
    assert_eq!(client.message(), "a");
    let (gate, id) = (world.gate.clone(), world.payer.channel());
    let closing = async move { drop(gate.close_channel(id).await) };
    world.sim.env().spawner.spawn(Box::pin(closing));
    assert_eq!(client.receipt("payment-close-ready"), (100, 10));
    world.sim.run_for(Duration::from_secs(1));
    assert_eq!(world.phase(), PhaseName::Closed);
    assert_eq!(world.escrow.truth(&id).unwrap().settled, 10);
}

#[test]
fn a_handler_that_cannot_go_on_says_so_and_only_what_left_is_paid() {
    let world = World::new();
    let (mut client, _) = world.opened(&["a"], Then::Fails, 100);
    assert_eq!(client.message(), "a");
    assert_eq!(client.refusal(), (502, ProblemKind::UpstreamFailed, 0));
    client.closed(INTERNAL);
    assert_eq!(world.figures().spent, 10);
}

#[test]
fn nothing_runs_for_a_channel_that_is_used_up() {
    let world = World::new();
    let (mut client, challenge) = world.opened(&["a"], Then::Ends, 5);
    assert_eq!(client.need(), (20, 5));
    client.pays(&world.payer.voucher(&challenge, 20));
    assert_eq!(client.receipt("payment-receipt"), (20, 0));
    assert_eq!(client.message(), "a");
}

#[test]
fn what_a_payer_says_reaches_the_handler_wrapped_or_not() {
    let world = World::new();
    let (mut client, _) = world.opened(&["a"], Then::Listens, 20);
    client.message();
    client.says("plain");
    client.says(r#"{"mpp":"message","data":"wrapped"}"#);
    client.send(Incoming::Binary(Bytes::from_static(b"\x01")));
    let heard = client.heard.lock().unwrap().clone();
    let bytes = Message::from(Bytes::from_static(b"\x01"));
    assert_eq!(heard, ["plain".into(), "wrapped".into(), bytes]);
    assert_eq!(world.figures().accepted, 20);
}

#[test]
fn the_framing_of_the_mpp_crate_is_answered_in_kind() {
    let world = World::new();
    let challenge = world.challenge();
    let mut client = world.open(&["a"], Then::Ends);
    let deposit = fixtures::micro_usd(DEPOSIT);
    let opening = Frame::Authorization(world.payer.open(&challenge, &deposit, 20).into());
    client.says(&opening.to_text(Framing::Type).unwrap());
    let mut kinds = Vec::new();
    while let Some(Outgoing::Text(text)) = client.next() {
        let value = Value::parse(text.as_bytes()).unwrap();
        kinds.push(
            value
                .get("type")
                .and_then(Value::as_str)
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(kinds, ["receipt", "message", "receipt"]);
    assert_eq!(world.figures().spent, 10);
}

#[test]
fn a_socket_nobody_uses_ends_with_its_receipt() {
    let world = World::new();
    let (mut client, _) = world.opened(&["a"], Then::Listens, 20);
    client.message();
    world
        .sim
        .run_for(Duration::from_millis(SOCKET_IDLE_MS_MAX + 1));
    assert_eq!(client.receipt("payment-close-ready"), (20, 10));
}

#[test]
fn time_costs_while_a_socket_is_open() {
    let world = World::priced(1, "second");
    let (mut client, _) = world.opened(&["a"], Then::Listens, 100);
    client.message();
    world.sim.run_for(Duration::from_millis(5_500));
    client.says(r#"{"mpp":"payment-close-request"}"#);
    assert_eq!(client.receipt("payment-close-ready"), (100, 5));
}

#[test]
fn tokens_are_those_that_a_message_reports() {
    let world = World::priced(1, "token");
    let report = r#"{"usage":{"total_tokens":9}}"#;
    let (mut client, _) = world.opened(&["a", "b", report], Then::Ends, 100);
    for _ in 0..3 {
        client.message();
    }
    assert_eq!(client.receipt("payment-close-ready"), (100, 9));
}

/// Kills the process at every step of a socket's life.
#[test]
fn a_process_that_dies_in_the_middle_has_taken_what_was_served_less_a_window_at_most() {
    let mut served_in_all = 0;
    for steps in 0..120 {
        let mut world = World::new();
        let challenge = world.challenge();
        let deposit = fixtures::micro_usd(DEPOSIT);
        let signed = 60;
        let served = {
            let mut client = world.open(&["a", "b", "c", "d", "e", "f", "g"], Then::Ends);
            let opening = world.payer.open(&challenge, &deposit, signed);
            let frame = Frame::Authorization(opening.into());
            let text = frame.to_text(Framing::Mpp).unwrap();
            let to = client.to.as_ref().unwrap();
            assert!(to.try_send(Incoming::Text(text)).is_ok());
            let mut served = 0;
            for _ in 0..steps {
                world.sim.executor.step();
                while let Ok(out) = client.from.try_recv() {
                    let is_message = |text: &str| text.contains(r#""mpp":"message""#);
                    if matches!(&out, Outgoing::Text(text) if is_message(text)) {
                        served += EACH;
                    }
                }
            }
            served
        };
        world.restart();
        let figures = world.figures();
        assert!(
            served <= figures.spent + WINDOW,
            "{steps}: {served} of {figures:?}"
        );
        assert!(
            figures.spent <= signed && figures.accepted <= signed,
            "{steps}"
        );
        assert_eq!(figures.reserved, 0, "{steps}");
        if world.escrow.truth(&world.payer.channel()).is_some() && figures.deposit > 0 {
            let (gate, id) = (world.gate.clone(), world.payer.channel());
            world
                .sim
                .block_on(async { gate.close_channel(id).await.unwrap() });
            let captured = world.escrow.truth(&id).unwrap().settled;
            assert_eq!(captured, world.figures().spent, "{steps}: books differ");
        }
        served_in_all += served;
    }
    assert!(served_in_all > 0);
}
