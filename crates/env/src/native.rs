//! The real world: the system clock, the operating system's randomness, files, sockets, tokio tasks.

use crate::Env;

/// The real world. Sockets, timers and [`crate::Spawner::spawn`] need a tokio runtime around their use, not around this call.
pub fn env() -> Env {
    todo!()
}
