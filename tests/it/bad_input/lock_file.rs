//! The lock file beside the spec: written by apply and pin, compared with what is published, refused when it is not whole.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use kubewright_core::pins::Pins;

use super::machines::{Site, digest, published};
use crate::cli::bench::{Bench, json_lines};
use crate::host::sshd::possible;
use crate::web::{Reply, Request};

const LOCK: &str = "cluster.lock.yaml";

#[test]
fn a_plan_shows_what_is_published_and_pins_nothing() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    let told = site.run(&["plan"]).ends(4);
    assert!(told.stdout.contains("ART007  info") && told.stdout.contains("apply writes them into"), "{}", told.stdout);
    let told = site.run(&["plan", "--steps"]).ends(4);
    for shown in [format!("kubelet  sha256:{}", digest("kubelet")), "registry.k8s.io/pause:".to_owned()] {
        let squeezed = told.stdout.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(&shown.replace("  ", " ")), "{shown} in\n{}", told.stdout);
    }
    assert_eq!(site.bench.files(), ["cluster.yaml"]);
    site.is_untouched();
}

#[test]
fn what_is_pinned_is_compared_with_what_is_published() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    let told = site.run(&["pin"]).ends(0);
    assert!(told.stdout.contains(&format!("+ kubelet/v1.35.4/amd64 sha256:{}", digest("kubelet"))), "{}", told.stdout);
    site.run(&["pin"]).ends(3);
    let written = site.bench.read(LOCK);
    let told = site.run(&["plan"]).ends(4);
    assert!(!told.stdout.contains("ART007"), "nothing is new: {}", told.stdout);

    // Somebody gives out another kubelet, and another image under a known tag.
    let other = |number: usize, request: &Request| {
        if request.path.contains("kubelet") {
            return Reply::whole(digest("another"));
        }
        if request.path.contains("/pause/") {
            return Reply::status(200).with("Docker-Content-Digest", format!("sha256:{}", digest("other pause")));
        }
        published(number, request)
    };
    let moved = Site::with_mirror(1, other);
    moved.bench.write(LOCK, written.as_bytes());
    for command in [&["plan"][..], &["apply", "--yes"], &["pin"]] {
        let told = moved.run(command).ends(5);
        let said = told.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = 1 + written.lines().position(|line| line.contains("kubelet/")).unwrap();
        for part in [
            "ART005 blocks cp1: kubelet v1.35.4 for amd64 is published as",
            &format!("sha256:{}", digest("another")),
            &format!("but {LOCK}:{line}:"),
            &format!("pins sha256:{}", digest("kubelet")),
            "kubewright pin --update -f cluster.yaml",
            "2 findings block; nothing was changed",
        ] {
            assert!(said.contains(part), "{part} in\n{said}");
        }
        assert_eq!(moved.bench.read(LOCK), written, "{command:?} accepts nothing");
    }
    moved.is_untouched();

    let told = moved.run(&["pin", "--update", "--output", "json"]).ends(0);
    let line = json_lines(&told.stdout).pop().unwrap();
    assert_eq!(line["changed"]["kubelet/v1.35.4/amd64"], format!("sha256:{}", digest("another")));
    assert_eq!(line["changed"].as_object().unwrap().len(), 2);
    assert_eq!((line["added"].as_object().unwrap().len(), line["removed"].as_object().unwrap().len()), (0, 0));
    moved.run(&["plan"]).ends(4);
    moved.is_untouched();
}

#[test]
fn a_new_version_is_added_and_an_update_drops_the_old() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    site.run(&["pin"]).ends(0);
    let before = site.bench.read(LOCK);
    site.bench.write("cluster.yaml", site.spec("1.35.5").as_bytes());
    let told = site.run(&["plan"]).ends(4);
    assert!(told.stdout.contains("ART007"), "{}", told.stdout);
    site.run(&["pin"]).ends(0);
    let both = site.bench.read(LOCK);
    for line in before.lines().filter(|line| line.starts_with("  ")) {
        assert!(both.contains(line), "{line} stays");
    }
    assert!(both.contains("kubelet/v1.35.5/amd64"));
    site.run(&["pin", "--update"]).ends(0);
    let after = site.bench.read(LOCK);
    assert!(after.contains("kubelet/v1.35.5/amd64") && !after.contains("v1.35.4"), "{after}");
}

