//! A machine that nothing is wrong with, made by hand: what checks are tested on, one thing changed at a time. Invented
//! figures.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::{
    Address, Clock, Fact, Fitness, FsyncLatency, HostFacts, Module, Mount, Os, OsFamily, Route, Space, Sysctl,
};
use crate::spec::{Cidr, Host};

const GB: u64 = 1_000_000_000;

/// A fact that was seen.
pub fn known<T>(value: T) -> Fact<T> {
    Fact::Known { value, at: Timestamp::UNIX_EPOCH }
}

/// A host on which nothing was built and in whose way nothing stands.
pub fn bare(host: &Host) -> HostFacts {
    HostFacts {
        hostname: known(host.name.to_string()),
        machine_id: known(format!("id-of-{}", host.name)),
        os: known(Os { id: "debian".into(), version: "12".into(), family: OsFamily::Debian, name: "Debian 12".into() }),
        architecture: known("x86_64".into()),
        kernel: known("6.1.0-18-amd64".into()),
        cpus: known(2),
        memory_bytes: known(4 * GB),
        cgroup_version: known(2),
        container: Fact::Absent,
        swap: known(Vec::new()),
        clock: known(clock(SignedDuration::ZERO)),
        space: known(
            ["/var/lib", "/usr/local", "/etc"].map(|folder| (folder.to_owned(), room(40 * GB, 80 * GB))).into(),
        ),
        addresses: known(vec![address("eth0", host.private_address)]),
        package_lock: Fact::Absent,
        listening: known(BTreeMap::from([(22, "sshd".into())])),
        systemd_resolved: known(false),
        etcd_data: known(false),
        ca_fingerprint: Fact::Absent,
        record: Fact::Absent,
        fitness: known(fit(host)),
        ..HostFacts::default()
    }
}

/// A clock that is so far ahead of ours; asking it took 20 to 40 ms.
pub fn clock(ahead: SignedDuration) -> Clock {
    let at = |milliseconds| Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds);
    Clock { sent: at(0), began: at(10) + ahead, ended: at(30) + ahead, received: at(40) }
}

/// A file system with so much free of so much, and inodes to match.
pub fn room(free: u64, total: u64) -> Space {
    // ext4's default: one for every 16 KB.
    let inodes = |bytes: u64| Some(bytes / 16_384);
    Space { free_bytes: free, free_inodes: inodes(free), total_bytes: Some(total), total_inodes: inodes(total) }
}

/// An address in a network of 256.
pub fn address(interface: &str, address: IpAddr) -> Address {
    Address { interface: interface.to_owned(), address, prefix: 24 }
}

fn fit(host: &Host) -> Fitness {
    let ext4 = Mount { kind: "ext4".into(), read_only: false, no_exec: false };
    let network = Cidr { network: host.private_address, prefix: 24 }.canonical();
    Fitness {
        systemd: known(true),
        missing_programs: known(Vec::new()),
        broken_packages: known(Vec::new()),
        clock_synchronised: known(true),
        selinux: Fact::Absent,
        cgroup_controllers: known(["cpuset", "cpu", "io", "memory", "pids"].map(str::to_owned).into()),
        modules: ["overlay", "br_netfilter", "nf_tables", "vxlan"]
            .map(|name| (name.to_owned(), known(Module::Loadable)))
            .into(),
        sysctls: known(
            [
                ("net.ipv4.ip_forward", "0"),
                ("vm.overcommit_memory", "0"),
                ("vm.panic_on_oom", "0"),
                ("kernel.panic", "0"),
                ("kernel.panic_on_oops", "0"),
                ("kernel.keys.root_maxkeys", "1000000"),
                ("kernel.keys.root_maxbytes", "25000000"),
                ("net.netfilter.nf_conntrack_max", "65536"),
                ("fs.inotify.max_user_instances", "128"),
            ]
            .map(|(name, value)| (name.to_owned(), Sysctl { value: value.into(), writable: true }))
            .into(),
        ),
        mounts: known(
            ["/etc", "/opt", "/usr/local", "/var/lib", "/var/lib/etcd"]
                .map(|folder| (folder.to_owned(), ext4.clone()))
                .into(),
        ),
        fsync: known(FsyncLatency { writes: 100, median_us: 400, p99_us: 2_100, worst_us: 3_000 }),
        routes: known(vec![Route { destination: network, interface: "eth0".into() }]),
        listening_udp: known(BTreeMap::new()),
        name_servers: known(vec!["192.0.2.53".into()]),
        names: BTreeMap::from([(host.name.to_string(), known(vec![host.private_address.to_string()]))]),
        proxy: Fact::Absent,
        firewalls: known(Vec::new()),
        cni_configurations: known(Vec::new()),
        traces: known(Vec::new()),
        runtime_sockets: known(Vec::new()),
    }
}
