//! What each program and image must add up to: what the lock file pins, else what is published, if all hosts are told
//! the same. Nothing is planned to be installed without a digest.

use std::collections::BTreeMap;

use kubewright_core::facts::Fact;
use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::ids::HostName;
use kubewright_core::pins::{Item, Pinned, Pins};

/// What one host was told of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A digest: `sha256:` and its digits.
    Digest(String),
    /// None, with the reason.
    Nothing(String),
    /// It did not ask, because it has what is pinned.
    NotAsked,
}

impl Told {
    /// Out of a fact that is there where the question was put; `read` takes the digest out of the answer.
    pub fn of(fact: Option<&Fact<String>>, read: impl FnOnce(&str) -> Option<String>) -> Self {
        match fact {
            None => Self::NotAsked,
            Some(fact) => match fact.known().map(|answer| read(answer)) {
                Some(Some(digest)) => Self::Digest(digest),
                Some(None) => Self::Nothing("the answer holds no digest of this file".to_owned()),
                None => Self::Nothing(fact.why().unwrap_or("there is none").to_owned()),
            },
        }
    }
}

/// Digests as they are settled, thing by thing and host by host.
pub struct Digests<'a> {
    pinned: &'a Pinned,
    spec_name: &'a str,
    agreed: BTreeMap<Item, (String, HostName)>,
}

impl<'a> Digests<'a> {
    /// Of a cluster whose lock file this is; the spec's name stands in advice.
    pub fn new(pinned: &'a Pinned, spec_name: &'a str) -> Self {
        Self { pinned, spec_name, agreed: BTreeMap::new() }
    }

    /// The digest that a thing must have on a host. `None` where nobody knows one; whoever asks says so.
    ///
    /// # Errors
    /// ART005 or ART006, where two say different things.
    pub fn settle(&mut self, host: &HostName, item: &Item, told: &Told) -> Result<Option<String>, Box<Finding>> {
        let published = match told {
            Told::Digest(digest) => Some(digest.as_str()),
            Told::Nothing(_) | Told::NotAsked => None,
        };
        if let Some(pinned) = self.pinned.pins.get(item) {
            return match published {
                Some(published) if published != pinned => Err(Box::new(self.moved(host, item, published, pinned))),
                _ => Ok(Some(pinned.to_owned())),
            };
        }
        let Some(published) = published else { return Ok(None) };
        match self.agreed.get(item) {
            Some((agreed, first)) if agreed != published => {
                let text = format!("{item} is published to it as {published}, to {first} as {agreed}");
                let hint = "their mirrors hold different files: compare both with what its makers publish";
                Err(Box::new(blocks(host, "ART006", text).hint(hint)))
            }
            _ => {
                self.agreed.insert(item.clone(), (published.to_owned(), host.clone()));
                Ok(Some(published.to_owned()))
            }
        }
    }

    fn moved(&self, host: &HostName, item: &Item, published: &str, pinned: &str) -> Finding {
        let text = format!("{item} is published as {published}, but {} pins {pinned}", self.pinned.place(item));
        blocks(host, "ART005", text).hint(format!(
            "compare both with what its makers publish; to accept what is published:  kubewright pin --update -f {}",
            self.spec_name
        ))
    }

    /// What was settled from what is published, to be pinned.
    pub fn new_pins(self) -> Pins {
        self.agreed.into_iter().map(|(item, (digest, _))| (item, digest)).collect()
    }
}

/// ART007, where there is something to pin.
pub fn unpinned(new: &Pins, file: &str) -> Option<Finding> {
    let text = match new.len() {
        0 => return None,
        1 => format!("1 digest is not pinned yet; apply writes it into {file}"),
        several => format!("{several} digests are not pinned yet; apply writes them into {file}"),
    };
    Some(Finding::new(Severity::Info, "ART007", Subject::Cluster, text))
}

fn blocks(host: &HostName, code: &str, text: String) -> Finding {
    Finding::new(Severity::Blocks, code, Subject::Host(host.clone()), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubelet() -> Item {
        Item::Program { name: "kubelet".into(), version: "v1.35.4".into(), arch: "amd64".into() }
    }

    fn pinned(digest: &str) -> Pinned {
        let pins: Pins = [(kubelet(), digest.to_owned())].into_iter().collect();
        let text = pins.text("cluster.yaml");
        kubewright_core::pins::read("cluster.lock.yaml", "cluster.yaml", &text).unwrap()
    }

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn settled(digests: &mut Digests<'_>, host: &str, told: Told) -> Result<Option<String>, String> {
        digests.settle(&host.into(), &kubelet(), &told).map_err(|finding| finding.code)
    }

    #[test]
    fn what_is_pinned_stands_whoever_says_nothing() {
        let pinned = pinned(&digest('a'));
        let mut digests = Digests::new(&pinned, "cluster.yaml");
        for told in [Told::NotAsked, Told::Nothing("404".into()), Told::Digest(digest('a'))] {
            assert_eq!(settled(&mut digests, "cp1", told), Ok(Some(digest('a'))));
        }
        assert_eq!(settled(&mut digests, "cp2", Told::Digest(digest('b'))), Err("ART005".into()));
        assert!(digests.new_pins().is_empty());
    }

    #[test]
    fn without_a_pin_all_hosts_must_be_told_the_same() {
        let nothing = Pinned::nothing("cluster.lock.yaml");
        let mut digests = Digests::new(&nothing, "cluster.yaml");
        assert_eq!(settled(&mut digests, "cp1", Told::Nothing("404".into())), Ok(None));
        assert_eq!(settled(&mut digests, "cp2", Told::Digest(digest('a'))), Ok(Some(digest('a'))));
        assert_eq!(settled(&mut digests, "cp3", Told::Digest(digest('a'))), Ok(Some(digest('a'))));
        assert_eq!(settled(&mut digests, "w1", Told::Digest(digest('b'))), Err("ART006".into()));
        let new = digests.new_pins();
        assert_eq!(new.get(&kubelet()), Some(&*digest('a')));
        assert_eq!(unpinned(&new, "cluster.lock.yaml").unwrap().severity, Severity::Info);
    }
}
