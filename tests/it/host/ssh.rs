//! Connections against a real sshd: keys, exit statuses, many runs at once, lost links, noise, tunnels, a bastion.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kubewright::host::ssh::SshHosts;
use kubewright::ports::{HostError, Hosts, Output, Script, quiet};
use kubewright_core::spec::{HostKeys, Ssh};

use super::sshd::{Sshd, eventually, hosts, name, possible, program};

async fn run(hosts: &SshHosts, text: &'static str) -> Result<Output, HostError> {
    let host = hosts.host(&name()).await?;
    host.run(&Script::new("test.sh", text), &mut quiet()).await
}

async fn refusal(ssh: Ssh) -> (String, String) {
    match hosts(ssh, None).host(&name()).await.map(|_| ()) {
        Err(HostError::Connect { reason, hint, .. }) => (reason, hint.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn unknown_keys_are_refused_with_the_way_out() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    fs::write(sshd.path("known"), "").unwrap();
    let (reason, hint) = refusal(sshd.settings()).await;
    assert_eq!(reason, format!("the host key of [127.0.0.1]:{} is not known", sshd.port));
    assert!(
        hint.contains(&format!("ssh-keyscan -p {} 127.0.0.1 >> {}", sshd.port, sshd.path("known").display())),
        "{hint}"
    );
    assert!(hint.contains("acceptNew"), "{hint}");
}

#[tokio::test]
async fn new_keys_are_remembered_where_the_spec_says_so() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    fs::write(sshd.path("known"), "").unwrap();
    let trusting = hosts(Ssh { host_keys: HostKeys::AcceptNew, ..sshd.settings() }, None);
    assert_eq!(run(&trusting, "true").await.unwrap().status, 0);
    assert_eq!(run(&sshd.hosts(), "true").await.unwrap().status, 0);
}

#[tokio::test]
async fn changed_keys_are_refused_always() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    sshd.trust("other");
    for host_keys in [HostKeys::Strict, HostKeys::AcceptNew] {
        let (reason, hint) = refusal(Ssh { host_keys, ..sshd.settings() }).await;
        assert!(reason.contains("HAS CHANGED, now SHA256:"), "{reason}");
        assert!(hint.contains("someone may be listening in"), "{hint}");
        assert!(hint.contains(&format!("ssh-keygen -R '[127.0.0.1]:{}'", sshd.port)), "{hint}");
    }
}

#[tokio::test]
async fn failures_to_connect_say_what_to_do() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    let stranger = sshd.path("other").to_str().unwrap().to_owned();
    let (reason, hint) = refusal(Ssh { identity_file: Some(stranger), ..sshd.settings() }).await;
    assert!(reason.contains("Permission denied (publickey"), "{reason}");
    assert!(hint.contains("identityFile"), "{hint}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (reason, hint) = refusal(Ssh { port: Some(closed), ..sshd.settings() }).await;
    assert!(reason.contains("Connection refused"), "{reason}");
    assert!(hint.contains("ssh.port"), "{hint}");
}

#[tokio::test]
async fn exit_statuses_and_output_come_back() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    let hosts = sshd.hosts();
    for (text, status) in
        [("exit 0", 0), ("exit 42", 42), ("exit 127", 127), ("exit 255", 255), ("kill -9 $$; echo no", -1)]
    {
        match run(&hosts, text).await {
            Ok(output) => assert_eq!(output.status, status, "{text}"),
            // The shell itself is killed: not a lost connection, but no answer either.
            Err(HostError::Lost { reason, .. }) => {
                assert_eq!((status, reason.as_str()), (-1, "its shell was ended on the host"))
            }
            Err(other) => panic!("{text}: {other}"),
        }
    }
    let output = run(&hosts, "id -u; echo err >&2; printf end").await.unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("0\nend", "err\n"));
    let broken = run(&hosts, "if true; then").await.unwrap_err();
    assert!(matches!(&broken, HostError::Answer { reason, .. } if reason.contains("yntax error")), "{broken}");
    assert_eq!(sshd.sessions().len(), 1, "one connection for all of it");
}

#[tokio::test]
async fn many_runs_at_once_share_the_connection() {
    if !possible() {
        return;
    }
    for limit in ["MaxSessions 10", "MaxSessions 2"] {
        let sshd = Sshd::start(limit);
        let hosts = sshd.hosts();
        let host = hosts.host(&name()).await.unwrap();
        let one = |number: usize| {
            let host = Arc::clone(&host);
            async move {
                let script = Script::new("test.sh", "sleep 0.2; echo $NUMBER").value("NUMBER", number.to_string());
                host.run(&script, &mut quiet()).await.unwrap().stdout
            }
        };
        let begin = Instant::now();
        let said = join_all((0..12).map(one)).await;
        assert_eq!(said, (0..12).map(|number| format!("{number}\n")).collect::<Vec<_>>());
        assert!(begin.elapsed() < Duration::from_secs(5), "{limit}: {:?}", begin.elapsed());
        assert_eq!(sshd.sessions().len(), 1);
    }
}

#[tokio::test]
async fn a_host_that_opens_no_session_says_so() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("MaxSessions 0");
    let refused = run(&sshd.hosts(), "true").await.unwrap_err();
    assert!(refused.nothing_ran() && refused.to_string().contains("sshd opens no session"), "{refused}");
}

