//! What every host with systemd has to do for us: units, the fence, files, the mirror, facts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and `unwrap` says so in the fewest words")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use kubewright::facts::{Questions, gather};
use kubewright::host::fence::{Taken, read_lock, release_lock, renew_lock, run_fenced, take_lock};
use kubewright::host::files::{RemoteFile, put_files, read_files, remove_files};
use kubewright::host::mirror::{Appended, MirrorFile, append, fetch, list, replace};
use kubewright::host::unit::{UnitEnd, UnitName, UnitState, run_unit, running_units, unit_state};
use kubewright::ports::{Host, HostError, Hosts, Script, quiet};
use kubewright_core::facts::lock::Holder;
use secrecy::{ExposeSecret, SecretString};

/// A folder of its own on the host; [`clean`] removes it.
const FOLDER: &str = "/var/lib/kubewright-test";

fn holder(operation: &str) -> Holder {
    Holder {
        operation: operation.into(),
        cluster: "contract".to_owned(),
        holder: "it's me@here".to_owned(),
        pid: 1,
        machine_id: Some("0123".to_owned()),
        boot_id: Some("4567".to_owned()),
        pid_namespace: Some("pid:[1]".to_owned()),
        started: Some(1),
        since: Timestamp::UNIX_EPOCH,
        doing: "a \"test\"".to_owned(),
        seen: Timestamp::UNIX_EPOCH,
    }
}

async fn said(host: &dyn Host, text: &'static str) -> String {
    host.run(&Script::new("test.sh", text), &mut quiet()).await.unwrap().stdout
}

/// The lock: taken, refused, renewed, overtaken, given back. Ends with a fence above all it used, which it returns.
pub async fn fence(host: &dyn Host) -> u64 {
    let begin = read_lock(host).await.unwrap().lock.fence;
    let (first, second) = (holder("aaaa"), holder("bbbb"));
    assert_eq!(take_lock(host, begin, begin + 1, &first).await.unwrap(), Taken::Ours);
    assert_eq!(take_lock(host, begin, begin + 1, &first).await.unwrap(), Taken::Ours, "the same again");
    assert_eq!(read_lock(host).await.unwrap().lock.holder, Some(first.clone()));
    match take_lock(host, begin, begin + 1, &second).await.unwrap() {
        Taken::Refused(lock) => assert_eq!((lock.fence, lock.holder), (begin + 1, Some(first.clone()))),
        Taken::Ours => panic!("two holders"),
    }
    let busy = Holder { doing: "something else".to_owned(), ..first.clone() };
    renew_lock(host, begin + 1, &busy).await.unwrap();
    assert_eq!(take_lock(host, begin + 1, begin + 2, &second).await.unwrap(), Taken::Ours);
    for refused in [renew_lock(host, begin + 1, &busy).await, release_lock(host, begin + 1).await] {
        assert!(matches!(refused, Err(HostError::Fenced { ours, seen, .. }) if (ours, seen) == (begin + 1, begin + 2)));
    }
    let script = Script::new("test.sh", "echo never");
    let refused = run_fenced(host, begin + 1, &script, &mut quiet()).await;
    assert!(matches!(refused, Err(HostError::Fenced { seen, .. }) if seen == begin + 2), "{refused:?}");
    release_lock(host, begin + 2).await.unwrap();
    let seen = read_lock(host).await.unwrap();
    assert!((0..60).contains(&seen.age.as_secs()), "{:?}", seen.age);
    let lock = seen.lock;
    assert_eq!((lock.fence, lock.holder), (begin + 2, None));
    // A host that was away when the lock was taken learns the number from the first script.
    assert_eq!(run_fenced(host, begin + 5, &script, &mut quiet()).await.unwrap().stdout, "never\n");
    assert_eq!(read_lock(host).await.unwrap().lock.fence, begin + 5);
    begin + 5
}

