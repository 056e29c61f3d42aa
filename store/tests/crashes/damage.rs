//! Sectors and pages that differ from what was written: the log returns the same data or an error, never
//! other data.
//!
//! Single bits and truncated files are tested in `verify`.

use ensue_disk::Random;
use ensue_disk::fault::{Failure, Fault, Lasting};
use ensue_disk::trace::Kind;

use super::*;

const BATCHES: u64 = 30;
const PAGE: usize = 8192;

/// A log that was killed, so that its newest records are only in the write-ahead log.
struct KilledLog {
    disk: Disk,
    records: Vec<Record>,
    /// The files at an earlier moment, and at the end.
    before: Vec<(String, Vec<u8>)>,
    after: Vec<(String, Vec<u8>)>,
}

fn contents(disk: &Disk) -> Vec<(String, Vec<u8>)> {
    disk.names().into_iter().filter_map(|name| disk.content(&name).map(|content| (name, content))).collect()
}

fn make_killed_log(name: &str) -> KilledLog {
    let disk = Disk::new(name, 1, Sectors::Bytes512);
    let mut story = Story::on(&disk);
    // A clean stop writes the first half back.
    story.live(BATCHES);
    let mut log = SqliteLog::open_at(place(&disk, "log.sqlite"), LOG).unwrap();
    let mut writer = Writer::behind(&log, &story.acknowledged);
    let mut before = Vec::new();
    for number in 0..BATCHES {
        if number == BATCHES / 2 {
            before = contents(&disk);
        }
        let batch = next_batch(&mut writer);
        writer.write(&mut log, &batch).unwrap();
        story.acknowledged.extend(batch.records);
    }
    disk.kill();
    drop(log);
    KilledLog { after: contents(&disk), before, records: story.acknowledged, disk }
}

impl KilledLog {
    fn put_back(&self, name: &str, damaged: &[u8]) {
        self.disk.kill();
        for name in self.disk.names() {
            self.disk.replace(&name, None);
        }
        for (other, content) in &self.after {
            self.disk.replace(other, Some(if other == name { damaged } else { content }));
        }
    }

    /// Opens and reads everything as a node does. Returns true if there was an error.
    fn is_refused(&self, damage: &str) -> bool {
        let head = self.records.last().map(|record| Head { position: record.position, chain: record.chain });
        let read = || -> Result<Vec<Record>, String> {
            let mut log = SqliteLog::open_at(place(&self.disk, "log.sqlite"), LOG).map_err(|error| error.to_string())?;
            let reader = log.reader().map_err(|error| error.to_string())?;
            verify(&*reader, head, |_| ()).map_err(|error| error.to_string())?;
            let records = reader.read(Position(0), EVERYTHING).map_err(|error| error.to_string())?;
            // Damage that is not read must not cause a panic, nor a wrong answer about a key.
            for record in records.iter().filter(|record| record.body.is_some()) {
                let number = record.position.0;
                if let Ok(found) = log.find_keys(&[dedupe_key("github", number)]) {
                    assert!(found == [Some(seen_at(number, 1_000_000))] || found == [None], "{damage}: {found:?}");
                }
            }
            let mut writer = Writer::behind(&log, &records);
            let _ = writer.append(&mut log, 1);
            Ok(records)
        };
        match read() {
            Ok(records) => {
                assert!(records == self.records, "{damage}: other records are given as if they were those that were written");
                false
            }
            Err(why) => {
                assert!(!why.is_empty(), "{damage}");
                true
            }
        }
    }
}

#[test]
fn zeroed_sector_or_page_leaves_the_same_data_or_is_rejected() {
    let killed = make_killed_log("zeroed");
    let mut refused = 0;
    for (name, content) in &killed.after {
        for (size, step) in [(512, 31 * 512), (4096, 7 * 4096), (PAGE, 3 * PAGE)] {
            for at in (0..content.len()).step_by(step) {
                let mut damaged = content.clone();
                let end = (at + size).min(content.len());
                damaged[at..end].fill(0);
                killed.put_back(name, &damaged);
                refused += u32::from(killed.is_refused(&format!("{size} zeros from {at} of {name}")));
            }
        }
    }
    assert!(refused > 10, "only {refused} were refused");
}

