//! What a seed decides before anything happens: the settings of the world, and which faults may strike how often.
//!
//! Each seed enables a random subset of the faults, each with an intensity of its own ("swarm testing"): runs in which everything
//! fails at once find other bugs than runs in which one thing fails all the time.

use ensue_engine::command::TurnLimits;

use crate::clients::WISHES;
use crate::operator::Operated;
use crate::random::Random;

/// The settings of a world. Faults are probabilities per occasion, or times per minute; 0 where the seed has none of them.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How long the safety phase lasts, in microseconds.
    pub(crate) safety_micros: u64,
    /// How many clients there are.
    pub(crate) clients: usize,
    /// How often each client asks for something, per minute.
    pub(crate) asks_per_minute: f64,
    /// How often each wish comes among the others.
    pub(crate) wishes: [u64; WISHES.len()],
    /// What the operator sets; where the settings change, only for the first start.
    pub(crate) operated: Operated,
    /// Whether the operator sets something else at each start.
    pub(crate) settings_change: bool,
    /// How often the operator edits the pack, per minute.
    pub(crate) edits: f64,
    /// Whether a node looks into the packs folder by itself and takes in what was edited; else only who asks has it do so.
    pub(crate) rereads: bool,
    /// The longest that a request is held up between its judging at the edge and the sequencer, in microseconds.
    pub(crate) judged_micros_max: u64,
    /// The longest that the disk takes for a commit, in microseconds.
    pub(crate) disk_micros_max: u64,
    /// The longest that the network takes one way, in microseconds.
    pub(crate) network_micros_max: u64,
    /// The longest that a follower lags, in microseconds.
    pub(crate) follower_micros_max: u64,
    /// How long a client waits for an answer, in microseconds.
    pub(crate) patience_micros: u64,

    /// The disk has no room for a batch, which is kept nowhere.
    pub(crate) append_full: f64,
    /// A batch is kept and its writer is not told.
    pub(crate) append_unknown_kept: f64,
    /// A batch is lost and its writer is not told.
    pub(crate) append_unknown_lost: f64,
    /// The store fails for good.
    pub(crate) append_dead: f64,
    /// The node dies at an append, before anything of it is kept.
    pub(crate) append_kill_before: f64,
    /// The node dies at an append, after all of it is kept.
    pub(crate) append_kill_after: f64,
    /// The node dies after an append that keeps a kind of record for the first time in this world; with the n-th, n times less often.
    pub(crate) append_kill_rare: f64,
    /// The node dies after an append that keeps a record of this kind.
    pub(crate) append_kill_of: Option<KillOf>,
    /// The process ends where an owed reaction is worked out, and again where the next two begin with it.
    pub(crate) reaction_kill: f64,
    /// The vault cannot be written.
    pub(crate) vault_fails: f64,
    /// The node dies at a write of the vault.
    pub(crate) vault_kill: f64,
    /// The node dies at each of the steps of its start.
    pub(crate) start_kill: f64,
    /// The node is killed, per minute.
    pub(crate) kills: f64,
    /// The node is stopped and started again, per minute.
    pub(crate) stops: f64,
    /// The node stands still for a while, per minute.
    pub(crate) pauses: f64,
    /// Another node takes the log over, per minute.
    pub(crate) deposals: f64,
    /// A bug in a reaction or a decision strikes when a catalog is looked up.
    pub(crate) catalog_panics: f64,
    /// It strikes again at once where the same is looked up again, as it does where it lies in what is looked at.
    pub(crate) catalog_panics_stay: f64,
    /// The disk has no room for a while, per minute.
    pub(crate) full_spells: f64,
    /// The wall clock jumps, per minute.
    pub(crate) clock_steps: f64,
    /// The wall clock stands still for a while, per minute.
    pub(crate) clock_freezes: f64,
    /// The wall clock runs ahead or behind for a while, per minute.
    pub(crate) clock_drifts: f64,
    /// A request is lost on its way.
    pub(crate) request_lost: f64,
    /// An answer is lost on its way.
    pub(crate) answer_lost: f64,
    /// A request arrives twice.
    pub(crate) request_doubled: f64,
    /// The connection breaks in the middle of a body.
    pub(crate) body_cut: f64,
    /// The second half of a body comes late.
    pub(crate) body_late: f64,
    /// How much memory the API shares out among its queues.
    pub(crate) api_memory_bytes: u64,
    /// The views are built anew beside the live ones, per minute.
    pub(crate) rebuilds: f64,
    /// The views are lost while the node is down.
    pub(crate) views_lost: f64,
    /// The snapshots are lost while the node is down.
    pub(crate) snapshots_lost: f64,
    /// Whether programs go on when their node dies.
    pub(crate) programs_outlive: bool,
    /// The shortest that a program lasts which ends by itself, in microseconds.
    pub(crate) program_micros_least: f64,
    /// The node dies where a program is started or a request is sent: right before, or right after.
    pub(crate) spawn_kill: f64,
    /// A program is not started, or nobody knows.
    pub(crate) spawn_fails: f64,
    /// The supervisor of a program dies, and the program with it.
    pub(crate) supervisor_dies: f64,
    /// The longest that the worker takes to come to what it has to do, in microseconds.
    pub(crate) worker_micros_max: u64,
    /// The timers of one of the worker's tasks come late, by about its lease.
    pub(crate) late_timers: f64,
    /// Somebody cancels an execution that runs, each time that somebody looks.
    pub(crate) cancels: f64,
    /// Somebody pauses an execution that is open, each time that somebody looks.
    pub(crate) holds_up: f64,
    /// Who has just cancelled something restarts the node as well.
    pub(crate) restarts: f64,
    /// Somebody settles what waits for a person, each time that somebody looks.
    pub(crate) settles: f64,
    /// An action's request is not heard, or its answer is lost.
    pub(crate) web_fails: f64,
    /// Whether SQLite's files lie on a disk that loses at a power cut what was not flushed.
    pub(crate) has_crash_disk: bool,
    /// An operation of the disk fails, per minute.
    pub(crate) disk_errors: f64,
    /// The power is cut when the node dies: what was not flushed is lost.
    pub(crate) power_cuts: f64,
}

