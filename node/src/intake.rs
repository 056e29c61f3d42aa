//! What pulling sensors learn from the sequencer: whether they may read more, and what the log says about them.
//!
//! The sequencer sets the intake after each batch, and sources wait for it before they read, so that their peers keep
//! what the node cannot take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_engine::sensors::state::Sensors;
use tokio::sync::Notify;

/// The share of the limit on open work above which nothing is read, in percent.
const CLOSES_AT_PERCENT: u64 = 90;
/// The share of the limit on open work below which reading begins again, in percent.
const OPENS_BELOW_PERCENT: u64 = 80;

/// The pulling sensors as the log has them.
pub trait KnownSensors: Send + Sync {
    /// Returns them as of the newest commit. Quick.
    fn sensors(&self) -> Sensors;
}

/// Whether sensors may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intake {
    /// They may.
    #[default]
    Open,
    /// Too much work is open.
    TooMuchOpen,
    /// The disk has no room.
    DiskFull,
}

impl Intake {
    /// Returns why nothing is read, for people; `None` if sensors may read.
    pub fn why_closed(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::TooMuchOpen => Some("too much work is open"),
            Self::DiskFull => Some("the disk is full"),
        }
    }
}

/// The sequencer's side of the intake.
#[derive(Clone, Debug, Default)]
pub struct IntakeGate(Arc<SharedIntake>);

/// The side of the sensors.
#[derive(Clone, Debug)]
pub struct IntakeWatch(Arc<SharedIntake>);

/// What both sides see. It wakes those that wait in the order in which they came, unlike a `watch` of tokio, which
/// wakes them in a random order: a simulated world must take the same course each time.
#[derive(Debug, Default)]
struct SharedIntake {
    intake: Mutex<Intake>,
    changed: Notify,
}

impl SharedIntake {
    fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IntakeWatch {
    /// Returns whether sensors may read.
    pub fn now(&self) -> Intake {
        *self.0.intake()
    }

    /// Completes once the intake is another one than this.
    pub async fn is_not(&self, seen: Intake) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // A change from here on is not missed.
            changed.as_mut().enable();
            if self.now() != seen {
                return;
            }
            changed.await;
        }
    }
}

impl IntakeGate {
    /// Opens or closes the intake by the amount of open work, the limit on it, and whether the disk has room.
    pub fn set(&self, open: u64, max: u64, has_room: bool) {
        let is_changed = {
            let mut intake = self.0.intake();
            let closes_at = max.saturating_mul(CLOSES_AT_PERCENT) / 100;
            let opens_below = max.saturating_mul(OPENS_BELOW_PERCENT) / 100;
            let next = match *intake {
                _ if !has_room => Intake::DiskFull,
                Intake::TooMuchOpen if open >= opens_below => Intake::TooMuchOpen,
                Intake::Open | Intake::TooMuchOpen | Intake::DiskFull if open >= closes_at => Intake::TooMuchOpen,
                Intake::Open | Intake::TooMuchOpen | Intake::DiskFull => Intake::Open,
            };
            std::mem::replace(&mut *intake, next) != next
        };
        if is_changed {
            self.0.changed.notify_waiters();
        }
    }

    /// Returns the side of the sensors.
    pub fn watch(&self) -> IntakeWatch {
        IntakeWatch(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intake_closes_at_90_percent_and_opens_below_80() {
        let gate = IntakeGate::default();
        let after = |open| {
            gate.set(open, 1_000, true);
            gate.watch().now()
        };
        assert_eq!([899, 900, 899, 800].map(after), [Intake::Open, Intake::TooMuchOpen, Intake::TooMuchOpen, Intake::TooMuchOpen]);
        assert_eq!([799, 899].map(after), [Intake::Open, Intake::Open]);
    }

    #[test]
    fn full_disk_closes_the_intake() {
        let gate = IntakeGate::default();
        gate.set(0, 1_000, false);
        assert_eq!(gate.watch().now(), Intake::DiskFull);
        gate.set(0, 1_000, true);
        assert_eq!(gate.watch().now(), Intake::Open);
    }
}
