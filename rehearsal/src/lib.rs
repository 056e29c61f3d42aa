//! Rehearsals: the core in memory, on a clock of its own, where what the world would do is said beforehand.
//!
//! Read in this order: [`stage`] is the core with its clock; [`history`] is what became of what was asked; [`script`] are the mocks of
//! a case, by which the world acts; [`rehearse`] runs a case and [`findings`] tells what is not as it expects. [`backtest`] tries a rule over
//! events that have come, and [`replay`] folds an execution that is recorded once more.
//!
//! Nothing here starts a program, opens a connection, reads a file or looks at a clock: a rehearsal takes no longer than deciding does.

pub mod backtest;
mod example;
pub mod findings;
pub mod history;
pub mod rehearse;
pub mod replay;
pub mod script;
pub mod stage;
mod stuck;

pub use findings::{Difference, Finding};
pub use rehearse::{Rehearsal, Verdict};
pub use stuck::Stuck;
