use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use stiver_client::{
    outbox::{CallId, HistoryFilter, Outbox, Resource, Step, StoredRequest, Terms},
    pins::{Claim, FilePins, Pins},
    policy::Trust,
};
use stiver_core::Currency;
use stiver_method::key::Ed25519Key;
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
        .block_on(home(&simulation).create(&name("main"), Keep::PlainFile))
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
        simulation
            .block_on(home.create(&name(text), Keep::PlainFile))
            .unwrap();
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
    let wallet = simulation
        .block_on(home.create(&name("main"), Keep::PlainFile))
        .unwrap();
    let path = Path::new(HOME).join("keys/main.key");
    for damage in [None, Some(b"rubbish".as_slice()), Some(b"")] {
        if let Some(bytes) = damage {
            simulation.disk.put(&path, bytes);
        }
        let before = simulation.disk.bytes(&path);
        let again = simulation.block_on(home.create(&name("main"), Keep::PlainFile));
        assert!(matches!(again, Err(WalletError::Exists { .. })));
        assert_eq!(simulation.disk.bytes(&path), before);
    }
    // What was read stays read; nobody can open the wallet anew.
    assert_eq!(wallet.key().unwrap().did(), wallet.did());
    assert!(matches!(
        home.wallet(&name("main")),
        Err(WalletError::Key { .. })
    ));
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
    simulation
        .block_on(home.create(&name("main"), Keep::PlainFile))
        .unwrap();
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
    let wallet = simulation
        .block_on(home.create(&name("main"), Keep::PlainFile))
        .unwrap();
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
    let wallet = simulation
        .block_on(home.create(&name("main"), Keep::PlainFile))
        .unwrap();
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
        let wallet = simulation
            .block_on(home.create(&name(text), Keep::PlainFile))
            .unwrap();
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

/// Tells fixed passphrases, and counts how often it was asked.
#[derive(Default)]
struct Told {
    existing: Mutex<Vec<&'static str>>,
    fresh: &'static str,
    asked: AtomicU32,
}

impl Passphrases for Told {
    fn existing(&self, _: &WalletName) -> Result<Zeroizing<String>, PassphraseError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let next = self.existing.lock().unwrap().pop();
        next.map(|text| Zeroizing::new(text.to_owned()))
            .ok_or(PassphraseError::NotGiven)
    }
    fn fresh(&self, _: &WalletName) -> Result<Zeroizing<String>, PassphraseError> {
        Ok(Zeroizing::new(self.fresh.to_owned()))
    }
    fn tries(&self) -> u32 {
        2
    }
}

/// A keyring of this simulated machine.
#[derive(Default)]
struct SimulatedKeyring {
    items: Mutex<BTreeMap<String, String>>,
    loads: AtomicU32,
    stuck: AtomicBool,
}

impl SimulatedKeyring {
    fn only_item(&self) -> String {
        let items = self.items.lock().unwrap();
        assert_eq!(items.len(), 1);
        items.keys().next().unwrap().clone()
    }
}

impl Keyring for SimulatedKeyring {
    fn store(&self, item: &str, secret: &str) -> Result<(), KeyringError> {
        let mut items = self.items.lock().unwrap();
        items.insert(item.to_owned(), secret.to_owned());
        Ok(())
    }
    fn load(&self, item: &str) -> Result<Zeroizing<String>, KeyringError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let items = self.items.lock().unwrap();
        let found = items.get(item).cloned().map(Zeroizing::new);
        found.ok_or_else(|| KeyringError::NoItem {
            item: item.to_owned(),
        })
    }
    fn remove(&self, item: &str) -> Result<(), KeyringError> {
        if self.stuck.load(Ordering::Relaxed) {
            return Err(KeyringError::Locked("by the test".to_owned()));
        }
        self.items.lock().unwrap().remove(item);
        Ok(())
    }
}

