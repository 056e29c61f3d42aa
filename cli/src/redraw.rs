//! Shows lists and statuses again as the log grows: redrawn in place at a terminal, one after the other
//! elsewhere.
//!
//! The command determines what is read and how it is shown. Nothing is requested while nothing happens.

use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::client::Client;
use crate::output::Output;
use crate::report::{CommandResult, Exit, Failure};
use crate::sse;

/// The minimum time between two polls: changes in between are seen at once.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The pause before a node that cannot answer is asked again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The records that trigger another poll.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RefreshOn {
    /// Any.
    ByAll,
    /// Changes of these things that the caller may see, as `GET /changes` names them. It needs no right to read the log.
    Changes(&'static str),
    /// Those of these kinds: `execution` includes `execution.requested` and all others.
    By(&'static [&'static str]),
}

impl RefreshOn {
    fn is_by(self, kind: &str) -> bool {
        match self {
            Self::ByAll | Self::Changes(_) => true,
            Self::By(kinds) => kind.split_once('.').is_some_and(|(noun, _)| kinds.contains(&noun)),
        }
    }
}

/// Shows what `look` returns, and again each time the log has grown by relevant records and the result
/// differs. It ends with the program, or if the node is permanently gone.
pub(crate) async fn as_it_changes(
    client: &Client,
    output: Output,
    refresh_on: RefreshOn,
    look: impl AsyncFn() -> Result<Value, Failure>,
    show: impl Fn(&Value) -> String,
) -> CommandResult {
    let (path, query, first) = match refresh_on {
        RefreshOn::Changes(of) => {
            // The stream begins at the position that the first look shows.
            let first = look().await?;
            ("/changes", vec![("of", of.to_owned()), ("after", client.seen_position().to_string())], Some(first))
        }
        RefreshOn::ByAll | RefreshOn::By(_) => {
            let head = client.get("/log/head", &[]).await?["position"].as_u64().unwrap_or_default();
            ("/log/stream", vec![("after", head.to_string())], None)
        }
    };
    let (grew, mut growth) = watch::channel(());
    let following = sse::follow_on(client, path, &query, |told| {
        let is_relevant = match refresh_on {
            RefreshOn::Changes(_) => told.name != sse::END,
            RefreshOn::ByAll | RefreshOn::By(_) => told.data["kind"].as_str().is_some_and(|kind| refresh_on.is_by(kind)),
        };
        if is_relevant {
            // The next poll must be at least this new.
            client.saw(told.id.parse().unwrap_or_default());
            grew.send_replace(());
        }
        ControlFlow::Continue(())
    });
    let drawing = async {
        let (mut shown, mut first) = (Value::Null, first);
        loop {
            let seen = match first.take() {
                Some(seen) => Ok(seen),
                None => look().await,
            };
            match seen {
                Ok(seen) if seen == shown => {}
                Ok(seen) => {
                    output.print_again(&seen, &show);
                    shown = seen;
                }
                // The stream determines whether the node is permanently gone.
                Err(failure) if !shown.is_null() && matches!(failure.exit(), Exit::Unreachable | Exit::TryLater) => {
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                    continue;
                }
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(LOOK_EVERY).await;
            if growth.changed().await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        ended = following => ended,
        ended = drawing => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_refreshed_only_by_its_own_records() {
        let executions = RefreshOn::By(&["execution", "attempt"]);
        assert!(executions.is_by("execution.requested") && executions.is_by("attempt.started"));
        assert!(!executions.is_by("event.received") && !executions.is_by("executions"));
        assert!(RefreshOn::ByAll.is_by("event.received"));
    }
}
