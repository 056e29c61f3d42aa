//! I32: each message that a pulling sensor reads becomes its events once, or a dead letter, and nothing is
//! settled that is not in the log. The cursor in the log is behind exactly the messages of the commits before
//! it, and only the newest run of an enabled sensor writes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::node::Node;
use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::peers::{MessagePlace, PeerMessage, QUEUE, Sort, TAPE, read_of};
use crate::sometimes;

/// How long a message of the queue is known, in microseconds of log time.
const KEY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// A sensor of the log.
struct Sensor<'r> {
    name: &'r str,
    /// The number of its newest run.
    run: u64,
    /// The generation of the tape that it reads.
    generation: Option<usize>,
    /// How many messages of the tape it has read.
    read: usize,
    /// Its events since the cursor last moved.
    events: Vec<&'r Raw>,
    /// Its dead letters since then.
    letters: Vec<&'r Raw>,
}

#[derive(Default)]
struct Book<'r> {
    sensors: BTreeMap<&'r str, Sensor<'r>>,
    disabled: BTreeSet<&'r str>,
    edition: usize,
    /// The positions of the events and dead letters of each mark.
    made: BTreeMap<String, Vec<&'r Raw>>,
}

pub(super) fn check(node: &Node, records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    if !ledger.peers.are_there() {
        return Ok(());
    }
    let mut book = Book::default();
    for (index, record) in records.iter().enumerate() {
        book.note(record, ledger)?;
        if records.get(index + 1).is_none_or(|next| next.batch != record.batch) {
            for sensor in book.sensors.values() {
                let left = sensor.events.iter().chain(&sensor.letters).map(|record| record.position).min();
                demand!(left.is_none(), "I32", "the commit at {left:?} has messages of {} without their cursor", sensor.name);
            }
        }
    }
    book.check_queue(records, ledger)?;
    book.check_settled(ledger)?;
    for (id, sensor) in &book.sensors {
        let known = node.look(|engine| {
            let of = engine.sensors().iter().find(|(known, _)| known.to_string() == **id);
            of.map(|(_, pulling)| (read_of(pulling.cursor.as_ref()), pulling.run))
        });
        if let Some(known) = known.filter(|_| sensor.name == TAPE) {
            let told = Some((sensor.read, sensor.run));
            demand!(known == told, "I32", "the state has cursor and run {known:?} of {}, the log {told:?}", sensor.name);
        }
    }
    Ok(())
}

