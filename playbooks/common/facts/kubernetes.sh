# shellcheck disable=SC2154 # all.sh makes the folder $answers
#
# Part: what of Kubernetes is on this host.
#
# Values
#   FILES   further files whose digests are wanted, one path a line

units() {
	systemctl show --property=Id,ActiveState,SubState,UnitFileState kubelet.service containerd.service >"$answers/units" 2>/dev/null || {
		unreadable unit/kubelet 'systemd does not answer'
		unreadable unit/containerd 'systemd does not answer'
		return
	}
	id=''
	while IFS='=' read -r name value; do
		case $name in
		Id) id=${value%.service} ;;
		ActiveState) active=$value ;;
		SubState) sub=$value ;;
		UnitFileState) enabled=$value ;;
		'')
			[ -z "$id" ] || known "unit/$id" "$active $sub $enabled"
			id=''
			;;
		esac
	done <"$answers/units"
	[ -z "$id" ] || known "unit/$id" "$active $sub $enabled"
}

files() {
	# shellcheck disable=SC2086 # paths have no spaces
	sha256sum /etc/kubernetes/manifests/*.yaml /etc/kubernetes/*.conf /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt \
		/var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env \
		/etc/containerd/config.toml /etc/containerd/certs.d/*/hosts.toml \
		/etc/systemd/system/kubelet.service /etc/systemd/system/containerd.service \
		/etc/systemd/system/kubelet.service.d/10-kubeadm.conf \
		/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf \
		/etc/sysctl.d/99-kubernetes.conf /etc/modules-load.d/kubernetes.conf \
		${FILES:-} 2>/dev/null >"$answers/sums"
	while read -r sum path; do
		item file "$sum $path"
	done <"$answers/sums"
	end_of file
}

authority() {
	file=/etc/kubernetes/pki/ca.crt
	if [ ! -f $file ]; then
		absent ca-fingerprint
		return
	fi
	# The first certificate of the file, its DER.
	sum=$(sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/{/-END/q;/-BEGIN/!p}' $file | base64 -d 2>/dev/null | sha256sum)
	known ca-fingerprint "${sum%% *}"
}

etcd() {
	if [ -d /var/lib/etcd/member ]; then known etcd-data true; else known etcd-data false; fi
	file=/etc/kubernetes/manifests/etcd.yaml
	if [ ! -f $file ]; then
		absent etcd-token
		absent etcd-initial-cluster
		return
	fi
	token=
	members=
	while read -r _ flag; do
		case $flag in
		--initial-cluster-token=*) token=${flag#*=} ;;
		--initial-cluster=*) members=${flag#*=} ;;
		esac
	done <$file
	known_or_absent etcd-token "$token"
	known_or_absent etcd-initial-cluster "$members"
}

kubernetes() {
	units
	files
	authority
	etcd
}
