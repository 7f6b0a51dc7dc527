//! `Accept-Payment`: printing, and the laws of ranking.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{
    accept::AcceptPayment,
    limits,
    name::{IntentName, MethodName},
};

fuzz_target!(|data: &[u8]| {
    let Ok(Some(accept)) = AcceptPayment::parse(stiver_fuzz::lines(data)) else {
        return;
    };
    let header = accept.to_header();
    if header.len() <= limits::ACCEPT_PAYMENT_BYTES_MAX {
        let again = AcceptPayment::parse([header.as_bytes()]).expect("own header is read");
        assert_eq!(again.as_ref(), Some(&accept));
    }
    // Offer what the client named, and something it may never have heard of.
    let stranger = MethodName::new("stranger").expect("a lower-case word is a method");
    let charge = IntentName::charge();
    let mut offers = vec![(&stranger, &charge)];
    for range in accept.ranges() {
        let method = range.method.as_ref().unwrap_or(&stranger);
        offers.push((method, range.intent.as_ref().unwrap_or(&charge)));
    }
    let ranked = accept.rank(&offers);
    let weight = |index: &usize| {
        accept
            .weight(offers[*index].0, offers[*index].1)
            .unwrap_or(0)
    };
    for pair in ranked.windows(2) {
        let (first, second) = (weight(&pair[0]), weight(&pair[1]));
        assert!(
            first > second || (first == second && pair[0] < pair[1]),
            "out of order"
        );
    }
    for (index, (method, intent)) in offers.iter().enumerate() {
        let acceptable = accept
            .weight(method, intent)
            .is_some_and(|weight| weight > 0);
        assert_eq!(ranked.contains(&index), acceptable);
    }
});
