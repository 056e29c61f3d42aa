//! The spontaneous faults of a world, and their end.
//!
//! Faults that happen on an occasion (an append, a message) are in the code of that occasion.

use ensue_engine::command::{Ask, Command};

use super::{Event, ROOM_BYTES, World};
use crate::oracle::Violation;
use crate::pack::Edition;
use crate::plan::Plan;
use crate::sometimes;

/// The longest time until a node notices by itself that a pack was edited, in microseconds.
const REREAD_MICROS_MAX: f64 = 2e6;

/// The faults that happen spontaneously at a given rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Kill,
    Stop,
    Pause,
    Depose,
    FullSpell,
    ClockStep,
    ClockFreeze,
    ClockDrift,
    Rebuild,
    EditPack,
    Disk,
}

impl Fault {
    pub(super) const ALL: [Self; 11] = [
        Self::Kill,
        Self::Stop,
        Self::Pause,
        Self::Depose,
        Self::FullSpell,
        Self::ClockStep,
        Self::ClockFreeze,
        Self::ClockDrift,
        Self::Rebuild,
        Self::EditPack,
        Self::Disk,
    ];

    fn per_minute(self, plan: &Plan) -> f64 {
        match self {
            Self::Kill => plan.kills,
            Self::Stop => plan.stops,
            Self::Pause => plan.pauses,
            Self::Depose => plan.deposals,
            Self::FullSpell => plan.full_spells,
            Self::ClockStep => plan.clock_steps,
            Self::ClockFreeze => plan.clock_freezes,
            Self::ClockDrift => plan.clock_drifts,
            Self::Rebuild => plan.rebuilds,
            Self::EditPack => plan.edits,
            Self::Disk => plan.disk_errors,
        }
    }
}

