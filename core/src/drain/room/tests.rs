use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::drain::sample::{of_app, selector, shop, world};

fn node(cpu: &str, zone: &str) -> Node {
    Node {
        schedulable: true,
        labels: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
        allocatable: Amounts::of([("cpu", cpu), ("pods", "110")]),
        ..Node::default()
    }
}

fn asks(app: &str, uid: &str, cpu: &str) -> Pod {
    Pod { requests: Amounts::of([("cpu", cpu), ("pods", "1")]), ..of_app(app, uid) }
}

fn apart_from(app: &str) -> Vec<Apart> {
    vec![Apart {
        topology_key: "zone".into(),
        selector: selector(app),
        namespaces: BTreeSet::from(["shop".to_owned()]),
    }]
}

/// A world with w1 to empty and these others.
fn beside(nodes: &[(&str, Node)]) -> World {
    let mut world = world(Vec::new(), Vec::new());
    Arc::make_mut(&mut world.nodes).retain(|name, _| name == "w1");
    Arc::make_mut(&mut world.nodes).extend(nodes.iter().map(|(name, node)| ((*name).to_owned(), node.clone())));
    world
}

fn found(world: &World, occupancy: &Occupancy, pods: &[(&str, Pod)]) -> Room {
    let named: Vec<(Name, &Pod)> = pods.iter().map(|(name, pod)| (shop(name), pod)).collect();
    room(world, occupancy, &named.iter().map(|(name, pod)| (name, *pod)).collect::<Vec<_>>())
}

fn crowded(room: &Room) -> Vec<String> {
    room.crowded.keys().map(ToString::to_string).collect()
}

#[test]
fn pods_take_each_others_room() {
    let world = beside(&[("w2", node("2", "a")), ("w3", node("1", "b"))]);
    let three = [("a", asks("a", "1", "1")), ("b", asks("b", "2", "1")), ("c", asks("c", "3", "1"))];
    assert_eq!(crowded(&found(&world, &Occupancy::default(), &three)), [""; 0]);
    let mut occupancy = Occupancy::default();
    occupancy.used.insert("w3".into(), Used::by(0, Amounts::of([("cpu", "1m")])));
    let room = found(&world, &occupancy, &three);
    assert_eq!(crowded(&room), ["shop/c"]);
    assert_eq!(room.crowded[&shop("c")], Lack { short: BTreeSet::from(["cpu".to_owned()]), ..Lack::default() });
}

#[test]
fn the_largest_go_first() {
    let world = beside(&[("w2", node("2", "a")), ("w3", node("1", "b"))]);
    let pods = [("a", asks("a", "1", "1")), ("b", asks("b", "2", "2"))];
    assert_eq!(crowded(&found(&world, &Occupancy::default(), &pods)), [""; 0]);
}

#[test]
fn a_pod_that_no_node_would_take_is_not_short_of_room() {
    let world = beside(&[("w2", Node { schedulable: false, ..node("2", "a") })]);
    let room = found(&world, &Occupancy::default(), &[("a", asks("a", "1", "1"))]);
    assert_eq!((room.placed.len(), room.crowded.len()), (0, 0), "DRAIN007 tells of it");
}

#[test]
fn a_node_is_full_by_the_number_of_its_pods_too() {
    let world = beside(&[("w2", node("8", "a"))]);
    let mut occupancy = Occupancy::default();
    occupancy.used.insert("w2".into(), Used::by(0, Amounts::of([("pods", "110")])));
    let room = found(&world, &occupancy, &[("a", asks("a", "1", "0"))]);
    assert_eq!(room.crowded[&shop("a")].short, BTreeSet::from(["pods".to_owned()]));
}

