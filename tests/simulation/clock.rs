//! The clocks of a simulated node: what they say is the world's, and they wake nobody before the world lets time pass.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ensue_node::parts::Hands;

use crate::ground::Ground;

/// The hands of a node's clock.
pub(crate) struct WorldHands(pub(crate) Arc<Ground>);

impl Hands for WorldHands {
    fn steady_micros(&self) -> i64 {
        self.0.now().cast_signed()
    }

    fn wall_micros(&self) -> i64 {
        self.0.wall()
    }

    fn entropy(&self) -> u128 {
        self.0.random().entropy()
    }
}

/// The steady clock of a node's worker, and who waits for it.
pub(crate) struct WorkerClock {
    ground: Arc<Ground>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<(u64, u64), Waker>,
    tickets: u64,
}

impl WorkerClock {
    /// Makes the clock of a node's worker.
    pub(crate) fn new(ground: Arc<Ground>) -> Arc<Self> {
        Arc::new(Self { ground, waiting: Mutex::default() })
    }

    /// Gives the moment that somebody waits for first, in microseconds since the world began.
    pub(crate) fn first(&self) -> Option<u64> {
        self.lock().wakers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes all whose moment has come.
    pub(crate) fn wake(&self) {
        let now = self.ground.now();
        let due = {
            let mut waiting = self.lock();
            let later = waiting.wakers.split_off(&(now + 1, 0));
            std::mem::replace(&mut waiting.wakers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ensue_executor::Clock for WorkerClock {
    fn now(&self) -> Duration {
        Duration::from_micros(self.ground.now())
    }

    fn until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let at = u64::try_from(moment.as_micros()).unwrap_or(u64::MAX);
        Box::pin(Until { clock: self, at, ticket: None })
    }
}

/// Ends when the world's time has come to a moment; leaves the list of those who wait when it is dropped.
struct Until<'c> {
    clock: &'c WorkerClock,
    at: u64,
    ticket: Option<u64>,
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.clock.ground.now() >= self.at {
            return Poll::Ready(());
        }
        let at = self.at;
        let mut waiting = self.clock.lock();
        let ticket = match self.ticket {
            Some(ticket) => ticket,
            None => {
                waiting.tickets += 1;
                waiting.tickets
            }
        };
        waiting.wakers.insert((at, ticket), context.waker().clone());
        drop(waiting);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Until<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.clock.lock().wakers.remove(&(self.at, ticket));
        }
    }
}
