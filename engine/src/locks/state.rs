//! The state of locks: the holders of each, and the executions that wait for it.
//!
//! An execution takes its locks one after the other, and keeps those it has while it waits for the next: all
//! take their rule's lock before their action's. Two executions can wait for each other only if workflows run
//! each other, or themselves, with other keys.

use serde::{Deserialize, Serialize};

use super::facts::{Claim, Lock, LockOwner};
use crate::executions::facts::ExecutionRequested;
use crate::ids::ExecutionId;
use crate::record::{CatalogRevision, Digest, Position};
use crate::table::{Table, undone_together};

/// The place of an execution among those that wait: by priority and age.
type WaiterPlace = (i16, Position);

/// The holders of locks, and the executions that wait for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Locks {
    /// The open executions that must hold locks.
    claimants: Table<ExecutionId, Claimant>,
    /// How many may hold each lock of an owner.
    limits: Table<LockOwner, Limit>,
    counts: Table<Lock, Counts>,
    /// The holders of each lock, by the record since which they hold it.
    holders: Table<(Lock, Position), ExecutionId>,
    /// The executions that wait for a lock.
    waiters: Table<(Lock, WaiterPlace), ExecutionId>,
    /// The executions that would wait, but are paused or are inside a paused one.
    aside: Table<(Lock, WaiterPlace), ExecutionId>,
    /// The locks that have a waiting execution and room for it; derived from the other tables, not saved.
    #[serde(skip)]
    free: Table<Lock, ()>,
}

undone_together!(pub(crate) Locks { claimants, limits, counts, holders, waiters, aside, free });

/// An open execution that must hold locks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claimant {
    /// The locks, in the order in which it takes them.
    pub claims: Vec<Claim>,
    /// The records since which it holds the first ones.
    pub held: Vec<Position>,
    /// Its state.
    pub standing: Standing,
    place: WaiterPlace,
    catalog: CatalogRevision,
}

/// The state of an execution that must hold locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does not want to begin yet, or no longer does.
    Apart,
    /// It waits for the next of its locks.
    Waiting {
        /// Whether that was recorded.
        is_told: bool,
    },
    /// It waits for the next of its locks, and is meanwhile paused or inside a paused execution.
    Aside {
        /// Whether that was recorded.
        is_told: bool,
    },
    /// It holds all its locks.
    Holding,
}

/// How many may hold each lock of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Limit {
    limit: u32,
    /// The catalog that defines the limit: the newest by which an execution was requested.
    catalog: CatalogRevision,
    /// How many open executions have a claim on a lock of the owner.
    claimants: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    holders: u32,
    waiters: u32,
}

impl Claimant {
    /// Returns the lock that it waits for.
    pub fn awaits(&self) -> Option<&Claim> {
        match self.standing {
            Standing::Waiting { .. } | Standing::Aside { .. } => self.claims.get(self.held.len()),
            Standing::Apart | Standing::Holding => None,
        }
    }
}

impl Locks {
    /// Returns an open execution that must hold locks.
    pub fn claimant(&self, id: &ExecutionId) -> Option<&Claimant> {
        self.claimants.get(id)
    }

    /// Returns the open executions that must hold locks, ordered by id.
    pub fn claimants(&self) -> impl Iterator<Item = (&ExecutionId, &Claimant)> {
        self.claimants.iter()
    }

    /// Returns how many may hold a lock of this owner at once; `None` if no execution has a claim on one.
    pub fn limit(&self, owner: &LockOwner) -> Option<u32> {
        self.limits.get(owner).map(|limit| limit.limit)
    }

    /// Returns the holders of a lock, the longest-standing first.
    pub fn holders(&self, lock: &Lock) -> impl Iterator<Item = ExecutionId> {
        let (first, last) = ((lock.clone(), Position::default()), (lock.clone(), Position(u64::MAX)));
        self.holders.range(first..=last).map(|(_, id)| *id)
    }

    /// Returns the executions that wait for a lock and are not paused, the next first.
    pub fn waiters(&self, lock: &Lock) -> impl Iterator<Item = ExecutionId> {
        self.waiters.range(whole(lock)).map(|(_, id)| *id)
    }

    /// Returns a free lock that an execution waits for, and that execution.
    pub fn next_free(&self) -> Option<(&Lock, ExecutionId)> {
        let (lock, ()) = self.free.first()?;
        self.waiters(lock).next().map(|next| (lock, next))
    }

