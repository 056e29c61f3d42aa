//! The decisions that a seed makes before the world begins: its settings, and which faults may happen how
//! often.
//!
//! Each seed enables a random subset of the faults, each with its own intensity ("swarm testing"): runs in
//! which everything fails at once find other bugs than runs in which one thing fails all the time.

use ensue_engine::command::TurnLimits;

use crate::clients::WISHES;
use crate::operator::OperatorSettings;
use crate::random::Random;

/// The settings of a world. Faults are probabilities per occasion or rates per minute, and 0 if the seed does
/// not enable them.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How long the safety phase lasts, in microseconds.
    pub(crate) safety_micros: u64,
    /// The number of clients.
    pub(crate) clients: usize,
    /// How many requests each client makes per minute.
    pub(crate) asks_per_minute: f64,
    /// The weights of the wishes.
    pub(crate) wishes: [u64; WISHES.len()],
    /// The operator's settings; only for the first start if the settings change.
    pub(crate) operated: OperatorSettings,
    /// Whether the operator changes the settings at each start.
    pub(crate) settings_change: bool,
    /// How many times per minute the operator edits the pack.
    pub(crate) edits: f64,
    /// Whether a node checks the packs folder by itself and loads edits; otherwise only a request makes it do
    /// so.
    pub(crate) rereads: bool,
    /// The longest delay of a request between its check at the edge and the sequencer, in microseconds.
    pub(crate) judged_micros_max: u64,
    /// The longest duration of a commit, in microseconds.
    pub(crate) disk_micros_max: u64,
    /// The longest one-way delay of the network, in microseconds.
    pub(crate) network_micros_max: u64,
    /// The longest lag of a follower, in microseconds.
    pub(crate) follower_micros_max: u64,
    /// How long a client waits for an answer, in microseconds.
    pub(crate) patience_micros: u64,

    /// The disk has no space for a batch, which is not stored.
    pub(crate) append_full: f64,
    /// A batch is stored and its writer gets no answer.
    pub(crate) append_unknown_kept: f64,
    /// A batch is lost and its writer gets no answer.
    pub(crate) append_unknown_lost: f64,
    /// The store fails permanently.
    pub(crate) append_dead: f64,
    /// The node dies at an append, before any of it is stored.
    pub(crate) append_kill_before: f64,
    /// The node dies at an append, after all of it is stored.
    pub(crate) append_kill_after: f64,
    /// The node dies after an append that stores a kind of record for the first time in this world; the n-th
    /// time, n times less often.
    pub(crate) append_kill_rare: f64,
    /// The node dies after an append that stores a record of this kind.
    pub(crate) append_kill_of: Option<KillOf>,
    /// The process ends while an owed reaction is computed, and again when the next two start with it.
    pub(crate) reaction_kill: f64,
    /// The vault cannot be written.
    pub(crate) vault_fails: f64,
    /// The node dies at a write of the vault.
    pub(crate) vault_kill: f64,
    /// The node dies at each of the steps of its start.
    pub(crate) start_kill: f64,
    /// The node is killed, per minute.
    pub(crate) kills: f64,
    /// The node is stopped and restarted, per minute.
    pub(crate) stops: f64,
    /// The node is paused for a while, per minute.
    pub(crate) pauses: f64,
    /// Another node takes over the log, per minute.
    pub(crate) deposals: f64,
    /// A bug in a reaction or a decision panics when a catalog is looked up.
    pub(crate) catalog_panics: f64,
    /// It panics again at once if the same catalog is looked up again, as a bug in the catalog itself would.
    pub(crate) catalog_panics_stay: f64,
    /// The disk has no space for a while, per minute.
    pub(crate) full_spells: f64,
    /// The wall clock jumps, per minute.
    pub(crate) clock_steps: f64,
    /// The wall clock is frozen for a while, per minute.
    pub(crate) clock_freezes: f64,
    /// The wall clock runs fast or slow for a while, per minute.
    pub(crate) clock_drifts: f64,
    /// A request is lost in transit.
    pub(crate) request_lost: f64,
    /// An answer is lost in transit.
    pub(crate) answer_lost: f64,
    /// A request arrives twice.
    pub(crate) request_doubled: f64,
    /// The connection breaks in the middle of a body.
    pub(crate) body_cut: f64,
    /// The second half of a body is delayed.
    pub(crate) body_late: f64,
    /// The memory that the API divides among its queues.
    pub(crate) api_memory_bytes: u64,
    /// The views are rebuilt in a second file, per minute.
    pub(crate) rebuilds: f64,
    /// The views are lost while the node is down.
    pub(crate) views_lost: f64,
    /// The snapshots are lost while the node is down.
    pub(crate) snapshots_lost: f64,
    /// Whether programs keep running when their node dies.
    pub(crate) programs_outlive: bool,
    /// The shortest duration of a program that ends by itself, in microseconds.
    pub(crate) program_micros_least: f64,
    /// The node dies at the start of a program or of a request: immediately before or after.
    pub(crate) spawn_kill: f64,
    /// A program is not started, or it is unknown whether it was.
    pub(crate) spawn_fails: f64,
    /// The supervisor of a program dies together with the program.
    pub(crate) supervisor_dies: f64,
    /// The longest delay of the worker's tasks, in microseconds.
    pub(crate) worker_micros_max: u64,
    /// The timers of one of the worker's tasks are late, by about its lease.
    pub(crate) late_timers: f64,
    /// A person cancels a running execution, for each time a person looks.
    pub(crate) cancels: f64,
    /// A person pauses an open execution, for each time a person looks.
    pub(crate) holds_up: f64,
    /// The person that has just cancelled something restarts the node as well.
    pub(crate) restarts: f64,
    /// A person settles an execution that waits for a decision, for each time a person looks.
    pub(crate) settles: f64,
    /// An action's request is not received, or its answer is lost.
    pub(crate) web_fails: f64,
    /// Whether SQLite's files are on a disk that loses unflushed data at a power cut.
    pub(crate) has_crash_disk: bool,
    /// An operation of the disk fails, per minute.
    pub(crate) disk_errors: f64,
    /// The power is cut when the node dies: unflushed data is lost.
    pub(crate) power_cuts: f64,
}

