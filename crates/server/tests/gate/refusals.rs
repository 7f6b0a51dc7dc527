//! What is refused, how, and that nothing changes by it.

use std::{collections::BTreeSet, sync::Arc};

use stiver_core::{
    Amount, Challenge, Credential, Problem,
    binding::{KeyRing, Secret},
    challenge::Expires,
    json::{EncodedObject, Object},
    limits::{CREDENTIAL_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX},
    name::{IntentName, MethodName, Realm},
    opaque::Opaque,
    problem::ProblemKind as Kind,
};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, Lookup, RailUnavailable, Refusal, Settled},
    payee::{PayeeCharge, Plan, Presented, Quote, QuoteError, RefundError, RefundRequest, Terms},
};
use stiver_server::{
    BodyState, Offer, Pricing, Route,
    limits::{CHALLENGE_LIFETIME_MS, TARGET_BYTES_MAX},
    route::RouteError,
};
use stiver_testkit::{fixtures, rail::HostileRail};

use crate::common::{Answer, Ask, PRICE, World, exchange};

#[test]
fn unpaid_request_gets_a_challenge_and_changes_no_state() {
    let world = World::new(1);
    let route = world.route().description("a reading");
    let refused = world.send(&Ask::get("/reading?room=3"), &route).refused();
    assert_eq!(refused.problem.kind, Kind::PaymentRequired);
    assert_eq!((refused.status(), refused.challenges.len()), (402, 1));
    let challenge = &refused.challenges[0];
    assert_eq!(refused.problem.challenge_id.as_ref(), Some(&challenge.id));
    assert_eq!(challenge.params.realm, fixtures::realm());
    assert_eq!(challenge.params.description.as_deref(), Some("a reading"));
    assert!(challenge.params.digest.is_none());
    let opaque = Opaque::decode(challenge.params.opaque.as_ref().unwrap()).unwrap();
    assert_eq!(opaque.scope, "GET /reading?room=3");
    let now = world.sim.env().clock.now();
    let expires = challenge.params.expires.as_ref().unwrap().instant();
    assert_eq!(expires, now.plus_millis(CHALLENGE_LIFETIME_MS));
    let headers = refused.headers();
    assert!(headers.contains(&("cache-control", "no-store".to_owned())));
    assert!(headers.contains(&("content-type", "application/problem+json".to_owned())));
    let line = headers
        .iter()
        .find(|(name, _)| *name == "www-authenticate")
        .unwrap();
    let parsed = Challenge::parse_all([line.1.as_bytes()]);
    assert_eq!(parsed, [Ok(challenge.clone())]);
    assert!(world.front.commands().is_empty(), "the store saw nothing");
}

#[test]
fn no_two_challenges_share_an_id() {
    let world = World::new(2);
    let route = world.route();
    let ids: BTreeSet<_> = (0..200)
        .map(|_| world.challenge(&Ask::get("/reading"), &route).id)
        .collect();
    assert_eq!(ids.len(), 200);
}

/// A credential and what was changed in it, in its request or in the route.
struct Case {
    name: &'static str,
    kind: Kind,
    ask: Ask,
}

fn case(name: &'static str, kind: Kind, ask: Ask) -> Case {
    Case { name, kind, ask }
}

/// A challenge made with our secret: what an operator might mint by hand.
fn minted(credential: &Credential, change: impl FnOnce(&mut Credential)) -> Credential {
    let mut credential = credential.clone();
    change(&mut credential);
    credential.challenge = fixtures::key_ring().bind(credential.challenge.params);
    credential
}

fn header_cases(ask: &Ask, good: &str) -> Vec<Case> {
    let lines = |name, kind, lines: &[&str]| {
        let authorization = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        let ask = Ask {
            authorization,
            ..ask.clone()
        };
        case(name, kind, ask)
    };
    let upper = good.replacen("Payment", "PAYMENT", 1);
    let huge = format!("Payment {}", "A".repeat(CREDENTIAL_BYTES_MAX + 1));
    let padded = format!("{good}=");
    let cut = &good[..good.len() - 3];
    let malformed = Kind::MalformedCredential;
    vec![
        lines("other scheme", Kind::PaymentRequired, &["Basic dXNlcg"]),
        lines("two credentials", Kind::MultipleCredentials, &[good, good]),
        lines("two spellings", Kind::MultipleCredentials, &[good, &upper]),
        lines("over the limit", Kind::CredentialTooLarge, &[&huge]),
        lines("no token", malformed, &["Payment !!!"]),
        lines("padding", malformed, &[&padded]),
        lines("cut short", malformed, &[cut]),
        lines("no JSON", malformed, &["Payment bm90LWpzb24"]),
        lines("empty object", malformed, &["Payment e30"]),
    ]
}

