//! Both sides of Stiver at once, in simulated time, while everything goes wrong that can.
//!
//! A run is a [`plan::Plan`], drawn from a seed. Three machines take part in it: a gateway (the
//! very one that `stiver serve` runs, with its ledger and its store), a buyer (the client engine
//! with its journals), and the API that is sold. Between them is a network of byte streams that
//! delays, breaks off after any byte, falls silent, and lets a stranger say again what was said.
//! Disks tear writes, lose what was not synced, fail and fill up; processes are killed and machines
//! lose their power at any moment. Nothing is mocked but the world: see [`stiver_env`].
//!
//! At the end all is well again, everything is brought to its end, and the books are
//! [audited](audit) from the disks.
//!
//! One seed gives one run, always: what was found is found again, and made smaller.
#![forbid(unsafe_code)]

pub mod api;
pub mod audit;
pub mod buyer;
pub mod http;
pub mod machine;
pub mod net;
pub mod plan;
pub mod shop;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use audit::Report;
use plan::Plan;

/// Runs a plan; a panic on the way is a failure as any other.
///
/// # Errors
///
/// What should always hold and does not, in words.
pub fn attempt(plan: &Plan) -> Result<Report, String> {
    match catch_unwind(AssertUnwindSafe(|| world::run(plan))) {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
            Err(format!("it panicked: {}", text.unwrap_or_default()))
        }
    }
}