#[test]
fn pods_are_kept_apart_by_zone_in_both_directions() {
    let world = beside(&[("w2", node("8", "a")), ("w3", node("8", "a")), ("w4", node("8", "b"))]);
    let neighbour = |app: &str, node: &str, apart| {
        let labels = asks(app, "0", "0").labels;
        Neighbour { namespace: "shop".into(), node: node.into(), labels, apart, priority: 0 }
    };
    let with = |neighbours| Occupancy { neighbours, ..Occupancy::default() };
    let picky = Pod { apart: apart_from("cart"), ..asks("cart", "1", "1") };
    let here = with(vec![neighbour("cart", "w2", Vec::new())]);
    assert_eq!(found(&world, &here, &[("a", picky.clone())]).placed[&shop("a")], "w4");
    let full = with(vec![neighbour("cart", "w2", Vec::new()), neighbour("cart", "w4", Vec::new())]);
    let room = found(&world, &full, &[("a", picky.clone())]);
    assert_eq!(room.crowded[&shop("a")], Lack { apart: true, from_its_kind: true, ..Lack::default() });
    let averse = with(vec![neighbour("other", "w3", apart_from("cart"))]);
    assert_eq!(
        found(&world, &averse, &[("a", asks("cart", "1", "1"))]).placed[&shop("a")],
        "w4",
        "it is they who mind"
    );
    // Three that keep apart, two zones; one of another namespace does not count.
    let three = [("a", picky.clone()), ("b", picky.clone()), ("c", picky.clone())];
    assert_eq!(crowded(&found(&world, &Occupancy::default(), &three)), ["shop/c"]);
    let elsewhere = Neighbour { namespace: "other".into(), ..neighbour("cart", "w2", Vec::new()) };
    assert_eq!(found(&world, &with(vec![elsewhere]), &[("a", picky.clone())]).placed[&shop("a")], "w2");
    // Its own place is free once it has gone.
    let mut alone = beside(&[("w2", node("8", "a"))]);
    Arc::make_mut(&mut alone.nodes).insert("w1".into(), node("8", "a"));
    assert_eq!(found(&alone, &with(vec![neighbour("cart", "w1", Vec::new())]), &[("a", picky)]).placed.len(), 1);
}

#[test]
fn what_is_not_judged_is_told_and_nothing_is_guessed() {
    let world = beside(&[("w2", Node { allocatable: Amounts::default(), ..node("0", "a") })]);
    let bound = Pod { unjudged: BTreeSet::from([Unjudged::Volumes]), ..asks("db", "1", "64") };
    let room = found(&world, &Occupancy::default(), &[("db", bound)]);
    assert_eq!((room.crowded.len(), room.placed.len()), (0, 1));
    assert_eq!(room.unjudged, BTreeMap::from([(Unjudged::Volumes, 1)]));
    assert_eq!(room.untold, BTreeSet::from(["w2".to_owned()]));
}

#[test]
fn only_pods_that_matter_are_remembered_one_by_one() {
    let mut occupancy = Occupancy::default();
    let one = |app: &str, apart| Neighbour {
        namespace: "shop".into(),
        node: "w2".into(),
        labels: asks(app, "0", "0").labels,
        apart,
        priority: 0,
    };
    let kept_apart: BTreeSet<Apart> = apart_from("cart").into_iter().collect();
    let requests = Amounts::of([("cpu", "1")]);
    occupancy.enter(one("web", Vec::new()), &requests, &kept_apart);
    occupancy.enter(one("cart", Vec::new()), &requests, &kept_apart);
    occupancy.enter(one("web", apart_from("web")), &requests, &kept_apart);
    assert_eq!(occupancy.used["w2"].all(), Amounts::of([("cpu", "3")]));
    assert_eq!(occupancy.neighbours.len(), 2);
}

/// A pod that asks for a CPU and, by its priority, for the room of others.
fn of_priority(priority: i32, uid: &str) -> Pod {
    Pod { priority, preempts: true, ..asks(&format!("of-{priority}"), uid, "1") }
}

