//! Becoming root: straight away, through sudo, through sudo with a password. sudo and id are stand-ins here that
//! behave as the real ones do; the lab has the real ones.

use std::fs;

use kubewright::ports::{HostError, Hosts, Output, Script, quiet};
use secrecy::SecretString;

use super::sshd::{Sshd, hosts, name, possible, program};

/// A sudo whose password is `sesame`.
pub const SUDO: &str = r#"#!/bin/sh
dir=${0%/bin/sudo}
if [ -f "$dir/deny" ]; then
	echo "ops is not in the sudoers file.  This incident will be reported." >&2
	exit 1
fi
while :; do
	case $1 in
	-n) silent=1 ;;
	-k | -S) ;;
	-p) prompt=$2 && shift ;;
	*) break ;;
	esac
	shift
done
[ "$1" != -- ] || shift
if [ ! -f "$dir/nopasswd" ]; then
	if [ -n "$silent" ]; then
		echo "sudo: a password is required" >&2
		exit 1
	fi
	for try in 1 2 3; do
		printf '%s' "$prompt" >&2
		IFS= read -r password || { echo "sudo: no password was provided" >&2; exit 1; }
		echo "$password" >>"$dir/tried"
		[ "$password" != sesame ] || { ok=1; break; }
		echo "Sorry, try again." >&2
	done
	[ -n "$ok" ] || exit 1
fi
exec env KW_ROOT=1 "$@"
"#;

/// An sshd whose users are not root, with a stand-in for sudo.
fn sshd_with_sudo() -> (Sshd, Sshd) {
    let programs = Sshd::start("");
    program(&programs, "bin/sudo", SUDO);
    program(&programs, "bin/id", "#!/bin/sh\necho 1000\n");
    let bin = programs.path("bin");
    program(
        &programs,
        "login",
        &format!(
            "#!/bin/sh\nPATH={}:$PATH\nexport PATH\necho welcome\nexec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
            bin.display()
        ),
    );
    (Sshd::start(&format!("ForceCommand {}", programs.path("login").display())), programs)
}

async fn try_root(sshd: &Sshd, password: Option<&str>, times: usize) -> Result<Output, HostError> {
    let hosts = hosts(sshd.settings(), password.map(SecretString::from));
    let host = hosts.host(&name()).await?;
    let script =
        Script::new("test.sh", "echo root=$KW_ROOT; cat; echo \"$VALUE\"").value("VALUE", "kubewright-script\nlast");
    for _ in 1..times {
        host.run(&script, &mut quiet()).await?;
    }
    host.run(&script, &mut quiet()).await
}

fn tried(programs: &Sshd) -> String {
    fs::read_to_string(programs.path("tried")).unwrap_or_default()
}

const ANSWER: &str = "root=1\nkubewright-script\nlast\n";

#[tokio::test]
async fn sudo_without_a_password() {
    if !possible() {
        return;
    }
    let (sshd, programs) = sshd_with_sudo();
    fs::write(programs.path("nopasswd"), "").unwrap();
    assert_eq!(try_root(&sshd, None, 2).await.unwrap().stdout, ANSWER);
    // A password that nobody asks for does no harm, the first time or later.
    assert_eq!(try_root(&sshd, Some("sesame"), 3).await.unwrap().stdout, ANSWER);
    assert_eq!(tried(&programs), "");
}

#[tokio::test]
async fn sudo_with_a_password() {
    if !possible() {
        return;
    }
    let (sshd, programs) = sshd_with_sudo();
    assert_eq!(try_root(&sshd, Some("sesame"), 3).await.unwrap().stdout, ANSWER);
    assert_eq!(tried(&programs), "sesame\n".repeat(3));

    let error = try_root(&sshd, None, 1).await.unwrap_err();
    assert!(matches!(&error, HostError::Sudo { reason, .. } if reason == "sudo: a password is required"), "{error}");
    assert!(error.hint().unwrap().contains("KUBEWRIGHT_SUDO_PASSWORD"));
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_nothing_else_as_one() {
    if !possible() {
        return;
    }
    let (sshd, programs) = sshd_with_sudo();
    let error = try_root(&sshd, Some("open"), 1).await.unwrap_err();
    assert!(matches!(&error, HostError::Sudo { reason, .. } if reason == "the password was not accepted"), "{error}");
    assert!(error.nothing_ran());
    let hosts = hosts(sshd.settings(), Some("open".into()));
    let host = hosts.host(&name()).await.unwrap();
    fs::remove_file(programs.path("tried")).unwrap();
    for _ in 0..3 {
        host.run(&Script::new("test.sh", "true"), &mut quiet()).await.unwrap_err();
    }
    assert_eq!(tried(&programs), "open\n");
}

#[tokio::test]
async fn who_may_not_use_sudo_is_told() {
    if !possible() {
        return;
    }
    let (sshd, programs) = sshd_with_sudo();
    fs::write(programs.path("deny"), "").unwrap();
    for password in [None, Some("sesame")] {
        let error = try_root(&sshd, password, 1).await.unwrap_err();
        assert!(matches!(&error, HostError::Sudo { reason, .. } if reason.contains("not in the sudoers")), "{error}");
        assert!(error.hint().is_some());
    }
    fs::remove_file(programs.path("bin/sudo")).unwrap();
    // Root needs no sudo, with or without a password.
    program(&programs, "bin/id", "#!/bin/sh\necho 0\n");
    for password in [None, Some("sesame")] {
        assert_eq!(try_root(&sshd, password, 2).await.unwrap().stdout, "root=\nkubewright-script\nlast\n");
    }
}
