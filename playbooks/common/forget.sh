# The last of a host that was taken apart: what kubewright kept there for its runs (lock, journal, results of units).
# A host that is part of a cluster again keeps everything.
#
# Values
#   KEEP_PREPARED   yes: what was prepared there stays, and so does what is remembered of it
# The fence is checked before (fence-check.sh).

if [ -e /var/lib/kubewright/host ]; then
	echo "This host belongs to a cluster again; nothing was removed." >&2
	exit 1
fi
for unit in $(systemctl list-units --all --plain --no-legend --no-pager 'kubewright-*.service' 2>/dev/null | cut -d ' ' -f 1); do
	systemctl stop "$unit" 2>/dev/null
	systemctl reset-failed "$unit" 2>/dev/null
done
rm -rf /run/kubewright
if [ "$KEEP_PREPARED" = yes ]; then
	rm -rf /var/lib/kubewright/ops /var/lib/kubewright/secrets /var/lib/kubewright/fence*
else
	rm -rf /var/lib/kubewright
fi
exit 0
