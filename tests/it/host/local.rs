//! This machine as a host: the same conversation without a connection.

use jiff::Timestamp;
use kubewright::host::local::LocalHost;
use kubewright::playbooks;
use kubewright::ports::{Host, HostError, Script, quiet};
use kubewright_core::facts::{Exchange, HostFacts};

use super::sshd::{name, possible};

#[tokio::test]
async fn scripts_run_here_as_they_do_elsewhere() {
    if !possible() {
        return;
    }
    let host = LocalHost::new(name(), None);
    let script = Script::new("test.sh", "echo \"$WORD\"; cat; echo err >&2; exit 42").value("WORD", "it's here");
    let mut lines = Vec::new();
    let output = host.run(&script, &mut |line: &str| lines.push(line.to_owned())).await.unwrap();
    assert_eq!((output.status, output.stdout.as_str(), output.stderr.as_str()), (42, "it's here\n", "err\n"));
    assert_eq!(lines, ["it's here"]);
    // A password that nobody asks for does no harm.
    let with_password = LocalHost::new(name(), Some("x".into()));
    for _ in 0..2 {
        assert_eq!(with_password.run(&script, &mut quiet()).await.unwrap().status, 42);
    }
    let target = "127.0.0.1:6443".parse().unwrap();
    assert_eq!(host.forward(target).await.unwrap().local(), target);
}

#[tokio::test]
async fn a_background_process_does_not_hold_the_answer_up() {
    if !possible() {
        return;
    }
    let host = LocalHost::new(name(), None);
    let begin = std::time::Instant::now();
    let output = host.run(&Script::new("test.sh", "sleep 30 & echo $!"), &mut quiet()).await.unwrap();
    assert!(begin.elapsed().as_secs() < 5);
    std::process::Command::new("kill").arg(output.stdout.trim()).status().unwrap();
}

#[tokio::test]
async fn a_shell_that_is_killed_has_no_answer() {
    if !possible() {
        return;
    }
    let host = LocalHost::new(name(), None);
    let error = host.run(&Script::new("test.sh", "kill -9 $$"), &mut quiet()).await.unwrap_err();
    assert!(matches!(&error, HostError::Lost { reason, .. } if reason.contains("was ended")), "{error}");
}

/// The questions of planning, put to a real machine whatever it is: answered in time, and nothing is left of the measuring.
#[tokio::test]
async fn this_machine_tells_whether_it_can_become_a_node() {
    if !possible() {
        return;
    }
    let host = LocalHost::new(name(), None);
    let script = Script::new("common/facts.sh", playbooks::FACTS)
        .value("FITNESS", "yes")
        .value("FSYNC", "yes")
        .value("NAMES", "localhost no-such-name.invalid");
    let sent = Timestamp::now();
    let output = host.run(&script, &mut quiet()).await.unwrap();
    assert_eq!(output.status, 0, "{}", output.stderr);
    let received = Timestamp::now();
    let facts = HostFacts::parse(&output.stdout, Exchange { sent, received }).unwrap();
    let fitness = facts.fitness.known().expect("nothing was built here");
    assert!(fitness.sysctls.known().unwrap().contains_key("net.ipv4.ip_forward"), "{:?}", fitness.sysctls);
    for folder in ["/etc", "/opt", "/usr/local", "/var/lib", "/var/lib/etcd"] {
        assert!(!fitness.mounts.known().unwrap()[folder].kind.is_empty(), "{folder}");
    }
    assert!(!fitness.cgroup_controllers.known().unwrap().is_empty());
    assert!(fitness.names["localhost"].known().is_some_and(|addresses| !addresses.is_empty()));
    assert!(fitness.names["no-such-name.invalid"].known().is_none());
    let latency = fitness.fsync.known().unwrap();
    assert!(latency.writes > 0 && latency.median_us <= latency.p99_us && latency.p99_us <= latency.worst_us);
    let left = std::fs::read_dir("/var/lib").unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(left.filter(|name| name.to_string_lossy().contains("kubewright-fsync")).count(), 0);
    eprintln!("facts with fitness after {:.0} ms: {latency:?}", received.duration_since(sent).as_millis());
}
