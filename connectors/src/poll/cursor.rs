//! Where a poll ended: the author's value, the ids that are known, and the items of a poll that is not finished.
//!
//! In the log, it is an object: `value` as the author's expression returned it, `known` with nine bytes for each id
//! (its hash, and the number of polls since it was there), and `seen` with the hash of each item that already made a
//! message.

use std::collections::BTreeMap;

use ensue_engine::catalog::POLL_ITEMS_MAX;
use ensue_engine::record::Digest;
use ensue_expression::Document;
use serde_json::{Map, Value, json};

/// The number of polls for which an id is remembered after it is gone.
const GONE_POLLS_MAX: u8 = 10;
/// The size of a hash, in hexadecimal digits.
const HASH_DIGITS: usize = 16;

/// Where a poll ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// False before the first poll was complete.
    pub(super) has_polled: bool,
    /// The author's value; `None` before the first poll, and without `cursor`.
    pub(super) value: Option<Value>,
    /// The known ids, and for how many polls each of them is gone.
    known: BTreeMap<u64, u8>,
    /// How often an item of the unfinished poll made a message, by its mark.
    seen: BTreeMap<u64, u32>,
}

impl Place {
    /// Reads a place from the log. Returns `None` if it is not one.
    pub(super) fn read(document: &Document) -> Option<Self> {
        let root = document.root();
        let text = |name: &str| root.get(name).and_then(|node| node.as_str()).unwrap_or_default().into_owned();
        let mut place = Self { has_polled: root.get("polled")?.as_bool()?, ..Self::default() };
        place.value = root.get("value").map(|value| value.to_value());
        for entry in pieces(&text("known"), HASH_DIGITS + 2)? {
            let (hash, gone) = entry.split_at(HASH_DIGITS);
            place.known.insert(u64::from_str_radix(hash, 16).ok()?, u8::from_str_radix(gone, 16).ok()?);
        }
        for entry in pieces(&text("seen"), HASH_DIGITS)? {
            *place.seen.entry(u64::from_str_radix(&entry, 16).ok()?).or_default() += 1;
        }
        Some(place)
    }

    /// Returns the form for the log.
    pub(super) fn written(&self) -> Document {
        let mut fields = Map::from_iter([("polled".to_owned(), json!(self.has_polled))]);
        if let Some(value) = &self.value {
            fields.insert("value".to_owned(), value.clone());
        }
        if !self.known.is_empty() {
            let known: String = self.known.iter().map(|(hash, gone)| format!("{hash:016x}{gone:02x}")).collect();
            fields.insert("known".to_owned(), known.into());
        }
        if !self.seen.is_empty() {
            let times = |(hash, count): (&u64, &u32)| format!("{hash:016x}").repeat(*count as usize);
            fields.insert("seen".to_owned(), self.seen.iter().map(times).collect::<String>().into());
        }
        Document::from_value(&Value::Object(fields))
    }

    /// Returns true if an id is known.
    pub(super) fn knows(&self, id: u64) -> bool {
        self.known.contains_key(&id)
    }

    /// Returns how often items of the unfinished poll made a message.
    pub(super) fn seen(&self) -> BTreeMap<u64, u32> {
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

    /// Returns true if both know the same, whatever its age.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let is_same = (self.has_polled, &self.value, &self.seen) == (other.has_polled, &other.value, &other.seen);
        is_same && self.known.keys().eq(other.known.keys())
    }

    /// Returns the place after a complete poll that found these ids, and ended with this value.
    pub(super) fn after(&self, ids: impl Iterator<Item = u64>, value: Option<Value>) -> Self {
        let mut known: BTreeMap<u64, u8> = self
            .known
            .iter()
            .filter_map(|(id, gone)| gone.checked_add(1).filter(|gone| *gone < GONE_POLLS_MAX).map(|gone| (*id, gone)))
            .collect();
        known.extend(ids.map(|id| (id, 0)));
        // What is gone for the longest time is forgotten first.
        let mut gone = GONE_POLLS_MAX;
        while known.len() > POLL_ITEMS_MAX as usize && gone > 1 {
            gone -= 1;
            known.retain(|_, age| *age < gone);
        }
        Self { has_polled: true, value, known, seen: BTreeMap::new() }
    }
}

/// Returns the hash of an id or of an item.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *Digest::of(bytes).as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn pieces(text: &str, digits: usize) -> Option<Vec<String>> {
    if !text.is_ascii() || !text.len().is_multiple_of(digits) {
        return None;
    }
    Some(text.as_bytes().chunks(digits).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_read_back_as_it_was_written() {
        let place = Place::default().after([1, u64::MAX].into_iter(), Some(json!("2026-01-01")));
        let place = place.with_seen([7, 7, 8].into_iter());
        assert_eq!(Place::read(&place.written()), Some(place));
        assert_eq!(Place::read(&Place::default().written()), Some(Place::default()));
    }

    #[test]
    fn document_that_is_no_place_is_not_read() {
        for other in [
            json!(null),
            json!({}),
            json!({ "polled": 1 }),
            json!({ "polled": true, "known": "abc" }),
            json!({ "polled": true, "seen": "zz" }),
        ] {
            assert_eq!(Place::read(&Document::from_value(&other)), None, "{other}");
        }
    }

    #[test]
    fn id_is_forgotten_ten_polls_after_it_was_gone() {
        let mut place = Place::default().after([1].into_iter(), None);
        for _ in 1..GONE_POLLS_MAX {
            place = place.after([2].into_iter(), None);
            assert!(place.knows(1) && place.knows(2));
        }
        place = place.after([2].into_iter(), None);
        assert!(!place.knows(1) && place.knows(2));
    }

    #[test]
    fn known_ids_stay_within_their_limit() {
        let most = u64::from(POLL_ITEMS_MAX);
        let mut place = Place::default().after(0..most, None);
        place = place.after(most..2 * most, None);
        assert!(!place.knows(0) && place.knows(most) && place.knows(2 * most - 1));
        assert!(place.written().bytes().len() < 256 << 10);
    }

    #[test]
    fn complete_poll_forgets_what_was_seen_in_it() {
        let place = Place::default().with_seen([7].into_iter()).after([].into_iter(), None);
        assert!(place.seen().is_empty() && place.has_polled);
    }
}
