use std::path::Path;

use stiver_client::{
    outbox::{CallId, Outbox, Resource, Step, StoredRequest, Terms},
    pins::{Claim, Pins},
    policy::Trust,
};
use stiver_core::Currency;
use stiver_testkit::simulation::Simulation;
use zeroize::Zeroizing;

use super::*;

const HOME: &str = "/home/.stiver";

fn name(text: &str) -> WalletName {
    WalletName::new(text).unwrap()
}

fn home(simulation: &Simulation) -> Home {
    Home::new(HOME, simulation.env())
}

#[test]
fn a_new_wallet_survives_a_power_cut_and_signs_with_its_key() {
    let simulation = Simulation::new(1);
    let made = simulation
        .block_on(home(&simulation).create(&name("main")))
        .unwrap();
    simulation.crash();
    let wallet = home(&simulation).wallet(&name("main")).unwrap();
    assert_eq!(wallet.did(), made.did());
    assert_eq!(wallet.key().unwrap().did(), made.did());
    assert_eq!(wallet.name().as_str(), "main");
}

#[test]
fn two_wallets_have_two_keys_and_are_listed_by_name() {
    let simulation = Simulation::new(1);
    let home = home(&simulation);
    assert!(home.wallets().unwrap().is_empty());
    for text in ["zoe", "adam"] {
        simulation.block_on(home.create(&name(text))).unwrap();
    }
    // Other files are nobody's wallet.
    let keys = Path::new(HOME).join("keys");
    for file in ["notes.txt", ".hidden.key", "a b.key"] {
        simulation.disk.put(&keys.join(file), b"x");
    }
    let wallets = home.wallets().unwrap();
    let names: Vec<_> = wallets.iter().map(|w| w.name().to_string()).collect();
    assert_eq!(names, ["adam", "zoe"]);
    assert_ne!(wallets[0].did(), wallets[1].did());
}

#[test]
fn a_key_is_never_replaced_not_even_a_damaged_one() {
    let simulation = Simulation::new(1);
    let home = home(&simulation);
    let wallet = simulation.block_on(home.create(&name("main"))).unwrap();
    let path = Path::new(HOME).join("keys/main.key");
    for damage in [None, Some(b"rubbish".as_slice()), Some(b"")] {
        if let Some(bytes) = damage {
            simulation.disk.put(&path, bytes);
        }
        let before = simulation.disk.bytes(&path);
        let again = simulation.block_on(home.create(&name("main")));
        assert!(matches!(again, Err(WalletError::Exists { .. })));
        assert_eq!(simulation.disk.bytes(&path), before);
    }
    assert!(matches!(wallet.key(), Err(WalletError::Key { .. })));
}

#[test]
fn a_wallet_that_is_not_there_is_told_how_to_make() {
    let simulation = Simulation::new(1);
    let error = home(&simulation).wallet(&name("main")).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("stiver wallet new main"), "{text}");
}

