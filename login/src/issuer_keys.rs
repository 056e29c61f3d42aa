//! Decides when the keys of an issuer are fetched, and how long they hold. Pure: time is an argument, and the
//! caller fetches.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::time::Timestamp;

use crate::claims::millis;
use crate::discovery::Metadata;
use crate::jose::{Key, KeySet, LeftOut};

/// The minimum time between two fetches of an issuer, whoever asks.
pub const FETCH_INTERVAL: Duration = Duration::from_secs(30);
/// How long keys hold after the last good fetch if the issuer cannot be reached. A key that it withdrew meanwhile counts as long.
pub const KEYS_HOLD: Duration = Duration::from_secs(24 * 3600);
/// When keys are fetched again if the issuer does not say.
const REFRESH: Duration = Duration::from_secs(15 * 60);
/// The bounds of what an issuer may say. A withdrawn key counts until the next fetch, so the lower bound is
/// what the issuer allows to be asked.
const REFRESH_MIN: Duration = FETCH_INTERVAL;
const REFRESH_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a discovery document is used for further fetches of keys.
const METADATA_AGE_MAX: Duration = Duration::from_secs(3600);

/// What was fetched.
#[derive(Clone, Debug)]
pub struct FetchedKeys {
    /// The discovery document; `None` if the keys come from a file and nobody logs in with a browser.
    pub metadata: Option<Arc<Metadata>>,
    /// The keys.
    pub keys: KeySet,
    /// How many seconds the issuer lets them be used without asking again.
    pub max_age: Option<u64>,
}

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheLookup<T> {
    /// Use this.
    Use(T),
    /// Fetch, then call [`Keys::end_fetch`] and ask again. Everyone else waits meanwhile.
    Fetch,
    /// Wait until the fetch of another caller has ended, then ask again.
    Wait,
    /// The issuer has no such thing, and was asked less than [`FETCH_INTERVAL`] ago.
    Unknown,
    /// Nothing that holds is there, and the issuer was asked less than [`FETCH_INTERVAL`] ago.
    Unavailable {
        /// Why the last fetch failed.
        why: String,
    },
}

