//! The budget of one evaluation, counted in steps and bytes so that the result is the same on every machine.
//!
//! There is no clock here: a limit in milliseconds would make decisions differ between runs.

use crate::error::{ErrorKind, Fault, fault};

/// The number of steps that one evaluation may take unless its caller sets another limit.
pub const EVALUATION_STEPS_MAX: u64 = 100_000;
/// The number of bytes of text that one evaluation may read or create.
pub const EVALUATION_BYTES_MAX: u64 = 4 << 20;
/// The number of bytes read, compared or copied that cost one step.
const BYTES_PER_STEP: u64 = 64;

/// The limits of an evaluation, and how much of them it has used.
///
/// A node of the expression, a link of a path and a turn of a macro cost one step each. Work on text and
/// bytes costs by length. Several evaluations may share one budget.
#[derive(Clone, Debug)]
pub struct Budget {
    steps_spent: u64,
    steps_max: u64,
    bytes_spent: u64,
    bytes_max: u64,
    /// Whether a whole number was read that does not fit in 64 bits, and so became the nearest double.
    has_rounded: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self::steps(EVALUATION_STEPS_MAX)
    }
}

impl Budget {
    /// Returns a budget of `steps_max` steps, and [`EVALUATION_BYTES_MAX`] bytes read or created.
    pub fn steps(steps_max: u64) -> Self {
        Self { steps_spent: 0, steps_max, bytes_spent: 0, bytes_max: EVALUATION_BYTES_MAX, has_rounded: false }
    }

    /// Returns the steps used so far.
    pub fn steps_spent(&self) -> u64 {
        self.steps_spent
    }

    /// Returns the bytes read or created so far.
    pub fn bytes_spent(&self) -> u64 {
        self.bytes_spent
    }

    /// Notes that a whole number was read as the nearest double.
    pub(crate) fn note_rounded(&mut self) {
        self.has_rounded = true;
    }

    /// Returns true if a whole number was read as the nearest double since the last call.
    pub(crate) fn take_rounded(&mut self) -> bool {
        std::mem::take(&mut self.has_rounded)
    }

    /// Charges `steps` before the corresponding work.
    #[inline]
    pub(crate) fn charge(&mut self, steps: u64) -> Result<(), Fault> {
        self.steps_spent = self.steps_spent.saturating_add(steps);
        if self.steps_spent > self.steps_max {
            return Err(self.out_of_steps());
        }
        Ok(())
    }

    /// Charges for reading, comparing or creating `bytes`, before the work.
    #[inline]
    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes_spent = self.bytes_spent.saturating_add(bytes as u64);
        if self.bytes_spent > self.bytes_max {
            return Err(self.out_of_bytes());
        }
        self.charge(bytes as u64 / BYTES_PER_STEP)
    }

    #[cold]
    fn out_of_steps(&self) -> Fault {
        fault(ErrorKind::Budget, format!("evaluation takes more than {} steps", self.steps_max))
            .hint("loop over smaller lists, or split the expression into smaller ones")
    }

    #[cold]
    fn out_of_bytes(&self) -> Fault {
        fault(ErrorKind::Budget, format!("evaluation reads or creates more than {} bytes", self.bytes_max))
            .hint("read only the field that you need, not the whole document")
    }
}
