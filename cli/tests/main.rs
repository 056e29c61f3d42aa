//! Black-box tests: the built binary, met as people and senders meet it.

#![allow(clippy::unwrap_used, reason = "what a test needs and does not get fails it")]

mod backtests;
mod bad_input;
mod bench;
mod command_line;
mod conditions;
mod control;
mod cron;
mod examples;
mod explanation;
mod faults;
mod flow;
mod following;
mod guides;
mod inquiries;
mod keyed;
mod labels;
mod letters;
mod life_of_a_webhook;
mod locks;
mod long_log;
mod loops;
mod metrics;
mod open_files;
mod ordinary_user;
mod outputs;
mod overload;
mod own_log;
mod pack_tests;
mod queues;
mod rates;
mod replays;
mod restart;
mod scheduled;
mod secrets;
mod streams;
mod support;
mod terminal;
mod time;
mod traces;
mod upgrade;
mod vars;
mod watch;
mod websocket;
mod workflows;
