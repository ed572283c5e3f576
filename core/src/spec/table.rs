//! Everything a file may hold: one table, read as the file reads. Strict keys, types, defaults, the JSON schema for
//! editors and the reference page come from here; the typed [`super::Spec`] is filled from what passes it.

use super::format as f;
use super::shape::Presence::{Default, Empty, Required, Unset};
use super::shape::Shape::{Flag, Free, List, Map, OneOf, Several, Text, Whole};
use super::shape::{Field, Least, Object, Presence, Shape};

/// The API version this table describes.
pub const API_VERSION: &str = "kubewright.dev/v1alpha1";

/// containerd when the file names none: the release that the lab proves with every supported minor.
pub const CONTAINERD_DEFAULT: &str = "2.4.2";

/// Port of the endpoint and of every API server: kubeadm's `bindPort`.
const API_PORT: &str = "6443";

const fn field(key: &'static str, shape: Shape, presence: Presence, doc: &'static str) -> Field {
    Field { key, shape, presence, doc }
}

/// The file.
pub const FILE: Object = Object {
    doc: "One Kubernetes cluster, built and kept by kubewright.",
    fields: &[
        field("apiVersion", OneOf(&[API_VERSION]), Required, "Version of this format."),
        field("kind", OneOf(&["Cluster"]), Required, "What the file describes."),
        field("metadata", Shape::Object(&METADATA), Required, "What the cluster is called."),
        field("spec", Shape::Object(&SPEC), Required, "What the cluster should be."),
    ],
};

const METADATA: Object = Object {
    doc: "What the cluster is called.",
    fields: &[field(
        "name",
        Text(&f::CLUSTER_NAME),
        Required,
        "Name of the cluster and of its context in kubeconfigs.",
    )],
};

const SPEC: Object = Object {
    doc: "What the cluster should be.",
    fields: &[
        field("kubernetes", Shape::Object(&KUBERNETES), Required, "Which Kubernetes."),
        field("endpoint", Shape::Object(&ENDPOINT), Empty, "How clients and workers reach the API servers."),
        field("network", Shape::Object(&NETWORK), Empty, "Pod and service networks."),
        field("ssh", Shape::Object(&SSH), Empty, "How to reach every host; `~/.ssh/config` applies too."),
        field("hosts", List(&Shape::Object(&HOST), Least::One), Required, "The machines."),
        field("pools", Map(&f::POOL_NAME, &Shape::Object(&POOL)), Empty, "Workers that are treated alike, by name."),
        field("artefacts", Shape::Object(&ARTEFACTS), Empty, "Where binaries and images come from."),
        field("certificates", Shape::Object(&CERTIFICATES), Empty, "Keys and lifetimes."),
        field("apiServer", Shape::Object(&SERVING_COMPONENT), Empty, "kube-apiserver."),
        field("controllerManager", Shape::Object(&COMPONENT), Empty, "kube-controller-manager."),
        field("scheduler", Shape::Object(&COMPONENT), Empty, "kube-scheduler."),
        field("etcd", Shape::Object(&SERVING_COMPONENT), Empty, "etcd."),
        field("kubelet", Shape::Object(&KUBELET), Empty, "kubelet on every node."),
        field("containerd", Shape::Object(&CONTAINERD), Empty, "containerd on every node."),
        field("backup", Shape::Object(&BACKUP), Empty, "Copies of etcd."),
    ],
};

const KUBERNETES: Object = Object {
    doc: "Which Kubernetes.",
    fields: &[field("version", Text(&f::KUBERNETES_VERSION), Required, "Full version, such as 1.35.4.")],
};

const ENDPOINT: Object = Object {
    doc: "How clients and workers reach the API servers.",
    fields: &[
        field(
            "mode",
            OneOf(&["external", "kubeVip", "nodeLocal"]),
            Unset,
            "Who answers: `external` (a name or address you own), `nodeLocal` (a proxy on every worker), `kubeVip`. Left out: `external` if there is an address, else `nodeLocal`.",
        ),
        field("address", Text(&f::ENDPOINT_ADDRESS), Unset, "The name or address, for `external` and `kubeVip`."),
        field("port", Whole(1, 65_535), Default(API_PORT), "Port of the endpoint."),
    ],
};

const NETWORK: Object = Object {
    doc: "Pod and service networks; neither may overlap the other or the hosts.",
    fields: &[
        field("podCIDR", Text(&f::CIDR), Default("10.244.0.0/16"), "Addresses of pods; every node takes a /24 of it."),
        field("serviceCIDR", Text(&f::CIDR), Default("10.96.0.0/12"), "Addresses of Services."),
        field("dnsDomain", Text(&f::DNS_DOMAIN), Default("cluster.local"), "DNS domain of Services."),
        field("cni", Shape::Object(&CNI), Empty, "The network add-on."),
        field("kubeProxy", Shape::Object(&KUBE_PROXY), Empty, "How Services are implemented."),
    ],
};

