//! A bit of a file is flipped, or its end is cut off, while no node runs: the next start has the same data,
//! or reports which file is damaged and what to do. It never has other data.
//!
//! Views and snapshots are rebuilt from the log without any intervention.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::ledger::Patience;
use super::trial::{Trial, quiesce, some_are_refused};
use super::view_content::ViewContent;
use super::{Random, rounds, seed};
use crate::support::{Client, CommandOutput, Node, NodeFolder, PATIENCE, files_below};

/// The damage to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// One bit is flipped.
    FlippedBit { byte: u64, bit: u32 },
    /// It ends here.
    CutAt(u64),
}

impl Damage {
    fn befall(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::FlippedBit { byte, bit } => bytes[byte as usize] ^= 1 << bit,
            Self::CutAt(length) => bytes.truncate(length as usize),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// A directory as a node left it, and the data that it showed.
struct StoppedNode {
    place: NodeFolder,
    kept: TempDir,
    records: Vec<Value>,
    shown: ViewContent,
}

/// How a node ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    Stopped,
    Killed,
}

impl StoppedNode {
    async fn by_a_node_that(went: Went) -> Self {
        let trial = Trial::new().await;
        let (mut node, senders) = trial.start(Patience::Ends);
        let enough = |head: &Value| head["position"].as_u64().is_some_and(|position| position > 150);
        node.client().until("/log/head", enough).await;
        senders.stop().await;
        quiesce(&node.client()).await;
        some_are_refused(&node.client()).await;
        if went == Went::Stopped {
            // A start checkpoints the write-ahead logs: their content is then in the database files.
            assert_eq!(node.stop(), Some(0));
            node = trial.place.start();
        }
        let (records, shown) = (node.client().records().await, ViewContent::by(&node.client()).await);
        match went {
            Went::Stopped => assert_eq!(node.stop(), Some(0)),
            Went::Killed => node.kill(),
        }
        Self { kept: keep(&trial.place), place: trial.into_place(), records, shown }
    }

    /// Finds a stored file by the end of its path.
    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let within = |path: &PathBuf| path.strip_prefix(self.kept.path()).unwrap().to_owned();
        let files = files_below(self.kept.path());
        files.iter().map(within).filter(|path| path.to_string_lossy().ends_with(ending)).collect()
    }

    /// Starts a node with a damaged file, and compares its data with the original.
    async fn is_held_against(&self, file: &Path, damage: Damage) -> Verdict {
        put_back(&self.place, &self.kept);
        damage.befall(&self.place.path().join(file));
        let case = format!("{damage:?} of {}", file.display());
        let node = match self.place.try_start() {
            Ok(node) => node,
            Err(said) => {
                // A file, the folder of a pack's copy, a record by its position, or a value of the vault by
                // its key. A write-ahead log is a part of its database, which is the unit that is restored
                // from a backup. A damaged frame ends the write-ahead log of a vault early, so values are missing.
                let parts = [file.file_name(), file.iter().nth(2)].into_iter().flatten().map(|part| part.to_string_lossy().into_owned());
                let named = parts
                    .map(|part| part.trim_end_matches("-wal").to_owned())
                    .chain(["position", "the value of `", "the vault has lost the secret"].map(str::to_owned))
                    .any(|what| said.contains(&what));
                assert!(said.contains("error: ") && named, "{case}: a refusal names what is wrong: {said}");
                let tells_what_to_do = ["hint: ", "restore the data directory's"].iter().any(|what| said.contains(what));
                assert!(tells_what_to_do, "{case}: a refusal says what to do: {said}");
                assert!(!said.contains("panicked"), "{case}: {said}");
                return Verdict::Refused;
            }
        };
        let verdict = self.is_same(&node, &case).await;
        // It may end with an error that it reports.
        node.signal(Signal::TERM);
        let (_, said) = node.end();
        assert!(!said.contains("panicked"), "{case}: {said}");
        let verified = CommandOutput::by(&mut self.place.ensue(&["log", "verify", "--data", "data"]));
        match verdict {
            // The damage may be in an index that was not used: `ensue log verify` finds that too, and names
            // it.
            Verdict::Same if verified.code != Some(0) => {
                assert!(verified.code == Some(1) && verified.stderr.contains("an index of the log is damaged"), "{case}: {verified:?}");
            }
            Verdict::Same => {}
            Verdict::Refused => {
                let is_named = ["position", "an index of the log"].iter().any(|what| verified.stderr.contains(what));
                assert!(verified.code == Some(1) && is_named, "{case}: {verified:?}");
            }
        }
        verdict
    }

