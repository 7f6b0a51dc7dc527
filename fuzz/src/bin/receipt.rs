//! `Payment-Receipt`: what parses prints and reads back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{Receipt, limits};

fuzz_target!(|data: &[u8]| {
    for receipt in [Receipt::parse(data), Receipt::from_json(data)]
        .into_iter()
        .flatten()
    {
        let header = receipt.to_header();
        if header.len() > limits::RECEIPT_BYTES_MAX {
            continue;
        }
        let again = Receipt::parse(header.as_bytes()).expect("own receipt is read");
        assert_eq!(again, receipt);
        assert_eq!(again.to_header(), header);
    }
});
