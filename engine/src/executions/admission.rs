//! The limit on open work at which requests from outside are refused.

use crate::command::{Context, Refusal};
use crate::state::State;

/// Checks that there is room for more work from outside. Work that follows from the log is never refused.
pub(crate) fn admits_work(state: &State, with: &Context<'_>) -> Result<(), Refusal> {
    let open = state.executions().open_work() + state.health().owed_count() as u64;
    let max = with.settings.open_work_max;
    if open >= max { Err(Refusal::TooMuchOpen { open, max }) } else { Ok(()) }
}
