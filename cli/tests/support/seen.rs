//! States that a test waits for.

use std::time::{Duration, Instant};

use super::PATIENCE;

/// The polling interval.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The result of one look: the state, or a description of another one.
pub(crate) trait Seen {
    /// What the test waits for.
    type State;

    /// Returns the state, or a description of another one.
    fn state(self) -> Result<Self::State, String>;
}

impl Seen for bool {
    type State = ();

    fn state(self) -> Result<(), String> {
        if self { Ok(()) } else { Err(String::new()) }
    }
}

impl<S> Seen for Option<S> {
    type State = S;

    fn state(self) -> Result<S, String> {
        self.ok_or_else(String::new)
    }
}

impl<S> Seen for Result<S, String> {
    type State = S;

    fn state(self) -> Self {
        self
    }
}

/// Looks until a state has come, and returns it.
pub(crate) async fn until<S: Seen>(what: &str, mut look: impl AsyncFnMut() -> S) -> S::State {
    let begin = Instant::now();
    loop {
        match look().await.state() {
            Ok(state) => return state,
            Err(instead) => assert!(begin.elapsed() < PATIENCE, "it never came: {what}\n{instead}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
