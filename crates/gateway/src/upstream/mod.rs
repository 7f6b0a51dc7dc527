//! The APIs behind the gateway: pooled connections over the injected network.

mod connect;
mod headers;
mod links;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::Authority};
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::Client;
use stiver_env::Env;

use self::{
    connect::{Connector, Target, tls_config},
    links::Links,
};
pub(crate) use self::{
    headers::{HeaderRules, join_cookies, remove_any, strip_forwarded, strip_named},
    links::UpstreamBody,
};
use crate::{
    connections::Spawn,
    timer::EnvTimer,
    tls::{self, PEM_BYTES_MAX, TlsError},
};

/// A request body on its way to the upstream.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;
/// Any error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One upstream, and how to speak to it.
pub(crate) struct Settings {
    /// `https`, or `http`.
    pub(crate) tls: bool,
    /// Host and port.
    pub(crate) authority: String,
    /// Put before every path, without a slash at its end.
    pub(crate) base_path: String,
    /// How long a connection may take, with the TLS handshake.
    pub(crate) connect_timeout: Duration,
    /// How long a connection is kept for another request.
    pub(crate) idle_timeout: Duration,
    /// How many connections are kept so.
    pub(crate) idle_connections_max: usize,
    /// HTTP/2: by prior knowledge, or over TLS by ALPN.
    pub(crate) http2: bool,
    /// Roots besides the platform's, PEM.
    pub(crate) ca_file: Option<PathBuf>,
    /// What the upstream is told and not told.
    pub(crate) rules: HeaderRules,
}

/// What decides whether connections that are open may go on being used.
#[derive(PartialEq, Eq)]
struct Pool {
    tls: bool,
    authority: String,
    connect_timeout: Duration,
    idle_timeout: Duration,
    idle_connections_max: usize,
    http2: bool,
    /// What the file of roots held.
    roots: Option<Vec<u8>>,
}

/// A client of one upstream. Cheap to clone.
#[derive(Clone)]
pub(crate) struct UpstreamClient {
    shared: Arc<Shared>,
}

struct Shared {
    sender: Sender,
    pool: Pool,
    base_path: String,
    rules: HeaderRules,
}

/// How requests reach it. Cheap to clone; all clones share their connections.
#[derive(Clone)]
enum Sender {
    /// By HTTP/1.1, each connection driven by the request that is on it.
    Http1 { links: Links, host: HeaderValue },
    /// By HTTP/2, or by what TLS agrees on.
    Http2 {
        client: Box<Client<Connector, RequestBody>>,
        scheme: http::uri::Scheme,
        authority: Authority,
    },
}

impl UpstreamClient {
    /// A client of an upstream over the environment's network.
    ///
    /// # Errors
    ///
    /// [`UpstreamSetupError`] says what to mend.
    pub(crate) fn new(settings: Settings, env: &Env) -> Result<Self, UpstreamSetupError> {
        Self::after(None, settings, env)
    }

