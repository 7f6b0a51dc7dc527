//! What every store must do, as one suite that is run against each.
//!
//! ```
//! use std::sync::Arc;
//!
//! use stiver_testkit::{
//!     fixtures,
//!     store_memory::MemoryStore,
//!     store_suite::{Subject, check_store},
//!     time::SimulatedClock,
//! };
//!
//! check_store(|limits| {
//!     let clock = SimulatedClock::new(fixtures::now());
//!     let store = Arc::new(MemoryStore::new(Arc::new(clock.clone()), limits, 1));
//!     Subject { store, clock }
//! });
//! ```
#![expect(clippy::panic, reason = "this is a test, run from several places")]

mod advances;
mod claims;
mod idempotency;
mod leases;
mod model;
mod responses;

use std::{sync::Arc, time::Duration};

use stiver_env::BoxFuture;
use stiver_store::{Advance, Claim, Command, Limits, NewClaim, Reply, Store};

pub use self::model::{compare_stores, random_command};
use crate::{fixtures, time::SimulatedClock};

/// The limits under which the suite runs a store: small, so that they are reached.
pub const LIMITS: Limits = Limits {
    claims_max: 12,
    claims_bytes_max: 1 << 30,
    response_bytes_max: 1000,
    responses_bytes_max: 2500,
};

/// A store to be checked, and the clock it tells the time by.
#[derive(Clone)]
pub struct Subject {
    /// The store, empty.
    pub store: Arc<dyn Store>,
    /// Its clock, at [`fixtures::now`].
    pub clock: SimulatedClock,
}

/// One behaviour, named by its function.
type Behaviour = for<'a> fn(&'a Subject) -> BoxFuture<'a, ()>;

/// Runs every behaviour against a store of its own. `make` gives an empty store with these limits.
///
/// # Panics
///
/// At the first behaviour that the store does not show.
pub fn check_store(make: impl Fn(Limits) -> Subject) {
    let all = [
        claims::ALL,
        advances::ALL,
        leases::ALL,
        idempotency::ALL,
        responses::ALL,
    ];
    for behaviour in all.into_iter().flatten() {
        let subject = make(LIMITS);
        pollster::block_on(behaviour(&subject));
    }
}

impl Subject {
    /// Lets so many milliseconds pass.
    pub fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    /// Submits a command. A store that has no answer fails the test.
    pub async fn submit(&self, command: Command) -> Reply {
        self.store
            .submit(command)
            .await
            .expect("the store has an answer")
    }

    async fn claim(&self, new: &NewClaim) -> Reply {
        self.submit(Command::Claim(new.clone())).await
    }

    /// Makes a claim, which must be won.
    async fn won(&self, new: &NewClaim) -> Claim {
        match self.claim(new).await {
            Reply::Won(claim) => *claim,
            other => panic!("the claim must be won, but the store says {other:?}"),
        }
    }

    /// Advances the claim of a number as its first epoch.
    async fn advance(&self, n: u64, to: Advance) -> Reply {
        self.advance_as(n, 1, to).await
    }

    async fn advance_as(&self, n: u64, epoch: u64, to: Advance) -> Reply {
        let challenge_id = fixtures::challenge_id(n);
        self.submit(Command::Advance {
            challenge_id,
            epoch,
            to,
        })
        .await
    }

    /// Advances, which must be done.
    async fn advanced(&self, n: u64, to: Advance) -> Claim {
        match self.advance(n, to).await {
            Reply::Advanced(claim) => *claim,
            other => panic!("the claim must advance, but the store says {other:?}"),
        }
    }

    async fn get(&self, n: u64) -> Reply {
        let challenge_id = fixtures::challenge_id(n);
        self.submit(Command::Get { challenge_id }).await
    }

    /// Reads a claim, which must be there.
    async fn found(&self, n: u64) -> Claim {
        match self.get(n).await {
            Reply::Found(claim) => *claim,
            other => panic!("the claim must be there, but the store says {other:?}"),
        }
    }

    async fn take_over(&self, n: u64, owner: u64) -> Reply {
        let challenge_id = fixtures::challenge_id(n);
        self.submit(Command::TakeOver {
            challenge_id,
            owner,
            lease_ms: fixtures::LEASE_MS,
        })
        .await
    }

    async fn renew(&self, n: u64, epoch: u64, lease_ms: u64) -> Reply {
        let challenge_id = fixtures::challenge_id(n);
        self.submit(Command::Renew {
            challenge_id,
            epoch,
            lease_ms,
        })
        .await
    }

    /// The ids of the claims that are listed as unfinished.
    async fn unfinished(&self, after: Option<u64>, limit: usize) -> Vec<String> {
        let after = after.map(fixtures::challenge_id);
        ids(self.submit(Command::Unfinished { after, limit }).await)
    }

    /// The ids of the claims that are listed.
    async fn list(&self, after: Option<u64>, limit: usize) -> Vec<String> {
        let after = after.map(fixtures::challenge_id);
        ids(self.submit(Command::List { after, limit }).await)
    }
}

fn ids(listed: Reply) -> Vec<String> {
    match listed {
        Reply::Claims(claims) => claims.into_iter().map(|it| it.challenge_id).collect(),
        other => panic!("a list is due, but the store says {other:?}"),
    }
}

/// Bytes of a text.
fn bytes(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

fn settled() -> Advance {
    Advance::Settled {
        settlement: bytes("settlement"),
        deliver: false,
    }
}

fn settled_and_deliver() -> Advance {
    Advance::Settled {
        settlement: bytes("settlement"),
        deliver: true,
    }
}

fn failed() -> Advance {
    Advance::Failed {
        refusal: bytes("refusal"),
    }
}

fn delivered() -> Advance {
    Advance::Delivered {
        receipt: "receipt".into(),
        response: None,
    }
}

fn capture() -> Advance {
    Advance::Capture { response: None }
}

fn captured() -> Advance {
    Advance::Captured {
        settlement: bytes("settlement"),
        receipt: "receipt".into(),
        response: None,
    }
}

fn refund() -> Advance {
    Advance::Refund {
        artefact: b"refund artefact"[..].into(),
    }
}

fn refunded() -> Advance {
    Advance::Refunded {
        refund: bytes("refund"),
    }
}
