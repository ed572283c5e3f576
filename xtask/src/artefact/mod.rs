//! Obtains what a cluster needs: official downloads where they are reachable, else built from Go modules; laid out as a
//! mirror with official paths and a registry with official names. Each artefact is made once.

pub mod catalogue;
mod gobuild;
mod layer;
mod mirror;
mod newest;
mod oci;
mod official;
pub mod stamp;
mod toolchain;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use self::catalogue::{Catalogue, Image, Item, MirrorFile, Wanted};
use self::oci::Registry;
use self::official::{Official, Preference, host_of};
use self::stamp::{Fingerprint, Stamps};
use self::toolchain::Toolchain;
use crate::cache::{Cache, lab_data};
use crate::progress::{Task, seconds};

/// Makes every artefact that is wanted and missing.
///
/// # Errors
/// The catalogue is wrong, or something can be neither downloaded nor built.
pub fn ensure(cache: &Cache, wanted: &Wanted) -> Result<()> {
    let started = Instant::now();
    let catalogue = read_catalogue(wanted)?;
    let _lock = cache.lock("artefacts")?;
    let mut run = Run::new(cache, &catalogue)?;
    let total = catalogue.files.len() + catalogue.images.len();
    if run.files.is_empty() && run.images.is_empty() {
        eprintln!("Artefacts: all {total} are there, Kubernetes {}.", catalogue.kubernetes.join(", "));
        return newest::tell(cache, &catalogue.kubernetes);
    }
    eprintln!(
        "Artefacts: {} of {total} to make, Kubernetes {}, below {}",
        run.files.len() + run.images.len(),
        catalogue.kubernetes.join(", "),
        cache.root().display()
    );
    run.probe()?;
    run.make()?;
    newest::tell(cache, &catalogue.kubernetes)?;
    eprintln!("Artefacts: ready after {}.", seconds(started.elapsed()));
    Ok(())
}

/// Builds these programs from Go modules unless they are there, and tells the folder they are in.
///
/// # Errors
/// There is no Go, or it cannot fetch or build them.
pub fn programs(cache: &Cache, build: &catalogue::Build) -> Result<PathBuf> {
    let _lock = cache.lock("artefacts")?;
    gobuild::ensure(cache, &Stamps::in_folder(cache.stamps()), &Toolchain::find()?, build)?;
    Ok(cache.build(&build.name).join("bin"))
}

/// The catalogue of the checkout.
///
/// # Errors
/// It cannot be read or does not fit.
pub fn read_catalogue(wanted: &Wanted) -> Result<Catalogue> {
    let path = lab_data("artefacts.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Catalogue::parse(&text, wanted)
}

/// The root filesystem of the container that serves mirror and registry, as a tar made of programs of this machine.
///
/// # Errors
/// A program is not installed.
pub fn server_rootfs(cache: &Cache) -> Result<PathBuf> {
    let catalogue = read_catalogue(&Wanted::default())?;
    let items: Vec<Item> = catalogue.server.into_iter().flatten().collect();
    let target = cache.lab().join("server.tar");
    let stamps = Stamps::in_folder(cache.stamps());
    let print = items_fingerprint(Fingerprint::of(&items)?, &items)?.hex();
    if !(target.is_file() && stamps.is_fresh("server.tar", &print)) {
        fs::create_dir_all(cache.lab())?;
        layer::write_tar(cache, &items, &target)?;
        stamps.write("server.tar", &print)?;
    }
    Ok(target)
}

/// Something to make, with the fingerprint of what it is made from.
struct Stale<'a, T> {
    entry: &'a T,
    fingerprint: String,
}

/// One run of the builder.
struct Run<'a> {
    cache: &'a Cache,
    catalogue: &'a Catalogue,
    stamps: Stamps,
    registry: Registry,
    files: Vec<Stale<'a, MirrorFile>>,
    images: Vec<Stale<'a, Image>>,
    official: Official,
    preference: Preference,
    go: Option<Toolchain>,
}

impl<'a> Run<'a> {
    fn new(cache: &'a Cache, catalogue: &'a Catalogue) -> Result<Self> {
        let stamps = Stamps::in_folder(cache.stamps());
        let registry = Registry::in_folder(cache.registry());
        let (mut files, mut images) = (Vec::new(), Vec::new());
        for entry in &catalogue.files {
            let fingerprint = file_fingerprint(catalogue, entry)?;
            if !(mirror::has(cache, entry) && stamps.is_fresh(&entry.path, &fingerprint)) {
                files.push(Stale { entry, fingerprint });
            }
        }
        for entry in &catalogue.images {
            let fingerprint = image_fingerprint(catalogue, entry)?;
            if !(registry.has(&entry.name)? && stamps.is_fresh(&entry.name, &fingerprint)) {
                images.push(Stale { entry, fingerprint });
            }
        }
        let preference = Preference::from_environment()?;
        let official = Official::probe(&BTreeSet::new(), preference);
        Ok(Self { cache, catalogue, stamps, registry, files, images, official, preference, go: None })
    }

