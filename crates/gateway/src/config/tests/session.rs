//! Prices of sessions, `[route.session]` and `[sessions]`.

use super::{super::session::Session, *};

fn with(lines: &str) -> String {
    GOOD.replace("price = \"0.01 USD\"", lines)
}

/// The session of a route with these lines.
fn session(lines: &str) -> Option<Session> {
    let config = parse(&with(lines)).unwrap_or_else(|error| panic!("{lines}: {error}"));
    assert_eq!(fixed(&config, 0), (10_000, "usd"), "{lines}");
    priced(&config, 0).session.clone()
}

#[test]
fn a_price_per_request_is_paid_by_sessions_too() {
    for lines in [
        "price = \"0.01 USD per request\"",
        "price = \"0.01 USD\"\n[route.session]",
        "price = \"0.01 USD per request\"\n[route.session]",
    ] {
        let session = session(lines).unwrap();
        assert_eq!(session.price.units(), 10_000, "{lines}");
        assert_eq!(session.suggested_deposit, None, "{lines}");
        assert!(session.min_voucher.is_zero(), "{lines}");
    }
    let told = "price = \"0.01 USD\"\n[route.session]\nsuggested_deposit = \"1 USD\"\n\
                min_voucher = \"0.05 USD\"";
    let told = session(told).unwrap();
    assert_eq!(told.suggested_deposit.unwrap().units(), 1_000_000);
    assert_eq!(told.min_voucher.units(), 50_000);
    assert_eq!(
        session("price = \"0.01 USD\""),
        None,
        "nothing asks for one"
    );
}

/// Lines in the place of the price, the line that is named, and what is said of it.
const BROKEN_SESSIONS: &[(&str, usize, &str)] = &[
    ("price = \"0.01 USD per token\"", 10, "price"),
    ("price = \"0 USD per request\"", 10, "free"),
    ("price = \"0.0000001 USD per request\"", 10, "price"),
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
        "goes with a fixed price",
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
    let full = parse(FULL).unwrap().sessions;
    assert!(!full.hash_chain);
    assert_eq!(full.idle_close, Some(Duration::from_secs(86_400)));
    assert_eq!((full.channels_max, full.vouchers_per_second), (5000, 50));
}
