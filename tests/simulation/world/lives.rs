//! The lives of a world's node: its starts, the steps of its parts, and its ends.
//!
//! The steps of a start are in `node.rs`.

use std::task::Poll;

use super::{Event, Prompt, ROOM_BYTES, World};
use crate::node::{Node, Start, StartFailure};
use crate::operator::OperatorSettings;
use crate::oracle::Violation;
use crate::sometimes;
use crate::timeline::Condition;

/// The longest time until a dead node is started again.
const AWAY_MICROS_MAX: u64 = 20_000_000;
/// How often a follower polls the log.
const LOOK_MICROS: u64 = 500_000;

impl World {
    /// Handles a node that has new work or has died.
    pub(super) fn look_after_node(&mut self) {
        self.go_on_with_stop();
        if let Some(node) = &self.node {
            if node.life.take_asked() {
                self.wake_sequencer();
            }
            if let Some(why) = self.node.as_ref().and_then(Node::failure) {
                self.ground.trace("node", format!("stops by itself: {why}"));
                self.bury();
            } else if self.node.as_ref().is_some_and(|node| node.life.is_over()) {
                self.bury();
            }
        }
        if self.node.is_none() && !self.is_starting {
            self.is_starting = true;
            let most = if self.ground.is_healed() { 1_000_000 } else { AWAY_MICROS_MAX };
            let away = self.random.log_uniform(1_000.0, most as f64) as u64;
            self.after(away, Event::Start);
        }
    }

    /// Lets a node that was asked to stop begin the next part of its stop, if it can.
    fn go_on_with_stop(&mut self) {
        if self.is_paused() {
            return;
        }
        let Some(node) = &mut self.node else { return };
        match node.go_on_with_stop() {
            Ok(Poll::Ready(())) => self.wake_worker(),
            Ok(Poll::Pending) => {}
            Err(why) => drop(self.finding.get_or_insert(Violation::new("panic", why))),
        }
    }

