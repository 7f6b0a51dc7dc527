//! `[tracing]`: spans for OpenTelemetry.

use super::{
    ConfigError,
    address::{self, HttpUrl},
    source::Source,
    wire,
};

/// The service's name unless the file says otherwise.
pub const SERVICE_NAME_DEFAULT: &str = "stiver";

/// Where spans are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// The collector, spoken to by OTLP over HTTP.
    pub otlp_endpoint: HttpUrl,
    /// `service.name` of every span.
    pub service_name: String,
    /// Of a hundred traces that begin here, how many are kept.
    pub sample_ratio_percent: u8,
}

pub(super) fn resolve(source: &Source<'_>, wire: &wire::Tracing) -> Result<Tracing, ConfigError> {
    let (key, example) = ("otlp_endpoint", "http://127.0.0.1:4318");
    let otlp_endpoint = address::url(source, key, &wire.otlp_endpoint, example)?;
    let service_name = match &wire.service_name {
        None => SERVICE_NAME_DEFAULT.to_owned(),
        Some(name) if name.get_ref().is_empty() => {
            return Err(source.at(name, "service_name is empty: leave it out or name it"));
        }
        Some(name) => name.get_ref().clone(),
    };
    let ratio = wire.sample_ratio_percent.as_ref();
    let percent = source.bounded("sample_ratio_percent", ratio, 100, (0, 100))?;
    Ok(Tracing {
        otlp_endpoint,
        service_name,
        sample_ratio_percent: u8::try_from(percent).unwrap_or(100),
    })
}
