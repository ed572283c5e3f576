//! Connections to the cluster's API servers: through SSH or directly, to whichever control plane answers.
//!
//! A request goes to the control plane that answered last; where no connection comes about it goes to the next one,
//! which is safe for any request because nothing was sent. Once something was sent, this file never sends it again:
//! whether that is harmless only the caller knows.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::Body;
use kubewright_core::ids::HostName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, service_fn};

use super::fault::{DialError, Failure, classify, loss};
use crate::ports::{ConnectionFault, Fault, Hosts, KubeError, Tunnel};

/// A name that every API server certificate of kubeadm's layout carries, whatever address we come by
/// (kubeadm's certificate profile: `kubernetes`, `kubernetes.default`, …). An adopted cluster's may lack 127.0.0.1.
const SERVER_NAME: &str = "kubernetes";

/// Time for an SSH login and the tunnel in it. A login takes 0.2 s on a quiet machine; 50 at once took 8 s on a busy
/// one.
const LOGIN: Duration = Duration::from_secs(15);

/// Time for TCP and TLS: two round trips and a signature.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Time until the first byte of an answer. An API server whose etcd has no leader says so after 7 s (etcd's own limit
/// for a request: 5 s and two elections); what stays silent longer is not there any more.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// The same of a request that changes something: admission webhooks are asked first, each of which may take up to 30 s
/// (`timeoutSeconds`), and their refusal is an answer. Whoever is not there any more does not answer pings either.
const ADMITTED: Duration = Duration::from_secs(40);

/// How often an open connection with something under way is pinged, and how long the answer may take: a watch on a
/// control plane that lost its power ends after twice this.
const PING: Duration = Duration::from_secs(5);

/// Who we are and whom we trust. Held in memory only.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The cluster's authority (`ca.crt`), PEM; more than one certificate during a rotation.
    pub ca_pem: String,
    /// Our certificate, PEM.
    pub client_cert_pem: String,
    /// Its key, PEM.
    pub client_key_pem: SecretString,
}

/// How the control planes are reached.
#[derive(Clone)]
pub enum Way {
    /// Through each host's SSH connection; addresses are as seen from that host.
    Ssh(Arc<dyn Hosts>),
    /// Straight from here; addresses are as seen from here.
    Direct,
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connector = BoxCloneSyncService<Uri, Stream, BoxError>;

/// One control plane's API server with its open connections.
struct Endpoint {
    route: Arc<Route>,
    pool: Pool<Connector, Body>,
}

/// The way to one control plane's API server.
struct Route {
    host: HostName,
    address: SocketAddr,
    way: Way,
    tunnel: tokio::sync::Mutex<Option<Arc<dyn Tunnel>>>,
}

/// All API servers of one cluster, the one that answered last in front.
pub(super) struct Dialer {
    endpoints: Vec<Arc<Endpoint>>,
    order: Mutex<Vec<usize>>,
}

impl Dialer {
    /// Prepares connections; none is made before the first request.
    ///
    /// # Errors
    /// [`Fault::Invalid`] for PEM that cannot be read, a key that does not belong to its certificate, or no control
    /// plane at all.
    pub(super) fn new(
        way: &Way,
        control_planes: &[(HostName, SocketAddr)],
        credentials: &Credentials,
    ) -> Result<Self, KubeError> {
        let invalid = |said: String| KubeError::new(Fault::Invalid, "prepare the connection to the cluster", said);
        if control_planes.is_empty() {
            return Err(invalid("there is no control plane to connect to".to_owned()));
        }
        let tls = tls_config(credentials).map_err(invalid)?;
        let name = ServerName::try_from(SERVER_NAME).map_err(|error| invalid(error.to_string()))?;
        let endpoints: Vec<_> = control_planes
            .iter()
            .map(|(host, address)| {
                let route = Arc::new(Route {
                    host: host.clone(),
                    address: *address,
                    way: way.clone(),
                    tunnel: tokio::sync::Mutex::new(None),
                });
                let pool = Pool::builder(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .http2_keep_alive_interval(PING)
                    .http2_keep_alive_timeout(PING)
                    .build(connector(&route, &tls, &name));
                Arc::new(Endpoint { route, pool })
            })
            .collect();
        let order = Mutex::new((0..endpoints.len()).collect());
        Ok(Self { endpoints, order })
    }

    /// The same, restricted to one control plane; its connections are shared.
    pub(super) fn only(&self, host: &HostName) -> Option<Self> {
        let endpoint = self.endpoints.iter().find(|endpoint| &endpoint.route.host == host)?;
        Some(Self { endpoints: vec![Arc::clone(endpoint)], order: Mutex::new(vec![0]) })
    }

    /// The control planes that it has.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.endpoints.iter().map(|endpoint| &endpoint.route.host)
    }

