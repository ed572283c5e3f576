//! What a host tells of itself, through a real shell.

use kubewright::facts::{Questions, gather};

use super::sshd::{Sshd, name, possible};

#[tokio::test]
async fn guards_are_answered_without_starting_programs() {
    if !possible() {
        return;
    }
    let sshd = Sshd::start("");
    let hosts = sshd.hosts();
    let all = gather(&hosts, &[name()], &Questions::default()).await;
    let all = all.host(&name()).unwrap();
    assert!(all.versions.contains_key("kubelet") && all.images.why() != Some("the host did not tell"), "{all:?}");

    let few = gather(&hosts, &[name()], &Questions::of_guards()).await;
    let few = few.host(&name()).unwrap();
    assert!(few.versions.is_empty(), "{:?}", few.versions);
    assert_eq!(few.images.why(), Some("the host did not tell"));
    // What guards do ask for.
    assert_eq!((&few.machine_id.known(), few.record.why()), (&all.machine_id.known(), all.record.why()));
    assert_eq!((few.etcd_data.known(), few.etcd_token.why()), (all.etcd_data.known(), all.etcd_token.why()));
    assert!(few.machine_id.known().is_some() && few.etcd_data.known().is_some());
    assert_eq!((hosts.traffic()[&name()].connections, hosts.traffic()[&name()].round_trips), (1, 2));
}
