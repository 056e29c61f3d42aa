//! Periodic work of a running node: the clock, the outside head, the values of keys whose overlap ended, and the
//! sessions whose time is over.
//!
//! The effects of each step are described where the step is recorded.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::command::{Ask, Command};
use ensue_engine::record::Actor;
use ensue_executor::connections::Connections;

use crate::clock::SteppedClock;
use crate::kept_deliveries::KeptDeliveries;
use crate::key_ring::KeyRing;
use crate::outside_writer::OutsideWriter;
use crate::refusals::NodeRefusals;
use crate::sequencer::SequencerHandle;
use crate::sessions::NodeSessions;

/// The time between two looks at the values of keys whose overlap has ended, in seconds.
const KEYS_SECONDS: u64 = 60;

/// The time between two looks at the sessions whose time is over, in seconds.
const SESSIONS_SECONDS: u64 = 30;

/// Once a second, moves the clock closer to the wall clock, flushes the outside head, closes unused connections, stores the last uses of tokens and the last
/// deliveries, and records due sums and uses of keys. Once a minute, destroys the values of keys whose overlap has ended. Every half a
/// minute, ends the sessions whose time is over.
pub(super) async fn tick(
    clock: Arc<dyn SteppedClock>,
    handle: SequencerHandle,
    outside: OutsideWriter,
    (keys, sessions): (Arc<KeyRing>, Arc<NodeSessions>),
    (refusals, deliveries, connections): (Arc<NodeRefusals>, Arc<KeptDeliveries>, Arc<Connections>),
) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for second in 0_u64.. {
        seconds.tick().await;
        note_clock_step(&*clock, &handle);
        refusals.tick();
        connections.close_unused();
        keys.record_uses(&handle);
        let (outside, keys, sessions, now) = (outside.clone(), keys.clone(), sessions.clone(), clock.now());
        let deliveries = deliveries.clone();
        // After a step of the clock, overlaps end only once it is known that the clock is right.
        let is_due = second % KEYS_SECONDS == KEYS_SECONDS - 1 && handle.gauges().clock_hold(now).is_none();
        let are_swept = second % SESSIONS_SECONDS == SESSIONS_SECONDS - 1 && handle.gauges().clock_hold(now).is_none();
        // All of it may wait for the disk.
        let work = move || {
            outside.flush();
            deliveries.write();
            if let Err(error) = sessions.table.store_uses() {
                tracing::warn!(%error, "the last uses of tokens cannot be stored; the node tries again");
            }
            if is_due {
                keys.destroy_ended(now);
            }
            if are_swept && let Err(declined) = sessions.sweep() {
                tracing::warn!(why = %declined.why, "the sessions cannot be looked through; the node tries again");
            }
        };
        let _ = tokio::task::spawn_blocking(work).await;
    }
}

/// Wakes the sequencer if the wall clock has stepped; called about once a second. The sequencer itself records the
/// step in the log before anything else.
pub fn note_clock_step(clock: &dyn SteppedClock, log: &dyn ensue_engine::ports::Submit) {
    if let Some(step) = clock.tick() {
        tracing::warn!(from = %step.from, to = %step.to, "the wall clock stepped");
        let command = Command { actor: Actor::Engine, trace: None, ask: Ask::FireTimers };
        log.submit(command, Box::new(|_| {}));
    }
}
