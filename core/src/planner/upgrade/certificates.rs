//! Certificates that have ended, or end before the next upgrade is due: those are renewed on the way, in the turns of their hosts, as
//! kubeadm does it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::etcd::status::Certificate;
use crate::facts::Fact;
use crate::finding::{Finding, Severity, Subject};
use crate::ids::HostName;

/// Kubernetes brings a minor every four months, and hardly anybody takes it in its first weeks: what ends within a quarter would end
/// before hands are laid on the cluster the next time.
const NEXT_UPGRADE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// When certificates end, by host.
type Certificates = BTreeMap<HostName, Fact<Vec<Certificate>>>;

/// UPG010, UPG012: those that have ended, and hosts where it cannot be told.
pub(super) fn that_ended(certificates: &Certificates) -> Vec<Finding> {
    let of_host = |(host, read): (&HostName, &Fact<Vec<Certificate>>)| match read {
        Fact::Known { value, at } => {
            let ended: Vec<&Certificate> =
                value.iter().filter(|one| left(one, *at) <= SignedDuration::ZERO && !is_kubelets(one)).collect();
            let first = ended.iter().min_by_key(|one| one.expires)?;
            let text = format!("{} ended ({}): whoever is shown it hangs up", listed(&ended), day(first.expires));
            let then = ", then end the containers of its static pods with crictl: they start again with the new ones";
            Some(finding(host, Severity::Blocks, "UPG010", text).hint(by_hand(&ended, then)))
        }
        Fact::Unreadable { why, .. } => {
            let text = format!("when its certificates end could not be read: {why}");
            Some(finding(host, Severity::Warns, "UPG012", text))
        }
        Fact::Absent => None,
    };
    certificates.iter().filter_map(of_host).collect()
}

/// Which of these hosts get new ones in their turns: those with one that ends soon, but for authorities.
pub(super) fn renewed<'h>(certificates: &Certificates, turns: impl IntoIterator<Item = &'h HostName>) -> Vec<HostName> {
    let is_due = |host: &&HostName| match certificates.get(*host) {
        Some(Fact::Known { value, at }) => near(value, *at).iter().any(|one| !is_authority(one)),
        Some(Fact::Unreadable { .. } | Fact::Absent) | None => false,
    };
    turns.into_iter().filter(is_due).cloned().collect()
}

/// UPG011: those that end soon, one finding a host: most were made in one minute, and are renewed together.
pub(super) fn that_end_soon(certificates: &Certificates, renewed: &[HostName]) -> Vec<Finding> {
    let of_host = |(host, read): (&HostName, &Fact<Vec<Certificate>>)| {
        let Fact::Known { value, at } = read else { return Vec::new() };
        let (authorities, others): (Vec<_>, Vec<_>) = near(value, *at).into_iter().partition(|one| is_authority(one));
        let told = |ending: Vec<&Certificate>| {
            let first = ending.iter().min_by_key(|one| one.expires)?;
            let days = left(first, *at).as_hours() / 24;
            let has_ended = left(first, *at) <= SignedDuration::ZERO;
            let ends = if has_ended { "ended".to_owned() } else { format!("ends in {days} days") };
            let text = format!("{} {ends} ({})", listed(&ending), day(first.expires));
            Some(match renewed.contains(host) && !is_authority(first) {
                true => finding(host, Severity::Info, "UPG011", format!("{text} and is renewed in its turn")),
                false => finding(host, Severity::Warns, "UPG011", text).hint(by_hand(
                    &ending,
                    ", then end the containers of its static pods with crictl, on one host at a time",
                )),
            })
        };
        [told(authorities), told(others)].into_iter().flatten().collect()
    };
    certificates.iter().flat_map(of_host).collect()
}

fn finding(host: &HostName, severity: Severity, code: &str, text: String) -> Finding {
    Finding::new(severity, code, Subject::Host(host.clone()), text)
}

/// Those that still hold, and end before the next upgrade is due; a kubelet's, whether it holds or not.
fn near(certificates: &[Certificate], now: Timestamp) -> Vec<&Certificate> {
    let holds = |one: &Certificate| left(one, now) > SignedDuration::ZERO || is_kubelets(one);
    certificates.iter().filter(|one| holds(one) && left(one, now) < NEXT_UPGRADE).collect()
}

fn left(certificate: &Certificate, now: Timestamp) -> SignedDuration {
    certificate.expires.duration_since(now)
}

fn is_authority(certificate: &Certificate) -> bool {
    certificate.path.ends_with("ca.crt")
}

/// What a kubelet serves logs and shells with. API servers do not look at its dates (kubeadm gives them no
/// `--kubelet-certificate-authority`), so that one which has ended stands in nobody's way; others that ask kubelets may look.
fn is_kubelets(certificate: &Certificate) -> bool {
    certificate.path.ends_with("/kubelet.crt")
}

/// How they are renewed by hand: by kubeadm, which knows our layout, all but an authority and a kubelet's.
fn by_hand(certificates: &[&Certificate], then: &str) -> String {
    if certificates.iter().all(|one| is_kubelets(one)) {
        return "an upgrade in which the node has its turn renews it".to_owned();
    }
    if certificates.iter().any(|one| is_authority(one)) {
        return "an authority is replaced by hand, with everything that it signed: \
                https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/"
            .to_owned();
    }
    format!("on it:  kubeadm certs renew all{then}")
}

