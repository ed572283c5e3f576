//! What a host needs from elsewhere: binaries with their checksums, and images.

use kubewright_core::spec::{CniName, EndpointMode, Host, Role, Spec};
use kubewright_core::version::Minor;
use serde::{Deserialize, Serialize};

use crate::{Arch, images, versions};

/// One download and where its contents go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artefact {
    /// Short name, such as `kubelet`.
    pub name: String,
    /// With a leading `v`.
    pub version: String,
    /// Where it is, the mirror already considered.
    pub url: String,
    /// What it must add up to.
    pub checksum: Checksum,
    /// What to do with it.
    pub install: Install,
}

/// Where the published checksum is. It is always SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checksum {
    /// Where it is, the mirror already considered.
    pub url: String,
    /// How to read it.
    pub format: ChecksumFormat,
}

/// How a checksum file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChecksumFormat {
    /// The digest alone.
    Bare,
    /// Lines of digest and file name, as sha256sum writes them; perhaps of several files.
    Listed,
}

/// What becomes of a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Install {
    /// It is the program itself.
    File {
        /// Where it goes.
        path: String,
        /// Permission bits.
        mode: u32,
        /// A symbolic link to it, where its own place names its version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
    },
    /// A gzipped tar archive: its regular files below `under` go into `into`, without that prefix.
    Archive {
        /// Folder inside the archive; empty for its root. Members may be written with a leading `./`.
        under: String,
        /// Folder on the host.
        into: String,
        /// Permission bits of each file.
        mode: u32,
    },
}

const PROGRAM: u32 = 0o755;
const BIN_DIR: &str = "/usr/local/bin";
/// Kubernetes' programs live here, each version in a folder of its own: the next one can be there before its turn, and
/// going over to it, or back, is one rename of a link.
const VERSIONS_DIR: &str = "/usr/local/lib/kubewright";

/// Everything to download for a host. Workers get the kubelet alone; control planes also kubectl and kubeadm, the
/// tools one reaches for there.
pub fn binaries(spec: &Spec, host: &Host, arch: Arch) -> Vec<Artefact> {
    let mirror = spec.artefacts.mirror.as_deref();
    let kubernetes: &[&str] =
        if host.is(Role::ControlPlane) { &["kubelet", "kubectl", "kubeadm"] } else { &["kubelet"] };
    let mut artefacts: Vec<Artefact> = kubernetes.iter().map(|name| kubernetes_binary(spec, name, arch)).collect();
    artefacts.extend([containerd(spec, arch), runc(arch), cni_plugins(arch), crictl(arch)]);
    for artefact in &mut artefacts {
        artefact.url = mirrored(mirror, &artefact.url);
        artefact.checksum.url = mirrored(mirror, &artefact.checksum.url);
    }
    artefacts
}

/// Every image that pods on a host may need, so that it can be pulled before its turn.
pub fn images(spec: &Spec, host: &Host) -> Vec<String> {
    let mut wanted = vec![images::pause(spec)];
    if host.is(Role::Etcd) {
        wanted.push(images::etcd(spec));
    }
    if host.is(Role::ControlPlane) {
        let components = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
        wanted.extend(components.map(|component| images::kubernetes(spec, component)));
    } else if spec.endpoint.mode == EndpointMode::NodeLocal {
        wanted.push(images::haproxy());
    }
    wanted.push(images::kubernetes(spec, "kube-proxy"));
    // It tolerates the control planes' taint, and before the first worker is there it runs there.
    wanted.push(images::core_dns(spec));
    if spec.network.cni.name == CniName::Flannel {
        wanted.extend([images::flannel(), images::flannel_cni_plugin()]);
    }
    wanted
}

/// Where the newest version of Kubernetes is told, of a minor or of all, the mirror already considered.
pub fn newest(spec: &Spec, minor: Option<Minor>) -> String {
    let name = minor.map_or_else(|| "stable.txt".to_owned(), |minor| format!("stable-{minor}.txt"));
    mirrored(spec.artefacts.mirror.as_deref(), &format!("https://dl.k8s.io/release/{name}"))
}

/// An official URL behind a mirror: `https://dl.k8s.io/x` becomes `<mirror>/dl.k8s.io/x`.
pub fn mirrored(mirror: Option<&str>, official: &str) -> String {
    match mirror {
        Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), official.trim_start_matches("https://")),
        None => official.to_owned(),
    }
}

impl Artefact {
    /// Name of the downloaded file, as a checksum list calls it.
    pub fn file_name(&self) -> &str {
        self.url.rsplit_once('/').map_or(&self.url, |(_, name)| name)
    }
}

