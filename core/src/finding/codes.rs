//! Every code that a finding can carry: what it means and how much it weighs. `docs/reference/findings.md` is written
//! from this table, and a test holds the sources of each area against it. `NODE` is a machine in the file, `HOST` a
//! machine that was looked at.

use super::Severity::{self, Blocks, Info, NeedsConsent, Warns};

/// One code. Codes are forever: a meaning that goes leaves its number unused.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// Such as `NET003`.
    pub code: &'static str,
    /// What it usually weighs.
    pub severity: Severity,
    /// What it means and what to do, in a sentence or two.
    pub meaning: &'static str,
}

/// Codes that are found in the same way.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Heading in the reference.
    pub title: &'static str,
    /// What is found there and when, in a sentence or two.
    pub about: &'static str,
    /// Folders and files whose sources use these codes and no others, from the root of the repository.
    pub sources: &'static [&'static str],
    /// The codes.
    pub codes: &'static [Code],
}

/// All areas, in the order of the reference.
pub const AREAS: &[Area] = &[SPEC, LOCK, PREFLIGHT, ARTEFACTS, RESET, LEAVE, PLAN, DRAIN, SNAPSHOT];

const fn code(code: &'static str, severity: Severity, meaning: &'static str) -> Code {
    Code { code, severity, meaning }
}

