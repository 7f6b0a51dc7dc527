//! What is held somewhere, asked for when somebody looks.

use std::{fmt, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text::encode_registry},
    metrics::{MetricType, TypedMetric, counter::ConstCounter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use stiver_wal::{Health, WRITE_TIME_BOUNDS_US};

use super::{number::sample, status::Logs, wire::Status};

type Labels = Vec<(&'static str, String)>;
type Value = Gauge<f64, AtomicU64>;

/// Registers one row of metrics after the other.
struct Rows(Registry);

impl Rows {
    fn one(&mut self, name: &str, help: &str, value: impl TryInto<u128>) {
        let gauge = Value::default();
        gauge.set(sample(value.try_into().unwrap_or(u128::MAX)));
        self.0.register(name, help, gauge);
    }

    fn many<V: TryInto<u128>>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, V)>,
    ) {
        let family = Family::<Labels, Value>::default();
        for (labels, value) in rows {
            let value = value.try_into().unwrap_or(u128::MAX);
            family.get_or_create(&labels).set(sample(value));
        }
        self.0.register(name, help, family);
    }
}

/// Adds the text of a status to that of the counters.
pub(super) fn encode(status: &Status, logs: &Logs, into: &mut String) -> Result<(), fmt::Error> {
    let mut rows = Rows(Registry::with_prefix("stiver"));
    gateway(&mut rows, status);
    undelivered(&mut rows, status);
    sessions(&mut rows, status);
    store(&mut rows, status);
    ledger(&mut rows, status);
    log(&mut rows, "store", &logs.store);
    log(&mut rows, "ledger", &logs.ledger);
    encode_registry(into, &rows.0)
}

fn gateway(rows: &mut Rows, status: &Status) {
    let uptime = status.uptime_s;
    rows.one("uptime_seconds", "How long the gateway runs", uptime);
    let ready = u8::from(status.ready.ready);
    rows.one("ready", "1 while requests should come here", ready);
    let checks = status.ready.checks.iter();
    let checks = checks.map(|check| (vec![("check", check.name.clone())], u8::from(check.ok)));
    rows.many("up", "1 while the thing that is checked is well", checks);
    let help = "Payments being settled or delivered";
    rows.one("payments_at_work", help, status.at_work);
    rows.one("connections", "Public connections open", status.connections);
    let help = "Most public connections";
    rows.one("connections_max", help, status.connections_max);
    let help = "Bytes of request bodies held";
    rows.one("spooled_bytes", help, status.spooled_bytes);
    let help = "Most bytes of request bodies";
    rows.one("spooled_bytes_max", help, status.spooled_bytes_max);
    let help = "Buckets of rate limits remembered";
    rows.one("rate_limit_buckets", help, status.limited_sources);
    let lost = ConstCounter::new(status.events_lost);
    let help = "Events that their observers were too slow for";
    rows.0.register("events_lost", help, lost);
}

fn undelivered(rows: &mut Rows, status: &Status) {
    let Some(undelivered) = &status.undelivered else {
        return;
    };
    let labels = |method: &str, currency: &str| {
        vec![
            ("method", method.to_owned()),
            ("currency", currency.to_owned()),
        ]
    };
    let units = |text: &str| text.parse().unwrap_or(u128::MAX);
    let payments = undelivered
        .iter()
        .map(|row| (labels(&row.method, &row.amount.currency), row.payments));
    let help = "Payments neither delivered nor given back, and not at work";
    rows.many("undelivered_payments", help, payments);
    let amounts = undelivered.iter().map(|row| {
        let labels = labels(&row.method, &row.amount.currency);
        (labels, units(&row.amount.units))
    });
    let help = "Base units of payments neither delivered nor given back, and not at work";
    rows.many("undelivered_units", help, amounts);
    let complete = u8::from(status.undelivered_complete);
    let help = "1 when every unfinished payment was counted";
    rows.one("undelivered_complete", help, complete);
}