    /// Asks the official hosts of what is missing, and says which way is taken.
    fn probe(&mut self) -> Result<()> {
        let files = self.files.iter().map(|file| file.entry.path.as_str());
        let images = self.images.iter().map(|image| image.entry.name.as_str());
        let hosts: BTreeSet<String> = files.chain(images).map(|address| host_of(address).to_string()).collect();
        self.official = Official::probe(&hosts, self.preference);
        let (reachable, unreachable) = self.official.describe();
        if !reachable.is_empty() {
            eprintln!("Official downloads from {}.", reachable.join(", "));
        }
        if !unreachable.is_empty() {
            eprintln!(
                "Built from Go modules and Debian programs, as these are not reachable: {}.",
                unreachable.join(", ")
            );
            self.toolchain()?;
        }
        Ok(())
    }

    fn make(&mut self) -> Result<()> {
        for stale in std::mem::take(&mut self.files) {
            let file = stale.entry;
            self.obtain(
                &file.path,
                |run| official::fetch_file(file, &run.cache.mirror()),
                |run| {
                    for reference in file.from.iter().chain(file.pack.iter().flat_map(|pack| pack.values())) {
                        run.build(reference)?;
                    }
                    mirror::put_built(run.cache, file)
                },
            )?;
            self.stamps.write(&file.path, &stale.fingerprint)?;
        }
        for stale in std::mem::take(&mut self.images) {
            let image = stale.entry;
            self.obtain(
                &image.name,
                |run| official::fetch_image(image, &mut run.registry),
                |run| {
                    for item in image.layers.iter().flatten() {
                        if let Item::Build { build, .. } = item {
                            run.build(build)?;
                        }
                    }
                    run.registry.put(run.cache, image)
                },
            )?;
            self.stamps.write(&image.name, &stale.fingerprint)?;
        }
        Ok(())
    }

    /// The official way if its host answers; the other one else, or when the official one fails.
    fn obtain(
        &mut self,
        address: &str,
        fetch: impl Fn(&mut Self) -> Result<()>,
        build: impl Fn(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let host = host_of(address).to_string();
        let title = address.rsplit('/').next().unwrap_or(address).to_string();
        if self.official.reaches(&host) {
            let task = Task::begin(&title);
            match fetch(self) {
                Ok(()) => {
                    task.done(&format!("from {host}"));
                    return Ok(());
                }
                Err(error) if self.preference == Preference::Official => return Err(error),
                Err(error) => {
                    task.done(&format!("not from {host}, building instead: {error:#}"));
                    self.official.give_up(&host);
                }
            }
        }
        let started = Task::begin(&title);
        build(self).with_context(|| format!("cannot make {address}"))?;
        started.done("made here");
        Ok(())
    }

    fn build(&mut self, reference: &str) -> Result<()> {
        let build = self.catalogue.build_of(reference)?;
        let go = self.toolchain()?;
        gobuild::ensure(self.cache, &self.stamps, &go, build)
    }

    fn toolchain(&mut self) -> Result<Toolchain> {
        if let Some(go) = &self.go {
            return Ok(go.clone());
        }
        let go = Toolchain::find()?;
        eprintln!("{}", go.describe());
        self.go = Some(go.clone());
        Ok(go)
    }
}

fn file_fingerprint(catalogue: &Catalogue, file: &MirrorFile) -> Result<String> {
    let mut print = Fingerprint::of(file)?;
    for reference in file.from.iter().chain(file.pack.iter().flat_map(|pack| pack.values())) {
        print.text(&gobuild::fingerprint(catalogue.build_of(reference)?)?);
    }
    Ok(print.hex())
}

fn image_fingerprint(catalogue: &Catalogue, image: &Image) -> Result<String> {
    let mut print = Fingerprint::of(image)?;
    for item in image.layers.iter().flatten() {
        if let Item::Build { build, .. } = item {
            print.text(&gobuild::fingerprint(catalogue.build_of(build)?)?);
        }
    }
    let items: Vec<Item> = image.layers.iter().flatten().cloned().collect();
    Ok(items_fingerprint(print, &items)?.hex())
}

/// Adds the content of the checkout's files and of this machine's programs among these items.
fn items_fingerprint(mut print: Fingerprint, items: &[Item]) -> Result<Fingerprint> {
    for item in items {
        match item {
            Item::Data { data: path, .. } | Item::Compiled { compiled: path, .. } => {
                print.path(Path::new(&lab_data(path)))?;
            }
            // An upgrade of the package makes another image.
            Item::Program { program: path, .. } | Item::Applets { applets: path, .. } => print.path(Path::new(path))?,
            Item::Build { .. } | Item::Tree { .. } | Item::Link { .. } | Item::Folder { .. } | Item::Text { .. } => {}
        }
    }
    Ok(print)
}
