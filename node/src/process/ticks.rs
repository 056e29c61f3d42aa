//! Periodic work of a running node: the clock and the outside head.
//!
//! The effects of each step are described where the step is recorded.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::command::{Ask, Command};
use ensue_engine::record::Actor;

use crate::clock::Clock;
use crate::outside::OutsideWriter;
use crate::sequencer::SequencerHandle;

/// Once a second, moves the clock closer to the wall clock and flushes the outside head.
pub(super) async fn tick(clock: Arc<dyn Clock>, handle: SequencerHandle, outside: OutsideWriter) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        note_clock_step(&*clock, &handle);
        let outside = outside.clone();
        // A flush may wait for the disk.
        let _ = tokio::task::spawn_blocking(move || outside.flush()).await;
    }
}

/// Wakes the sequencer if the wall clock has stepped; called about once a second. The sequencer itself records the
/// step in the log before anything else.
pub fn note_clock_step(clock: &dyn Clock, log: &dyn ensue_engine::ports::Submit) {
    if let Some(step) = clock.tick() {
        tracing::warn!(from = %step.from, to = %step.to, "the wall clock stepped");
        let command = Command { actor: Actor::Engine, trace: None, ask: Ask::FireTimers };
        log.submit(command, Box::new(|_| {}));
    }
}
