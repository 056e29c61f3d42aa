//! One node leads a log; another one takes it over when the first is gone.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::{AppendError, Log, LogReader as _, ReadLimit};
use ensue_engine::record::{Epoch, Position};
use ensue_postgres::{Database, DatabaseError, IfLed, LEASE, PostgresLogReader, WaitDecision};
use ensue_test_support::records::{LOG, Writer};

use crate::nodes::node;
use crate::server::{Server, is_missing};

fn database() -> (String, Database) {
    Server::instance().database()
}

#[test]
fn log_of_a_living_node_is_not_taken_over() {
    if is_missing() {
        return;
    }
    let (_, database) = database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let Err(error) = database.lead(LOG, &node(2), IfLed::WaitFor(LEASE + Duration::from_secs(3))) else { panic!("it was taken over") };
    assert!(matches!(&error, DatabaseError::Led { leader, .. } if leader == "node-1"), "{error}");
    assert_eq!(error.slug(), "log-led-elsewhere");
    Writer::of(&log).append(&mut log, 1).unwrap();
}

#[test]
fn waiting_node_reads_no_batch_that_is_not_confirmed() {
    if is_missing() {
        return;
    }
    let (name, database) = database();
    let mut log = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let mut writer = Writer::of(&log);
    writer.append(&mut log, 2).unwrap();
    let confirmed = writer.head();
    writer.append(&mut log, 3).unwrap();
    // A beat of an older epoch confirms nothing.
    let unconfirmed = "INSERT INTO ensue.confirmed (log, epoch, position, chain) VALUES (0, 99, 0, sha256('')) \
                       ON CONFLICT (log) DO UPDATE SET epoch = 99, position = 0";
    Server::instance().psql(&name, unconfirmed);
    let reader = PostgresLogReader::open_confirmed(&database, LOG).unwrap();
    assert_eq!(reader.head().unwrap(), confirmed);
    assert_eq!(reader.read(Position(0), ReadLimit::default()).unwrap().last().unwrap().position, confirmed.position);
}

#[test]
fn released_log_is_taken_over_at_once() {
    if is_missing() {
        return;
    }
    let (_, database) = database();
    drop(database.lead(LOG, &node(1), IfLed::Fail).unwrap());
    assert_eq!(database.lead(LOG, &node(2), IfLed::Fail).unwrap().epoch(), Epoch(2));
}

#[test]
fn waiting_node_is_woken_by_the_release_and_not_by_its_next_look() {
    if is_missing() {
        return;
    }
    let (_, database) = database();
    let first = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let second = database.with_looks_every(Duration::from_secs(3600));
    let (waits, begun) = mpsc::sync_channel(8);
    let (leads, led) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let taken = second.lead_after(LOG, &node(2), &mut |_| {
            waits.send(()).unwrap();
            WaitDecision::GoOn
        });
        leads.send(taken.map(|log| log.epoch())).unwrap();
    });
    // It begins to listen after its first look, and then looks once more.
    for _ in 0..2 {
        begun.recv_timeout(Duration::from_secs(60)).unwrap();
    }
    drop(first);
    assert_eq!(led.recv_timeout(Duration::from_secs(60)).unwrap().unwrap(), Epoch(2));
    assert!(begun.try_recv().is_err(), "it looked again before it was woken");
}

#[test]
fn restarted_node_takes_its_own_log_at_once() {
    if is_missing() {
        return;
    }
    let (_, database) = database();
    let first = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let second = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    assert_eq!(second.epoch(), first.epoch().next());
}

#[test]
fn log_of_a_lost_node_is_taken_over_after_its_lease_and_the_lost_one_is_deposed() {
    if is_missing() {
        return;
    }
    let (name, database) = database();
    let mut lost = database.lead(LOG, &node(1), IfLed::Fail).unwrap();
    let mut writer = Writer::of(&lost);
    writer.append(&mut lost, 1).unwrap();
    // The database knows it under another id, so its beats no longer arrive there. It can still write.
    Server::instance().psql(&name, "UPDATE ensue.nodes SET id = '00000000-0000-0000-0000-0000000000ff' WHERE name = 'node-1'");
    Server::instance().psql(&name, "UPDATE ensue.logs SET leader = '00000000-0000-0000-0000-0000000000ff'");
    writer.append(&mut lost, 1).unwrap();
    let (begin, mut looks) = (Instant::now(), 0);
    let looking = database.with_looks_every(LEASE / 3);
    let mut taken = looking
        .lead_after(LOG, &node(2), &mut |_| {
            looks += 1;
            WaitDecision::GoOn
        })
        .unwrap();
    let took = begin.elapsed();
    // The first two looks follow each other at once.
    assert!(took >= LEASE && looks <= 4, "{took:?} and {looks} looks");
    assert!(matches!(writer.append(&mut lost, 1), Err(AppendError::Deposed(epoch)) if epoch == taken.epoch()));
    assert_eq!(taken.head().unwrap().position, Position(2));
    Writer::of(&taken).append(&mut taken, 1).unwrap();
}

#[test]
fn of_several_nodes_that_create_a_log_at_once_one_does() {
    if is_missing() {
        return;
    }
    let address = Server::instance().address(&Server::instance().new_database());
    let tries: Vec<_> = (1..=4)
        .map(|number| {
            let database = Database::at(&address).unwrap();
            let log = LogId(Id::from_bytes([number; 16]));
            std::thread::spawn(move || {
                database.prepare()?;
                database.begin(log)?;
                database.lead(log, &node(number.into()), IfLed::Fail)
            })
        })
        .collect();
    let led: Vec<_> = tries.into_iter().map(|tried| tried.join().unwrap()).collect();
    let errors: Vec<_> = led.iter().filter_map(|led| led.as_ref().err()).collect();
    assert_eq!((errors.len(), Database::at(&address).unwrap().logs().unwrap().len()), (3, 1), "{errors:?}");
    assert!(errors.iter().all(|error| error.fault() == Fault::Unavailable), "each can be started again: {errors:?}");
}

#[test]
fn of_two_nodes_that_try_at_once_one_leads() {
    if is_missing() {
        return;
    }
    let (_, database) = database();
    drop(database.lead(LOG, &node(9), IfLed::Fail).unwrap());
    let tries: Vec<_> = (1..=4)
        .map(|number| {
            let database = database.clone();
            std::thread::spawn(move || database.lead(LOG, &node(number), IfLed::Fail))
        })
        .collect();
    let led: Vec<_> = tries.into_iter().map(|tried| tried.join().unwrap()).collect();
    assert_eq!(led.iter().filter(|led| led.is_ok()).count(), 1);
    assert!(led.iter().filter_map(|led| led.as_ref().err()).all(|error| matches!(error, DatabaseError::Led { .. })));
}
