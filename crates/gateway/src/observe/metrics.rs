//! Counters and histograms, in the form that Prometheus reads. `docs/observability.md` lists all.
//!
//! What happens is counted where it happens, in atomic numbers. What is held somewhere is asked for
//! when somebody looks. Every label has a bounded number of values: route patterns, never paths.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{
        EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, MetricEncoder,
        NoLabelSet,
    },
    metrics::{
        MetricType, TypedMetric,
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};
use stiver_core::{Timestamp, problem::ProblemKind};
use stiver_server::events::{Event, Observer, Payment};

use super::{number::sample, request::Outcome};
use crate::limits::Limit;

/// Most routes that have a label of their own; the rest share [`OTHER_ROUTE`].
pub const ROUTE_LABELS_MAX: usize = 256;
/// The label of routes beyond [`ROUTE_LABELS_MAX`].
pub const OTHER_ROUTE: &str = "other";
/// Upper bounds of durations, seconds.
const SECONDS: [f64; 15] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Arc<str>,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PaymentLabels {
    method: Arc<str>,
    currency: Code,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabel {
    problem: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    upstream: Arc<str>,
    reached: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabel {
    upstream: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShadowLabel {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CurrencyLabel {
    currency: Code,
}

/// A currency's code as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Code(stiver_core::Currency);

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.0.code(), encoder)
    }
}

/// A sum of base units: exact, whatever the size.
#[derive(Debug, Clone, Default)]
struct Units(Arc<Mutex<u128>>);

impl Units {
    fn add(&self, units: u128) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = sum.saturating_add(units);
    }
}

