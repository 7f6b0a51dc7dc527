//! What became of a body that is paid for as it comes.

use std::sync::{Arc, Mutex};

use stiver_core::Receipt;

use crate::lane::lock;

/// What became of a body that is paid for as it comes, known once the body has been read to its
/// end. Clones tell of the same body.
#[derive(Clone, Default)]
pub struct Streamed(Arc<Mutex<StreamEnd>>);

/// How a body that is paid for as it comes has ended, as far as it has.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct StreamEnd {
    /// The body has ended by itself: it did not break off, and its reader did not go away.
    pub ended: bool,
    /// The receipt of the end: the last event of an event stream, the trailer of another body. It
    /// was checked as far as the method can.
    pub receipt: Option<Receipt>,
    /// What was wrong with a receipt of the end.
    pub receipt_fault: Option<String>,
    /// Why the last voucher that was due was not signed, or not taken. An event stream that ends
    /// so, and another body that breaks off so, ended for want of payment.
    pub unpaid: Option<String>,
}

impl Streamed {
    /// As it stands now.
    pub fn end(&self) -> StreamEnd {
        lock(&self.0).clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut StreamEnd)) {
        change(&mut lock(&self.0));
    }
}

impl std::fmt::Debug for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.end().fmt(f)
    }
}
