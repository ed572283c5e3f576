//! Copies of etcd that are proved: taken from the best member, hashed on the way, read through page by page, held against the other
//! members, and only then given a name. What is not whole or not what the cluster holds is never left behind.
//!
//! [`companions`] gathers what is kept beside the snapshot, [`sealing`] encrypts the keys among it, [`reading`] opens any snapshot wherever
//! it is, [`live`] what the cluster holds now; which member, who attests and which copies may go is decided by `core::etcd`.

pub mod companions;
pub mod live;
mod packing;
mod prove;
pub mod reading;
mod receive;
pub mod sealing;

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;

use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::etcd::attest::{Attestation, Verdict};
use kubewright_core::etcd::manifest::{self, FileFacts, Manifest, Source};
use kubewright_core::etcd::retention::expendable;
use kubewright_core::etcd::source::sources;
use kubewright_core::facts::etcd::{Answer, EtcdFacts, Member, MemberId, Sight};
use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::ids::HostName;
use kubewright_core::plan::hex;
use kubewright_core::quorum::View;
use kubewright_core::spec::Compression;
use kubewright_snapshot::{Fault, Report};

use self::companions::Companions;
use self::prove::Checked;
use self::receive::Broken;
use crate::error::{Error, ErrorKind};
use crate::ports::{Clock, EtcdApi};
use crate::store::copies::{Copies, CopiesError, CopiesFault, SNAPSHOT, Taking};

/// Room that is left over when a database fits: papers, and what it grows while it is read, in hundredths of its size.
const GROWTH: u64 = 5;
const PAPERS: u64 = 16 << 20;

/// A member whose contents are not those of a majority.
const DAMAGED: &str = "SAVE001";

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// Its etcd.
    pub etcd: &'a dyn EtcdApi,
    /// The host whose member it must be from; the best one where none is named.
    pub from: Option<&'a HostName>,
    /// Where copies go.
    pub copies: &'a Copies,
    /// How the snapshot is packed.
    pub compress: Compression,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Told as it goes on.
    pub progress: &'a (dyn Fn(&Doing) + Sync),
}

/// What is being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It comes.
    Receiving {
        /// From whom.
        from: HostName,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        all: u64,
    },
    /// Its pages are read.
    Checking,
    /// Members are asked whether they hold the same.
    Attesting,
    /// It is packed.
    Packing {
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        all: u64,
    },
    /// It goes to a bucket.
    Sending {
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        all: u64,
    },
    /// Something that a person should know at once.
    Remark(String),
}

/// A copy that was taken.
#[derive(Debug)]
pub struct Taken {
    /// Its papers.
    pub manifest: Manifest,
    /// Where it is.
    pub place: StoreAddress,
    /// What is worth knowing.
    pub findings: Vec<Finding>,
}

/// One file that is whole, and who stands behind it.
struct Candidate {
    taking: Taking,
    file: FileFacts,
    report: Box<Report>,
    attestation: Attestation,
    taken: jiff::Timestamp,
}

/// Why a member gave no copy.
enum Failed {
    /// It, or the way to it; another may.
    Member(String),
    /// Our own disk: nobody else can help.
    Ours(Error),
}

