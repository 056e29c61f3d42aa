//! The command line of Ensue: it talks to a node over its API, or starts one.
//!
//! Read `commands` for what can be asked; `client` talks to the node, `report` and `output` to people.

mod batch;
mod bench;
mod client;
mod commands;
mod github;
mod live;
mod nearest;
mod output;
mod pager;
mod printed;
mod profiles;
mod progress;
mod reason;
mod redraw;
mod report;
mod screen;
mod style;
mod svg;
mod table;
mod trace;
mod tree;
mod yaml;

use std::process::ExitCode;

use clap::Parser;

/// Requests and records are many small pieces made on one thread and dropped on another: this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let line = commands::CommandLine::parse();
    let style = line.output().style_of_errors();
    report::finish(commands::run(line), style)
}
