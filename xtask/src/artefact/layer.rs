//! Root filesystem layers from single programs: no base image, so an image holds what it needs and nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tar::{Builder, EntryType, Header};

use super::catalogue::{Item, split_reference};
use crate::cache::{Cache, lab_data};
use crate::command::output;

/// What stands at a path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Folder(u32),
    File(PathBuf, u32),
    Bytes(Vec<u8>, u32),
    Link(String),
}

/// Writes the layer as an uncompressed tar. The same items give the same bytes: no times, no owners.
///
/// Layers stay uncompressed because every host of the lab would spend processor time on unpacking, while the "network"
/// is memory.
///
/// # Errors
/// Something the layer is made of is missing, or the tar cannot be written.
pub fn write_tar(cache: &Cache, items: &[Item], target: &Path) -> Result<()> {
    let mut entries = BTreeMap::new();
    for item in items {
        add(cache, item, &mut entries)?;
    }
    let mut builder = Builder::new(BufWriter::new(File::create(target)?));
    for (path, entry) in with_parents(entries) {
        append(&mut builder, &path, &entry).with_context(|| format!("cannot put {path} into a layer"))?;
    }
    builder.into_inner()?.flush()?;
    Ok(())
}

fn add(cache: &Cache, item: &Item, entries: &mut BTreeMap<String, Entry>) -> Result<()> {
    match item {
        Item::Build { build, r#as, mode } => {
            let (name, program) = split_reference(build)?;
            let mode = mode.as_deref().map_or(Ok(0o755), octal)?;
            entries.insert(r#as.clone(), Entry::File(cache.build(name).join("bin").join(program), mode));
        }
        Item::Program { program, r#as } => {
            let path = r#as.clone().unwrap_or_else(|| inside(program));
            entries.insert(path, Entry::File(program.into(), 0o755));
            for library in libraries(program)? {
                entries.insert(inside(&library), Entry::File(library.into(), 0o755));
            }
        }
        Item::Tree { tree, near } => {
            let listing = output(Command::new("/sbin/ldconfig").arg("-p"))?;
            let library = library_path(&listing, near).with_context(|| format!("{near} is not installed"))?;
            let folder = fs::canonicalize(library)?.parent().context("a library is in a folder")?.join(tree);
            for file in super::stamp::sorted_entries(&folder)? {
                entries.insert(inside(&file.to_string_lossy()), Entry::File(file, 0o644));
            }
        }
        Item::Applets { applets, r#in } => {
            for applet in output(Command::new(applets).arg("--list"))?.lines().filter(|name| *name != "busybox") {
                entries.insert(format!("{in}/{applet}", in = r#in), Entry::Link("busybox".into()));
            }
        }
        Item::Link { link, r#as } => {
            entries.insert(r#as.clone(), Entry::Link(link.clone()));
        }
        Item::Folder { folder, mode } => {
            entries.insert(folder.clone(), Entry::Folder(octal(mode)?));
        }
        Item::Text { text, r#as } => {
            entries.insert(r#as.clone(), Entry::Bytes(text.clone().into_bytes(), 0o644));
        }
        Item::Data { data, r#as, mode } => {
            entries.insert(r#as.clone(), Entry::File(lab_data(data), octal(mode)?));
        }
        Item::Compiled { compiled, r#as } => {
            entries.insert(r#as.clone(), Entry::Bytes(compile(&lab_data(compiled))?, 0o755));
        }
    }
    Ok(())
}

/// Every folder above an entry, so that unpacking does not invent modes.
fn with_parents(mut entries: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let paths: Vec<String> = entries.keys().cloned().collect();
    for path in paths {
        let mut parent = Path::new(&path).parent();
        while let Some(folder) = parent.filter(|folder| !folder.as_os_str().is_empty()) {
            entries.entry(folder.to_string_lossy().into_owned()).or_insert(Entry::Folder(0o755));
            parent = folder.parent();
        }
    }
    entries
}

fn append(builder: &mut Builder<impl Write>, path: &str, entry: &Entry) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    match entry {
        Entry::Folder(mode) => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            header.set_size(0);
            builder.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Entry::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            builder.append_link(&mut header, path, target)?;
        }
        Entry::Bytes(bytes, mode) => {
            header.set_mode(*mode);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, path, bytes.as_slice())?;
        }
        Entry::File(source, mode) => {
            let file = File::open(source)
                .with_context(|| format!("cannot open {}: is its package installed?", source.display()))?;
            header.set_mode(*mode);
            header.set_size(file.metadata()?.len());
            builder.append_data(&mut header, path, file)?;
        }
    }
    Ok(())
}

fn compile(source: &Path) -> Result<Vec<u8>> {
    let program = tempfile::NamedTempFile::new()?.into_temp_path();
    output(Command::new("gcc").args(["-Os", "-static", "-s", "-Wall", "-Werror", "-o"]).arg(&program).arg(source))?;
    let mut bytes = Vec::new();
    File::open(&program)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn inside(path: &str) -> String {
    path.trim_start_matches('/').to_string()
}

fn octal(mode: &str) -> Result<u32> {
    u32::from_str_radix(mode, 8).with_context(|| format!("{mode} is not an octal mode"))
}

/// The libraries that a program is linked against, with the loader; none for a static program.
fn libraries(program: &str) -> Result<Vec<String>> {
    let answer = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    let words = String::from_utf8_lossy(&answer.stdout);
    let complaint = String::from_utf8_lossy(&answer.stderr);
    if words.contains("statically linked") || complaint.contains("not a dynamic executable") {
        return Ok(Vec::new());
    }
    if !answer.status.success() {
        bail!("ldd {program}: {}{}", words.trim(), complaint.trim());
    }
    Ok(library_paths(&words))
}

/// Paths in the output of ldd: what follows `=>`, or a line that begins with a path (the loader).
fn library_paths(ldd: &str) -> Vec<String> {
    ldd.lines()
        .filter_map(|line| {
            let line = line.trim();
            let path = line.split_once(" => ").map_or(line, |(_, path)| path);
            path.starts_with('/').then(|| path.split_whitespace().next().map(str::to_string)).flatten()
        })
        .collect()
}

/// The path of a library in the output of `ldconfig -p`.
fn library_path<'a>(ldconfig: &'a str, name: &str) -> Option<&'a str> {
    ldconfig.lines().find(|line| line.split_whitespace().next() == Some(name))?.split_once(" => ").map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_output_gives_libraries_and_loader() {
        let text = "\tlinux-vdso.so.1 (0x00007ffe)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f6)\n\t\
                    /lib64/ld-linux-x86-64.so.2 (0x00007f7)\n";
        assert_eq!(library_paths(text), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn ldconfig_output_gives_a_path() {
        let text = "2 libs found\n\tlibxtables.so.12 (libc6,x86-64) => /lib/a/libxtables.so.12\n";
        assert_eq!(library_path(text, "libxtables.so.12"), Some("/lib/a/libxtables.so.12"));
        assert_eq!(library_path(text, "libx.so"), None);
    }

    #[test]
    fn a_layer_names_the_folders_above_its_files_and_is_the_same_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let items = [
            Item::Text { text: "x".into(), r#as: "etc/a/b".into() },
            Item::Folder { folder: "tmp".into(), mode: "1777".into() },
        ];
        let (first, second) = (folder.path().join("1.tar"), folder.path().join("2.tar"));
        write_tar(&cache, &items, &first).unwrap();
        write_tar(&cache, &items, &second).unwrap();
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
        let mut archive = tar::Archive::new(File::open(&first).unwrap());
        let paths: Vec<String> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(paths, ["etc/", "etc/a/", "etc/a/b", "tmp/"]);
    }
}
