//! `ensue bench`: measures the speed of this machine and this build. The crate `bench` does the work.

pub(crate) use ensue_bench::Bench;
use ensue_bench::{Bar, Fault, Length, MeasurementError, Watcher};

use super::Asking;
use crate::progress::TerminalProgress;
use crate::report::{CommandResult, Exit, Failure, eprint_line, printable};

/// Measures, and prints the results.
pub(super) fn run(bench: Bench, asking: &Asking) -> CommandResult {
    let measured = bench.run(&Terminal).map_err(to_failure)?;
    asking.output.print_one(&measured.document, |_| printable(&measured.render()));
    measured.failure.map_or(Ok(()), |why| Err(to_failure(why)))
}

fn to_failure(why: MeasurementError) -> Failure {
    let exit = match why.fault {
        Fault::Asked => Exit::Usage,
        Fault::Given => Exit::Refused,
        Fault::World => Exit::Failed,
    };
    let failure = Failure::with(exit, why.message);
    match why.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Standard error, where people see the progress of a measurement.
struct Terminal;

impl Watcher for Terminal {
    fn report(&self, line: &str) {
        eprint_line(line);
    }

    fn bar(&self, what: &str, length: Length) -> Box<dyn Bar> {
        Box::new(match length {
            Length::Records(records) => TerminalProgress::through_records(what, records),
            Length::Seconds(seconds) => TerminalProgress::through_time(what, seconds),
        })
    }
}

impl Bar for TerminalProgress {
    fn is_drawn(&self) -> bool {
        TerminalProgress::is_drawn(self)
    }

    fn at(&self, done: u64) {
        TerminalProgress::at(self, done);
    }
}
