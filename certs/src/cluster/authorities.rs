//! The authorities of a cluster and its service account key: made together, or taken as they are.

use std::fmt;
use std::thread;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::Error;
use crate::issue::Authority;
use crate::key::{KeyAlgorithm, PrivateKey};
use crate::profile::{AuthorityName, Subject, Validity, Window};

/// kubeadm's base name of the service account key pair.
const SERVICE_ACCOUNT: &str = "sa";

/// The PEM texts of an authority that exists already.
#[derive(Debug, Clone)]
pub struct ExistingAuthority {
    /// The certificate, kept byte for byte.
    pub certificate_pem: String,
    /// Its key in any form, kept byte for byte.
    pub key_pem: SecretString,
}

/// What exists already; whatever is `None` will be made.
#[derive(Debug, Clone, Default)]
pub struct ExistingAuthorities {
    /// `ca.crt` and `ca.key`.
    pub cluster: Option<ExistingAuthority>,
    /// `front-proxy-ca.crt` and `front-proxy-ca.key`.
    pub front_proxy: Option<ExistingAuthority>,
    /// `etcd/ca.crt` and `etcd/ca.key`.
    pub etcd: Option<ExistingAuthority>,
    /// `sa.key`; the public half follows from it.
    pub service_account: Option<SecretString>,
}

/// The key pair that signs and proves service account tokens.
#[derive(Clone)]
pub struct ServiceAccountKey {
    key_pem: SecretString,
    public_pem: String,
}

impl ServiceAccountKey {
    /// Makes a new pair. Source: kubeadm `CreateServiceAccountKeyAndPublicKeyFiles`.
    ///
    /// # Errors
    /// [`Error::KeyGeneration`].
    pub fn create(algorithm: KeyAlgorithm) -> Result<Self, Error> {
        let key = PrivateKey::generate(algorithm)?;
        Ok(Self { key_pem: key.to_pem()?, public_pem: key.public_pem() })
    }

    /// Takes an existing key; its bytes are kept.
    ///
    /// # Errors
    /// [`Error::UnreadableKey`].
    pub fn load(key_pem: &SecretString) -> Result<Self, Error> {
        let public_pem = PrivateKey::from_pem(key_pem.expose_secret())?.public_pem();
        Ok(Self { key_pem: key_pem.clone(), public_pem })
    }

    /// `sa.key`.
    pub fn key_pem(&self) -> &SecretString {
        &self.key_pem
    }

    /// `sa.pub`.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }
}

impl fmt::Debug for ServiceAccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccountKey").field("public_pem", &self.public_pem).finish_non_exhaustive()
    }
}

/// Everything that signs in a cluster.
#[derive(Debug)]
pub struct Authorities {
    cluster: Authority,
    front_proxy: Authority,
    etcd: Authority,
    service_account: ServiceAccountKey,
}

impl Authorities {
    /// Makes all authorities anew.
    ///
    /// # Errors
    /// As [`Authorities::complete`].
    pub fn create(algorithm: KeyAlgorithm, validity: Validity, now: Timestamp) -> Result<Self, Error> {
        Self::complete(&ExistingAuthorities::default(), algorithm, validity, now)
    }

    /// Takes what exists and makes what is missing, the four keys at the same time.
    ///
    /// # Errors
    /// [`Error::Authority`] naming the one at fault.
    pub fn complete(
        existing: &ExistingAuthorities,
        algorithm: KeyAlgorithm,
        validity: Validity,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let window = Window::starting(now, validity.authority)?;
        let authority = |name: AuthorityName, existing: &Option<ExistingAuthority>| {
            match existing {
                Some(existing) => Authority::load(&existing.certificate_pem, &existing.key_pem, now),
                None => Authority::create(&Subject::new(name.common_name()), algorithm, window),
            }
            .map_err(|source| Error::Authority { authority: name.base_name(), source: Box::new(source) })
        };
        let service_account = || {
            match &existing.service_account {
                Some(key) => ServiceAccountKey::load(key),
                None => ServiceAccountKey::create(algorithm),
            }
            .map_err(|source| Error::Authority { authority: SERVICE_ACCOUNT, source: Box::new(source) })
        };
        thread::scope(|scope| {
            let front_proxy = scope.spawn(|| authority(AuthorityName::FrontProxy, &existing.front_proxy));
            let etcd = scope.spawn(|| authority(AuthorityName::Etcd, &existing.etcd));
            let service_account = scope.spawn(service_account);
            let cluster = authority(AuthorityName::Cluster, &existing.cluster)?;
            Ok(Self {
                cluster,
                front_proxy: join(front_proxy)?,
                etcd: join(etcd)?,
                service_account: join(service_account)?,
            })
        })
    }

    /// The authority of that name.
    pub fn get(&self, name: AuthorityName) -> &Authority {
        match name {
            AuthorityName::Cluster => &self.cluster,
            AuthorityName::FrontProxy => &self.front_proxy,
            AuthorityName::Etcd => &self.etcd,
        }
    }

    /// The service account key pair.
    pub fn service_account(&self) -> &ServiceAccountKey {
        &self.service_account
    }
}

/// The thread's result; a panic goes on in the caller, as if there had been no thread.
pub(crate) fn join<T>(handle: thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