/// A kind of record, and how often a node dies right after storing one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KillOf {
    /// The kind.
    pub(crate) kind: Owing,
    /// The probability while few of them are stored.
    pub(crate) chance: f64,
}

/// A kind of record that requires work outside the log, which the node owes until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owing {
    /// A worker must be notified.
    CancelRequested,
    /// The program of the attempt must be ended if it is alive.
    AttemptLost,
    /// A program must be started, or a request sent.
    AttemptStarted,
    /// A reaction must be computed.
    ReactionDeferred,
    /// The catalog that the edge uses must change.
    PackInstalled,
}

impl Owing {
    /// Returns the kind as records name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CancelRequested => "execution.cancel_requested",
            Self::AttemptLost => "attempt.lost",
            Self::AttemptStarted => "attempt.started",
            Self::ReactionDeferred => "reaction.deferred",
            Self::PackInstalled => "pack.installed",
        }
    }
}

impl KillOf {
    fn draw(random: &mut Random) -> Self {
        let kinds = [Owing::CancelRequested, Owing::AttemptLost, Owing::AttemptStarted, Owing::ReactionDeferred, Owing::PackInstalled];
        let kind = kinds[random.pick_weighted(&[3, 4, 1, 1, 1])];
        Self { kind, chance: random.log_uniform(0.1, 1.0) }
    }
}