/// A kind of record, and how often a node dies that has just kept one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KillOf {
    /// The kind.
    pub(crate) kind: Owing,
    /// How often, while few of them are kept.
    pub(crate) chance: f64,
}

/// A kind of record that leads to something beside the log, which the node owes until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owing {
    /// A worker is to be told.
    CancelRequested,
    /// The program of the attempt is to be ended, where it lives.
    AttemptLost,
    /// A program is to be started, or a request to be sent.
    AttemptStarted,
    /// A reaction is to be worked out.
    ReactionDeferred,
    /// What the edge judges by is to change.
    PackInstalled,
}

impl Owing {
    /// Gives the kind as records name it.
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
        let kind = kinds[random.weighted(&[3, 4, 1, 1, 1])];
        Self { kind, chance: random.log_uniform(0.1, 1.0) }
    }
}

impl Plan {
    /// Draws the settings of a world.
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self::drawn(random).with_what_it_kills_for(random).with_what_its_bugs_strike(random)
    }

    /// A kill after a kind of record is worth little in a world that hardly has one.
    fn with_what_it_kills_for(self, random: &mut Random) -> Self {
        match self.append_kill_of.map(|of| of.kind) {
            // Who is to be told to stop has a program that goes on until then.
            Some(Owing::CancelRequested) => Self {
                cancels: random.log_uniform(0.02, 0.3),
                program_micros_least: random.log_uniform(1e5, 5e6),
                programs_outlive: random.chance(0.9),
                ..self
            },
            // Who is lost while its program lives has a program that lives for long.
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

    /// A reaction looks a catalog up only where it is owed, and one that can be owed in pieces is owed where turns are small.
    fn with_what_its_bugs_strike(self, random: &mut Random) -> Self {
        if self.catalog_panics_stay == 0.0 {
            return self;
        }
        let turn = TurnLimits { drafts: random.between(2, 5) as usize, ..self.operated.turn };
        Self { catalog_panics: random.log_uniform(0.02, 0.5), operated: Operated { turn, ..self.operated.clone() }, ..self }
    }

    fn drawn(random: &mut Random) -> Self {
        let rare = |random: &mut Random| if random.chance(0.4) { random.log_uniform(0.0005, 0.05) } else { 0.0 };
        let often = |random: &mut Random| if random.chance(0.4) { random.log_uniform(0.05, 3.0) } else { 0.0 };
        Self {
            safety_micros: random.between(60, 600) * 1_000_000,
            clients: random.between(1, 5) as usize,
            asks_per_minute: random.log_uniform(3.0, 120.0),
            wishes: WISHES.map(|often| (often as f64 * random.log_uniform(30.0, 300.0)) as u64),
            operated: Operated::draw(random),
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
