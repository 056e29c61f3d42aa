//! Seams for one-line bugs, to prove that the simulator finds them.
//!
//! Here, no bug is ever enabled. `cargo sim --mutants` builds a copy of the sources in which bugs can be.

/// Returns false: no bug is enabled.
#[inline(always)]
pub const fn is(_: &str) -> bool {
    false
}