impl Plan {
    /// Draws the settings of a world.
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self::draw_base(random).with_what_it_kills_for(random).with_what_its_bugs_strike(random)
    }

    /// Adjusts the settings: a kill after a kind of record is of little use in a world that rarely has one.
    fn with_what_it_kills_for(self, random: &mut Random) -> Self {
        match self.append_kill_of.map(|of| of.kind) {
            // Executions that are to be stopped need programs that run until then.
            Some(Owing::CancelRequested) => Self {
                cancels: random.log_uniform(0.02, 0.3),
                program_micros_least: random.log_uniform(1e5, 5e6),
                programs_outlive: random.chance(0.9),
                ..self
            },
            // Attempts that are lost while their program runs need programs that run long.
            Some(Owing::AttemptLost) => Self {
                late_timers: random.log_uniform(0.02, 0.2),
                program_micros_least: random.log_uniform(1e5, 5e6),
                programs_outlive: random.chance(0.9),
                ..self
            },
            Some(Owing::PackInstalled) => Self { rereads: true, edits: random.log_uniform(0.7, 8.0), ..self },
            Some(Owing::AttemptStarted | Owing::ReactionDeferred) | None => self,
        }
    }

    /// Adjusts the settings: a reaction looks a catalog up only if it is owed, and reactions are owed in
    /// pieces if turns are small.
    fn with_what_its_bugs_strike(self, random: &mut Random) -> Self {
        if self.catalog_panics_stay == 0.0 {
            return self;
        }
        let turn = TurnLimits { drafts: random.between(2, 5) as usize, ..self.operated.turn };
        Self { catalog_panics: random.log_uniform(0.02, 0.5), operated: OperatorSettings { turn, ..self.operated.clone() }, ..self }
    }

    fn draw_base(random: &mut Random) -> Self {
        let rare = |random: &mut Random| if random.chance(0.4) { random.log_uniform(0.0005, 0.05) } else { 0.0 };
        let often = |random: &mut Random| if random.chance(0.4) { random.log_uniform(0.05, 3.0) } else { 0.0 };
        Self {
            safety_micros: random.between(60, 600) * 1_000_000,
            clients: random.between(1, 5) as usize,
            asks_per_minute: random.log_uniform(3.0, 120.0),
            wishes: WISHES.map(|often| (often as f64 * random.log_uniform(30.0, 300.0)) as u64),
            operated: OperatorSettings::draw(random),
            settings_change: random.chance(0.5),
            edits: if random.chance(0.4) { random.log_uniform(0.7, 8.0) } else { 0.7 },
            rereads: random.chance(0.5),
            judged_micros_max: random.log_uniform(100.0, 5_000_000.0) as u64,
            disk_micros_max: random.log_uniform(200.0, 200_000.0) as u64,
            network_micros_max: random.log_uniform(200.0, 2_000_000.0) as u64,
            follower_micros_max: random.log_uniform(200.0, 3_000_000.0) as u64,
            patience_micros: random.between(1, 30) * 1_000_000,
            append_full: rare(random) * 3.0,
            append_unknown_kept: rare(random),
            append_unknown_lost: rare(random),
            append_dead: rare(random),
            append_kill_before: rare(random),
            append_kill_after: if random.chance(0.1) { random.log_uniform(0.05, 0.2) } else { rare(random) },
            append_kill_rare: if random.chance(0.3) { random.log_uniform(0.05, 1.0) } else { 0.0 },
            append_kill_of: if random.chance(0.5) { Some(KillOf::draw(random)) } else { None },
            reaction_kill: rare(random) * 2.0,
            vault_fails: rare(random) * 10.0,
            vault_kill: rare(random) * 10.0,
            start_kill: rare(random) * 5.0,
            kills: often(random),
            stops: often(random),
            pauses: often(random),
            deposals: often(random) * 0.5,
            catalog_panics: rare(random) * 10.0,
            catalog_panics_stay: if random.chance(0.3) { random.fraction() } else { 0.0 },
            full_spells: often(random) * 0.5,
            clock_steps: often(random),
            clock_freezes: often(random) * 0.3,
            clock_drifts: often(random) * 0.5,
            request_lost: rare(random) * 4.0,
            answer_lost: rare(random) * 4.0,
            request_doubled: rare(random) * 4.0,
            body_cut: rare(random) * 4.0,
            body_late: rare(random) * 8.0,
            api_memory_bytes: random.log_uniform(200e3, 512e6) as u64,
            rebuilds: often(random) * 0.3,
            views_lost: rare(random) * 10.0,
            snapshots_lost: rare(random) * 10.0,
            programs_outlive: random.chance(0.6),
            program_micros_least: if random.chance(0.2) { random.log_uniform(1e3, 3e6) } else { 1e3 },
            spawn_kill: rare(random) * 3.0,
            spawn_fails: rare(random) * 3.0,
            supervisor_dies: rare(random) * 6.0,
            worker_micros_max: random.log_uniform(1_000.0, 300_000.0) as u64,
            late_timers: rare(random) * 2.0,
            cancels: often(random) * 0.2,
            holds_up: if random.chance(0.4) { random.log_uniform(0.02, 0.5) } else { 0.0 },
            restarts: if random.chance(0.4) { random.log_uniform(0.05, 0.5) } else { 0.0 },
            settles: random.log_uniform(0.005, 0.5),
            web_fails: rare(random) * 6.0,
            has_crash_disk: random.chance(0.8),
            disk_errors: often(random),
            power_cuts: if random.chance(0.5) { random.fraction() } else { 0.0 },
        }
    }
}