impl TypedMetric for Units {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Units {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let sum = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        encoder.encode_counter::<NoLabelSet, f64, f64>(&sample(sum), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[derive(Clone)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

type Durations<L> = Family<L, Histogram, Seconds>;

/// Everything that is counted as it happens.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Durations<RequestLabels>,
    in_flight: Gauge,
    refusals: Family<ProblemLabel, Counter>,
    challenges: Counter,
    payments: Family<PaymentLabels, Counter>,
    units: Family<PaymentLabels, Units>,
    settlements: Durations<MethodLabel>,
    deliveries: Durations<MethodLabel>,
    replays: Counter,
    shadow: Family<ShadowLabel, Counter>,
    shadow_units: Family<CurrencyLabel, Units>,
    limited: Family<LimitLabel, Counter>,
    upstream: Durations<UpstreamLabel>,
    upstream_errors: Family<ErrorLabels, Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let durations = || Durations::new_with_constructor(Seconds);
        let mut metrics = Self {
            registry: Registry::with_prefix("stiver"),
            requests: Durations::new_with_constructor(Seconds),
            in_flight: Gauge::default(),
            refusals: Family::default(),
            challenges: Counter::default(),
            payments: Family::default(),
            units: Family::default(),
            settlements: durations(),
            deliveries: durations(),
            replays: Counter::default(),
            shadow: Family::default(),
            shadow_units: Family::default(),
            limited: Family::default(),
            upstream: Durations::new_with_constructor(Seconds),
            upstream_errors: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        let info = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The gateway's version", info);
        let help = "From a request's head to its response's head, by route and outcome";
        r.register("request_duration_seconds", help, self.requests.clone());
        let help = "Requests whose response has not begun";
        r.register("requests_in_flight", help, self.in_flight.clone());
        let help = "Answers with a problem, by its type";
        r.register("refusals", help, self.refusals.clone());
        r.register("challenges", "Challenges made", self.challenges.clone());
        let help = "Payments that came to a state";
        r.register("payments", help, self.payments.clone());
        let help = "Base units of payments that came to a state";
        r.register("payment_units", help, self.units.clone());
        let help = "How long a rail took to settle";
        r.register(
            "settlement_duration_seconds",
            help,
            self.settlements.clone(),
        );
        let help = "From settlement to delivery";
        r.register("delivery_duration_seconds", help, self.deliveries.clone());
        let help = "Stored responses sent again";
        r.register("replays", help, self.replays.clone());
        let help = "Requests let through in shadow mode, by what would have become of them";
        r.register("shadow_requests", help, self.shadow.clone());
        let help = "Base units that shadow mode would have charged";
        r.register("shadow_units", help, self.shadow_units.clone());
        let help = "Requests refused by a rate limit";
        r.register("rate_limited", help, self.limited.clone());
        let help = "From sending a request upstream to the head of its answer";
        r.register("upstream_duration_seconds", help, self.upstream.clone());
        let help = "Requests that an upstream did not answer, by whether it may have got them";
        r.register("upstream_errors", help, self.upstream_errors.clone());
    }

    /// A request came.
    pub(super) fn begun(&self) {
        self.in_flight.inc();
    }

    /// A request is gone, answered or not.
    pub(super) fn ended(&self) {
        self.in_flight.dec();
    }

    /// A request was answered.
    pub(super) fn answered(&self, route: &Arc<str>, outcome: Outcome, took: Duration) {
        let labels = RequestLabels {
            route: Arc::clone(route),
            outcome: outcome.name(),
        };
        let durations = self.requests.get_or_create(&labels);
        durations.observe(took.as_secs_f64());
    }

    /// A request was answered with a problem.
    pub(super) fn refused(&self, problem: ProblemKind) {
        let problem = problem_name(problem);
        self.refusals.get_or_create(&ProblemLabel { problem }).inc();
    }

    /// A rate limit refused a request.
    pub(crate) fn limited(&self, limit: Limit) {
        let limit = limit.name();
        self.limited.get_or_create(&LimitLabel { limit }).inc();
    }

    /// An upstream answered.
    pub(crate) fn upstream_answered(&self, upstream: &Arc<str>, took: Duration) {
        let upstream = Arc::clone(upstream);
        let durations = self.upstream.get_or_create(&UpstreamLabel { upstream });
        durations.observe(took.as_secs_f64());
    }

    /// An upstream did not answer.
    pub(crate) fn upstream_failed(&self, upstream: &Arc<str>, reached: bool) {
        let labels = ErrorLabels {
            upstream: Arc::clone(upstream),
            reached: if reached { "maybe" } else { "no" },
        };
        self.upstream_errors.get_or_create(&labels).inc();
    }

    /// The text of everything that was counted, without its end.
    pub(super) fn encode(&self, into: &mut String) -> Result<(), fmt::Error> {
        prometheus_client::encoding::text::encode_registry(into, &self.registry)
    }

    fn payment(&self, state: &'static str, payment: &Payment) {
        let labels = PaymentLabels {
            method: Arc::clone(&payment.method),
            currency: Code(payment.amount.currency().clone()),
            state,
        };
        self.payments.get_or_create(&labels).inc();
        self.units
            .get_or_create(&labels)
            .add(payment.amount.units());
    }
}

impl Observer<Event> for Metrics {
    fn observe(&self, _: Timestamp, event: &Event) {
        let method = |payment: &Payment| MethodLabel {
            method: Arc::clone(&payment.method),
        };
        match event {
            Event::Challenged { challenges } => {
                let challenges = u64::try_from(*challenges).unwrap_or(u64::MAX);
                self.challenges.inc_by(challenges);
            }
            Event::Claimed(payment) => self.payment("claimed", payment),
            Event::Settled {
                payment, latency, ..
            } => {
                self.payment("settled", payment);
                let durations = self.settlements.get_or_create(&method(payment));
                durations.observe(latency.as_secs_f64());
            }
            Event::Failed { payment, .. } => self.payment("failed", payment),
            Event::Unknown(payment) => self.payment("unknown", payment),
            Event::Delivered {
                payment, latency, ..
            } => {
                self.payment("delivered", payment);
                let durations = self.deliveries.get_or_create(&method(payment));
                durations.observe(latency.as_secs_f64());
            }
            Event::DeliveryFailed { payment, .. } => self.payment("delivery-failed", payment),
            Event::Voided(payment) => self.payment("voided", payment),
            Event::Refunded(payment) => self.payment("refunded", payment),
            Event::Kept(payment) => self.payment("kept", payment),
            Event::Replayed { .. } => {
                self.replays.inc();
            }
            Event::WouldCharge { problem, amount } => {
                if let Some(amount) = amount {
                    let currency = Code(amount.currency().clone());
                    let sum = self.shadow_units.get_or_create(&CurrencyLabel { currency });
                    sum.add(amount.units());
                }
                let verdict = problem.map_or("served", problem_name);
                self.shadow.get_or_create(&ShadowLabel { verdict }).inc();
            }
            // Refusals are counted with the gateway's own, once for each answer.
            _ => {}
        }
    }
}

/// The last part of a problem's type: `payment-required`.
pub(crate) fn problem_name(problem: ProblemKind) -> &'static str {
    let uri = problem.type_uri();
    uri.rsplit(['/', ':']).next().unwrap_or(uri)
}

/// The labels of routes, in the order of the file: their patterns, as long as there are few.
#[derive(Default)]
pub(crate) struct RouteLabels {
    known: HashSet<Arc<str>>,
}

impl RouteLabels {
    /// The label of the route with this pattern.
    pub(crate) fn label(&mut self, pattern: &str) -> Arc<str> {
        if let Some(label) = self.known.get(pattern) {
            return Arc::clone(label);
        }
        if self.known.len() >= ROUTE_LABELS_MAX {
            return OTHER_ROUTE.into();
        }
        let label: Arc<str> = pattern.into();
        self.known.insert(Arc::clone(&label));
        label
    }
}

#[cfg(test)]
mod tests {
    use stiver_core::Currency;
    use stiver_server::events::By;

