//! Rules: which look at an event, what they make of it, and what becomes of those that err or go round in circles.

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