/// A takeover waits for a fenced script that runs, and one that starts afterwards is refused.
pub async fn takeover_waits(host: &dyn Host, fence: u64) -> u64 {
    let begin = Instant::now();
    let script = Script::new("test.sh", "echo begun; sleep 0.7; echo end");
    let holder = holder("cccc");
    let (started, has_started) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    let mut lines = |line: &str| {
        if let Some(started) = started.take() {
            assert_eq!(line, "begun");
            started.send(()).unwrap();
        }
    };
    let run = run_fenced(host, fence, &script, &mut lines);
    let take = async {
        has_started.await.unwrap();
        take_lock(host, fence, fence + 1, &holder).await.unwrap()
    };
    let (run, taken) = tokio::join!(run, take);
    assert_eq!(run.unwrap().stdout, "begun\nend\n");
    assert_eq!(taken, Taken::Ours);
    assert!(begin.elapsed() >= Duration::from_millis(700));
    fence + 1
}

/// Units: output as it comes, status, again without a second run, in parallel, stopped from outside, large output.
pub async fn units(host: &dyn Host, fence: u64, operation: &str) {
    let unit = |step: &str, attempt| UnitName { operation: operation.into(), step: step.into(), attempt };
    let counting = || {
        Script::new("test.sh", "echo \"count $WORD\"; echo again >>\"$FILE\"; echo oops >&2; exit 3")
            .value("WORD", "it's \"one\"")
            .value("FILE", format!("{FOLDER}/count"))
            .secret("KEY", SecretString::from("hunter2"))
    };
    put_files(host, fence, &[RemoteFile::folder(FOLDER, 0o700)]).await.unwrap();
    assert_eq!(unit_state(host, &unit("01-count", 1)).await.unwrap(), UnitState::Absent);
    for _ in 0..2 {
        let mut lines = Vec::new();
        let result =
            run_unit(host, &unit("01-count", 1), fence, &counting(), &mut |line: &str| lines.push(line.to_owned()))
                .await
                .unwrap();
        assert_eq!(result.end, UnitEnd::Finished { status: 3 });
        assert_eq!(result.output_tail, "count it's \"one\"\noops\n");
        assert_eq!(lines, ["count it's \"one\"", "oops"]);
    }
    let file = format!("{FOLDER}/count");
    let counted = read_files(host, &[&file]).await.unwrap();
    assert_eq!(counted[&file].contents.expose_secret(), b"again\n", "it ran once");
    assert_eq!(unit_state(host, &unit("01-count", 1)).await.unwrap(), UnitState::Finished { status: 3 });
    assert_eq!(
        said(host, "grep -rl hunter2 /run/kubewright /var/lib/kubewright 2>/dev/null; true").await,
        "",
        "no secret is left"
    );

    // Live, not at the end.
    let slow = Script::new("test.sh", "echo one; sleep 0.6; printf two");
    let begin = Instant::now();
    let first = Arc::new(Mutex::new(None));
    let mut see = |line: &str| {
        if line == "one" {
            first.lock().unwrap().get_or_insert(begin.elapsed());
        }
    };
    let result = run_unit(host, &unit("02-slow", 1), fence, &slow, &mut see).await.unwrap();
    assert_eq!(result.output_tail, "one\ntwo\n");
    let (first, all) = (first.lock().unwrap().unwrap(), begin.elapsed());
    assert!(all - first > Duration::from_millis(500), "the first line came after {first:?} of {all:?}");

    // Whoever comes meanwhile attaches: four watchers, one run.
    let shared = Script::new("test.sh", "echo \"$$\"; sleep 0.5");
    let name = unit("03-shared", 1);
    let watch = || async { run_unit(host, &name, fence, &shared, &mut quiet()).await.unwrap() };
    let results = join_all((0..4).map(|_| watch())).await;
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");

    let long = Script::new(
        "test.sh",
        "i=0; while [ $i -lt 60000 ]; do echo \"line $i xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"; i=$((i + 1)); done",
    );
    let result = run_unit(host, &unit("04-long", 1), fence, &long, &mut quiet()).await.unwrap();
    assert_eq!(result.end, UnitEnd::Finished { status: 0 });
    assert!(result.output_tail.len() <= 64 << 10 && result.output_tail.len() > 60 << 10);

    // Stopped from outside: no result, no second run.
    let name = unit("05-stopped", 1);
    let endless = Script::new("test.sh", "echo up; exec sleep 1000");
    let stop = Script::new("test.sh", "systemctl stop \"$UNIT\"").value("UNIT", name.systemd());
    let (up, is_up) = tokio::sync::oneshot::channel();
    let mut up = Some(up);
    let mut lines = |_: &str| {
        if let Some(up) = up.take() {
            up.send(()).unwrap();
        }
    };
    let run = run_unit(host, &name, fence, &endless, &mut lines);
    let stopping = async {
        is_up.await.unwrap();
        assert_eq!(unit_state(host, &name).await.unwrap(), UnitState::Running);
        assert_eq!(running_units(host).await.unwrap(), std::slice::from_ref(&name));
        host.run(&stop, &mut quiet()).await.unwrap();
    };
    let (result, ()) = tokio::join!(run, stopping);
    assert_eq!(
        result.unwrap(),
        kubewright::host::unit::UnitResult { end: UnitEnd::Vanished, output_tail: "up\n".to_owned() }
    );
    assert_eq!(run_unit(host, &name, fence, &endless, &mut quiet()).await.unwrap().end, UnitEnd::Vanished);
    assert_eq!(unit_state(host, &name).await.unwrap(), UnitState::Vanished);
    assert_eq!(running_units(host).await.unwrap(), []);
}

