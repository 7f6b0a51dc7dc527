//! Who asks: an address, behind whatever proxies are trusted.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{HeaderMap, HeaderName};

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
pub(super) fn of(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[AddressRange]) -> Source {
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

/// A range of addresses, such as `10.0.0.0/8`, `2001:db8::/32` or `127.0.0.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    network: IpAddr,
    prefix: u8,
}

impl AddressRange {
    /// True for an address in it. An IPv4 address and its IPv6 form are the same.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                let bits = network.to_bits() ^ address.to_bits();
                bits.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                let bits = network.to_bits() ^ address.to_bits();
                bits.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| AddressRangeError::Address)?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits)
                .ok_or(AddressRangeError::Prefix { bits })?,
        };
        let range = Self { network, prefix };
        if range.is_exact() {
            Ok(range)
        } else {
            Err(AddressRangeError::HostBits)
        }
    }
}

impl AddressRange {
    /// No bit is set beyond the prefix: else the writer meant something else.
    fn is_exact(&self) -> bool {
        let (bits, length) = match self.network {
            IpAddr::V4(network) => (u128::from(network.to_bits()), 32),
            IpAddr::V6(network) => (network.to_bits(), 128),
        };
        let host_bits = length - u32::from(self.prefix);
        let mask = 1_u128
            .checked_shl(host_bits)
            .map_or(u128::MAX, |bit| bit - 1);
        bits & mask == 0
    }
}

/// Why a range was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressRangeError {
    /// No address.
    #[error("write an IP address, perhaps with a prefix: 10.0.0.0/8")]
    Address,
    /// No prefix length.
    #[error("the prefix must be from 0 to {bits}")]
    Prefix {
        /// The longest.
        bits: u8,
    },
    /// Bits are set beyond the prefix.
    #[error("bits are set beyond the prefix: write the first address of the range")]
    HostBits,
}
