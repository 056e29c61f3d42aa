//! The command line of Ensue: it talks to a node over its API, or starts one.
//!
//! `commands` holds the commands; `client` talks to the node, `report` and `output` to people.

mod ago;
mod attempt_output;
mod batch;
mod client;
mod commands;
mod credentials;
mod fake_server;
mod flow;
mod frame;
mod id_ends;
mod ids;
mod json_lines;
mod nearest;
mod open_files;
mod output;
mod pack_test_report;
mod pager;
mod pages;
mod profiles;
mod progress;
mod questions;
mod reason;
mod recording;
mod redraw;
mod report;
mod screen;
mod secret_input;
mod slow_log;
mod sse;
mod steps;
mod style;
mod svg;
mod table;
mod this_machine;
mod trace;
mod tree;
mod trust;
mod wording;
mod yaml;

use std::process::ExitCode;

use clap::FromArgMatches as _;

/// Returns free memory to the system on a thread of its own, so a node whose other threads are idle holds little
/// again after a burst. `.cargo/config.toml` has its settings. It does not replace the one of the C library, which
/// SQLite and zstd use: if it did, a process with a preloaded library that fakes the clock would never start.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let colour = style::of_help(std::env::args_os());
    let help = commands::command_line().color(colour);
    let line = match help.try_get_matches().and_then(|matches| commands::CommandLine::from_arg_matches(&matches)) {
        Ok(line) => line,
        Err(said) => return report::say_of_clap(&said, colour),
    };
    let style = line.output().style_of_errors();
    report::finish(commands::run(line), style)
}