fn bad_requests(ask: &Ask, good: &str) -> Vec<Case> {
    let bad = |name, change: &dyn Fn(&mut Ask)| {
        let mut ask = ask.clone().credential(good);
        change(&mut ask);
        case(name, Kind::BadRequest, ask)
    };
    let key = |key: &str| vec![key.as_bytes().to_vec()];
    let long_key = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1);
    vec![
        bad("two keys", &|it| {
            it.idempotency_key = [key("a"), key("b")].concat();
        }),
        bad("empty key", &|it| it.idempotency_key = key("")),
        bad("key with a space", &|it| it.idempotency_key = key("a b")),
        bad("long key", &|it| it.idempotency_key = key(&long_key)),
        bad("HEAD", &|it| it.method = "HEAD"),
        bad("endless target", &|it| {
            it.target = format!("/{}", "p".repeat(TARGET_BYTES_MAX));
        }),
    ]
}

fn echo_cases(ask: &Ask, good: &Credential, dear: &Challenge) -> Vec<Case> {
    let edit = |name, change: &dyn Fn(&mut Challenge)| {
        let mut credential = good.clone();
        change(&mut credential.challenge);
        let ask = ask.clone().credential(&credential.to_header());
        case(name, Kind::InvalidChallenge, ask)
    };
    let other = &dear.params;
    let forged = KeyRing::new(Secret::from_bytes(&[b'x'; 32]));
    let expires = good.challenge.params.expires.as_ref().unwrap();
    let later = expires.instant().plus_millis(1);
    let session = IntentName::new("session").unwrap();
    let tempo = MethodName::new("tempo").unwrap();
    let realm = Realm::new("api.example.org").unwrap();
    vec![
        edit("another id", &|it| it.id = dear.id.clone()),
        edit("request", &|it| it.params.request = other.request.clone()),
        edit("opaque", &|it| it.params.opaque = other.opaque.clone()),
        edit("no opaque", &|it| it.params.opaque = None),
        edit("no expires", &|it| it.params.expires = None),
        edit("later", &|it| it.params.expires = Some(Expires::at(later))),
        edit("intent", &|it| it.params.intent = session.clone()),
        edit("method", &|it| it.params.method = tempo.clone()),
        edit("realm", &|it| it.params.realm = realm.clone()),
        edit("a stranger's secret", &|it| {
            *it = forged.bind(it.params.clone());
        }),
    ]
}

fn minted_cases(ask: &Ask, good: &Credential) -> Vec<Case> {
    let again = |name, kind, change: fn(&mut Credential)| {
        case(
            name,
            kind,
            ask.clone().credential(&minted(good, change).to_header()),
        )
    };
    let invalid = Kind::InvalidChallenge;
    vec![
        again("our secret, other realm", invalid, |it| {
            it.challenge.params.realm = Realm::new("api.example.org").unwrap();
        }),
        again("no scope", invalid, |it| it.challenge.params.opaque = None),
        again("never expires", invalid, |it| {
            it.challenge.params.expires = None;
        }),
        again("unknown method", Kind::MethodUnsupported, |it| {
            it.challenge.params.method = MethodName::new("tempo").unwrap();
        }),
        again("unknown intent", Kind::MethodUnsupported, |it| {
            it.challenge.params.intent = IntentName::new("session").unwrap();
        }),
        again(
            "proof for another challenge",
            Kind::VerificationFailed,
            |it| {
                let opaque = it.challenge.params.opaque.as_ref().unwrap();
                let mut opaque = Opaque::decode(opaque).unwrap();
                opaque.nonce = [7; 16];
                it.challenge.params.opaque = Some(opaque.encode().unwrap());
            },
        ),
        again("another price", invalid, |it| {
            let object = it.challenge.params.request.object().as_str();
            let cheap = object.replace("\"10000\"", "\"9999\"");
            assert_ne!(object, cheap);
            let cheap = Object::parse(cheap.as_bytes()).unwrap();
            it.challenge.params.request = EncodedObject::encode(&cheap);
        }),
        again("another payee", invalid, |it| {
            let object = it.challenge.params.request.object().as_str();
            let other = Object::parse(object.replace("merchant", "mallory").as_bytes()).unwrap();
            it.challenge.params.request = EncodedObject::encode(&other);
        }),
    ]
}

