//! Whole numbers as the floating-point samples of Prometheus. Nothing is computed with them here.

/// The nearest sample: exact up to 2^53.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a sample of Prometheus is a double; the books are whole numbers"
)]
pub(super) fn sample(number: u128) -> f64 {
    number as f64
}
