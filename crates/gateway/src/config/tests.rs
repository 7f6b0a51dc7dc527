//! Hostile and broken configuration files: each error names the line.

mod session;

use std::path::Path;

use stiver_server::route::{OnFailure, StoreResponses};

use super::{
    listener::Protocols,
    pricing::{HookFailure, Place, Price, Quantity, Round},
    route::{BodyMode, Period, Settle},
    upstream::HeaderSource,
    *,
};

/// A file that holds every key.
const FULL: &str = include_str!("tests/full.toml");

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

fn priced(config: &Config, route: usize) -> &Priced {
    match &config.routes[route].access {
        Access::Priced(priced) => priced,
        other => panic!("{other:?}"),
    }
}

fn fixed(config: &Config, route: usize) -> (u128, &str) {
    match &priced(config, route).price {
        Price::Fixed(amount) => (amount.units(), amount.currency().code()),
        other => panic!("{other:?}"),
    }
}

fn pricing(config: &Config, route: usize) -> &pricing::Pricing {
    match &priced(config, route).price {
        Price::Computed(pricing) => pricing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_small_file_gets_every_default() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/stiver-data"));
    assert_eq!(
        config.secret_file,
        Path::new("/srv/stiver-data/challenge.secret")
    );
    let upstream = &config.upstreams["default"];
    assert_eq!(upstream.url.to_string(), "http://127.0.0.1:3000/base");
    assert_eq!(config.challenge_lifetime, CHALLENGE_LIFETIME_DEFAULT);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].protocols, Protocols::Both);
    let route = &config.routes[0];
    assert_eq!(route.upstream, "default");
    assert_eq!(route.timeout, UPSTREAM_TIMEOUT_DEFAULT);
    assert_eq!(route.body, BodyMode::Spool);
    let priced = priced(&config, 0);
    assert_eq!(fixed(&config, 0), (10_000, "usd"));
    assert_eq!((priced.settle, priced.shadow), (Settle::Before, false));
    assert_eq!(priced.on_failure, OnFailure::Retry);
    assert_eq!(priced.keep_responses, StoreResponses::WithIdempotencyKey);
}

#[test]
fn further_currencies_price_routes() {
    let text = format!("{GOOD}\n[ledger.currencies]\nkwh = 3\n").replace("0.01 USD", "0.125 kwh");
    assert_eq!(fixed(&parse(&text).unwrap(), 0), (125, "kwh"));
}

/// What is replaced in [`GOOD`], by what, the line that is named, and what is said of it.
const BROKEN: &[(&str, &str, usize, &str)] = &[
    (
        "listen = \"127.0.0.1:8402\"",
        "lisen = \"127.0.0.1:8402\"",
        3,
        "unknown key `lisen` in [gateway]: did you mean `listen`?",
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
    (
        "\"0.01 USD\"",
        "0.01",
        10,
        "expected a string: write price = \"0.01 USD\"",
    ),
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
        "price = \"0.01 USD\"",
        "body = \"stream\"\n[route.pricing]\ncap = \"1 USD\"\n\
         terms = [{ body_bytes = true, amount = \"0.01 USD\" }]",
        10,
        "not bound when it streams",
    ),
    (
        "price = \"0.01 USD\"",
        "body = \"stream\"\n[route.pricing]\ncap = \"1 USD\"\n\
         choices = [{ json = \"/model\", values = { a = \"0.01 USD\" } }]",
        10,
        "not bound when it streams",
    ),
    (
        "price = \"0.01 USD\"",
        "access = \"free\"\nupgrade = true\nupstream = \"two\"\n[upstreams.two]\n\
         url = \"http://127.0.0.1:1\"\nhttp2 = true",
        8,
        "upgrade needs HTTP/1.1",
    ),
    (
        "price = \"0.01 USD\"",
        "price = \"1 USD\"\ndescriptions = { d_e = \"x\" }",
        11,
        "language tag",
    ),
    (
        "price = \"0.01 USD\"",
        "price = \"1 USD\"\ndescriptions = { de = \"x\", DE = \"y\" }",
        11,
        "twice",
    ),
    (
        "[gateway]",
        "[gateway]\nchallenge_lifetime_s = 9",
        3,
        "from 10 to 3600",
    ),
    ("[gateway]", "[gateway", 2, "expected"),
    (
        "[[route]]",
        "[[routes]]",
        7,
        "unknown key `routes` in the file: did you mean `[[route]]`?",
    ),
];

