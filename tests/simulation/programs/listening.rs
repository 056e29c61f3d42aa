//! The connection between a node and a program: what the node receives and sends.
//!
//! The program itself decides what it sends.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::ids::AttemptId;
use ensue_engine::ports::OutputStream;
use ensue_executor::Clock as _;
use ensue_executor::programs::{AtEnd, End, Exit, Pending, Program, ProgramUpdate, Tell, WhyLost};

use super::process::micros;
use super::{Machine, NodePrograms};
use crate::clock::WorkerClock;
use crate::life::Life;
use crate::sightings::{Finder, NodeIntervention};
use crate::sometimes;

/// The longest time to remove a program's private directory, in microseconds.
const CLEARS_MICROS_MAX: f64 = 200_000.0;

/// A program from the point of view of one node.
pub(super) struct Listening {
    machine: Arc<Machine>,
    life: Arc<Life>,
    clock: Arc<WorkerClock>,
    attempt: AttemptId,
    /// The node that listens.
    node: Finder,
    /// The number of pieces of output that were received.
    heard: usize,
    /// The number of its lines that were received.
    lines: usize,
    is_over: bool,
}

/// What a listener receives now, or until when there is nothing.
enum Now {
    Heard(ProgramUpdate),
    Quiet(u64),
}

impl Listening {
    /// Lets a node listen to the program of an attempt from its beginning.
    pub(super) fn begin(by: &NodePrograms, attempt: AttemptId) -> Self {
        let (machine, life, clock) = (by.machine.clone(), by.life.clone(), by.clock.clone());
        Self { machine, life, clock, attempt, node: by.finder, heard: 0, lines: 0, is_over: false }
    }

    fn now(&mut self) -> Now {
        let now = self.machine.ground.now();
        let mut processes = self.machine.lock();
        processes.sighting(self.attempt).heard.entry(self.node.node).or_insert(now);
        let Some(process) = processes.running.get(&self.attempt) else {
            self.is_over = true;
            return Now::Heard(ProgramUpdate::Lost(WhyLost::HolderGone));
        };
        let (ends_at, exit, by) = process.end();
        let prints: Vec<_> = process.prints.iter().filter(|(at, ..)| *at < ends_at).collect();
        if process.is_lost(now) {
            sometimes!("a supervisor died with its program");
            self.is_over = true;
            return Now::Heard(ProgramUpdate::Lost(WhyLost::HolderGone));
        }
        let line = process.says.get(self.lines).filter(|line| line.at < ends_at);
        if let Some(line) = line
            && prints.get(self.heard).is_none_or(|(at, ..)| line.at < *at)
        {
            if line.at > now {
                return Now::Quiet(process.news_at(line.at, now));
            }
            self.lines += 1;
            return Now::Heard(ProgramUpdate::Message { index: self.lines as u32 - 1, line: line.bytes.clone() });
        }
        if let Some((at, stream, bytes)) = prints.get(self.heard) {
            if *at > now {
                return Now::Quiet(process.news_at(*at, now));
            }
            let before = prints[..self.heard].iter().filter(|(_, other, _)| other == stream);
            let offset = before.map(|(.., bytes)| bytes.len() as u64).sum();
            self.heard += 1;
            return Now::Heard(ProgramUpdate::Output { stream: *stream, offset, bytes: bytes.clone() });
        }
        if ends_at > now {
            return Now::Quiet(process.news_at(ends_at, now));
        }
        self.is_over = true;
        let printed =
            OutputStream::ALL.map(|of| prints.iter().filter(|(_, stream, _)| *stream == of).map(|(.., bytes)| bytes.len() as u64).sum());
        sometimes!(exit == Exit::Signal(9), "a program had to be killed");
        Now::Heard(ProgramUpdate::Ended(End { exit, by, printed, was_killed: by.map(|_| exit == Exit::Signal(9)), ended_at: None }))
    }
}

impl Program for Listening {
    fn hear(&mut self) -> Pending<'_, ProgramUpdate> {
        Box::pin(async move {
            loop {
                match self.now() {
                    Now::Heard(heard) => return heard,
                    Now::Quiet(until) => self.clock.until(Duration::from_micros(until)).await,
                }
            }
        })
    }

    fn instruct(&self, tell: Tell) {
        if self.life.is_over() {
            return;
        }
        let ground = &self.machine.ground;
        let now = ground.now();
        let mut processes = self.machine.lock();
        processes.sighting(self.attempt).told.get_or_insert(NodeIntervention { by: self.node, at: now });
        if let Some(process) = processes.running.get_mut(&self.attempt) {
            match tell {
                Tell::Stop { grace } => {
                    let (asked, least) = process.told.unwrap_or((now, u64::MAX));
                    let until = asked.saturating_add(least).min(now + micros(grace));
                    process.told = Some((asked, until.saturating_sub(asked)));
                    // The node's next action kills the supervisor, for example when memory runs out.
                    if ground.strikes(ground.plan.supervisor_dies) {
                        let at = now + ground.random().below(micros(grace).max(1));
                        process.lost_at = Some(process.lost_at.map_or(at, |lost| lost.min(at)));
                    }
                }
                Tell::Kill => process.killed_at = Some(process.killed_at.unwrap_or(now)),
            }
        }
    }

    fn clear(self: Box<Self>) -> Pending<'static, ()> {
        let ground = &self.machine.ground;
        let micros = ground.random().log_uniform(100.0, CLEARS_MICROS_MAX);
        let at = ground.now() + micros as u64;
        Box::pin(async move {
            self.clock.until(Duration::from_micros(at)).await;
            if !self.life.is_over() {
                let _ = std::fs::remove_dir_all(self.machine.directory(self.attempt));
            }
        })
    }

    fn leave(mut self: Box<Self>) {
        self.is_over = self.machine.at_end == AtEnd::GoOn;
        if self.is_over && !self.life.is_over() {
            let now = self.machine.ground.now();
            self.machine.lock().sighting(self.attempt).left.entry(self.node.node).or_insert(now);
        }
    }
}

impl Drop for Listening {
    /// Dropping a listener ends the program that it listened to, unless its node was killed.
    fn drop(&mut self) {
        if !self.is_over && !self.life.is_over() {
            self.machine.lock().kill(self.attempt, self.node, self.machine.ground.now());
        }
    }
}
