//! What the programs of a Kubernetes release take, recorded from the programs themselves, for `core/src/releases/`: flags, feature
//! gates, fields of configuration files.
//!
//! `--help` tells the flags and gates that it shows. What it hides (deprecated flags; gates that are generally available or
//! deprecated) is found by name in the sources of the release and then asked of the program, which refuses what it does not know
//! before it prints its version and ends. Fields are read from the types in the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cache::{Cache, repository};

/// The releases whose programs are recorded, one of each minor that the lab builds. Another one makes another file: change both
/// together.
pub const RELEASES: [&str; 2] = ["1.35.4", "1.36.3"];
/// What has flags. The first four are one program under several names (`artefact::catalogue`).
const PROGRAMS: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"];
/// Configuration that a spec can add to, and the module and file that has its type.
const KINDS: [(&str, &str, &str); 2] = [
    ("KubeletConfiguration", "kubelet", "config/v1beta1/types.go"),
    ("KubeProxyConfiguration", "kube-proxy", "config/v1alpha1/types.go"),
];
/// Switches over all others, which are no gates of their own.
const GROUPS: [&str; 2] = ["AllAlpha", "AllBeta"];

/// The file of a release.
pub fn file(release: &str) -> PathBuf {
    repository().join(format!("core/src/releases/{}.txt", minor(release)))
}

fn minor(release: &str) -> &str {
    release.rsplit_once('.').map_or(release, |(minor, _)| minor)
}

