#!/bin/sh
# Records what the real kubeadm writes: `record.sh /path/to/kubeadm [folder]`, as root; the version is the binary's own. The
# folder is another than this one's, for a comparison.
#
# For each case (a folder below the version's with a config.yaml) it runs `kubeadm init --dry-run` and keeps the static pods, the kubelet's
# files, and the objects it would create. kubeadm sees empty /etc/kubernetes, /var/lib/kubelet and /var/lib/etcd of a
# mount namespace of its own, so it reads and changes nothing of this machine.
set -eu

kubeadm=$(realpath "$1")
version=$("$kubeadm" version -o short)
recorded=$(cd "$(dirname "$0")/${version#v}" && pwd)
target=$(realpath "${2:-$recorded}")
cd "$recorded"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shellcheck disable=SC2016
in_namespace='
mount -t tmpfs none "$2/layers"
for dir in /etc /var/lib /usr/local/share; do
    layer=$2/layers/$(echo "$dir" | tr / -)
    mkdir -p "$layer/upper" "$layer/work"
    mount -t overlay overlay -o "lowerdir=$dir,upperdir=$layer/upper,workdir=$layer/work" "$dir"
done
# Debian with its package ca-certificates.
mkdir -p /etc/ca-certificates /usr/local/share/ca-certificates
KUBEADM_INIT_DRYRUN_DIR=$2/files "$1" init --dry-run --ignore-preflight-errors=all --config "$3/config.yaml"
'

for config in */config.yaml; do
    case=$(dirname "$config")
    mkdir -p "$scratch/$case/files" "$scratch/$case/layers"
    unshare -m sh -ec "$in_namespace" record "$kubeadm" "$scratch/$case" "$PWD/$case" > "$scratch/$case.out"
    mkdir -p "$target/$case/kubelet"
    for pod in etcd kube-apiserver kube-controller-manager kube-scheduler; do
        cp "$scratch/$case/files/$pod.yaml" "$target/$case/"
    done
    for file in config.yaml instance-config.yaml kubeadm-flags.env; do
        cp "$scratch/$case/files/$file" "$target/$case/kubelet/"
    done
    # Objects it would create, but no tokens; the authority is a new one at each run.
    awk '
        function finish() {
            if (object != "" && object !~ /\nkind: Secret\n/) printf "---\n%s", object
            object = ""; inside = 0
        }
        /^\[dryrun\] Would perform action/ { finish(); create = /action CREATE/; next }
        /^\[dryrun\] Attached object:/ { inside = create; next }
        /^(\[|$)/ { finish(); next }
        inside { object = object $0 "\n" }
        END { finish() }
    ' "$scratch/$case.out" | sed 's/\(certificate-authority-data\|component-config.hash\): .*/\1: RECORDED/' > "$target/$case/objects.yaml"
done
