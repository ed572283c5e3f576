//! The same files as kubeadm's: ours against goldens that were recorded from the real binary.
//!
//! With `KUBEADM` naming a binary, the goldens of its version are compared with what it writes now; with
//! `UPDATE_GOLDEN` set, too, they are recorded anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kubewright_certs::cluster::{Authorities, ClusterPki};
use kubewright_certs::key::KeyAlgorithm;
use kubewright_certs::profile::{KubernetesVersion, Validity};
use xtask::parity::{Accepted, Compared, text_differences};

use crate::dump::{self, Dump};
use crate::samples;

/// Versions with recorded goldens: one of each supported minor.
const RECORDED: [(&str, KubernetesVersion); 3] = [
    ("1.34.4", KubernetesVersion::new(34, 4)),
    ("1.35.4", KubernetesVersion::new(35, 4)),
    ("1.36.3", KubernetesVersion::new(36, 3)),
];

struct Case {
    name: &'static str,
    pki: fn() -> ClusterPki,
    /// The same cluster in kubeadm's configuration: what stands in `networking: {…}`, further lines of the
    /// ClusterConfiguration, and the advertised address.
    networking: &'static str,
    cluster: &'static str,
    address: &'static str,
}

/// kubeadm's defaults; and everything that can be turned.
const CASES: [Case; 2] = [
    Case {
        name: "default",
        pki: default,
        networking: "serviceSubnet: 10.96.0.0/12",
        cluster: "",
        address: "10.90.0.11",
    },
    Case {
        name: "custom",
        pki: custom,
        networking: "serviceSubnet: fd00:96::/108, dnsDomain: k8s.example",
        cluster: "clusterName: lab-2\n\
                  encryptionAlgorithm: ECDSA-P384\n\
                  certificateValidityPeriod: 720h\n\
                  caCertificateValidityPeriod: 1440h\n\
                  controlPlaneEndpoint: api.lab.example:8443\n\
                  apiServer: {certSANs: [zz.lab.example, aa.lab.example, 192.0.2.7, '*.wild.example']}\n\
                  etcd: {local: {serverCertSANs: [etcd.lab.example, 192.0.2.8], peerCertSANs: [peer.lab.example]}}",
        address: "fd00:90::11",
    },
];

fn default() -> ClusterPki {
    ClusterPki { algorithm: KeyAlgorithm::Rsa2048, ..samples::single() }
}

fn custom() -> ClusterPki {
    let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let hour = |hours: u64| Duration::from_secs(hours * 3600);
    let mut pki = ClusterPki {
        cluster_name: "lab-2".to_owned(),
        algorithm: KeyAlgorithm::EcdsaP384,
        validity: Validity { authority: hour(1440), leaf: hour(720) },
        service_domain: "k8s.example".to_owned(),
        service_addresses: vec!["fd00:96::1".parse().unwrap()],
        control_plane_endpoint: Some("api.lab.example:8443".parse().unwrap()),
        extra_api_server_names: strings(&["zz.lab.example", "aa.lab.example", "192.0.2.7", "*.wild.example"]),
        extra_etcd_server_names: strings(&["etcd.lab.example", "192.0.2.8"]),
        extra_etcd_peer_names: strings(&["peer.lab.example"]),
        ..samples::single()
    };
    pki.hosts[0].addresses = vec!["fd00:90::11".parse().unwrap()];
    pki
}

fn golden(version: &str, case: &Case) -> PathBuf {
    let suffix = if case.name == "default" { String::new() } else { format!("-{}", case.name) };
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/kubeadm-{version}{suffix}.txt"))
}

const PEM: &str = "/var/lib/kubelet/pki/kubelet-client-2026-11-21-01-55-00.pem";

fn ours(case: &Case, version: KubernetesVersion) -> Dump {
    let pki = ClusterPki { version, ..(case.pki)() };
    let authorities = Authorities::create(pki.algorithm, pki.validity, pki.now).unwrap();
    let files = pki.host_files("cp1", &authorities).unwrap();
    files.iter().filter_map(|file| Some((file.path.clone(), dump::file(file.mode, file.expose_text()?)))).collect()
}

fn recorded(version: &str, case: &Case) -> Dump {
    dump::parse(&fs::read_to_string(golden(version, case)).unwrap())
}

/// The list is `manifests/tests/kubeadm/ACCEPTED.md`; the reasons are there, too.
#[test]
fn every_difference_is_accepted_and_every_accepted_difference_is_there() {
    let mut seen_in: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for (version, number) in RECORDED {
        for case in &CASES {
            let mut ours = ours(case, number);
            let pem = ours.remove(PEM).unwrap();
            ours.insert(PEM.replace("2026-11-21-01-55-00", "DATE"), pem);
            for line in text_differences(&recorded(version, case), &ours) {
                *count.entry(line.clone()).or_default() += 1;
                seen_in.entry(line).or_default().insert(case.name);
            }
        }
    }
    let found = seen_in.iter().map(|(line, cases)| {
        assert_eq!(count[line], cases.len() * RECORDED.len(), "not in every version: {line}");
        if cases.len() == CASES.len() { line.clone() } else { format!("{} {line}", cases.first().unwrap()) }
    });
    Accepted::read().unwrap().check(Compared::Certificates, &found.collect()).unwrap();
}

