//! The core's guarantees as scenarios and properties. Small types are tested next to their code.

#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up is a failed test")]

mod access;
mod admission;
mod catalog;
mod contract;
mod dead_letters;
mod dedupe;
mod errors;
mod events;
mod executions;
mod explain;
mod flow;
mod index;
mod inquiries;
mod internal_triggers;
mod interpreter;
mod issuers;
mod items;
mod keyed;
mod labels;
mod locks;
mod loops;
mod lost;
mod messages;
mod modes;
mod panics;
mod pauses;
mod programs;
mod properties;
mod queues;
mod repeats;
mod reruns;
mod rights;
mod rule_steps;
mod scheduled;
mod schedules;
mod state;
mod support;
mod timers;
mod turns;
mod undo;
mod vars;
mod vectors;
mod waits;
mod workflows;
