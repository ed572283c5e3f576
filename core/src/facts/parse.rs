//! Reads what `playbooks/common/facts/` prints: one statement a line.
//!
//! ```text
//! = key value    it is this
//! + key value    one more of a list
//! . key          the list is complete
//! - key          it is not there
//! ! key why      it cannot be seen
//! ```
//!
//! A key may carry a name behind a slash: `version/kubelet`. What a host does not state stays unreadable; the last
//! statement is `. facts`, so that half an answer is noticed.

mod fitness;

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;

use super::lock::Lock;
use super::{Address, Clock, Fact, HostFacts, HostRecord, Os, OsFamily, Space, UnitFacts};

/// An answer that cannot be facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// A line that states nothing.
    #[error("line {line} states nothing: `{text}`")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// The last statement is missing.
    #[error("it ends in the middle")]
    Torn,
}

/// When we asked and when we had the answer, by our own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Before we asked.
    pub sent: Timestamp,
    /// With the answer in hand.
    pub received: Timestamp,
}

#[derive(Debug)]
enum Said<'a> {
    Value(&'a str),
    Items { items: Vec<&'a str>, complete: bool },
    Absent,
    Unreadable(&'a str),
}

impl HostFacts {
    /// Reads a host's answer.
    ///
    /// # Errors
    /// [`BadAnswer`]; a single statement that makes no sense is an unreadable fact, no error.
    pub fn parse(text: &str, exchange: Exchange) -> Result<Self, BadAnswer> {
        Ok(Answer { said: statements(text)?, exchange }.facts())
    }
}

fn statements(text: &str) -> Result<BTreeMap<&str, Said<'_>>, BadAnswer> {
    let mut said = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let bad = || BadAnswer::Line { line: at + 1, text: line.chars().take(60).collect() };
        let (sign, rest) = line.split_once(' ').ok_or_else(bad)?;
        let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
        let list = matches!(said.get(key), Some(Said::Items { .. }));
        match (sign, list) {
            ("=", _) => drop(said.insert(key, Said::Value(value))),
            ("-", _) => drop(said.insert(key, Said::Absent)),
            ("!", _) => drop(said.insert(key, Said::Unreadable(value))),
            ("+", false) => drop(said.insert(key, Said::Items { items: vec![value], complete: false })),
            (".", false) => drop(said.insert(key, Said::Items { items: Vec::new(), complete: true })),
            ("+" | ".", true) => {
                if let Some(Said::Items { items, complete }) = said.get_mut(key) {
                    if sign == "+" { items.push(value) } else { *complete = true }
                }
            }
            _ => return Err(bad()),
        }
    }
    if said.contains_key("facts") { Ok(said) } else { Err(BadAnswer::Torn) }
}

struct Answer<'a> {
    said: BTreeMap<&'a str, Said<'a>>,
    exchange: Exchange,
}

impl<'a> Answer<'a> {
    fn facts(&self) -> HostFacts {
        HostFacts {
            hostname: self.text("hostname"),
            machine_id: self.text("machine-id"),
            boot_id: self.text("boot-id"),
            os: self.read("os", os),
            architecture: self.text("architecture"),
            kernel: self.text("kernel"),
            cpus: self.number("cpus"),
            memory_bytes: self
                .read("memory-kib", |text| text.parse::<u64>().map(|kib| kib << 10).map_err(|_| bad("a number", text))),
            cgroup_version: self.number("cgroup"),
            virtual_machine: self.text("vm"),
            container: self.text("container"),
            swap: self.list("swap", |item| Ok(item.to_owned())),
            clock: self.clock(),
            space: self.list("space", space).map(collected),
            addresses: self.list("address", address),
            default_interface: self.text("default-interface"),
            sudo_user: self.text("sudo-user"),
            package_lock: self.text("package-lock"),
            listening: self.list("listening", listening).map(collected),
            systemd_resolved: self.number("systemd-resolved"),
            versions: self.named("version", |key| self.text(key)),
            units: self.named("unit", |key| self.read(key, unit)),
            running_units: self.list("running-unit", |item| Ok(item.to_owned())),
            files: self.list("file", pair).map(collected),
            artefacts: self.list("artefact", pair).map(collected),
            images: self.list("image", pair).map(collected),
            ca_fingerprint: self.text("ca-fingerprint"),
            etcd_data: self.number("etcd-data"),
            etcd_token: self.text("etcd-token"),
            etcd_initial_cluster: self.text("etcd-initial-cluster"),
            record: self.read("record", |text| {
                serde_json::from_str::<HostRecord>(text).map_err(|error| format!("the host's record: {error}"))
            }),
            lock: self
                .list("lock", |item| Ok(item.to_owned()))
                .and_then_read(|lines| Lock::parse(&lines.join("\n")).map_err(|error| error.to_string())),
            checksums: self
                .named("checksum", |key| self.list(key, |item| Ok(item.to_owned())).map(|lines| lines.join("\n"))),
            image_digests: self.named("image-digest", |key| self.text(key)),
            fitness: self.read("fitness", |_| Ok(())).map(|()| self.fitness()),
        }
    }

