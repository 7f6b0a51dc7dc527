//! Scenarios, properties and crashes.

mod channels;
mod hostile;
mod keys;
mod language;
mod log;
mod precedence;
mod properties;
mod scenarios;
