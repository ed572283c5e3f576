//! What the lab serves, read from `tests/lab/artefacts.yaml`: versions are data, the code knows only kinds.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything to obtain, with all versions filled in.
#[derive(Debug)]
pub struct Catalogue {
    /// The Kubernetes versions in it, the default first.
    pub kubernetes: Vec<String>,
    /// Programs that can be made from Go modules.
    pub builds: Vec<Build>,
    /// Files of the mirror.
    pub files: Vec<MirrorFile>,
    /// Images of the registry.
    pub images: Vec<Image>,
    /// Root filesystem of the container that serves both.
    pub server: Vec<Vec<Item>>,
}

/// Programs that come from one Go module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// `name-version`, also its folder in the cache.
    pub name: String,
    /// Built by `go install <package>@<this>`: enough where the module replaces nothing.
    pub install: Option<String>,
    /// Built inside a module of our own.
    pub module: Option<Module>,
    /// Linked statically with C code.
    #[serde(default)]
    pub cgo: bool,
    /// Build tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Link flags besides those that make programs small.
    #[serde(default)]
    pub ldflags: Vec<String>,
    /// Program name → package.
    pub programs: BTreeMap<String, String>,
    /// Program name → package whose tests it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tests: BTreeMap<String, String>,
    /// File name → path in the module whose replacements are released versions ([`Module::staging`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copies: BTreeMap<String, String>,
}

impl Build {
    /// Names of everything that it makes.
    pub fn made(&self) -> impl Iterator<Item = &String> {
        self.programs.keys().chain(self.tests.keys()).chain(self.copies.keys())
    }
}

/// A module of our own around upstream ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Folder below `tests/lab/go` whose Go files are copied in.
    pub source: Option<String>,
    /// Module → version.
    pub require: BTreeMap<String, String>,
    /// Module → version that takes its place everywhere.
    #[serde(default)]
    pub replace: BTreeMap<String, String>,
    /// The required module whose `./staging/` replacements become released versions, as k8s.io/kubernetes needs it;
    /// `vX.Y.Z` of it means `v0.Y.Z` of them.
    pub staging: Option<String>,
}

/// One file of the mirror.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorFile {
    /// Official address without the scheme.
    pub path: String,
    /// The digest published beside it.
    pub digest: DigestFile,
    /// `<build>/<program>` that stands there as it is.
    pub from: Option<String>,
    /// Member → `<build>/<program>`, packed as a compressed tar.
    pub pack: Option<BTreeMap<String, String>>,
}

/// How a project publishes the SHA-256 of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestFile {
    /// File name, in the same folder.
    pub file: String,
    /// What is in it.
    pub form: DigestForm,
}

/// Content of a digest file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DigestForm {
    /// Only the digest, in hex.
    Bare,
    /// Lines of digest, two spaces, file name, as sha256sum writes them.
    Named,
}

/// One image of the registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Full name with registry and tag.
    pub name: String,
    /// The image's entry point.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// The image's command.
    #[serde(default)]
    pub command: Vec<String>,
    /// The user it runs as; root if not said.
    #[serde(default)]
    pub user: String,
    /// Its layers, lowest first. Equal layers of several images are stored and pulled once.
    pub layers: Vec<Vec<Item>>,
}

/// Something in a layer. Paths in the image have no leading slash.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Item {
    /// A program made from a Go module.
    Build {
        /// `<build>/<program>`.
        build: String,
        /// Path in the image.
        r#as: String,
        /// Octal mode, if another than 0755.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<String>,
    },
    /// A program of the machine with every library it is linked against.
    Program {
        /// Path on the machine.
        program: String,
        /// Path in the image, if another.
        r#as: Option<String>,
    },
    /// A folder of the machine that lies beside a library.
    Tree {
        /// Folder name.
        tree: String,
        /// The library.
        near: String,
    },
    /// One link for each of a busybox' commands.
    Applets {
        /// The busybox on the machine.
        applets: String,
        /// Folder in the image, in which busybox itself lies.
        r#in: String,
    },
    /// A symbolic link.
    Link {
        /// What it points at.
        link: String,
        /// Path in the image.
        r#as: String,
    },
    /// A folder.
    Folder {
        /// Path in the image.
        folder: String,
        /// Octal mode.
        mode: String,
    },
    /// A short file.
    Text {
        /// Content.
        text: String,
        /// Path in the image.
        r#as: String,
    },
    /// A file below `tests/lab`.
    Data {
        /// Path below `tests/lab`.
        data: String,
        /// Path in the image.
        r#as: String,
        /// Octal mode.
        mode: String,
    },
    /// A C source below `tests/lab`, compiled statically.
    Compiled {
        /// Path below `tests/lab`.
        compiled: String,
        /// Path in the image.
        r#as: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    releases: Vec<BTreeMap<String, String>>,
    versions: BTreeMap<String, String>,
    per_release: Value,
    shared: Value,
    conformance: Value,
}

/// What a catalogue is read for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Kubernetes versions; the default one if none is named.
    pub versions: Vec<String>,
    /// Kubernetes' own end-to-end tests, too, and the images that they use.
    pub conformance: bool,
}

