//! What a certificate says, as plain data: for facts, reports and comparisons. It judges nothing.

use std::fmt::{self, Write};
use std::net::IpAddr;

use aws_lc_rs::digest;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

use crate::Error;
use crate::load::{self, authority_key_identifier, subject_key_identifier};
use crate::profile::TlsUsage;

/// The fields of one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateFacts {
    /// Who it speaks for.
    pub subject: NameFacts,
    /// Who signed it.
    pub issuer: NameFacts,
    /// Serial number in lower-case hexadecimal.
    pub serial: String,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// The key's algorithm in kubeadm's spelling where kubeadm has one (`RSA-2048`, `ECDSA-P256`), else its OID.
    pub key_algorithm: String,
    /// The algorithm of the signature, such as `sha256WithRSAEncryption`, else its OID.
    pub signature_algorithm: String,
    /// Key usages, as OpenSSL's configuration spells them.
    pub key_usages: Vec<String>,
    /// TLS usages in the order of the certificate.
    pub tls_usages: Vec<TlsUsage>,
    /// Other extended usages by OID.
    pub other_usages: Vec<String>,
    /// Whether basicConstraints call it an authority.
    pub is_authority: bool,
    /// How many authorities may follow below it, where that is limited.
    pub path_length: Option<u32>,
    /// OIDs of the extensions marked critical, sorted.
    pub critical_extensions: Vec<String>,
    /// DNS names in the order of the certificate.
    pub dns_names: Vec<String>,
    /// Addresses in the order of the certificate.
    pub addresses: Vec<IpAddr>,
    /// Other alternative names (mail, URI, …), described.
    pub other_names: Vec<String>,
    /// Subject key identifier in hexadecimal.
    pub subject_key_identifier: Option<String>,
    /// Authority key identifier in hexadecimal.
    pub authority_key_identifier: Option<String>,
    /// SHA-256 over the whole certificate, in hexadecimal.
    pub fingerprint: String,
    /// SHA-256 over the public key's `SubjectPublicKeyInfo`, as `sha256:<hex>`: for an authority this is
    /// kubeadm's `--discovery-token-ca-cert-hash`. Source: `pubkeypin.Hash`.
    pub public_key_hash: String,
}

/// A distinguished name, as far as Kubernetes reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NameFacts {
    /// The common name: the user in a client certificate.
    pub common_name: Option<String>,
    /// The organisations: the groups in a client certificate.
    pub organizations: Vec<String>,
    /// The whole name with every attribute, for people.
    pub text: String,
}

impl CertificateFacts {
    /// Describes every certificate in a PEM text.
    ///
    /// # Errors
    /// [`Error::UnreadableCertificate`] when there is none or one is broken.
    pub fn from_pem(text: &str) -> Result<Vec<Self>, Error> {
        load::certificates(text)?.iter().map(Self::from_der).collect()
    }

    /// Describes one certificate.
    ///
    /// # Errors
    /// [`Error::UnreadableCertificate`] when it is broken.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, Error> {
        let parsed = load::parse(der)?;
        let (not_before, not_after) = load::validity(&parsed)?;
        let constraints = parsed.basic_constraints().ok().flatten();
        let (tls_usages, other_usages) = extended_usages(&parsed);
        let names = alternative_names(&parsed);
        let mut critical_extensions: Vec<_> =
            parsed.extensions().iter().filter(|e| e.critical).map(|e| e.oid.to_id_string()).collect();
        critical_extensions.sort();
        Ok(Self {
            subject: NameFacts::from(parsed.subject()),
            issuer: NameFacts::from(parsed.issuer()),
            serial: parsed.serial.to_str_radix(16),
            not_before,
            not_after,
            key_algorithm: key_algorithm(&parsed),
            signature_algorithm: signature_algorithm(&parsed),
            key_usages: key_usages(&parsed),
            tls_usages,
            other_usages,
            is_authority: constraints.as_ref().is_some_and(|c| c.value.ca),
            path_length: constraints.and_then(|c| c.value.path_len_constraint),
            critical_extensions,
            dns_names: names.dns,
            addresses: names.addresses,
            other_names: names.other,
            subject_key_identifier: subject_key_identifier(&parsed).map(hex),
            authority_key_identifier: authority_key_identifier(&parsed).map(hex),
            fingerprint: hex(digest::digest(&digest::SHA256, der).as_ref()),
            public_key_hash: public_key_hash(parsed.public_key().raw),
        })
    }
}

/// kubeadm's pin of a public key: `sha256:` and the hexadecimal SHA-256 of its `SubjectPublicKeyInfo`.
pub fn public_key_hash(spki: &[u8]) -> String {
    format!("sha256:{}", hex(digest::digest(&digest::SHA256, spki).as_ref()))
}

