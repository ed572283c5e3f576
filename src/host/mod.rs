//! Hosts: how scripts reach them (ssh, the machine itself, a fake), and what is built from scripts alone: units for
//! long work, the lock with its fence, files, the mirror of the journal.

pub mod authority;
pub mod fake;
pub mod fence;
pub mod files;
pub mod framing;
pub mod here;
pub mod local;
pub mod mirror;
mod shell;
pub mod ssh;
pub mod unit;
