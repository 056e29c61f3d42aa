//! Turns: who changes a thing does so alone, from looking at it to the commit of the change.
//!
//! It knows no things, only their names, and not what a change is.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// How many things have a turn of their own. Two whose names fall together wait for each other as well, which costs them what the other takes.
const TURNS: usize = 256;

/// The turns of all things that callers change: a fixed number, however many things there are.
pub(crate) struct Turns(Vec<Arc<Mutex<()>>>);

/// A turn at a thing, until this is dropped. It goes with what was asked to where that is done, so that a caller who goes away does not end it.
pub(crate) struct Turn {
    _held: OwnedMutexGuard<()>,
}

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Arc::default()).collect())
    }
}

impl Turns {
    /// Waits for the turn at a thing, in the order of those who ask.
    pub(crate) async fn of(&self, thing: &str) -> Turn {
        let [at, ..] = *blake3::hash(thing.as_bytes()).as_bytes();
        let turn = self.0[usize::from(at) % TURNS].clone();
        Turn { _held: turn.lock_owned().await }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn the_next_one_s_turn_comes_when_the_first_has_ended() {
        let turns = Turns::default();
        let mut waits = Context::from_waker(Waker::noop());
        let mut first = Some(match pin!(turns.of("keys/a.b")).poll(&mut waits) {
            std::task::Poll::Ready(turn) => turn,
            std::task::Poll::Pending => panic!("nobody else is there"),
        });
        let mut second = pin!(turns.of("keys/a.b"));
        assert!(second.as_mut().poll(&mut waits).is_pending());
        assert!(pin!(turns.of("keys/a.c")).poll(&mut waits).is_ready(), "another thing has its own");
        drop(first.take());
        assert!(second.as_mut().poll(&mut waits).is_ready());
    }
}
