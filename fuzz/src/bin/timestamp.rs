//! RFC 3339: what parses prints and reads back as the same instant.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{Timestamp, challenge::Expires};

fuzz_target!(|data: &[u8]| {
    let Some(text) = stiver_fuzz::text(data) else {
        return;
    };
    if let Ok(instant) = Timestamp::parse_rfc3339(text) {
        assert!(instant <= Timestamp::MAX);
        assert_eq!(Timestamp::parse_rfc3339(&instant.to_rfc3339()), Ok(instant));
        let expires = Expires::parse(text).expect("what is an instant can be an end");
        assert_eq!(expires.as_str(), text);
        assert_eq!(expires.instant(), instant);
    }
});