/// kubeadm embeds it and moves it out later; ours lies outside from the beginning, and is the same one.
#[test]
fn the_kubelets_own_file_holds_what_kubeadm_embeds() {
    let embedded = |line: &&str| !line.starts_with(['|', 'm']);
    for (version, number) in RECORDED {
        for case in &CASES {
            let ours = ours(case, number);
            let fields = |text: &str| text.lines().filter(embedded).map(str::to_owned).collect::<BTreeSet<_>>();
            let mut outside = fields(&ours[PEM]);
            // The key, which a kubeconfig's dump only names.
            outside.retain(|line| !line.starts_with("key survives") && !line.ends_with("PRIVATE KEY"));
            assert_eq!(outside, fields(&recorded(version, case)["/etc/kubernetes/kubelet.conf"]), "{version}");
        }
    }
}

#[test]
fn the_goldens_are_what_kubeadm_writes() {
    let Some((kubeadm, version)) = kubeadm() else {
        return;
    };
    for case in &CASES {
        let written = dump::render(&run(&kubeadm, &version, case));
        let golden = golden(&version, case);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &written).unwrap();
        }
        assert_eq!(written, fs::read_to_string(&golden).unwrap(), "{}", golden.display());
    }
}

/// kubeadm finds our files, checks them (issuer, names, API server) and has nothing to add or to change.
#[test]
fn kubeadm_takes_our_files_as_its_own() {
    let Some((kubeadm, version)) = kubeadm() else {
        return;
    };
    let numbers: Vec<u16> = version.split('.').map(|n| n.parse().unwrap()).collect();
    for case in &CASES {
        let root = tempfile::tempdir().unwrap();
        let mut pki = (case.pki)();
        pki.version = KubernetesVersion::new(numbers[1], numbers[2]);
        // kubeadm looks at its own clock.
        pki.now = jiff::Timestamp::now();
        let authorities = Authorities::create(pki.algorithm, pki.validity, pki.now).unwrap();
        let files = pki.host_files("cp1", &authorities).unwrap();
        samples::write(root.path(), &files);
        let folder = root.path().join("etc/kubernetes");
        let mut before = Dump::new();
        collect(&folder, "", &mut before);
        let said = init(&kubeadm, &version, case, &folder);
        // Ten certificates with their authorities, five kubeconfigs; the service account key it words differently.
        assert_eq!(said.matches("Using existing").count(), 15, "{said}");
        assert!(said.contains("Using the existing \"sa\" key"), "{said}");
        assert!(!said.contains("Generating \"") && !said.contains("Writing"), "{said}");
        let mut after = Dump::new();
        collect(&folder, "", &mut after);
        assert_eq!(before, after);
        for file in files.iter().filter(|file| file.link_target().is_none()) {
            let written = fs::read_to_string(root.path().join(&file.path[1..])).unwrap();
            assert_eq!(Some(written.as_str()), file.expose_text(), "{}", file.path);
        }
    }
}

/// The binary that `KUBEADM` names, and its version.
fn kubeadm() -> Option<(String, String)> {
    let Ok(kubeadm) = std::env::var("KUBEADM") else {
        eprintln!("skipped: KUBEADM names no kubeadm binary");
        return None;
    };
    let output = Command::new(&kubeadm).args(["version", "-o", "short"]).output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    Some((kubeadm, version.trim().trim_start_matches('v').to_owned()))
}

/// What the binary writes for a case.
fn run(kubeadm: &str, version: &str, case: &Case) -> Dump {
    let root = tempfile::tempdir().unwrap();
    init(kubeadm, version, case, root.path());
    let mut dump = Dump::new();
    collect(root.path(), "/etc/kubernetes", &mut dump);
    // The certificates in kubeconfigs begin with the authority and end counted from their own phase. In one `kubeadm
    // init` that is the same moment; here the second phase starts a second or two later.
    for (_, text) in dump.iter_mut().filter(|(path, _)| path.ends_with(".conf")) {
        *text = whole_minutes(text);
    }
    dump
}

/// Runs the phases that write certificates and kubeconfigs, with `folder` for /etc/kubernetes; returns what was said.
fn init(kubeadm: &str, version: &str, case: &Case, folder: &Path) -> String {
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        config.path(),
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\n\
             kind: InitConfiguration\n\
             localAPIEndpoint: {{advertiseAddress: '{}'}}\n\
             nodeRegistration: {{name: cp1}}\n\
             ---\n\
             apiVersion: kubeadm.k8s.io/v1beta4\n\
             kind: ClusterConfiguration\n\
             kubernetesVersion: v{version}\n\
             certificatesDir: {}/pki\n\
             networking: {{{}}}\n\
             {}\n",
            case.address,
            folder.display(),
            case.networking,
            case.cluster
        ),
    )
    .unwrap();
    let phase = |arguments: &[&str]| {
        let output = Command::new(kubeadm)
            .args(["init", "phase"])
            .args(arguments)
            .arg("--config")
            .arg(config.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    phase(&["certs", "all"]) + &phase(&["kubeconfig", "all", "--kubeconfig-dir", folder.to_str().unwrap()])
}

/// The lifetimes in a dump, without what exceeds whole minutes.
fn whole_minutes(text: &str) -> String {
    let round = |line: &str| match line.strip_prefix("lifetime: ").and_then(|l| l.strip_suffix(" s")) {
        Some(seconds) => {
            let seconds: u64 = seconds.parse().unwrap();
            format!("lifetime: {} s\n", seconds - seconds % 60)
        }
        None => format!("{line}\n"),
    };
    text.lines().map(round).collect()
}

fn collect(folder: &Path, shown: &str, dump: &mut Dump) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let shown = format!("{shown}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            collect(&entry.path(), &shown, dump);
        } else {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            dump.insert(shown, dump::file(mode, &fs::read_to_string(entry.path()).unwrap()));
        }
    }
}
