//! Addresses and how they are written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use kubewright_core::spec::Cidr;

/// The n-th address of a range (kubeadm's `GetIndexedIP`); the zeroth is the network's own.
pub fn nth(cidr: Cidr, n: u8) -> IpAddr {
    match cidr.network {
        IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits().wrapping_add(n.into())).into(),
        IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits().wrapping_add(n.into())).into(),
    }
}

/// Address of the cluster's DNS: the tenth of the Service range (kubeadm's `GetDNSIP`).
pub(crate) fn cluster_dns(service_cidr: Cidr) -> IpAddr {
    nth(service_cidr, 10)
}

/// `address:port`, with brackets around IPv6.
pub(crate) fn socket(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

/// The loopback address of the same family.
pub(crate) fn loopback(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_is_the_tenth_service_address() {
        let v4 = Cidr::try_from("10.96.0.0/12".to_owned()).unwrap();
        let v6 = Cidr::try_from("fd00:10:96::/112".to_owned()).unwrap();
        assert_eq!(cluster_dns(v4).to_string(), "10.96.0.10");
        assert_eq!(cluster_dns(v6).to_string(), "fd00:10:96::a");
    }

    #[test]
    fn ipv6_gets_brackets() {
        assert_eq!(socket("fd00::1".parse().unwrap(), 6443), "[fd00::1]:6443");
        assert_eq!(socket("10.0.0.1".parse().unwrap(), 6443), "10.0.0.1:6443");
    }
}
