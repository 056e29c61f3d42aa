//! Inquiries: questions to people, and their answers.
//!
//! An inquiry is opened by an execution of the builtin `inquiry`, which waits for it and gives its answer; and by one of which nobody
//! knows what became of it, where `on_lost` says `ask`.

pub(crate) mod decide;
pub mod facts;
pub mod lost;
pub mod question;
pub(crate) mod react;
pub mod state;
