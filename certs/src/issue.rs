//! Making certificates: authorities sign themselves, and sign leaves.
//!
//! Details follow Go's `x509.CreateCertificate` as kubeadm calls it: serial numbers of 63 random bits, names as
//! PrintableString, `digitalSignature` and `keyEncipherment` for every key type, basicConstraints critical also
//! where it says "not an authority", a subject key identifier on authorities only and the authority's one on leaves.
//! The one difference is the order of the extensions inside a certificate, which carries no meaning.

use aws_lc_rs::digest;
use aws_lc_rs::rand;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::key::{KeyAlgorithm, PrivateKey};
use crate::names::AltNames;
use crate::profile::{Subject, TlsUsage, Window};
use crate::{Error, load, pem};

/// basicConstraints (2.5.29.19). rcgen writes "not an authority" only together with a subject key identifier,
/// which kubeadm's leaves do not have; so it is given as a custom extension.
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
/// An empty SEQUENCE: `cA` has its default, false, and is left out.
const NOT_AN_AUTHORITY: [u8; 2] = [0x30, 0x00];

/// Length of a key identifier: the leftmost 160 bits of SHA-256 over the public key (RFC 7093, method 1), as Go does
/// since 1.25 and so kubeadm since 1.35. kubeadm 1.34 still takes SHA-1; nothing ever recomputes the value.
const KEY_IDENTIFIER_BYTES: usize = 20;

/// What shall stand in a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRequest {
    /// Who it speaks for.
    pub subject: Subject,
    /// What it may be used for.
    pub usages: Vec<TlsUsage>,
    /// Under which names it is reached.
    pub alt_names: AltNames,
}

/// A leaf with its key, as PEM.
#[derive(Debug)]
pub struct IssuedLeaf {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key, in kubeadm's form.
    pub key_pem: SecretString,
}

/// An authority that can sign. It keeps the bytes it was loaded from: an existing certificate is passed on
/// unchanged and never written anew.
pub struct Authority {
    certificate_pem: String,
    key_pem: SecretString,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, PrivateKey>,
    has_key_identifier: bool,
}

