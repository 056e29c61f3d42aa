//! I2 and I7: positions and revisions without a gap, a hash chain that follows the documentation, complete
//! batches, epochs that only grow, and time that goes back only by a recorded clock step.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::records::Raw;
use crate::oracle::{Violation, demand};

pub(super) fn check(records: &[Raw]) -> Result<(), Violation> {
    let mut chain = [0_u8; 32];
    let mut revisions: BTreeMap<&str, u64> = BTreeMap::new();
    let mut ids: BTreeSet<&str> = BTreeSet::new();
    let mut batches: BTreeSet<&str> = BTreeSet::new();
    let mut epoch = 0;
    let mut batch = "";
    let (mut passed, mut stepped) = (i64::MIN, 0);
    for (place, record) in records.iter().enumerate() {
        let at = record.position;
        demand!(at == place as u64 + 1, "I2", "there is position {} in place of {}", at, place + 1);
        let revision = revisions.entry(&record.stream).or_default();
        *revision += 1;
        demand!(record.revision == *revision, "I2", "{} at {at} has revision {}, {revision} should follow", record.stream, record.revision);
        demand!(ids.insert(&record.id), "I2", "the id {} at {at} is in the log twice", record.id);
        demand!(record.epoch >= epoch, "I7", "the record at {at} was written under epoch {}, after one of {epoch}", record.epoch);
        epoch = record.epoch;
        stepped += record.clock_step_micros();
        let now = record.micros() - stepped;
        demand!(now >= passed, "I2", "the record at {at} was written {} µs before the one before it, and no clock stepped", passed - now);
        passed = now;
        if record.batch != batch {
            demand!(batches.insert(&record.batch), "I2", "batch {} at {at} continues after another one", record.batch);
            batch = &record.batch;
        }
        if let (Some(body), Some(content)) = (&record.body, &record.content) {
            let digest = blake3::hash(content).to_hex();
            demand!(body.digest.ends_with(digest.as_str()), "I2", "the body at {at} is not the one that was written");
        }
        chain = next(&chain, record)?;
        let hash: String = chain.iter().map(|byte| format!("{byte:02x}")).collect();
        demand!(record.chain.ends_with(&hash), "I2", "the chain breaks at {at}: {} should be {hash}", record.chain);
    }
    Ok(())
}

fn next(before: &[u8; 32], record: &Raw) -> Result<[u8; 32], Violation> {
    let mut bytes = before.to_vec();
    let number = |bytes: &mut Vec<u8>, value: u64| field(bytes, Some(&value.to_le_bytes()));
    number(&mut bytes, record.position);
    field(&mut bytes, Some(record.log.as_bytes()));
    number(&mut bytes, record.epoch);
    field(&mut bytes, Some(record.batch.as_bytes()));
    field(&mut bytes, Some(record.stream.as_bytes()));
    number(&mut bytes, record.revision);
    field(&mut bytes, Some(record.kind.as_bytes()));
    number(&mut bytes, record.schema);
    field(&mut bytes, Some(record.id.as_bytes()));
    number(&mut bytes, record.micros().cast_unsigned());
    field(&mut bytes, Some(record.actor.as_bytes()));
    field(&mut bytes, record.cause.parent.as_ref().map(String::as_bytes));
    field(&mut bytes, Some(record.cause.root.as_bytes()));
    number(&mut bytes, record.cause.depth);
    field(&mut bytes, record.cause.trace.as_ref().map(String::as_bytes));
    field(&mut bytes, Some(record.fact.get().as_bytes()));
    let digest = match &record.body {
        Some(body) => Some(digest_bytes(&body.digest).ok_or_else(|| Violation::new("I2", format!("`{}` is not a digest", body.digest)))?),
        None => None,
    };
    field(&mut bytes, digest.as_ref().map(<[u8; 32]>::as_slice));
    Ok(*blake3::hash(&bytes).as_bytes())
}

fn field(bytes: &mut Vec<u8>, content: Option<&[u8]>) {
    match content {
        Some(content) => {
            bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(content);
        }
        None => bytes.extend_from_slice(&u32::MAX.to_le_bytes()),
    }
}

fn digest_bytes(text: &str) -> Option<[u8; 32]> {
    let hex = text.get(text.len().checked_sub(64)?..)?;
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}