/// Found by reading the user's file; nothing is contacted.
pub const SPEC: Area = Area {
    title: "The file",
    about: "Found by reading the spec, before anything is contacted. Each is drawn on its line.",
    sources: &["core/src/spec"],
    codes: &[
        code(
            "SPEC001",
            Blocks,
            "The file is not YAML, or holds nothing. Only the first such place is shown, because what follows it is guesswork.",
        ),
        code(
            "SPEC002",
            Blocks,
            "A key is not known at its place. Keys are strict, so that a misspelt one is never silently ignored.",
        ),
        code("SPEC003", Blocks, "The same key, or the same element of a list, comes twice."),
        code(
            "SPEC004",
            Blocks,
            "A value has the wrong type: a list where text is expected, quotes around a number, and the like.",
        ),
        code("SPEC005", Blocks, "A key that must be there is missing, or its list is empty."),
        code("SPEC006", Blocks, "A value is not one of the allowed words."),
        code("SPEC007", Blocks, "The file holds several YAML documents. One file describes one cluster."),
        code(
            "SPEC008",
            Blocks,
            "YAML that a spec may not use: tags, merge keys, keys that are not words, aliases without end.",
        ),
        code("SPEC009", Blocks, "The file is too large to be a spec."),
        code("SPEC010", Blocks, "A number lies outside its range."),
        code(
            "SPEC011",
            Blocks,
            "The file passes every check and still cannot be taken in: a defect of kubewright. Please report it.",
        ),
        code("NAME001", Blocks, "The cluster's name is not a DNS label: a-z, 0-9 and `-`, at most 63 characters."),
        code("VER001", Blocks, "The version is not one of an upstream Kubernetes release, such as 1.35.4."),
        code(
            "VER002",
            Warns,
            "The bootstrap of this minor release is not proved on the lab. It probably works; try it on a cluster you can lose.",
        ),
        code("VER003", Blocks, "The version is older than the oldest that kubewright writes configuration for."),
        code("VER004", Blocks, "The version of containerd is not three numbers."),
        code(
            "VER005",
            Blocks,
            "The version of containerd is not of its second major release, which our configuration and newer kubelets need.",
        ),
        code("END001", Blocks, "An `external` endpoint has no address."),
        code("END002", Blocks, "A `nodeLocal` endpoint has an address; it listens on 127.0.0.1 of every worker."),
        code(
            "END003",
            Blocks,
            "The endpoint mode `kubeVip` is not built yet. Use `nodeLocal`, or `external` with an address of your own.",
        ),
        code("END004", Blocks, "The endpoint's address is not a DNS name or an address."),
        code(
            "END005",
            Warns,
            "The endpoint is one control plane's own address: without that machine nobody reaches the API.",
        ),
        code("NET001", Blocks, "A network is not an address range such as 10.244.0.0/16."),
        code("NET002", Blocks, "A network has bits set behind its prefix; the API server refuses it."),
        code("NET003", Blocks, "Pod and service networks overlap."),
        code("NET004", Blocks, "A host's address lies inside the pod or service network."),
        code("NET005", Blocks, "The pod network is too small to give every node its range."),
        code("NET006", Blocks, "The service network is larger than kube-apiserver allows (20 bits, a /12)."),
        code("NET007", Blocks, "IPv6 is not built yet."),
        code("NET008", Blocks, "The service network is too small: the tenth address in it is the DNS server's."),
        code("NET009", Blocks, "The DNS domain of Services is not a DNS name."),
        code("NET010", Blocks, "The interface of the network add-on cannot be the name of a Linux interface."),
        code(
            "NET011",
            Blocks,
            "The pod network is larger than kube-controller-manager can divide (16 bits above the range of a node).",
        ),
        code(
            "NET012",
            Blocks,
            "A network lies in addresses that cannot be routed: loopback, link-local, multicast or reserved ones.",
        ),
        code("SSH001", Blocks, "A setting for ssh that it could take as an option, or that has blanks."),
        code("NODE001", Blocks, "A host's name is not a DNS label: a-z, 0-9 and `-`, at most 63 characters."),
        code("NODE002", Blocks, "Two hosts have the same name."),
        code("NODE003", Blocks, "Two hosts have the same address."),
        code(
            "NODE004",
            Warns,
            "A host has an address that is kept for documentation (RFC 5737), probably a stand-in of `kubewright init`.",
        ),
        code("NODE005", Blocks, "No host is a control plane."),
        code("NODE006", Blocks, "A control plane runs no etcd member. Each needs one for now."),
        code("NODE007", Blocks, "A host names a pool that `spec.pools` does not have."),
        code(
            "NODE008",
            Blocks,
            "A host is reached by name and has no `privateAddress`, so that its address inside the cluster is unknown.",
        ),
        code("NODE009", Blocks, "A host's address is not one that other machines can reach."),
        code("NODE010", Blocks, "A host has a pool but is not a worker."),
        code("POOL001", Blocks, "The name of a pool is not a DNS label."),
        code("POOL002", Warns, "A pool has no hosts."),
        code("POOL003", Blocks, "`maxUnavailable` is neither a number from 1 nor a percentage from 1 % to 100 %."),
        code("LABEL001", Blocks, "The key of a label breaks the rules of Kubernetes."),
        code("LABEL002", Blocks, "The value of a label breaks the rules of Kubernetes."),
        code("LABEL003", Blocks, "The label is set by Kubernetes or by kubewright itself."),
        code("TAINT001", Blocks, "The key of a taint breaks the rules of Kubernetes."),
        code("TAINT002", Blocks, "The value of a taint breaks the rules of Kubernetes."),
        code("TAINT003", Blocks, "Two taints of a node have the same key and effect."),
        code(
            "ETCD001",
            NeedsConsent,
            "An even number of etcd members tolerates as few failures as one member less, and has one more to fail.",
        ),
        code(
            "ETCD002",
            Blocks,
            "More than seven etcd members: every write waits for a majority, and etcd advises against it.",
        ),
        code("ETCD003", Blocks, "No host runs an etcd member."),
        code(
            "ETCD004",
            Blocks,
            "An etcd member on a host that is not a control plane. Separate etcd hosts are not built yet.",
        ),
        code("ARG001", Blocks, "Not the name of a flag. Flags stand without dashes, their values under `value`."),
        code(
            "ARG002",
            Blocks,
            "A flag that kubewright sets itself and relies on; the finding names the key of the spec to use instead.",
        ),
        code("ARG003", Blocks, "The value of a flag or variable has a line break or a zero byte."),
        code("ARG004", Blocks, "Not the name of an environment variable."),
        code("ARG005", Blocks, "The name of a volume is not a DNS label, or two volumes of a component share it."),
        code("ARG006", Blocks, "A path does not begin with `/`."),
        code("CFG001", Blocks, "A field of a component's configuration that kubewright sets itself and relies on."),
        code("CERT001", Blocks, "A name for a certificate is neither a DNS name nor an address."),
        code("CERT002", Blocks, "The life of a certificate is not a duration of whole hours, such as 8760h."),
        code("CERT003", Blocks, "Certificates would outlive the authority that signs them."),
        code("MIR001", Blocks, "The address of a mirror is not an http or https URL."),
        code("MIR002", Blocks, "A mirrored registry is not the name of a registry."),
    ],
};

