//! The store's events and snapshots, as a damaged disk may hand them back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_store::state::State;
use stiver_wal::Machine;

fuzz_target!(|data: &[u8]| {
    if let Ok(event) = State::decode_event(data) {
        let mut bytes = Vec::new();
        State::encode_event(&event, &mut bytes);
        let again = State::decode_event(&bytes).expect("own event is read");
        let mut twice = Vec::new();
        State::encode_event(&again, &mut twice);
        assert_eq!(twice, bytes);
    }
    if let Ok(state) = State::restore(data) {
        let bytes = state.snapshot();
        let again = State::restore(&bytes).expect("own snapshot is read");
        assert_eq!(again.snapshot(), bytes);
    }
});