/// Files: modes and owner, unchanged ones untouched, links, folders, odd contents, nothing replaced on failure.
pub async fn files(host: &dyn Host, fence: u64) {
    let path = |name: &str| format!("{FOLDER}/files/{name}");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let files = [
        RemoteFile::folder(path("secret"), 0o700),
        RemoteFile::secret(path("secret/key"), 0o600, SecretString::from("hunter2\n")),
        RemoteFile::plain(path("bytes"), 0o644, bytes.clone()),
        RemoteFile::plain(path("empty"), 0o640, ""),
        RemoteFile::plain(path("deep/er/file"), 0o755, "#!/bin/sh\n"),
        RemoteFile::link(path("current"), "bytes"),
    ];
    let all: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(put_files(host, fence, &files).await.unwrap(), all);
    assert_eq!(put_files(host, fence, &files).await.unwrap(), Vec::<String>::new(), "nothing to do");
    let listing = said(host, "cd /var/lib/kubewright-test/files && stat -c '%n %a %U %F' secret secret/key bytes empty deep/er/file current && readlink current && ls -A . secret deep/er").await;
    assert_eq!(
        listing,
        "secret 700 root directory\nsecret/key 600 root regular file\nbytes 644 root regular file\nempty 640 root regular empty file\n\
         deep/er/file 755 root regular file\ncurrent 777 root symbolic link\nbytes\n\
         .:\nbytes\ncurrent\ndeep\nempty\nsecret\n\ndeep/er:\nfile\n\nsecret:\nkey\n",
        "nothing else is left"
    );
    let read = read_files(host, &all).await.unwrap();
    assert_eq!(read[&path("bytes")].contents.expose_secret(), bytes);
    assert_eq!((read[&path("secret/key")].mode, read[&path("empty")].contents.expose_secret().len()), (0o600, 0));
    assert!(!read.contains_key(&path("secret")));

    // Only what differs, be it the mode alone.
    let mut changed = files.clone();
    changed[2].contents = kubewright::host::files::Contents::Plain(b"other".to_vec());
    changed[3].mode = 0o600;
    assert_eq!(put_files(host, fence, &changed).await.unwrap(), [path("bytes"), path("empty")]);

    // Many at once: the files of one of them, none of it torn.
    let set =
        |word: u8| ["one", "two", "three"].map(|name| RemoteFile::plain(path(name), 0o644, vec![b'a' + word; 50_000]));
    let sets: Vec<_> = (0..8).map(set).collect();
    let outcomes = join_all(sets.iter().map(|set| put_files(host, fence, set))).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let names = ["one", "two", "three"].map(path);
    let read = read_files(host, &names.each_ref().map(String::as_str)).await.unwrap();
    let first = read[&names[0]].contents.expose_secret();
    assert!(first.len() == 50_000 && first.iter().all(|byte| *byte == first[0]));
    assert!(names.iter().all(|name| read[name].contents.expose_secret() == first), "files of different calls");
    remove_files(host, fence, &names.each_ref().map(String::as_str)).await.unwrap();

    // Where one cannot be written, none is replaced.
    let broken = [RemoteFile::plain(path("bytes"), 0o644, "half"), RemoteFile::plain("/proc/nothing/here", 0o644, "x")];
    let error = put_files(host, fence, &broken).await.unwrap_err();
    assert!(matches!(&error, HostError::Failed { stderr, .. } if stderr.contains("nothing was replaced")), "{error:?}");
    assert_eq!(read_files(host, &[&path("bytes")]).await.unwrap()[&path("bytes")].contents.expose_secret(), b"other");
    assert_eq!(said(host, "ls -A /var/lib/kubewright-test/files /run/kubewright | grep -e kubewright-new -e '^files[.]' | grep -v -e : -e '^files.lock$'; true").await, "");

    assert_eq!(
        remove_files(host, fence, &[&path("empty"), &path("current"), &path("none")]).await.unwrap(),
        [path("empty"), path("current")]
    );
    assert!(matches!(
        put_files(host, fence, &[RemoteFile::plain("/tmp/a b", 0o644, "")]).await,
        Err(HostError::Value { .. })
    ));
    assert!(matches!(
        put_files(host, fence, &[RemoteFile::plain("/tmp/../etc/x", 0o644, "")]).await,
        Err(HostError::Value { .. })
    ));
}