#[test]
fn errors_about_a_key_file_hold_nothing_of_it() {
    let simulation = Simulation::new(1);
    let home = home(&simulation);
    simulation.block_on(home.create(&name("main"))).unwrap();
    let path = Path::new(HOME).join("keys/main.key");
    let good = String::from_utf8(simulation.disk.bytes(&path).unwrap()).unwrap();
    let secret = good.lines().nth(2).unwrap().split(' ').nth(1).unwrap();
    let damaged = good.replace("secret ", "secret !");
    simulation.disk.put(&path, damaged.as_bytes());
    let error = home.wallet(&name("main")).err().unwrap();
    let mut texts = vec![error.to_string(), format!("{error:?}")];
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    assert!(texts.len() > 2);
    for text in texts {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn an_account_is_bound_read_back_and_replaced() {
    let simulation = Simulation::new(1);
    let home = home(&simulation);
    let wallet = simulation.block_on(home.create(&name("main"))).unwrap();
    assert_eq!(wallet.account().unwrap(), None);
    let mut account = Account {
        ledger: "L1".into(),
        account: "a7".into(),
        currencies: vec![Currency::new("usd", 6).unwrap()],
        query_url: Some("http://127.0.0.1:8402/ledger".into()),
        receipt_key: Some("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK".into()),
    };
    for url in [account.query_url.clone(), None] {
        account.query_url = url;
        wallet.bind(&account).unwrap();
        simulation.crash();
        assert_eq!(wallet.account().unwrap(), Some(account.clone()));
    }
}

#[test]
fn damaged_account_files_are_refused_with_the_reason() {
    let simulation = Simulation::new(1);
    let home = home(&simulation);
    let wallet = simulation.block_on(home.create(&name("main"))).unwrap();
    let path = Path::new(HOME).join("accounts/main.json");
    let good = r#"{"version":1,"ledger":"L","account":"a","currencies":[]}"#;
    let table = [
        ("", "line 1"),
        ("{}", "missing field"),
        (&good.replace(":1", ":2"), "version 2"),
        (&good.replace("\"L\"", "\"\""), "visible"),
        (&good.replace("\"L\"", "\"a b\""), "visible"),
        (&good.replace("\"L\"", "7"), "line 1"),
        (&good.replace('}', r#","more":1}"#), "unknown field"),
        (
            &good.replace("[]", r#"[{"code":"usd","decimals":99}]"#),
            "currency",
        ),
    ];
    simulation
        .env()
        .disk
        .create_folder(path.parent().unwrap())
        .unwrap();
    simulation.disk.put(&path, good.as_bytes());
    assert!(wallet.account().unwrap().is_some());
    for (text, words) in table {
        simulation.disk.put(&path, text.as_bytes());
        let error = wallet.account().unwrap_err();
        let WalletError::Account { source, .. } = &error else {
            panic!("{error}");
        };
        assert!(source.to_string().contains(words), "{text}: {source}");
    }
}

#[test]
fn wallets_keep_journals_of_their_own() {
    let simulation = Simulation::new(1);
    let home = home(&simulation);
    let all = HistoryFilter::default();
    for (n, text) in [(1, "one"), (2, "two")] {
        let wallet = simulation.block_on(home.create(&name(text))).unwrap();
        assert!(wallet.history(&all).unwrap().is_empty());
        let outbox = simulation.block_on(wallet.outbox()).unwrap();
        let call = CallId::from_bytes([n; 16]);
        simulation.block_on(outbox.record(call, begun())).unwrap();
        let history = wallet.history(&all).unwrap();
        assert_eq!(history.len(), 1);
        assert_eq!(history[0].id, call);
    }
}

#[test]
fn what_is_remembered_of_origins_is_shared_by_processes() {
    let simulation = Simulation::new(1);
    let origin = stiver_client::Origin::of(&"https://a.example".parse().unwrap()).unwrap();
    let claim = Claim {
        realm: Some("shop".into()),
        method: "ledger".into(),
        network: "n".into(),
        payee: "p".into(),
    };
    let one = home(&simulation).pins().unwrap();
    let two = home(&simulation).pins().unwrap();
    let compare = |pins: &FilePins| simulation.block_on(pins.compare(&origin, &claim)).unwrap();
    assert_eq!(compare(&two), Trust::FirstUse);
    simulation.block_on(one.learn(&origin, &claim)).unwrap();
    simulation.crash();
    assert_eq!(compare(&two), Trust::Known);

    let path = Path::new(HOME).join("pins/pins.json");
    for rubbish in ["", "{}", r#"{"version":9,"origins":{}}"#] {
        simulation.disk.put(&path, rubbish.as_bytes());
        let error = simulation.block_on(two.compare(&origin, &claim));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("pins.json is damaged"), "{error}");
    }
}

fn begun() -> Step {
    Step::Begun {
        resource: Resource {
            origin: "https://a.example".into(),
            method: "GET".into(),
            url: "https://a.example/".into(),
        },
        terms: Terms {
            amount: Currency::new("usd", 6).unwrap().units(1),
            payee: "p".into(),
            network: "n".into(),
            realm: "r".into(),
            method: "m".into(),
            intent: "charge".into(),
            challenge_id: "c".into(),
            expires: None,
        },
        request: StoredRequest {
            fields: Zeroizing::new(vec![]),
            body: None,
            body_digest: [0; 32],
        },
        challenge: "Payment c".into(),
    }
}
