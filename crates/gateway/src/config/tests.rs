//! Hostile and broken configuration files: each error names the line.

use std::path::Path;

use super::*;

const GOOD: &str = r#"
[gateway]
listen = "127.0.0.1:8402"
realm = "api.example.com"
upstream = "http://127.0.0.1:3000/base/"

[[route]]
path = "/v1/now"
methods = ["GET"]
price = "0.01 USD"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("stiver.toml"), Path::new("/srv"))
}

#[test]
fn a_small_file_gets_every_default() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/stiver-data"));
    assert_eq!(
        config.secret_file,
        Path::new("/srv/stiver-data/challenge.secret")
    );
    assert_eq!(config.upstream.authority, "127.0.0.1:3000");
    assert_eq!(config.upstream.base_path, "/base");
    assert!(!config.upstream.tls);
    assert_eq!(
        config.challenge_lifetime,
        Duration::from_secs(CHALLENGE_LIFETIME_S_DEFAULT)
    );
    let Access::Priced(priced) = &config.routes[0].access else {
        panic!("not priced")
    };
    assert_eq!(priced.amount.units(), 10_000);
    assert_eq!(priced.amount.currency().decimals(), 6);
    assert_eq!(priced.on_failure, OnFailure::Retry);
    assert_eq!(priced.keep_responses, StoreResponses::WithIdempotencyKey);
}

#[test]
fn further_currencies_price_routes() {
    let text = format!("{GOOD}\n[ledger.currencies]\nkwh = 3\n").replace("0.01 USD", "0.125 kwh");
    let Access::Priced(priced) = &parse(&text).unwrap().routes[0].access else {
        panic!("not priced")
    };
    assert_eq!(
        (priced.amount.units(), priced.amount.currency().code()),
        (125, "kwh")
    );
}

/// What is replaced in [`GOOD`], by what, the line that is named, and what is said of it.
const BROKEN: &[(&str, &str, usize, &str)] = &[
    (
        "listen = \"127.0.0.1:8402\"",
        "lisen = \"127.0.0.1:8402\"",
        3,
        "unknown field `lisen`",
    ),
    ("127.0.0.1:8402", "localhost", 3, "is no address"),
    ("127.0.0.1:8402", "0.0.0.0:8402", 3, "behind_tls_proxy"),
    ("\"api.example.com\"", "\"a|b\"", 4, "realm"),
    ("http://127.0.0.1:3000/base/", "ftp://x", 5, "scheme"),
    (
        "http://127.0.0.1:3000/base/",
        "127.0.0.1:3000",
        5,
        "upstream",
    ),
    (
        "http://127.0.0.1:3000/base/",
        "http://u:p@h/",
        5,
        "user name",
    ),
    ("http://127.0.0.1:3000/base/", "http://h/?q=1", 5, "query"),
    ("\"/v1/now\"", "\"v1/now\"", 8, "slash"),
    ("[\"GET\"]", "[\"get\"]", 9, "capitals"),
    ("\"0.01 USD\"", "\"0.01\"", 10, "price"),
    ("\"0.01 USD\"", "\"0.0000001 USD\"", 10, "price"),
    ("\"0.01 USD\"", "\"-1 USD\"", 10, "price"),
    ("\"0.01 USD\"", "\"1e3 USD\"", 10, "price"),
    ("\"0.01 USD\"", "\"1 XYZ\"", 10, "price"),
    ("\"0.01 USD\"", "\"0 USD\"", 10, "free"),
    ("\"0.01 USD\"", "0.01", 10, "expected"),
    ("price = \"0.01 USD\"", "", 8, "neither a price nor access"),
    ("price = \"0.01 USD\"", "access = \"gratis\"", 10, "must be"),
    (
        "price = \"0.01 USD\"",
        "price = \"1 USD\"\naccess = \"free\"",
        10,
        "both",
    ),
    (
        "price = \"0.01 USD\"",
        "access = \"free\"\non_failure = \"keep\"",
        10,
        "with a price",
    ),
    (
        "price = \"0.01 USD\"",
        "price = \"1 USD\"\non_failure = \"x\"",
        11,
        "on_failure",
    ),
    (
        "price = \"0.01 USD\"",
        "price = \"1 USD\"\nmax_attempts = 0",
        11,
        "from 1 to 100",
    ),
    (
        "price = \"0.01 USD\"",
        "price = \"1 USD\"\nkeep_responses = \"x\"",
        11,
        "keep_responses",
    ),
    (
        "price = \"0.01 USD\"",
        "price = \"1 USD\"\nresume_window_s = 0",
        11,
        "from 1 to",
    ),
    (
        "[gateway]",
        "[gateway]\nchallenge_lifetime_s = 9",
        3,
        "from 10 to 3600",
    ),
    ("[gateway]", "[gateway", 2, "expected"),
    ("[[route]]", "[[routes]]", 7, "unknown field `routes`"),
];

#[test]
fn each_broken_file_is_refused_with_its_line() {
    for (from, to, line, needle) in BROKEN {
        let text = GOOD.replacen(from, to, 1);
        let error = parse(&text)
            .err()
            .unwrap_or_else(|| panic!("accepted: {to}"));
        assert_eq!(error.line, *line, "{to}: {error}");
        assert!(error.problem.contains(needle), "{to}: {error}");
        assert!(error.to_string().starts_with("stiver.toml:"), "{error}");
    }
}

#[test]
fn a_file_without_routes_or_over_the_limit_is_refused() {
    let no_routes = GOOD.split("[[route]]").next().unwrap();
    assert!(parse(no_routes).unwrap_err().problem.contains("[[route]]"));
    let long = "#".repeat(usize::try_from(CONFIG_BYTES_MAX).unwrap() + 1);
    assert!(parse(&long).unwrap_err().problem.contains("longer"));
}