impl ChecksumFormat {
    /// The digest of `file` in a checksum file: 64 lower-case hexadecimal digits, or `None` if it has none.
    pub fn digest(self, text: &str, file: &str) -> Option<String> {
        let digest = match self {
            Self::Bare => text.split_whitespace().next()?,
            Self::Listed => text.lines().find_map(|line| {
                let (digest, name) = line.trim().split_once(char::is_whitespace)?;
                // sha256sum marks binary mode by `*`, and lists may name paths.
                let name = name.trim_start().trim_start_matches('*');
                (name.rsplit('/').next() == Some(file)).then_some(digest)
            })?,
        };
        let valid = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| digest.to_ascii_lowercase())
    }
}

fn kubernetes_binary(spec: &Spec, name: &str, arch: Arch) -> Artefact {
    let version = spec.kubernetes.version.tag();
    let url = format!("https://dl.k8s.io/release/{version}/bin/linux/{}/{name}", arch.go());
    Artefact {
        name: name.to_owned(),
        install: Install::File {
            path: format!("{VERSIONS_DIR}/{version}/{name}"),
            mode: PROGRAM,
            link: Some(format!("{BIN_DIR}/{name}")),
        },
        version,
        checksum: Checksum { url: format!("{url}.sha256"), format: ChecksumFormat::Bare },
        url,
    }
}

fn containerd(spec: &Spec, arch: Arch) -> Artefact {
    let number = spec.containerd.version.trim_start_matches('v');
    let version = format!("v{number}");
    let url = github("containerd/containerd", &version, &format!("containerd-{number}-linux-{}.tar.gz", arch.go()));
    Artefact {
        name: "containerd".to_owned(),
        version,
        checksum: Checksum { url: format!("{url}.sha256sum"), format: ChecksumFormat::Listed },
        url,
        install: archive("bin", BIN_DIR),
    }
}

fn runc(arch: Arch) -> Artefact {
    Artefact {
        name: "runc".to_owned(),
        version: versions::RUNC.to_owned(),
        url: github("opencontainers/runc", versions::RUNC, &format!("runc.{}", arch.go())),
        checksum: Checksum {
            url: github("opencontainers/runc", versions::RUNC, "runc.sha256sum"),
            format: ChecksumFormat::Listed,
        },
        // containerd's documentation puts it here; before /usr/sbin in PATH, so ours wins over a package's.
        install: Install::File { path: "/usr/local/sbin/runc".to_owned(), mode: PROGRAM, link: None },
    }
}

fn cni_plugins(arch: Arch) -> Artefact {
    let version = versions::CNI_PLUGINS;
    let url = github("containernetworking/plugins", version, &format!("cni-plugins-linux-{}-{version}.tgz", arch.go()));
    Artefact {
        name: "cni-plugins".to_owned(),
        version: version.to_owned(),
        checksum: Checksum { url: format!("{url}.sha256"), format: ChecksumFormat::Listed },
        url,
        install: archive("", "/opt/cni/bin"),
    }
}

fn crictl(arch: Arch) -> Artefact {
    let version = versions::CRICTL;
    let url = github("kubernetes-sigs/cri-tools", version, &format!("crictl-{version}-linux-{}.tar.gz", arch.go()));
    Artefact {
        name: "crictl".to_owned(),
        version: version.to_owned(),
        checksum: Checksum { url: format!("{url}.sha256"), format: ChecksumFormat::Bare },
        url,
        install: archive("", BIN_DIR),
    }
}

fn archive(under: &str, into: &str) -> Install {
    Install::Archive { under: under.to_owned(), into: into.to_owned(), mode: PROGRAM }
}

fn github(repository: &str, version: &str, file: &str) -> String {
    format!("https://github.com/{repository}/releases/download/{version}/{file}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn checksums_are_read_in_both_formats() {
        let lower = HEX.to_ascii_lowercase();
        assert_eq!(ChecksumFormat::Bare.digest(&format!("{HEX}\n"), "kubelet").as_ref(), Some(&lower));
        let list = format!("{}  runc.arm64\n{HEX} *runc.amd64\n", "0".repeat(64));
        assert_eq!(ChecksumFormat::Listed.digest(&list, "runc.amd64").as_ref(), Some(&lower));
        assert_eq!(ChecksumFormat::Listed.digest(&list, "runc.s390x"), None);
        assert_eq!(ChecksumFormat::Bare.digest("<html>", "kubelet"), None);
        assert_eq!(ChecksumFormat::Bare.digest("", "kubelet"), None);
    }

    #[test]
    fn a_mirror_keeps_host_and_path() {
        let official = "https://dl.k8s.io/release/v1.35.4/bin/linux/amd64/kubelet";
        assert_eq!(mirrored(None, official), official);
        assert_eq!(
            mirrored(Some("http://10.77.0.1:8080/"), official),
            "http://10.77.0.1:8080/dl.k8s.io/release/v1.35.4/bin/linux/amd64/kubelet"
        );
    }
}
