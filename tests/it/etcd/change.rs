//! Plans that restart and replace members, run by the one executor on real members while a client writes. The hosts are in memory;
//! what their scripts would do to etcd is done to its processes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client, GetOptions};
use kubewright::exec::driver::End;
use kubewright::host::fake::{FakeHosts, Reply};
use kubewright::kube::Way;
use kubewright::ports::{EtcdApi, SystemClock};
use kubewright_core::facts::Facts;
use kubewright_core::facts::etcd::EtcdFacts;
use kubewright_core::ids::HostName;
use kubewright_core::intent::{EtcdWork, MemberWork};
use kubewright_core::plan::Plan;
use kubewright_core::quorum::{Standing, View};
use kubewright_core::spec::Spec;
use tokio_util::sync::CancellationToken;

use super::members::{self, Members};
use super::{all_well, id, until};
use crate::hands::{Agreeable, Reached, run};
use crate::kube_api::tunnel::TunnelHosts;
use crate::setting::{self, are_part, changing, working};

/// How long a write may be held up on a machine that is busy with other tests. etcd itself gives a request up after seven
/// seconds, and one member's end costs the others an election at most.
const HANGS: Duration = Duration::from_secs(20);

/// The lab's control planes, where the members are. No spec could name them: nobody else reaches a loopback address.
fn spec() -> Spec {
    let mut spec = setting::spec();
    spec.hosts.retain(|host| host.name.as_str().starts_with("cp"));
    for (number, host) in (1..).zip(&mut spec.hosts) {
        host.private_address = members::address(number).into();
    }
    spec
}

fn number(host: &HostName) -> u8 {
    host.as_str().trim_start_matches("cp").parse().unwrap()
}

/// Hosts whose scripts end and start the members' processes.
fn hosts(members: &Arc<Mutex<Members>>, spec: &Spec) -> FakeHosts {
    let (restarts, loses, starts) = (members.clone(), members.clone(), members.clone());
    let hosts = FakeHosts::new(spec.hosts.iter().map(|host| host.name.clone()))
        .on("debian/restart-etcd.sh", move |call| {
            let mut members = restarts.lock().unwrap();
            members.kill(number(&call.host));
            members.launch(number(&call.host), "existing", &[1, 2, 3]);
            Reply::ok(":: etcd: ending\n")
        })
        .on("debian/set-etcd-aside.sh", move |call| {
            loses.lock().unwrap().lose(number(&call.host));
            Reply::ok(":: etcd: ended\n")
        })
        .on("debian/start-etcd-member.sh", move |call| {
            starts.lock().unwrap().launch(number(&call.host), "existing", &[1, 2, 3]);
            Reply::ok(":: etcd: healthy\n")
        })
        .on("debian/start-control-plane.sh", |_| Reply::ok(":: control plane healthy\n"))
        .on("debian/verify.sh", |_| Reply::ok("not-done: nobody knows\n"));
    are_part(&hosts, spec);
    hosts
}