impl World {
    pub(super) fn schedule(&mut self, fault: Fault) {
        let per_minute = fault.per_minute(&self.ground.plan);
        if per_minute > 0.0 {
            let after = self.random.until_next(per_minute);
            self.after(after, Event::Fault(fault));
        }
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => {
                if self.node.is_some() {
                    self.ground.trace("fault", "SIGKILL");
                    sometimes!("killed between two steps");
                    self.bury();
                }
            }
            Fault::Stop => {
                if !self.is_paused()
                    && let Some(node) = self.node.as_mut().filter(|node| node.accepts())
                {
                    self.ground.trace("fault", "SIGTERM");
                    node.begin_stop();
                    self.wake_worker();
                }
            }
            Fault::Pause => {
                if let Some(node) = &self.node
                    && !self.is_paused()
                {
                    let number = node.number;
                    let micros = self.random.log_uniform(100_000.0, 120e6) as u64;
                    self.ground.trace("fault", format!("the node is stopped for {:.1} s", micros as f64 / 1e6));
                    sometimes!(micros > self.operated.lease_millis * 1_000, "a node was stopped for longer than a lease");
                    self.paused_until = self.ground.now() + micros;
                    self.after(micros, Event::Resume(number));
                }
            }
            Fault::Depose => self.depose(),
            // A period that began during another one would end with that one.
            Fault::FullSpell if self.room.is_full() => {}
            Fault::FullSpell => {
                let micros = self.random.log_uniform(100_000.0, 60e6) as u64;
                self.ground.trace("fault", "the disk has no room");
                sometimes!("the disk had no room for a while");
                self.room.take_away();
                self.disk.leave_room(Some(ROOM_BYTES));
                self.after(micros, Event::RoomAgain);
            }
            Fault::ClockStep => {
                let by = self.random.log_uniform(1e6, 315e12) as i64;
                let by = if self.random.chance(0.5) { by } else { -by };
                self.ground.trace("fault", format!("the wall clock jumps by {:.1} s", by as f64 / 1e6));
                self.ground.step_wall(by);
            }
            Fault::ClockFreeze if self.ground.is_wall_frozen() => {}
            Fault::ClockFreeze => {
                self.ground.trace("fault", "the wall clock is stopped");
                self.ground.freeze_wall();
                let micros = self.random.log_uniform(1e6, 200e6) as u64;
                self.after(micros, Event::Thaw);
            }
            Fault::ClockDrift if self.ground.is_wall_drifting() => {}
            Fault::ClockDrift => {
                // From the drift of a cheap quartz to that of a starved virtual machine: a tenth.
                let millionths = self.random.log_uniform(50.0, 100_000.0) as i64;
                let millionths = if self.random.chance(0.5) { millionths } else { -millionths };
                self.ground.trace("fault", format!("the wall clock runs ahead by {millionths} µs in a second"));
                sometimes!("the wall clock ran at another pace");
                self.ground.drift_wall(millionths);
                let micros = self.random.log_uniform(1e6, 300e6) as u64;
                self.after(micros, Event::EvenPace);
            }
            Fault::Rebuild => {
                if let Some(node) = &self.node
                    && !self.is_paused()
                    && let Err(why) = node.rebuild_views()
                {
                    self.ground.trace("views", format!("they cannot be rebuilt: {why}"));
                }
            }
            Fault::Disk => self.disk.fail(&mut self.random, &self.ground),
            Fault::EditPack => {
                let number = self.editions.len() as u64;
                let mut edition = Edition::draw(&mut self.random, number, self.editions.last());
                self.vars.give(&mut edition, self.editions.last());
                self.flows.give(&mut edition, self.editions.last());
                if let Err(error) = edition.write(&self.disk.packs()).and_then(|()| self.peers.write(&self.disk.packs())) {
                    self.finding.get_or_insert(Violation::of_the_world(format!("the pack cannot be written: {error}")));
                }
                self.ground.trace("operator", format!("edits the pack: edition {number}"));
                self.editions.push(edition);
                if let Some(node) = self.node.as_ref().filter(|_| self.ground.plan.rereads) {
                    let number = node.number;
                    let after = self.random.log_uniform(1_000.0, REREAD_MICROS_MAX) as u64;
                    self.after(after, Event::Reread(number));
                }
            }
        }
    }

    /// Lets another node take over the log without this one knowing it, as when somebody removes the lock.
    fn depose(&mut self) {
        if self.is_paused() {
            return;
        }
        let Some(old) = self.node.take() else { return };
        self.ground.trace("fault", format!("somebody takes the lock of #{} away, and starts another node", old.number));
        sometimes!("a node was deposed");
        self.disk.lose_lock();
        self.deposed = Some(old);
        self.is_starting = true;
        self.start();
        // The old node wakes up, finds work, and tries to write.
        if let Some(old) = self.deposed.take() {
            let command =
                Command { actor: ensue_engine::record::Actor::Engine, trace: None, ask: Ask::NoteStart { release: "deposed".to_owned() } };
            old.submit(command);
            let before = old.head();
            let turn = old.turn();
            let after = old.head();
            if self.node.is_some() && before != after {
                let what = format!("#{} was deposed and wrote nevertheless ({turn:?})", old.number);
                self.finding.get_or_insert(Violation::new("I7", what));
            }
            old.life.end();
            let number = old.number;
            drop(old);
            self.machine.node_died(number);
        }
    }

    pub(super) fn heal(&mut self) {
        self.ground.trace("world", "all faults end");
        self.ground.heal();
        self.healed_at = Some(self.ground.now());
        self.room.give_back();
        self.disk.mend();
        self.ground.thaw_wall();
        self.ground.drift_wall(0);
        self.end_pause();
        self.wake_sequencer();
    }

    /// Resumes a paused node now, together with everything that was postponed.
    fn end_pause(&mut self) {
        if !self.is_paused() {
            return;
        }
        let until = std::mem::take(&mut self.paused_until);
        let put_off: Vec<_> = self.queue.range((until, 0)..=(until, u64::MAX)).map(|(place, _)| *place).collect();
        for place in put_off {
            if let Some(event) = self.queue.remove(&place) {
                self.after(0, event);
            }
        }
    }
}
