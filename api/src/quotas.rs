//! Quotas: queues of which one caller can have only a share, so that the others have the rest.
//!
//! The callers of `enter` decide what counts, and how much.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ensue_engine::names::SensorRef;

use crate::queues::{Queue, QueuePermit};

/// The caller whose share an entry counts towards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Caller {
    /// All senders of deliveries at a hook, because who they are is unknown before the body is read.
    Hook(SensorRef),
    /// The holder of a token, by its name.
    Token(String),
    /// The callers at an address, by its network.
    Address(IpAddr),
    /// Unauthenticated callers.
    Nobody,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// For everybody: the queue is full.
    Full,
    /// For this caller, which is at its share already.
    OverQuota,
}

/// A queue, and the amount that each caller holds.
pub(crate) struct Quotas {
    queue: Arc<Queue>,
    quota: u64,
    by_caller: Mutex<BTreeMap<Caller, u64>>,
}

/// Room in the queue, until it is dropped.
pub(crate) struct Room {
    quotas: Arc<Quotas>,
    caller: Caller,
    amount: u64,
    _held: QueuePermit,
}

impl Quotas {
    /// Divides a queue so that one caller has at most `quota` of it.
    pub(crate) fn of(queue: Arc<Queue>, quota: u64) -> Arc<Self> {
        Arc::new(Self { queue, quota, by_caller: Mutex::default() })
    }

    /// Takes up room for a caller. A caller's only entry is never over its share, however large it is.
    pub(crate) fn enter(self: &Arc<Self>, caller: Caller, amount: u64) -> Result<Room, NoRoom> {
        let mut by_caller = self.by_caller.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = by_caller.get(&caller).copied().unwrap_or(0);
        if mine > 0 && mine + amount > self.quota {
            self.queue.reject();
            return Err(NoRoom::OverQuota);
        }
        let held = self.queue.enter(amount).ok_or(NoRoom::Full)?;
        by_caller.insert(caller.clone(), mine + amount);
        drop(by_caller);
        Ok(Room { quotas: Arc::clone(self), caller, amount, _held: held })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut by_caller = self.quotas.by_caller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = by_caller.get_mut(&self.caller) {
            *mine -= self.amount;
            if *mine == 0 {
                by_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::QueueName;

    fn quotas(capacity: u64, quota: u64) -> Arc<Quotas> {
        Quotas::of(Queue::new(QueueName::LiveStreams, capacity), quota)
    }

    fn token(name: &str) -> Caller {
        Caller::Token(name.to_owned())
    }

    #[test]
    fn caller_has_at_most_its_share_and_others_get_the_rest() {
        let quotas = quotas(4, 2);
        let _first = quotas.enter(token("ana"), 1);
        let second = quotas.enter(token("ana"), 1);
        assert_eq!(quotas.enter(token("ana"), 1).err(), Some(NoRoom::OverQuota));
        let _other = quotas.enter(token("bo"), 2);
        assert_eq!(quotas.enter(token("cy"), 1).err(), Some(NoRoom::Full));
        drop(second);
        assert!(quotas.enter(token("ana"), 1).is_ok());
    }

    #[test]
    fn single_request_may_use_the_whole_queue_and_frees_it() {
        let quotas = quotas(4, 2);
        assert!(quotas.enter(token("ana"), 4).is_ok());
        assert_eq!(quotas.queue.depth(), 0);
        assert!(quotas.by_caller.lock().unwrap().is_empty());
    }
}
