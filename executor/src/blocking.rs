//! Where blocking work is done: on the runtime's thread pool, or in place.
//!
//! Which work blocks is documented in `ports`.

/// Where blocking work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocking {
    /// On the runtime's thread pool.
    #[default]
    Pool,
    /// On the calling thread, for a runtime that must take the same steps every time, such as the
    /// simulator's.
    InPlace,
}

impl Blocking {
    /// Runs blocking work. Returns none if it panicked or the runtime is shutting down.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match self {
            Self::Pool => tokio::task::spawn_blocking(work).await.ok(),
            Self::InPlace => Some(work()),
        }
    }
}
