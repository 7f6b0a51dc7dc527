//! What a response used, where that cannot be counted here: the handler or its upstream reports it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderName};
use stiver_channel::meter::{Quantity, QuantityError, Unit};
use stiver_method::session::PRICES_MAX;
use tokio::sync::Notify;

use super::pointer::{Found, Pointer};

/// A figure for each meter of an offer, in the order of its prices.
pub(crate) type Each = [u64; PRICES_MAX];

/// Where an upstream reports how many units of something its response used.
///
/// Values are plain decimals: `12`, `0.25`, in JSON also as a string. What has a sign, an exponent,
/// more decimals than the unit has ([`Unit::decimals`]), or is more than
/// [`REPORT_UNITS_MAX`](stiver_channel::meter::REPORT_UNITS_MAX) is ignored and logged: the response
/// goes on, and is not charged for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSource {
    at: At,
    adds: bool,
    places: u8,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Json(Pointer),
    Header(HeaderName),
    Trailer(HeaderName),
}

impl UsageSource {
    /// In JSON, by a pointer (RFC 6901) such as `/usage/total_tokens`: in the events of a stream,
    /// or in an `application/json` answer. Each value is the total so far, and the highest counts;
    /// but see [`UsageSource::adds`]. `None` when the text is no pointer.
    pub fn json(pointer: &str) -> Option<Self> {
        Pointer::parse(pointer).map(|it| Self::of(At::Json(it)))
    }

    /// In a header field of the response.
    pub fn header(name: HeaderName) -> Self {
        Self::of(At::Header(name))
    }

    /// In a trailer field of the response.
    pub fn trailer(name: HeaderName) -> Self {
        Self::of(At::Trailer(name))
    }

    fn of(at: At) -> Self {
        Self {
            at,
            adds: false,
            places: 0,
        }
    }

    /// Each event says how much more was used, not how much in all.
    #[must_use]
    pub fn adds(mut self) -> Self {
        self.adds = true;
        self
    }

    /// The values are of a smaller unit: 3 for watt-hours where kilowatt-hours are priced.
    #[must_use]
    pub fn scaled_down(mut self, places: u8) -> Self {
        self.places = places;
        self
    }

    /// True when it stands in the body.
    pub(crate) fn reads_body(&self) -> bool {
        matches!(self.at, At::Json(_))
    }

    /// True when it is known before the body.
    pub(crate) fn is_at_head(&self) -> bool {
        matches!(self.at, At::Header(_))
    }

    /// Notes what a document says.
    pub(crate) fn look_in(&self, json: &[u8], unit: &Unit, due: &mut u64) {
        let At::Json(pointer) = &self.at else {
            return;
        };
        match pointer.find(json) {
            Found::Absent => {}
            Found::Plain(text) => self.note(text.parse(), unit, due),
            Found::Other => self.note(Err(QuantityError::Syntax), unit, due),
        }
    }

    /// Notes what the header says.
    pub(crate) fn look_in_header(&self, fields: &HeaderMap, unit: &Unit, due: &mut u64) {
        if let At::Header(name) = &self.at {
            self.look_in_field(name, fields, unit, due);
        }
    }

    /// Notes what the trailers say.
    pub(crate) fn look_in_trailers(&self, fields: &HeaderMap, unit: &Unit, due: &mut u64) {
        if let At::Trailer(name) = &self.at {
            self.look_in_field(name, fields, unit, due);
        }
    }

    fn look_in_field(&self, name: &HeaderName, fields: &HeaderMap, unit: &Unit, due: &mut u64) {
        let mut lines = fields.get_all(name).iter();
        let Some(line) = lines.next() else { return };
        let text = line.to_str().ok().filter(|_| lines.next().is_none());
        let read = text.map_or(Err(QuantityError::Syntax), |text| text.trim().parse());
        self.note(read, unit, due);
    }

    fn note(&self, read: Result<Quantity, QuantityError>, unit: &Unit, due: &mut u64) {
        let steps = read.and_then(|it| it.scaled_down(self.places).steps(unit));
        match steps {
            Ok(steps) if self.adds => *due = due.saturating_add(steps),
            Ok(steps) if steps < *due => {
                tracing::debug!(%unit, "a report of usage is below one before it: ignored");
            }
            Ok(steps) => *due = steps,
            Err(error) => tracing::warn!(%unit, %error, "a report of usage is ignored"),
        }
    }
}

