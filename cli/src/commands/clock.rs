//! `ensue clock`: how the node handles a step of its machine's clock.

use clap::Subcommand;
use serde_json::json;

use super::Asking;
use crate::report::{Outcome, tell};

/// Accept the system clock after a jump.
///
/// If the clock of its machine steps forward by more than an hour, a node holds back schedules and
/// delayed starts for ten minutes, because the step may be a mistake that is soon corrected. `ensue
/// doctor` reports this.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue doctor
  ensue clock accept     timers that are due by the current time fire now")]
pub(crate) enum Clock {
    /// Accept the system clock after a jump, and release the timers that wait because of it.
    #[command(after_help = "\
Examples:
  ensue clock accept
  ensue clock accept -o json")]
    Accept,
}

impl Clock {
    pub(super) async fn run(self, asking: &Asking) -> Outcome {
        let Self::Accept = self;
        asking.client()?.post("/clock/accept", &json!({})).await?;
        tell("the clock is accepted; due timers no longer wait for a step of it");
        Ok(())
    }
}
