//! Where a poll ended: the author's value, the ids that are known, and the items of a poll that is not finished.
//!
//! In the log, it is an object: `value` as the author's expression returned it, `there` with the hashes of the ids that the
//! newest answer has, `gone` with the hashes of the other known ids and since when they are gone, and `done` with the hash of
//! each item that already made a message. An id that comes or goes changes nothing about the others. Older releases wrote
//! `ids` and `made` in base64, with the time for which an id is gone before `at`, or `known` and `seen` in hexadecimal digits.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use serde_json::{Map, Value, json};

use crate::base85;

/// The size of a hash in older cursors, in hexadecimal digits.
const HASH_DIGITS: usize = 16;
/// The size of a hash in cursors of the release before, in bytes.
const HASH_BYTES: usize = 8;
/// The size of a time since which an id is gone, in digits.
const SINCE_DIGITS: usize = 4;
/// The greatest such time.
const SINCE_MAX: i64 = 85_i64.pow(4) - 1;
/// How long a unit of the time is for which an id is gone, in microseconds.
const UNIT_MICROS: i64 = 10 * 60 * 1_000_000;
/// Stands for an id that the newest answer has, in cursors of the release before.
const THERE: u16 = u16::MAX;

/// Where a poll ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PollState {
    /// False before the first poll was complete.
    pub(super) has_polled: bool,
    /// The author's value; `None` before the first poll, and without `cursor`.
    pub(super) value: Option<Value>,
    /// The known ids, and when the first answer came that no longer had them, in units since 1970.
    known: BTreeMap<u64, Option<i64>>,
    /// How often an item of the unfinished poll made a message, by its mark.
    seen: BTreeMap<u64, u32>,
}

/// How long ids are remembered that answers no longer have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// The maximum number of ids, with those of the newest answer.
    pub(super) ids: usize,
    /// For how long.
    pub(super) long: Duration,
}

impl PollState {
    /// Reads a place from the log. Returns `None` if it is not one.
    pub(super) fn read(document: &Document) -> Option<Self> {
        let root = document.root();
        let text = |name: &str| root.get(name).map_or(Some(Cow::default()), |node| node.as_str());
        let mut place = Self { has_polled: root.get("polled")?.as_bool()?, ..Self::default() };
        place.value = root.get("value").map(|value| value.to_value());
        for (hash, _) in numbers(&text("there")?, 0)? {
            place.known.insert(hash, None);
        }
        for (hash, since) in numbers(&text("gone")?, SINCE_DIGITS)? {
            place.known.insert(hash, Some(i64::try_from(since).ok()?));
        }
        for (hash, _) in numbers(&text("done")?, 0)? {
            *place.seen.entry(hash).or_default() += 1;
        }
        let at = match root.get("at") {
            Some(at) => at.to_value().as_u64().and_then(|at| i64::try_from(at).ok())?,
            None => 0,
        };
        for entry in entries(&text("ids")?, HASH_BYTES + 2)? {
            let (hash, gone) = entry.split_at(HASH_BYTES);
            let gone = u16::from_be_bytes(gone.try_into().ok()?);
            let since = (gone != THERE).then(|| at.saturating_sub(i64::from(gone)).clamp(0, SINCE_MAX));
            place.known.insert(u64::from_be_bytes(hash.try_into().ok()?), since);
        }
        for hash in entries(&text("made")?, HASH_BYTES)? {
            *place.seen.entry(u64::from_be_bytes(hash.try_into().ok()?)).or_default() += 1;
        }
        // An older release counted the polls since an id was there, which says nothing about the time.
        for entry in pieces(&text("known")?, HASH_DIGITS + 2)? {
            let (hash, gone) = entry.split_at(HASH_DIGITS);
            u8::from_str_radix(gone, 16).ok()?;
            place.known.insert(u64::from_str_radix(hash, 16).ok()?, None);
        }
        for entry in pieces(&text("seen")?, HASH_DIGITS)? {
            *place.seen.entry(u64::from_str_radix(&entry, 16).ok()?).or_default() += 1;
        }
        Some(place)
    }

