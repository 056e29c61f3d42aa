//! What a thing was at an earlier position of the log: the parameter `as_of`, and the fold of the thing's own records
//! up to that position.
//!
//! Whether the caller may see the thing is not decided here: handlers read its current row first.

use std::sync::Arc;

use ensue_engine::explain::Explain;
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{Position, Record, Revision, StreamId};
use ensue_engine::time::Timestamp;
use ensue_views::View;
use ensue_views::view::Touch;
use serde_json::{Value, json};
use thiserror::Error;

use crate::api::Api;
use crate::deliveries;
use crate::ports::Ports;
use crate::problem::{Problem, quote};
use crate::query::{FromQuery as _, ParameterRefusal, Query, QueryValue, bad};

/// The parameter with the earlier position, or the earlier time.
const AS_OF: &str = "as_of";
/// The pattern of a position or a time.
const PATTERN: &str = "^([0-9]{1,20}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[^\\u0000]{2,40})$";
/// The header of an answer that says which position it is about.
pub(crate) const ENSUE_AS_OF: &str = "ensue-as-of";

/// The maximum number of records of one stream that are folded for an answer.
pub(crate) const FOLDED_MAX: usize = 10_000;

/// There are too many records to fold for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "as-of-unavailable", fault = Invalid)]
pub(crate) enum AsOfUnavailable {
    /// The stream of a thing has too many.
    #[error("`{stream}` has more than {most} records up to position {at}; an answer about an earlier position reads at most that many")]
    #[explain(hint = "ask for an earlier position, or read the records: `GET /api/v1/log?stream={stream}`")]
    Stream {
        /// The stream.
        stream: String,
        /// The limit.
        most: usize,
        /// The position that was asked for.
        at: Position,
    },
    /// The things in an answer have too many together.
    #[error("the things in this answer have more than {most} records up to position {at}, which is the limit for one answer")]
    #[explain(hint = "ask for an earlier position, or for fewer things")]
    Together {
        /// The limit.
        most: usize,
        /// The position that was asked for.
        at: Position,
    },
}

/// A thing that did not exist yet.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[error("there was no {noun} `{name}` at position {at}")]
#[explain(slug = "not-found", fault = Missing, hint = began(*from))]
pub(crate) struct NotThen {
    pub(crate) noun: &'static str,
    pub(crate) name: String,
    pub(crate) at: Position,
    /// The position of its first record, if that is known.
    pub(crate) from: Option<Position>,
}

fn began(from: Option<Position>) -> String {
    match from {
        Some(from) => format!("its first record is at position {from}: ask for that position or a later one"),
        None => "ask for a later position, or leave out `as_of`".to_owned(),
    }
}

/// The parameter of a read that can be about an earlier position.
#[derive(Query)]
pub(crate) struct AsOfQuery {
    /// A position of the log, or a time, which means the last position before the first later record. The answer is what it
    /// was at that position; what the caller may see is decided by the current rights, and what was erased since is not
    /// there.
    as_of: Option<AsOfPoint>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AsOfPoint {
    /// A position.
    Position(Position),
    /// The last position before the first record that is later than this time.
    Time(Timestamp),
}

impl QueryValue for AsOfPoint {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": PATTERN, "examples": ["17", "2026-03-28T09:00:00Z"] })
    }

    fn parse(name: &'static str, text: &str) -> Result<Self, ParameterRefusal> {
        let position = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().map(Position).ok()).flatten();
        let asked = position.map(Self::Position).or_else(|| text.parse().map(Self::Time).ok());
        asked.ok_or_else(|| {
            bad(name, format!("is `{}`, which is neither a position such as 17 nor a time such as 2026-03-28T09:00:00Z", quote(text)))
        })
    }
}

impl AsOfPoint {
    /// Returns the position in the log. Blocking.
    fn position(self, ports: &Ports) -> Result<Position, Problem> {
        let head = ports.log.head()?.position;
        match self {
            Self::Position(position) if position > head => {
                Err(bad(AS_OF, format!("is {position}, but the newest record is at {head}")).into())
            }
            Self::Position(position) => Ok(position),
            Self::Time(time) => {
                let position = last_until(ports, head, time)?;
                if position == head && time > deliveries::now() {
                    return Err(bad(AS_OF, format!("is {time}, which is in the future")).into());
                }
                Ok(position)
            }
        }
    }
}

