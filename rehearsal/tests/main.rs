//! Tests of rehearsals: cases of small packs, and those of the library.

#![allow(clippy::unwrap_used, reason = "what a test needs and does not get fails it")]

mod backtest;
mod cases;
mod fake;
mod flow;
mod library;
mod reads;
mod support;
