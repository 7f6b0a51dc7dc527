//! Redirects to other origins, and what is sent again before anything is paid.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]
#![allow(dead_code, reason = "what the tests share is more than this file uses")]

mod support;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use stiver_client::{CallError, MoneyMoved, Options, Redirects};
use support::{Act, Price, Setup, URL, World, charge, fails};

const OTHER: &str = "https://other.example/data";

fn to(place: &str) -> Act {
    Act::Say(307, vec![("location", place.to_owned())], None)
}

fn world(redirects: Redirects, script: impl IntoIterator<Item = Act>) -> World {
    let mut options = Options::default();
    options.redirects = redirects;
    let world = World::new(Setup {
        options,
        ..Setup::default()
    });
    world.server.script(script);
    world
}

fn personal() -> Request<Full<Bytes>> {
    Request::post(URL)
        .header("authorization", "Bearer app")
        .header("cookie", "session=1")
        .header("x-api-key", "secret")
        .header("accept-language", "de")
        .header("content-type", "text/plain")
        .body(Full::new(Bytes::from_static(b"order")))
        .unwrap()
}

/// A challenge whose realm names no host.
fn charge_anywhere() -> Act {
    let price = Price {
        realm: "a shop".into(),
        ..Price::default()
    };
    Act::Charge(vec![price], None)
}

#[test]
fn what_says_who_asks_stays_with_the_first_origin() {
    let world = world(Redirects::AnyOrigin, [to(OTHER), Act::Free]);
    assert_eq!(world.send(personal()).unwrap().status, 200);
    let seen = world.server.seen();
    assert_eq!(seen[0].headers["authorization"], "Bearer app");
    assert_eq!(seen[1].path, OTHER);
    for name in ["authorization", "cookie", "x-api-key"] {
        assert!(!seen[1].headers.contains_key(name), "{name}");
    }
    assert_eq!(seen[1].headers["accept-language"], "de");
    assert_eq!(seen[1].headers["content-type"], "text/plain");
    assert_eq!(seen[1].body, "order");
}

#[test]
fn nothing_is_paid_where_a_redirect_led_even_back_at_the_first_origin() {
    for places in [&[OTHER][..], &[OTHER, URL], &[OTHER, "/within"]] {
        let script = places.iter().map(|place| to(place));
        let world = world(
            Redirects::AnyOrigin,
            script.chain([charge_anywhere(), Act::Serve]),
        );
        let error = fails(world.get(), MoneyMoved::No);
        let CallError::PaymentElsewhere { from, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(from.to_string(), "https://api.example");
        assert!(world.server.paid().is_empty());
        assert!(world.outbox.history().is_empty());
    }
}

#[test]
fn within_the_origin_payment_follows_whatever_else_is_allowed() {
    for redirects in [Redirects::AnyOrigin, Redirects::DangerousPaidAnywhere] {
        let world = world(redirects, [to("/other"), charge(), Act::Serve]);
        assert_eq!(world.get().unwrap().status, 200);
        assert_eq!(world.moved(), 10_000);
    }
}

#[test]
fn payment_and_credentials_follow_only_when_that_is_asked_for() {
    let world = world(
        Redirects::DangerousPaidAnywhere,
        [to(OTHER), charge_anywhere(), Act::Serve],
    );
    assert_eq!(world.send(personal()).unwrap().status, 200);
    let paid = &world.server.paid()[0];
    assert_eq!(paid.path, OTHER);
    assert_eq!(paid.headers["authorization"], "Bearer app");
    assert_eq!(world.entry().resource.origin, "https://other.example");
    assert_eq!(world.moved(), 10_000);
}

#[test]
fn no_redirect_leads_to_plain_http_or_into_this_machine() {
    for redirects in [Redirects::AnyOrigin, Redirects::DangerousPaidAnywhere] {
        for place in [
            "http://api.example/data",
            "http://127.0.0.1:8402/",
            "https://localhost/",
            "http://[::1]/",
            "ftp://api.example/",
            "https://api.example@evil.example/",
        ] {
            let world = world(redirects, [to(place)]);
            let error = fails(world.get(), MoneyMoved::No);
            assert!(
                matches!(error, CallError::RedirectElsewhere { .. }),
                "{error}"
            );
            assert_eq!(world.server.seen().len(), 1, "{place}");
        }
    }
}

#[test]
fn redirects_are_counted() {
    let mut options = Options::default();
    options.redirects_max = 2;
    let setup = |options: &Options| {
        World::new(Setup {
            options: options.clone(),
            ..Setup::default()
        })
    };
    let world = setup(&options);
    world.server.script([to("/1"), to("/2"), Act::Free]);
    assert_eq!(world.get().unwrap().status, 200);
    let world = setup(&options);
    world
        .server
        .script([to("/1"), to("/2"), to("/3"), Act::Free]);
    let error = fails(world.get(), MoneyMoved::No);
    assert!(
        matches!(error, CallError::TooManyRedirects { limit: 2 }),
        "{error}"
    );
    assert_eq!(world.server.seen().len(), 3);
}

fn retrying(retries: u32, sends_max: u32) -> World {
    let mut options = Options::default();
    options.retries = retries;
    options.sends_max = sends_max;
    World::new(Setup {
        options,
        ..Setup::default()
    })
}

#[test]
fn unpaid_requests_are_sent_again_as_often_as_asked_under_one_key() {
    let later = |status| Act::Say(status, vec![], None);
    let world = retrying(3, 5);
    let script = [later(503), Act::Cut, later(429), charge(), Act::Serve];
    world.server.script(script);
    assert_eq!(world.get().unwrap().status, 200);
    let seen = world.server.seen();
    assert_eq!(seen.len(), 5);
    let key = &seen[0].headers["idempotency-key"];
    assert!(
        seen.iter()
            .all(|seen| seen.headers["idempotency-key"] == key)
    );
    assert_eq!(world.moved(), 10_000);

    let world = retrying(1, 5);
    world.server.script([later(503), later(504), Act::Free]);
    assert_eq!(world.get().unwrap().status, 504);
    let world = retrying(0, 5);
    world.server.script([later(503), Act::Free]);
    assert_eq!(world.get().unwrap().status, 503);
    let world = retrying(3, 5);
    world.server.script([later(404), Act::Free]);
    assert_eq!(world.get().unwrap().status, 404);
}

#[test]
fn retry_after_is_waited_for_before_payment_too() {
    let busy = |seconds: &str| {
        let fields = vec![("retry-after", seconds.to_owned())];
        Act::Say(429, fields, None)
    };
    let world = retrying(2, 5);
    world.server.script([busy("9"), Act::Free]);
    let clock = world.simulation.env().clock;
    assert_eq!(world.get().unwrap().status, 200);
    assert!((9..12).contains(&clock.monotonic().as_secs()));
    let world = retrying(2, 5);
    world.server.script([busy("86400"), Act::Free]);
    assert_eq!(world.get().unwrap().status, 429);
}

#[test]
fn a_credential_is_sent_as_often_as_asked_and_always_the_same() {
    for sends in [1, 3] {
        let world = retrying(0, sends);
        world.server.script([charge()]);
        world.server.then(Act::Cut);
        fails(world.get(), MoneyMoved::Maybe);
        assert_eq!(world.server.paid().len(), usize::try_from(sends).unwrap());
        assert_eq!(world.server.credentials(), 1);
    }
}
