//! The operator's settings for a node: the same at each start in some worlds, different ones in others.
//!
//! Settings of the world itself (network delays, for example) are in `plan.rs`.

use std::collections::BTreeMap;

use ensue_engine::command::{Settings, TurnLimits};
use ensue_engine::names::PackName;
use ensue_executor::AtStop;
use ensue_node::config::AcceptedPermissions;
use serde_json::{Value, json};

use crate::pack::NUMBER_MAX;
use crate::random::Random;

/// The other queue, which some of the actions use.
const HEAVY: &str = "heavy";
/// The queue of actions that run `http`.
const HTTP: &str = "http";

/// The settings of one start.
#[derive(Clone, Debug)]
pub(crate) struct OperatorSettings {
    /// The number of workers of the default queue.
    pub(crate) workers: u32,
    /// The duration of a worker's lease on an attempt, in milliseconds.
    pub(crate) lease_millis: u64,
    /// The limit of open work.
    pub(crate) open_work_max: u64,
    /// The number of records after which a snapshot is saved.
    pub(crate) snapshot_every: u64,
    /// The limits of a turn.
    pub(crate) turn: TurnLimits,
    /// How many batches may wait for a follower.
    pub(crate) batches_waiting_max: u64,
    /// How many bytes of batches may wait for a follower.
    pub(crate) batch_bytes_max: u64,
    /// How many bytes of bodies the node caches.
    pub(crate) bodies_at_hand_bytes: u64,
    /// What happens to running programs when the node stops.
    pub(crate) at_stop: AtStop,
    /// How long running attempts may continue during a stop, in milliseconds.
    pub(crate) stop_patience_millis: u64,
    /// The pack's own setting, `config.least`.
    pub(crate) least: u64,
}

impl OperatorSettings {
    /// Draws the settings of a start.
    pub(crate) fn draw(random: &mut Random) -> Self {
        // Short turns leave most of their reactions owed and need one commit for each of them.
        let turn = match random.pick_weighted(&[4, 4, 2]) {
            0 => TurnLimits::default(),
            1 => TurnLimits { drafts: random.log_uniform(2.0, 16.0) as usize, ..TurnLimits::default() },
            _ => TurnLimits {
                drafts: random.log_uniform(4.0, 400.0) as usize,
                bytes: random.log_uniform(4_096.0, 65_536.0) as usize,
                ..TurnLimits::default()
            },
        };
        Self {
            workers: random.between(1, 8) as u32,
            lease_millis: random.log_uniform(1_000.0, 30_000.0) as u64,
            open_work_max: if random.chance(0.2) { random.between(2, 20) } else { 100_000 },
            snapshot_every: random.log_uniform(5.0, 5_000.0) as u64,
            turn,
            batches_waiting_max: if random.chance(0.5) { 64 } else { random.between(1, 8) },
            batch_bytes_max: if random.chance(0.7) { 16 * 1024 * 1024 } else { random.log_uniform(2_000.0, 60_000.0) as u64 },
            bodies_at_hand_bytes: if random.chance(0.5) { 16 * 1024 } else { 0 },
            at_stop: if random.chance(0.25) { AtStop::End } else { AtStop::GoOn },
            stop_patience_millis: random.log_uniform(10.0, 10_000.0) as u64,
            least: random.below(NUMBER_MAX + 1),
        }
    }

    /// Returns the number of workers of a queue; the empty name is the default queue.
    pub(crate) fn workers_of(&self, queue: &str) -> u32 {
        if queue == HEAVY { self.workers.div_ceil(2) } else { self.workers }
    }

    /// Returns the core's settings.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            workers: self.workers,
            queues: [HEAVY, HTTP].map(|queue| (queue.parse().expect("it is a queue's name"), self.workers_of(queue))).into(),
            lease_millis: self.lease_millis,
            open_work_max: self.open_work_max,
            turn: self.turn,
            flow_keys_max: self.flow_keys_max(),
            ..Settings::default()
        }
    }

    /// Returns how many keys the flow control of a rule remembers and how many matches it holds. Some
    /// settings derive a small number without drawing one, so that recorded seeds keep their behavior.
    pub(crate) fn flow_keys_max(&self) -> usize {
        match self.snapshot_every % 12 {
            few @ 0..=5 => few as usize / 2 + 1,
            _ => Settings::default().flow_keys_max,
        }
    }

    /// Returns what the packs of the folder may do with other packs. It is derived, so that recorded seeds keep their behavior.
    pub(crate) fn accepted_permissions(&self) -> AcceptedPermissions {
        if self.snapshot_every.is_multiple_of(3) { AcceptedPermissions::Listed } else { AcceptedPermissions::All }
    }

    /// Returns the settings for packs.
    pub(crate) fn of_packs(&self) -> BTreeMap<PackName, Value> {
        let name = "sim".parse().expect("it is a pack's name");
        BTreeMap::from([(name, json!({ "least": self.least }))])
    }
}
