//! Lists and states that are shown again as the log grows: drawn in place at a terminal, and one after the other elsewhere.
//!
//! What is looked at and how it is shown is the command's. Nothing is asked for while nothing happens.

use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::client::Client;
use crate::live;
use crate::output::Output;
use crate::report::{Exit, Failure, Outcome, say_bytes};

/// The least time between two looks: what happens meanwhile is seen at once.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long it is waited before a node that cannot answer now is asked again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Which records make another look worth while.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stirred {
    /// Any.
    ByAll,
    /// Those of these kinds: `execution` has `execution.requested` and all others.
    By(&'static [&'static str]),
}

impl Stirred {
    fn is_by(self, kind: &str) -> bool {
        match self {
            Self::ByAll => true,
            Self::By(kinds) => kind.split_once('.').is_some_and(|(noun, _)| kinds.contains(&noun)),
        }
    }
}

/// Shows what `look` gives, and again each time when the log has grown by records that stir it and it gives something else. It ends with the
/// program, or where the node is gone for good.
pub(crate) async fn as_it_changes(
    client: &Client,
    output: Output,
    stirred: Stirred,
    look: impl AsyncFn() -> Result<Value, Failure>,
    show: impl Fn(&Value) -> String,
) -> Outcome {
    let head = client.get("/log/head", &[]).await?["position"].as_u64().unwrap_or_default();
    let (grew, mut growth) = watch::channel(());
    let query = [("after", head.to_string())];
    let following = live::follow_on(client, "/log/stream", &query, |told| {
        if told.data["kind"].as_str().is_some_and(|kind| stirred.is_by(kind)) {
            // The next look is to show at least this.
            client.saw(told.data["position"].as_u64().unwrap_or_default());
            grew.send_replace(());
        }
        ControlFlow::Continue(())
    });
    let drawing = async {
        let mut shown = Value::Null;
        loop {
            match look().await {
                Ok(seen) if seen == shown => {}
                Ok(seen) => {
                    output.print_again(&seen, &show);
                    shown = seen;
                }
                // Whether it is gone for good, the stream finds out.
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

/// Draws a text in the place of the one before, cut to the terminal: a line that scrolls away or wraps cannot be drawn over.
pub(crate) fn draw(text: &str, (width, height): (usize, usize)) {
    say_bytes(frame(text, (width, height)).as_bytes());
}

/// Goes to the top left, writes each line over the old one, and clears what is left of the old ones.
fn frame(text: &str, (width, height): (usize, usize)) -> String {
    const HOME: &str = "\u{1b}[H";
    const CLEAR_TO_THE_RIGHT: &str = "\u{1b}[K";
    const CLEAR_BELOW: &str = "\u{1b}[J";
    // The cursor stands on the last line.
    let room = height.saturating_sub(1);
    let mut frame = HOME.to_owned();
    for line in text.trim_end().lines().take(room) {
        frame.push_str(&crate::table::cut(line, width));
        frame.push_str(CLEAR_TO_THE_RIGHT);
        frame.push_str("\r\n");
    }
    frame.push_str(CLEAR_BELOW);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_fits_the_terminal_and_leaves_nothing_of_what_was_drawn_before() {
        let drawn = frame("one\na line that is too long\nthree\nfour\n", (10, 4));
        assert_eq!(drawn, "\u{1b}[Hone\u{1b}[K\r\na line th…\u{1b}[K\r\nthree\u{1b}[K\r\n\u{1b}[J");
        assert_eq!(frame("", (0, 0)), "\u{1b}[H\u{1b}[J");
    }

    #[test]
    fn a_list_is_stirred_by_its_own_records_alone() {
        let executions = Stirred::By(&["execution", "attempt"]);
        assert!(executions.is_by("execution.requested") && executions.is_by("attempt.started"));
        assert!(!executions.is_by("event.received") && !executions.is_by("executions"));
        assert!(Stirred::ByAll.is_by("event.received"));
    }
}
