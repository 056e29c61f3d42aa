//! Counts over time: a table with a row for each minute and each hour of a kind, next to those of the views.
//!
//! What is counted, and for how long it is kept, is up to `ensue_views::series`. The buckets that a batch adds to are cached
//! until the next one, so that each is written once a batch, however many names it has.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use ensue_views::series::{Bucket, Increment, SERIES_KEYS_MAX, SeriesBy, SeriesCounts, SeriesKind, SeriesQuery};
use ensue_views::{RowReach, RowScope};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, params};

use super::number;

/// The table.
pub(super) const SERIES: &str = "series";

/// The number of no name, no scope and no action.
const NONE: i64 = 0;

/// The name, the scope and the root action, as numbers.
type SeriesNumbers = [i64; 3];

/// The counts of one bucket, by what is named and by the number of the outcome.
type Counts = BTreeMap<(SeriesNumbers, i64), u64>;

/// The buckets that the last batch added to.
#[derive(Default)]
pub(super) struct AtHand(BTreeMap<(SeriesKind, Bucket, i64), Counts>);

/// Adds to the counts. After an error, what is at hand differs from the file.
pub(super) fn add(
    connection: &Connection,
    names: &mut BTreeMap<String, i64>,
    at_hand: &mut AtHand,
    increments: &[Increment],
) -> rusqlite::Result<()> {
    let mut touched = BTreeSet::new();
    for one in increments {
        let hour = Bucket::Hour.of_minute(one.minute);
        let mut number = |name: Option<&str>| name.filter(|name| !name.is_empty()).map_or(Ok(NONE), |name| number(connection, names, name));
        let scope = one.scope.as_ref();
        let mut named = [
            number(Some(&one.name))?,
            number(scope.map(|scope| scope.place.as_str()))?,
            number(scope.and_then(|scope| scope.root_action.as_deref()))?,
        ];
        let outcome = number(Some(one.outcome))?;
        let of_hour = at_hand.bucket(connection, (one.kind, Bucket::Hour, hour))?;
        if !has(of_hour, named) && named_count(of_hour) >= SERIES_KEYS_MAX {
            named = [NONE; 3];
        }
        for bucket in Bucket::ALL {
            let place = (one.kind, bucket, bucket.of_minute(one.minute));
            *at_hand.bucket(connection, place)?.entry((named, outcome)).or_default() += one.count;
            touched.insert(place);
        }
    }
    at_hand.0.retain(|place, _| touched.contains(place));
    for ((kind, bucket, number), counts) in &at_hand.0 {
        let sql = "INSERT INTO series (kind, minutes, number, counts) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT (kind, minutes, number) DO UPDATE SET counts = excluded.counts";
        connection.prepare_cached(sql)?.execute(params![kind.as_str(), bucket.minutes(), number, encode_counts(counts)])?;
    }
    Ok(())
}

