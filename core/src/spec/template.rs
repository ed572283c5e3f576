//! The file that `kubewright init` writes: everything that a first cluster needs, and the rest as comments beside its
//! default. It reads without findings as it is, unless what was asked for is itself at fault.

use std::fmt::Write;

use super::Role;
use super::schema::SCHEMA_URL;
use super::table;
/// What the user has already said.
#[derive(Clone, Debug)]
pub struct Template {
    /// Name of the cluster.
    pub name: String,
    /// Version of Kubernetes; reading the file checks it.
    pub version: String,
    /// Login name for ssh; without one ssh decides.
    pub user: Option<String>,
    /// The machines; without any, documentation addresses (RFC 5737) stand in for them.
    pub hosts: Vec<TemplateHost>,
}

/// One machine of a template.
#[derive(Clone, Debug)]
pub struct TemplateHost {
    /// Its name.
    pub name: String,
    /// Where ssh connects.
    pub address: String,
    /// What it does.
    pub roles: Vec<Role>,
}

impl TemplateHost {
    /// Hosts named by role for bare addresses: `cp1`, `cp2`, … and `w1`, `w2`, …
    ///
    /// A lone control plane without workers becomes one itself, so that the cluster can run something.
    pub fn named(control_planes: &[String], workers: &[String]) -> Vec<Self> {
        let mut roles = vec![Role::ControlPlane, Role::Etcd];
        if workers.is_empty() {
            roles.push(Role::Worker);
        }
        let host = |prefix, number, address: &String, roles: &[Role]| Self {
            name: format!("{prefix}{number}"),
            address: address.clone(),
            roles: roles.to_vec(),
        };
        let control_planes = (1..).zip(control_planes).map(|(number, address)| host("cp", number, address, &roles));
        let workers = (1..).zip(workers).map(|(number, address)| host("w", number, address, &[Role::Worker]));
        control_planes.chain(workers).collect()
    }
}

/// The file for hosts that are not known yet.
pub fn render(name: &str, version: &str) -> String {
    Template { name: name.to_owned(), version: version.to_owned(), user: None, hosts: Vec::new() }.render()
}

impl Template {
    /// The text of the file.
    pub fn render(&self) -> String {
        let api_version = table::API_VERSION;
        let containerd = table::CONTAINERD_DEFAULT;
        let name = quoted(&self.name);
        let version = quoted(&self.version);
        let user = match &self.user {
            Some(user) => format!("    user: {}", quoted(user)),
            None => "    # user: root                 # left out, ssh decides; anybody but root needs sudo".to_owned(),
        };
        let hosts = self.hosts();
        format!(
            "\
# yaml-language-server: $schema={SCHEMA_URL}
#
# A Kubernetes cluster for kubewright. Lines that begin with `#` show defaults and possibilities.
#
#   kubewright validate -f …   checks this file; contacts nothing
#   kubewright plan -f …       looks at the hosts and shows every step; changes nothing
#   kubewright apply -f …      makes the cluster as it stands here; run it again after each change
apiVersion: {api_version}
kind: Cluster
metadata:
  name: {name}                   # also the name of the context in your kubeconfig
spec:
  kubernetes:
    version: {version}

  # How clients and workers reach the API servers:
  #   nodeLocal   a small proxy on every worker finds one that is ready; needs nothing from you
  #   external    a DNS name or address of yours that leads to all control planes, given as `address`
  endpoint:
    mode: nodeLocal
    # mode: external
    # address: k8s.example.com
    # port: 6443

  # Neither network may overlap the other or the hosts' own. They cannot be changed later.
  network:
    podCIDR: 10.244.0.0/16       # every node takes a /24 of it
    serviceCIDR: 10.96.0.0/12
    # dnsDomain: cluster.local
    # cni:
    #   name: flannel            # or none: you install one
    #   interface: eth1          # where hosts have several: the one that carries pod traffic
    # kubeProxy:
    #   mode: nftables           # or iptables

  # Holds for every host, unless it has its own `ssh`. Your ~/.ssh/config and agent apply too.
  ssh:
{user}
    # identityFile: ~/.ssh/id_ed25519
    # bastion: user@jump.example.com
    hostKeys: strict             # unknown host keys are refused; acceptNew remembers them

  # Roles are controlPlane, etcd and worker. One control plane, or three to survive the loss of one; each runs an etcd
  # member. `privateAddress` is the address among the hosts, where it differs from the one ssh uses.
  hosts:
{hosts}
  # Workers that are treated alike; a host joins with `pool: general`.
  # pools:
  #   general:
  #     labels: {{tier: general}}
  #     taints:
  #     - {{key: example.com/dedicated, value: batch, effect: NoSchedule}}
  #     upgrade: {{maxUnavailable: 1}}     # a number or a percentage

  # Where binaries and images come from, if not from the official hosts. Digests are checked always.
  # artefacts:
  #   mirror: https://mirror.example.com
  #   registryMirrors:
  #     registry.k8s.io: https://registry.example.com

  # Certificates last a year and are renewed by kubewright.
  # certificates:
  #   encryptionAlgorithm: RSA-2048      # or RSA-3072, RSA-4096, ECDSA-P256, ECDSA-P384
  #   certificateValidityPeriod: 8760h
  #   caCertificateValidityPeriod: 87600h

  # apiServer, controllerManager, scheduler, etcd and kubelet take what kubeadm calls by these names.
  # apiServer:
  #   certSANs: [api.example.com]        # further names under which clients reach it
  #   extraArgs:                         # flags without their dashes
  #   - {{name: audit-log-maxage, value: \"30\"}}
  # kubelet:
  #   config:                            # fields of KubeletConfiguration
  #     maxPods: 110
  # containerd:
  #   version: {containerd}

  # Copies of etcd, as `kubewright etcd snapshot` takes them. Credentials are those of your AWS environment or profile.
  # backup:
  #   to: s3://backups/etcd              # or a folder
  #   endpoint: https://minio.example.com:9000   # left out: AWS
  #   compress: zstd
  #   keep: 14
  #   recipients: [age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg]   # keep the authorities' keys too, encrypted
"
        )
    }

