//! What a spec comes to on each host: texts, downloads, images. Planning compares their digests, steps put them in
//! place; both ask here, so that they cannot disagree.

use std::collections::BTreeMap;

use kubewright_core::facts::{Fact, Facts, HostFacts};
use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::pins::{Item, Pinned, Pins};
use kubewright_core::plan::{Artefact, ArtefactKind, ClusterState, EtcdStart, FileSet, Image, Preparation};
use kubewright_core::planner::{Desired, DesiredFile, DesiredHost};
use kubewright_core::spec::{EndpointMode, Host, Role, Spec};
use kubewright_manifests::artefacts::{self, Install};
use kubewright_manifests::static_pods::static_pods;
use kubewright_manifests::{Arch, RenderedFile, cluster_objects, containerd, kubelet, layout, node_local};
use sha2::{Digest, Sha256};

use crate::digests::{self, Digests, Told};
use crate::facts::{ChecksumQuestion, FitnessQuestion, ImageQuestion, Questions};

/// Debian packages that a node's own tools and kube-proxy's and the CNI's rules need (kubeadm's preflight list, and
/// curl with certificates for downloads).
const PACKAGES: [&str; 8] =
    ["ca-certificates", "conntrack", "curl", "ethtool", "iproute2", "iptables", "nftables", "socat"];
/// The program with which hosts ask mirrors and registries; without it they cannot be planned for.
const CURL: &str = "curl";
/// containerd's overlay file system, and bridged traffic seen by the packet filter.
const MODULES: [&str; 2] = ["overlay", "br_netfilter"];

/// What to ask the hosts along with their facts, for machines of this architecture. A host that has what is pinned asks
/// nobody about it; without pins nobody is asked about digests at all.
pub fn questions(spec: &Spec, arch: Arch, pins: Option<&Pins>) -> Questions {
    let mut questions = Questions::default();
    let nobody = HostFacts::default();
    let etcd = EtcdStart::default();
    let paths = |files: Vec<RenderedFile>| files.into_iter().map(|file| file.path);
    questions.files.extend(paths(preparation_files(spec)));
    for host in &spec.hosts {
        questions.files.extend(paths(node_files(spec, host, &etcd, &nobody)));
        let Some(pins) = pins else { continue };
        for artefact in artefacts::binaries(spec, host, arch) {
            let installed = pins.get(&program(&artefact, arch)).map(bare).map(|sha256| (artefact.name, sha256));
            questions.checksums.push(ChecksumQuestion { url: artefact.checksum.url, installed });
        }
        for reference in artefacts::images(spec, host) {
            let pinned = pins.get(&Item::Image(reference.clone())).map(str::to_owned);
            let registries = registries(spec, &reference);
            questions.images.push(ImageQuestion { reference, pinned, registries });
        }
    }
    // Nobody who leaves digests alone is about to build.
    questions.fitness = pins.map(|_| fitness(spec));
    questions.files.sort();
    questions.files.dedup();
    questions.checksums.sort();
    questions.checksums.dedup();
    questions.images.sort_by(|one, other| one.reference.cmp(&other.reference));
    questions.images.dedup_by(|one, other| one.reference == other.reference);
    questions
}

/// What to find out about machines that nothing was built on yet.
fn fitness(spec: &Spec) -> FitnessQuestion {
    let endpoint = spec.endpoint.address.clone().filter(|_| spec.endpoint.mode == EndpointMode::External);
    FitnessQuestion {
        etcd_members: spec.with_role(Role::Etcd).map(|host| host.name.clone()).collect(),
        names: endpoint.into_iter().collect(),
    }
}

fn program(artefact: &artefacts::Artefact, arch: Arch) -> Item {
    Item::Program { name: artefact.name.clone(), version: artefact.version.clone(), arch: arch.go().to_owned() }
}

/// A program's digest as plans and hosts have it, without the name of the algorithm.
fn bare(digest: &str) -> String {
    digest.trim_start_matches("sha256:").to_owned()
}

/// Where the registry API answers for an image, in the order in which containerd asks: the mirrors, or the registry.
fn registries(spec: &Spec, reference: &str) -> Vec<String> {
    let host = reference.split('/').next().unwrap_or(reference);
    match spec.artefacts.registry_mirrors.get(host) {
        Some(mirrors) => mirrors.iter().map(|mirror| containerd::api_base(mirror)).collect(),
        // Docker Hub's registry does not live under the name that images carry.
        None if host == "docker.io" => vec![containerd::api_base("https://registry-1.docker.io")],
        None => vec![containerd::api_base(&format!("https://{host}"))],
    }
}

/// The architecture of a host, where its facts are known and we publish for it.
pub fn architecture(facts: &HostFacts) -> Option<Arch> {
    facts.architecture.known().and_then(|name| name.parse().ok())
}

