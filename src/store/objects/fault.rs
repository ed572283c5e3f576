//! What a server of objects says when it does not do what was asked, sorted.

use std::error::Error as _;

use kubewright_core::etcd::address::StoreAddress;
use object_store::Error;

use crate::store::copies::{CopiesError, CopiesFault};

/// A longer answer than this is somebody's web page.
const LONGEST: usize = 300;

pub(super) fn told(place: StoreAddress, error: Error) -> CopiesError {
    let text = deepest(&error);
    let (code, message) = (element(&text, "Code"), element(&text, "Message"));
    let fault = code.and_then(of_code).unwrap_or_else(|| of_error(&error, &text));
    let said = match (code, message) {
        (Some(code), Some(message)) => format!("{code}: {}", clipped(message)),
        (Some(code), None) => code.to_owned(),
        (None, _) => clipped(&plain(&text)),
    };
    CopiesError::new(fault, place, said)
}

/// By S3's own codes ("List of error codes"), and those that MinIO and Ceph have for what AWS never runs out of.
fn of_code(code: &str) -> Option<CopiesFault> {
    Some(match code {
        "NoSuchBucket" => CopiesFault::NoBucket,
        "NoSuchKey" | "NoSuchUpload" => CopiesFault::NotThere,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "InvalidSecurity"
        | "NotSignedUp"
        | "RequestTimeTooSkewed"
        | "InvalidClientTokenId" => CopiesFault::Credentials,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "MethodNotAllowed" => CopiesFault::Denied,
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect" => CopiesFault::Unusable,
        "XMinioStorageFull"
        | "QuotaExceeded"
        | "InsufficientStorage"
        | "XMinioAdminBucketQuotaExceeded"
        | "StorageFull" => CopiesFault::Full,
        _ => return None,
    })
}

fn of_error(error: &Error, text: &str) -> CopiesFault {
    match error {
        Error::NotFound { .. } => CopiesFault::NotThere,
        Error::PermissionDenied { .. } => CopiesFault::Denied,
        Error::Unauthenticated { .. } => CopiesFault::Credentials,
        Error::InvalidPath { .. } | Error::UnknownConfigurationKey { .. } => CopiesFault::Unusable,
        // 507 of WebDAV (RFC 4918), which some servers answer with when their disks are full.
        _ if text.contains("507 Insufficient Storage") => CopiesFault::Full,
        _ if text.contains("error sending request") || text.contains("connect") || text.contains("timed out") => {
            CopiesFault::Gone
        }
        _ => CopiesFault::Other,
    }
}

/// The innermost reason: what is around it repeats it.
fn deepest(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        // An HTTP answer's body is told by the layer that read it, and by no deeper one.
        if !text.contains("<Code>") {
            text = if text.contains(&words) { text } else { format!("{text}: {words}") };
        }
        cause = inner.source();
    }
    text
}

/// What stands in the first element of this name.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inside, _) = rest.split_once(&format!("</{name}>"))?;
    (!inside.is_empty() && !inside.contains('<')).then_some(inside)
}

/// The server and the reason, without the crate's own preamble of method, address, times and numbers of retries.
fn plain(text: &str) -> String {
    let reason = text.rsplit_once(" - ").map_or(text, |(_, reason)| reason);
    let reason = reason.trim_start_matches("Generic S3 error: ").trim_start_matches("HTTP error: ");
    let server = text.split_once("://").and_then(|(_, rest)| rest.split(['/', ' ', '?']).next());
    match server.filter(|server| !reason.contains(server)) {
        Some(server) => format!("{server}: {reason}"),
        None => reason.to_owned(),
    }
}

fn clipped(text: &str) -> String {
    let line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(body: &str) -> CopiesError {
        let place = "s3://lab/etcd".parse().unwrap();
        told(place, Error::Generic { store: "S3", source: body.to_owned().into() })
    }

    #[test]
    fn answers_are_sorted_by_their_code_and_show_no_more_than_they_must() {
        let body = "Error performing PUT http://127.0.0.1:9000/lab/x?uploadId=7 in 3ms - Server returned non-2xx status code: 403 \
                    Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we \
                    calculated does not match</Message><AWSAccessKeyId>AKIAIOSFODNN7</AWSAccessKeyId></Error>";
        let error = answered(body);
        assert_eq!(error.fault, CopiesFault::Credentials);
        assert_eq!(
            error.to_string(),
            "s3://lab/etcd: SignatureDoesNotMatch: The request signature we calculated does not match"
        );
        for (code, fault) in [
            ("NoSuchBucket", CopiesFault::NoBucket),
            ("XMinioStorageFull", CopiesFault::Full),
            ("AccessDenied", CopiesFault::Denied),
            ("PermanentRedirect", CopiesFault::Unusable),
            ("InternalError", CopiesFault::Other),
        ] {
            assert_eq!(answered(&format!("x <Error><Code>{code}</Code></Error>")).fault, fault, "{code}");
        }
        let error = answered(
            "Error performing GET http://127.0.0.1:1/lab?list-type=2&prefix=x in 2 ms - HTTP error: error sending request",
        );
        assert_eq!(error.fault, CopiesFault::Gone);
        assert_eq!(error.said, "127.0.0.1:1: error sending request");
        assert!(answered(&"<html>".repeat(1000)).said.len() < 400);
    }
}