    fn known<T>(&self, value: T) -> Fact<T> {
        Fact::Known { value, at: self.exchange.received }
    }

    fn read<T>(&self, key: &str, parse: impl FnOnce(&'a str) -> Result<T, String>) -> Fact<T> {
        match self.said.get(key) {
            Some(Said::Value(text)) => match parse(text) {
                Ok(value) => self.known(value),
                Err(why) => Fact::unreadable(why),
            },
            Some(Said::Absent) => Fact::Absent,
            Some(Said::Unreadable(why)) => Fact::unreadable(*why),
            Some(Said::Items { .. }) => Fact::unreadable("several values where one was expected"),
            None => Fact::unreadable("the host did not tell"),
        }
    }

    fn text(&self, key: &str) -> Fact<String> {
        self.read(key, |text| Ok(text.to_owned()))
    }

    fn number<T: FromStr>(&self, key: &str) -> Fact<T> {
        self.read(key, |text| text.parse().map_err(|_| bad("a value of its kind", text)))
    }

    fn list<T>(&self, key: &str, parse: impl Fn(&'a str) -> Result<T, String>) -> Fact<Vec<T>> {
        match self.said.get(key) {
            Some(Said::Items { items, complete: true }) => match items.iter().map(|item| parse(item)).collect() {
                Ok(items) => self.known(items),
                Err(why) => Fact::unreadable(why),
            },
            Some(Said::Items { complete: false, .. }) => Fact::unreadable("the list is not complete"),
            _ => self.read(key, |_| Err("one value where a list was expected".to_owned())),
        }
    }

    /// All facts `prefix/name`, by name.
    fn named<T>(&self, prefix: &str, fact: impl Fn(&str) -> Fact<T>) -> BTreeMap<String, Fact<T>> {
        let name = |key: &str| key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned);
        self.said.keys().filter_map(|key| Some((name(key)?, fact(key)))).collect()
    }

    fn clock(&self) -> Fact<Clock> {
        let reading = |text: &str| {
            text.parse::<i128>()
                .ok()
                .and_then(|nanoseconds| Timestamp::from_nanosecond(nanoseconds).ok())
                .ok_or_else(|| bad("a time", text))
        };
        let Exchange { sent, received } = self.exchange;
        match (self.read("clock-began", reading), self.read("clock-ended", reading)) {
            (Fact::Known { value: began, .. }, Fact::Known { value: ended, .. }) => {
                self.known(Clock { sent, began, ended, received })
            }
            (began @ (Fact::Absent | Fact::Unreadable { .. }), _) => {
                began.map(|began| Clock { sent, began, ended: began, received })
            }
            (_, ended) => ended.map(|ended| Clock { sent, began: ended, ended, received }),
        }
    }
}

impl<T> Fact<T> {
    /// The fact that is read out of this one.
    fn and_then_read<U>(self, read: impl FnOnce(T) -> Result<U, String>) -> Fact<U> {
        match self {
            Self::Known { value, at } => match read(value) {
                Ok(value) => Fact::Known { value, at },
                Err(why) => Fact::unreadable(why),
            },
            Self::Absent => Fact::Absent,
            Self::Unreadable { why, hint } => Fact::Unreadable { why, hint },
        }
    }
}

fn bad(what: &str, text: &str) -> String {
    format!("`{text}` is not {what}")
}

fn collected<K: Ord, V>(pairs: Vec<(K, V)>) -> BTreeMap<K, V> {
    pairs.into_iter().collect()
}

/// `id|version|like|name`; none of the first three may contain the bar.
fn os(text: &str) -> Result<Os, String> {
    let mut parts = text.splitn(4, '|').map(str::to_owned);
    let (Some(id), Some(version), Some(like), Some(name)) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad("an operating system", text));
    };
    Ok(Os { family: OsFamily::of(&id, &like), id, version, name })
}

/// `path free-blocks block-size free-inodes inodes blocks`; file systems without a limit for inodes say 0.
fn space(item: &str) -> Result<(String, Space), String> {
    let mut words = item.split(' ');
    let mut read = || -> Option<(String, Space)> {
        let path = words.next()?.to_owned();
        let mut number = || words.next()?.parse::<u64>().ok();
        let (free_blocks, size, free_inodes, inodes, blocks) = (number()?, number()?, number()?, number()?, number()?);
        let room = Space {
            free_bytes: free_blocks.saturating_mul(size),
            free_inodes: (inodes > 0).then_some(free_inodes),
            total_bytes: Some(blocks.saturating_mul(size)),
            total_inodes: (inodes > 0).then_some(inodes),
        };
        Some((path, room))
    };
    read().ok_or_else(|| bad("the room of a file system", item))
}

/// `interface address/prefix`.
fn address(item: &str) -> Result<Address, String> {
    let read = || -> Option<Address> {
        let (interface, network) = item.split_once(' ')?;
        let (address, prefix) = network.split_once('/')?;
        Some(Address { interface: interface.to_owned(), address: address.parse().ok()?, prefix: prefix.parse().ok()? })
    };
    read().ok_or_else(|| bad("an address", item))
}

