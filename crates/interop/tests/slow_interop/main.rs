//! Stiver against implementations that nobody here wrote, both ways, as processes.
//!
//! `cargo xtask interop` installs the peers and runs this; so does `cargo xtask test`. What is
//! found is `docs/interop.md` and `docs/peers.md`, which must be what the last run found: `cargo
//! xtask interop --write` writes them.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the tests and what they share stop at what they did not expect"
)]

mod document;
mod frames;
mod library;
mod our_client;
mod peers;
mod quirks;
mod stage;
mod their_client;
mod validate;
mod wire;

use std::sync::OnceLock;

use stage::Implementation;
use stiver_interop::matrix::Section;

/// Asks the questions of one side at one peer, once.
fn once(known: &'static OnceLock<Section>, ask: impl FnOnce() -> Section) -> &'static Section {
    known.get_or_init(ask)
}

fn whole(section: &Section) {
    assert_eq!(section.failures(), "");
}

fn their_client(who: Implementation) -> &'static Section {
    static MPPX: OnceLock<Section> = OnceLock::new();
    static MPP: OnceLock<Section> = OnceLock::new();
    static PYMPP: OnceLock<Section> = OnceLock::new();
    let known = match who {
        Implementation::Mppx => &MPPX,
        Implementation::Mpp => &MPP,
        Implementation::Pympp => &PYMPP,
    };
    once(known, || their_client::section(who))
}

fn our_client(who: Implementation) -> &'static Section {
    static MPPX: OnceLock<Section> = OnceLock::new();
    static MPP: OnceLock<Section> = OnceLock::new();
    static PYMPP: OnceLock<Section> = OnceLock::new();
    let known = match who {
        Implementation::Mppx => &MPPX,
        Implementation::Mpp => &MPP,
        Implementation::Pympp => &PYMPP,
    };
    once(known, || our_client::section(who))
}

#[test]
fn our_client_pays_a_server_of_mppx() {
    whole(our_client(Implementation::Mppx));
}

#[test]
fn our_client_pays_a_server_of_mpp() {
    whole(our_client(Implementation::Mpp));
}

#[test]
fn our_client_pays_a_server_of_pympp() {
    whole(our_client(Implementation::Pympp));
}

#[test]
fn client_of_mppx_pays_our_gateway() {
    whole(their_client(Implementation::Mppx));
}

#[test]
fn client_of_mpp_pays_our_gateway() {
    whole(their_client(Implementation::Mpp));
}

#[test]
fn client_of_pympp_pays_our_gateway() {
    whole(their_client(Implementation::Pympp));
}

fn quirks() -> &'static Section {
    static QUIRKS: OnceLock<Section> = OnceLock::new();
    once(&QUIRKS, quirks::section)
}

fn validate() -> &'static Section {
    static VALIDATE: OnceLock<Section> = OnceLock::new();
    once(&VALIDATE, validate::section)
}

#[test]
fn odd_answers_cost_nothing_or_what_they_say() {
    whole(quirks());
}

#[test]
fn validator_of_mppx_finds_nothing_wrong_with_our_gateway() {
    whole(validate());
}

#[test]
fn document_is_what_the_run_found() {
    let all = [
        Implementation::Mppx,
        Implementation::Mpp,
        Implementation::Pympp,
    ];
    let (theirs, ours) = (all.map(their_client), all.map(our_client));
    let found = document::interop(&theirs, &ours, quirks(), validate());
    compare("interop.md", &found);
    compare("peers.md", &peers::peers(&theirs, &ours));
}

/// The committed document must be this; where `cargo xtask interop --write` asks, it becomes this.
fn compare(name: &str, found: &str) {
    let path = document::path(name);
    assert!(!found.contains("FAILED"), "a question failed:\n{found}");
    if std::env::var_os("STIVER_INTEROP_WRITE").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == found,
        "docs/{name} is not what the run found: run `cargo xtask interop --write`\n{found}"
    );
}