const CNI: Object = Object {
    doc: "The network add-on.",
    fields: &[
        field(
            "name",
            OneOf(&["flannel", "none"]),
            Default("flannel"),
            "`flannel` is built in; with `none` nodes become Ready once you installed one.",
        ),
        field(
            "interface",
            Text(&f::INTERFACE),
            Unset,
            "Interface that carries pod traffic, where a host has several; flannel's `--iface`.",
        ),
    ],
};

const KUBE_PROXY: Object = Object {
    doc: "How Services are implemented.",
    fields: &[
        field("mode", OneOf(&["nftables", "iptables"]), Default("nftables"), "kube-proxy's back end."),
        field("config", Free, Empty, "Further fields of KubeProxyConfiguration, merged over ours."),
    ],
};

const SSH: Object = Object {
    doc: "How a host is reached; what is left out is for ssh to decide.",
    fields: &[
        field("user", Text(&f::SSH_WORD), Unset, "Login name; it needs root or sudo."),
        field("port", Whole(1, 65_535), Unset, "Port."),
        field("identityFile", Text(&f::LOCAL_FILE), Unset, "Private key file on this machine."),
        field("configFile", Text(&f::LOCAL_FILE), Unset, "ssh configuration to use instead of `~/.ssh/config`."),
        field("knownHostsFile", Text(&f::LOCAL_FILE), Unset, "Known hosts to use instead of `~/.ssh/known_hosts`."),
        field("bastion", Text(&f::SSH_WORD), Unset, "Jump host, as `ssh -J` takes it: `[user@]host[:port]`."),
        field(
            "hostKeys",
            OneOf(&["strict", "acceptNew"]),
            Unset,
            "What to do with unknown host keys: refuse (`strict`, the default) or remember (`acceptNew`). Changed keys are refused always.",
        ),
    ],
};

const HOST: Object = Object {
    doc: "One machine.",
    fields: &[
        field("name", Text(&f::HOST_NAME), Required, "Name here and of the node."),
        field("address", Text(&f::HOST_ADDRESS), Required, "Where ssh connects: an address or a name."),
        field(
            "privateAddress",
            Text(&f::IP_ADDRESS),
            Unset,
            "Address inside the cluster; left out: `address`, where that is an IP address.",
        ),
        field(
            "roles",
            List(&OneOf(&["controlPlane", "etcd", "worker"]), Least::One),
            Required,
            "What it does; a control plane that is also a worker has no taint.",
        ),
        field("pool", Text(&f::POOL_NAME), Unset, "Pool of a worker."),
        field("labels", Map(&f::LABEL_KEY, &Text(&f::LABEL_VALUE)), Empty, "Node labels besides the pool's."),
        field(
            "taints",
            List(&Shape::Object(&TAINT), Least::None),
            Unset,
            "Node taints besides the pool's; left out, a control plane has its usual taint.",
        ),
        field("ssh", Shape::Object(&SSH), Empty, "What differs from `spec.ssh`."),
    ],
};

const TAINT: Object = Object {
    doc: "A node taint.",
    fields: &[
        field("key", Text(&f::TAINT_KEY), Required, "Key."),
        field("value", Text(&f::TAINT_VALUE), Default(""), "Value; may be left out."),
        field(
            "effect",
            OneOf(&["NoSchedule", "PreferNoSchedule", "NoExecute"]),
            Required,
            "What it does to pods that do not tolerate it.",
        ),
    ],
};

const POOL: Object = Object {
    doc: "Workers that are treated alike.",
    fields: &[
        field("labels", Map(&f::LABEL_KEY, &Text(&f::LABEL_VALUE)), Empty, "Node labels."),
        field("taints", List(&Shape::Object(&TAINT), Least::None), Empty, "Node taints."),
        field("upgrade", Shape::Object(&UPGRADE), Empty, "How its nodes are upgraded."),
    ],
};

const UPGRADE: Object = Object {
    doc: "How the nodes of a pool are upgraded.",
    fields: &[field(
        "maxUnavailable",
        Text(&f::SHARE),
        Unset,
        "How many may be away at once: a number or a percentage; left out, one.",
    )],
};

const ARTEFACTS: Object = Object {
    doc: "Where binaries and images come from; digests are checked always.",
    fields: &[
        field(
            "mirror",
            Text(&f::MIRROR_URL),
            Unset,
            "Mirror with the official paths behind it, as `<mirror>/dl.k8s.io/…`; left out, the official hosts.",
        ),
        field(
            "registryMirrors",
            Map(&f::REGISTRY, &Several(&Text(&f::MIRROR_URL))),
            Empty,
            "Where images of a registry are pulled from, by its name: one address, or several in the order in which they are tried. Nobody else is asked, the registry itself neither, unless its own address stands there too.",
        ),
    ],
};

