//! The queues of executions: how many attempts of each may start in a period, as the operator sets it, and the
//! reports about them.
//!
//! The core tracks which attempts have started and which start next. This module uses the clock to compute how many
//! more may start.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use ensue_api::worker_queues::{SHOWN_MAX, StartRate, WorkerQueue};
use ensue_engine::command::Settings;
use ensue_engine::engine::Engine;
use ensue_engine::names::WorkerQueueName;
use ensue_engine::time::Timestamp;

use crate::clock::ClockStep;

/// The channel that queue reports are sent to.
pub(super) type TellQueues = SyncSender<Vec<WorkerQueue>>;

/// The number of running and waiting attempts in a known queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueGauge {
    /// Its name.
    pub name: WorkerQueueName,
    /// How many slots it has.
    pub workers: u32,
    /// How many of its slots are taken.
    pub busy: u32,
    /// How many attempts wait.
    pub waiting: usize,
}

/// How many attempts of each queue may start in a period.
#[derive(Debug, Default)]
pub(super) struct StartRates {
    buckets: BTreeMap<WorkerQueueName, Bucket>,
}

/// The credit for starts. A start costs as many units as the period has microseconds, and each microsecond adds as
/// many units as attempts may start in the period.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bucket {
    rate: StartRate,
    credit: i128,
    /// The time of this credit.
    at: Timestamp,
    /// How many attempts had been started at that time.
    count: u64,
}

impl Bucket {
    /// Begins with the credit that accrued since the last start, as if none had been left at that time: a restart
    /// never allows more starts than an uninterrupted run.
    fn begin(rate: StartRate, count: u64, last: Timestamp, now: Timestamp) -> Self {
        let empty = Self { rate, credit: 0, at: last, count };
        Self { credit: if count == 0 { empty.most() } else { empty.credit_at(now, count) }, at: now, ..empty }
    }

    fn cost(&self) -> i128 {
        i128::try_from(self.rate.per.as_micros()).unwrap_or(i128::MAX).max(1)
    }

    fn most(&self) -> i128 {
        self.cost().saturating_mul(i128::from(self.rate.limit))
    }

    /// Starts in a batch that was rolled back are credited again.
    fn credit_at(&self, now: Timestamp, count: u64) -> i128 {
        let came = i128::from(now.micros_since(self.at).max(0)).saturating_mul(i128::from(self.rate.limit));
        // The attempts started right at the beginning of this time, so their cost is subtracted before the new credit
        // is added: in the other order, the cap would cut off credit that the cost had made room for.
        let left = self.credit.saturating_sub((i128::from(count) - i128::from(self.count)).saturating_mul(self.cost()));
        left.saturating_add(came).min(self.most())
    }

    fn look_at(&mut self, now: Timestamp, count: u64) {
        self.credit = self.credit_at(now, count);
        self.at = now;
        self.count = count;
    }

    /// Returns how many attempts may start.
    fn starts(&self) -> u64 {
        u64::try_from(self.credit / self.cost()).unwrap_or(0)
    }

    /// Returns the time until one attempt may start.
    fn until_one(&self, now: Timestamp, count: u64) -> Duration {
        let missing = self.cost().saturating_sub(self.credit_at(now, count)).max(0);
        let limit = i128::from(self.rate.limit.max(1));
        Duration::from_micros(u64::try_from((missing + limit - 1) / limit).unwrap_or(u64::MAX))
    }
}

impl StartRates {
    pub(super) fn begin(rates: BTreeMap<WorkerQueueName, StartRate>, engine: &Engine, now: Timestamp) -> Self {
        let bucket = |(queue, rate): (WorkerQueueName, StartRate)| {
            let starts = engine.executions().queues().starts(&queue);
            (queue, Bucket::begin(rate, starts.count, starts.last, now))
        };
        Self { buckets: rates.into_iter().map(bucket).collect() }
    }

