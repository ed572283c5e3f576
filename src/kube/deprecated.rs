//! Which APIs that go somebody asks for: each API server counts them among its metrics; who writes objects in such a version
//! stands in their managed fields.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use http_body_util::BodyExt;
use jiff::Timestamp;
use kubewright_core::facts::{ApisInUse, DEPRECATED_APIS_METRIC, DeprecatedApi};
use kubewright_core::ids::HostName;
use serde::Deserialize;

use super::ClusterApi;
use super::call::{Answer, Call};
use super::fault::loss;
use crate::ports::{ConnectionFault, Fault, KubeError};

/// A large cluster's API server tells some ten megabytes of metrics; what is more than this is not read to its end.
const MOST_METRICS: usize = 64 << 20;
/// A line of metrics is a few hundred bytes; the rest of a longer one is skipped.
const LONGEST_LINE: usize = 16 << 10;
/// Objects whose writers are looked at, of each resource: one page of a list, a few hundred bytes each.
const MOST_OBJECTS: usize = 500;
/// A page of objects' metadata is below a megabyte; managed fields of some are long.
const MOST_METADATA: usize = 16 << 20;
/// Resources whose writers are looked at. More than a handful at once is a cluster whose owner knows.
const MOST_RESOURCES: usize = 16;
/// Metrics and lists are for a finding, and the rest of planning waits for nothing else by then.
const WITHIN: Duration = Duration::from_secs(15);

/// Names and managed fields of objects alone.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

impl ClusterApi {
    /// Asks every API server, side by side, and then for the objects of what goes: a round trip for each API server, two more for
    /// each resource. What cannot be asked is told in the answer.
    pub async fn apis_in_use(&self) -> ApisInUse {
        let asked = self.each_control_plane().into_iter().map(|(host, api)| async move {
            let told = tokio::time::timeout(WITHIN, counted(&api)).await;
            (host, told.unwrap_or_else(|_| Err(late("ask for metrics"))))
        });
        let mut found = ApisInUse::default();
        for (host, told) in join_all(asked).await {
            match told {
                Ok(apis) => apis.into_iter().for_each(|api| {
                    found.deprecated.entry(api).or_default().servers.insert(host.clone());
                }),
                Err(error) => drop(found.untold.insert(host, error.to_string())),
            }
        }
        let looks = found.deprecated.iter_mut().take(MOST_RESOURCES).map(|(api, used)| async move {
            let written = tokio::time::timeout(WITHIN, written(self, api)).await;
            match written.unwrap_or_else(|_| Err(late("list objects"))) {
                Ok(writers) => used.writers = writers,
                Err(error) => used.unseen = Some(error.to_string()),
            }
        });
        join_all(looks).await;
        found
    }

    /// Each of its API servers by itself; the one beneath where there is no choice.
    fn each_control_plane(&self) -> Vec<(HostName, Self)> {
        match &self.dialer {
            Some(dialer) => dialer.hosts().filter_map(|host| Some((host.clone(), self.only(host)?))).collect(),
            None => vec![(HostName::new("-"), self.clone())],
        }
    }
}

fn late(doing: &str) -> KubeError {
    let said = format!("no whole answer within {} s", WITHIN.as_secs());
    KubeError::new(Fault::Connection(ConnectionFault::Timeout), doing, said)
}

/// What one API server counted since it began.
async fn counted(api: &ClusterApi) -> Result<Vec<DeprecatedApi>, KubeError> {
    let call = Call::get("ask for metrics", "/metrics");
    let mut lines = Lines::default();
    read(api, &call, "text/plain", MOST_METRICS, |bytes| lines.take(bytes)).await?;
    Ok(lines.found)
}

/// Lines of metrics, as they come.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    found: Vec<DeprecatedApi>,
}

impl Lines {
    /// Takes a piece; false once nothing of ours can follow: metrics come in the order of their names.
    fn take(&mut self, bytes: &[u8]) -> bool {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() < LONGEST_LINE {
                self.line.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                self.found.extend(DeprecatedApi::of_metric(line.trim_end()));
                let named = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next());
                if named.is_some_and(|name| name > DEPRECATED_APIS_METRIC) {
                    return false;
                }
            }
        }
        true
    }
}

