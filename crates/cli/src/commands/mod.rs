//! One file for each command.

pub(crate) mod about;
pub(crate) mod get;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod ledger;
pub(crate) mod look;
pub(crate) mod mint;
pub(crate) mod operate;
pub(crate) mod payments;
pub(crate) mod serve;
pub(crate) mod sessions;
pub(crate) mod status;
pub(crate) mod wallet;