    async fn is_same(&self, node: &Node, case: &str) -> Verdict {
        let client = node.client();
        let Some(records) = records(&client, self.records.len(), case).await else { return Verdict::Refused };
        for (now, then) in records.iter().zip(&self.records) {
            assert_eq!(now, then, "{case}");
        }
        assert!(records.len() >= self.records.len(), "{case}: records are gone");
        // Rebuilding the views takes a moment; until then damaged data is refused, and nothing else is
        // returned instead.
        let begin = Instant::now();
        loop {
            let now = ViewContent::by(&client).await;
            let differences = now.differs_from(&self.shown);
            if differences.is_empty() {
                break;
            }
            // Data that is found by a damaged index is refused permanently.
            if now.is_refused_where_it_differs_from(&self.shown, "log_index_damaged") {
                return Verdict::Refused;
            }
            assert!(begin.elapsed() < PATIENCE, "{case}: {differences:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Verdict::Same
    }
}

/// How a start with a damaged file went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Refused,
}

/// Reads the earlier records. Returns `None` if the node reports that it cannot.
async fn records(client: &Client, count: usize, case: &str) -> Option<Vec<Value>> {
    let mut records = Vec::new();
    while records.len() < count {
        let path = format!("/api/v1/log?after={}&limit=200", records.len());
        let answer = client.request(Method::GET, &path).send().await.unwrap();
        let status = answer.status();
        let mut page: Value = answer.json().await.unwrap();
        if status != StatusCode::OK {
            assert!(status.is_server_error() && page["code"].is_string(), "{case}: {status}: {page}");
            return None;
        }
        let items = page["items"].take();
        let items = items.as_array().unwrap();
        assert!(!items.is_empty(), "{case}: records are gone");
        records.extend(items.iter().cloned());
    }
    records.truncate(count);
    Some(records)
}

/// The folders with a node's state.
const FOLDERS: [&str; 2] = ["data", "state"];

/// Copies the folders that a node left.
fn keep(place: &NodeFolder) -> TempDir {
    let kept = TempDir::new().unwrap();
    for folder in FOLDERS {
        copy(&place.path().join(folder), &kept.path().join(folder));
    }
    kept
}

/// Restores a place to the state in which a node had left it.
fn put_back(place: &NodeFolder, kept: &TempDir) {
    for folder in FOLDERS {
        let at = place.path().join(folder);
        fs::remove_dir_all(&at).unwrap();
        copy(&kept.path().join(folder), &at);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(path, to).unwrap();
        }
    }
}

