//! Memory: how the operator's bound is shared out among the queues, and what the process really holds.
//!
//! A share is a cap, not a reserve. What turns requests away is the queue, and where the whole is over the bound, [`Memory`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ensue_api::server::READ_BYTES_MAX;
use ensue_api::{Queue, QueueName, Queues};
use ensue_engine::explain::{Explain, Fault};
use thiserror::Error;

use crate::followers::BATCHES_WAITING_MAX;
use crate::sequencer::COMMANDS_WAITING_MAX;

/// How much a node may hold where the operator says nothing.
pub(crate) const MEMORY_BYTES: u64 = 512 * 1024 * 1024;
/// The least that a node works with.
pub(crate) const MEMORY_BYTES_MIN: u64 = 128 * 1024 * 1024;
/// How often it is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The most connections, whatever memory there is.
const CONNECTIONS_MAX: u64 = 8_192;
/// The most requests under way.
const REQUESTS_MAX: u64 = 2_048;
/// The most requests that read at once: a page of a list may hold 200 documents of 64 KiB.
const READS_MAX: u64 = 16;
/// The most explanations that are worked out at once: each may hold a payload and its parts in memory, and a thread for a while.
const EXPLANATIONS_MAX: u64 = 4;
/// The most outputs that are followed at once.
const LIVE_OUTPUTS_MAX: u64 = 256;

/// The caps that do not follow from memory.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// How much open work there may be.
    pub open_work: u64,
    /// How many attempts may run at once.
    pub workers: u32,
}

/// Makes the queues of a node that may hold so much memory.
pub fn queues(memory_bytes: u64, caps: Caps) -> Queues {
    Queues::with(|name| match name {
        QueueName::Connections => (memory_bytes / 4 / READ_BYTES_MAX as u64).min(CONNECTIONS_MAX),
        QueueName::Requests => REQUESTS_MAX,
        QueueName::RequestBytes => memory_bytes / 4,
        QueueName::AnswerBytes | QueueName::CommandBytes => memory_bytes / 8,
        QueueName::Reads => READS_MAX,
        QueueName::Explanations => EXPLANATIONS_MAX,
        QueueName::LiveOutputs => LIVE_OUTPUTS_MAX,
        QueueName::Commands => COMMANDS_WAITING_MAX as u64,
        QueueName::OpenWork => caps.open_work,
        QueueName::Attempts => u64::from(caps.workers),
        QueueName::ViewBatches | QueueName::ShadowBatches => BATCHES_WAITING_MAX as u64,
        QueueName::ViewBatchBytes | QueueName::ShadowBatchBytes => memory_bytes / 32,
        QueueName::BodyBytes => memory_bytes / 16,
    })
}

/// The node holds as much as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the node holds as much memory as it may")]
pub(crate) struct MemoryShort;

impl Explain for MemoryShort {
    fn slug(&self) -> &'static str {
        "memory-short"
    }

    fn fault(&self) -> Fault {
        Fault::Busy
    }

    fn hint(&self) -> Option<String> {
        Some("send it again in a second; if it happens often, give the node more memory (the setting `memory`)".into())
    }
}

/// What the process holds, as it was last looked at, beside what it may.
pub(crate) struct Memory {
    max_bytes: u64,
    held_bytes: AtomicU64,
    under_way: Arc<Queue>,
}

impl Memory {
    /// Watches a process that may hold so much; `under_way` are the bodies of requests.
    pub(crate) fn new(max_bytes: u64, under_way: Arc<Queue>) -> Self {
        Self { max_bytes, held_bytes: AtomicU64::new(0), under_way }
    }

    /// Gives how much it may hold.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Notes what it holds.
    pub(crate) fn note(&self, held_bytes: u64) {
        self.held_bytes.store(held_bytes, Ordering::Relaxed);
    }

    /// Says whether a body may come in. Over the bound one at a time may: memory that the allocator keeps and nobody uses must not
    /// stop a node for ever.
    pub(crate) fn admission(&self) -> Result<(), MemoryShort> {
        let is_over = self.held_bytes.load(Ordering::Relaxed) > self.max_bytes;
        if is_over && self.under_way.depth() > 0 { Err(MemoryShort) } else { Ok(()) }
    }
}

/// Gives what this process holds; none where the machine does not say.
pub(crate) fn held_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: Caps = Caps { open_work: 100_000, workers: 8 };

    #[test]
    fn the_queues_together_have_less_than_the_memory_whatever_it_is() {
        for memory in [MEMORY_BYTES_MIN, MEMORY_BYTES, 64 * 1024 * 1024 * 1024] {
            let queues = queues(memory, CAPS);
            let of = |name: QueueName| queues.of(name).capacity();
            let bytes = [
                QueueName::RequestBytes,
                QueueName::AnswerBytes,
                QueueName::CommandBytes,
                QueueName::ViewBatchBytes,
                QueueName::ShadowBatchBytes,
                QueueName::BodyBytes,
            ];
            let in_bytes: u64 = bytes.into_iter().map(of).sum();
            assert!(in_bytes + of(QueueName::Connections) * READ_BYTES_MAX as u64 <= memory / 8 * 7, "{memory}");
        }
    }

    #[test]
    fn over_the_bound_one_body_at_a_time_comes_in() {
        let under_way = Queue::new(QueueName::RequestBytes, 100);
        let memory = Memory::new(1_000, under_way.clone());
        let first = under_way.enter(10).unwrap();
        assert_eq!(memory.admission(), Ok(()));
        memory.note(1_001);
        assert_eq!(memory.admission(), Err(MemoryShort));
        drop(first);
        assert_eq!(memory.admission(), Ok(()));
    }
}
