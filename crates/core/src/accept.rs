//! `Accept-Payment`: what a client can pay with, and how a server ranks its offers by it
//! (section 6).
//!
//! ```
//! use stiver_core::{accept::AcceptPayment, name::{IntentName, MethodName}};
//!
//! let field = AcceptPayment::parse([&b"ledger/charge, stripe/*;q=0.5, tempo/charge;q=0"[..]])?
//!     .expect("the field is present");
//! let charge = IntentName::charge();
//! let [tempo, stripe, ledger] = ["tempo", "stripe", "ledger"].map(MethodName::new);
//! let (tempo, stripe, ledger) = (tempo?, stripe?, ledger?);
//! let offers = [(&tempo, &charge), (&stripe, &charge), (&ledger, &charge)];
//! assert_eq!(field.rank(&offers), [2, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::{
    header, limits,
    name::{IntentName, MethodName, NameError},
};
use alloc::{string::String, vec::Vec};
use core::{cmp::Reverse, fmt::Write as _};

#[cfg(test)]
mod tests;

/// The weight of a range without `q`, in thousandths: the most there is.
pub const WEIGHT_MAX: u16 = 1000;

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

/// How closely a range names an offer. Later is closer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Anything,
    Intent,
    Method,
    Exact,
}

impl Range {
    /// How closely this range names the offer, `None` when it does not match.
    fn closeness(&self, method: &MethodName, intent: &IntentName) -> Option<Closeness> {
        let method_matches = self.method.as_ref().map(|own| own == method);
        let intent_matches = self.intent.as_ref().map(|own| own == intent);
        match (method_matches, intent_matches) {
            (Some(false), _) | (_, Some(false)) => None,
            (Some(true), Some(true)) => Some(Closeness::Exact),
            (Some(true), None) => Some(Closeness::Method),
            (None, Some(true)) => Some(Closeness::Intent),
            (None, None) => Some(Closeness::Anything),
        }
    }

    fn parse(element: &[u8], offset: usize) -> Result<Self, AcceptPaymentError> {
        let text = core::str::from_utf8(element)
            .map_err(|_| AcceptPaymentError::NotAscii { range: offset })?;
        let (token, weight) = match text.split_once(';') {
            Some((token, weight)) => (token.trim_end_matches([' ', '\t']), Some(weight)),
            None => (text, None),
        };
        let (method, intent) = token
            .split_once('/')
            .ok_or(AcceptPaymentError::SlashMissing { range: offset })?;
        Ok(Self {
            method: match method {
                "*" => None,
                name => {
                    Some(
                        MethodName::new(name).map_err(|source| AcceptPaymentError::Method {
                            range: offset,
                            source,
                        })?,
                    )
                }
            },
            intent: match intent {
                "*" => None,
                name => {
                    Some(
                        IntentName::new(name).map_err(|source| AcceptPaymentError::Intent {
                            range: offset,
                            source,
                        })?,
                    )
                }
            },
            weight: match weight {
                None => WEIGHT_MAX,
                Some(text) => {
                    parse_weight(text).ok_or(AcceptPaymentError::Weight { range: offset })?
                }
            },
        })
    }
}

/// Reads `OWS "q=" qvalue`: 0 to 1 with at most three decimals, in thousandths.
pub(crate) fn parse_weight(text: &str) -> Option<u16> {
    let text = text.trim_start_matches([' ', '\t']);
    let value = text
        .strip_prefix("q=")
        .or_else(|| text.strip_prefix("Q="))?;
    let (whole, decimals) = match value.split_once('.') {
        Some((whole, decimals)) => (whole, decimals),
        None => (value, ""),
    };
    if decimals.len() > 3 {
        return None;
    }
    let mut thousandths = 0_u16;
    for place in 0..3 {
        let digit = match decimals.as_bytes().get(place) {
            None => 0,
            Some(byte @ b'0'..=b'9') => u16::from(byte - b'0'),
            Some(_) => return None,
        };
        thousandths = thousandths * 10 + digit;
    }
    match (whole, thousandths) {
        ("0", _) => Some(thousandths),
        ("1", 0) => Some(WEIGHT_MAX),
        _ => None,
    }
}