#[test]
fn pods_of_lower_priority_make_room() {
    let world = beside(&[("w2", node("2", "a"))]);
    let mut occupancy = Occupancy::default();
    occupancy.used.insert("w2".into(), Used::by(-10, Amounts::of([("cpu", "1500m")])));
    let found = |pods: &[(&str, Pod)]| {
        let room = found(&world, &occupancy, pods);
        let pushing: Vec<String> = room.pushing.iter().map(ToString::to_string).collect();
        (room.placed.len(), pushing.join(" "), crowded(&room).join(" "))
    };
    assert_eq!(found(&[("a", of_priority(0, "1"))]), (1, "shop/a".into(), String::new()));
    let two = [("a", of_priority(0, "1")), ("b", of_priority(0, "2"))];
    assert_eq!(found(&two), (2, "shop/a shop/b".into(), String::new()), "1.5 of 2 CPUs are in their way");
    let three = [two[0].clone(), two[1].clone(), ("c", of_priority(0, "3"))];
    assert_eq!(found(&three), (2, "shop/a shop/b".into(), "shop/c".into()), "not in place of each other");
    assert_eq!(found(&[("a", of_priority(-10, "1"))]), (0, String::new(), "shop/a".into()), "nor of their like");
    let polite = Pod { preempts: false, ..of_priority(0, "1") };
    assert_eq!(found(&[("a", polite)]), (0, String::new(), "shop/a".into()), "preemptionPolicy Never");
    // Who comes first takes what is free, and it is the higher priority that does.
    let small = Pod { requests: Amounts::of([("cpu", "500m")]), ..of_priority(5, "2") };
    assert_eq!(found(&[("a", of_priority(-10, "1")), ("b", small)]), (1, String::new(), "shop/a".into()));
}

#[test]
fn whether_pods_that_are_kept_apart_from_are_evicted_is_not_judged() {
    let world = beside(&[("w2", node("8", "a"))]);
    let neighbour = |priority| {
        let labels = of_app("cart", "0").labels;
        vec![Neighbour { namespace: "shop".into(), node: "w2".into(), labels, apart: Vec::new(), priority }]
    };
    let picky = Pod { apart: apart_from("cart"), ..of_priority(0, "1") };
    let found = |priority| {
        let occupancy = Occupancy { neighbours: neighbour(priority), ..Occupancy::default() };
        found(&world, &occupancy, &[("a", picky.clone())])
    };
    assert_eq!(crowded(&found(0)), ["shop/a"]);
    assert_eq!(found(-1).unjudged, BTreeMap::from([(Unjudged::Preemption, 1)]));
    assert_eq!((found(-1).placed.len(), found(-1).pushing.len()), (1, 0));
}

/// Tenths of a CPU.
fn cpu(tenths: u8) -> String {
    format!("{}m", u32::from(tenths) * 100)
}

fn nodes() -> impl Strategy<Value = Vec<(String, Node)>> {
    prop::collection::vec((0_u8..40, 0_u8..3), 1..6).prop_map(|sizes| {
        let one = |(index, (size, zone)): (usize, (u8, u8))| (format!("n{index}"), node(&cpu(size), &zone.to_string()));
        sizes.into_iter().enumerate().map(one).collect()
    })
}

fn movers() -> impl Strategy<Value = Vec<(String, Pod)>> {
    prop::collection::vec((0_u8..25, 0_u8..3, any::<bool>()), 1..12).prop_map(|pods| {
        let one = |(index, (size, app, picky)): (usize, (u8, u8, bool))| {
            let pod = asks(&app.to_string(), &index.to_string(), &cpu(size));
            let apart = if picky { apart_from(&app.to_string()) } else { Vec::new() };
            (format!("p{index}"), Pod { apart, ..pod })
        };
        pods.into_iter().enumerate().map(one).collect()
    })
}

fn judged(nodes: &[(String, Node)], pods: &[(String, Pod)]) -> Room {
    let nodes: Vec<_> = nodes.iter().map(|(name, node)| (name.as_str(), node.clone())).collect();
    let pods: Vec<_> = pods.iter().map(|(name, pod)| (name.as_str(), pod.clone())).collect();
    found(&beside(&nodes), &Occupancy::default(), &pods)
}