/// Found by reading the lock file beside the spec; nothing is contacted.
pub const LOCK: Area = Area {
    title: "The lock file",
    about: "Found by reading the [lock file](lock-file.md) beside the spec, before anything is contacted. What is wrong with its \
            form carries the codes of the file (`SPEC001` to `SPEC009`). Each is drawn on its line.",
    sources: &["core/src/pins"],
    codes: &[
        code("LOCK001", Blocks, "Not the name of a program or image, or not a digest."),
        code(
            "LOCK002",
            Blocks,
            "The sum at its end is not that of its lines: somebody changed one, or some are lost. Take it from version control again.",
        ),
        code("LOCK003", Blocks, "A newer kubewright wrote it, in a format that this one does not know."),
    ],
};

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

/// Found before hosts are taken apart.
pub const RESET: Area = Area {
    title: "Taking hosts apart",
    about: "Found before `kubewright reset` takes anything apart.",
    sources: &["core/src/planner/reset.rs"],
    codes: &[
        code("RESET001", NeedsConsent, "A host cannot be asked. It stays as it is while the others are taken apart."),
        code("RESET002", Blocks, "A host belongs to another cluster, or whose it is cannot be read."),
        code("RESET003", Blocks, "A host is part of a cluster that stands. It leaves by `kubewright node remove`."),
        code("RESET004", Blocks, "A host holds a Kubernetes or an etcd that no operation of ours made."),
    ],
};

