//! The bug that is enabled in this process. `cargo sim --mutants` adds this module to its copy of the engine.

use std::sync::OnceLock;

/// Names the enabled bug.
const CHOSEN: &str = "ENSUE_MUTANT";

/// Returns true if the bug with this name is enabled.
pub fn is(name: &str) -> bool {
    static ENABLED: OnceLock<Option<String>> = OnceLock::new();
    ENABLED.get_or_init(|| std::env::var(CHOSEN).ok()).as_deref() == Some(name)
}