    pub(super) fn start(&mut self) {
        self.is_starting = false;
        if self.node.is_some() {
            return;
        }
        // No file that another node has open is removed: the simulated disk has no files without a name.
        if self.ground.strikes(self.ground.plan.views_lost) && self.deposed.is_none() {
            self.ground.trace("disk", "the views are lost");
            sometimes!("the views were lost");
            self.disk.lose_views();
        }
        if self.ground.strikes(self.ground.plan.snapshots_lost) {
            self.ground.trace("disk", "the snapshots are lost");
            self.disk.lose_snapshots();
        }
        if self.starts > 0 && self.ground.plan.settings_change {
            self.operated = OperatorSettings::draw(&mut self.random);
            self.ground.trace("operator", format!("sets {:?}", self.operated));
        }
        self.starts += 1;
        if self.ground.random().chance(0.5) {
            self.disk.mend();
            if self.room.is_full() {
                self.disk.leave_room(Some(ROOM_BYTES));
            }
        }
        self.disk.leave_crash_note();
        let start = Start {
            ground: &self.ground,
            disk: &self.disk,
            number: self.starts,
            boots: self.boots,
            room: &self.room,
            machine: &self.machine,
            operated: &self.operated,
            server: &self.server,
            peers: &self.peers,
            servers: self.servers.as_ref(),
        };
        let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Node::start(&start)));
        match started {
            Ok(Ok(node)) => {
                self.failed_starts = 0;
                self.ground.trace("node", format!("#{} runs under epoch {}", node.number, node.epoch));
                let number = node.number;
                self.node = Some(node);
                self.paused_until = 0;
                self.is_turning = false;
                self.is_working = false;
                self.wake_sequencer();
                self.wake_worker();
                self.after(1_000_000, Event::Tick(number));
                self.after(0, Event::Views(number, Prompt::Looks));
            }
            Ok(Err(StartFailure::Killed)) => {
                self.ground.take_answers().clear();
                self.machine.node_died(self.starts);
            }
            Ok(Err(StartFailure::Failed(why))) => {
                self.ground.take_answers().clear();
                self.ground.trace("node", format!("#{} does not start: {}", self.starts, self.disk.without_place(&why)));
                sometimes!("a start failed by itself");
                self.machine.node_died(self.starts);
                self.failed_starts += 1;
                let is_at_fault = self.ground.is_healed() && self.failed_starts > 3 && !self.room.is_full();
                if is_at_fault {
                    self.finding.get_or_insert(Violation::new("I20", format!("without any fault the node does not start: {why}")));
                }
            }
            Err(_) => {
                self.finding.get_or_insert(Violation::new("panic", "the start panicked".to_owned()));
            }
        }
    }

    pub(super) fn turn(&mut self, number: u32) {
        if !self.is_awake(number, Event::Turn(number)) {
            return;
        }
        self.is_turning = false;
        let Some(node) = &self.node else { return };
        let turn = node.turn();
        match turn {
            ensue_node::parts::Turn::Taken => {
                self.wake_sequencer();
                for follows in [Event::Views(number, Prompt::Told), Event::Snapshot(number)] {
                    let lag = self.random.log_uniform(100.0, self.ground.plan.follower_micros_max as f64) as u64;
                    self.after(lag, follows);
                }
                self.wake_worker();
            }
            ensue_node::parts::Turn::Idle => {
                if let Some(until) = node.until_due() {
                    self.after(until, Event::Due(number));
                }
            }
            ensue_node::parts::Turn::NoRoom => {
                self.is_turning = true;
                self.after(200_000, Event::Turn(number));
                if self.peers.are_there() {
                    // Batches of sensors were answered.
                    self.wake_worker();
                }
            }
            ensue_node::parts::Turn::Ended => {
                if node.failure().is_none() && !node.life.is_over() {
                    self.finish_stop();
                }
            }
        }
    }

    /// A timer may be due: the sequencer checks.
    pub(super) fn due(&mut self, number: u32) {
        if self.is_awake(number, Event::Due(number)) {
            self.wake_sequencer();
        }
    }

    /// Does the work of every second.
    pub(super) fn tick(&mut self, number: u32) {
        if self.is_awake(number, Event::Tick(number))
            && let Some(node) = &self.node
        {
            node.tick();
            if node.under_way() > 0 {
                self.wake_worker();
            }
            if let Err(error) = self.disk.tick(&self.ground) {
                self.finding.get_or_insert(Violation::of_the_world(format!("the small files cannot be read: {error}")));
            }
            self.after(1_000_000, Event::Tick(number));
        }
    }

    /// Lets a node load edited packs by itself.
    pub(super) fn reread(&mut self, number: u32) {
        if self.is_awake(number, Event::Reread(number))
            && let Some(node) = self.node.as_ref().filter(|node| node.accepts())
        {
            match node.reread() {
                Ok(changed) => sometimes!(changed > 0, "a node loaded an edited pack on its own"),
                Err(why) => self.ground.trace("node", format!("cannot load the edited packs: {}", self.disk.without_place(&why))),
            }
        }
    }

    pub(super) fn work(&mut self, number: u32) {
        if !self.is_awake(number, Event::Work(number)) {
            return;
        }
        self.is_working = false;
        if let Some(node) = &self.node {
            node.work();
        }
    }

    pub(super) fn follow(
        &mut self,
        number: u32,
        prompt: Prompt,
        name: &str,
        step: fn(&mut Node) -> Result<ensue_node::parts::Next, String>,
        again: fn(u32, Prompt) -> Event,
    ) {
        if !self.is_awake(number, again(number, prompt)) {
            return;
        }
        let Some(node) = &mut self.node else { return };
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step(node))) {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => self.ground.trace(name, format!("cannot follow: {why}")),
            Err(_) => {
                self.finding.get_or_insert(Violation::new("panic", format!("the follower of the {name} panicked")));
            }
        }
        if prompt == Prompt::Looks {
            self.after(LOOK_MICROS, again(number, prompt));
        }
    }

    pub(super) fn save_snapshot(&mut self, number: u32) {
        if !self.is_awake(number, Event::Snapshot(number)) {
            return;
        }
        if let Some(node) = &mut self.node {
            node.save_snapshot();
        }
    }

    /// Ends a node without warning.
    pub(super) fn bury(&mut self) {
        let Some(node) = self.node.take() else { return };
        node.life.end();
        self.disk.kill();
        let number = node.number;
        sometimes!(!node.accepts(), "a node died while it stopped");
        drop(node);
        self.machine.node_died(number);
        self.paused_until = 0;
        if self.ground.strikes(self.ground.plan.power_cuts) {
            self.ground.trace("fault", "the power is cut");
            sometimes!("the power was cut");
            self.boots += 1;
            self.machine.power_cut();
            if let Err(error) = self.disk.cut_power(&self.ground) {
                self.finding.get_or_insert(Violation::of_the_world(format!("the power cannot be cut: {error}")));
            }
        }
        self.ground.trace("node", format!("#{number} is dead"));
    }

    /// Finishes the stop of a node once all waiting work is done.
    fn finish_stop(&mut self) {
        let Some(node) = self.node.take() else { return };
        let number = node.number;
        sometimes!(self.room.is_full(), "a node stopped while the disk had no room");
        if node.is_what_the_log_folds_to() == Some(false) {
            self.finding.get_or_insert(Violation::new("I13", format!("the state of #{number} at its stop is not what the log folds to")));
        }
        node.life.end_in_order();
        node.end_stop();
        self.carry_last_answers(number);
        self.machine.node_died(number);
        self.ground.trace("node", format!("#{number} has stopped"));
        sometimes!("a node stopped when it was asked to");
    }

    /// Notes whether there is a node that can work.
    pub(super) fn note_condition(&self) {
        let is_stopping = self.node.as_ref().is_some_and(|node| !node.accepts());
        let node = self.node.as_ref().map(|node| node.number);
        let condition = Condition { node, is_paused: self.is_paused(), has_room: !self.room.is_full(), is_stopping };
        self.ground.witness().timeline.note(self.ground.now(), condition);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_until > self.ground.now()
    }

    /// Returns true if an event for a node can happen now; for a paused node, it happens when the node is
    /// resumed.
    pub(super) fn is_awake(&mut self, number: u32, event: Event) -> bool {
        if self.node.as_ref().is_none_or(|node| node.number != number) {
            return false;
        }
        if self.is_paused() {
            let at = self.paused_until;
            self.at(at, event);
            return false;
        }
        true
    }

    pub(super) fn wake_sequencer(&mut self) {
        if let Some(node) = &self.node
            && !self.is_turning
        {
            let number = node.number;
            self.is_turning = true;
            let wait = self.random.log_uniform(100.0, self.ground.plan.disk_micros_max as f64) as u64;
            self.after(wait, Event::Turn(number));
        }
    }

    pub(super) fn wake_worker(&mut self) {
        if let Some(node) = &self.node
            && !self.is_working
        {
            let number = node.number;
            self.is_working = true;
            let wait = self.random.log_uniform(100.0, self.ground.plan.worker_micros_max as f64) as u64;
            self.after(wait, Event::Work(number));
        }
    }
}
