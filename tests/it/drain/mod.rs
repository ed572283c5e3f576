//! The drain's loop on a cluster in memory: it ends, keeps budgets and cordons of others, and says what it waits for.

pub mod cluster;

use std::time::Duration;

use kubewright::exec::Failure;
use kubewright::exec::cancel::Cancel;
use kubewright::exec::drain::{Errand, empty};
use kubewright::facts::nodes::look;
use kubewright::ports::{Clock, Workloads};
use kubewright_core::drain::{Consent, Deletion, Outcome, Policy, Readiness, Toleration};
use kubewright_core::ids::{HostName, OperationId};
use tokio::time::{Instant, sleep};

use self::cluster::{Cluster, shop};

/// Drains w1; also every line that was told.
async fn drained(cluster: &Cluster, policy: &Policy, cancel: &Cancel) -> (Result<(), Failure>, Vec<String>) {
    let (node, operation) = (HostName::new("w1"), OperationId::new("7f3a9c"));
    let mut told = Vec::new();
    let mut telling = |line: &str| told.push(line.to_owned());
    let errand = Errand { api: cluster, node: &node, operation: &operation, policy, clock: &cluster.clock, cancel };
    let outcome = empty(errand, &mut telling).await;
    (outcome, told)
}

async fn plainly(cluster: &Cluster) -> (Result<(), Failure>, Vec<String>) {
    drained(cluster, &Policy::default(), &Cancel::default()).await
}

fn cordoned_by(cluster: &Cluster) -> (bool, Option<String>) {
    cluster.seen(|state| (!state.nodes["w1"].schedulable, state.nodes["w1"].cordoned_by.clone()))
}

