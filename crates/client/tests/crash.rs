//! The power fails in the middle of a paid call; the next process finds it in the journal and
//! brings it to its end. Exactly one payment, whenever the power fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use stiver_client::{
    MoneyMoved, Options, Parts, PayLayer, PaymentClient,
    outbox::{HistoryFilter, LaneOutbox, Outbox, State, history},
    pins::FilePins,
    policy,
};
use stiver_method::payer::Payer;
use stiver_testkit::{fixtures, rail::HostileRail, simulation::Simulation};
use support::{Act, Server, URL, charge};
use tower_layer::Layer;
use tower_service::Service;

const HOME: &str = "/home";
const OUTBOX: &str = "/home/outbox";

struct Process {
    client: PaymentClient,
    outbox: Arc<dyn Outbox>,
}

fn start(simulation: &Simulation, rail: &HostileRail) -> Option<Process> {
    let env = simulation.env();
    let opened = simulation.block_on(async { LaneOutbox::open(Path::new(OUTBOX), &env).await });
    let outbox: Arc<dyn Outbox> = Arc::new(opened.ok()?);
    let payers: Vec<Arc<dyn Payer>> = vec![Arc::new(rail.payer("alice"))];
    let client = PaymentClient::new(Parts {
        env: env.clone(),
        payers,
        policy: Arc::new(policy::dangerous_allow_any_amount()),
        outbox: outbox.clone(),
        pins: Arc::new(FilePins::new(HOME, env)),
        options: Options::default(),
    });
    Some(Process { client, outbox })
}

fn call(simulation: &Simulation, process: &Process, server: &Server) -> Option<u16> {
    let mut service = PayLayer::new(process.client.clone()).layer(server.clone());
    let request = Request::post(URL).body(Full::new(Bytes::from_static(b"order")));
    let answer = simulation.block_on(service.call(request.unwrap()));
    let response = answer.ok()?;
    let status = response.status().as_u16();
    let read = simulation.block_on(response.into_body().collect());
    read.ok().map(|_| status)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_call_that_the_power_cuts_is_paid_at_most_once_and_never_forgotten(
        seed in any::<u64>(),
        changes in 0_u64..60,
        cut in 0..3,
    ) {
        let simulation = Simulation::new(seed);
        let rail = HostileRail::new("merchant", fixtures::usd());
        let first = start(&simulation, &rail).unwrap();
        let server = Server::new(simulation.env(), rail.clone(), first.outbox.clone());
        server.script([charge()]);
        server.then(match cut {
            0 => Act::Serve,
            1 => Act::ServeAndCut,
            _ => Act::ServeAndBreak,
        });
        simulation.disk.cut_power_after(changes);
        let answered = call(&simulation, &first, &server);
        let credentials = server.credentials();
        simulation.crash();
        drop(first);

        let second = start(&simulation, &rail).unwrap();
        let server = Server::new(simulation.env(), rail.clone(), second.outbox.clone());
        server.then(Act::Serve);
        let open = simulation.block_on(second.client.recover()).unwrap();
        // What was sent is known: in the open calls, or as final.
        let filter = HistoryFilter::default();
        let known = history(Path::new(OUTBOX), &simulation.env(), &filter).unwrap();
        prop_assert!(credentials == 0 || known.len() == 1, "a sent credential was forgotten");
        for entry in open {
            let moved = match entry.state {
                State::Unread => MoneyMoved::Yes,
                _ => MoneyMoved::Maybe,
            };
            prop_assert_eq!(entry.money_moved(), moved);
            let mut service = PayLayer::new(second.client.clone()).layer(server.clone());
            let resumed = service.resume::<Full<Bytes>, _>(entry.id);
            let resumed = simulation.block_on(resumed).unwrap();
            prop_assert_eq!(resumed.status().as_u16(), 200);
            let body = simulation.block_on(resumed.into_body().collect()).unwrap();
            prop_assert_eq!(body.to_bytes(), "goods");
        }
        let all = history(Path::new(OUTBOX), &simulation.env(), &filter).unwrap();
        let moved = rail.movements().len();
        prop_assert!(moved <= 1, "paid twice");
        if answered.is_some() {
            prop_assert_eq!(moved, 1);
        }
        for entry in all {
            prop_assert!(entry.state.is_final());
            let said = matches!(entry.state, State::Paid | State::Settled);
            prop_assert_eq!(said, moved == 1, "{}", entry.state);
        }
        prop_assert!(simulation.block_on(second.client.recover()).unwrap().is_empty());
    }
}
