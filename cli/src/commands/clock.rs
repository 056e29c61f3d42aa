//! `ensue clock`: how the node handles a step of its machine's clock.

use clap::Subcommand;
use serde_json::json;

use super::Asking;
use crate::report::{CommandResult, eprint_line};

/// Accept the system clock after a jump.
///
/// If the clock of its machine steps forward by more than an hour, a node holds back schedules and
/// delayed starts for ten minutes, because the step may be a mistake that is soon corrected. `ensue
/// doctor` reports this. If the clock is set back, tokens, sessions and grants that had ended stay
/// ended. Accepting the clock says that it is right now, and that the earlier time was wrong.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue doctor
  ensue clock accept     timers that are due by the current time fire now")]
pub(crate) enum ClockCommand {
    /// Accept the system clock after a jump: release the timers that wait because of it, and let tokens,
    /// sessions and grants that had ended before it was set back follow it.
    #[command(after_help = "\
Examples:
  ensue clock accept
  ensue clock accept -o json")]
    Accept,
}

impl ClockCommand {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let Self::Accept = self;
        asking.client()?.post("/clock/accept", &json!({})).await?;
        eprint_line("the clock is accepted; timers and credentials follow it");
        Ok(())
    }
}
