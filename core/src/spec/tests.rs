//! Defaults and decoding seen from outside: what a file turns into.

use super::*;

fn spec(text: &str) -> Spec {
    let reading = read("cluster.yaml", text);
    assert_eq!(reading.findings, [], "of\n{text}");
    reading.spec.expect("a spec without findings")
}

const SMALLEST: &str = "
apiVersion: kubewright.dev/v1alpha1
kind: Cluster
metadata: {name: small}
spec:
  kubernetes: {version: v1.35.4}
  hosts: [{name: a, address: 10.0.0.1, roles: [controlPlane, etcd, worker]}]
";

#[test]
fn what_is_left_out_has_its_default() {
    let spec = spec(SMALLEST);
    assert_eq!(spec.kubernetes.version, Version::new(1, 35, 4));
    assert_eq!(spec.endpoint, Endpoint { mode: EndpointMode::NodeLocal, address: None, port: 6443 });
    assert_eq!(spec.network.pod_cidr, Cidr::v4(10, 244, 0, 0, 16));
    assert_eq!(spec.network.service_cidr, Cidr::v4(10, 96, 0, 0, 12));
    assert_eq!(spec.network.dns_domain, "cluster.local");
    assert_eq!(spec.network.cni, Cni { name: CniName::Flannel, interface: None });
    assert_eq!(spec.network.kube_proxy.mode, KubeProxyMode::Nftables);
    assert_eq!(spec.certificates.encryption_algorithm, EncryptionAlgorithm::Rsa2048);
    assert_eq!(spec.certificates.certificate_validity_hours, 8760);
    assert_eq!(spec.certificates.ca_certificate_validity_hours, 87_600);
    assert_eq!(spec.containerd, Containerd { version: "2.4.2".to_owned(), restrict_oom_score_adj: false });
    assert_eq!(spec.ssh, Ssh::default());
    assert_eq!(spec.api_server, Component::default());
    assert_eq!(spec.hosts[0].private_address, "10.0.0.1".parse::<IpAddr>().unwrap());
    assert_eq!(spec.hosts[0].taints, None);
    assert_eq!(spec.backup, Backup::default());
}

#[test]
fn copies_go_where_it_is_said() {
    let key = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg";
    let backup = format!(
        "  backup: {{to: 's3://lab/etcd/', endpoint: 'http://10.0.0.2:9000', region: eu-central-1, compress: zstd, keep: 3, recipients: [{key}]}}\n"
    );
    let read = spec(&format!("{SMALLEST}{backup}"));
    let wanted = Backup {
        to: Some(StoreAddress::Bucket { bucket: "lab".to_owned(), prefix: "etcd".to_owned() }),
        endpoint: Some("http://10.0.0.2:9000".to_owned()),
        region: Some("eu-central-1".to_owned()),
        compress: Some(Compression::Zstd),
        keep: NonZeroU32::new(3),
        recipients: vec![key.to_owned()],
    };
    assert_eq!(read.backup, wanted);
    // What a plan carries reads the same, and one of before there was such a section too.
    let mut carried = serde_json::to_value(&read).unwrap();
    assert_eq!(serde_json::from_value::<Spec>(carried.clone()).unwrap(), read);
    carried.as_object_mut().unwrap().remove("backup");
    assert_eq!(serde_json::from_value::<Spec>(carried).unwrap().backup, Backup::default());
}

