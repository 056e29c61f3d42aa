//! What a failing disk does to the files on it: acknowledged records are there, nothing is there in part, and
//! nothing false is acknowledged later.
//!
//! Real SQLite runs on an in-memory disk (`ensue-disk`). The effect of flipped bits is tested in `verify`.

mod damage;
mod every_operation;
mod failed_syncs;
mod full;
mod secrets;
mod views;

use ensue_disk::{Disk, Sectors};
use ensue_engine::ports::{AppendError, Batch, Log};
use ensue_engine::record::{Body, Head, Position, Record};

use crate::conformance::crash_disk::place;
use ensue_store::encode::compress;
use ensue_store::sqlite::log::{SqliteLog, logs_at};
use ensue_store::verify::verify;
use ensue_test_support::records::{EVERYTHING, LOG, Writer, dedupe_key, event, key_set, long_json, seen_at};

/// How many times an append with an unknown outcome is looked up.
const UNKNOWN_TRIES_MAX: usize = 3;

/// A log over many lives of its node, with a separate list of the acknowledged records.
struct Story {
    disk: Disk,
    acknowledged: Vec<Record>,
    /// The newest batch, if its writer never learned the outcome.
    in_doubt: Vec<Record>,
    /// The number of appends that found the disk full.
    full: u64,
    /// The errors of the store.
    said: Vec<String>,
    ending: Ending,
}

/// How a node ends after its store has failed.
#[derive(Clone, Copy)]
enum Ending {
    /// It closes its files.
    Closing,
    /// It is killed first.
    AtOnce,
}

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
enum LifeEnd {
    /// It wrote everything.
    WithAll,
    /// The store failed.
    WithFailure,
}

impl Story {
    fn on(disk: &Disk) -> Self {
        Self { disk: disk.clone(), acknowledged: Vec::new(), in_doubt: Vec::new(), full: 0, said: Vec::new(), ending: Ending::Closing }
    }

    fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    /// Opens the log and appends batches as a sequencer does, until the first failure that ends a node.
    fn live(&mut self, batches: u64) -> LifeEnd {
        match self.try_to_live(batches) {
            Ok(()) => LifeEnd::WithAll,
            Err(why) => {
                self.said.push(why);
                LifeEnd::WithFailure
            }
        }
    }

    fn try_to_live(&mut self, batches: u64) -> Result<(), String> {
        let known = logs_at(&place(&self.disk, "log.sqlite")).map_err(|error| error.to_string())?;
        assert!(known == [LOG] || known.is_empty() && self.acknowledged.is_empty(), "{known:?} are the logs in the file");
        let mut log = SqliteLog::open_at(place(&self.disk, "log.sqlite"), LOG).map_err(|error| error.to_string())?;
        self.resolve(&log)?;
        let mut writer = Writer::behind(&log, &self.acknowledged);
        for _ in 0..batches {
            let batch = next_batch(&mut writer);
            self.in_doubt = batch.records.clone();
            match append_and_settle(&mut log, &writer, &batch) {
                Ok(_) => {
                    writer.note_stored(&batch);
                    self.acknowledged.append(&mut self.in_doubt);
                }
                Err(AppendError::Full) => {
                    // It reports that nothing was written, and the story checks that.
                    self.in_doubt.clear();
                    self.full += 1;
                }
                Err(error) => {
                    if let Ending::AtOnce = self.ending {
                        self.disk.kill();
                    }
                    return Err(error.to_string());
                }
            }
        }
        Ok(())
    }

    /// Reads everything and compares it with what was acknowledged.
    fn resolve(&mut self, log: &dyn Log) -> Result<(), String> {
        let reader = log.reader().map_err(|error| error.to_string())?;
        let found = reader.read(Position(0), EVERYTHING).map_err(|error| error.to_string())?;
        let (old, new) = found.split_at(self.acknowledged.len().min(found.len()));
        assert_eq!(old.len(), self.acknowledged.len(), "{} of {} acknowledged records are there", old.len(), self.acknowledged.len());
        assert!(old == self.acknowledged, "an acknowledged record is another");
        assert!(
            new.is_empty() || new == self.in_doubt,
            "{} records were never acknowledged, {} are in doubt",
            new.len(),
            self.in_doubt.len()
        );
        self.acknowledged = found;
        self.in_doubt.clear();
        Ok(())
    }

    /// Checks that with a working disk everything is there and undamaged, and that the log continues.
    fn check(&mut self) {
        self.disk.kill();
        self.disk.mend();
        assert_eq!(self.live(2), LifeEnd::WithAll, "{:?}", self.said.last());
        assert_eq!(self.live(1), LifeEnd::WithAll, "{:?}", self.said.last());
        let log = SqliteLog::open_at(place(&self.disk, "log.sqlite"), LOG).unwrap();
        let newest = self.acknowledged.last().unwrap();
        let head = Head { position: newest.position, chain: newest.chain };
        let verified = verify(&*log.reader().unwrap(), Some(head), |_| ()).unwrap();
        assert_eq!(verified.records, self.acknowledged.len() as u64);
        assert_dedupe_keys(&log, &self.acknowledged);
    }
}

/// Two records, one with a body, and a key that was seen.
fn next_batch(writer: &mut Writer) -> Batch {
    let next = writer.head().position.0 + 1;
    let body = compress(Body::json(long_json(200)));
    let mut batch = writer.batch([event(next).with_body(body), key_set("core.k", next as u32)]);
    batch.seen.push((dedupe_key("github", next), seen_at(next, 1_000_000)));
    batch
}

/// Appends a batch. If its outcome is unknown, looks it up as a sequencer does.
fn append_and_settle(log: &mut SqliteLog, writer: &Writer, batch: &Batch) -> Result<Position, AppendError> {
    let dead = |error: ensue_engine::ports::LogError| AppendError::Dead(error.to_string());
    let before = writer.head().position;
    let mut outcome = log.append(batch, before, writer.epoch());
    for _ in 0..UNKNOWN_TRIES_MAX {
        let Err(AppendError::Unknown) = outcome else { break };
        outcome = match log.reader().map_err(dead)?.batch_at(before.next()).map_err(dead)? {
            Some(found) => {
                assert_eq!(Some(found), batch.id);
                Ok(Position(before.0 + batch.records.len() as u64))
            }
            None => log.append(batch, before, writer.epoch()),
        };
    }
    outcome
}

/// A key is there if and only if its batch is.
fn assert_dedupe_keys(log: &SqliteLog, records: &[Record]) {
    let events = records.iter().filter(|record| record.body.is_some());
    let mut newest = 0;
    for record in events {
        newest = record.position.0;
        let found = log.find_keys(&[dedupe_key("github", newest)]).unwrap();
        assert_eq!(found, [Some(seen_at(newest, 1_000_000))]);
    }
    assert_eq!(log.find_keys(&[dedupe_key("github", newest + 2)]).unwrap(), [None]);
}

fn ending(seed: u64) -> Ending {
    if seed.is_multiple_of(3) { Ending::Closing } else { Ending::AtOnce }
}

fn sectors(seed: u64) -> Sectors {
    if seed.is_multiple_of(2) { Sectors::Bytes4096 } else { Sectors::Bytes512 }
}
