//! What ssh's words mean: the reason in one line, and what to do about it. Pure; ssh has no error codes, only words.

use super::SshTarget;
use crate::host::framing::clean;

/// A failed connection, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diagnosis {
    /// ssh's own words, in one line.
    pub(super) reason: String,
    /// What to do.
    pub(super) hint: Option<String>,
}

/// Whether ssh only says that its way in broke, not why; so it does when a bastion is at fault.
pub(super) fn is_silent_about_the_way(said: &str) -> bool {
    said.contains("UNKNOWN port 65535") || said.contains("kex_exchange_identification")
}

/// Explains what ssh said.
pub(super) fn diagnose(said: &str, target: &SshTarget) -> Diagnosis {
    let known_hosts = target.ssh.known_hosts_file.as_deref().unwrap_or("~/.ssh/known_hosts");
    let through = if target.ssh.bastion.is_some() { " (of the host or of its bastion)" } else { "" };

    if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let name = between(said, "Host key for ", " has changed").unwrap_or(&target.address).to_owned();
        let fingerprint =
            line_after(said, "fingerprint for the").map(|line| format!(", now {}", line.trim_end_matches('.')));
        return Diagnosis {
            reason: format!("THE HOST KEY of {name} HAS CHANGED{}", fingerprint.unwrap_or_default()),
            hint: Some(format!(
                "someone may be listening in, or the machine was installed anew. Do not go on before you know which: compare the \
                 fingerprint on the machine's own console. If it is right: ssh-keygen -R '{name}' -f {known_hosts}, then add the new key"
            )),
        };
    }
    if let Some(line) = find(said, "host key is known for") {
        let name = between(&line, "key is known for ", " and you").unwrap_or(&target.address).to_owned();
        return Diagnosis {
            reason: format!("the host key of {name} is not known{through}"),
            hint: Some(format!(
                "compare its fingerprint on the machine's console and add it: {} >> {known_hosts}; \
                 or set `ssh.hostKeys: acceptNew` in the spec to trust a host the first time",
                keyscan(&name)
            )),
        };
    }
    if said.contains("UNPROTECTED PRIVATE KEY FILE") {
        let file = between(said, "Permissions 0", "are too open")
            .and_then(|text| text.split('\'').nth(1))
            .unwrap_or("the key")
            .to_owned();
        return Diagnosis {
            reason: format!("{file} can be read by others, so ssh does not use it"),
            hint: Some(format!("chmod 600 {file}")),
        };
    }
    for (words, hint) in KNOWN {
        if let Some(line) = find(said, words) {
            let missing = find(said, "Identity file").map(|line| format!("{line}; ")).unwrap_or_default();
            let hint = hint
                .replace("{address}", &target.address)
                .replace("{user}", target.ssh.user.as_deref().unwrap_or("the login user"));
            return Diagnosis { reason: format!("{missing}{line}"), hint: Some(hint) };
        }
    }
    let reason = last_words(said);
    Diagnosis { reason: if reason.is_empty() { "ssh gave no reason".to_owned() } else { reason }, hint: None }
}

/// Words of ssh and what to do about them; the first that fits wins, so causes stand before consequences.
const KNOWN: [(&str, &str); 16] = [
    ("Could not resolve hostname", "the name {address} is not known: check the spelling and your DNS"),
    (
        "Permission denied (",
        "the host is there but does not take your key for {user}: check `ssh.user` and `ssh.identityFile`, `ssh-add -l`, and the host's authorized_keys. Passwords are not asked for",
    ),
    ("Too many authentication failures", "your agent offered too many keys: name the right one in `ssh.identityFile`"),
    ("Connection refused", "the machine answers but no sshd listens there: check `ssh.port` and that sshd runs"),
    ("Connection timed out", "no answer at all: check the address, firewalls and whether the machine is up"),
    ("Operation timed out", "no answer at all: check the address, firewalls and whether the machine is up"),
    ("timed out", "no answer in time: check the address, firewalls and whether the machine is up"),
    ("No route to host", "the network has no way there: check the address, routing and firewalls"),
    ("Network is unreachable", "this machine has no way there: check its own network, VPN and the address"),
    (
        "administratively prohibited",
        "the bastion does not allow TCP forwarding: set AllowTcpForwarding in its sshd_config",
    ),
    ("no matching", "this ssh and that sshd have no algorithm in common: one of them is too old"),
    ("Bad configuration option", "ssh does not understand your configuration file: correct the line named here"),
    ("Bad owner or permissions", "others can write your ssh configuration, so ssh does not use it: chmod 600 it"),
    (
        "Connection reset by",
        "sshd hung up: too many logins at once (MaxStartups), a ban (fail2ban) or a full machine; see its log",
    ),
    (
        "Connection closed by",
        "sshd hung up: too many logins at once (MaxStartups), a ban (fail2ban) or a full machine; see its log",
    ),
    ("too long for Unix domain socket", "the folder for control sockets has too long a name: unset XDG_RUNTIME_DIR"),
];