/// The disk full in the middle: said so, nothing replaced. On a small file system in memory.
pub async fn full_disk(host: &dyn Host, fence: u64) {
    said(host, "mkdir -p /run/kubewright-small && mount -t tmpfs -o size=64k tmpfs /run/kubewright-small").await;
    let files = [
        RemoteFile::plain("/run/kubewright-small/one", 0o644, vec![b'1'; 20_000]),
        RemoteFile::plain("/run/kubewright-small/two", 0o644, vec![b'2'; 100_000]),
    ];
    let error = put_files(host, fence, &files).await.unwrap_err();
    let left =
        said(host, "ls -A /run/kubewright-small; umount /run/kubewright-small; rmdir /run/kubewright-small").await;
    assert!(
        matches!(&error, HostError::Failed { stderr, .. } if stderr.contains("cannot write /run/kubewright-small")),
        "{error:?}"
    );
    assert_eq!(left, "");
}

/// The mirror: exact offsets, repetition, overlap, gap, conflict, torn writes.
pub async fn mirror(host: &dyn Host, fence: u64, operation: &str) {
    let operation: kubewright_core::ids::OperationId = operation.into();
    let journal = MirrorFile::Journal;
    let put = |offset, bytes: &'static [u8]| append(host, fence, &operation, journal, offset, bytes);
    assert_eq!(put(0, b"one\n").await.unwrap(), Appended::Done { size: 4 });
    assert_eq!(put(0, b"one\n").await.unwrap(), Appended::Done { size: 4 });
    assert_eq!(put(2, b"e\ntwo\n").await.unwrap(), Appended::Done { size: 8 });
    assert_eq!(put(9, b"x").await.unwrap(), Appended::Gap { size: 8 });
    assert_eq!(put(4, b"TWO\n").await.unwrap(), Appended::Conflict { size: 8 });
    assert_eq!(put(8, b"").await.unwrap(), Appended::Done { size: 8 });
    let plan: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    append(host, fence, &operation, MirrorFile::Plan, 0, &plan).await.unwrap();
    let copy = fetch(host, &operation).await.unwrap();
    assert_eq!((copy.journal.unwrap(), copy.plan.unwrap(), copy.facts), (b"one\ntwo\n".to_vec(), plan, None));
    let entry = list(host).await.unwrap().into_iter().find(|entry| entry.operation == operation).unwrap();
    assert_eq!((entry.journal, entry.plan, entry.facts), (Some(8), Some(300_000), None));
    assert!(matches!(append(host, fence - 1, &operation, journal, 0, b"").await, Err(HostError::Fenced { .. })));

    replace(host, fence, &operation, journal, b"one\ntwo\nthree\n").await.unwrap();
    replace(host, fence, &operation, journal, b"other\n").await.unwrap();
    assert_eq!(fetch(host, &operation).await.unwrap().journal.unwrap(), b"other\n");
    let folder = format!("/var/lib/kubewright/ops/{operation}");
    let fork = format!("{folder}/journal.jsonl.fork-1");
    let kept = read_files(host, &[&fork, &format!("{folder}/journal.jsonl.fork-2")]).await.unwrap();
    assert_eq!((kept.len(), kept[&fork].contents.expose_secret()), (1, b"one\ntwo\nthree\n".as_slice()));
    assert!(matches!(replace(host, fence - 1, &operation, journal, b"x").await, Err(HostError::Fenced { .. })));
}

