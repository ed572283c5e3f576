//! Files under their official addresses, with the digests that their projects publish beside them.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use super::catalogue::{DigestForm, MirrorFile, split_reference};
use super::oci::file_digest;
use super::official::digest_text;
use super::stamp::write_whole;
use crate::cache::Cache;

/// Puts a file made of built programs into the mirror; the digest last.
///
/// # Errors
/// A program is missing, or the mirror cannot be written.
pub fn put_built(cache: &Cache, file: &MirrorFile) -> Result<()> {
    let target = cache.mirror().join(&file.path);
    fs::create_dir_all(target.parent().context("a file is in a folder")?)?;
    let partial = target.with_extension("partial");
    match (&file.from, &file.pack) {
        (Some(from), None) => {
            let (build, program) = split_reference(from)?;
            let source = cache.build(build).join("bin").join(program);
            fs::copy(&source, &partial).with_context(|| format!("cannot copy {}", source.display()))?;
        }
        (None, Some(pack)) => {
            // Fast compression: it is read over a "network" that is memory.
            let mut builder = Builder::new(GzEncoder::new(File::create(&partial)?, Compression::fast()));
            for (member, reference) in pack {
                let (build, program) = split_reference(reference)?;
                append(&mut builder, member, &cache.build(build).join("bin").join(program))?;
            }
            builder.into_inner()?.finish()?;
        }
        _ => bail!("{} must have either `from` or `pack`", file.path),
    }
    let digest = file_digest(&partial)?;
    fs::rename(&partial, &target)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    write_whole(&target.with_file_name(&file.digest.file), digest_text(file.digest.form, &digest, &name).as_bytes())
}

fn append(builder: &mut Builder<impl std::io::Write>, member: &str, source: &Path) -> Result<()> {
    let content = File::open(source).with_context(|| format!("cannot open {}", source.display()))?;
    let mut header = Header::new_gnu();
    header.set_mode(0o755);
    header.set_mtime(0);
    header.set_size(content.metadata()?.len());
    builder.append_data(&mut header, member, content).with_context(|| format!("cannot pack {member}"))
}

/// Whether file and digest are both there.
pub fn has(cache: &Cache, file: &MirrorFile) -> bool {
    let target = cache.mirror().join(&file.path);
    target.is_file() && target.with_file_name(&file.digest.file).is_file()
}

/// The digest of this file in the text of a digest file.
pub fn digest_in(text: &str, form: DigestForm, name: &str) -> Option<String> {
    let digest = match form {
        DigestForm::Bare => text.split_whitespace().next()?,
        DigestForm::Named => {
            text.lines().find_map(|line| {
                let (digest, rest) = line.split_once(char::is_whitespace)?;
                // sha256sum marks binary mode with an asterisk, and some projects write a relative path.
                (rest.trim().trim_start_matches('*').trim_start_matches("./") == name).then_some(digest)
            })?
        }
    };
    (digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit())).then(|| digest.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn digests_are_found_in_both_forms() {
        assert_eq!(digest_in(DIGEST, DigestForm::Bare, "kubelet").as_deref(), Some(DIGEST));
        let text = format!("{}  other\n{DIGEST} *runc.amd64\n", "f".repeat(64));
        assert_eq!(digest_in(&text, DigestForm::Named, "runc.amd64").as_deref(), Some(DIGEST));
        assert_eq!(digest_in(&text, DigestForm::Named, "absent"), None);
        assert_eq!(digest_in("<html>", DigestForm::Bare, "kubelet"), None);
    }

    #[test]
    fn what_we_write_we_can_read() {
        for form in [DigestForm::Bare, DigestForm::Named] {
            assert_eq!(digest_in(&digest_text(form, DIGEST, "a.tgz"), form, "a.tgz").as_deref(), Some(DIGEST));
        }
    }
}