/// What the spec comes to.
#[derive(Debug, Default)]
pub struct Rendered {
    /// On each host.
    pub desired: Desired,
    /// What is in the way of knowing it, and what is new.
    pub findings: Vec<Finding>,
    /// What is installed and not pinned yet.
    pub new_pins: Pins,
}

/// What every host should have; the spec's name stands in advice.
pub fn desired(spec: &Spec, facts: &Facts, pinned: &Pinned, spec_name: &str) -> Rendered {
    let mut desired = Desired::default();
    let mut findings = Vec::new();
    let mut digests = Digests::new(pinned, spec_name);
    for host in &spec.hosts {
        let Some(seen) = facts.hosts.get(&host.name).and_then(|fact| fact.known()) else { continue };
        let Some(arch) = architecture(seen) else {
            findings.push(
                Finding::new(
                    Severity::Blocks,
                    "ART004",
                    Subject::Host(host.name.clone()),
                    match seen.architecture.known() {
                        Some(name) => format!("no Kubernetes programs are published for its architecture, {name}"),
                        None => "its architecture cannot be seen".to_owned(),
                    },
                )
                .hint("amd64 and arm64 are supported"),
            );
            continue;
        };
        if seen.versions.get(CURL).is_some_and(Fact::is_absent) {
            // Without it the host could ask nobody: one finding instead of one for each program and image.
            findings.push(
                Finding::new(Severity::Blocks, "ART003", Subject::Host(host.name.clone()), "curl is not installed")
                    .hint("apt-get install curl ca-certificates"),
            );
            continue;
        }
        let preparation = preparation(spec, host, arch, seen, &mut digests, &mut findings);
        let files = expected_files(spec, host, seen);
        let marks = cluster_objects::node_marks(spec, host);
        desired.hosts.insert(host.name.clone(), DesiredHost { preparation, files, marks });
    }
    let new_pins = digests.new_pins();
    findings.extend(digests::unpinned(&new_pins, pinned.file()));
    Rendered { desired, findings, new_pins }
}

fn preparation(
    spec: &Spec,
    host: &Host,
    arch: Arch,
    seen: &HostFacts,
    digests: &mut Digests<'_>,
    findings: &mut Vec<Finding>,
) -> Preparation {
    Preparation {
        packages: PACKAGES.map(str::to_owned).to_vec(),
        modules: MODULES.map(str::to_owned).to_vec(),
        artefacts: programs(spec, host, arch, seen, digests, findings),
        images: images(spec, host, seen, digests, findings),
        // A kubelet that was told to live with swap (`failSwapOn: false`) is left with it.
        swap_off: spec.kubelet.config.get("failSwapOn").and_then(serde_json::Value::as_bool).unwrap_or(true),
    }
}

