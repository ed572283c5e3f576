//! Whatever hosts say, judging them never panics.

use jiff::Timestamp;
use kubewright_core::facts::sample::known;
use kubewright_core::facts::{Exchange, Facts, HostFacts};
use kubewright_core::finding::codes::lookup;
use proptest::prelude::*;

use crate::setting::{judged, spec};

/// Strings and numbers as they may stand in any answer.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "",
            "0",
            "-1",
            "18446744073709551615",
            "rw",
            "ro",
            "true",
            "false",
            "present",
            "127.0.0.1",
            "::1",
            "10.244.0.0/16",
            "0.0.0.0/0",
            "255.255.255.255/32",
            "eth0",
            "cni0",
            "/var/lib",
            "/var/lib/etcd",
            "tmpfs",
            "é",
            "5.4.0",
            "enforcing",
            "/run/docker.sock",
            "net.ipv4.ip_forward",
            "10-flannel.conflist",
            "100",
            "1",
            "9223372036854775807",
            "253402207200999999999",
            "-377705023201000000000",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
    ]
}

fn statement() -> impl Strategy<Value = String> {
    let keys = vec![
        "hostname",
        "machine-id",
        "os",
        "kernel",
        "cpus",
        "memory-kib",
        "cgroup",
        "container",
        "swap",
        "clock-began",
        "clock-ended",
        "space",
        "address",
        "package-lock",
        "listening",
        "systemd-resolved",
        "unit/kubelet",
        "ca-fingerprint",
        "etcd-data",
        "record",
        "fitness",
        "systemd",
        "missing-program",
        "broken-package",
        "clock-synchronised",
        "selinux",
        "cgroup-controllers",
        "module/overlay",
        "module/vxlan",
        "sysctl",
        "mount",
        "fsync",
        "route",
        "listening-udp",
        "name-server",
        "name/cp1",
        "proxy",
        "firewall",
        "cni-configuration",
        "trace",
        "runtime-socket",
    ];
    let signs = proptest::sample::select(vec!["=", "+", ".", "-", "!"]);
    (signs, proptest::sample::select(keys), proptest::collection::vec(word(), 0..6))
        .prop_map(|(sign, key, words)| format!("{sign} {key} {}", words.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever hosts say, judging them never panics, and every code it gives is known.
    #[test]
    fn no_answer_makes_preflight_panic(
        answers in proptest::collection::vec(proptest::collection::vec(statement(), 0..60), 3),
        built in any::<bool>(),
    ) {
        let spec = spec("  - {name: w2, address: 10.77.0.22, roles: [worker]}\n");
        let exchange = Exchange { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
        let mut facts = Facts::default();
        for (host, answer) in spec.hosts.iter().zip(answers) {
            // Most of what is judged is judged of bare hosts that were asked.
            let begin = if built { "" } else { "- record\n= fitness asked\n" };
            let answer: Vec<&String> =
                answer.iter().filter(|line| built || !(line.contains(" record ") || line.contains(" fitness "))).collect();
            let lines: String = answer.iter().map(|line| format!("{line}\n")).collect();
            if let Ok(seen) = HostFacts::parse(&format!("{begin}{lines}. facts\n"), exchange) {
                facts.hosts.insert(host.name.clone(), known(seen));
            }
        }
        for finding in judged(&spec, &facts) {
            prop_assert!(lookup(&finding.code).is_some(), "{}", finding.code);
            prop_assert!(!finding.text.is_empty());
        }
    }
}
