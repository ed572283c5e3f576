//! Decisions on single cases, and a model of API server and controllers against which whole drains run in random order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::sample::{budget, noon, of_app, pod, selector, shop, world};
use super::*;

fn once(world: &World, policy: &Policy) -> Decision {
    let mut ledger = Ledger::default();
    ledger.look(world);
    decide(world, policy, &ledger)
}

fn reason<'d>(decision: &'d Decision, name: &str) -> &'d Reason {
    &decision.waits.iter().find(|wait| wait.pod == shop(name)).unwrap_or_else(|| panic!("{decision:#?}")).reason
}

#[test]
fn pods_of_one_budget_go_one_at_a_time_and_others_with_them() {
    let world = world(
        vec![
            ("a-0", of_app("a", "1")),
            ("a-1", of_app("a", "2")),
            ("b-0", of_app("b", "3")),
            ("c-0", of_app("c", "4")),
        ],
        vec![("a", budget("a", 4, 2, 4)), ("b", budget("b", 2, 1, 2))],
    );
    let decision = once(&world, &Policy::default());
    assert_eq!(decision.actions.len(), 3, "{decision:#?}");
    assert_eq!(reason(&decision, "a-1"), &Reason::Turn { budget: shop("a") });
    assert_eq!(decision.end, End::Going);
}

#[test]
fn a_used_status_is_not_used_again_until_it_has_changed() {
    let pods = vec![("a-0", of_app("a", "1")), ("a-1", of_app("a", "2"))];
    let mut world = world(pods, vec![("a", budget("a", 4, 2, 4))]);
    let mut ledger = Ledger::default();
    ledger.look(&world);
    ledger.send(&world, &shop("a-0"), "1", Some(&shop("a")));
    ledger.answer(&world, &shop("a-0"), "1", Outcome::Accepted, noon());
    assert_eq!(decide(&world, &Policy::default(), &ledger).actions, []);
    let news = Budget { version: "2".into(), ..budget("a", 3, 2, 4) };
    world.take(&View::Budgets, News::Changed(Object::Budget(shop("a"), Box::new(news))));
    let decision = decide(&world, &Policy::default(), &ledger);
    assert!(matches!(&decision.actions[..], [Action::Evict { pod, .. }] if *pod == shop("a-1")), "{decision:#?}");
}

#[test]
fn a_webhooks_refusal_leaves_the_budget_to_others() {
    let world = world(vec![("a-0", of_app("a", "1")), ("a-1", of_app("a", "2"))], vec![("a", budget("a", 4, 2, 4))]);
    let mut ledger = Ledger::default();
    ledger.look(&world);
    ledger.send(&world, &shop("a-0"), "1", Some(&shop("a")));
    ledger.answer(&world, &shop("a-0"), "1", Outcome::Denied { said: "no".into() }, noon());
    let decision = decide(&world, &Policy::default(), &ledger);
    assert!(matches!(reason(&decision, "a-0"), Reason::Refused { said, .. } if said == "refused: no"));
    assert!(matches!(&decision.actions[..], [Action::Evict { pod, .. }] if *pod == shop("a-1")));
    assert_eq!(decision.wake, Some(noon() + SignedDuration::from_secs(15)));
}

#[test]
fn critical_pods_go_last_and_long_graces_first() {
    let critical = Pod { priority: 2_000_000_000, ..of_app("dns", "1") };
    let slow = Pod { grace_seconds: 1800, ..of_app("slow", "2") };
    let world = world(vec![("dns", critical), ("quick", of_app("quick", "3")), ("slow", slow)], Vec::new());
    let decision = once(&world, &Policy::default());
    let order: Vec<&Name> = decision
        .actions
        .iter()
        .map(|action| match action {
            Action::Evict { pod, .. } | Action::Delete { pod, .. } => pod,
        })
        .collect();
    assert_eq!(order, [&shop("slow"), &shop("quick")]);
    assert_eq!(reason(&decision, "dns"), &Reason::Tier);
}

