use std::time::Duration;

use jiff::Timestamp;
use kubewright_core::facts::Facts;
use kubewright_core::journal::Event;
use kubewright_core::plan::digest_of;
use kubewright_core::summary::sample;
use tempfile::TempDir;

use super::*;
use crate::host::fake::{FakeHosts, Fault};
use crate::store::Journal;

const ID: &str = "7f3a";
/// A number that no process of Linux has.
const NOBODY: u32 = u32::MAX;

/// Three control planes, a state folder, and the sample's plan.
struct Scene {
    _folder: TempDir,
    operations: Operations,
    hosts: FakeHosts,
    spec: Spec,
}

fn scene() -> Scene {
    let folder = TempDir::new().unwrap();
    let spec = sample::plan().spec;
    let names: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
    Scene { operations: Operations::new(folder.path()), _folder: folder, hosts: FakeHosts::new(names), spec }
}

fn plan_bytes() -> Vec<u8> {
    serde_json::to_vec_pretty(&sample::plan()).unwrap()
}

/// A journal taken up with these numbers; `by` makes it differ from others.
fn journal(fences: &[(u64, &str)]) -> Vec<u8> {
    let plan = sample::plan();
    let digest = digest_of(&plan_bytes());
    let mut journal = Journal::resume(Box::new(tempfile::tempfile().unwrap()), Vec::new(), &plan, &digest).unwrap();
    let mut say = |event| journal.record(Timestamp::UNIX_EPOCH, &event).unwrap();
    say(Event::Accepted { operation: plan.operation.clone(), plan_digest: digest.clone(), by: "a@a".into() });
    for (fence, by) in fences {
        say(Event::TakenUp { by: (*by).into(), fence: *fence });
    }
    journal.bytes().to_vec()
}

impl Scene {
    fn put(&self, host: &str, operation: &str, name: &str, bytes: impl Into<Vec<u8>>) {
        self.hosts.put_file(host, &format!("/var/lib/kubewright/ops/{operation}/{name}"), 0o600, bytes);
    }

    fn mirrored(&self, host: &str, journal: impl Into<Vec<u8>>) {
        self.put(host, ID, "plan.json", plan_bytes());
        self.put(host, ID, "facts.json", serde_json::to_vec(&Facts::default()).unwrap());
        self.put(host, ID, "journal.jsonl", journal);
    }

    fn local(&self, journal: &[u8]) {
        let operation = self.operations.create(&sample::plan(), &Facts::default()).unwrap();
        std::fs::write(operation.folder.join("journal.jsonl"), journal).unwrap();
    }

    async fn recover(&self) -> Result<(Operation, Vec<String>), RecoverError> {
        let hold = self.operations.hold(&ID.into())?;
        let mut notes = Vec::new();
        let operation = up_to_date(&self.operations, hold, &self.spec, &self.hosts, &mut notes).await?;
        Ok((operation, notes))
    }

    async fn which(&self, wanted: Option<&str>) -> (Result<OperationId, RecoverError>, Vec<String>) {
        let mut notes = Vec::new();
        (unfinished(&self.spec, &self.hosts, wanted, &mut notes).await, notes)
    }
}

#[tokio::test]
async fn the_longest_copy_is_adopted() {
    let scene = scene();
    scene.local(&journal(&[(1, "a@a")]));
    scene.mirrored("cp1", journal(&[(1, "a@a")]));
    scene.mirrored("cp2", journal(&[(1, "a@a"), (2, "b@b")]));
    let (operation, notes) = scene.recover().await.unwrap();
    assert_eq!((operation.journal.status().fence, notes.len()), (2, 0));
    assert!(!operation.folder.join("journal.jsonl.fork-1").exists());
}

#[tokio::test]
async fn what_is_here_is_kept_when_it_knows_more_and_a_torn_line_is_nobodys_word() {
    let scene = scene();
    let mut torn = journal(&[(1, "a@a"), (2, "b@b")]);
    torn.extend_from_slice(b"{\"seq\":3");
    scene.local(&torn);
    scene.mirrored("cp1", journal(&[(1, "a@a")]));
    assert_eq!(scene.recover().await.unwrap().0.journal.status().fence, 2);
}

#[tokio::test]
async fn of_a_fork_the_higher_fence_wins_on_either_side() {
    let (old, new) = (journal(&[(1, "a@a"), (2, "a@a"), (3, "a@a")]), journal(&[(1, "a@a"), (7, "b@b")]));
    let scene = scene();
    scene.local(&old);
    scene.mirrored("cp1", new.clone());
    let (operation, notes) = scene.recover().await.unwrap();
    assert_eq!(operation.journal.bytes(), new);
    assert_eq!(std::fs::read(operation.folder.join("journal.jsonl.fork-1")).unwrap(), old);
    assert!(notes[0].contains("fence 7 on cp1 took over"), "{notes:?}");

    let scene = self::scene();
    scene.local(&new);
    scene.mirrored("cp1", old);
    assert_eq!(scene.recover().await.unwrap().0.journal.bytes(), new);
}

#[tokio::test]
async fn the_same_fence_twice_is_in_doubt() {
    let scene = scene();
    scene.local(&journal(&[(2, "a@a")]));
    scene.mirrored("cp1", journal(&[(2, "b@b")]));
    let error = scene.recover().await.err().unwrap();
    assert!(matches!(error, RecoverError::Doubt { .. }), "{error}");
}