/// Reports what a metered response uses, while it runs.
///
/// A handler finds it among the extensions of its request. What is reported is charged for as it
/// comes, and when it is not covered the response pauses, as for everything that is metered. What
/// is reported when the response has ended is refused.
///
/// ```
/// use stiver_channel::meter::Quantity;
/// use stiver_server::session::UsageReporter;
/// fn handler(request: &http::Request<()>) {
///     if let Some(usage) = request.extensions().get::<UsageReporter>().cloned() {
///         // Keep it, and report while the body is made.
///         let _ = usage.report("kWh", Quantity::new(250, 3));
///     }
/// }
/// # handler(&http::Request::new(()));
/// ```
#[derive(Clone)]
pub struct UsageReporter(Arc<Reports>);

/// What was reported and is not charged for yet.
struct Reports {
    units: Vec<Unit>,
    state: Mutex<State>,
    /// Something was reported.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Steps in all, meter by meter.
    due: Each,
    ended: bool,
}

impl UsageReporter {
    /// So much more of `unit` was used. Changes nothing when it is refused.
    ///
    /// # Errors
    /// [`ReportError`]
    pub fn report(&self, unit: &str, more: Quantity) -> Result<(), ReportError> {
        self.change(unit, more, |due, steps| {
            due.checked_add(steps)
                .ok_or(ReportError::Quantity(QuantityError::TooLarge))
        })
    }

    /// So much of `unit` was used in all. Changes nothing when it is refused.
    ///
    /// # Errors
    /// [`ReportError`]
    pub fn report_total(&self, unit: &str, total: Quantity) -> Result<(), ReportError> {
        self.change(unit, total, |due, steps| match steps < due {
            true => Err(ReportError::Backwards),
            false => Ok(steps),
        })
    }

    fn change(
        &self,
        name: &str,
        quantity: Quantity,
        next: impl FnOnce(u64, u64) -> Result<u64, ReportError>,
    ) -> Result<(), ReportError> {
        let mut units = self.0.units.iter().enumerate();
        let found = units.find(|(_, unit)| unit.as_str() == name && is_reported(unit));
        let (at, unit) = found.ok_or(ReportError::NotReported)?;
        let steps = quantity.steps(unit)?;
        let mut state = self.lock();
        if state.ended {
            return Err(ReportError::Ended);
        }
        if let Some(due) = state.due.get_mut(at) {
            *due = next(*due, steps)?;
        }
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other end of a [`UsageReporter`]. When it goes, nothing more is taken.
pub(crate) struct Reported(UsageReporter);

impl Reported {
    pub(crate) fn new(units: Vec<Unit>) -> Self {
        Self(UsageReporter(Arc::new(Reports {
            units,
            state: Mutex::default(),
            changed: Notify::new(),
        })))
    }

    pub(crate) fn reporter(&self) -> UsageReporter {
        self.0.clone()
    }

    /// Steps in all, meter by meter.
    pub(crate) fn due(&self) -> Each {
        self.0.lock().due
    }

    /// Waits until something more may be due.
    pub(crate) async fn changed(&self) {
        self.0.0.changed.notified().await;
    }
}

impl Drop for Reported {
    fn drop(&mut self) {
        self.0.lock().ended = true;
    }
}

/// True for a unit that is not counted here, or not for certain.
pub(crate) fn is_reported(unit: &Unit) -> bool {
    match unit {
        Unit::Token | Unit::KilowattHour => true,
        Unit::Custom(_) => unit.as_str() != "event",
        _ => false,
    }
}

/// Why a report was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The response is not charged by this unit, or it is counted here.
    #[error("the response has no meter of that unit, or counts it by itself")]
    NotReported,
    /// It is too fine or too large.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// A total that is below one before it.
    #[error("the total is below the one that was reported before")]
    Backwards,
    /// The response has ended, and so has its account.
    #[error("the response has ended: nothing more is charged for it")]
    Ended,
}

#[cfg(test)]
mod tests;
