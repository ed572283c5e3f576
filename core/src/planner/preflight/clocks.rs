//! Whether clocks agree: certificates made here have to be valid there at once, and leases, tokens and etcd's elections
//! compare times of several machines.

use jiff::SignedDuration;

use super::{Input, blocks, is_bare, warns};
use crate::facts::Clock;
use crate::finding::{Finding, Severity, Subject};

/// etcd itself warns from one second on; ssh on a bad line alone makes that much. A clock that is served by NTP is never
/// as far off as this.
const WARNS: SignedDuration = SignedDuration::from_secs(5);
/// Certificates made here may be not valid yet on a machine that is so far behind, and nobody finds out why.
const BLOCKS: SignedDuration = SignedDuration::from_secs(60);

/// TIME001, TIME003 for each host that is off; TIME002 where all agree.
pub(super) fn agree(input: Input<'_>, findings: &mut Vec<Finding>) {
    let mut worst = None;
    let mut all_known = true;
    for host in &input.spec.hosts {
        let Some(seen) = input.facts.host(&host.name).filter(|seen| is_bare(seen)) else {
            all_known = false;
            continue;
        };
        let Some(clock) = seen.clock.known() else {
            all_known = false;
            continue;
        };
        worst = worst.max(Some(at_most(clock)));
        let skew = clock.skew();
        let direction = if skew > SignedDuration::ZERO { "ahead of" } else { "behind" };
        let text = format!("its clock is {} {direction} this machine's", told(skew.abs()));
        let hint = "let it follow a time server (`timedatectl set-ntp true`); where all hosts are off alike, it is this machine's clock";
        if skew.abs() > BLOCKS {
            findings.push(
                blocks(host, "TIME001", format!("{text}: certificates made here would not be valid there")).hint(hint),
            );
        } else if skew.abs() > WARNS {
            findings.push(warns(host, "TIME003", text).hint(hint));
        }
    }
    if let (true, Some(worst)) = (all_known, worst.filter(|worst| *worst <= WARNS)) {
        let text = format!("clocks agree within {} ms", worst.as_millis() + 1);
        findings.push(Finding::new(Severity::Info, "TIME002", Subject::Cluster, text));
    }
}

/// How far a clock can be from ours at most, whatever part of the exchange the network took.
fn at_most(clock: &Clock) -> SignedDuration {
    clock.began.duration_since(clock.sent).abs().max(clock.ended.duration_since(clock.received).abs())
}

fn told(time: SignedDuration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
