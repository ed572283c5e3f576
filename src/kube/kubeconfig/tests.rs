use kube::config::Kubeconfig;

use super::*;

const CA: &str = "LS0tLS1DQQ==";

fn admin_conf() -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: kubernetes-admin@lab\npreferences: {{}}\nclusters:\n- name: lab\n  \
         cluster:\n    certificate-authority-data: {CA}\n    server: https://127.0.0.1:6443\ncontexts:\n- name: \
         kubernetes-admin@lab\n  context: {{cluster: lab, user: kubernetes-admin}}\nusers:\n- name: kubernetes-admin\n  user:\n    \
         client-certificate-data: Y2VydA==\n    client-key-data: a2V5\n"
    )
}

fn control_planes() -> Vec<(HostName, String)> {
    ["cp1", "cp2"]
        .iter()
        .zip(["198.51.100.1:6443", "198.51.100.2:6443"])
        .map(|(host, at)| (HostName::new(*host), at.into()))
        .collect()
}

fn operator(control_planes: &[(HostName, String)]) -> Operator<'_> {
    Operator { cluster: "lab", control_planes, endpoint: None }
}

fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(folder.path().join("config")).unwrap();
    (folder, path)
}

fn load(path: &Utf8Path) -> Kubeconfig {
    Kubeconfig::from_yaml(&fs::read_to_string(path).unwrap()).unwrap()
}

fn mode(path: &Utf8Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn server<'a>(config: &'a Kubeconfig, context: &str) -> &'a str {
    let context = config.contexts.iter().find(|entry| entry.name == context).unwrap().context.as_ref().unwrap();
    let cluster = config.clusters.iter().find(|entry| entry.name == context.cluster).unwrap().cluster.as_ref().unwrap();
    cluster.server.as_deref().unwrap()
}

fn contexts(config: &Kubeconfig) -> Vec<&str> {
    config.contexts.iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn every_control_plane_has_a_context_and_the_first_stands_for_the_cluster() {
    let control_planes = control_planes();
    let text = operator(&control_planes).render(&admin_conf()).unwrap();
    let config = Kubeconfig::from_yaml(text.expose_secret()).unwrap();
    assert_eq!(config.current_context.as_deref(), Some("lab"));
    assert_eq!(contexts(&config), ["lab", "lab-cp1", "lab-cp2"]);
    assert_eq!(server(&config, "lab"), "https://198.51.100.1:6443");
    assert_eq!(server(&config, "lab-cp2"), "https://198.51.100.2:6443");
    let user = config.auth_infos[0].auth_info.as_ref().unwrap();
    assert_eq!(config.auth_infos[0].name, "lab-admin");
    assert_eq!(user.client_certificate_data.as_deref(), Some("Y2VydA=="));
}

#[test]
fn an_endpoint_stands_for_the_cluster_where_there_is_one() {
    let control_planes = control_planes();
    let operator = Operator { endpoint: Some("api.example.org:443".to_owned()), ..operator(&control_planes) };
    let text = operator.render(&admin_conf()).unwrap();
    let config = Kubeconfig::from_yaml(text.expose_secret()).unwrap();
    assert_eq!(server(&config, "lab"), "https://api.example.org:443");
    assert_eq!(server(&config, "lab-cp1"), "https://198.51.100.1:6443");
}

#[test]
fn a_file_is_for_its_owner_alone_and_writing_twice_changes_nothing() {
    let (_folder, path) = folder();
    let path = path.with_file_name("deep").join("er").join("config");
    let control_planes = control_planes();
    operator(&control_planes).write(&admin_conf(), &path, Existing::Replace).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let first = fs::read_to_string(&path).unwrap();
    operator(&control_planes).write(&admin_conf(), &path, Existing::Replace).unwrap();
    operator(&control_planes).write(&admin_conf(), &path, Existing::Merge).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), first);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays behind");
}

const FOREIGN: &str = "apiVersion: v1
kind: Config
current-context: prod
preferences:
  colors: true
extensions:
- name: minikube
  extension: {last-update: 'Mon, 01 Jan 2026', version: 1.30}
clusters:
- {name: prod, cluster: {server: 'https://prod', extensions: [{name: a, extension: {b: c}}]}}
contexts:
- {name: prod, context: {cluster: prod, user: 'no', namespace: 'on'}}
- {name: lab-of-bob, context: {cluster: prod, user: 'no'}}
users:
- name: 'no'
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: ['0123', 'true', '1e3', '~'], interactiveMode: Never}}
";