impl AcceptPayment {
    /// From ranges, as a client builds it. Weights above [`WEIGHT_MAX`] are cut to it.
    pub fn new(mut ranges: Vec<Range>) -> Self {
        for range in &mut ranges {
            range.weight = range.weight.min(WEIGHT_MAX);
        }
        Self { ranges }
    }
    /// The ranges, in the order they were given.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }
    /// Reads all field lines of one request, joined. `Ok(None)` when there is none.
    ///
    /// # Errors
    /// One variant of [`AcceptPaymentError`] for each rule. A server may then go on as if the
    /// field were absent.
    pub fn parse<'a, I>(lines: I) -> Result<Option<Self>, AcceptPaymentError>
    where
        I: IntoIterator<Item = &'a [u8]>,
    {
        let mut present = false;
        let mut bytes = 0_usize;
        let mut ranges = Vec::new();
        for line in lines {
            present = true;
            bytes = bytes.saturating_add(line.len());
            if bytes > limits::ACCEPT_PAYMENT_BYTES_MAX {
                return Err(AcceptPaymentError::TooLong { bytes });
            }
            for element in line.split(|byte| *byte == b',') {
                let element = header::trim(element);
                if element.is_empty() {
                    continue;
                }
                if ranges.len() == limits::ACCEPT_PAYMENT_RANGES_MAX {
                    return Err(AcceptPaymentError::TooManyRanges);
                }
                ranges.push(Range::parse(element, ranges.len())?);
            }
        }
        Ok(present.then_some(Self { ranges }))
    }
    /// Prints the field value.
    pub fn to_header(&self) -> String {
        let mut header = String::new();
        for range in &self.ranges {
            if !header.is_empty() {
                header.push_str(", ");
            }
            header.push_str(range.method.as_ref().map_or("*", MethodName::as_str));
            header.push('/');
            header.push_str(range.intent.as_ref().map_or("*", IntentName::as_str));
            if range.weight < WEIGHT_MAX {
                let mut weight = String::new();
                write!(weight, ";q=0.{:03}", range.weight)
                    .expect("writing to a String cannot fail because it only grows");
                header.push_str(weight.trim_end_matches('0').trim_end_matches('.'));
            }
        }
        header
    }
    /// The weight of one offer by its most specific range (exact > `m/*` > `*/i` > `*/*`);
    /// `None` when no range matches. Of two ranges that name it equally closely the lower weight
    /// counts, so that a `q=0` is never overruled by its own repetition.
    pub fn weight(&self, method: &MethodName, intent: &IntentName) -> Option<u16> {
        self.ranges
            .iter()
            .filter_map(|range| Some((range.closeness(method, intent)?, Reverse(range.weight))))
            .max()
            .map(|(_, Reverse(weight))| weight)
    }
    /// Indices of the acceptable offers, best first, ties in the server's order. Empty when none
    /// is acceptable.
    pub fn rank(&self, offers: &[(&MethodName, &IntentName)]) -> Vec<usize> {
        let mut ranked: Vec<(u16, usize)> = offers
            .iter()
            .enumerate()
            .filter_map(|(index, (method, intent))| {
                let weight = self.weight(method, intent)?;
                (weight > 0).then_some((weight, index))
            })
            .collect();
        ranked.sort_by_key(|(weight, index)| (Reverse(*weight), *index));
        ranked.into_iter().map(|(_, index)| index).collect()
    }
}

/// The field is malformed or over a limit: a server may ignore it. `range` counts from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptPaymentError {
    /// All lines together are over [`limits::ACCEPT_PAYMENT_BYTES_MAX`].
    #[error("Accept-Payment is over {} bytes", limits::ACCEPT_PAYMENT_BYTES_MAX)]
    TooLong {
        /// Bytes up to and with the line that went over.
        bytes: usize,
    },
    /// More than [`limits::ACCEPT_PAYMENT_RANGES_MAX`] ranges.
    #[error(
        "Accept-Payment has more than {} ranges",
        limits::ACCEPT_PAYMENT_RANGES_MAX
    )]
    TooManyRanges,
    /// Bytes that are no text.
    #[error("range {range} is not ASCII")]
    NotAscii {
        /// Which.
        range: usize,
    },
    /// No `/` between method and intent.
    #[error("range {range} has no `/`: write `method/intent`")]
    SlashMissing {
        /// Which.
        range: usize,
    },
    /// The method is neither a name nor `*`.
    #[error("the method of range {range} is malformed")]
    Method {
        /// Which.
        range: usize,
        /// Why.
        source: NameError,
    },
    /// The intent is neither a name nor `*`.
    #[error("the intent of range {range} is malformed")]
    Intent {
        /// Which.
        range: usize,
        /// Why.
        source: NameError,
    },
    /// The weight is not `q=` and 0 to 1 with at most three decimals.
    #[error("the weight of range {range} is not `q=` and 0 to 1 with at most three decimals")]
    Weight {
        /// Which.
        range: usize,
    },
}
