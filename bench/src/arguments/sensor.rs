//! The measurements of `ensue bench sensor`: the lines of a program, and polls that find nothing new.

use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use super::{Measurements, many_threads, new_document, temporary, warn_of_debug_build};
use crate::child::Machine;
use crate::cores;
use crate::measurement_error::MeasurementError;
use crate::pulling::{self, Idle, LinesPlan};
use crate::watcher::Watcher;

/// The measured source.
#[derive(Debug, Subcommand)]
pub(super) enum Kind {
    /// Count the lines of a program that become events.
    ///
    /// The program prints as fast as it is read, with a cursor on each line.
    #[command(after_help = "\
Examples:
  ensue bench sensor process --seconds 20
  ensue bench sensor process --rule")]
    Process {
        /// Have a rule match each line and run a no-op.
        #[arg(long)]
        rule: bool,
        /// The number of seconds to count.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "S")]
        seconds: u64,
    },
    /// Measure what sensors cost that poll a server and find nothing new.
    #[command(after_help = "\
Examples:
  ensue bench sensor poll --idle 1000
  ensue bench sensor poll --idle 100 --every 10 --seconds 30")]
    Poll {
        /// The number of sensors.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "N")]
        idle: u64,
        /// How often each of them polls, in seconds.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "S")]
        every: u64,
        /// The number of seconds to watch them, after each has polled twice.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "S")]
        seconds: u64,
    },
}

impl Kind {
    /// Measures it.
    pub(super) fn run(self, machine: &Machine, watcher: &dyn Watcher) -> Result<Measurements, MeasurementError> {
        warn_of_debug_build(watcher);
        let folder = temporary()?;
        let mut document = new_document(machine);
        let cores = machine.cores.clone();
        many_threads(&cores, async {
            let (figures, show): (_, fn(&Value) -> String) = match self {
                Self::Process { rule, seconds } => {
                    watcher.report(&format!("reading the lines of a program for {seconds} s …"));
                    let lines = LinesPlan { has_rule: rule, duration: Duration::from_secs(seconds) };
                    let figures = pulling::lines(folder.path(), lines, machine).await;
                    (figures, |document| {
                        format!("{}\n{}", pulling::describe_lines(&document["sensor"]), cores::describe(&document["cores"]))
                    })
                }
                Self::Poll { idle, every, seconds } => {
                    watcher.report(&format!("watching {idle} idle polls for {seconds} s, once each has polled twice …"));
                    let idle = Idle { polls: idle, every: Duration::from_secs(every), duration: Duration::from_secs(seconds) };
                    let figures = pulling::idle(folder.path(), idle, machine).await;
                    (figures, |document| {
                        format!("{}\n{}", pulling::describe_idle(&document["sensor"]), cores::describe(&document["cores"]))
                    })
                }
            };
            document["sensor"] = figures.map_err(|error| MeasurementError::of("sensor", &error))?;
            Ok(Measurements { document, failure: None, show })
        })
    }
}
