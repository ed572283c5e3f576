//! Builds programs from Go modules, the way for machines that cannot reach the official downloads.
//!
//! Modules that replace others (Kubernetes, etcd, flannel) cannot be built with `go install`; they get a small module
//! of our own around them, with `go.mod` written here. The recipe for Kubernetes: require `k8s.io/kubernetes vX.Y.Z`,
//! replace each staging module by its release `v0.Y.Z`, copy the `godebug` line.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::catalogue::{Build, Module};
use super::stamp::{Fingerprint, Stamps, write_whole};
use super::toolchain::Toolchain;
use crate::cache::{Cache, lab_data};
use crate::command::{follow, output};
use crate::progress::Task;

/// Digest over what a build is made from.
///
/// # Errors
/// Its sources cannot be read.
pub fn fingerprint(build: &Build) -> Result<String> {
    let mut print = Fingerprint::of(build)?;
    if let Some(source) = build.module.as_ref().and_then(|module| module.source.as_ref()) {
        print.path(&lab_data("go").join(source))?;
    }
    Ok(print.hex())
}

/// Builds all programs of this build, unless they are there.
///
/// # Errors
/// Go cannot fetch or build it; the error has its last words.
pub fn ensure(cache: &Cache, stamps: &Stamps, go: &Toolchain, build: &Build) -> Result<()> {
    let print = fingerprint(build)?;
    let bin = cache.build(&build.name).join("bin");
    let stamp = format!("build-{}", build.name);
    if stamps.is_fresh(&stamp, &print) && build.made().all(|made| bin.join(made).is_file()) {
        return Ok(());
    }
    fs::create_dir_all(&bin)?;
    let mut task = Task::begin(format!("building {}", build.name));
    match (&build.module, &build.install) {
        (Some(module), None) => build_module(cache, go, build, module, &mut task)?,
        (None, Some(version)) => {
            let mut command = go.command(&bin, build.cgo);
            command.args(["install", "-v"]).args(flags(build)).env("GOBIN", &bin);
            command.args(build.programs.values().map(|package| format!("{package}@{version}")));
            run_showing(&mut command, &mut task)?;
        }
        _ => bail!("{} must have either `install` or `module`", build.name),
    }
    task.done("built");
    stamps.write(&stamp, &print)
}

fn build_module(cache: &Cache, go: &Toolchain, build: &Build, module: &Module, task: &mut Task) -> Result<()> {
    let folder = cache.build(&build.name);
    if let Some(source) = &module.source {
        copy_sources(&lab_data("go").join(source), &folder)?;
    }
    let upstream = download(go, &folder, module)?;
    for (name, path) in &build.copies {
        let staged = upstream.iter().find(|one| Some(&one.path) == module.staging.as_ref());
        let staged = staged.context("files are copied from the staging module")?;
        fs::copy(staged.dir.join(path), folder.join("bin").join(name)).with_context(|| path.clone())?;
    }
    let texts = upstream.into_iter().map(|one| Ok((one.path, fs::read_to_string(one.go_mod)?)));
    let text = go_mod(build, module, &texts.collect::<Result<Vec<_>>>()?);
    write_whole(&folder.join("go.mod"), text.as_bytes())?;
    run_showing(go.command(&folder, build.cgo).args(["mod", "tidy"]), task)?;
    for (program, package) in &build.programs {
        let target = Path::new("bin").join(program);
        let mut command = go.command(&folder, build.cgo);
        command.args(["build", "-v"]).args(flags(build)).arg("-o").arg(target).arg(package);
        run_showing(&mut command, task)?;
    }
    for (program, package) in &build.tests {
        let target = Path::new("bin").join(program);
        let mut command = go.command(&folder, build.cgo);
        // Tidying leaves out what only the tests of other modules need; the versions are still those of their go.mod.
        command.args(["test", "-c", "-vet=off", "-mod=mod"]).args(flags(build)).arg("-o").arg(target).arg(package);
        run_showing(&mut command, task)?;
    }
    Ok(())
}

/// `-s -w` leaves out what only a debugger reads: a third of each program, which every host fetches and keeps.
fn flags(build: &Build) -> Vec<String> {
    let mut link = format!("-s -w {}", build.ldflags.join(" "));
    if build.cgo {
        link.push_str(" -extldflags -static");
    }
    let mut flags = vec!["-trimpath".to_string(), format!("-ldflags={link}")];
    if !build.tags.is_empty() {
        flags.push(format!("-tags={}", build.tags.join(",")));
    }
    flags
}

/// What `go mod download -json` says of a module.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    path: String,
    go_mod: PathBuf,
    dir: PathBuf,
}

