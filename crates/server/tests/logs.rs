//! What the gate tells its operator holds nothing that pays.
//!
//! Alone in its process: which log lines are wanted is remembered for the whole of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::panic, reason = "a test that cannot go on may panic")]
#![expect(dead_code, reason = "the machine is shared with the other tests")]

#[path = "gate/common.rs"]
mod common;

use std::{
    io,
    sync::{Arc, Mutex},
};

use stiver_server::grant::PayeeFailure;
use stiver_testkit::rail::{LookupStep, Step};
use tracing_subscriber::fmt::MakeWriter;

use common::{Answer, Ask, Run, World};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn logs_hold_no_credential_no_receipt_no_payload_and_no_key() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(captured.clone())
        .finish();
    let secrets = tracing::subscriber::with_default(subscriber, || {
        let world = World::new(1);
        let route = world.route();
        let mut secrets = vec!["ssssssss".to_owned(), "top-secret-key".to_owned()];
        for run in [
            Run::Answers(200),
            Run::Dies,
            Run::Fails(PayeeFailure::MayHaveRun),
            Run::Answers(200),
        ] {
            let ask = world.paid(&Ask::post("/order", b"one"), &route);
            let ask = ask.key(&format!("top-secret-key-{}", secrets.len()));
            world.handler.script([run]);
            if secrets.len() > 3 {
                world.rail.script([Step::lost_answer()]);
                world.rail.script_lookups([LookupStep::unavailable()]);
            }
            for _ in 0..3 {
                if let Answer::Delivered { receipt } = world.send(&ask, &route) {
                    secrets.push(receipt.unwrap().to_string());
                }
            }
            let header = String::from_utf8(ask.authorization[0].clone()).unwrap();
            secrets.push(header["Payment ".len()..].to_owned());
            world
                .send(&ask.credential(&header[..header.len() - 2]), &route)
                .refused();
        }
        let gate = world.gate.clone();
        world.run(async move { gate.recover().await }).unwrap();
        secrets
    });
    let logs = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    for expected in [
        "settled",
        "delivered",
        "delivery failed",
        "refunded",
        "refused",
    ] {
        assert!(logs.contains(expected), "{expected} is told: {logs}");
    }
    for secret in secrets {
        // A part of it is as bad as the whole.
        for part in secret.as_bytes().chunks(24).filter(|part| part.len() >= 8) {
            let part = std::str::from_utf8(part).unwrap();
            assert!(!logs.contains(part), "{part} is in the logs: {logs}");
        }
    }
}
