//! Kubeconfigs in the bytes kubeadm writes: keys sorted, lists two columns left, no `preferences`.
//!
//! Source: client-go `clientcmd.Write` and kubeadm `util/kubeconfig`. The writer covers what kubeadm uses (embedded
//! or named client certificates) plus what an operator outside the cluster needs (several API servers and
//! `tls-server-name`). client-go before 0.34 also wrote `preferences: {}`; readers never cared.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::names::Endpoint;

/// One way to reach the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterEntry {
    /// Its name in the file; kubeadm takes the cluster's name.
    pub name: String,
    /// The API server.
    pub server: Endpoint,
    /// Name to expect in the server's certificate when it is not the server's host (for connections through a tunnel).
    pub tls_server_name: Option<String>,
}

/// How a user proves who it is.
#[derive(Debug, Clone)]
pub enum ClientCertificate {
    /// Certificate and key stand in the file.
    Embedded {
        /// The certificate.
        certificate_pem: String,
        /// Its key.
        key_pem: SecretString,
    },
    /// Certificate and key are read from one PEM file each time, so that they can be rotated.
    File {
        /// Absolute path on the host.
        path: String,
    },
}

/// A kubeconfig with one user and one or more ways to the cluster, the first being the current one.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// The ways to the cluster. With several, contexts are named `user@entry`, as for one.
    pub clusters: Vec<ClusterEntry>,
    /// Certificate of the cluster authority.
    pub authority_pem: String,
    /// Name of the user: the common name of its certificate.
    pub user: String,
    /// Its certificate.
    pub client: ClientCertificate,
}

impl Kubeconfig {
    /// A kubeconfig as kubeadm writes it: one cluster of that name, one user, one context.
    pub fn new(
        cluster: impl Into<String>,
        server: Endpoint,
        authority_pem: impl Into<String>,
        user: impl Into<String>,
        client: ClientCertificate,
    ) -> Self {
        Self {
            clusters: vec![ClusterEntry { name: cluster.into(), server, tls_server_name: None }],
            authority_pem: authority_pem.into(),
            user: user.into(),
            client,
        }
    }

    /// The file's text. It is a secret when the key is embedded; it is treated as one always.
    pub fn render(&self) -> SecretString {
        // Sorted by name, because client-go keeps maps and sorts when it writes.
        let mut clusters: Vec<_> = self.clusters.iter().collect();
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        let authority = STANDARD.encode(&self.authority_pem);
        let client = self.client_lines();
        // Enough that the text is never moved, which would leave a copy of the key behind.
        let mut out = String::with_capacity(
            (authority.len() + 1024) * clusters.len() + client.len() + 1024 + self.user.len() * 8,
        );
        out.push_str("apiVersion: v1\nclusters:\n");
        for cluster in &clusters {
            line(&mut out, "- cluster:\n    certificate-authority-data: ", &authority);
            line(&mut out, "    server: ", &scalar(&cluster.server.url()));
            if let Some(name) = &cluster.tls_server_name {
                line(&mut out, "    tls-server-name: ", &scalar(name));
            }
            line(&mut out, "  name: ", &scalar(&cluster.name));
        }
        out.push_str("contexts:\n");
        let mut contexts: Vec<_> =
            clusters.iter().map(|cluster| (self.context(&cluster.name), &cluster.name)).collect();
        contexts.sort();
        for (context, cluster) in contexts {
            line(&mut out, "- context:\n    cluster: ", &scalar(cluster));
            line(&mut out, "    user: ", &scalar(&self.user));
            line(&mut out, "  name: ", &scalar(&context));
        }
        let current = self.clusters.first().map(|cluster| self.context(&cluster.name)).unwrap_or_default();
        line(&mut out, "current-context: ", &scalar(&current));
        out.push_str("kind: Config\nusers:\n");
        line(&mut out, "- name: ", &scalar(&self.user));
        out.push_str(&client);
        SecretString::from(out)
    }

    fn context(&self, cluster: &str) -> String {
        format!("{}@{cluster}", self.user)
    }

    fn client_lines(&self) -> Zeroizing<String> {
        let (suffix, certificate, key) = match &self.client {
            ClientCertificate::Embedded { certificate_pem, key_pem } => {
                ("-data", STANDARD.encode(certificate_pem), Zeroizing::new(STANDARD.encode(key_pem.expose_secret())))
            }
            ClientCertificate::File { path } => ("", scalar(path), Zeroizing::new(scalar(path))),
        };
        let mut out = Zeroizing::new(String::with_capacity(certificate.len() + key.len() + 256));
        out.push_str("  user:\n");
        line(&mut out, &format!("    client-certificate{suffix}: "), &certificate);
        line(&mut out, &format!("    client-key{suffix}: "), &key);
        out
    }
}

fn line(out: &mut String, label: &str, value: &str) {
    for part in [label, value, "\n"] {
        out.push_str(part);
    }
}

/// A YAML string: plain where no YAML reader could take it for anything else, else in double quotes.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@/-[]".contains(&b))
        && !text.ends_with(':')
        && !is_reserved(text);
    if plain {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // \u is for the basic plane, which holds every control character.
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Words that YAML 1.1 readers (client-go's among them) take for booleans or null.
fn is_reserved(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unmistakable_strings_are_plain() {
        for text in [
            "kubernetes",
            "system:node:cp1@kubernetes",
            "https://[fd00::1]:6443",
            "/var/lib/kubelet/pki/x.pem",
            "a-b.c",
        ] {
            assert_eq!(scalar(text), text);
        }
        for (text, written) in [
            ("1234", "\"1234\""),
            ("No", "\"No\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("a:", "\"a:\""),
            ("my \"lab\"\n", "\"my \\\"lab\\\"\\u000a\""),
            ("-x", "\"-x\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }
}
