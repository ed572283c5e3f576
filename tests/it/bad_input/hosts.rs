//! Hosts that are not what the spec takes them for: each is named with what to do, the others are reported all the same.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::machines::{Site, digest, published};
use crate::cli::bench::Told;
use crate::host::sshd::possible;
use crate::web::{Reply, Request};

/// What was said, without its line breaks.
fn said(told: &Told) -> String {
    told.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `plan` and `apply` end with 5, say these things, and do nothing.
#[track_caller]
fn blocks(site: &Site, parts: &[&str]) {
    for command in [&["plan"][..], &["apply", "--yes"]] {
        let told = site.run(command).ends(5);
        let said = said(&told);
        for part in parts {
            assert!(said.contains(part), "{part} in\n{said}");
        }
        assert!(said.contains("nothing was changed"), "{said}");
        assert_eq!(told.stdout, "");
    }
    assert_eq!(site.bench.files(), ["cluster.yaml"]);
    site.is_untouched();
}

#[test]
fn an_even_number_of_members_needs_consent() {
    if !possible() {
        return;
    }
    let site = Site::new(2);
    let told = site.run(&["apply", "--yes"]).ends(6);
    let said = said(&told);
    assert!(said.contains("ETCD001") && said.contains("--consent ETCD001"), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(site.bench.files(), ["cluster.yaml"], "nothing is pinned either");
    site.is_untouched();
}

#[test]
fn keys_that_are_unknown_or_changed_are_refused() {
    if !possible() {
        return;
    }
    let site = Site::new(3);
    fs::write(site.machines[0].sshd.path("known"), "").unwrap();
    site.machines[1].sshd.trust("other");
    site.machines[2].write("ahead", "-7200");
    blocks(
        &site,
        &[
            "HOST001 blocks cp1: cannot connect to 127.0.0.1: the host key of",
            "is not known",
            "ssh-keyscan",
            "HOST001 blocks cp2:",
            "HAS CHANGED",
            "someone may be listening in",
            "TIME001 blocks cp3:",
        ],
    );
}

#[test]
fn a_wrong_password_for_sudo_is_refused() {
    if !possible() {
        return;
    }
    let site = Site::new(2);
    site.machines[0].needs_sudo();
    site.machines[1].write("ahead", "-7200");
    let told = site.bench.run_with(&[("KUBEWRIGHT_SUDO_PASSWORD", "open")], &["apply", "--yes"]).ends(5);
    let text = said(&told);
    assert!(text.contains("HOST001 blocks cp1: sudo refused: the password was not accepted"), "{text}");
    assert!(text.contains("TIME001 blocks cp2:"), "{text}");
    assert!(!text.contains("open"), "no password is shown: {text}");
    blocks(&site, &["HOST001 blocks cp1: sudo refused:", "KUBEWRIGHT_SUDO_PASSWORD"]);
    // With the right one there is a plan; an even number of members is only a question there.
    site.machines[1].write("ahead", "0");
    site.bench.run_with(&[("KUBEWRIGHT_SUDO_PASSWORD", "sesame")], &["plan"]).ends(4);
}

#[test]
fn a_host_out_of_reach_hides_no_other() {
    if !possible() {
        return;
    }
    let mut site = Site::new(3);
    site.machines[1].write("ss", "LISTEN 0 4096 *:6443 *:* users:((\"nginx\",pid=812,fd=6))\n");
    site.machines[2]
        .write("state/host", "{\"cluster\":\"prod\",\"operation\":\"7f3a9c\",\"roles\":[\"etcd\"],\"settled\":true}\n");
    site.machines[0].sshd.stop();
    blocks(
        &site,
        &[
            "HOST001 blocks cp1: cannot connect to host 127.0.0.1 port",
            "Connection refused",
            "HOST026 blocks cp2: ports are taken: 6443 (kube-apiserver) by nginx",
            "HOST010 blocks cp3: it belongs to the cluster prod",
        ],
    );
}

#[test]
fn a_clock_that_is_wrong_blocks() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    site.machines[0].write("ahead", "-600");
    blocks(&site, &["TIME001 blocks cp1:", "behind"]);
}

#[test]
fn a_version_that_nobody_published_blocks() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    site.bench.write("cluster.yaml", site.spec("1.35.99").as_bytes());
    blocks(
        &site,
        &[
            "ART001 blocks cp1: no checksum of kubelet v1.35.99 from",
            "404",
            "check the version and `artefacts.mirror`",
            "ART002 blocks cp1: the registry does not offer registry.k8s.io/kube-apiserver:v1.35.99",
        ],
    );
}