impl From<&[String]> for Wanted {
    fn from(versions: &[String]) -> Self {
        Self { versions: versions.to_vec(), conformance: false }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    builds: Vec<Build>,
    #[serde(default)]
    files: Vec<MirrorFile>,
    images: Vec<Image>,
    #[serde(default)]
    server: Vec<Vec<Item>>,
}

impl Catalogue {
    /// Reads the catalogue and keeps what is wanted of it.
    ///
    /// # Errors
    /// The text is not a catalogue, a placeholder has no value, or a version is not in it.
    pub fn parse(text: &str, wanted: &Wanted) -> Result<Self> {
        let document: Document = serde_saphyr::from_str(text).context("artefacts.yaml is not a catalogue")?;
        let known: Vec<&str> =
            document.releases.iter().filter_map(|r| r.get("kubernetes")).map(String::as_str).collect();
        let versions: Vec<&str> = match wanted.versions.as_slice() {
            [] => known.iter().take(1).copied().collect(),
            some => some.iter().map(|version| version.trim_start_matches('v')).collect(),
        };
        let shared: Section = serde_json::from_value(expand(&document.shared, &document.versions)?)?;
        let mut catalogue = Self {
            kubernetes: versions.iter().map(ToString::to_string).collect(),
            builds: shared.builds,
            files: shared.files,
            images: shared.images,
            server: shared.server,
        };
        for version in versions {
            let Some(release) = document.releases.iter().find(|release| release["kubernetes"] == version) else {
                bail!("Kubernetes {version} is not in artefacts.yaml, which has {}", known.join(", "));
            };
            let mut values = document.versions.clone();
            values.extend(release.clone());
            values.extend(derived(version)?);
            catalogue.add(serde_json::from_value(expand(&document.per_release, &values)?)?);
            if wanted.conformance {
                catalogue.add(serde_json::from_value(expand(&document.conformance, &values)?)?);
            }
        }
        Ok(catalogue)
    }

    /// Adds a section; two releases may share an etcd or a CoreDNS.
    fn add(&mut self, section: Section) {
        for build in section.builds {
            if self.builds.iter().all(|present| present.name != build.name) {
                self.builds.push(build);
            }
        }
        for image in section.images {
            if self.images.iter().all(|present| present.name != image.name) {
                self.images.push(image);
            }
        }
        self.files.extend(section.files);
    }

    /// The build that makes `<build>/<program>`.
    ///
    /// # Errors
    /// There is none.
    pub fn build_of(&self, reference: &str) -> Result<&Build> {
        let (build, program) = split_reference(reference)?;
        self.builds
            .iter()
            .find(|candidate| candidate.name == build && candidate.made().any(|made| made == program))
            .with_context(|| format!("no build makes {reference}"))
    }
}

/// Splits `<build>/<program>`.
///
/// # Errors
/// There is no slash in it.
pub fn split_reference(reference: &str) -> Result<(&str, &str)> {
    reference.split_once('/').with_context(|| format!("{reference} is not <build>/<program>"))
}

/// `{minor}` and `{staging}` of a Kubernetes version.
fn derived(version: &str) -> Result<BTreeMap<String, String>> {
    let mut parts = version.splitn(3, '.');
    let (Some("1"), Some(minor), Some(patch)) = (parts.next(), parts.next(), parts.next()) else {
        bail!("{version} is not a Kubernetes version such as 1.35.4");
    };
    Ok(BTreeMap::from([
        ("minor".to_string(), minor.to_string()),
        ("staging".to_string(), format!("0.{minor}.{patch}")),
    ]))
}

/// Replaces `{name}` in every string of a document.
fn expand(value: &Value, values: &BTreeMap<String, String>) -> Result<Value> {
    Ok(match value {
        Value::String(text) => Value::String(expand_text(text, values)?),
        Value::Array(items) => Value::Array(items.iter().map(|item| expand(item, values)).collect::<Result<_>>()?),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, field)| Ok((expand_text(name, values)?, expand(field, values)?)))
                .collect::<Result<_>>()?,
        ),
        other => other.clone(),
    })
}

fn expand_text(text: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}').with_context(|| format!("a brace is not closed in {text:?}"))?;
        result.push_str(before);
        result.push_str(values.get(name).with_context(|| format!("{{{name}}} in {text:?} has no value"))?);
        rest = tail;
    }
    result.push_str(rest);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Catalogue {
        let text = std::fs::read_to_string(crate::cache::lab_data("artefacts.yaml")).unwrap();
        Catalogue::parse(&text, &Wanted { conformance: true, ..Wanted::default() }).unwrap()
    }

    #[test]
    fn the_catalogue_is_complete() {
        let catalogue = ours();
        for file in &catalogue.files {
            let sources: Vec<&String> =
                file.from.iter().chain(file.pack.iter().flat_map(|pack| pack.values())).collect();
            assert!(!sources.is_empty(), "{} comes from nothing", file.path);
            for source in sources {
                catalogue.build_of(source).unwrap();
            }
        }
        for image in &catalogue.images {
            for item in image.layers.iter().flatten() {
                if let Item::Build { build, .. } = item {
                    catalogue.build_of(build).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_placeholder_without_value_is_named() {
        let error = expand_text("v{nothing}", &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("{nothing}"), "{error}");
    }

    #[test]
    fn an_unknown_release_is_refused_with_the_known_ones() {
        let text = std::fs::read_to_string(crate::cache::lab_data("artefacts.yaml")).unwrap();
        let error = Catalogue::parse(&text, &["1.2.3".to_owned()][..].into()).unwrap_err().to_string();
        assert!(error.contains("1.2.3") && error.contains("1.35."), "{error}");
    }

    #[test]
    fn derived_values_follow_the_version() {
        assert_eq!(derived("1.35.4").unwrap()["staging"], "0.35.4");
        assert!(derived("35").is_err());
    }
}
