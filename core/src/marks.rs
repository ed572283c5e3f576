//! Marks: labels and taints that a node carries because the spec says so, beside those of everybody else.
//!
//! What we put on a node is written down on it ([`ANNOTATION`]), so that a label that leaves the spec leaves the node and
//! one that somebody else put there, or has changed since, stays: we undo only what we did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::{Taint, TaintEffect};

/// Annotation that holds our own marks as JSON. Short of it a node has none of ours yet.
pub const ANNOTATION: &str = "kubewright.dev/marks";

/// Labels and taints of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMarks {
    /// A kubelet may not give itself `node-role.kubernetes.io/*`, so labels are applied from outside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The kubelet registers with these; where they change later they are merged into the node's list, which it shares
    /// with the node lifecycle controller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
}

/// What a node carries now, whoever put it there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// All taints.
    pub taints: Vec<Taint>,
    /// The text of [`ANNOTATION`], where there is one.
    pub ours: Option<String>,
}

/// What has to change on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Labels to set (`Some`) or to take away (`None`).
    pub labels: BTreeMap<String, Option<String>>,
    /// Taints to put; each replaces one of the same key and effect.
    pub put: Vec<Taint>,
    /// Taints to take away, by key and effect.
    pub take: Vec<(String, TaintEffect)>,
    /// The annotation's new text, where it differs.
    pub annotation: Option<String>,
}

impl Change {
    /// In words, for whoever reads a plan: `tier=general, not zone, taint gpu:NoSchedule`.
    pub fn words(&self) -> String {
        let labels = self.labels.iter().map(|(key, value)| match value {
            Some(value) if value.is_empty() => key.clone(),
            Some(value) => format!("{key}={value}"),
            None => format!("not {key}"),
        });
        let put = self.put.iter().map(|taint| format!("taint {}:{}", taint.key, taint.effect));
        let take = self.take.iter().map(|(key, effect)| format!("not taint {key}:{effect}"));
        labels.chain(put).chain(take).collect::<Vec<_>>().join(", ")
    }
}

