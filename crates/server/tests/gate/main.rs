//! The gate without HTTP: every refusal, every way on, on a simulated machine.

mod changes;
mod common;
mod concurrency;
mod idempotency;
mod recovery;
mod refusals;
mod resume;
