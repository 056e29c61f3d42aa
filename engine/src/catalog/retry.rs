//! Retries: whether, how often, and after what delay.

use std::time::Duration;

use ensue_expression::Expression;

use crate::ids::AttemptId;

/// The maximum number of failed attempts of an execution.
pub const FAILURES_MAX: u32 = 100;
/// The default delay before the first retry.
pub const DELAY_DEFAULT: Duration = Duration::from_secs(1);
/// The default maximum delay.
pub const DELAY_MAX_DEFAULT: Duration = Duration::from_secs(3600);

/// The longest wait that the other side can ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Whether and when to retry after a failure.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The maximum number of attempts, including the first.
    pub attempts: u32,
    /// How the delay grows.
    pub backoff: Backoff,
    /// The delay before the first retry.
    pub delay: Duration,
    /// The maximum delay.
    pub delay_max: Duration,
    /// Whether delays are randomized.
    pub jitter: Jitter,
    /// Whether the wait that the other side asks for counts.
    pub retry_after: RetryAfter,
    /// Which failures are retried. Without it, every failure that another attempt may overcome: see
    /// [`Failure::may_pass`].
    ///
    /// [`Failure::may_pass`]: crate::executions::facts::Failure::may_pass
    pub when: Option<Expression>,
}

/// How the delay grows from one failure to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backoff {
    /// It stays the same.
    Constant,
    /// It grows by the first delay each time.
    Linear,
    /// It doubles.
    #[default]
    Exponential,
}

/// Whether delays are randomized, so that executions that failed together do not retry together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Each delay is between half and all of its length.
    #[default]
    UpToHalf,
    /// Each delay has its full length.
    None,
}

/// Whether the wait that the other side asks for, such as `Retry-After` of an HTTP response, counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryAfter {
    /// It is the shortest wait before the retry.
    #[default]
    Respected,
    /// Only the back-off counts.
    Ignored,
}

impl Retry {
    /// Returns how long to wait after `failures` failures, of which `attempt` was the last. The result is
    /// always the same for the same attempt.
    ///
    /// `asked` is how long the other side asks to wait, of which at most [`RETRY_AFTER_MAX`] counts. The wait is
    /// never shorter than that, unless it is ignored, and never longer than `delay_max`.
    pub fn wait(&self, failures: u32, attempt: AttemptId, asked: Option<Duration>) -> Duration {
        let times = match self.backoff {
            Backoff::Constant => 1,
            Backoff::Linear => failures.max(1),
            Backoff::Exponential => 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX),
        };
        let whole = self.delay.saturating_mul(times).min(self.delay_max);
        let own = match self.jitter {
            Jitter::None => whole,
            Jitter::UpToHalf => whole - whole.mul_f64(0.5 * lot(attempt)),
        };
        let asked = match self.retry_after {
            RetryAfter::Respected => asked.unwrap_or_default().min(RETRY_AFTER_MAX),
            RetryAfter::Ignored => Duration::ZERO,
        };
        own.max(asked.min(self.delay_max))
    }
}

/// Returns a number from 0 to 1 for an attempt: the last 32 bits of its id come from a hash.
fn lot(attempt: AttemptId) -> f64 {
    let [.., a, b, c, d] = *attempt.0.as_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;
    use crate::time::Timestamp;

    fn attempt(number: u128) -> AttemptId {
        AttemptId(Id::root(Timestamp::default(), number))
    }

    fn retry(backoff: Backoff, jitter: Jitter) -> Retry {
        let (delay, delay_max) = (Duration::from_secs(2), Duration::from_secs(60));
        Retry { attempts: 9, backoff, delay, delay_max, jitter, retry_after: RetryAfter::Respected, when: None }
    }

    fn waits(backoff: Backoff) -> Vec<u64> {
        (1..=7).map(|failures| retry(backoff, Jitter::None).wait(failures, attempt(1), None).as_secs()).collect()
    }

    #[test]
    fn retry_delays_grow_by_their_backoff_up_to_the_maximum() {
        assert_eq!(waits(Backoff::Constant), [2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(waits(Backoff::Linear), [2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(waits(Backoff::Exponential), [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(retry(Backoff::Exponential, Jitter::None).wait(u32::MAX, attempt(1), None).as_secs(), 60);
    }

    #[test]
    fn jittered_delay_is_between_half_and_full_and_stable_for_an_attempt() {
        let spread = retry(Backoff::Constant, Jitter::UpToHalf);
        let drawn: Vec<Duration> = (0..100).map(|number| spread.wait(1, attempt(number * 0x1234_5678), None)).collect();
        assert!(drawn.iter().all(|wait| (Duration::from_secs(1)..=Duration::from_secs(2)).contains(wait)), "{drawn:?}");
        assert!(drawn.iter().collect::<std::collections::BTreeSet<_>>().len() > 50);
        assert_eq!(spread.wait(1, attempt(7), None), spread.wait(1, attempt(7), None));
    }

    #[test]
    fn retry_delay_honors_the_server_but_never_exceeds_the_maximum() {
        let retry = retry(Backoff::Exponential, Jitter::None);
        let wait = |asked| retry.wait(3, attempt(1), Some(Duration::from_secs(asked))).as_secs();
        assert_eq!([0, 7, 9, 60, 61, u64::MAX].map(wait), [8, 8, 9, 60, 60, 60]);
    }

    #[test]
    fn at_most_an_hour_counts_of_what_the_server_asks_for() {
        let retry = Retry { delay_max: Duration::from_secs(36_000), ..retry(Backoff::Constant, Jitter::None) };
        let wait = |asked| retry.wait(1, attempt(1), Some(Duration::from_secs(asked))).as_secs();
        assert_eq!([3_599, 3_600, 3_601, u64::MAX].map(wait), [3_599, 3_600, 3_600, 3_600]);
    }

    #[test]
    fn wait_that_the_server_asks_for_can_be_ignored() {
        let retry = Retry { retry_after: RetryAfter::Ignored, ..retry(Backoff::Constant, Jitter::None) };
        assert_eq!(retry.wait(1, attempt(1), Some(Duration::from_secs(30))).as_secs(), 2);
    }
}
