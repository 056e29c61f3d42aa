//! Inquiries: questions to people, and their answers.
//!
//! An inquiry is opened by an execution of the builtin `inquiry`, which waits for it and gives its answer.

pub(crate) mod decide;
pub mod facts;
pub mod question;
pub(crate) mod react;
pub mod state;