fn request_cases(ask: &Ask, good: &str) -> Vec<Case> {
    let invalid = Kind::InvalidChallenge;
    let other = |change: fn(&mut Ask)| {
        let mut other = ask.clone().credential(good);
        change(&mut other);
        other
    };
    vec![
        case(
            "another path",
            invalid,
            other(|it| it.target = "/dear".to_owned()),
        ),
        case(
            "another query",
            invalid,
            other(|it| it.target.push_str("?room=4")),
        ),
        case(
            "another case",
            invalid,
            other(|it| it.target = "/Reading".to_owned()),
        ),
        case("another method", invalid, other(|it| it.method = "POST")),
        case(
            "a body it was not issued for",
            invalid,
            other(|it| it.body = Ask::post("", b"x").body),
        ),
    ]
}

#[test]
fn hostile_inputs_are_refused_by_name_and_change_nothing() {
    let world = World::new(3);
    let route = world.route();
    let ask = Ask::get("/reading");
    let challenge = world.challenge(&ask, &route);
    let good = world.credential(&world.payer, &challenge);
    let dear_route = Route::new(vec![world.offer(PRICE * 100)]).unwrap();
    let dear = world.challenge(&Ask::get("/dear"), &dear_route);
    let header = good.to_header();
    let mut cases = header_cases(&ask, &header);
    cases.extend(bad_requests(&ask, &header));
    cases.extend(echo_cases(&ask, &good, &dear));
    cases.extend(minted_cases(&ask, &good));
    cases.extend(request_cases(&ask, &header));
    assert!(cases.len() >= 38, "{}", cases.len());
    for Case { name, kind, ask } in cases {
        let refused = world.send(&ask, &route).refused();
        assert_eq!(
            refused.problem.kind, kind,
            "{name}: {}",
            refused.problem.detail
        );
        let pays = refused.status() == 402;
        assert_eq!(refused.challenges.len(), usize::from(pays), "{name}");
        assert_eq!(refused.problem.challenge_id.is_some(), pays, "{name}");
        let body = refused.body();
        let token = &header["Payment ".len()..];
        assert!(
            !body.contains(token) && body.contains("\"detail\""),
            "{name}: {body}"
        );
    }
    assert!(
        world.front.writes().is_empty(),
        "{:?}",
        world.front.writes()
    );
    assert_eq!((world.payments(), world.handler.runs()), (0, 0));
    // The credential that all of them were made from is still good.
    world
        .send(&ask.clone().credential(&header), &route)
        .delivered();
    assert_eq!(world.payments(), 1);
}

#[test]
fn altered_challenges_all_say_the_same() {
    let world = World::new(4);
    let route = world.route();
    let ask = Ask::get("/reading");
    let challenge = world.challenge(&ask, &route);
    let good = world.credential(&world.payer, &challenge);
    let dear = world.challenge(&Ask::get("/dear"), &route);
    let details: BTreeSet<_> = echo_cases(&ask, &good, &dear)
        .into_iter()
        .map(|case| world.send(&case.ask, &route).refused().problem.detail)
        .collect();
    assert_eq!(
        details.len(),
        1,
        "nobody can probe what was wrong: {details:?}"
    );
}