#[tokio::test]
async fn a_lost_connection_is_told_apart_and_made_again() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    let hosts = sshd.hosts();
    let host = hosts.host(&name()).await.unwrap();
    let script = Script::new("test.sh", "echo started; exec sleep 60");
    let mut cut = |line: &str| {
        assert_eq!(line, "started");
        sshd.cut();
    };
    let lost = host.run(&script, &mut cut).await.unwrap_err();
    assert!(matches!(&lost, HostError::Lost { reason, .. } if reason.contains("connection ended")), "{lost}");
    assert!(!lost.nothing_ran());
    // The same host goes on with a new connection, whoever notices first.
    assert_eq!(host.run(&Script::new("test.sh", "exit 7"), &mut quiet()).await.unwrap().status, 7);
    sshd.cut();
    assert_eq!(host.run(&Script::new("test.sh", "exit 8"), &mut quiet()).await.unwrap().status, 8);
}

#[tokio::test]
async fn noise_at_login_is_dropped() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    program(
        &sshd,
        "noisy",
        "#!/bin/sh\nprintf '\\033[2JWelcome\\nkubewright-begin-00000000000000000000000000000000\\nkubewright-end-0 0\\n'\n\
         head -c 3000000 /dev/zero | tr '\\0' 'x'\necho oops >&2\nprintf 'no line end'\n\
         /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\necho bye; echo bye >&2\n",
    );
    let noisy = Sshd::start(&format!("ForceCommand {}", sshd.path("noisy").display()));
    let mut lines = Vec::new();
    let hosts = noisy.hosts();
    let host = hosts.host(&name()).await.unwrap();
    let script = Script::new("test.sh", "printf 'a\\033[31mb\\033[0m\\n\\nc'; echo e >&2; exit 5");
    let output = host.run(&script, &mut |line: &str| lines.push(line.to_owned())).await.unwrap();
    assert_eq!(
        (output.status, output.stdout.as_str(), output.stderr.as_str()),
        (5, "a\u{1b}[31mb\u{1b}[0m\n\nc", "e\n")
    );
    assert_eq!(lines, ["ab", "c"]);
}

#[tokio::test]
async fn a_host_without_a_shell_says_so() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("ForceCommand echo 'This account is currently not available.'; exit 1");
    let error = run(&sshd.hosts(), "true").await.unwrap_err();
    assert!(matches!(&error, HostError::Answer { reason, .. } if reason.contains("not available")), "{error}");
}

#[tokio::test]
async fn megabytes_come_and_go() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    let hosts = sshd.hosts();
    let host = hosts.host(&name()).await.unwrap();
    let big = "0123456789abcdef".repeat(1 << 19);
    let script = Script::new("test.sh", "printf %s \"$BIG\"").value("BIG", big.clone());
    assert_eq!(host.run(&script, &mut quiet()).await.unwrap().stdout, big);
    let error = run(&hosts, "head -c 20000000 /dev/zero").await.unwrap_err();
    assert!(matches!(&error, HostError::Answer { reason, .. } if reason.contains("more than 16 MiB")), "{error}");
    assert_eq!(run(&hosts, "exit 3").await.unwrap().status, 3);
}

#[tokio::test]
async fn tunnels_lead_through_and_close() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    let hosts = sshd.hosts();
    let host = hosts.host(&name()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target: SocketAddr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello").unwrap());
    let tunnel = host.forward(target).await.unwrap();
    let local = tunnel.local();
    let answer = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        TcpStream::connect(local).unwrap().read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(answer.await.unwrap(), "hello");
    server.join().unwrap();
    drop(tunnel);
    tokio::task::spawn_blocking(move || eventually("the tunnel is closed", || TcpStream::connect(local).is_err()))
        .await
        .unwrap();

    // Until its ssh has seen the end of the old connection, a way may still be opened through it, and ends with it.
    sshd.cut();
    let begin = Instant::now();
    loop {
        let tunnel = host.forward(target).await.unwrap();
        if TcpStream::connect(tunnel.local()).is_ok() && sshd.sessions().len() == 1 {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "no new connection for a new tunnel");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_bastion_leads_to_the_host_and_is_verified_too() {
    if !possible() {
        return;
    }
    let (sshd, bastion) = (Sshd::start(""), Sshd::start(""));
    fs::copy(sshd.path("authorized"), bastion.path("authorized")).unwrap();
    let through = Ssh { bastion: Some(format!("root@127.0.0.1:{}", bastion.port)), ..sshd.settings() };
    let (reason, _) = refusal(through.clone()).await;
    assert!(reason.contains(&format!("the host key of [127.0.0.1]:{} is not known", bastion.port)), "{reason}");

    let known = [fs::read_to_string(sshd.path("known")).unwrap(), fs::read_to_string(bastion.path("known")).unwrap()];
    fs::write(sshd.path("known"), known.concat()).unwrap();
    let hosts = hosts(through.clone(), None);
    assert_eq!(run(&hosts, "exit 9").await.unwrap().status, 9);
    assert_eq!(bastion.sessions().len(), 1);

    drop(bastion);
    let (reason, hint) = refusal(through).await;
    assert!(reason.contains("Connection refused"), "{reason}");
    assert!(!hint.is_empty());
}

#[tokio::test]
async fn nothing_is_left_behind() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    let hosts = sshd.hosts();
    run(&hosts, "true").await.unwrap();
    assert_eq!(sshd.sessions().len(), 1);
    drop(hosts);
    eventually("the connection ends", || sshd.sessions().is_empty());
}
