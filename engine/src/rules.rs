//! Rules: which of them judge an event, what they decide, and what happens to rules that err or trigger themselves.

pub mod decide;
pub mod explain;
pub mod facts;
pub mod flow;
pub mod index;
pub mod judge;
pub mod local;
pub mod react;
pub mod state;
pub mod view;
