//! Bare hosts with real faults: one plan tells all of them, touches nothing, and is content once they are mended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::lab::Lab;

use super::operator::Operator;

/// Something wrong with one host.
struct Fault {
    host: &'static str,
    /// Makes it wrong; ends when it is.
    make: &'static str,
    /// Makes it right again.
    mend: &'static str,
    /// What is to be told of that host.
    codes: &'static [&'static str],
    /// Words that a finding about that host has to have.
    tells: &'static [&'static str],
}

const FAULTS: [Fault; 9] = [
    Fault {
        host: "cp1",
        make: "systemd-run --quiet --unit=squatter socat TCP-LISTEN:6443,fork,reuseaddr SYSTEM:true
               until ss -Hltn | grep -q :6443; do systemctl is-active --quiet squatter || exit 1; done",
        mend: "systemctl stop squatter",
        codes: &["HOST026"],
        tells: &["6443 (kube-apiserver) by socat"],
    },
    Fault {
        host: "cp1",
        make: "systemd-run --quiet --unit=dockerlike socat UNIX-LISTEN:/run/docker.sock,fork SYSTEM:true
               until [ -S /run/docker.sock ]; do systemctl is-active --quiet dockerlike || exit 1; done",
        mend: "systemctl stop dockerlike; rm -f /run/docker.sock",
        codes: &["HOST068"],
        tells: &["Docker runs on it"],
    },
    Fault {
        host: "cp2",
        make: "mkdir /var/lib/etcd && mount -t tmpfs -o size=100m tmpfs /var/lib/etcd",
        mend: "umount /var/lib/etcd && rmdir /var/lib/etcd",
        codes: &["HOST046", "HOST047"],
        tells: &["/var/lib/etcd is in memory (tmpfs)", "104 MB free"],
    },
    Fault {
        host: "cp3",
        make: "mkdir -p /etc/cni/net.d && echo '{}' >/etc/cni/net.d/05-other.conflist",
        mend: "rm -r /etc/cni/net.d; rmdir --ignore-fail-on-non-empty /etc/cni",
        codes: &["HOST070"],
        tells: &["05-other.conflist"],
    },
    Fault {
        host: "cp3",
        make: "mkdir -p /etc/rancher/k3s",
        mend: "rm -r /etc/rancher",
        codes: &["HOST065"],
        tells: &["k3s (/etc/rancher/k3s)"],
    },
    Fault {
        host: "w1",
        // dpkg itself locks with fcntl; /proc/locks shows either kind.
        make: "systemd-run --quiet --unit=locker flock /var/lib/dpkg/lock-frontend sleep infinity
               until ! flock --nonblock /var/lib/dpkg/lock-frontend true; do systemctl is-active --quiet locker || exit 1; done",
        mend: "systemctl stop locker",
        codes: &["HOST027"],
        tells: &["the package manager is held by"],
    },
    Fault {
        host: "w1",
        make: "ip route add 10.244.9.0/24 dev eth0 && nft add table inet guard && nft add chain inet guard through '{ type filter hook forward priority 0; policy drop; }'",
        mend: "ip route del 10.244.9.0/24 dev eth0 && nft delete table inet guard",
        codes: &["HOST056", "HOST064"],
        tells: &["10.244.9.0/24 on eth0 (pod network 10.244.0.0/16)", "inet guard through"],
    },
    Fault {
        host: "w2",
        make: "cp -p /etc/resolv.conf /run/resolv.conf && echo 'nameserver 127.0.0.1' >/etc/resolv.conf",
        mend: "cp -p /run/resolv.conf /etc/resolv.conf",
        codes: &["HOST060"],
        tells: &["127.0.0.1"],
    },
    Fault {
        host: "w2",
        make: "hostname w1",
        mend: "hostname w2",
        codes: &["HOST028"],
        tells: &["it calls itself w1"],
    },
];

