//! The quorum procedure: stories, then every small cluster in every health against a model of the worst that may be true
//! and against etcd's own check.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kubewright_core::facts::etcd::{Alarm, AlarmKind, Answer, ClusterId, EtcdFacts, Listing, Member, MemberId, Sight};
use kubewright_core::quorum::{Change, LAG_LIMIT, Machine, Outlook, Reason, Verdict, View, decide, majority};

const CLUSTER: ClusterId = ClusterId(0xc1);
const NEWEST: u64 = 1_000_000;

/// How a member may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    Behind,
    CannotRead,
    Leaderless,
    Foreign,
    Down,
    Silent,
    Unseen,
    Unstarted,
}

use Health::{Behind, CannotRead, Down, Foreign, Leaderless, Silent, Unseen, Unstarted, Well};

const ALL: [Health; 9] = [Well, Behind, CannotRead, Leaderless, Foreign, Down, Silent, Unseen, Unstarted];

/// One of each kind that the rules tell apart.
const KINDS: [Health; 5] = [Well, Behind, Down, Unseen, Unstarted];

fn peer_url(number: u64) -> String {
    format!("https://10.0.0.{number}:2380")
}

fn member(number: u64, health: Health, learner: bool) -> Member {
    let name = if health == Unstarted { String::new() } else { format!("cp{number}") };
    Member { id: MemberId(number), name, peer_urls: vec![peer_url(number)], client_urls: Vec::new(), learner }
}

fn sight(health: Health, learner: bool, leader: Option<u64>) -> Option<Sight> {
    let mut answer = Answer {
        at: Timestamp::UNIX_EPOCH,
        cluster: CLUSTER,
        leader: leader.map(MemberId),
        term: 7,
        revision: 1,
        raft_index: NEWEST,
        applied_index: NEWEST,
        db_bytes: 1,
        db_used_bytes: 1,
        quota_bytes: None,
        version: "3.6.6".to_owned(),
        learner,
        read_failed: None,
        errors: Vec::new(),
    };
    let why = || "connection refused".to_owned();
    match health {
        Well => {}
        Behind => answer.applied_index = NEWEST - LAG_LIMIT - 1,
        CannotRead => answer.read_failed = Some("etcdserver: request timed out".to_owned()),
        Leaderless => answer.leader = None,
        Foreign => answer.cluster = ClusterId(0xc2),
        Down => return Some(Sight::Down { why: why() }),
        Silent => return Some(Sight::Silent { why: "no answer within 5 s".to_owned() }),
        Unseen => return Some(Sight::Unseen { why: "no ssh".to_owned() }),
        Unstarted => return None,
    }
    Some(Sight::Answers(Box::new(answer)))
}

/// Voters 1, 2, …, then learners; `leader` by number.
fn cluster(voters: &[Health], learners: &[Health], leader: Option<u64>) -> EtcdFacts {
    let voters = voters.iter().map(|health| (*health, false));
    let all = voters.chain(learners.iter().map(|health| (*health, true)));
    let all: Vec<(u64, Health, bool)> =
        all.zip(1..).map(|((health, learner), number)| (number, health, learner)).collect();
    let sights = all.iter().filter_map(|(number, health, learner)| {
        sight(*health, *learner, leader).map(|sight| (MemberId(*number), sight))
    });
    EtcdFacts {
        cluster: CLUSTER,
        listing: Listing::Agreed,
        members: all.iter().map(|(number, health, learner)| member(*number, *health, *learner)).collect(),
        sights: sights.collect(),
        hosts: BTreeMap::new(),
        alarms: Vec::new(),
        elsewhere: BTreeMap::new(),
    }
}

fn stop(number: u64) -> Change {
    Change::Stop { member: MemberId(number) }
}

fn promote(number: u64) -> Change {
    Change::Promote { member: MemberId(number) }
}

fn remove(number: u64) -> Change {
    Change::Remove { member: MemberId(number), machine: Machine::AsSeen }
}

fn bury(number: u64) -> Change {
    Change::Remove { member: MemberId(number), machine: Machine::DeclaredGone }
}

fn add(number: u64) -> Change {
    Change::AddLearner { peer_urls: vec![peer_url(number)] }
}