    /// Returns true if an execution that is requested now, by a catalog, would have to wait for a lock.
    pub fn hinders(&self, claim: &Claim, catalog: CatalogRevision) -> bool {
        let limit = self.limits.get(&claim.owner).filter(|known| known.catalog > catalog).map_or(claim.limit, |known| known.limit);
        let counts = self.counts_of(&claim.lock());
        counts.holders.saturating_add(counts.waiters) >= limit
    }

    /// Returns how many executions hold a lock, and how many wait for one.
    pub fn totals(&self) -> (usize, usize) {
        (self.holders.len(), self.waiters.len() + self.aside.len())
    }

    fn counts_of(&self, lock: &Lock) -> Counts {
        self.counts.get(lock).copied().unwrap_or_default()
    }

    /// Applies the request of an execution that must hold locks.
    pub(crate) fn enroll(&mut self, id: ExecutionId, fact: &ExecutionRequested, at: Position) {
        let place = (-i16::from(fact.priority), at);
        for claim in &fact.locks {
            let known = self.limits.get(&claim.owner).copied();
            let claimants = known.map_or(0, |known| known.claimants).saturating_add(1);
            let said = known.filter(|known| known.catalog > fact.catalog);
            let (limit, catalog) = said.map_or((claim.limit, fact.catalog), |known| (known.limit, known.catalog));
            self.limits.insert(claim.owner.clone(), Limit { limit, catalog, claimants });
            if known.is_some_and(|known| known.limit != limit) {
                self.look_over(&claim.owner);
            }
        }
        let (claims, standing, catalog) = (fact.locks.clone(), Standing::Apart, fact.catalog);
        self.claimants.insert(id, Claimant { claims, held: Vec::new(), standing, place, catalog });
    }

    /// Applies a changed limit of an owner's locks.
    fn look_over(&mut self, owner: &LockOwner) {
        let first = Lock { owner: owner.clone(), key: Digest::from_bytes([0; 32]) };
        let of_owner = self.counts.range(first..).map(|(lock, _)| lock).take_while(|lock| lock.owner == *owner);
        let of_owner: Vec<Lock> = of_owner.cloned().collect();
        of_owner.iter().for_each(|lock| self.look_at(lock));
    }

    /// Updates whether a lock has a waiting execution that may take it.
    fn look_at(&mut self, lock: &Lock) {
        let counts = self.counts_of(lock);
        let limit = self.limit(&lock.owner).unwrap_or(u32::MAX);
        if counts.waiters > 0 && counts.holders < limit {
            self.free.insert(lock.clone(), ());
        } else {
            self.free.remove(lock);
        }
    }

    fn count(&mut self, lock: &Lock, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts_of(lock);
        change(&mut counts);
        if counts == Counts::default() {
            self.counts.remove(lock);
        } else {
            self.counts.insert(lock.clone(), counts);
        }
        self.look_at(lock);
    }

    /// Lets an execution that wants to begin take its locks, as far as they are free and no other waits for
    /// them; returns true if it holds all.
    pub(crate) fn begin(&mut self, id: ExecutionId, at: Position) -> bool {
        match self.claimants.get(&id).map(|claimant| claimant.standing) {
            Some(Standing::Apart) => {
                // It takes its place when it wants to begin, not when it was requested.
                self.claimants.change(&id, |claimant| claimant.place.1 = if claimant.held.is_empty() { at } else { claimant.place.1 });
                self.take_on(id, at)
            }
            Some(Standing::Waiting { .. } | Standing::Aside { .. }) => false,
            Some(Standing::Holding) | None => true,
        }
    }

    fn take_on(&mut self, id: ExecutionId, at: Position) -> bool {
        while let Some(claimant) = self.claimants.get(&id) {
            let Some(claim) = claimant.claims.get(claimant.held.len()) else {
                self.claimants.change(&id, |claimant| claimant.standing = Standing::Holding);
                return true;
            };
            let (lock, place) = (claim.lock(), claimant.place);
            let counts = self.counts_of(&lock);
            if counts.waiters > 0 || counts.holders >= self.limit(&lock.owner).unwrap_or(u32::MAX) {
                self.waiters.insert((lock.clone(), place), id);
                self.claimants.change(&id, |claimant| claimant.standing = Standing::Waiting { is_told: false });
                self.count(&lock, |counts| counts.waiters += 1);
                return false;
            }
            self.hold(id, &lock, at);
        }
        true
    }

    fn hold(&mut self, id: ExecutionId, lock: &Lock, at: Position) {
        self.holders.insert((lock.clone(), at), id);
        self.claimants.change(&id, |claimant| claimant.held.push(at));
        self.count(lock, |counts| counts.holders += 1);
    }

