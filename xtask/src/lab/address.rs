//! Addresses in a lab's network.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// A /24 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet([u8; 3]);

impl Subnet {
    /// The address with this last number.
    ///
    /// # Errors
    /// A /24 network has no such host.
    pub fn host(self, number: usize) -> Result<Ipv4Addr> {
        let [a, b, c] = self.0;
        let last = u8::try_from(number).ok().filter(|last| (1..255).contains(last));
        Ok(Ipv4Addr::new(a, b, c, last.with_context(|| format!("{self} has no host {number}"))?))
    }

    /// The address that goes with a name: control planes `cp1`… from .11, workers `w1`… from .21, others by their place
    /// in the list from .101 on.
    ///
    /// # Errors
    /// There is no room.
    pub fn address_of(self, name: &str, place: usize) -> Result<Ipv4Addr> {
        let numbered = |prefix: &str, first: usize, room: usize| {
            let number: usize = name.strip_prefix(prefix)?.parse().ok()?;
            (1..=room).contains(&number).then(|| first + number - 1)
        };
        let number = numbered("cp", 11, 9).or_else(|| numbered("w", 21, 79));
        self.host(number.unwrap_or(101 + place))
    }
}

impl FromStr for Subnet {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let address: Ipv4Addr = text
            .strip_suffix("/24")
            .and_then(|address| address.parse().ok())
            .with_context(|| format!("{text} is not a network such as 10.77.0.0/24"))?;
        let [a, b, c, d] = address.octets();
        if d != 0 {
            bail!("{text} is not a network: its last number must be 0");
        }
        Ok(Self([a, b, c]))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a}.{b}.{c}.0/24")
    }
}

impl TryFrom<String> for Subnet {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_addresses() {
        let subnet: Subnet = "10.9.8.0/24".parse().unwrap();
        let address = |name| subnet.address_of(name, 3).unwrap().to_string();
        assert_eq!(address("cp3"), "10.9.8.13");
        assert_eq!(address("w79"), "10.9.8.99");
        assert_eq!(address("bastion"), "10.9.8.104");
        assert_eq!(address("cp99"), "10.9.8.104");
    }

    #[test]
    fn only_whole_networks_are_taken() {
        for text in ["10.77.0.1/24", "10.77.0.0/16", "10.77.0.0", "x"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }
}