/// Longer than a plan of five hosts takes on two cores that others use too, much shorter than a question that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// On a lab of five bare hosts and a spec that is right for it.
pub fn tells_everything_at_once(lab: &Lab, spec: &Path, told: &dyn Fn(&str)) {
    for fault in &FAULTS {
        in_host(lab, fault.host, fault.make);
    }
    let (clone, own) = (in_host(lab, "w1", "cat /etc/machine-id"), in_host(lab, "w2", "cat /etc/machine-id"));
    in_host(lab, "w2", &format!("echo {} >/etc/machine-id", clone.trim()));
    let before = files(lab);

    let operator = Operator::new(spec);
    let began = Instant::now();
    let answer = operator.expect(&["plan", "--output", "json"], 5);
    let took = began.elapsed();
    assert!(took < PATIENCE, "planning took {took:?}");
    let found = findings(&answer);
    for fault in &FAULTS {
        for code in fault.codes {
            assert!(
                found.iter().any(|(host, is, _)| host == fault.host && is == code),
                "{}: {code}: {found:#?}",
                fault.host
            );
        }
        for words in fault.tells {
            let says = |(host, _, text): &(String, String, String)| host == fault.host && text.contains(words);
            assert!(found.iter().any(says), "{}: {words:?}: {found:#?}", fault.host);
        }
    }
    assert!(found.iter().any(|(host, code, _)| host == "w2" && code == "HOST005"), "{found:#?}");
    let codes: BTreeSet<&str> = found.iter().map(|(_, code, _)| code.as_str()).collect();
    told(&format!(
        "a plan told of {} faults at once in {:.1} s: {}",
        found.len(),
        took.as_secs_f64(),
        codes.into_iter().collect::<Vec<_>>().join(" ")
    ));

    assert_eq!(files(lab), before, "planning changed a host");
    assert!(operator.operations().is_empty(), "a plan is no operation");
    let refused = operator.run(&["apply", "--yes"]);
    assert_eq!(refused.status.code(), Some(5), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(files(lab), before, "a refused run changed a host");

    for fault in &FAULTS {
        in_host(lab, fault.host, fault.mend);
    }
    in_host(lab, "w2", &format!("echo {} >/etc/machine-id", own.trim()));
    let plan: Value = serde_json::from_str(&operator.expect(&["plan", "--output", "json"], 4)).expect("JSON");
    let left: Vec<&Value> =
        plan["findings"].as_array().expect("a list").iter().filter(|finding| finding["severity"] != "info").collect();
    told(&format!(
        "and it told nothing of them once they were mended: {}",
        serde_json::to_string(&left).expect("JSON")
    ));
    let provoked: BTreeSet<&str> = FAULTS.iter().flat_map(|fault| fault.codes).copied().chain(["HOST005"]).collect();
    assert!(left.iter().all(|finding| !provoked.contains(finding["code"].as_str().unwrap_or_default())), "{left:#?}");
}

fn in_host(lab: &Lab, host: &str, script: &str) -> String {
    lab.exec(host, &format!("set -e\n{script}")).unwrap_or_else(|error| panic!("{host}: {script}: {error:#}"))
}

/// Host, code and text of each finding in an error; what is about no host has none.
fn findings(answer: &str) -> Vec<(String, String, String)> {
    let error: Value = serde_json::from_str(answer.lines().last().expect("an answer")).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = error["findings"].as_array().expect("a list of findings");
    all.iter()
        .map(|finding| (text(&finding["subject"]["host"]), text(&finding["code"]), text(&finding["text"])))
        .collect()
}

/// Every file of each host with its size and time, without what a host writes by itself.
fn files(lab: &Lab) -> BTreeMap<String, String> {
    let list = "find /etc /home /opt /root /srv /usr /var -xdev -type f ! -path '/var/log/*' ! -path '/var/lib/systemd/*' \
                ! -path '/var/cache/*' -printf '%p %s %T@ %m\\n' | sort";
    lab.spec.hosts.iter().map(|host| (host.name.clone(), in_host(lab, &host.name, list))).collect()
}
