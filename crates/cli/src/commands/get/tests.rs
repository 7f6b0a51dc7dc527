//! Every failure, as it is told. The table is what users read: change the file with the text.

use std::fmt::Write as _;

use http::StatusCode;
use stiver_client::{
    CallError, CallId, MoneyMoved, Origin, OriginError,
    error::{LastSeen, NotResumable, Refused, Unusable},
    outbox::OutboxError,
    pins::PinsError,
};
use stiver_core::{
    Currency, Timestamp,
    binding::{KeyRing, Secret},
    challenge::{Challenge, Params},
    json::{EncodedObject, Object},
    name::{IntentName, MethodName, Realm},
    problem::{Problem, ProblemKind, ReceivedProblem},
};
use stiver_method::{
    artefact::{Refusal, RefusalKind},
    payer::{PayError, Unpayable},
};

use super::{
    command,
    consent::Verdict,
    out_of_time,
    outcome::{PurseState, Scene, Typed, failure},
};

const COLUMNS: usize = 96;
const FIXTURE: &str = include_str!("failures.txt");

fn call() -> CallId {
    CallId::from_bytes([7; 16])
}

fn origin(url: &str) -> Origin {
    Origin::of(&url.parse().unwrap()).unwrap()
}

fn refused(kind: ProblemKind) -> Refused {
    let json = Problem::new(kind, "in the server's words").to_json();
    let problem = ReceivedProblem::parse(json.as_bytes()).unwrap();
    Refused::new(StatusCode::PAYMENT_REQUIRED.as_u16(), Some(&problem))
}

fn refusal(kind: RefusalKind) -> Refusal {
    Refusal {
        kind,
        detail: "because".to_owned(),
    }
}

fn challenge(method: &str, request: &str) -> Challenge {
    let params = Params::new(
        Realm::new("a shop").unwrap(),
        MethodName::new(method).unwrap(),
        IntentName::charge(),
        EncodedObject::encode(&Object::parse(request.as_bytes()).unwrap()),
    );
    KeyRing::new(Secret::from_bytes(&[7; 32])).bind(params)
}

fn ledger_challenge() -> Challenge {
    let request = r#"{"amount":"10000","currency":"usd","recipient":"acct_x",
        "methodDetails":{"ledger":"AAAAAAAAAAAAAAAAAAAAAA","decimals":6}}"#;
    challenge("ledger", request)
}

fn scene<'a>(purse: PurseState, challenges: &'a [Challenge], verdicts: Vec<Verdict>) -> Scene<'a> {
    Scene {
        command: Some(Typed {
            whole: "stiver get {} --max-amount '1 USD' https://api.example/x".to_owned(),
            unlimited: "stiver get {} https://api.example/x".to_owned(),
        }),
        verdicts,
        challenges,
        wallet: "default",
        purse,
        origin: Some("https://api.example".to_owned()),
    }
}

fn moneys() -> [MoneyMoved; 3] {
    [MoneyMoved::No, MoneyMoved::Maybe, MoneyMoved::Yes]
}

/// Errors of a call that is in the journal.
fn in_the_journal(moved: MoneyMoved) -> [CallError; 4] {
    [
        CallError::Journal {
            call: call(),
            moved,
            source: OutboxError::Disk {
                path: "/home/anna/.stiver/outbox".into(),
                source: std::io::Error::other("no space"),
            },
        },
        CallError::Pay {
            call: call(),
            moved,
            source: PayError::Refused(refusal(RefusalKind::Insufficient)),
        },
        CallError::Refused {
            call: call(),
            moved,
            refusal: refused(ProblemKind::PaymentInsufficient),
        },
        CallError::Unknown {
            call: call(),
            moved,
            last: LastSeen::TimedOut,
        },
    ]
}

/// Errors whose advice does not depend on anything else.
fn plain() -> Vec<CallError> {
    let mut errors = vec![
        CallError::Origin(OriginError::NotAbsolute),
        CallError::PlainHttp(origin("http://api.example")),
        CallError::CredentialPresent,
        CallError::RequestBody("it is longer than 16777216 bytes".to_owned()),
        CallError::Transport {
            origin: origin("https://api.example"),
            source: "connection refused".into(),
        },
        CallError::RedirectElsewhere {
            from: origin("https://api.example"),
            to: "http://api.example/plain".to_owned(),
        },
        CallError::TooManyRedirects { limit: 10 },
        CallError::PaymentElsewhere {
            from: origin("https://api.example"),
            to: origin("https://other.example"),
            url: "https://other.example/x?y&z".to_owned(),
        },
        CallError::ExpiredMeanwhile {
            at: Timestamp::EPOCH,
        },
        CallError::Pins {
            origin: origin("https://api.example"),
            source: PinsError::Disk {
                path: "/home/anna/.stiver/pins".into(),
                source: std::io::Error::other("no space"),
            },
        },
    ];
    errors.extend(moneys().into_iter().flat_map(in_the_journal));
    errors.push(CallError::Refused {
        call: call(),
        moved: MoneyMoved::No,
        refusal: refused(ProblemKind::PaymentExpired),
    });
    for why in [
        NotResumable::NotOpen,
        NotResumable::UnderWay,
        NotResumable::NothingSigned,
        NotResumable::Expired,
        NotResumable::BodyNotKept,
        NotResumable::Unusable("its URL is damaged".to_owned()),
    ] {
        errors.push(CallError::NotResumable { call: call(), why });
    }
    errors
}

fn not_payable(reasons: Vec<Unusable>) -> CallError {
    CallError::NotPayable {
        reasons,
        refusal: refused(ProblemKind::PaymentRequired),
    }
}

fn declined() -> CallError {
    CallError::Declined {
        reasons: vec!["no".to_owned()],
    }
}