impl fmt::Display for CertificateFacts {
    /// One field a line, without what differs from one issue to the next: serial number, moments, key identifiers
    /// (only whether they are there) and hashes. Two certificates with the same profile read the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = |identifier: &Option<String>| {
            if identifier.is_some() { "present" } else { "none" }
        };
        let list = |items: &[String]| {
            if items.is_empty() { "-".to_owned() } else { items.join(", ") }
        };
        let usages: Vec<_> = self
            .tls_usages
            .iter()
            .map(|usage| match usage {
                TlsUsage::Server => "serverAuth".to_owned(),
                TlsUsage::Client => "clientAuth".to_owned(),
            })
            .chain(self.other_usages.iter().cloned())
            .collect();
        let names: Vec<_> = self
            .dns_names
            .iter()
            .map(|name| format!("DNS:{name}"))
            .chain(self.addresses.iter().map(|address| format!("IP:{address}")))
            .chain(self.other_names.iter().cloned())
            .collect();
        let lifetime = self.not_after.as_second() - self.not_before.as_second();
        writeln!(f, "subject: {}", self.subject.text)?;
        writeln!(f, "issuer: {}", self.issuer.text)?;
        writeln!(f, "key: {}", self.key_algorithm)?;
        writeln!(f, "signature: {}", self.signature_algorithm)?;
        writeln!(f, "lifetime: {lifetime} s")?;
        writeln!(f, "key usage: {}", list(&self.key_usages))?;
        writeln!(f, "extended usage: {}", list(&usages))?;
        write!(f, "authority: {}", if self.is_authority { "yes" } else { "no" })?;
        match self.path_length {
            Some(length) => writeln!(f, ", path length {length}")?,
            None => writeln!(f)?,
        }
        writeln!(f, "critical: {}", list(&self.critical_extensions))?;
        writeln!(f, "names: {}", list(&names))?;
        writeln!(f, "subject key identifier: {}", present(&self.subject_key_identifier))?;
        writeln!(f, "authority key identifier: {}", present(&self.authority_key_identifier))
    }
}

impl From<&X509Name<'_>> for NameFacts {
    fn from(name: &X509Name<'_>) -> Self {
        let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            attribute.as_str().map(str::to_owned).unwrap_or_else(|_| hex(attribute.as_slice()))
        };
        Self {
            common_name: name.iter_common_name().next().map(text),
            organizations: name.iter_organization().map(text).collect(),
            text: name.to_string(),
        }
    }
}

#[derive(Default)]
struct Names {
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
    other: Vec<String>,
}

fn alternative_names(parsed: &X509Certificate<'_>) -> Names {
    let mut names = Names::default();
    let Ok(Some(extension)) = parsed.subject_alternative_name() else {
        return names;
    };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
            GeneralName::IPAddress(octets) => match address(octets) {
                Some(address) => names.addresses.push(address),
                None => names.other.push(format!("IP:{}", hex(octets))),
            },
            GeneralName::URI(uri) => names.other.push(format!("URI:{uri}")),
            GeneralName::RFC822Name(mail) => names.other.push(format!("email:{mail}")),
            other => names.other.push(other.to_string()),
        }
    }
    names
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

fn key_usages(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = parsed.key_usage() else {
        return Vec::new();
    };
    let usage = extension.value;
    [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .map(|(_, name)| name.to_owned())
    .collect()
}

fn extended_usages(parsed: &X509Certificate<'_>) -> (Vec<TlsUsage>, Vec<String>) {
    let Ok(Some(extension)) = parsed.extended_key_usage() else {
        return Default::default();
    };
    let usage = extension.value;
    let tls = [(usage.server_auth, TlsUsage::Server), (usage.client_auth, TlsUsage::Client)];
    let named = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let tls = tls.into_iter().filter(|(set, _)| *set).map(|(_, usage)| usage).collect();
    let other = named
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| name.to_owned())
        .chain(usage.other.iter().map(|oid| oid.to_id_string()))
        .collect();
    (tls, other)
}

fn key_algorithm(parsed: &X509Certificate<'_>) -> String {
    match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA-{}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA-P{}", point.key_size()),
        _ => parsed.public_key().algorithm.algorithm.to_id_string(),
    }
}

/// Names of the algorithms that kubeadm's authorities sign with, by OID.
const SIGNATURES: [(&str, &str); 5] = [
    ("1.2.840.113549.1.1.11", "sha256WithRSAEncryption"),
    ("1.2.840.113549.1.1.12", "sha384WithRSAEncryption"),
    ("1.2.840.113549.1.1.13", "sha512WithRSAEncryption"),
    ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256"),
    ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384"),
];

fn signature_algorithm(parsed: &X509Certificate<'_>) -> String {
    let oid = parsed.signature_algorithm.algorithm.to_id_string();
    SIGNATURES.iter().find(|(id, _)| *id == oid).map_or(oid, |(_, name)| (*name).to_owned())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing into a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
