//! Turning the layout into files: keys are made, leaves signed, texts written, in as many threads as the
//! caller allows.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use secrecy::{ExposeSecret, SecretString};

use super::authorities::{Authorities, join};
use super::files::{ClusterFiles, OperatorAccess, PRIVATE_MODE, PUBLIC_MODE, PkiFile};
use super::layout::{self, Form, Item};
use super::{ClusterPki, Host};
use crate::Error;
use crate::issue::{IssuedLeaf, LeafRequest};
use crate::kubeconfig::{ClientCertificate, ClusterEntry, Kubeconfig};
use crate::names::{AltNames, Endpoint};
use crate::profile::{AuthorityName, LeafName, Window};

impl ClusterPki {
    /// Issues everything for all hosts and the operator. The certificates are shared out over `threads` threads; with
    /// RSA, making their keys is nearly all of the work.
    ///
    /// # Errors
    /// The description's contradictions ([`ClusterPki::validate`]) or the first failure of any certificate.
    pub fn issue(
        &self,
        authorities: &Authorities,
        hosts: &[&str],
        threads: NonZeroUsize,
    ) -> Result<ClusterFiles, Error> {
        self.validate()?;
        let mut jobs = Vec::new();
        let hosts: Vec<&Host> = hosts.iter().map(|name| self.host(name)).collect::<Result<_, _>>()?;
        for host in &hosts {
            jobs.extend(layout::items(self, host)?.into_iter().map(|item| (*host, item)));
        }
        let files = in_parallel(&jobs, threads, |(host, item)| self.deliver(host, item, authorities))?;
        let mut hosts: BTreeMap<String, Vec<PkiFile>> =
            hosts.iter().map(|host| (host.name.clone(), Vec::new())).collect();
        for ((host, _), files) in jobs.iter().zip(files) {
            hosts.entry(host.name.clone()).or_default().extend(files);
        }
        Ok(ClusterFiles { hosts, operator: self.operator_access(authorities)? })
    }

    /// Issues everything for one host. Hosts are independent of each other: this may run for several at once, and
    /// again for a host that is added or renewed later.
    ///
    /// # Errors
    /// The description's contradictions ([`ClusterPki::validate`]), [`Error::UnknownHost`], or the first failure of
    /// any certificate.
    pub fn host_files(&self, host: &str, authorities: &Authorities) -> Result<Vec<PkiFile>, Error> {
        self.validate()?;
        let host = self.host(host)?;
        let mut files = Vec::new();
        for item in layout::items(self, host)? {
            files.extend(self.deliver(host, &item, authorities)?);
        }
        Ok(files)
    }

    /// The paths [`ClusterPki::host_files`] would deliver, without making any key.
    ///
    /// # Errors
    /// As [`ClusterPki::host_files`], as far as names and addresses are concerned.
    pub fn host_paths(&self, host: &str) -> Result<Vec<String>, Error> {
        self.validate()?;
        let items = layout::items(self, self.host(host)?)?;
        Ok(items.iter().flat_map(Item::paths).map(str::to_owned).collect())
    }

    /// Issues the operator's administrator certificate.
    ///
    /// # Errors
    /// The failures of a certificate, or [`Error::InvalidCluster`].
    pub fn operator_access(&self, authorities: &Authorities) -> Result<OperatorAccess, Error> {
        let entry = |name: String, server| ClusterEntry { name, server, tls_server_name: None };
        let clusters = match &self.control_plane_endpoint {
            Some(endpoint) => vec![entry(self.cluster_name.clone(), endpoint.clone())],
            None => self
                .control_planes()
                .enumerate()
                .map(|(index, host)| {
                    let name = match index {
                        0 => self.cluster_name.clone(),
                        _ => format!("{}-{}", self.cluster_name, host.name),
                    };
                    Ok(entry(name, self.local_api_server(host)?))
                })
                .collect::<Result<_, Error>>()?,
        };
        // An administrator's certificate names no node.
        const NO_NODE: &str = "";
        let leaf = self.leaf(LeafName::Admin, NO_NODE, &AltNames::new(), authorities)?;
        Ok(OperatorAccess {
            user: LeafName::Admin.subject(self.version, NO_NODE).common_name,
            authority_pem: authorities.get(AuthorityName::Cluster).certificate_pem().to_owned(),
            certificate_pem: leaf.certificate_pem,
            key_pem: leaf.key_pem,
            clusters,
        })
    }