#[test]
fn challenge_expires_at_its_instant_and_not_before() {
    for (early, accepted) in [(1, true), (0, false)] {
        let world = World::new(5);
        let route = world.route();
        let ask = world.paid(&Ask::get("/reading"), &route);
        world.pass(CHALLENGE_LIFETIME_MS - early);
        match world.send(&ask, &route) {
            Answer::Delivered { .. } => assert!(accepted),
            Answer::Refused(refused) => {
                assert!(!accepted);
                assert_eq!(refused.problem.kind, Kind::InvalidChallenge);
                assert!(
                    refused
                        .problem
                        .detail
                        .contains("expired at 2025-01-01T00:05:00Z")
                );
                assert!(world.front.writes().is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn challenge_for_a_body_is_bound_to_it() {
    let world = World::new(6);
    let route = world.route();
    let ask = Ask::post("/order", b"one");
    let challenge = world.challenge(&ask, &route);
    let digest = challenge.params.digest.clone().unwrap();
    assert!(digest.as_str().starts_with("sha-256=:"));
    let paid = ask.credential(&world.pay(&challenge));
    let other = Ask {
        body: Ask::post("", b"two").body,
        ..paid.clone()
    };
    let none = Ask {
        body: BodyState::None,
        ..paid.clone()
    };
    let stream = Ask {
        body: BodyState::Unbound,
        ..paid.clone()
    };
    for ask in [other, none, stream] {
        let refused = world.send(&ask, &route).refused();
        assert_eq!(refused.problem.kind, Kind::InvalidChallenge);
        assert!(refused.problem.detail.contains("body"));
    }
    assert!(world.front.writes().is_empty());
    let receipt = world.send(&paid, &route).delivered();
    let receipt = stiver_core::Receipt::parse(receipt.as_bytes()).unwrap();
    assert_eq!(
        receipt.extra["requestDigest"].as_str(),
        Some(digest.as_str())
    );
}

#[test]
fn head_gets_the_challenge_of_its_get() {
    let world = World::new(7);
    let route = world.route();
    let get = Ask::get("/reading");
    let head = Ask {
        method: "HEAD",
        ..get.clone()
    };
    let challenge = world.challenge(&head, &route);
    world
        .send(&get.credential(&world.pay(&challenge)), &route)
        .delivered();
    assert_eq!(world.payments(), 1);
}

#[test]
fn long_targets_are_scoped_by_digest() {
    let world = World::new(8);
    let route = world.route();
    let target = format!("/reading?q={}", "x".repeat(4000));
    let paid = world.paid(&Ask::get(&target), &route);
    let other = Ask {
        target: format!("{target}y"),
        ..paid.clone()
    };
    assert_eq!(world.send(&other, &route).kind(), Kind::InvalidChallenge);
    world.send(&paid, &route).delivered();
}

#[test]
fn free_requests_pass_whatever_they_carry() {
    let world = World::new(9);
    let ask = Ask::get("/free");
    let huge = format!("Payment {}", "A".repeat(CREDENTIAL_BYTES_MAX + 1));
    let good = world.pay(&world.challenge(&ask, &world.route()));
    for credential in ["Payment !!!", "Payment e30", &huge, &good] {
        let ask = ask.clone().credential(credential).key("");
        let handler = Arc::clone(&world.handler);
        let answer = world.run(exchange(world.gate.clone(), ask, Pricing::Free, handler));
        assert!(matches!(answer, Answer::Free), "{answer:?}");
    }
    assert!(world.front.writes().is_empty());
    assert_eq!(world.payments(), 0);
}

#[test]
fn denied_requests_get_the_denial_and_no_challenge() {
    let world = World::new(10);
    let ask = Ask::get("/reading");
    let good = ask
        .clone()
        .credential(&world.pay(&world.challenge(&ask, &world.route())));
    for ask in [ask, good] {
        let denial = Problem::new(Kind::NotFound, "no such sensor");
        let handler = Arc::clone(&world.handler);
        let pricing = Pricing::Denied(denial.clone());
        let answer = world.run(exchange(world.gate.clone(), ask, pricing, handler));
        let refused = answer.refused();
        assert_eq!(refused.problem, denial);
        assert!(refused.challenges.is_empty());
    }
    assert!(world.front.writes().is_empty());
}

/// The hostile rail under another name.
struct Renamed(HostileRail, MethodName);

impl PayeeCharge for Renamed {
    fn name(&self) -> &MethodName {
        &self.1
    }
    fn quote<'a>(&'a self, quote: Quote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>> {
        if self.1.as_str() == "down" {
            let down = QuoteError::Rail(RailUnavailable("scripted".to_owned()));
            return Box::pin(std::future::ready(Err(down)));
        }
        self.0.quote(quote)
    }
    fn expected_terms(&self, price: &Amount) -> Result<Terms, QuoteError> {
        self.0.expected_terms(price)
    }
    fn terms(&self, request: &Object) -> Result<Terms, Refusal> {
        self.0.terms(request)
    }
    fn precheck(&self, presented: Presented<'_>) -> Result<Plan, Refusal> {
        self.0.precheck(presented)
    }
    fn execute<'a>(&'a self, it: &'a Artefact) -> BoxFuture<'a, Result<Settled, ExecuteError>> {
        self.0.execute(it)
    }
    fn lookup<'a>(&'a self, it: &'a Artefact) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        self.0.lookup(it)
    }
    fn prepare_refund<'a>(
        &'a self,
        refund: RefundRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, RefundError>> {
        self.0.prepare_refund(refund)
    }
}

fn offers(world: &World, names: &[&str]) -> Vec<Offer> {
    let offer = |name: &&str| {
        let method = Renamed(world.rail.clone(), MethodName::new(name).unwrap());
        Offer::new(Arc::new(method), fixtures::micro_usd(PRICE)).unwrap()
    };
    names.iter().map(offer).collect()
}

#[test]
fn challenges_are_ordered_and_filtered_by_accept_payment() {
    let world = World::new(11);
    let route = Route::new(offers(&world, &["ledger", "tempo", "stripe"])).unwrap();
    for (lines, expected) in [
        (&[][..], &["ledger", "tempo", "stripe"][..]),
        (&["stripe/charge"], &["stripe"]),
        (
            &["tempo/*;q=0.2, stripe/charge;q=0.9"],
            &["stripe", "tempo"],
        ),
        (
            &["tempo/*;q=0.2", "stripe/charge;q=0.9"],
            &["stripe", "tempo"],
        ),
        (&["*/*, ledger/charge;q=0"], &["tempo", "stripe"]),
        (
            &["*/charge;q=0.5, tempo/charge"],
            &["tempo", "ledger", "stripe"],
        ),
        // None fits, or the field is malformed: the normal set.
        (&["solana/charge"], &["ledger", "tempo", "stripe"]),
        (&["ledger/session"], &["ledger", "tempo", "stripe"]),
        (&[";;;"], &["ledger", "tempo", "stripe"]),
    ] {
        let ask = Ask::get("/reading").accept(lines);
        let refused = world.send(&ask, &route).refused();
        let names: Vec<_> = refused
            .challenges
            .iter()
            .map(|it| it.params.method.as_str())
            .collect();
        assert_eq!(names, expected, "{lines:?}");
        let lines = refused
            .headers()
            .into_iter()
            .filter(|(name, _)| *name == "www-authenticate");
        assert_eq!(lines.count(), expected.len());
    }
}

#[test]
fn method_that_cannot_quote_is_left_out_and_none_left_is_a_503() {
    let world = World::new(12);
    let route = Route::new(offers(&world, &["down", "tempo"])).unwrap();
    let refused = world.send(&Ask::get("/reading"), &route).refused();
    assert_eq!(refused.challenges.len(), 1);
    let route = Route::new(offers(&world, &["down"])).unwrap();
    let refused = world.send(&Ask::get("/reading"), &route).refused();
    assert_eq!(
        (refused.problem.kind, refused.status()),
        (Kind::Unavailable, 503)
    );
    assert!(refused.challenges.is_empty() && refused.retry_after.is_some());
}

#[test]
fn routes_and_prices_that_cannot_be_are_refused_where_they_are_made() {
    let world = World::new(13);
    assert_eq!(Route::new(Vec::new()).err(), Some(RouteError::NoOffer));
    let many = (0..17).map(|_| world.offer(1)).collect();
    assert_eq!(
        Route::new(many).err(),
        Some(RouteError::TooManyOffers { offers: 17 })
    );
    let route = world.gate.charge("0.01 USD").unwrap();
    assert_eq!(route.offers()[0].price().units(), PRICE);
    for price in [
        "",
        "0.01",
        "0.01USD",
        "0.01 EUR",
        "x USD",
        "-1 USD",
        "0.0000001 USD",
    ] {
        assert!(world.gate.charge(price).is_err(), "{price:?}");
    }
}
