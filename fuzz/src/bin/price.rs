//! What a request costs, by its body, query and headers; and what a pricing hook answers.
#![no_main]

use std::path::Path;

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use libfuzzer_sys::fuzz_target;
use stiver_gateway::{
    config::{
        Access, Config,
        pricing::{Price, Pricing},
    },
    pricing::{Inputs, evaluate, hook, priced_headers},
};

/// A price that looks everywhere.
const CONFIG: &str = r#"
[gateway]
listen = "127.0.0.1:8402"
realm = "r"
upstream = "http://127.0.0.1:3000"
[[route]]
path = "/"
[route.pricing]
base = "0.001 USD"
cap = "0.5 USD"
terms = [
    { json = "/n", default = 7, amount = "0.01 USD", per = 1000 },
    { json = "/a/0/b~1", default = 1, amount = "1 USD", per = 3 },
    { query = "n", default = 1, amount = "0.01 USD" },
    { header = "x-n", default = 1, amount = "0.01 USD" },
    { body_bytes = true, amount = "0.000001 USD", per = 1024 },
]
choices = [
    { json = "/m", values = { a = "0.01 USD" }, otherwise = "0.02 USD" },
    { query = "m", values = { a = "0.01 USD" }, otherwise = "0.02 USD" },
]
"#;

fn pricing() -> Pricing {
    let config = Config::parse(CONFIG, Path::new("stiver.toml"), Path::new("/srv"));
    let Access::Priced(priced) = &config.expect("it is valid").routes[0].access else {
        unreachable!("the route is priced")
    };
    let Price::Computed(pricing) = &priced.price else {
        unreachable!("the price is computed")
    };
    (**pricing).clone()
}

fuzz_target!(|data: &[u8]| {
    let pricing = pricing();
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let query = parts.next().and_then(stiver_fuzz::text);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(Ok(value)) = parts.next().map(HeaderValue::from_bytes) {
        headers.insert("x-n", value);
    }
    let body = parts.next().unwrap_or_default();
    let inputs = Inputs {
        query,
        headers: &headers,
        body: Some(body),
    };
    match evaluate(&pricing, &inputs) {
        Ok(amount) => {
            assert!(amount.units() >= pricing.base.units());
            assert!(amount.units() <= pricing.cap.units());
        }
        Err(unpriced) => assert!(!unpriced.to_string().is_empty()),
    }
    assert!(priced_headers(&pricing, &headers).is_some());
    let currency = pricing.cap.currency();
    if let Ok(hook::Answer::Amount(amount)) = hook::parse_answer(data, currency) {
        assert!(!amount.is_zero());
    }
});
