//! kubewright's pure decisions: what the user wants ([`spec`]) and what was seen ([`facts`]) go into the
//! [`planner`], a [`plan`] comes out; [`journal`] says which events a run may record and what they add up to;
//! [`sim`] applies steps to a modelled cluster so that invariants can be tested over every prefix of a plan.
//!
//! Nothing here reads a file, a clock, a socket or a random number: the crate's `Cargo.toml` lacks the means.

pub mod drain;
pub mod etcd;
pub mod facts;
pub mod finding;
pub mod guard;
pub mod health;
pub mod ids;
pub mod intent;
pub mod journal;
pub mod maintenance;
pub mod marks;
pub mod offer;
pub mod pins;
pub mod plan;
pub mod planner;
pub mod progress;
pub mod quorum;
pub mod releases;
pub mod sim;
pub mod skew;
pub mod spec;
pub mod summary;
pub mod takeover;
pub mod version;