#[test]
fn what_is_written_arrives() {
    let spec = spec(
        r#"
apiVersion: kubewright.dev/v1alpha1
kind: Cluster
metadata: {name: full}
spec:
  kubernetes: {version: 1.36.3}
  endpoint: {address: api.example.com, port: 443}
  network:
    podCIDR: 10.60.0.0/16
    cni: {name: none}
    kubeProxy: {mode: iptables, config: {conntrack: {maxPerCore: 0, min: 1.5, text: "1", more: [yes, true]}, ipvs: ~}}
  ssh: {user: ops, port: 2222, hostKeys: acceptNew}
  hosts:
  - {name: cp1, address: cp1.example.com, privateAddress: 10.0.0.1, roles: [controlPlane, etcd], ssh: {user: root}, taints: []}
  - name: w1
    address: 10.0.0.2
    roles: [worker]
    pool: general
    labels: {example.com/rank: 1, empty: ""}
    taints: [{key: k, effect: NoExecute}]
  pools: {general: {upgrade: {maxUnavailable: 25%}, labels: {tier: general}}}
  certificates: {encryptionAlgorithm: ECDSA-P256, certificateValidityPeriod: 4380h0m0s}
  apiServer:
    certSANs: [api.internal, 10.9.9.9]
    extraArgs: [{name: v, value: 2}, {name: v, value: "3"}]
    extraEnvs: [{name: GOMAXPROCS, value: 2}]
    extraVolumes: [{name: logs, hostPath: /var/log, mountPath: /logs, readOnly: true, pathType: Directory}]
  containerd: {version: 2.3.0, restrictOOMScoreAdj: true}
  artefacts: {mirror: "http://10.0.0.9", registryMirrors: {registry.k8s.io: "http://10.0.0.9:5000"}}
"#,
    );
    assert_eq!(spec.endpoint.mode, EndpointMode::External, "an address without a mode is the user's own");
    assert_eq!(spec.endpoint.port, 443);
    let config = serde_json::Value::Object(spec.network.kube_proxy.config.clone());
    let expected = serde_json::json!({"conntrack": {"maxPerCore": 0, "min": 1.5, "text": "1", "more": ["yes", true]}, "ipvs": null});
    assert_eq!(config, expected);
    let (control_plane, worker) = (&spec.hosts[0], &spec.hosts[1]);
    assert_eq!((control_plane.ssh.user.as_deref(), control_plane.ssh.port), (Some("root"), Some(2222)));
    assert_eq!(control_plane.ssh.host_keys, HostKeys::AcceptNew);
    assert_eq!(control_plane.taints, Some(Vec::new()));
    assert_eq!(worker.ssh.user.as_deref(), Some("ops"));
    assert_eq!(worker.labels["example.com/rank"], "1");
    assert_eq!(worker.labels["empty"], "");
    assert_eq!(worker.taints.as_ref().unwrap()[0].effect, TaintEffect::NoExecute);
    assert_eq!(spec.pools["general"].max_unavailable.as_deref(), Some("25%"));
    assert_eq!(spec.certificates.certificate_validity_hours, 4380);
    assert_eq!(spec.api_server.extra_args[0], Arg { name: "v".to_owned(), value: "2".to_owned() });
    assert_eq!(spec.api_server.extra_args.len(), 2, "a flag may repeat");
    assert!(spec.api_server.extra_volumes[0].read_only);
    assert!(spec.containerd.restrict_oom_score_adj);
    assert_eq!(spec.artefacts.registry_mirrors["registry.k8s.io"], ["http://10.0.0.9:5000"]);
}

#[test]
fn an_alias_repeats_what_it_names() {
    let text = SMALLEST.replace(
        "[controlPlane, etcd, worker]}]",
        "&r [controlPlane, etcd]}, {name: b, address: 10.0.0.2, roles: *r}, {name: c, address: 10.0.0.3, roles: *r}]",
    );
    assert_eq!(spec(&text).with_role(Role::Etcd).count(), 3);
}

#[test]
fn a_spec_survives_a_plan_file() {
    let spec = spec(SMALLEST);
    let again: Spec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
    assert_eq!(again, spec);
}

#[test]
fn kube_proxy_is_asked_for_its_metrics_where_it_serves_them() {
    let metrics = |given: Option<&str>| {
        let config = given.map(|text| ("metricsBindAddress".to_owned(), text.into())).into_iter().collect();
        KubeProxy { mode: KubeProxyMode::Nftables, config }.metrics()
    };
    for (given, asked) in [
        (None, Some("127.0.0.1:10249")),
        (Some(""), Some("127.0.0.1:10249")),
        (Some("0.0.0.0:10349"), Some("localhost:10349")),
        (Some("10.0.0.2:80"), Some("10.0.0.2:80")),
        (Some("[fd00::2]:80"), Some("[fd00::2]:80")),
        (Some("nowhere"), None),
    ] {
        assert_eq!(metrics(given).as_deref(), asked, "{given:?}");
    }
}