fn told(existing: &[&'static str], fresh: &'static str) -> Arc<Told> {
    Arc::new(Told {
        existing: Mutex::new(existing.iter().rev().copied().collect()),
        fresh,
        asked: AtomicU32::new(0),
    })
}

fn sealed_home(simulation: &Simulation, passphrases: &Arc<Told>) -> Home {
    home(simulation)
        .with_passphrases(passphrases.clone())
        .with_kdf_cost(sealed::KdfCost::DANGEROUSLY_LOW)
}

fn key_file(simulation: &Simulation) -> String {
    let path = Path::new(HOME).join("keys/main.key");
    String::from_utf8(simulation.disk.bytes(&path).unwrap()).unwrap()
}

#[test]
fn an_encrypted_key_is_asked_for_once_and_only_when_it_is_needed() {
    let simulation = Simulation::new(1);
    let passphrases = told(&["long enough"], "long enough");
    let home = sealed_home(&simulation, &passphrases);
    let made = simulation
        .block_on(home.create(&name("main"), Keep::EncryptedFile))
        .unwrap();
    assert_eq!(made.kept(), Kept::In(Keep::EncryptedFile));
    assert!(key_file(&simulation).starts_with("stiver-sealed-key 1"));
    simulation.crash();
    let wallet = home.wallet(&name("main")).unwrap();
    assert_eq!(home.wallets().unwrap()[0].kept(), made.kept());
    assert_eq!(wallet.did(), made.did());
    assert_eq!(wallet.account().unwrap(), None);
    assert!(
        wallet
            .history(&HistoryFilter::default())
            .unwrap()
            .is_empty()
    );
    assert_eq!(passphrases.asked.load(Ordering::Relaxed), 0);
    for _ in 0..2 {
        assert_eq!(wallet.clone().key().unwrap().did(), made.did());
        assert_eq!(passphrases.asked.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_mistyped_passphrase_is_asked_for_again_as_often_as_it_is_worth() {
    let simulation = Simulation::new(1);
    let passphrases = told(
        &["mistyped", "long enough", "no", "no", "no"],
        "long enough",
    );
    let home = sealed_home(&simulation, &passphrases);
    simulation
        .block_on(home.create(&name("main"), Keep::EncryptedFile))
        .unwrap();
    assert!(home.wallet(&name("main")).unwrap().key().is_ok());
    let refused = home.wallet(&name("main")).unwrap().key().err().unwrap();
    assert_eq!(passphrases.asked.load(Ordering::Relaxed), 4);
    let WalletError::Sealed { source, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(source, sealed::SealedKeyError::Passphrase);
}

#[test]
fn short_passphrases_and_none_at_all_make_no_wallet() {
    let simulation = Simulation::new(1);
    let short = sealed_home(&simulation, &told(&[], "7 bytes"));
    let none = home(&simulation);
    for home in [short, none] {
        let refused = simulation.block_on(home.create(&name("main"), Keep::EncryptedFile));
        assert!(matches!(refused, Err(WalletError::Passphrase { .. })));
        assert!(home.wallets().unwrap().is_empty());
    }
}

#[test]
fn a_key_moves_from_place_to_place_and_stays_the_same_key() {
    let simulation = Simulation::new(1);
    let keyring = Arc::new(SimulatedKeyring::default());
    let passphrases = told(&["long enough", "long enough"], "long enough");
    let home = sealed_home(&simulation, &passphrases).with_keyring(keyring.clone());
    let made = simulation
        .block_on(home.create(&name("main"), Keep::PlainFile))
        .unwrap();
    let secret = made.key().unwrap().to_secret_text();
    for keep in [
        Keep::EncryptedFile,
        Keep::EncryptedFile,
        Keep::Keyring,
        Keep::Keyring,
        Keep::PlainFile,
        Keep::Keyring,
        Keep::PlainFile,
    ] {
        let moved = simulation.block_on(home.keep(&name("main"), keep)).unwrap();
        assert!(moved.left.is_none());
        let moved = moved.wallet;
        assert_eq!((moved.did(), moved.kept()), (made.did(), Kept::In(keep)));
        simulation.crash();
        let is_plain = keep == Keep::PlainFile;
        assert_eq!(key_file(&simulation).contains(secret.as_str()), is_plain);
        let in_keyring = keyring.items.lock().unwrap().len();
        assert_eq!(in_keyring, usize::from(keep == Keep::Keyring), "{keep:?}");
    }
    assert_eq!(home.wallet(&name("main")).unwrap().did(), made.did());
}

#[test]
fn wallets_of_one_key_have_an_item_each() {
    let simulation = Simulation::new(1);
    let keyring = Arc::new(SimulatedKeyring::default());
    let home = home(&simulation).with_keyring(keyring.clone());
    for wallet in ["main", "other"].map(name) {
        let key = Ed25519Key::from_seed(&[5; 32]);
        let import = home.import(&wallet, key, Keep::Keyring);
        simulation.block_on(import).unwrap();
    }
    assert_eq!(keyring.items.lock().unwrap().len(), 2);
    simulation
        .block_on(home.keep(&name("main"), Keep::PlainFile))
        .unwrap();
    let other = home.wallet(&name("other")).unwrap();
    assert_eq!(other.key().unwrap().did(), other.did());
    keyring.only_item();
}

#[test]
fn item_named_as_earlier_versions_did_is_read_and_removed() {
    let simulation = Simulation::new(1);
    let keyring = Arc::new(SimulatedKeyring::default());
    let home = home(&simulation).with_keyring(keyring.clone());
    let key = Ed25519Key::from_seed(&[5; 32]);
    let did = key.did();
    let main = name("main");
    let made = home.import(&main, key, Keep::Keyring);
    simulation.block_on(made).unwrap();
    let secret = keyring.load(&keyring.only_item()).unwrap();
    keyring.items.lock().unwrap().clear();
    keyring.store(&did.to_string(), &secret).unwrap();
    let file = format!("stiver-keyring-key 1 ed25519\npublic {did}\nitem {did}\n");
    let path = Path::new(HOME).join("keys/main.key");
    let disk = &simulation.env().disk;
    disk.write_atomic(&path, file.as_bytes(), true).unwrap();
    simulation
        .block_on(home.keep(&name("main"), Keep::PlainFile))
        .unwrap();
    assert!(keyring.items.lock().unwrap().is_empty());
}

#[test]
fn item_that_stays_in_the_keyring_is_told_with_the_moved_wallet() {
    let simulation = Simulation::new(1);
    let keyring = Arc::new(SimulatedKeyring::default());
    let home = home(&simulation).with_keyring(keyring.clone());
    let main = name("main");
    let made = home.create(&main, Keep::Keyring);
    simulation.block_on(made).unwrap();
    keyring.stuck.store(true, Ordering::Relaxed);
    let moved = simulation.block_on(home.keep(&name("main"), Keep::PlainFile));
    let moved = moved.unwrap();
    assert_eq!(moved.wallet.kept(), Kept::In(Keep::PlainFile));
    assert_eq!(moved.left.unwrap().item, keyring.only_item());
}

#[test]
fn sealed_key_is_imported_as_it_is() {
    let simulation = Simulation::new(1);
    let passphrases = told(&["long enough"], "long enough");
    let home = sealed_home(&simulation, &passphrases);
    let key = Ed25519Key::from_seed(&[5; 32]);
    let sealed = home.seal(&name("main"), &key).unwrap();
    let main = name("main");
    let wrong = home.import_sealed(&main, &sealed, "not this one");
    assert!(matches!(
        simulation.block_on(wrong),
        Err(WalletError::Sealed { .. })
    ));
    let import = || home.import_sealed(&main, &sealed, "long enough");
    let wallet = simulation.block_on(import()).unwrap();
    assert_eq!(wallet.kept(), Kept::In(Keep::EncryptedFile));
    assert_eq!(key_file(&simulation), sealed.to_file_text());
    assert!(matches!(
        simulation.block_on(import()),
        Err(WalletError::Exists { .. })
    ));
}

#[test]
fn a_key_that_the_keyring_lost_or_altered_is_refused() {
    let simulation = Simulation::new(1);
    let keyring = Arc::new(SimulatedKeyring::default());
    let home = home(&simulation).with_keyring(keyring.clone());
    let made = simulation
        .block_on(home.create(&name("main"), Keep::Keyring))
        .unwrap();
    let loads = keyring.loads.load(Ordering::Relaxed);
    let wallet = home.wallet(&name("main")).unwrap();
    for _ in 0..2 {
        assert_eq!(wallet.key().unwrap().did(), made.did());
    }
    assert_eq!(keyring.loads.load(Ordering::Relaxed), loads + 1);
    let item = keyring.only_item();
    let other = Ed25519Key::from_seed(&[5; 32]).to_secret_text();
    keyring.store(&item, &other).unwrap();
    let mismatch = home.wallet(&name("main")).unwrap().key().err();
    assert!(matches!(
        mismatch,
        Some(WalletError::KeyringMismatch { .. })
    ));
    keyring.store(&item, "rubbish").unwrap();
    for gone in [false, true] {
        if gone {
            keyring.remove(&item).unwrap();
        }
        let error = home.wallet(&name("main")).unwrap().key().err();
        assert!(matches!(error, Some(WalletError::Keyring { .. })));
    }
    // Nobody can tell it: the move changes nothing.
    let before = key_file(&simulation);
    let moved = simulation.block_on(home.keep(&name("main"), Keep::PlainFile));
    assert!(moved.is_err());
    assert_eq!(key_file(&simulation), before);
}

#[test]
fn a_given_key_is_used_for_any_wallet_but_one_of_another_key() {
    let simulation = Simulation::new(1);
    let key = || Ed25519Key::from_seed(&[5; 32]);
    let given = home(&simulation).with_given_key(key());
    let wallet = given.wallet(&name("nobody")).unwrap();
    assert_eq!(
        (wallet.did(), wallet.kept()),
        (key().did(), Kept::Environment)
    );
    assert_eq!(wallet.key().unwrap().did(), key().did());
    assert!(given.wallets().unwrap().is_empty());
    let plain = home(&simulation);
    simulation
        .block_on(plain.create(&name("other"), Keep::PlainFile))
        .unwrap();
    let refused = given.wallet(&name("other"));
    assert!(matches!(refused, Err(WalletError::OtherKey { .. })));
    simulation
        .block_on(plain.import(&name("same"), key(), Keep::PlainFile))
        .unwrap();
    assert_eq!(
        given.wallet(&name("same")).unwrap().kept(),
        Kept::Environment
    );
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
