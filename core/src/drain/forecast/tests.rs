use std::sync::Arc;

use super::*;
use crate::drain::sample::{budget, noon, of_app, owned, selector, shop, world};
use crate::drain::{Amounts, Apart, Budget, EmptyDir, Neighbour, Occupancy, Owner, Used};

#[test]
fn the_forecast_says_what_blocks_what_is_lost_and_how_long() {
    let bare = Pod { owner: None, ..of_app("bare", "1") };
    let scratch = vec![EmptyDir { name: "tmp".into(), memory: false, limit: Some("2Gi".into()) }];
    let world = world(
        vec![
            ("bare", bare),
            ("cache", Pod { empty_dirs: scratch, ..of_app("cache", "2") }),
            ("postgres", of_app("postgres", "3")),
            ("slow", Pod { grace_seconds: 1800, ..of_app("slow", "4") }),
            ("cart-1", of_app("cart", "5")),
            ("cart-2", of_app("cart", "6")),
            ("proxy", owned("DaemonSet")),
        ],
        vec![("postgres", budget("postgres", 1, 1, 1)), ("cart", budget("cart", 3, 2, 3))],
    );
    let ahead = forecast(&world, &Policy::default(), &[Permission::Evict]);
    let lines: Vec<String> = ahead
        .findings
        .iter()
        .map(|one| format!("{} {}: {} [{}]", one.code, one.severity, one.text, one.hint.as_deref().unwrap_or("-")))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!((ahead.moves, ahead.stays, ahead.longest_grace.as_secs()), (6, 1, 1800));
    assert_eq!(ahead.blocked_budgets, BTreeMap::from([(shop("postgres"), "PDB002")]));
    assert!(ahead.findings.iter().all(|one| crate::finding::codes::lookup(&one.code).is_some()));
}

#[test]
fn budgets_that_hold_the_unready_that_are_shared_and_that_are_kept_so_by_an_operator_are_told() {
    let unready = Pod { readiness: Default::default(), ..of_app("cart", "1") };
    let two = |name: &str, uid: &str| {
        let mut pod = of_app("web", uid);
        pod.owner.as_mut().unwrap().name = name.to_owned();
        (name.to_owned(), pod)
    };
    let (old, new) = (two("web-5f6d", "2"), two("web-77aa", "3"));
    let kept = Owner { kind: "Cluster".into(), name: "pg".into(), uid: "c".into() };
    let mut accident = of_app("api", "5");
    accident.labels.insert("app".into(), "web".into());
    let seen = |all: bool| {
        let mut pods = vec![
            ("cart-1", unready.clone()),
            (&*old.0, old.1.clone()),
            (&*new.0, new.1.clone()),
            ("pg-1", of_app("pg", "4")),
        ];
        pods.extend(all.then(|| ("api-1", accident.clone())));
        let pg = Budget { owner: Some(kept.clone()), ..budget("pg", 1, 1, 1) };
        world(pods, vec![("cart", budget("cart", 1, 2, 3)), ("web", budget("web", 3, 1, 3)), ("pg", pg)])
    };
    let told = |world: &World| -> Vec<String> {
        let findings = forecast(world, &Policy::default(), &[]).findings;
        findings
            .into_iter()
            .map(|one| format!("{} {} [{}]", one.code, one.text, one.hint.unwrap_or_default()))
            .collect()
    };
    let lines = told(&seen(false));
    let of = |code: &str| lines.iter().find(|line| line.starts_with(code));
    assert!(of("PDB008").is_some_and(|line| line.contains("1 of the 2 that must serve do: shop/cart-1")), "{lines:#?}");
    assert!(of("PDB002").is_some_and(|line| line.contains("Cluster pg keeps it so")), "{lines:#?}");
    assert_eq!(of("PDB009"), None, "a rollout has two ReplicaSets");
    let shared = told(&seen(true)).join("\n");
    assert!(shared.contains("PDB009 shop/web: it counts pods of 2 controllers, which share what it allows: Deployment web, ReplicaSet api"), "{shared}");
}

#[test]
fn services_that_only_this_node_serves_are_named() {
    let mut world = World::new("w1", noon());
    assert!(forecast(&world, &Policy::default(), &[]).findings.is_empty());
    world.served_alone.insert(Name::new("shop", "front"));
    let ahead = forecast(&world, &Policy::default(), &[]);
    assert_eq!(ahead.findings.len(), 1, "{:#?}", ahead.findings);
    assert_eq!((ahead.findings[0].code.as_str(), ahead.findings[0].severity), ("DRAIN015", Severity::Warns));
    assert!(ahead.findings[0].text.contains("shop/front"), "{}", ahead.findings[0].text);
}