/// Returns the position of the last record that is not later than a time; 0 if there is none. Times in the log only
/// go back where somebody set the clock back, and near such a place either answer is right. Blocking.
fn last_until(ports: &Ports, head: Position, time: Timestamp) -> Result<Position, LogError> {
    let (mut last, mut rest) = (0, head.0);
    while last < rest {
        let middle = last + (rest - last).div_ceil(2);
        let found = ports.log.read(Position(middle - 1), ReadLimit { records: 1, bytes: 0 })?;
        match found.first() {
            Some(record) if record.time <= time => last = record.position.0.clamp(middle, rest),
            Some(_) | None => rest = middle - 1,
        }
    }
    Ok(Position(last))
}

/// Returns the earlier position that a request asks for, if it does, once the views have reached it: the current rows
/// decide what the caller may see.
pub(crate) async fn requested_position(api: &Arc<Api>, query: &Query) -> Result<Option<Position>, Problem> {
    let Some(asked) = AsOfQuery::read(query)?.as_of else { return Ok(None) };
    let position = api.threads.blocking(move |ports| asked.position(ports)).await??;
    api.see_position(position).await?;
    Ok(Some(position))
}

/// Reads the records of a stream up to a position, oldest first, and returns how many there are. Blocking.
pub(crate) fn each_until(
    ports: &Ports,
    stream: &StreamId,
    at: Position,
    most: usize,
    mut note: impl FnMut(&Record),
) -> Result<usize, Problem> {
    let (mut count, mut after) = (0, Revision(0));
    loop {
        let records = ports.log.read_stream(stream, after, ReadLimit::default())?;
        for record in records.iter().take_while(|record| record.position <= at) {
            count += 1;
            if count > most {
                return Err(AsOfUnavailable::Stream { stream: stream.to_string(), most, at }.into());
            }
            note(record);
        }
        match records.last().filter(|last| last.position <= at) {
            Some(last) => after = last.revision,
            None => return Ok(count),
        }
    }
}

/// A row as it was, and how many records were read for it.
pub(crate) struct FoldedRow<V> {
    pub(crate) row: Option<V>,
    pub(crate) records: usize,
}

/// Folds a row from the records of a stream up to a position. All records that touch the row must be in that stream.
/// Blocking.
pub(crate) fn fold<V: View>(ports: &Ports, stream: &StreamId, key: &V::Key, at: Position, most: usize) -> Result<FoldedRow<V>, Problem> {
    let mut row = None;
    let records = each_until(ports, stream, at, most, |record| {
        if matches!(V::key(record), Some(Touch::Begins(of) | Touch::Changes(of)) if of == *key) {
            row = V::project(row.take(), record);
        }
    })?;
    Ok(FoldedRow { row, records })
}

/// The same, without the number of records. Blocking.
pub(crate) fn row_at<V: View>(ports: &Ports, stream: &StreamId, key: &V::Key, at: Position, most: usize) -> Result<Option<V>, Problem> {
    Ok(fold(ports, stream, key, at, most)?.row)
}

/// Returns a row as it was at the position `at`, or the row itself without a position. The caller may see the row as it
/// is now. All records that touch the row must be in the stream.
pub(crate) async fn as_asked<V: View + Send + 'static>(
    (api, at): (&Api, Option<Position>),
    (row, key): (V, V::Key),
    noun: &'static str,
    stream: StreamId,
) -> Result<V, Problem>
where
    V::Key: Send + 'static,
{
    let Some(at) = at else { return Ok(row) };
    let not_then = NotThen { noun, name: key.to_string(), at, from: Some(row.position()) };
    if row.position() > at {
        return Err(not_then.into());
    }
    let then = api.threads.blocking(move |ports| row_at::<V>(ports, &stream, &key, at, FOLDED_MAX)).await??;
    then.ok_or_else(|| not_then.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_or_time_is_asked_for() {
        assert_eq!(AsOfPoint::parse(AS_OF, "17"), Ok(AsOfPoint::Position(Position(17))));
        assert_eq!(AsOfPoint::parse(AS_OF, "0"), Ok(AsOfPoint::Position(Position(0))));
        let time = "2026-03-28T09:00:00Z";
        assert_eq!(AsOfPoint::parse(AS_OF, time), Ok(AsOfPoint::Time(time.parse().unwrap())));
    }

    #[test]
    fn anything_else_is_rejected() {
        for text in ["", "-1", "+1", "1.5", "0x1", "18446744073709551616", "yesterday", "2026-03-28"] {
            let refused = AsOfPoint::parse(AS_OF, text).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("the parameter `as_of` is `{text}`, which is neither a position")), "{refused}");
        }
    }
}