fn listed(certificates: &[&Certificate]) -> String {
    match certificates {
        [one] => one.path.clone(),
        [first, rest @ ..] => format!("{} and {} more", first.path, rest.len()),
        [] => String::new(),
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH + DAY * 1000
    }

    /// What one control plane's certificates are, each with the days that it still holds.
    fn of_cp1(certificates: &[(&str, i32)]) -> Certificates {
        let certificate =
            |(path, days): &(&str, i32)| Certificate { path: (*path).to_owned(), expires: now() + DAY * *days };
        let value = certificates.iter().map(certificate).collect();
        BTreeMap::from([("cp1".into(), Fact::Known { value, at: now() })])
    }

    fn told(findings: Vec<Finding>) -> Vec<(String, String)> {
        let told = |one: Finding| (format!("{} {} {}", one.code, one.severity, one.text), one.hint.unwrap_or_default());
        findings.into_iter().map(told).collect()
    }

    #[test]
    fn what_has_ended_blocks_and_is_not_told_twice() {
        let ended = of_cp1(&[("/p/apiserver.crt", 0), ("/p/front-proxy-client.crt", 500)]);
        let findings = told(that_ended(&ended));
        assert_eq!(findings[0].0, "UPG010 blocks /p/apiserver.crt ended (1972-09-27): whoever is shown it hangs up");
        assert!(findings[0].1.contains("kubeadm certs renew all, then end"), "{findings:?}");
        assert_eq!(told(that_end_soon(&ended, &[])), []);
        assert!(told(that_ended(&of_cp1(&[("/p/ca.crt", -1)])))[0].1.contains("manual-rotation"));
    }

    #[test]
    fn what_ends_within_a_quarter_is_renewed_in_its_hosts_turn() {
        let turns: [HostName; 2] = ["cp1".into(), "cp2".into()];
        let far = of_cp1(&[("/p/apiserver.crt", 90), ("/p/ca.crt", 3000)]);
        assert_eq!(renewed(&far, &turns), []);
        assert_eq!(told(that_end_soon(&far, &[])), []);

        let soon = of_cp1(&[("/p/apiserver.crt", 89), ("/p/etcd/server.crt", 12), ("/p/ca.crt", 3000)]);
        assert_eq!(renewed(&soon, &turns), ["cp1".into()]);
        assert_eq!(renewed(&soon, &turns[1..]), [], "whose turn does not come keeps what it has");
        let text = "/p/apiserver.crt and 1 more ends in 12 days (1972-10-09)";
        let [(info, hint)] = &told(that_end_soon(&soon, &["cp1".into()]))[..] else { panic!("one finding") };
        assert_eq!((info.as_str(), hint.as_str()), (&*format!("UPG011 info {text} and is renewed in its turn"), ""));
        let [(warns, hint)] = &told(that_end_soon(&soon, &[]))[..] else { panic!("one finding") };
        assert_eq!(warns, &format!("UPG011 warns {text}"));
        assert!(hint.starts_with("on it:  kubeadm certs renew all, then"), "{hint}");
    }

    #[test]
    fn an_authority_is_renewed_by_nobody_but_people() {
        let soon = of_cp1(&[("/p/etcd/ca.crt", 50)]);
        assert_eq!(renewed(&soon, &["cp1".into()]), []);
        let both = of_cp1(&[("/p/etcd/ca.crt", 50), ("/p/etcd/server.crt", 50)]);
        let findings = told(that_end_soon(&both, &["cp1".into()]));
        assert!(findings[0].0.starts_with("UPG011 warns /p/etcd/ca.crt") && findings[0].1.contains("manual-rotation"));
        assert!(findings[1].0.starts_with("UPG011 info /p/etcd/server.crt"), "{findings:?}");
    }

    #[test]
    fn a_kubelets_own_stands_in_nobodys_way_and_is_renewed() {
        for (days, ends) in [(-3, "ended (1972-09-24)"), (12, "ends in 12 days (1972-10-09)")] {
            let kubelets = of_cp1(&[("/var/lib/kubelet/pki/kubelet.crt", days), ("/p/ca.crt", 3000)]);
            assert_eq!(told(that_ended(&kubelets)), []);
            assert_eq!(renewed(&kubelets, &["cp1".into()]), ["cp1".into()]);
            let [(info, _)] = &told(that_end_soon(&kubelets, &["cp1".into()]))[..] else { panic!("one finding") };
            assert_eq!(
                info,
                &format!("UPG011 info /var/lib/kubelet/pki/kubelet.crt {ends} and is renewed in its turn")
            );
            let [(_, hint)] = &told(that_end_soon(&kubelets, &[]))[..] else { panic!("one finding") };
            assert!(hint.starts_with("an upgrade in which the node has its turn"), "{hint}");
        }
    }

    #[test]
    fn what_could_not_be_read_is_told() {
        let facts = BTreeMap::from([("cp1".into(), Fact::unreadable("no answer")), ("w1".into(), Fact::Absent)]);
        let codes: Vec<String> = that_ended(&facts).into_iter().map(|one| one.code).collect();
        assert_eq!(codes, ["UPG012"]);
    }
}
