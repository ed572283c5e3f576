//! A whole cluster of ours beside one of the real kubeadm, on the same host one after the other: the same objects, the
//! same files with the same modes, but for what `ACCEPTED.md` lists with its reason.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xtask::cache::Cache;
use xtask::cluster;
use xtask::kubeadm::{Kubeadm, Part};
use xtask::lab::Lab;
use xtask::parity::{Accepted, Compared, document_differences, objects};

use super::cluster::Kubectl;
use super::operator::Operator;

/// The one host: kubeadm's own cluster begins with one control plane.
pub const HOST: &str = "cp1";

/// `kubeadm init` on a busy machine; alone it takes ten seconds.
const PATIENCE: Duration = Duration::from_secs(240);

/// What `kubeadm init` leaves to a controller-manager that has just begun: it makes its own accounts and completes roles
/// for some seconds more.
const SETTLED: Duration = Duration::from_secs(120);

/// Between two looks at what controllers are still making; each costs the API server a second.
const LOOK: Duration = Duration::from_secs(3);

/// Builds both on a bare host and compares them.
pub fn same_objects_and_files(cache: &Cache, lab: &Lab, version: &str, file: &Path, told: &dyn Fn(&str)) {
    let text = cluster::spec(lab).expect("the example");
    std::fs::write(file, text.replace(cluster::VERSION, version)).expect("a spec");
    cluster::forget_pins(file).expect("no lock file");
    let operator = Operator::new(file);
    operator.expect(&["apply", "--yes"], 0);
    let ours = seen(cache, lab, version, operator.folder());
    told("one control plane of ours");
    operator.expect(&["reset", "--confirm", "lab", "--keep-prepared"], 0);

    let kubeadm = Kubeadm::new(lab, version, HOST);
    kubeadm.install().expect("kubeadm");
    kubeadm.place(HOST, Part::First).expect("its configuration");
    kubeadm.run(HOST, "init", PATIENCE).expect("kubeadm init");
    told("one control plane of the real kubeadm's on the same host");
    let accepted = Accepted::read().expect("the list of accepted differences");
    let began = Instant::now();
    loop {
        let theirs = seen(cache, lab, version, operator.folder());
        let found = document_differences(&theirs, &ours);
        match accepted.check(Compared::Living(version), &found) {
            Ok(()) => {
                let (all, but) = (theirs.len(), found.len());
                return told(&format!(
                    "{all} objects and the files' modes are the same but for {but} accepted differences"
                ));
            }
            Err(error) if began.elapsed() > SETTLED => panic!("{error:#}"),
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// Objects by identity, and under `mode` each file with its mode and owner.
fn seen(cache: &Cache, lab: &Lab, version: &str, folder: &Path) -> BTreeMap<String, Value> {
    let on = |command: &str| lab.exec(HOST, command).unwrap_or_else(|error| panic!("{command}: {error:#}"));
    let kubeconfig = folder.join("admin.conf");
    std::fs::write(&kubeconfig, on("cat /etc/kubernetes/admin.conf")).expect("a kubeconfig");
    let list = Kubectl::new(cache, version, &kubeconfig).json(&["get", objects::KINDS, "-A"]);
    let mut seen = objects::by_identity(&list).expect("objects");
    let files = on("find /etc/kubernetes /var/lib/kubelet/pki /var/lib/kubelet/*.yaml /var/lib/kubelet/*.env \
        -printf '%p\\t%m %u:%g %y\\n' | sed -E 's/kubelet-client-[0-9-]+\\.pem/kubelet-client-DATE.pem/'");
    let modes = files.lines().filter_map(|line| line.split_once('\t')).map(|(path, mode)| (path.into(), json!(mode)));
    seen.insert("mode".into(), Value::Object(modes.collect()));
    seen
}
