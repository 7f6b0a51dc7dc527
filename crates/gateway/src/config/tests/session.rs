//! Prices of sessions, `[route.session]` and `[sessions]`.

use super::{
    super::session::{Session, UsageAt},
    *,
};

fn with(lines: &str) -> String {
    GOOD.replace("price = \"0.01 USD\"", lines)
}

/// The session of a route with these lines.
fn session(lines: &str) -> (Price, Option<Session>) {
    let config = parse(&with(lines)).unwrap_or_else(|error| panic!("{lines}: {error}"));
    let priced = priced(&config, 0);
    (priced.price.clone(), priced.session.clone())
}

#[test]
fn a_whole_price_per_request_is_paid_both_ways() {
    let whole = Currency::new("usd", 6).unwrap().units(10_000);
    for lines in [
        "price = \"0.01 USD per request\"",
        "price = \"0.01 USD\"\n[route.session]",
        "price = \"0.01 USD per request\"\n[route.session]",
    ] {
        let (price, session) = session(lines);
        assert_eq!(price, Price::Fixed(whole.clone()), "{lines}");
        let session = session.unwrap();
        assert_eq!(session.per_request(), Some(&whole), "{lines}");
        assert_eq!(session.suggested_deposit, None, "{lines}");
        assert!(session.min_voucher.is_zero(), "{lines}");
    }
    let told = "price = \"0.01 USD\"\n[route.session]\nsuggested_deposit = \"1 USD\"\n\
                min_voucher = \"0.05 USD\"";
    let told = session(told).1.unwrap();
    assert_eq!(told.suggested_deposit.unwrap().units(), 1_000_000);
    assert_eq!(told.min_voucher.units(), 50_000);
    let (_, none) = session("price = \"0.01 USD\"");
    assert_eq!(none, None, "nothing asks for one");
}

#[test]
fn every_unit_is_charged_exactly_and_by_sessions_only() {
    for (price, amount, per, unit) in [
        ("0.000002 USD per byte", 2, 1, "byte"),
        ("0.0001 USD per KB", 1, 10, "byte"),
        ("0.0001 USD per MB", 1, 10_000, "byte"),
        ("1 USD per 3 events", 1_000_000, 3, "event"),
        ("0.000001 USD per millisecond", 1, 1, "millisecond"),
        ("0.0002 USD per second", 200, 1, "second"),
        ("0.01 USD per minute", 500, 3, "second"),
        ("3.6 USD per hour", 1_000, 1, "second"),
        ("0.000002 USD per token", 2, 1, "token"),
        ("0.002 USD per 1000 tokens", 2, 1, "token"),
        ("0.0000003 USD per token", 3, 10, "token"),
    ] {
        let lines = format!("price = \"{price}\"\n[route.session]\nwindow = \"0.5 USD\"");
        let (fixed, session) = session(&lines);
        assert_eq!(fixed, Price::Session, "{price}");
        let session = session.unwrap();
        assert_eq!(session.per_request(), None, "{price}");
        assert_eq!(session.window.as_ref().unwrap().units(), 500_000);
        let reads = matches!(unit, "event" | "token");
        assert_eq!(session.reads_answers(), reads, "{price}");
        let [told] = &session.prices()[..] else {
            panic!("{price}: {session:?}")
        };
        assert_eq!((told.amount.units(), told.per), (amount, per), "{price}");
        assert_eq!(told.unit.as_deref(), Some(unit), "{price}");
    }
}

/// Lines in the place of the price, the line that is named, and what is said of it.
const BROKEN_SESSIONS: &[(&str, usize, &str)] = &[
    ("price = \"0.01 USD per token\"", 10, "window ="),
    ("price = \"0 USD per request\"", 10, "free"),
    ("price = \"0.01 per token\"", 10, "name its currency"),
    ("price = \"1e3 USD per second\"", 10, "write digits"),
    ("price = \"-1 USD per second\"", 10, "write digits"),
    ("price = \"1 USD per 0 seconds\"", 10, "plain digits"),
    ("price = \"1 USD per 1.5 seconds\"", 10, "plain digits"),
    ("price = \"1 USD per kwh\"", 10, "is not counted: units are"),
    (
        "price = \"1 USD per Image\"",
        10,
        "is not counted: units are",
    ),
    ("price = \"1 USD per \"", 10, "is not counted: units are"),
    (
        "price = \"0.0000000000000000000000000001 USD per token\"",
        10,
        "too fine",
    ),
    ("prices = []", 10, "prices is empty"),
    (
        "prices = [\"1 USD per second\", \"2 USD per minute\"]",
        10,
        "count the same",
    ),
    (
        "prices = [\"1 USD per second\", \"1 kwh per byte\"]",
        10,
        "of one currency",
    ),
    (
        "price = \"1 USD\"\nprices = [\"1 USD per byte\"]",
        10,
        "both price and prices",
    ),
    (
        "price = \"1 USD\"\n[route.session]\nwindow = \"1 USD\"",
        12,
        "reserved as a whole",
    ),
    (
        "price = \"1 USD per byte\"\nsettle = \"after\"\n[route.session]\nwindow = \"1 USD\"",
        10,
        "settle does not go with this price",
    ),
    ("price = \"1 XYZ per request\"", 10, "XYZ"),
    (
        "price = \"1 USD per request\"\naccess = \"free\"",
        10,
        "both a price and access",
    ),
    (
        "access = \"free\"\n[route.session]",
        11,
        "both [route.session] and access",
    ),
    (
        "price = \"1 USD\"\n[route.session]\nsuggested_deposit = \"1 kwh\"",
        12,
        "of another currency",
    ),
    (
        "price = \"1 USD\"\n[route.session]\ndeposit_min = \"2 USD\"\ndeposit_max = \"1 USD\"",
        13,
        "above deposit_max",
    ),
    (
        "price = \"1 USD\"\n[route.session]\nsuggested_deposit = \"1 USD\"\n\
         deposit_min = \"2 USD\"",
        12,
        "not within",
    ),
    (
        "price = \"1 USD\"\n[route.session]\ndeposit_max = \"1 kwh\"",
        12,
        "of another currency",
    ),
    (
        "price = \"1 USD\"\n[route.session]\nmin_voucher = \"0 USD\"",
        12,
        "leave it out",
    ),
    (
        "price = \"1 USD\"\n[route.session]\nminvoucher = \"1 USD\"",
        12,
        "`min_voucher`",
    ),
    (
        "[route.session]\n[route.pricing]\n\
         choices = [{ query = \"a\", values = { x = \"2 USD\" } }]",
        10,
        "goes with price or prices",
    ),
    (
        "price = \"1 USD\"\n[sessions]\ngrace_s = 59",
        12,
        "from 60 to",
    ),
    (
        "price = \"1 USD\"\n[sessions]\nidle_close_s = 0",
        12,
        "from 1 to",
    ),
    (
        "price = \"1 USD\"\n[sessions]\nsettle_after_units = 0",
        12,
        "from 1 to",
    ),
    (
        "price = \"1 USD\"\n[sessions]\nchannels_max = 1000001",
        12,
        "from 1 to",
    ),
    (
        "price = \"1 USD\"\n[sessions]\nvouchers_per_second = 0",
        12,
        "from 1 to",
    ),
];