/// The keys of one issuer.
#[derive(Debug, Default)]
pub struct Keys {
    held: Option<CachedKeySet>,
    fetch: Fetching,
    last_fetch: Option<Timestamp>,
    trouble: Option<String>,
    use_since_fetch: Usage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fetching {
    #[default]
    Idle,
    UnderWay,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Usage {
    #[default]
    Unused,
    Used,
}

#[derive(Debug)]
struct CachedKeySet {
    keys: KeySet,
    metadata: Option<Arc<Metadata>>,
    metadata_at: Timestamp,
    good_at: Timestamp,
    fresh_until: Timestamp,
}

impl Keys {
    /// Asks for the key that `find` chooses.
    pub fn key(&mut self, now: Timestamp, find: impl Fn(&KeySet) -> Option<Arc<Key>>) -> CacheLookup<Arc<Key>> {
        self.ask(now, |held| find(&held.keys))
    }

    /// Asks for the discovery document.
    pub fn metadata(&mut self, now: Timestamp) -> CacheLookup<Arc<Metadata>> {
        self.ask(now, |held| held.metadata.clone())
    }

    /// Returns true if `key` is still one of the keys, and they hold. If they were not used for long, they have to be asked
    /// for with [`key`](Self::key) first.
    pub fn has(&mut self, key: &Arc<Key>, now: Timestamp) -> bool {
        if self.is_fetch_awaited(now) {
            return false;
        }
        self.use_since_fetch = Usage::Used;
        self.holding(now).is_some_and(|held| held.keys.contains(key))
    }

    /// Starts a fetch in the background if one is due: the keys were used since the last fetch and are no
    /// longer fresh. Returns true if the caller has to fetch. The old keys hold meanwhile.
    pub fn begin_refresh(&mut self, now: Timestamp) -> bool {
        let is_due = self.is_stale(now) && self.use_since_fetch == Usage::Used && self.fetch == Fetching::Idle && self.may_fetch(now);
        if is_due {
            self.begin(now);
        }
        is_due
    }

    /// Returns the discovery document, if it is recent enough to fetch keys with it.
    pub fn recent_metadata(&self, now: Timestamp) -> Option<Arc<Metadata>> {
        let held = self.held.as_ref().filter(|held| is_within(held.metadata_at, now, METADATA_AGE_MAX))?;
        // After a failure the keys may have moved.
        if self.trouble.is_none() { held.metadata.clone() } else { None }
    }

    /// Ends a fetch. A failure changes no key.
    pub fn end_fetch(&mut self, result: Result<FetchedKeys, String>, now: Timestamp) {
        self.fetch = Fetching::Idle;
        match result {
            Ok(FetchedKeys { metadata, keys, max_age }) => {
                let known = self.held.take().filter(|held| held.metadata == metadata && is_within(held.metadata_at, now, METADATA_AGE_MAX));
                let age = max_age.map_or(REFRESH, Duration::from_secs).clamp(REFRESH_MIN, REFRESH_MAX);
                self.held = Some(CachedKeySet {
                    keys,
                    metadata,
                    metadata_at: known.map_or(now, |held| held.metadata_at),
                    good_at: now,
                    fresh_until: now.plus_millis(millis(age)),
                });
                self.trouble = None;
                self.use_since_fetch = Usage::Unused;
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    /// Returns why the last fetch failed, or `None` if it was good.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Returns the published keys that are not used.
    pub fn left_out(&self) -> &[LeftOut] {
        self.held.as_ref().map_or(&[], |held| held.keys.left_out())
    }

    fn ask<T>(&mut self, now: Timestamp, find: impl Fn(&CachedKeySet) -> Option<T>) -> CacheLookup<T> {
        if self.is_fetch_awaited(now) {
            return self.fetch_or_wait(now);
        }
        self.use_since_fetch = Usage::Used;
        let holding = self.holding(now);
        if let Some(found) = holding.and_then(&find) {
            return CacheLookup::Use(found);
        }
        let is_holding = holding.is_some();
        if self.can_fetch(now) {
            return self.fetch_or_wait(now);
        }
        if is_holding {
            return CacheLookup::Unknown;
        }
        CacheLookup::Unavailable { why: self.trouble.clone().unwrap_or_else(|| "it was not reached".to_owned()) }
    }

    /// Returns the step that ends with a fetch: this caller's, or the one that is under way.
    fn fetch_or_wait<T>(&mut self, now: Timestamp) -> CacheLookup<T> {
        match self.fetch {
            Fetching::UnderWay => CacheLookup::Wait,
            Fetching::Idle => {
                self.begin(now);
                CacheLookup::Fetch
            }
        }
    }

    /// Returns true if the issuer may have withdrawn a key long ago: the keys are no longer fresh, and since nobody used them,
    /// nobody fetched them. They count only if the fetch that is awaited fails; the next ones are made in the background then.
    fn is_fetch_awaited(&self, now: Timestamp) -> bool {
        self.is_stale(now) && self.use_since_fetch == Usage::Unused && self.can_fetch(now)
    }

    fn is_stale(&self, now: Timestamp) -> bool {
        self.held.as_ref().is_some_and(|held| now >= held.fresh_until)
    }

    /// Returns true if a fetch is under way, or may begin.
    fn can_fetch(&self, now: Timestamp) -> bool {
        self.fetch == Fetching::UnderWay || self.may_fetch(now)
    }

    fn begin(&mut self, now: Timestamp) {
        self.fetch = Fetching::UnderWay;
        self.last_fetch = Some(now);
    }

    fn holding(&self, now: Timestamp) -> Option<&CachedKeySet> {
        self.held.as_ref().filter(|held| is_within(held.good_at, now, KEYS_HOLD))
    }

    /// A clock that was set back by more than the interval does not block fetches until it catches up.
    fn may_fetch(&self, now: Timestamp) -> bool {
        let Some(last) = self.last_fetch else { return true };
        now.micros_since(last).unsigned_abs() >= millis(FETCH_INTERVAL) * 1_000
    }
}

/// Returns true if `now` is less than `duration` after `since`, or before it.
fn is_within(since: Timestamp, now: Timestamp, duration: Duration) -> bool {
    now < since.plus_millis(millis(duration))
}
