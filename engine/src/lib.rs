//! The pure core of Ensue: a deterministic state machine in front of an append-only log.
//!
//! Read the modules in this order. [`names`], [`ids`], [`time`] and [`trace`] are basic types; [`explain`] is what
//! errors tell people; [`record`] and [`fact`] are the content of the log; [`catalog`] is what authors install;
//! [`command`] is the input and [`effect`] the output. [`state`] is what the records fold to, and [`reaction`] what
//! follows from one. [`engine`] decides, folds and reacts, noun by noun ([`events`], [`rules`], [`schedule`], [`sensors`],
//! [`executions`], [`workflows`], [`inquiries`], [`timers`], [`locks`], [`vars`], [`access`], [`dead_letters`],
//! [`health`]). [`batch`] is the sequencer's pure half, and [`ports`] are the traits that the edges implement.
//! [`table`] and [`recent`] are the data structures of the others, and [`sparse`] shortens their JSON.
//!
//! Nothing in this crate reads a clock, draws randomness, does I/O, takes a lock or awaits.

// The derive macro of `Explain` names this crate.
extern crate self as ensue_engine;

pub mod access;
mod as_text;
pub mod batch;
pub mod catalog;
pub mod command;
pub mod dead_letters;
pub mod effect;
pub mod engine;
pub mod events;
pub mod executions;
pub mod explain;
pub mod fact;
pub mod health;
pub mod ids;
pub mod inquiries;
pub mod locks;
pub mod names;
pub mod ports;
pub mod reaction;
pub mod recent;
pub mod record;
pub mod rules;
pub mod schedule;
pub mod sensors;
pub mod sparse;
pub mod state;
pub mod table;
mod text;
pub mod time;
pub mod timers;
pub mod trace;
pub mod vars;
pub mod workflows;