fn line(told: &mut String, error: CallError, scene: &Scene<'_>) {
    let failure = failure(error, scene);
    let object = failure.object()["error"].clone();
    let retry = object["retry"].as_str().unwrap();
    let kind = failure.kind;
    writeln!(
        told,
        "exit {} ({}), retry: {retry}",
        kind.exit_code(),
        kind.name()
    )
    .unwrap();
    let mut columns = COLUMNS;
    for word in failure.message().split(' ') {
        if columns + 1 + word.len() > COLUMNS {
            told.push_str(if columns == COLUMNS { "   " } else { "\n   " });
            columns = 3;
        }
        write!(told, " {word}").unwrap();
        columns += 1 + word.len();
    }
    told.push('\n');
    assert!(failure.message().contains("money"), "{}", failure.message());
    assert!(!object["hint"].as_str().unwrap().is_empty());
}

#[test]
fn every_failure_says_whether_money_moved_whether_to_retry_and_what_next() {
    let mut told = String::new();
    let ours = [ledger_challenge()];
    for error in plain() {
        line(&mut told, error, &scene(PurseState::Ready, &[], vec![]));
    }
    let method = || vec![Unusable::Method("ledger".to_owned())];
    for purse in [PurseState::Missing, PurseState::Unbound] {
        line(
            &mut told,
            not_payable(method()),
            &scene(purse, &ours, vec![]),
        );
    }
    let no_account = Unusable::Unpayable {
        method: "ledger".to_owned(),
        why: Unpayable::NoAccount("this wallet has no account on ledger L".to_owned()),
    };
    let ready = |verdicts| scene(PurseState::Ready, &ours, verdicts);
    line(&mut told, not_payable(vec![no_account]), &ready(vec![]));
    let other_body = not_payable(vec![Unusable::OtherBody]);
    line(&mut told, other_body, &ready(vec![]));
    let foreign = [challenge("cowries", r#"{"amount":"3","currency":"shell"}"#)];
    let cowries = vec![Unusable::Method("cowries".to_owned())];
    let none = scene(PurseState::Ready, &foreign, vec![]);
    line(&mut told, not_payable(cowries), &none);
    let usd = Currency::new("usd", 6).unwrap();
    let (price, has) = (usd.units(10_000), usd.zero());
    for verdict in [
        Verdict::Unasked {
            price: price.clone(),
        },
        Verdict::Over {
            price: price.clone(),
            why: "0.01 USD is more than the limit of 0.001 USD".to_owned(),
        },
        Verdict::Short {
            price: price.clone(),
            has,
        },
        Verdict::Changed {
            price,
            why: "the payee is acct_b, it was acct_a".to_owned(),
        },
        Verdict::SaidNo,
    ] {
        line(&mut told, declined(), &ready(vec![verdict.clone()]));
    }
    let secret = Scene {
        command: None,
        ..ready(vec![Verdict::Unasked {
            price: usd.units(1),
        }])
    };
    line(&mut told, declined(), &secret);
    let expected: Vec<&str> = FIXTURE.lines().collect();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines == expected, "failures.txt should be:\n{told}");
}

fn typed(words: &[&str]) -> Option<Typed> {
    use clap::Parser as _;
    let cli = crate::args::Cli::try_parse_from(words).unwrap();
    let crate::args::Command::Get(args) = cli.command else {
        panic!("it is a get");
    };
    command(&args, words.iter().map(|word| (*word).to_owned()))
}

#[test]
fn command_to_run_is_the_one_that_was_typed() {
    assert_eq!(
        typed(&["/x/stiver", "--json", "get", "-d", "a b", "http://a/?b&c"]).unwrap(),
        Typed {
            whole: "stiver --json get {} -d 'a b' 'http://a/?b&c'".to_owned(),
            unlimited: "stiver --json get {} -d 'a b' 'http://a/?b&c'".to_owned(),
        }
    );
    assert_eq!(
        typed(&["stiver", "get", "--max-amount", "1 USD", "http://get/"]).unwrap(),
        Typed {
            whole: "stiver get {} --max-amount '1 USD' http://get/".to_owned(),
            unlimited: "stiver get {} http://get/".to_owned(),
        }
    );
    assert_eq!(
        typed(&["stiver", "get", "--max-amount=1 USD", "-H", "a: b", "u"]).unwrap(),
        Typed {
            whole: "stiver get {} '--max-amount=1 USD' -H 'a: b' u".to_owned(),
            unlimited: "stiver get {} -H 'a: b' u".to_owned(),
        }
    );
    for secret in [
        &["-u", "a:b"][..],
        &["--bearer", "t"],
        &["-H", "Authorization: Bearer t"],
        &["-H", "X-Api-Key: k"],
        &["-x", "http://a:b@127.0.0.1:1"],
    ] {
        let words = [&["stiver", "get", "u"][..], secret].concat();
        assert_eq!(typed(&words), None, "{secret:?}");
    }
}

#[test]
fn time_that_runs_out_while_the_journal_cannot_be_read_leaves_it_unknown() {
    let unreadable = || OutboxError::Disk {
        path: "/home/anna/.stiver/outbox".into(),
        source: std::io::Error::other("no space"),
    };
    let failure = out_of_time(5, Some(call()), Err(unreadable()));
    let told = failure.object()["error"].clone();
    assert_eq!(
        (failure.kind.exit_code(), &told["moneyMoved"]),
        (7, &"maybe".into())
    );
    assert_eq!(told["call"], call().to_string());
    assert_eq!(told["retry"], "resume");
    for entry in [Ok(None), Err(unreadable())] {
        let failure = out_of_time(5, None, entry);
        let told = failure.object()["error"].clone();
        assert_eq!(
            (failure.kind.exit_code(), &told["moneyMoved"]),
            (3, &"no".into())
        );
    }
}
