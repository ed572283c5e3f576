//! What a spec and its lock file can get wrong.

use super::{Area, code};
use crate::finding::Severity::{Blocks, NeedsConsent, Warns};

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
