//! Objects in memory, for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use ensue_engine::time::Timestamp;

use super::{Object, ObjectError, ObjectKind, ObjectOwner, ObjectPart, Objects, StoredThing, select_expired};
use crate::disk_retention::RetentionLimits;

/// The limits of this store, in bytes.
const OUTPUT_BYTES_MAX: u64 = 3 * 1024 * 1024;
const ARTIFACT_BYTES_MAX: u64 = 10 * 1024 * 1024;

type ObjectsByOwner = BTreeMap<ObjectOwner, BTreeMap<String, (Vec<u8>, Timestamp)>>;

/// Objects in memory.
#[derive(Default)]
pub struct MemoryObjects {
    stored: Mutex<ObjectsByOwner>,
    is_away: AtomicBool,
}

impl MemoryObjects {
    /// Makes every call fail from now on.
    pub fn go_away(&self) {
        self.is_away.store(true, Ordering::Relaxed);
    }

    /// Makes calls succeed again.
    pub fn come_back(&self) {
        self.is_away.store(false, Ordering::Relaxed);
    }

    fn with<T>(&self, call: impl FnOnce(&mut ObjectsByOwner) -> T) -> Result<T, ObjectError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(ObjectError("it does not answer".to_owned()));
        }
        Ok(call(&mut self.stored.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Objects for MemoryObjects {
    fn bytes_max(&self, kind: ObjectKind) -> u64 {
        match kind {
            ObjectKind::Output => OUTPUT_BYTES_MAX,
            ObjectKind::Artifact => ARTIFACT_BYTES_MAX,
            ObjectKind::State => u64::MAX,
        }
    }

    fn put(&self, objects: &[Object], now: Timestamp) -> Result<(), ObjectError> {
        self.with(|stored| {
            for object in objects {
                stored.entry(object.owner.clone()).or_default().insert(object.part.clone(), (object.content.clone(), now));
            }
        })
    }

    fn parts(&self, owner: &ObjectOwner) -> Result<Vec<ObjectPart>, ObjectError> {
        self.with(|stored| {
            let parts = stored.get(owner).into_iter().flatten();
            parts.map(|(name, (content, _))| ObjectPart { name: name.clone(), bytes: content.len() as u64 }).collect()
        })
    }

    fn get(&self, owner: &ObjectOwner, parts: &[String]) -> Result<Vec<Object>, ObjectError> {
        self.with(|stored| {
            let found = stored.get(owner).into_iter().flatten().filter(|(part, _)| parts.contains(part));
            found.map(|(part, (content, _))| Object { owner: owner.clone(), part: part.clone(), content: content.clone() }).collect()
        })
    }

    fn expire(&self, kind: ObjectKind, limits: RetentionLimits, now: Timestamp) -> Result<u64, ObjectError> {
        self.with(|stored| {
            let of_kind = stored.iter().filter(|(owner, _)| owner.kind == kind);
            let thing = |(owner, parts): (&ObjectOwner, &BTreeMap<String, (Vec<u8>, Timestamp)>)| {
                let at = parts.values().map(|(_, at)| *at).max()?;
                let bytes = parts.values().map(|(content, _)| content.len() as u64).sum();
                Some(StoredThing { at, bytes, content: owner.clone() })
            };
            let due = select_expired(of_kind.filter_map(thing).collect(), limits, now);
            stored.retain(|owner, _| !due.contains(owner));
            due.len() as u64
        })
    }
}
