//! Saved states that all nodes of a log reach, so that a new node does not have to fold the whole log.
//!
//! A saved state decides what a node does next. So it has a seal, which only a node with the master key can make.

use std::sync::Arc;

use ensue_engine::record::Position;
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Object, ObjectError, ObjectKind, ObjectOwner, Objects};
use crate::master_key::MasterKeys;

/// The size of a part, in bytes.
const PART_BYTES: usize = 4 * 1024 * 1024;
/// How many parts are sent or fetched at once.
const PARTS_AT_ONCE: usize = 4;
/// The most parts of a state.
const PARTS_MAX: usize = 1_024;
/// The part that is written last. Without it, a state is not complete.
const END: &str = "end";
/// The places of states, which are used in turn, so that one is always complete.
const PLACES: [&str; 2] = ["0", "1"];

/// The saved states of a log in a shared store.
#[derive(Clone)]
pub struct SharedStates {
    objects: Arc<dyn Objects>,
    keys: MasterKeys,
}

/// Why a state of the shared store cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SharedStateError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] ObjectError),
    /// The state is not the one that was written.
    #[error("the saved state in the shared store is not one that a node with this master key wrote")]
    Foreign,
}

/// What is known of a state once it is complete.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StateEnd {
    position: Position,
    parts: usize,
    digest: String,
    /// Of the digest.
    seal: String,
}

impl SharedStates {
    /// Uses a store of objects. States are sealed with the master key.
    pub fn of(objects: Arc<dyn Objects>, keys: MasterKeys) -> Self {
        Self { objects, keys }
    }

    /// Copies the file of a saved state into the store. It replaces the older one of two.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub fn keep(&self, at: Position, content: &[u8], now: Timestamp) -> Result<(), ObjectError> {
        let parts: Vec<&[u8]> = content.chunks(PART_BYTES).collect();
        if parts.len() > PARTS_MAX {
            return Err(ObjectError(format!("a saved state of {} bytes is too large", content.len())));
        }
        let mut places: Vec<(Position, &str)> = Vec::new();
        for place in PLACES {
            places.push((self.end(place)?.map_or(Position(0), |end| end.position), place));
        }
        let Some((_, place)) = places.into_iter().min() else { return Ok(()) };
        let object = |part: String, content: Vec<u8>| Object { owner: owner(place), part, content };
        let mut objects = parts.iter().enumerate().map(|(number, part)| object(part_name(number), part.to_vec())).peekable();
        while objects.peek().is_some() {
            self.objects.put(&objects.by_ref().take(PARTS_AT_ONCE).collect::<Vec<_>>(), now)?;
        }
        let digest = blake3::hash(content);
        let seal = self.keys.seal(digest.as_bytes());
        let end = StateEnd { position: at, parts: parts.len(), digest: digest.to_hex().to_string(), seal: seal.to_hex().to_string() };
        let end = serde_json::to_vec(&end).map_err(|error| ObjectError(error.to_string()))?;
        self.objects.put(&[object(END.to_owned(), end)], now)
    }

    /// Returns the position of the newest complete state; `None` if the store has none. Nobody vouches for it yet.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub fn newest(&self) -> Result<Option<Position>, ObjectError> {
        Ok(self.ends()?.first().map(|(_, end)| end.position))
    }

    /// Returns the file of the newest state that has a seal; `None` if the store has no state.
    ///
    /// # Errors
    /// If the store cannot be used, or has only states without a valid seal.
    pub fn fetch(&self) -> Result<Option<Vec<u8>>, SharedStateError> {
        let ends = self.ends()?;
        for (place, end) in &ends {
            if let Some(content) = self.content(place, end)? {
                return Ok(Some(content));
            }
        }
        if ends.is_empty() { Ok(None) } else { Err(SharedStateError::Foreign) }
    }

    /// Returns the content of a state, or `None` if it is not the one that was sealed.
    fn content(&self, place: &str, end: &StateEnd) -> Result<Option<Vec<u8>>, ObjectError> {
        let (Ok(digest), Ok(seal)) = (blake3::Hash::from_hex(&end.digest), blake3::Hash::from_hex(&end.seal)) else { return Ok(None) };
        if end.parts > PARTS_MAX || !self.keys.has_sealed(digest.as_bytes(), seal) {
            return Ok(None);
        }
        let names: Vec<String> = (0..end.parts).map(part_name).collect();
        let mut content = Vec::new();
        for names in names.chunks(PARTS_AT_ONCE) {
            let mut found = self.objects.get(&owner(place), names)?;
            found.sort_by(|one, other| one.part.cmp(&other.part));
            found.iter().for_each(|part| content.extend_from_slice(&part.content));
        }
        Ok((blake3::hash(&content) == digest).then_some(content))
    }

    /// Returns the ends of the complete states, the newest first.
    fn ends(&self) -> Result<Vec<(&'static str, StateEnd)>, ObjectError> {
        let mut ends = Vec::new();
        for place in PLACES {
            ends.extend(self.end(place)?.map(|end| (place, end)));
        }
        ends.sort_by_key(|(_, end)| std::cmp::Reverse(end.position));
        Ok(ends)
    }

    /// Returns the end of the state at a place; `None` if it is not complete, or not readable.
    fn end(&self, place: &str) -> Result<Option<StateEnd>, ObjectError> {
        let found = self.objects.get(&owner(place), &[END.to_owned()])?;
        Ok(found.first().and_then(|end| serde_json::from_slice(&end.content).ok()))
    }
}