/// Writes all files anew.
///
/// # Errors
/// As [`record`].
pub fn refresh(cache: &Cache) -> Result<()> {
    for release in RELEASES {
        let Some(text) = record(cache, release)? else {
            bail!("Kubernetes {release} is not built here; first: cargo run -p xtask -- artefacts {release}");
        };
        let path = file(release);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// The text of a release's file; none where its programs or their sources are not there.
///
/// # Errors
/// A program answers in a way that is not understood.
pub fn record(cache: &Cache, release: &str) -> Result<Option<String>> {
    let build = cache.build(&format!("kubernetes-{release}"));
    let bin = build.join("bin");
    if !PROGRAMS.iter().all(|name| executable(&bin, name).is_file()) {
        return Ok(None);
    }
    let Some(sources) = Sources::of(release) else { return Ok(None) };
    let mut text = format!(
        "# What the programs of Kubernetes {release} take, as they tell themselves.\n\
         # Recorded by `cargo run -p xtask -- flags`; not to be edited.\n"
    );
    let mut section = |heading: &str, lines: Vec<String>| {
        text.push_str(&format!("\n[{heading}]\n{}\n", lines.join("\n")));
    };
    let Named { flags: hidden, gates: named } = sources.named()?;
    for name in PROGRAMS {
        section(name, Program { bin: &bin, name }.flags(&hidden)?.into_iter().collect());
    }
    for (kind, module, file) in KINDS {
        section(kind, sources.fields(kind, module, file)?.into_iter().collect());
    }
    let gates = gates(&bin, &named)?;
    section("featureGates", gates.into_iter().map(|(name, state)| format!("{name} {state}")).collect());
    Ok(Some(text))
}

fn executable(bin: &Path, name: &str) -> PathBuf {
    bin.join(if name == "kubelet" { "kubelet" } else { "servers" })
}

/// A program under one of its names.
#[derive(Clone, Copy)]
struct Program<'a> {
    bin: &'a Path,
    name: &'a str,
}

impl Program<'_> {
    /// What it says to these arguments, on both streams. None of them may let it serve.
    fn says(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(executable(self.bin, self.name));
        command.arg0(self.name).args(arguments).stdin(Stdio::null());
        let said = command.output().with_context(|| format!("cannot start {}", self.name))?;
        Ok([said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
    }

    /// Its flags without dashes: those of `--help`, and those of `hidden` that it knows.
    fn flags(&self, hidden: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let help = self.says(&["--help"])?;
        let mut flags: BTreeSet<String> = help.lines().filter_map(flag).map(str::to_owned).collect();
        if !flags.contains("version") {
            bail!("{} --help shows no flags:\n{help}", self.name);
        }
        for name in hidden.difference(&flags.clone()) {
            // With a value of its own: one that takes a value would take the next argument for it, and serve.
            let said = self.says(&[&format!("--{name}=0"), "--version"])?;
            if !said.contains(&format!("unknown flag: --{name}")) {
                flags.insert(name.clone());
            }
        }
        Ok(flags)
    }
}

/// The long name in a line of `--help` that begins with a flag.
fn flag(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let long = match line.split_once(", ") {
        Some((short, rest)) if short.len() == 2 && short.starts_with('-') => rest,
        _ => line,
    };
    let name = long.strip_prefix("--")?.split([' ', '=']).next()?;
    (!name.is_empty()).then_some(name)
}

/// Each feature gate with its stage, its default, and whether it is locked: `beta true`, `ga`, `ga locked true`.
///
/// All programs of a release know the same gates; the one that starts fastest is asked, and the others have to agree.
fn gates(bin: &Path, named: &BTreeSet<String>) -> Result<BTreeMap<String, String>> {
    let scheduler = Program { bin, name: "kube-scheduler" };
    let mut gates: BTreeMap<String, String> =
        scheduler.says(&["--help"])?.lines().filter_map(shown).collect::<BTreeMap<_, _>>();
    let flipped = gates
        .iter()
        .filter(|(name, _)| !GROUPS.contains(&name.as_str()))
        .map(|(name, state)| format!("{name}={}", !state.ends_with("true")));
    let flipped = flipped.collect::<Vec<_>>().join(",");
    let said = scheduler.says(&[&format!("--feature-gates={flipped}"), "--version"])?;
    if gates.is_empty() || said.contains("locked to") || said.contains("unrecognized") {
        bail!("gates that --help shows cannot be switched: {said}");
    }
    for name in named {
        if !gates.contains_key(name)
            && let Some(state) = hidden(scheduler, name)?
        {
            gates.insert(name.clone(), state);
        }
    }
    let known = gates.iter().map(|(name, state)| {
        let value = state.rsplit(' ').next().filter(|word| matches!(*word, "true" | "false")).unwrap_or("true");
        format!("{name}={value}")
    });
    let known = known.collect::<Vec<_>>().join(",");
    for name in ["kube-apiserver", "kube-controller-manager"] {
        let said = Program { bin, name }.says(&[&format!("--feature-gates={known}"), "--version"])?;
        if said.contains("unrecognized") || said.contains("locked to") {
            bail!("{name} knows other gates than kube-scheduler: {said}");
        }
    }
    Ok(gates)
}

/// A gate in a line of `--help`: `kube:Name=true|false (BETA - default=true)`.
fn shown(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.trim_start().split_once("=true|false (")?;
    let name = name.rsplit(' ').next()?;
    let (stage, default) = rest.trim_end().strip_suffix(')')?.split_once(" - default=")?;
    let name = name.strip_prefix("kube:").unwrap_or(name);
    Some((name.to_owned(), format!("{} {default}", stage.to_lowercase())))
}

/// What a program says of a gate that its help hides; none where it does not know it.
fn hidden(program: Program<'_>, name: &str) -> Result<Option<String>> {
    let (mut stage, mut locked) = (None, None);
    for value in ["true", "false"] {
        let said = program.says(&[&format!("--feature-gates={name}={value}"), "--version"])?;
        if said.contains("unrecognized feature gate") {
            return Ok(None);
        } else if let Some((_, to)) = said.split_once("feature is locked to ") {
            locked = to.split(|c: char| !c.is_ascii_alphabetic()).next().map(str::to_owned);
        // 1.36 begins the sentence with a small letter.
        } else if said.contains("etting GA feature gate") {
            stage = Some("ga");
        } else if said.contains("etting deprecated feature gate") {
            stage = Some("deprecated");
        } else {
            bail!("{} {name}={value}: {said}", program.name);
        }
    }
    let stage = stage.with_context(|| format!("{name} can be switched to nothing"))?;
    Ok(Some(locked.map_or(stage.to_owned(), |to| format!("{stage} locked {to}"))))
}

/// What sources name, whether a program has it or not.
#[derive(Default)]
struct Named {
    /// Flags that are deprecated or hidden.
    flags: BTreeSet<String>,
    /// Feature gates.
    gates: BTreeSet<String>,
}

/// The Go modules that a release was built from.
struct Sources {
    modules: PathBuf,
    release: String,
}

impl Sources {
    /// Where Go keeps them: `$GOMODCACHE`, else below `$GOPATH`, else below `~/go`. None where they are not there.
    fn of(release: &str) -> Option<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = || set("GOPATH").or_else(|| set("HOME").map(|home| home.join("go")));
        let modules = set("GOMODCACHE").or_else(|| path().map(|path| path.join("pkg/mod")))?.join("k8s.io");
        let sources = Self { modules, release: release.to_owned() };
        sources.module("kubernetes").is_dir().then_some(sources)
    }

    /// Kubernetes' own module has its version, those that it publishes have 0 for its first number.
    fn module(&self, name: &str) -> PathBuf {
        let version = match name {
            "kubernetes" => self.release.clone(),
            _ => self.release.replacen('1', "0", 1),
        };
        self.modules.join(format!("{name}@v{version}"))
    }

    /// What the sources of the release name.
    fn named(&self) -> Result<Named> {
        let suffix = format!("@v{}", self.release.replacen('1', "0", 1));
        let mut named = Named::default();
        let mut folders = vec![self.module("kubernetes")];
        for entry in fs::read_dir(&self.modules)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(&suffix) {
                folders.push(path);
            }
        }
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if entry?.is_dir() {
                    folders.push(path);
                } else if name.ends_with(".go") && !name.ends_with("_test.go") {
                    let text = fs::read_to_string(&path)?;
                    named.flags.extend(between(&text, &["MarkDeprecated(\"", "MarkHidden(\""]));
                    named.gates.extend(between(&text, &["Feature = \""]));
                }
            }
        }
        Ok(named)
    }

    /// Top-level fields of a kind, by the names that a file has.
    fn fields(&self, kind: &str, module: &str, file: &str) -> Result<BTreeSet<String>> {
        let path = self.module(module).join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let begin = format!("type {kind} struct {{\n");
        let body = text.split_once(&begin).and_then(|(_, rest)| rest.split_once("\n}"));
        let (body, _) = body.with_context(|| format!("{} has no {kind}", path.display()))?;
        // `apiVersion` and `kind` come from the embedded TypeMeta, which has no name.
        let names = between(body, &["`json:\""]).map(|tag| tag.split(',').next().unwrap_or_default().to_owned());
        Ok(names.filter(|name| !name.is_empty()).chain(["apiVersion".to_owned(), "kind".to_owned()]).collect())
    }
}