/// `port process`.
fn listening(item: &str) -> Result<(u16, String), String> {
    let (port, process) = item.split_once(' ').unwrap_or((item, ""));
    Ok((port.parse().map_err(|_| bad("a port", item))?, process.to_owned()))
}

/// `active sub enabled`; the last is empty for a unit that is not installed.
fn unit(text: &str) -> Result<UnitFacts, String> {
    let mut words = text.split(' ').map(str::to_owned);
    let (Some(active), Some(sub)) = (words.next(), words.next()) else {
        return Err(bad("the state of a unit", text));
    };
    Ok(UnitFacts { active, sub, enabled: words.next().unwrap_or_default() })
}

/// `value key`: digests have no spaces, paths may.
fn pair(item: &str) -> Result<(String, String), String> {
    let (value, key) = item.split_once(' ').ok_or_else(|| bad("a digest with a name", item))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> Exchange {
        Exchange { sent: Timestamp::from_second(100).unwrap(), received: Timestamp::from_second(101).unwrap() }
    }

    pub(super) fn parse(text: &str) -> HostFacts {
        HostFacts::parse(&format!("{text}\n. facts\n"), exchange()).unwrap()
    }

    #[test]
    fn every_kind_of_statement() {
        let facts = parse(
            "= hostname cp1\n= os debian|12||Debian GNU/Linux 12 (bookworm)\n= memory-kib 2\n- container\n! package-lock no /proc/locks\n\
             + swap /dev/sda2\n. swap\n. address\n+ space /var/lib 10 4096 7 100 20\n. space\n= version/kubelet v1.35.4\n- version/runc\n\
             + file abc /etc/x y\n. file\n= unit/kubelet active running enabled\n= etcd-data false\n\
             + checksum/https://x/a.sha256 one\n+ checksum/https://x/a.sha256 two\n. checksum/https://x/a.sha256\n! image-digest/r/i:1 HTTP 404\n\
             + lock 3\n. lock\n+ listening 6443 kube-apiserver\n. listening\n+ image sha256:1 r/i:1",
        );
        let at = exchange().received;
        assert_eq!(facts.hostname, Fact::Known { value: "cp1".to_owned(), at });
        assert_eq!(facts.os.known().unwrap().family, OsFamily::Debian);
        assert_eq!(facts.memory_bytes.known(), Some(&2048));
        assert!(facts.container.is_absent());
        assert_eq!(facts.package_lock.why(), Some("no /proc/locks"));
        assert_eq!(facts.swap.known().unwrap(), &["/dev/sda2"]);
        assert_eq!(facts.addresses.known().unwrap(), &[]);
        let room = Space { free_bytes: 40960, free_inodes: Some(7), total_bytes: Some(81920), total_inodes: Some(100) };
        assert_eq!(facts.space.known().unwrap()["/var/lib"], room);
        assert!(facts.fitness.why().is_some(), "nobody told of it");
        assert_eq!(facts.versions["kubelet"].known().unwrap(), "v1.35.4");
        assert!(facts.versions["runc"].is_absent());
        assert_eq!(facts.files.known().unwrap()["/etc/x y"], "abc");
        assert_eq!(facts.units["kubelet"].known().unwrap().enabled, "enabled");
        assert_eq!(facts.etcd_data.known(), Some(&false));
        assert_eq!(facts.checksums["https://x/a.sha256"].known().unwrap(), "one\ntwo");
        assert_eq!(facts.image_digests["r/i:1"].why(), Some("HTTP 404"));
        assert_eq!(facts.lock.known().unwrap().fence, 3);
        assert_eq!(facts.listening.known().unwrap()[&6443], "kube-apiserver");
        assert_eq!(facts.images.why(), Some("the list is not complete"));
        assert_eq!(facts.cpus.why(), Some("the host did not tell"));
    }

    #[test]
    fn half_an_answer_is_none() {
        assert_eq!(HostFacts::parse("= hostname cp1\n", exchange()), Err(BadAnswer::Torn));
        let noise = HostFacts::parse("= hostname cp1\nwarning\n. facts\n", exchange());
        assert_eq!(noise, Err(BadAnswer::Line { line: 2, text: "warning".to_owned() }));
    }

    #[test]
    fn a_value_that_makes_no_sense_is_unreadable() {
        let facts = parse("= cpus many\n= clock-began soon\n= clock-ended 5\n= record {}");
        assert_eq!(facts.cpus.why(), Some("`many` is not a value of its kind"));
        assert!(facts.clock.why().is_some());
        assert!(facts.record.why().is_some());
    }

    #[test]
    fn facts_survive_their_file() {
        let facts = parse("= hostname cp1\n+ swap a\n. swap\n- container");
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<HostFacts>(&text).unwrap(), facts);
    }

    #[test]
    fn a_reason_may_stand_without_advice() {
        let fact: Fact<String> = serde_json::from_str(r#"{"unreadable": {"why": "no answer"}}"#).unwrap();
        assert_eq!((fact.why(), fact.hint()), (Some("no answer"), None));
        assert_eq!(serde_json::to_string(&fact).unwrap(), r#"{"unreadable":{"why":"no answer"}}"#);
    }
}
