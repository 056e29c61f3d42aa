//! The output for authors of packs and for the engine: one test binary, one subject per file.

mod cases;
mod catalog;
mod connections;
mod diagnostics_page;
mod effort;
mod every_error;
mod fakes;
mod flow;
mod github;
mod json_schemas;
mod labels;
mod library_sensors;
mod lints;
mod mail;
mod mistakes;
mod one_mistake;
mod repeats;
mod rule_steps;
mod runners;
#[path = "../../tests/support/skipped.rs"]
mod skipped;
mod sources;
mod step_flow;
mod step_slips;
mod support;
mod templates;
mod traps;
mod types;
mod urls;
mod valid_packs;
mod versions;
mod webhooks;
mod workflows;
