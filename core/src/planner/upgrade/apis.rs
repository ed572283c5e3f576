//! APIs in use that a release on the way no longer serves, or a later one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::facts::{ApisInUse, DeprecatedApi, Fact, Use};
use crate::finding::{Finding, Severity, Subject};
use crate::summary::ago;
use crate::version::Minor;

/// Writers that a finding names: whoever wrote last is looked for first.
const MOST_WRITERS: usize = 3;

/// API004 to API006. Nothing where nobody asked.
pub(super) fn that_go(apis: &Fact<ApisInUse>, to: Minor) -> Vec<Finding> {
    let (in_use, at) = match apis {
        Fact::Known { value, at } => (value, *at),
        Fact::Absent => return Vec::new(),
        Fact::Unreadable { why, .. } => return vec![untold(format!("which APIs are in use cannot be seen: {why}"))],
    };
    let mut findings: Vec<Finding> = in_use
        .untold
        .iter()
        .map(|(host, why)| {
            let text = format!("the API server of {host} does not tell which APIs are asked for: {why}");
            untold(text)
        })
        .collect();
    // One finding for all resources of a version: they go together, and mostly have one user.
    let mut versions: BTreeMap<(Minor, String), Vec<(&DeprecatedApi, &Use)>> = BTreeMap::new();
    for (api, used) in &in_use.deprecated {
        versions.entry((api.removed_in, api.api_version())).or_default().push((api, used));
    }
    findings.extend(versions.into_iter().map(|((removed_in, version), resources)| {
        let gone = removed_in <= to;
        let names: BTreeSet<&str> = resources.iter().map(|(api, _)| api.resource.as_str()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let text = format!(
            "{version} ({names}) {} {removed_in}; {}",
            if gone { "is gone in" } else { "goes in" },
            by_whom(&resources, at)
        );
        let (severity, code) = if gone { (Severity::Warns, "API004") } else { (Severity::Info, "API005") };
        let finding = Finding::new(severity, code, Subject::Cluster, text);
        if gone {
            finding.hint(
                "let them use a newer version first; who only reads is found in the audit log, by the annotation \
                 k8s.io/deprecated",
            )
        } else {
            finding
        }
    }));
    findings
}

fn untold(text: String) -> Finding {
    Finding::new(Severity::Warns, "API006", Subject::Cluster, text)
        .hint("look for it yourself:  kubectl get --raw /metrics | grep apiserver_requested_deprecated_apis")
}

/// Who wrote objects, the last first; or since when somebody asks.
fn by_whom(resources: &[(&DeprecatedApi, &Use)], now: Timestamp) -> String {
    let mut writers: BTreeMap<&str, Option<Timestamp>> = BTreeMap::new();
    for (writer, last) in resources.iter().flat_map(|(_, used)| &used.writers) {
        let known = writers.entry(writer).or_default();
        *known = (*known).max(*last);
    }
    let mut writers: Vec<(&str, Option<Timestamp>)> = writers.into_iter().collect();
    writers.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    let Some((_, last)) = writers.first() else {
        let unseen = resources.iter().find_map(|(_, used)| used.unseen.as_deref());
        let unseen = unseen.map(|why| format!(" (objects could not be looked at: {why})")).unwrap_or_default();
        return format!("asked for since its API server started, by whom no object tells{unseen}");
    };
    let when = last.map_or_else(|| "used".to_owned(), |last| format!("last used {}", ago(last, now)));
    let names: Vec<String> = writers.iter().take(MOST_WRITERS).map(|(name, _)| format!("\"{name}\"")).collect();
    let others = match writers.len().saturating_sub(MOST_WRITERS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{when} by {}{others}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const TO: Minor = Minor::new(1, 36);

    fn api(removed_in: Minor, resource: &str) -> DeprecatedApi {
        let (group, version) = ("flowcontrol.apiserver.k8s.io".to_owned(), "v1beta3".to_owned());
        DeprecatedApi { removed_in, group, version, resource: resource.to_owned() }
    }

    fn seen(uses: Vec<(DeprecatedApi, Use)>) -> Fact<ApisInUse> {
        let value = ApisInUse { deprecated: uses.into_iter().collect(), untold: BTreeMap::new() };
        Fact::Known { value, at: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(100) }
    }

    fn written(writers: &[(&str, i64)]) -> Use {
        let at = |hour: i64| Some(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour));
        let writers = writers.iter().map(|(name, hour)| ((*name).to_owned(), at(*hour))).collect();
        Use { writers, ..Use::default() }
    }

    fn told(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|one| format!("{} {} {}", one.code, one.severity, one.text)).collect()
    }

    #[test]
    fn what_is_gone_on_the_way_warns_with_who_used_it_and_when() {
        let uses = vec![
            (api(TO, "flowschemas"), written(&[("old-agent", 97)])),
            (api(TO, "prioritylevelconfigurations"), written(&[("a", 1), ("b", 2), ("c", 3), ("old-agent", 90)])),
            (api(Minor::new(1, 37), "flowschemas"), Use::default()),
        ];
        assert_eq!(
            told(&that_go(&seen(uses), TO)),
            [
                "API004 warns flowcontrol.apiserver.k8s.io/v1beta3 (flowschemas, prioritylevelconfigurations) is gone in 1.36; \
                 last used 3 h ago by \"old-agent\", \"c\", \"b\" and 1 more",
                "API005 info flowcontrol.apiserver.k8s.io/v1beta3 (flowschemas) goes in 1.37; asked for since its API server \
                 started, by whom no object tells",
            ]
        );
    }

    #[test]
    fn whoever_was_not_asked_or_does_not_tell_is_named() {
        assert_eq!(that_go(&Fact::Absent, TO), Vec::new());
        assert_eq!(told(&that_go(&Fact::unreadable("no way"), TO)).len(), 1);
        let untold = BTreeMap::from([("cp2".into(), "forbidden".to_owned())]);
        let value = ApisInUse { untold, ..ApisInUse::default() };
        let findings = that_go(&Fact::Known { value, at: Timestamp::UNIX_EPOCH }, TO);
        assert_eq!(
            told(&findings),
            ["API006 warns the API server of cp2 does not tell which APIs are asked for: forbidden"]
        );
    }
}
