//! Decisions on commands about the life of a key's values.

use crate::access::facts::KeySet;
use crate::access::keys::facts::{KeyExpiring, KeyExpirySet, KeyRevealed, KeyRotated, MasterKeyRotated};
use crate::access::keys::state::KeyVersions;
use crate::access::keys::{MasterKeyId, OVERLAP_MILLIS_MAX};
use crate::command::{Answer, Decision, KeyRotation, Moment, Refusal};
use crate::fact::Fact;
use crate::names::KeyRef;
use crate::record::{Actor, Draft, StreamId};
use crate::state::State;
use crate::time::Timestamp;

/// Makes a new version the only one that is accepted.
pub(crate) fn set(state: &State, actor: &Actor, (key, version): (&KeyRef, u32), expires_at: Option<Timestamp>, at: &Moment) -> Decision {
    if let Some(refusal) = not_new(state, key, version).or_else(|| not_ahead(key, expires_at, at)) {
        return Decision::Refused(refusal);
    }
    accept_facts(key, actor, KeySet { key: key.clone(), version }.into(), expiry(key, version, expires_at))
}

/// Makes a new version the current one, and accepts the one before it for a while.
pub(crate) fn rotate(state: &State, actor: &Actor, rotation: &KeyRotation, at: &Moment) -> Decision {
    let KeyRotation { key, version, overlap_millis, expires_at } = rotation;
    if current(state, key).is_none() {
        return Decision::Refused(Refusal::NoKey(key.clone()));
    }
    if *overlap_millis > OVERLAP_MILLIS_MAX {
        return Decision::Refused(Refusal::OverlapTooLong { key: key.clone() });
    }
    if let Some(refusal) = not_new(state, key, *version).or_else(|| not_ahead(key, *expires_at, at)) {
        return Decision::Refused(refusal);
    }
    let previous_until = (*overlap_millis > 0).then(|| at.time.plus_millis(*overlap_millis));
    let rotated = KeyRotated { key: key.clone(), version: *version, previous_until };
    accept_facts(key, actor, rotated.into(), expiry(key, *version, *expires_at))
}

/// Records that a version's value is shown.
pub(crate) fn reveal(state: &State, actor: &Actor, key: &KeyRef, version: u32, at: &Moment) -> Decision {
    match current(state, key) {
        None => Decision::Refused(Refusal::NoKey(key.clone())),
        Some(versions) if !versions.needs(version, at.time) => Decision::Refused(Refusal::NoKeyVersion { key: key.clone(), version }),
        Some(_) => accept_facts(key, actor, KeyRevealed { key: key.clone(), version }.into(), None),
    }
}

/// Records that all values are sealed under another master key. Records nothing if the log says so already: a
/// rotation that was interrupted after its record continues here.
pub(crate) fn rotate_master(state: &State, actor: &Actor, from: MasterKeyId, to: MasterKeyId) -> Decision {
    if state.access().all_keys().master() == Some(to) {
        return Decision::Done { drafts: Vec::new(), answer: Answer::Done };
    }
    let draft = Draft::new(StreamId::Log(state.log()), actor, MasterKeyRotated { from, to });
    Decision::Done { drafts: vec![draft], answer: Answer::Done }
}

/// Returns the drafts that report expiries which are due, at most `room` of them.
pub(crate) fn expiring(state: &State, actor: &Actor, at: &Moment, room: usize) -> impl Iterator<Item = Draft> {
    // A step of the clock that may be an error reports nothing early.
    let room = if state.timers().hold(at.time).is_some() { 0 } else { room };
    let due = state.access().all_keys().expiring(at.time, room);
    due.map(|(key, version, expires_at)| draft(key, actor, KeyExpiring { key: key.clone(), version, expires_at }.into()))
}

fn current(state: &State, key: &KeyRef) -> Option<KeyVersions> {
    state.access().key(key).filter(|versions| versions.current.is_some())
}

fn not_new(state: &State, key: &KeyRef, version: u32) -> Option<Refusal> {
    let now = state.access().key(key).map_or(0, |versions| versions.newest);
    (version <= now).then(|| Refusal::KeyVersion { key: key.clone(), now, given: version })
}

fn not_ahead(key: &KeyRef, expires_at: Option<Timestamp>, at: &Moment) -> Option<Refusal> {
    let expires_at = expires_at.filter(|expires_at| *expires_at <= at.time)?;
    Some(Refusal::KeyExpired { key: key.clone(), expires_at })
}

fn expiry(key: &KeyRef, version: u32, expires_at: Option<Timestamp>) -> Option<Fact> {
    expires_at.map(|expires_at| KeyExpirySet { key: key.clone(), version, expires_at }.into())
}

fn accept_facts(key: &KeyRef, actor: &Actor, fact: Fact, then: Option<Fact>) -> Decision {
    let drafts = [fact].into_iter().chain(then).map(|fact| draft(key, actor, fact)).collect();
    Decision::Done { drafts, answer: Answer::Done }
}

fn draft(key: &KeyRef, actor: &Actor, fact: Fact) -> Draft {
    Draft::new(StreamId::Key(key.clone()), actor, fact)
}
