//! `Authorization`: finding the credential, reading it, and printing it again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{
    Credential,
    credential::{Presented, presented},
    limits,
};

fuzz_target!(|data: &[u8]| {
    let mut tokens = vec![data];
    match presented(stiver_fuzz::lines(data)) {
        Presented::None => {}
        Presented::One(token) => {
            tokens.push(token);
            // A second one is never overlooked.
            let second = b"Payment e30".as_slice();
            let both = stiver_fuzz::lines(data).chain([second]);
            assert_eq!(presented(both), Presented::Several);
        }
        Presented::Several => {}
    }
    let parsed = tokens
        .into_iter()
        .map(Credential::parse)
        .chain([Credential::from_json(data)]);
    for credential in parsed.flatten() {
        let header = credential.to_header();
        let Presented::One(token) = presented([header.as_bytes()]) else {
            panic!("own credential not found")
        };
        if token.len() > limits::CREDENTIAL_BYTES_MAX {
            continue;
        }
        let again = Credential::parse(token).expect("own credential is read");
        assert_eq!(again, credential);
        assert_eq!(again.to_header(), header);
    }
});
