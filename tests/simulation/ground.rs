//! The shared base of a world: its time, its random numbers, its event trace, and what its parts report to
//! it.
//!
//! Everything runs on one thread; the locks are there because the ports of a node must be `Sync`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::operator::OperatorSettings;
use crate::plan::Plan;
use crate::random::Random;
use crate::rates::Rates;
use crate::story::{Story, Verbosity};
use crate::traffic::NodeAnswer;
use crate::witness::Witness;

/// When simulated time begins, in microseconds since the Unix epoch: 28 March 2026, noon.
const NOON: i64 = 1_774_699_200_000_000;

/// The shared base of a world.
pub(crate) struct WorldGround {
    /// The seed's decisions about this world.
    pub(crate) plan: Plan,
    /// How many attempts of each queue may start in a period.
    pub(crate) rates: Rates,
    /// Microseconds since the world began.
    now: AtomicU64,
    /// The wall clock's offset in microseconds.
    wall_off: AtomicI64,
    /// The wall clock's drift in millionths, and since when.
    wall_drift: Mutex<(i64, u64)>,
    /// The moment at which the wall clock is frozen; `i64::MIN` if it runs.
    wall_frozen: AtomicI64,
    random: Mutex<Random>,
    story: Mutex<Story>,
    answers: Mutex<Vec<NodeAnswer>>,
    commits: Mutex<BTreeMap<u64, u64>>,
    /// The newest position of a failed append, and when it failed: only the next append shows whether the
    /// records were stored.
    failed_append: Mutex<Option<(u64, u64)>>,
    witness: Mutex<Witness>,
    operated: Mutex<BTreeMap<u64, OperatorSettings>>,
    is_healed: AtomicU64,
}

impl WorldGround {
    /// Creates the base of a world.
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

    /// Returns the microseconds since the world began.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Advances the time to a moment; never moves it back.
    pub(crate) fn advance_to(&self, micros: u64) {
        self.now.fetch_max(micros, Ordering::Relaxed);
    }

    /// Returns the wall clock's time in microseconds since the Unix epoch.
    pub(crate) fn wall(&self) -> i64 {
        match self.wall_frozen.load(Ordering::Relaxed) {
            i64::MIN => NOON + self.now().cast_signed() + self.wall_off.load(Ordering::Relaxed) + self.drift_micros(),
            frozen => frozen,
        }
    }

    /// Moves the wall clock.
    pub(crate) fn step_wall(&self, by_micros: i64) {
        self.wall_off.fetch_add(by_micros, Ordering::Relaxed);
        self.witness().steps.push((self.now(), by_micros));
    }

    /// Makes the wall clock run fast by so many millionths from now on, or slow if the number is negative.
    pub(crate) fn drift_wall(&self, millionths: i64) {
        self.wall_off.fetch_add(self.drift_micros(), Ordering::Relaxed);
        *self.wall_drift.lock().unwrap_or_else(PoisonError::into_inner) = (millionths, self.now());
    }

    /// Returns true if the wall clock runs at a wrong pace.
    pub(crate) fn is_wall_drifting(&self) -> bool {
        self.wall_drift.lock().unwrap_or_else(PoisonError::into_inner).0 != 0
    }

    /// Returns how far the wall clock has drifted since its pace last changed.
    fn drift_micros(&self) -> i64 {
        let (millionths, since) = *self.wall_drift.lock().unwrap_or_else(PoisonError::into_inner);
        (self.now() - since).cast_signed() * millionths / 1_000_000
    }

    /// Returns true if the wall clock is frozen.
    pub(crate) fn is_wall_frozen(&self) -> bool {
        self.wall_frozen.load(Ordering::Relaxed) != i64::MIN
    }

    /// Freezes the wall clock.
    pub(crate) fn freeze_wall(&self) {
        self.wall_frozen.store(self.wall(), Ordering::Relaxed);
    }

    /// Lets the wall clock run again from the time it should show.
    pub(crate) fn thaw_wall(&self) {
        self.wall_frozen.store(i64::MIN, Ordering::Relaxed);
    }

    /// Returns the world's random generator.
    pub(crate) fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws whether a fault of this probability happens now. None happens once the world is healed.
    pub(crate) fn strikes(&self, probability: f64) -> bool {
        !self.is_healed() && self.random().chance(probability)
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        self.is_healed.store(1, Ordering::Relaxed);
    }

    /// Returns true if faults have ended.
    pub(crate) fn is_healed(&self) -> bool {
        self.is_healed.load(Ordering::Relaxed) == 1
    }

    /// Adds a line to the event trace: who did what. It counts for the trace's checksum, whether it is
    /// printed or not.
    pub(crate) fn trace(&self, who: &str, what: impl std::fmt::Display) {
        let now = self.now();
        self.story().add_line(now, who, &what.to_string());
    }

    /// Returns the event trace.
    pub(crate) fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a node's answer to the network.
    pub(crate) fn answer(&self, answered: NodeAnswer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answered);
    }

    /// Takes the answers that nodes have handed over.
    pub(crate) fn take_answers(&self) -> Vec<NodeAnswer> {
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the observations that are not in the log.
    pub(crate) fn witness(&self) -> MutexGuard<'_, Witness> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that all records up to a position are on the disk by now. A commit that stores an idempotency
    /// key may have no records.
    pub(crate) fn note_commit(&self, position: u64) {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).entry(position).or_insert(self.now());
    }

    /// Notes that an append up to a position failed in the store: what was written before the failure may be
    /// found on the disk later.
    pub(crate) fn note_failed_append(&self, position: u64) {
        *self.failed_append.lock().unwrap_or_else(PoisonError::into_inner) = Some((position, self.now()));
    }

    /// Notes which position the next append follows. The records of a failed append count as stored when it
    /// failed, not when they are found.
    pub(crate) fn note_head(&self, head: u64) {
        let failed = self.failed_append.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((position, at)) = failed
            && position == head
        {
            self.commits.lock().unwrap_or_else(PoisonError::into_inner).entry(position).or_insert(at);
        }
    }

    /// Returns the newest position on the disk.
    pub(crate) fn newest(&self) -> u64 {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).last_key_value().map_or(0, |(position, _)| *position)
    }

    /// Returns when the record at a position was stored, in microseconds since the world began.
    pub(crate) fn committed_at(&self, position: u64) -> Option<u64> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).range(position..).next().map(|(_, at)| *at)
    }

    /// Notes the operator's settings for the node that writes with an epoch.
    pub(crate) fn note_operated(&self, epoch: u64, operated: OperatorSettings) {
        self.operated.lock().unwrap_or_else(PoisonError::into_inner).insert(epoch, operated);
    }

    /// Returns the operator's settings for the node that wrote with an epoch.
    pub(crate) fn operated_at(&self, epoch: u64) -> Option<OperatorSettings> {
        self.operated.lock().unwrap_or_else(PoisonError::into_inner).get(&epoch).cloned()
    }
}
