//! The files that tell the newest version, under their official addresses: `dl.k8s.io/release/stable-1.35.txt` and `stable.txt`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::stamp::write_whole;
use crate::cache::Cache;

/// Major, minor, patch.
type Version = (u64, u64, u64);

/// Where the mirror has releases of Kubernetes.
const RELEASES: &str = "dl.k8s.io/release";

/// Has the mirror tell the newest of these versions and of those that it told before and still has.
///
/// # Errors
/// A version that is none, or a mirror that cannot be written.
pub fn tell(cache: &Cache, versions: &[String]) -> Result<()> {
    let folder = cache.mirror().join(RELEASES);
    let mut told: BTreeMap<String, Version> = BTreeMap::new();
    for text in versions {
        let version = parsed(text).with_context(|| format!("{text} is no version"))?;
        for name in [format!("stable-{}.{}.txt", version.0, version.1), "stable.txt".to_owned()] {
            let before = before(&folder, &name).into_iter();
            let newest = told.get(&name).copied().into_iter().chain(before).chain([version]).max();
            told.extend(newest.map(|newest| (name, newest)));
        }
    }
    for (name, version) in told {
        let text = format!("v{}\n", written(version));
        if fs::read_to_string(folder.join(&name)).ok().as_ref() != Some(&text) {
            write_whole(&folder.join(name), text.as_bytes())?;
        }
    }
    Ok(())
}

/// What a file told before, where the mirror still has that.
fn before(folder: &Path, name: &str) -> Option<Version> {
    let text = fs::read_to_string(folder.join(name)).ok()?;
    let version = parsed(text.trim().trim_start_matches('v'))?;
    folder.join(format!("v{}", written(version))).is_dir().then_some(version)
}

fn parsed(text: &str) -> Option<Version> {
    let mut numbers = text.split('.').map(|number| number.parse::<u64>().ok());
    let version = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(version)
}

fn written((major, minor, patch): Version) -> String {
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_minor_is_told_as_long_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let releases = cache.mirror().join(RELEASES);
        let read = |name: &str| fs::read_to_string(releases.join(name)).unwrap();
        let tell = |versions: &[&str]| {
            for version in versions {
                fs::create_dir_all(releases.join(format!("v{version}"))).unwrap();
            }
            super::tell(&cache, &versions.iter().map(|version| (*version).to_owned()).collect::<Vec<_>>()).unwrap();
        };
        tell(&["1.35.4", "1.36.3", "1.35.10"]);
        assert_eq!(
            [read("stable-1.35.txt"), read("stable-1.36.txt"), read("stable.txt")],
            ["v1.35.10\n", "v1.36.3\n", "v1.36.3\n"]
        );
        tell(&["1.35.4"]);
        assert_eq!([read("stable-1.35.txt"), read("stable.txt")], ["v1.35.10\n", "v1.36.3\n"], "it is there still");
        fs::remove_dir(releases.join("v1.35.10")).unwrap();
        tell(&["1.35.4"]);
        assert_eq!(read("stable-1.35.txt"), "v1.35.4\n");
        assert!(super::tell(&cache, &["1.35".to_owned()]).is_err());
    }
}
