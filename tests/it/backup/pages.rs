//! What a person sees of a cluster's etcd, and of a copy that was taken.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kubewright::etcd::contents;
use kubewright::etcd::fake::{FakeEtcd, Health};
use kubewright::ports::EtcdApi;
use kubewright::report::{Paint, etcd, saving};
use kubewright_core::etcd::retention::Copy;
use kubewright_core::etcd::status::{Certificate, Certificates, CopiesSeen, Seen, assess};
use kubewright_core::facts::etcd::{Alarm, AlarmKind, MemberId};

use super::{Setting, damaged};

fn now() -> Timestamp {
    "2026-11-20T23:00:00Z".parse().unwrap()
}

async fn page(fake: &FakeEtcd, days: i64) -> String {
    let facts = fake.observe().await.unwrap();
    let agreement = contents::compare(fake, &facts).await;
    let certificate = Certificate {
        path: "/etc/kubernetes/pki/etcd/server.crt".to_owned(),
        expires: now() + SignedDuration::from_hours(days * 24 + 1),
    };
    let certificates: Certificates =
        ["cp1", "cp2", "cp3"].map(|host| (host.into(), Ok(vec![certificate.clone()]))).into();
    let copy =
        |hours, verified| Copy { name: format!("{hours}"), taken: now() - SignedDuration::from_hours(hours), verified };
    let copies = CopiesSeen::of(
        "s3://backups/etcd/lab".to_owned(),
        Ok(&[copy(4, true), copy(if days < 340 { 1 } else { 28 }, false)]),
    );
    let seen = Seen {
        cluster: "lab",
        file: "cluster.yaml",
        facts: &facts,
        agreement: agreement.as_ref(),
        certificates: if days == 0 { &BTreeMap::new() } else { &certificates },
        copies: (days > 0).then_some(&copies),
        now: now(),
    };
    etcd::status(&assess(&seen), now(), Paint::none().on_columns(120))
}

#[tokio::test]
async fn a_cluster_in_order() {
    insta::assert_snapshot!(page(&Setting::new().etcd, 340).await);
}

#[tokio::test]
async fn a_member_that_gives_no_answer_and_certificates_that_end() {
    let setting = Setting::new();
    setting.etcd.set("cp3", Health::Silent);
    insta::assert_snapshot!(page(&setting.etcd, 12).await);
}

#[tokio::test]
async fn a_damaged_member_and_an_alarm() {
    let setting = Setting::new();
    setting.etcd.hold("cp2", damaged());
    setting.etcd.raise(Alarm { member: Some(MemberId(1)), kind: AlarmKind::NoSpace });
    insta::assert_snapshot!(page(&setting.etcd, 340).await);
}

#[tokio::test]
async fn a_majority_that_is_lost() {
    let setting = Setting::new();
    setting.etcd.set("cp1", Health::Down);
    setting.etcd.set("cp3", Health::Down);
    insta::assert_snapshot!(page(&setting.etcd, 0).await);
}

#[tokio::test]
async fn a_copy_that_was_taken() {
    let setting = Setting::new();
    setting.etcd.hold("cp2", damaged());
    let taken = setting.take(None).await.unwrap();
    let text = saving::saved(&taken, &["an-old-one".to_owned()], Duration::from_millis(1234), Paint::none());
    let folder = taken.place.to_string();
    insta::assert_snapshot!(text.replace(&folder, "FOLDER"));
}