#[tokio::test(start_paused = true)]
async fn budgets_hold_and_nothing_is_asked_in_vain() {
    let cluster = Cluster::new()
        .app("cart", &["w1", "w1", "w1", "w2"])
        .budget("cart", 3)
        .app("web", &["w1", "w1", "w2"])
        .budget("web", 2)
        .app("free", &["w1", "w1"]);
    let (outcome, told) = plainly(&cluster).await;
    assert_eq!(outcome, Ok(()), "{told:#?}");
    assert_eq!(cluster.on("w1"), Vec::<String>::new());
    assert_eq!(cordoned_by(&cluster), (true, Some("7f3a9c".to_owned())));
    cluster.seen(|state| {
        assert_eq!(state.broken, Vec::<String>::new());
        assert_eq!(state.evictions.len(), 7, "one request a pod: {:?}", state.evictions);
        assert!(state.evictions.iter().all(|(_, outcome)| *outcome == Outcome::Accepted));
    });
    assert!(told.iter().any(|line| line.starts_with("7 pods to move")), "{told:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_blocked_drain_explains_itself_and_takes_its_cordon_back() {
    let cluster = Cluster::new().app("cart", &["w1", "w3"]).budget("cart", 1);
    cluster.change(|state| {
        let sick = state.pods.get_mut(&shop("cart-2")).unwrap();
        let since = Some("2026-11-26T10:02:00Z".parse().unwrap());
        sick.readiness = Readiness::NotReady { why: "readiness: HTTP 503".into(), since };
    });
    let began = Instant::now();
    let (outcome, told) = plainly(&cluster).await;
    let failure = outcome.unwrap_err();
    assert!(failure.undone && !failure.stopped);
    assert_eq!(began.elapsed().as_secs(), 180);
    assert_eq!(
        failure.text,
        "w1 cannot be emptied: 1 pod to move, 1 waits\n\
         shop/cart-1 waits\n  \
         budget shop/cart (minAvailable 1): 1 healthy, 1 wanted, 0 may be disrupted\n  \
         because shop/cart-2 on w3 is not Ready since 10:02:00 UTC (readiness: HTTP 503)\n  \
         cheapest: see why shop/cart-2 on w3 is not Ready: kubectl -n shop describe pod cart-2\n\
         our cordon of w1 is undone"
    );
    assert!(told.iter().any(|line| line.contains("because shop/cart-2 on w3")), "{told:#?}");
    assert_eq!(cordoned_by(&cluster), (false, None));
    assert!(cluster.seen(|state| state.evictions.is_empty()), "a budget without room is not asked");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_gets_well_frees_a_drain_that_waits() {
    let cluster = Cluster::new().app("cart", &["w1", "w3"]).budget("cart", 1);
    let sick = |readiness: Readiness| {
        cluster.change(|state| state.pods.get_mut(&shop("cart-2")).unwrap().readiness = readiness);
    };
    sick(Readiness::default());
    let policy = Policy { wait: true, ..Policy::default() };
    let cancel = Cancel::default();
    let began = Instant::now();
    let ((outcome, _), ()) = tokio::join!(drained(&cluster, &policy, &cancel), async {
        sleep(Duration::from_secs(3600)).await;
        sick(Readiness::Ready);
    });
    assert_eq!(outcome, Ok(()));
    // An hour, the pod's own 30 s, and no pause that polls.
    assert!(began.elapsed() < Duration::from_secs(3600 + 31), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_cordon_of_others_stays_whatever_becomes_of_the_drain() {
    for bare in [false, true] {
        let cluster = Cluster::new().app("cart", &["w1"]);
        cluster.change(|state| {
            state.nodes.get_mut("w1").unwrap().schedulable = false;
            if bare {
                state.pods.get_mut(&shop("cart-1")).unwrap().owner = None;
            }
        });
        let (outcome, _) = plainly(&cluster).await;
        assert_eq!(outcome.is_err(), bare);
        assert_eq!(cordoned_by(&cluster), (true, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_bare_pod_needs_a_yes_and_leaves_a_receipt() {
    let cluster = Cluster::new().app("cart", &["w1", "w1"]);
    cluster.change(|state| state.pods.get_mut(&shop("cart-1")).unwrap().owner = None);
    let (outcome, _) = plainly(&cluster).await;
    let failure = outcome.unwrap_err();
    assert!(failure.text.contains("agree to it: --consent DRAIN001"), "{}", failure.text);
    assert!(cluster.seen(|state| state.evictions.is_empty()), "nothing moves where one can never");

    let policy = Policy { consents: [Consent::Bare].into(), ..Policy::default() };
    let (outcome, _) = drained(&cluster, &policy, &Cancel::default()).await;
    assert_eq!(outcome, Ok(()));
    let remarks = cluster.seen(|state| state.remarks.clone());
    assert_eq!(
        remarks,
        [
            "Pod shop/cart-1: operation 7f3a9c evicts it, as was agreed: no controller makes it anew: it is gone for good"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_on_without_has_its_receipt() {
    let cluster = Cluster::new().app("cart", &["w1"]);
    let due = cluster.clock.now() - jiff::SignedDuration::from_mins(5);
    cluster.change(|state| {
        let pod = state.pods.get_mut(&shop("cart-1")).unwrap();
        pod.finalizers = vec!["example.com/backup".to_owned()];
        pod.deletion = Some(Deletion { due });
    });
    let policy = Policy { consents: [Consent::FinalizerHeld].into(), ..Policy::default() };
    let (outcome, told) = drained(&cluster, &policy, &Cancel::default()).await;
    assert_eq!(outcome, Ok(()));
    let remarks = cluster.seen(|state| state.remarks.clone());
    assert!(matches!(&remarks[..], [one] if one.contains("goes on without it, as was agreed")), "{remarks:?}");
    assert!(told.iter().any(|line| line.contains("shop/cart-1 is left, as was agreed")), "{told:#?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_uncordons_the_node_ends_its_drain() {
    let cluster = Cluster::new().app("cart", &["w1", "w2"]).budget("cart", 2);
    let person = cluster.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(20)).await;
        person.change(|state| state.nodes.get_mut("w1").unwrap().schedulable = true);
    });
    let (outcome, _) = plainly(&cluster).await;
    let failure = outcome.unwrap_err();
    assert!(failure.undone && failure.text.contains("somebody uncordoned w1"), "{}", failure.text);
    cluster.seen(|state| assert!(state.evictions.is_empty() && state.nodes["w1"].cordoned_by.is_none()));
}

#[tokio::test(start_paused = true)]
async fn only_budgets_that_were_agreed_to_are_gone_past() {
    let cluster = Cluster::new().app("postgres", &["w1"]).budget("postgres", 1).app("cart", &["w1"]).budget("cart", 0);
    let policy = Policy { past_budgets: [shop("postgres")].into(), ..Policy::default() };
    let (outcome, told) = drained(&cluster, &policy, &Cancel::default()).await;
    assert_eq!(outcome, Ok(()), "{told:#?}");
    cluster.seen(|state| {
        assert_eq!(state.deleted, [shop("postgres-1")]);
        assert_eq!(state.evictions, [(shop("cart-2"), Outcome::Accepted)]);
        assert_eq!(state.remarks.len(), 1);
    });
    assert!(told.iter().any(|line| line.contains("past budget shop/postgres")), "{told:#?}");
}

#[tokio::test(start_paused = true)]
async fn every_answer_has_what_follows_from_it() {
    let said = || "in its own words".to_owned();
    let cases = [
        (Outcome::Throttled { seconds: 7 }, 7),
        (Outcome::Conflict, 1),
        (Outcome::Unknown { said: said() }, 1),
        (Outcome::Denied { said: said() }, 15),
        (Outcome::Closing, 15),
        (Outcome::NotObserved { said: said() }, 0),
        (Outcome::NoRoom { said: said() }, 0),
    ];
    for (outcome, pause) in cases {
        let cluster = Cluster::new().app("cart", &["w1", "w2"]).budget("cart", 1);
        cluster.change(|state| state.script.push_back(outcome.clone()));
        let began = Instant::now();
        let (ended, told) = plainly(&cluster).await;
        assert_eq!(ended, Ok(()), "{outcome:?}");
        let tries = cluster.seen(|state| state.evictions.len());
        assert_eq!(tries, 2, "{outcome:?}");
        let pause_seen = began.elapsed().as_secs() - 30;
        assert_eq!(pause_seen, pause, "{outcome:?}");
        if let Outcome::Denied { said } = outcome {
            assert!(told.iter().any(|line| line.contains(&said)), "{told:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_nothing_mends_ends_the_drain_at_once() {
    for outcome in [Outcome::Forbidden { said: "no".into() }, Outcome::TwoBudgets { said: "two".into() }] {
        let cluster = Cluster::new().app("cart", &["w1"]);
        cluster.change(|state| state.script.push_back(outcome.clone()));
        let began = Instant::now();
        let (ended, _) = plainly(&cluster).await;
        assert!(ended.unwrap_err().undone, "{outcome:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "{outcome:?}");
        assert_eq!(cordoned_by(&cluster), (false, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_grace_of_half_an_hour_is_waited_for_whole() {
    let cluster = Cluster::new().app("slow", &["w1"]);
    cluster.change(|state| state.pods.get_mut(&shop("slow-1")).unwrap().grace_seconds = 1800);
    let began = Instant::now();
    let (outcome, _) = plainly(&cluster).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(began.elapsed().as_secs(), 1800);
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_back_are_seen_and_in_the_end_named() {
    let stubborn = |returning| {
        let cluster = Cluster::new().app("agent", &["w1"]);
        cluster.change(|state| {
            state.returning = returning;
            let all = Toleration { key: None, value: None, effect: None };
            state.pods.get_mut(&shop("agent-1")).unwrap().tolerations = vec![all];
        });
        cluster
    };
    let twice = stubborn(2);
    assert_eq!(plainly(&twice).await.0, Ok(()));
    assert_eq!(twice.on("w1"), Vec::<String>::new());
    let for_ever = stubborn(usize::MAX);
    let failure = plainly(&for_ever).await.0.unwrap_err();
    assert!(failure.text.contains("--consent DRAIN006"), "{}", failure.text);
    assert_eq!(for_ever.seen(|state| state.evictions.len()), 3);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_gone_for_a_minute_is_waited_for() {
    let cluster = Cluster::new().app("cart", &["w1", "w1", "w2"]).budget("cart", 2);
    let ((outcome, told), ()) = tokio::join!(plainly(&cluster), async {
        sleep(Duration::from_secs(10)).await;
        cluster.change(|state| state.away = true);
        sleep(Duration::from_secs(60)).await;
        cluster.change(|state| state.away = false);
    });
    assert_eq!(outcome, Ok(()), "{told:#?}");
    assert!(told.iter().any(|line| line.contains("the API is not heard")), "{told:#?}");
    assert!(cluster.seen(|state| state.broken.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn an_api_that_stays_away_leaves_a_cordon_that_is_named() {
    let cluster = Cluster::new().app("cart", &["w1", "w1"]).budget("cart", 1);
    let ((outcome, _), ()) = tokio::join!(plainly(&cluster), async {
        sleep(Duration::from_secs(3)).await;
        cluster.change(|state| state.away = true);
    });
    let failure = outcome.unwrap_err();
    assert!(!failure.undone);
    assert!(failure.text.contains("w1 is still cordoned by us: ask: cp1: connection refused"), "{}", failure.text);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_stops_gets_the_node_back() {
    let cluster = Cluster::new().app("cart", &["w1", "w1", "w2"]).budget("cart", 2);
    let cancel = Cancel::default();
    let policy = Policy::default();
    let ((outcome, _), ()) = tokio::join!(drained(&cluster, &policy, &cancel), async {
        sleep(Duration::from_secs(2)).await;
        cancel.request();
    });
    let failure = outcome.unwrap_err();
    assert!(failure.stopped && failure.undone, "{failure:?}");
    assert_eq!(cordoned_by(&cluster), (false, None));
}

#[tokio::test(start_paused = true)]
async fn another_pod_under_the_same_name_is_another_pod() {
    let cluster = Cluster::new().app("db", &["w1"]);
    let ((outcome, _), ()) = tokio::join!(plainly(&cluster), async {
        // Between list and request.
        sleep(Duration::from_millis(2)).await;
        cluster.change(|state| state.pods.get_mut(&shop("db-1")).unwrap().uid = "another".into());
    });
    assert_eq!(outcome, Ok(()));
    let outcomes: Vec<Outcome> = cluster.seen(|state| state.evictions.iter().map(|(_, one)| one.clone()).collect());
    assert_eq!(outcomes, [Outcome::Replaced, Outcome::Accepted]);
}

#[tokio::test(start_paused = true)]
async fn who_plans_sees_everything_and_the_peers_of_what_is_blocked() {
    let cluster =
        Cluster::new().app("cart", &["w1", "w3"]).budget("cart", 2).app("web", &["w1", "w2"]).budget("web", 1);
    let seen = look(&cluster, &"w1".into(), cluster.clock.now(), Duration::from_secs(5)).await.unwrap();
    assert!(seen.is_listed());
    assert_eq!(seen.pods.len(), 2);
    assert_eq!(seen.peers.keys().collect::<Vec<_>>(), [&shop("cart")]);
    assert_eq!(seen.peers[&shop("cart")].len(), 2);
    cluster.change(|state| state.away = true);
    let error = look(&cluster, &"w1".into(), cluster.clock.now(), Duration::from_secs(5)).await.unwrap_err();
    assert!(error.to_string().contains("not everything was listed within 5 s"), "{error}");
    assert!(cluster.may(kubewright_core::drain::Permission::Evict).await.unwrap());
}