/// The required modules, as they lie in Go's cache.
fn download(go: &Toolchain, folder: &Path, module: &Module) -> Result<Vec<Downloaded>> {
    // A go.mod of an earlier version must not take part.
    let _ = fs::remove_file(folder.join("go.mod"));
    let _ = fs::remove_file(folder.join("go.sum"));
    let mut command = go.command(folder, false);
    command.args(["mod", "download", "-json"]);
    command.args(module.require.iter().map(|(name, version)| format!("{name}@{version}")));
    let answer = output(&mut command)?;
    serde_json::Deserializer::from_str(&answer)
        .into_iter::<Downloaded>()
        .map(|entry| entry.context("`go mod download -json` did not answer in JSON"))
        .collect()
}

/// The `go.mod` around the upstream modules.
fn go_mod(build: &Build, module: &Module, upstream: &[(String, String)]) -> String {
    let mut text = String::new();
    let short = build.name.rsplit_once('-').map_or(build.name.as_str(), |(name, _)| name);
    let language =
        upstream.iter().filter_map(|(_, text)| directive(text, "go ")).max_by_key(|version| numbers(version));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "module kubewright.dev/lab/{short}\n\ngo {}\n", language.unwrap_or("1.21"));
    let staging = module.staging.as_deref().unwrap_or_default();
    for (name, upstream) in upstream {
        if name == staging
            && let Some(setting) = directive(upstream, "godebug ")
        {
            let _ = writeln!(text, "godebug {setting}\n");
        }
    }
    for package in build.programs.values().filter(|package| !package.starts_with('.')) {
        let _ = writeln!(text, "tool {package}");
    }
    for (name, version) in &module.require {
        let _ = writeln!(text, "require {name} {version}");
    }
    for (name, version) in &module.replace {
        let _ = writeln!(text, "replace {name} => {name} {version}");
    }
    for (name, upstream) in upstream.iter().filter(|(name, _)| name == staging) {
        let version = module.require[name].replacen("v1.", "v0.", 1);
        for line in upstream.lines() {
            if let Some((staged, _)) = line.trim().split_once(" => ./staging/") {
                let _ = writeln!(text, "replace {staged} => {staged} {version}");
            }
        }
    }
    text
}

fn directive<'a>(go_mod: &'a str, name: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    for entry in super::stamp::sorted_entries(from)? {
        let target = to.join(entry.file_name().context("an entry has a name")?);
        if entry.is_dir() {
            fs::create_dir_all(&target)?;
            copy_sources(&entry, &target)?;
        } else {
            fs::copy(&entry, &target)?;
        }
    }
    Ok(())
}

/// Runs a go command and tells which package it is at.
fn run_showing(command: &mut Command, task: &mut Task) -> Result<()> {
    let mut count = 0;
    follow(command, |line| {
        // `go build -v` names each package when it begins with it; other lines are downloads and messages.
        count += usize::from(!line.contains(' '));
        task.note(&format!("{count} packages, {line}"));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_around_kubernetes_replaces_what_is_staged() {
        let build: Build = serde_json::from_value(serde_json::json!({
            "name": "kubernetes-1.35.4",
            "module": {"require": {"k8s.io/kubernetes": "v1.35.4"}, "staging": "k8s.io/kubernetes"},
            "programs": {"kubelet": "./kubelet"},
        }))
        .unwrap();
        let upstream = "module k8s.io/kubernetes\n\ngo 1.25.0\n\ngodebug default=go1.25\n\nreplace (\n\tk8s.io/api => \
                        ./staging/src/k8s.io/api\n)\n";
        let text = go_mod(&build, build.module.as_ref().unwrap(), &[("k8s.io/kubernetes".into(), upstream.into())]);
        assert_eq!(
            text,
            "module kubewright.dev/lab/kubernetes\n\ngo 1.25.0\n\ngodebug default=go1.25\n\nrequire k8s.io/kubernetes \
             v1.35.4\nreplace k8s.io/api => k8s.io/api v0.35.4\n"
        );
    }

    #[test]
    fn the_newest_language_version_wins() {
        assert!(numbers("1.26.0") > numbers("1.9"));
    }

    #[test]
    fn a_program_with_c_in_it_is_linked_statically() {
        let build: Build = serde_json::from_value(serde_json::json!({
            "name": "a-1", "install": "v1", "cgo": true, "tags": ["x", "y"], "programs": {"a": "b"},
        }))
        .unwrap();
        assert_eq!(flags(&build), ["-trimpath", "-ldflags=-s -w  -extldflags -static", "-tags=x,y"]);
    }
}
