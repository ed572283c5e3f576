//! The text formats of the file, each with the code of its finding. The rules themselves are in [`super::syntax`].

use std::net::IpAddr;

use super::cidr::Cidr;
use super::shape::Format;
use super::syntax;
use crate::etcd::address::StoreAddress;
use crate::version::Version;

macro_rules! formats {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $what:literal, $check:expr, $example:literal;)*) => {
        $($(#[doc = $doc])* pub const $name: Format = Format {
            what: $what, code: $code, check: $check, example: $example, loose: false,
        };)*
    };
}

formats! {
    /// `metadata.name`.
    CLUSTER_NAME = "NAME001", "a DNS label, such as `prod-eu1`", syntax::dns_label, "cluster";
    /// Name of a host and of its node.
    HOST_NAME = "NODE001", "a DNS label, such as `cp1`", syntax::dns_label, "host";
    /// Where ssh connects.
    HOST_ADDRESS = "NODE009", "an address or a name that ssh can connect to", syntax::host_address, "192.0.2.1";
    /// Address inside the cluster.
    IP_ADDRESS = "NODE009", "an IP address, such as 10.0.0.11", ip_address, "192.0.2.1";
    /// Name of a pool.
    POOL_NAME = "POOL001", "a DNS label, such as `general`", syntax::dns_label, "pool";
    /// Version of Kubernetes.
    KUBERNETES_VERSION = "VER001", "a Kubernetes version, such as 1.35.4", kubernetes_version, "1.35.4";
    /// Version of containerd.
    CONTAINERD_VERSION = "VER004", "a containerd version, such as 2.4.2", containerd_version, "2.4.2";
    /// Host part of the endpoint.
    ENDPOINT_ADDRESS = "END004", "a DNS name or an address", endpoint_address, "192.0.2.1";
    /// An address range.
    CIDR = "NET001", "an address range, such as 10.244.0.0/16", cidr, "192.0.2.0/24";
    /// DNS domain of Services.
    DNS_DOMAIN = "NET009", "a DNS domain, such as cluster.local", syntax::dns_name, "cluster.local";
    /// A network interface.
    INTERFACE = "NET010", "the name of a network interface, such as eth0", syntax::interface, "eth0";
    /// A word of ssh's command line.
    SSH_WORD = "SSH001", "a word that ssh can be given", syntax::ssh_word, "root";
    /// A file on the operator's machine.
    LOCAL_FILE = "SSH001", "the path of a file", local_file, "~/.ssh/config";
    /// Base of a mirror.
    MIRROR_URL = "MIR001", "the URL of a mirror, such as http://10.0.0.2:5000", syntax::base_url, "http://192.0.2.1";
    /// A registry whose images are mirrored.
    REGISTRY = "MIR002", "a registry, such as registry.k8s.io", syntax::registry, "registry.k8s.io";
    /// Life of a certificate.
    LIFETIME = "CERT002", "a duration in hours, such as 8760h", lifetime, "8760h";
    /// A name in a certificate.
    CERTIFICATE_NAME = "CERT001", "a DNS name or an address", syntax::certificate_name, "api.example.com";
    /// Key of a label.
    LABEL_KEY = "LABEL001", "a label key, such as tier or example.com/tier", syntax::qualified_name, "tier";
    /// Key of a taint.
    TAINT_KEY = "TAINT001", "a taint key, such as dedicated or example.com/dedicated", syntax::qualified_name, "dedicated";
    /// A flag without dashes.
    FLAG_NAME = "ARG001", "the name of a flag, such as audit-log-maxage", syntax::flag_name, "v";
    /// An environment variable.
    VARIABLE_NAME = "ARG004", "the name of an environment variable, such as GOMAXPROCS", syntax::variable_name, "GOMAXPROCS";
    /// Name of a pod's volume.
    VOLUME_NAME = "ARG005", "a DNS label, such as audit-logs", syntax::dns_label, "audit-logs";
    /// Where copies are kept.
    STORE = "BACK001", "a bucket or a folder, such as s3://backups/etcd or /var/backups/etcd", store, "/var/backups/etcd";
    /// The server of a bucket.
    STORE_ENDPOINT = "BACK002", "the URL of a server, such as https://minio.example.com:9000", syntax::base_url, "https://192.0.2.1";
    /// A region of AWS, or what another server calls so.
    REGION = "BACK003", "a region, such as eu-central-1", region, "us-east-1";
    /// A public key of age.
    RECIPIENT = "BACK004", "a public key of age", recipient, "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg";
    /// A path on a host or in a container.
    ABSOLUTE_PATH = "ARG006", "a path that begins with /", syntax::absolute_path, "/var/log/audit";
}