    /// Sends a request to the first control plane that a connection can be made to.
    ///
    /// # Errors
    /// [`DialError`] with what each of them did.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<hyper::body::Incoming>, DialError> {
        let (parts, body) = request.into_parts();
        // Requests of ours are whole in memory, so this does not wait for anything.
        let body = body.collect_bytes().await.map_err(|error| DialError::unsent(error.to_string()))?;
        let mut failures = Vec::new();
        for index in self.order() {
            let endpoint = &self.endpoints[index];
            let attempt = || {
                let mut parts = parts.clone();
                parts.uri = endpoint.route.uri(&parts.uri)?;
                Ok::<_, http::Error>(Request::from_parts(parts, Body::from(body.clone())))
            };
            match endpoint.send(attempt).await {
                Ok(mut response) => {
                    response.extensions_mut().insert(AnsweredBy(endpoint.route.host.clone()));
                    return Ok(response);
                }
                Err(failure) => {
                    self.demote(index);
                    tracing::debug!(control_plane = %failure.host, "{}", failure.text);
                    let sent = failure.sent;
                    failures.push(failure);
                    if sent {
                        break;
                    }
                }
            }
        }
        Err(DialError { failures })
    }

    /// Puts the control plane behind the others, so that whoever tries again meets another one: it took our request and
    /// then went silent, or it has nothing to answer from. Without a name it is the one in front.
    pub(super) fn doubt(&self, host: Option<&HostName>) {
        let index = match host {
            Some(host) => self.endpoints.iter().position(|endpoint| &endpoint.route.host == host),
            None => self.order().first().copied(),
        };
        if let Some(index) = index {
            self.demote(index);
        }
    }

    fn order(&self) -> Vec<usize> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn demote(&self, index: usize) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.retain(|other| *other != index);
        order.push(index);
    }
}

/// Marks a response with the control plane that gave it.
#[derive(Clone, Debug)]
pub(super) struct AnsweredBy(pub(super) HostName);

impl Endpoint {
    async fn send(
        &self,
        request: impl Fn() -> Result<Request<Body>, http::Error>,
    ) -> Result<Response<hyper::body::Incoming>, Failure> {
        let started = Instant::now();
        let failure = |fault, text: String, sent| Failure { host: self.route.host.clone(), fault, text, sent };
        // Apart from the request's own time: a login may be slow and right, an answer that slow is none.
        match tokio::time::timeout(LOGIN, self.route.open()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(failure(ConnectionFault::Unreachable, error.to_string(), false)),
            Err(_) => {
                return Err(failure(
                    ConnectionFault::Unreachable,
                    format!("no SSH tunnel within {} s", LOGIN.as_secs()),
                    false,
                ));
            }
        }
        let mut fresh = false;
        loop {
            let request = request().map_err(|error| failure(ConnectionFault::Lost, error.to_string(), false))?;
            let path = request.uri().path().to_owned();
            let limit = if request.method().is_safe() { ANSWER } else { ADMITTED };
            match tokio::time::timeout(limit, self.pool.request(request)).await {
                Ok(Ok(response)) => {
                    let (host, status, elapsed) = (&self.route.host, response.status().as_u16(), started.elapsed());
                    tracing::debug!(control_plane = %host, path, status, ?elapsed, "answered");
                    return Ok(response);
                }
                Ok(Err(error)) if error.is_connect() => {
                    let (fault, text) = classify(&error);
                    if fault == ConnectionFault::Tls {
                        return Err(failure(fault, text, false));
                    }
                    // The tunnel's own end may be gone with its SSH connection: once more through a new one.
                    let through_ssh = self.route.close().await;
                    if fresh || !through_ssh || fault == ConnectionFault::Timeout {
                        return Err(failure(fault, text, false));
                    }
                    fresh = true;
                }
                Ok(Err(error)) => return Err(failure(ConnectionFault::Lost, loss(&error), true)),
                Err(_) => {
                    return Err(failure(
                        ConnectionFault::Timeout,
                        format!("no answer within {} s", limit.as_secs()),
                        true,
                    ));
                }
            }
        }
    }
}