/// Writes one key after the other, through whichever member takes it, until it is told to stop; the keys that were confirmed, and the
/// longest time between two of them.
async fn write(mut clients: Vec<Client>, stop: CancellationToken) -> (BTreeSet<String>, Duration) {
    let (mut confirmed, mut longest, mut last) = (BTreeSet::new(), Duration::ZERO, Instant::now());
    for count in 0.. {
        if stop.is_cancelled() {
            break;
        }
        let key = format!("/registry/events/default/{count:06}");
        let turn = count % clients.len();
        let put = tokio::time::timeout(Duration::from_secs(2), clients[turn].put(key.clone(), "x", None)).await;
        if matches!(put, Ok(Ok(_))) {
            confirmed.insert(key);
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (confirmed, longest.max(last.elapsed()))
}

async fn keys(client: &mut Client) -> BTreeSet<String> {
    let options = GetOptions::new().with_prefix().with_keys_only();
    let found = client.get("/registry/events/default/", Some(options)).await.unwrap();
    found.kvs().iter().map(|pair| pair.key_str().unwrap().to_owned()).collect()
}

/// A cluster of three, and what a run on it takes.
struct Stage {
    members: Arc<Mutex<Members>>,
    etcd: Arc<dyn EtcdApi>,
    spec: Spec,
    hosts: FakeHosts,
}

impl Stage {
    async fn start(program: std::path::PathBuf) -> Self {
        let members = Members::start(program);
        let etcd = members.cluster(&Way::Ssh(Arc::new(TunnelHosts::default())), &[1, 2, 3]);
        until(&etcd, &members, "a cluster of three", all_well).await;
        let (members, spec) = (Arc::new(Mutex::new(members)), spec());
        let hosts = hosts(&members, &spec);
        Self { members, etcd: Arc::new(etcd), spec, hosts }
    }

    async fn clients(&self, numbers: &[u8]) -> Vec<Client> {
        let mut clients = Vec::new();
        for number in numbers {
            let connect = self.members.lock().unwrap().client_options(*number);
            clients.push(members::connected(connect).await.unwrap());
        }
        clients
    }

    async fn seen(&self) -> EtcdFacts {
        self.etcd.observe().await.unwrap()
    }

    /// The plan with the members' own peer port, which a spec cannot choose.
    fn moved(&self, plan: &Plan) -> Plan {
        let port = self.members.lock().unwrap().peer_port();
        let text = serde_json::to_string(plan).unwrap().replace(":2380\"", &format!(":{port}\""));
        serde_json::from_str(&text).unwrap()
    }

    async fn runs(&self, plan: Plan, facts: Facts) {
        let reached = Reached {
            api: Arc::new(Agreeable::default()),
            etcd: Some(self.etcd.clone()),
            clock: Arc::new(SystemClock),
            death: None,
        };
        let state = tempfile::tempdir().unwrap();
        let end = run(&self.hosts, &reached, &(plan, facts), state.path()).await;
        assert_eq!(end, Ok(End::Finished), "{}", self.logs());
    }

    /// Plans the replacement of a host's member from what is seen now, and runs it.
    async fn replaces(&self, host: &str) {
        let wanted = MemberWork::Replace { host: host.into() };
        let (plan, facts) = changing(&self.spec, &self.hosts, self.etcd.as_ref(), &wanted, &[]).await;
        self.runs(self.moved(&plan), facts).await;
    }

    fn logs(&self) -> String {
        let members = self.members.lock().unwrap();
        (1..=3).map(|number| members.log(number)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_restart_while_clients_write_and_nothing_is_lost() {
    let Some(program) = members::program() else { return };
    let stage = Stage::start(program).await;
    let before = stage.seen().await;
    let stop = CancellationToken::new();
    let writing = tokio::spawn(write(stage.clients(&[1, 2, 3]).await, stop.clone()));
    let restart = EtcdWork::Restart { hosts: Vec::new() };
    let (plan, facts) = working(&stage.spec, &stage.hosts, stage.etcd.as_ref(), &restart, &[]).await;
    let plan = stage.moved(&plan);
    let last = plan.steps[2].target.to_string();
    assert_eq!(View::of(&before).leader(), Some(id(&before, &last)), "who leads is the last");
    stage.runs(plan, facts).await;
    stop.cancel();
    let (confirmed, gap) = writing.await.unwrap();
    eprintln!("{} writes while three members restarted; {gap:.1?} between two at most", confirmed.len());
    assert!(confirmed.len() > 20 && gap < HANGS, "{} writes, {gap:?}", confirmed.len());
    let after = stage.seen().await;
    assert_eq!((after.members, View::of(&before).well()), (before.members.clone(), 3));
    for client in &mut stage.clients(&[1, 2, 3]).await {
        assert!(keys(client).await.is_superset(&confirmed), "a confirmed write is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_is_replaced_while_clients_write_and_nothing_is_lost() {
    let Some(program) = members::program() else { return };
    let stage = Stage::start(program).await;
    let old = id(&stage.seen().await, "cp3");
    let stop = CancellationToken::new();
    let writing = tokio::spawn(write(stage.clients(&[1, 2]).await, stop.clone()));
    stage.members.lock().unwrap().lose(3);
    let deadline = Instant::now() + Duration::from_secs(60);
    let down = |facts: &EtcdFacts| {
        let view = View::of(facts);
        matches!(view.standing(old), Some(Standing::Down(_))) && view.well() == 2
    };
    while !down(&stage.seen().await) {
        assert!(Instant::now() < deadline, "{}", stage.logs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stage.replaces("cp3").await;
    stop.cancel();
    let (confirmed, gap) = writing.await.unwrap();
    eprintln!("{} writes while a member was replaced; {gap:.1?} between two at most", confirmed.len());
    assert!(confirmed.len() > 20 && gap < HANGS, "{} writes, {gap:?}", confirmed.len());
    let after = stage.seen().await;
    assert!(all_well(&after) && id(&after, "cp3") != old, "{after:#?}");
    for client in &mut stage.clients(&[1, 2, 3]).await {
        assert!(keys(client).await.is_superset(&confirmed), "a confirmed write is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_member_is_replaced_and_everything_is_written_again() {
    let Some(program) = members::program() else { return };
    let stage = Stage::start(program).await;
    let old = id(&stage.seen().await, "cp2");
    let mut clients = stage.clients(&[1, 3]).await;
    let mut options = AlarmOptions::new();
    options.with_member(old.0);
    clients[0].alarm(AlarmAction::Activate, AlarmType::Corrupt, Some(options)).await.unwrap();
    assert!(clients[0].put("x", "y", None).await.is_err(), "nothing is written");
    stage.replaces("cp2").await;
    let after = stage.seen().await;
    assert!(all_well(&after) && id(&after, "cp2") != old && after.alarms.is_empty(), "{after:#?}");
    for client in &mut clients {
        client.put("x", "y", None).await.unwrap();
    }
}