#[test]
fn a_cluster_without_room_is_said_so_and_needs_consent() {
    let asks = |uid: &str, cpu| Pod { requests: Amounts::of([("cpu", cpu)]), ..of_app("cart", uid) };
    let mut world = world(vec![("cart-1", asks("1", "1")), ("cart-2", asks("2", "1"))], Vec::new());
    for name in ["w2", "w3"] {
        Arc::make_mut(&mut world.nodes).get_mut(name).unwrap().allocatable = Amounts::of([("cpu", "2")]);
    }
    let codes = |world: &World| -> Vec<String> {
        forecast(world, &Policy::default(), &[]).findings.into_iter().map(|one| one.code).collect()
    };
    assert_eq!(codes(&world), [""; 0], "nobody asked what runs elsewhere");
    let mut occupancy = Occupancy::default();
    occupancy.used.insert("w2".into(), Used::by(0, Amounts::of([("cpu", "500m")])));
    occupancy.used.insert("w3".into(), Used::by(0, Amounts::of([("cpu", "1")])));
    world.occupancy = Some(Ok(occupancy.clone().into()));
    assert_eq!(codes(&world), [""; 0]);
    occupancy.used.insert("w3".into(), Used::by(0, Amounts::of([("cpu", "1500m")])));
    world.occupancy = Some(Ok(occupancy.into()));
    let found = forecast(&world, &Policy::default(), &[]).findings;
    assert_eq!((found.len(), found[0].code.as_str(), found[0].severity), (1, "DRAIN016", Severity::NeedsConsent));
    assert_eq!(
        found[0].text,
        "no room elsewhere for 1 of 2 pods: shop/cart-2; on the nodes that would take them too little cpu is left"
    );
    Arc::make_mut(&mut world.nodes).get_mut("w3").unwrap().allocatable = Amounts::default();
    assert_eq!(codes(&world), ["DRAIN017"], "a node that has not told what it has is not judged");
}

#[test]
fn room_that_pods_of_lower_priority_take_is_room_and_what_could_not_be_asked_is_told() {
    let pod = Pod { requests: Amounts::of([("cpu", "1")]), preempts: true, ..of_app("cart", "1") };
    let mut world = world(vec![("cart-1", pod)], Vec::new());
    let mut occupancy = Occupancy::default();
    for name in ["w2", "w3"] {
        Arc::make_mut(&mut world.nodes).get_mut(name).unwrap().allocatable = Amounts::of([("cpu", "1")]);
        occupancy.used.insert(name.into(), Used::by(-1, Amounts::of([("cpu", "1")])));
    }
    let found = |world: &World| -> (String, Severity, String) {
        let mut findings = forecast(world, &Policy::default(), &[]).findings;
        assert_eq!(findings.len(), 1, "{findings:#?}");
        let one = findings.remove(0);
        (one.code, one.severity, one.text)
    };
    world.occupancy = Some(Ok(occupancy.into()));
    let text = "1 of 1 pod can only go where pods of lower priority are, which the scheduler then evicts: shop/cart-1";
    assert_eq!(found(&world), ("DRAIN019".to_owned(), Severity::Warns, text.to_owned()));
    world.occupancy = Some(Err("list Pods: pods is forbidden".to_owned()));
    let text =
        "not judged: the room of all other nodes (list Pods: pods is forbidden); pods were taken to fit by these";
    assert_eq!(found(&world), ("DRAIN017".to_owned(), Severity::Info, text.to_owned()));
    world.pods.clear();
    assert!(forecast(&world, &Policy::default(), &[]).findings.is_empty(), "nothing has to fit anywhere");
}

#[test]
fn replicas_that_are_spread_over_all_nodes_need_no_consent_and_others_that_keep_apart_do() {
    let apart = |app: &str| {
        let selector = selector(app);
        vec![Apart { topology_key: "kubernetes.io/hostname".into(), selector, namespaces: ["shop".into()].into() }]
    };
    let found = |app: &str| {
        let pod = Pod { apart: apart(app), ..of_app("cart", "1") };
        let mut world = world(vec![("cart-1", pod)], Vec::new());
        let mut occupancy = Occupancy::default();
        for name in ["w2", "w3"] {
            Arc::make_mut(&mut world.nodes)
                .get_mut(name)
                .unwrap()
                .labels
                .insert("kubernetes.io/hostname".into(), name.into());
            let labels = [("app".to_owned(), app.to_owned())].into();
            let one = Neighbour { namespace: "shop".into(), node: name.into(), labels, apart: Vec::new(), priority: 0 };
            occupancy.neighbours.push(one);
        }
        world.occupancy = Some(Ok(occupancy.into()));
        let findings = forecast(&world, &Policy::default(), &[]).findings;
        assert_eq!(findings.len(), 1, "{findings:#?}");
        (findings[0].code.clone(), findings[0].severity, findings[0].text.clone())
    };
    assert_eq!(
        found("cart"),
        (
            "DRAIN018".to_owned(),
            Severity::Warns,
            "1 of 1 pod must keep apart from its like on every other node: shop/cart-1".to_owned()
        )
    );
    let (code, severity, text) = found("database");
    assert_eq!((code.as_str(), severity), ("DRAIN016", Severity::NeedsConsent), "{text}");
}
