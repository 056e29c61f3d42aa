//! The outputs and artifacts in the database: the behavior of every store of objects, and what is longer than one answer.

use ensue_postgres::{IfLed, PostgresObjects};
use ensue_store::objects::{Object, ObjectKind, ObjectOwner, Objects};
use ensue_test_support::NOON;
use ensue_test_support::records::LOG;

use crate::nodes::node;
use crate::server::{Server, is_missing};

/// Runs each case on PostgreSQL, each time empty.
macro_rules! on_every_object_store {
    ($($case:ident)*) => {
        mod on_postgres {
            $(#[test] fn $case() {
                if crate::server::is_missing() {
                    return;
                }
                super::$case(&super::Store::of(&crate::objects::open_objects()));
            })*
        }
    };
}

#[path = "../../store/tests/conformance/objects/cases.rs"]
mod cases;

fn open_objects() -> PostgresObjects {
    let (_, database) = Server::instance().database();
    // The node that creates the log is gone afterwards: objects are not fenced.
    drop(database.lead(LOG, &node(1), IfLed::Fail).unwrap());
    PostgresObjects::open(&database, LOG).unwrap()
}

#[test]
fn longest_artifact_is_stored_and_read() {
    if is_missing() {
        return;
    }
    let objects = open_objects();
    let owner = ObjectOwner { kind: ObjectKind::Artifact, name: "long".to_owned() };
    let bytes = usize::try_from(objects.bytes_max(ObjectKind::Artifact)).unwrap();
    let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    let long = Object { owner: owner.clone(), part: "0".to_owned(), content };
    objects.put(std::slice::from_ref(&long), NOON).unwrap();
    assert!(objects.get(&owner, &["0".to_owned()]).unwrap() == [long]);
}