    /// Returns the form for the log.
    pub(super) fn to_document(&self) -> Document {
        let mut fields = Map::from_iter([("polled".to_owned(), json!(self.has_polled))]);
        if let Some(value) = &self.value {
            fields.insert("value".to_owned(), value.clone());
        }
        let (mut there, mut gone, mut done) = (String::new(), String::new(), String::new());
        for (hash, since) in &self.known {
            match since {
                None => base85::write(&mut there, *hash, base85::DIGITS),
                Some(since) => {
                    base85::write(&mut gone, *hash, base85::DIGITS);
                    base85::write(&mut gone, since.clamp(&0, &SINCE_MAX).unsigned_abs(), SINCE_DIGITS);
                }
            }
        }
        for (hash, count) in &self.seen {
            (0..*count).for_each(|_| base85::write(&mut done, *hash, base85::DIGITS));
        }
        for (name, digits) in [("there", there), ("gone", gone), ("done", done)] {
            if !digits.is_empty() {
                fields.insert(name.to_owned(), digits.into());
            }
        }
        Document::from_value(&Value::Object(fields))
    }

    /// Returns true if an id is known.
    pub(super) fn knows(&self, id: u64) -> bool {
        self.known.contains_key(&id)
    }

    /// Returns how often items of the unfinished poll made a message.
    pub(super) fn seen_counts(&self) -> BTreeMap<u64, u32> {
        self.seen.clone()
    }

    /// Returns the place after more items of the unfinished poll made messages.
    pub(super) fn with_seen(&self, marks: impl Iterator<Item = u64>) -> Self {
        let mut place = self.clone();
        for mark in marks {
            *place.seen.entry(mark).or_default() += 1;
        }
        place
    }

    /// Returns true if a place in the log is as good as a newer one: it knows the same, and forgets nothing earlier. An id
    /// that is gone since then may be remembered for longer.
    pub(super) fn stands_for(&self, newer: &Self) -> bool {
        let is_same = (self.has_polled, &self.value, &self.seen) == (newer.has_polled, &newer.value, &newer.seen);
        let known = || self.known.iter().zip(&newer.known);
        is_same
            && self.known.len() == newer.known.len()
            && known().all(|((id, since), (other, newer))| id == other && (since.is_none() || since == newer))
    }

    /// Returns the place after a complete poll at a time that found these ids, and ended with this value.
    pub(super) fn after(&self, ids: impl Iterator<Item = u64>, value: Option<Value>, now: Timestamp, memory: Memory) -> Self {
        let at = now.micros().div_euclid(UNIT_MICROS).clamp(0, SINCE_MAX);
        // Both times are rounded down to a unit, so one more is needed: an id is never forgotten earlier than the author says.
        let units = memory.long.as_micros().div_ceil(UNIT_MICROS.unsigned_abs().into());
        let long = i64::try_from(units).unwrap_or(i64::MAX);
        let gone = self.known.iter().map(|(id, since)| (*id, since.unwrap_or(at).min(at)));
        let mut known: BTreeMap<u64, Option<i64>> =
            gone.filter(|(_, since)| at.saturating_sub(*since) <= long).map(|(id, since)| (id, Some(since))).collect();
        known.extend(ids.map(|id| (id, None)));
        // What is gone for the longest time is forgotten first. The ids of this poll stay, or its items would be new again.
        let excess = known.len().saturating_sub(memory.ids);
        let mut gone: Vec<(i64, u64)> = known.iter().filter_map(|(id, since)| since.map(|since| (since, *id))).collect();
        gone.sort_unstable();
        for (_, id) in gone.into_iter().take(excess) {
            known.remove(&id);
        }
        Self { has_polled: true, value, known, seen: BTreeMap::new() }
    }
}

