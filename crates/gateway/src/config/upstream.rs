//! `[upstreams.NAME]`: the APIs behind the gateway.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue};
use stiver_env::Env;
use toml::Spanned;
use zeroize::Zeroizing;

use super::{
    ConfigError, UPSTREAM_TIMEOUT_DEFAULT,
    address::{self, HttpUrl},
    secret::{SecretError, SecretRef},
    source::Source,
    wire,
};

/// Most upstreams in one file.
pub const UPSTREAMS_MAX: usize = 256;
/// Most headers that are set, or removed, for one upstream.
pub const HEADERS_MAX: usize = 64;
/// The name of the upstream of `gateway.upstream`.
pub const DEFAULT_UPSTREAM: &str = "default";
/// How long connecting may take unless the file says otherwise.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept unless the file says otherwise.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(90);
/// Idle connections that are kept unless the file says otherwise.
pub const IDLE_CONNECTIONS_MAX_DEFAULT: u64 = 64;
/// The longest time-out of an upstream, seconds.
pub const TIMEOUT_S_MAX: u64 = 3600;

/// Fields that belong to a connection or to the gateway: they can be neither set nor removed.
const NOT_FOR_FILES: [&str; 13] = [
    "connection",
    "content-length",
    "host",
    "idempotency-key",
    "keep-alive",
    "payment-authorization",
    "payment-receipt",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];
/// Words in the names of fields that carry secrets: those have no literal value in a file.
const SECRET_WORDS: [&str; 8] = [
    "apikey", "api-key", "auth", "cookie", "key", "password", "secret", "token",
];

/// An API behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is. Its path is put before every request's.
    pub url: HttpUrl,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long it may take to read a request and begin its answer, unless the route says
    /// otherwise.
    pub timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Idle connections that are kept.
    pub idle_connections_max: usize,
    /// Speak HTTP/2: by prior knowledge over `http`, agreed on by ALPN over `https`.
    pub http2: bool,
    /// Certificates that are trusted besides the platform's, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Set on every request to it, in place of what the client sent. By name.
    pub set_headers: Vec<SetHeader>,
    /// Removed from every request to it.
    pub remove_request_headers: Vec<HeaderName>,
    /// Removed from every answer of it.
    pub remove_response_headers: Vec<HeaderName>,
}

/// A header that is set on requests to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderSource,
}

/// Where the value of a header comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderSource {
    /// It stands in the file: it is no secret.
    Literal(HeaderValue),
    /// A secret from outside the file: [`SecretRef::read`] it, and put this prefix before it.
    Secret {
        /// Where the secret is.
        secret: SecretRef,
        /// Put before it, such as `Bearer `; often empty.
        prefix: String,
    },
}

