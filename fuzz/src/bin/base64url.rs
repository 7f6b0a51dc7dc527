//! Base64url: one text for one value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::base64url::{decode, encode};

fuzz_target!(|data: &[u8]| {
    if let Ok(bytes) = decode(data) {
        assert_eq!(encode(&bytes).as_bytes(), data, "two texts for one value");
    }
    assert_eq!(decode(encode(data).as_bytes()).as_deref(), Ok(data));
});
