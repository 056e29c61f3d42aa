//! Golden vectors of ids and of the hash chain, for people who check a log with their own tools.
//!
//! `golden/ids.json` and `golden/chain.json` hold inputs and outputs. The computation is written out here
//! again, without the crate's code, from the documentation of [`Id::derive`] and
//! [`Chain::over`](ensue_engine::record::Chain::over).

use ensue_engine::catalog::Mode;
use ensue_engine::command::{Ask, Command};
use ensue_engine::ids::{Id, LogId, Role, RuleId};
use ensue_engine::record::{Actor, Head, Record, StreamId, verify_link};
use ensue_engine::time::Timestamp;
use ensue_test_support::NOON;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::support::{Pieces, Site, note_start, rule_id, workers};

const IDS: &str = include_str!("golden/ids.json");
const CHAIN: &str = include_str!("golden/chain.json");

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ids {
    about: Vec<String>,
    roots: Vec<RootId>,
    derived: Vec<DerivedId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootId {
    unix_millis: u64,
    entropy: String,
    id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DerivedId {
    log: String,
    cause: String,
    role: String,
    id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChainOfRecords {
    about: Vec<String>,
    records: Vec<ChainedRecord>,
}

/// The parts of a record that its hash covers, in order, and the hash.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChainedRecord {
    position: u64,
    log: String,
    epoch: u64,
    batch: String,
    stream: String,
    revision: u64,
    kind: String,
    schema: u64,
    id: String,
    time_micros: i64,
    actor: String,
    parent: Option<String>,
    root: String,
    depth: u64,
    trace: Option<String>,
    fact: String,
    body_digest: Option<String>,
    chain: String,
}

fn lines(text: &[&str]) -> Vec<String> {
    text.iter().map(|line| (*line).to_owned()).collect()
}

fn ids() -> Ids {
    let log = LogId(Id::root(NOON, 1));
    let cause = Id::root(Timestamp::from_micros(NOON.micros() + 1_234_567), 0x0123_4567_89AB_CDEF_0123);
    let stream = StreamId::Rule("release.ship_on_tag".parse().unwrap());
    let roles = [
        Role::Enforcement(RuleId(Id::root(NOON, 7))),
        Role::Execution,
        Role::Attempt(1),
        Role::Attempt(2),
        Role::Emit(0),
        Role::Stream(&stream),
        Role::Revision(2),
    ];
    let roots = [(NOON, 0), (NOON, 1), (NOON, u128::MAX), (Timestamp::from_micros(0), 0x3FF << 64)];
    let root = |(time, entropy): (Timestamp, u128)| RootId {
        unix_millis: time.unix_millis(),
        entropy: format!("{entropy:032x}"),
        id: Id::root(time, entropy).to_string(),
    };
    let derived = |role: Role<'_>| DerivedId {
        log: log.to_string(),
        cause: cause.to_string(),
        role: role.to_string(),
        id: Id::derive(log, cause, role).to_string(),
    };
    Ids {
        about: lines(&[
            "roots: a UUID of version 7 (RFC 9562) with the time in milliseconds and the lowest 74 bits of the entropy, which is in hex",
            "derived: a UUID of version 8 with the 48 time bits of the cause and the first 74 bits of",
            "BLAKE3(log || 0x00 || cause || 0x00 || role): the ids as their 16 bytes, the role as its text",
            "of 74 bits, the first 12 are before the variant and the other 62 after it",
        ]),
        roots: roots.into_iter().map(root).collect(),
        derived: roles.into_iter().map(derived).collect(),
    }
}

/// A short log: roots and their effects, with and without bodies and parents.
fn short_log() -> Site {
    let mut site = Site::with(&Pieces::default().trigger("demo.ping").action("demo.say").rule("demo.one", "demo.ping", "", "demo.say"));
    site.set(workers(1));
    site.when(note_start());
    site.later(1_500);
    site.receive("demo.ping", &json!({ "text": "Grüße \"aus\" Köln" }));
    let ask = Ask::SetRuleMode { rule: "demo.one".parse().unwrap(), rule_id: rule_id("demo.one"), mode: Mode::Shadow };
    site.when(Command { actor: Actor::Operator, trace: None, ask });
    let execution = site.engine().executions().iter().next().map(|(id, _)| *id).unwrap();
    site.succeed(execution);
    site
}

fn to_chained(record: &Record) -> ChainedRecord {
    ChainedRecord {
        position: record.position.0,
        log: record.log.to_string(),
        epoch: record.epoch.0,
        batch: record.batch.to_string(),
        stream: record.stream.to_string(),
        revision: record.revision.0,
        kind: record.kind().to_owned(),
        schema: record.schema.into(),
        id: record.id.to_string(),
        time_micros: record.time.micros(),
        actor: record.actor.to_string(),
        parent: record.cause.parent.map(|parent| parent.to_string()),
        root: record.cause.root.to_string(),
        depth: record.cause.depth.into(),
        trace: record.cause.trace.clone(),
        fact: String::from_utf8(record.fact_json.to_vec()).unwrap(),
        body_digest: record.body.as_ref().map(|body| body.digest.to_string()),
        chain: record.chain.to_string(),
    }
}

fn chain() -> ChainOfRecords {
    ChainOfRecords {
        about: lines(&[
            "a record's chain hash is BLAKE3(previous || fields), in hex; before the first record there are 32 zero bytes",
            "the fields are in this order, each as its length (4 bytes, little-endian) and its bytes",
            "an integer is 8 bytes, little-endian; a text is its UTF-8; the digest of the body is its 32 bytes",
            "what is null has the length 0xFFFFFFFF and no bytes",
        ]),
        records: short_log().records().iter().map(to_chained).collect(),
    }
}

/// Writes the fields of a record as they are hashed.
fn hashed_fields(record: &ChainedRecord) -> Vec<u8> {
    let integer = |value: u64| Some(value.to_le_bytes().to_vec());
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let fields = [
        integer(record.position),
        text(&record.log),
        integer(record.epoch),
        text(&record.batch),
        text(&record.stream),
        integer(record.revision),
        text(&record.kind),
        integer(record.schema),
        text(&record.id),
        integer(record.time_micros.cast_unsigned()),
        text(&record.actor),
        record.parent.as_deref().and_then(text),
        text(&record.root),
        integer(record.depth),
        record.trace.as_deref().and_then(text),
        text(&record.fact),
        record.body_digest.as_deref().map(bytes_of_hex),
    ];
    let mut hashed = Vec::new();
    for field in fields {
        match field {
            Some(bytes) => {
                hashed.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
                hashed.extend(bytes);
            }
            None => hashed.extend([0xFF; 4]),
        }
    }
    hashed
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn uuid(millis: u128, bits: u128, version: u128) -> String {
    let number = millis << 80 | version << 76 | (bits >> 62) << 64 | 0b10 << 62 | (bits & ((1 << 62) - 1));
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn pretty(vectors: &impl Serialize) -> String {
    format!("{}\n", serde_json::to_string_pretty(vectors).unwrap())
}

#[test]
fn ids_match_the_golden_vectors() {
    assert_eq!(pretty(&ids()), IDS);
}

#[test]
fn ids_follow_from_the_documentation_alone() {
    let vectors: Ids = serde_json::from_str(IDS).unwrap();
    for root in vectors.roots {
        let entropy = u128::from_str_radix(&root.entropy, 16).unwrap();
        assert_eq!(uuid(root.unix_millis.into(), entropy & ((1 << 74) - 1), 7), root.id);
    }
    for derived in vectors.derived {
        let [log, cause] = [&derived.log, &derived.cause].map(|id| bytes_of_hex(&id.replace('-', "")));
        let hash = blake3::hash(&[&log[..], &[0], &cause, &[0], derived.role.as_bytes()].concat());
        let first: u128 = hash.as_bytes()[..10].iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
        let millis = cause[..6].iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
        assert_eq!(uuid(millis, first >> 6, 8), derived.id, "{}", derived.role);
    }
}

#[test]
fn record_chain_matches_the_golden_vectors() {
    assert_eq!(pretty(&chain()), CHAIN);
}

#[test]
fn record_chain_follows_from_the_documentation_alone() {
    let vectors: ChainOfRecords = serde_json::from_str(CHAIN).unwrap();
    let mut previous = vec![0; 32];
    for record in vectors.records {
        let hash = blake3::hash(&[previous, hashed_fields(&record)].concat());
        assert_eq!(hash.to_hex().to_string(), record.chain, "position {}", record.position);
        previous = hash.as_bytes().to_vec();
    }
}

#[test]
fn edited_removed_or_moved_record_is_found_at_its_position() {
    let log = short_log();
    let verify = |records: &[Record]| {
        let mut head = Head::default();
        records.iter().find_map(|record| match verify_link(head, record) {
            Ok(next) => {
                head = next;
                None
            }
            Err(error) => Some((record.position.0, error)),
        })
    };
    let records = log.records();
    assert_eq!(verify(records), None);
    for at in 0..records.len() - 1 {
        let mut edited = records.to_vec();
        edited[at].time = edited[at].time.plus_millis(1);
        assert_eq!(verify(&edited).map(|(position, _)| position), Some(at as u64 + 1));
        let mut removed = records.to_vec();
        removed.remove(at);
        assert_eq!(verify(&removed).map(|(position, _)| position), Some(at as u64 + 2));
        let mut moved = records.to_vec();
        moved.swap(at, at + 1);
        assert_eq!(verify(&moved).map(|(position, _)| position), Some(at as u64 + 2));
    }
}

#[test]
#[ignore = "writes vectors that are missing; it never changes one"]
fn write_missing_vectors() {
    for (name, now, text) in [("ids", IDS, pretty(&ids())), ("chain", CHAIN, pretty(&chain()))] {
        if now.trim().is_empty() {
            std::fs::write(format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR")), text).unwrap();
        }
    }
}
