//! A question that is cancelled, in a terminal: Ctrl-C, Esc and no change nothing.

use super::machines::Site;
use crate::ui::{ended, in_terminal};

#[test]
fn a_question_that_is_cancelled_changes_nothing() {
    let site = Site::new(1);
    for key in ["\x03", "\x1b", "n", "\r"] {
        let mut session = in_terminal(site.bench.in_terminal(&["apply", "--consent", "HOST046"]), 60);
        session.exp_string("Run it now?").unwrap();
        session.send(key).unwrap();
        session.flush().unwrap();
        let (code, said) = ended(session);
        assert_eq!(code, Some(4), "{key:?}: {said}");
        assert!(said.contains("nothing was changed"), "{key:?}: {said}");
        site.is_untouched();
        assert_eq!(site.bench.files(), ["cluster.yaml"], "{key:?}");
    }
}
