//! What a payer keeps: keys, the accounts they sign for, and the journal of what was paid.
//!
//! Everything lies in one home folder, readable by its owner only:
//!
//! ```text
//! keys/NAME.key        the Ed25519 key of the wallet NAME (mode 0600): as it is, encrypted under a
//!                      passphrase, or the name of the keyring's item that holds it
//! accounts/NAME.json   the ledger account it signs for, and where to ask about it
//! outbox/NAME/         the journal of its paid calls (see stiver_client::outbox)
//! pins/pins.json       realms and payees remembered by origin, for all wallets
//! ```
//!
//! A secret is read once for each wallet a process opens, when it is first needed; listing wallets,
//! joining a ledger and reading the history need none.
//!
//! Any number of processes may use one wallet at once: nothing here is locked for longer than it
//! takes to write a small file, but an outbox lane, of which each process takes its own.
//!
//! ```
//! use stiver_testkit::simulation::Simulation;
//! use stiver_wallet::{Home, Keep, WalletName};
//!
//! let machine = Simulation::new(1);
//! let home = Home::new("/home/anna/.stiver", machine.env());
//! let name = WalletName::new("main").unwrap();
//! let wallet = machine.block_on(home.create(&name, Keep::PlainFile)).unwrap();
//! assert_eq!(home.wallet(&name).unwrap().did(), wallet.did());
//! ```
#![forbid(unsafe_code)]

mod account;
mod error;
mod home;
pub mod keyfile;
mod keyring;
mod name;
mod passphrase;
pub mod sealed;
mod wallet;

pub use account::{Account, AccountFileError};
pub use error::WalletError;
pub use home::{Home, Keep, Kept, LeftItem, Moved};
#[cfg(feature = "keyring")]
pub use keyring::SystemKeyring;
pub use keyring::{KEYRING_SERVICE, Keyring, KeyringError};
pub use name::{NameError, WalletName};
pub use passphrase::{PassphraseError, Passphrases};
pub use wallet::Wallet;

#[cfg(test)]
mod tests;
