//! Named cases; the module above runs each of them on its stores.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ensue_engine::time::Timestamp;
use ensue_store::disk_retention::RetentionLimits;
use ensue_store::objects::{Object, ObjectKind, ObjectOwner, ObjectPart, Objects};
use ensue_test_support::NOON;

use ObjectKind::{Artifact, Output};

const EVERYTHING: RetentionLimits = RetentionLimits { quota_bytes: u64::MAX, keep: None };

on_every_object_store! {
    object_is_read_as_it_was_written
    missing_owner_has_no_parts
    parts_are_listed_by_name_with_their_sizes
    parts_that_are_not_stored_are_left_out
    owner_whose_name_begins_like_another_one_is_independent
    object_is_replaced
    kinds_are_independent
    old_owners_expire_with_all_their_parts
    oldest_owners_over_the_quota_expire
    nothing_expires_within_the_limits
}

/// A store, and its clock.
pub(crate) struct Store<'a> {
    objects: &'a dyn Objects,
    begin: Timestamp,
    hour: Duration,
    /// How many hours passed for a store with its own clock, and when that was.
    passed: Option<Cell<(u32, Timestamp)>>,
}

impl<'a> Store<'a> {
    /// A store that notes the times that it is given.
    #[allow(dead_code, reason = "not every suite has such a store")]
    pub(crate) fn of(objects: &'a dyn Objects) -> Self {
        Self { objects, begin: NOON, hour: Duration::from_secs(3_600), passed: None }
    }

    /// A store that notes the time of its own clock, with so long an hour.
    #[allow(dead_code, reason = "not every suite has such a store")]
    pub(crate) fn with_own_clock(objects: &'a dyn Objects, hour: Duration) -> Self {
        let begin = now();
        Self { objects, begin, hour, passed: Some(Cell::new((0, begin))) }
    }

    /// Returns the time after so many hours. If the store has its own clock, waits for so long after what was stored before, however
    /// long that took.
    fn at(&self, hours: u32) -> Timestamp {
        let after = |from: Timestamp, hours: u32| from.plus_millis(u64::try_from((self.hour * hours).as_millis()).unwrap());
        let Some(passed) = &self.passed else { return after(self.begin, hours) };
        let (before, at) = passed.get();
        if hours > before {
            let at = after(now(), hours - before);
            while now() < at {
                std::thread::sleep(Duration::from_millis(10));
            }
            passed.set((hours, at));
            return at;
        }
        at
    }

    fn put(&self, objects: &[Object]) {
        self.objects.put(objects, self.begin).unwrap();
    }

    /// Reads all parts of an owner.
    fn read(&self, kind: ObjectKind, name: &str) -> Vec<Object> {
        let owner = owner(kind, name);
        let parts: Vec<String> = self.objects.parts(&owner).unwrap().into_iter().map(|part| part.name).collect();
        self.objects.get(&owner, &parts).unwrap()
    }

    fn parts(&self, kind: ObjectKind, name: &str) -> Vec<ObjectPart> {
        self.objects.parts(&owner(kind, name)).unwrap()
    }

    fn stored_names<'n>(&self, kind: ObjectKind, names: &[&'n str]) -> Vec<&'n str> {
        names.iter().copied().filter(|name| !self.parts(kind, name).is_empty()).collect()
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}

fn owner(kind: ObjectKind, name: &str) -> ObjectOwner {
    ObjectOwner { kind, name: name.to_owned() }
}

fn object(kind: ObjectKind, name: &str, part: &str, content: &[u8]) -> Object {
    Object { owner: owner(kind, name), part: part.to_owned(), content: content.to_vec() }
}

fn part(name: &str, bytes: u64) -> ObjectPart {
    ObjectPart { name: name.to_owned(), bytes }
}

fn object_is_read_as_it_was_written(store: &Store<'_>) {
    let parts = [object(Output, "a", "end", b"{}"), object(Output, "a", "stdout/0", b"\0\xff"), object(Output, "a", "stdout/10", b"")];
    store.put(&parts);
    assert_eq!(store.read(Output, "a"), parts);
}