    /// The same, in the place of an earlier client: its connections go on being used when nothing
    /// that they depend on has changed.
    ///
    /// # Errors
    ///
    /// [`UpstreamSetupError`] says what to mend.
    pub(crate) fn after(
        earlier: Option<&Self>,
        settings: Settings,
        env: &Env,
    ) -> Result<Self, UpstreamSetupError> {
        let authority = settings.authority.as_str();
        let wrong = || UpstreamSetupError::Address {
            authority: authority.to_owned(),
        };
        let authority: Authority = authority.parse().map_err(|_| wrong())?;
        let pool = Pool::of(&settings, env)?;
        let kept = earlier.filter(|earlier| earlier.shared.pool == pool);
        let sender = match kept {
            Some(earlier) => earlier.shared.sender.clone(),
            None => connecting(&settings, &pool, authority, env)?,
        };
        let shared = Shared {
            sender,
            pool,
            base_path: settings.base_path,
            rules: settings.rules,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The upstream's URI of a normal path and its query, as [`UpstreamClient::send`] takes it.
    pub(crate) fn uri(&self, target: Uri) -> Result<Uri, http::Error> {
        let shared = &*self.shared;
        if shared.base_path.is_empty() && matches!(shared.sender, Sender::Http1 { .. }) {
            return Ok(target);
        }
        let mut parts = target.into_parts();
        if !shared.base_path.is_empty() {
            let target = parts
                .path_and_query
                .as_ref()
                .map_or("/", |path| path.as_str());
            let target = format!("{}{target}", shared.base_path);
            parts.path_and_query = Some(target.parse()?);
        }
        if let Sender::Http2 {
            scheme, authority, ..
        } = &shared.sender
        {
            parts.scheme = Some(scheme.clone());
            parts.authority = Some(authority.clone());
        }
        Ok(Uri::from_parts(parts)?)
    }

    /// What the upstream is told and not told.
    pub(crate) fn rules(&self) -> &HeaderRules {
        &self.shared.rules
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        match &self.shared.sender {
            Sender::Http1 { links, host } => {
                request.headers_mut().insert(header::HOST, host.clone());
                links.send(request).await
            }
            Sender::Http2 { client, .. } => match client.request(request).await {
                Ok(response) => Ok(response.map(UpstreamBody::from)),
                Err(error) => Err(UpstreamError {
                    reached: !error.is_connect(),
                    source: Box::new(error),
                }),
            },
        }
    }
}

impl Pool {
    fn of(settings: &Settings, env: &Env) -> Result<Self, UpstreamSetupError> {
        let file = settings.ca_file.as_ref().filter(|_| settings.tls);
        let roots = file.map(|file| {
            let pem = env.disk.read(file, PEM_BYTES_MAX);
            pem.map_err(|source| {
                UpstreamSetupError::Tls(TlsError::Read {
                    file: file.clone(),
                    source,
                })
            })
        });
        Ok(Self {
            tls: settings.tls,
            authority: settings.authority.clone(),
            connect_timeout: settings.connect_timeout,
            idle_timeout: settings.idle_timeout,
            idle_connections_max: settings.idle_connections_max,
            http2: settings.http2,
            roots: roots.transpose()?,
        })
    }
}

/// A sender with no connections yet.
fn connecting(
    settings: &Settings,
    pool: &Pool,
    authority: Authority,
    env: &Env,
) -> Result<Sender, UpstreamSetupError> {
    let tls = settings.tls;
    let wrong = || UpstreamSetupError::Address {
        authority: authority.to_string(),
    };
    let config = match tls {
        false => None,
        true => {
            let roots = match (&settings.ca_file, &pool.roots) {
                (Some(file), Some(pem)) => {
                    tls::certificates(file, pem).map_err(UpstreamSetupError::Tls)?
                }
                _ => Vec::new(),
            };
            Some(tls_config(roots, settings.http2).map_err(UpstreamSetupError::Tls)?)
        }
    };
    let target = Target {
        host: authority.host(),
        port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        timeout: settings.connect_timeout,
        tls: config,
    };
    let connector = Connector::new(target, env).map_err(|_| wrong())?;
    let (idle_max, idle_timeout) = (settings.idle_connections_max, settings.idle_timeout);
    if !settings.http2 {
        return Ok(Sender::Http1 {
            host: host(&authority, tls).ok_or_else(wrong)?,
            links: Links::new(connector, (idle_max, idle_timeout), env),
        });
    }
    let client = Client::builder(Spawn(Arc::clone(&env.spawner)))
        .timer(EnvTimer::new(env))
        .pool_timer(EnvTimer::new(env))
        .pool_idle_timeout(idle_timeout)
        .pool_max_idle_per_host(idle_max)
        .http2_only(!tls)
        .build(connector);
    Ok(Sender::Http2 {
        client: Box::new(client),
        scheme: match tls {
            true => http::uri::Scheme::HTTPS,
            false => http::uri::Scheme::HTTP,
        },
        authority,
    })
}

/// What `Host` says to an upstream: no port where it is the usual one.
fn host(authority: &Authority, tls: bool) -> Option<HeaderValue> {
    let usual = if tls { 443 } else { 80 };
    let host = match authority.port_u16() {
        Some(port) if port != usual => format!("{}:{port}", authority.host()),
        _ => authority.host().to_owned(),
    };
    HeaderValue::try_from(host).ok()
}

/// Why an upstream cannot be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamSetupError {
    /// Its address.
    #[error("the upstream {authority:?} has no usable host: write a name or an IP address")]
    Address {
        /// Host and port as configured.
        authority: String,
    },
    /// TLS to it.
    #[error("TLS to the upstream could not be set up")]
    Tls(#[source] TlsError),
}

/// The upstream gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("the upstream gave no answer")]
pub(crate) struct UpstreamError {
    /// The request may have reached it: false only when no connection was made.
    pub(crate) reached: bool,
    #[source]
    source: BoxError,
}
