//! The list of accepted differences, read from the page that explains them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Differences;

/// Below the checkout.
const PAGE: &str = "manifests/tests/kubeadm/ACCEPTED.md";

/// First words of lines that are not of the recorded manifests.
const CERTIFICATES: &str = "certs ";
const LIVING: &str = "live ";

/// What is compared with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared<'a> {
    /// Rendered text with what kubeadm was recorded to write.
    Recorded,
    /// Certificates and kubeconfigs with what kubeadm was recorded to write.
    Certificates,
    /// The objects of a living cluster of ours, and the modes of a host's files, with those of the real kubeadm of this version.
    Living(&'a str),
}

/// The lines of the page's code blocks.
#[derive(Debug, Clone)]
pub struct Accepted(BTreeSet<String>);

impl Accepted {
    /// Reads the page of this checkout.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read() -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::parse(&text))
    }

    fn parse(page: &str) -> Self {
        let blocks = page.split("```").skip(1).step_by(2);
        Self(blocks.flat_map(str::lines).filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
    }

    /// Whether exactly the accepted differences were found.
    ///
    /// # Errors
    /// Names those that were not accepted, and those that are no longer there.
    pub fn check(&self, compared: Compared<'_>, found: &Differences) -> Result<()> {
        let accepted = self.of(compared);
        let list = |lines: Vec<&String>| lines.iter().map(|line| format!("\n  {line}")).collect::<String>();
        let (new, stale) =
            (found.difference(&accepted).collect::<Vec<_>>(), accepted.difference(found).collect::<Vec<_>>());
        if new.is_empty() && stale.is_empty() {
            return Ok(());
        }
        bail!("{PAGE} and what was found disagree\nnot accepted:{}\nno longer there:{}", list(new), list(stale))
    }

    /// The lines that this comparison must find, as it words them.
    pub fn of(&self, compared: Compared<'_>) -> BTreeSet<String> {
        self.0.iter().filter_map(|line| seen_by(line, compared)).collect()
    }
}

/// A line of the page as a comparison words it, if it concerns it.
fn seen_by(line: &str, compared: Compared<'_>) -> Option<String> {
    match compared {
        Compared::Certificates => line.strip_prefix(CERTIFICATES).map(str::to_owned),
        Compared::Recorded if line.starts_with(CERTIFICATES) || line.starts_with(LIVING) => None,
        Compared::Recorded => Some(line.to_owned()),
        Compared::Living(version) => {
            let rest = line.strip_prefix(LIVING)?;
            match rest.split_once(' ') {
                Some((only, rest)) if only.starts_with("1.") => (only == version).then(|| rest.to_owned()),
                _ => Some(rest.to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "text\n```\nall a: 1 → 2\nplain c: 1 → 2\nlive d: 1 → 2\nlive 1.36.3 e: 1 → 2\ncerts f: 1 → \
                        2\n```\nmore text\n";

    fn lines(compared: Compared<'_>) -> Vec<String> {
        Accepted::parse(PAGE).of(compared).into_iter().collect()
    }

    #[test]
    fn each_comparison_has_its_lines() {
        assert_eq!(lines(Compared::Recorded), ["all a: 1 → 2", "plain c: 1 → 2"]);
        assert_eq!(lines(Compared::Certificates), ["f: 1 → 2"]);
        assert_eq!(lines(Compared::Living("1.35.4")), ["d: 1 → 2"]);
        assert_eq!(lines(Compared::Living("1.36.3")), ["d: 1 → 2", "e: 1 → 2"]);
    }

    #[test]
    fn new_and_stale_differences_fail() {
        let check = |lines: &[&str]| {
            let found = lines.iter().map(|line| (*line).to_owned()).collect();
            Accepted::parse(PAGE).check(Compared::Certificates, &found)
        };
        check(&["f: 1 → 2"]).unwrap();
        let error = check(&["g: 1 → 2"]).unwrap_err().to_string();
        assert!(error.contains("not accepted:\n  g: 1 → 2\nno longer there:\n  f: 1 → 2"), "{error}");
    }
}