fn missing_owner_has_no_parts(store: &Store<'_>) {
    store.put(&[]);
    assert_eq!((store.parts(Artifact, "a"), store.read(Artifact, "a")), (vec![], vec![]));
}

fn parts_are_listed_by_name_with_their_sizes(store: &Store<'_>) {
    store.put(&[object(Output, "a", "stdout/2", b"345"), object(Output, "a", "stderr/0", b""), object(Output, "a", "stdout/0", b"12")]);
    assert_eq!(store.parts(Output, "a"), [part("stderr/0", 0), part("stdout/0", 2), part("stdout/2", 3)]);
}

fn parts_that_are_not_stored_are_left_out(store: &Store<'_>) {
    store.put(&[object(Output, "a", "stdout/0", b"12"), object(Output, "a", "stdout/2", b"345")]);
    let found = store.objects.get(&owner(Output, "a"), &["stdout/1".to_owned(), "stdout/2".to_owned()]).unwrap();
    assert_eq!(found, [object(Output, "a", "stdout/2", b"345")]);
}

fn owner_whose_name_begins_like_another_one_is_independent(store: &Store<'_>) {
    store.put(&[object(Output, "ab", "end", b"")]);
    assert_eq!(store.stored_names(Output, &["a", "ab", "abc"]), ["ab"]);
}

fn object_is_replaced(store: &Store<'_>) {
    for content in [&b"one"[..], b"one and two"] {
        store.put(&[object(Output, "a", "stdout/0", content)]);
    }
    assert_eq!(store.read(Output, "a"), [object(Output, "a", "stdout/0", b"one and two")]);
}

fn kinds_are_independent(store: &Store<'_>) {
    store.put(&[object(Output, "a", "0", b"output"), object(Artifact, "a", "0", b"artifact")]);
    let nothing = RetentionLimits { quota_bytes: 0, keep: None };
    assert_eq!(store.objects.expire(Output, nothing, store.begin).unwrap(), 1);
    assert_eq!(store.read(Artifact, "a"), [object(Artifact, "a", "0", b"artifact")]);
}

fn old_owners_expire_with_all_their_parts(store: &Store<'_>) {
    let put = |objects: &[Object], at| store.objects.put(objects, at).unwrap();
    put(&[object(Output, "old", "stdout/0", b"1"), object(Output, "growing", "stdout/0", b"1")], store.at(0));
    put(&[object(Output, "growing", "stdout/1", b"2"), object(Output, "new", "stdout/0", b"1")], store.at(2));
    let limits = RetentionLimits { keep: Some(store.hour), ..EVERYTHING };
    assert_eq!(store.objects.expire(Output, limits, store.at(2)).unwrap(), 1);
    assert_eq!(store.stored_names(Output, &["old", "growing", "new"]), ["growing", "new"]);
    assert_eq!(store.parts(Output, "growing").len(), 2);
}

fn oldest_owners_over_the_quota_expire(store: &Store<'_>) {
    for (hours, name) in [(0, "first"), (1, "second"), (2, "third")] {
        store.objects.put(&[object(Artifact, name, "0", &[7; 40])], store.at(hours)).unwrap();
    }
    let limits = RetentionLimits { quota_bytes: 100, keep: None };
    assert_eq!(store.objects.expire(Artifact, limits, store.at(2)).unwrap(), 1);
    assert_eq!(store.stored_names(Artifact, &["first", "second", "third"]), ["second", "third"]);
}

fn nothing_expires_within_the_limits(store: &Store<'_>) {
    store.put(&[object(Output, "a", "stdout/0", b"1")]);
    let later = store.begin.plus_millis(3_600_000_000);
    assert_eq!(store.objects.expire(Output, EVERYTHING, later).unwrap(), 0);
    assert_eq!(store.stored_names(Output, &["a"]), ["a"]);
}
