//! States that a test waits for.

use std::time::{Duration, Instant};

use super::PATIENCE;

/// The polling interval.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The result of one look: the state, or a description of another one.
pub(crate) trait Observation {
    /// What the test waits for.
    type State;

    /// Returns the state, or a description of another one.
    fn state(self) -> Result<Self::State, String>;
}

impl Observation for bool {
    type State = ();

    fn state(self) -> Result<(), String> {
        if self { Ok(()) } else { Err(String::new()) }
    }
}

impl<S> Observation for Option<S> {
    type State = S;

    fn state(self) -> Result<S, String> {
        self.ok_or_else(String::new)
    }
}

impl<S> Observation for Result<S, String> {
    type State = S;

    fn state(self) -> Self {
        self
    }
}

/// Looks until a state has come, and returns it.
pub(crate) async fn until<S: Observation>(what: &str, mut look: impl AsyncFnMut() -> S) -> S::State {
    let begin = Instant::now();
    loop {
        match look().await.state() {
            Ok(state) => return state,
            Err(instead) => assert!(begin.elapsed() < PATIENCE, "it never came: {what}\n{instead}"),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
