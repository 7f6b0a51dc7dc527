//! What the client does against a server that plays by the rules, and one that does not: through
//! the tower layer, over a rail that counts what really moved.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use stiver_client::{
    CallError, MoneyMoved, Options, Redirects, Retry,
    error::{NotResumable, Unusable},
    limits,
    outbox::State,
    policy::{self, Decision, MaxAmount},
};
use stiver_core::{digest::BodyDigest, problem::ProblemKind};
use stiver_method::artefact::RefusalKind;
use stiver_testkit::{
    fixtures,
    rail::{LookupStep, Step},
};
use support::{Act, Price, Setup, URL, World, charge, fails, refuse};

#[test]
fn a_402_is_paid_once_and_the_receipt_is_journaled() {
    let world = World::with([charge(), Act::Serve]);
    let got = world.get().unwrap();
    assert_eq!((got.status, got.body.as_ref()), (200, b"goods".as_slice()));
    let payment = got.payment.unwrap();
    assert_eq!(payment.moved, MoneyMoved::Yes);
    assert_eq!(payment.terms.amount, fixtures::micro_usd(10_000));
    assert!(payment.receipt.is_some() && payment.receipt_fault.is_none());
    let entry = world.entry();
    assert_eq!(entry.state, State::Paid);
    assert_eq!(entry.id, payment.call);
    assert!(entry.receipt.is_some() && entry.reference.is_some());
    assert_eq!(world.moved(), 10_000);
}

#[test]
fn what_is_free_is_not_paid_and_leaves_no_trace() {
    let world = World::with([Act::Free]);
    let got = world.get().unwrap();
    assert!(got.payment.is_none() && got.status == 200);
    assert!(world.outbox.history().is_empty());
}

#[test]
fn the_journal_says_sent_before_the_credential_arrives() {
    let world = World::with([charge(), Act::Cut, Act::Serve]);
    world.get().unwrap();
    let journals: Vec<_> = world.server.paid().iter().map(|s| s.journal).collect();
    assert_eq!(journals, [Some(State::Sent), Some(State::Sent)]);
    assert_eq!(world.server.seen()[0].journal, None);
}

#[test]
fn requests_of_one_call_share_their_key_and_say_what_can_be_paid() {
    let world = World::with([charge(), Act::Cut, Act::Serve]);
    world.get().unwrap();
    let seen = world.server.seen();
    assert_eq!(seen.len(), 3);
    let key = world.entry().id.to_string();
    for seen in &seen {
        assert_eq!(seen.headers["idempotency-key"], key.as_str());
        assert_eq!(seen.headers["accept-payment"], "hostile/charge");
    }
    assert_eq!(world.server.credentials(), 1);
}

#[test]
fn a_key_and_an_authorization_of_the_application_are_left_alone() {
    let world = World::with([charge(), Act::Serve]);
    let request = Request::post(URL)
        .header("idempotency-key", "mine")
        .header("authorization", "Bearer app")
        .body(Full::new(Bytes::from_static(b"order")))
        .unwrap();
    world.send(request).unwrap();
    let paid = &world.server.paid()[0];
    assert_eq!(paid.headers["idempotency-key"], "mine");
    assert_eq!(paid.headers["authorization"], "Bearer app");
    assert!(paid.headers["payment-authorization"].is_sensitive());
    assert_eq!(paid.body, "order");
}

#[test]
fn a_request_that_holds_a_credential_is_refused() {
    let world = World::with([]);
    for name in ["authorization", "payment-authorization"] {
        let request = Request::get(URL).header(name, "payment abc");
        let error = fails(
            world.send(request.body(Full::default()).unwrap()),
            MoneyMoved::No,
        );
        assert!(matches!(error, CallError::CredentialPresent), "{error}");
    }
    assert!(world.server.seen().is_empty());
}

