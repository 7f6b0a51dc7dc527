//! Events and snapshots of the store, the ledger, the outbox and the journal of sessions, as a
//! damaged disk hands them back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_client::{outbox::OutboxMachine, session::SessionMachine};
use stiver_ledger::LedgerMachine;
use stiver_store::state::State;
use stiver_wal::Machine;

fuzz_target!(|data: &[u8]| {
    let Some((&which, rest)) = data.split_first() else {
        return;
    };
    match which % 4 {
        0 => read_back::<State>(rest),
        1 => read_back::<LedgerMachine>(rest),
        2 => read_back::<OutboxMachine>(rest),
        _ => read_back::<SessionMachine>(rest),
    }
});

/// What is accepted is written in one form, which reads back.
fn read_back<M: Machine>(data: &[u8]) {
    if let Ok(event) = M::decode_event(data) {
        let encode = |event| {
            let mut bytes = Vec::new();
            M::encode_event(event, &mut bytes);
            bytes
        };
        let bytes = encode(&event);
        let again = M::decode_event(&bytes).expect("own event is read");
        assert_eq!(encode(&again), bytes);
    }
    if let Ok(machine) = M::restore(data) {
        machine.check().expect("what was restored is sound");
        let bytes = machine.snapshot();
        let again = M::restore(&bytes).expect("own snapshot is read");
        assert_eq!(again.snapshot(), bytes);
    }
}
