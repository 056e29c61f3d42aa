//! I1, I5 and I6 for the lines that programs write while they run: each line is in the log at most once, and
//! exactly once if the program succeeded; an event has the program's attempt as its cause, and an artifact
//! has the content that the program gave away. Lines of a lost attempt are no longer accepted, even if its
//! report comes late and counts. If a panic happens while a line is handled, the log says that the line was
//! not accepted (I22).

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::program_lines::{Line, LineMeaning};
use crate::sometimes;

/// The beginning of the reason for which a line is rejected after a bug.
const A_BUG: &str = "an internal error stopped the command";

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    // The effect of each line, by the attempt and the line's index.
    let mut made: BTreeMap<(&str, u64), &Raw> = BTreeMap::new();
    let mut emitted: BTreeMap<&str, &Raw> = BTreeMap::new();
    let (mut succeeded, mut lost) = (BTreeSet::new(), BTreeSet::new());
    let mut started: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records {
        match record.kind.as_str() {
            "attempt.progressed" | "attempt.emitted" | "artifact.kept" | "message.refused" => {
                let attempt = record.text("attempt");
                demand!(
                    !lost.contains(attempt),
                    "I12",
                    "attempt {attempt} was lost, but {} at {} is accepted from it",
                    record.kind,
                    record.position
                );
                let twice = made.insert((attempt, record.number("index")), record);
                demand!(twice.is_none(), "I1", "line {} of attempt {} is in the log twice", record.number("index"), record.text("attempt"));
            }
            "event.received" => drop(emitted.insert(record.stream.strip_prefix("event/").unwrap_or_default(), record)),
            "attempt.started" => drop(started.insert(&record.id, record.position)),
            "attempt.lost" => drop(lost.insert(record.text("attempt"))),
            "attempt.succeeded" => drop(succeeded.insert(record.text("attempt"))),
            _ => {}
        }
    }
    let said = ledger.machine.printed_lines();
    let mut bugs: BTreeMap<&str, u64> = BTreeMap::new();
    for ((attempt, index), record) in &made {
        let line = said.get(*attempt).and_then(|lines| lines.get(usize::try_from(*index).ok()?));
        let Some(line) = line else {
            return Err(Violation::new("I1", format!("the log has line {index} of attempt {attempt}, which its program never wrote")));
        };
        if record.kind == "message.refused" && record.text("reason").starts_with(A_BUG) {
            let of_attempt = bugs.entry(attempt).or_default();
            *of_attempt += 1;
            let moment = |position: Option<u64>| position.and_then(|position| ledger.ground.committed_at(position)).unwrap_or(0);
            let meanwhile = moment(started.get(*attempt).copied())..=moment(Some(record.position));
            let struck: u64 = ledger.ground.witness().refused.range(meanwhile).map(|(_, times)| times).sum();
            demand!(
                *of_attempt <= struck,
                "I22",
                "line {index} of attempt {attempt} is rejected at {} because of a bug, like {of_attempt} of its lines, and {struck} bugs occurred",
                record.position
            );
            continue;
        }
        fits(line, record, &emitted)?;
    }
    for (attempt, lines) in &said {
        let was_heard_to_its_end = succeeded.contains(attempt.as_str()) && !lost.contains(attempt.as_str());
        for (index, line) in lines.iter().enumerate() {
            let is_made = made.contains_key(&(attempt.as_str(), index as u64));
            // Only the newest progress counts.
            let must_be = was_heard_to_its_end && line.meant != LineMeaning::Progress;
            demand!(is_made || !must_be, "I1", "attempt {attempt} succeeded, but its line {index} is not in the log: {:?}", line.meant);
        }
    }
    Ok(())
}

/// Compares the effect of a line with the program's intention.
fn fits(line: &Line, record: &Raw, emitted: &BTreeMap<&str, &Raw>) -> Result<(), Violation> {
    let (at, kind) = (record.position, record.kind.as_str());
    match (&line.meant, kind) {
        (LineMeaning::Progress, "attempt.progressed") | (LineMeaning::Nonsense, "message.refused") => {
            sometimes!(kind == "message.refused", "a program sent an invalid message");
        }
        (LineMeaning::Event(mark), "attempt.emitted") => {
            let Some(event) = emitted.get(record.text("event")) else {
                return Err(Violation::new("I1", format!("the event that was emitted at {at} is not in the log")));
            };
            let payload = event.payload();
            let is_it = payload.get("mark").and_then(serde_json::Value::as_str) == Some(mark);
            demand!(is_it, "I1", "the event at {}, emitted at {at}, differs from the program's: {payload}", event.position);
            let is_caused = event.cause.parent.as_deref() == Some(record.text("attempt")) && event.text("source") == record.stream;
            demand!(is_caused, "I5", "the cause of the event at {} is not the attempt that emitted it", event.position);
            demand!(event.batch == record.batch, "I2", "the event at {} is in another batch than its emission", event.position);
            sometimes!("a program emitted an event");
        }
        (LineMeaning::Artifact(name, content), "artifact.kept") => {
            let digest = blake3::hash(content).to_hex().to_string();
            let is_it = record.text("name") == name && record.number("bytes") == content.len() as u64 && record.text("blob") == digest;
            demand!(is_it, "I1", "the artifact kept at {at} differs from the file of the program: {}", record.said);
        }
        (meant, kind) => return Err(Violation::new("I1", format!("the log has {kind} at {at} for a line that means {meant:?}"))),
    }
    Ok(())
}
