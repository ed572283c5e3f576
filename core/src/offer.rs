//! Which versions a cluster can go to, and by which way: what is published where its software comes from; where nobody there
//! tells, what this program was tested with.

use std::collections::BTreeMap;

use crate::skew;
use crate::version::{Minor, Version};

/// Who knows of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Teller {
    /// The address that artefacts come from.
    Published,
    /// This program: it was tested with it, and there may be a newer one.
    Tested,
}

/// The newest patch of each minor, as far as anybody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    newest: BTreeMap<Minor, Version>,
    /// Who knows of them.
    pub teller: Teller,
    /// The newest that is published, where its minor is none of those that were asked for.
    pub beyond: Option<Version>,
    /// Why nobody told of a minor.
    pub silent: BTreeMap<Minor, String>,
}

/// Why a version is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Some of the cluster runs it, some does not yet.
    Unfinished,
    /// The spec says so.
    Spec,
    /// It is the newest of its minor.
    Newest,
}

/// A version that the cluster can go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which.
    pub version: Version,
    /// Versions on the way there, one of each minor between.
    pub via: Vec<Version>,
    /// Why it is offered.
    pub reason: Reason,
}

/// The version in the text behind one of the addresses that tell the newest: of this minor, or of any.
///
/// # Errors
/// What is wrong with the text.
pub fn published(text: &str, minor: Option<Minor>) -> Result<Version, String> {
    let word = text.trim();
    let version: Version = word.parse().map_err(|_| "its answer is no version".to_owned())?;
    if version.is_prerelease() {
        return Err(format!("it names {version}, which is not released"));
    }
    match minor {
        Some(minor) if version.minor() != minor => Err(format!("it names {version}")),
        _ => Ok(version),
    }
}

impl Available {
    /// From what was answered about each minor and about the newest of all; `tested` counts where nothing was answered at all.
    pub fn of(
        answers: impl IntoIterator<Item = (Minor, Result<Version, String>)>,
        latest: Option<Version>,
        tested: &[Version],
    ) -> Self {
        let (mut newest, mut silent) = (BTreeMap::new(), BTreeMap::new());
        for (minor, answer) in answers {
            match answer {
                Ok(version) => drop(newest.insert(minor, version)),
                Err(why) => drop(silent.insert(minor, why)),
            }
        }
        // A mirror that knows one minor and not another has not got the other.
        let teller = if newest.is_empty() { Teller::Tested } else { Teller::Published };
        if teller == Teller::Tested {
            let asked = |version: &&Version| silent.contains_key(&version.minor());
            newest = tested.iter().filter(asked).map(|version| (version.minor(), version.clone())).collect();
        }
        let known = |version: &Version| newest.contains_key(&version.minor()) || silent.contains_key(&version.minor());
        let beyond = latest.filter(|latest| !known(latest));
        Self { newest, teller, beyond, silent }
    }

    /// The newest of a minor.
    pub fn newest(&self, minor: Minor) -> Option<&Version> {
        self.newest.get(&minor)
    }

    /// Versions on the way from one to another, one of each minor between: those that were named, else the newest.
    ///
    /// # Errors
    /// Minors of which nobody knows a version.
    pub fn between(&self, from: &Version, to: &Version, named: &[Version]) -> Result<Vec<Version>, Vec<Minor>> {
        let (mut way, mut unknown) = (Vec::new(), Vec::new());
        for minor in skew::between(from, to) {
            let of_minor = named.iter().find(|version| version.minor() == minor);
            match of_minor.or_else(|| self.newest(minor)) {
                Some(version) => way.push(version.clone()),
                None => unknown.push(minor),
            }
        }
        if unknown.is_empty() { Ok(way) } else { Err(unknown) }
    }

