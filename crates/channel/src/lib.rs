//! Payment channels: a deposit, then a voucher for each bit of service.
//!
//! A channel is the same on every rail: a [`Channel`] holds figures and a phase, [`Op`]s are
//! decided against it and the [`Event`]s of those that pass are applied. How methods differ is
//! data: [`Caps`]. A [`Voucher`] says how much the payer has authorised so far, in all; whether it
//! is genuine is told by a scheme behind [`VerifyVoucher`].
//!
//! As in the core there is no I/O, no clock and no randomness here, and everything is total on
//! hostile input. The caller verifies a voucher first, outside any lock, then decides, makes the
//! event durable, applies it, and only then serves.
//!
//! # Limits
//! | limit | value | what it bounds |
//! |---|---|---|
//! | [`meter::METERS_MAX`] | 16 | meters of one channel |
//! | [`meter::NAME_BYTES_MAX`] | 32 | bytes of a meter's id, or a unit's name |
//! | [`meter::PRICE_BYTES_MAX`] | 78 | bytes of a price as text |
//! | [`voucher::chain::WORDS_MAX`] | 2^28 | words of a hash chain |
//! | [`voucher::chain::SKIP_MAX`] | 1024 | words that one voucher may skip |
//! | [`voucher::ed25519::BATCH_MAX`] | 64 | signatures that one forged one makes verified again |
//! | [`voucher::ed25519::SINGLES_AFTER_FORGERY`] | 1024 | vouchers verified singly after that |
//!
//! # Features
//! `eip712`: vouchers of Tempo, EVM and Hedera. Compiles C.
//!
//! # Examples
//! ```
//! use stiver_channel::{Authority, Caps, Channel, Op, Rules};
//! use stiver_core::Timestamp;
//!
//! let now = Timestamp::from_millis(1_700_000_000_000);
//! let rules = Rules { caps: Caps::LEDGER, voucher_delta_min: 1 };
//! let mut channel = Channel::opening(now);
//! let paid = Authority::Voucher { cumulative: 25 };
//! for op in [
//!     Op::ConfirmOpen { deposit: 1000, settled: 0, voucher: None },
//!     Op::Accept { cumulative: 25 },
//!     Op::Spend { amount: 20, from_reserved: 0, authority: paid },
//! ] {
//!     if let Some(event) = channel.decide(&rules, &op, now)? {
//!         // Here the event becomes durable.
//!         channel.apply(&event)?;
//!     }
//! }
//! assert_eq!(channel.figures().available(), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod caps;
mod id;
pub mod meter;
mod state;
pub mod voucher;

pub use caps::{AuthorisedBy, Caps, InitialVoucher, NeedMore, StaleVoucher};
pub use id::ChannelId;
pub use state::{
    Authority, Broken, Change, Channel, Event, Figures, Op, Phase, PhaseName, Refusal, Rules,
};
pub use voucher::{VerifyVoucher, Voucher, VoucherError};
