//! Address ranges and what can be asked about them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// An address range in prefix notation; host bits are zero once validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// First address.
    pub network: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

impl Cidr {
    /// A range of IPv4 addresses.
    pub const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    /// Bits of an address of this family.
    pub fn width(&self) -> u8 {
        if self.network.is_ipv4() { 32 } else { 128 }
    }

    /// Bits that tell its addresses apart; 0 for a range of one address.
    pub fn host_bits(&self) -> u8 {
        self.width().saturating_sub(self.prefix)
    }

    /// The same range with its host bits cleared.
    #[must_use]
    pub fn canonical(&self) -> Self {
        Self { network: self.address(self.first()), prefix: self.prefix }
    }

    /// The last address.
    pub fn last_address(&self) -> IpAddr {
        self.address(self.last())
    }

    /// Whether the address lies inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4() && (self.first()..=self.last()).contains(&number(address))
    }

    /// Whether all of the other lies inside.
    pub fn holds(&self, other: &Self) -> bool {
        self.contains(self.address(other.first())) && self.same_family(other) && self.prefix <= other.prefix
    }

    /// Whether an address lies in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.same_family(other) && self.first() <= other.last() && other.first() <= self.last()
    }

    fn same_family(&self, other: &Self) -> bool {
        self.network.is_ipv4() == other.network.is_ipv4()
    }

    fn first(&self) -> u128 {
        number(self.network) & !self.host_mask()
    }

    fn last(&self) -> u128 {
        number(self.network) | self.host_mask()
    }

    fn host_mask(&self) -> u128 {
        1_u128.checked_shl(self.host_bits().into()).map_or(u128::MAX, |end| end - 1)
    }

    /// The address of that number in the range's family.
    fn address(&self, number: u128) -> IpAddr {
        match self.network {
            // Numbers here come from an IPv4 address and a mask of at most 32 bits.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{}/{}", self.network, self.prefix))
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let complaint = || format!("`{text}` is not an address range such as 10.244.0.0/16");
        let (network, prefix) = text.split_once('/').ok_or_else(complaint)?;
        let network: IpAddr = network.parse().map_err(|_| complaint())?;
        let prefix: u8 = prefix.parse().map_err(|_| complaint())?;
        let range = Self { network, prefix };
        if prefix > range.width() {
            let width = range.width();
            return Err(format!("a prefix of {prefix} bits is longer than an address ({width} bits)"));
        }
        Ok(range)
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Cidr {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn overlap_is_symmetric_and_stays_in_the_family() {
        let services = range("10.96.0.0/12");
        for (other, expected) in
            [("10.111.255.0/24", true), ("10.112.0.0/16", false), ("0.0.0.0/0", true), ("fd00::/8", false)]
        {
            assert_eq!(services.overlaps(&range(other)), expected, "{other}");
            assert_eq!(range(other).overlaps(&services), expected, "{other}");
        }
        assert!(services.holds(&range("10.96.0.0/16")));
        assert!(!range("10.96.0.0/16").holds(&services));
    }

    #[test]
    fn bounds() {
        assert_eq!(range("10.244.3.7/16").canonical().to_string(), "10.244.0.0/16");
        assert_eq!(range("0.0.0.0/0").last_address().to_string(), "255.255.255.255");
        assert_eq!(range("::/0").host_bits(), 128);
        assert!(range("::/0").contains("ffff::1".parse().unwrap()));
        assert!(range("10.0.0.1/32").contains("10.0.0.1".parse().unwrap()));
        assert!(Cidr::try_from("10.0.0.0/33".to_owned()).is_err());
    }
}
