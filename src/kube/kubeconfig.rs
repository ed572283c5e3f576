//! The operator's kubeconfig: one context per control plane, one for the cluster, beside the entries of others.
//!
//! A kubeconfig holds keys. Nothing here puts its text into a message, and files are written with mode 0600.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use kubewright_core::ids::HostName;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::dial::Credentials;

/// Who the operator reaches: the cluster's name and addresses that work from outside.
#[derive(Clone, Debug)]
pub struct Operator<'a> {
    /// Name of the cluster; also of the current context.
    pub cluster: &'a str,
    /// Each control plane with `host:port` of its API server.
    pub control_planes: &'a [(HostName, String)],
    /// `host:port` of the endpoint in modes `external` and `kubeVip`; without one the first control plane stands in.
    pub endpoint: Option<String>,
}

/// What to do with a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Write over it, provided that it holds nothing but this cluster.
    Replace,
    /// Keep the entries of others and put ours beside them.
    Merge,
}

/// Why there is no kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The administrator's kubeconfig is not one.
    #[error("admin.conf cannot be used: {0}")]
    Admin(String),
    /// No control plane and no endpoint was given.
    #[error("there is no control plane to write into a kubeconfig")]
    NoAddress,
    /// A file is in the way that we cannot read; it is left alone.
    #[error("{path} is left alone, it cannot be read: {reason}")]
    Unreadable {
        /// Which file.
        path: Utf8PathBuf,
        /// Why; without a word of its contents.
        reason: String,
    },
    /// An entry of somebody else is in the way; the file is left alone.
    #[error("{path} is left alone, it has {what} `{name}` that is not ours")]
    Foreign {
        /// Which file.
        path: Utf8PathBuf,
        /// `context`, `cluster`, `user`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Operator<'_> {
    /// The kubeconfig as text, with the authority and the identity of `admin.conf`.
    ///
    /// # Errors
    /// [`KubeconfigError::Admin`] or [`KubeconfigError::NoAddress`].
    pub fn render(&self, admin_conf: &str) -> Result<SecretString, KubeconfigError> {
        to_text(&assemble(Value::Null, &self.entries(admin_conf)?))
    }

    /// Writes the kubeconfig: beside the target, flushed, then moved into place; mode 0600, its folder 0700 where it
    /// has to be made. A link is followed, so that what it points to is written.
    ///
    /// # Errors
    /// Those of [`Operator::render`]; [`KubeconfigError::Unreadable`] and [`KubeconfigError::Foreign`] with the file
    /// left as it was; [`KubeconfigError::Write`].
    pub fn write(&self, admin_conf: &str, path: &Utf8Path, existing: Existing) -> Result<(), KubeconfigError> {
        let entries = self.entries(admin_conf)?;
        let mut present = read(path)?;
        self.remove_ours(&mut present);
        if let Some((what, name)) = in_the_way(&present, &entries, existing) {
            return Err(KubeconfigError::Foreign { path: path.to_owned(), what, name });
        }
        let text = to_text(&assemble(present, &entries))?;
        replace(path, text.expose_secret()).map_err(|source| KubeconfigError::Write { path: path.to_owned(), source })
    }

    fn entries(&self, admin_conf: &str) -> Result<Entries, KubeconfigError> {
        let admin = Admin::parse(admin_conf)?;
        let Some(main) = self.endpoint.as_ref().or(self.control_planes.first().map(|(_, address)| address)) else {
            return Err(KubeconfigError::NoAddress);
        };
        let user = self.user();
        let each = self.control_planes.iter().map(|(host, address)| (format!("{}-{host}", self.cluster), address));
        let names: Vec<_> = std::iter::once((self.cluster.to_owned(), main)).chain(each).collect();
        let cluster =
            |address: &str| json!({ "certificate-authority-data": admin.ca, "server": format!("https://{address}") });
        let context = |cluster: &str| json!({ "cluster": cluster, "user": user });
        Ok(Entries {
            current: self.cluster.to_owned(),
            clusters: names
                .iter()
                .map(|(name, address)| json!({ "name": name, "cluster": cluster(address) }))
                .collect(),
            contexts: names.iter().map(|(name, _)| json!({ "name": name, "context": context(name) })).collect(),
            users: vec![json!({ "name": user, "user": admin.user })],
        })
    }

    fn user(&self) -> String {
        format!("{}-admin", self.cluster)
    }

    /// Takes out what an earlier call of ours put in, control planes that are no more included: contexts of our names
    /// that use our user, and the clusters and the user that no other context uses.
    fn remove_ours(&self, config: &mut Value) {
        let user = self.user();
        let prefix = format!("{}-", self.cluster);
        let (ours, theirs): (Vec<_>, Vec<_>) = take_list(config, "contexts").into_iter().partition(|entry| {
            let name = name_of(entry);
            entry["context"]["user"] == *user && (name == self.cluster || name.starts_with(&prefix))
        });
        let used_by =
            |contexts: &[Value], field: &str, name: &str| contexts.iter().any(|entry| entry["context"][field] == *name);
        for (list, field) in [("clusters", "cluster"), ("users", "user")] {
            let mut entries = take_list(config, list);
            entries.retain(|entry| !used_by(&ours, field, name_of(entry)) || used_by(&theirs, field, name_of(entry)));
            put_list(config, list, entries);
        }
        put_list(config, "contexts", theirs);
    }
}

/// Our entries, as they stand in a kubeconfig.
struct Entries {
    current: String,
    clusters: Vec<Value>,
    contexts: Vec<Value>,
    users: Vec<Value>,
}