/// A host that has what is pinned asks nobody; a mirror then needs no files of checksums at all.
#[test]
fn what_is_pinned_and_installed_is_not_asked_for() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    site.run(&["pin"]).ends(0);
    let pinned = kubewright_core::pins::read(LOCK, "cluster.yaml", &site.bench.read(LOCK)).unwrap().pins;
    let before = site.mirror.asked().len();
    fs::create_dir(site.machines[0].path("state/artefacts")).unwrap();
    let mut programs = 0;
    for (item, digest) in pinned.iter() {
        if let kubewright_core::pins::Item::Program { name, .. } = item {
            let stamp = format!("{}\n\n", digest.trim_start_matches("sha256:"));
            site.machines[0].write(&format!("state/artefacts/{name}"), &stamp);
            programs += 1;
        }
    }
    site.run(&["plan"]).ends(4);
    let asked = site.mirror.asked().split_off(before);
    assert!(asked.iter().all(|request| request.path.starts_with("/v2/")), "{asked:?}");
    assert_eq!(asked.len(), pinned.len() - programs, "only for images, which no containerd holds here");
}

#[test]
fn a_pinned_program_needs_no_published_checksum() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    site.run(&["pin"]).ends(0);
    let bare = |number: usize, request: &Request| {
        if request.path.starts_with("/v2/") { published(number, request) } else { Reply::status(404) }
    };
    let without = Site::with_mirror(1, bare);
    let told = without.run(&["plan"]).ends(5);
    assert!(told.stderr.contains("ART001  blocks"), "{}", told.stderr);
    without.bench.write(LOCK, site.bench.read(LOCK).as_bytes());
    without.run(&["plan"]).ends(4);
}

#[test]
fn a_saved_plan_carries_its_digests() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    site.run(&["plan", "-o", "lab.plan"]).ends(4);
    let plan: serde_json::Value = serde_json::from_str(&site.bench.read("lab.plan")).unwrap();
    let text = plan.to_string();
    assert!(text.contains(&digest("kubelet")) && text.contains("sha256:"), "{text}");
    assert_eq!(site.bench.files().iter().filter(|name| name.contains("lock")).count(), 0);
}

/// Docker Hub and ghcr.io want a token even from those who may have everything.
#[test]
fn a_registry_that_wants_a_token_is_given_one() {
    if !possible() {
        return;
    }
    let answer = |number: usize, request: &Request| {
        let host = &request.headers["host"];
        if request.path.starts_with("/token?service=registry.test&scope=repository%3A")
            || request.path.starts_with("/token?service=registry.test&scope=repository%3a")
        {
            return Reply::whole(r#"{"expires_in":300,"token":"letters.and-DIGITS_9"}"#);
        }
        if request.path.starts_with("/v2/")
            && request.headers.get("authorization").map(String::as_str) != Some("Bearer letters.and-DIGITS_9")
        {
            let challenge =
                format!("Bearer realm=\"http://{host}/token\",service=\"registry.test\",scope=\"repository:x/y:pull\"");
            return Reply::status(401).with("WWW-Authenticate", challenge);
        }
        published(number, request)
    };
    let site = Site::with_mirror(1, answer);
    site.run(&["pin"]).ends(0);
    assert!(site.bench.read(LOCK).contains("registry.k8s.io/pause:"));
}

#[test]
fn the_second_mirror_is_asked_where_the_first_has_nothing() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    let empty = crate::web::Web::start(|_, _| Reply::status(404));
    let spec = site.spec("1.35.4");
    let one = format!("registry.k8s.io: {}", site.mirror.url(""));
    let two = format!("registry.k8s.io: [\"{}\", \"{}\"]", empty.url("/v2/empty"), site.mirror.url(""));
    site.bench.write("cluster.yaml", spec.replace(&one, &two).as_bytes());
    site.run(&["pin"]).ends(0);
    assert!(
        empty
            .asked()
            .iter()
            .all(|request| request.path.starts_with("/v2/empty/") && request.path.ends_with("?ns=registry.k8s.io"))
    );
    assert!(!empty.asked().is_empty());

    let none = format!("registry.k8s.io: [\"{}\"]", empty.url(""));
    site.bench.write("cluster.yaml", spec.replace(&one, &none).as_bytes());
    let told = site.run(&["plan"]).ends(5);
    assert!(told.stderr.contains("ART002  blocks") && told.stderr.contains("answers 404"), "{}", told.stderr);
}