fn replace(number: u64) -> Change {
    Change::Replace { member: MemberId(number), machine: Machine::AsSeen, peer_urls: vec![peer_url(number)] }
}

fn lead(number: u64) -> Change {
    Change::MoveLeader { to: MemberId(number) }
}

fn reasons(facts: &EtcdFacts, change: &Change) -> Vec<Reason> {
    decide(facts, change).obstacles().iter().map(|obstacle| obstacle.reason).collect()
}

fn outlook(facts: &EtcdFacts, change: &Change) -> (bool, usize, usize, usize) {
    match decide(facts, change) {
        Verdict::Safe(Outlook { done, voters, well, may_lose }) => (done, voters, well, may_lose),
        Verdict::Unsafe { obstacles } => panic!("{change:?}: {obstacles:#?}"),
    }
}

fn sentences(facts: &EtcdFacts, change: &Change) -> Vec<String> {
    decide(facts, change).obstacles().iter().map(ToString::to_string).collect()
}

#[test]
fn followers_may_be_stopped_one_at_a_time_and_the_leader_after_handing_over() {
    let three = cluster(&[Well; 3], &[], Some(1));
    assert_eq!(outlook(&three, &stop(2)), (false, 3, 2, 0));
    assert_eq!(outlook(&cluster(&[Well; 5], &[], Some(1)), &stop(2)), (false, 5, 4, 1));
    let verdict = decide(&three, &stop(1));
    let obstacle = &verdict.obstacles()[0];
    assert_eq!((obstacle.reason, obstacle.move_leader_to), (Reason::Leads, Some(MemberId(2))));
    assert_eq!(obstacle.to_string(), "cp1 leads; move leadership to cp2 first");
    assert_eq!(outlook(&three, &lead(2)), (false, 3, 3, 1));
    assert!(decide(&cluster(&[Well; 3], &[], Some(2)), &stop(1)).is_safe());
}

#[test]
fn a_well_member_waits_for_the_ill_and_the_ill_does_not_wait() {
    let facts = cluster(&[Well, Well, Down], &[], Some(1));
    assert_eq!(
        sentences(&facts, &stop(2)),
        [
            "1 of 3 voters would be known to be well, 2 are needed; mend first: cp3 does not run (connection refused)",
            "cp3 does not run (connection refused); mend, replace or remove it first",
        ]
    );
    assert_eq!(outlook(&facts, &stop(3)), (false, 3, 2, 0));
    // Five would still have a majority, but it can wait.
    let five = cluster(&[Well, Well, Well, Well, Silent], &[], Some(1));
    assert_eq!(reasons(&five, &stop(2)), [Reason::AnotherIsNotWell]);
    assert!(decide(&five, &stop(5)).is_safe());
}

#[test]
fn one_and_two_members_cannot_spare_any() {
    assert_eq!(reasons(&cluster(&[Well], &[], Some(1)), &stop(1)), [Reason::LastVoter]);
    assert_eq!(reasons(&cluster(&[Well], &[], Some(1)), &remove(1)), [Reason::LastVoter]);
    let two = cluster(&[Well, Well], &[], Some(1));
    assert_eq!(reasons(&two, &stop(2)), [Reason::LosesQuorum]);
    assert_eq!(outlook(&two, &remove(2)), (false, 1, 1, 0));
}

#[test]
fn slow_is_not_dead() {
    for health in [Silent, Unseen] {
        let facts = cluster(&[Well, Well, health], &[], Some(1));
        assert_eq!(reasons(&facts, &remove(3)), [Reason::Unknown], "{health:?}");
        assert!(sentences(&facts, &remove(3))[0].contains("slow or cut off is not dead"));
        assert_eq!(outlook(&facts, &bury(3)), (false, 2, 2, 0));
        assert_eq!(reasons(&facts, &replace(3)), [Reason::Unknown]);
    }
    // The others follow it: whoever declares it gone is wrong.
    let facts = cluster(&[Unseen, Well, Well], &[], Some(1));
    assert_eq!(reasons(&facts, &bury(1)), [Reason::Leads]);
    assert!(sentences(&facts, &bury(1))[0].starts_with("the others follow cp1, which cannot be seen from here"));
    let nobody_looked = EtcdFacts { sights: BTreeMap::new(), ..cluster(&[Well; 3], &[], Some(1)) };
    assert_eq!(reasons(&nobody_looked, &remove(3)), [Reason::NoQuorum]);
}

