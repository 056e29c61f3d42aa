//! `ensue bench`: measures the speed of this machine and this build. The crate `bench` does the work.

pub(crate) use ensue_bench::Bench;
use ensue_bench::{Bar, Fault, Length, Unmeasured, Watcher};

use super::Asking;
use crate::progress::Progress;
use crate::report::{Exit, Failure, Outcome, printable, tell};

/// Measures, and prints the results.
pub(super) fn run(bench: Bench, asking: &Asking) -> Outcome {
    let measured = bench.run(&Terminal).map_err(failed)?;
    asking.output.print_one(&measured.document, |_| printable(&measured.shown()));
    measured.failure.map_or(Ok(()), |why| Err(failed(why)))
}

fn failed(why: Unmeasured) -> Failure {
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
    fn tell(&self, line: &str) {
        tell(line);
    }

    fn bar(&self, what: &str, length: Length) -> Box<dyn Bar> {
        Box::new(match length {
            Length::Records(records) => Progress::through_records(what, records),
            Length::Seconds(seconds) => Progress::through_time(what, seconds),
        })
    }
}

impl Bar for Progress {
    fn is_drawn(&self) -> bool {
        Progress::is_drawn(self)
    }

    fn at(&self, done: u64) {
        Progress::at(self, done);
    }
}
