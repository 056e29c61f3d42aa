//! Rare states that a run reached: a simulation that never meets them proves nothing about them.
//!
//! It judges nothing; who runs many seeds says which names must be reached.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

static REACHED: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Notes that a rare state was reached.
pub fn reached(name: &'static str) {
    *REACHED.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
}

/// Gives what was reached in this process, and how often.
pub fn all() -> BTreeMap<&'static str, u64> {
    REACHED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Notes that a rare state was reached: `sometimes!("a token was refused")`, or `sometimes!(is_so, "…")`.
#[macro_export]
macro_rules! sometimes {
    ($name:literal) => {
        $crate::sometimes::reached($name)
    };
    ($is_so:expr, $name:literal) => {
        if $is_so {
            $crate::sometimes::reached($name);
        }
    };
}
