//! A second opinion: OpenSSL verifies what we sign and reads what we write, and we read what it writes.

use std::fs;
use std::path::Path;
use std::process::Command;

use kubewright_certs::cluster::Authorities;
use kubewright_certs::issue::Authority;
use kubewright_certs::key::{KeyAlgorithm, PrivateKey};
use kubewright_certs::load;
use kubewright_certs::profile::{Subject, Validity, Window};
use secrecy::{ExposeSecret, SecretString};

use crate::samples;

/// Runs openssl and returns its output; `None` when it is not installed.
fn openssl(folder: &Path, arguments: &str) -> Option<String> {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().ok()?;
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn installed() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        eprintln!("skipped: openssl is not installed");
    }
    found
}

#[test]
fn every_chain_verifies_for_its_purpose() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = samples::ha();
    let authorities = Authorities::create(pki.algorithm, pki.validity, pki.now).unwrap();
    samples::write(folder.path(), &pki.host_files("cp1", &authorities).unwrap());
    let at = pki.now.as_second();
    for (authority, leaf, checks) in [
        ("ca", "apiserver", "-purpose sslserver -verify_hostname localhost"),
        ("ca", "apiserver", "-purpose sslserver -verify_ip 127.0.0.1"),
        ("ca", "apiserver", "-purpose sslserver -verify_ip 10.90.0.13"),
        ("ca", "apiserver", "-purpose sslserver -verify_hostname kubernetes.default.svc.cluster.local"),
        ("ca", "apiserver-kubelet-client", "-purpose sslclient"),
        ("front-proxy-ca", "front-proxy-client", "-purpose sslclient"),
        ("etcd/ca", "etcd/server", "-purpose sslserver -verify_ip ::1"),
        ("etcd/ca", "etcd/server", "-purpose sslclient"),
        ("etcd/ca", "etcd/peer", "-purpose sslserver -verify_hostname cp1"),
        ("etcd/ca", "etcd/healthcheck-client", "-purpose sslclient"),
        ("etcd/ca", "apiserver-etcd-client", "-purpose sslclient"),
        ("ca", "../../../var/lib/kubelet/pki/kubelet", "-purpose sslserver -verify_hostname cp1"),
    ] {
        openssl(
            &folder.path().join("etc/kubernetes/pki"),
            &format!("verify -x509_strict -attime {at} {checks} -CAfile {authority}.crt {leaf}.crt"),
        );
    }
    // Through the link, and with the key in the same file.
    let kubelet = folder.path().join("var/lib/kubelet/pki/kubelet-client-current.pem");
    let text = fs::read_to_string(kubelet).unwrap();
    let certificate = load::first_certificate(&text).unwrap();
    load::check_key(&certificate, &PrivateKey::from_pem(&text).unwrap()).unwrap();
}