impl Authority {
    /// Makes a self-signed authority. Source: `pkiutil.NewSelfSignedCACert`.
    ///
    /// # Errors
    /// [`Error::KeyGeneration`], [`Error::Signing`] or [`Error::UnrepresentableTime`].
    pub fn create(subject: &Subject, algorithm: KeyAlgorithm, window: Window) -> Result<Self, Error> {
        let key = PrivateKey::generate(algorithm)?;
        let mut params = parameters(subject, window)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        params.subject_alt_names = vec![dns_name(&subject.common_name)?];
        params.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier(&key));
        let certificate = params.self_signed(&key).map_err(signing(subject))?;
        let key_pem = key.to_pem()?;
        Self::assemble(pem::encode("CERTIFICATE", certificate.der()), key_pem, certificate.der().clone(), key)
    }

    /// Takes an existing authority. Of a bundle the first certificate is the authority, as in kubeadm; the PEM texts
    /// are kept byte for byte.
    ///
    /// # Errors
    /// [`Error::UnreadableCertificate`], [`Error::UnreadableKey`], [`Error::NotAnAuthority`], [`Error::KeyMismatch`],
    /// [`Error::OutsideValidity`] at the moment `at`, or [`Error::UnusableAuthorityName`] for a subject that
    /// could not be copied unchanged into what it signs.
    pub fn load(certificate_pem: &str, key_pem: &SecretString, at: Timestamp) -> Result<Self, Error> {
        let certificate = load::first_certificate(certificate_pem)?;
        let key = PrivateKey::from_pem(key_pem.expose_secret())?;
        load::check_authority(&certificate)?;
        load::check_key(&certificate, &key)?;
        load::check_validity(&certificate, at)?;
        Self::assemble(certificate_pem.to_owned(), key_pem.clone(), certificate, key)
    }

    fn assemble(
        certificate_pem: String,
        key_pem: SecretString,
        certificate: CertificateDer<'static>,
        key: PrivateKey,
    ) -> Result<Self, Error> {
        let (subject, has_key_identifier) = {
            let parsed = load::parse(&certificate)?;
            (parsed.subject().to_string(), load::subject_key_identifier(&parsed).is_some())
        };
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|_| Error::UnusableAuthorityName { authority: subject })?;
        Ok(Self { certificate_pem, key_pem, certificate, issuer, has_key_identifier })
    }

    /// The certificate as PEM, exactly as it was loaded or made.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The key as PEM, exactly as it was loaded or made.
    pub fn key_pem(&self) -> &SecretString {
        &self.key_pem
    }

    /// The certificate as DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Makes a key and signs a leaf for it. Safe to call from several threads at once. As in kubeadm, the window
    /// is taken as given, also when the authority ends before it.
    ///
    /// # Errors
    /// [`Error::KeyGeneration`], or any of [`Authority::sign`].
    pub fn issue(&self, request: &LeafRequest, algorithm: KeyAlgorithm, window: Window) -> Result<IssuedLeaf, Error> {
        let key = PrivateKey::generate(algorithm)?;
        Ok(IssuedLeaf { certificate_pem: self.sign(request, &key, window)?, key_pem: key.to_pem()? })
    }

    /// Signs a leaf for a key that exists already. Source: `pkiutil.NewSignedCert`.
    ///
    /// # Errors
    /// [`Error::Signing`], [`Error::UnrepresentableTime`], [`Error::InvalidName`], or
    /// [`Error::UnusableAuthorityName`] when the issuer's name did not survive unchanged.
    pub fn sign(&self, request: &LeafRequest, key: &PrivateKey, window: Window) -> Result<String, Error> {
        let mut params = parameters(&request.subject, window)?;
        let mut basic_constraints = CustomExtension::from_oid_content(BASIC_CONSTRAINTS, NOT_AN_AUTHORITY.to_vec());
        basic_constraints.set_criticality(true);
        params.custom_extensions.push(basic_constraints);
        params.extended_key_usages = request
            .usages
            .iter()
            .map(|usage| match usage {
                TlsUsage::Server => ExtendedKeyUsagePurpose::ServerAuth,
                TlsUsage::Client => ExtendedKeyUsagePurpose::ClientAuth,
            })
            .collect();
        params.subject_alt_names = request
            .alt_names
            .dns()
            .map(dns_name)
            .chain(request.alt_names.addresses().map(|address| Ok(SanType::IpAddress(address))))
            .collect::<Result<_, _>>()?;
        // Go leaves the identifier out when the authority has none to point to.
        params.use_authority_key_identifier_extension = self.has_key_identifier;
        let certificate = params.signed_by(key, &self.issuer).map_err(signing(&request.subject))?;
        self.check_issuer_name(certificate.der())?;
        Ok(pem::encode("CERTIFICATE", certificate.der()))
    }

    /// Verifiers compare issuer and subject byte for byte; rcgen rebuilds the name from its parts, which
    /// is lossy for unusual ones.
    fn check_issuer_name(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let authority = load::parse(&self.certificate)?;
        let (_, issued) = X509Certificate::from_der(certificate)
            .map_err(|error| Error::UnreadableCertificate { reason: error.to_string() })?;
        if issued.issuer().as_raw() == authority.subject().as_raw() {
            Ok(())
        } else {
            Err(Error::UnusableAuthorityName { authority: authority.subject().to_string() })
        }
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// What authorities and leaves have in common.
fn parameters(subject: &Subject, window: Window) -> Result<CertificateParams, Error> {
    let mut name = DistinguishedName::new();
    // Go writes the organisation before the common name.
    if let Some(organization) = &subject.organization {
        name.push(DnType::OrganizationName, name_value(organization));
    }
    name.push(DnType::CommonName, name_value(&subject.common_name));
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.not_before = moment(window.not_before)?;
    params.not_after = moment(window.not_after)?;
    params.serial_number = Some(serial_number(subject)?);
    // Also for ECDSA keys, where keyEncipherment means nothing: kubeadm does not distinguish.
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    Ok(params)
}

/// A name as Go encodes it: PrintableString where the characters allow, else UTF8String.
fn name_value(text: &str) -> DnValue {
    match text.try_into() {
        Ok(printable) => DnValue::PrintableString(printable),
        Err(_) => DnValue::Utf8String(text.to_owned()),
    }
}

fn dns_name(name: &str) -> Result<SanType, Error> {
    name.try_into().map(SanType::DnsName).map_err(|_| Error::InvalidName { name: name.to_owned() })
}

fn moment(at: Timestamp) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| Error::UnrepresentableTime { at })
}

/// 63 random bits, never zero: kubeadm draws from [1, 2^63).
fn serial_number(subject: &Subject) -> Result<SerialNumber, Error> {
    let mut bytes = [0u8; 8];
    rand::fill(&mut bytes).map_err(|_| signing(subject)(rcgen::Error::RingUnspecified))?;
    Ok(SerialNumber::from((u64::from_be_bytes(bytes) >> 1).max(1)))
}

fn key_identifier(key: &PrivateKey) -> Vec<u8> {
    let digest = digest::digest(&digest::SHA256, key.public_bits());
    digest.as_ref()[..KEY_IDENTIFIER_BYTES].to_vec()
}

fn signing(subject: &Subject) -> impl FnOnce(rcgen::Error) -> Error {
    let subject = subject.common_name.clone();
    move |source| Error::Signing { subject, source }
}