#[test]
fn without_a_majority_nothing_is_safe() {
    let split = cluster(&[Well, Well, Unseen, Unseen], &[], Some(1));
    for change in [stop(3), stop(1), add(9), remove(3), bury(3), replace(3), lead(2), remove(99)] {
        assert_eq!(reasons(&split, &change), [Reason::NoQuorum], "{change:?}");
    }
    assert_eq!(
        sentences(&split, &lead(2)),
        ["2 of 4 voters are known to be well, 3 are needed; mend first: cp3 cannot be seen from here (no ssh); \
          cp4 cannot be seen from here (no ssh)"]
    );
    let remembered =
        EtcdFacts { listing: Listing::Remembered { by: "cp1".into() }, ..cluster(&[Well; 3], &[], Some(1)) };
    assert_eq!(reasons(&remembered, &remove(99)), [Reason::ListUncertain]);
}

#[test]
fn a_dead_member_is_replaced_and_nobody_is_added_while_one_is_away() {
    let facts = cluster(&[Well, Well, Down], &[], Some(1));
    assert_eq!(reasons(&facts, &add(9)), [Reason::AnotherIsNotWell]);
    assert_eq!(outlook(&facts, &remove(3)), (false, 2, 2, 0));
    assert_eq!(outlook(&facts, &replace(3)), (false, 2, 2, 0));
    // Taken up again after the removal, and after the addition.
    let removed = cluster(&[Well, Well], &[], Some(1));
    assert_eq!(outlook(&removed, &replace(3)), (false, 2, 2, 0));
    let added = cluster(&[Well, Well], &[Unstarted], Some(1));
    assert_eq!(outlook(&added, &replace(9).with_url(3)), (true, 2, 2, 0));
    assert_eq!(outlook(&added, &add(3)), (true, 2, 2, 0));
    assert_eq!(reasons(&cluster(&[Well; 3], &[], Some(1)), &add(3)), [Reason::PeerUrl]);
    assert_eq!(reasons(&cluster(&[Well; 3], &[Well], Some(1)), &add(9)), [Reason::LearnerInTheWay]);
    assert_eq!(
        reasons(&cluster(&[Well; 3], &[], Some(1)), &Change::AddLearner { peer_urls: vec![] }),
        [Reason::PeerUrl]
    );
}

trait WithUrl {
    fn with_url(self, number: u64) -> Self;
}

impl WithUrl for Change {
    /// A replacement whose new member lives elsewhere.
    fn with_url(self, number: u64) -> Self {
        match self {
            Self::Replace { member, machine, .. } => {
                Self::Replace { member, machine, peer_urls: vec![peer_url(number)] }
            }
            other => other,
        }
    }
}

#[test]
fn a_slow_learner_is_told_from_one_that_never_started() {
    let learner = |health| cluster(&[Well; 3], &[health], Some(1));
    assert_eq!(outlook(&learner(Well), &promote(4)), (false, 4, 4, 1));
    assert_eq!(reasons(&learner(Behind), &promote(4)), [Reason::NotCaughtUp]);
    assert_eq!(reasons(&learner(Unstarted), &promote(4)), [Reason::NeverStarted]);
    assert_eq!(reasons(&learner(Silent), &promote(4)), [Reason::NotWell]);
    assert_eq!(outlook(&learner(Well), &promote(1)), (true, 3, 3, 1));
    assert_eq!(reasons(&learner(Well), &promote(9)), [Reason::NoSuchMember]);
    assert_eq!(reasons(&learner(Well), &stop(2)), [Reason::LearnerInTheWay]);
    assert_eq!(outlook(&learner(Unstarted), &remove(4)), (false, 3, 3, 1));
    assert_eq!(reasons(&learner(Well), &lead(4)), [Reason::HasNoVote]);
    // A learner without a linearizable read, as every learner.
    assert_eq!(outlook(&learner(CannotRead), &promote(4)), (false, 4, 4, 1));
    // A young cluster: few entries, and yet not nine tenths of them.
    let mut young = learner(Well);
    for (id, sight) in &mut young.sights {
        if let Sight::Answers(answer) = sight {
            (answer.raft_index, answer.applied_index) = if id.0 == 4 { (100, 89) } else { (100, 100) };
        }
    }
    assert_eq!(reasons(&young, &promote(4)), [Reason::NotCaughtUp]);
}

