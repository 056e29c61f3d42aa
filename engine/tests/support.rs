//! The building blocks of scenarios: catalogs in short calls, and a site that has one installed.

pub(crate) mod commands;
pub(crate) mod definitions;
pub(crate) mod random;
pub(crate) mod site;
pub(crate) mod workflow;

pub(crate) use commands::{
    accept_clock, ana, answer_inquiry, asked_by, cancel, dismiss, fire_timers, lose, note_restore, note_start, permit_at, retry, set_mode,
    settle, worker, workers,
};
pub(crate) use definitions::{Pieces, fields, rule_id};
pub(crate) use site::Site;