/// Takes a copy. `beside` is what is kept with it, gathered at the same time.
///
/// # Errors
/// Where no member gives one that is whole, or it cannot be written. Nothing is left then, and earlier copies are as they were.
pub async fn take(
    order: Order<'_>,
    facts: &EtcdFacts,
    beside: impl Future<Output = Companions>,
) -> Result<Taken, Error> {
    let (candidate, beside) = tokio::join!(find(order, facts), beside);
    let (mut candidate, member, mut findings) = candidate?;
    // Whose copy was thrown away has been named.
    let named = findings.iter().any(|finding| finding.code == DAMAGED);
    findings.extend(about(facts, &candidate, member).into_iter().filter(|finding| !(named && finding.code == DAMAGED)));
    for missing in &beside.missing {
        let text = format!("not kept beside it: {missing}");
        findings.push(Finding::new(Severity::Info, "SAVE005", Subject::Cluster, text));
    }
    for missing in &beside.keys_missing {
        let text = format!("its keys are not complete: {missing}");
        let hint = "onto new machines it can be restored only with all of them: keep what is missing elsewhere";
        findings.push(Finding::new(Severity::Warns, "SAVE009", Subject::Cluster, text).hint(hint));
    }
    if order.compress == Compression::Zstd {
        let told = |done, all| (order.progress)(&Doing::Packing { done, all });
        let packed = packing::pack(&candidate.taking, &candidate.file, &told).await;
        candidate.file = packed.map_err(|error| store(&CopiesError::io(order.copies.workbench(), &error)))?;
    }
    let manifest = papers(order, facts, &candidate, member, &beside).await;
    for (name, contents) in &beside.files {
        candidate.taking.put(name, contents).map_err(|error| store(&error))?;
    }
    let told = |done, all| (order.progress)(&Doing::Sending { done, all });
    let place = match order.copies.keep(candidate.taking, &manifest, &told).await {
        Ok(place) => place,
        Err(error) => {
            let left = order.copies.give_up().await;
            return Err(match left {
                None => store(&error),
                Some(left) => store(&error).safe(format!(
                    "what was sent of it could not all be taken back ({left}); it has no manifest and counts as no copy"
                )),
            });
        }
    };
    findings.sort_by_key(|finding| finding.severity);
    Ok(Taken { manifest, place, findings })
}

/// The first member, best first, whose copy is whole and what the cluster holds.
async fn find<'f>(order: Order<'_>, facts: &'f EtcdFacts) -> Result<(Candidate, &'f Member, Vec<Finding>), Error> {
    let mut waiting = able(order, facts)?;
    let (mut findings, mut failures) = (Vec::new(), Vec::new());
    while let Some(id) = waiting.pop_front() {
        let (Some(member), Some(host), Some(answer)) = (facts.member(id), facts.hosts.get(&id), answer(facts, id))
        else {
            continue;
        };
        match one(order, facts, host, answer).await {
            Ok(candidate) if candidate.attestation.verdict != Verdict::Contradicted => {
                return Ok((candidate, member, findings));
            }
            Ok(candidate) => {
                let text = format!(
                    "its member of etcd is damaged: at revision {} it holds other content than {}; its copy was thrown away",
                    candidate.attestation.revision,
                    names(facts, &candidate.attestation.differ),
                );
                (order.progress)(&Doing::Remark(format!("{host}: {text}")));
                failures.push(format!("{host}: {text}"));
                let hint = "replace the member; kubewright etcd status tells who holds what";
                findings.push(Finding::new(Severity::Warns, DAMAGED, Subject::Host(host.clone()), text).hint(hint));
                waiting.retain(|other| candidate.attestation.differ.contains(other));
            }
            Err(Failed::Ours(error)) => return Err(error),
            Err(Failed::Member(why)) => {
                (order.progress)(&Doing::Remark(format!("{host}: {why}")));
                failures.push(format!("{host}: {why}"));
                findings.push(Finding::new(Severity::Warns, "SAVE004", Subject::Host(host.clone()), why));
            }
        }
    }
    let mut error = Error::new(ErrorKind::Failed, "SAVE", "no member gave a snapshot that can be relied on");
    error = error
        .lines(failures.iter().map(String::as_str))
        .safe("nothing was changed in the cluster; no half copy was left");
    Err(error.next("see how the members are: kubewright etcd status"))
}

/// Whom to ask, best first.
fn able(order: Order<'_>, facts: &EtcdFacts) -> Result<VecDeque<MemberId>, Error> {
    let all = sources(facts);
    let Some(from) = order.from else { return Ok(all.into()) };
    let on = |id: &MemberId| facts.hosts.get(id) == Some(from);
    match all.into_iter().find(on) {
        Some(id) => Ok([id].into()),
        None => {
            let text = match facts.member_on(from).and_then(|member| View::of(facts).standing(member.id).cloned()) {
                Some(standing) => format!("the member on {from} {standing}"),
                None => format!("{from} has no member of etcd"),
            };
            Err(Error::new(ErrorKind::Blocked, "SAVE", text).next("leave out --from: the best member is chosen"))
        }
    }
}

fn answer(facts: &EtcdFacts, id: MemberId) -> Option<&Answer> {
    match facts.sights.get(&id) {
        Some(Sight::Answers(answer)) => Some(answer),
        _ => None,
    }
}

