//! Which records a caller asks for, of those in the log.

use ensue_engine::fact::Fact;
use ensue_engine::ids::Id;
use ensue_engine::record::{Actor, Record, StreamId};
use ensue_engine::time::Timestamp;

use crate::problem::Problem;
use crate::query::Query;

/// The parameters by which records are selected, except for times.
pub(crate) const BY: [&str; 4] = ["kind", "actor", "stream", "root"];

/// The records that a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct RecordFilter {
    kinds: Vec<String>,
    actor: Option<String>,
    stream: Option<String>,
    root: Option<Id>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// The parts of a record by which it is selected, except for its time.
#[derive(Clone, Debug)]
pub(crate) struct RecordParts {
    pub(crate) kind: &'static str,
    pub(crate) actor: Actor,
    pub(crate) stream: StreamId,
    pub(crate) root: Id,
}

impl From<&Record> for RecordParts {
    fn from(record: &Record) -> Self {
        Self { kind: record.kind(), actor: record.actor.clone(), stream: record.stream.clone(), root: record.cause.root }
    }
}

impl RecordFilter {
    /// Returns `None` if all records are wanted.
    pub(crate) fn of(query: &Query) -> Result<Option<Self>, Problem> {
        query.each_of("kind", Fact::KINDS)?;
        let wanted = Self {
            kinds: query.texts("kind").map(str::to_owned).collect(),
            actor: query.text("actor").map(str::to_owned),
            stream: query.text("stream").map(str::to_owned),
            root: query.parse_value("root", "an id")?,
            since: query.time("since")?,
            until: query.time("until")?,
        };
        let has_any = BY.iter().chain(&["since", "until"]).any(|name| query.text(name).is_some());
        Ok(has_any.then_some(wanted))
    }

    /// Returns true if the record is wanted.
    pub(crate) fn has(&self, record: &Record) -> bool {
        self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
            && self.has_parts(record.kind(), record.cause.root, &record.stream, &record.actor)
    }

    /// Returns true if a record with these parts is wanted, whatever its time is.
    pub(crate) fn has_at_any_time(&self, parts: &RecordParts) -> bool {
        self.has_parts(parts.kind, parts.root, &parts.stream, &parts.actor)
    }

    fn has_parts(&self, kind: &str, root: Id, stream: &StreamId, actor: &Actor) -> bool {
        (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind))
            && self.root.is_none_or(|wanted| root == wanted)
            && self.stream.as_ref().is_none_or(|wanted| stream.to_string() == *wanted)
            && self.actor.as_ref().is_none_or(|wanted| actor.to_string() == *wanted)
    }
}
