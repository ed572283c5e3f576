//! What displays show, as plain data: a plan in six lines ([`Outline`]), a run as it unfolds ([`Run`]), what is safe
//! now ([`SafeNow`]). Made from plan, journal events and their times alone; colours, widths and languages of output
//! are the displays' business.

mod estimate;
mod outline;
mod rows;
mod run;
mod safety;
pub mod sample;
mod status;
mod timing;

pub use estimate::typical;
pub use outline::{Outline, PhaseLine, count, headline, outcome, phase_of, short};
pub use rows::{Cell, CellState, Now, Row};
pub use run::{Run, Standing};
pub use safety::SafeNow;
pub use status::{ClusterStatus, MemberLine, NodeLine};
pub use timing::{Link, PhaseTime, ago};

#[cfg(test)]
mod tests;
