//! Measures appends to logs in one database, and to as many logs in files, in turn on one machine.
//!
//!     cargo run --release -p ensue-postgres --example appends -- ADDRESS [logs] [seconds]
//!
//! Each log has a writer of its own, which appends batches of 50 records with 2 KB each and waits for each commit. The
//! database is created on the server of the address and dropped afterwards; the files are in the working directory.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "its figures are its output")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ensue_engine::ids::{Id, LogId};
use ensue_engine::ports::Log;
use ensue_engine::record::Body;
use ensue_postgres::{Database, IfLed, Node, Scratch};
use ensue_store::sqlite::log::SqliteLog;
use ensue_test_support::records::{Writer, key_set, long_json};
use uuid::Uuid;

const RECORDS: u32 = 50;
const BODY_BYTES: usize = 2_048;
/// What is appended before anything counts.
const WARM_UP: u32 = 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("name the address of a database server");
    let logs: u8 = arguments.next().map_or(1, |text| text.parse().unwrap());
    let seconds: u64 = arguments.next().map_or(10, |text| text.parse().unwrap());
    let scratch = Scratch::create(&address, &format!("ensue_appends_{}", std::process::id())).unwrap();
    let database = Database::at(scratch.address()).unwrap();
    database.prepare().unwrap();
    let folder = tempfile::tempdir_in(".").unwrap();
    println!("{logs} logs, batches of {RECORDS} records, bodies of {BODY_BYTES} bytes, {seconds} s");
    println!("store       commits/s   records/s      p50 ms      p99 ms      max ms");
    for round in 0..2 {
        let numbers = || (0..logs).map(|number| round * logs + number);
        let on_postgres = numbers().map(|number| -> Box<dyn Log> {
            let node = Node { id: Uuid::from_u128(u128::from(number)), name: format!("appends-{number}") };
            Box::new(database.lead(log_id(number), &node, IfLed::Fail).unwrap())
        });
        print_row("PostgreSQL", measure_appends(on_postgres.collect(), seconds), seconds);
        let on_sqlite = numbers().map(|number| -> Box<dyn Log> {
            Box::new(SqliteLog::open(&folder.path().join(format!("{number}.sqlite")), log_id(number)).unwrap())
        });
        print_row("SQLite", measure_appends(on_sqlite.collect(), seconds), seconds);
    }
}

/// Appends to each log from a thread of its own, and returns how long each commit took.
fn measure_appends(logs: Vec<Box<dyn Log>>, seconds: u64) -> Vec<Duration> {
    let ended = Arc::new(AtomicBool::new(false));
    let body = Body::json(long_json(BODY_BYTES));
    let appending: Vec<_> = logs
        .into_iter()
        .map(|mut log| {
            let (ended, body) = (ended.clone(), body.clone());
            let (mut writer, mut version) = (Writer::behind(&*log, &[]), 0);
            let mut append = move || {
                version += 1;
                let sketches = (0..RECORDS).map(|key| key_set(&format!("bench.k{key}"), version).with_body(body.clone()));
                let batch = writer.batch(sketches);
                let begin = Instant::now();
                writer.write(&mut *log, &batch).unwrap();
                begin.elapsed()
            };
            for _ in 0..WARM_UP {
                append();
            }
            thread::spawn(move || {
                let mut took = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    took.push(append());
                }
                took
            })
        })
        .collect();
    thread::sleep(Duration::from_secs(seconds));
    ended.store(true, Ordering::Relaxed);
    appending.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}

fn print_row(store: &str, mut took: Vec<Duration>, seconds: u64) {
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let commits = took.len() as u64 / seconds;
    println!("{store:<10} {commits:>10} {:>11} {:>11.2} {:>11.2} {:>11.2}", commits * u64::from(RECORDS), at(0.5), at(0.99), at(1.0));
}

fn log_id(number: u8) -> LogId {
    LogId(Id::from_bytes([1, 0x9D, 0x34, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 1, number]))
}
