//! Who asks: an address, behind whatever proxies are trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};

use crate::config::address::IpBlock;

/// The field in which proxies tell whom they ask for.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Most hops of `X-Forwarded-For` that are read, from the right.
pub const FORWARDED_HOPS_MAX: usize = 32;

/// Whom a limit counts: an IPv4 address, an IPv6 network of 64 bits (what one customer gets), or
/// whoever has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
    /// A peer without an address.
    Local,
}

impl Source {
    /// The source of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64;
                // 128 bits less 64 are 64.
                Self::V6(u64::try_from(network).unwrap_or(u64::MAX))
            }
        }
    }
}

/// The peer, or whom a trusted proxy asks for: the rightmost address that is not a trusted proxy's.
///
/// What stands further left is the client's own word. An address that cannot be read ends the walk:
/// the proxy that wrote it counts.
pub(super) fn of(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpBlock]) -> Source {
    let Some(peer) = peer else {
        return Source::Local;
    };
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut known = peer;
    if !is_trusted(known) {
        return Source::of(known);
    }
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let hops = lines
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.take(FORWARDED_HOPS_MAX) {
        let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else {
            break;
        };
        known = address;
        if !is_trusted(known) {
            break;
        }
    }
    Source::of(known)
}

/// An address as proxies write it: alone, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port)
}