#[test]
fn alarms_stop_everything_but_their_cure() {
    let alarmed = |kind, member: Option<u64>| EtcdFacts {
        alarms: vec![Alarm { member: member.map(MemberId), kind }],
        ..cluster(&[Well; 3], &[], Some(1))
    };
    let full = alarmed(AlarmKind::NoSpace, Some(2));
    for change in [stop(2), add(9)] {
        assert_eq!(reasons(&full, &change), [Reason::Alarm], "{change:?}");
    }
    // Leadership moves before the leader is defragmented, and a dead member may go.
    assert!(decide(&full, &lead(2)).is_safe() && decide(&full, &remove(2)).is_safe());

    let corrupt = alarmed(AlarmKind::Corrupt, Some(3));
    assert_eq!(reasons(&corrupt, &add(9)), [Reason::AnotherIsNotWell, Reason::Alarm]);
    assert_eq!(reasons(&corrupt, &remove(2)), [Reason::LosesQuorum, Reason::Alarm]);
    assert_eq!(reasons(&corrupt, &lead(3)), [Reason::NotWell]);
    assert_eq!(outlook(&corrupt, &replace(3)), (false, 2, 2, 0));
    // Who has left took the damage along; etcd keeps the alarm.
    let left = alarmed(AlarmKind::Corrupt, Some(77));
    assert!(decide(&left, &add(9)).is_safe());
    assert_eq!(reasons(&left, &stop(2)), [Reason::Alarm]);
    let unknown = alarmed(AlarmKind::Corrupt, None);
    for change in [stop(3), add(9), remove(3), replace(3)] {
        assert!(reasons(&unknown, &change).contains(&Reason::Alarm), "{change:?}");
    }
}

#[test]
fn one_who_follows_another_leader_or_another_list_is_not_well() {
    let mut facts = cluster(&[Well; 5], &[], Some(1));
    let answer = |facts: &mut EtcdFacts, number: u64, change: &dyn Fn(&mut Answer)| {
        let Some(Sight::Answers(answer)) = facts.sights.get_mut(&MemberId(number)) else { panic!("{number}") };
        change(answer);
    };
    answer(&mut facts, 5, &|answer| answer.learner = true);
    assert_eq!(View::of(&facts).well(), 4);
    answer(&mut facts, 4, &|answer| (answer.term, answer.leader) = (8, Some(MemberId(4))));
    let view = View::of(&facts);
    assert_eq!((view.leader(), view.well()), (Some(MemberId(4)), 1), "the newest term counts");
    answer(&mut facts, 4, &|answer| answer.term = 7);
    assert_eq!(View::of(&facts).leader(), None, "two leaders in one term: an observation while it moved");
}

#[test]
fn members_two_minors_apart_let_nobody_in() {
    let mut facts = cluster(&[Well; 3], &[], Some(1));
    let versions = ["3.6.6", "3.5.30", "3.4.45"];
    let set = |facts: &mut EtcdFacts, newest: usize| {
        for (sight, version) in facts.sights.values_mut().zip(versions.iter().take(newest).cycle()) {
            let Sight::Answers(answer) = sight else { panic!("all answer") };
            answer.version = (*version).to_owned();
        }
    };
    set(&mut facts, 2);
    assert!(decide(&facts, &add(9)).is_safe(), "an upgrade is under way");
    set(&mut facts, 3);
    assert_eq!(
        sentences(&facts, &add(9))[0],
        "members run etcd 3.4 and 3.6; upgrade one minor at a time, all members each time"
    );
    assert!(decide(&facts, &stop(2)).is_safe());
}

