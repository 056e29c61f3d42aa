//! The API from its callers' point of view, driven in process with a small node.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod artifacts;
mod as_of;
mod audit;
mod bulk;
mod changes;
mod cloudevents;
mod compression;
mod conditions;
mod control;
mod conventions;
mod dry_run;
mod executions;
mod hooks;
mod http2;
mod idempotency;
mod inquiries;
mod openapi;
mod overview;
mod page;
mod paging;
mod people;
mod programs;
mod rates;
mod reach;
mod rehearsals;
mod resources;
mod sending;
mod server;
mod sessions;
mod streams;
mod support;
mod tags;
mod traces;
mod typescript;
mod versions;
mod workflows;