fn written() -> String {
    let image = kubewright_core::pins::Item::Image("registry.k8s.io/pause:3.10.1".into());
    let pins: Pins = [(image, format!("sha256:{}", digest("pause")))].into_iter().collect();
    pins.text("cluster.yaml")
}

#[test]
fn a_lock_file_that_is_not_whole_contacts_nobody() {
    let bench = Bench::new();
    bench.write("cluster.yaml", bench.out_of_reach(1).as_bytes());
    let whole = written();
    let (half, cut) = (&whole[..whole.len() / 2], &whole[..whole.len() - 20]);
    let pause = digest("pause");
    let cases: [(&str, &[u8]); 7] = [
        ("--> cluster.lock.yaml:", half.as_bytes()),
        ("error[LOCK001]: `sha256:", cut.as_bytes()),
        ("error[SPEC001]: the file holds no YAML document", b""),
        (
            "error[LOCK002]: the lock file was changed by other hands, or lost lines",
            &whole.replace(&pause, &digest("x")).into_bytes(),
        ),
        (
            "error[LOCK003]: the lock file has the format `kubewright.dev/v2`",
            &whole.replace("v1alpha1", "v2").into_bytes(),
        ),
        (
            "cluster.lock.yaml:3:1: this is not text in UTF-8",
            &[whole.lines().take(2).map(|line| format!("{line}\n")).collect::<String>().as_bytes(), b"\xff"].concat(),
        ),
        ("error[SPEC001]: this is not YAML", &whole.replace("images:", "<<<<<<< a\nimages:\n=======\n").into_bytes()),
    ];
    for (said, bytes) in cases {
        bench.write(LOCK, bytes);
        for arguments in [&["validate"][..], &["plan"], &["apply", "--yes"], &["pin"]] {
            let told = bench.run(arguments).ends(2);
            assert!(told.stderr.contains(said), "{said} in\n{}", told.stderr);
            assert!(told.stderr.contains("nothing was contacted"), "{}", told.stderr);
            assert!(!told.stderr.contains("HOST001"), "{}", told.stderr);
        }
        assert_eq!(fs::read(bench.path(LOCK)).unwrap(), bytes, "it is left for a person to look at");
    }
    fs::remove_file(bench.path(LOCK)).unwrap();
    fs::create_dir(bench.path(LOCK)).unwrap();
    let told = bench.run(&["plan"]).ends(2);
    assert!(told.stderr.contains("cluster.lock.yaml: Is a directory"), "{}", told.stderr);
}

/// As root every folder is writable, so root is run without the right to pass over permissions.
#[test]
fn a_folder_that_cannot_be_written_is_told_before_anything_is_done() {
    if !possible() {
        return;
    }
    let site = Site::new(1);
    let folder = site.bench.path("");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    for command in [&["pin"][..], &["apply", "--yes", "--consent", "HOST046"]] {
        let mut confined = Command::new("setpriv");
        confined.args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]);
        let told = site.bench.run_through(confined, command).ends(2);
        assert!(told.stderr.contains("cluster.lock.yaml: Permission denied"), "{}", told.stderr);
        assert!(
            told.stderr.contains("nothing was changed") && told.stderr.contains("kubewright plan -o"),
            "{}",
            told.stderr
        );
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(site.bench.files(), ["cluster.yaml"]);
    site.is_untouched();
}