fn programs(
    spec: &Spec,
    host: &Host,
    arch: Arch,
    seen: &HostFacts,
    digests: &mut Digests<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<Artefact> {
    let mut wanted = Vec::new();
    for artefact in artefacts::binaries(spec, host, arch) {
        let told = Told::of(seen.checksums.get(&artefact.checksum.url), |text| {
            artefact.checksum.format.digest(text, artefact.file_name()).map(|digits| format!("sha256:{digits}"))
        });
        let digest = match digests.settle(&host.name, &program(&artefact, arch), &told) {
            Ok(digest) => digest,
            Err(finding) => {
                findings.push(*finding);
                continue;
            }
        };
        let Some(digest) = digest else {
            let why = why(&told);
            findings.push(
                Finding::new(
                    Severity::Blocks,
                    "ART001",
                    Subject::Host(host.name.clone()),
                    format!(
                        "no checksum of {} {} from {}: {why}",
                        artefact.name, artefact.version, artefact.checksum.url
                    ),
                )
                .hint("check the version and `artefacts.mirror` in the spec, and that the host reaches that address"),
            );
            continue;
        };
        let (kind, destination, mode, link) = match artefact.install {
            Install::File { path, mode, link } => (ArtefactKind::File, path, mode, link),
            Install::Archive { into, mode, .. } => (ArtefactKind::Tgz, into, mode, None),
        };
        wanted.push(Artefact {
            name: artefact.name,
            url: artefact.url,
            sha256: bare(&digest),
            kind,
            destination,
            mode: format!("{mode:04o}"),
            link,
            members: Vec::new(),
        });
    }
    wanted
}

fn images(
    spec: &Spec,
    host: &Host,
    seen: &HostFacts,
    digests: &mut Digests<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<Image> {
    let mut wanted = Vec::new();
    for reference in artefacts::images(spec, host) {
        let told = Told::of(seen.image_digests.get(&reference), |digest| Some(digest.to_owned()));
        match digests.settle(&host.name, &Item::Image(reference.clone()), &told) {
            Err(finding) => findings.push(*finding),
            // A registry that does not offer what is pinned will not hand it out either.
            Ok(digest) if digest.is_none() || matches!(told, Told::Nothing(_)) => findings.push(
                Finding::new(
                    Severity::Blocks,
                    "ART002",
                    Subject::Host(host.name.clone()),
                    format!("the registry does not offer {reference}: {}", why(&told)),
                )
                .hint("check `artefacts.registryMirrors` in the spec, and that the host reaches the registry"),
            ),
            Ok(digest) => wanted.push(Image { reference, digest }),
        }
    }
    wanted
}

fn why(told: &Told) -> &str {
    match told {
        Told::Nothing(why) => why,
        Told::Digest(_) | Told::NotAsked => "not asked",
    }
}

/// Texts that must be in place before the host is prepared: containerd's configuration and unit, kernel settings.
pub fn preparation_files(spec: &Spec) -> Vec<RenderedFile> {
    containerd::files(spec)
}

/// Texts that must be in place before the kubelet starts, keys and kubeconfigs excepted.
pub fn node_files(spec: &Spec, host: &Host, etcd: &EtcdStart, seen: &HostFacts) -> Vec<RenderedFile> {
    file_set(spec, host, FileSet::All, etcd, seen)
}

/// Some of these.
pub fn file_set(spec: &Spec, host: &Host, which: FileSet, etcd: &EtcdStart, seen: &HostFacts) -> Vec<RenderedFile> {
    let resolv_conf = seen.systemd_resolved.known().copied().unwrap_or(false).then_some(kubelet::SYSTEMD_RESOLVED);
    let kubelet = || kubelet::files(spec, host, resolv_conf);
    let etcd_alone = |file: &RenderedFile| file.path == layout::manifest("etcd");
    match which {
        FileSet::All => {
            [kubelet(), static_pods(spec, host, etcd), node_local::files(spec, host)].into_iter().flatten().collect()
        }
        FileSet::Etcd => {
            kubelet().into_iter().chain(static_pods(spec, host, etcd).into_iter().filter(etcd_alone)).collect()
        }
        FileSet::EtcdManifest => static_pods(spec, host, etcd).into_iter().filter(etcd_alone).collect(),
        FileSet::StaticPods => static_pods(spec, host, etcd),
        FileSet::Kubelet => kubelet(),
        FileSet::Proxy => node_local::files(spec, host),
    }
}

/// Digests of every text that follows from the spec. How etcd once started follows from history, so the host's own words
/// for it are taken: two are right for its manifest (DESIGN.md §5), with the members that there were.
pub fn expected_files(spec: &Spec, host: &Host, seen: &HostFacts) -> BTreeMap<String, DesiredFile> {
    let mut expected: BTreeMap<String, DesiredFile> = BTreeMap::new();
    let members = seen.etcd_initial_cluster.known().map(|text| EtcdStart::members_of(text)).unwrap_or_default();
    let token = seen.etcd_token.known().cloned().unwrap_or_default();
    let mut texts = Vec::new();
    for state in [ClusterState::New, ClusterState::Existing] {
        let start = EtcdStart { initial_cluster_token: token.clone(), members: members.clone(), state };
        texts.extend(node_files(spec, host, &start, seen));
    }
    let texts = texts.into_iter().map(|file| (file, false));
    for (file, preparation) in preparation_files(spec).into_iter().map(|file| (file, true)).chain(texts) {
        let digest = kubewright_core::plan::hex(&Sha256::digest(file.contents.as_bytes()));
        let entry = expected.entry(file.path).or_default();
        entry.preparation |= preparation;
        if !entry.digests.contains(&digest) {
            entry.digests.push(digest);
        }
    }
    for which in [FileSet::Kubelet, FileSet::Proxy] {
        for file in file_set(spec, host, which, &EtcdStart::default(), seen) {
            expected.entry(file.path).or_default().refreshed_with = Some(which);
        }
    }
    expected
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use kubewright_core::spec::read;

    use super::*;

    #[test]
    fn a_host_without_curl_is_one_finding() {
        let text = include_str!("../examples/single.yaml");
        let spec = read("single.yaml", text).spec.unwrap();
        let name = spec.hosts[0].name.clone();
        let found = |curl: Fact<String>| {
            let at = Timestamp::UNIX_EPOCH;
            let architecture = Fact::Known { value: "x86_64".to_owned(), at };
            let mut seen = HostFacts { architecture, ..HostFacts::default() };
            seen.versions.insert(CURL.to_owned(), curl);
            let mut facts = Facts::default();
            facts.hosts.insert(name.clone(), Fact::Known { value: seen, at });
            let pinned = Pinned::nothing("single.lock.yaml");
            desired(&spec, &facts, &pinned, "single.yaml")
                .findings
                .into_iter()
                .map(|finding| finding.code)
                .collect::<Vec<_>>()
        };
        assert_eq!(found(Fact::Absent), ["ART003"]);
        let silent = found(Fact::unreadable("it says nothing"));
        assert!(silent.len() > 5 && silent.iter().all(|code| code == "ART001" || code == "ART002"), "{silent:?}");
    }
}
