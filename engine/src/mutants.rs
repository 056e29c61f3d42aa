//! One-line bugs that somebody could easily write, to prove that the simulator finds them.
//!
//! Without the feature `mutants` there are none: [`is`] is a constant `false`. `tests/simulation/mutants.rs`
//! lists what each bug breaks. No default feature and no crate of the product enables it.

#[cfg(feature = "mutants")]
use std::sync::OnceLock;

#[cfg(feature = "mutants")]
static CHOSEN: OnceLock<String> = OnceLock::new();

/// Enables the bug with this name in this process; only the first call has an effect.
#[cfg(feature = "mutants")]
pub fn choose(name: String) {
    let _ = CHOSEN.set(name);
}

/// Returns true if the bug with this name is enabled.
#[cfg(feature = "mutants")]
pub fn is(name: &str) -> bool {
    CHOSEN.get().is_some_and(|chosen| chosen == name)
}

/// Returns false: no bug is enabled.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is(_: &str) -> bool {
    false
}