/// Facts of a living host: everything that such a host has is known, and fast.
pub async fn facts(hosts: &dyn Hosts, name: &str) {
    let begin = Instant::now();
    let facts = gather(hosts, &[name.into()], &Questions::default()).await;
    let took = begin.elapsed();
    let fact = &facts.hosts[name];
    let facts = fact.known().unwrap_or_else(|| panic!("{:?}", fact.why()));
    assert_eq!(facts.os.known().unwrap().id, "debian");
    assert!(facts.clock.known().unwrap().skew().as_secs().abs() < 2);
    assert!(!facts.addresses.known().unwrap().is_empty());
    assert!(facts.lock.known().is_some() && facts.running_units.known().unwrap().is_empty());
    assert!(facts.space.known().unwrap()["/var/lib"].free_bytes > 0);
    let text = serde_json::to_value(facts).unwrap();
    let unreadable: Vec<&String> = text
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, fact)| fact.get("unreadable").is_some())
        .map(|(name, _)| name)
        .collect();
    assert!(unreadable.is_empty(), "{unreadable:?}: {text:#}");
    eprintln!("facts after {took:?}");
}

/// Removes what the functions above have left.
pub async fn clean(host: &dyn Host, operation: &str) {
    let script = Script::new(
        "test.sh",
        "rm -rf /var/lib/kubewright-test \"/var/lib/kubewright/ops/$OPERATION\" \"/run/kubewright/$OPERATION\"
         systemctl stop \"kubewright-$OPERATION-*\"; systemctl reset-failed \"kubewright-$OPERATION-*\" 2>/dev/null; true",
    );
    host.run(&script.value("OPERATION", operation), &mut quiet()).await.unwrap();
}

/// All of it, on one host as one user sees it. It raises the host's fence: nothing of a run may come after it.
pub async fn kept(hosts: &dyn Hosts, name: &str, operation: &str) {
    let host = hosts.host(&name.into()).await.unwrap();
    let host = host.as_ref();
    clean(host, operation).await;
    let number = fence(host).await;
    let number = takeover_waits(host, number).await;
    units(host, number, operation).await;
    files(host, number).await;
    full_disk(host, number).await;
    mirror(host, number, operation).await;
    facts(hosts, name).await;
    clean(host, operation).await;
}