const CERTIFICATES: Object = Object {
    doc: "Keys and lifetimes, by kubeadm's names.",
    fields: &[
        field(
            "encryptionAlgorithm",
            OneOf(&["RSA-2048", "RSA-3072", "RSA-4096", "ECDSA-P256", "ECDSA-P384"]),
            Default("RSA-2048"),
            "Key algorithm of all certificates.",
        ),
        field("certificateValidityPeriod", Text(&f::LIFETIME), Default("8760h"), "Life of a certificate; a year."),
        field("caCertificateValidityPeriod", Text(&f::LIFETIME), Default("87600h"), "Life of an authority; ten years."),
    ],
};

const EXTRA_ARGS: Field =
    field("extraArgs", List(&Shape::Object(&ARG), Least::None), Empty, "Flags over ours, in order; a flag may repeat.");
const EXTRA_ENVS: Field =
    field("extraEnvs", List(&Shape::Object(&ENV), Least::None), Empty, "Environment of the container.");
const EXTRA_VOLUMES: Field =
    field("extraVolumes", List(&Shape::Object(&MOUNT), Least::None), Empty, "Host paths mounted into the pod.");

const COMPONENT: Object =
    Object { doc: "A control-plane component, by kubeadm's names.", fields: &[EXTRA_ARGS, EXTRA_ENVS, EXTRA_VOLUMES] };

const SERVING_COMPONENT: Object = Object {
    doc: "A control-plane component with its own serving certificate, by kubeadm's names.",
    fields: &[
        EXTRA_ARGS,
        EXTRA_ENVS,
        EXTRA_VOLUMES,
        field(
            "certSANs",
            List(&Text(&f::CERTIFICATE_NAME), Least::None),
            Empty,
            "Further names and addresses of its serving certificate.",
        ),
    ],
};

const ARG: Object = Object {
    doc: "One flag.",
    fields: &[
        field("name", Text(&f::FLAG_NAME), Required, "Its name without dashes."),
        field("value", Text(&f::ARGUMENT), Required, "Its value."),
    ],
};

const ENV: Object = Object {
    doc: "One environment variable.",
    fields: &[
        field("name", Text(&f::VARIABLE_NAME), Required, "Its name."),
        field("value", Text(&f::ARGUMENT), Required, "Its value."),
    ],
};

const MOUNT: Object = Object {
    doc: "A path of the host mounted into the pod.",
    fields: &[
        field("name", Text(&f::VOLUME_NAME), Required, "Name of the volume."),
        field("hostPath", Text(&f::ABSOLUTE_PATH), Required, "Path on the host."),
        field("mountPath", Text(&f::ABSOLUTE_PATH), Required, "Path in the container."),
        field("readOnly", Flag, Default("false"), "Whether the container may only read."),
        field("pathType", OneOf(PATH_TYPES), Unset, "What must be at the host's path, or is made there."),
    ],
};

/// `HostPathType` of `k8s.io/api/core/v1`.
const PATH_TYPES: &[&str] =
    &["DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];

const KUBELET: Object = Object {
    doc: "kubelet on every node.",
    fields: &[EXTRA_ARGS, field("config", Free, Empty, "Fields of KubeletConfiguration, merged over ours.")],
};

const CONTAINERD: Object = Object {
    doc: "containerd on every node.",
    fields: &[
        field("version", Text(&f::CONTAINERD_VERSION), Default(CONTAINERD_DEFAULT), "Version to install."),
        field(
            "restrictOOMScoreAdj",
            Flag,
            Default("false"),
            "For hosts that are containers themselves and may not lower a process's OOM score.",
        ),
    ],
};

const BACKUP: Object = Object {
    doc: "Copies of etcd: what holds where the command line says nothing.",
    fields: &[
        field(
            "to",
            Text(&f::STORE),
            Unset,
            "Where they are kept: a bucket, or a folder of the machine that takes them; left out, a folder in kubewright's state.",
        ),
        field(
            "endpoint",
            Text(&f::STORE_ENDPOINT),
            Unset,
            "Address of the bucket's server; left out, that of the AWS environment or profile, else AWS itself.",
        ),
        field(
            "region",
            Text(&f::REGION),
            Unset,
            "The bucket's region; left out, that of the AWS environment or profile, else us-east-1.",
        ),
        field(
            "compress",
            OneOf(&["none", "zstd"]),
            Unset,
            "How snapshots are packed; left out, not in a folder, where etcdutl then takes them as they are, and with `zstd` in a bucket.",
        ),
        field(
            "keep",
            Whole(1, 100_000),
            Unset,
            "How many are kept; left out, all. The last ones that are proved always stay.",
        ),
        field(
            "recipients",
            List(&Text(&f::RECIPIENT), Least::None),
            Empty,
            "Public keys of age that the control planes' authorities and keys are encrypted for, to be kept beside each copy; left out, no key is kept.",
        ),
    ],
};