#[test]
fn verdicts_survive_json() {
    for change in [stop(1), replace(3), add(9), lead(2)] {
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change, "{text}");
        let verdict = decide(&cluster(&[Well, Well, Down], &[], Some(1)), &change);
        let text = serde_json::to_string(&verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict, "{text}");
    }
}

/// Every choice of so many kinds of health. Their order is of no account: members differ by nothing but their names, and every
/// one of them leads once.
fn healths(kinds: &[Health], members: usize) -> Vec<Vec<Health>> {
    let longer = |lists: Vec<(usize, Vec<Health>)>| -> Vec<(usize, Vec<Health>)> {
        let grown = lists.iter().flat_map(|(least, list)| {
            let next = |kind: usize| (kind, [list.as_slice(), &[kinds[kind]]].concat());
            (*least..kinds.len()).map(next).collect::<Vec<_>>()
        });
        grown.collect()
    };
    (0..members).fold(vec![(0, Vec::new())], |lists, _| longer(lists)).into_iter().map(|(_, list)| list).collect()
}

/// Takes a cluster: its voters, its learners, and what was seen of them.
type Visit<'a> = &'a mut dyn FnMut(&[Health], &[Health], &EtcdFacts);

/// Every cluster of 1 to 5 voters with up to two learners, each with every leader and none.
fn every_cluster(visit: Visit<'_>) {
    for voters in 1..=5 {
        // All kinds of four and five members would take minutes, and these five stand for the others.
        let kinds: &[Health] = if voters <= 3 { &ALL } else { &KINDS };
        for healths in healths(kinds, voters) {
            for learners in [&[][..], &[Well], &[Behind], &[Unstarted], &[Unseen], &[Well, Well]] {
                for leader in (0..=voters as u64).map(|number| (number > 0).then_some(number)) {
                    visit(&healths, learners, &cluster(&healths, learners, leader));
                }
            }
        }
    }
}

fn every_change(members: usize, visit: &mut dyn FnMut(&Change)) {
    for number in 1..=members as u64 + 1 {
        for change in [stop(number), promote(number), remove(number), bury(number), replace(number), lead(number)] {
            visit(&change);
        }
    }
    visit(&add(99));
}

/// The members once a change is done, with how each may be at worst: only who is seen to be well is alive.
struct Worst {
    voters: BTreeSet<u64>,
    alive: BTreeSet<u64>,
}

impl Worst {
    fn of(voters: &[Health], learners: &[Health]) -> Self {
        let alive = |(number, health): (u64, &Health)| (*health == Well).then_some(number);
        let all = voters.iter().chain(learners);
        Self { voters: (1..=voters.len() as u64).collect(), alive: (1..).zip(all).filter_map(alive).collect() }
    }

    fn decides(&self) -> bool {
        self.voters.intersection(&self.alive).count() >= majority(self.voters.len()) && !self.voters.is_empty()
    }

    /// Carries the change out; every step of it has to be decided by the members of that moment.
    fn after(mut self, change: &Change) -> Self {
        match change {
            Change::Stop { member } => drop(self.alive.remove(&member.0)),
            Change::Promote { member } => drop(self.voters.insert(member.0)),
            Change::Remove { member, .. } | Change::Replace { member, .. } => {
                self.voters.remove(&member.0);
                self.alive.remove(&member.0);
            }
            Change::AddLearner { .. } | Change::MoveLeader { .. } => {}
        }
        self
    }
}

