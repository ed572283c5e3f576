//! PEM text as Go's `encoding/pem` writes it: 64 columns, line feeds, no headers.
//!
//! Reading is rustls-pki-types' business (see [`crate::load`]); this is only the writer, so that
//! files are byte for byte what kubeadm would have written for the same DER.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Line length of RFC 7468, used by Go, OpenSSL and kubeadm alike.
const COLUMNS: usize = 64;

/// Wraps DER into PEM with the given label, such as `CERTIFICATE`.
///
/// The capacity is exact, so that no half-written copy of a key is left behind by a reallocation.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let frame = "-----BEGIN -----\n-----END -----\n".len() + 2 * label.len();
    let mut out = String::with_capacity(frame + body.len() + body.len().div_ceil(COLUMNS));
    for part in ["-----BEGIN ", label, "-----\n"] {
        out.push_str(part);
    }
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(COLUMNS));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    for part in ["-----END ", label, "-----\n"] {
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_64_columns_without_an_empty_last_line() {
        // 48 bytes make exactly one line of 64 characters.
        assert_eq!(encode("X", &[0; 48]), format!("-----BEGIN X-----\n{}\n-----END X-----\n", "A".repeat(64)));
        assert_eq!(encode("X", &[0; 51]).lines().count(), 4);
        assert_eq!(encode("X", &[]), "-----BEGIN X-----\n-----END X-----\n");
    }
}
