//! The deduplication keys that decide about commands, looked up in the log for a whole batch at once.
//!
//! The core decides what a known key means.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::command::{DedupeEntry, DedupeKey, SeenKeys, SignedBody};
use ensue_engine::ports::LogError;

use super::Sequencer;
use super::handle::WaitingCommand;

/// How many events of a previously answered request are looked up at once.
const EVENTS_AT_ONCE: u32 = 16;

/// The keys of the gathered commands that are already in the log.
#[derive(Default)]
pub(super) struct KnownKeys(BTreeMap<DedupeKey, DedupeEntry>);

impl SeenKeys for KnownKeys {
    fn find_key(&self, key: &DedupeKey) -> Option<DedupeEntry> {
        self.0.get(key).copied()
    }
}

impl Sequencer {
    /// Looks up the keys that decide about these commands.
    pub(super) fn seen_keys(&self, waiting: &[WaitingCommand]) -> Result<KnownKeys, LogError> {
        let events = || waiting.iter().flat_map(|one| one.command.events());
        let of_events = events().filter_map(|event| event.dedupe.as_ref()).map(|dedupe| &dedupe.key);
        let of_bodies = events().filter_map(|event| event.signed.as_ref()).flat_map(SignedBody::keys);
        let of_requests = waiting.iter().filter_map(|one| one.command.request());
        let keys: BTreeSet<DedupeKey> = of_events.chain(of_requests.clone()).cloned().chain(of_bodies).collect();
        let mut known = KnownKeys::default();
        self.look_up(keys.into_iter().collect(), &mut known)?;
        let repeated: BTreeSet<DedupeKey> = of_requests.filter(|key| known.0.contains_key(*key)).cloned().collect();
        for request in repeated {
            // The number of events of the request is unknown until the first one is missing.
            let mut index = 0;
            while self.look_up((index..index + EVENTS_AT_ONCE).map(|index| request.of_event(index)).collect(), &mut known)? > 0 {
                index += EVENTS_AT_ONCE;
            }
        }
        Ok(known)
    }

    /// Looks up in the log which of these keys it has, and returns how many.
    fn look_up(&self, keys: Vec<DedupeKey>, known: &mut KnownKeys) -> Result<usize, LogError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let seen = self.log.find_keys(&keys)?;
        let before = known.0.len();
        known.0.extend(keys.into_iter().zip(seen).filter_map(|(key, seen)| seen.map(|seen| (key, seen))));
        Ok(known.0.len() - before)
    }
}
