//! Command lines: ours, with the user's flags over them.

use kubewright_core::spec::Arg;

/// Our flags, by name.
pub(crate) type Flags = Vec<(&'static str, String)>;

/// kubeadm's `ArgumentsToCommand`: ours sorted by name, without those the user names; then the user's in their order,
/// repeats included.
pub(crate) fn flags(mut ours: Flags, theirs: &[Arg]) -> Vec<String> {
    ours.sort();
    let kept = ours.into_iter().filter(|(name, _)| !theirs.iter().any(|arg| arg.name == *name));
    let kept = kept.map(|(name, value)| format!("--{name}={value}"));
    kept.chain(theirs.iter().map(|arg| format!("--{}={}", arg.name, arg.value))).collect()
}

/// The program followed by its flags.
pub(crate) fn command(program: &str, ours: Flags, theirs: &[Arg]) -> Vec<String> {
    let mut command = vec![program.to_owned()];
    command.extend(flags(ours, theirs));
    command
}

/// The value that a program would use of a flag the user may repeat: the last.
pub(crate) fn last<'a>(theirs: &'a [Arg], name: &str) -> Option<&'a str> {
    theirs.iter().rev().find(|arg| arg.name == name).map(|arg| arg.value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_flag_replaces_ours_and_may_repeat() {
        let ours = vec![("v", "1".to_owned()), ("bind-address", "127.0.0.1".to_owned())];
        let theirs = ["2", "3"].map(|value| Arg { name: "v".to_owned(), value: value.to_owned() });
        assert_eq!(command("etcd", ours, &theirs), ["etcd", "--bind-address=127.0.0.1", "--v=2", "--v=3"]);
        assert_eq!(last(&theirs, "v"), Some("3"));
    }
}