/// What stands between each of these and the next quote.
fn between<'t>(text: &'t str, after: &'t [&'t str]) -> impl Iterator<Item = String> + 't {
    let words = after.iter().flat_map(move |before| text.split(before).skip(1));
    words.filter_map(|rest| rest.split_once('"').map(|(word, _)| word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_help_are_read() {
        assert_eq!(flag("      --advertise-address ip    The IP address"), Some("advertise-address"));
        assert_eq!(flag("  -v, --v Level   number for the log level"), Some("v"));
        assert_eq!(flag("      --version version[=true]   --version prints"), Some("version"));
        assert_eq!(flag("          If set, --event-ttl is longer"), None);
        assert_eq!(flag("        --"), None);
        let gate = |line| shown(line).map(|(name, state)| format!("{name} {state}"));
        assert_eq!(
            gate("   kube:AllAlpha=true|false (ALPHA - default=false)").as_deref(),
            Some("AllAlpha alpha false")
        );
        assert_eq!(gate("   AllBeta=true|false (BETA - default=true)").as_deref(), Some("AllBeta beta true"));
    }

    /// The files hold what the programs of the cache say, where they are built.
    #[test]
    fn files_are_what_the_programs_say() {
        let Ok(cache) = Cache::open() else { return };
        let recorded = std::thread::scope(|scope| {
            let threads = RELEASES.map(|release| (release, scope.spawn(|| record(&cache, release))));
            threads.map(|(release, thread)| (release, thread.join().unwrap().unwrap()))
        });
        for (release, text) in recorded {
            let Some(text) = text else {
                eprintln!("Kubernetes {release} is not built here: its file is not compared");
                continue;
            };
            let kept = fs::read_to_string(file(release)).unwrap();
            assert!(
                kept == text,
                "{} is not what the programs say: cargo run -p xtask -- flags",
                file(release).display()
            );
        }
    }
}