/// `[name]:port`, as known_hosts writes other ports than 22, as arguments of ssh-keyscan.
fn keyscan(name: &str) -> String {
    match name.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((address, port)) => format!("ssh-keyscan -p {port} {address}"),
        None => format!("ssh-keyscan {name}"),
    }
}

fn find(said: &str, words: &str) -> Option<String> {
    let line = said.lines().find(|line| line.contains(words))?;
    Some(tidy(line))
}

fn tidy(line: &str) -> String {
    let line = clean(line);
    line.trim().strip_prefix("ssh: ").unwrap_or(line.trim()).to_owned()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

fn line_after<'a>(said: &'a str, words: &str) -> Option<&'a str> {
    said.lines().skip_while(|line| !line.contains(words)).nth(1).map(str::trim)
}

/// The last lines that say something.
fn last_words(said: &str) -> String {
    let lines: Vec<String> = said
        .lines()
        .map(tidy)
        .filter(|line| !line.is_empty() && !line.starts_with("Warning: Permanently added"))
        .collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

#[cfg(test)]
mod tests {
    use kubewright_core::spec::Ssh;

    use super::*;

    fn target() -> SshTarget {
        let ssh = Ssh { user: Some("ops".to_owned()), known_hosts_file: Some("/k/known".to_owned()), ..Ssh::default() };
        SshTarget { name: "cp1".into(), address: "10.0.0.1".to_owned(), ssh, sudo_password: None }
    }

    #[test]
    fn an_unknown_key_names_the_command_that_adds_it() {
        let said = "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\r\nHost key verification failed.\r\n";
        let found = diagnose(said, &target());
        assert_eq!(found.reason, "the host key of [127.0.0.1]:2222 is not known");
        let hint = found.hint.unwrap();
        assert!(hint.contains("ssh-keyscan -p 2222 127.0.0.1 >> /k/known"), "{hint}");
        assert!(hint.contains("acceptNew"), "{hint}");
    }

    #[test]
    fn a_changed_key_is_loud() {
        let said = "@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@\nIT IS POSSIBLE\nThe fingerprint for the ED25519 key sent by the remote host is\nSHA256:abc.\nPlease contact\nOffending ED25519 key in /k/known:1\nHost key for 10.0.0.1 has changed and you have requested strict checking.\nHost key verification failed.";
        let found = diagnose(said, &target());
        assert_eq!(found.reason, "THE HOST KEY of 10.0.0.1 HAS CHANGED, now SHA256:abc");
        assert!(found.hint.unwrap().contains("ssh-keygen -R '10.0.0.1' -f /k/known"));
    }

    #[test]
    fn each_common_failure_has_a_hint() {
        for said in [
            "ssh: Could not resolve hostname nope: Name or service not known",
            "ops@10.0.0.1: Permission denied (publickey).",
            "ssh: connect to host 10.0.0.1 port 22: Connection refused",
            "ssh: connect to host 10.0.0.1 port 22: Connection timed out",
            "ssh: connect to host 10.0.0.1 port 22: No route to host",
            "Connection timed out during banner exchange\nConnection to 10.0.0.1 port 22 timed out",
            "kex_exchange_identification: Connection closed by remote host\nConnection closed by 10.0.0.1 port 22",
        ] {
            let found = diagnose(said, &target());
            assert!(found.hint.is_some(), "{said}");
            assert!(!found.reason.starts_with("ssh:"), "{}", found.reason);
        }
    }

    #[test]
    fn unknown_words_are_passed_on_without_their_control_codes() {
        let found = diagnose("Warning: Permanently added x\r\n\u{1b}[2Jsomething new\r\n", &target());
        assert_eq!(found, Diagnosis { reason: "something new".to_owned(), hint: None });
        assert_eq!(diagnose("", &target()).reason, "ssh gave no reason");
    }
}