/// Half a page of zeros in an index looks like an index without those rows. If that were trusted, a new log
/// would begin next to the old one.
#[test]
fn zeroed_sector_never_makes_a_stopped_log_look_empty() {
    let disk = Disk::new("zeroed-stopped", 1, Sectors::Bytes512);
    let mut story = Story::on(&disk);
    assert_eq!(story.live(3), LifeEnd::WithAll);
    let whole = disk.content("log.sqlite").unwrap();
    let head = story.acknowledged.last().map(|record| record.position);
    for (size, step) in [(512, 3 * 512), (4096, 4096)] {
        for at in (0..whole.len()).step_by(step) {
            let mut damaged = whole.clone();
            let end = (at + size).min(whole.len());
            damaged[at..end].fill(0);
            disk.kill();
            for name in disk.names() {
                disk.replace(&name, None);
            }
            disk.replace("log.sqlite", Some(&damaged));
            if let Ok(log) = SqliteLog::open_at(place(&disk, "log.sqlite"), LOG) {
                assert_eq!(log.head().ok().map(|head| head.position), head, "{size} zeros from {at}");
            }
        }
    }
}

#[test]
fn stale_page_leaves_the_same_data_or_is_rejected() {
    let killed = make_killed_log("stale");
    let (mut tried, mut refused) = (0, 0);
    for (name, older) in &killed.before {
        let (_, newer) = killed.after.iter().find(|(other, _)| other == name).unwrap();
        for at in (0..older.len().min(newer.len())).step_by(512) {
            let end = (at + PAGE).min(older.len()).min(newer.len());
            if older[at..end] == newer[at..end] {
                continue;
            }
            let mut damaged = newer.clone();
            damaged[at..end].copy_from_slice(&older[at..end]);
            killed.put_back(name, &damaged);
            tried += 1;
            refused += u32::from(killed.is_refused(&format!("an older page at {at} of {name}")));
        }
    }
    assert!(tried == 0 || refused > 0, "{refused} of {tried} were refused");
}

#[test]
fn misplaced_page_leaves_the_same_data_or_is_rejected() {
    let killed = make_killed_log("misdirected");
    let mut random = Random::new(7);
    let mut refused = 0;
    for (name, content) in &killed.after {
        let pages = (content.len() / PAGE) as u64;
        for _ in 0..30 {
            let (from, to) = (random.below(pages) as usize * PAGE, random.below(pages) as usize * PAGE);
            let mut damaged = content.clone();
            damaged.copy_within(from..from + PAGE, to);
            killed.put_back(name, &damaged);
            refused += u32::from(killed.is_refused(&format!("the page at {from} of {name} at {to}")));
        }
    }
    assert!(refused > 5, "only {refused} were refused");
}

#[test]
fn failed_or_short_read_leaves_the_same_data_or_is_rejected() {
    let killed = make_killed_log("reads");
    let whole = killed.after.iter().find(|(name, _)| name == "log.sqlite").unwrap().1.clone();
    let mut refused = 0;
    for failure in [Failure::Io, Failure::Part] {
        for nth in (1..200).step_by(5) {
            killed.put_back("log.sqlite", &whole);
            killed.disk.fail(Fault { nth, of: Some(Kind::Read), failure, lasting: Lasting::Once });
            refused += u32::from(killed.is_refused(&format!("read {nth} fails: {failure:?}")));
            killed.disk.mend();
            // The problem was temporary, not in the file.
            killed.put_back("log.sqlite", &whole);
            assert!(!killed.is_refused("nothing"));
        }
    }
    assert!(refused > 10, "only {refused} were refused");
}
