//! What is said of an etcd cluster, whom a snapshot is taken from, who attests it, and which copies may go.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use jiff::{SignedDuration, Timestamp};
use kubewright_core::etcd::agreement::{Agreement, Contents, agreement, common_revision};
use kubewright_core::etcd::attest::{Attestation, Verdict, attest};
use kubewright_core::etcd::manifest::writes_per_second;
use kubewright_core::etcd::retention::{Copy, expendable};
use kubewright_core::etcd::source::sources;
use kubewright_core::etcd::status::{Certificate, Certificates, CopiesSeen, EtcdStatus, Seen, assess};
use kubewright_core::facts::etcd::{
    Alarm, AlarmKind, Answer, ClusterId, ContentHash, EtcdFacts, Hashes, Listing, Member, MemberId, Sight,
};
use kubewright_core::finding::Severity;
use kubewright_core::quorum::{LAG_LIMIT, majority};
use proptest::prelude::*;

const NEWEST: u64 = 1_000_000;
const REVISION: i64 = 4_711;

/// How a member is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    Behind,
    Leaderless,
    Foreign,
    Down,
    Silent,
    Unseen,
}

use Health::{Behind, Down, Foreign, Leaderless, Silent, Unseen, Well};

const ALL: [Health; 7] = [Well, Behind, Leaderless, Foreign, Down, Silent, Unseen];

fn answer(number: u64, health: Health) -> Sight {
    let mut answer = Answer {
        at: Timestamp::UNIX_EPOCH,
        cluster: ClusterId(1),
        leader: Some(MemberId(1)),
        term: 7,
        revision: REVISION,
        raft_index: NEWEST,
        applied_index: NEWEST,
        db_bytes: 20 << 20,
        db_used_bytes: 15 << 20,
        quota_bytes: Some(2 << 30),
        version: "3.6.6".to_owned(),
        learner: false,
        read_failed: None,
        errors: Vec::new(),
    };
    let why = || "seen".to_owned();
    match health {
        Well => {}
        Behind => {
            answer.applied_index = NEWEST - LAG_LIMIT - number;
            answer.revision = 12;
        }
        Leaderless => {
            answer.leader = None;
            answer.read_failed = Some(why());
        }
        Foreign => answer.cluster = ClusterId(2),
        Down => return Sight::Down { why: why() },
        Silent => return Sight::Silent { why: why() },
        Unseen => return Sight::Unseen { why: why() },
    }
    Sight::Answers(Box::new(answer))
}

/// Members 1, 2, … named `cp1`, `cp2`, … on hosts of that name, 1 leading; the last `learners` of them without a vote.
fn cluster(healths: &[Health], learners: usize) -> EtcdFacts {
    let numbered = || (1_u64..).zip(healths);
    let name = |number: u64| format!("cp{number}");
    let member = |number: u64| Member {
        id: MemberId(number),
        name: name(number),
        peer_urls: vec![format!("https://10.0.0.{number}:2380")],
        client_urls: vec![format!("https://10.0.0.{number}:2379")],
        learner: number as usize > healths.len() - learners,
    };
    let mut facts = EtcdFacts {
        cluster: ClusterId(1),
        listing: Listing::Agreed,
        members: numbered().map(|(number, _)| member(number)).collect(),
        sights: numbered().map(|(number, health)| (MemberId(number), answer(number, *health))).collect(),
        hosts: numbered().map(|(number, _)| (MemberId(number), name(number).as_str().into())).collect(),
        alarms: Vec::new(),
        elsewhere: BTreeMap::new(),
    };
    for member in facts.members.iter().filter(|member| member.learner) {
        if let Some(Sight::Answers(answer)) = facts.sights.get_mut(&member.id) {
            answer.learner = true;
        }
    }
    facts
}

fn hash(hash: u32) -> ContentHash {
    ContentHash { revision: REVISION, compact_revision: 100, hash }
}

fn says(hashes: &[u32]) -> Hashes {
    (1..).map(MemberId).zip(hashes.iter().map(|number| Ok(hash(*number)))).collect()
}

fn now() -> Timestamp {
    "2026-11-20T23:00:00Z".parse().unwrap()
}

fn status_with(facts: &EtcdFacts, agreement: Option<&Agreement>, certificates: &Certificates) -> EtcdStatus {
    assess(&Seen { cluster: "lab", file: "lab.yaml", facts, agreement, certificates, copies: None, now: now() })
}