#[tokio::test]
async fn copies_that_cannot_be_read_are_passed_over_with_a_note() {
    let scene = scene();
    scene.mirrored("cp1", "nonsense\n");
    scene.mirrored("cp2", journal(&[(1, "a@a")]));
    scene.hosts.fault("cp3", "connect", Fault::Refused);
    let (operation, notes) = scene.recover().await.unwrap();
    assert_eq!(operation.journal.status().fence, 1);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].starts_with("the copy on cp1: "), "{notes:?}");
}

#[tokio::test]
async fn a_damaged_journal_here_is_never_replaced() {
    let scene = scene();
    scene.local(b"nonsense\n");
    scene.mirrored("cp1", journal(&[(1, "a@a")]));
    assert!(matches!(scene.recover().await, Err(RecoverError::Store(StoreError::Journal { .. }))));
    assert_eq!(scene.operations.journal_bytes(&ID.into()).unwrap(), b"nonsense\n");
}

#[tokio::test]
async fn another_process_is_seen_before_any_host_is_asked() {
    let scene = scene();
    scene.local(&journal(&[(1, "a@a")]));
    let _working = scene.operations.hold(&ID.into()).unwrap();
    assert!(matches!(scene.recover().await, Err(RecoverError::Store(StoreError::Busy(_)))));
    assert!(scene.hosts.calls().is_empty());
}

#[tokio::test]
async fn a_copy_with_the_plan_of_another_operation_is_refused() {
    let scene = scene();
    scene.put("cp1", "beef", "plan.json", plan_bytes());
    scene.put("cp1", "beef", "facts.json", serde_json::to_vec(&Facts::default()).unwrap());
    let hold = scene.operations.hold(&"beef".into()).unwrap();
    let error = up_to_date(&scene.operations, hold, &scene.spec, &scene.hosts, &mut Vec::new()).await.err().unwrap();
    assert!(error.to_string().contains("holds the plan of operation 7f3a"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn hosts_are_asked_at_the_same_time() {
    let scene = scene();
    scene.mirrored("cp1", journal(&[(1, "a@a")]));
    let scene = Scene { hosts: scene.hosts.delay(Duration::from_millis(200)), ..scene };
    let begin = tokio::time::Instant::now();
    scene.recover().await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(300), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn the_unfinished_one_is_found_past_damaged_and_finished_ones() {
    let scene = scene();
    scene.mirrored("cp1", journal(&[(1, "a@a")]));
    scene.put("cp2", "dead", "journal.jsonl", "x\n");
    scene.put("cp2", "Not A Name", "plan.json", "x");
    let (found, notes) = scene.which(None).await;
    assert_eq!(found.unwrap().as_str(), ID);
    assert!(notes[0].contains("dead is left out"), "{notes:?}");
    assert_eq!(scene.which(Some("de")).await.0.unwrap().as_str(), "dead", "the one wanted is told about later");
    assert!(matches!(scene.which(Some("cafe")).await.0, Err(RecoverError::Nothing { .. })));
}

#[tokio::test]
async fn nothing_is_unfinished_after_an_end() {
    let scene = scene();
    let plan = sample::plan();
    let digest = digest_of(&plan_bytes());
    let mut gone =
        Journal::resume(Box::new(tempfile::tempfile().unwrap()), journal(&[(1, "a@a")]), &plan, &digest).unwrap();
    gone.record(Timestamp::UNIX_EPOCH, &Event::Abandoned { by: "a@a".into() }).unwrap();
    scene.mirrored("cp1", gone.bytes());
    assert!(matches!(scene.which(None).await.0, Err(RecoverError::Nothing { .. })));
    for name in ["cp1", "cp2", "cp3"] {
        scene.hosts.fault(name, "connect", Fault::Refused);
    }
    assert!(matches!(scene.which(None).await.0, Err(RecoverError::Host(_))));
}

#[tokio::test]
async fn a_lock_that_a_dead_process_left_is_seen_and_given_back() {
    let scene = scene();
    scene.local(&journal(&[(1, "a@a")]));
    let (operation, _) = scene.recover().await.unwrap();
    assert!(!still_locked(&scene.hosts, &operation.plan).await);
    let (operation, scene) = (&operation, &scene);
    let take = |pid: u32| async move {
        let holder = crate::exec::lock::holder(&operation.plan, "a@a".into(), Timestamp::UNIX_EPOCH);
        let holder = kubewright_core::facts::lock::Holder { pid, ..holder };
        Lock::take(&scene.hosts, &operation.plan.keepers, &scene.spec, holder, false).await.unwrap()
    };
    take(NOBODY).await;
    assert!(still_locked(&scene.hosts, &operation.plan).await);
    let lock = take(std::process::id()).await;
    let mut notes = Vec::new();
    assert_eq!((publish(&lock, operation, &mut notes).await, notes.len()), (3, 0));
    lock.release().await;
    assert!(!still_locked(&scene.hosts, &operation.plan).await);
    let host = scene.hosts.host(&"cp3".into()).await.unwrap();
    let copy = mirror::fetch(host.as_ref(), &ID.into()).await.unwrap();
    assert_eq!(copy.journal.unwrap(), operation.journal.bytes());
    assert_eq!(copy.plan.unwrap(), operation.plan_bytes);
}
