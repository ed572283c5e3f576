//! Symptoms in tools' own words and what usually lies behind them. Only where one cause is by far the likeliest.

/// Part of a tool's line, in lower case, and its likely cause.
const CAUSES: [(&str, &str); 20] = [
    ("no space left on device", "the disk is full: see `df -h` on the host"),
    ("file size too small", "the disk of /var/lib/etcd is or was full"),
    ("read-only file system", "the file system was mounted read-only, often after a disk error: see `dmesg`"),
    ("too many open files", "the host's limit of open files is too low"),
    ("address already in use", "another program holds the port: see `ss -ltnp` on the host"),
    ("could not get lock /var/lib/dpkg", "another package manager runs, often unattended-upgrades; it ends by itself"),
    ("could not get lock /var/lib/apt", "another package manager runs, often unattended-upgrades; it ends by itself"),
    ("unable to locate package", "the host's package sources lack it, or apt-get update never ran"),
    ("temporary failure in name resolution", "the host cannot resolve names: see /etc/resolv.conf"),
    ("could not resolve host", "the host cannot resolve names: see /etc/resolv.conf"),
    ("no such host", "a name in the spec does not resolve, or the host's DNS does not answer"),
    ("toomanyrequests", "the registry limits this address; a mirror in spec.artefacts avoids it"),
    ("certificate has expired", "a certificate ran out, or the host's clock is wrong"),
    ("certificate is not yet valid", "the host's clock is behind"),
    ("certificate signed by unknown authority", "the certificate belongs to another cluster or another proxy"),
    ("host key verification failed", "the host's key is unknown or has changed; compare it before you trust it"),
    ("permission denied (publickey", "the host does not accept this key for this user"),
    ("connection timed out", "a firewall drops the packets, or the host is down"),
    ("no route to host", "the host is down or in a network that this machine cannot reach"),
    ("oom-kill", "the host ran out of memory"),
];

/// The likely cause behind some lines, the last line first: it is the nearest to the end.
pub(super) fn cause<'l>(lines: impl DoubleEndedIterator<Item = &'l str>) -> Option<&'static str> {
    lines.rev().find_map(|line| {
        let line = line.to_lowercase();
        CAUSES.iter().find(|(symptom, _)| line.contains(symptom)).map(|(_, cause)| *cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_symptom_counts() {
        let lines = ["dial tcp: address already in use", "write: No space left on device"];
        assert_eq!(cause(lines.into_iter()), Some("the disk is full: see `df -h` on the host"));
        assert_eq!(cause(["all is well"].into_iter()), None);
    }

    #[test]
    fn symptoms_are_written_in_lower_case() {
        assert!(CAUSES.iter().all(|(symptom, _)| *symptom == symptom.to_lowercase()));
    }
}
