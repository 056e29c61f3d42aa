//! Rehearsals: an in-memory core with its own clock, in which the behavior of the outside world is scripted.
//!
//! Read in this order: [`stage`] is the core with its clock; [`history`] holds the outcomes; [`script`] holds
//! the mocks of a case, which play the outside world; [`rehearse`] runs a case, and [`findings`] lists the
//! expectations that it does not meet. [`fake`] answers requests as the fake vendor of a pack does. [`backtest`] runs a rule over past events, and [`replay`] folds a
//! recorded execution once more.
//!
//! Nothing here starts a program, opens a connection, reads a file or looks at a clock: a rehearsal takes
//! only as long as computing the decisions.

pub mod backtest;
mod error;
mod example;
pub mod fake;
pub mod findings;
pub mod history;
pub mod messages;
pub mod rehearse;
pub mod replay;
pub mod script;
pub mod stage;

pub use error::RehearsalError;
pub use findings::{Difference, UnmetExpectation};
pub use rehearse::{Rehearsal, Verdict};
