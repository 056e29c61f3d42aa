//! Events by identities with and without quotas.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Bed;

/// How many requests are in progress at once.
const CONNECTIONS: u64 = 16;
/// How long events are sent in each turn, and how many turns there are.
const A_TURN: Duration = Duration::from_secs(3);
const TURNS: usize = 9;

/// What sending events as fast as they are answered came to.
#[derive(Clone, Copy, Default)]
pub(super) struct SendStats {
    events: u64,
    took: Duration,
    processor: Duration,
}

impl SendStats {
    fn per_event(self) -> Duration {
        self.processor.div_f64(self.events.max(1) as f64)
    }

    fn and(self, other: Self) -> Self {
        Self { events: self.events + other.events, took: self.took + other.took, processor: self.processor + other.processor }
    }
}

impl std::fmt::Display for SendStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.events as f64 / self.took.as_secs_f64();
        write!(f, "{rate:.0} events a second, {:.2?} of the processor each", self.per_event())
    }
}

/// Sends events as fast as they are answered.
pub(super) async fn send_events(bed: &Bed, token: &str, for_as_long: Duration) -> SendStats {
    let (begun, used, sent) = (Instant::now(), processor_time(), AtomicU64::new(0));
    let send = async || {
        while begun.elapsed() < for_as_long {
            bed.tick(token, sent.fetch_add(1, Ordering::Relaxed)).await;
        }
    };
    at_once(CONNECTIONS, &send).await;
    SendStats { events: sent.load(Ordering::Relaxed), took: begun.elapsed(), processor: processor_time().saturating_sub(used) }
}

/// Returns the processor time of the client and the node; zero if the machine has no `/proc`.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may contain spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_secs(ticks).div_f64(rustix::param::clock_ticks_per_second() as f64)
}

/// Runs something several times at once.
async fn at_once(count: u64, run: &impl AsyncFn()) {
    let mut all: Vec<_> = (0..count).map(|_| Box::pin(run())).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Compares, in turn, an identity that has quotas with one that has none.
pub(super) async fn measure_quotas(bed: &Bed) {
    let without = bed.identity("free", &[], "ingester", &json!(null)).await;
    let with = bed.identity("metered", &["metered"], "ingester", &json!(null)).await;
    send_events(bed, &without, A_TURN).await;
    let (mut all_without, mut all_with) = (SendStats::default(), SendStats::default());
    for turn in 0..TURNS * 2 {
        // Each goes first in turn.
        if turn % 4 == 0 || turn % 4 == 3 {
            all_without = all_without.and(send_events(bed, &without, A_TURN).await);
        } else {
            all_with = all_with.and(send_events(bed, &with, A_TURN).await);
        }
    }
    println!("  without quotas: {all_without}");
    println!("  with quotas: {all_with}");
    let share = 100.0 * all_without.per_event().as_secs_f64() / all_with.per_event().as_secs_f64();
    println!("  by the time of the processor, {share:.1} % of the events a second");
}
