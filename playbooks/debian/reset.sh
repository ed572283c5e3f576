# Task: takes off a host what kubewright put on it.
# Parts before it: say.sh runtime.sh pods.sh static-pods.sh etcd.sh copies.sh
#
# Values
#   CRI_SOCKET      such as unix:///run/containerd/containerd.sock
#   KEEP_PREPARED   yes: containerd, binaries, images and packages stay, for the next cluster; no: they go, but packages
#                   stay, since others may use them by now
#   PURGE_ETCD      no: etcd's data is kept beside its place under a dated name; yes: it is deleted
#   TIMER SERVICE PROGRAM SPEC FOLDER  of the copies of etcd that it takes by itself, as copies.sh says
#   FILES           further files to remove, one a line; never folders
# Ends with 0, or 20 23 25 26 (README.md).
#
# Only what kubewright or Kubernetes itself made goes. Operations' records in /var/lib/kubewright stay.

check_values() {
	require CRI_SOCKET TIMER SERVICE PROGRAM SPEC FOLDER
	choice KEEP_PREPARED yes no
	choice PURGE_ETCD yes no
	while read -r path; do
		case $path in '' | /*/*) ;; *) fail bad_input "The path \"$path\" is not one that reset may remove. Please report this as a mistake in kubewright." ;; esac
	done <<LINES
${FILES:-}
LINES
}

stop_kubelet() {
	systemctl is-active --quiet kubelet || systemctl is-enabled --quiet kubelet 2>/dev/null || return 0
	systemctl disable --now --quiet kubelet 2>/dev/null
	! systemctl is-active --quiet kubelet ||
		fail service_failed "The kubelet does not stop. See 'systemctl status kubelet' on this host, then run again; nothing was removed yet."
	say "kubelet: stopped"
}

delete_etcd() {
	[ -n "$(ls -A /var/lib/etcd 2>/dev/null)" ] || return 0
	say "etcd: deleting its data, as asked ($(du -sm /var/lib/etcd | cut -f 1) MB)"
	find /var/lib/etcd -mindepth 1 -delete
	mountpoint -q /var/lib/etcd || rmdir /var/lib/etcd
}

remove_network() {
	# Namespaces of pods, then what the network add-on made; kube-proxy's own rules; nobody else's.
	for namespace in /run/netns/cni-*; do
		[ ! -e "$namespace" ] || ip netns delete "${namespace##*/}" 2>/dev/null
	done
	for link in cni0 flannel.1 flannel-v6.1 kube-ipvs0 nodelocaldns; do
		[ ! -e "/sys/class/net/$link" ] || ip link delete "$link"
	done
	for table in 'ip kube-proxy' 'ip6 kube-proxy' 'ip flannel-ipv4' 'ip6 flannel-ipv6'; do
		# shellcheck disable=SC2086 # family and name
		! nft list table $table >/dev/null 2>&1 || nft delete table $table
	done
	for family in iptables ip6tables; do
		command -v "$family-save" >/dev/null || continue
		rules=$($family-save 2>/dev/null | our_rules)
		[ -z "$rules" ] || printf '%s\n' "$rules" | "$family-restore" --noflush ||
			warn "some rules of Kubernetes are left in $family; 'iptables-save | grep KUBE' shows them"
	done
	rm -rf /var/lib/cni /run/flannel
	# Its add-on puts the plugin there by itself.
	rm -f /etc/cni/net.d/10-flannel.conflist /opt/cni/bin/flannel
}

# our_rules: from saved rules, the changes that take our chains and every rule that leads into them away, each
# table at once.
our_rules() {
	awk '
		function ours(chain) { return chain ~ /^(KUBE|FLANNEL|CNI)-/ }
		/^\*/ { table = $0; jumps = flush = drop = "" }
		/^:/ { chain = substr($1, 2); if (ours(chain)) { flush = flush "-F " chain "\n"; drop = drop "-X " chain "\n" } }
		/^-A/ {
			if (!ours($2)) for (i = 3; i < NF; i++) if (($i == "-j" || $i == "-g") && ours($(i + 1))) {
				sub(/^-A/, "-D"); jumps = jumps $0 "\n"; break
			}
		}
		/^COMMIT/ { if (jumps flush != "") printf "%s\n%s%s%sCOMMIT\n", table, jumps, flush, drop }
	'
}

