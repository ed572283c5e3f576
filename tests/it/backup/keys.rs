//! Keys of the control planes beside a copy: asked for, encrypted before they go anywhere, and opened again.

use age::x25519::Identity;
use kubewright::backup::companions::Companions;
use kubewright::backup::reading::beside;
use kubewright::backup::sealing::{Recipients, unseal};
use kubewright::host::fake::FakeHosts;
use kubewright::store::objects::Access;
use secrecy::{ExposeSecret, SecretSlice};

use super::*;

const AUTHORITIES: [&str; 8] =
    ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key", "sa.key", "sa.pub"];

/// Control planes with what kubeadm leaves there; every file tells what it is, so that it can be looked for.
fn hosts(without: &str) -> FakeHosts {
    let hosts = FakeHosts::new(["cp1", "cp2", "cp3"]);
    for host in ["cp1", "cp2", "cp3"] {
        let record = HostRecord {
            cluster: "lab".to_owned(),
            operation: "7f3a9c".into(),
            roles: vec![Role::ControlPlane, Role::Etcd],
            settled: true,
        };
        hosts.put_file(host, HostRecord::PATH, 0o600, serde_json::to_string(&record).unwrap());
        for name in AUTHORITIES.into_iter().filter(|name| *name != without) {
            let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
            hosts.put_file(host, &format!("/etc/kubernetes/pki/{name}"), mode, format!("clear text of {name}"));
        }
        let api_server = "- --encryption-provider-config=/etc/kubernetes/enc.yaml\n";
        hosts.put_file(host, "/etc/kubernetes/manifests/kube-apiserver.yaml", 0o600, api_server);
        hosts.put_file(host, "/etc/kubernetes/enc.yaml", 0o600, "clear text of enc.yaml");
    }
    hosts
}

async fn read(hosts: &FakeHosts, identity: &Identity) -> Companions {
    let key = identity.to_public().to_string();
    let recipients = Recipients::parse([key.as_str()]).unwrap();
    of_hosts(hosts, "lab", &["cp1".into(), "cp2".into(), "cp3".into()], Some(&recipients)).await
}

#[tokio::test]
async fn keys_are_kept_encrypted_and_come_back() {
    let setting = Setting::new();
    let identity = Identity::generate();
    let copies = setting.copies();
    let facts = setting.etcd.observe().await.unwrap();
    let order = Order {
        cluster: "lab",
        etcd: &setting.etcd,
        from: None,
        copies: &copies,
        compress: Compression::None,
        clock: &SystemClock,
        progress: &|_| {},
    };
    let found = read(&hosts(""), &identity).await;
    assert!(!format!("{found:?}").contains("clear text"), "what a log may show");
    let taken = take(order, &facts, async { found }).await.unwrap();
    assert_eq!(codes(&taken), Vec::<&str>::new());
    let sealed = taken.manifest.sealed.clone().unwrap();
    assert_eq!((sealed.files.len(), sealed.recipients), (9, vec![identity.to_public().to_string()]));
    let mut seen = 0;
    for entry in walk(setting.home.path()) {
        let bytes = fs::read(&entry).unwrap();
        assert!(!bytes.windows(10).any(|window| window == b"clear text"), "{}", entry.display());
        seen += 1;
    }
    assert!(seen > 4, "{seen}");

    let kept = beside(&taken.place, &Access::default(), true).await.unwrap();
    let secret = SecretSlice::from(identity.to_string().expose_secret().as_bytes().to_vec());
    let opened = unseal(&kept.files["keys.tar.age"], &secret).unwrap();
    for name in AUTHORITIES {
        let file = &opened[&format!("/etc/kubernetes/pki/{name}")];
        assert_eq!(file.contents.expose_secret(), format!("clear text of {name}").as_bytes());
        assert_eq!(file.mode, if name.ends_with(".key") { 0o600 } else { 0o644 }, "{name}");
    }
    assert_eq!(opened["/etc/kubernetes/enc.yaml"].contents.expose_secret(), b"clear text of enc.yaml");

    // What was changed or taken away behind the manifest's back is told, and nothing of it used.
    let archive = folder(&taken).join("keys.tar.age");
    let mut bytes = fs::read(&archive).unwrap();
    bytes[100] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let error = beside(&taken.place, &Access::default(), true).await.unwrap_err();
    assert!(error.to_string().contains("not the file that the manifest tells of"), "{error}");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn keys_that_are_not_all_there_are_told() {
    let hosts = hosts("ca.key");
    hosts.put_file("cp3", "/etc/kubernetes/pki/sa.key", 0o600, "clear text of another cluster");
    let found = read(&hosts, &Identity::generate()).await;
    assert_eq!(
        found.keys_missing,
        [
            "one /etc/kubernetes/pki/sa.key for all: that of cp3 is another one, and not in it",
            "/etc/kubernetes/pki/ca.key: no host has it"
        ]
    );
    assert_eq!(found.sealed.unwrap().files.len(), 8);
    let nobody = of_hosts(&hosts, "lab", &["cp1".into()], None).await;
    assert!(nobody.sealed.is_none() && !nobody.files.contains_key("keys.tar.age"), "only when asked");
}
