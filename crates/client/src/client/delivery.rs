//! The end of a paid response's body, which is the end of the call.

use super::{Guard, PaymentClient};
use crate::{CallId, outbox::Step};

/// The end of a paid response's body, still to come. Until then the call stays open, and what was
/// paid for can be fetched again.
pub struct Delivery {
    client: PaymentClient,
    id: CallId,
    step: Step,
    /// Nobody else goes on with the call while its body is read.
    _guard: Option<Guard>,
}

impl Delivery {
    pub(super) fn new(client: PaymentClient, id: CallId, step: Step, guard: Option<Guard>) -> Self {
        Self {
            client,
            id,
            step,
            _guard: guard,
        }
    }

    /// The body was read to its end: journals that.
    pub async fn reached(self) {
        // If it is not recorded, the call stays open: nothing is lost.
        let _ = self.client.record(self.id, self.step).await;
    }
}