impl HeaderSource {
    /// The value, marked as sensitive when it is a secret.
    ///
    /// # Errors
    ///
    /// [`SecretError`] names where the secret should be.
    pub fn read(&self, env: &Env) -> Result<HeaderValue, SecretError> {
        let (secret, prefix) = match self {
            Self::Literal(value) => return Ok(value.clone()),
            Self::Secret { secret, prefix } => (secret, prefix),
        };
        let text = secret.read(env)?;
        let joined = Zeroizing::new(format!("{prefix}{}", text.as_str()));
        let mut value = HeaderValue::from_str(&joined)
            .expect("it fits in a header, because prefix and secret were checked to");
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Every upstream: that of `gateway.upstream`, and the `[upstreams.NAME]` tables.
pub(super) fn resolve(
    source: &Source<'_>,
    file: &wire::File,
) -> Result<BTreeMap<String, Upstream>, ConfigError> {
    let gateway = file.gateway.get_ref();
    let timeout = source.seconds(
        "upstream_timeout_s",
        gateway.upstream_timeout_s.as_ref(),
        UPSTREAM_TIMEOUT_DEFAULT,
        (1, TIMEOUT_S_MAX),
    )?;
    let mut all = BTreeMap::new();
    if let Some(value) = &gateway.upstream {
        if file.upstreams.contains_key(DEFAULT_UPSTREAM) {
            let problem = "there is an [upstreams.default] too: keep one of the two";
            return Err(source.at(value, problem));
        }
        let url = address::url(source, "upstream", value, "http://127.0.0.1:3000")?;
        all.insert(DEFAULT_UPSTREAM.to_owned(), plain(url, timeout));
    }
    for (name, wire) in &file.upstreams {
        let known = !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !known {
            let problem = format!("upstream {name:?}: name it by letters, digits, - and _");
            return Err(source.at(&wire.url, problem));
        }
        all.insert(name.clone(), upstream(source, wire, timeout)?);
    }
    if all.is_empty() {
        let problem = "there is no upstream: write upstream = \"http://127.0.0.1:3000\" in \
                       [gateway], or an [upstreams.NAME] with url = \"http://127.0.0.1:3000\"";
        return Err(source.at(&file.gateway, problem));
    }
    source.at_most("[upstreams]", all.len(), UPSTREAMS_MAX, 0)?;
    Ok(all)
}

/// An upstream with every default.
fn plain(url: HttpUrl, timeout: Duration) -> Upstream {
    Upstream {
        url,
        connect_timeout: CONNECT_TIMEOUT_DEFAULT,
        timeout,
        idle_timeout: IDLE_TIMEOUT_DEFAULT,
        idle_connections_max: usize::try_from(IDLE_CONNECTIONS_MAX_DEFAULT).unwrap_or(usize::MAX),
        http2: false,
        ca_file: None,
        set_headers: Vec::new(),
        remove_request_headers: Vec::new(),
        remove_response_headers: Vec::new(),
    }
}

fn upstream(
    source: &Source<'_>,
    wire: &wire::Upstream,
    timeout: Duration,
) -> Result<Upstream, ConfigError> {
    let url = address::url(source, "url", &wire.url, "http://127.0.0.1:3000")?;
    let seconds = |key, value: &Option<Spanned<u64>>, default| {
        source.seconds(key, value.as_ref(), default, (1, TIMEOUT_S_MAX))
    };
    let idle_max = wire.idle_connections_max.as_ref();
    let defaults = plain(url, timeout);
    Ok(Upstream {
        connect_timeout: seconds(
            "connect_timeout_s",
            &wire.connect_timeout_s,
            defaults.connect_timeout,
        )?,
        timeout: seconds("timeout_s", &wire.timeout_s, timeout)?,
        idle_timeout: seconds(
            "idle_timeout_s",
            &wire.idle_timeout_s,
            defaults.idle_timeout,
        )?,
        idle_connections_max: source.count(
            "idle_connections_max",
            idle_max,
            IDLE_CONNECTIONS_MAX_DEFAULT,
            (0, 100_000),
        )?,
        http2: wire.http2.unwrap_or(false),
        ca_file: wire
            .ca_file
            .as_ref()
            .map(|path| source.path(path))
            .transpose()?,
        set_headers: set_headers(source, wire)?,
        remove_request_headers: names(
            source,
            "remove_request_headers",
            wire.remove_request_headers.as_ref(),
        )?,
        remove_response_headers: names(
            source,
            "remove_response_headers",
            wire.remove_response_headers.as_ref(),
        )?,
        ..defaults
    })
}

fn set_headers(source: &Source<'_>, wire: &wire::Upstream) -> Result<Vec<SetHeader>, ConfigError> {
    let offset = wire.url.span().start;
    source.at_most("set_headers", wire.set_headers.len(), HEADERS_MAX, offset)?;
    let mut all: Vec<SetHeader> = Vec::with_capacity(wire.set_headers.len());
    for (text, value) in &wire.set_headers {
        let name = header_name(source, text, value.span().start)?;
        if all.iter().any(|known| known.name == name) {
            return Err(source.at(value, format!("header {name} is set twice")));
        }
        let value = header_source(source, &name, value)?;
        all.push(SetHeader { name, value });
    }
    all.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    Ok(all)
}

fn header_source(
    source: &Source<'_>,
    name: &HeaderName,
    wire: &Spanned<wire::SetHeader>,
) -> Result<HeaderSource, ConfigError> {
    let wire::SetHeader {
        env,
        file,
        value,
        prefix,
    } = wire.get_ref();
    let secret = match (env, file, value) {
        (Some(name), None, None) => {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(source.at(wire, "env names no environment variable"));
            }
            SecretRef::Env(name.clone())
        }
        (None, Some(file), None) => SecretRef::File(source.path(file)?),
        (None, None, Some(value)) => {
            return literal(source, name, wire, value, prefix.as_deref());
        }
        _ => {
            let problem = format!(
                "header {name} needs exactly one of env, file and value: write \
                 {name} = {{ env = \"API_KEY\" }}"
            );
            return Err(source.at(wire, problem));
        }
    };
    let prefix = prefix.clone().unwrap_or_default();
    if HeaderValue::from_str(&prefix).is_err() {
        return Err(source.at(wire, "the prefix cannot stand in a header"));
    }
    Ok(HeaderSource::Secret { secret, prefix })
}

fn literal(
    source: &Source<'_>,
    name: &HeaderName,
    wire: &Spanned<wire::SetHeader>,
    value: &str,
    prefix: Option<&str>,
) -> Result<HeaderSource, ConfigError> {
    if prefix.is_some() {
        return Err(source.at(wire, "prefix is for env and file: write it into the value"));
    }
    if SECRET_WORDS.iter().any(|word| name.as_str().contains(word)) {
        let problem = format!(
            "header {name} looks like a secret, and secrets do not stand in this file: write \
             {name} = {{ env = \"API_KEY\" }} or {name} = {{ file = \"key.txt\" }}"
        );
        return Err(source.at(wire, problem));
    }
    match HeaderValue::from_str(value) {
        Ok(value) => Ok(HeaderSource::Literal(value)),
        Err(_) => Err(source.at(
            wire,
            format!("the value of {name} cannot stand in a header"),
        )),
    }
}

fn names(
    source: &Source<'_>,
    key: &str,
    list: Option<&Spanned<Vec<Spanned<String>>>>,
) -> Result<Vec<HeaderName>, ConfigError> {
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    source.at_most(key, list.get_ref().len(), HEADERS_MAX, list.span().start)?;
    let mut all: Vec<HeaderName> = Vec::new();
    for name in list.get_ref() {
        let name = header_name(source, name.get_ref(), name.span().start)?;
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(all)
}

fn header_name(source: &Source<'_>, text: &str, offset: usize) -> Result<HeaderName, ConfigError> {
    let name: HeaderName = text
        .parse()
        .map_err(|_| source.error(offset, format!("{text:?} is no name of a header")))?;
    if NOT_FOR_FILES.contains(&name.as_str()) {
        let problem = format!("header {name} is the gateway's own: it is neither set nor removed");
        return Err(source.error(offset, problem));
    }
    Ok(name)
}
