//! A reverse proxy that puts a price on any HTTP API.
#![forbid(unsafe_code)]

pub mod config;
pub mod init;
pub mod path;
pub mod secrets;
mod upstream;
