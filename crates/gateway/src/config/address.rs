//! Addresses in a configuration: sockets, URLs, blocks of IP addresses.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use toml::Spanned;

use super::{ConfigError, source::Source};

/// An `http` or `https` URL without user, query and fragment. Displays as it is written in the
/// file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// `https`, or `http`.
    pub tls: bool,
    /// Host and port as they go into URIs.
    pub authority: String,
    /// The path, without a slash at its end.
    pub path: String,
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// The URL of a key.
pub(super) fn url(
    source: &Source<'_>,
    key: &str,
    value: &Spanned<String>,
    example: &str,
) -> Result<HttpUrl, ConfigError> {
    let text = value.get_ref();
    let wrong = |why: &str| {
        let problem = format!("{key} {text:?} {why}: write a URL such as {example}");
        source.at(value, problem)
    };
    if text.contains('@') {
        // It may hold a password: what stands there is not repeated.
        let problem = format!("{key} holds a user name: credentials do not belong here");
        return Err(source.at(value, problem));
    }
    let uri: http::Uri = text.parse().map_err(|_| wrong("is no URL"))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("has no http or https scheme")),
    };
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.host().is_empty() {
        return Err(wrong("names no host"));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(wrong("has a query or a fragment"));
    }
    Ok(HttpUrl {
        tls,
        authority: authority.as_str().to_owned(),
        path: uri.path().trim_end_matches('/').to_owned(),
    })
}

/// The socket address of a key.
pub(super) fn socket(
    source: &Source<'_>,
    key: &str,
    value: &Spanned<String>,
    example: &str,
) -> Result<SocketAddr, ConfigError> {
    let text = value.get_ref();
    text.parse().map_err(|_| {
        let hint = format!("write an IP address and a port, such as {example}");
        source.at(value, format!("{key} {text:?} is no address: {hint}"))
    })
}

/// A block of IP addresses, such as `10.0.0.0/8`. A lone address is a block of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpBlock {
    address: IpAddr,
    prefix: u8,
}

impl IpBlock {
    /// Reads `ADDRESS/BITS` or `ADDRESS`; nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match bits {
            None => longest,
            Some(bits) if bits.starts_with('+') => return None,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= longest)?,
        };
        let block = Self { address, prefix };
        (block.masked(address) == number(address)).then_some(block)
    }

    /// True for the addresses of the block. An IPv4 address in IPv6 form counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == number(self.address)
    }

    fn masked(&self, address: IpAddr) -> u128 {
        let longest: u32 = if self.address.is_ipv4() { 32 } else { 128 };
        let host_bits = longest.saturating_sub(u32::from(self.prefix));
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        number(address) & mask
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_its_addresses_and_no_others() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("127.0.0.1/32", "::ffff:127.0.0.1", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("0.0.0.0/0", "255.255.255.255", "::2"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
        ] {
            let block = IpBlock::parse(block).unwrap();
            assert!(block.contains(inside.parse().unwrap()), "{block} {inside}");
            assert!(
                !block.contains(outside.parse().unwrap()),
                "{block} {outside}"
            );
            assert_eq!(IpBlock::parse(&block.to_string()), Some(block));
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "a/8",
            "::1/129",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(IpBlock::parse(text), None, "{text}");
        }
    }
}