/// The same for the other tables, each written after [`GOOD`].
const BROKEN_TABLES: &[(&str, usize, &str)] = &[
    (
        "free_quota = { requests = 0, per = \"day\" }",
        11,
        "from 1 to",
    ),
    (
        "free_quota = { requests = 1, per = \"week\" }",
        11,
        "\"month\"",
    ),
    (
        "free_quota = { requests = 1 }",
        11,
        "per is missing in free_quota",
    ),
    (
        "rate_limit = { per_second = 5, brust = 1 }",
        11,
        "did you mean `burst`?",
    ),
    ("rate_limit = 5", 11, "write rate_limit = {"),
    ("upstream = \"other\"", 11, "there is default"),
    ("timeout_s = 0", 11, "from 1 to 3600"),
    ("settle = \"later\"", 11, "\"before\" or \"after\""),
    ("body = \"disk\"", 11, "\"spool\" or \"stream\""),
    ("realm = \"x\"", 11, "it belongs in [gateway]"),
    ("methods = 5", 11, "duplicate"),
    ("colour = \"red\"", 11, "its keys are path, methods, price"),
    (
        "[route.pricing]\ncap = \"1 USD\"",
        10,
        "both a price and pricing",
    ),
    ("[[listener]]", 11, "address is missing in [[listener]]"),
    (
        "[[listener]]\naddress = \"0.0.0.0:1\"",
        12,
        "behind_tls_proxy",
    ),
    ("[[listener]]\naddress = \"::1\"", 12, "no address"),
    (
        "[[listener]]\naddress = \"[::1]:1\"\nprotocols = []",
        13,
        "empty",
    ),
    (
        "[[listener]]\naddress = \"[::1]:1\"\nprotocols = [\"h3\"]",
        13,
        "h3",
    ),
    (
        "[[listener]]\naddress = \"[::1]:1\"\ntls = {key = \"\"}",
        13,
        "certificate",
    ),
    ("[upstreams.default]\nurl = \"http://h\"", 5, "keep one"),
    ("[upstreams.\"a b\"]\nurl = \"http://h\"", 12, "letters"),
    (
        "[upstreams.a]\nuri = \"http://h\"",
        12,
        "did you mean `url`?",
    ),
    ("[upstreams.a]", 11, "write url = "),
    (
        "[upstreams.a]\nurl = \"http://h\"\nca_file = \"\"",
        13,
        "empty",
    ),
    ("[limits]\nper_source = { per_second = 0 }", 12, "from 1 to"),
    (
        "[limits]\nper_sorce = { per_second = 1 }",
        12,
        "`per_source`",
    ),
    ("[limits]\nsettle = 1", 12, "it belongs in [[route]]"),
    ("[metrics]\nlisten = \"9402\"", 12, "no address"),
    (
        "[cors]\norigins = [\"https://app.example.com/\"]",
        12,
        "origin \"https://app.example.com/\" is none",
    ),
    (
        "[cors]\norigins = [\"app.example.com\"]",
        12,
        "origin \"app.example.com\" is none",
    ),
    (
        "[cors]\norigins = [\"*\", \"https://app.example.com\"]",
        12,
        "keep one or the other",
    ),
    (
        "[discovery]\ncategories = [\"Big\"]",
        12,
        "no lower-case word",
    ),
    ("[tracing]", 11, "otlp_endpoint is missing in [tracing]"),
    ("[tracing]\notlp_endpoint = \"grpc://h\"", 12, "scheme"),
    ("[ledger.currencies]\nUSD = 6", 12, "there already"),
];

