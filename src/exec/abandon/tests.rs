use jiff::Timestamp;
use kubewright_core::facts::Facts;
use kubewright_core::spec::Spec;
use kubewright_core::summary::sample;
use tempfile::TempDir;

use super::*;
use crate::exec::lock;
use crate::host::fake::{FakeHosts, Fault};
use crate::host::mirror::fetch;
use crate::host::unit::{UnitName, run_unit};
use crate::ports::{Script, quiet};
use crate::store::Operations;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// A run of the sample in which the steps with these endings were begun.
struct Scene {
    _folder: TempDir,
    operation: Operation,
    hosts: FakeHosts,
    spec: Spec,
}

fn scene(begun: &[&str]) -> Scene {
    let folder = TempDir::new().unwrap();
    let plan = sample::plan();
    let spec = plan.spec.clone();
    let mut operation = Operations::new(folder.path()).create(&plan, &Facts::default()).unwrap();
    let plan_digest = operation.journal.plan_digest().to_owned();
    let mut events = vec![
        Event::Accepted { operation: plan.operation.clone(), plan_digest, by: "a@a".into() },
        Event::TakenUp { by: "a@a".into(), fence: 1 },
    ];
    let steps = plan.steps.iter().filter(|step| begun.iter().any(|verb| step.id.as_str().ends_with(verb)));
    events.extend(steps.map(|step| Event::StepStarted { step: step.id.clone(), attempt: 1 }));
    for event in &events {
        operation.journal.record(Timestamp::UNIX_EPOCH, event).unwrap();
    }
    operation.secrets.keep("keys.json", b"key").unwrap();
    let names: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
    let hosts = FakeHosts::new(names);
    for name in ["cp1", "cp2", "cp3"] {
        hosts.put_file(name, &remote_path(&plan.operation), 0o600, "key");
    }
    Scene { _folder: folder, operation, hosts, spec }
}

fn claim(scene: &Scene, host: &str, operation: &str) {
    let record =
        HostRecord { cluster: scene.spec.name.clone(), operation: operation.into(), roles: Vec::new(), settled: false };
    scene.hosts.put_file(host, HostRecord::PATH, 0o644, serde_json::to_vec(&record).unwrap());
    scene.hosts.put_file(host, CA, 0o644, "ca");
}

impl Scene {
    async fn give_up(&mut self) -> Vec<String> {
        let outlook = look(&self.hosts, &self.operation).await.unwrap();
        let holder = lock::holder(&self.operation.plan, "a@a".into(), Timestamp::UNIX_EPOCH);
        let lock = Lock::take(&self.hosts, &self.operation.plan.keepers, &self.spec, holder, false).await.unwrap();
        let notes = give_up(&self.hosts, &mut self.operation, &lock, &outlook, "b@b", &Noon).await.unwrap();
        lock.release().await;
        notes
    }

    fn has(&self, host: &str, path: &str) -> bool {
        self.hosts.files(host).contains_key(path)
    }
}

#[tokio::test]
async fn a_run_that_only_prepared_leaves_a_free_cluster() {
    let mut scene = scene(&["-prepare", "-keys"]);
    let outlook = look(&scene.hosts, &scene.operation).await.unwrap();
    assert_eq!(outlook.sentences(), ["no host was claimed: a new plan is free"]);
    assert!(scene.give_up().await.is_empty());
    assert_eq!(scene.operation.journal.status().abandoned.as_deref(), Some("b@b"));
    assert!(scene.operation.secrets.load("keys.json").unwrap().is_none());
    for name in ["cp1", "cp2", "cp3"] {
        assert!(!scene.has(name, &remote_path(&scene.operation.plan.operation)));
        assert!(scene.hosts.lock(name).holder.is_none());
        let host = scene.hosts.host(&name.into()).await.unwrap();
        let copy = fetch(host.as_ref(), &scene.operation.plan.operation).await.unwrap();
        assert_eq!(copy.journal.unwrap(), scene.operation.journal.bytes());
    }
}

#[tokio::test]
async fn claims_are_taken_away_where_etcd_never_started() {
    let mut scene = scene(&["-files"]);
    claim(&scene, "cp1", "7f3a");
    claim(&scene, "cp2", "beef");
    scene.give_up().await;
    assert!(!scene.has("cp1", HostRecord::PATH) && !scene.has("cp1", CA));
    assert!(scene.has("cp2", HostRecord::PATH) && scene.has("cp2", CA), "another run's host is not ours to free");
}

#[tokio::test]
async fn a_host_that_may_hold_etcd_data_is_never_touched() {
    let mut scene = scene(&["-files", "cp2-start"]);
    claim(&scene, "cp1", "7f3a");
    claim(&scene, "cp2", "7f3a");
    let sentences = look(&scene.hosts, &scene.operation).await.unwrap().sentences().join("\n");
    assert!(sentences.contains("started on cp2: no host is touched"), "{sentences}");
    assert!(BY_HAND.iter().all(|path| sentences.contains(path)), "{sentences}");
    scene.give_up().await;
    assert!(scene.has("cp1", HostRecord::PATH) && scene.has("cp2", CA));
}

#[tokio::test]
async fn nothing_is_given_up_while_work_goes_on() {
    let scene = scene(&["-prepare"]);
    let unit = UnitName { operation: "7f3a".into(), step: "01-w1-prepare".into(), attempt: 1 };
    let host = scene.hosts.host(&"w1".into()).await.unwrap();
    scene.hosts.fault("w1", "debian/prepare.sh", Fault::LostInside);
    let script = Script::new("debian/prepare.sh", "true");
    run_unit(host.as_ref(), &unit, 1, &script, &mut quiet()).await.unwrap_err();
    let error = look(&scene.hosts, &scene.operation).await.unwrap_err();
    assert!(error.to_string().contains("w1: kubewright-7f3a-01-w1-prepare.1"), "{error}");
}

#[tokio::test]
async fn a_host_that_is_gone_does_not_hold_it_up_and_is_done_later() {
    let mut scene = scene(&["-files"]);
    claim(&scene, "w1", "7f3a");
    scene.hosts.fault("w1", "connect", Fault::Refused);
    let outlook = look(&scene.hosts, &scene.operation).await.unwrap();
    assert_eq!(outlook.silent.len(), 1, "{outlook:?}");
    scene.give_up().await;
    assert!(!scene.has("w1", HostRecord::PATH));
    // The same again finds nothing to do and says no second last word.
    let journal = scene.operation.journal.bytes().to_vec();
    assert!(scene.give_up().await.is_empty());
    assert_eq!(scene.operation.journal.bytes(), journal);
}

#[test]
fn what_a_removal_left_half_done_is_told_with_the_one_command_that_is_safe() {
    let told = |half_out: HalfOut| {
        let remains = Remains { half_out: Some(half_out), ..Remains::default() };
        Outlook { remains, ..Outlook::default() }.sentences().pop().unwrap()
    };
    let still = told(HalfOut::StillThere("cp3".into()));
    assert!(still.ends_with(": kubewright etcd member remove cp3"), "{still}");
    let raised = told(HalfOut::AlarmRaised("8e9e".into()));
    assert!(raised.starts_with("8e9e is off") && raised.ends_with(": kubewright etcd alarm disarm"), "{raised}");
    assert!(told(HalfOut::Unproved("8e9e".into())).ends_with(": kubewright etcd status"));
}
