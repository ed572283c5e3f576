//! The least time that emptying nodes one after another can take, by the arithmetic of readiness alone: no request, no
//! scheduler, no controller takes any time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use kubewright_core::drain::Name;

/// Nodes that are emptied in turn. For each, the budget of each of its pods; `None` where none counts it. `allowed` is how
/// many pods each budget may miss. A pod ends `stop` after its eviction, and its budget has room again once the
/// replacement, made at once, is Ready after `ready`. Pods of a budget are all alike, so that first come, first served is
/// the best that can be.
pub fn least(
    turns: &[Vec<Option<Name>>],
    allowed: &BTreeMap<Name, usize>,
    stop: Duration,
    ready: Duration,
) -> Duration {
    let mut free: BTreeMap<&Name, BinaryHeap<Reverse<Duration>>> =
        allowed.iter().map(|(budget, room)| (budget, vec![Reverse(Duration::ZERO); *room].into())).collect();
    let mut now = Duration::ZERO;
    for turn in turns {
        let began = now;
        for budget in turn {
            let mut evicted = began;
            if let Some(room) = budget.as_ref().and_then(|budget| free.get_mut(budget))
                && let Some(Reverse(since)) = room.pop()
            {
                evicted = began.max(since);
                room.push(Reverse(evicted + ready));
            }
            now = now.max(evicted + stop);
        }
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Duration = Duration::from_secs(2);
    const READY: Duration = Duration::from_secs(3);

    fn seconds(turns: &[Vec<Option<Name>>], room: usize) -> u64 {
        least(turns, &BTreeMap::from([(cart().unwrap(), room)]), STOP, READY).as_secs()
    }

    fn cart() -> Option<Name> {
        Some(Name::new("shop", "cart"))
    }

    #[test]
    fn pods_of_a_budget_go_as_its_replacements_come() {
        assert_eq!(seconds(&[vec![cart(); 20]], 1), 19 * 3 + 2);
        assert_eq!(seconds(&[vec![cart(); 20]], 5), 3 * 3 + 2);
        assert_eq!(seconds(&[vec![None; 110]], 1), 2, "all at once");
        assert_eq!(seconds(&[], 1), 0);
    }

    #[test]
    fn a_budget_that_one_node_has_used_holds_the_next_one_up() {
        // The first is empty after 2 s, and only after 3 s is its replacement Ready.
        assert_eq!(seconds(&[vec![cart()], vec![cart()]], 1), 3 + 2);
        assert_eq!(seconds(&[vec![cart()], vec![cart()]], 2), 2 + 2);
        assert_eq!(seconds(&[vec![cart()], vec![None], vec![cart()]], 1), 2 + 2 + 2, "meanwhile it has room again");
    }
}
