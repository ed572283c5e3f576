//! What went wrong, sorted: from the client's, TLS's and the API's errors to one [`KubeError`].

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use kube::core::Status;
use kubewright_core::ids::HostName;

use crate::ports::{ConnectionFault, Fault, KubeError};

/// No control plane took a request, or the one that did went away.
#[derive(Debug)]
pub(super) struct DialError {
    /// What each of them did, in the order they were tried.
    pub(super) failures: Vec<Failure>,
}

/// What one control plane did.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) host: HostName,
    pub(super) fault: ConnectionFault,
    pub(super) text: String,
    /// The request may have been carried out.
    pub(super) sent: bool,
}

impl DialError {
    /// A request that could not even be formed.
    pub(super) fn unsent(text: String) -> Self {
        Self { failures: vec![Failure { host: HostName::new("-"), fault: ConnectionFault::Lost, text, sent: false }] }
    }

    /// The fault of them all: the one that leaves most hope, so that a bad certificate on one control plane does not
    /// end the wait for another that is still starting.
    fn fault(&self) -> ConnectionFault {
        self.failures.iter().map(|failure| failure.fault).min().unwrap_or(ConnectionFault::Lost)
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, failure) in self.failures.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(formatter, "{separator}{}: {}", failure.host, failure.text)?;
        }
        Ok(())
    }
}

impl Error for DialError {}

/// Sorts an error met while a connection was made, and says it in few words.
pub(crate) fn classify(error: &(dyn Error + 'static)) -> (ConnectionFault, String) {
    let mut cause = Some(error);
    let mut last = error.to_string();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return (ConnectionFault::Tls, tls_sentence(error));
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return (ConnectionFault::Refused, "connection refused".to_owned()),
                // Through SSH a refusal looks like this: the near end accepts and then hangs up.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    return (
                        ConnectionFault::Refused,
                        "the connection was closed at once; nothing listens there".to_owned(),
                    );
                }
                io::ErrorKind::TimedOut => return (ConnectionFault::Timeout, "no connection in time".to_owned()),
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    return (ConnectionFault::Unreachable, error.to_string());
                }
                _ => {}
            }
        }
        last = error.to_string();
        cause = beneath(error);
    }
    (ConnectionFault::Lost, last)
}

fn tls_sentence(error: &rustls::Error) -> String {
    use rustls::CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidYet, NotValidYetContext, UnknownIssuer,
    };
    let rustls::Error::InvalidCertificate(wrong) = error else {
        return format!("TLS: {error}");
    };
    match wrong {
        // An authority of the same name with another key, such as that of a cluster built anew, is a bad signature.
        UnknownIssuer | BadSignature => {
            "its certificate was signed by another authority than this cluster's".to_owned()
        }
        Expired | ExpiredContext { .. } => "its certificate has expired".to_owned(),
        NotValidYet | NotValidYetContext { .. } => "its certificate is not valid yet; the clocks differ".to_owned(),
        other => format!("its certificate cannot be used: {other}"),
    }
}

/// From the client's error to ours.
pub(super) fn from_client(doing: &str, error: kube::Error) -> KubeError {
    match error {
        kube::Error::Api(status) => from_status(doing, status.code, &status),
        kube::Error::Service(error) => match error.downcast::<DialError>() {
            Ok(error) => KubeError {
                control_plane: error.failures.last().map(|failure| failure.host.clone()),
                ..KubeError::new(Fault::Connection(error.fault()), doing, error.to_string())
            },
            Err(error) => KubeError::new(Fault::Connection(ConnectionFault::Lost), doing, loss(error.as_ref())),
        },
        kube::Error::HyperError(error) => KubeError::new(Fault::Connection(ConnectionFault::Lost), doing, loss(&error)),
        kube::Error::ReadEvents(error) => KubeError::new(Fault::Connection(ConnectionFault::Lost), doing, loss(&error)),
        other => KubeError::new(Fault::Server, doing, other.to_string()),
    }
}

/// From an answer that is an error to ours.
pub(super) fn from_status(doing: &str, code: u16, status: &Status) -> KubeError {
    let said =
        if status.message.is_empty() { format!("status {code} without a reason") } else { status.message.clone() };
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    KubeError {
        retry_after: (seconds > 0).then(|| Duration::from_secs(u64::from(seconds))),
        ..KubeError::new(fault_of(code, &said), doing, said)
    }
}

fn fault_of(code: u16, said: &str) -> Fault {
    match code {
        401 => Fault::Unauthorized,
        403 => Fault::Forbidden,
        404 => Fault::NotFound,
        409 => Fault::Conflict,
        410 => Fault::Expired,
        400 | 405 | 406 | 413 | 415 | 422 => Fault::Invalid,
        429 | 503 | 504 => Fault::Busy,
        500 if is_of_etcd(said) => Fault::Busy,
        _ => Fault::Server,
    }
}