    /// Applies a step of the clock, which does not count as elapsed time.
    pub(super) fn step(&mut self, step: ClockStep) {
        let micros = step.to.micros_since(step.from);
        for bucket in self.buckets.values_mut() {
            bucket.at = Timestamp::from_micros(bucket.at.micros().saturating_add(micros));
        }
    }

    /// Computes how many attempts of each queue may have been started by now.
    pub(super) fn allow(&mut self, engine: &Engine, now: Timestamp, settings: &mut Settings) {
        for (queue, bucket) in &mut self.buckets {
            let count = engine.executions().queues().starts(queue).count;
            bucket.look_at(now, count);
            settings.starts_max.insert(queue.clone(), count.saturating_add(bucket.starts()));
        }
    }

    /// Returns the time until an attempt may start that waits only for the rate, or `None` if there is no such
    /// attempt.
    pub(super) fn until_start(&self, engine: &Engine, now: Timestamp, settings: &Settings) -> Option<Duration> {
        let queues = engine.executions().queues();
        let has_taker = |queue: &WorkerQueueName, workers: u32| queues.waiting_count(queue) > 0 && queues.working_count(queue) < workers;
        let waits = settings.worker_queues().filter(|(queue, workers)| has_taker(queue, *workers));
        waits.filter_map(|(queue, _)| Some(self.buckets.get(queue)?.until_one(now, queues.starts(queue).count))).min()
    }

    /// Reports the known queues, and other queues in which attempts wait or run.
    pub(super) fn report(&self, engine: &Engine, now: Timestamp, settings: &Settings) -> Vec<WorkerQueue> {
        let executions = engine.executions();
        let queues = executions.queues();
        let mut all: BTreeMap<&WorkerQueueName, Option<u32>> = queues.names().map(|queue| (queue, None)).collect();
        all.extend(settings.worker_queues().map(|(queue, workers)| (queue, Some(workers))));
        let of_queue = |queue: &WorkerQueueName| {
            let is_of = move |id: &_| executions.get(id).is_some_and(|execution| execution.queue == *queue);
            executions.at_work().map(|(id, _)| *id).filter(is_of).take(SHOWN_MAX).collect()
        };
        let told = |(queue, workers): (&WorkerQueueName, Option<u32>)| {
            let bucket = self.buckets.get(queue);
            let until = bucket.map(|bucket| bucket.until_one(now, queues.starts(queue).count)).filter(|until| !until.is_zero());
            WorkerQueue {
                name: queue.clone(),
                workers,
                rate: bucket.map(|bucket| bucket.rate),
                next_start_at: until.map(|until| now.plus_millis(u64::try_from(until.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))),
                busy: queues.working_count(queue),
                waiting: queues.waiting_count(queue),
                oldest: queues.oldest(queue),
                first_busy: of_queue(queue),
                first_waiting: queues.waiting(queue).map(|(_, id)| id).take(SHOWN_MAX).collect(),
            }
        };
        all.into_iter().map(told).collect()
    }
}

/// Returns the number of running and waiting attempts of each known queue.
pub(super) fn gauges(engine: &Engine, settings: &Settings) -> Vec<QueueGauge> {
    let queues = engine.executions().queues();
    let gauge = |(queue, workers): (&WorkerQueueName, u32)| QueueGauge {
        name: queue.clone(),
        workers,
        busy: queues.working_count(queue),
        waiting: queues.waiting_count(queue),
    };
    settings.worker_queues().map(gauge).collect()
}