impl AtHand {
    /// Returns a bucket, read from the file if it is not at hand. A new one makes room: those that are too old then leave.
    fn bucket(&mut self, connection: &Connection, place: (SeriesKind, Bucket, i64)) -> rusqlite::Result<&mut Counts> {
        let vacant = match self.0.entry(place) {
            Entry::Occupied(known) => return Ok(known.into_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        let (kind, bucket, number) = place;
        let sql = "SELECT counts FROM series WHERE kind = ?1 AND minutes = ?2 AND number = ?3";
        let stored: Option<Vec<u8>> =
            connection.prepare_cached(sql)?.query_row(params![kind.as_str(), bucket.minutes(), number], |row| row.get(0)).optional()?;
        let counts = match stored {
            Some(stored) => counts_in(&stored)?,
            None => {
                let sql = "DELETE FROM series WHERE kind = ?1 AND minutes = ?2 AND number <= ?3";
                connection.prepare_cached(sql)?.execute(params![kind.as_str(), bucket.minutes(), number - bucket.retained_count()])?;
                Counts::new()
            }
        };
        Ok(vacant.insert(counts))
    }
}

/// Returns true if something with this name and scope was counted.
fn has(counts: &Counts, named: SeriesNumbers) -> bool {
    counts.range((named, i64::MIN)..=(named, i64::MAX)).next().is_some()
}

/// Returns how many names and scopes are told apart.
fn named_count(counts: &Counts) -> usize {
    let named: BTreeSet<&SeriesNumbers> = counts.keys().map(|(named, _)| named).filter(|[name, ..]| *name != NONE).collect();
    named.len()
}

/// Returns counts in their stored form: five numbers for each.
fn encode_counts(counts: &Counts) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(counts.len() * 8);
    for (([name, scope, action], outcome), count) in counts {
        let numbers = [*name, *scope, *action, *outcome].map(i64::cast_unsigned);
        numbers.into_iter().chain([*count]).for_each(|number| push(&mut bytes, number));
    }
    bytes
}

/// Adds a number in groups of seven bits, the lowest first.
fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Reads counts in their stored form.
fn counts_in(mut bytes: &[u8]) -> rusqlite::Result<Counts> {
    let mut counts = Counts::new();
    while !bytes.is_empty() {
        let mut next = || take(&mut bytes).ok_or_else(|| FromSqlError::Other("the counts are not those that were written".into()));
        let named = [next()?, next()?, next()?].map(u64::cast_signed);
        let outcome = next()?.cast_signed();
        counts.insert((named, outcome), next()?);
    }
    Ok(counts)
}

/// Takes a number off the beginning.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Returns the counts of a query.
pub(super) fn read(connection: &Connection, query: &SeriesQuery) -> rusqlite::Result<SeriesCounts> {
    let moment = connection.unchecked_transaction()?;
    let mut texts = Texts { connection: &moment, known: BTreeMap::new() };
    let mut reached: BTreeMap<(i64, i64), bool> = BTreeMap::new();
    let mut counts = SeriesCounts::new();
    let sql = "SELECT number, counts FROM series WHERE kind = ?1 AND minutes = ?2 AND number >= ?3 AND number < ?4";
    let mut statement = moment.prepare_cached(sql)?;
    let mut rows = statement.query(params![query.kind.as_str(), query.bucket.minutes(), query.from, query.until])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        for (([name, scope, action], outcome), count) in counts_in(row.get_ref(1)?.as_blob()?)? {
            if query.reach != RowReach::Everything {
                let is_reached = match reached.get(&(scope, action)) {
                    Some(known) => *known,
                    None => {
                        let place = texts.of(scope)?;
                        let scope_of_row = place.map(|place| Ok::<_, rusqlite::Error>(RowScope { place, root_action: texts.of(action)? }));
                        let is_reached = query.reach.covers(scope_of_row.transpose()?.as_ref());
                        reached.insert((scope, action), is_reached);
                        is_reached
                    }
                };
                if !is_reached {
                    continue;
                }
            }
            if !query.names.is_empty() && !texts.of(name)?.is_some_and(|name| query.names.contains(&name)) {
                continue;
            }
            let key = match query.by {
                SeriesBy::Nothing => None,
                SeriesBy::Outcome => texts.of(outcome)?,
                SeriesBy::Name => texts.of(name)?,
            };
            *counts.entry(key).or_default().entry(number).or_default() += count;
        }
    }
    Ok(counts)
}

/// The texts of numbers.
struct Texts<'a> {
    connection: &'a Connection,
    known: BTreeMap<i64, Option<String>>,
}

impl Texts<'_> {
    /// Returns the text of a number; `None` if it stands for none.
    fn of(&mut self, number: i64) -> rusqlite::Result<Option<String>> {
        if number == NONE {
            return Ok(None);
        }
        if let Some(known) = self.known.get(&number) {
            return Ok(known.clone());
        }
        let mut statement = self.connection.prepare_cached("SELECT name FROM names WHERE number = ?1")?;
        let text: Option<String> = statement.query_row([number], |row| row.get(0)).optional()?;
        self.known.insert(number, text.clone());
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_round_trip_and_damage_is_found() {
        let counts: Counts =
            [(([1, 0, 0], 9), 1), (([300, 2, 70_000], 5), u64::MAX), (([i64::MAX, 0, 1], 1), 127), (([4, 4, 4], 4), 128)].into();
        let bytes = encode_counts(&counts);
        assert_eq!(counts_in(&bytes).unwrap(), counts);
        assert!(counts_in(&bytes[..bytes.len() - 1]).is_err());
        assert!(counts_in(&[0xff; 11]).is_err());
    }
}