#[test]
fn entries_of_others_stay_to_the_letter() {
    let (_folder, path) = folder();
    fs::write(&path, FOREIGN).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let control_planes = control_planes();
    operator(&control_planes).write(&admin_conf(), &path, Existing::Merge).unwrap();
    assert_eq!(mode(&path), 0o600);

    let text = fs::read_to_string(&path).unwrap();
    let (before, after) = (parse(FOREIGN).unwrap(), parse(&text).unwrap());
    assert_eq!(after["current-context"], "lab");
    for field in ["preferences", "extensions"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    for list in ["clusters", "contexts", "users"] {
        for entry in before[list].as_array().unwrap() {
            assert!(after[list].as_array().unwrap().contains(entry), "{entry}");
        }
    }
    assert_eq!(contexts(&load(&path)), ["prod", "lab-of-bob", "lab", "lab-cp1", "lab-cp2"]);
}

/// kubectl reads YAML 1.1, where a bare `no` is false and a bare `0123` is 83.
#[test]
fn words_that_older_yaml_takes_for_something_else_are_quoted() {
    let (_folder, path) = folder();
    fs::write(&path, FOREIGN).unwrap();
    let control_planes = control_planes();
    operator(&control_planes).write(&admin_conf(), &path, Existing::Merge).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for word in ["no", "on", "0123", "true", "1e3", "~"] {
        let quoted =
            text.lines().any(|line| line.ends_with(&format!("\"{word}\"")) || line.ends_with(&format!("'{word}'")));
        assert!(quoted, "{word} in\n{text}");
    }
}

#[test]
fn a_control_plane_that_is_no_more_leaves_the_file() {
    let (_folder, path) = folder();
    fs::write(&path, FOREIGN).unwrap();
    let control_planes = control_planes();
    operator(&control_planes).write(&admin_conf(), &path, Existing::Merge).unwrap();
    operator(&control_planes[..1]).write(&admin_conf(), &path, Existing::Merge).unwrap();
    let config = load(&path);
    assert_eq!(contexts(&config), ["prod", "lab-of-bob", "lab", "lab-cp1"]);
    assert_eq!(config.clusters.len(), 3);
    assert_eq!(config.auth_infos.len(), 2);
}

#[test]
fn what_cannot_be_read_is_left_alone() {
    let (_folder, path) = folder();
    let control_planes = control_planes();
    for (text, reason) in [
        ("kind: Config\nusers: [{name: a, user: {token: secret}\n", "no YAML in line"),
        ("kind: Config\nusers: {token: secret}\n", "`users` is not a list"),
        ("hello: world\n", "it is not a kubeconfig"),
        ("secret", "it is not a kubeconfig"),
    ] {
        fs::write(&path, text).unwrap();
        for existing in [Existing::Merge, Existing::Replace] {
            let error = operator(&control_planes).write(&admin_conf(), &path, existing).unwrap_err();
            assert!(matches!(error, KubeconfigError::Unreadable { .. }), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}

#[test]
fn an_entry_of_somebody_else_is_never_written_over() {
    let (_folder, path) = folder();
    let control_planes = control_planes();
    let theirs = FOREIGN.replace("lab-of-bob", "lab");
    for (text, existing, name) in [(theirs.as_str(), Existing::Merge, "lab"), (FOREIGN, Existing::Replace, "prod")] {
        fs::write(&path, text).unwrap();
        let error = operator(&control_planes).write(&admin_conf(), &path, existing).unwrap_err();
        assert!(
            matches!(&error, KubeconfigError::Foreign { what: "context", name: found, .. } if found == name),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn an_empty_file_and_a_link_are_written_through() {
    let (folder, path) = folder();
    fs::write(&path, "").unwrap();
    let link = Utf8PathBuf::try_from(folder.path().join("link")).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let control_planes = control_planes();
    operator(&control_planes).write(&admin_conf(), &link, Existing::Merge).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(contexts(&load(&path)), ["lab", "lab-cp1", "lab-cp2"]);
}

#[test]
fn credentials_come_out_of_admin_conf_and_the_key_does_not_show() {
    let credentials = Credentials::from_kubeconfig(&admin_conf()).unwrap();
    assert_eq!(credentials.ca_pem, "-----CA");
    assert_eq!(credentials.client_cert_pem, "cert");
    assert_eq!(credentials.client_key_pem.expose_secret(), "key");
    assert!(!format!("{credentials:?}").contains("\"key\""));
    let error = Credentials::from_kubeconfig(&admin_conf().replace("client-key-data", "other")).unwrap_err();
    assert_eq!(error.to_string(), "admin.conf cannot be used: its user has no client-key-data");
}

#[test]
fn without_a_control_plane_there_is_nothing_to_write() {
    assert!(matches!(operator(&[]).render(&admin_conf()).unwrap_err(), KubeconfigError::NoAddress));
}

/// Companies with many clusters generate such files; 2000 contexts with 8 MB of keys were tried as well.
#[test]
fn a_huge_file_is_no_problem() {
    let (_folder, path) = folder();
    let certificate = "A".repeat(4000);
    let mut text = "apiVersion: v1\nkind: Config\ncontexts:\n".to_owned();
    for number in 0..500 {
        text += &format!("- {{name: c{number}, context: {{cluster: c{number}, user: c{number}}}}}\n");
    }
    text += "users:\n";
    for number in 0..500 {
        text += &format!("- {{name: c{number}, user: {{client-key-data: {certificate}}}}}\n");
    }
    fs::write(&path, text).unwrap();
    operator(&control_planes()).write(&admin_conf(), &path, Existing::Merge).unwrap();
    assert_eq!(parse(&fs::read_to_string(&path).unwrap()).unwrap()["contexts"].as_array().unwrap().len(), 503);
}