/// What a node lacks of its marks, and what of our earlier ones it should lose; `None` where nothing is to be done.
pub fn change(wanted: &NodeMarks, carried: &Carried) -> Option<Change> {
    // An annotation that nobody can read is not ours: then nothing is taken away, and it is written anew.
    let earlier: NodeMarks =
        carried.ours.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut change = Change::default();
    for (key, value) in &wanted.labels {
        if carried.labels.get(key) != Some(value) {
            change.labels.insert(key.clone(), Some(value.clone()));
        }
    }
    for (key, value) in &earlier.labels {
        if !wanted.labels.contains_key(key) && carried.labels.get(key) == Some(value) {
            change.labels.insert(key.clone(), None);
        }
    }
    let same_place = |one: &Taint, other: &Taint| one.key == other.key && one.effect == other.effect;
    change.put = wanted.taints.iter().filter(|taint| !carried.taints.contains(taint)).cloned().collect();
    change.take = earlier
        .taints
        .iter()
        .filter(|taint| !wanted.taints.iter().any(|other| same_place(taint, other)) && carried.taints.contains(taint))
        .map(|taint| (taint.key.clone(), taint.effect))
        .collect();
    if earlier != *wanted || (carried.ours.is_none() && *wanted != NodeMarks::default()) {
        // Maps and lists of text: there is nothing in them that JSON could not hold.
        change.annotation = serde_json::to_string(wanted).ok();
    }
    (change != Change::default()).then_some(change)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn taint(key: &str, value: &str) -> Taint {
        Taint { key: key.into(), value: value.into(), effect: TaintEffect::NoSchedule }
    }

    /// What the node carries once a change is made.
    fn made(change: Option<&Change>, carried: &Carried) -> Carried {
        let mut after = carried.clone();
        let Some(change) = change else { return after };
        for (key, value) in &change.labels {
            match value {
                Some(value) => after.labels.insert(key.clone(), value.clone()),
                None => after.labels.remove(key),
            };
        }
        let at = |taint: &Taint, key: &str, effect| taint.key == key && taint.effect == effect;
        after.taints.retain(|taint| !change.take.iter().any(|(key, effect)| at(taint, key, *effect)));
        after.taints.retain(|taint| !change.put.iter().any(|put| at(taint, &put.key, put.effect)));
        after.taints.extend(change.put.iter().cloned());
        after.ours = change.annotation.clone().or(after.ours);
        after
    }

    #[test]
    fn a_label_that_leaves_the_spec_leaves_the_node_unless_it_is_somebody_elses() {
        let first = NodeMarks { labels: labels(&[("tier", "a"), ("zone", "x")]), taints: vec![taint("gpu", "")] };
        let theirs = Carried { labels: labels(&[("arch", "amd64")]), taints: vec![taint("busy", "")], ours: None };
        let mut carried = made(change(&first, &theirs).as_ref(), &theirs);
        assert_eq!(carried.labels, labels(&[("arch", "amd64"), ("tier", "a"), ("zone", "x")]));
        // Somebody moved the node; that is theirs now.
        carried.labels.insert("zone".into(), "y".into());
        let second = NodeMarks { labels: labels(&[("tier", "b")]), taints: Vec::new() };
        let made = made(change(&second, &carried).as_ref(), &carried);
        assert_eq!(made.labels, labels(&[("arch", "amd64"), ("tier", "b"), ("zone", "y")]));
        assert_eq!(made.taints, [taint("busy", "")]);
    }

    #[test]
    fn nobody_touches_a_node_for_which_the_spec_wants_nothing() {
        let theirs = Carried { labels: labels(&[("arch", "amd64")]), taints: vec![taint("busy", "")], ours: None };
        assert_eq!(change(&NodeMarks::default(), &theirs), None);
        let broken = Carried { ours: Some("{".into()), ..theirs };
        assert_eq!(change(&NodeMarks::default(), &broken), None);
    }

    #[test]
    fn a_change_reads_like_a_sentence() {
        let carried = Carried {
            labels: labels(&[("zone", "x")]),
            taints: vec![taint("old", "")],
            ours: Some(r#"{"labels":{"zone":"x"},"taints":[{"key":"old","effect":"NoSchedule"}]}"#.into()),
        };
        let wanted = NodeMarks { labels: labels(&[("tier", "a")]), taints: vec![taint("gpu", "yes")] };
        let words = change(&wanted, &carried).map(|change| change.words());
        assert_eq!(words.as_deref(), Some("tier=a, not zone, taint gpu:NoSchedule, not taint old:NoSchedule"));
    }

    fn some_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
        proptest::collection::btree_map("[a-c]", "[xy]", 0..3)
    }

    fn some_taints() -> impl Strategy<Value = Vec<Taint>> {
        proptest::collection::btree_map("[p-r]", "[xy]", 0..3)
            .prop_map(|map| map.into_iter().map(|(key, value)| taint(&key, &value)).collect())
    }

    proptest! {
        #[test]
        fn after_a_change_all_marks_are_there_and_nothing_is_left_to_do(
            wanted in proptest::collection::vec((some_labels(), some_taints()), 1..4),
            labels in some_labels(),
            taints in some_taints(),
        ) {
            let mut carried = Carried { labels, taints, ours: None };
            for (labels, taints) in wanted {
                let wanted = NodeMarks { labels, taints };
                carried = made(change(&wanted, &carried).as_ref(), &carried);
                prop_assert!(wanted.labels.iter().all(|(key, value)| carried.labels.get(key) == Some(value)));
                prop_assert!(wanted.taints.iter().all(|taint| carried.taints.contains(taint)));
                prop_assert_eq!(change(&wanted, &carried), None);
            }
        }
    }
}
