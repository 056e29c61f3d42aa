//! The clocks of a simulated node. They show the world's time and wake nobody until the world lets time pass.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ensue_node::parts::Hands;

use crate::ground::WorldGround;
use crate::sometimes;

/// A node's clock.
pub(crate) struct WorldHands(pub(crate) Arc<WorldGround>);

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

/// The steady clock of a node's worker, and the tasks that wait for it.
pub(crate) struct WorkerClock {
    ground: Arc<WorldGround>,
    /// The duration of the worker's lease on an attempt.
    lease_micros: u64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By moment and ticket.
    wakers: BTreeMap<(u64, u64), Waker>,
    /// Late wakers: by the late moment and the ticket, with the moment that they asked for.
    late: BTreeMap<(u64, u64), (u64, Waker)>,
    /// The tasks whose timers are late, and until when.
    tasks: BTreeMap<String, u64>,
    tickets: u64,
}

impl WorkerClock {
    /// Creates the clock of a node's worker.
    pub(crate) fn new(ground: Arc<WorldGround>, lease_micros: u64) -> Arc<Self> {
        Arc::new(Self { ground, lease_micros, waiting: Mutex::default() })
    }

    /// Returns the earliest moment that a task waits for, in microseconds since the world began.
    pub(crate) fn first(&self) -> Option<u64> {
        let mut waiting = self.lock();
        if self.ground.is_healed() && !waiting.tasks.is_empty() {
            waiting.hurry();
            self.ground.witness().timeline.end_late(self.ground.now());
        }
        let first = waiting.wakers.first_key_value().map(|((at, _), _)| *at);
        let late = waiting.late.first_key_value().map(|((at, _), _)| *at);
        first.into_iter().chain(late).min()
    }

    /// Wakes all tasks whose moment has come.
    pub(crate) fn wake(&self) {
        let now = self.ground.now();
        let due = {
            let mut waiting = self.lock();
            let (later, still_late) = (waiting.wakers.split_off(&(now + 1, 0)), waiting.late.split_off(&(now + 1, 0)));
            let due = std::mem::replace(&mut waiting.wakers, later).into_values();
            let late = std::mem::replace(&mut waiting.late, still_late).into_values();
            due.chain(late.map(|(_, waker)| waker)).collect::<Vec<_>>()
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// Returns until when the asking task's timers are late, if they are: timers are late for a whole task at
    /// once.
    fn late_until(&self, waiting: &mut Waiting) -> Option<u64> {
        let task = tokio::task::try_id()?.to_string();
        let now = self.ground.now();
        if let Some(until) = waiting.tasks.get(&task).filter(|until| **until > now) {
            return Some(*until);
        }
        waiting.tasks.remove(&task);
        if !self.ground.strikes(self.ground.plan.late_timers) {
            return None;
        }
        sometimes!("a task's timers came late");
        let lease = self.lease_micros;
        let until = now + self.ground.random().between(lease / 2, lease * 3);
        self.ground.trace("worker", format!("a task's timers come late, by {:.1} s", (until - now) as f64 / 1e6));
        self.ground.witness().timeline.note_late(now, until);
        waiting.tasks.insert(task, until);
        Some(until)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Ends all lateness: every waker fires at the moment it asked for.
    fn hurry(&mut self) {
        self.tasks.clear();
        for ((_, ticket), (at, waker)) in std::mem::take(&mut self.late) {
            self.wakers.insert((at, ticket), waker);
        }
    }
}

impl ensue_executor::Clock for WorkerClock {
    fn now(&self) -> Duration {
        Duration::from_micros(self.ground.now())
    }

    fn until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let at = u64::try_from(moment.as_micros()).unwrap_or(u64::MAX);
        Box::pin(Until { clock: self, at, place: None })
    }
}

/// Resolves when the world's time has reached a moment. Dropping it removes it from the waiting list.
struct Until<'c> {
    clock: &'c WorkerClock,
    at: u64,
    /// The moment of its waker, and its ticket.
    place: Option<(u64, u64)>,
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.clock.ground.now() >= self.at {
            return Poll::Ready(());
        }
        let mut waiting = self.clock.lock();
        let place = match self.place {
            Some((_, ticket)) if self.clock.ground.is_healed() => (self.at, ticket),
            Some(place) => place,
            None => {
                waiting.tickets += 1;
                let late = self.clock.late_until(&mut waiting).unwrap_or(0);
                (late.max(self.at), waiting.tickets)
            }
        };
        if place.0 > self.at {
            waiting.late.insert(place, (self.at, context.waker().clone()));
        } else {
            waiting.wakers.insert(place, context.waker().clone());
        }
        drop(waiting);
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for Until<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut waiting = self.clock.lock();
            waiting.wakers.remove(&(self.at, place.1));
            waiting.late.remove(&place);
        }
    }
}
