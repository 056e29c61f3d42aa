//! Derived ids: functions of the log, the cause and the role.

use super::{Id, LogId, RuleId, build_uuid};
use crate::names::StepName;
use crate::record::{Revision, StreamId};
use crate::timers::facts::TimerKind;
use std::fmt;

impl Id {
    /// Derives the id of the consequence of `cause` in `role`: a UUID of version 8 with the 48 time bits of
    /// the cause and the first 74 bits of `BLAKE3(log ‖ 0x00 ‖ cause ‖ 0x00 ‖ role)`, with ids as their 16
    /// bytes and the role as its text.
    pub fn derive(log: LogId, cause: Id, role: Role<'_>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(log.0.0.as_bytes()).update(&[0]).update(cause.0.as_bytes()).update(&[0]);
        hasher.update(role.to_string().as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(build_uuid(cause.unix_millis(), u128::from_be_bytes(first) >> 54, 8))
    }

    /// Returns the id of a later record of a stream: derived from the thing's own id, or from the log's if
    /// the thing is known by name.
    pub(crate) fn of_later(log: LogId, stream: &StreamId, revision: Revision) -> Self {
        let of = match stream {
            StreamId::Event(id) => id.0,
            StreamId::Enforcement(id) => id.0,
            StreamId::Execution(id) => id.0,
            StreamId::Token(id) => id.0,
            StreamId::Identity(id) => id.0,
            StreamId::Grant(id) => id.0,
            StreamId::Session(id) => id.0,
            StreamId::Pack(_)
            | StreamId::Rule(_)
            | StreamId::Sensor(_)
            | StreamId::Key(_)
            | StreamId::Var(_)
            | StreamId::Role(_)
            | StreamId::Log(_) => Self::derive(log, log.0, Role::Stream(stream)),
        };
        Self::derive(log, of, Role::Revision(revision.0))
    }
}

/// The role of a derived id under its cause: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// A rule's decision on an event: `enforcement/<rule id>`.
    Enforcement(RuleId),
    /// The execution that an enforcement or a request asks for: `execution`.
    Execution,
    /// The execution of a workflow's step: `step/<name>`.
    Step(&'a StepName),
    /// The execution of a step's item, from 0: `item/<i>`. Under the step's id.
    Item(u32),
    /// The execution of a step's turn, from 1: `iteration/<n>`. Under the step's id.
    Iteration(u32),
    /// The execution that undoes a step of a workflow, or an item of it, from 0: `undo/<step>/<i>`.
    Undo(&'a StepName, u32),
    /// An attempt of an execution, from 1: `attempt/<n>`.
    Attempt(u32),
    /// An event, from 0: `emit/<i>`. An execution emits it with its report, a running attempt or a schedule's
    /// time emits it, or it is one of the engine's own events, under the record that it reports.
    Emit(u32),
    /// A file that an attempt produces, by the message's index: `artifact/<i>`.
    Artifact(u32),
    /// A question that an execution asks people, from 1: `inquiry/<n>`.
    Inquiry(u32),
    /// A timer of an execution or a schedule, by its kind and number, from 1: `timer/<kind>/<n>`.
    Timer(TimerKind, u32),
    /// The schedule of a rule or a sensor that a record sets, by the stream of its owner:
    /// `schedule/<stream>`.
    Schedule(&'a StreamId),
    /// The pulling sensor that a record sets, by its stream: `sensor/<stream>`.
    Sensor(&'a StreamId),
    /// A thing that is known by its name and not by an id: `stream/<stream>`. Under the log's id.
    Stream(&'a StreamId),
    /// A later record of a thing, by its revision: `revision/<n>`. Under the thing's own id.
    Revision(u64),
}

impl fmt::Display for Role<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforcement(rule) => write!(f, "enforcement/{rule}"),
            Self::Execution => f.write_str("execution"),
            Self::Step(name) => write!(f, "step/{name}"),
            Self::Item(index) => write!(f, "item/{index}"),
            Self::Iteration(number) => write!(f, "iteration/{number}"),
            Self::Undo(name, index) => write!(f, "undo/{name}/{index}"),
            Self::Attempt(number) => write!(f, "attempt/{number}"),
            Self::Emit(index) => write!(f, "emit/{index}"),
            Self::Artifact(index) => write!(f, "artifact/{index}"),
            Self::Inquiry(number) => write!(f, "inquiry/{number}"),
            Self::Timer(kind, number) => write!(f, "timer/{}/{number}", kind.as_str()),
            Self::Schedule(stream) => write!(f, "schedule/{stream}"),
            Self::Sensor(stream) => write!(f, "sensor/{stream}"),
            Self::Stream(stream) => write!(f, "stream/{stream}"),
            Self::Revision(revision) => write!(f, "revision/{revision}"),
        }
    }
}
