//! The thread that moves bytes between this process and the database, and how other threads wait for it.
//!
//! The ports are blocking, and may be called from any thread, also from one of a runtime. So a caller parks its own thread
//! instead of entering a runtime.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The thread. It ends when this is dropped.
pub(crate) struct Io {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Io {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("postgres-io".to_owned()).spawn(move || {
            // An error means that the sender is gone, which is the signal.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Arc::new(Self { handle, _stop: stop }))
    }

    /// Runs a task on the thread.
    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
        self.handle.spawn(task)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a result on this thread. Returns `None` if there is none at the deadline.
pub(crate) fn wait<T>(future: impl Future<Output = T>, deadline: Instant) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return Some(result);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn result_of_a_task_arrives_at_the_waiting_thread() {
        let io = Io::start().unwrap();
        let task = io.spawn(async { 7 });
        assert_eq!(wait(task, Instant::now() + Duration::from_secs(10)).unwrap().unwrap(), 7);
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let begin = Instant::now();
        assert_eq!(wait(std::future::pending::<()>(), begin + Duration::from_millis(20)), None);
        assert!(begin.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn thread_of_a_runtime_may_wait() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let io = Io::start().unwrap();
        let answer = runtime.block_on(async { wait(io.spawn(async { 7 }), Instant::now() + Duration::from_secs(10)) });
        drop(io);
        assert_eq!(answer.unwrap().unwrap(), 7);
    }
}
