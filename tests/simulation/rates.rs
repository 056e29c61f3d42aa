//! The start rates of each queue, as the operator of a world sets them: the same at each start.
//!
//! Their random numbers are separate from the rest of the world's, so that a world without rates is the same
//! with and without this file.

use std::collections::BTreeMap;
use std::time::Duration;

use ensue_api::worker_queues::StartRate;
use ensue_engine::names::WorkerQueueName;

use crate::random::Random;

/// Separates the random numbers of rates from the world's own.
const APART: u64 = 0x7261_7465_7261_7465;
/// The queues that may have a rate.
const QUEUES: [&str; 2] = ["default", "heavy"];

/// The rates of a world by queue.
pub(crate) type Rates = BTreeMap<WorkerQueueName, StartRate>;

/// Draws the rates of a world.
pub(crate) fn draw(seed: u64) -> Rates {
    let mut random = Random::new(seed ^ APART);
    let often = if random.chance(0.4) { 0.7 } else { 0.0 };
    let mut rate = |queue: &str| {
        let (limit, each) = (random.between(1, 5), random.log_uniform(20.0, 2_000.0) as u64);
        let rate = StartRate { limit: u32::try_from(limit).unwrap_or(1), per: Duration::from_millis(limit * each) };
        random.chance(often).then(|| (queue.parse().expect("it is a queue's name"), rate))
    };
    QUEUES.iter().filter_map(|queue| rate(queue)).collect()
}
