//! Which records a caller asks for, of those in the log.

use ensue_engine::fact::Fact;
use ensue_engine::ids::Id;
use ensue_engine::record::{Actor, Record, StreamId};
use ensue_engine::time::Timestamp;

use crate::period::PeriodQuery;
use crate::query::{FromQuery as _, ParameterGroups, ParameterRefusal, Query, QueryValue as _, Word};

/// The parameter that selects records by their kinds.
#[derive(Query)]
pub(crate) struct KindQuery {
    /// Only records of one of these kinds. With a filter, a request examines at most 10,000 records, so a page may hold fewer
    /// than `limit` and still have a `next`.
    #[query(schema = String::schema())]
    kind: Vec<RecordKind>,
}

/// The other parameters that select records, except for times.
#[derive(Query)]
pub(crate) struct RecordQuery {
    /// Only records that this actor asked for, such as `token/ana`.
    actor: Option<String>,
    /// Only records of this stream, such as `execution/` and an id.
    stream: Option<String>,
    /// Only records that were caused, directly or not, by the record with this id, and that record.
    root: Option<Id>,
}

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordKind(&'static str);

impl Word for RecordKind {
    fn words() -> Vec<(&'static str, Self)> {
        Fact::KINDS.iter().map(|(kind, _)| (*kind, Self(kind))).collect()
    }
}

/// All parameters that select records.
const SELECTING: ParameterGroups = &[KindQuery::PARAMETERS, RecordQuery::PARAMETERS, PeriodQuery::PARAMETERS];

/// The records that a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct RecordFilter {
    kinds: Vec<RecordKind>,
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
    pub(crate) fn of(query: &Query) -> Result<Option<Self>, ParameterRefusal> {
        let KindQuery { kind: kinds } = KindQuery::read(query)?;
        let RecordQuery { actor, stream, root } = RecordQuery::read(query)?;
        let PeriodQuery { since, until } = PeriodQuery::read(query)?;
        Ok(query.first_of(SELECTING).map(|_| Self { kinds, actor, stream, root, since, until }))
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
        (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted.0 == kind))
            && self.root.is_none_or(|wanted| root == wanted)
            && self.stream.as_ref().is_none_or(|wanted| stream.to_string() == *wanted)
            && self.actor.as_ref().is_none_or(|wanted| actor.to_string() == *wanted)
    }
}
