//! How much may be examined in a whole check.

use std::fmt;
use std::sync::Arc;

/// The maximum number of steps for one expression: parts that are examined, counting repeated ones, and types that are
/// joined. Parts beyond it can be anything.
pub const CHECK_STEPS_MAX: u32 = 100_000;
/// The maximum number of steps for the expressions of one check together.
const STEPS_OF_ALL_MAX: u64 = 5_000_000;

/// Returns true once nobody waits for a check any longer.
pub type StopCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// How much may be examined in a whole check. Expressions that it is not enough for can be anything, and are not
/// reported on.
#[derive(Clone)]
pub struct CheckBudget {
    left: u64,
    is_stopped: Option<StopCheck>,
}

impl Default for CheckBudget {
    fn default() -> Self {
        Self { left: STEPS_OF_ALL_MAX, is_stopped: None }
    }
}

impl fmt::Debug for CheckBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckBudget").field("left", &self.left).finish_non_exhaustive()
    }
}

impl CheckBudget {
    /// Returns a budget that is used up once `is_stopped` returns true.
    pub fn until(is_stopped: StopCheck) -> Self {
        Self { is_stopped: Some(is_stopped), ..Self::default() }
    }

    /// Returns true if nobody waits for the check any longer.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.as_ref().is_some_and(|is_stopped| is_stopped())
    }

    /// Returns the number of steps for the next expression.
    pub(super) fn steps_of_one(&self) -> u32 {
        if self.is_stopped() { 0 } else { u32::try_from(self.left).unwrap_or(CHECK_STEPS_MAX).min(CHECK_STEPS_MAX) }
    }

    pub(super) fn spend(&mut self, steps: u32) {
        self.left = self.left.saturating_sub(u64::from(steps));
    }
}