#[test]
fn two_hosts_that_are_told_different_digests_block() {
    if !possible() {
        return;
    }
    let asked = AtomicUsize::new(0);
    let answer = move |number: usize, request: &Request| {
        if request.path.ends_with("/kubelet.sha256") {
            return Reply::whole(digest(&asked.fetch_add(1, Ordering::SeqCst).to_string()));
        }
        published(number, request)
    };
    let site = Site::with_mirror(3, answer);
    blocks(&site, &["ART006 blocks", "kubelet v1.35.4 for amd64 is published to it as sha256:"]);
}

/// A login that greets with megabytes, escape codes and marks that look like ours; facts with escape codes in them.
#[test]
fn what_a_host_says_reaches_no_terminal() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    site.machines[0].write(
        "noise",
        "printf '\\033[2J\\033]0;mine\\007Welcome\\nkubewright-begin-00000000000000000000000000000000\\nkubewright-end-0 0\\n'\n\
         head -c 3000000 /dev/zero | tr '\\0' x\nprintf '\\n= machine-id forged\\n. facts\\nno line end'\n\
         printf '\\033[31mred\\n' >&2\n",
    );
    let told = site.run(&["plan"]).ends(4);
    assert!(!told.stdout.contains('\u{1b}') && !told.stderr.contains('\u{1b}'), "{}{}", told.stdout, told.stderr);
    let told = site.run(&["plan", "--output", "json"]).ends(4);
    assert!(told.stdout.contains("00000000000000000000000000000001") && !told.stdout.contains("forged"));

    site.machines[0].write("ss", "LISTEN 0 1 *:6443 *:* users:((\"\u{1b}[31mnginx\u{9b}31m\",pid=1,fd=1))\n");
    let told = site.run(&["plan"]).ends(5);
    assert!(told.stderr.contains("HOST026"), "{}", told.stderr);
    assert!(!told.stderr.contains(['\u{1b}', '\u{9b}']), "{:?}", told.stderr);
}

/// A host that never ends to talk is given up as one that cannot be reached.
#[test]
fn a_host_that_never_ends_to_talk_is_given_up() {
    if !possible() {
        return;
    }
    let site = Site::new(2);
    site.machines[0].write("noise", "exec yes welcome\n");
    site.machines[1].write("ahead", "-7200");
    blocks(&site, &["HOST001 blocks cp1:", "printed more than 16 MiB before the script began", "TIME001 blocks cp2:"]);
}

/// Two runs at once: the second is told who works there, since when and at what, and changes nothing.
#[test]
fn the_second_run_is_told_who_is_first() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    let now = jiff::Timestamp::now();
    let holder = format!(
        "{{\"operation\":\"7f3a9c\",\"cluster\":\"lab\",\"holder\":\"ada@desk\",\"pid\":7,\"machineId\":\"another\",\"since\":\"{now}\",\"doing\":\"04-cp1-start\",\"seen\":\"{now}\"}}"
    );
    let fence = format!("3\n{holder}\n");
    site.machines[0].write("state/fence", &fence);
    // Its /var/lib/etcd is in memory.
    let told = site.run(&["apply", "--yes", "--consent", "HOST046"]).ends(9);
    let said = said(&told);
    for part in ["ada@desk", "7f3a9c", "04-cp1-start", "nothing was changed", "kubewright ops show 7f3a9c"] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    let date = now.to_string();
    assert!(said.contains(&date[..16]) || said.contains(&date[11..16]) || said.contains("since"), "{said}");
    assert_eq!(fs::read_to_string(site.machines[0].path("state/fence")).unwrap(), fence);
    assert!(!site.machines[0].path("ran").exists());
}