#[test]
fn plain_http_to_another_machine_is_refused_before_anything_is_sent() {
    let world = World::with([charge(), Act::Serve]);
    let plain = || Request::get("http://api.example/data").body(Full::default());
    let error = fails(world.send(plain().unwrap()), MoneyMoved::No);
    assert!(matches!(error, CallError::PlainHttp(_)), "{error}");
    assert!(world.server.seen().is_empty());

    let mut options = Options::default();
    options.dangerous_plain_http = true;
    let world = World::new(Setup {
        options,
        ..Setup::default()
    });
    world.server.script([charge(), Act::Serve]);
    assert_eq!(world.send(plain().unwrap()).unwrap().status, 200);
}

#[test]
fn loopback_is_paid_over_plain_http() {
    let price = Price {
        realm: "127.0.0.1:8402".into(),
        ..Price::default()
    };
    let world = World::with([Act::Charge(vec![price], None), Act::Serve]);
    let request = Request::get("http://127.0.0.1:8402/x").body(Full::default());
    assert_eq!(world.send(request.unwrap()).unwrap().status, 200);
    assert_eq!(world.moved(), 10_000);
}

#[test]
fn head_and_options_are_never_paid() {
    for method in ["HEAD", "OPTIONS"] {
        let world = World::with([charge()]);
        let request = Request::builder().method(method).uri(URL);
        let got = world.send(request.body(Full::default()).unwrap()).unwrap();
        assert_eq!(got.status, 402);
        assert!(world.outbox.history().is_empty());
    }
}

#[test]
fn a_402_of_another_scheme_is_the_callers() {
    let fields = vec![("www-authenticate", "Bearer realm=\"x\"".to_owned())];
    let world = World::with([Act::Say(402, fields, None)]);
    assert_eq!(world.get().unwrap().status, 402);
}

