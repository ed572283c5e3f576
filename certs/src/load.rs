//! Reading certificates from PEM and proving that key, certificate and authority belong together.
//!
//! It reads text it is given; it opens no files. Keys are read by [`PrivateKey::from_pem`].

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use crate::Error;
use crate::key::PrivateKey;

/// Reads all certificates of a PEM text in their order; other sections are skipped.
///
/// # Errors
/// [`Error::UnreadableCertificate`] when there is none, or one is broken.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| Error::UnreadableCertificate { reason: error.to_string() })?;
    if found.is_empty() {
        return Err(Error::UnreadableCertificate { reason: "there is no CERTIFICATE section".to_owned() });
    }
    for certificate in &found {
        parse(certificate)?;
    }
    Ok(found)
}

/// Reads the first certificate of a PEM text: the one a bundle speaks for.
///
/// # Errors
/// As [`certificates`].
pub fn first_certificate(text: &str) -> Result<CertificateDer<'static>, Error> {
    // `certificates` never returns an empty list, so the error is only there for the types.
    certificates(text)?
        .into_iter()
        .next()
        .ok_or_else(|| Error::UnreadableCertificate { reason: "there is no CERTIFICATE section".to_owned() })
}

/// Checks that the certificate carries the public half of the key.
///
/// # Errors
/// [`Error::KeyMismatch`] or [`Error::UnreadableCertificate`].
pub fn check_key(certificate: &CertificateDer<'_>, key: &PrivateKey) -> Result<(), Error> {
    let parsed = parse(certificate)?;
    if parsed.public_key().raw == key.public_der() {
        Ok(())
    } else {
        Err(Error::KeyMismatch { subject: parsed.subject().to_string() })
    }
}

/// Checks that the certificate may sign others: `cA` is set, and so is `keyCertSign` where usages are given.
///
/// # Errors
/// [`Error::NotAnAuthority`] or [`Error::UnreadableCertificate`].
pub fn check_authority(certificate: &CertificateDer<'_>) -> Result<(), Error> {
    let parsed = parse(certificate)?;
    let refuse = |reason| Err(Error::NotAnAuthority { subject: parsed.subject().to_string(), reason });
    match parsed.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => {}
        _ => return refuse("basicConstraints do not say cA"),
    }
    match parsed.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => refuse("key usage lacks keyCertSign"),
        Ok(_) => Ok(()),
        Err(_) => refuse("key usage cannot be read"),
    }
}

/// Checks that a moment lies within the certificate's validity.
///
/// # Errors
/// [`Error::OutsideValidity`] or [`Error::UnreadableCertificate`].
pub fn check_validity(certificate: &CertificateDer<'_>, at: Timestamp) -> Result<(), Error> {
    let parsed = parse(certificate)?;
    let (not_before, not_after) = validity(&parsed)?;
    if not_before <= at && at <= not_after {
        Ok(())
    } else {
        Err(Error::OutsideValidity { subject: parsed.subject().to_string(), not_before, not_after, at })
    }
}

/// Checks that the authority signed the certificate: names match byte for byte, key identifiers where both
/// are present, and the signature holds. Authorities here are roots, so a chain has exactly these two links.
///
/// # Errors
/// [`Error::BrokenChain`], [`Error::NotAnAuthority`] or [`Error::UnreadableCertificate`].
pub fn check_issued_by(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> Result<(), Error> {
    check_authority(authority)?;
    let leaf = parse(certificate)?;
    let root = parse(authority)?;
    let broken = |reason| {
        Err(Error::BrokenChain { subject: leaf.subject().to_string(), authority: root.subject().to_string(), reason })
    };
    if leaf.issuer().as_raw() != root.subject().as_raw() {
        return broken("the issuer's name differs");
    }
    if let (Some(wanted), Some(found)) = (authority_key_identifier(&leaf), subject_key_identifier(&root))
        && wanted != found
    {
        return broken("it names another key of that authority");
    }
    match leaf.verify_signature(Some(root.public_key())) {
        Ok(()) => Ok(()),
        Err(_) => broken("the signature does not hold"),
    }
}

/// Parses DER; nothing may follow the certificate.
pub(crate) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) => Err(Error::UnreadableCertificate { reason: "bytes follow the certificate".to_owned() }),
        Err(error) => Err(Error::UnreadableCertificate { reason: error.to_string() }),
    }
}

/// First and last moment of validity.
pub(crate) fn validity(parsed: &X509Certificate<'_>) -> Result<(Timestamp, Timestamp), Error> {
    let moment = |seconds| {
        Timestamp::from_second(seconds)
            .map_err(|_| Error::UnreadableCertificate { reason: "validity lies outside any calendar".to_owned() })
    };
    let validity = parsed.validity();
    Ok((moment(validity.not_before.timestamp())?, moment(validity.not_after.timestamp())?))
}

pub(crate) fn subject_key_identifier<'a>(parsed: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0),
        _ => None,
    })
}

pub(crate) fn authority_key_identifier<'a>(parsed: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => {
            identifier.key_identifier.as_ref().map(|identifier| identifier.0)
        }
        _ => None,
    })
}