/// Returns the number of slots of the queues in use if newly accepted work could not start: attempts wait there, and none
/// of these queues has a free slot. Returns `None` otherwise. A queue in which nothing runs or waits does not count, and
/// neither do attempts in queues that do not exist.
pub(super) fn contended_slots(engine: &Engine, settings: &Settings) -> Option<u32> {
    let queues = engine.executions().queues();
    let (mut slots, mut has_waiting) = (0_u32, false);
    for (queue, workers) in settings.worker_queues() {
        let (working, waiting) = (queues.working_count(queue), queues.waiting_count(queue));
        if working == 0 && waiting == 0 {
            continue;
        }
        if working < workers {
            return None;
        }
        slots = slots.saturating_add(workers);
        has_waiting |= waiting > 0;
    }
    has_waiting.then_some(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

    fn rate(limit: u32, per: Duration) -> StartRate {
        StartRate { limit, per }
    }

    fn bucket() -> Bucket {
        Bucket::begin(rate(4, Duration::from_secs(2)), 0, Timestamp::default(), NOON)
    }

    #[test]
    fn rate_allows_a_burst_of_starts_and_then_one_after_the_other() {
        let mut bucket = bucket();
        assert_eq!(bucket.starts(), 4);
        bucket.look_at(NOON, 4);
        assert_eq!((bucket.starts(), bucket.until_one(NOON, 4)), (0, Duration::from_millis(500)));
        bucket.look_at(NOON.plus_millis(499), 4);
        assert_eq!((bucket.starts(), bucket.until_one(NOON.plus_millis(499), 4)), (0, Duration::from_millis(1)));
        bucket.look_at(NOON.plus_millis(500), 4);
        assert_eq!(bucket.starts(), 1);
        bucket.look_at(NOON.plus_millis(60_000), 4);
        assert_eq!(bucket.starts(), 4, "no more gathers than the rate says");
    }

    #[test]
    fn late_inspection_of_a_rate_bucket_does_not_delay_a_start() {
        let mut once = Bucket::begin(rate(1, Duration::from_secs(60)), 0, Timestamp::default(), NOON);
        once.look_at(NOON, 0);
        assert_eq!(once.starts(), 1);
        // It starts at once, and nothing is computed again before the next may start.
        assert_eq!(once.until_one(NOON, 1), Duration::from_secs(60));
        assert_eq!(once.until_one(NOON.plus_millis(59_000), 1), Duration::from_secs(1));
        assert_eq!(once.until_one(NOON.plus_millis(60_000), 1), Duration::ZERO);
        let mut burst = bucket();
        burst.look_at(NOON, 0);
        assert_eq!(burst.until_one(NOON.plus_millis(500), 4), Duration::ZERO);
        burst.look_at(NOON.plus_millis(500), 4);
        assert_eq!(burst.starts(), 1);
    }

    #[test]
    fn unused_start_becomes_available_again() {
        let mut bucket = bucket();
        bucket.look_at(NOON, 3);
        bucket.look_at(NOON, 1);
        assert_eq!(bucket.starts(), 3);
    }

    #[test]
    fn clock_that_goes_back_neither_adds_nor_removes_starts() {
        let mut bucket = bucket();
        bucket.look_at(NOON, 3);
        bucket.look_at(NOON.plus_millis(0), 3);
        let before = Timestamp::from_micros(NOON.micros() - 3_600_000_000);
        bucket.look_at(before, 3);
        assert_eq!((bucket.starts(), bucket.at), (1, before));
    }

    #[test]
    fn clock_step_neither_adds_nor_removes_starts() {
        let hour = 3_600_000_000;
        for micros in [hour, -hour] {
            let mut rates = StartRates { buckets: [(WorkerQueueName::default(), bucket())].into() };
            let stepped = |millis: u64| Timestamp::from_micros(NOON.plus_millis(millis).micros() + micros);
            rates.buckets.values_mut().for_each(|bucket| bucket.look_at(NOON, 4));
            rates.step(ClockStep { from: NOON, to: stepped(0) });
            let bucket = &rates.buckets[&WorkerQueueName::default()];
            assert_eq!(bucket.until_one(stepped(100), 4), Duration::from_millis(400));
        }
    }

    #[test]
    fn restart_does_not_increase_the_number_of_starts() {
        let of_an_hour = rate(1, Duration::from_secs(3_600));
        let after = |millis| Bucket::begin(of_an_hour, 7, NOON, NOON.plus_millis(millis)).starts();
        assert_eq!([0, 3_599_999, 3_600_000].map(after), [0, 0, 1]);
        assert_eq!(Bucket::begin(of_an_hour, 0, Timestamp::default(), NOON).starts(), 1);
    }
}