/// What is set for an upstream, and what is said of it.
const BROKEN_HEADERS: &[(&str, &str)] = &[
    (
        "X-Api-Key = { value = \"hunter2\" }",
        "secrets do not stand in this file",
    ),
    (
        "Authorization = { value = \"hunter2\" }",
        "secrets do not stand in this file",
    ),
    ("X-A = { value = \"a\", prefix = \"b\" }", "prefix is for"),
    ("X-A = { value = \"a\\n\" }", "cannot stand in a header"),
    ("X-A = { env = \"A\", file = \"b\" }", "exactly one of"),
    ("X-A = {}", "exactly one of"),
    ("X-A = { env = \"\" }", "names no environment variable"),
    ("X-A = { env = \"A\", prefix = \"\\n\" }", "prefix"),
    ("\"X A\" = { env = \"A\" }", "no name of a header"),
    ("Host = { value = \"h\" }", "gateway's own"),
    ("X-A = { evn = \"A\" }", "did you mean `env`?"),
];

/// `[route.pricing]` and what is said of it.
const BROKEN_PRICING: &[(&str, &str)] = &[
    ("cap = \"1 USD\"", "no terms, choices or hook"),
    (
        "terms = [{ query = \"n\", amount = \"1 USD\" }]",
        "write cap =",
    ),
    (
        "cap = \"0 USD\"\nterms = [{ query = \"n\", amount = \"1 USD\" }]",
        "cap is zero",
    ),
    (
        "cap = \"1 kwh\"\nterms = [{ query = \"n\", amount = \"1 USD\" }]",
        "kwh",
    ),
    (
        "cap = \"1 USD\"\nterms = [{ amount = \"1 USD\" }]",
        "body_bytes = true",
    ),
    (
        "cap = \"1 USD\"\nterms = [{ query = \"n\" }]",
        "amount is missing in an entry of terms",
    ),
    (
        "cap = \"1 USD\"\nterms = [{ query = \"n\", json = \"/a\", amount = \"1 USD\" }]",
        "one of json",
    ),
    (
        "cap = \"1 USD\"\nterms = [{ json = \"a\", amount = \"1 USD\" }]",
        "no pointer",
    ),
    (
        "cap = \"1 USD\"\nterms = [{ json = \"/~2\", amount = \"1 USD\" }]",
        "no pointer",
    ),
    (
        "cap = \"1 USD\"\nterms = [{ query = \"n\", amount = \"1 USD\", per = 0 }]",
        "per is 0",
    ),
    (
        "cap = \"1 USD\"\nterms = [{ query = \"n\", amount = \"1 USD\", default = -1 }]",
        "-1",
    ),
    (
        "cap = \"1 USD\"\nterms = [{ header = \"a b\", amount = \"1 USD\" }]",
        "no name",
    ),
    (
        "cap = \"1 USD\"\nterms = [{ body_bytes = true, default = 1, amount = \"1 USD\" }]",
        "goes with none",
    ),
    (
        "choices = [{ query = \"n\", values = {} }]",
        "values is empty",
    ),
    (
        "choices = [{ query = \"n\", values = { a = 1 } }]",
        "expected a string: write choices",
    ),
    (
        "choices = [{ query = \"n\", values = { a = \"1 XYZ\" } }]",
        "XYZ",
    ),
    (
        "choices = [{ query = \"n\", values = { a = \"0 USD\" } }]",
        "cap is zero",
    ),
    (
        "base = \"2 USD\"\ncap = \"1 USD\"\nhook = { url = \"http://h\" }",
        "above the cap",
    ),
    ("hook = { url = \"http://h\" }", "write cap ="),
    (
        "cap = \"1 USD\"\nhook = { url = \"http://h\", timeout_ms = 0 }",
        "from 1 to",
    ),
    (
        "cap = \"1 USD\"\nhook = { url = \"http://h\", on_failure = \"keep\" }",
        "\"cap\"",
    ),
    (
        "cap = \"1 USD\"\nhook = { url = \"http://h\" }\n\
         terms = [{ query = \"n\", amount = \"1 USD\" }]",
        "neither terms nor choices",
    ),
];

