//! Where work that blocks is done: on the runtime's pool of threads, or in place.
//!
//! It does not say what blocks; `ports` does.

/// Where work that blocks is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocking {
    /// On the runtime's pool of threads.
    #[default]
    Pool,
    /// Where it is met: for a runtime whose every step is to be the same each time, as the simulator's.
    InPlace,
}

impl Blocking {
    /// Has work done that blocks; none where it panicked or the runtime ends.
    pub(crate) async fn done<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match self {
            Self::Pool => tokio::task::spawn_blocking(work).await.ok(),
            Self::InPlace => Some(work()),
        }
    }
}
