//! Which of several copies of one journal is to be believed: the one on this machine, those on the control planes.
//!
//! A run that takes over has a higher fence than all before it, and hosts refuse the lower one. So where two copies went
//! different ways the higher fence did the work, and what the other one tells after their common beginning is the belief
//! of a run that was stopped. Two ways with the same fence cannot come from runs that kept the rules.

use super::{Record, Status};

/// One copy, read and folded.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its whole lines, as they are.
    pub bytes: Vec<u8>,
    /// How many there are.
    pub records: usize,
    /// The highest fence number in it.
    pub fence: u64,
}

/// The copy to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Best {
    /// Which; the first of those that say the same.
    pub index: usize,
    /// Copies that went another way and lost; the others are beginnings of the best.
    pub forks: Vec<usize>,
}

/// Two runs with the same fence number went different ways: a person must look.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two runs went on from the same point with the same fence number {fence}")]
pub struct Doubt {
    /// The one copy.
    pub one: usize,
    /// The other.
    pub other: usize,
    /// Their number.
    pub fence: u64,
}

impl Told {
    /// A copy whose whole lines are these, with what they add up to.
    pub fn new(bytes: Vec<u8>, records: &[Record], status: &Status) -> Self {
        Self { bytes, records: records.len(), fence: status.fence }
    }

    fn rank(&self) -> (u64, usize) {
        (self.fence, self.records)
    }
}

/// The copy to go on with: the highest fence, then the longest. `None` where there is no copy at all.
///
/// # Errors
/// [`Doubt`].
pub fn best(copies: &[Told]) -> Result<Option<Best>, Doubt> {
    let ranked = copies.iter().enumerate().rev().max_by_key(|(_, copy)| copy.rank());
    let Some((index, winner)) = ranked else { return Ok(None) };
    let mut forks = Vec::new();
    for (other, copy) in copies.iter().enumerate() {
        if winner.bytes.starts_with(&copy.bytes) {
            continue;
        }
        if copy.fence == winner.fence {
            return Err(Doubt { one: index, other, fence: copy.fence });
        }
        forks.push(other);
    }
    Ok(Some(Best { index, forks }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::journal::{self, Event};
    use crate::summary::sample;

    /// A journal taken up with each of these numbers, one after another; `by` makes it differ.
    fn told(fences: &[(u64, &str)]) -> Told {
        let plan = sample::plan();
        let mut events =
            vec![Event::Accepted { operation: plan.operation.clone(), plan_digest: "d".into(), by: "a".into() }];
        events.extend(fences.iter().map(|(fence, by)| Event::TakenUp { by: (*by).into(), fence: *fence }));
        let (mut text, mut link) = (String::new(), String::new());
        for (count, event) in events.iter().enumerate() {
            let (line, next) = journal::write(count as u64, Timestamp::UNIX_EPOCH, &link, event).unwrap();
            text += &line;
            link = next;
        }
        let records = journal::read(text.as_bytes()).unwrap().records;
        let status = Status::fold(&plan, "d", &records).unwrap();
        Told::new(text.into_bytes(), &records, &status)
    }

    fn nothing() -> Told {
        Told { bytes: Vec::new(), records: 0, fence: 0 }
    }

    #[test]
    fn nobody_knows_anything() {
        assert_eq!(best(&[]), Ok(None));
        assert_eq!(best(&[nothing()]), Ok(Some(Best { index: 0, forks: Vec::new() })));
    }

    #[test]
    fn the_longer_of_one_story_is_taken() {
        let (short, long) = (told(&[(1, "a")]), told(&[(1, "a"), (2, "b")]));
        assert_eq!(best(&[short.clone(), long.clone(), nothing()]), Ok(Some(Best { index: 1, forks: Vec::new() })));
        assert_eq!(best(&[long.clone(), short]), Ok(Some(Best { index: 0, forks: Vec::new() })));
        assert_eq!(
            best(&[long.clone(), long]),
            Ok(Some(Best { index: 0, forks: Vec::new() })),
            "ours where they agree"
        );
    }

    #[test]
    fn of_two_stories_the_higher_fence_is_taken_however_short() {
        let (old, new) = (told(&[(1, "a"), (2, "b"), (3, "c")]), told(&[(1, "a"), (5, "d")]));
        assert_eq!(best(&[old.clone(), new.clone()]), Ok(Some(Best { index: 1, forks: vec![0] })));
        assert_eq!(best(&[new, old]), Ok(Some(Best { index: 0, forks: vec![1] })));
    }

    #[test]
    fn the_same_fence_twice_is_in_doubt() {
        let (one, other) = (told(&[(1, "a"), (2, "b")]), told(&[(1, "a"), (2, "c")]));
        assert_eq!(best(&[one, other]), Err(Doubt { one: 0, other: 1, fence: 2 }));
    }

    proptest! {
        #[test]
        fn the_answer_does_not_depend_on_who_is_asked_first(
            lengths in proptest::collection::vec(0usize..6, 1..6),
            fork in any::<bool>(),
            turn in any::<usize>(),
        ) {
            let whole: Vec<(u64, &str)> = (1..=5).map(|fence| (fence, "a")).collect();
            let mut copies: Vec<Told> = lengths.iter().map(|length| told(&whole[..*length])).collect();
            if fork {
                copies.push(told(&[(1, "a"), (9, "z")]));
            }
            let first = best(&copies).unwrap().unwrap();
            let mut turned = copies.clone();
            let by = turn % copies.len();
            turned.rotate_left(by);
            let second = best(&turned).unwrap().unwrap();
            prop_assert_eq!(&copies[first.index].bytes, &turned[second.index].bytes);
            prop_assert_eq!(first.forks.len(), second.forks.len());
            // Nothing that anybody tells is lost: it is in the best, or named as a fork.
            for (index, copy) in copies.iter().enumerate() {
                prop_assert!(copies[first.index].bytes.starts_with(&copy.bytes) != first.forks.contains(&index));
            }
        }
    }
}
