//! What sources reach in tests without a node: the machine's clock, and a list for their lines.

use std::sync::Mutex;
use std::time::Duration;

use ensue_connectors::Pending;
use ensue_connectors::world::{Clock, LineSink, PartReport, PartState, Parts};
use ensue_engine::time::Timestamp;

/// The lines that a source added to its sensor's log.
#[derive(Default)]
pub(crate) struct CollectedLines(pub(crate) Mutex<Vec<String>>);

impl LineSink for CollectedLines {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Parts for CollectedLines {
    fn begin(&self) {}

    fn report(&self, part: PartReport) {
        self.0.lock().unwrap().push(match part.state {
            PartState::Failing { error } => format!("{} fails: {error}", part.name),
            PartState::Running => format!("{} runs", part.name),
        });
    }
}

/// The clock of the machine.
pub(crate) struct MachineClock;

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }

    fn sleep(&self, long: Duration) -> Pending<'_, ()> {
        Box::pin(tokio::time::sleep(long))
    }
}