#[test]
fn keys_of_every_form_are_read_and_sign() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, commands) in [
        ("pkcs1", vec!["genrsa -traditional -out pkcs1.key 2048"]),
        ("pkcs8-rsa", vec!["genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out pkcs8-rsa.key"]),
        // With a section EC PARAMETERS before the key, as OpenSSL writes it.
        ("sec1", vec!["ecparam -name prime256v1 -genkey -out sec1.key"]),
        ("sec1-384", vec!["ecparam -name secp384r1 -genkey -noout -out sec1-384.key"]),
        ("pkcs8-ec", vec!["genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out pkcs8-ec.key"]),
    ] {
        for command in commands {
            openssl(folder, command);
        }
        let days = "req -x509 -new -subj /CN=kubernetes -days 3650";
        let usage = "-addext keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign";
        openssl(folder, &format!("{days} {usage} -key {name}.key -out {name}.crt"));
        let key_pem = fs::read_to_string(folder.join(format!("{name}.key"))).unwrap();
        let certificate_pem = fs::read_to_string(folder.join(format!("{name}.crt"))).unwrap();

        let der = load::first_certificate(&certificate_pem).unwrap();
        load::check_key(&der, &PrivateKey::from_pem(&key_pem).unwrap()).unwrap();
        let now = load_begin(&certificate_pem);
        let authority = Authority::load(&certificate_pem, &SecretString::from(key_pem.clone()), now).unwrap();
        assert_eq!(authority.certificate_pem(), certificate_pem);
        assert_eq!(authority.key_pem().expose_secret(), key_pem);

        let mut pki = samples::single();
        pki.now = now;
        let request = kubewright_certs::issue::LeafRequest {
            subject: Subject::in_group("system:node:w1", "system:nodes"),
            usages: vec![kubewright_certs::profile::TlsUsage::Client],
            alt_names: Default::default(),
        };
        let window = Window::starting(now, Validity::default().leaf).unwrap();
        let leaf = authority.issue(&request, KeyAlgorithm::EcdsaP256, window).unwrap();
        fs::write(folder.join("leaf.crt"), &leaf.certificate_pem).unwrap();
        let at = now.as_second();
        openssl(folder, &format!("verify -attime {at} -purpose sslclient -CAfile {name}.crt leaf.crt"));
        load::check_issued_by(&load::first_certificate(&leaf.certificate_pem).unwrap(), &der).unwrap();
    }
}

/// First moment of a certificate: a time at which it is valid, without reading the clock.
fn load_begin(pem: &str) -> jiff::Timestamp {
    kubewright_certs::inspect::CertificateFacts::from_pem(pem).unwrap()[0].not_before
}

#[test]
fn openssl_reads_the_keys_we_write() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (algorithm, label, bits) in [
        (KeyAlgorithm::Rsa2048, "RSA PRIVATE KEY", "(2048 bit"),
        (KeyAlgorithm::EcdsaP256, "EC PRIVATE KEY", "(256 bit"),
        (KeyAlgorithm::EcdsaP384, "EC PRIVATE KEY", "(384 bit"),
    ] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let pem = key.to_pem().unwrap();
        assert!(pem.expose_secret().starts_with(&format!("-----BEGIN {label}-----\n")));
        fs::write(folder.path().join("key"), pem.expose_secret()).unwrap();
        let text = openssl(folder.path(), "pkey -in key -noout -text -check").unwrap();
        assert!(text.contains(bits) && text.contains("Key is valid"), "{text}");
        assert_eq!(openssl(folder.path(), "pkey -in key -pubout").unwrap(), key.public_pem());
        // OpenSSL's own traditional form is byte for byte ours.
        let again = openssl(folder.path(), "pkey -in key -traditional").unwrap();
        assert!(again.ends_with(pem.expose_secret()), "{algorithm}");
    }
}

#[test]
fn the_hash_of_an_authority_is_kubeadms() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = samples::single();
    let authorities = Authorities::create(pki.algorithm, pki.validity, pki.now).unwrap();
    let pem = authorities.get(kubewright_certs::profile::AuthorityName::Cluster).certificate_pem();
    fs::write(folder.path().join("ca.crt"), pem).unwrap();
    // The recipe of kubeadm's documentation.
    fs::write(folder.path().join("key"), openssl(folder.path(), "x509 -pubkey -noout -in ca.crt").unwrap()).unwrap();
    openssl(folder.path(), "pkey -pubin -in key -outform DER -out key.der");
    let digest = openssl(folder.path(), "dgst -sha256 -hex key.der").unwrap();
    let digest = digest.trim().rsplit(' ').next().unwrap().to_owned();
    let facts = &kubewright_certs::inspect::CertificateFacts::from_pem(pem).unwrap()[0];
    assert_eq!(facts.public_key_hash, format!("sha256:{digest}"));
    let printed = openssl(folder.path(), "x509 -noout -fingerprint -sha256 -in ca.crt").unwrap();
    let printed = printed.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    assert_eq!(facts.fingerprint, printed);
}
