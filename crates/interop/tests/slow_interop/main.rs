//! Stiver against implementations that nobody here wrote, both ways, as processes.
//!
//! `cargo xtask interop` installs the peers and runs this; so does `cargo xtask test`. What is found
//! is `docs/interop.md`, which must be what the last run found: `cargo xtask interop --write` writes
//! it.

mod library;
mod our_client;
mod stage;
mod their_client;
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
