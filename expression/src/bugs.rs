//! A bug on purpose, so that it can be shown what a bug in evaluating one rule does to the others: nothing.
//!
//! Without the feature `bugs` there is none. No default feature and no crate that runs switches it on.

/// The field whose reading stops the evaluation, where the feature is on.
pub const BUGGY_FIELD: &str = "simulated_bug";

/// What the bug panics with.
#[derive(Clone, Copy, Debug)]
pub struct BugOnPurpose;

/// Has the bug strike where this is its field.
#[cfg(feature = "bugs")]
pub(crate) fn strike(field: &str) {
    if field == BUGGY_FIELD {
        std::panic::panic_any(BugOnPurpose);
    }
}

/// Has no bug strike.
#[cfg(not(feature = "bugs"))]
#[inline(always)]
pub(crate) const fn strike(_: &str) {}