#[test]
fn each_broken_session_is_refused_with_its_line() {
    for (lines, line, needle) in BROKEN_SESSIONS {
        let text = format!("{}\n[ledger.currencies]\nkwh = 3\n", with(lines));
        let error = parse(&text).expect_err(lines);
        assert!(error.problem.contains(needle), "{lines}: {error}");
        assert_eq!(error.line, *line, "{lines}: {error}");
    }
}

#[test]
fn what_holds_for_all_channels_has_defaults() {
    let sessions = parse(GOOD).unwrap().sessions;
    assert!(sessions.hash_chain);
    assert_eq!(sessions.grace, Duration::from_secs(900));
    assert_eq!((sessions.idle_close, sessions.settle_quiet), (None, None));
    assert_eq!(sessions.settle_after_units, None);
    assert_eq!(sessions.settle_after_requests, None);
    let full = parse(FULL).unwrap().sessions;
    assert!(!full.hash_chain);
    assert_eq!(full.idle_close, Some(Duration::from_secs(86_400)));
    assert_eq!(full.settle_after_requests, Some(1_000));
    assert_eq!((full.channels_max, full.vouchers_per_second), (5000, 50));
}

#[test]
fn what_leaves_http_may_be_priced_by_what_is_delivered() {
    let lines = "price = \"1 USD per event\"\nupgrade = true\n[route.session]\nwindow = \"2 USD\"";
    let (_, session) = session(lines);
    assert!(session.is_some_and(|it| it.per_request().is_none()));
}

#[test]
fn a_price_per_request_may_be_below_one_base_unit_and_only_sessions_pay_it() {
    let (price, session) = session("price = \"0.0000004 USD per request\"");
    assert_eq!(price, Price::Session);
    let session = session.unwrap();
    assert_eq!(
        (session.per_request(), session.window.as_ref()),
        (None, None)
    );
    let asked = session.requests().unwrap();
    assert_eq!((asked.amount.units(), asked.per), (2, 5));
}

/// Meters that are reported: a price, and where.
const ENERGY: &str = "prices = [\"0.25 USD per kWh\", \"0.01 USD per minute\"]\n[route.session]\n\
                      window = \"0.5 USD\"\n[route.session.usage]\n";

#[test]
fn units_that_are_reported_say_where() {
    let lines = format!("{ENERGY}kWh = {{ json = \"/wh\", in = \"Wh\", adds = true }}");
    let found = session(&lines).1.unwrap();
    let usage = &found.usage["kWh"];
    assert_eq!(usage.at, UsageAt::Json("/wh".to_owned()));
    assert!(usage.adds && usage.in_watt_hours && found.reads_answers());
    assert_eq!(found.prices()[0].unit.as_deref(), Some("kWh"));
    let lines = format!("{ENERGY}kWh = {{ trailer = \"X-Energy\" }}");
    let found = session(&lines).1.unwrap();
    let name = http::HeaderName::from_static("x-energy");
    assert_eq!(found.usage["kWh"].at, UsageAt::Trailer(name));
    assert!(!found.reads_answers());
    for (lines, said) in [
        ("", "say where the upstream reports each kWh"),
        ("kWh = {}", "say one of json"),
        ("kWh = { json = \"/a\", header = \"b\" }", "say one of json"),
        ("kWh = { json = \"a\" }", "is no pointer"),
        ("kWh = { header = \"a b\" }", "no name of a field"),
        (
            "kWh = { header = \"a\", adds = true }",
            "adds goes with json",
        ),
        (
            "kWh = { header = \"a\", in = \"J\" }",
            "only kWh is told in Wh",
        ),
        (
            "kWh = { header = \"a\" }\nimage = { header = \"b\" }",
            "no price is per image",
        ),
        (
            "kWh = { header = \"a\" }\nsecond = { header = \"b\" }",
            "counted by the gateway",
        ),
        ("kWh = { haeder = \"a\" }", "haeder"),
    ] {
        let error = parse(&with(&format!("{ENERGY}{lines}")))
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{lines}: {error}");
    }
}
