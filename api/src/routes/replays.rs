//! Replays: folding recorded executions again.

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::operation::Operation;
use crate::permissions::{EventsRead, ExecutionsRead, ReplaysRun, RulesRead};
use crate::ports::ToReplay;
use crate::problem::Outcome;
use crate::respond;
use crate::wire::replays::{WireReplayed, WireToReplay};

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.post::<ReplaysRun>(
        "/executions/replay",
        replay,
        Operation::new(
            "execution_replay",
            "Reports which recorded executions would take another course, and where they would first differ",
        )
        .passes_keys_over()
        .takes_json::<WireToReplay>(r#"{"last": 100, "action": "demo.greet"}"#)
        .gives::<WireReplayed>(200, "The result of the replay.", &[])
        .refuses(&[(404, "not_found"), (422, "replay_refused"), (422, "takes_too_long"), (429, "over_share")]),
    );
}

/// Returns which recorded executions would run differently, and the first difference in each.
pub(super) async fn replay(allowed: AllowedCaller<ReplaysRun>, mut call: Call) -> Outcome {
    // Differences reveal the execution, the event that led to it, and what the rule makes of the event.
    AllowedCaller::<ExecutionsRead>::demand_whole(&*call.api().ports.access, call.request())?;
    AllowedCaller::<EventsRead>::demand_whole(&*call.api().ports.access, call.request())?;
    AllowedCaller::<RulesRead>::demand_whole(&*call.api().ports.access, call.request())?;
    let asked: WireToReplay = call.json().await?;
    let asked = ToReplay::try_from(asked)?;
    let told = call.api().threads.rehearsing(&allowed.caller(), move |ports, patience| ports.replays.replay(&asked, patience)).await??;
    respond::json(&WireReplayed::from(told))
}
