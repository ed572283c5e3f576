use kubewright_core::journal::Event;
use kubewright_core::summary::sample;
use tempfile::TempDir;

use super::*;

/// A state folder with the sample's plan in it, and its id.
fn begun() -> (TempDir, Operations, OperationId) {
    let folder = TempDir::new().unwrap();
    let operations = Operations::new(folder.path());
    let plan = sample::plan();
    let id = plan.operation.clone();
    let mut operation = operations.create(&plan, &Facts::default()).unwrap();
    let accepted = accepted(&operation.journal, &id);
    record(&mut operation.journal, &accepted);
    drop(operation);
    (folder, operations, id)
}

fn accepted(journal: &Journal, id: &OperationId) -> Event {
    Event::Accepted { operation: id.clone(), plan_digest: journal.plan_digest().to_owned(), by: "ada@desk".into() }
}

fn record(journal: &mut Journal, event: &Event) {
    journal.record(jiff::Timestamp::UNIX_EPOCH, event).unwrap();
}

/// The journal of another machine that took the run up with this fence.
fn elsewhere(operations: &Operations, id: &OperationId, fence: u64) -> (Kept, Vec<u8>) {
    let kept = operations.read(id).unwrap();
    let nowhere = Box::new(tempfile::tempfile().unwrap());
    let here = operations.journal_bytes(id).unwrap();
    let mut journal = Journal::resume(nowhere, here, &kept.plan, &kept.digest()).unwrap();
    record(&mut journal, &Event::TakenUp { by: "bob@laptop".into(), fence });
    (kept, journal.bytes().to_vec())
}

#[test]
fn one_process_at_a_time() {
    let (_folder, operations, id) = begun();
    let hold = operations.hold(&id).unwrap();
    assert!(matches!(operations.hold(&id), Err(StoreError::Busy(busy)) if busy == id));
    let operation = operations.open(hold).unwrap();
    assert!(matches!(operations.hold(&id), Err(StoreError::Busy(_))), "open keeps it");
    assert!(matches!(operations.create(&sample::plan(), &Facts::default()), Err(StoreError::Busy(_))));
    drop(operation);
    operations.hold(&id).unwrap();
}

#[test]
fn an_operation_is_begun_once() {
    let (_folder, operations, id) = begun();
    let before = operations.journal_bytes(&id).unwrap();
    let again = operations.create(&sample::plan(), &Facts::default()).err().unwrap();
    assert!(again.to_string().contains("begun already; go on with:  kubewright ops resume 7f3a"), "{again}");
    assert_eq!(operations.journal_bytes(&id).unwrap(), before);
}

#[test]
fn a_folder_that_a_crash_left_without_a_plan_is_used() {
    let folder = TempDir::new().unwrap();
    let operations = Operations::new(folder.path());
    drop(operations.hold(&"7f3a".into()).unwrap());
    assert!(operations.list().unwrap().is_empty());
    assert!(matches!(operations.open(operations.hold(&"7f3a".into()).unwrap()), Err(StoreError::Unknown { .. })));
    operations.create(&sample::plan(), &Facts::default()).unwrap();
}

#[test]
fn bytes_are_kept_as_they_are() {
    let (_folder, operations, id) = begun();
    let path = operations.folder(&id).join(PLAN);
    let operation = operations.open(operations.hold(&id).unwrap()).unwrap();
    assert_eq!(operation.plan_bytes, fs::read(&path).unwrap());
    assert_eq!(operation.journal.plan_digest(), digest_of(&operation.plan_bytes));
    drop(operation);
    // The same plan written otherwise is another file: the journal was not bound to it.
    fs::write(&path, serde_json::to_vec(&sample::plan()).unwrap()).unwrap();
    let error = operations.open(operations.hold(&id).unwrap()).err().unwrap();
    assert!(error.to_string().contains("written for another plan"), "{error}");
}

#[test]
fn a_copy_from_elsewhere_is_kept_whole() {
    let (_folder, operations, id) = begun();
    let (mut kept, journal) = elsewhere(&operations, &id, 4);
    kept.facts_bytes.push(b'\n');
    let operation = operations.adopt(operations.hold(&id).unwrap(), &kept, &journal).unwrap();
    assert_eq!((operation.journal.status().fence, operation.journal.bytes()), (4, journal.as_slice()));
    assert_eq!(operation.facts_bytes, kept.facts_bytes);
    assert!(!operation.folder.join("journal.jsonl.fork-1").exists());
}

#[test]
fn the_loser_of_a_fork_stays_beside() {
    let (_folder, operations, id) = begun();
    let (kept, theirs) = elsewhere(&operations, &id, 4);
    let mut operation = operations.open(operations.hold(&id).unwrap()).unwrap();
    record(&mut operation.journal, &Event::TakenUp { by: "ada@desk".into(), fence: 3 });
    let ours = operation.journal.bytes().to_vec();
    drop(operation);
    let operation = operations.adopt(operations.hold(&id).unwrap(), &kept, &theirs).unwrap();
    assert_eq!(operation.journal.bytes(), theirs);
    assert_eq!(fs::read(operation.folder.join("journal.jsonl.fork-1")).unwrap(), ours);
}

#[test]
fn a_copy_of_something_else_changes_nothing() {
    let (_folder, operations, id) = begun();
    let (kept, journal) = elsewhere(&operations, &id, 4);
    let before = operations.journal_bytes(&id).unwrap();
    let stranger: OperationId = "beef".into();
    let other = operations.adopt(operations.hold(&stranger).unwrap(), &kept, &journal);
    assert!(matches!(other, Err(StoreError::Another { found, .. }) if found == id));
    let torn_inside = journal.iter().map(|byte| if *byte == b'4' { b'5' } else { *byte }).collect::<Vec<_>>();
    let mut edited = torn_inside;
    edited.extend_from_slice(&journal);
    assert!(matches!(operations.adopt(operations.hold(&id).unwrap(), &kept, &edited), Err(StoreError::Journal { .. })));
    assert_eq!(operations.journal_bytes(&id).unwrap(), before);
}

#[test]
fn a_damaged_journal_is_told_and_left_alone() {
    let (_folder, operations, id) = begun();
    let path = operations.folder(&id).join(JOURNAL);
    fs::write(&path, "nonsense\n").unwrap();
    assert!(matches!(operations.open(operations.hold(&id).unwrap()), Err(StoreError::Journal { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"nonsense\n");
}

#[test]
fn folders_of_other_names_are_not_listed() {
    let (_folder, operations, id) = begun();
    let odd = operations.ops().join("Old Copy");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join(PLAN), "{}").unwrap();
    assert_eq!(operations.list().unwrap(), [id]);
}