    /// The lines of the hosts, aligned.
    fn hosts(&self) -> String {
        let addresses = |last: &[u8]| -> Vec<String> { last.iter().map(|last| format!("192.0.2.{last}")).collect() };
        let stand_ins = TemplateHost::named(&addresses(&[11, 12, 13]), &addresses(&[21]));
        let hosts = if self.hosts.is_empty() { &stand_ins } else { &self.hosts };
        let mut lines = String::new();
        for host in hosts {
            let roles: Vec<&str> = host.roles.iter().map(|role| word(*role)).collect();
            let (name, address) = (quoted(&host.name), quoted(&host.address));
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "  - {{name: {name}, address: {address}, roles: [{}]}}", roles.join(", "));
        }
        if self.hosts.is_empty() {
            lines.insert_str(0, "  # These addresses belong to nobody (RFC 5737): put yours here.\n");
        }
        lines
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::ControlPlane => "controlPlane",
        Role::Etcd => "etcd",
        Role::Worker => "worker",
    }
}

/// A word as YAML takes it: bare where that is safe, else in JSON's quotes, which YAML shares.
fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let bare = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(safe);
    if bare { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::read;
    use crate::version::Version;

    fn template(control_planes: &[&str], workers: &[&str]) -> Template {
        let owned = |addresses: &[&str]| addresses.iter().map(|address| (*address).to_owned()).collect::<Vec<_>>();
        Template {
            name: "lab".to_owned(),
            version: "1.35.4".to_owned(),
            user: None,
            hosts: TemplateHost::named(&owned(control_planes), &owned(workers)),
        }
    }

    #[test]
    fn it_reads_as_it_was_asked_for() {
        let mut template = template(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], &["10.0.0.4"]);
        template.user = Some("ops".to_owned());
        let reading = read("cluster.yaml", &template.render());
        assert_eq!(reading.findings, []);
        let spec = reading.spec.unwrap();
        assert_eq!((spec.name.as_str(), spec.kubernetes.version), ("lab", Version::new(1, 35, 4)));
        assert_eq!(spec.ssh.user.as_deref(), Some("ops"));
        let names: Vec<&str> = spec.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["cp1", "cp2", "cp3", "w1"]);
    }

    #[test]
    fn without_hosts_it_still_reads() {
        let text = render("lab", "1.35.4");
        let findings = read("cluster.yaml", &text).findings;
        assert_eq!(findings.len(), 4, "one for each stand-in");
        assert!(findings.iter().all(|finding| finding.code == "NODE004"), "{findings:?}");
    }

    #[test]
    fn a_lone_machine_works_too() {
        let reading = read("cluster.yaml", &template(&["10.0.0.1"], &[]).render());
        assert_eq!(reading.findings, []);
        assert!(reading.spec.unwrap().hosts[0].roles.contains(&Role::Worker));
    }

    #[test]
    fn its_comments_are_true() {
        // Uncommenting what looks like YAML gives a file that reads, but for the pool nobody joined.
        let mut text = String::new();
        for line in template(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], &["10.0.0.4"]).render().lines() {
            let bare = line.trim_start();
            let words = bare.trim_start_matches(['#', ' ', '-', '{']);
            let key = words.split_once(':').is_some_and(|(key, rest)| {
                key.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') && !rest.starts_with("//")
            });
            let uncommented = match line.split_once("# ") {
                Some((indent, rest)) if indent.trim().is_empty() && key => format!("{indent}{rest}"),
                _ => line.to_owned(),
            };
            text += &(uncommented + "\n");
        }
        let text = text.replacen("    mode: nodeLocal\n", "", 1);
        let reading = read("cluster.yaml", &text);
        let codes: Vec<&str> = reading.findings.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, ["POOL002"], "{:#?}\n{text}", reading.findings);
        assert_eq!(reading.spec.unwrap().endpoint.address.as_deref(), Some("k8s.example.com"));
    }

    #[test]
    fn what_was_asked_for_cannot_break_the_file() {
        let mut template = template(&["a: b #", "-x"], &["\"\n"]);
        template.name = "{x".to_owned();
        template.version = "1.35: [".to_owned();
        let reading = read("cluster.yaml", &template.render());
        assert!(reading.findings.iter().all(|finding| !finding.code.starts_with("SPEC")), "{:?}", reading.findings);
    }
}
