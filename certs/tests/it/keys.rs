//! What is refused: keys, certificates and authorities that do not fit together.

use jiff::{Timestamp, ToSpan};
use kubewright_certs::Error;
use kubewright_certs::cluster::{Authorities, Contents, ExistingAuthorities, ExistingAuthority, PkiFile};
use kubewright_certs::issue::{Authority, LeafRequest};
use kubewright_certs::key::{KeyAlgorithm, PrivateKey};
use kubewright_certs::load;
use kubewright_certs::profile::{AuthorityName, Subject, TlsUsage, Validity, Window};
use secrecy::{ExposeSecret, SecretString};

use crate::samples;

const EC: KeyAlgorithm = KeyAlgorithm::EcdsaP256;

fn now() -> Timestamp {
    samples::NOW.parse().unwrap()
}

fn authority(name: &str) -> Authority {
    let window = Window::starting(now(), Validity::default().authority).unwrap();
    Authority::create(&Subject::new(name), EC, window).unwrap()
}

fn request(name: &str) -> LeafRequest {
    LeafRequest { subject: Subject::new(name), usages: vec![TlsUsage::Client], alt_names: Default::default() }
}

fn window() -> Window {
    Window::starting(now(), Validity::default().leaf).unwrap()
}

#[test]
fn a_chain_is_proven_by_name_key_and_signature() {
    let (ours, twin, other) = (authority("kubernetes"), authority("kubernetes"), authority("other"));
    let leaf = ours.issue(&request("x"), EC, window()).unwrap();
    let leaf = load::first_certificate(&leaf.certificate_pem).unwrap();
    load::check_issued_by(&leaf, ours.certificate()).unwrap();
    let reason = |authority: &Authority| match load::check_issued_by(&leaf, authority.certificate()) {
        Err(Error::BrokenChain { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&other), "the issuer's name differs");
    assert_eq!(reason(&twin), "it names another key of that authority");
    // One flipped bit at the end, within the signature.
    let mut forged = leaf.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let error = load::check_issued_by(&forged.into(), ours.certificate()).unwrap_err();
    assert!(matches!(error, Error::BrokenChain { reason: "the signature does not hold", .. }), "{error}");
    let error = load::check_issued_by(ours.certificate(), &leaf).unwrap_err();
    assert!(matches!(error, Error::NotAnAuthority { .. }), "{error}");
}

#[test]
fn an_authority_is_checked_before_it_signs() {
    let (ours, other) = (authority("kubernetes"), authority("kubernetes"));
    let load = |certificate: &str, key: &SecretString, at| Authority::load(certificate, key, at).unwrap_err();
    assert!(matches!(load(ours.certificate_pem(), other.key_pem(), now()), Error::KeyMismatch { .. }));
    let leaf = ours.issue(&request("x"), EC, window()).unwrap();
    assert!(matches!(load(&leaf.certificate_pem, &leaf.key_pem, now()), Error::NotAnAuthority { .. }));
    for at in [now() - 1.hours(), now() + (24 * 366 * 10).hours()] {
        assert!(matches!(load(ours.certificate_pem(), ours.key_pem(), at), Error::OutsideValidity { .. }));
    }
    for text in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(load(text, ours.key_pem(), now()), Error::UnreadableCertificate { .. }), "{text}");
        let key = SecretString::from(text);
        assert!(matches!(load(ours.certificate_pem(), &key, now()), Error::UnreadableKey { .. }), "{text}");
    }
}

#[test]
fn existing_authorities_are_passed_on_unchanged() {
    let made = Authorities::create(EC, Validity::default(), now()).unwrap();
    // Text that no writer of ours would produce: a comment before, and Windows line ends.
    let odd = |pem: &str| format!("# kept by hand\n{}", pem.replace('\n', "\r\n"));
    let cluster = made.get(AuthorityName::Cluster);
    let existing = ExistingAuthorities {
        cluster: Some(ExistingAuthority {
            certificate_pem: odd(cluster.certificate_pem()),
            key_pem: SecretString::from(odd(cluster.key_pem().expose_secret())),
        }),
        service_account: Some(SecretString::from(odd(made.service_account().key_pem().expose_secret()))),
        ..Default::default()
    };
    let again = Authorities::complete(&existing, EC, Validity::default(), now()).unwrap();
    assert_eq!(again.get(AuthorityName::Cluster).certificate_pem(), odd(cluster.certificate_pem()));
    assert_eq!(again.service_account().public_pem(), made.service_account().public_pem());
    assert_ne!(again.get(AuthorityName::Etcd).certificate_pem(), made.get(AuthorityName::Etcd).certificate_pem());
    let broken = ExistingAuthorities {
        etcd: Some(ExistingAuthority {
            certificate_pem: cluster.certificate_pem().to_owned(),
            key_pem: made.get(AuthorityName::Etcd).key_pem().clone(),
        }),
        ..Default::default()
    };
    let error = Authorities::complete(&broken, EC, Validity::default(), now()).unwrap_err();
    assert!(matches!(error, Error::Authority { authority: "etcd/ca", .. }), "{error}");
}

#[test]
fn moments_are_whole_seconds_around_now() {
    let window = Window::starting(now(), Validity::default().leaf).unwrap();
    assert_eq!(window.not_before.to_string(), "2026-11-21T01:50:00Z");
    assert_eq!(window.not_after.to_string(), "2027-11-21T01:55:00Z");
    // Beyond 2049 the other encoding of time begins.
    let long = Validity { authority: Validity::default().authority * 5, ..Validity::default() };
    let made = Authorities::create(EC, long, now()).unwrap();
    load::check_validity(made.get(AuthorityName::Cluster).certificate(), now() + (24 * 365 * 45).hours()).unwrap();
}

#[test]
fn debug_never_shows_a_key() {
    let pki = samples::single();
    let authorities = Authorities::create(EC, Validity::default(), now()).unwrap();
    let files = pki.issue(&authorities, &crate::cluster::all(&pki), std::num::NonZeroUsize::MIN).unwrap();
    let key = PrivateKey::generate(EC).unwrap();
    let shown = format!("{key:?} {authorities:#?} {files:#?} {:?}", files.operator.kubeconfig(Vec::new()));
    assert!(!shown.contains("PRIVATE"), "{shown}");
    // And every file with a key in it is marked.
    for PkiFile { path, contents, mode } in files.hosts.values().flatten() {
        let secret = match contents {
            Contents::Public(text) => text.contains("PRIVATE") || text.contains("client-key-data"),
            Contents::Link(_) => false,
            Contents::Secret(_) => *mode != 0o600,
        };
        assert!(!secret, "{path}");
    }
}
