//! Label selectors, as budgets and node affinities use them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which labels are meant. One without any requirement means all (policy/v1); a missing one means none, and is no value
/// of this type.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Selector {
    /// Labels that must have exactly this value.
    pub labels: BTreeMap<String, String>,
    /// What else must hold.
    pub requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// Which label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operator {
    /// It is one of the values.
    In,
    /// It is none of the values, or not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
    /// As a number it is above the value (node affinity only).
    Gt,
    /// As a number it is below the value (node affinity only).
    Lt,
}

impl Operator {
    /// From the API's word.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::NotIn => "notin",
            Self::Exists | Self::DoesNotExist => "",
            Self::Gt => ">",
            Self::Lt => "<",
        }
    }
}

impl Requirement {
    /// Whether these labels satisfy it.
    pub fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let number = || Some((value?.parse::<i64>().ok()?, self.values.first()?.parse::<i64>().ok()?));
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => number().is_some_and(|(value, limit)| value > limit),
            Operator::Lt => number().is_some_and(|(value, limit)| value < limit),
        }
    }

    /// As a list request takes it: `tier in (a,b)`, `tier`, `!tier`.
    fn query(&self) -> String {
        match self.operator {
            Operator::Exists => self.key.clone(),
            Operator::DoesNotExist => format!("!{}", self.key),
            operator => format!("{} {} ({})", self.key, operator.word(), self.values.join(",")),
        }
    }
}

impl Selector {
    /// Whether it means these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.requirements.iter().all(|requirement| requirement.holds(labels))
    }

    /// As a list request takes it; empty where it means all.
    pub fn query(&self) -> String {
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        labels.chain(self.requirements.iter().map(Requirement::query)).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn requirement(key: &str, operator: &str, values: &[&str]) -> Requirement {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Requirement { key: key.to_owned(), operator: Operator::of(operator).unwrap(), values }
    }

    #[test]
    fn an_empty_selector_means_all() {
        assert!(Selector::default().matches(&labels(&[("a", "b")])) && Selector::default().matches(&labels(&[])));
        assert_eq!(Selector::default().query(), "");
    }

    #[test]
    fn a_missing_label_is_not_in_any_list() {
        assert!(requirement("tier", "NotIn", &["web"]).holds(&labels(&[])));
        assert!(!requirement("tier", "In", &["web"]).holds(&labels(&[])));
        assert!(requirement("tier", "DoesNotExist", &[]).holds(&labels(&[])));
        assert!(requirement("cores", "Gt", &["4"]).holds(&labels(&[("cores", "8")])));
        assert!(!requirement("cores", "Lt", &["4"]).holds(&labels(&[("cores", "many")])));
    }

    #[test]
    fn a_selector_is_asked_for_as_kubectl_asks() {
        let requirements = vec![requirement("tier", "In", &["a", "b"]), requirement("old", "DoesNotExist", &[])];
        let selector = Selector { labels: labels(&[("app", "cart")]), requirements };
        assert_eq!(selector.query(), "app=cart,tier in (a,b),!old");
        assert!(selector.matches(&labels(&[("app", "cart"), ("tier", "b")])));
        assert!(!selector.matches(&labels(&[("app", "cart"), ("tier", "b"), ("old", "")])));
    }
}
