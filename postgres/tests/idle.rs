//! Connections that are not in use: they are used again, replaced when they are lost, and ready when a waiting node begins to
//! lead.

use std::thread;
use std::time::Duration;

use ensue_postgres::{Database, IfLed, PostgresLogReader};
use ensue_test_support::records::LOG;

use crate::nodes::node;
use crate::server::{Server, is_missing, until};

/// Returns the processes of the server that answer connections with one of these names.
fn processes(database: &str, names: &str) -> Vec<String> {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name IN (SELECT 'ensue/' || unnest(string_to_array('{names}', ','))) ORDER BY pid"
    );
    Server::instance().psql(database, &sql).lines().map(str::to_owned).collect()
}

#[track_caller]
fn until_there_are(count: usize, database: &str, names: &str) {
    until(|| processes(database, names).len() == count);
}

/// A database with a log that nobody leads, and its name.
fn with_a_log() -> (String, Database) {
    let (name, database) = Server::instance().database();
    drop(database.lead(LOG, &node(1), IfLed::Fail).unwrap());
    (name, database)
}

#[test]
fn unused_connection_is_used_again() {
    if is_missing() {
        return;
    }
    let (name, database) = with_a_log();
    database.logs().unwrap();
    let before = processes(&name, "setup,reader");
    for _ in 0..5 {
        drop(PostgresLogReader::open(&database, LOG).unwrap());
        database.logs().unwrap();
    }
    assert_eq!(processes(&name, "setup,reader"), before);
}

#[test]
fn lost_connection_is_not_used_again() {
    if is_missing() {
        return;
    }
    let (name, database) = with_a_log();
    for _ in 0..5 {
        database.logs().unwrap();
        let before = processes(&name, "setup");
        Server::instance().psql(&name, &format!("SELECT pg_terminate_backend(unnest(ARRAY[{}]))", before.join(",")));
        until_there_are(0, &name, "setup");
        assert_eq!(database.logs().unwrap(), [LOG]);
        assert!(processes(&name, "setup").iter().all(|process| !before.contains(process)));
    }
}

#[test]
fn unused_connections_are_closed_on_request() {
    if is_missing() {
        return;
    }
    let (name, database) = with_a_log();
    database.logs().unwrap();
    assert_ne!(processes(&name, "setup").len(), 0);
    database.close_idle();
    until_there_are(0, &name, "setup");
}

#[test]
fn waiting_node_has_its_connections_open() {
    if is_missing() {
        return;
    }
    let (name, database) = Server::instance().database();
    let first = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let waits = thread::spawn(move || database.lead(LOG, &node(2), IfLed::WaitFor(Duration::from_secs(60))).map(drop));
    until_there_are(7, &name, "waits");
    drop(first);
    waits.join().unwrap().unwrap();
}
