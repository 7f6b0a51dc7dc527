//! `stiver demo`: scenes with real processes.

pub(crate) mod sensor;