/// Damages each file of a kind in several ways. Returns how often the data was the same and how often it was
/// refused.
async fn damage_files(left: &StoppedNode, ending: &str, random: &mut Random) -> (usize, usize) {
    let files = left.files(ending);
    assert!(!files.is_empty(), "there is no {ending}");
    let (mut same, mut refused) = (0, 0);
    let mut tally = |verdict| match verdict {
        Verdict::Same => same += 1,
        Verdict::Refused => refused += 1,
    };
    let length_of = |file: &Path| fs::metadata(left.kept.path().join(file)).unwrap().len();
    for _ in 0..rounds(1, 60) {
        let file = &files[random.below(files.len() as u64) as usize];
        let damage = Damage::FlippedBit { byte: random.below(length_of(file)), bit: random.below(8) as u32 };
        tally(left.is_held_against(file, damage).await);
    }
    for _ in 0..rounds(1, 10) {
        let file = &files[random.below(files.len() as u64) as usize];
        let damage = Damage::CutAt(if random.below(3) == 0 { 0 } else { random.below(length_of(file)) });
        tally(left.is_held_against(file, damage).await);
    }
    (same, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_log_vault_key_or_head_is_unchanged_or_rejected_by_name() {
    let seed = seed();
    eprintln!("again with ENSUE_FAULTS_SEED={seed}");
    let mut random = Random(seed);
    let stopped = StoppedNode::by_a_node_that(Went::Stopped).await;
    for file in ["log.sqlite", "vault.sqlite", "master.key", "/head", "begun", ".yaml"] {
        let (same, refused) = damage_files(&stopped, file, &mut random).await;
        eprintln!("{file}: {same} times the same, {refused} times refused");
    }
    let killed = StoppedNode::by_a_node_that(Went::Killed).await;
    for file in ["log.sqlite-wal", "vault.sqlite-wal"] {
        let (same, refused) = damage_files(&killed, file, &mut random).await;
        eprintln!("{file}: {same} times the same, {refused} times refused");
    }
}

/// The size of a page of the log. SQLite's file format: <https://www.sqlite.org/fileformat.html>.
const PAGE_BYTES: u64 = 16 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn log_with_a_damaged_page_is_unchanged_or_rejected_by_name() {
    let stopped = StoppedNode::by_a_node_that(Went::Stopped).await;
    for log in stopped.files("log.sqlite") {
        let pages = fs::metadata(stopped.kept.path().join(&log)).unwrap().len() / PAGE_BYTES;
        // Byte 100 of a page is among the pointers to its cells. A start reads some pages, and only writes to others.
        for page in 1..pages {
            stopped.is_held_against(&log, Damage::FlippedBit { byte: page * PAGE_BYTES + 100, bit: 7 }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_views_and_snapshots_are_rebuilt_without_intervention() {
    let seed = seed();
    eprintln!("again with ENSUE_FAULTS_SEED={seed}");
    let mut random = Random(seed);
    let stopped = StoppedNode::by_a_node_that(Went::Stopped).await;
    for file in ["views.sqlite", ".ckpt"] {
        assert_eq!(damage_files(&stopped, file, &mut random).await.1, 0, "{file}");
    }
    let killed = StoppedNode::by_a_node_that(Went::Killed).await;
    assert_eq!(damage_files(&killed, "views.sqlite-wal", &mut random).await.1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_file_of_begun_attempts_causes_no_retry() {
    let seed = seed();
    eprintln!("again with ENSUE_FAULTS_SEED={seed}");
    let mut random = Random(seed);
    // A request without an answer has begun, and is open as long as its node lives.
    let world = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = world.local_addr().unwrap();
    let place = NodeFolder::new().with_variable("ENSUE_EGRESS_ALLOW", &address.to_string());
    place.write_pack_file("open/pack.yaml", "name: open\nversion: 1.0.0\ndescription: What stays open.\n");
    let action = format!("description: Is not to be done twice.\nrun: {{ http: {{ method: POST, url: 'http://{address}/' }} }}\n");
    place.write_pack_file("open/actions/send.yaml", &action);
    let node = place.start();
    let id = node.client().execute("open.send", &json!({})).await;
    let _open = tokio::time::timeout(PATIENCE, world.accept()).await.unwrap().unwrap();
    node.kill();
    let kept = keep(&place);
    let begun = place.data().join("begun");
    let noted = fs::read_to_string(&begun).unwrap();
    let line = noted.find('\n').expect("the file has a head") + 1;
    let digit = line + noted[line..].find(|c: char| c.is_ascii_digit()).expect("an attempt is noted");
    let mut damages = vec![
        Damage::FlippedBit { byte: digit as u64, bit: 0 },
        Damage::CutAt(0),
        Damage::CutAt(line as u64),
        Damage::CutAt(line as u64 + 10),
    ];
    damages.extend((0..rounds(2, 200)).map(|_| Damage::FlippedBit { byte: random.below(noted.len() as u64), bit: random.below(8) as u32 }));
    // A copy of the file proves nothing, so the file itself is damaged.
    let itself = place.path().join("begun");
    fs::hard_link(&begun, &itself).unwrap();
    for damage in damages {
        put_back(&place, &kept);
        fs::remove_file(&begun).unwrap();
        fs::hard_link(&itself, &begun).unwrap();
        fs::write(&begun, &noted).unwrap();
        damage.befall(&begun);
        let node = place.start();
        let client = node.client();
        let path = format!("/executions/{id}");
        tokio::select! {
            _ = client.until(&path, |shown| shown["status"] == "indeterminate") => {}
            _ = world.accept() => panic!("{damage:?}: what had begun was tried again"),
        }
        node.kill();
    }
}

#[tokio::test]
async fn start_without_the_head_note_reports_what_cannot_be_checked() {
    const SAID: &str = "does not have the log's last known head";
    let place = NodeFolder::new();
    let said = place.start().stop_well();
    assert!(!said.contains(SAID), "{said}");
    let notes = files_below(&place.path().join("state")).into_iter().filter(|path| path.file_name() == Some("head".as_ref()));
    let notes: Vec<_> = notes.collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    std::fs::remove_file(&notes[0]).unwrap();
    let said = place.start().stop_well();
    assert_eq!(said.matches(SAID).count(), 1, "{said}");
    // From then on there is one again.
    let said = place.start().stop_well();
    assert!(!said.contains(SAID), "{said}");
}
