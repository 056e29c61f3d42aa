//! What everything in a world stands on: its time, its chance, its story, and what its parts leave for the world to look at.
//!
//! Everything runs on one thread; the locks are there because the ports of a node must be `Sync`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::operator::Operated;
use crate::plan::Plan;
use crate::random::Random;
use crate::rates::Rates;
use crate::story::{Story, Verbosity};
use crate::traffic::Answered;
use crate::witness::Witness;

/// When simulated time begins, in microseconds since the Unix epoch: 28 March 2026, noon.
const NOON: i64 = 1_774_699_200_000_000;

/// What everything in a world stands on.
pub(crate) struct Ground {
    /// The seed's decisions about this world.
    pub(crate) plan: Plan,
    /// How many attempts of each queue may start in a while.
    pub(crate) rates: Rates,
    /// Microseconds since the world began.
    now: AtomicU64,
    /// How far the wall clock is off, in microseconds.
    wall_off: AtomicI64,
    /// How far it runs ahead, in millionths, and since when.
    wall_drift: Mutex<(i64, u64)>,
    /// Where the wall clock stands still; `i64::MIN` where it goes.
    wall_frozen: AtomicI64,
    random: Mutex<Random>,
    story: Mutex<Story>,
    answers: Mutex<Vec<Answered>>,
    commits: Mutex<BTreeMap<u64, u64>>,
    /// The newest position of an append that failed, and when: only the next append shows whether it was kept.
    failed_append: Mutex<Option<(u64, u64)>>,
    witness: Mutex<Witness>,
    operated: Mutex<BTreeMap<u64, Operated>>,
    is_healed: AtomicU64,
}

impl Ground {
    /// Makes the ground of a world.
    pub(crate) fn new(plan: Plan, rates: Rates, random: Random, verbosity: Verbosity) -> Arc<Self> {
        Arc::new(Self {
            plan,
            rates,
            now: AtomicU64::new(0),
            wall_off: AtomicI64::new(0),
            wall_drift: Mutex::default(),
            wall_frozen: AtomicI64::new(i64::MIN),
            random: Mutex::new(random),
            story: Mutex::new(Story::new(verbosity)),
            answers: Mutex::default(),
            commits: Mutex::default(),
            failed_append: Mutex::default(),
            witness: Mutex::default(),
            operated: Mutex::default(),
            is_healed: AtomicU64::new(0),
        })
    }

    /// Gives the microseconds since the world began.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Lets time pass; it never goes back.
    pub(crate) fn advance_to(&self, micros: u64) {
        self.now.fetch_max(micros, Ordering::Relaxed);
    }

    /// Gives what a wall clock says, in microseconds since the Unix epoch.
    pub(crate) fn wall(&self) -> i64 {
        match self.wall_frozen.load(Ordering::Relaxed) {
            i64::MIN => NOON + self.now().cast_signed() + self.wall_off.load(Ordering::Relaxed) + self.drifted(),
            frozen => frozen,
        }
    }

    /// Moves the wall clock.
    pub(crate) fn step_wall(&self, by_micros: i64) {
        self.wall_off.fetch_add(by_micros, Ordering::Relaxed);
        self.witness().steps.push((self.now(), by_micros));
    }

    /// Has the wall clock run ahead by so many millionths from now on, or behind where they are negative.
    pub(crate) fn drift_wall(&self, millionths: i64) {
        self.wall_off.fetch_add(self.drifted(), Ordering::Relaxed);
        *self.wall_drift.lock().unwrap_or_else(PoisonError::into_inner) = (millionths, self.now());
    }

    /// Says whether the wall clock runs at another pace than it should.
    pub(crate) fn is_wall_drifting(&self) -> bool {
        self.wall_drift.lock().unwrap_or_else(PoisonError::into_inner).0 != 0
    }

    /// Gives how far the wall clock ran away since it began to run as it does.
    fn drifted(&self) -> i64 {
        let (millionths, since) = *self.wall_drift.lock().unwrap_or_else(PoisonError::into_inner);
        (self.now() - since).cast_signed() * millionths / 1_000_000
    }

    /// Says whether the wall clock stands still.
    pub(crate) fn is_wall_frozen(&self) -> bool {
        self.wall_frozen.load(Ordering::Relaxed) != i64::MIN
    }

    /// Stops the wall clock.
    pub(crate) fn freeze_wall(&self) {
        self.wall_frozen.store(self.wall(), Ordering::Relaxed);
    }

    /// Lets the wall clock go on from the time it should show.
    pub(crate) fn thaw_wall(&self) {
        self.wall_frozen.store(i64::MIN, Ordering::Relaxed);
    }

    /// Gives the world's chance.
    pub(crate) fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether a fault of this probability strikes now; none strikes any more once the world is healed.
    pub(crate) fn strikes(&self, probability: f64) -> bool {
        !self.is_healed() && self.random().chance(probability)
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        self.is_healed.store(1, Ordering::Relaxed);
    }

    /// Says whether faults have ended.
    pub(crate) fn is_healed(&self) -> bool {
        self.is_healed.load(Ordering::Relaxed) == 1
    }

    /// Tells a line of the story: who, and what. It counts for the trace, whether it is shown or not.
    pub(crate) fn tell(&self, who: &str, what: impl std::fmt::Display) {
        let now = self.now();
        self.story().tell(now, who, &what.to_string());
    }

    /// Gives the story.
    pub(crate) fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves an answer of a node for the network to carry.
    pub(crate) fn answer(&self, answered: Answered) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answered);
    }

    /// Takes the answers that were left.
    pub(crate) fn take_answers(&self) -> Vec<Answered> {
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives what was seen and no log says.
    pub(crate) fn witness(&self) -> MutexGuard<'_, Witness> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that all records up to a position are on the disk since now, or longer: a commit that remembers a key may have no records.
    pub(crate) fn note_commit(&self, position: u64) {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).entry(position).or_insert(self.now());
    }

    /// Notes that an append up to a position failed below: what a disk was given before it failed may be found on it later.
    pub(crate) fn note_failed_append(&self, position: u64) {
        *self.failed_append.lock().unwrap_or_else(PoisonError::into_inner) = Some((position, self.now()));
    }

    /// Notes which position the next append follows: that of a failed append was kept when it failed, not when it is found.
    pub(crate) fn note_head(&self, head: u64) {
        let failed = self.failed_append.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((position, at)) = failed
            && position == head
        {
            self.commits.lock().unwrap_or_else(PoisonError::into_inner).entry(position).or_insert(at);
        }
    }

    /// Gives the newest position that is on the disk.
    pub(crate) fn newest(&self) -> u64 {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).last_key_value().map_or(0, |(position, _)| *position)
    }

    /// Gives when the record at a position came to the disk, in microseconds since the world began.
    pub(crate) fn committed_at(&self, position: u64) -> Option<u64> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).range(position..).next().map(|(_, at)| *at)
    }

    /// Notes what the operator set for the node that writes under an epoch.
    pub(crate) fn note_operated(&self, epoch: u64, operated: Operated) {
        self.operated.lock().unwrap_or_else(PoisonError::into_inner).insert(epoch, operated);
    }

    /// Gives what the operator set for the node that wrote under an epoch.
    pub(crate) fn operated_at(&self, epoch: u64) -> Option<Operated> {
        self.operated.lock().unwrap_or_else(PoisonError::into_inner).get(&epoch).cloned()
    }
}