/// Returns the entries of a text: numbers of 64 bits, each followed by one of this many digits.
fn numbers(text: &str, digits: usize) -> Option<Vec<(u64, u64)>> {
    let entries = text.as_bytes().chunks(base85::DIGITS + digits).map(|entry| {
        let (number, behind) = entry.split_at_checked(base85::DIGITS)?;
        (behind.len() == digits).then_some(())?;
        Some((base85::read(number)?, base85::read(behind)?))
    });
    entries.collect()
}

/// Returns the entries of a text in base64, which have this many bytes each.
fn entries(text: &str, bytes: usize) -> Option<Vec<Vec<u8>>> {
    let all = STANDARD_NO_PAD.decode(text).ok()?;
    all.len().is_multiple_of(bytes).then(|| all.chunks_exact(bytes).map(<[u8]>::to_vec).collect())
}

fn pieces(text: &str, digits: usize) -> Option<Vec<String>> {
    if !text.is_ascii() || !text.len().is_multiple_of(digits) {
        return None;
    }
    Some(text.as_bytes().chunks(digits).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use ensue_engine::catalog::POLL_ITEMS_MAX;
    use ensue_engine::sensors::cursor_change::CursorChange;
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Memory = Memory { ids: POLL_ITEMS_MAX as usize, long: Duration::from_secs(24 * 3_600) };

    fn at_hour(hour: i64) -> Timestamp {
        Timestamp::from_micros(1_774_699_200_000_000 + hour * 3_600_000_000)
    }

    fn poll_at(place: &PollState, hour: i64, ids: &[u64]) -> PollState {
        place.after(ids.iter().copied(), None, at_hour(hour), DAY)
    }

    #[test]
    fn place_is_read_back_as_it_was_written() {
        let place = PollState::default().after([1, u64::MAX].into_iter(), Some(json!("2026-01-01")), at_hour(0), DAY);
        let place = place.after([1].into_iter(), Some(json!("2026-01-02")), at_hour(5), DAY).with_seen([7, 7, 8].into_iter());
        assert_eq!(PollState::read(&place.to_document()), Some(place));
        assert_eq!(PollState::read(&PollState::default().to_document()), Some(PollState::default()));
    }

    #[test]
    fn id_is_never_forgotten_before_its_time() {
        let memory = Memory { long: Duration::from_secs(15 * 60), ..DAY };
        let at = |seconds: i64| Timestamp::from_micros(at_hour(0).micros() + seconds * 1_000_000);
        for begin in [0, 1, 599] {
            let state = PollState::default().after([1].into_iter(), None, at(begin), memory);
            let gone = state.after([].into_iter(), None, at(begin + 1), memory);
            assert!(gone.after([].into_iter(), None, at(begin + 1 + 15 * 60), memory).knows(1), "{begin}");
            assert!(!gone.after([].into_iter(), None, at(begin + 1 + 40 * 60), memory).knows(1), "{begin}");
        }
    }

    #[test]
    fn document_that_is_no_place_is_not_read() {
        for other in [
            json!(null),
            json!({}),
            json!({ "polled": 1 }),
            json!({ "polled": true, "known": "abc" }),
            json!({ "polled": true, "seen": "zz" }),
            json!({ "polled": true, "at": 1, "ids": "abcd" }),
            json!({ "polled": true, "at": -1 }),
            json!({ "polled": true, "made": "?" }),
            json!({ "polled": true, "there": "000000000" }),
            json!({ "polled": true, "there": "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}" }),
            json!({ "polled": true, "gone": "0000000000" }),
            json!({ "polled": true, "done": "##########" }),
            json!({ "polled": true, "there": 1 }),
            json!({ "polled": true, "gone": ["0000000000"] }),
            json!({ "polled": true, "done": null }),
            json!({ "polled": true, "at": 1, "ids": {} }),
            json!({ "polled": true, "made": false }),
            json!({ "polled": true, "known": 1 }),
            json!({ "polled": true, "seen": [] }),
        ] {
            assert_eq!(PollState::read(&Document::from_value(&other)), None, "{other}");
        }
    }

    #[test]
    fn id_that_comes_or_goes_changes_nothing_about_the_others() {
        let text = |state: &PollState| String::from_utf8(state.to_document().bytes().to_vec()).unwrap();
        let many = poll_at(&PollState::default(), 0, &(0..1_000).collect::<Vec<_>>());
        let gone = poll_at(&many, 1, &(1..1_001).collect::<Vec<_>>());
        let later = poll_at(&gone, 20, &(2..1_002).collect::<Vec<_>>());
        for (before, after) in [(many, gone.clone()), (gone, later)] {
            let change = CursorChange::between(&text(&before), &text(&after), usize::MAX).unwrap();
            let bytes = serde_json::to_string(&change).unwrap().len();
            assert!(bytes < 250, "{bytes}");
        }
    }

    #[test]
    fn cursor_of_the_release_before_knows_the_same_ids() {
        let at = at_hour(0).micros() / UNIT_MICROS;
        let bytes = |hash: u64, gone: u16| [&hash.to_be_bytes()[..], &gone.to_be_bytes()].concat();
        let ids = STANDARD_NO_PAD.encode([bytes(1, 6), bytes(u64::MAX, THERE)].concat());
        let made = STANDARD_NO_PAD.encode(7_u64.to_be_bytes().repeat(2));
        let older = json!({ "polled": true, "at": at, "ids": ids, "made": made });
        let place = PollState::read(&Document::from_value(&older)).unwrap();
        assert_eq!(place.known, BTreeMap::from([(1, Some(at - 6)), (u64::MAX, None)]));
        assert_eq!(place.seen_counts(), BTreeMap::from([(7, 2)]));
        assert_eq!(PollState::read(&place.to_document()), Some(place));
    }

    #[test]
    fn cursor_of_an_older_release_knows_the_same_ids() {
        let older = json!({ "polled": true, "known": "000000000000000103ffffffffffffffff00", "seen": "0000000000000007".repeat(2) });
        let place = PollState::read(&Document::from_value(&older)).unwrap();
        assert!(place.knows(1) && place.knows(u64::MAX) && !place.knows(2));
        assert_eq!(place.seen_counts(), BTreeMap::from([(7, 2)]));
        let next = poll_at(&place, 0, &[]);
        assert!(next.knows(1), "its time begins with the first poll that does not find it");
        assert_eq!(PollState::read(&next.to_document()), Some(next));
    }

    #[test]
    fn id_is_known_until_it_is_gone_for_as_long_as_the_author_wants_however_many_polls_that_are() {
        let mut place = poll_at(&PollState::default(), 0, &[1]);
        for hour in 1..=25 {
            for _ in 0..60 {
                place = poll_at(&place, hour, &[2]);
            }
            assert!(place.knows(1) && place.knows(2), "hour {hour}");
        }
        place = poll_at(&place, 26, &[2]);
        assert!(!place.knows(1) && place.knows(2));
    }

    #[test]
    fn id_that_returns_is_known_for_as_long_again() {
        let mut place = poll_at(&PollState::default(), 0, &[1]);
        for (hour, ids) in [(1, &[][..]), (20, &[1]), (30, &[]), (50, &[])] {
            place = poll_at(&place, hour, ids);
            assert!(place.knows(1), "hour {hour}");
        }
        assert!(!poll_at(&place, 60, &[]).knows(1));
    }

    #[test]
    fn time_in_which_nobody_asked_does_not_count() {
        let place = poll_at(&PollState::default(), 0, &[1]);
        assert!(poll_at(&place, 1_000, &[]).knows(1));
    }

    #[test]
    fn place_in_the_log_stands_for_newer_ones_until_it_would_forget_an_id_earlier() {
        let logged = poll_at(&PollState::default(), 0, &[1, 2]);
        let gone = poll_at(&logged, 1, &[1]);
        assert!(logged.stands_for(&gone), "2 is remembered for longer");
        assert!(logged.stands_for(&poll_at(&gone, 2, &[1, 2])));
        assert!(!logged.stands_for(&poll_at(&gone, 2, &[1, 3])));
        assert!(!gone.stands_for(&poll_at(&gone, 2, &[1, 2])), "2 would be forgotten although it was there");
        assert!(gone.stands_for(&poll_at(&gone, 2, &[1])));
    }

    #[test]
    fn known_ids_stay_within_their_limit() {
        let most = u64::from(POLL_ITEMS_MAX);
        let mut place = PollState::default().after(0..most, None, at_hour(0), DAY);
        place = place.after(most..2 * most, None, at_hour(1), DAY);
        assert!(!place.knows(0) && place.knows(most) && place.knows(2 * most - 1));
        // A poll that is interrupted before its last item has all marks, too, and the author's value.
        let interrupted = place.with_seen(0..most);
        assert!(interrupted.to_document().bytes().len() < (256 << 10) - (16 << 10));
    }

    #[test]
    fn ids_of_the_newest_poll_are_known_even_if_they_are_more_than_the_author_wants() {
        let few = Memory { ids: 2, long: HOUR };
        let place = PollState::default().after([1, 2].into_iter(), None, at_hour(0), few);
        let place = place.after([3].into_iter(), None, at_hour(0), few);
        assert_eq!([1, 2, 3].map(|id| place.knows(id)), [false, true, true]);
        let place = place.after([4, 5, 6].into_iter(), None, at_hour(0), few);
        assert_eq!([3, 4, 5, 6].map(|id| place.knows(id)), [false, true, true, true]);
    }

    #[test]
    fn complete_poll_forgets_what_was_seen_in_it() {
        let place = PollState::default().with_seen([7].into_iter()).after([].into_iter(), None, at_hour(0), DAY);
        assert!(place.seen_counts().is_empty() && place.has_polled);
    }

    proptest! {
        #[test]
        fn any_place_is_read_back_and_knows_each_id_for_its_time(
            polls in prop::collection::vec((0_i64..40, prop::collection::vec(0_u64..12, 0..6)), 1..20),
        ) {
            let (mut place, mut hour) = (PollState::default(), 0);
            let mut gone_since: BTreeMap<u64, Option<i64>> = BTreeMap::new();
            for (passed, ids) in &polls {
                hour += passed;
                let before = place.clone();
                place = poll_at(&place, hour, ids);
                for since in gone_since.values_mut() {
                    *since = since.or(Some(hour));
                }
                gone_since.extend(ids.iter().map(|id| (*id, None)));
                gone_since.retain(|_, since| since.is_none_or(|since| hour - since <= 24));
                prop_assert_eq!((0..12).filter(|id| place.knows(*id)).collect::<Vec<_>>(), gone_since.keys().copied().collect::<Vec<_>>());
                prop_assert_eq!(PollState::read(&place.to_document()), Some(place.clone()));
                if before.stands_for(&place) {
                    prop_assert!(poll_at(&place, hour + 24, &[]).known.keys().all(|id| poll_at(&before, hour + 24, &[]).knows(*id)));
                }
            }
        }

        #[test]
        fn no_text_in_a_cursor_harms(ids in ".{0,40}", at in any::<i64>(), old in "[0-9a-f]{0,40}", new in "[0-9a-zA-Z#]{0,42}") {
            let older = json!({ "polled": true, "at": at, "ids": ids, "made": ids, "known": old, "seen": old });
            let newer = json!({ "polled": true, "there": new, "gone": new, "done": ids });
            for document in [older, newer] {
                let _ = PollState::read(&Document::from_value(&document)).map(|place| poll_at(&place, 0, &[1]).to_document());
            }
        }
    }
}
