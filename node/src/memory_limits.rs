//! Memory: how the operator's limit is divided among the queues, and how much the process really holds.
//!
//! A share is a cap, not a reserve. A full queue rejects requests, and so does [`Memory`] if the process as a
//! whole is over the limit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ensue_api::{BODY_COPIES, Queue, QueueName, Queues};
use ensue_engine::catalog::DELIVERY_BYTES_DEFAULT;
use ensue_engine::explain::Explain;
use thiserror::Error;

use crate::followers::BATCHES_WAITING_MAX;
use crate::sequencer::COMMANDS_WAITING_MAX;

/// How much memory a node may hold if the operator sets nothing.
pub(crate) const MEMORY_BYTES: u64 = 512 * 1024 * 1024;
/// The least memory that a node works with.
pub(crate) const MEMORY_BYTES_MIN: u64 = 128 * 1024 * 1024;
/// How old a measurement of the process's memory may be: a burst fills some megabytes in that time.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The most connections, whatever memory there is.
const CONNECTIONS_MAX: u64 = 8_192;
/// The most requests in progress, whatever memory there is.
const REQUESTS_MAX: u64 = 2_048;
/// The most requests that read at once, whatever memory there is.
const READS_MAX: u64 = 16;
/// The most explanations computed at once, whatever memory there is: each takes a thread for a while.
const EXPLANATIONS_MAX: u64 = 4;
/// The most replays and backtests that run or wait.
const REHEARSALS_MAX: u64 = 16;
/// The most deliveries that wait for a reply.
const HOOK_WAITERS_MAX: u64 = 1_000;
/// The most outputs that are followed at once, whatever memory there is.
const LIVE_OUTPUTS_MAX: u64 = 256;
/// The most spans that wait to be sent: a collector that cannot accept these within seconds is gone.
const SPANS_MAX: u64 = 16_384;
/// Shares of memory are counted in this many parts.
const PARTS: u64 = 32;

/// How many of the parts are for the bodies of requests.
const REQUEST_PARTS: u64 = 6;

/// Returns how much memory a node needs to receive deliveries with bodies of this length.
pub(crate) fn memory_for_deliveries_of(bytes_max: usize) -> u64 {
    (bytes_max as u64 * BODY_COPIES).div_ceil(REQUEST_PARTS) * PARTS
}

/// The caps that do not follow from memory.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// The longest body of a delivery, in bytes.
    pub delivery_bytes_max: usize,
    /// The most open work items.
    pub open_work: u64,
    /// The most attempts that may run at once.
    pub workers: u32,
}

/// Creates the queues of a node that may hold this much memory.
pub fn queues(memory_bytes: u64, caps: Caps) -> Queues {
    Queues::with(|name| match name {
        QueueName::Connections => places(name, memory_bytes / PARTS * 4, CONNECTIONS_MAX),
        QueueName::Requests => REQUESTS_MAX,
        QueueName::RequestBytes => memory_bytes / PARTS * REQUEST_PARTS,
        QueueName::AnswerBytes | QueueName::CommandBytes => memory_bytes / PARTS * 4,
        QueueName::Reads => places(name, memory_bytes / PARTS * 4, READS_MAX),
        QueueName::Explanations => {
            let larger = caps.delivery_bytes_max.div_ceil(DELIVERY_BYTES_DEFAULT).max(1) as u64;
            places(name, memory_bytes / PARTS * 2 / larger, EXPLANATIONS_MAX)
        }
        QueueName::Rehearsals => REHEARSALS_MAX,
        QueueName::HookWaiters => HOOK_WAITERS_MAX,
        QueueName::LiveOutputs => places(name, memory_bytes / PARTS, LIVE_OUTPUTS_MAX),
        QueueName::LiveStreams => places(QueueName::Connections, memory_bytes / PARTS * 4, CONNECTIONS_MAX) / 2,
        QueueName::Commands => COMMANDS_WAITING_MAX as u64,
        QueueName::OpenWork => caps.open_work,
        QueueName::Attempts => u64::from(caps.workers),
        QueueName::ViewBatches | QueueName::TelemetryBatches => BATCHES_WAITING_MAX as u64,
        QueueName::ViewBatchBytes | QueueName::BodyBytes => memory_bytes / PARTS,
        QueueName::TelemetryBatchBytes => memory_bytes / PARTS / 4,
        QueueName::SensorBytes => memory_bytes / PARTS / 2,
        QueueName::Spans => places(name, memory_bytes / PARTS / 4, SPANS_MAX),
    })
}