proptest! {
    #[test]
    fn a_node_more_never_makes_a_fitting_pod_not_fit(
        nodes in nodes(), pods in movers(), size in 0_u8..40, zone in 0_u8..3, first in any::<bool>(),
    ) {
        // Each for itself, wherever the new node stands among the others.
        let name = if first { "a-new" } else { "z-new" };
        let mut more = nodes.clone();
        more.push((name.to_owned(), node(&cpu(size), &zone.to_string())));
        for pod in &pods {
            let alone = std::slice::from_ref(pod);
            prop_assert!(judged(&more, alone).placed.len() >= judged(&nodes, alone).placed.len());
        }
        // All together, where nobody minds the others: those that had a place keep theirs, and the last node only adds.
        let easy: Vec<_> = pods.into_iter().map(|(name, pod)| (name, Pod { apart: Vec::new(), ..pod })).collect();
        let mut last = nodes.clone();
        last.push(("z-new".to_owned(), node(&cpu(size), &zone.to_string())));
        let (before, after) = (judged(&nodes, &easy), judged(&last, &easy));
        for (pod, place) in &before.placed {
            prop_assert_eq!(after.placed.get(pod), Some(place));
        }
    }

    #[test]
    fn what_is_said_to_fit_does(nodes in nodes(), pods in movers()) {
        let room = judged(&nodes, &pods);
        prop_assert_eq!(room.placed.len() + room.crowded.len(), pods.len());
        let by_name: BTreeMap<Name, &Pod> = pods.iter().map(|(name, pod)| (shop(name), pod)).collect();
        for (name, node) in &nodes {
            let here = room.placed.iter().filter(|(_, place)| *place == name);
            let asked: i64 = here.map(|(pod, _)| by_name[pod].requests.get("cpu")).sum();
            prop_assert!(asked <= node.allocatable.get("cpu"), "{} is overfull", name);
        }
        let zone = |pod: &Name| nodes.iter().find(|(name, _)| *name == room.placed[pod]).map(|(_, node)| &node.labels["zone"]);
        for (one, other) in room.placed.keys().flat_map(|one| room.placed.keys().map(move |other| (one, other))) {
            let minds = by_name[one].apart.iter().any(|apart| apart.is_of("shop", &by_name[other].labels));
            prop_assert!(one == other || !minds || zone(one) != zone(other), "{} and {} share a zone", one, other);
        }
    }

    #[test]
    fn nobody_gives_way_to_who_is_not_above_him(
        nodes in nodes(),
        pods in prop::collection::vec((0_u8..25, -1_i32..2, any::<bool>()), 1..12),
        used in prop::collection::vec((0_usize..6, -1_i32..2, 0_u8..15), 0..12),
    ) {
        let of = |(index, (size, priority, preempts)): (usize, (u8, i32, bool))| {
            (format!("p{index}"), Pod { priority, preempts, ..asks("a", &index.to_string(), &cpu(size)) })
        };
        let pods: Vec<(String, Pod)> = pods.into_iter().enumerate().map(of).collect();
        let mut occupancy = Occupancy::default();
        for (node, priority, size) in used {
            let amounts = Amounts::of([("cpu", cpu(size).as_str())]);
            occupancy.used.entry(format!("n{node}")).or_default().add(priority, &amounts);
        }
        let there: Vec<_> = nodes.iter().map(|(name, node)| (name.as_str(), node.clone())).collect();
        let named: Vec<_> = pods.iter().map(|(name, pod)| (name.as_str(), pod.clone())).collect();
        let room = found(&beside(&there), &occupancy, &named);
        prop_assert_eq!(room.placed.len() + room.crowded.len(), pods.len());
        let by_name: BTreeMap<Name, &Pod> = pods.iter().map(|(name, pod)| (shop(name), pod)).collect();
        for (name, place) in &room.placed {
            let pod = by_name[name];
            prop_assert!(!room.pushing.contains(name) || pod.preempts);
            let least = pod.priority;
            let used = occupancy.used.get(place).cloned().unwrap_or_default();
            let mut above = used.all();
            above.take(&used.below(least));
            let here = room.placed.iter().filter(|(other, there)| *there == place && by_name[*other].priority >= least);
            here.for_each(|(other, _)| above.add(&by_name[other].requests));
            let node = &nodes.iter().find(|(name, _)| name == place).unwrap().1;
            let asked = pod.requests.get("cpu") > 0;
            prop_assert!(!asked || above.get("cpu") <= node.allocatable.get("cpu"), "{} is overfull at {}", place, least);
        }
    }

    #[test]
    fn less_asked_for_alone_never_fits_worse(nodes in nodes(), size in 1_u8..25) {
        let fits = |size: u8| judged(&nodes, &[("p".to_owned(), asks("a", "1", &cpu(size)))]).placed.len();
        prop_assert!(fits(size - 1) >= fits(size));
    }
}
