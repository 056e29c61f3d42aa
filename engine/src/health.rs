//! The health of the log: its nodes, its clock, and its owed and parked reactions.

pub mod decide;
pub mod facts;
pub mod state;
