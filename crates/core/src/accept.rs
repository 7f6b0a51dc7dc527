//! `Accept-Payment`: what a client can pay with, and how a server ranks its offers by it (section 6).

use crate::name::{IntentName, MethodName};
use alloc::vec::Vec;

/// A parsed `Accept-Payment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptPayment {
    ranges: Vec<Range>,
}

/// One range: a method or `*`, an intent or `*`, and its weight in thousandths (0..=1000).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// `None` is `*`.
    pub method: Option<MethodName>,
    /// `None` is `*`.
    pub intent: Option<IntentName>,
    /// Thousandths.
    pub weight: u16,
}

impl AcceptPayment {
    /// From ranges, as a client builds it.
    pub fn new(ranges: Vec<Range>) -> Self {
        Self { ranges }
    }
    /// Reads all field lines of one request, joined. `Ok(None)` when there is none.
    pub fn parse<'a, I>(lines: I) -> Result<Option<Self>, AcceptPaymentError>
    where
        I: IntoIterator<Item = &'a [u8]>,
    {
        todo!()
    }
    /// Prints the field value.
    pub fn to_header(&self) -> alloc::string::String {
        todo!()
    }
    /// The weight of one offer by its most specific range (exact > `m/*` > `*/i` > `*/*`); `None` when no range matches.
    pub fn weight(&self, method: &MethodName, intent: &IntentName) -> Option<u16> {
        todo!()
    }
    /// Indices of the acceptable offers, best first, ties in the server's order. Empty when none is acceptable.
    pub fn rank(&self, offers: &[(&MethodName, &IntentName)]) -> Vec<usize> {
        todo!()
    }
}

/// The field is malformed or over a limit: a server may ignore it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptPaymentError {
    /// Placeholder, the implementer completes this list.
    #[error("malformed")]
    Malformed,
}
