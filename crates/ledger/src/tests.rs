//! Scenarios, properties and crashes.

mod hostile;
mod keys;
mod language;
mod log;
mod precedence;
mod properties;
mod scenarios;
