//! What a reader checks of the records that an index led to. A record can be verified by itself; an index cannot.

use ensue_engine::ids::Id;
use ensue_engine::ports::LogError;
use ensue_engine::record::{Position, Record, Revision, StreamId};

/// Checks records that were read by their positions, after one that has records after it.
///
/// # Errors
/// [`LogError::Unreadable`] with the position of the first record that is missing.
pub fn consecutive(after: Position, records: Vec<Record>) -> Result<Vec<Record>, LogError> {
    let missing = |position| Err(LogError::Unreadable { position: Position(position), why: "it is missing".to_owned() });
    if records.is_empty() {
        return missing(after.0 + 1);
    }
    match records.iter().zip(after.0 + 1..).find(|(record, expected)| record.position.0 != *expected) {
        Some((_, expected)) => missing(expected),
        None => Ok(records),
    }
}

/// Checks records that were read as those of a stream after a revision.
///
/// # Errors
/// [`LogError::Index`] if one is of another stream, or does not follow the one before it.
pub fn of_stream(stream: &StreamId, after: Revision, records: Vec<Record>) -> Result<Vec<Record>, LogError> {
    let mut expected = after;
    for record in &records {
        expected = expected.next();
        if record.stream != *stream || record.revision != expected {
            let (found, at) = (record.revision, record.position);
            let why = format!(
                "of {stream}, revision {expected} was expected, but revision {found} of {} was found, at position {at}",
                record.stream
            );
            return Err(LogError::Index(why));
        }
    }
    Ok(records)
}

/// Checks a record that was read by its id.
///
/// # Errors
/// [`LogError::Index`] if it has another one.
pub fn of_id(id: Id, record: Option<Record>) -> Result<Option<Record>, LogError> {
    match record {
        Some(record) if record.id != id => {
            Err(LogError::Index(format!("the id {id} leads to another record, at position {}", record.position)))
        }
        found => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use ensue_test_support::story::Story;

    use super::*;

    fn records() -> Vec<Record> {
        Story::of_everything().records().to_vec()
    }

    #[test]
    fn missing_record_is_named_by_its_position() {
        let mut records = records();
        assert!(consecutive(Position(0), records.clone()).is_ok());
        records.remove(2);
        let missing = |found: Result<Vec<Record>, LogError>| match found {
            Err(LogError::Unreadable { position, .. }) => position,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(consecutive(Position(0), records)), Position(3));
        assert_eq!(missing(consecutive(Position(7), Vec::new())), Position(8));
    }

    #[test]
    fn record_of_another_stream_and_a_gap_in_a_stream_are_found() {
        let all = records();
        let stream = all.iter().find(|record| record.revision == Revision(3)).unwrap().stream.clone();
        let of_it: Vec<Record> = all.iter().filter(|record| record.stream == stream).cloned().collect();
        assert!(of_stream(&stream, Revision(0), of_it.clone()).is_ok());
        assert!(of_stream(&stream, Revision(1), of_it[1..].to_vec()).is_ok());
        let with_gap = [&of_it[..1], &of_it[2..]].concat();
        assert!(matches!(of_stream(&stream, Revision(0), with_gap), Err(LogError::Index(_))));
        let foreign = all.iter().find(|record| record.stream != stream && record.revision == Revision(1)).unwrap().clone();
        assert!(matches!(of_stream(&stream, Revision(0), vec![foreign]), Err(LogError::Index(_))));
    }

    #[test]
    fn record_with_another_id_is_found() {
        let all = records();
        assert!(of_id(all[0].id, Some(all[0].clone())).is_ok_and(|found| found.is_some()));
        assert!(matches!(of_id(all[0].id, Some(all[1].clone())), Err(LogError::Index(_))));
        assert!(of_id(all[0].id, None).is_ok_and(|found| found.is_none()));
    }
}
