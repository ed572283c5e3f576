//! How much of a node's resources a pod asks for, a node has, or is left of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Amounts by resource (`cpu`, `memory`, `nvidia.com/gpu`), in thousandths of its unit: `100m` of CPU is 100.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts(BTreeMap<String, i64>);

impl Amounts {
    /// From the API's words, such as `250m` and `1Gi`; one that cannot be read is left out.
    pub fn of<'w>(words: impl IntoIterator<Item = (&'w str, &'w str)>) -> Self {
        Self(words.into_iter().filter_map(|(resource, word)| Some((resource.to_owned(), thousandths(word)?))).collect())
    }

    /// Nothing is told at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much there is of a resource.
    pub fn get(&self, resource: &str) -> i64 {
        self.0.get(resource).copied().unwrap_or(0)
    }

    /// Adds all of the other.
    pub fn add(&mut self, other: &Self) {
        for (resource, amount) in &other.0 {
            let sum = self.0.entry(resource.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Takes all of the other away; what becomes less than nothing stays so.
    pub fn take(&mut self, other: &Self) {
        for (resource, amount) in &other.0 {
            let rest = self.0.entry(resource.clone()).or_default();
            *rest = rest.saturating_sub(*amount);
        }
    }

    /// Of each resource the larger of both.
    pub fn raise(&mut self, other: &Self) {
        for (resource, amount) in &other.0 {
            let most = self.0.entry(resource.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }

    /// Takes over what the other names.
    pub fn replace(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The resources of which there is less than that; of one that is not asked for any amount is enough, as for the
    /// scheduler.
    pub fn short_of<'a>(&'a self, asked: &'a Self) -> impl Iterator<Item = &'a str> {
        let short = asked.0.iter().filter(|(resource, amount)| **amount > 0 && **amount > self.get(resource));
        short.map(|(resource, _)| resource.as_str())
    }
}

/// A quantity of Kubernetes in thousandths, rounded up (apimachinery pkg/api/resource): `0.1`, `100m`, `64Mi`, `1e3`.
fn thousandths(word: &str) -> Option<i64> {
    let digits = word.find(|letter: char| !matches!(letter, '0'..='9' | '.' | '+' | '-')).unwrap_or(word.len());
    let (number, suffix) = word.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    // A cast of a float that is too large gives the largest number there is: more than any node has.
    Some((number * factor * 1000.0 - 1e-6).ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_the_api_writes_them() {
        let read = |word| thousandths(word);
        assert_eq!(read("100m"), Some(100));
        assert_eq!((read("2"), read("1.5"), read("0.1")), (Some(2000), Some(1500), Some(100)));
        assert_eq!((read("1Ki"), read("64Mi")), (Some(1_024_000), Some(67_108_864_000)));
        assert_eq!((read("1e3"), read("2E3"), read("1k")), (Some(1_000_000), Some(2_000_000), Some(1_000_000)));
        assert_eq!(read("1n"), Some(1), "rounded up: something is not nothing");
        assert_eq!((read("0"), read("-1")), (Some(0), Some(-1000)));
        assert_eq!((read("many"), read(""), read("1Xi")), (None, None, None));
        assert_eq!(read("100E"), Some(i64::MAX));
    }

    #[test]
    fn what_is_short_is_named() {
        let has = Amounts::of([("cpu", "1"), ("memory", "1Gi")]);
        let short = |asked: &[(&str, &str)]| -> Vec<String> {
            let asked = Amounts::of(asked.iter().copied());
            has.short_of(&asked).map(str::to_owned).collect()
        };
        assert_eq!(short(&[("cpu", "1"), ("memory", "1Gi")]), [""; 0]);
        assert_eq!(short(&[("cpu", "1001m"), ("nvidia.com/gpu", "1")]), ["cpu", "nvidia.com/gpu"]);
        assert_eq!(short(&[("nvidia.com/gpu", "0")]), [""; 0]);
    }

    #[test]
    fn amounts_are_reckoned_with() {
        let mut amounts = Amounts::of([("cpu", "1")]);
        amounts.add(&Amounts::of([("cpu", "1"), ("pods", "1")]));
        amounts.take(&Amounts::of([("pods", "2")]));
        assert_eq!((amounts.get("cpu"), amounts.get("pods"), amounts.get("memory")), (2000, -1000, 0));
        amounts.raise(&Amounts::of([("cpu", "500m"), ("pods", "3")]));
        assert_eq!(amounts, Amounts::of([("cpu", "2"), ("pods", "3")]));
        amounts.replace(Amounts::of([("cpu", "1")]));
        assert_eq!(amounts.get("cpu"), 1000);
    }
}
