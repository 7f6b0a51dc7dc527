//! Ledger orders: deterministic CBOR has one form for one order, so an order has one hash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_ledger::order::{Order, SignedOrder};

fuzz_target!(|data: &[u8]| {
    if let Ok(order) = Order::decode(data) {
        assert_eq!(order.encode(), data, "two forms of one order");
    }
    if let Ok(signed) = SignedOrder::from_bytes(data) {
        assert_eq!(signed.to_bytes(), data, "two forms of one signed order");
        assert_eq!(signed.order().encode(), signed.order_bytes());
        // Must not panic on any key and signature; that this verifies is beyond a fuzzer.
        assert!(signed.verify().is_err() || data.len() > 64);
    }
});