    /// What a cluster can go to whose oldest API server runs `from` and whose spec says `spec`; `unfinished` where some of it
    /// still runs something older. First what most want: to finish, what the spec says, the next minor, a patch; then further
    /// minors.
    pub fn offers(&self, from: &Version, spec: &Version, unfinished: bool) -> Vec<Offer> {
        let mut newest: Vec<&Version> = self.newest.values().collect();
        newest.sort_by_key(|version| match version.minor().minor.saturating_sub(from.minor().minor) {
            1 => 0,
            0 => 1,
            further => further,
        });
        let begun = unfinished.then_some((from, Reason::Unfinished));
        let wanted = (spec > from).then_some((spec, Reason::Spec));
        let newest = newest.into_iter().filter(|version| *version > from).map(|version| (version, Reason::Newest));
        let mut offers: Vec<Offer> = Vec::new();
        for (version, reason) in begun.into_iter().chain(wanted).chain(newest) {
            if offers.iter().any(|offer| offer.version == *version) {
                continue;
            }
            if let Ok(via) = self.between(from, version, &[]) {
                offers.push(Offer { version: version.clone(), via, reason });
            }
        }
        offers
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(minor: u64, patch: u64) -> Version {
        Version::new(1, minor, patch)
    }

    fn minor(minor: u64) -> Minor {
        Minor::new(1, minor)
    }

    fn told(versions: &[Version]) -> Available {
        Available::of(versions.iter().map(|version| (version.minor(), Ok(version.clone()))), None, &[])
    }

    fn ways(offers: &[Offer]) -> Vec<String> {
        let way = |offer: &Offer| {
            let stations = offer.via.iter().chain([&offer.version]);
            stations.map(Version::to_string).collect::<Vec<_>>().join(" ")
        };
        offers.iter().map(way).collect()
    }

    #[test]
    fn the_next_minor_comes_first_then_a_patch_then_further_minors() {
        let available = told(&[version(34, 8), version(35, 9), version(36, 3)]);
        let offers = |from: &Version| ways(&available.offers(from, from, false));
        assert_eq!(offers(&version(35, 4)), ["1.36.3", "1.35.9"]);
        assert_eq!(offers(&version(34, 4)), ["1.35.9", "1.34.8", "1.35.9 1.36.3"]);
        assert_eq!(offers(&version(36, 3)), Vec::<String>::new(), "nothing is newer");
        assert_eq!(offers(&version(33, 1)), ["1.34.8", "1.34.8 1.35.9", "1.34.8 1.35.9 1.36.3"]);
    }

    #[test]
    fn what_was_begun_and_what_the_spec_says_come_first() {
        let available = told(&[version(35, 9), version(36, 3)]);
        let offers = available.offers(&version(35, 4), &version(36, 1), true);
        assert_eq!(ways(&offers), ["1.35.4", "1.36.1", "1.36.3", "1.35.9"]);
        assert_eq!(
            offers[..2].iter().map(|offer| offer.reason).collect::<Vec<_>>(),
            [Reason::Unfinished, Reason::Spec]
        );
        let same = available.offers(&version(35, 4), &version(36, 3), false);
        assert_eq!(ways(&same), ["1.36.3", "1.35.9"], "each once");
    }

    #[test]
    fn what_was_tested_counts_only_where_nobody_tells() {
        let silent = |number: u64| (minor(number), Err("no route to host".to_owned()));
        let tested = [version(35, 4), version(36, 3)];
        let nobody = Available::of([silent(35), silent(36)], None, &tested);
        assert_eq!((nobody.teller, nobody.newest(minor(36))), (Teller::Tested, Some(&version(36, 3))));
        let some = Available::of([(minor(35), Ok(version(35, 9))), silent(36)], None, &tested);
        assert_eq!((some.teller, some.newest(minor(36))), (Teller::Published, None), "the mirror has no 1.36");
        assert_eq!(some.silent[&minor(36)], "no route to host");
    }

    #[test]
    fn a_minor_that_nobody_asked_for_is_told_of_and_not_offered() {
        let answers = || [(minor(36), Ok(version(36, 3)))];
        assert_eq!(Available::of(answers(), Some(version(37, 1)), &[]).beyond, Some(version(37, 1)));
        assert_eq!(Available::of(answers(), Some(version(36, 3)), &[]).beyond, None);
    }

    #[test]
    fn a_gap_is_named_unless_somebody_fills_it() {
        let available = told(&[version(36, 3)]);
        let (from, to) = (version(34, 4), version(36, 3));
        assert_eq!(available.between(&from, &to, &[]), Err(vec![minor(35)]));
        assert_eq!(available.between(&from, &to, &[version(35, 2)]), Ok(vec![version(35, 2)]));
        assert!(available.offers(&from, &from, false).is_empty(), "there is no way that is known");
    }

    #[test]
    fn only_a_released_version_of_the_minor_is_taken() {
        assert_eq!(published("v1.36.3\n", Some(minor(36))), Ok(version(36, 3)));
        assert_eq!(published("v1.36.3", None), Ok(version(36, 3)));
        for wrong in ["<html>not found</html>", "", "v1.37.0-rc.1", "v1.35.9"] {
            assert!(published(wrong, Some(minor(36))).is_err(), "{wrong}");
        }
    }

    proptest! {
        /// Whatever is published, every offer is newer than what runs, offered once, and can be gone to.
        #[test]
        fn every_offer_is_a_way(
            patches in proptest::collection::btree_map(31_u64..40, 0_u64..20, 0..8),
            from in (31_u64..40, 0_u64..20),
            spec in (31_u64..40, 0_u64..20),
            unfinished: bool,
        ) {
            let published: Vec<Version> = patches.iter().map(|(minor, patch)| version(*minor, *patch)).collect();
            let (from, spec) = (version(from.0, from.1), version(spec.0, spec.1));
            let offers = told(&published).offers(&from, &spec, unfinished);
            for offer in &offers {
                let stations: Vec<Version> = offer.via.iter().chain([&offer.version]).cloned().collect();
                prop_assert_eq!(skew::way(&from, &stations), Ok(()));
                prop_assert!(offer.version > from || (offer.reason == Reason::Unfinished && offer.version == from));
                prop_assert_eq!(offers.iter().filter(|other| other.version == offer.version).count(), 1);
            }
            let next = published.iter().find(|version| version.minor().minor == from.minor().minor + 1);
            if let Some(next) = next {
                prop_assert!(offers.iter().any(|offer| offer.version == *next && offer.via.is_empty()));
            }
        }
    }
}
