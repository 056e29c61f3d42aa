//! The command line of Ensue: it talks to a node over its API, or starts one.
//!
//! Read `commands` for what can be asked; `client` talks to the node, `report` and `output` to people.

mod ago;
mod batch;
mod bench;
mod client;
mod commands;
mod flow;
mod github;
mod ids;
mod lines;
mod live;
mod nearest;
mod output;
mod pager;
mod pages;
mod printed;
mod profiles;
mod progress;
mod questions;
mod reason;
mod recording;
mod redraw;
mod report;
mod screen;
mod slow_log;
mod steps;
mod style;
mod svg;
mod table;
mod this_machine;
mod trace;
mod tree;
mod trials;
mod yaml;

use std::process::ExitCode;

use clap::FromArgMatches as _;

/// Requests and records are many small pieces made on one thread and dropped on another: this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let help = commands::command_line().color(style::of_help(std::env::args_os()));
    let line = match help.try_get_matches().and_then(|matches| commands::CommandLine::from_arg_matches(&matches)) {
        Ok(line) => line,
        Err(said) => return report::say_of_clap(&said),
    };
    let style = line.output().style_of_errors();
    report::finish(commands::run(line), style)
}
