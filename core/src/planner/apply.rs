//! Makes reality what the spec says, from wherever it is.

use super::difference::Differences;
use super::{Input, Outcome, bootstrap, converge, preflight};
use crate::finding::{Severity, worst};
use crate::ids::HostName;

/// Plans what turns the facts into the spec's cluster: bare hosts into a first one, or one that stands into what the
/// spec has become.
///
/// Only hosts that are in `only`, where there is such a list, are changed. A host that nobody could render for has a blocking finding in the input, so that none is planned to get nothing.
pub(super) fn apply(input: Input<'_>, only: Option<&[HostName]>) -> Outcome {
    let differences = Differences::of(input, only);
    let findings = preflight::findings(input, only, &differences);
    if worst(&findings) == Some(Severity::Blocks) {
        return Outcome::Blocked { findings };
    }
    let plan = if !differences.stands() {
        bootstrap::tell(input, findings)
    } else if differences.is_empty() {
        return Outcome::Nothing { findings };
    } else {
        converge::tell(input, &differences, findings)
    };
    Outcome::checked(plan)
}