#[test]
fn challenges_that_must_not_be_paid_are_refused_with_the_reason() {
    let usual = Price::default;
    let other_body = BodyDigest::of(b"another").to_header();
    let table: [(&str, Price); 7] = [
        (
            "another host than",
            Price {
                realm: "evil.example".into(),
                ..usual()
            },
        ),
        (
            "another host than",
            Price {
                realm: "api.example:8443".into(),
                ..usual()
            },
        ),
        (
            "expired at",
            Price {
                lifetime_ms: Some(-1),
                ..usual()
            },
        ),
        (
            "expired at",
            Price {
                lifetime_ms: Some(0),
                ..usual()
            },
        ),
        (
            "another request body",
            Price {
                digest: Some(other_body),
                ..usual()
            },
        ),
        (
            "unknown kind",
            Price {
                digest: Some("md5=:abc:".into()),
                ..usual()
            },
        ),
        (
            "not supported",
            Price {
                intent: "session".into(),
                ..usual()
            },
        ),
    ];
    for (words, price) in table {
        let act = Act::Charge(vec![price], Some(ProblemKind::PaymentRequired));
        let world = World::with([act]);
        let error = fails(world.get(), MoneyMoved::No);
        assert!(matches!(error, CallError::NotPayable { .. }), "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(error.retry(), Retry::No);
        assert_eq!(world.server.seen().len(), 1);
        assert!(world.outbox.history().is_empty());
    }
}

#[test]
fn malformed_challenges_do_not_hide_a_good_one() {
    let bad = |value: &str| ("www-authenticate", value.to_owned());
    let lines = vec![
        bad("Payment id=\"\", realm=\"api.example\""),
        bad("Payment id=\"a\", id=\"b\""),
        bad("Payment realm=\"unterminated"),
    ];
    let world = World::with([Act::Say(402, lines, None)]);
    let error = fails(world.get(), MoneyMoved::No);
    let CallError::NotPayable { reasons, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(reasons.len(), 3);
    let all = reasons.iter().all(|r| matches!(r, Unusable::Malformed(_)));
    assert!(all, "{error}");

    let dear = Price {
        realm: "evil.example".into(),
        ..Price::default()
    };
    let offers = Act::Charge(vec![dear, Price::default()], None);
    assert_eq!(World::with([offers, Act::Serve]).get().unwrap().status, 200);
}

#[test]
fn the_body_that_was_digested_is_the_body_that_is_paid_for() {
    let digest = BodyDigest::of(b"order").to_header();
    let price = Price {
        digest: Some(digest),
        ..Price::default()
    };
    let world = World::with([Act::Charge(vec![price], None), Act::Serve]);
    let request = Request::post(URL).body(Full::new(Bytes::from_static(b"order")));
    assert_eq!(world.send(request.unwrap()).unwrap().status, 200);
    assert_eq!(world.server.paid()[0].body, "order");
}

#[test]
fn of_two_offers_in_one_currency_the_cheaper_is_paid() {
    let offer = |units| Price {
        units,
        ..Price::default()
    };
    let act = Act::Charge(vec![offer(30), offer(20), offer(25)], None);
    let world = World::with([act, Act::Serve]);
    world.get().unwrap();
    assert_eq!(world.moved(), 20);
}

#[test]
fn a_policy_that_says_no_keeps_everything_unsigned() {
    let world = World::new(Setup {
        policy: Arc::new(MaxAmount::new(fixtures::micro_usd(9_999))),
        ..Setup::default()
    });
    world.server.script([charge()]);
    let error = fails(world.get(), MoneyMoved::No);
    assert!(matches!(error, CallError::Declined { .. }), "{error}");
    assert!(error.to_string().contains("more than the limit"), "{error}");
    assert!(world.outbox.history().is_empty());
    assert_eq!(world.server.seen().len(), 1);
}

#[test]
fn a_policy_sees_the_payment_in_plain_terms() {
    let policy = policy::from_fn(|view| {
        assert_eq!(view.amount, &fixtures::micro_usd(10_000));
        assert_eq!(view.payee.to_string(), "merchant");
        assert_eq!(view.realm.as_str(), "api.example");
        assert_eq!(view.origin.to_string(), "https://api.example");
        assert_eq!((view.http_method, view.url), ("GET", URL));
        assert_eq!(view.signature, 1);
        let left = view.expires.unwrap().millis_since(view.now);
        assert_eq!(left, 300_000);
        Decision::Refuse("seen enough\u{7}".into())
    });
    let world = World::new(Setup {
        policy: Arc::new(policy),
        ..Setup::default()
    });
    world.server.script([charge()]);
    let error = fails(world.get(), MoneyMoved::No);
    assert!(error.to_string().contains("seen enough"), "{error}");
}

#[test]
fn a_changed_payee_or_realm_is_refused_until_the_policy_allows_the_change() {
    let changed = |payee: &str, realm: &str| {
        let price = Price {
            payee: payee.into(),
            realm: realm.into(),
            ..Price::default()
        };
        Act::Charge(vec![price], None)
    };
    let world = World::with([changed("merchant", "shop"), Act::Serve]);
    world.get().unwrap();
    for act in [changed("thief", "shop"), changed("merchant", "other shop")] {
        world.server.script([act]);
        let error = fails(world.get(), MoneyMoved::No);
        assert!(error.to_string().contains("it was"), "{error}");
    }
    world
        .server
        .script([changed("merchant", "shop"), Act::Serve]);
    world.get().unwrap();

    let world = World::new(Setup {
        policy: Arc::new(policy::from_fn(|_| Decision::AllowChange)),
        ..Setup::default()
    });
    for payee in ["merchant", "successor"] {
        world.server.script([changed(payee, "shop"), Act::Serve]);
        world.get().unwrap();
    }
    assert_eq!(world.moved(), 20_000);
}

#[test]
fn a_redirect_within_the_origin_is_followed_and_to_another_is_an_error() {
    let to = |place: &str| Act::Say(307, vec![("location", place.to_owned())], None);
    let world = World::with([to("/other?x=1"), charge(), Act::Serve]);
    assert_eq!(world.get().unwrap().status, 200);
    assert_eq!(world.server.paid()[0].path, "https://api.example/other?x=1");
    assert!(world.entry().resource.url.ends_with("/other?x=1"));

    for place in [
        "https://evil.example/",
        "//evil.example/",
        "http://api.example/data",
        "https://api.example:8443/",
        "https://api.example@evil.example/",
    ] {
        let world = World::with([to(place)]);
        let error = fails(world.get(), MoneyMoved::No);
        assert!(
            matches!(error, CallError::RedirectElsewhere { .. }),
            "{error}"
        );
        assert_eq!(world.server.seen().len(), 1);
    }

    let world = World::with([]);
    world.server.then(to("/again"));
    let error = fails(world.get(), MoneyMoved::No);
    assert!(
        matches!(error, CallError::TooManyRedirects { limit: 5 }),
        "{error}"
    );
}

#[test]
fn a_redirect_after_payment_is_the_answer_and_is_not_followed() {
    let place = vec![("location", "https://evil.example/".to_owned())];
    let world = World::with([charge(), Act::Say(303, place, None)]);
    let got = world.get().unwrap();
    assert_eq!(got.status, 303);
    assert_eq!(world.server.seen().len(), 2);
}

#[test]
fn redirects_can_be_left_to_the_caller() {
    let mut options = Options::default();
    options.redirects = Redirects::HandOver;
    let world = World::new(Setup {
        options,
        ..Setup::default()
    });
    let place = vec![("location", "https://evil.example/".to_owned())];
    world.server.script([Act::Say(302, place, None)]);
    assert_eq!(world.get().unwrap().status, 302);
}

#[test]
fn a_303_turns_a_post_into_a_get_without_its_body() {
    let place = vec![("location", "/result".to_owned())];
    let world = World::with([Act::Say(303, place, None), Act::Free]);
    let request = Request::post(URL)
        .header("content-type", "text/plain")
        .body(Full::new(Bytes::from_static(b"order")));
    world.send(request.unwrap()).unwrap();
    let seen = &world.server.seen()[1];
    assert_eq!((seen.method.as_str(), seen.body.len()), ("GET", 0));
    assert!(!seen.headers.contains_key("content-type"));
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_credential() {
    for lost in [Act::ServeAndCut, Act::ServeAndHang, Act::Cut, Act::Hang] {
        let world = World::with([charge(), lost.clone(), lost, Act::Serve]);
        assert_eq!(world.get().unwrap().status, 200);
        assert_eq!(world.server.credentials(), 1);
        assert_eq!(world.server.paid().len(), 3);
        assert_eq!(world.moved(), 10_000);
        assert_eq!(world.entry().signatures, 1);
    }
}

#[test]
fn answers_that_settle_nothing_lead_to_the_same_credential_again() {
    let own = [
        (409, Some(ProblemKind::PaymentInProgress)),
        (429, Some(ProblemKind::TooManyRequests)),
    ];
    let plain = [500, 502, 503, 504, 599].map(|status| (status, None));
    for (status, problem) in own.into_iter().chain(plain) {
        let world = World::with([charge(), Act::ServeAndSay(status, problem), Act::Serve]);
        assert_eq!(world.get().unwrap().status, 200, "{status}");
        assert_eq!(world.server.credentials(), 1);
        assert_eq!(world.moved(), 10_000);
    }
}

#[test]
fn a_server_that_never_answers_ends_as_unknown_within_bounds() {
    let world = World::with([charge()]);
    world.server.then(Act::Hang);
    let error = fails(world.get(), MoneyMoved::Maybe);
    let id = world.entry().id;
    assert_eq!(error.retry(), Retry::Resume(id));
    assert!(error.to_string().contains(&id.to_string()), "{error}");
    assert_eq!(world.entry().state, State::Unknown);
    let sends = usize::try_from(limits::SENDS_MAX).unwrap();
    assert_eq!(world.server.paid().len(), sends);
    assert_eq!(world.server.credentials(), 1);
}

#[test]
fn an_unknown_call_whose_money_moved_says_so_and_its_goods_can_still_be_had() {
    let world = World::with([charge(), Act::ServeAndCut]);
    world.server.then(Act::Cut);
    let error = fails(world.get(), MoneyMoved::Yes);
    assert!(matches!(error, CallError::Unknown { .. }), "{error}");
    let id = world.entry().id;
    assert_eq!(error.retry(), Retry::Resume(id));
    world.server.then(Act::Serve);
    assert_eq!(world.resume(id).unwrap(), 200);
    assert_eq!(world.entry().state, State::Paid);
    assert_eq!(world.moved(), 10_000);
}

#[test]
fn retry_after_is_waited_for_and_a_long_one_is_left_to_the_caller() {
    let busy = |seconds: &str| {
        let fields = vec![("retry-after", seconds.to_owned())];
        Act::Say(503, fields, Some(ProblemKind::PaymentInProgress))
    };
    let world = World::with([charge(), busy("7"), Act::Serve]);
    let clock = world.simulation.env().clock;
    world.get().unwrap();
    assert!((7..9).contains(&clock.monotonic().as_secs()));

    let world = World::with([charge(), busy("86400")]);
    let error = fails(world.get(), MoneyMoved::Maybe);
    assert!(error.to_string().contains("86400 s"), "{error}");
    assert_eq!(world.server.paid().len(), 1);

    // A date is a span from now: 30 s after the start of the simulation.
    let world = World::with([charge(), busy("Wed, 01 Jan 2025 00:00:30 GMT"), Act::Serve]);
    let clock = world.simulation.env().clock;
    world.get().unwrap();
    assert!((30..38).contains(&clock.monotonic().as_secs()));
}

#[test]
fn an_answer_that_is_no_refusal_is_handed_over_with_what_the_rail_says() {
    let world = World::with([charge(), Act::ServeAndSay(404, None)]);
    let got = world.get().unwrap();
    assert_eq!(got.status, 404);
    assert_eq!(got.payment.unwrap().moved, MoneyMoved::Yes);
    assert_eq!(world.entry().state, State::Settled);

    let world = World::with([charge(), Act::Say(403, vec![], None)]);
    let got = world.get().unwrap();
    assert_eq!(got.payment.unwrap().moved, MoneyMoved::Maybe);
    assert_eq!(world.entry().state, State::Unknown);
    assert_eq!(world.server.paid().len(), 1);
}

#[test]
fn a_redeemed_or_unknown_challenge_is_never_answered_again() {
    for kind in [
        ProblemKind::InvalidChallenge,
        ProblemKind::PaymentRequired,
        ProblemKind::MalformedCredential,
        ProblemKind::PaymentInsufficient,
    ] {
        for nonces in [true, false] {
            let world = World::new(Setup {
                nonces,
                ..Setup::default()
            });
            world.server.script([charge()]);
            world.server.then(refuse(kind));
            let error = fails(world.get(), MoneyMoved::Maybe);
            assert!(matches!(error, CallError::Refused { .. }), "{error}");
            assert_eq!(world.server.paid().len(), 1, "{kind:?}");
            assert_eq!(world.entry().state, State::Refused);
        }
    }
}

#[test]
fn a_bare_402_loop_is_not_paid_again() {
    let world = World::with([]);
    world.server.then(Act::Charge(vec![Price::default()], None));
    fails(world.get(), MoneyMoved::Maybe);
    assert_eq!(world.server.paid().len(), 1);
    assert_eq!(world.server.seen().len(), 2);
}

#[test]
fn a_definite_refusal_is_signed_again_once_when_the_nonce_is_shared() {
    let world = World::with([
        charge(),
        refuse(ProblemKind::VerificationFailed),
        Act::Serve,
    ]);
    let got = world.get().unwrap();
    assert_eq!(got.payment.unwrap().signatures, 2);
    assert_eq!(world.server.credentials(), 2);
    assert_eq!(world.moved(), 10_000);

    let world = World::with([charge()]);
    world.server.then(refuse(ProblemKind::PaymentExpired));
    fails(world.get(), MoneyMoved::Maybe);
    let most = usize::try_from(limits::SIGNATURES_MAX).unwrap();
    assert_eq!(world.server.credentials(), most);
}

#[test]
fn a_server_that_takes_the_money_and_refuses_is_not_paid_twice() {
    let world = World::with([
        charge(),
        Act::ServeAndSay(402, Some(ProblemKind::VerificationFailed)),
        Act::Serve,
    ]);
    let error = fails(world.get(), MoneyMoved::Yes);
    assert_eq!(error.retry(), Retry::No);
    assert_eq!(world.server.credentials(), 1);
    assert_eq!(world.moved(), 10_000);
    assert_eq!(world.entry().state, State::Settled);
}

#[test]
fn without_a_shared_nonce_only_the_rails_never_permits_another_signature() {
    let script = [
        charge(),
        refuse(ProblemKind::VerificationFailed),
        Act::Serve,
    ];
    let world = World::new(Setup {
        nonces: false,
        ..Setup::default()
    });
    world.server.script(script);
    fails(world.get(), MoneyMoved::Maybe);
    assert_eq!(world.server.credentials(), 1);

    let world = World::new(Setup {
        nonces: false,
        ..Setup::default()
    });
    let refused = Act::ServeAndSay(402, Some(ProblemKind::VerificationFailed));
    world.rail.script([Step::refused(RefusalKind::Invalid)]);
    world.server.script([charge(), refused.clone(), Act::Serve]);
    assert_eq!(world.get().unwrap().status, 200);
    assert_eq!(world.server.credentials(), 2);
    assert_eq!(world.moved(), 10_000);

    // The rail never takes it: two signatures, and then the truth.
    let world = World::with([charge()]);
    let never = Step::refused(RefusalKind::Invalid);
    world.rail.script([never.clone(), never]);
    world.server.then(refused);
    let error = fails(world.get(), MoneyMoved::No);
    assert_eq!(error.retry(), Retry::No);
    assert_eq!(world.entry().state, State::Void);
}

#[test]
fn a_stale_challenge_that_moved_nothing_may_be_tried_anew() {
    let world = World::with([charge()]);
    world.rail.script([Step::refused(RefusalKind::Expired)]);
    let stale = Act::ServeAndSay(402, Some(ProblemKind::InvalidChallenge));
    world.server.then(stale);
    let error = fails(world.get(), MoneyMoved::No);
    assert_eq!(error.retry(), Retry::NewCall);
    assert_eq!(world.server.credentials(), 1);
}

#[test]
fn the_policy_is_asked_again_before_a_second_signature() {
    let policy = policy::from_fn(|view| match view.signature {
        1 => Decision::Allow,
        _ => Decision::Refuse("once is enough".into()),
    });
    let world = World::new(Setup {
        policy: Arc::new(policy),
        ..Setup::default()
    });
    world
        .server
        .script([charge(), refuse(ProblemKind::PaymentExpired)]);
    let error = fails(world.get(), MoneyMoved::Maybe);
    assert!(matches!(error, CallError::Refused { .. }), "{error}");
    assert_eq!(world.server.credentials(), 1);
}

#[test]
fn text_of_the_server_cannot_forge_a_terminal_sequence() {
    let world = World::with([charge()]);
    world.server.then(refuse(ProblemKind::InvalidChallenge));
    let error = fails(world.get(), MoneyMoved::Maybe).to_string();
    assert!(error.contains("of the test"), "{error}");
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn no_error_or_debug_text_holds_a_credential() {
    let world = World::with([charge(), Act::ServeAndCut]);
    world.server.then(Act::Say(500, vec![], None));
    let error = fails(world.get(), MoneyMoved::Yes);
    let credential = world.server.paid()[0].credential.clone().unwrap();
    let header = credential.to_header();
    let payload = credential.payload.as_str().to_owned();
    let texts = [
        format!("{error}"),
        format!("{error:?}"),
        format!("{:?}", world.outbox.history()),
    ];
    for text in texts {
        assert!(!text.contains(&header) && !text.contains(&payload));
    }
}

#[test]
fn an_unknown_call_is_resumed_with_the_same_request() {
    let world = World::with([charge()]);
    world.server.then(Act::Cut);
    let request = Request::post(URL)
        .header("x-tenant", "7")
        .body(Full::new(Bytes::from_static(b"order")));
    fails(world.send(request.unwrap()), MoneyMoved::Maybe);
    let id = world.entry().id;
    // Its challenge expires meanwhile: what was sent before may be sent after.
    world
        .simulation
        .run_for(std::time::Duration::from_secs(3600));
    world.server.then(Act::Serve);
    assert_eq!(world.resume(id).unwrap(), 200);
    let paid = world.server.paid();
    let last = paid.last().unwrap();
    assert_eq!(last.headers, paid[0].headers);
    assert_eq!(last.body, "order");
    assert_eq!(world.server.credentials(), 1);
    assert_eq!(world.entry().state, State::Paid);
    assert_eq!(world.moved(), 10_000);
    let again = world.resume(id).unwrap_err();
    assert!(
        matches!(
            again,
            CallError::NotResumable {
                why: NotResumable::NotOpen,
                ..
            }
        ),
        "{again}"
    );
}

#[test]
fn a_resumed_call_is_never_signed_again() {
    let world = World::with([charge()]);
    world.server.then(Act::Cut);
    fails(world.get(), MoneyMoved::Maybe);
    let id = world.entry().id;
    world.server.then(refuse(ProblemKind::VerificationFailed));
    let error = world.resume(id).unwrap_err();
    assert!(matches!(error, CallError::Refused { .. }), "{error}");
    assert_eq!(world.server.credentials(), 1);
}

#[test]
fn recovery_lists_what_may_have_moved_and_the_rail_closes_it() {
    let world = World::with([charge(), Act::ServeAndCut]);
    world.server.then(Act::Cut);
    world.rail.script_lookups([LookupStep::unavailable()]);
    fails(world.get(), MoneyMoved::Maybe);
    let open = world.run(world.client.recover()).unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].money_moved(), MoneyMoved::Maybe);
    let moved = world.run(world.client.look_up(open[0].id)).unwrap();
    assert_eq!(moved, MoneyMoved::Yes);
    assert!(world.run(world.client.recover()).unwrap().is_empty());
    assert_eq!(world.entry().state, State::Settled);
}

#[test]
fn a_call_that_was_dropped_on_the_way_is_found_by_recovery() {
    let world = World::with([charge(), Act::Hang]);
    let env = world.simulation.env();
    let client = world.client.clone();
    let server = world.server.clone();
    env.spawner.spawn(Box::pin(async move {
        use tower_layer::Layer;
        use tower_service::Service;
        let mut service = stiver_client::PayLayer::new(client).layer(server);
        let request = Request::get(URL).body(Full::<Bytes>::default()).unwrap();
        let _ = service.call(request).await;
    }));
    world.simulation.run_until_idle();
    let under_way = world.run(world.client.recover()).unwrap();
    assert!(under_way.is_empty(), "a call under way is nobody else's");
    world.simulation.executor.kill();
    let open = world.run(world.client.recover()).unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].state, State::Sent);
}

#[test]
fn an_offer_that_expires_while_the_policy_thinks_is_not_paid() {
    struct Slow(stiver_env::Env);
    impl policy::Policy for Slow {
        fn decide<'a>(
            &'a self,
            _: &'a policy::PaymentView<'a>,
        ) -> stiver_env::BoxFuture<'a, Decision> {
            Box::pin(async {
                self.0
                    .clock
                    .sleep(std::time::Duration::from_secs(600))
                    .await;
                Decision::Allow
            })
        }
    }
    // The policy's clock must be the world's: set up in two steps.
    let simulation = stiver_testkit::simulation::Simulation::new(1);
    let world = World::on(simulation, |env| Setup {
        policy: Arc::new(Slow(env)),
        ..Setup::default()
    });
    world.server.script([charge()]);
    let error = fails(world.get(), MoneyMoved::No);
    assert!(
        matches!(error, CallError::ExpiredMeanwhile { .. }),
        "{error}"
    );
    assert_eq!(error.retry(), Retry::NewCall);
    assert!(world.outbox.history().is_empty());
}
