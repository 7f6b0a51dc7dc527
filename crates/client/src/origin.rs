//! Origins, and what a realm says about them.

use std::{fmt, net::IpAddr};

use http::Uri;
use stiver_core::name::Realm;

/// Where a request goes: scheme, host and port.
///
/// ```
/// use stiver_client::Origin;
/// let origin = Origin::of(&"https://API.example/x".parse().unwrap()).unwrap();
/// assert_eq!(origin.to_string(), "https://api.example");
/// assert!(!origin.is_loopback());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

/// What a realm says about the origin it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RealmClaim {
    /// It names this origin's host.
    ThisHost,
    /// It names another host: a relayed challenge, or a misconfigured server.
    OtherHost,
    /// It is no host name.
    NoHost,
}

impl Origin {
    /// The origin of an absolute URL.
    ///
    /// # Errors
    ///
    /// [`OriginError`] for a URL that is not absolute, not http or https, or holds a password.
    pub fn of(url: &Uri) -> Result<Self, OriginError> {
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(OriginError::Scheme),
            None => return Err(OriginError::NotAbsolute),
        };
        let authority = url.authority().ok_or(OriginError::NotAbsolute)?;
        if authority.as_str().contains('@') {
            return Err(OriginError::UserInfo);
        }
        let host = normal_host(authority.host());
        if host.is_empty() {
            return Err(OriginError::NotAbsolute);
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if secure => 443,
            None => 80,
        };
        Ok(Self { secure, host, port })
    }

    /// True for https.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host, lower-case; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own when the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// True for this machine: `localhost`, names under it, 127.0.0.0/8 and `[::1]`.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || address(&self.host).is_some_and(|address| address.is_loopback())
    }

    /// What a realm claims. `api.example`, `api.example:8443` and `https://api.example` are host
    /// names; `sensor data` and `v1.2` are not.
    pub fn claim(&self, realm: &Realm) -> RealmClaim {
        let text = realm.as_str();
        let (text, port) = match text.split_once("://") {
            Some((_, rest)) => split_port(rest.split(['/', '?', '#']).next().unwrap_or(rest)),
            None => split_port(text),
        };
        let host = normal_host(text);
        if !looks_like_host(&host) && !realm.as_str().contains("://") {
            RealmClaim::NoHost
        } else if host == self.host && port.is_none_or(|port| port == self.port) {
            RealmClaim::ThisHost
        } else {
            RealmClaim::OtherHost
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.secure {
            ("https", 443)
        } else {
            ("http", 80)
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual {
            Ok(())
        } else {
            write!(f, ":{}", self.port)
        }
    }
}

fn normal_host(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn split_port(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.is_empty() => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inside) => inside.parse().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

fn looks_like_host(host: &str) -> bool {
    if host == "localhost" || address(host).is_some() {
        return true;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let Some((rest, last)) = host.rsplit_once('.') else {
        return false;
    };
    rest.split('.').all(label)
        && label(last)
        && last.len() >= 2
        && last.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
}

/// Why a URL cannot be paid at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// No scheme or no host.
    #[error("the URL must be absolute, such as https://api.example/data")]
    NotAbsolute,
    /// Neither http nor https.
    #[error("the URL must begin with https:// (or http:// for this machine)")]
    Scheme,
    /// `user:password@`.
    #[error("the URL holds a user name: send it in a header field instead")]
    UserInfo,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().unwrap()).unwrap()
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for url in [
            "http://localhost:1",
            "http://a.localhost",
            "http://127.9.9.9",
            "http://[::1]:8080/x",
        ] {
            assert!(origin(url).is_loopback(), "{url}");
        }
        for url in [
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://128.0.0.1",
            "http://[::2]",
            "http://0.0.0.0",
        ] {
            assert!(!origin(url).is_loopback(), "{url}");
        }
    }

    #[test]
    fn urls_that_hide_their_host_are_refused() {
        for (url, error) in [
            ("/x", OriginError::NotAbsolute),
            ("ftp://a.example/x", OriginError::Scheme),
            ("https://bank.example@evil.example/", OriginError::UserInfo),
        ] {
            assert_eq!(Origin::of(&url.parse().unwrap()), Err(error), "{url}");
        }
    }

    #[test]
    fn a_realm_that_names_another_host_is_told_from_one_that_names_none() {
        use RealmClaim::{NoHost, OtherHost, ThisHost};
        let site = "https://api.example";
        let local = "http://127.0.0.1:8402";
        for (url, realm, claim) in [
            (site, "api.example", ThisHost),
            (site, "API.example.", ThisHost),
            (site, "api.example:443", ThisHost),
            (site, "https://api.example/v1", ThisHost),
            (site, "api.example:8443", OtherHost),
            (site, "example", NoHost),
            (site, "evil.example", OtherHost),
            (site, "example.api.example", OtherHost),
            (site, "https://evil/", OtherHost),
            (site, "10.0.0.1", OtherHost),
            (site, "localhost", OtherHost),
            (site, "[::1]:443", OtherHost),
            (site, "sensor data", NoHost),
            (site, "v1.2", NoHost),
            (site, "MPP: paid. Thanks", NoHost),
            (local, "127.0.0.1:8402", ThisHost),
            (local, "127.0.0.1", ThisHost),
            (local, "127.0.0.1:9000", OtherHost),
        ] {
            let realm = Realm::new(realm).unwrap();
            assert_eq!(origin(url).claim(&realm), claim, "{url} {realm}");
        }
    }
}
