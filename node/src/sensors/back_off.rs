//! When a failed run is tried again: after 1 s, doubling to 5 minutes, with a jitter that follows from the sensor and
//! its run, so that many sensors of one server do not return at once.

use std::time::Duration;

use ensue_engine::ids::SensorId;
use ensue_engine::record::Digest;
use ensue_engine::sensors::facts::SensorErrorKind;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);
/// The first wait if only a person can repair the cause.
const FIRST_FOR_A_PERSON: Duration = Duration::from_secs(30);
/// The longest wait, without the jitter.
pub(super) const BACK_OFF_MAX: Duration = Duration::from_secs(5 * 60);
/// How long a run must work until its earlier failures no longer count.
pub(super) const HEALTHY_AFTER: Duration = Duration::from_secs(10 * 60);

/// Returns how long to wait after the given number of failures in a row, from 1. The jitter adds or takes away up to
/// a half.
pub(super) fn wait_after(failures: u32, kind: SensorErrorKind, (id, run): (SensorId, u64)) -> Duration {
    let first = match kind {
        SensorErrorKind::Auth | SensorErrorKind::NotFound | SensorErrorKind::KeyMissing => FIRST_FOR_A_PERSON,
        SensorErrorKind::Connect
        | SensorErrorKind::Tls
        | SensorErrorKind::Protocol
        | SensorErrorKind::Timeout
        | SensorErrorKind::Exited
        | SensorErrorKind::Emits
        | SensorErrorKind::Poisoned
        | SensorErrorKind::Limit
        | SensorErrorKind::EgressDenied
        | SensorErrorKind::Bug => FIRST,
    };
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(BACK_OFF_MAX);
    doubled / 2 + doubled.mul_f64(share(id, run, failures))
}

/// Returns a number from 0 to 1 that follows from a sensor, its run and its failures.
fn share(id: SensorId, run: u64, failures: u32) -> f64 {
    let drawn = Digest::of(format!("{id}/{run}/{failures}").as_bytes());
    let bits = drawn.as_bytes().iter().take(4).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use ensue_engine::ids::Id;
    use ensue_engine::time::Timestamp;

    use super::*;

    fn id(number: u128) -> SensorId {
        SensorId(Id::root(Timestamp::from_micros(1), number))
    }

    #[test]
    fn wait_doubles_from_one_second_to_five_minutes() {
        for failures in 1..=100 {
            let whole = Duration::from_secs(1_u64 << (failures - 1).min(16)).min(BACK_OFF_MAX);
            for sensor in 1..20 {
                let wait = wait_after(failures, SensorErrorKind::Connect, (id(sensor), 1));
                assert!((whole / 2..=whole * 3 / 2).contains(&wait), "{failures}: {wait:?}");
            }
        }
    }

    #[test]
    fn waits_of_sensors_differ_and_are_always_the_same() {
        let wait = |sensor, run| wait_after(5, SensorErrorKind::Connect, (id(sensor), run));
        assert_eq!(wait(1, 1), wait(1, 1));
        assert_ne!(wait(1, 1), wait(2, 1));
        assert_ne!(wait(1, 1), wait(1, 2));
    }

    #[test]
    fn failure_that_a_person_must_repair_waits_at_least_15_seconds() {
        for kind in [SensorErrorKind::Auth, SensorErrorKind::NotFound, SensorErrorKind::KeyMissing] {
            assert!(wait_after(1, kind, (id(1), 1)) >= FIRST_FOR_A_PERSON / 2);
        }
    }
}