/// Found before a node is taken out.
pub const LEAVE: Area = Area {
    title: "Leaving",
    about: "Found before `kubewright node remove` takes a node out of its cluster. Its pods are judged as by `node drain`.",
    sources: &["core/src/planner/remove.rs"],
    codes: &[
        code(
            "LEAVE001",
            Blocks,
            "It is the last control plane. The whole cluster is taken apart by `kubewright reset`.",
        ),
        code("LEAVE002", Blocks, "The cluster's API cannot be asked, so that nothing can be moved or taken out."),
        code(
            "LEAVE003",
            NeedsConsent,
            "The host cannot be asked: its pods are not moved and what it runs is not stopped. Agree only if it is off for good.",
        ),
        code("LEAVE004", Blocks, "etcd does not bear the loss of the member now, or cannot be asked."),
        code("LEAVE005", Blocks, "The host belongs to another cluster by now."),
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

/// Found in a plan.
pub const PLAN: Area = Area {
    title: "The plan",
    about: "Found by checking a plan for contradictions before it is shown or run. In a plan that kubewright made each of them \
            is a defect: please report it. In a saved plan it may have been edited.",
    sources: &["core/src/plan"],
    codes: &[
        code("PLAN001", Blocks, "Steps wait for each other in a circle."),
        code("PLAN002", Blocks, "Two steps have one name."),
        code("PLAN003", Blocks, "A step is about a host that is not in the spec."),
        code("PLAN004", Blocks, "A step waits for one that does not stand before it."),
        code(
            "PLAN005",
            Blocks,
            "A control plane waits for another's start, though the first etcd needs a majority at once.",
        ),
        code("PLAN006", Blocks, "A control plane would start before every etcd member has its files."),
    ],
};

/// Found before a node is drained.
pub const DRAIN: Area = Area {
    title: "Draining a node",
    about: "Found by looking at a node's pods and their budgets before it is cordoned. Agreeing to a code of a budget lets \
            its pods be deleted past it, with their whole grace.",
    sources: &["core/src/drain"],
    codes: &[
        code("DRAIN001", NeedsConsent, "Pods without a controller: nobody makes them anew elsewhere."),
        code(
            "DRAIN002",
            NeedsConsent,
            "Pods with scratch volumes (`emptyDir`) on the node's disk: what is in them is lost.",
        ),
        code(
            "DRAIN003",
            NeedsConsent,
            "Pods have ended, and a finalizer holds their objects. With consent the drain goes on without them; finalizers are never taken off.",
        ),
        code(
            "DRAIN004",
            NeedsConsent,
            "Pods have not ended two minutes after their grace. With consent the drain goes on without them; they may still run.",
        ),
        code(
            "DRAIN005",
            NeedsConsent,
            "Nobody reaches the node, so that its pods cannot be known to have ended. With consent they are evicted and not waited for.",
        ),
        code(
            "DRAIN006",
            NeedsConsent,
            "Pods tolerate the cordon and come back after each eviction. With consent they are left.",
        ),
        code(
            "DRAIN007",
            NeedsConsent,
            "No other node takes the pods, by taints, selectors and affinity. Room is not counted.",
        ),
        code("DRAIN008", Info, "Pods that may take five minutes or more to end. Nothing cuts that short."),
        code("DRAIN010", Blocks, "The API does not let us do what a drain needs."),
        code(
            "DRAIN011",
            Info,
            "The node is cordoned already, not by us. That cordon stays whatever becomes of the drain.",
        ),
        code("DRAIN012", Info, "Pods that stay: of DaemonSets, static ones, finished ones."),
        code("DRAIN013", NeedsConsent, "The node's cordon is not ours; taking it needs a yes."),
        code("DRAIN014", Blocks, "The cluster has no node of that name."),
        code("PDB001", NeedsConsent, "A budget wants every pod there should be: it can never allow an eviction."),
        code("PDB002", NeedsConsent, "A budget wants the only replica there is: it can never allow an eviction."),
        code("PDB003", NeedsConsent, "More than one budget counts a pod: the API server evicts no such pod."),
        code(
            "PDB004",
            NeedsConsent,
            "The controller cannot work a budget out, mostly because it counts pods whose owner has no scale (a Job).",
        ),
        code(
            "PDB005",
            Warns,
            "A budget has no room at the moment. The drain waits for it, for ever only with `--wait`.",
        ),
        code(
            "PDB006",
            NeedsConsent,
            "A budget wants no healthy pod and none is: the API server then lets no pod go that is not Ready.",
        ),
        code(
            "PDB007",
            Warns,
            "The controller has not caught up with a budget: until then the API server evicts none of its pods.",
        ),
    ],
};

/// Found in a snapshot of etcd.
pub const SNAPSHOT: Area = Area {
    title: "Snapshots of etcd",
    about: "Found by `kubewright etcd verify FILE`, which reads the file and touches nothing. \
            [How to look at a snapshot](../how-to/look-at-a-snapshot.md).",
    sources: &["src/cli/etcd.rs", "src/cli/etcd"],
    codes: &[
        code(
            "SNAP001",
            Blocks,
            "The file is no etcd snapshot, or cannot be read to its end: empty, packed, cut off, or with a damaged page or entry, which \
             is named with its place.",
        ),
        code(
            "SNAP002",
            Blocks,
            "The digest at the file's end is not that of its bytes: something changed after it was saved. `etcdutl hashkv` and other \
             tools that open the file for writing do that too.",
        ),
        code(
            "SNAP003",
            Blocks,
            "The file's end or one of its two meta pages is broken: a part of the digest is there, or something that is none.",
        ),
        code(
            "SNAP004",
            NeedsConsent,
            "There is no digest, as in a copy of `member/snap/db`. Pages are checked; that values are as they were saved is not proved.",
        ),
        code(
            "SNAP005",
            NeedsConsent,
            "Members that are none, such as etcd 3.4 leaves when it restores: a server from 3.6 on takes them for real and finds no majority.",
        ),
        code(
            "SNAP006",
            NeedsConsent,
            "An alarm is in the file and is raised again by a restore. NOSPACE makes the cluster read-only whatever its quota is then.",
        ),
        code(
            "SNAP007",
            Blocks,
            "The etcd that is to have it (`--server`) is older than the file's storage version and does not start on it.",
        ),
    ],
};

/// The reference page.
pub fn page() -> String {
    let mut page = String::from(
        "# Findings\n\n\
         What kubewright says about a spec, a host or a plan. A code never changes its meaning.\n\n\
         | weight | what happens |\n\
         | --- | --- |\n\
         | blocks | Nothing is done until it is mended. |\n\
         | consent | Nothing is done until somebody agrees: `kubewright apply --consent CODE`. |\n\
         | warns | It is done all the same. |\n\
         | info | Worth a line. |\n",
    );
    for area in AREAS {
        page.push_str(&format!(
            "\n## {}\n\n{}\n\n| code | weight | meaning |\n| --- | --- | --- |\n",
            area.title, area.about
        ));
        for code in area.codes {
            page.push_str(&format!("| {} | {} | {} |\n", code.code, code.severity, code.meaning));
        }
    }
    page
}

/// What is known about a code.
pub fn lookup(code: &str) -> Option<&'static Code> {
    AREAS.iter().flat_map(|area| area.codes).find(|known| known.code == code)
}
