//! Asks which versions are published where the cluster's software comes from: hosts ask, as they do for artefacts, because it is
//! they who have to reach that address.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kubewright_core::facts::{Fact, Facts};
use kubewright_core::ids::HostName;
use kubewright_core::offer::{Available, Teller, published};
use kubewright_core::spec::{Role, Spec};
use kubewright_core::version::{Minor, Version};
use kubewright_manifests::{artefacts, versions};

use crate::facts::{ChecksumQuestion, Questions, gather};
use crate::ports::Hosts;

/// Somebody waits at a terminal, and there is an answer without it: a mirror nearby answers in milliseconds, dl.k8s.io in under
/// two seconds from anywhere.
const PATIENCE: Duration = Duration::from_secs(8);

/// The newest versions of these minors, and of all: what is published where the spec says, all asked for at once, by
/// whichever control plane is told first; else what this program was tested with.
pub(super) async fn available(spec: &Spec, hosts: &Arc<dyn Hosts>, minors: &[Minor]) -> Available {
    let names: Vec<HostName> = spec.with_role(Role::ControlPlane).map(|host| host.name.clone()).collect();
    let addresses = minors.iter().map(|minor| artefacts::newest(spec, Some(*minor)));
    let questions = Questions {
        checksums: addresses
            .chain([artefacts::newest(spec, None)])
            .map(|url| ChecksumQuestion { url, installed: None })
            .collect(),
        ..Questions::default()
    };
    let first = async {
        let each = names.iter().map(|name| gather(hosts.as_ref(), std::slice::from_ref(name), &questions));
        let mut asked: FuturesUnordered<_> = each.collect();
        let mut facts = Facts::default();
        while let Some(told) = asked.next().await {
            facts.hosts.extend(told.hosts);
            // One that is down must not hold up what another was told.
            if facts
                .hosts
                .values()
                .filter_map(Fact::known)
                .any(|seen| seen.checksums.values().any(|answer| answer.known().is_some()))
            {
                break;
            }
        }
        facts
    };
    let (facts, silence) = match tokio::time::timeout(PATIENCE, first).await {
        Ok(facts) => (facts, "no control plane could ask"),
        Err(_) => (Facts::default(), "no answer came in time"),
    };
    told(spec, minors, &facts, silence)
}

/// Which versions of these minors are taken, and who knows of them, as the end of a sentence.
pub(super) fn taken(available: &Available, minors: &[Minor]) -> String {
    let newest: Vec<String> =
        minors.iter().filter_map(|minor| available.newest(*minor)).map(ToString::to_string).collect();
    let newest = newest.join(", ");
    match available.teller {
        Teller::Published => format!("through {newest}, the newest that is published"),
        Teller::Tested => {
            format!("through {newest}, which kubewright was tested with: what is published cannot be seen")
        }
    }
}

/// What hosts were told of these minors; where none was told anything, `silence` is why.
fn told(spec: &Spec, minors: &[Minor], facts: &Facts, silence: &str) -> Available {
    let answer = |minor: Option<Minor>| {
        let url = artefacts::newest(spec, minor);
        let answers = facts.hosts.values().filter_map(Fact::known).filter_map(|seen| seen.checksums.get(&url));
        let mut why = silence.to_owned();
        for answer in answers {
            match answer.known() {
                Some(text) => match published(text, minor) {
                    Ok(version) => return Ok(version),
                    Err(wrong) => why = format!("{url}: {wrong}"),
                },
                None => why = answer.why().unwrap_or(silence).to_owned(),
            }
        }
        Err(why)
    };
    let answers: Vec<(Minor, Result<Version, String>)> =
        minors.iter().map(|minor| (*minor, answer(Some(*minor)))).collect();
    Available::of(answers, answer(None).ok(), &versions::tested())
}

#[cfg(test)]
mod tests {
    use kubewright_core::facts::HostFacts;
    use kubewright_core::facts::sample::known;
    use kubewright_core::spec::read;
    use kubewright_core::version::PROVEN;

    use super::*;
    use crate::host::fake::{FakeHosts, Fault};

    fn spec() -> Spec {
        read("single.yaml", include_str!("../../../examples/single.yaml")).spec.unwrap()
    }