/// Whether an internal error is etcd's: it elects, or cannot be reached. Its own sentences name it wherever they are quoted. That it cannot
/// be reached the client of etcd says in words that any gRPC client has; the API server passes these on as they are
/// (`convertStorageErrorOrNot` in apiserver's responsewriters/status.go) or, from an admission plugin that read something, behind its own
/// first words (`NewInternalError`). What a KMS plugin or a webhook says stands behind what was asked of it (`failed to decrypt DEK,
/// error: …` in kmsv2/envelope.go, `failed calling webhook …` in webhook/errors.go): that may last.
fn is_of_etcd(said: &str) -> bool {
    let own = said.strip_prefix("Internal error occurred: ").unwrap_or(said);
    said.contains("etcdserver: ") || own.starts_with("rpc error: code = Unavailable ")
}

/// Whether the same call may succeed a little later with nobody doing anything about it.
pub(super) fn passes(error: &KubeError) -> bool {
    match error.fault {
        Fault::Connection(fault) => fault != ConnectionFault::Tls,
        Fault::Busy => true,
        _ => false,
    }
}

/// Whether waiting is in vain. A refusal is not: RBAC is filled by the API server itself in its first seconds.
pub(crate) fn is_final(error: &KubeError) -> bool {
    match error.fault {
        Fault::Unauthorized | Fault::Invalid => true,
        Fault::Connection(_) => !passes(error),
        _ => false,
    }
}

/// What became of a connection that was open, in few words.
pub(super) fn loss(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    loop {
        if let Some(error) = deepest.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    return "the connection was lost".to_owned();
                }
                io::ErrorKind::TimedOut => return "the connection gives no sign of life".to_owned(),
                _ => {}
            }
        }
        match beneath(deepest) {
            Some(cause) => deepest = cause,
            None => return deepest.to_string(),
        }
    }
}

/// The cause of an error. An io::Error that wraps another error leaves that one out of its chain of sources.
fn beneath<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(host: &str, fault: ConnectionFault, text: &str) -> Failure {
        Failure { host: HostName::new(host), fault, text: text.to_owned(), sent: false }
    }

    #[test]
    fn a_bad_certificate_on_one_control_plane_leaves_hope_for_the_others() {
        let tls = failure("cp1", ConnectionFault::Tls, "TLS: expired");
        let refused = failure("cp2", ConnectionFault::Refused, "connection refused");
        let error = DialError { failures: vec![tls.clone(), refused] };
        let error = from_client("get Node w1", kube::Error::Service(Box::new(error)));
        assert_eq!(error.fault, Fault::Connection(ConnectionFault::Refused));
        assert_eq!(error.to_string(), "get Node w1: cp1: TLS: expired; cp2: connection refused");
        assert!(passes(&error));

        let error = from_client("get Node w1", kube::Error::Service(Box::new(DialError { failures: vec![tls] })));
        assert_eq!(error.fault, Fault::Connection(ConnectionFault::Tls));
        assert!(!passes(&error));
    }

    #[test]
    fn an_error_inside_an_io_error_is_found() {
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, expired));
        assert_eq!(classify(&wrapped).0, ConnectionFault::Tls);
        let wrapped = io::Error::other(io::Error::from(io::ErrorKind::UnexpectedEof));
        assert_eq!(classify(&wrapped).0, ConnectionFault::Refused);
        assert_eq!(classify(&io::Error::from(io::ErrorKind::TimedOut)).0, ConnectionFault::Timeout);
    }

    #[test]
    fn answers_are_sorted_by_their_code() {
        let sort = |code, said: &str| from_status("x", code, &Status::failure(said, "")).fault;
        assert_eq!(sort(401, "Unauthorized"), Fault::Unauthorized);
        assert_eq!(sort(403, "no"), Fault::Forbidden);
        assert_eq!(sort(404, "not found"), Fault::NotFound);
        assert_eq!(sort(409, "changed"), Fault::Conflict);
        assert_eq!(sort(410, "too old"), Fault::Expired);
        assert_eq!(sort(422, "invalid"), Fault::Invalid);
        assert_eq!(sort(429, "too many"), Fault::Busy);
        assert_eq!(sort(500, "boom"), Fault::Server);
    }

    #[test]
    fn the_words_of_etcd_are_told_from_those_of_plugins_and_webhooks() {
        let sort = |said: &str| from_status("x", 500, &Status::failure(said, "")).fault;
        let unavailable = "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial \
                           tcp 127.0.0.1:2379: connect: connection refused\"";
        let allocator = "failed to allocate an address: etcdserver: request timed out";
        for said in ["etcdserver: leader changed", allocator, unavailable] {
            assert_eq!(sort(said), Fault::Busy, "{said}");
            assert_eq!(sort(&format!("Internal error occurred: {said}")), Fault::Busy, "{said}");
        }
        let kms = "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix \
                   /var/run/kms.sock: connect: connection refused\"";
        let others = [
            format!(
                "Internal error occurred: unable to transform key \"/registry/secrets/a/b\": failed to decrypt DEK, error: {kms}"
            ),
            format!("Internal error occurred: failed to encrypt DEK, error: {kms}"),
            format!("Internal error occurred: failed calling webhook \"a.b.c\": failed to call webhook: {unavailable}"),
            format!("conversion webhook for a.b/v1, Kind=C failed: {unavailable}"),
        ];
        for said in others {
            assert_eq!(sort(&said), Fault::Server, "{said}");
        }
    }
}