/// One member's copy: received, read through, held against the others.
async fn one(order: Order<'_>, facts: &EtcdFacts, host: &HostName, answer: &Answer) -> Result<Candidate, Failed> {
    let ours = |error: &io::Error| Failed::Ours(store(&CopiesError::io(order.copies.workbench(), error)));
    room(order, answer.db_bytes)?;
    let taking = order.copies.begin().map_err(|error| Failed::Ours(store(&error)))?;
    let path = taking.snapshot();
    let taken = order.clock.now();
    let mut stream = order.etcd.snapshot(host).await.map_err(|error| Failed::Member(error.to_string()))?;
    let told = |done, all| (order.progress)(&Doing::Receiving { from: host.clone(), done, all });
    let received = receive::receive_at(stream.as_mut(), &path, &told).await.map_err(|broken| match broken {
        Broken::Etcd(error) => Failed::Member(error.to_string()),
        Broken::Store(error) => ours(&error),
    })?;
    drop(stream);
    let sha256 = hex(&received.digest.file);
    let file = FileFacts { name: SNAPSHOT.to_owned(), bytes: received.bytes, sha256, unpacked: None };
    (order.progress)(&Doing::Checking);
    let report = match prove::check(&path, received.digest).await.map_err(|error| ours(&error))? {
        Checked::Whole(report) => report,
        Checked::Damaged(why) => return Err(Failed::Member(format!("its snapshot is not whole: {why}"))),
    };
    (order.progress)(&Doing::Attesting);
    let attestation = prove::attest(order.etcd, facts, &path, &report).await.map_err(|error| ours(&error))?;
    Ok(Candidate { taking, file, report, attestation, taken })
}

/// Whether a database of this size fits, before anything of it is read. Packed it is there twice for a while, and nobody knows
/// beforehand how small it becomes.
fn room(order: Order<'_>, bytes: u64) -> Result<(), Failed> {
    let free = order.copies.free().map_err(|error| Failed::Ours(store(&error)))?;
    let times = if order.compress == Compression::Zstd { 2 } else { 1 };
    let needed = times * (bytes + bytes / 100 * GROWTH) + PAPERS;
    if free >= needed {
        return Ok(());
    }
    let text = format!(
        "{} has {} MB free, {} MB are needed",
        order.copies.workbench().display(),
        free / 1_000_000,
        needed / 1_000_000
    );
    let error =
        Error::new(ErrorKind::Blocked, "STORE", text).safe("nothing was written; earlier copies are as they were");
    Err(Failed::Ours(match order.copies.is_bucket() {
        true => error.next("make room there: a copy is made and proved on this machine before it goes to a bucket; XDG_STATE_HOME moves the folder"),
        false => error.next("make room, or name another folder: --to"),
    }))
}

/// A store that does not take what we write.
fn store(error: &CopiesError) -> Error {
    let told = Error::new(ErrorKind::Failed, "STORE", error.to_string())
        .safe("no half copy is left; earlier copies are as they were")
        .hint(error.hint());
    match error.fault {
        CopiesFault::Gone => told.likely("the store was taken away meanwhile, or the way to it"),
        _ => told,
    }
}

/// What is worth knowing of a copy that is kept.
fn about(facts: &EtcdFacts, candidate: &Candidate, member: &Member) -> Vec<Finding> {
    let Attestation { verdict, voters, agree, differ, revision, .. } = &candidate.attestation;
    let mut findings = Vec::new();
    let mut warn = |code: &str, text: String, hint: &str| {
        findings.push(Finding::new(Severity::Warns, code, Subject::Cluster, text).hint(hint));
    };
    match verdict {
        Verdict::Majority if !differ.is_empty() => warn(
            DAMAGED,
            format!(
                "damaged: at revision {revision}, {} holds other content than this copy, which a majority holds",
                names(facts, differ)
            ),
            "replace the member; kubewright etcd status tells who holds what",
        ),
        Verdict::Majority | Verdict::Contradicted => {}
        Verdict::Part => warn(
            "SAVE002",
            format!(
                "no majority attests it: {} of {voters} voters could be compared{}",
                agree.len(),
                if View::of(facts).has_quorum() {
                    ""
                } else {
                    "; etcd has no majority, and this is what the best survivor has"
                },
            ),
            "it counts as unverified; take another once a majority answers",
        ),
        Verdict::Disputed => warn(
            "SAVE003",
            format!("{member} holds other content than {}, and no majority tells who is right", names(facts, differ)),
            "take a copy of the other too, with --from, before anything is changed",
        ),
    }
    for fault in &candidate.report.faults {
        let hint = match fault {
            Fault::Alarmed(_) => "a restore raises it again: mend its cause and disarm it",
            _ => "see kubewright etcd verify",
        };
        warn("SAVE006", format!("in the copy: {fault}"), hint);
    }
    findings
}

