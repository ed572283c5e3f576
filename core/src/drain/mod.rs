//! Emptying a node through the Eviction API: what was seen ([`World`]), what the user allows ([`Policy`]), what was tried
//! ([`Ledger`]), and from these what to do now and what to wait for ([`decide`]), with the reason of every wait as
//! data ([`why`]) and a forecast before anything is touched ([`forecast`]).
//!
//! Nothing here asks or changes anything: `src/exec/drain.rs` is the loop that watches and evicts.

mod amounts;
mod budget;
mod consent;
mod decide;
mod forecast;
mod ledger;
mod outcome;
mod policy;
mod room;
mod selector;
mod why;
mod world;

pub use amounts::Amounts;
pub use budget::{Budget, Never, UnhealthyPolicy, Wanted};
pub use consent::{Class, Consent, Left, classify};
pub use decide::{Action, Decision, End, Reason, Standing, Wait, decide, is_emptied};
pub use forecast::{
    Forecast, Permission, cordoned_by_others, forbidden, forecast, no_such_node, takes_cordon_of_others,
};
pub use ledger::{Ledger, Try};
pub use outcome::{Answer, Cause, Next, Outcome};
pub use policy::Policy;
pub use room::{Apart, Lack, Neighbour, Occupancy, Room, Unjudged, Used, room};
pub use selector::{Operator, Requirement, Selector};
pub use why::{Link, Why, why};
pub use world::{Deletion, EmptyDir, Name, News, Node, Object, Owner, Phase, Pod, Readiness, Toleration, View, World};

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