#[test]
fn every_table_is_checked() {
    for (added, line, needle) in BROKEN_TABLES {
        let error = parse(&format!("{GOOD}{added}\n")).expect_err(added);
        assert_eq!(error.line, *line, "{added}: {error}");
        assert!(error.problem.contains(needle), "{added}: {error}");
    }
    for (header, needle) in BROKEN_HEADERS {
        let text = format!("{GOOD}[upstreams.a]\nurl = \"http://h\"\nset_headers.{header}\n");
        let error = parse(&text).expect_err(header);
        assert_eq!(error.line, 13, "{header}: {error}");
        assert!(error.problem.contains(needle), "{header}: {error}");
        assert!(!error.problem.contains("hunter2"), "{error}");
    }
    for (body, needle) in BROKEN_PRICING {
        let head = GOOD.replace("price = \"0.01 USD\"", "");
        let text = format!("{head}[route.pricing]\n{body}\n[ledger.currencies]\nkwh = 3\n");
        let error = parse(&text).expect_err(body);
        assert!(error.line >= 11, "{body}: {error}");
        assert!(error.problem.contains(needle), "{body}: {error}");
    }
}

#[test]
fn every_key_reaches_its_checked_value() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/data"));
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.spool_total_bytes, 128 * 1024 * 1024);
    assert!(config.trusted_proxies[1].contains("fd12::1".parse().unwrap()));
    let listeners: Vec<_> = config.listeners.iter().map(|row| row.protocols).collect();
    assert_eq!(
        listeners,
        [Protocols::Both, Protocols::Http2, Protocols::Http1]
    );
    let tls = config.listeners[1].tls.as_ref().unwrap();
    assert_eq!(tls.key, Path::new("/srv/key.pem"));
    let models = &config.upstreams["models"];
    assert_eq!(models.timeout, Duration::from_secs(120));
    let names: Vec<_> = models
        .set_headers
        .iter()
        .map(|row| row.name.as_str())
        .collect();
    assert_eq!(names, ["authorization", "x-key", "x-tenant"]);
    assert!(
        matches!(&models.set_headers[0].value, HeaderSource::Secret { prefix, .. }
        if prefix == "Bearer ")
    );
    let limits = &config.limits;
    assert_eq!(
        limits.total.map(|rate| (rate.per_second, rate.burst)),
        Some((2000, 2000))
    );
    assert_eq!(config.discovery.title, "Everything");
    assert_eq!(config.cors.origins.len(), 2);
    assert!(!config.cors.any);
    assert_eq!(config.discovery.categories, ["machine-data"]);
    let tracing = config.tracing.as_ref().unwrap();
    assert_eq!(tracing.sample_ratio_percent, 5);

    let timeouts: Vec<_> = config
        .routes
        .iter()
        .map(|row| row.timeout.as_secs())
        .collect();
    assert_eq!(timeouts, [3, 7, 7, 120, 7, 120, 120]);
    let limits: Vec<_> = config.routes.iter().map(|row| row.body_limit).collect();
    assert_eq!(limits, [2048, 2048, 4096, 2048, 2048, 2048, 2048]);
    assert_eq!(config.routes[0].body, BodyMode::Stream);
    assert!(config.routes[0].upgrade);
    let reading = priced(&config, 2);
    assert_eq!((reading.settle, reading.shadow), (Settle::After, false));
    assert_eq!(
        reading.free_quota.map(|quota| quota.per),
        Some(Period::Month)
    );
    assert!(priced(&config, 3).shadow, "the gateway's choice");

    let chat = pricing(&config, 3);
    assert_eq!((chat.base.units(), chat.cap.units()), (1000, 500_000));
    assert_eq!(chat.round, Round::Down);
    assert_eq!(
        chat.terms[0].of,
        Quantity::Told(Place::Json("/max_tokens".to_owned()))
    );
    assert_eq!(
        (chat.terms[0].default, chat.terms[0].per),
        (Some(4096), 1000)
    );
    assert_eq!(chat.terms[3].of, Quantity::BodyBytes);
    assert_eq!(chat.choices[0].values["large.1"].units(), 30_000);
    assert_eq!(chat.choices[0].otherwise, None);
    let hook = pricing(&config, 4).hook.as_ref().unwrap();
    assert_eq!(hook.on_failure, HookFailure::Cap);
    assert_eq!(hook.timeout, Duration::from_millis(250));
}

