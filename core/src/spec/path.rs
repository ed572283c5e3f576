//! Paths into the spec as text, the way findings carry them: `spec.hosts[2].labels["example.com/tier"]`. With `@key`
//! behind it a path means the key instead of its value.

/// The path of `key` inside `parent`; a key that is not a plain word is quoted, so that dots stay unambiguous.
pub fn key(parent: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if key.is_empty() || !key.chars().all(plain) {
        format!("{parent}[{key:?}]")
    } else if parent.is_empty() {
        key.to_owned()
    } else {
        format!("{parent}.{key}")
    }
}

/// The path of element `index` of the list at `parent`.
pub fn element(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The key at `path` instead of its value.
pub fn of_key(path: &str) -> String {
    format!("{path}@key")
}

/// The path that holds `path`; `None` for the root, which is the empty path.
pub fn parent(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    let mut last = 0;
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'.' | b'[' | b'@' if !quoted => last = at,
            _ => {}
        }
    }
    path.get(..last)
}

/// Whether one of the paths is the other or holds it.
pub fn touches(one: &str, other: &str) -> bool {
    let holds = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[', '@']))
    };
    holds(one, other) || holds(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_built_and_taken_apart_again() {
        let labels = key(&element(&key(&key("", "spec"), "hosts"), 2), "labels");
        let label = key(&labels, "example.com/a\"b.c");
        assert_eq!(label, r#"spec.hosts[2].labels["example.com/a\"b.c"]"#);
        assert_eq!(parent(&label), Some("spec.hosts[2].labels"));
        assert_eq!(parent("spec.hosts[2]"), Some("spec.hosts"));
        assert_eq!(parent("spec"), Some(""));
        assert_eq!(parent(&of_key("spec.hosts")), Some("spec.hosts"));
        assert_eq!(parent(""), None);
    }

    #[test]
    fn a_path_touches_what_it_holds_and_nothing_that_only_begins_alike() {
        assert!(touches("spec.hosts", "spec.hosts[1].name"));
        assert!(touches("spec.hosts[1].name", "spec"));
        assert!(touches("", "spec.etcd"));
        assert!(!touches("spec.hosts[1]", "spec.hosts[10]"));
        assert!(!touches("spec.pool", "spec.pools"));
    }
}
