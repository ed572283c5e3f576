//! Versions of APIs that are to go and that somebody asks for all the same, as API servers count them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::HostName;
use crate::version::Minor;

/// What an API server counts, for the lifetime of its process.
pub const METRIC: &str = "apiserver_requested_deprecated_apis";

/// What the API servers of a cluster tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApisInUse {
    /// Deprecated ones that were asked for, and from which release on nobody serves them. Those of which no end is announced
    /// are left out: there is nothing to do about them yet.
    pub deprecated: BTreeMap<DeprecatedApi, Use>,
    /// API servers that did not tell, and why.
    pub untold: BTreeMap<HostName, String>,
}

/// A resource in a version that goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "String", into = "String")]
pub struct DeprecatedApi {
    /// The first minor without it.
    pub removed_in: Minor,
    /// Such as `flowcontrol.apiserver.k8s.io`; empty for the oldest of all groups.
    pub group: String,
    /// Such as `v1beta3`.
    pub version: String,
    /// Such as `flowschemas`.
    pub resource: String,
}

impl DeprecatedApi {
    /// Group and version, as objects have it in `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// From a line of an API server's metrics; none where it is another metric, or where no end is announced.
    pub fn of_metric(line: &str) -> Option<Self> {
        let (labels, value) = line.strip_prefix(METRIC)?.strip_prefix('{')?.rsplit_once("} ")?;
        if value.trim().parse::<f64>().ok()? == 0.0 {
            return None;
        }
        // Names of groups, versions and resources need no escapes.
        let labels: BTreeMap<&str, &str> = labels
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim_matches('"')))
            .collect();
        let label = |name: &str| labels.get(name).map(|value| (*value).to_owned());
        Some(Self {
            removed_in: Minor::try_from(label("removed_release")?).ok()?,
            group: label("group")?,
            version: label("version")?,
            resource: label("resource")?,
        })
    }
}

/// As a key of JSON: `1.37 resource.k8s.io/v1beta1/resourceclaims`.
impl From<DeprecatedApi> for String {
    fn from(api: DeprecatedApi) -> Self {
        format!("{} {}/{}/{}", api.removed_in, api.group, api.version, api.resource)
    }
}

impl TryFrom<String> for DeprecatedApi {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parts = || {
            let (removed_in, path) = text.split_once(' ')?;
            let (group, rest) = path.split_once('/')?;
            let (version, resource) = rest.split_once('/')?;
            Some((Minor::try_from(removed_in.to_owned()).ok()?, [group, version, resource].map(str::to_owned)))
        };
        let (removed_in, [group, version, resource]) = parts().ok_or_else(|| format!("`{text}` is no API"))?;
        Ok(Self { removed_in, group, version, resource })
    }
}

/// Who asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Use {
    /// The API servers that were asked.
    pub servers: BTreeSet<HostName>,
    /// Whoever last wrote an object in that version, and when: by the name of the field manager. Who only reads leaves no trace.
    pub writers: BTreeMap<String, Option<Timestamp>>,
    /// Why writers are not known, where objects could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_metric_is_an_api_that_goes() {
        let line = r#"apiserver_requested_deprecated_apis{group="flowcontrol.apiserver.k8s.io",removed_release="1.32",resource="flowschemas",subresource="status",version="v1beta3"} 1"#;
        let api = DeprecatedApi::of_metric(line).unwrap();
        assert_eq!(api.api_version(), "flowcontrol.apiserver.k8s.io/v1beta3");
        assert_eq!((api.resource.as_str(), api.removed_in), ("flowschemas", Minor::new(1, 32)));
        assert_eq!(DeprecatedApi::of_metric(&line.replace("} 1", "} 0")), None);
        assert_eq!(DeprecatedApi::of_metric(&line.replace("1.32", "")), None, "no end is announced");
        assert_eq!(DeprecatedApi::of_metric(&line.replace("_apis{", "_apis_total{")), None);
        assert_eq!(DeprecatedApi::of_metric("apiserver_requested_deprecated_apis"), None);
        let core = DeprecatedApi { group: String::new(), ..api };
        assert_eq!(core.api_version(), "v1beta3");
    }

    #[test]
    fn facts_survive_json() {
        let line =
            r#"apiserver_requested_deprecated_apis{group="",removed_release="1.40",resource="a",version="v1"} 1"#;
        let writers = BTreeMap::from([("old-agent".to_owned(), Some(Timestamp::UNIX_EPOCH))]);
        let used = Use { servers: BTreeSet::from(["cp1".into()]), writers, unseen: None };
        let facts = ApisInUse {
            deprecated: BTreeMap::from([(DeprecatedApi::of_metric(line).unwrap(), used)]),
            untold: BTreeMap::from([("cp2".into(), "it is away".to_owned())]),
        };
        let text = serde_json::to_string(&facts).unwrap();
        assert!(text.contains("1.40 /v1/a"), "{text}");
        assert_eq!(serde_json::from_str::<ApisInUse>(&text).unwrap(), facts);
        assert!(serde_json::from_str::<DeprecatedApi>("\"x\"").is_err());
    }
}
