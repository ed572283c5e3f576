//! Units that have a host take copies of etcd by itself.

use kubewright_core::etcd::schedule::Schedule;
use kubewright_core::ids::HostName;

use crate::RenderedFile;

/// Program, spec and state of the units.
pub const BACKUP_DIR: &str = "/var/lib/kubewright/backup";
/// kubewright itself.
pub const PROGRAM: &str = "/var/lib/kubewright/backup/kubewright";
/// The cluster's spec.
pub const SPEC: &str = "/var/lib/kubewright/backup/cluster.yaml";
/// What a bucket's credentials are read from, where the user has put it there.
pub const ENVIRONMENT: &str = "/etc/kubernetes/etcd-backup.env";
/// The timer, which starts the service of the same name.
pub const TIMER: &str = "kubewright-etcd-backup.timer";
/// What it starts.
pub const SERVICE: &str = "kubewright-etcd-backup.service";

/// One host after another, so that members are not asked all at once, and the next finds the copy of the one before in a bucket: a copy
/// of a few hundred MB takes less.
const APART_MINUTES: usize = 5;

/// Where unit files of this host's administrator are.
const UNITS: &str = "/etc/systemd/system";

/// Service and timer of a host, which is so many-th among those that take copies.
pub fn units(schedule: &Schedule, host: &HostName, position: usize) -> [RenderedFile; 2] {
    let Schedule { every, to, keep } = schedule;
    let minutes = every.minutes();
    // A bucket is everybody's: whoever finds a copy there that is young enough has nothing to do. A folder is the host's own.
    let unless = match to.is_bucket() {
        true => format!(" --unless-younger {}m", every.enough().as_mins()),
        false => String::new(),
    };
    let service = format!(
        "[Unit]\n\
         Description=Copy of etcd\n\
         Documentation=https://kubewright.dev/docs/how-to/save-etcd\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         Environment=XDG_STATE_HOME={BACKUP_DIR}/state NO_COLOR=1\n\
         EnvironmentFile=-{ENVIRONMENT}\n\
         ExecStart={PROGRAM} etcd snapshot --file {SPEC} --here {host} --to {to} --keep {keep}{unless}\n\
         # It reads a gigabyte beside programs that must answer.\n\
         Nice=10\n\
         IOSchedulingClass=idle\n\
         # There was a copy that is young enough.\n\
         SuccessExitStatus=3\n\
         TimeoutStartSec=1h\n\
         Restart=on-failure\n\
         RestartSec=5min\n"
    );
    let first = 1 + position * APART_MINUTES;
    let timer = format!(
        "[Unit]\n\
         Description=Copies of etcd, every {minutes} minutes\n\
         \n\
         [Timer]\n\
         OnActiveSec={first}min\n\
         OnBootSec={}min\n\
         OnUnitInactiveSec={minutes}min\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n",
        first + APART_MINUTES
    );
    [
        RenderedFile::new(format!("{UNITS}/{SERVICE}"), 0o644, service),
        RenderedFile::new(format!("{UNITS}/{TIMER}"), 0o644, timer),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(to: &str) -> Schedule {
        Schedule { every: "6h".parse().unwrap(), to: to.parse().unwrap(), keep: 14 }
    }

    #[test]
    fn a_bucket_is_everybodys_and_a_folder_is_the_hosts_own() {
        let [service, timer] = units(&schedule("s3://backups/etcd"), &"cp2".into(), 1);
        assert!(service.contents.contains("--here cp2 --to s3://backups/etcd --keep 14 --unless-younger 180m\n"));
        assert!(timer.contents.contains("OnActiveSec=6min\nOnBootSec=11min\nOnUnitInactiveSec=360min\n"));
        let [service, _] = units(&schedule("/var/backups/etcd"), &"cp2".into(), 1);
        assert!(service.contents.contains("--to /var/backups/etcd --keep 14\n"), "{}", service.contents);
        assert_eq!(
            (service.path.as_str(), service.mode),
            ("/etc/systemd/system/kubewright-etcd-backup.service", 0o644)
        );
    }
}
