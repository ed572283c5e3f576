//! Majorities. Every question about what etcd can lose ends here.

/// Members that must agree: more than half.
pub fn majority(members: usize) -> usize {
    members / 2 + 1
}

/// Whether so many running members of so many voters can decide anything.
pub fn has_quorum(members: usize, running: usize) -> bool {
    members > 0 && running >= majority(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_split_is_no_majority() {
        assert!(!has_quorum(4, 2));
        assert!(has_quorum(4, 3));
        assert!(has_quorum(3, 2));
        assert!(!has_quorum(0, 0));
    }
}
