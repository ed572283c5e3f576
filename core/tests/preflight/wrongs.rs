//! Each thing that can be wrong with one machine, with what alone is to be said of it.

use kubewright_core::facts::sample::{address, known, room};
use kubewright_core::facts::{Fact, Fitness, FsyncLatency, HostFacts, Module, OsFamily, Proxy, Trace};
use kubewright_core::finding::Severity;

use crate::setting::{GB, disk, fit, route, sysctl, unit, value, words};

pub type Change = Box<dyn Fn(&mut HostFacts)>;

/// One thing wrong with one host: what is changed there, and what alone is to be said. The words have to be in the text: a
/// finding tells its figures.
pub struct Wrong {
    pub host: &'static str,
    pub more: &'static str,
    pub change: Change,
    pub code: &'static str,
    pub severity: Severity,
    pub tells: &'static [&'static str],
}

pub fn wrong(
    host: &'static str,
    change: impl Fn(&mut HostFacts) + 'static,
    code: &'static str,
    severity: Severity,
    tells: &'static [&'static str],
) -> Wrong {
    Wrong { host, more: "", change: Box::new(change), code, severity, tells }
}

impl Wrong {
    fn with(self, more: &'static str) -> Self {
        Self { more, ..self }
    }
}

pub fn wrongs() -> Vec<Wrong> {
    use Severity::{Blocks, Info, NeedsConsent, Warns};
    let external = "  endpoint: {mode: external, address: api.example.com}\n";
    vec![
        // The system.
        wrong("w1", |seen| value(&mut seen.os).family = OsFamily::Suse, "HOST002", Blocks, &["Debian 12"]),
        wrong("w1", |seen| seen.os = Fact::unreadable("no permission"), "HOST002", Blocks, &["no permission"]),
        wrong("w1", |seen| seen.os = Fact::Absent, "HOST002", Blocks, &["no os-release"]),
        wrong("w1", |seen| seen.machine_id = Fact::Absent, "HOST003", Blocks, &["machine-id"]),
        wrong("w1", fit(|fitness| fitness.systemd = known(false)), "HOST038", Blocks, &["systemd"]),
        wrong("w1", |seen| seen.swap = words(&["/dev/sdb2"]), "HOST017", Warns, &["/dev/sdb2"]),
        wrong("cp1", |seen| seen.memory_bytes = known(GB), "HOST022", Warns, &["953 MB", "1700 MB"]),
        wrong("cp1", |seen| seen.cpus = known(1), "HOST023", Warns, &["1 processor"]),
        wrong("w1", |seen| seen.cgroup_version = known(1), "HOST025", Blocks, &["cgroup v1", "1.35.4"]),
        wrong("w1", |seen| seen.cgroup_version = known(1), "HOST024", Warns, &["cgroup v1"])
            .with("  kubelet: {config: {failCgroupV1: false}}\n"),
        wrong(
            "w1",
            fit(|fitness| fitness.cgroup_controllers = words(&["cpuset", "cpu", "io", "pids"])),
            "HOST036",
            Blocks,
            &["memory"],
        ),
        wrong("w1", fit(|fitness| fitness.clock_synchronised = known(false)), "TIME007", Info, &["time server"]),
        wrong("w1", |seen| seen.clock = Fact::unreadable("no date"), "TIME006", Warns, &["no date"]),
        // Names and addresses.
        wrong("w1", |seen| seen.hostname = known("Worker_1".into()), "HOST030", Warns, &["Worker_1", "w1"]),
        wrong("w1", |seen| seen.hostname = known("debian".into()), "HOST029", Info, &["debian", "w1"]),
        wrong("w1", |seen| seen.hostname = known("cp1".into()), "HOST028", Warns, &["cp1"]),
        wrong("w1", |seen| seen.machine_id = known("id-of-cp1".into()), "HOST005", Blocks, &["cp1", "id-of-cp1"]),
        wrong(
            "w1",
            |seen| value(&mut seen.addresses).push(address("eth1", "10.77.0.11".parse().unwrap())),
            "HOST031",
            Blocks,
            &["cp1's address", "10.77.0.11", "eth1"],
        ),
        wrong(
            "w1",
            |seen| seen.addresses = known(vec![address("ens3", "10.0.0.5".parse().unwrap())]),
            "HOST032",
            Blocks,
            &["10.77.0.21", "10.0.0.5 on ens3"],
        ),
        wrong("w1", |seen| seen.addresses = known(Vec::new()), "HOST032", Blocks, &["it has none"]),
        // The kernel.
        wrong(
            "w1",
            |seen| seen.kernel = known("5.10.0-28-amd64".into()),
            "HOST033",
            Blocks,
            &["5.10.0-28-amd64", "5.13"],
        ),
        wrong("w1", |seen| seen.kernel = known("4.18.0".into()), "HOST034", Warns, &["4.18.0", "4.19"])
            .with("  network: {kubeProxy: {mode: iptables}}\n"),
        wrong("w1", |seen| seen.kernel = known("5.4.0-1".into()), "HOST034", Warns, &["5.4.0-1", "5.8"])
            .with("  network: {kubeProxy: {mode: iptables}}\n"),
        wrong(
            "w1",
            fit(|fitness| {
                fitness.modules.insert("vxlan".into(), Fact::Absent);
                fitness.modules.insert("overlay".into(), known(Module::Forbidden));
            }),
            "HOST050",
            Blocks,
            &["vxlan for flannel is not there", "overlay for containerd's images is forbidden in /etc/modprobe.d"],
        ),
        wrong(
            "w1",
            fit(|fitness| drop(fitness.modules.insert("nf_tables".into(), Fact::Absent))),
            "HOST050",
            Blocks,
            &["nf_tables"],
        ),
        wrong(
            "w1",
            fit(|fitness| drop(fitness.modules.insert("br_netfilter".into(), Fact::Absent))),
            "HOST051",
            Warns,
            &["br_netfilter"],
        ),
        wrong("w1", sysctl("net.ipv4.ip_forward", "0", false), "HOST052", Blocks, &["net.ipv4.ip_forward is 0"]),
        wrong("w1", sysctl("vm.overcommit_memory", "0", false), "HOST052", Blocks, &["the kubelet wants 1"]),
        wrong(
            "w1",
            sysctl("net.netfilter.nf_conntrack_max", "65536", false),
            "HOST052",
            Blocks,
            &["kube-proxy wants 131072"],
        ),
        wrong("w1", sysctl("fs.inotify.max_user_instances", "100", true), "HOST053", Warns, &["is 100"]),
        wrong("w1", |seen| seen.container = known("lxc".into()), "HOST053", Warns, &["is 128", "all containers"]),
        wrong("w1", fit(|fitness| fitness.selinux = known("enforcing".into())), "HOST055", Info, &["SELinux"]),
        // Disks.
        wrong("w1", disk("/usr/local", room(GB, 2 * GB)), "HOST020", Blocks, &["/usr/local", "1.0 GB"]),
        wrong("w1", disk("/var/lib", room(9 * GB, 20 * GB)), "HOST021", Warns, &["9.0 GB"]),
        wrong(
            "w1",
            disk("/var/lib", room(14 * GB, 100 * GB)),
            "HOST040",
            Blocks,
            &["14.0 GB of 100.0 GB", "15.0 GB (imagefs.available)"],
        ),
        wrong(
            "w1",
            disk("/var/lib/kubelet", room(4 * GB, 50 * GB)),
            "HOST040",
            Blocks,
            &["/var/lib/kubelet has 4.0 GB of 50.0 GB", "5.0 GB (nodefs.available)"],
        ),
        wrong("w1", disk("/var/lib", room(16 * GB, 100 * GB)), "HOST041", Warns, &["16.0 GB of 100.0 GB"]),
        wrong(
            "w1",
            |seen| value(&mut seen.space).get_mut("/var/lib").unwrap().free_inodes = Some(1000),
            "HOST040",
            Blocks,
            &["1000 files", "imagefs.inodesFree"],
        ),
        wrong(
            "w1",
            |seen| {
                let room = value(&mut seen.space).get_mut("/var/lib").unwrap();
                (room.free_inodes, room.total_inodes) = (Some(90_000), Some(1_000_000));
            },
            "HOST042",
            Warns,
            &["90000 more files"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.mounts).get_mut("/var/lib").unwrap().read_only = true),
            "HOST043",
            Blocks,
            &["/var/lib"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.mounts).get_mut("/usr/local").unwrap().no_exec = true),
            "HOST044",
            Blocks,
            &["/usr/local"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.mounts).get_mut("/var/lib").unwrap().no_exec = true),
            "HOST045",
            Warns,
            &["noexec"],
        ),
        wrong(
            "cp1",
            fit(|fitness| value(&mut fitness.mounts).get_mut("/var/lib/etcd").unwrap().kind = "tmpfs".into()),
            "HOST046",
            NeedsConsent,
            &["tmpfs"],
        ),
        wrong("cp1", disk("/var/lib/etcd", room(100_000_000, GB)), "HOST047", Blocks, &["100 MB", "200 MB"]),
        wrong("cp1", disk("/var/lib/etcd", room(GB, 2 * GB)), "HOST048", Warns, &["1.0 GB", "2.1 GB"]),
        wrong(
            "cp1",
            fit(|fitness| {
                fitness.fsync = known(FsyncLatency { writes: 80, median_us: 8_000, p99_us: 23_400, worst_us: 90_000 });
            }),
            "HOST049",
            Warns,
            &["8.0 ms", "23.4 ms", "80 measured", "10 ms"],
        ),
        // The network.
        wrong(
            "cp1",
            |seen| seen.listening = known([(2379, "etcd".into())].into()),
            "HOST026",
            Blocks,
            &["2379 (etcd) by etcd"],
        ),
        wrong(
            "w1",
            |seen| seen.listening = known([(10250, String::new())].into()),
            "HOST026",
            Blocks,
            &["10250 (kubelet) by a process that cannot be seen"],
        ),
        wrong(
            "w1",
            |seen| seen.listening = known([(6443, "nginx".into())].into()),
            "HOST026",
            Blocks,
            &["6443 (kube-apiserver-proxy) by nginx"],
        ),
        wrong(
            "cp1",
            |seen| seen.listening = known([(8443, "nginx".into())].into()),
            "HOST026",
            Blocks,
            &["8443 (kube-apiserver)"],
        )
        .with("  endpoint: {mode: nodeLocal, port: 8443}\n"),
        wrong(
            "w1",
            fit(|fitness| fitness.listening_udp = known([(8472, "vpn".into())].into())),
            "HOST026",
            Blocks,
            &["UDP 8472 (flannel) by vpn"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.routes).push(route("10.244.7.0/24", "br0"))),
            "HOST056",
            NeedsConsent,
            &["10.244.7.0/24 on br0", "10.244.0.0/16"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.routes).push(route("10.96.0.0/12", "tun0"))),
            "HOST056",
            NeedsConsent,
            &["service network 10.96.0.0/12"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.routes).push(route("10.0.0.0/8", "tun0"))),
            "HOST057",
            Warns,
            &["10.0.0.0/8 on tun0", "pod network"],
        ),
        wrong("cp1", |seen| seen.default_interface = Fact::Absent, "HOST072", Warns, &["10.96.0.0/12", "webhooks"]),
        wrong(
            "w1",
            |seen| value(&mut seen.addresses).push(address("cni0", "10.1.0.1".parse().unwrap())),
            "HOST058",
            Blocks,
            &["cni0", "10.1.0.1/24"],
        ),
        wrong("w1", fit(|fitness| fitness.firewalls = words(&["ufw"])), "HOST064", Warns, &["ufw"]),
        wrong(
            "w1",
            fit(|fitness| {
                fitness.proxy = known(Proxy { address: "http://proxy:3128".into(), except: vec!["localhost".into()] })
            }),
            "HOST063",
            Warns,
            &["http://proxy:3128", "NO_PROXY lacks 10.77.0.11"],
        ),
        // Names.
        wrong("w1", fit(|fitness| fitness.name_servers = words(&[])), "HOST059", Blocks, &["/etc/resolv.conf"]),
        wrong(
            "w1",
            fit(|fitness| fitness.name_servers = words(&["10.0.0.2", "127.0.0.1"])),
            "HOST060",
            Blocks,
            &["127.0.0.1"],
        ),
        wrong(
            "w1",
            fit(|fitness| drop(fitness.names.insert("w1".into(), Fact::Absent))),
            "HOST062",
            Info,
            &["its own name, w1"],
        ),
        wrong(
            "w1",
            fit(|fitness| drop(fitness.names.insert("api.example.com".into(), Fact::Absent))),
            "HOST061",
            Blocks,
            &["api.example.com"],
        )
        .with(external),
        wrong(
            "w1",
            fit(|fitness| {
                drop(fitness.names.insert("api.example.com".into(), Fact::unreadable("no answer within 5 s")))
            }),
            "HOST061",
            Blocks,
            &["no answer within 5 s"],
        )
        .with(external),
        // Packages and programs.
        wrong(
            "w1",
            |seen| seen.package_lock = known("unattended-upgr (812)".into()),
            "HOST027",
            Warns,
            &["unattended-upgr (812)"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.broken_packages = words(&["a", "b", "c", "d", "e", "f", "g"])),
            "HOST039",
            Warns,
            &["a, b, c, d, e and 2 more"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.missing_programs = words(&["tar", "gzip"])),
            "HOST037",
            Blocks,
            &["tar, gzip"],
        ),
        // Others.
        wrong("cp1", |seen| seen.etcd_data = known(true), "HOST012", Blocks, &["/var/lib/etcd"]),
        wrong("w1", |seen| seen.ca_fingerprint = known("ab".into()), "HOST013", Blocks, &["ca.crt"]),
        wrong(
            "w1",
            fit(|fitness| fitness.traces = known(vec![Trace { tool: "k3s".into(), path: "/etc/rancher/k3s".into() }])),
            "HOST065",
            Blocks,
            &["k3s (/etc/rancher/k3s)"],
        ),
        wrong(
            "w1",
            |seen| drop(seen.units.insert("kubelet".into(), unit("active", "enabled"))),
            "HOST066",
            Blocks,
            &["kubelet"],
        ),
        wrong(
            "w1",
            |seen| drop(seen.units.insert("kubelet".into(), unit("activating", "enabled"))),
            "HOST067",
            Warns,
            &["activating"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.runtime_sockets = words(&["/run/docker.sock", "/run/containerd/containerd.sock"])),
            "HOST068",
            NeedsConsent,
            &["Docker"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.runtime_sockets = words(&["/run/crio/crio.sock"])),
            "HOST069",
            Warns,
            &["/run/crio/crio.sock"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.cni_configurations = words(&["05-cilium.conflist"])),
            "HOST070",
            Blocks,
            &["05-cilium.conflist"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.cni_configurations = words(&["87-podman-bridge.conflist"])),
            "HOST071",
            NeedsConsent,
            &["87-podman-bridge.conflist"],
        ),
        // What cannot be seen.
        wrong("w1", |seen| seen.listening = Fact::unreadable("no ss"), "HOST035", Warns, &["its open ports (no ss)"]),
        wrong("w1", |seen| seen.fitness = Fact::unreadable("nobody looked"), "HOST035", Warns, &["nobody looked"]),
        wrong("w1", |seen| seen.fitness = Fact::Absent, "HOST035", Warns, &["not asked"]),
        wrong(
            "cp1",
            fit(|fitness| fitness.fsync = Fact::unreadable("read-only")),
            "HOST035",
            Warns,
            &["how fast its disk is (read-only)"],
        ),
        wrong("w1", fit(|fitness| *fitness = Fitness::default()), "HOST035", Warns, &["and 9 more"]),
    ]
}