#[test]
fn a_grace_is_waited_for_whole_and_what_outlives_it_is_named() {
    let due = noon() + SignedDuration::from_secs(1800);
    let ending = Pod { deletion: Some(Deletion { due }), ..pod() };
    let mut seen = world(vec![("a", ending.clone())], Vec::new());
    let mut ledger = Ledger::default();
    ledger.look(&seen);
    seen.now = due + SignedDuration::from_secs(119);
    let decision = decide(&seen, &Policy::default(), &ledger);
    assert_eq!((decision.end, reason(&decision, "a")), (End::Going, &Reason::Ending { due }));
    seen.now = due + SignedDuration::from_secs(121);
    let decision = decide(&seen, &Policy::default(), &ledger);
    assert_eq!((decision.end, reason(&decision, "a")), (End::Blocked, &Reason::Stuck { due }));

    let mut held = world(vec![("a", Pod { finalizers: vec!["example.com/backup".into()], ..ending })], Vec::new());
    held.now = due + SignedDuration::from_secs(121);
    let decision = once(&held, &Policy::default());
    assert!(matches!(reason(&decision, "a"), Reason::Held { .. }));
    let agreed = Policy { consents: BTreeSet::from([Consent::FinalizerHeld]), ..Policy::default() };
    let decision = once(&held, &agreed);
    assert_eq!((decision.end, decision.passed), (End::Drained, vec![(shop("a"), Consent::FinalizerHeld)]));
}

#[test]
fn nothing_is_evicted_where_one_pod_can_never_go() {
    let bare = Pod { owner: None, ..of_app("bare", "1") };
    let world = world(vec![("bare", bare), ("other", of_app("other", "2"))], Vec::new());
    let decision = once(&world, &Policy::default());
    assert_eq!((decision.actions.len(), decision.end), (0, End::Blocked));
    let agreed = Policy { consents: BTreeSet::from([Consent::Bare]), ..Policy::default() };
    assert_eq!(once(&world, &agreed).actions.len(), 2);
}

#[test]
fn pods_that_wait_for_the_same_budget_are_told_together() {
    let pods = vec![
        ("a-0", of_app("a", "1")),
        ("a-1", of_app("a", "2")),
        ("a-2", of_app("a", "3")),
        ("bare", Pod { owner: None, ..of_app("b", "4") }),
    ];
    let decision = once(&world(pods, vec![("a", budget("a", 2, 2, 4))]), &Policy::default());
    let told: Vec<(String, usize)> =
        decision.blockers().iter().map(|(wait, more)| (wait.pod.name.clone(), *more)).collect();
    assert_eq!(told, [("bare".to_owned(), 0), ("a-0".to_owned(), 2)]);
}

#[test]
fn two_budgets_are_never_tried_and_only_passed_with_consent() {
    let budgets = || vec![("a", budget("a", 4, 2, 4)), ("b", budget("a", 4, 2, 4))];
    let world = world(vec![("a-0", of_app("a", "1"))], budgets());
    let decision = once(&world, &Policy::default());
    assert_eq!(reason(&decision, "a-0"), &Reason::TwoBudgets { budgets: vec![shop("a"), shop("b")] });
    assert_eq!(decision.end, End::Blocked);
    let agreed = Policy { past_several: true, ..Policy::default() };
    let past = Action::Delete { pod: shop("a-0"), uid: "1".into(), budgets: vec![shop("a"), shop("b")] };
    assert_eq!(once(&world, &agreed).actions, [past]);
    let full = vec![("a", budget("a", 4, 2, 4)), ("b", budget("a", 3, 3, 4))];
    let waits = once(&self::world(vec![("a-0", of_app("a", "1"))], full), &agreed);
    assert_eq!(reason(&waits, "a-0"), &Reason::Budget { budget: shop("b") }, "one of them has no room now");
    let never_ran = Pod { phase: Phase::Pending, readiness: Readiness::default(), ..of_app("a", "1") };
    let decision = once(&self::world(vec![("a-0", never_ran)], budgets()), &Policy::default());
    assert_eq!(decision.actions, [Action::Evict { pod: shop("a-0"), uid: "1".into(), budget: None }]);
}