fn owner(place: &str) -> ObjectOwner {
    ObjectOwner { kind: ObjectKind::State, name: place.to_owned() }
}

fn part_name(number: usize) -> String {
    format!("{number:05}")
}

#[cfg(test)]
mod tests {
    use super::super::MemoryObjects;
    use super::*;
    use crate::master_key::MasterKey;

    const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

    fn states(objects: &Arc<MemoryObjects>, key: u8) -> SharedStates {
        SharedStates::of(objects.clone(), MasterKey::from_bytes([key; 32]).into())
    }

    #[test]
    fn newest_state_is_fetched_in_all_its_parts() {
        let objects = Arc::new(MemoryObjects::default());
        let states = states(&objects, 1);
        assert_eq!((states.newest().unwrap(), states.fetch().unwrap()), (None, None));
        let long: Vec<u8> = (0..5 * PART_BYTES + 1).map(|byte| (byte / PART_BYTES) as u8).collect();
        states.keep(Position(10), b"ten", NOON).unwrap();
        states.keep(Position(20), &long, NOON).unwrap();
        assert_eq!(states.newest().unwrap(), Some(Position(20)));
        assert!(states.fetch().unwrap().is_some_and(|content| content == long));
        // It has fewer parts than the one whose place it takes.
        states.keep(Position(30), b"thirty", NOON).unwrap();
        states.keep(Position(40), b"forty", NOON).unwrap();
        assert_eq!(states.fetch().unwrap().unwrap(), b"forty");
    }

    #[test]
    fn older_state_is_fetched_if_the_newest_is_damaged_or_not_complete() {
        let objects = Arc::new(MemoryObjects::default());
        let states = states(&objects, 1);
        states.keep(Position(10), b"ten", NOON).unwrap();
        states.keep(Position(20), b"twenty", NOON).unwrap();
        objects.put(&[Object { owner: owner("1"), part: part_name(0), content: b"other!".to_vec() }], NOON).unwrap();
        assert_eq!(states.fetch().unwrap().unwrap(), b"ten");
        objects.put(&[Object { owner: owner("1"), part: END.to_owned(), content: b"{".to_vec() }], NOON).unwrap();
        assert_eq!((states.newest().unwrap(), states.fetch().unwrap().unwrap()), (Some(Position(10)), b"ten".to_vec()));
    }

    #[test]
    fn state_without_the_seal_of_the_master_key_is_refused() {
        let objects = Arc::new(MemoryObjects::default());
        states(&objects, 1).keep(Position(10), b"ten", NOON).unwrap();
        assert_eq!(states(&objects, 2).fetch(), Err(SharedStateError::Foreign));
        let keys = MasterKeys { current: MasterKey::from_bytes([1; 32]), next: Some(MasterKey::from_bytes([2; 32])) };
        let rotating = SharedStates::of(objects.clone(), keys);
        assert_eq!(rotating.fetch().unwrap().unwrap(), b"ten");
        rotating.keep(Position(20), b"twenty", NOON).unwrap();
        assert_eq!(states(&objects, 2).fetch().unwrap().unwrap(), b"twenty", "the next key seals");
    }

    #[test]
    fn store_that_is_away_is_an_error() {
        let objects = Arc::new(MemoryObjects::default());
        let states = states(&objects, 1);
        objects.go_away();
        assert!(states.keep(Position(10), b"ten", NOON).is_err() && states.newest().is_err());
        assert!(matches!(states.fetch(), Err(SharedStateError::Store(_))));
    }
}
