//! Names in certificates and addresses of API servers: subject alternative names and endpoints.
//!
//! The rules of what may stand in a certificate are kubeadm's (`pkiutil.appendSANsToAltNames`), with one
//! difference: a name that fits nowhere is an error here, where kubeadm warns and leaves it out.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Longest DNS name, RFC 1123.
const LONGEST_NAME: usize = 253;
/// Longest label of a DNS name, RFC 1123.
const LONGEST_LABEL: usize = 63;

/// Port of the API server when an endpoint names none; kubeadm's `bindPort`.
pub const API_PORT: u16 = 6443;

/// A set of subject alternative names in kubeadm's order: DNS names sorted, then addresses as they came.
///
/// Source: `pkiutil.RemoveDuplicateAltNames`. Addresses are compared by value, so `::ffff:10.0.0.1` is `10.0.0.1`
/// and `fd00:0::1` is `fd00::1`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AltNames {
    dns: BTreeSet<String>,
    addresses: Vec<IpAddr>,
}

impl AltNames {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an address unless it is there already.
    pub fn insert_address(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    /// Adds a DNS name, or an address when the text is one.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when the text is neither an address nor a lower-case RFC 1123 name.
    pub fn insert(&mut self, name: &str) -> Result<(), Error> {
        if let Ok(address) = name.parse() {
            self.insert_address(address);
        } else if is_dns_name(name.strip_prefix("*.").unwrap_or(name)) {
            self.dns.insert(name.to_owned());
        } else {
            return Err(Error::InvalidName { name: name.to_owned() });
        }
        Ok(())
    }

    /// DNS names in sorted order.
    pub fn dns(&self) -> impl Iterator<Item = &str> {
        self.dns.iter().map(String::as_str)
    }

    /// Addresses in the order they were added.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied()
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.addresses.is_empty()
    }
}

/// Whether the text is a lower-case RFC 1123 subdomain that cannot be mistaken for an IPv4 address.
///
/// Kubernetes alone would take `10.0.0.256` for a DNS name; a name whose last label is a number is
/// a mistyped address and no resolver will ever look it up.
pub(crate) fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LONGEST_LABEL
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric_end =
        name.contains('.') && name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= LONGEST_NAME && name.split('.').all(label) && !numeric_end
}

/// Where an API server answers: a host (DNS name or address) and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// An endpoint from its parts; a v6 address is given without brackets.
    ///
    /// # Errors
    /// [`Error::InvalidEndpoint`] when the host is neither an address nor a DNS name, or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, Error> {
        match host.parse::<IpAddr>() {
            Ok(address) if port != 0 => Ok(SocketAddr::new(address, port).into()),
            Err(_) if port != 0 && is_dns_name(host) => Ok(Self { host: host.to_owned(), port }),
            _ => Err(Error::InvalidEndpoint { endpoint: format!("{host}:{port}") }),
        }
    }

    /// The host without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address for a kubeconfig: `https://host:port`, a v6 address in brackets.
    pub fn url(&self) -> String {
        format!("https://{self}")
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_canonical().to_string(), port: address.port() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    /// Reads `host`, `host:port`, `v6` or `[v6]:port`; without a port it is [`API_PORT`].
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::InvalidEndpoint { endpoint: text.to_owned() };
        if text.parse::<IpAddr>().is_ok() {
            return Self::new(text, API_PORT);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(invalid)?;
            let port = match port.strip_prefix(':') {
                Some(port) => port.parse().map_err(|_| invalid())?,
                None if port.is_empty() => API_PORT,
                None => return Err(invalid()),
            };
            // Brackets mean v6; `[name]` or `[10.0.0.1]` is a mistake.
            return if host.contains(':') { Self::new(host, port).map_err(|_| invalid()) } else { Err(invalid()) };
        }
        match text.split_once(':') {
            Some((host, port)) => Self::new(host, port.parse().map_err(|_| invalid())?),
            None => Self::new(text, API_PORT),
        }
        .map_err(|_| invalid())
    }
}

impl TryFrom<String> for Endpoint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written() {
        for (text, url) in [
            ("api.example.com", "https://api.example.com:6443"),
            ("api.example.com:443", "https://api.example.com:443"),
            ("10.0.0.1", "https://10.0.0.1:6443"),
            ("10.0.0.1:8443", "https://10.0.0.1:8443"),
            ("fd00:0::1", "https://[fd00::1]:6443"),
            ("[fd00::1]", "https://[fd00::1]:6443"),
            ("[fd00::1]:1", "https://[fd00::1]:1"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().url(), url);
        }
        for text in [
            "",
            ":",
            "a:",
            "a:0",
            "a:70000",
            "[fd00::1",
            "[a]:1",
            "[fd00::1]1",
            "10.0.0.256",
            "A.b",
            "a b",
            "https://a",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_sorted_once_each_and_checked() {
        let mut names = AltNames::new();
        for name in ["b", "a.example", "*.example", "b", "10.0.0.2", "::ffff:10.0.0.2", "fd00:0:0::1", "10.0.0.1"] {
            names.insert(name).unwrap();
        }
        assert_eq!(names.dns().collect::<Vec<_>>(), ["*.example", "a.example", "b"]);
        let addresses: Vec<_> = names.addresses().map(|a| a.to_string()).collect();
        assert_eq!(addresses, ["10.0.0.2", "fd00::1", "10.0.0.1"]);
        for name in ["", "-a", "a-", "a..b", "A", "a_b", "*", "*.", "a.*.b", "10.0.0.256", "[::1]", "fe80::1%eth0"] {
            assert!(names.insert(name).is_err(), "{name}");
        }
    }
}
