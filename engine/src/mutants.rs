//! Bugs of one line, each such as somebody could write by mistake, so that it can be shown that the simulator finds them.
//!
//! Without the feature `mutants` there are none: [`is`] is a constant `false`. What each breaks stands in
//! `tests/simulation/mutants.rs`. No default feature and no crate that runs switches it on.

#[cfg(feature = "mutants")]
use std::sync::OnceLock;

#[cfg(feature = "mutants")]
static CHOSEN: OnceLock<String> = OnceLock::new();

/// Has this process be broken by the bug of this name; the first choice stands.
#[cfg(feature = "mutants")]
pub fn choose(name: String) {
    let _ = CHOSEN.set(name);
}

/// Says whether the bug of this name is there.
#[cfg(feature = "mutants")]
pub fn is(name: &str) -> bool {
    CHOSEN.get().is_some_and(|chosen| chosen == name)
}

/// Says that the bug of this name is not there.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is(_: &str) -> bool {
    false
}
