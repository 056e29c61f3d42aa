//! A deliberate bug, which shows that a bug in evaluating one rule does nothing to the others.
//!
//! It is active if the feature `bugs` is on and [`plant`] was called, both of which only the simulator does.
//! The feature alone changes nothing, because cargo builds a crate once for everything that is built
//! together, with the features of all.

#[cfg(feature = "bugs")]
use std::sync::atomic::{AtomicBool, Ordering};

/// The field whose reading stops the evaluation, if the bug is active.
pub const BUGGY_FIELD: &str = "simulated_bug";

#[cfg(feature = "bugs")]
static IS_PLANTED: AtomicBool = AtomicBool::new(false);

/// The panic payload of the bug.
#[derive(Clone, Copy, Debug)]
pub struct BugOnPurpose;

/// Activates the bug in this process, for as long as the process lives.
#[cfg(feature = "bugs")]
pub fn plant() {
    IS_PLANTED.store(true, Ordering::Relaxed);
}

/// Triggers the bug if it is active and this is its field.
#[cfg(feature = "bugs")]
pub(crate) fn strike(field: &str) {
    if field == BUGGY_FIELD && IS_PLANTED.load(Ordering::Relaxed) {
        std::panic::panic_any(BugOnPurpose);
    }
}

/// Does nothing.
#[cfg(not(feature = "bugs"))]
#[inline(always)]
pub(crate) const fn strike(_: &str) {}
