//! Clocks that differ: of one machine, of all of them, of this one.

use jiff::SignedDuration;
use kubewright_core::facts::sample::{clock, known};

use crate::setting::{codes, found, of_cluster, on, spec};

#[test]
fn a_clock_that_differs_from_the_others_is_its_own_fault() {
    let three = "  - {name: w2, address: 10.77.0.22, roles: [worker]}\n";
    let off = |seconds: i64| {
        found(&spec(three), on("w1", move |seen| seen.clock = known(clock(SignedDuration::from_secs(seconds)))))
    };
    assert_eq!(codes(&off(4)), Vec::<String>::new());
    assert_eq!(codes(&off(-6)), ["TIME005 warns w1"]);
    assert!(
        off(-6)[0].text.starts_with("its clock is 5 s behind most hosts'"),
        "the network's share is not counted: {}",
        off(-6)[0].text
    );
    assert_eq!(codes(&off(-59)), ["TIME005 warns w1"]);
    assert_eq!(codes(&off(7200)), ["TIME004 blocks w1"]);
    assert_eq!(of_cluster(&off(7200)), Vec::<String>::new(), "this machine agrees with the others");
    assert!(off(6).iter().all(|finding| finding.code != "TIME002"), "they do not agree");
    // Of two, the one that agrees with this machine is right.
    let two = found(&spec(""), on("cp1", |seen| seen.clock = known(clock(SignedDuration::from_secs(90)))));
    assert_eq!(codes(&two), ["TIME004 blocks cp1"]);
    assert!(two[0].text.contains("ahead of w1's"), "{}", two[0].text);
}

#[test]
fn an_offset_that_all_share_is_this_machines() {
    let all =
        |seconds: i64| found(&spec(""), move |_, seen| seen.clock = known(clock(SignedDuration::from_secs(seconds))));
    assert_eq!(codes(&all(7200)), Vec::<String>::new(), "no host is to blame");
    assert_eq!(of_cluster(&all(7200)), ["TIME003 warns"]);
    assert_eq!(of_cluster(&all(-200)), ["TIME003 warns"], "certificates are valid from five minutes before");
    assert_eq!(of_cluster(&all(-310)), ["TIME001 blocks"]);
    assert_eq!(of_cluster(&all(366 * 86_400)), ["TIME001 blocks"], "they would have expired");
    assert_eq!(of_cluster(&all(3)), Vec::<String>::new());
    let alone = spec("");
    let mut alone = alone;
    alone.hosts.truncate(1);
    let one = found(&alone, |_, seen| seen.clock = known(clock(SignedDuration::from_secs(-310))));
    assert_eq!(codes(&one), ["TIME001 blocks cp1"], "one host and this machine: nobody knows whose it is");
}
