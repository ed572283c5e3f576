//! Writes images straight into a registry's storage: no daemon, no build tool, nothing to push to.
//!
//! The layout is the filesystem driver's of the distribution registry (`docker/registry/v2/…`): content-addressed
//! blobs, and per repository small link files for layers, manifests and tags. It has not changed since 2015.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::catalogue::{Image, Item};
use super::layer;
use super::stamp::{hex, write_whole};
use crate::cache::Cache;

/// Where commands are looked for in an image: the union of what the upstream images set.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The storage of a registry.
pub struct Registry {
    root: PathBuf,
    /// Layers written in this run, so that four images with one layer read its programs once.
    written: HashMap<String, Blob>,
}

/// A blob in the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blob {
    digest: String,
    size: u64,
}

impl Registry {
    /// The storage in this folder.
    pub fn in_folder(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), written: HashMap::new() }
    }

    /// Whether this image has a manifest under its tag.
    ///
    /// # Errors
    /// The name has no registry or no tag.
    pub fn has(&self, name: &str) -> Result<bool> {
        let (repository, tag) = split_name(name)?;
        Ok(self.repository(repository).join(format!("_manifests/tags/{tag}/current/link")).is_file())
    }

    /// Makes an image of these layers.
    ///
    /// # Errors
    /// A layer cannot be made, or the storage cannot be written.
    pub fn put(&mut self, cache: &Cache, image: &Image) -> Result<()> {
        let (repository, tag) = split_name(&image.name)?;
        let layers = image.layers.iter().map(|items| self.put_layer(cache, items)).collect::<Result<Vec<_>>>()?;
        let config = serde_json::to_vec(&config(image, &layers))?;
        let config = self.put_bytes(&config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(LAYER, layer)).collect::<Vec<_>>(),
        });
        let manifest = self.put_bytes(&serde_json::to_vec(&manifest)?)?;
        self.link(repository, tag, &manifest, layers.iter().chain([&config]))
    }

    /// Takes an image as `skopeo copy docker://… dir:…` left it, with the digests it has upstream.
    ///
    /// # Errors
    /// The folder is not such a copy, or the storage cannot be written.
    pub fn import(&mut self, name: &str, folder: &Path) -> Result<()> {
        let (repository, tag) = split_name(name)?;
        let manifest = fs::read(folder.join("manifest.json")).context("skopeo left no manifest")?;
        let parsed: Value = serde_json::from_slice(&manifest)?;
        let mut blobs = Vec::new();
        for entry in parsed["layers"].as_array().into_iter().flatten().chain([&parsed["config"]]) {
            let digest = entry["digest"].as_str().context("a manifest names its blobs by digest")?;
            let digest = digest.trim_start_matches("sha256:").to_string();
            // An image may name one blob twice, and images share blobs.
            blobs.push(match fs::metadata(self.blob(&digest)) {
                Ok(present) => Blob { digest, size: present.len() },
                Err(_) => self.put_file(&folder.join(digest))?,
            });
        }
        let manifest = self.put_bytes(&manifest)?;
        self.link(repository, tag, &manifest, blobs.iter())
    }

    fn put_layer(&mut self, cache: &Cache, items: &[Item]) -> Result<Blob> {
        let key = serde_json::to_string(items)?;
        if let Some(blob) = self.written.get(&key) {
            return Ok(blob.clone());
        }
        fs::create_dir_all(&self.root)?;
        let tar = tempfile::NamedTempFile::new_in(&self.root)?.into_temp_path();
        layer::write_tar(cache, items, &tar)?;
        let blob = self.put_file(&tar)?;
        self.written.insert(key, blob.clone());
        Ok(blob)
    }

    /// Moves a file into the storage (the original may be gone afterwards).
    fn put_file(&self, source: &Path) -> Result<Blob> {
        let blob = Blob { digest: file_digest(source)?, size: fs::metadata(source)?.len() };
        let target = self.blob(&blob.digest);
        if !target.is_file() {
            let folder = target.parent().context("a blob is in a folder")?;
            fs::create_dir_all(folder)?;
            let partial = folder.join("partial");
            if fs::rename(source, &partial).is_err() {
                fs::copy(source, &partial).with_context(|| format!("cannot copy {}", source.display()))?;
            }
            fs::rename(&partial, &target)?;
        }
        Ok(blob)
    }

    fn put_bytes(&self, bytes: &[u8]) -> Result<Blob> {
        let blob = Blob { digest: hex(&Sha256::digest(bytes)), size: bytes.len() as u64 };
        write_whole(&self.blob(&blob.digest), bytes)?;
        Ok(blob)
    }

    /// Writes the links; the tag last, so that an image is there with all its parts or not at all.
    fn link<'a>(
        &self,
        repository: &str,
        tag: &str,
        manifest: &Blob,
        blobs: impl Iterator<Item = &'a Blob>,
    ) -> Result<()> {
        let folder = self.repository(repository);
        let write =
            |path: String, blob: &Blob| write_whole(&folder.join(path), format!("sha256:{}", blob.digest).as_bytes());
        for blob in blobs {
            write(format!("_layers/sha256/{}/link", blob.digest), blob)?;
        }
        write(format!("_manifests/revisions/sha256/{}/link", manifest.digest), manifest)?;
        write(format!("_manifests/tags/{tag}/index/sha256/{}/link", manifest.digest), manifest)?;
        write(format!("_manifests/tags/{tag}/current/link"), manifest)
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.root.join("docker/registry/v2/blobs/sha256").join(&digest[..2]).join(digest).join("data")
    }

    fn repository(&self, repository: &str) -> PathBuf {
        self.root.join("docker/registry/v2/repositories").join(repository)
    }
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", blob.digest), "size": blob.size})
}