#[test]
fn a_budget_is_gone_past_one_pod_after_another() {
    let agreed = Policy { past_budgets: BTreeSet::from([shop("a")]), ..Policy::default() };
    let zero = |healthy, version: &str| Budget { version: version.into(), ..budget("a", healthy, 3, 3) };
    let of = |pods: &[(&'static str, Pod)], budget| world(pods.to_vec(), vec![("a", budget)]);
    let pods = [("a-0", of_app("a", "1")), ("a-1", of_app("a", "2"))];
    let deleted = |decision: &Decision| decision.actions.iter().map(|action| action.pod().clone()).collect::<Vec<_>>();

    let mut ledger = Ledger::default();
    let before = of(&pods, zero(3, "1"));
    let first = decide(&before, &agreed, &ledger);
    assert_eq!(deleted(&first), [shop("a-0")]);
    assert_eq!(reason(&first, "a-1"), &Reason::Turn { budget: shop("a") });
    ledger.send(&before, &shop("a-0"), "1", &[shop("a")]);
    ledger.answer(&before, &shop("a-0"), "1", Outcome::Accepted, noon());
    assert_eq!(deleted(&decide(&before, &agreed, &ledger)), [], "it goes any moment");
    let gone = [pods[1].clone()];
    assert_eq!(deleted(&decide(&of(&gone, zero(3, "1")), &agreed, &ledger)), [], "the status is from before it went");
    let short = decide(&of(&gone, zero(2, "2")), &agreed, &ledger);
    assert_eq!((deleted(&short), reason(&short, "a-1")), (vec![], &Reason::Budget { budget: shop("a") }));
    assert_eq!(deleted(&decide(&of(&gone, zero(3, "3")), &agreed, &ledger)), [shop("a-1")]);

    let room = Budget { desired: 2, ..zero(2, "4") };
    let waits = decide(&of(&gone, room), &agreed, &Ledger::default());
    assert_eq!(
        reason(&waits, "a-1"),
        &Reason::Budget { budget: shop("a") },
        "it can have room by now, and is waited for"
    );
    let sick = Pod { readiness: Readiness::default(), ..of_app("a", "2") };
    assert_eq!(deleted(&decide(&of(&[("a-1", sick)], zero(2, "5")), &agreed, &Ledger::default())), [shop("a-1")]);
}

#[test]
fn a_drain_that_does_not_wait_ends_when_nothing_moves() {
    let mut world = world(vec![("a-0", of_app("a", "1"))], vec![("a", budget("a", 1, 1, 2))]);
    let mut ledger = Ledger::default();
    ledger.look(&world);
    let decision = decide(&world, &Policy::default(), &ledger);
    assert_eq!((decision.end, decision.wake), (End::Going, Some(noon() + SignedDuration::from_secs(180))));
    world.now = noon() + SignedDuration::from_secs(180);
    ledger.look(&world);
    assert_eq!(decide(&world, &Policy::default(), &ledger).end, End::Blocked);
    let patient = Policy { wait: true, ..Policy::default() };
    assert_eq!(decide(&world, &patient, &ledger).end, End::Going);
}

#[test]
fn a_kubelet_that_is_not_heard_of_for_a_moment_ends_no_drain() {
    let mut silent = world(vec![("a-0", of_app("a", "1"))], Vec::new());
    Arc::make_mut(&mut silent.nodes).get_mut("w1").unwrap().unreachable = true;
    let mut ledger = Ledger::default();
    ledger.look(&silent);
    let decision = decide(&silent, &Policy::default(), &ledger);
    assert_eq!((decision.actions.len(), decision.end), (0, End::Going), "nothing is evicted that could not end");
    assert_eq!(reason(&decision, "a-0"), &Reason::Consent { to: Consent::Unreachable });
    silent.now = noon() + SignedDuration::from_secs(180);
    assert_eq!(decide(&silent, &Policy::default(), &ledger).end, End::Blocked);
}

#[test]
fn pods_that_come_back_for_ever_are_named_in_the_end() {
    let all = Toleration { key: None, value: None, effect: None };
    come_back(vec![all]);
    // Bound by its own `nodeName`, for which no scheduler is asked.
    come_back(Vec::new());
}

fn come_back(tolerations: Vec<Toleration>) {
    let mut ledger = Ledger::default();
    for round in 0..3 {
        let pod = Pod { tolerations: tolerations.clone(), ..of_app("a", &round.to_string()) };
        let world = world(vec![("a-0", pod)], Vec::new());
        ledger.look(&world);
        assert_eq!(decide(&world, &Policy::default(), &ledger).actions.len(), 1, "round {round}");
        ledger.send(&world, &shop("a-0"), &round.to_string(), None);
        ledger.answer(&world, &shop("a-0"), &round.to_string(), Outcome::Accepted, noon());
    }
    let world = world(vec![("a-0", Pod { tolerations, ..of_app("a", "3") })], Vec::new());
    ledger.look(&world);
    let decision = decide(&world, &Policy::default(), &ledger);
    assert_eq!(reason(&decision, "a-0"), &Reason::Consent { to: Consent::Returning });
    let agreed = Policy { consents: BTreeSet::from([Consent::Returning]), ..Policy::default() };
    assert_eq!(decide(&world, &agreed, &ledger).end, End::Drained);
}

#[test]
fn the_chain_leads_from_the_pod_to_what_is_at_the_bottom() {
    let mut world = world(vec![("cart-2", of_app("cart", "1"))], vec![("cart", budget("cart", 2, 2, 4))]);
    let view = View::Peers { budget: shop("cart"), selector: selector("cart") };
    let since = Some("2026-11-26T11:02:00Z".parse().unwrap());
    let sick = Pod {
        node: Some("w3".into()),
        readiness: Readiness::NotReady { why: "readiness: HTTP 503".into(), since },
        ..of_app("cart", "2")
    };
    let homeless = Pod {
        node: None,
        phase: Phase::Pending,
        readiness: Readiness::default(),
        unscheduled: Some("0/3 nodes are available: 3 Insufficient cpu".into()),
        ..of_app("cart", "3")
    };
    let peers = [("cart-0", sick), ("cart-1", homeless), ("cart-2", of_app("cart", "1"))];
    let peers = peers.into_iter().map(|(name, pod)| Object::Pod(shop(name), Box::new(pod)));
    world.take(&view, News::All(peers.collect()));
    let wait = Wait { pod: shop("cart-2"), reason: Reason::Budget { budget: shop("cart") } };
    let chain = why(&world, &wait, 0);
    assert_eq!(
        chain.sentences(),
        [
            "budget shop/cart (minAvailable 2): 2 healthy, 2 wanted, 0 may be disrupted",
            "because shop/cart-1 has no node: 0/3 nodes are available: 3 Insufficient cpu",
            "because shop/cart-0 on w3 is not Ready since 11:02:00 UTC (readiness: HTTP 503)",
            "because 1 pod is missing altogether",
        ]
    );
    assert_eq!(chain.fix.as_deref(), Some("make room for shop/cart-1: a node more, or smaller requests"));
    let text = serde_json::to_string(&chain).unwrap();
    assert_eq!(serde_json::from_str::<Why>(&text).unwrap(), chain);
}

/// One application of the model.
#[derive(Clone, Debug)]
struct App {
    replicas: usize,
    /// Of them, on the node to empty at the beginning.
    here: usize,
    min_available: usize,
    grace: u32,
    critical: bool,
    /// Its pods come back to a cordoned node now and then, as often as this.
    stubborn: usize,
}

fn app() -> impl Strategy<Value = App> {
    (1_usize..6, any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_u32..100, any::<bool>(), 0_usize..3)
        .prop_map(|(replicas, here, min, grace, critical, stubborn)| App {
            replicas,
            here: here.index(replicas + 1),
            // Less than all, so that it can be drained; 0 stands for no budget.
            min_available: min.index(replicas),
            grace,
            critical,
            stubborn,
        })
}

/// API server, controllers, scheduler and kubelets, each acting when it is told to; the drain sees what was delivered.
struct Model {
    apps: Vec<App>,
    now: Timestamp,
    pods: BTreeMap<Name, Pod>,
    budgets: BTreeMap<Name, Budget>,
    /// Pods that an eviction has charged to their budget and the controller has not seen go.
    charged: BTreeSet<String>,
    seen: World,
    ledger: Ledger,
    /// Evictions on their way to the API server.
    under_way: Vec<Action>,
    serial: usize,
    version: usize,
    returned: Vec<usize>,
    evictions: usize,
    refused: usize,
}

impl Model {
    fn new(apps: Vec<App>) -> Self {
        let returned = vec![0; apps.len()];
        let mut model = Self {
            now: noon(),
            pods: BTreeMap::new(),
            budgets: BTreeMap::new(),
            charged: BTreeSet::new(),
            seen: World::new("w1", noon()),
            ledger: Ledger::default(),
            under_way: Vec::new(),
            serial: 0,
            version: 0,
            returned,
            evictions: 0,
            refused: 0,
            apps,
        };
        for index in 0..model.apps.len() {
            let app = model.apps[index].clone();
            for replica in 0..app.replicas {
                model.start(index, if replica < app.here { "w1" } else { "w2" }, true);
            }
            if app.min_available > 0 {
                let selector = Some(selector(&index.to_string()));
                let desired = i32::try_from(app.min_available).unwrap();
                model.budgets.insert(shop(&index.to_string()), Budget { selector, desired, ..Budget::default() });
            }
        }
        model.control();
        model.deliver();
        model
    }

    fn start(&mut self, index: usize, node: &str, ready: bool) {
        self.serial += 1;
        let uid = self.serial.to_string();
        let app = &self.apps[index];
        let mut pod = of_app(&index.to_string(), &uid);
        pod.node = Some(node.to_owned());
        pod.grace_seconds = app.grace;
        pod.priority = if app.critical { 2_000_000_000 } else { 0 };
        if app.stubborn > 0 {
            pod.tolerations = vec![Toleration { key: None, value: None, effect: None }];
        }
        if !ready {
            pod.readiness = Readiness::default();
        }
        self.pods.insert(shop(&format!("{index}-{uid}")), pod);
    }

    /// The disruption controller: works every status out anew.
    fn control(&mut self) {
        self.charged.retain(|uid| self.pods.values().any(|pod| pod.uid == *uid && pod.deletion.is_none()));
        for budget in self.budgets.values_mut() {
            let counted: Vec<&Pod> = self.pods.values().filter(|pod| budget.counts(pod)).collect();
            let healthy = |pod: &&&Pod| pod.is_ready() && pod.deletion.is_none() && !self.charged.contains(&pod.uid);
            budget.healthy = i32::try_from(counted.iter().filter(healthy).count()).unwrap();
            budget.expected = i32::try_from(counted.len()).unwrap();
            let allowed = (budget.healthy - budget.desired).max(0);
            self.version += 1;
            budget.allowed = allowed;
            budget.version = self.version.to_string();
        }
    }

    /// The API server takes one eviction.
    fn serve(&mut self, pick: usize) {
        if self.under_way.is_empty() {
            return;
        }
        let action = self.under_way.remove(pick % self.under_way.len());
        let Action::Evict { pod: name, uid, .. } = &action else { panic!("nothing goes past a budget: {action:?}") };
        let outcome = self.evict(name, uid);
        self.ledger.answer(&self.seen, name, uid, outcome, self.now);
    }

    fn evict(&mut self, name: &Name, uid: &str) -> Outcome {
        let Some(pod) = self.pods.get(name).cloned() else { return Outcome::Gone };
        assert_eq!(pod.uid, uid);
        let counting = self.budgets.iter_mut().find(|(_, budget)| budget.counts(&pod));
        if let Some((_, budget)) = counting {
            let free = !pod.is_ready() && budget.healthy >= budget.desired && budget.desired > 0;
            if pod.deletion.is_none() && !free {
                if budget.allowed <= 0 {
                    self.refused += 1;
                    return Outcome::NoRoom { said: "needs more".into() };
                }
                self.version += 1;
                budget.allowed -= 1;
                budget.version = self.version.to_string();
                self.charged.insert(uid.to_owned());
            }
        }
        self.evictions += 1;
        let due = self.now + SignedDuration::from_secs(pod.grace_seconds.into());
        self.pods.get_mut(name).unwrap().deletion = Some(Deletion { due });
        Outcome::Accepted
    }

    /// Workload controllers and the scheduler: replacements for what goes, where they may run.
    fn replace(&mut self) {
        for index in 0..self.apps.len() {
            let label = index.to_string();
            let alive = |pod: &&Pod| pod.labels["app"] == label && pod.deletion.is_none();
            let alive = self.pods.values().filter(alive).count();
            for _ in alive..self.apps[index].replicas {
                let back = self.returned[index] < self.apps[index].stubborn;
                self.returned[index] += usize::from(back);
                self.start(index, if back { "w1" } else { "w2" }, false);
            }
        }
    }

    /// Kubelets: one pod that ends is gone, or one that starts serves.
    fn kubelet(&mut self, pick: usize) {
        let busy = |(_, pod): &(&Name, &Pod)| pod.deletion.is_some() || !pod.is_ready();
        let names: Vec<Name> = self.pods.iter().filter(busy).map(|(name, _)| name.clone()).collect();
        let Some(name) = names.get(pick % names.len().max(1)) else { return };
        let pod = self.pods.get_mut(name).unwrap();
        match pod.deletion {
            Some(deletion) => {
                self.now = self.now.max(deletion.due);
                self.pods.remove(name);
            }
            None => pod.readiness = Readiness::Ready,
        }
    }

    /// The drain hears of everything that happened.
    fn deliver(&mut self) {
        let node = Node { uid: "w1".into(), cordoned_by: Some("7f3a9c".into()), ..Node::default() };
        self.seen.take(&View::Nodes, News::All(vec![Object::Node("w1".into(), node)]));
        let budgets = self.budgets.iter().map(|(name, budget)| Object::Budget(name.clone(), Box::new(budget.clone())));
        self.seen.take(&View::Budgets, News::All(budgets.collect()));
        self.deliver_pods();
    }

    /// It hears of pods alone: the watches are not in step.
    fn deliver_pods(&mut self) {
        let here = self.pods.iter().filter(|(_, pod)| pod.node.as_deref() == Some("w1"));
        let pods = here.map(|(name, pod)| Object::Pod(name.clone(), Box::new(pod.clone())));
        self.seen.take(&View::PodsOn { node: "w1".into() }, News::All(pods.collect()));
    }

    fn decide(&mut self) -> End {
        self.seen.now = self.now;
        self.ledger.look(&self.seen);
        let policy = Policy { wait: true, ..Policy::default() };
        let decision = decide(&self.seen, &policy, &self.ledger);
        for action in decision.actions {
            let Action::Evict { pod, uid, budget } = &action else { panic!("{action:?}") };
            self.ledger.send(&self.seen, pod, uid, budget.as_ref());
            self.under_way.push(action);
        }
        decision.end
    }

    /// What must hold at every moment.
    fn check(&self) -> Result<(), TestCaseError> {
        let mut busy = BTreeSet::new();
        for action in &self.under_way {
            if let Action::Evict { budget: Some(budget), .. } = action {
                prop_assert!(busy.insert(budget.clone()), "two evictions under way for {budget}");
            }
        }
        for (name, budget) in &self.budgets {
            let serving =
                self.pods.values().filter(|pod| budget.counts(pod) && pod.is_ready() && pod.deletion.is_none());
            let serving = i32::try_from(serving.count()).unwrap();
            prop_assert!(serving >= budget.desired, "{name}: {serving} serve, {} must", budget.desired);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_drain_ends_keeps_every_budget_and_finds_what_lands_later(
        apps in proptest::collection::vec(app(), 1..5),
        moves in proptest::collection::vec((0_u8..7, any::<usize>()), 0..400),
    ) {
        let mut model = Model::new(apps);
        model.check()?;
        for (what, pick) in moves {
            match what {
                0 => { model.decide(); }
                1 => model.serve(pick),
                2 => model.control(),
                3 => model.replace(),
                4 => model.kubelet(pick),
                5 => model.deliver(),
                _ => model.deliver_pods(),
            }
            model.check()?;
        }
        // Left to itself every drain comes to its end.
        let mut rounds = 0;
        loop {
            model.serve(0);
            model.control();
            model.replace();
            model.kubelet(rounds);
            model.deliver();
            let end = model.decide();
            model.check()?;
            if end == End::Drained && model.under_way.is_empty() {
                break;
            }
            rounds += 1;
            // Some time passes in every round, so that what is only tried again later is.
            model.now += SignedDuration::from_secs(1);
            prop_assert!(rounds < 2000, "it does not end: {:#?}", decide(&model.seen, &Policy::default(), &model.ledger));
        }
        let left = model.pods.values().filter(|pod| pod.node.as_deref() == Some("w1")).count();
        prop_assert_eq!(left, 0, "pods that landed later were not seen");
    }
}

#[test]
fn in_step_with_the_news_no_eviction_is_refused() {
    let apps = vec![
        App { replicas: 6, here: 6, min_available: 5, grace: 20, critical: false, stubborn: 0 },
        App { replicas: 3, here: 2, min_available: 1, grace: 5, critical: true, stubborn: 0 },
    ];
    let mut model = Model::new(apps);
    let mut rounds = 0;
    while model.decide() != End::Drained {
        model.serve(0);
        model.replace();
        model.kubelet(rounds);
        model.control();
        model.deliver();
        rounds += 1;
        assert!(rounds < 500);
    }
    assert_eq!((model.evictions, model.refused), (8, 0));
}
