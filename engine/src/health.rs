//! The log's own life: its nodes, its clock, and the reactions that were put aside.

pub mod decide;
pub mod facts;
pub mod state;