    fn deliver(&self, host: &Host, item: &Item, authorities: &Authorities) -> Result<Vec<PkiFile>, Error> {
        Ok(match item {
            Item::AuthorityCertificate { name, path } => {
                vec![PkiFile::public(path, PUBLIC_MODE, authorities.get(*name).certificate_pem())]
            }
            Item::AuthorityKey { name, path } => {
                vec![PkiFile::secret(path, authorities.get(*name).key_pem().clone())]
            }
            Item::ServiceAccount { key, public } => {
                let pair = authorities.service_account();
                vec![
                    PkiFile::secret(key, pair.key_pem().clone()),
                    PkiFile::public(public, PRIVATE_MODE, pair.public_pem()),
                ]
            }
            Item::Leaf { name, alt_names, form } => {
                let leaf = self.leaf(*name, &host.name, alt_names, authorities)?;
                let user = name.subject(self.version, &host.name).common_name;
                self.wrap(leaf, user, form, authorities)
            }
        })
    }

    fn wrap(&self, leaf: IssuedLeaf, user: String, form: &Form, authorities: &Authorities) -> Vec<PkiFile> {
        let kubeconfig = |server: &Endpoint, client| {
            let authority = authorities.get(AuthorityName::Cluster).certificate_pem();
            Kubeconfig::new(&self.cluster_name, server.clone(), authority, user, client).render()
        };
        let IssuedLeaf { certificate_pem, key_pem } = leaf;
        match form {
            Form::Pair { certificate, key } => {
                vec![PkiFile::public(certificate, PUBLIC_MODE, certificate_pem), PkiFile::secret(key, key_pem)]
            }
            Form::Kubeconfig { path, server } => {
                let client = ClientCertificate::Embedded { certificate_pem, key_pem };
                vec![PkiFile::secret(path, kubeconfig(server, client))]
            }
            Form::Kubelet { dated, link, kubeconfig: path, server } => {
                // The kubelet's own store writes the certificate first.
                let mut both = String::with_capacity(certificate_pem.len() + key_pem.expose_secret().len());
                both.push_str(&certificate_pem);
                both.push_str(key_pem.expose_secret());
                let client = ClientCertificate::File { path: link.clone() };
                // The kubeconfig tells where the key is, not the key: no secret, yet 0600 as in kubeadm.
                let text = kubeconfig(server, client);
                vec![
                    PkiFile::secret(dated, SecretString::from(both)),
                    PkiFile::link(link, dated),
                    PkiFile::public(path, PRIVATE_MODE, text.expose_secret()),
                ]
            }
        }
    }

    fn leaf(
        &self,
        name: LeafName,
        node: &str,
        alt_names: &AltNames,
        authorities: &Authorities,
    ) -> Result<IssuedLeaf, Error> {
        let request = LeafRequest {
            subject: name.subject(self.version, node),
            usages: name.usages().to_vec(),
            alt_names: alt_names.clone(),
        };
        let window = Window::starting(self.now, self.validity.leaf)?;
        authorities.get(name.authority()).issue(&request, self.algorithm, window)
    }
}

/// Does every job once, over at most `threads` threads; results come in the order of the jobs. After a failure no
/// new job is begun.
fn in_parallel<J: Sync, T: Send>(
    jobs: &[J],
    threads: NonZeroUsize,
    work: impl Fn(&J) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, T)>, Error> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else {
                return Ok(done);
            };
            match work(job) {
                Ok(result) => done.push((index, result)),
                Err(error) => {
                    // Beyond the last job, so that the other threads stop, too.
                    next.store(jobs.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let done = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.get().min(jobs.len())).map(|_| scope.spawn(worker)).collect();
        handles.into_iter().map(join).collect::<Result<Vec<_>, _>>()
    })?;
    let mut done: Vec<_> = done.into_iter().flatten().collect();
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
