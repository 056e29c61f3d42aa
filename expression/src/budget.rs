//! What one evaluation may cost, counted in steps and bytes so that the answer is the same on every machine.
//!
//! There is no clock here: a limit in milliseconds would make decisions differ between runs.

use crate::error::{ErrorKind, Fault, fault};

/// Steps that one evaluation may take unless its caller says otherwise.
pub const EVALUATION_STEPS_MAX: u64 = 100_000;
/// Bytes of text that one evaluation may read or make.
pub const EVALUATION_BYTES_MAX: u64 = 4 << 20;
/// This many bytes read, compared or copied cost one step.
const BYTES_PER_STEP: u64 = 64;

/// The bounds of an evaluation and what it has used of them.
///
/// A node of the expression, a link of a path and a turn of a macro cost one step each; work on text and bytes
/// costs by length. A budget may be handed to several evaluations, which then share it.
#[derive(Clone, Debug)]
pub struct Budget {
    steps_spent: u64,
    steps_max: u64,
    bytes_spent: u64,
    bytes_max: u64,
    /// Whether a whole number was read that does not fit in 64 bits, and so is the nearest double.
    has_rounded: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self::steps(EVALUATION_STEPS_MAX)
    }
}

impl Budget {
    /// A budget of `steps_max` steps, and [`EVALUATION_BYTES_MAX`] bytes read or made.
    pub fn steps(steps_max: u64) -> Self {
        Self { steps_spent: 0, steps_max, bytes_spent: 0, bytes_max: EVALUATION_BYTES_MAX, has_rounded: false }
    }

    /// The steps used up to now.
    pub fn spent(&self) -> u64 {
        self.steps_spent
    }

    /// The bytes read or made up to now.
    pub fn bytes_spent(&self) -> u64 {
        self.bytes_spent
    }

    /// Notes that a whole number was read as the nearest double.
    pub(crate) fn note_rounded(&mut self) {
        self.has_rounded = true;
    }

    /// Says whether a whole number was read as the nearest double since this was asked last.
    pub(crate) fn take_rounded(&mut self) -> bool {
        std::mem::take(&mut self.has_rounded)
    }

    /// Charges `steps`, before the work that they stand for.
    #[inline]
    pub(crate) fn charge(&mut self, steps: u64) -> Result<(), Fault> {
        self.steps_spent = self.steps_spent.saturating_add(steps);
        if self.steps_spent > self.steps_max {
            return Err(self.out_of_steps());
        }
        Ok(())
    }

    /// Charges the reading, comparing or making of `bytes`, before it is done.
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
