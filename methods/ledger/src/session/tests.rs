//! Both sides of a session against a real ledger.

mod flow;
mod hostile;
mod remote;
mod setup;
mod vectors;