/// Returns the mark of the message that a record is made of.
fn mark(record: &Raw) -> String {
    match record.kind.as_str() {
        "delivery.refused" => String::from_utf8_lossy(record.content.as_deref().unwrap_or_default()).trim_start_matches('?').to_owned(),
        _ => record.payload().get("mark").and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

impl<'r> Book<'r> {
    fn note(&mut self, record: &'r Raw, ledger: &Ledger<'_>) -> Result<(), Violation> {
        let at = record.position;
        match record.kind.as_str() {
            "pack.installed" if record.text("name") == "sim" => {
                self.edition = record.text("version").rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            }
            "node.started" => self.sensors.values_mut().for_each(|sensor| sensor.run += 1),
            "sensor.set" => {
                let (name, id) = (record.text("sensor"), record.text("id"));
                let generation = ledger.peers.generation(self.edition).filter(|_| name == TAPE);
                let twice = self.sensors.values().any(|sensor| sensor.name == name);
                demand!(!twice, "I32", "{name} is set at {at} while it is there");
                let sensor = Sensor { name, run: 1, generation, read: 0, events: Vec::new(), letters: Vec::new() };
                self.sensors.insert(id, sensor);
            }
            "sensor.ended" => {
                let ended = self.sensors.remove(record.text("id"));
                if let Some(sensor) = ended.filter(|_| record.text("why") == "removed") {
                    self.disabled.remove(sensor.name);
                }
                let is_changed = record.text("why") == "changed";
                sometimes!(is_changed, "a sensor ended because it reads something else");
            }
            "sensor.mode_set" => {
                let name = record.text("sensor");
                if record.text("mode") == "disabled" {
                    self.disabled.insert(name);
                } else {
                    self.disabled.remove(name);
                    self.sensors.values_mut().filter(|sensor| sensor.name == name).for_each(|sensor| sensor.run += 1);
                }
            }
            "sensor.cursor_set" | "sensor.restarted" => {
                if let Some(sensor) = self.sensors.get_mut(record.text("id")) {
                    sensor.run += 1;
                    if record.kind == "sensor.cursor_set" {
                        sensor.read = record.text("cursor").parse().unwrap_or(0);
                    }
                }
            }
            "sensor.failed" => {
                let (failures, kind) = (record.number("failures"), record.said.pointer("/error/kind").and_then(Value::as_str));
                demand!(failures.is_power_of_two(), "I32", "failure {failures} in a row is recorded at {at}");
                let why = record.said.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
                // An unknown outcome, or a bug of the world that a decision met.
                let is_expected = kind == Some("connect") || kind == Some("bug") || why.contains("internal error");
                demand!(is_expected, "I32", "a sensor fails at {at} although nothing but its peer failed: {}", record.said);
            }
            "event.received" | "delivery.refused" if [TAPE, QUEUE].contains(&record.text("sensor")) => self.take(record)?,
            "sensor.advanced" => self.advance(record, ledger)?,
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, record: &'r Raw) -> Result<(), Violation> {
        let (at, name) = (record.position, record.text("sensor"));
        let sensor = self.sensors.values_mut().find(|sensor| sensor.name == name);
        let is_enabled = !self.disabled.contains(name);
        let Some(sensor) = sensor.filter(|_| is_enabled) else {
            return Err(Violation::new("I32", format!("a message of {name} is taken at {at}, which is disabled or not there")));
        };
        self.made.entry(mark(record)).or_default().push(record);
        if name == TAPE {
            let of = if record.kind == "event.received" { &mut sensor.events } else { &mut sensor.letters };
            of.push(record);
        }
        Ok(())
    }

    /// The cursor moves: the commit has exactly the messages up to it.
    fn advance(&mut self, record: &'r Raw, ledger: &Ledger<'_>) -> Result<(), Violation> {
        let at = record.position;
        let Some(sensor) = self.sensors.get_mut(record.text("id")) else {
            return Err(Violation::new("I32", format!("the cursor of an unknown sensor moves at {at}")));
        };
        let name = sensor.name;
        let run = record.number("run");
        demand!(run == sensor.run, "I32", "run {run} of {name} writes at {at}, and the newest is {}", sensor.run);
        demand!(!self.disabled.contains(name), "I32", "the cursor of {name} moves at {at} while it is disabled");
        let (from, to) = (sensor.read, record.text("cursor").parse::<usize>().unwrap_or(0));
        demand!(to > from, "I32", "the cursor of {name} moves from {from} to {to} at {at}");
        let generation = sensor.generation.unwrap_or(usize::MAX);
        let said: Vec<(MessagePlace, Option<PeerMessage>)> =
            (from..to).map(|number| MessagePlace::Tape(generation, number)).map(|place| (place, ledger.peers.message(place))).collect();
        let of = |is_it: fn(Sort) -> usize| {
            let each = said.iter().flat_map(move |(place, said)| {
                let many = said.as_ref().map_or(0, |said| is_it(said.sort));
                std::iter::repeat_n(place.mark(), many)
            });
            each.collect::<Vec<String>>()
        };
        let is_poison = |sort| usize::from(sort == Sort::Poison);
        for (made, expected) in [(&sensor.events, of(Sort::events)), (&sensor.letters, of(is_poison))] {
            let marks: Vec<String> = made.iter().map(|record| mark(record)).collect();
            demand!(marks == expected, "I32", "the commit at {at} moves {name} from {from} to {to} with {marks:?}, not {expected:?}");
            let batch = made.iter().all(|made| made.batch == record.batch);
            demand!(batch, "I32", "the cursor of {name} moves at {at}, in another commit than its messages");
        }
        let passed = said.iter().filter(|(_, said)| said.as_ref().is_some_and(|said| said.sort == Sort::Passed)).count();
        let counts = ["read", "made", "refused", "passed"].map(|field| record.number(field) as usize);
        let expected = [to - from, sensor.events.len(), sensor.letters.len(), passed];
        demand!(counts == expected, "I32", "the counts of {name} at {at} are {counts:?}, not {expected:?}");
        sometimes!(passed == to - from, "a commit of a sensor had nothing but its cursor");
        sensor.read = to;
        sensor.events.clear();
        sensor.letters.clear();
        Ok(())
    }

    /// Each message of the queue has its events once, as long as its key is known, or a dead letter.
    fn check_queue(&self, records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
        let is_read = self.sensors.values().any(|sensor| sensor.name == QUEUE);
        for place in (0..ledger.peers.queue_length()).map(MessagePlace::Queue) {
            let Some(said) = ledger.peers.message(place) else { continue };
            let made = self.made.get(&place.mark()).map(Vec::as_slice).unwrap_or_default();
            if said.sort == Sort::Poison {
                demand!(!made.is_empty() || !is_read, "I32", "{} has no dead letter", place.mark());
                continue;
            }
            for trigger in ["sim.t2", "sim.t0"].into_iter().take(said.sort.events()) {
                let of: Vec<&&Raw> = made.iter().filter(|record| record.text("trigger") == trigger).collect();
                demand!(!of.is_empty() || !is_read, "I32", "{} has no event of {trigger}", place.mark());
                for pair in of.windows(2) {
                    let [first, second] = pair else { continue };
                    let between = &records[first.position as usize..second.position as usize];
                    let latest = between.iter().map(Raw::micros).max().unwrap_or(0);
                    let (mark, one, other) = (place.mark(), first.position, second.position);
                    demand!(latest - first.micros() >= KEY_MICROS, "I32", "{mark} made an event at {one} and again at {other}");
                }
            }
        }
        Ok(())
    }

    /// What was settled was on the disk.
    fn check_settled(&self, ledger: &Ledger<'_>) -> Result<(), Violation> {
        for (at, place) in ledger.peers.settled_messages() {
            let Some(said) = ledger.peers.message(place) else { continue };
            let made = self.made.get(&place.mark()).map(Vec::as_slice).unwrap_or_default();
            let before = made.iter().filter(|record| ledger.ground.committed_at(record.position).is_some_and(|committed| committed <= at));
            let expected = if said.sort == Sort::Poison { 1 } else { said.sort.events() };
            let count = before.count();
            demand!(count >= expected, "I32", "{} was settled at {at} µs with {count} of {expected} records on the disk", place.mark());
            sometimes!(said.sort == Sort::Poison, "a refused message was settled");
        }
        Ok(())
    }
}