/// How many may be away.
pub const SHARE: Format = Format {
    what: "a number such as 1 or a percentage such as 25%",
    code: "POOL003",
    check: syntax::share,
    example: "1",
    loose: true,
};
/// Value of a label.
pub const LABEL_VALUE: Format =
    Format { what: "a label value", code: "LABEL002", check: syntax::label_value, example: "general", loose: true };
/// Value of a taint.
pub const TAINT_VALUE: Format =
    Format { what: "a taint value", code: "TAINT002", check: syntax::label_value, example: "gpu", loose: true };
/// Value of a flag or a variable: anything a process can be given.
pub const ARGUMENT: Format = Format { what: "a value", code: "ARG003", check: argument, example: "2", loose: true };

fn ip_address(text: &str) -> Result<(), String> {
    text.parse::<IpAddr>().map(|_| ()).map_err(|_| match text.split_once('/') {
        Some(_) => "it is a range; one address is wanted".to_owned(),
        None => "an IPv4 address has four numbers from 0 to 255".to_owned(),
    })
}

fn kubernetes_version(text: &str) -> Result<(), String> {
    let plain = text.strip_prefix('v').unwrap_or(text);
    if plain.split('.').count() == 2 && plain.split('.').all(|part| part.parse::<u64>().is_ok()) {
        return Err(format!("the patch release is missing, as in {plain}.4"));
    }
    if plain.contains('+') {
        return Err("only upstream releases can be installed, and they have no `+`".to_owned());
    }
    text.parse::<Version>().map(|_| ()).map_err(|_| "it is not three numbers with dots between them".to_owned())
}

fn containerd_version(text: &str) -> Result<(), String> {
    semver::Version::parse(text).map(|_| ()).map_err(|_| "it is not three numbers with dots between them".to_owned())
}

fn endpoint_address(text: &str) -> Result<(), String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => {
            Err(format!("the port belongs into `port: {port}`"))
        }
        _ => syntax::host_address(text),
    }
}

fn cidr(text: &str) -> Result<(), String> {
    match text.parse::<IpAddr>() {
        Ok(_) => Err("the length of its prefix is missing, as in /16".to_owned()),
        Err(_) => text
            .to_owned()
            .try_into()
            .map(|_: Cidr| ())
            .map_err(|_: String| "it is not an address, a `/` and a prefix length".to_owned()),
    }
}

fn local_file(text: &str) -> Result<(), String> {
    if text.starts_with('-') {
        Err("it begins with `-`, which ssh takes as an option".to_owned())
    } else {
        syntax::one_line(text)
    }
}

fn lifetime(text: &str) -> Result<(), String> {
    syntax::hours(text).map(|_| ())
}

fn argument(text: &str) -> Result<(), String> {
    if text.contains(['\0', '\n', '\r']) { Err("it has a line break or a zero byte".to_owned()) } else { Ok(()) }
}

/// Folders are absolute here: the file is read from any folder, and on several machines.
fn store(text: &str) -> Result<(), String> {
    match text.parse()? {
        StoreAddress::Folder(path) => syntax::absolute_path(&path),
        StoreAddress::Bucket { .. } => Ok(()),
    }
}

fn region(text: &str) -> Result<(), String> {
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
        None if text.is_empty() => Err("it is empty".to_owned()),
        None => Ok(()),
        Some(c) => Err(format!("{c:?} is not allowed")),
    }
}

/// The outside of a key; whether it is one is seen where it is used.
fn recipient(text: &str) -> Result<(), String> {
    if text.starts_with("AGE-SECRET-KEY-") {
        return Err(
            "it is a secret key: take it out of the file, and make a new one, for whoever read the file has it"
                .to_owned(),
        );
    }
    let Some(rest) = text.strip_prefix("age1") else {
        return Err("it does not begin with `age1`".to_owned());
    };
    // BIP 173's letters: what can be mistaken for another one is none.
    let strange = |c: &char| !c.is_ascii_digit() && !c.is_ascii_lowercase() || matches!(c, '1' | 'b' | 'i' | 'o');
    match rest.chars().find(strange) {
        Some(c) => Err(format!("{c:?} does not occur in such keys")),
        None if rest.len() < 58 => Err("it is cut off".to_owned()),
        None => Ok(()),
    }
}
