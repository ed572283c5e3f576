//! Files as comparable text: what two runs of the same tool have in common.
//!
//! Certificates become their fields and the exact encoding of their subject; keys become their PEM label; kubeconfigs
//! keep their text with the embedded data replaced by what it is.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubewright_certs::inspect::CertificateFacts;
use kubewright_certs::key::PrivateKey;
use kubewright_certs::load;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Dumps of files by path.
pub type Dump = BTreeMap<String, String>;

pub fn file(mode: u32, text: &str) -> String {
    let mut out = format!("mode: {mode:04o}\n");
    if text.starts_with("apiVersion:") {
        kubeconfig(&mut out, text);
    } else {
        pem(&mut out, text);
    }
    out
}

pub fn render(dump: &Dump) -> String {
    dump.iter().map(|(path, text)| format!("== {path}\n{text}\n")).collect()
}

pub fn parse(golden: &str) -> Dump {
    golden
        .split("== ")
        .skip(1)
        .map(|part| {
            let (path, text) = part.split_once('\n').unwrap();
            (path.to_owned(), format!("{}\n", text.trim_end()))
        })
        .collect()
}

fn pem(out: &mut String, text: &str) {
    for label in text.lines().filter_map(|line| line.strip_prefix("-----BEGIN ")) {
        writeln!(out, "pem: {}", label.trim_end_matches('-')).unwrap();
    }
    if let Ok(key) = PrivateKey::from_pem(text) {
        // What is read from this form is written in this form again.
        use secrecy::ExposeSecret;
        let again = key.to_pem().unwrap();
        writeln!(out, "key survives rewriting: {}", text.ends_with(again.expose_secret())).unwrap();
    }
    for der in load::certificates(text).unwrap_or_default() {
        let facts = CertificateFacts::from_der(&der).unwrap();
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let subject: String = parsed.subject().as_raw().iter().map(|b| format!("{b:02x}")).collect();
        let mut extensions: Vec<_> = parsed.extensions().iter().map(|e| e.oid.to_id_string()).collect();
        extensions.sort();
        write!(out, "{facts}").unwrap();
        writeln!(out, "extensions: {}", extensions.join(", ")).unwrap();
        writeln!(out, "subject encoding: {subject}").unwrap();
        assert!(parsed.serial.bits() <= 63, "kubeadm draws 63 bits");
    }
}

fn kubeconfig(out: &mut String, text: &str) {
    for line in text.lines() {
        let Some((key, data)) = line.split_once("-data: ") else {
            writeln!(out, "| {line}").unwrap();
            continue;
        };
        let decoded = String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
        let label = decoded.lines().next().unwrap().trim_matches('-');
        writeln!(out, "| {key}-data: <{label}>").unwrap();
        // The authority is compared where it lies as a file.
        if key.ends_with("client-certificate") {
            pem(out, &decoded);
        }
    }
}