fn names(facts: &EtcdFacts, ids: &[MemberId]) -> String {
    let name = |id: &MemberId| facts.member(*id).map_or_else(|| id.to_string(), ToString::to_string);
    ids.iter().map(name).collect::<Vec<_>>().join(", ")
}

async fn papers(
    order: Order<'_>,
    facts: &EtcdFacts,
    candidate: &Candidate,
    member: &Member,
    beside: &Companions,
) -> Manifest {
    let view = View::of(facts);
    let answer = answer(facts, member.id);
    let versions = facts.sights.iter().filter_map(|(id, sight)| match sight {
        Sight::Answers(answer) => Some((*id, answer.version.clone())),
        _ => None,
    });
    let contents = prove::contents(&candidate.report, candidate.attestation.revision);
    Manifest {
        v: manifest::FORMAT,
        cluster: order.cluster.to_owned(),
        cluster_id: facts.cluster,
        taken: candidate.taken,
        kubewright: env!("CARGO_PKG_VERSION").to_owned(),
        from: Source {
            member: member.id,
            name: member.name.clone(),
            host: facts.hosts.get(&member.id).cloned().unwrap_or_else(|| member.name.as_str().into()),
            led: view.leader() == Some(member.id),
            term: answer.map_or(0, |answer| answer.term),
            applied_index: answer.map_or(0, |answer| answer.applied_index),
        },
        with_quorum: view.has_quorum(),
        file: candidate.file.clone(),
        attestation: candidate.attestation.clone(),
        members: facts.members.clone(),
        versions: versions.collect(),
        keys: beside.keys.clone(),
        writes_per_second: rate(order, facts, candidate, contents.revision).await,
        contents,
        companions: beside.files.iter().map(|(name, bytes)| (name.clone(), companions::digest(bytes))).collect(),
        sealed: beside.sealed.clone(),
        missing: [beside.missing.as_slice(), beside.keys_missing.as_slice()].concat(),
    }
}

/// Removes copies that are not needed when so many are to be kept; tells which, and what could not be removed.
///
/// # Errors
/// The folder is gone.
pub async fn prune(copies: &Copies, keep: NonZeroUsize) -> Result<(Vec<String>, Vec<Finding>), Error> {
    let listed = copies.list().await.map_err(|error| store(&error))?;
    let (mut removed, mut findings) = (Vec::new(), Vec::new());
    for name in expendable(&listed.copies(), keep) {
        match copies.remove(&name).await {
            Ok(()) => removed.push(name),
            Err(error) => {
                let text = format!("the old copy {name} could not be removed: {error}");
                findings.push(Finding::new(Severity::Warns, "SAVE007", Subject::Cluster, text));
            }
        }
    }
    for (name, why) in listed.unreadable {
        let text = format!("{name} is no copy, and is never removed: {why}");
        findings.push(
            Finding::new(Severity::Info, "SAVE008", Subject::Cluster, text).hint("look at it, and remove it by hand"),
        );
    }
    Ok((removed, findings))
}

/// Revisions a second since the last copy of this very cluster.
async fn rate(order: Order<'_>, facts: &EtcdFacts, candidate: &Candidate, revision: i64) -> Option<f64> {
    // What cannot be listed is no reason to lose a copy.
    let listed = order.copies.list().await.unwrap_or_default();
    let ours = listed
        .manifests
        .into_iter()
        .map(|(_, manifest)| manifest)
        .filter(|earlier| earlier.cluster_id == facts.cluster);
    let last = ours.filter(|earlier| earlier.taken < candidate.taken).max_by_key(|earlier| earlier.taken)?;
    manifest::writes_per_second((last.taken, last.contents.revision), (candidate.taken, revision))
}
