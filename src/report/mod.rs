//! What people are shown: findings on their own lines, and what a run came to.

pub mod diagnostics;
