//! `WWW-Authenticate`: what parses prints, in a line of its own, and reads back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{Challenge, limits};

fuzz_target!(|data: &[u8]| {
    let parsed = Challenge::parse_all(stiver_fuzz::lines(data));
    assert!(parsed.len() <= limits::CHALLENGES_MAX + 1);
    for challenge in parsed.into_iter().flatten() {
        let header = challenge.to_header();
        assert!(
            header.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "not a field value"
        );
        if header.len() > limits::CHALLENGE_HEADER_BYTES_MAX {
            continue;
        }
        let mut again = Challenge::parse_all([header.as_bytes()]);
        let Some(Ok(mut again_read)) = again.pop() else {
            panic!("own header refused: {header}")
        };
        assert!(again.is_empty(), "one challenge became several: {header}");
        assert_eq!(again_read.to_header(), header);
        // A caption may lose characters on the way; nothing else may.
        again_read
            .params
            .description
            .clone_from(&challenge.params.description);
        assert_eq!(again_read, challenge);
    }
});