unmount_below() {
	awk -v top="$1/" 'index($5 "/", top) == 1 { print length($5), $5 }' /proc/self/mountinfo | sort -rn | cut -d ' ' -f 2- |
		while read -r mounted; do umount "$(printf '%b' "$mounted")" || umount --lazy "$(printf '%b' "$mounted")"; done
}

remove_kubernetes() {
	unmount_below /var/lib/kubelet/pods
	unmount_below /var/lib/kubelet/plugins
	if [ -n "$(awk '$5 ~ "^/var/lib/kubelet/" { print $5; exit }' /proc/self/mountinfo)" ]; then
		fail service_failed "Something is still mounted below /var/lib/kubelet; its contents would be deleted with it. See 'findmnt | grep kubelet' on this host, unmount it, then run again."
	fi
	find /var/lib/kubelet -mindepth 1 -xdev -delete 2>/dev/null
	rmdir /var/lib/kubelet 2>/dev/null
	rm -rf /etc/kubernetes/manifests /etc/kubernetes/pki /etc/kubernetes/kube-apiserver-proxy
	for config in admin super-admin kubelet bootstrap-kubelet controller-manager scheduler; do
		rm -f "/etc/kubernetes/$config.conf"
	done
	rmdir /etc/kubernetes 2>/dev/null
	# Logs of pods are of no use without them; the kubelet's own are in the journal.
	rm -rf /var/log/pods /var/log/containers
	rm -rf /etc/systemd/system/kubelet.service /etc/systemd/system/kubelet.service.d "$STATE/started/kubelet"
	while read -r path; do
		[ -z "$path" ] || [ -d "$path" ] || rm -f "$path"
	done <<LINES
${FILES:-}
LINES
	systemctl daemon-reload
	say "Kubernetes: removed"
}

remove_prepared() {
	[ "$KEEP_PREPARED" = no ] || return 0
	# A containerd that we did not bring belongs to someone else, with its images.
	if [ -f "$STATE/artefacts/containerd" ]; then
		systemctl disable --now --quiet containerd 2>/dev/null
		unmount_below /run/containerd
		rm -rf /var/lib/containerd /run/containerd /run/nri /etc/systemd/system/containerd.service /etc/containerd "$STATE/started/containerd"
		systemctl daemon-reload
		say "containerd: removed with its images"
	fi
	for list in "$STATE"/installed/*; do
		[ -f "$list" ] || continue
		while read -r path; do rm -f "$path"; done <"$list"
		rm -f "$STATE/artefacts/${list##*/}" "$list"
	done
	# Versions before this one, and any that was to come.
	rm -rf "$STATE/downloads" /usr/local/lib/kubewright
	# Folders that nothing is in any more, innermost first.
	rmdir /etc/cni/net.d /etc/cni /opt/cni/bin /opt/cni /opt/containerd/bin /opt/containerd/lib /opt/containerd 2>/dev/null
	if grep -q '^#kubewright# ' /etc/fstab 2>/dev/null; then
		cp -p /etc/fstab /etc/fstab.kubewright-new && sed 's/^#kubewright# //' /etc/fstab >/etc/fstab.kubewright-new && place /etc/fstab.kubewright-new /etc/fstab
		say "swap: back in /etc/fstab; 'swapon -a' turns it on"
	fi
	say "binaries: removed"
}

reset() {
	check_values
	take_lock
	stop_kubelet
	{ [ ! -e "/etc/systemd/system/$TIMER" ] && [ ! -e "$FOLDER" ]; } || end_copies
	end_pods
	if [ "$PURGE_ETCD" = yes ]; then delete_etcd; else keep_etcd; fi
	remove_network
	remove_kubernetes
	remove_prepared
	say "reset"
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
reset </dev/null
exit