#[test]
fn no_safe_change_of_any_small_cluster_ends_without_quorum_or_is_refused_by_etcd() {
    let (mut clusters, mut asked, mut safe) = (0_usize, 0_usize, 0_usize);
    every_cluster(&mut |voters, learners, facts| {
        clusters += 1;
        every_change(voters.len() + learners.len(), &mut |change| {
            asked += 1;
            let verdict = decide(facts, change);
            let Verdict::Safe(outlook) = &verdict else {
                assert!(!verdict.obstacles().is_empty(), "{voters:?} {learners:?} {change:?}");
                return;
            };
            safe += 1;
            let before = Worst::of(voters, learners);
            assert!(before.decides(), "decided without a majority: {voters:?} {learners:?} {change:?}");
            let after = if outlook.done { before } else { before.after(change) };
            assert!(after.decides(), "quorum lost: {voters:?} {learners:?} {change:?}");
            assert_eq!(outlook.voters, after.voters.len(), "{voters:?} {learners:?} {change:?}");
            assert_eq!(outlook.well, after.voters.intersection(&after.alive).count(), "{voters:?} {change:?}");
            assert_eq!(outlook.may_lose, outlook.well - majority(outlook.voters));
            for doubtful_connected in [false, true] {
                assert!(
                    outlook.done || etcd_accepts(voters, learners, change, doubtful_connected),
                    "etcd refuses: {voters:?} {learners:?} {change:?}, those in doubt connected: {doubtful_connected}"
                );
            }
        });
    });
    println!("{clusters} clusters, {asked} questions, {safe} safe");
    assert!(safe > asked / 100, "only {safe} of {asked} are safe: the procedure refuses too much");
}

/// etcd's own check (`mayAddMember`, `mayPromoteMember`, `mayRemoveMember` of etcd 3.5 and 3.6), where a member that is not
/// seen to be well may or may not be connected.
fn etcd_accepts(voters: &[Health], learners: &[Health], change: &Change, doubtful_connected: bool) -> bool {
    let count = voters.len();
    let connected = |health: &Health| *health == Well || (doubtful_connected && !matches!(health, Down | Unstarted));
    let started = |health: &&Health| **health != Unstarted;
    let of = |id: &MemberId| usize::try_from(id.0).unwrap() - 1;
    let may_remove = |index: usize| {
        let Some(health) = voters.get(index) else { return true };
        let mut others = voters.to_vec();
        others.remove(index);
        let ready = others.iter().filter(started).count() >= majority(count - 1) && count > 1;
        let active = voters.iter().filter(|health| connected(health)).count();
        ready && (!connected(health) || active > (count - 1) / 2 + 1)
    };
    match change {
        Change::AddLearner { .. } => voters.iter().all(connected) && learners.is_empty(),
        Change::Promote { member } if of(member) >= count => {
            voters.iter().filter(started).count() + 1 >= majority(count + 1) && learners[of(member) - count] == Well
        }
        Change::Remove { member, .. } => may_remove(of(member)),
        Change::Replace { member, .. } => {
            let (mut voters, mut learners) = (voters.to_vec(), learners.to_vec());
            let index = of(member);
            let removed = may_remove(index);
            if index < count {
                voters.remove(index);
            } else if index < count + learners.len() {
                learners.remove(index - count);
            }
            removed && voters.iter().all(connected) && learners.is_empty()
        }
        Change::Stop { .. } | Change::Promote { .. } | Change::MoveLeader { .. } => true,
    }
}

#[test]
fn whoever_is_in_doubt_makes_no_answer_safer() {
    every_cluster(&mut |voters, learners, facts| {
        for index in 0..voters.len() {
            if voters[index] != Well {
                continue;
            }
            let mut doubted = facts.clone();
            doubted.sights.insert(MemberId(index as u64 + 1), Sight::Unseen { why: "no ssh".to_owned() });
            every_change(voters.len() + learners.len(), &mut |change| {
                // About the doubted member itself less is asked: who is ill may be stopped to mend it.
                let itself = matches!(change, Change::Stop { member } | Change::Remove { member, .. } | Change::Replace { member, .. } if member.0 == index as u64 + 1);
                if !itself && decide(&doubted, change).is_safe() {
                    assert!(
                        decide(facts, change).is_safe(),
                        "{voters:?} {learners:?} {change:?} without {}",
                        index + 1
                    );
                }
            });
        }
    });
}

#[test]
fn a_cluster_in_good_health_refuses_nothing_that_it_can_bear() {
    for voters in 3..=5 {
        let facts = cluster(&vec![Well; voters], &[], Some(1));
        for number in 2..=voters as u64 {
            for change in [stop(number), remove(number), replace(number), lead(number), add(99)] {
                assert!(decide(&facts, &change).is_safe(), "{voters}: {change:?}");
            }
        }
        let facts = cluster(&vec![Well; voters], &[Well], Some(1));
        assert!(decide(&facts, &promote(voters as u64 + 1)).is_safe());
    }
}
