//! Downloads against servers that misbehave: the very text of `playbooks/debian/`, run by a shell on folders of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use kubewright_core::plan::hex;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::web::{Reply, Request, Web};

const PARTS: &str =
    concat!(include_str!("../../playbooks/debian/say.sh"), include_str!("../../playbooks/debian/artefacts.sh"));
const RUNTIME: &str =
    concat!(include_str!("../../playbooks/debian/say.sh"), include_str!("../../playbooks/debian/runtime.sh"));

/// What stands between the parts and the task: folders of our own, and no patience.
const HERE: &str = "STATE=$ROOT/state; WORK=$ROOT/work; mkdir -p \"$STATE/downloads\" \"$WORK\"\nsleep() { :; }\n";

/// A file that no part of resembles another.
fn file() -> Vec<u8> {
    (0..200_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(host.path("state/downloads")).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, parts: &str, task: &str) -> Output {
        let script = format!("{parts}\n{HERE}\n{task}\n");
        Command::new("sh").arg("-c").arg(script).env("ROOT", self.0.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// Fetches what is behind an address, which must have this digest.
    fn fetch(&self, url: &str, sha256: &str) -> Output {
        self.run(PARTS, &format!("fetch kubelet {url} {sha256}"))
    }

    fn part(&self, sha256: &str) -> PathBuf {
        self.path(&format!("state/downloads/{sha256}.part"))
    }

    /// The finished download, whose digest was proven.
    fn whole(&self, sha256: &str) -> Option<Vec<u8>> {
        fs::read(self.path(&format!("state/downloads/{sha256}"))).ok()
    }
}

#[track_caller]
fn ends(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// The file comes whole from a server that behaves like this; the first bytes that each request asked for.
#[track_caller]
fn comes(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Vec<Option<usize>> {
    let (host, web, digest) = (Host::new(), Web::start(answer), sha256(&file()));
    ends(&host.fetch(&web.url("/kubelet"), &digest), 0);
    assert_eq!(host.whole(&digest), Some(file()));
    assert!(!host.part(&digest).exists());
    web.asked().iter().map(Request::offset).collect()
}

#[test]
fn one_that_is_cut_off_goes_on_where_it_was() {
    let asked = comes(|number, request| {
        let reply = Reply::ranged(request, &file());
        if number < 3 { reply.cut(50_000) } else { reply }
    });
    assert_eq!(asked, [None, Some(50_000), Some(100_000), Some(150_000)]);
}

#[test]
fn a_server_that_cannot_resume_is_asked_for_the_whole() {
    let asked = comes(|number, _| if number == 0 { Reply::whole(file()).cut(50_000) } else { Reply::whole(file()) });
    assert_eq!(asked, [None, Some(50_000), None]);
}

#[test]
fn a_busy_server_is_asked_again() {
    for status in [503, 500, 429, 408] {
        let asked = comes(
            move |number, request| {
                if number < 2 { Reply::status(status) } else { Reply::ranged(request, &file()) }
            },
        );
        assert_eq!(asked.len(), 3, "{status}");
    }
}

#[test]
fn one_that_stalls_is_given_up_and_gone_on_with() {
    let answer = |number: usize, request: &Request| {
        let reply = Reply::ranged(request, &file());
        if number == 0 { reply.stall(50_000) } else { reply }
    };
    let (host, web, digest) = (Host::new(), Web::start(answer), sha256(&file()));
    // A second instead of thirty; the last of two options counts.
    let task =
        format!("curl() {{ command curl \"$@\" --speed-time 1; }}\nfetch kubelet {} {digest}", web.url("/kubelet"));
    ends(&host.run(PARTS, &task), 0);
    assert_eq!(host.whole(&digest), Some(file()));
    assert_eq!(web.asked().iter().map(Request::offset).collect::<Vec<_>>(), [None, Some(50_000)]);
}

#[test]
fn a_server_that_dies_is_told_and_nothing_is_lost() {
    let (host, digest) = (Host::new(), sha256(&file()));
    let web = Web::start(
        |number, request| {
            if number == 0 { Reply::ranged(request, &file()).cut(50_000) } else { Reply::status(502) }
        },
    );
    let said = ends(&host.fetch(&web.url("/kubelet"), &digest), 21);
    assert!(said.contains("kubelet could not be fetched") && said.contains("what was fetched is kept"), "{said}");
    assert_eq!(web.asked().len(), 4, "three more without a byte");
    assert_eq!(fs::read(host.part(&digest)).unwrap(), &file()[..50_000]);

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = ends(&host.fetch(&format!("http://{closed}/kubelet"), &digest), 21);
    assert!(said.contains("connect") && said.contains(&format!("curl -I http://{closed}/kubelet")), "{said}");

    let web = Web::start(|_, request| Reply::ranged(request, &file()));
    ends(&host.fetch(&web.url("/kubelet"), &digest), 0);
    assert_eq!(web.asked()[0].offset(), Some(50_000), "another server goes on with it");
}

#[test]
fn what_is_not_there_is_asked_for_once() {
    let (host, web) = (Host::new(), Web::start(|_, _| Reply::status(404)));
    let said = ends(&host.fetch(&web.url("/kubelet"), &sha256(&file())), 21);
    assert!(said.contains("the server answers 404") && said.contains("Check the version and the mirror"), "{said}");
    assert_eq!(web.asked().len(), 1);
}

#[test]
fn wrong_bytes_after_a_resume_are_thrown_away() {
    let (host, web, digest) = (Host::new(), Web::start(|_, request| Reply::ranged(request, &file())), sha256(&file()));
    // The part is of another file, perhaps what an earlier mirror held.
    fs::write(host.part(&digest), vec![b'x'; 70_000]).unwrap();
    ends(&host.fetch(&web.url("/kubelet"), &digest), 0);
    assert_eq!(host.whole(&digest), Some(file()));
    assert_eq!(web.asked().iter().map(Request::offset).collect::<Vec<_>>(), [Some(70_000), None]);
}

#[test]
fn a_part_longer_than_the_file_is_thrown_away() {
    let (host, web, digest) = (Host::new(), Web::start(|_, request| Reply::ranged(request, &file())), sha256(&file()));
    fs::write(host.part(&digest), vec![b'x'; 300_000]).unwrap();
    ends(&host.fetch(&web.url("/kubelet"), &digest), 0);
    assert_eq!(host.whole(&digest), Some(file()));
}

#[test]
fn a_wrong_digest_installs_nothing() {
    let digest = sha256(b"what was planned");
    // Another file, an error page that comes as success, a file that was changed while it came.
    let changed = |number: usize, request: &Request| {
        let mut bytes = file();
        if number > 0 {
            bytes.fill(b'y');
        }
        let reply = Reply::ranged(request, &bytes);
        if number == 0 { reply.cut(50_000) } else { reply }
    };
    let page = |_: usize, _: &Request| Reply::whole("<html>please log in</html>");
    let other = |_: usize, request: &Request| Reply::ranged(request, &file());
    for web in [Web::start(other), Web::start(page), Web::start(changed)] {
        let host = Host::new();
        let url = web.url("/kubelet");
        let line = format!("kubelet {url} {digest} file {} 0755 -", host.path("usr/kubelet").display());
        let said = ends(&host.run(PARTS, &format!("ARTEFACTS='{line}'\neach_artefact obtain")), 22);
        assert!(said.contains(&digest) && said.contains("Nothing was installed") && said.contains(&url), "{said}");
        assert!(!host.path("usr/kubelet").exists() && !host.path("state/artefacts/kubelet").exists());
        assert!(!host.part(&digest).exists() && host.whole(&digest).is_none(), "no wrong bytes stay behind");
    }
}

#[test]
fn a_program_that_was_there_stays_when_its_successor_is_wrong() {
    let host = Host::new();
    fs::create_dir(host.path("usr")).unwrap();
    fs::write(host.path("usr/kubelet"), "the old one").unwrap();
    let web = Web::start(|_, _| Reply::whole("another"));
    let line = format!("kubelet {} {} file {} 0755", web.url("/k"), sha256(b"new"), host.path("usr/kubelet").display());
    ends(&host.run(PARTS, &format!("ARTEFACTS='{line}'\neach_artefact obtain")), 22);
    assert_eq!(fs::read(host.path("usr/kubelet")).unwrap(), b"the old one");
}

#[test]
fn a_version_is_brought_beside_the_one_that_runs_and_switched_to_by_its_link() {
    let host = Host::new();
    let web = Web::start(|_, request| Reply::whole(request.path.clone()));
    let (link, stamp) = (host.path("bin/kubelet"), host.path("state/artefacts/kubelet"));
    // Earlier versions of kubewright put the program itself there.
    fs::create_dir(host.path("bin")).unwrap();
    fs::write(&link, "/v1").unwrap();
    let digest = |version: &str| sha256(format!("/{version}").as_bytes());
    let place = |version: &str| host.path(&format!("lib/{version}/kubelet"));
    let run = |version: &str, before: &str| {
        let (url, sha256, place) = (web.url(&format!("/{version}")), digest(version), place(version));
        let line = format!("kubelet {url} {sha256} file {} 0755 {}", place.display(), link.display());
        let task = format!("{before}\nARTEFACTS='{line}'\neach_artefact obtain; each_artefact lacking_artefact");
        String::from_utf8(host.run(PARTS, &task).stdout).unwrap()
    };
    let runs = || fs::read_to_string(&link).unwrap();
    let leads = || fs::read_link(&link).ok();
    run("v1", "");
    assert_eq!((runs().as_str(), leads()), ("/v1", Some(place("v1"))), "a program becomes a link");
    let lacks = run("v2", "STAGE=yes");
    assert!(lacks.contains(&format!("has the digest {}", digest("v1"))), "{lacks}");
    assert_eq!((runs().as_str(), leads()), ("/v1", Some(place("v1"))), "what runs stays what it is");
    assert_eq!(fs::read_to_string(place("v2")).unwrap(), "/v2", "the next one is there");
    assert!(run("v2", "").ends_with("was there already\n"), "nothing is fetched twice, and nothing lacks then");
    assert_eq!((runs().as_str(), leads()), ("/v2", Some(place("v2"))));
    assert!(fs::read_to_string(&stamp).unwrap().starts_with(&digest("v2")));
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(place("v1"), &link).unwrap();
    let lacks = String::from_utf8(
        host.run(
            PARTS,
            &format!(
                "lacking_artefact kubelet x {} file {} 0755 {} ''",
                digest("v2"),
                place("v2").display(),
                link.display()
            ),
        )
        .stdout,
    );
    assert!(lacks.unwrap().contains("does not lead to"), "a link that somebody else turned is seen");
}

#[test]
fn a_disk_that_is_full_in_the_middle_is_told_and_gone_on_with() {
    if !is_root() {
        return;
    }
    let (host, digest) = (Host::new(), sha256(&file()));
    let web = Web::start(|_, request| Reply::ranged(request, &file()));
    // A file system of its own, seen by this shell alone: 100 KB of the file's 200 fit; then it grows.
    let task = format!(
        "mount -t tmpfs -o size=100k tmpfs \"$STATE\" && mkdir \"$STATE/downloads\"\n(fetch kubelet {0} {digest}); echo \"first $?\"\n\
         [ ! -e \"$STATE/downloads/{digest}\" ] && echo nothing-whole\nmount -o remount,size=1m \"$STATE\"\n\
         (fetch kubelet {0} {digest}); echo \"second $?\"\nsha256sum <\"$STATE/downloads/{digest}\"",
        web.url("/kubelet")
    );
    let script = format!("{PARTS}\n{HERE}\n{task}\n");
    let output =
        Command::new("unshare").args(["--mount", "sh", "-c", &script]).env("ROOT", host.0.path()).output().unwrap();
    let said = ends(&output, 0);
    assert!(said.contains("first 23\nnothing-whole") && said.contains("second 0"), "{said}");
    assert!(
        said.contains("is full. Free some space on this host, then run again; what is already there is kept"),
        "{said}"
    );
    assert!(said.contains(&digest), "{said}");
    let from: Vec<_> = web.asked().iter().map(Request::offset).collect();
    assert!(matches!(from[..], [None, Some(kept)] if kept > 0 && kept < 200_000), "it went on: {from:?}");
}

#[test]
fn a_shell_that_is_killed_leaves_a_part_to_go_on_with() {
    let (host, digest) = (Host::new(), sha256(&file()));
    let answer = |number: usize, request: &Request| {
        let reply = Reply::ranged(request, &file());
        if number == 0 { reply.stall(50_000) } else { reply }
    };
    let web = Web::start(answer);
    let script = format!("{PARTS}\n{HERE}\nfetch kubelet {} {digest}\n", web.url("/kubelet"));
    // A group of its own: a unit that is killed takes curl with it.
    let mut shell = Command::new("setsid")
        .args(["sh", "-c", &script])
        .env("ROOT", host.0.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // curl keeps the last bytes of a block for itself until more come.
    let came = || fs::metadata(host.part(&digest)).map_or(0, |part| part.len());
    crate::host::sshd::eventually("bytes came", || came() > 40_000);
    let group = format!("-{}", shell.id());
    assert!(Command::new("kill").args(["-9", "--", &group]).status().unwrap().success());
    shell.wait().unwrap();
    ends(&host.fetch(&web.url("/kubelet"), &digest), 0);
    assert_eq!(host.whole(&digest), Some(file()));
    assert!(matches!(web.asked()[1].offset(), Some(40_000..=50_000)), "{:?}", web.asked());
}

/// An image whose tag moved: told, and taken away again before a pod may ask for it.
#[test]
fn an_image_with_a_wrong_digest_is_taken_away_again() {
    let host = Host::new();
    let task = |have: &str| {
        format!(
            "CRI_SOCKET=unix:///run/none.sock\ncrictl() {{ echo \"crictl $*\" >>\"$ROOT/done\"; }}\n\
             ctr() {{ case \"$*\" in *'images ls'*) printf 'REF TYPE DIGEST\\nr.example/i:1 index {have}\\n' ;; *) echo \"ctr $*\" >>\"$ROOT/done\" ;; esac; }}\n\
             pull r.example/i:1 sha256:planned"
        )
    };
    let said = ends(&host.run(RUNTIME, &task("sha256:other")), 22);
    assert!(
        said.contains("has the digest sha256:other, but sha256:planned is expected; it was removed again"),
        "{said}"
    );
    let done = fs::read_to_string(host.path("done")).unwrap();
    assert!(done.contains("images rm r.example/i:1 r.example/i@sha256:other"), "{done}");

    fs::remove_file(host.path("done")).unwrap();
    let said = ends(&host.run(RUNTIME, &task("sha256:planned")), 0);
    assert!(said.contains("digest as planned"), "{said}");
    assert!(!fs::read_to_string(host.path("done")).unwrap().contains("images rm"));
}

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        assert!(std::env::var_os("KUBEWRIGHT_REQUIRE_LAB").is_none(), "this test needs root");
        eprintln!("SKIPPED: this test needs root to mount a small file system");
    }
    root
}
