//! What hosts and what is installed on them can be found to be.

use super::{Area, code};
use crate::finding::Severity::{Blocks, Info, NeedsConsent, Warns};

/// Found on the hosts, before anything is planned.
pub const PREFLIGHT: Area = Area {
    title: "The hosts",
    about: "Found by looking at the hosts, before anything is planned. From `HOST017` on, and of clocks, only hosts are \
            judged that nothing was built on yet ([how, and at what cost](../explanation/preflight.md)).",
    sources: &["core/src/planner/preflight"],
    codes: &[
        code(
            "HOST001",
            Blocks,
            "The host cannot be reached, or does not answer as it should. The finding has ssh's own words.",
        ),
        code("HOST002", Blocks, "There are no playbooks for its operating system, or it cannot be told which it is."),
        code("HOST003", Blocks, "It has no readable machine-id, by which later steps recognise it."),
        code("HOST005", Blocks, "Two hosts have one machine-id: one machine under two names, or a clone."),
        code("HOST010", Blocks, "It belongs to another cluster that kubewright built."),
        code("HOST011", Blocks, "An operation claimed it and has not finished. Resume that one."),
        code(
            "HOST012",
            Blocks,
            "It holds etcd data that no operation of ours made. kubewright never deletes etcd data: look whose it is.",
        ),
        code("HOST013", Blocks, "It is part of a Kubernetes cluster that another tool made."),
        code(
            "HOST014",
            Blocks,
            "Whose it is, or whether it holds etcd data, cannot be read. What cannot be read is not taken to be harmless.",
        ),
        code("HOST017", Warns, "Swap is on. It will be turned off and commented out in `/etc/fstab`."),
        code("HOST020", Blocks, "Less than 2 GB are free where programs and images go: they do not fit."),
        code("HOST021", Warns, "Less than 10 GB are free where images, logs and etcd's data grow."),
        code("HOST022", Warns, "A control plane has less memory than kubeadm asks for (1700 MB)."),
        code("HOST023", Warns, "A control plane has fewer processors than kubeadm asks for (2)."),
        code("HOST024", Warns, "It runs cgroup v1, which Kubernetes will drop."),
        code(
            "HOST025",
            Blocks,
            "It runs cgroup v1, with which kubelets from 1.35 on do not start unless `failCgroupV1: false` is set for them.",
        ),
        code("HOST026", Blocks, "Another process listens on a port that Kubernetes needs there."),
        code("HOST027", Warns, "Another process holds the package manager's lock. Preparing the host waits for it."),
        code(
            "HOST028",
            Warns,
            "Two machines call themselves the same. Kubernetes takes the names of the spec; people who log in do not.",
        ),
        code(
            "HOST029",
            Info,
            "A machine calls itself something else than the spec does. Its node has the name of the spec.",
        ),
        code("HOST030", Warns, "A machine's own name is not a DNS name, so its node cannot be called like it."),
        code("HOST031", Blocks, "It has the address of another host of the spec: one of them would answer for both."),
        code(
            "HOST032",
            Blocks,
            "None of its interfaces has the address under which the cluster would know it. Behind address translation it needs a `privateAddress`.",
        ),
        code("HOST033", Blocks, "Its kernel is older than 5.13, which kube-proxy needs in mode `nftables`."),
        code(
            "HOST034",
            Warns,
            "Its kernel is older than Kubernetes is tested with (4.19), or than is recommended for cgroup v2 (5.8).",
        ),
        code(
            "HOST035",
            Warns,
            "Some facts could not be seen, so that what hangs on them is not checked. What cannot be seen is not taken to be fine.",
        ),
        code(
            "HOST036",
            Blocks,
            "Its kernel offers no cgroup controller for cpu, cpuset, memory or pids; the kubelet does not start.",
        ),
        code(
            "HOST037",
            Blocks,
            "A program is missing that preparing it calls and that none of the packages we install brings.",
        ),
        code("HOST038", Blocks, "systemd does not run it. Everything that we start is a systemd unit."),
        code(
            "HOST039",
            Warns,
            "Packages are half installed, or dpkg was interrupted. apt tries to finish them before it installs anything.",
        ),
        code(
            "HOST040",
            Blocks,
            "A disk has less free than the kubelet's eviction thresholds (by default 15 % for images, 10 % for the rest, 5 % of inodes): no pod would stay on the node.",
        ),
        code(
            "HOST041",
            Warns,
            "A disk is close to the kubelet's eviction thresholds: programs and images that we bring take it there.",
        ),
        code("HOST042", Warns, "A file system has few inodes left; an image has tens of thousands of files."),
        code("HOST043", Blocks, "A folder that has to be written is mounted read-only."),
        code("HOST044", Blocks, "A folder that programs are installed to is mounted `noexec`."),
        code("HOST045", Warns, "`/var/lib` is mounted `noexec`: what containers keep in volumes cannot be started."),
        code("HOST046", NeedsConsent, "etcd's data would lie in memory, and be gone with the next boot."),
        code("HOST047", Blocks, "The disk of etcd's data has less free than etcd allocates before it serves (200 MB)."),
        code(
            "HOST048",
            Warns,
            "etcd's data has a disk of its own that is smaller than its database may become (2 GiB unless `quota-backend-bytes` is set).",
        ),
        code(
            "HOST049",
            Warns,
            "The disk of etcd's data keeps one of a hundred small writes only after more than 10 ms. etcd's guide asks for less; the measurement is a hundred writes of 2 KB.",
        ),
        code(
            "HOST050",
            Blocks,
            "A kernel module cannot be had: `overlay`, `nf_tables` for kube-proxy in mode `nftables`, `vxlan` for flannel.",
        ),
        code("HOST051", Warns, "The kernel module `br_netfilter` cannot be had."),
        code(
            "HOST052",
            Blocks,
            "A kernel setting is not what forwarding, the kubelet or kube-proxy needs, and they cannot change it. Usual in containers.",
        ),
        code("HOST053", Warns, "So few inotify instances are allowed that a node and its pods use them up."),
        code("HOST055", Info, "SELinux is enforcing."),
        code(
            "HOST056",
            NeedsConsent,
            "It has a route into the pod or service network: what it leads to, or pods, cannot be reached any more.",
        ),
        code(
            "HOST057",
            Warns,
            "It has a route to a network that holds the pod or service network; the cluster hides that part of it.",
        ),
        code(
            "HOST058",
            Blocks,
            "The bridge `cni0` of an earlier cluster is left with an address; pods could not be connected to it.",
        ),
        code("HOST059", Blocks, "Its resolver file names no name server; CoreDNS does not start without one."),
        code(
            "HOST060",
            Blocks,
            "Its resolver file names a loopback address; CoreDNS would forward to itself and stop.",
        ),
        code("HOST061", Blocks, "It cannot resolve the name of an `external` endpoint."),
        code("HOST062", Info, "It cannot resolve its own name. Nothing of Kubernetes needs to; sudo does."),
        code(
            "HOST063",
            Warns,
            "A proxy is set for logins. Services do not use it, and kubewright downloads and pulls in services.",
        ),
        code("HOST064", Warns, "A firewall is on. What it lets through is not checked; the finding names the ports."),
        code("HOST065", Blocks, "Another tool's Kubernetes is on it, or was: k3s, RKE2, k0s, MicroK8s, kubeadm."),
        code("HOST066", Blocks, "A kubelet runs on it that is not ours."),
        code("HOST067", Warns, "A kubelet is installed and enabled on it, usually by a package. Ours takes its place."),
        code("HOST068", NeedsConsent, "Docker runs on it. Its containers live in containerd, which is replaced."),
        code("HOST069", Warns, "Another container runtime listens on it."),
        code(
            "HOST070",
            Blocks,
            "`/etc/cni/net.d` has a file of another network add-on that sorts before flannel's: pods would get that network.",
        ),
        code(
            "HOST071",
            NeedsConsent,
            "`/etc/cni/net.d` has a file of another network add-on: pods that start before flannel would get that network.",
        ),
        code("HOST072", Warns, "It has no route to Services' addresses: its API server reaches no webhook."),
        code(
            "TIME001",
            Blocks,
            "The hosts' clocks are so far behind this machine's, or so far ahead, that certificates made here would not be valid there.",
        ),
        code("TIME002", Info, "All clocks agree, within the time that asking took."),
        code("TIME003", Warns, "The hosts' clocks are more than five seconds away from this machine's."),
        code(
            "TIME004",
            Blocks,
            "The clock is more than a minute away from the other hosts': tokens that one signs are refused by the other.",
        ),
        code("TIME005", Warns, "The clock is more than five seconds away from the other hosts'."),
        code("TIME006", Warns, "The clock could not be read."),
        code("TIME007", Info, "The clock follows no time server."),
        code("CONV001", Blocks, "A host is part of the cluster already, but no control plane of the spec is."),
        code(
            "CONV002",
            Blocks,
            "A host of a cluster that runs differs from the spec in something that is not changed on a running host.",
        ),
        code(
            "CONV003",
            Blocks,
            "The cluster's API cannot be asked, so no host can join it. Where none is to join it is a warning: labels and \
             taints were not compared.",
        ),
        code("CONV004", Warns, "The cluster has a node that the spec does not name. It is left alone."),
        code(
            "CONV005",
            Warns,
            "A host that joins has the name of a node: it was installed anew, and the node's object is replaced. It blocks \
             where that node is Ready, for then two machines have one name.",
        ),
        code("CONV006", Blocks, "A host of a cluster that runs has other roles in the spec than it joined with."),
        code("CONV007", Blocks, "etcd cannot take a new member now, or cannot be asked."),
        code("CONV008", Blocks, "etcd's list of members holds one that never started and is no host of the spec."),
        code("CONV009", Blocks, "A host is to join alone, and there is no cluster that it could join."),
    ],
};

/// Found while working out what each host should have.
pub const ARTEFACTS: Area = Area {
    title: "Programs and images",
    about: "Found by asking, from each host, the mirrors and registries for digests. Nothing is downloaded before they agree.",
    sources: &["src/render.rs", "src/digests.rs"],
    codes: &[
        code("ART001", Blocks, "No published checksum of a program can be had, so it would be installed unchecked."),
        code(
            "ART002",
            Blocks,
            "The registry does not tell an image's digest: it lacks the image, or cannot be reached.",
        ),
        code("ART003", Blocks, "There is no curl on the host to ask and download with."),
        code("ART004", Blocks, "No programs are published for the host's architecture."),
        code(
            "ART005",
            Blocks,
            "What is published differs from what the [lock file](lock-file.md) pins. Find out why first: a tag that moved, another \
             mirror, or somebody who tampers. `kubewright pin --update` accepts it.",
        ),
        code(
            "ART006",
            Blocks,
            "Two hosts are told different digests of one thing: their mirrors hold different files.",
        ),
        code(
            "ART007",
            Info,
            "Digests are not pinned yet. `apply` and `pin` write them into the [lock file](lock-file.md).",
        ),
    ],
};