    /// Applies that an execution took the lock it waited for; it continues with its next lock.
    pub(crate) fn acquire(&mut self, id: ExecutionId, lock: &Lock, at: Position) {
        if self.claimants.get(&id).and_then(Claimant::awaits).is_none_or(|claim| claim.lock() != *lock) {
            return;
        }
        self.wait_no_more(id);
        self.hold(id, lock, at);
        self.take_on(id, at);
    }

    /// Applies that the wait of an execution was recorded.
    pub(crate) fn apply_wait(&mut self, id: ExecutionId) {
        self.claimants.change(&id, |claimant| {
            claimant.standing = match claimant.standing {
                Standing::Waiting { .. } => Standing::Waiting { is_told: true },
                Standing::Aside { .. } => Standing::Aside { is_told: true },
                other @ (Standing::Apart | Standing::Holding) => other,
            }
        });
    }

    /// Ends the wait of an execution, which keeps the locks that it holds.
    pub(crate) fn wait_no_more(&mut self, id: ExecutionId) {
        let Some(claimant) = self.claimants.get(&id) else { return };
        let Some(lock) = claimant.awaits().map(Claim::lock) else { return };
        let (key, was_waiting) = ((lock.clone(), claimant.place), matches!(claimant.standing, Standing::Waiting { .. }));
        self.waiters.remove(&key);
        self.aside.remove(&key);
        self.claimants.change(&id, |claimant| claimant.standing = Standing::Apart);
        if was_waiting {
            self.count(&lock, |counts| counts.waiters = counts.waiters.saturating_sub(1));
        }
    }

    /// Applies the end of an execution: it waits for nothing, and holds nothing.
    pub(crate) fn release(&mut self, id: ExecutionId) {
        self.wait_no_more(id);
        let Some(Claimant { claims, held, .. }) = self.claimants.get(&id).cloned() else { return };
        self.claimants.remove(&id);
        for (claim, since) in claims.iter().zip(held) {
            let lock = claim.lock();
            self.holders.remove(&(lock.clone(), since));
            self.count(&lock, |counts| counts.holders = counts.holders.saturating_sub(1));
        }
        for claim in &claims {
            match self.limits.get(&claim.owner).map(|limit| limit.claimants) {
                Some(0 | 1) => self.limits.remove(&claim.owner),
                Some(_) => self.limits.change(&claim.owner, |limit| limit.claimants -= 1),
                None => {}
            }
        }
    }

    /// Sets a waiting execution aside while it is paused: nobody waits behind it meanwhile.
    pub(crate) fn set_aside(&mut self, id: ExecutionId) {
        let Some(claimant) = self.claimants.get(&id) else { return };
        let (Standing::Waiting { is_told }, Some(lock)) = (claimant.standing, claimant.awaits().map(Claim::lock)) else { return };
        let key = (lock.clone(), claimant.place);
        self.waiters.remove(&key);
        self.aside.insert(key, id);
        self.claimants.change(&id, |claimant| claimant.standing = Standing::Aside { is_told });
        self.count(&lock, |counts| counts.waiters = counts.waiters.saturating_sub(1));
    }

    /// Returns an execution that is no longer paused to its old place among those that wait.
    pub(crate) fn put_back(&mut self, id: ExecutionId) {
        let Some(claimant) = self.claimants.get(&id) else { return };
        let (Standing::Aside { is_told }, Some(lock)) = (claimant.standing, claimant.awaits().map(Claim::lock)) else { return };
        let key = (lock.clone(), claimant.place);
        self.aside.remove(&key);
        self.waiters.insert(key, id);
        self.claimants.change(&id, |claimant| claimant.standing = Standing::Waiting { is_told });
        self.count(&lock, |counts| counts.waiters += 1);
    }

    /// Returns true if one waiting execution is ahead of another.
    pub(crate) fn stands_before(&self, one: &ExecutionId, other: &ExecutionId) -> bool {
        let place = |id| self.claimants.get(id).map(|claimant| claimant.place);
        place(one) < place(other)
    }

    /// Rebuilds the parts that are not saved.
    pub(crate) fn index(&mut self) {
        let locks: Vec<Lock> = self.counts.iter().map(|(lock, _)| lock.clone()).collect();
        locks.iter().for_each(|lock| self.look_at(lock));
        self.free.commit();
    }
}

/// Returns the range of rows of a lock.
fn whole(lock: &Lock) -> std::ops::RangeInclusive<(Lock, WaiterPlace)> {
    (lock.clone(), (i16::MIN, Position::default()))..=(lock.clone(), (i16::MAX, Position(u64::MAX)))
}
