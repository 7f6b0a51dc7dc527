//! Questions to a ledger, its answers and its receipts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::Receipt;
use stiver_ledger::{id::LedgerId, receipt::ReceiptBody};
use stiver_method::key::Ed25519Key;
use stiver_method_ledger::{
    query::{Answer, Query},
    receipt::verify_receipt,
};

fuzz_target!(|data: &[u8]| {
    if let Some(query) = Query::decode(data) {
        assert_eq!(query.encode(), data, "two forms of one question");
    }
    if let Ok(body) = ReceiptBody::decode(data) {
        assert_eq!(body.encode(), data, "two forms of one receipt");
    }
    let _ = Answer::parse(data, LedgerId::from_bytes([1; 16]));
    if let Ok(receipt) = Receipt::from_json(data) {
        let key = Ed25519Key::from_seed(&[9; 32]).did();
        assert!(verify_receipt(&receipt, &key).is_err(), "a forged receipt");
    }
});
