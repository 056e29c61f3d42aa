//! Inquiries: questions to people, and their answers.
//!
//! An inquiry is opened by an execution of the builtin `inquiry`, which waits for it and returns its answer;
//! and for an indeterminate execution whose `on_lost` is `ask`.

pub(crate) mod decide;
pub mod facts;
pub(crate) mod links;
pub mod lost_attempt;
pub mod question;
pub(crate) mod react;
pub mod right;
pub mod state;
