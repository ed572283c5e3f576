//! Private keys: the algorithms kubeadm offers, making them, reading them, and writing them in its forms.
//!
//! A [`PrivateKey`] never shows its content in `Debug` and wipes the serialised form when dropped.

use std::fmt;
use std::str::FromStr;

use rcgen::{PublicKeyData, RsaKeySize};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{Error, der, pem};

/// Key algorithms of kubeadm's `encryptionAlgorithm` (v1beta4), written with its names.
///
/// Source: `kubeadmapi.EncryptionAlgorithmType`; `RSA-2048` is kubeadm's default and ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// RSA with 2048 bits.
    #[default]
    #[serde(rename = "RSA-2048")]
    Rsa2048,
    /// RSA with 3072 bits.
    #[serde(rename = "RSA-3072")]
    Rsa3072,
    /// RSA with 4096 bits.
    #[serde(rename = "RSA-4096")]
    Rsa4096,
    /// ECDSA on NIST P-256.
    #[serde(rename = "ECDSA-P256")]
    EcdsaP256,
    /// ECDSA on NIST P-384.
    #[serde(rename = "ECDSA-P384")]
    EcdsaP384,
}

impl KeyAlgorithm {
    /// Every algorithm, in kubeadm's order.
    pub const ALL: [Self; 5] = [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::EcdsaP256, Self::EcdsaP384];

    /// kubeadm's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not one of kubeadm's algorithm names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown key algorithm `{0}` (RSA-2048, RSA-3072, RSA-4096, ECDSA-P256 or ECDSA-P384)")]
pub struct UnknownAlgorithm(pub String);

impl FromStr for KeyAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

/// A private key that can sign and be written down.
pub struct PrivateKey {
    pair: Zeroizing<rcgen::KeyPair>,
}

impl PrivateKey {
    /// Makes a new key. RSA takes tens to hundreds of milliseconds of one core; ECDSA takes microseconds.
    ///
    /// # Errors
    /// [`Error::KeyGeneration`] when the crypto library fails.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, Error> {
        let rsa = |size| rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let pair = match algorithm {
            KeyAlgorithm::Rsa2048 => rsa(RsaKeySize::_2048),
            KeyAlgorithm::Rsa3072 => rsa(RsaKeySize::_3072),
            KeyAlgorithm::Rsa4096 => rsa(RsaKeySize::_4096),
            KeyAlgorithm::EcdsaP256 => rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyAlgorithm::EcdsaP384 => rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        }
        .map_err(|source| Error::KeyGeneration { algorithm, source })?;
        Ok(Self { pair: Zeroizing::new(pair) })
    }

    /// Reads the first private key of a PEM text, whatever its form: PKCS#1, SEC1 or PKCS#8. Other sections
    /// before it (OpenSSL's `EC PARAMETERS`, a certificate) are skipped, as Go's reader does.
    ///
    /// # Errors
    /// [`Error::UnreadableKey`]; the text is never quoted.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| Error::UnreadableKey { reason: error.to_string() })?;
        let pair = rcgen::KeyPair::try_from(&key).map_err(|_| Error::UnreadableKey {
            reason: "neither RSA nor ECDSA on P-256, P-384 or P-521".to_owned(),
        })?;
        Ok(Self { pair: Zeroizing::new(pair) })
    }

    /// The key as PEM in the form kubeadm writes: `RSA PRIVATE KEY` (PKCS#1) or `EC PRIVATE KEY` (SEC1, with
    /// curve and public key). Source: client-go `keyutil.MarshalPrivateKeyToPEM`.
    ///
    /// # Errors
    /// [`Error::UnreadableKey`] for a key that was read from a form kubeadm never writes (Ed25519).
    pub fn to_pem(&self) -> Result<SecretString, Error> {
        let (label, der) = self
            .traditional_form()
            .ok_or_else(|| Error::UnreadableKey { reason: "the key has no PKCS#1 or SEC1 form".to_owned() })?;
        Ok(SecretString::from(pem::encode(label, &der)))
    }

    /// The public half as `PUBLIC KEY` PEM (PKIX), the form of `sa.pub`.
    pub fn public_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.public_der())
    }

    /// The public half as DER `SubjectPublicKeyInfo`.
    pub fn public_der(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// The bits of the public key alone, without the algorithm: what key identifiers are computed from.
    pub(crate) fn public_bits(&self) -> &[u8] {
        self.pair.public_key_raw()
    }

    /// PEM label and DER of the key in its traditional form.
    ///
    /// PKCS#8 carries exactly these inside; only SEC1 has to be completed, because a PKCS#8 key names its curve
    /// outside and may leave out the public key.
    fn traditional_form(&self) -> Option<(&'static str, Zeroizing<Vec<u8>>)> {
        const RSA: &str = "RSA PRIVATE KEY";
        const EC: &str = "EC PRIVATE KEY";
        let serialized = self.pair.serialized_der();
        let is_rsa = self.pair.algorithm() == &rcgen::PKCS_RSA_SHA256;
        let (version, rest) = der::take(der::INTEGER, der::take(der::SEQUENCE, serialized)?.0)?;
        let Some((algorithm, rest)) = der::take(der::SEQUENCE, rest) else {
            // No algorithm inside: the key was read from its traditional form (version 0 is PKCS#1, 1 is SEC1).
            let label = if is_rsa && version == [0] { RSA } else { EC };
            return Some((label, Zeroizing::new(serialized.to_vec())));
        };
        let (inner, _) = der::take(der::OCTET_STRING, rest)?;
        if is_rsa {
            return Some((RSA, Zeroizing::new(inner.to_vec())));
        }
        let (_, curve) = der::take(der::OBJECT_IDENTIFIER, algorithm)?;
        let (curve, _) = der::take(der::OBJECT_IDENTIFIER, curve)?;
        let (_, scalar) = der::take(der::INTEGER, der::take(der::SEQUENCE, inner)?.0)?;
        let (scalar, _) = der::take(der::OCTET_STRING, scalar)?;
        // A bit string starts with the count of unused bits, here none.
        let public = der::put(der::BIT_STRING, &[&[0], self.public_bits()]);
        let curve = der::put(der::OBJECT_IDENTIFIER, &[curve]);
        let sec1 = der::put(
            der::SEQUENCE,
            &[
                &der::put(der::INTEGER, &[&[1]]),
                &der::put(der::OCTET_STRING, &[scalar]),
                &der::put(der::CONTEXT_0, &[&curve]),
                &der::put(der::CONTEXT_1, &[&public]),
            ],
        );
        Some((EC, sec1))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([hidden])")
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.pair.algorithm()
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.pair.sign(message)
    }
}
