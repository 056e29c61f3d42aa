//! Named cases; the module above runs each of them on its stores.

use std::time::Duration;

use ensue_engine::time::Timestamp;
use ensue_store::objects::{Object, ObjectKind, ObjectOwner, Objects};
use ensue_store::retention::RetentionLimits;
use ensue_test_support::NOON;

use ObjectKind::{Artifact, Output};

const EVERYTHING: RetentionLimits = RetentionLimits { quota_bytes: u64::MAX, keep: None };

on_every_object_store! {
    object_is_read_as_it_was_written
    missing_owner_has_no_objects
    bytes_of_an_owner_are_those_of_all_its_parts
    object_is_replaced
    kinds_are_independent
    old_owners_expire_with_all_their_parts
    oldest_owners_over_the_quota_expire
    nothing_expires_within_the_limits
}

fn owner(kind: ObjectKind, name: &str) -> ObjectOwner {
    ObjectOwner { kind, name: name.to_owned() }
}

fn object(kind: ObjectKind, name: &str, part: &str, content: &[u8]) -> Object {
    Object { owner: owner(kind, name), part: part.to_owned(), content: content.to_vec() }
}

fn at(hours: u64) -> Timestamp {
    NOON.plus_millis(hours * 3_600_000)
}

fn names(objects: &dyn Objects, kind: ObjectKind, names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| !objects.of(&owner(kind, name)).unwrap().is_empty()).map(|name| (*name).to_owned()).collect()
}

fn object_is_read_as_it_was_written(objects: &dyn Objects) {
    let parts = [object(Output, "a", "end", b"{}"), object(Output, "a", "stdout/0", b"\0\xff"), object(Output, "a", "stdout/10", b"")];
    objects.put(&parts, NOON).unwrap();
    assert_eq!(objects.of(&owner(Output, "a")).unwrap(), parts);
}

fn missing_owner_has_no_objects(objects: &dyn Objects) {
    objects.put(&[], NOON).unwrap();
    assert_eq!(objects.of(&owner(Artifact, "a")).unwrap(), []);
}

fn bytes_of_an_owner_are_those_of_all_its_parts(objects: &dyn Objects) {
    objects.put(&[object(Output, "a", "stdout/0", b"12"), object(Output, "a", "stdout/2", b"345")], NOON).unwrap();
    objects.put(&[object(Output, "empty", "stdout/0", b"")], NOON).unwrap();
    let bytes = |name| objects.bytes_of(&owner(Output, name)).unwrap();
    assert_eq!((bytes("a"), bytes("empty"), bytes("b")), (Some(5), Some(0), None));
}

fn object_is_replaced(objects: &dyn Objects) {
    for content in [&b"one"[..], b"one and two"] {
        objects.put(&[object(Output, "a", "stdout/0", content)], NOON).unwrap();
    }
    assert_eq!(objects.of(&owner(Output, "a")).unwrap(), [object(Output, "a", "stdout/0", b"one and two")]);
}

fn kinds_are_independent(objects: &dyn Objects) {
    objects.put(&[object(Output, "a", "", b"output"), object(Artifact, "a", "", b"artifact")], NOON).unwrap();
    let nothing = RetentionLimits { quota_bytes: 0, keep: None };
    assert_eq!(objects.expire(Output, nothing, NOON).unwrap(), 1);
    assert_eq!(objects.of(&owner(Artifact, "a")).unwrap(), [object(Artifact, "a", "", b"artifact")]);
}

fn old_owners_expire_with_all_their_parts(objects: &dyn Objects) {
    objects.put(&[object(Output, "old", "stdout/0", b"1"), object(Output, "growing", "stdout/0", b"1")], at(0)).unwrap();
    objects.put(&[object(Output, "growing", "stdout/1", b"2"), object(Output, "new", "stdout/0", b"1")], at(2)).unwrap();
    let limits = RetentionLimits { keep: Some(Duration::from_secs(3_600)), ..EVERYTHING };
    assert_eq!(objects.expire(Output, limits, at(2)).unwrap(), 1);
    assert_eq!(names(objects, Output, &["old", "growing", "new"]), ["growing", "new"]);
    assert_eq!(objects.of(&owner(Output, "growing")).unwrap().len(), 2);
}

fn oldest_owners_over_the_quota_expire(objects: &dyn Objects) {
    for (hours, name) in [(0, "first"), (1, "second"), (2, "third")] {
        objects.put(&[object(Artifact, name, "", &[7; 40])], at(hours)).unwrap();
    }
    let limits = RetentionLimits { quota_bytes: 100, keep: None };
    assert_eq!(objects.expire(Artifact, limits, at(2)).unwrap(), 1);
    assert_eq!(names(objects, Artifact, &["first", "second", "third"]), ["second", "third"]);
}

fn nothing_expires_within_the_limits(objects: &dyn Objects) {
    objects.put(&[object(Output, "a", "stdout/0", b"1")], NOON).unwrap();
    assert_eq!(objects.expire(Output, EVERYTHING, at(1_000_000)).unwrap(), 0);
    assert_eq!(names(objects, Output, &["a"]), ["a"]);
}
