//! How a server is reached: proxies, certificates, versions of HTTP.

use std::time::Duration;

use http::Uri;
use reqwest::{Certificate, ClientBuilder, NoProxy, Proxy};
use stiver_client::{Options, Origin, Redirects, limits};
use stiver_env::Env;

use crate::{
    args::get::{Connection, Get},
    failure::{Failure, UsageContext},
};

/// Longest file of certificate authorities, bytes.
const CA_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The connection as it was asked for, checked.
#[derive(Clone, Default)]
pub(crate) struct Connect {
    proxies: Vec<Proxy>,
    no_proxy_at_all: bool,
    authorities: Option<Vec<Certificate>>,
    certificates: Certificates,
    http1: bool,
    http2: bool,
}

/// Whose certificates are checked.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Certificates {
    /// Everybody's.
    #[default]
    Checked,
    /// All but those of this machine.
    UncheckedHere,
    /// Nobody's.
    Unchecked,
}

impl Connect {
    pub(super) fn read(args: &Get, env: &Env) -> Result<Self, Failure> {
        let asked = &args.connection;
        if asked.insecure && !asked.dangerous_insecure && !is_here(args.url.as_deref()) {
            return Err(Failure::usage(
                "--insecure is for servers on this machine: elsewhere whoever is on the way could \
                 take what is paid. Give --cacert FILE for a certificate of your own, or \
                 --dangerous-insecure",
            ));
        }
        Ok(Self {
            proxies: proxies(asked)?,
            no_proxy_at_all: asked.no_proxy.as_deref() == Some("*"),
            authorities: authorities(asked, env)?,
            certificates: match (asked.dangerous_insecure, asked.insecure) {
                (true, _) => Certificates::Unchecked,
                (false, true) => Certificates::UncheckedHere,
                (false, false) => Certificates::Checked,
            },
            http1: asked.http1,
            http2: asked.http2,
        })
    }

    /// A builder for the server that is paid, which [`Connect::read`] has seen to be on this
    /// machine if its certificate goes unchecked for that. Called several times.
    pub(super) fn builder(&self) -> ClientBuilder {
        self.with_certificates(self.certificates == Certificates::Checked)
    }

    /// A builder for another server: `--insecure` holds for it only if it is on this machine too.
    pub(crate) fn builder_for(&self, url: &str) -> ClientBuilder {
        self.with_certificates(match self.certificates {
            Certificates::Checked => true,
            Certificates::UncheckedHere => !is_here(Some(url)),
            Certificates::Unchecked => false,
        })
    }

    fn with_certificates(&self, checked: bool) -> ClientBuilder {
        let mut builder = reqwest::Client::builder();
        for proxy in &self.proxies {
            builder = builder.proxy(proxy.clone());
        }
        if self.no_proxy_at_all {
            builder = builder.no_proxy();
        }
        if let Some(authorities) = &self.authorities {
            builder = builder.tls_certs_only(authorities.clone());
        }
        if !checked {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if self.http1 {
            builder = builder.http1_only();
        }
        if self.http2 {
            builder = builder.http2_prior_knowledge();
        }
        builder
    }
}

/// The client's settings.
pub(super) fn options(asked: &Connection) -> Options {
    let mut options = Options::default();
    options.connect_timeout = Duration::from_secs(asked.connect_timeout);
    if let Some(seconds) = asked.max_time {
        options.reply_timeout = Duration::from_secs(seconds);
    }
    options.redirects = match (asked.location_trusted, asked.location) {
        (true, _) => Redirects::DangerousPaidAnywhere,
        (false, true) => Redirects::AnyOrigin,
        (false, false) => Redirects::HandOver,
    };
    options.redirects_max = asked.max_redirs;
    options.retries = asked.retries.unwrap_or(0);
    options.sends_max = asked
        .retries
        .map_or(limits::SENDS_MAX, |retries| retries.saturating_add(1));
    options.loopback_proxy = is_here(asked.proxy.as_deref());
    options
}

fn is_here(url: Option<&str>) -> bool {
    let uri: Option<Uri> = url.and_then(|url| url.parse().ok());
    let Some(uri) = uri else { return false };
    // A proxy's URL may hold a user name, which an origin may not.
    let host = uri.host().unwrap_or_default();
    let bare = format!("http://{host}/")
        .parse()
        .map(|uri| Origin::of(&uri));
    matches!(bare, Ok(Ok(origin)) if origin.is_loopback())
}

fn proxies(asked: &Connection) -> Result<Vec<Proxy>, Failure> {
    let exempt = || asked.no_proxy.as_deref().and_then(NoProxy::from_string);
    if let Some(url) = &asked.proxy {
        let exempt = match &asked.no_proxy {
            Some(_) => exempt(),
            None => NoProxy::from_env(),
        };
        return Ok(vec![proxy(url, "--proxy")?.no_proxy(exempt)]);
    }
    // By itself the client follows the environment; `--no-proxy` alone changes a part of that.
    let Some(exempt) = exempt() else {
        return Ok(Vec::new());
    };
    let names = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let mut found = names.iter().filter_map(|name| std::env::var(name).ok());
    match found.find(|url| !url.is_empty()) {
        Some(url) => {
            let proxy = proxy(&url, "the proxy of the environment")?;
            Ok(vec![proxy.no_proxy(Some(exempt))])
        }
        None => Ok(Vec::new()),
    }
}

fn proxy(url: &str, what: &'static str) -> Result<Proxy, Failure> {
    // The URL may hold a password: it is not repeated.
    let known = ["http://", "https://"];
    let has_host = known
        .iter()
        .filter_map(|scheme| url.strip_prefix(scheme))
        .any(|rest| !rest.is_empty());
    if !has_host {
        return Err(Failure::usage(format!("{what}: write http://HOST:PORT")));
    }
    Proxy::all(url).map_err(|_| Failure::usage(format!("{what}: write http://HOST:PORT")))
}

fn authorities(asked: &Connection, env: &Env) -> Result<Option<Vec<Certificate>>, Failure> {
    let Some(file) = &asked.cacert else {
        return Ok(None);
    };
    let doing = format!("--cacert {}", file.display());
    let pem = env.disk.read(file, CA_FILE_BYTES_MAX);
    let pem = pem.usage(doing.clone())?;
    let certificates = Certificate::from_pem_bundle(&pem).usage(doing.clone())?;
    if certificates.is_empty() {
        return Err(Failure::usage(format!("{doing}: it holds no certificate")));
    }
    Ok(Some(certificates))
}