#[test]
fn a_price_by_choices_alone_has_the_dearest_as_its_cap() {
    let head = GOOD.replace("price = \"0.01 USD\"", "");
    let text = format!(
        "{head}[route.pricing]\nbase = \"1 USD\"\n\
         choices = [{{ query = \"a\", values = {{ x = \"2 USD\" }}, otherwise = \"3 USD\" }},\n\
         {{ query = \"b\", values = {{ y = \"0.5 USD\" }} }}]\n"
    );
    let config = parse(&text).unwrap();
    assert_eq!(pricing(&config, 0).cap.units(), 4_500_000);
}

#[test]
fn routes_lead_to_the_only_upstream_or_say_which() {
    let two = "[upstreams.a]\nurl = \"http://a\"\n[upstreams.b]\nurl = \"http://b\"\n";
    let head = GOOD.replace("upstream = \"http://127.0.0.1:3000/base/\"", "");
    let error = parse(&head).unwrap_err();
    assert!(error.problem.contains("there is no upstream"), "{error}");
    let one = parse(&format!("{head}[upstreams.only]\nurl = \"http://a\"\n")).unwrap();
    assert_eq!(one.routes[0].upstream, "only");
    let error = parse(&format!("{head}{two}")).unwrap_err();
    assert!(error.problem.contains("there is a, b"), "{error}");
    let named = head.replace("[\"GET\"]", "[\"GET\"]\nupstream = \"b\"");
    assert_eq!(
        parse(&format!("{named}{two}")).unwrap().routes[0].upstream,
        "b"
    );
}

/// The keys that `schema` knows and a text does not hold.
fn keys_missing_in(text: &str) -> Vec<String> {
    fn walk(table: &schema::Table, text: &str, missing: &mut Vec<String>) {
        for key in table.keys {
            if !text.contains(key.name) {
                missing.push(format!("{} in {}", key.name, table.name));
            }
            match key.holds {
                schema::Holds::Table(inner)
                | schema::Holds::List(inner)
                | schema::Holds::Named(inner) => walk(inner, text, missing),
                schema::Holds::Value | schema::Holds::Values => {}
            }
        }
    }
    let mut missing = Vec::new();
    walk(&schema::FILE, text, &mut missing);
    missing
}

#[test]
fn the_full_file_and_the_documentation_hold_every_key() {
    assert_eq!(keys_missing_in(FULL), Vec::<String>::new());
    let docs = include_str!("../../../../docs/configuration.md");
    assert_eq!(keys_missing_in(docs), Vec::<String>::new());
}

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

/// What is printed is read again as the same configuration, and printed the same.
#[test]
fn a_printed_configuration_parses_to_the_same() {
    for text in [GOOD, FULL] {
        let config = parse(text).unwrap();
        let printed = config.to_toml();
        let again = parse(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(again, config, "{printed}");
        assert_eq!(again.to_toml(), printed);
        assert_eq!(again.to_json(), config.to_json());
    }
    let json = parse(FULL).unwrap().to_json();
    let header = &json["upstreams"]["models"]["set_headers"]["authorization"];
    assert_eq!(header["env"], "API_KEY");
    assert_eq!(json["gateway"]["shutdown_grace_s"], 9);
    assert_eq!(json["limits"]["total"]["burst"], 2000);
}