fn status(facts: &EtcdFacts, hashes: &[u32]) -> EtcdStatus {
    let agreed = agreement(facts, REVISION, &says(hashes));
    status_with(facts, Some(&agreed), &BTreeMap::new())
}

fn codes(status: &EtcdStatus) -> Vec<&str> {
    status.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn a_cluster_in_order_has_nothing_to_do() {
    let status = status(&cluster(&[Well; 3], 0), &[5, 5, 5]);
    assert_eq!((status.voters, status.well, status.may_lose, status.decides), (3, 3, 1, true));
    assert_eq!((codes(&status), status.is_broken(), status.contents_proved), (vec![], false, true));
    assert_eq!((status.next.command, status.next.why.as_str()), (None, "nothing has to be done"));
    let stoppable: Vec<bool> = status.members.iter().map(|member| member.not_to_be_stopped.is_empty()).collect();
    assert_eq!(stoppable, [false, true, true], "the leader hands over first");
}

#[test]
fn a_silently_damaged_member_is_named_whatever_its_health() {
    let facts = cluster(&[Well; 3], 0);
    let status = status(&facts, &[5, 6, 5]);
    assert_eq!(codes(&status), ["MEMB002"]);
    assert!(status.is_broken());
    assert_eq!((status.well, status.may_lose), (3, 0), "a damaged member is no reserve");
    let stoppable: Vec<bool> = status.members.iter().map(|member| member.not_to_be_stopped.is_empty()).collect();
    assert_eq!(stoppable, [false, true, false], "what is left must be right");
    assert_eq!(status.findings[0].subject, kubewright_core::finding::Subject::Host("cp2".into()));
    assert_eq!(status.next.command.as_deref(), Some("kubewright etcd snapshot -f lab.yaml"));
    assert!(status.next.why.ends_with("kubewright etcd member replace cp2 -f lab.yaml"), "{}", status.next.why);
}

#[test]
fn without_a_majority_nobody_is_accused() {
    let facts = cluster(&[Well, Well, Down], 0);
    let mut answers = says(&[5, 6]);
    answers.insert(MemberId(3), Err("down".to_owned()));
    let agreed = agreement(&facts, REVISION, &answers);
    assert_eq!(agreed.with(&Contents::Disputed), [MemberId(1), MemberId(2)]);
    let told = status_with(&facts, Some(&agreed), &BTreeMap::new());
    assert_eq!(codes(&told), ["MEMB003", "MEMB003", "MEMB004", "MEMB012"]);
    // Three votes of five are a majority; two against one are none.
    assert!(!agreement(&cluster(&[Well; 5], 0), REVISION, &says(&[5, 5, 6])).proved);
    assert_eq!(
        agreement(&cluster(&[Well; 5], 0), REVISION, &says(&[5, 5, 5, 6])).with(&Contents::Differ),
        [MemberId(4)]
    );
}

#[test]
fn what_was_compacted_elsewhere_is_not_compared() {
    let facts = cluster(&[Well; 3], 0);
    let mut answers = says(&[5, 5, 5]);
    answers.insert(MemberId(3), Ok(ContentHash { compact_revision: 200, ..hash(9) }));
    let agreed = agreement(&facts, REVISION, &answers);
    assert!(matches!(&agreed.members[&MemberId(3)], Contents::Unknown { why } if why.contains("200")), "{agreed:?}");
    assert!(agreed.proved && agreed.is_worth_another_try(&answers));
    answers.insert(MemberId(2), Ok(ContentHash { compact_revision: 300, ..hash(9) }));
    let agreed = agreement(&facts, REVISION, &answers);
    assert!(!agreed.proved && agreed.members.values().all(|known| matches!(known, Contents::Unknown { .. })));
}

#[test]
fn the_revision_to_compare_at_is_one_that_all_have_who_keep_up() {
    assert_eq!(common_revision(&cluster(&[Well, Well, Behind], 0)), Some(REVISION), "12 may be compacted");
    assert_eq!(common_revision(&cluster(&[Leaderless, Behind, Down], 0)), Some(12), "nobody keeps up");
    assert_eq!(common_revision(&cluster(&[Down, Silent, Foreign], 0)), None);
}

#[test]
fn what_is_lost_decides_what_is_next() {
    let next = |healths: &[Health]| status(&cluster(healths, 0), &[]).next;
    let told = next(&[Well, Well, Down]);
    assert_eq!(told.command.as_deref(), Some("kubewright etcd logs cp3 -f lab.yaml"));
    let told = next(&[Well, Well, Unseen]);
    assert_eq!(told.command.as_deref(), Some("kubewright status -f lab.yaml"));
    assert!(told.why.contains("may be alive"), "{}", told.why);
    let told = next(&[Leaderless, Down, Silent]);
    assert_eq!(told.command.as_deref(), Some("kubewright etcd snapshot -f lab.yaml"));
    assert!(told.why.contains("best survivor") && told.why.ends_with("bring back cp1, cp2, cp3"), "{}", told.why);
    let broken = status(&cluster(&[Leaderless, Down, Silent], 0), &[]);
    assert_eq!((broken.decides, broken.may_lose, broken.is_broken()), (false, 0, true));
    assert_eq!(codes(&broken), ["MEMB001", "MEMB004", "MEMB004", "MEMB004"]);
}

#[test]
fn alarms_space_and_certificates_are_told() {
    let mut facts = cluster(&[Well; 3], 0);
    facts.alarms = vec![
        Alarm { member: Some(MemberId(2)), kind: AlarmKind::NoSpace },
        Alarm { member: None, kind: AlarmKind::Corrupt },
    ];
    if let Some(Sight::Answers(answer)) = facts.sights.get_mut(&MemberId(2)) {
        (answer.db_bytes, answer.db_used_bytes) = (17 << 27, 1 << 27);
    }
    facts.elsewhere.insert("cp9".into(), Sight::Down { why: "refused".to_owned() });
    let certificate = |days: i64| Certificate {
        path: format!("server-{days}.crt"),
        expires: now() + SignedDuration::from_hours(days * 24 + 1),
    };
    let certificates = BTreeMap::from([
        ("cp1".into(), Ok(vec![certificate(29), certificate(30), certificate(365)])),
        ("cp2".into(), Ok(vec![certificate(-1)])),
        ("cp3".into(), Err("no ssh".to_owned())),
    ]);
    let agreed = agreement(&facts, REVISION, &says(&[5, 5, 5]));
    let told = status_with(&facts, Some(&agreed), &certificates);
    assert_eq!(codes(&told), ["MEMB005", "MEMB005", "MEMB008", "MEMB006", "MEMB008", "MEMB011", "MEMB007", "MEMB009"]);
    assert_eq!(told.members[0].certificate.as_ref().unwrap().path, "server-29.crt");
    assert_eq!(told.findings[4].text, "server-29.crt expires in 29 days (2026-12-20T00:00:00Z)");
    assert!(told.next.why.contains("NOSPACE"), "{:?}", told.next);
}

#[test]
fn a_snapshot_is_taken_from_a_follower_and_from_the_best_survivor() {
    let order =
        |healths: &[Health], learners| sources(&cluster(healths, learners)).iter().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!(order(&[Well; 3], 0), [2, 3, 1]);
    assert_eq!(order(&[Well, Behind, Well, Well], 1), [3, 1, 2, 4]);
    assert_eq!(order(&[Down, Silent, Leaderless, Foreign], 0), [3]);
    let mut facts = cluster(&[Leaderless; 3], 0);
    for (number, (term, applied)) in [(1, (7, 900)), (2, (8, 100)), (3, (8, 200))] {
        if let Some(Sight::Answers(answer)) = facts.sights.get_mut(&MemberId(number)) {
            (answer.term, answer.applied_index) = (term, applied);
        }
    }
    assert_eq!(sources(&facts), [MemberId(3), MemberId(2), MemberId(1)]);
    let mut corrupt = cluster(&[Well; 3], 0);
    corrupt.alarms.push(Alarm { member: Some(MemberId(2)), kind: AlarmKind::Corrupt });
    assert_eq!(sources(&corrupt), [MemberId(3), MemberId(1), MemberId(2)]);
}

fn attested(voters: usize, file: u32, answers: &Hashes) -> Attestation {
    attest(&cluster(&vec![Well; voters], 0), REVISION, &BTreeMap::from([(100, file), (200, 8)]), answers)
}

#[test]
fn a_file_is_proved_by_a_majority_and_by_nothing_less() {
    let told = attested(3, 5, &says(&[5, 6, 5]));
    assert_eq!(
        (told.verdict, told.agree, told.differ),
        (Verdict::Majority, vec![MemberId(1), MemberId(3)], vec![MemberId(2)])
    );
    assert_eq!(attested(3, 6, &says(&[5, 6, 5])).verdict, Verdict::Contradicted);
    assert_eq!(attested(3, 5, &says(&[5])).verdict, Verdict::Part);
    assert_eq!(attested(3, 5, &says(&[5, 6])).verdict, Verdict::Disputed);
    assert_eq!(attested(1, 5, &says(&[5])).verdict, Verdict::Majority);
    assert_eq!(attested(3, 5, &Hashes::new()).verdict, Verdict::Part);
    // One of them has compacted since, and the file was hashed as if it had too.
    let mut answers = says(&[5, 5, 5]);
    answers.insert(MemberId(1), Ok(ContentHash { compact_revision: 200, ..hash(8) }));
    answers.insert(MemberId(2), Ok(ContentHash { compact_revision: 50, ..hash(5) }));
    let told = attested(3, 5, &answers);
    assert_eq!((told.verdict, told.agree), (Verdict::Majority, vec![MemberId(1), MemberId(3)]));
    assert!(told.unknown[&MemberId(2)].contains("revision 50"), "{:?}", told.unknown);
}

#[test]
fn learners_attest_nothing() {
    let facts = cluster(&[Well; 4], 2);
    let told = attest(&facts, REVISION, &BTreeMap::from([(100, 5)]), &says(&[5, 6, 5, 5]));
    assert_eq!((told.verdict, told.voters), (Verdict::Disputed, 2));
    assert!(!agreement(&facts, REVISION, &says(&[5, 6, 5, 5])).proved);
}

#[test]
fn revisions_a_second_are_told_where_they_say_something() {
    let at = |seconds| now() + SignedDuration::from_secs(seconds);
    assert_eq!(writes_per_second((at(0), 100), (at(50), 600)), Some(10.0));
    assert_eq!(writes_per_second((at(0), 100), (at(50), 99)), None, "turned back by a restore");
    assert_eq!(writes_per_second((at(0), 100), (at(0), 200)), None);
}

fn copies() -> impl Strategy<Value = Vec<Copy>> {
    prop::collection::vec((0_i64..50, any::<bool>()), 0..30).prop_map(|all| {
        (0..)
            .zip(all)
            .map(|(number, (hour, verified))| Copy {
                name: format!("copy-{number:02}"),
                taken: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour),
                verified,
            })
            .collect()
    })
}

