//! What can go wrong while keys and certificates are made, read or checked.
//!
//! One enum for the package: every variant names the thing at fault, none carries key material.

use jiff::Timestamp;

use crate::key::KeyAlgorithm;

/// A failure of the PKI library. The texts are fragments, made to stand behind a host or a file name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The crypto library refused to make a key.
    #[error("cannot make a {algorithm} key")]
    KeyGeneration {
        /// The algorithm asked for.
        algorithm: KeyAlgorithm,
        /// What the crypto library said.
        source: rcgen::Error,
    },
    /// The PEM text holds no private key, or one in a form that is not understood.
    #[error("no private key (PKCS#1, SEC1 or PKCS#8) can be read from the PEM text: {reason}")]
    UnreadableKey {
        /// Why, without quoting the text.
        reason: String,
    },
    /// The PEM text holds no certificate, or a broken one.
    #[error("no certificate can be read from the PEM text: {reason}")]
    UnreadableCertificate {
        /// Why.
        reason: String,
    },
    /// The certificate may not sign others.
    #[error("certificate of `{subject}` is not a certificate authority: {reason}")]
    NotAnAuthority {
        /// Subject of the certificate.
        subject: String,
        /// Which mark of an authority is missing.
        reason: &'static str,
    },
    /// Certificate and key do not belong together.
    #[error("private key does not belong to the certificate of `{subject}`")]
    KeyMismatch {
        /// Subject of the certificate.
        subject: String,
    },
    /// The certificate is outside its validity at the moment asked about.
    #[error("certificate of `{subject}` is valid from {not_before} to {not_after}, not at {at}")]
    OutsideValidity {
        /// Subject of the certificate.
        subject: String,
        /// First moment of validity.
        not_before: Timestamp,
        /// Last moment of validity.
        not_after: Timestamp,
        /// The moment asked about.
        at: Timestamp,
    },
    /// The certificate was not signed by the authority it is said to come from.
    #[error("certificate of `{subject}` was not issued by `{authority}`: {reason}")]
    BrokenChain {
        /// Subject of the certificate.
        subject: String,
        /// Subject of the authority.
        authority: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// rcgen could not build or sign the certificate.
    #[error("cannot sign the certificate of `{subject}`")]
    Signing {
        /// Subject of the certificate.
        subject: String,
        /// What rcgen said.
        source: rcgen::Error,
    },
    /// The authority's name cannot be reproduced byte for byte, so verifiers would not find the issuer.
    #[error(
        "authority `{authority}` has a name that cannot be copied unchanged into issued certificates \
         (repeated or multi-valued attributes)"
    )]
    UnusableAuthorityName {
        /// Subject of the authority.
        authority: String,
    },
    /// A name is neither an IP address nor a lower-case DNS name (a wildcard in the first label is fine).
    #[error("`{name}` is neither an IP address nor a lower-case RFC 1123 DNS name")]
    InvalidName {
        /// The text given.
        name: String,
    },
    /// An endpoint is not `host`, `host:port` or `[v6]:port`.
    #[error("`{endpoint}` is not an endpoint (host, host:port or [v6 address]:port)")]
    InvalidEndpoint {
        /// The text given.
        endpoint: String,
    },
    /// A moment lies outside what an X.509 certificate can express.
    #[error("moment {at} cannot be written into a certificate")]
    UnrepresentableTime {
        /// The moment.
        at: Timestamp,
    },
    /// The cluster description contradicts itself.
    #[error("cluster description is not usable: {reason}")]
    InvalidCluster {
        /// What is wrong.
        reason: String,
    },
    /// A host was asked for that the cluster description does not have.
    #[error("host `{host}` is not in the cluster description")]
    UnknownHost {
        /// The name asked for.
        host: String,
    },
    /// Something of one authority failed.
    #[error("authority `{authority}`")]
    Authority {
        /// kubeadm's base name of the authority, such as `ca` or `etcd/ca`.
        authority: &'static str,
        /// What failed.
        source: Box<Error>,
    },
}
