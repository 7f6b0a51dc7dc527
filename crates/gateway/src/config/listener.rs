//! `[[listener]]`: where clients connect.

use std::{net::SocketAddr, path::PathBuf};

use super::{ConfigError, address, source::Source, wire};

/// Most listeners in one file.
pub const LISTENERS_MAX: usize = 64;

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// How it speaks TLS; plain when absent.
    pub tls: Option<Tls>,
    /// The versions of HTTP it speaks.
    pub protocols: Protocols,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Versions of HTTP. Over TLS they are agreed on by ALPN, else told by the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
    /// Both.
    Both,
}

impl Protocols {
    /// The names of the versions, as in the file and in ALPN; the preferred one first.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Http1 => &["http/1.1"],
            Self::Http2 => &["h2"],
            Self::Both => &["h2", "http/1.1"],
        }
    }
}

/// Every listener: that of `gateway.listen`, then the `[[listener]]` tables.
pub(super) fn resolve(
    source: &Source<'_>,
    file: &wire::File,
) -> Result<Vec<Listener>, ConfigError> {
    let gateway = file.gateway.get_ref();
    let behind_proxy = gateway.behind_tls_proxy == Some(true);
    let mut all = Vec::new();
    if let Some(listen) = &gateway.listen {
        let address = address::socket(source, "listen", listen, "127.0.0.1:8402")?;
        check_plain(source, "listen", address, behind_proxy, listen.span().start)?;
        all.push(Listener {
            address,
            tls: None,
            protocols: Protocols::Both,
        });
    }
    for wire in &file.listeners {
        all.push(listener(source, wire, behind_proxy)?);
    }
    if all.is_empty() {
        let problem = "nowhere to listen: write listen = \"127.0.0.1:8402\" in [gateway], or a \
                       [[listener]] with address = \"127.0.0.1:8402\"";
        return Err(source.at(&file.gateway, problem));
    }
    source.at_most("[[listener]]", all.len(), LISTENERS_MAX, 0)?;
    Ok(all)
}

fn listener(
    source: &Source<'_>,
    wire: &wire::Listener,
    behind_proxy: bool,
) -> Result<Listener, ConfigError> {
    let address = address::socket(source, "address", &wire.address, "0.0.0.0:8443")?;
    let tls = match &wire.tls {
        None => {
            let offset = wire.address.span().start;
            check_plain(source, "address", address, behind_proxy, offset)?;
            None
        }
        Some(tls) => Some(Tls {
            certificate: source.path(&tls.certificate)?,
            key: source.path(&tls.key)?,
        }),
    };
    Ok(Listener {
        address,
        tls,
        protocols: protocols(source, wire)?,
    })
}

/// Plain HTTP is for loopback, or for behind a proxy that ends TLS (CORE-48).
fn check_plain(
    source: &Source<'_>,
    key: &str,
    address: SocketAddr,
    behind_proxy: bool,
    offset: usize,
) -> Result<(), ConfigError> {
    if address.ip().is_loopback() || behind_proxy {
        return Ok(());
    }
    let problem = format!(
        "{key} {address} would send challenges and credentials over plain HTTP: listen on \
         127.0.0.1, give a [[listener]] tls = {{ certificate = \"cert.pem\", key = \"key.pem\" }}, \
         or put a TLS proxy in front and say behind_tls_proxy = true"
    );
    Err(source.error(offset, problem))
}

fn protocols(source: &Source<'_>, wire: &wire::Listener) -> Result<Protocols, ConfigError> {
    let Some(list) = &wire.protocols else {
        return Ok(Protocols::Both);
    };
    let (mut http1, mut http2) = (false, false);
    for name in list.get_ref() {
        match name.get_ref().as_str() {
            "http/1.1" => http1 = true,
            "h2" => http2 = true,
            other => {
                let problem = format!("protocol {other:?} must be \"http/1.1\" or \"h2\"");
                return Err(source.at(name, problem));
            }
        }
    }
    match (http1, http2) {
        (true, true) => Ok(Protocols::Both),
        (true, false) => Ok(Protocols::Http1),
        (false, true) => Ok(Protocols::Http2),
        (false, false) => Err(source.at(list, "protocols is empty: leave it out to speak both")),
    }
}
