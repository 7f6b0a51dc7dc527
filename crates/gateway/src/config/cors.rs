//! `[cors]`: whose pages may use priced routes.

use std::time::Duration;

use http::HeaderValue;
use toml::Spanned;

use super::{ConfigError, source::Source, wire};

/// Most origins in one file.
pub const ORIGINS_MAX: usize = 256;
/// How long a browser may remember the answer to a preflight unless the file says otherwise.
pub const CORS_MAX_AGE_DEFAULT: Duration = Duration::from_secs(600);
/// The longest time that a browser may remember it, seconds.
pub const CORS_MAX_AGE_S_MAX: u64 = 86_400;

/// Whose pages may use priced routes in a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Every origin.
    pub any: bool,
    /// These origins.
    pub origins: Vec<HeaderValue>,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Duration,
}

pub(super) fn resolve(source: &Source<'_>, wire: &wire::Cors) -> Result<Cors, ConfigError> {
    let max_age = source.seconds(
        "max_age_s",
        wire.max_age_s.as_ref(),
        CORS_MAX_AGE_DEFAULT,
        (0, CORS_MAX_AGE_S_MAX),
    )?;
    let (any, origins) = match &wire.origins {
        None => (true, Vec::new()),
        Some(list) => listed(source, list)?,
    };
    Ok(Cors {
        any,
        origins,
        max_age,
    })
}

fn listed(
    source: &Source<'_>,
    list: &Spanned<Vec<Spanned<String>>>,
) -> Result<(bool, Vec<HeaderValue>), ConfigError> {
    let all = list.get_ref();
    source.at_most("origins", all.len(), ORIGINS_MAX, list.span().start)?;
    let any = all.iter().any(|origin| origin.get_ref() == "*");
    if any && all.len() > 1 {
        return Err(source.at(
            list,
            "origins holds \"*\" and others: keep one or the other",
        ));
    }
    if any {
        return Ok((true, Vec::new()));
    }
    let origins: Result<Vec<_>, _> = all.iter().map(|one| origin(source, one)).collect();
    Ok((false, origins?))
}

/// An origin as browsers write it: scheme, host and port, nothing behind them.
fn origin(source: &Source<'_>, value: &Spanned<String>) -> Result<HeaderValue, ConfigError> {
    let text = value.get_ref();
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_origin = host.is_some_and(|host| {
        let is_of = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let small = !host.bytes().any(|byte| byte.is_ascii_uppercase());
        !host.is_empty() && host.bytes().all(is_of) && small
    });
    match HeaderValue::from_str(text) {
        Ok(origin) if is_origin => Ok(origin),
        _ => {
            let hint = "write \"*\", or one such as \"https://app.example.com\"";
            Err(source.at(value, format!("origin {text:?} is none: {hint}")))
        }
    }
}
