//! `X-Forwarded-For`: nobody but a trusted proxy says who asks, and what it says last counts.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use stiver_gateway::{
    config::address::IpBlock,
    limits::{Limits, Rules, Source},
};

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fuzz_target!(|data: &[u8]| {
    let limits = Limits::new(Rules {
        trusted_proxies: IpBlock::parse("10.0.0.0/8").into_iter().collect(),
        ..Rules::default()
    });
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", value);
        }
    }
    // A stranger's own word is not believed.
    assert_eq!(
        limits.source(Some(STRANGER), &headers),
        Source::of(STRANGER)
    );
    let _ = limits.source(Some(PROXY), &headers);
    // What the proxy next to us has put last counts, whatever stands before it.
    headers.append("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
    let client = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    assert_eq!(limits.source(Some(PROXY), &headers), Source::of(client));
});