impl Entries {
    fn lists(&self) -> [(&'static str, &'static str, &[Value]); 3] {
        [
            ("contexts", "context", &self.contexts),
            ("clusters", "cluster", &self.clusters),
            ("users", "user", &self.users),
        ]
    }
}

/// The first entry that would be lost.
fn in_the_way(present: &Value, entries: &Entries, existing: Existing) -> Option<(&'static str, String)> {
    entries.lists().into_iter().find_map(|(list, what, ours)| {
        let mut theirs = present[list].as_array().into_iter().flatten();
        let lost =
            theirs.find(|entry| existing == Existing::Replace || ours.iter().any(|our| name_of(our) == name_of(entry)));
        lost.map(|entry| (what, name_of(entry).to_owned()))
    })
}

fn assemble(present: Value, entries: &Entries) -> Value {
    let mut config = match present {
        Value::Object(fields) => Value::Object(fields),
        _ => Value::Object(Map::new()),
    };
    config["apiVersion"] = "v1".into();
    config["kind"] = "Config".into();
    config["current-context"] = entries.current.clone().into();
    for (list, _, ours) in entries.lists() {
        let mut all = take_list(&mut config, list);
        all.extend(ours.iter().cloned());
        put_list(&mut config, list, all);
    }
    config
}

fn take_list(config: &mut Value, list: &str) -> Vec<Value> {
    match config.get_mut(list).map(Value::take) {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    }
}

fn put_list(config: &mut Value, list: &str, entries: Vec<Value>) {
    if let Some(fields) = config.as_object_mut() {
        fields.insert(list.to_owned(), Value::Array(entries));
    }
}

fn name_of(entry: &Value) -> &str {
    entry["name"].as_str().unwrap_or_default()
}

/// What `admin.conf` gives us.
struct Admin {
    /// Base64 of the authority's PEM.
    ca: String,
    /// The user's entry as it stands.
    user: Value,
}

impl Admin {
    fn parse(admin_conf: &str) -> Result<Self, KubeconfigError> {
        let wrong = |reason: &str| KubeconfigError::Admin(reason.to_owned());
        let config = parse(admin_conf).map_err(KubeconfigError::Admin)?;
        let find = |list: &str, name: &Value| {
            let mut entries = config[list].as_array().into_iter().flatten();
            entries.find(|entry| &entry["name"] == name)
        };
        let context = find("contexts", &config["current-context"]).ok_or_else(|| wrong("it has no current context"))?;
        let cluster =
            find("clusters", &context["context"]["cluster"]).ok_or_else(|| wrong("its context has no cluster"))?;
        let user = find("users", &context["context"]["user"]).ok_or_else(|| wrong("its context has no user"))?;
        let ca = cluster["cluster"]["certificate-authority-data"].as_str();
        let ca = ca.ok_or_else(|| wrong("its cluster has no certificate-authority-data"))?;
        Ok(Self { ca: ca.to_owned(), user: user["user"].clone() })
    }
}

impl Credentials {
    /// The authority and the identity in `admin.conf` or any kubeconfig that carries both as data.
    ///
    /// # Errors
    /// [`KubeconfigError::Admin`].
    pub fn from_kubeconfig(admin_conf: &str) -> Result<Self, KubeconfigError> {
        let admin = Admin::parse(admin_conf)?;
        let pem = |base64: Option<&str>, what: &str| {
            let base64 = base64.ok_or_else(|| KubeconfigError::Admin(format!("its user has no {what}")))?;
            let unreadable = || KubeconfigError::Admin(format!("{what} is not base64 of PEM"));
            String::from_utf8(STANDARD.decode(base64).map_err(|_| unreadable())?).map_err(|_| unreadable())
        };
        Ok(Self {
            ca_pem: pem(Some(&admin.ca), "certificate-authority-data")?,
            client_cert_pem: pem(admin.user["client-certificate-data"].as_str(), "client-certificate-data")?,
            client_key_pem: pem(admin.user["client-key-data"].as_str(), "client-key-data")?.into(),
        })
    }
}

/// What is in the file; nothing where there is none.
fn read(path: &Utf8Path) -> Result<Value, KubeconfigError> {
    let unreadable = |reason: String| KubeconfigError::Unreadable { path: path.to_owned(), reason };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Value::Null),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let config = parse(&text).map_err(unreadable)?;
    for list in ["clusters", "contexts", "users"] {
        if !matches!(config.get(list), None | Some(Value::Null | Value::Array(_))) {
            return Err(unreadable(format!("`{list}` is not a list")));
        }
    }
    Ok(config)
}

/// Errors name a place, never the text that stands there.
fn parse(text: &str) -> Result<Value, String> {
    // `no` and `on` stay words, as YAML 1.2 has it: they may be names.
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let config: Value = serde_saphyr::from_str_with_options(text, options).map_err(|error| match error.location() {
        Some(place) => format!("no YAML in line {}, column {}", place.line(), place.column()),
        None => "it is no YAML".to_owned(),
    })?;
    if config["kind"] == "Config" || config["clusters"].is_array() {
        Ok(config)
    } else {
        Err("it is not a kubeconfig".to_owned())
    }
}

fn to_text(config: &Value) -> Result<SecretString, KubeconfigError> {
    serde_saphyr::to_string(config).map(SecretString::from).map_err(|error| KubeconfigError::Admin(error.to_string()))
}

/// Beside the target, flushed, then moved over it; the folder flushed as well, or the name could be lost with the power.
fn replace(path: &Utf8Path, text: &str) -> io::Result<()> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.as_std_path().to_owned(),
        Err(error) => return Err(error),
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => ".".as_ref(),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.as_file().set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