fn config(image: &Image, layers: &[Blob]) -> Value {
    let mut run = json!({"Env": [format!("PATH={PATH}")], "WorkingDir": "/", "User": image.user});
    if !image.entrypoint.is_empty() {
        run["Entrypoint"] = json!(image.entrypoint);
    }
    if !image.command.is_empty() {
        run["Cmd"] = json!(image.command);
    }
    json!({
        "architecture": "amd64",
        "os": "linux",
        "config": run,
        // Layers are not compressed, so a layer's digest is also that of its content.
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|l| format!("sha256:{}", l.digest)).collect::<Vec<_>>()},
    })
}

/// `registry.k8s.io/coredns/coredns:v1` → (`coredns/coredns`, `v1`): a mirror keeps the path and drops the host.
fn split_name(name: &str) -> Result<(&str, &str)> {
    let (_, path) = name.split_once('/').with_context(|| format!("{name} names no registry"))?;
    path.rsplit_once(':').with_context(|| format!("{name} has no tag"))
}

/// SHA-256 of a file, in hex.
///
/// # Errors
/// The file cannot be read.
pub fn file_digest(path: &Path) -> Result<String> {
    let mut reader = BufReader::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?);
    let mut hash = Sha256::new();
    // 1 MiB: large enough that the calls cost nothing beside the hashing.
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_image(name: &str) -> Image {
        Image {
            name: name.into(),
            entrypoint: vec!["/a".into()],
            command: vec![],
            user: String::new(),
            layers: vec![vec![Item::Text { text: "x".into(), r#as: "a".into() }]],
        }
    }

    #[test]
    fn an_image_is_found_under_its_path_and_tag() {
        let folder = tempfile::tempdir().unwrap();
        let mut registry = Registry::in_folder(folder.path());
        let image = text_image("registry.k8s.io/coredns/coredns:v1");
        assert!(!registry.has(&image.name).unwrap());
        registry.put(&Cache::at(folder.path()), &image).unwrap();
        assert!(registry.has(&image.name).unwrap());
        assert!(!registry.has("registry.k8s.io/coredns/coredns:v2").unwrap());

        let link =
            folder.path().join("docker/registry/v2/repositories/coredns/coredns/_manifests/tags/v1/current/link");
        let digest = fs::read_to_string(link).unwrap().replace("sha256:", "");
        let manifest: Value = serde_json::from_slice(&fs::read(registry.blob(&digest)).unwrap()).unwrap();
        let layer = manifest["layers"][0]["digest"].as_str().unwrap().replace("sha256:", "");
        assert_eq!(file_digest(&registry.blob(&layer)).unwrap(), layer);
    }

    #[test]
    fn a_copy_of_an_upstream_image_keeps_its_digests() {
        let folder = tempfile::tempdir().unwrap();
        let mut registry = Registry::in_folder(folder.path().join("registry"));
        let copy = folder.path().join("copy");
        fs::create_dir_all(&copy).unwrap();
        let digest = hex(&Sha256::digest(b"content"));
        fs::write(copy.join(&digest), "content").unwrap();
        let blob = json!({"digest": format!("sha256:{digest}")});
        fs::write(copy.join("manifest.json"), json!({"config": blob, "layers": [blob]}).to_string()).unwrap();
        registry.import("docker.io/library/a:1", &copy).unwrap();
        assert!(registry.has("docker.io/library/a:1").unwrap());
        assert_eq!(fs::read(registry.blob(&digest)).unwrap(), b"content");
    }

    #[test]
    fn names_lose_their_registry() {
        assert_eq!(split_name("ghcr.io/flannel-io/flannel:v1").unwrap(), ("flannel-io/flannel", "v1"));
        assert!(split_name("busybox").is_err());
    }
}