    use super::*;

    fn payment(units: u128) -> Payment {
        Payment {
            challenge_id: "id".into(),
            method: "ledger".into(),
            amount: Currency::new("wei", 18).unwrap().units(units),
        }
    }

    fn text(metrics: &Metrics) -> String {
        let mut text = String::new();
        metrics.encode(&mut text).unwrap();
        text
    }

    #[test]
    fn each_event_is_counted_once_and_amounts_are_summed_exactly() {
        let metrics = Metrics::new();
        let settled = |units| Event::Settled {
            payment: payment(units),
            by: By::Request,
            latency: Duration::from_millis(3),
        };
        let now = Timestamp::from_millis(0);
        for event in [
            Event::Challenged { challenges: 2 },
            // Beyond what 64 bits hold.
            settled(1 << 70),
            settled(1 << 70),
            Event::Refunded(payment(7)),
            Event::WouldCharge {
                amount: None,
                problem: Some(ProblemKind::PaymentRequired),
            },
        ] {
            metrics.observe(now, &event);
        }
        let text = text(&metrics);
        let settled = r#"{method="ledger",currency="wei",state="settled"}"#;
        for line in [
            "stiver_challenges_total 2",
            &format!("stiver_payments_total{settled} 2"),
            &format!("stiver_payment_units_total{settled} 2.36118324143482"),
            r#"stiver_settlement_duration_seconds_count{method="ledger"} 2"#,
            r#"stiver_payments_total{method="ledger",currency="wei",state="refunded"} 1"#,
            r#"stiver_shadow_requests_total{verdict="payment-required"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
    }

    #[test]
    fn every_problem_has_a_label_of_its_own() {
        let names: HashSet<_> = ProblemKind::ALL.into_iter().map(problem_name).collect();
        assert_eq!(names.len(), ProblemKind::ALL.len());
        assert!(names.contains("payment-required") && names.contains("too-many-requests"));
    }

    #[test]
    fn routes_beyond_the_limit_share_a_label() {
        let mut labels = RouteLabels::default();
        let all: HashSet<_> = (0..ROUTE_LABELS_MAX * 2)
            .map(|number| labels.label(&format!("/route/{number}")))
            .collect();
        assert_eq!(all.len(), ROUTE_LABELS_MAX + 1);
        assert_eq!(&*labels.label("/route/0"), "/route/0");
        assert_eq!(&*labels.label("/new"), OTHER_ROUTE);
    }
}