    fn facts(spec: &Spec, answers: &[(Option<u64>, Fact<String>)]) -> Facts {
        let url = |minor: Option<u64>| artefacts::newest(spec, minor.map(|minor| Minor::new(1, minor)));
        let checksums = answers.iter().map(|(minor, answer)| (url(*minor), answer.clone())).collect();
        let mut facts = Facts::default();
        facts.hosts.insert("cp1".into(), Fact::unreadable("no route to host"));
        facts.hosts.insert("cp2".into(), known(HostFacts { checksums, ..HostFacts::default() }));
        facts
    }

    #[test]
    fn addresses_are_the_official_ones_or_the_mirrors() {
        let mut spec = spec();
        spec.artefacts.mirror = None;
        assert_eq!(artefacts::newest(&spec, None), "https://dl.k8s.io/release/stable.txt");
        spec.artefacts.mirror = Some("http://10.77.0.2".into());
        let url = artefacts::newest(&spec, Some(Minor::new(1, 36)));
        assert_eq!(url, "http://10.77.0.2/dl.k8s.io/release/stable-1.36.txt");
    }

    #[test]
    fn any_control_plane_that_was_told_will_do() {
        let spec = spec();
        let told_of = [(Some(36), known("v1.36.9\n".to_owned())), (None, known("v1.37.0".to_owned()))];
        let available = told(&spec, &PROVEN, &facts(&spec, &told_of), "nobody");
        assert_eq!(available.newest(Minor::new(1, 36)), Some(&Version::new(1, 36, 9)));
        assert_eq!((available.newest(Minor::new(1, 35)), available.teller), (None, Teller::Published));
        assert_eq!(available.beyond, Some(Version::new(1, 37, 0)));
    }

    #[test]
    fn where_nobody_is_told_anything_the_reason_is_kept() {
        let spec = spec();
        let wrong =
            [(Some(36), Fact::unreadable("curl: (6) Could not resolve host")), (Some(35), known("<html>".into()))];
        let available = told(&spec, &PROVEN, &facts(&spec, &wrong), "nobody");
        assert_eq!(
            (available.newest(Minor::new(1, 36)), available.teller),
            (Some(&Version::new(1, 36, 3)), Teller::Tested)
        );
        assert_eq!(available.silent[&Minor::new(1, 36)], "curl: (6) Could not resolve host");
        assert!(available.silent[&Minor::new(1, 35)].ends_with("stable-1.35.txt: its answer is no version"));
        assert_eq!(available.silent[&Minor::new(1, 34)], "nobody");
    }

    /// The hosts of the lab, some of which were told this of 1.36.
    fn hosts(told: &[&str], answer: &str) -> (Spec, FakeHosts) {
        let spec = read("lab-ha.yaml", include_str!("../../../examples/lab-ha.yaml")).spec.unwrap();
        let hosts = FakeHosts::new(["cp1", "cp2", "cp3", "w1", "w2"]);
        let url = artefacts::newest(&spec, Some(Minor::new(1, 36)));
        for host in told {
            hosts.state(*host, &format!("+ checksum/{url} {answer}\n. checksum/{url}\n"));
        }
        (spec, hosts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_control_plane_that_is_down_holds_nothing_up() {
        let (spec, fakes) = hosts(&["cp3"], "v1.36.9");
        fakes.fault("cp1", "connect", Fault::Refused);
        let hosts: Arc<dyn Hosts> = Arc::new(fakes.clone());
        let found = available(&spec, &hosts, &PROVEN).await;
        assert_eq!(found.newest(Minor::new(1, 36)), Some(&Version::new(1, 36, 9)));
        let asked: Vec<String> = fakes.calls().into_iter().map(|call| call.host.to_string()).collect();
        assert!(asked.iter().all(|host| host.starts_with("cp")), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_longer_than_a_moment() {
        let (spec, fakes) = hosts(&["cp1"], "v1.36.9");
        let hosts: Arc<dyn Hosts> = Arc::new(fakes.delay(Duration::from_secs(60)));
        let began = tokio::time::Instant::now();
        let found = available(&spec, &hosts, &PROVEN).await;
        assert_eq!((began.elapsed(), found.teller), (PATIENCE, Teller::Tested));
        assert_eq!(found.silent[&Minor::new(1, 36)], "no answer came in time");
    }
}
