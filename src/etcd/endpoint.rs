//! The way to one member: a tunnel, a client, and an end to every question.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, TlsOptions};
use kubewright_core::ids::HostName;

use super::Place;
use super::fault::from_client;
use crate::kube::Way;
use crate::ports::{ConnectionFault, EtcdError, EtcdFault, Tunnel};

/// Time for an SSH login and the tunnel in it, as for the API servers (`kube::dial`).
const LOGIN: Duration = Duration::from_secs(15);

/// Time for TCP and TLS: two round trips and a signature. A member that is stopped (SIGSTOP) accepts and says nothing.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Time for an answer. etcd's own health check gives a read through a majority as long.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// Time for a change of members. etcd itself gives up after 7 s: 5 s and two elections (`ReqTimeout`); it must be the first,
/// so that we hear its reason.
pub(super) const CHANGE: Duration = Duration::from_secs(10);

/// How often an open connection with something under way is pinged, and how long the answer may take.
const PING: Duration = Duration::from_secs(5);

/// One member's client endpoint.
pub(super) struct Endpoint {
    pub(super) place: Place,
    way: Way,
    tls: TlsOptions,
    open: tokio::sync::Mutex<Option<Open>>,
}

/// What is open to it.
#[derive(Clone)]
struct Open {
    client: Client,
    /// Ends when dropped.
    _tunnel: Option<Arc<dyn Tunnel>>,
}

impl Endpoint {
    pub(super) fn new(place: Place, way: Way, tls: TlsOptions) -> Self {
        Self { place, way, tls, open: tokio::sync::Mutex::new(None) }
    }

    /// Another connection to the same place, for something long that others must not wait for or end.
    pub(super) fn apart(&self) -> Self {
        Self::new(self.place.clone(), self.way.clone(), self.tls.clone())
    }

    pub(super) fn host(&self) -> &HostName {
        &self.place.host
    }

    /// Asks the member one thing. A connection that turns out to be gone is made once more: nothing was carried out through
    /// it, or it does no harm again.
    ///
    /// A refusal seen through SSH is believed only of a new tunnel: the near end of one whose SSH connection died looks the
    /// same, and would make a host that lost its power out to have a dead member.
    pub(super) async fn ask<T, F>(
        &self,
        doing: &str,
        within: Duration,
        call: impl Fn(Client) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut fresh = self.open.lock().await.is_none();
        loop {
            let open = match tokio::time::timeout(LOGIN, self.open(doing)).await {
                Ok(open) => open?,
                Err(_) => {
                    return Err(self.failed(
                        EtcdFault::Connection(ConnectionFault::Unreachable),
                        doing,
                        format!("no SSH tunnel within {} s", LOGIN.as_secs()),
                    ));
                }
            };
            match tokio::time::timeout(within, call(open.client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    let error = from_client(doing, error).at(self.host());
                    let EtcdFault::Connection(fault) = error.fault else { return Err(error) };
                    self.close().await;
                    if fresh || fault == ConnectionFault::Tls {
                        return Err(error);
                    }
                    fresh = true;
                }
                Err(_) => {
                    self.close().await;
                    let said = format!("no answer within {} s", within.as_secs());
                    return Err(self.failed(EtcdFault::Connection(ConnectionFault::Timeout), doing, said));
                }
            }
        }
    }

    pub(super) fn failed(&self, fault: EtcdFault, doing: &str, said: impl Into<String>) -> EtcdError {
        EtcdError::new(fault, doing, said).at(self.host())
    }

    async fn open(&self, doing: &str) -> Result<Open, EtcdError> {
        let mut slot = self.open.lock().await;
        if let Some(open) = slot.as_ref() {
            return Ok(open.clone());
        }
        let tunnel: Option<Arc<dyn Tunnel>> = match &self.way {
            Way::Direct => None,
            Way::Ssh(hosts) => {
                let unreachable = |error: crate::ports::HostError| {
                    self.failed(EtcdFault::Connection(ConnectionFault::Unreachable), doing, error.to_string())
                };
                let host = hosts.host(self.host()).await.map_err(unreachable)?;
                Some(Arc::from(host.forward(self.place.client).await.map_err(unreachable)?))
            }
        };
        let address = tunnel.as_ref().map_or(self.place.client, |tunnel| tunnel.local());
        let options = ConnectOptions::new()
            .with_tls(self.tls.clone())
            .with_connect_timeout(HANDSHAKE)
            .with_keep_alive(PING, PING);
        // Makes no connection yet.
        let client = Client::connect([format!("https://{address}")], Some(options))
            .await
            .map_err(|error| self.failed(EtcdFault::Invalid, doing, unusable(&error)))?;
        let open = Open { client, _tunnel: tunnel };
        *slot = Some(open.clone());
        Ok(open)
    }

    async fn close(&self) {
        *self.open.lock().await = None;
    }
}

fn unusable(error: &etcd_client::Error) -> String {
    match error {
        etcd_client::Error::TransportError(error) => {
            let mut deepest: &(dyn std::error::Error + 'static) = error;
            while let Some(cause) = deepest.source() {
                deepest = cause;
            }
            format!("our certificates cannot be used: {deepest}")
        }
        other => other.to_string(),
    }
}
