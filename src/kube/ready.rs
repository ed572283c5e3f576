//! How an API server is and which version it has.

use kube::core::Status;
use kubewright_core::ids::HostName;
use kubewright_core::version::Version;
use serde::Deserialize;

use super::ClusterApi;
use super::call::Call;
use super::fault::from_status;
use crate::ports::{Fault, KubeError, Readiness};

/// Asks `/readyz?verbose`. A 500 with a list of checks is an answer, not a failure, and is not asked for again.
pub(super) async fn readiness(api: &ClusterApi) -> Result<Readiness, KubeError> {
    let call = Call::get("ask /readyz", "/readyz?verbose");
    let answer = api.attempt(&call).await?;
    let text = String::from_utf8_lossy(&answer.body);
    let failing = failing_checks(&text);
    let code = answer.status.as_u16();
    if code >= 400 && failing.is_empty() {
        let error = from_status(&call.doing, code, &Status::failure(text.trim(), "").with_code(code));
        return match error.fault {
            Fault::Busy | Fault::Server => {
                Ok(Readiness { control_plane: name(answer.control_plane), failing: vec![error.said] })
            }
            _ => Err(KubeError { control_plane: answer.control_plane, ..error }),
        };
    }
    Ok(Readiness { control_plane: name(answer.control_plane), failing })
}

/// The version of the API server that answers.
pub(super) async fn version(api: &ClusterApi) -> Result<Version, KubeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Info {
        git_version: String,
    }
    let call = Call::get("ask the API server's version", "/version");
    let answer = api.call(&call).await?;
    let info: Info = answer.json(&call.doing)?;
    info.git_version.parse().map_err(|error| KubeError::new(Fault::Server, &call.doing, format!("{error}")))
}

/// Lines `[-]etcd-readiness failed: reason withheld` of the verbose answer; `[+]…` passed.
fn failing_checks(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.trim().strip_prefix("[-]")).map(str::to_owned).collect()
}

fn name(control_plane: Option<HostName>) -> HostName {
    control_plane.unwrap_or_else(|| HostName::new("-"))
}

#[cfg(test)]
mod tests {
    use super::failing_checks;

    #[test]
    fn failed_checks_are_told_without_their_mark() {
        let text = "[+]ping ok\n[+]log ok\n[-]etcd-readiness failed: reason withheld\nreadyz check failed\n";
        assert_eq!(failing_checks(text), ["etcd-readiness failed: reason withheld"]);
    }
}
