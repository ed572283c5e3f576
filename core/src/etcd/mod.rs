//! How an etcd cluster is, and what makes a good backup of it: judgements over what was seen, without any IO. Whether a change
//! may be made is [`crate::quorum`]'s to say; here nothing is changed.
//!
//! [`agreement`] compares what members hold, [`status`] says how each of them is and [`advice`] what to do next; [`source`]
//! chooses whom a snapshot is taken from, [`attest`] holds it against the members, [`manifest`] is kept beside it, [`address`] says
//! where, [`retention`] which copies may go, and [`schedule`] when hosts take them by themselves.

pub mod address;
pub mod advice;
pub mod agreement;
pub mod attest;
pub mod manifest;
pub mod retention;
pub mod schedule;
pub mod source;
pub mod status;
