//! Alternative names under random input: each once, in kubeadm's order, and the certificate says the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kubewright_certs::inspect::CertificateFacts;
use kubewright_certs::issue::{Authority, LeafRequest};
use kubewright_certs::key::{KeyAlgorithm, PrivateKey};
use kubewright_certs::names::{AltNames, Endpoint};
use kubewright_certs::profile::{Subject, TlsUsage, Validity, Window};
use proptest::prelude::*;

use crate::samples;

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        // v4 in v6 clothes, and few different ones, so that duplicates happen.
        (0u8..4).prop_map(|last| format!("::ffff:10.0.0.{last}").parse().unwrap()),
        (0u8..4).prop_map(|last| format!("10.0.0.{last}").parse().unwrap()),
        (0u16..4).prop_map(|last| format!("fd00::{last}").parse().unwrap()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\\.[a-z]([a-z0-9-]{0,10}[a-z0-9])?){0,3}",
        "\\*\\.[a-z]{1,3}\\.[a-z]{2}",
        "[ab]",
    ]
}

#[derive(Debug, Clone)]
enum Entry {
    Name(String),
    Address(IpAddr),
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(prop_oneof![name().prop_map(Entry::Name), address().prop_map(Entry::Address)], 0..20)
}

fn collect(entries: &[Entry]) -> AltNames {
    let mut names = AltNames::new();
    for entry in entries {
        match entry {
            Entry::Name(name) => names.insert(name).unwrap(),
            // Half by value and half as text, which must not matter.
            Entry::Address(address) if address.is_ipv4() => names.insert(&address.to_string()).unwrap(),
            Entry::Address(address) => names.insert_address(*address),
        }
    }
    names
}

proptest! {
    #[test]
    fn each_name_stands_once_and_in_order(entries in entries()) {
        let names = collect(&entries);
        let dns: Vec<_> = names.dns().collect();
        let mut sorted = dns.clone();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(&dns, &sorted);
        let mut seen = BTreeSet::new();
        let first_seen: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Address(address) => Some(address.to_canonical()),
                Entry::Name(_) => None,
            })
            .filter(|address| seen.insert(*address))
            .collect();
        prop_assert_eq!(names.addresses().collect::<Vec<_>>(), first_seen);
        // Adding everything again changes nothing.
        let twice: Vec<_> = entries.iter().chain(&entries).cloned().collect();
        prop_assert_eq!(collect(&twice), names);
    }

    #[test]
    fn endpoints_survive_text(host in prop_oneof![name(), address().prop_map(|a| a.to_string())], port in 1u16..) {
        prop_assume!(!host.starts_with('*'));
        let endpoint = Endpoint::new(&host, port).unwrap();
        prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
    }

    #[test]
    fn any_text_is_taken_or_refused_but_never_panics(text in "\\PC{0,40}") {
        let _ = AltNames::new().insert(&text);
        let _ = text.parse::<Endpoint>();
        let _ = kubewright_certs::load::certificates(&text);
        let _ = PrivateKey::from_pem(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_certificate_says_what_was_asked(entries in entries()) {
        let now = samples::NOW.parse().unwrap();
        let window = Window::starting(now, Validity::default().leaf).unwrap();
        let authority = Authority::create(&Subject::new("ca"), KeyAlgorithm::EcdsaP256, window).unwrap();
        let alt_names = collect(&entries);
        let request = LeafRequest {
            subject: Subject::in_group("ü: not printable", "kubeadm:cluster-admins"),
            usages: vec![TlsUsage::Server],
            alt_names: alt_names.clone(),
        };
        let leaf = authority.issue(&request, KeyAlgorithm::EcdsaP256, window).unwrap();
        let facts = &CertificateFacts::from_pem(&leaf.certificate_pem).unwrap()[0];
        prop_assert_eq!(&facts.dns_names, &alt_names.dns().collect::<Vec<_>>());
        prop_assert_eq!(&facts.addresses, &alt_names.addresses().collect::<Vec<_>>());
        prop_assert_eq!(facts.subject.common_name.as_deref(), Some("ü: not printable"));
        prop_assert_eq!(&facts.subject.organizations, &["kubeadm:cluster-admins"]);
    }
}