/// Returns how many items fit into a queue with this many bytes: at least one, or nothing would ever be served.
fn places(name: QueueName, bytes: u64, most: u64) -> u64 {
    (bytes / name.bytes_of_one().max(1)).clamp(1, most)
}

/// The node holds as much memory as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("the node has reached its memory limit")]
#[explain(slug = "memory-short", fault = Busy,
    hint = "send it again in a second; if this happens often, give the node more memory (the setting `memory`)")]
pub(crate) struct MemoryShort;

/// The memory that the process may hold, and its last measurement.
pub(crate) struct Memory {
    max_bytes: u64,
    /// The time of the last measurement and the bytes held then; none before the first one.
    seen: Mutex<Option<(Instant, u64)>>,
    under_way: Arc<Queue>,
}

impl Memory {
    /// Watches a process that may hold this much; `under_way` counts the bodies of requests.
    pub(crate) fn new(max_bytes: u64, under_way: Arc<Queue>) -> Self {
        Self { max_bytes, seen: Mutex::new(None), under_way }
    }

    /// Returns how much the process may hold.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Accepts a body if there is enough memory. Bodies in progress count in addition to the memory held,
    /// because most of their bytes are still to come. Over the limit, a body is accepted if none is in progress
    /// (several, if they arrive at the same moment): unused memory that the allocator keeps must not stop a
    /// node forever.
    ///
    /// If the machine does not report the memory, no limit applies; `doctor` reports that.
    pub(crate) fn admission(&self) -> Result<(), MemoryShort> {
        self.admission_of(self.held_by_now())
    }

    fn admission_of(&self, held_bytes: u64) -> Result<(), MemoryShort> {
        let under_way = self.under_way.depth();
        if under_way > 0 && held_bytes + under_way > self.max_bytes { Err(MemoryShort) } else { Ok(()) }
    }

    /// Measures again if the last measurement is too old.
    fn held_by_now(&self) -> u64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, held)) = seen.filter(|(at, _)| at.elapsed() < LOOK_EVERY) {
            return held;
        }
        let held = held_bytes().unwrap_or(0);
        *seen = Some((Instant::now(), held));
        held
    }
}

/// Returns how many bytes this process holds, or none if the machine does not report it.
pub(crate) fn held_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: Caps = Caps { delivery_bytes_max: DELIVERY_BYTES_DEFAULT, open_work: 100_000, workers: 8 };

    #[test]
    fn queues_together_use_less_than_the_memory() {
        for memory in [MEMORY_BYTES_MIN, MEMORY_BYTES, 64 * 1024 * 1024 * 1024] {
            let queues = queues(memory, CAPS);
            let in_bytes: u64 = queues.iter().map(|queue| queue.capacity() * queue.name().bytes_of_one()).sum();
            assert!(in_bytes <= memory / 8 * 7, "{memory}: {in_bytes}");
            assert!(queues.iter().all(|queue| queue.capacity() > 0), "{memory}");
        }
    }

    #[test]
    fn body_over_the_limit_is_accepted_only_if_none_is_open() {
        let under_way = Queue::new(QueueName::RequestBytes, 100);
        let memory = Memory::new(1_000, under_way.clone());
        assert_eq!(memory.admission_of(1_001), Ok(()));
        let first = under_way.enter(10).unwrap();
        assert_eq!(memory.admission_of(1_001), Err(MemoryShort));
        drop(first);
        assert_eq!(memory.admission_of(1_001), Ok(()));
    }

    #[test]
    fn expected_bytes_count_in_addition_to_held_ones() {
        let under_way = Queue::new(QueueName::RequestBytes, 100);
        let memory = Memory::new(1_000, under_way.clone());
        let _first = under_way.enter(10).unwrap();
        assert_eq!(memory.admission_of(990), Ok(()));
        let _second = under_way.enter(1).unwrap();
        assert_eq!(memory.admission_of(990), Err(MemoryShort));
    }

    #[test]
    fn memory_of_this_process_is_measured() {
        let under_way = Queue::new(QueueName::RequestBytes, 100);
        let _first = under_way.enter(10).unwrap();
        assert_eq!(Memory::new(u64::MAX, under_way.clone()).admission(), Ok(()));
        let looked = Memory::new(1, under_way).admission();
        assert_eq!(looked, if held_bytes().is_some() { Err(MemoryShort) } else { Ok(()) });
    }
}