/// Who wrote objects of a resource in this version, and when last.
async fn written(api: &ClusterApi, of: &DeprecatedApi) -> Result<BTreeMap<String, Option<Timestamp>>, KubeError> {
    #[derive(Default, Deserialize)]
    struct List {
        #[serde(default)]
        items: Vec<Object>,
    }
    #[derive(Deserialize)]
    struct Object {
        #[serde(default)]
        metadata: Metadata,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Metadata {
        managed_fields: Vec<Managed>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Managed {
        #[serde(default)]
        manager: String,
        #[serde(default)]
        api_version: String,
        time: Option<Timestamp>,
    }
    let version = preferred(api, of).await?;
    let mut versions = vec![version];
    // Not every resource is in every version; asking in the one that goes counts as using it, so it comes last.
    if versions[0] != of.version {
        versions.push(of.version.clone());
    }
    let mut list = List::default();
    for version in versions {
        let path = format!("{}/{version}/{}?limit={MOST_OBJECTS}", group_path(&of.group), of.resource);
        let call = Call::get(format!("list {} in {version}", of.resource), path);
        let mut body = Vec::new();
        let read = read(api, &call, METADATA, MOST_METADATA, |bytes| {
            body.extend_from_slice(bytes);
            true
        });
        match read.await {
            Ok(()) => {
                list = serde_json::from_slice(&body)
                    .map_err(|error| KubeError::new(Fault::Server, &call.doing, error.to_string()))?;
                break;
            }
            Err(error) if error.fault == Fault::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let mut writers: BTreeMap<String, Option<Timestamp>> = BTreeMap::new();
    let fields = list.items.into_iter().flat_map(|object| object.metadata.managed_fields);
    for field in fields.filter(|field| field.api_version == of.api_version()) {
        let last = writers.entry(field.manager).or_default();
        *last = (*last).max(field.time);
    }
    Ok(writers)
}

/// The version of a group that the API server prefers.
async fn preferred(api: &ClusterApi, of: &DeprecatedApi) -> Result<String, KubeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Group {
        preferred_version: Version,
    }
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    if of.group.is_empty() {
        return Ok("v1".to_owned());
    }
    let call = Call::get(format!("ask for {}", of.group), group_path(&of.group));
    let group: Group = api.call(&call).await?.json(&call.doing)?;
    Ok(group.preferred_version.version)
}

fn group_path(group: &str) -> String {
    if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") }
}

/// Reads an answer piece by piece, as long as its reader wants more of it and it is not too long.
async fn read(
    api: &ClusterApi,
    call: &Call,
    accept: &str,
    most: usize,
    mut take: impl FnMut(&[u8]) -> bool,
) -> Result<(), KubeError> {
    let response = api.send(call, accept).await?;
    let status = response.status();
    let mut body = response.into_body();
    let (mut refusal, mut bytes) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let lost =
            |error: kube::Error| KubeError::new(Fault::Connection(ConnectionFault::Lost), &call.doing, loss(&error));
        let Ok(data) = frame.map_err(lost)?.into_data() else { continue };
        bytes += data.len();
        if bytes > most {
            let said = format!("the answer is longer than {} MiB", most >> 20);
            return Err(KubeError::new(Fault::Server, &call.doing, said));
        }
        if status.as_u16() >= 400 {
            refusal.extend_from_slice(&data);
        } else if !take(&data) {
            return Ok(());
        }
    }
    match status.as_u16() {
        0..400 => Ok(()),
        _ => {
            let answer = Answer { status, body: refusal, warnings: Vec::new(), retry_after: None, control_plane: None };
            Err(api.complaint(call, &answer))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_come_in_any_pieces_and_the_rest_is_not_read() {
        let line = |name: &str| {
            format!(
                "{DEPRECATED_APIS_METRIC}{{group=\"a\",removed_release=\"1.38\",resource=\"{name}\",subresource=\"\",version=\"v1\"}} 1\n"
            )
        };
        let long = format!("other{{x=\"{}\"}} 1\n", "y".repeat(2 * LONGEST_LINE));
        let text = format!("{long}{}{}# TYPE b counter\n", line("cs"), line("ds"));
        for size in [1, 7, 100, text.len()] {
            let mut lines = Lines::default();
            let more: Vec<bool> = text.as_bytes().chunks(size).map(|piece| lines.take(piece)).collect();
            let (last, before) = more.split_last().unwrap();
            assert!(!last && before.iter().all(|more| *more), "{size}");
            let names: Vec<&str> = lines.found.iter().map(|api| api.resource.as_str()).collect();
            assert_eq!(names, ["cs", "ds"], "{size}");
        }
    }
}
