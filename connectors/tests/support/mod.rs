//! The outside of a source in tests: a clock that the test's runtime moves, a list for its lines, and nothing else that
//! could be reached.

#[path = "../../../tests/support/world_of_sources.rs"]
mod world_of_sources;

use std::sync::Arc;
use std::time::Duration;

use ensue_connectors::world::{
    ActionAnswer, ActionOrder, Actions, Clock, Folders, Keys, Program, ProgramOrder, Programs, SourcePurpose, Web, WebAnswer, WebRequest,
};
use ensue_connectors::{Pending, SourceError, World};
use ensue_engine::names::{KeyRef, PackName, SensorRef};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use tokio::time::Instant;

pub(crate) use world_of_sources::CollectedLines;
use world_of_sources::MachineClock;

/// The time of the test's runtime. If that is paused, time passes only while everything waits, however busy the machine is.
pub(crate) struct RuntimeClock {
    /// The time of day when the clock was made, and that moment in the runtime.
    begin: (Timestamp, Instant),
}

impl RuntimeClock {
    pub(crate) fn at(time: Timestamp) -> Self {
        Self { begin: (time, Instant::now()) }
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        let (time, moment) = self.begin;
        Timestamp::from_micros(time.micros() + i64::try_from(moment.elapsed().as_micros()).unwrap())
    }

    fn sleep(&self, long: Duration) -> Pending<'_, ()> {
        Box::pin(tokio::time::sleep(long))
    }
}

/// Reaches nothing.
pub(crate) struct Nothing;

impl Web for Nothing {
    fn fetch(&self, _: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>> {
        panic!("it sends no request")
    }
}

impl Actions for Nothing {
    fn run(&self, _: ActionOrder) -> Pending<'_, Result<ActionAnswer, SourceError>> {
        panic!("it runs no action")
    }
}

impl Programs for Nothing {
    fn start(&self, _: ProgramOrder) -> Pending<'_, Result<Box<dyn Program>, SourceError>> {
        panic!("it starts no program")
    }
}

impl Keys for Nothing {
    fn open(&self, _: &KeyRef, _: &SensorRef) -> Result<Secret, SourceError> {
        panic!("it opens no key")
    }

    fn listed_keys(&self, _: &PackName) -> Vec<KeyRef> {
        Vec::new()
    }

    fn lists_connection(&self, _: &PackName, _: &str) -> bool {
        false
    }
}

/// Returns a world for a run in which nothing can be reached.
pub(crate) fn world() -> World {
    World {
        purpose: SourcePurpose::Run,
        seed: 1,
        clock: Arc::new(RuntimeClock::at(MachineClock.now())),
        web: Arc::new(Nothing),
        programs: Arc::new(Nothing),
        actions: Arc::new(Nothing),
        keys: Arc::new(Nothing),
        folders: Arc::new(Folders::default()),
        lines: Arc::new(CollectedLines::default()),
        parts: Arc::new(CollectedLines::default()),
    }
}