impl Route {
    /// Where to connect on this machine; opens the tunnel where there is none.
    async fn open(&self) -> Result<SocketAddr, BoxError> {
        let Way::Ssh(hosts) = &self.way else {
            return Ok(self.address);
        };
        let mut tunnel = self.tunnel.lock().await;
        if let Some(tunnel) = tunnel.as_ref() {
            return Ok(tunnel.local());
        }
        let opened: Arc<dyn Tunnel> = Arc::from(hosts.host(&self.host).await?.forward(self.address).await?);
        let local = opened.local();
        *tunnel = Some(opened);
        Ok(local)
    }

    /// Gives up the tunnel; tells whether there is one to be had.
    async fn close(&self) -> bool {
        *self.tunnel.lock().await = None;
        matches!(self.way, Way::Ssh(_))
    }

    fn uri(&self, asked: &Uri) -> Result<Uri, http::Error> {
        let path = asked.path_and_query().map_or("/", |path| path.as_str());
        Uri::builder().scheme("https").authority(self.address.to_string()).path_and_query(path).build()
    }
}

/// TCP to wherever the route leads, TLS on top, both within [`HANDSHAKE`].
fn connector(route: &Arc<Route>, tls: &ClientConfig, server_name: &ServerName<'static>) -> Connector {
    let route = Arc::clone(route);
    let tcp = service_fn(move |_: Uri| {
        let route = Arc::clone(&route);
        async move {
            let stream = TcpStream::connect(route.open().await?).await?;
            stream.set_nodelay(true)?;
            Ok::<_, BoxError>(TokioIo::new(stream))
        }
    });
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_only()
        .with_server_name_resolver(FixedServerNameResolver::new(server_name.clone()))
        .enable_all_versions()
        .wrap_connector(tcp);
    BoxCloneSyncService::new(service_fn(move |uri: Uri| {
        let mut https = https.clone();
        async move {
            match tokio::time::timeout(HANDSHAKE, https.call(uri)).await {
                Ok(stream) => stream,
                Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            }
        }
    }))
}

/// aws-lc-rs named outright, so that nothing hangs on a process-wide default.
fn tls_config(credentials: &Credentials) -> Result<ClientConfig, String> {
    let certificates = |pem: &str, what: &str| -> Result<Vec<CertificateDer<'static>>, String> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{what} cannot be read: {error}"))?;
        if found.is_empty() { Err(format!("{what} holds no certificate")) } else { Ok(found) }
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&credentials.ca_pem, "the cluster's authority")? {
        roots.add(certificate).map_err(|error| format!("the cluster's authority cannot be used: {error}"))?;
    }
    let chain = certificates(&credentials.client_cert_pem, "our client certificate")?;
    let key = PrivateKeyDer::from_pem_slice(credentials.client_key_pem.expose_secret().as_bytes())
        .map_err(|error| format!("our client key cannot be read: {error}"))?;
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("our client certificate cannot be used: {error}"))
}