fn healths() -> impl Strategy<Value = (Vec<Health>, usize)> {
    prop::collection::vec(prop::sample::select(ALL.to_vec()), 1..7)
        .prop_flat_map(|healths| (Just(healths.clone()), 0..healths.len().min(2)))
}

proptest! {
    /// The last verified copy stays whatever is kept; the newest stays; nothing goes that need not.
    #[test]
    fn retention_keeps_what_is_proved(copies in copies(), keep in 1_usize..6) {
        let gone: BTreeSet<String> = expendable(&copies, NonZeroUsize::new(keep).unwrap()).into_iter().collect();
        let stays = |copy: &&Copy| !gone.contains(&copy.name);
        let newest = |copy: &&Copy| (copy.taken, copy.name.clone());
        let verified = || copies.iter().filter(|copy| copy.verified);
        prop_assert!(verified().max_by_key(newest).iter().all(stays), "the last verified copy went");
        prop_assert!(verified().filter(stays).count() >= verified().count().min(keep));
        prop_assert!(copies.iter().max_by_key(newest).iter().all(stays), "the newest went");
        let left = copies.len() - gone.len();
        prop_assert!(left >= copies.len().min(keep) && left <= 2 * keep);
        for copy in copies.iter().filter(|copy| gone.contains(&copy.name)) {
            prop_assert!(copies.iter().filter(stays).filter(|other| newest(other) > newest(&copy)).count() >= keep);
            prop_assert!(!copy.verified || verified().filter(stays).all(|other| newest(&other) > newest(&copy)));
        }
        // Again finds nothing more.
        let rest: Vec<Copy> = copies.iter().filter(stays).cloned().collect();
        prop_assert_eq!(expendable(&rest, NonZeroUsize::new(keep).unwrap()), Vec::<String>::new());
    }

    /// Damage of a minority is found whoever it is, and nobody else is accused; order and names do not matter.
    #[test]
    fn a_damaged_minority_is_found_and_nobody_else(voters in 1_usize..8, damaged in prop::collection::btree_set(0_usize..8, 0..8), alike in any::<bool>()) {
        let damaged: BTreeSet<usize> = damaged.into_iter().filter(|member| *member < voters).collect();
        let hashes: Vec<u32> = (0..voters).map(|member| match damaged.contains(&member) {
            true if alike => 99,
            true => 100 + member as u32,
            false => 5,
        }).collect();
        let facts = cluster(&vec![Well; voters], 0);
        let agreed = agreement(&facts, REVISION, &says(&hashes));
        let ids = |members: &BTreeSet<usize>| members.iter().map(|member| MemberId(*member as u64 + 1)).collect::<Vec<_>>();
        if voters - damaged.len() >= majority(voters) {
            prop_assert_eq!(agreed.with(&Contents::Differ), ids(&damaged));
            prop_assert!(agreed.proved);
        } else if damaged.len() < majority(voters) || (!alike && voters > 1) {
            prop_assert_eq!(agreed.with(&Contents::Differ), vec![]);
            prop_assert!(!agreed.proved);
        }
        // A file of any of them gets the verdict that its member gets.
        for (index, file) in hashes.iter().enumerate() {
            let told = attested(voters, *file, &says(&hashes));
            let known = &agreed.members[&MemberId(index as u64 + 1)];
            prop_assert_eq!(told.is_proved(), agreed.proved && *known == Contents::Agree);
            prop_assert_eq!(told.verdict == Verdict::Contradicted, *known == Contents::Differ);
        }
    }

    /// Whoever answers is listed once, nobody else is, and the leader only comes first where no follower is well.
    #[test]
    fn sources_are_those_that_answer((healths, learners) in healths()) {
        let facts = cluster(&healths, learners);
        let order = sources(&facts);
        let mut listed = order.clone();
        listed.sort();
        let able: Vec<MemberId> = (1..).zip(&healths).filter(|(_, health)| matches!(health, Well | Behind | Leaderless)).map(|(number, _)| MemberId(number)).collect();
        prop_assert_eq!(listed, able);
        let view = kubewright_core::quorum::View::of(&facts);
        let well_follower = facts.voters().any(|member| view.leader() != Some(member.id) && view.standing(member.id).unwrap().is_well());
        if well_follower {
            let first = order[0];
            prop_assert!(view.standing(first).unwrap().is_well() && view.leader() != Some(first));
        }
    }

    /// Nothing is called in order that is not: no majority always blocks, and every advice to act names a command that only
    /// reads.
    #[test]
    fn a_status_never_calms_without_reason((healths, learners) in healths(), hashes in prop::collection::vec(5_u32..7, 0..7)) {
        let facts = cluster(&healths, learners);
        let told = status(&facts, &hashes);
        let well = (1..).zip(&healths).filter(|(number, health)| **health == Well && facts.voters().any(|member| member.id.0 == *number)).count();
        if well < majority(told.voters) {
            prop_assert!(told.is_broken() && !told.decides && told.may_lose == 0);
        }
        if told.findings.is_empty() {
            prop_assert!(told.next.command.is_none() && told.decides && told.contents_proved && told.well == told.voters);
        }
        if let Some(command) = &told.next.command {
            let reads = ["kubewright etcd snapshot ", "kubewright etcd logs ", "kubewright status "];
            prop_assert!(reads.iter().any(|read| command.starts_with(read)), "{}", command);
        }
        prop_assert!(told.findings.windows(2).all(|pair| pair[0].severity <= pair[1].severity));
        prop_assert!(told.findings.iter().all(|finding| finding.severity != Severity::NeedsConsent));
    }
}

#[test]
fn the_last_copy_that_can_be_relied_on_is_known() {
    let copy = |hour: i64, verified| Copy {
        name: format!("at-{hour}"),
        taken: now() - SignedDuration::from_hours(hour),
        verified,
    };
    let seen = CopiesSeen::of("s3://lab".to_owned(), Ok(&[copy(9, true), copy(1, false), copy(4, true)]));
    assert_eq!((seen.count, seen.last), (3, Some(now() - SignedDuration::from_hours(1))));
    assert_eq!(seen.last_verified, Some(now() - SignedDuration::from_hours(4)));
    let none = CopiesSeen::of("s3://lab".to_owned(), Ok(&[]));
    assert_eq!((none.count, none.last, none.last_verified, none.unreadable), (0, None, None, None));
    let away = CopiesSeen::of("s3://lab".to_owned(), Err("no answer".to_owned()));
    assert_eq!(away.unreadable.as_deref(), Some("no answer"));
}
