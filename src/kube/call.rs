//! One call of the API that may be repeated: sent, answered, and tried again where that helps.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, WARNING};
use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use kube::core::Status;
use kubewright_core::ids::HostName;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::ClusterApi;
use super::dial::{ANSWER, AnsweredBy};
use super::fault::{from_client, from_status, loss, passes};
use crate::ports::{ConnectionFault, Fault, KubeError};

/// First pause: shorter than a kube-apiserver takes to start, longer than a round trip around the world.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// Longest pause, so that a control plane that is back is used soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A request that does no harm when it is carried out twice.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// For messages: `apply Deployment kube-system/coredns`.
    pub(super) doing: String,
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    pub(super) warnings: Vec<String>,
    /// How long the API server asked us to stay away.
    pub(super) retry_after: Option<Duration>,
    pub(super) control_plane: Option<HostName>,
}

impl Call {
    /// A reading call.
    pub(super) fn get(doing: impl Into<String>, path: impl Into<String>) -> Self {
        Self { doing: doing.into(), method: Method::GET, path: path.into(), content_type: None, body: Vec::new() }
    }
}

impl Answer {
    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, doing: &str) -> Result<T, KubeError> {
        serde_json::from_slice(&self.body).map_err(|error| KubeError {
            control_plane: self.control_plane.clone(),
            ..KubeError::new(Fault::Server, doing, format!("an answer that cannot be read: {error}"))
        })
    }
}

impl ClusterApi {
    /// Carries out a call, again and again while what stops it may pass and patience lasts.
    ///
    /// Every status of an answer below 400 is a success.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, KubeError> {
        let started = Instant::now();
        let pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        (|| async {
            let answer = self.attempt(call).await?;
            if answer.status.as_u16() < 400 { Ok(answer) } else { Err(self.complaint(call, &answer)) }
        })
        .retry(pauses)
        .when(|error| passes(error) && started.elapsed() < self.patience)
        .adjust(|error, pause| {
            let left = self.patience.saturating_sub(started.elapsed());
            pause.map(|pause| error.retry_after.map_or(pause, |asked| asked.max(pause)).min(left))
        })
        .notify(|error, pause| tracing::debug!(?pause, "{error}; trying again"))
        .await
    }

    /// Sends a call once, for an answer in this form; as far as its head.
    pub(super) async fn send(&self, call: &Call, accept: &str) -> Result<Response<Body>, KubeError> {
        let mut request = Request::builder().method(call.method.clone()).uri(&call.path).header(ACCEPT, accept);
        if let Some(content_type) = call.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Body::from(call.body.clone()))
            .map_err(|error| KubeError::new(Fault::Invalid, &call.doing, error.to_string()))?;
        self.client.send(request).await.map_err(|error| from_client(&call.doing, error))
    }

    /// Carries out a call once; an answer of any status is an answer.
    pub(super) async fn attempt(&self, call: &Call) -> Result<Answer, KubeError> {
        let response = self.send(call, "application/json").await?;
        let control_plane = response.extensions().get::<AnsweredBy>().map(|AnsweredBy(host)| host.clone());
        let status = response.status();
        let warnings =
            response.headers().get_all(WARNING).iter().filter_map(|value| warning(value.to_str().ok()?)).collect();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        let failed = |fault, said: String| KubeError {
            control_plane: control_plane.clone(),
            ..KubeError::new(Fault::Connection(fault), &call.doing, said)
        };
        match tokio::time::timeout(ANSWER, response.into_body().collect_bytes()).await {
            Ok(Ok(body)) => Ok(Answer { status, body: body.to_vec(), warnings, retry_after, control_plane }),
            Ok(Err(error)) => Err(failed(ConnectionFault::Lost, loss(&error))),
            Err(_) => {
                if let Some(dialer) = &self.dialer {
                    dialer.doubt(control_plane.as_ref());
                }
                Err(failed(ConnectionFault::Timeout, "the answer stopped half-way".to_owned()))
            }
        }
    }

    /// The error in an answer: the API's `Status`, or whatever text stands in its place. A control plane that cannot
    /// answer for now, such as one whose etcd is gone, is asked after the others.
    pub(super) fn complaint(&self, call: &Call, answer: &Answer) -> KubeError {
        let code = answer.status.as_u16();
        let status = serde_json::from_slice::<Status>(&answer.body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&answer.body);
            Status::failure(text.trim(), "").with_code(code)
        });
        let error =
            KubeError { control_plane: answer.control_plane.clone(), ..from_status(&call.doing, code, &status) };
        if answer.status.is_server_error()
            && passes(&error)
            && let Some(dialer) = &self.dialer
        {
            dialer.doubt(answer.control_plane.as_ref());
        }
        error
    }
}

/// The text of a `Warning` header: `299 - "text"`, quotes and backslashes escaped (RFC 7234 §5.5).
fn warning(header: &str) -> Option<String> {
    let (start, end) = (header.find('"')?, header.rfind('"')?);
    header.get(start + 1..end).map(|text| text.replace("\\\"", "\"").replace("\\\\", "\\"))
}

#[cfg(test)]
mod tests {
    use super::warning;

    #[test]
    fn a_warning_is_unwrapped() {
        let header = r#"299 - "unknown field \"spec.replica\"""#;
        assert_eq!(warning(header).as_deref(), Some(r#"unknown field "spec.replica""#));
        assert_eq!(warning("299"), None);
    }
}