fn sessions(rows: &mut Rows, status: &Status) {
    let sessions = &status.sessions;
    let help = "Channels of sessions that have not ended";
    rows.one("channels_open", help, sessions.open);
    let help = "Most channels that have not ended";
    rows.one("channels_open_max", help, sessions.open_max);
    let help = "Channels that have ended and are not forgotten yet";
    rows.one("channels_ended", help, sessions.ended);
    let Some(held) = &sessions.held else {
        return;
    };
    let amounts = [
        ("deposit", &held.deposit),
        ("accepted", &held.accepted),
        ("spent", &held.spent),
        ("reserved", &held.reserved),
        ("unsettled", &held.unsettled),
    ];
    let amounts = amounts.map(|(figure, money)| {
        let labels = vec![
            ("figure", figure.to_owned()),
            ("currency", money.currency.clone()),
        ];
        (labels, money.units.parse().unwrap_or(u128::MAX))
    });
    rows.many("channel_units", "Base units in open channels", amounts);
}

fn store(rows: &mut Rows, status: &Status) {
    let store = &status.store;
    let states = store.by_state.iter();
    let states = states.map(|row| (vec![("state", row.state.clone())], row.claims));
    rows.many("claims", "Claims held, by state", states);
    rows.one("claims_held", "Claims in memory", store.claims);
    rows.one("claims_max", "Most claims", store.claims_max);
    let help = "Memory of claims, bytes";
    rows.one("claims_bytes", help, store.claims_bytes);
    let help = "Most memory of claims, bytes";
    rows.one("claims_bytes_max", help, store.claims_bytes_max);
    let help = "Memory of stored responses, bytes";
    rows.one("responses_bytes", help, store.responses_bytes);
    let help = "Most memory of stored responses, bytes";
    rows.one("responses_bytes_max", help, store.responses_bytes_max);
}

fn ledger(rows: &mut Rows, status: &Status) {
    let Some(books) = &status.ledger else {
        return;
    };
    let executed = ConstCounter::new(books.executed);
    let help = "Orders that the ledger has executed";
    rows.0.register("ledger_orders", help, executed);
    rows.one("ledger_accounts", "Accounts of the ledger", books.accounts);
    rows.one("ledger_open_holds", "Open holds", books.open_holds);
    let units = |text: &str| text.parse().unwrap_or(u128::MAX);
    let label = |code: &str| vec![("currency", code.to_owned())];
    let issued = books.currencies.iter();
    let issued = issued.map(|row| (label(&row.currency), units(&row.issued.units)));
    let help = "Base units in circulation";
    rows.many("ledger_issued_units", help, issued);
    let held = books.currencies.iter();
    let held = held.map(|row| (label(&row.currency), units(&row.held.units)));
    rows.many("ledger_held_units", "Base units held", held);
}

/// The metrics of one log, under a name of its own: one name is registered once.
fn log(rows: &mut Rows, name: &str, health: &Health) {
    let failed = u8::from(health.failure.is_some());
    let help = "1 once the log has failed: it stays so until a restart";
    rows.one(&format!("{name}_log_failed"), help, failed);
    let events = ConstCounter::new(health.durable);
    let help = "Durable events of the log";
    rows.0.register(format!("{name}_log_events"), help, events);
    let times = WriteTimes(health.writes.clone());
    let help = "How long batches took to become durable";
    let name = format!("{name}_log_write_duration");
    rows.0.register_with_unit(name, help, Unit::Seconds, times);
}

/// Times of writing as a histogram.
#[derive(Debug)]
struct WriteTimes(stiver_wal::WriteTimes);

impl EncodeMetric for WriteTimes {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = WRITE_TIME_BOUNDS_US.into_iter();
        let bounds = bounds.map(|us| std::time::Duration::from_micros(us).as_secs_f64());
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::MAX]).zip(self.0.classes).collect();
        let (sum, count) = (self.0.total.as_secs_f64(), self.0.batches());
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for WriteTimes {
    const TYPE: MetricType = MetricType::Histogram;
}
