//! Tests of two nodes that share a store: what the first one wrote is read at the second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use ensue_engine::ids::{AttemptId, Id};
use ensue_engine::ports::{
    BlobError, Blobs as _, OutputError, OutputState, OutputStream, Outputs as _, SealedKind, Secret, Vault as _, VaultError,
};
use ensue_engine::record::Digest;
use proptest::prelude::*;

use super::*;
use crate::blobs::{BlobLimits, FolderBlobs};
use crate::disk_retention::{Expiring as _, Round, Step};
use crate::master_key::MasterKey;
use crate::memory::MemoryVault;
use crate::outputs::{FolderOutputs, Now, OutputLimits};

use OutputStream::{Stderr, Stdout};

const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);

const KEY: [u8; 32] = [7; 32];

/// A shared store, and a clock that the test controls.
struct SharedStore {
    objects: Arc<MemoryObjects>,
    seconds: Arc<AtomicU64>,
    sealed_since: Timestamp,
}

impl Default for SharedStore {
    fn default() -> Self {
        Self { objects: Arc::default(), seconds: Arc::default(), sealed_since: NOON }
    }
}

/// The folders of a machine.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn outputs(&self, shared: &SharedStore) -> SharedOutputs {
        self.outputs_within(shared, OutputLimits::default())
    }

    fn outputs_within(&self, shared: &SharedStore, limits: OutputLimits) -> SharedOutputs {
        let local = FolderOutputs::open(&self.0.path().join("outputs"), limits, shared.now()).unwrap();
        SharedOutputs::of(local, (shared.objects.clone(), OutputSeal::new(KEY, shared.sealed_since)), shared.now()).unwrap()
    }

    fn blobs(&self, shared: &SharedStore) -> SharedBlobs {
        let limits = BlobLimits { quota_bytes: 1 << 30, free_bytes: 0 };
        SharedBlobs::of(
            FolderBlobs::open(&self.0.path().join("blobs"), limits, shared.now()).unwrap(),
            shared.objects.clone(),
            shared.now(),
        )
    }
}

impl SharedStore {
    fn now(&self) -> Now {
        let seconds = self.seconds.clone();
        Arc::new(move || NOON.plus_millis(seconds.load(Ordering::Relaxed) * 1_000))
    }
}

fn attempt(number: u128) -> AttemptId {
    AttemptId(Id::root(NOON, number))
}

/// The objects of an attempt's output by the names of their parts.
type Parts = BTreeMap<String, Vec<u8>>;
/// What somebody changes in them.
type Change = Box<dyn FnOnce(&mut Parts)>;

impl SharedStore {
    fn parts_of(&self, number: u128) -> Parts {
        let owner = ObjectOwner { kind: ObjectKind::Output, name: attempt(number).to_string() };
        let names: Vec<String> = self.objects.parts(&owner).unwrap().into_iter().map(|part| part.name).collect();
        self.objects.get(&owner, &names).unwrap().into_iter().map(|object| (object.part, object.content)).collect()
    }

    /// Returns a store that has these objects of an attempt, and nothing else.
    fn with(&self, number: u128, parts: &Parts) -> Self {
        let (other, owner) = (Self::default(), ObjectOwner { kind: ObjectKind::Output, name: attempt(number).to_string() });
        let object = |(part, content): (&String, &Vec<u8>)| Object { owner: owner.clone(), part: part.clone(), content: content.clone() };
        other.objects.put(&parts.iter().map(object).collect::<Vec<_>>(), NOON).unwrap();
        Self { sealed_since: self.sealed_since, ..other }
    }

    /// Prints the same text in two pieces to standard output, and another one to standard error.
    fn with_printed(numbers: impl IntoIterator<Item = u128>) -> Self {
        let (shared, machine) = (Self::default(), Machine::new());
        let outputs = machine.outputs(&shared);
        for number in numbers {
            print(&outputs, number, Stdout, "THE-TRUE-");
            outputs.copy().unwrap();
            print(&outputs, number, Stdout, "OUTPUT");
            print(&outputs, number, Stderr, "an error");
            outputs.finish(attempt(number)).unwrap();
            outputs.copy().unwrap();
        }
        shared
    }
}

/// Reads a whole stream.
fn read(outputs: &SharedOutputs, number: u128, stream: OutputStream) -> (String, OutputState) {
    let part = outputs.read(attempt(number), stream, 0, usize::MAX).unwrap();
    (String::from_utf8(part.bytes.to_vec()).unwrap(), part.state)
}

fn print(outputs: &SharedOutputs, number: u128, stream: OutputStream, text: &str) {
    let taken = outputs.accepted_offset(attempt(number), stream).unwrap();
    outputs.append_at(attempt(number), stream, taken, text.as_bytes()).unwrap();
}

fn keep(blobs: &SharedBlobs, bytes: &[u8]) -> Result<Digest, BlobError> {
    let mut new = blobs.begin()?;
    new.write(bytes)?;
    new.keep().map(|kept| kept.digest)
}

fn bytes_of(blobs: &SharedBlobs, digest: &Digest) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let part = blobs.read(digest, bytes.len() as u64, 1 << 20).unwrap()?;
        if part.bytes.is_empty() {
            return Some(bytes);
        }
        bytes.extend_from_slice(&part.bytes);
    }
}

#[test]
fn output_of_one_node_is_read_at_another() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    print(&first, 1, Stdout, "out\n");
    print(&first, 1, Stderr, "err\n");
    first.finish(attempt(1)).unwrap();
    first.copy().unwrap();
    let second = other.outputs(&shared);
    assert_eq!(read(&second, 1, Stdout), ("out\n".to_owned(), OutputState::Complete));
    assert_eq!(read(&second, 1, Stderr), ("err\n".to_owned(), OutputState::Complete));
    shared.objects.go_away();
    assert_eq!(read(&second, 1, Stdout).0, "out\n", "a copy is kept");
}

#[test]
fn what_is_not_copied_yet_is_copied_when_the_node_stops() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    print(&first, 1, Stdout, "last words\n");
    first.finish(attempt(1)).unwrap();
    drop(first);
    assert_eq!(read(&other.outputs(&shared), 1, Stdout), ("last words\n".to_owned(), OutputState::Complete));
}

#[test]
fn output_is_copied_while_it_is_written() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    for text in ["one ", "two ", "three"] {
        print(&first, 1, Stdout, text);
        first.copy().unwrap();
    }
    let owner = ObjectOwner { kind: ObjectKind::Output, name: attempt(1).to_string() };
    let parts: Vec<String> = shared.objects.parts(&owner).unwrap().into_iter().map(|part| part.name).collect();
    assert_eq!(parts, ["stdout/0", "stdout/4", "stdout/8"], "nothing is copied twice");
    assert_eq!(read(&other.outputs(&shared), 1, Stdout).0, "one two three");
}

#[test]
fn node_that_takes_over_continues_the_output_of_a_running_attempt() {
    let (shared, one, other, third) = (SharedStore::default(), Machine::new(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    print(&first, 1, Stdout, "before ");
    first.copy().unwrap();
    let second = other.outputs(&shared);
    assert!(second.go_on(vec![attempt(1)]).is_empty());
    assert_eq!(second.accepted_offset(attempt(1), Stdout).unwrap(), 7);
    print(&second, 1, Stdout, "after");
    second.finish(attempt(1)).unwrap();
    drop(second);
    assert_eq!(read(&third.outputs(&shared), 1, Stdout), ("before after".to_owned(), OutputState::Complete));
}

#[test]
fn restarted_node_copies_what_it_had_not_copied() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    print(&first, 1, Stdout, "copied ");
    first.copy().unwrap();
    shared.objects.go_away();
    print(&first, 1, Stdout, "not copied ");
    drop(first);
    shared.objects.come_back();
    let restarted = one.outputs(&shared);
    restarted.go_on(vec![attempt(1)]);
    print(&restarted, 1, Stdout, "new");
    restarted.finish(attempt(1)).unwrap();
    drop(restarted);
    assert_eq!(read(&other.outputs(&shared), 1, Stdout), ("copied not copied new".to_owned(), OutputState::Complete));
}

#[test]
fn output_waits_until_the_shared_store_answers() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    shared.objects.go_away();
    for number in 1..4 {
        print(&first, number, Stdout, "kept");
        first.finish(attempt(number)).unwrap();
        assert!(first.copy().is_err());
    }
    shared.objects.come_back();
    first.copy().unwrap();
    let second = other.outputs(&shared);
    assert_eq!((1..4).map(|number| read(&second, number, Stdout).0).collect::<String>(), "keptkeptkept");
}

#[test]
fn copy_of_a_long_output_says_how_much_it_lacks() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let limits = OutputLimits { attempt_bytes: 4_000_000, ..OutputLimits::default() };
    let first = one.outputs_within(&shared, limits);
    let max = shared.objects.bytes_max(ObjectKind::Output);
    print(&first, 1, Stdout, &"x".repeat(5_000_000));
    first.finish(attempt(1)).unwrap();
    first.copy().unwrap();
    assert_eq!(read(&first, 1, Stdout).1, OutputState::Truncated { bytes_dropped: 1_000_000 });
    let (copied, state) = read(&other.outputs_within(&shared, limits), 1, Stdout);
    assert_eq!((copied.len() as u64, state), (max, OutputState::Truncated { bytes_dropped: 5_000_000 - max }));
}

#[test]
fn missing_output_is_looked_for_once_in_a_while() {
    let (shared, one) = (SharedStore::default(), Machine::new());
    let outputs = one.outputs(&shared);
    assert_eq!(read(&outputs, 1, Stdout), (String::new(), OutputState::Open));
    shared.objects.go_away();
    assert_eq!(read(&outputs, 1, Stdout), (String::new(), OutputState::Open));
    assert!(outputs.read(attempt(2), Stdout, 0, 1).unwrap_err().to_string().contains("it does not answer"));
}

#[test]
fn artifact_of_one_node_is_read_at_another() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let digest = keep(&one.blobs(&shared), b"a report").unwrap();
    let second = other.blobs(&shared);
    assert_eq!(bytes_of(&second, &digest), Some(b"a report".to_vec()));
    assert_eq!(bytes_of(&second, &Digest::of(b"other")), None);
    shared.objects.go_away();
    assert_eq!(bytes_of(&second, &digest), Some(b"a report".to_vec()), "a copy is kept");
}

#[test]
fn long_and_empty_artifacts_are_shared_in_parts() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let long: Vec<u8> = (0..9_000_000_u32).map(|at| (at % 251) as u8).collect();
    for (bytes, parts) in [(long, 3), (Vec::new(), 1)] {
        let digest = keep(&one.blobs(&shared), &bytes).unwrap();
        let owner = ObjectOwner { kind: ObjectKind::Artifact, name: digest.to_string() };
        assert_eq!(shared.objects.parts(&owner).unwrap().len(), parts);
        assert!(bytes_of(&other.blobs(&shared), &digest) == Some(bytes));
    }
}

#[test]
fn long_output_is_read_in_several_calls() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    let mut printed = String::new();
    for number in 0..6 {
        let text = number.to_string().repeat(400_000);
        print(&first, 1, Stdout, &text);
        print(&first, 1, Stderr, &text);
        first.copy().unwrap();
        printed += &text;
    }
    first.finish(attempt(1)).unwrap();
    first.copy().unwrap();
    let second = other.outputs(&shared);
    assert_eq!(read(&second, 1, Stdout), (printed.clone(), OutputState::Complete));
    assert_eq!(read(&second, 1, Stderr), (printed, OutputState::Complete));
}

#[test]
fn size_of_an_artifact_is_known_without_a_copy_of_it() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let digest = keep(&one.blobs(&shared), b"a report").unwrap();
    let second = other.blobs(&shared);
    assert_eq!(second.read(&digest, 0, 0).unwrap().map(|part| part.size), Some(8));
    assert!(second.read(&Digest::of(b"other"), 0, 0).unwrap().is_none());
    assert_eq!(second.used_bytes(), 0, "nothing was copied");
}

#[test]
fn artifact_counts_as_stored_only_once_it_is_shared() {
    let (shared, one) = (SharedStore::default(), Machine::new());
    let blobs = one.blobs(&shared);
    shared.objects.go_away();
    assert!(keep(&blobs, b"a report").is_err());
    shared.objects.come_back();
    assert!(keep(&blobs, b"a report").is_ok());
}

#[test]
fn artifact_that_is_too_long_is_on_its_node_only() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let long = vec![7; shared.objects.bytes_max(ObjectKind::Artifact) as usize + 1];
    let first = one.blobs(&shared);
    let digest = keep(&first, &long).unwrap();
    assert_eq!(bytes_of(&first, &digest), Some(long));
    assert_eq!(bytes_of(&other.blobs(&shared), &digest), None);
}

#[test]
fn damaged_artifact_in_the_shared_store_is_refused() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let digest = keep(&one.blobs(&shared), b"whole").unwrap();
    let owner = ObjectOwner { kind: ObjectKind::Artifact, name: digest.to_string() };
    shared.objects.put(&[Object { owner, part: format!("{:020}", 0), content: b"whale".to_vec() }], NOON).unwrap();
    let refused = other.blobs(&shared).read(&digest, 0, 10).unwrap_err();
    assert!(refused.to_string().contains("not those that were written"), "{refused}");
}

#[test]
fn round_also_removes_from_the_shared_store() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let (outputs, blobs) = (one.outputs(&shared), one.blobs(&shared));
    print(&outputs, 1, Stdout, "old");
    outputs.finish(attempt(1)).unwrap();
    outputs.copy().unwrap();
    let digest = keep(&blobs, b"old").unwrap();
    shared.seconds.store(7_200, Ordering::Relaxed);
    let limits = RetentionLimits { quota_bytes: 1 << 30, keep: Some(Duration::from_secs(3_600)) };
    let now = (shared.now())();
    let mut round = Round::begin(limits, now);
    while !matches!(outputs.step(&mut round).unwrap(), Step::Over(_)) {}
    let mut round = Round::begin(limits, now);
    while !matches!(blobs.step(&mut round).unwrap(), Step::Over(_)) {}
    assert_eq!(read(&other.outputs(&shared), 1, Stdout), (String::new(), OutputState::Open));
    assert_eq!(bytes_of(&other.blobs(&shared), &digest), None);
}

#[test]
fn round_ends_also_while_the_shared_store_does_not_answer() {
    let (shared, one) = (SharedStore::default(), Machine::new());
    shared.objects.go_away();
    let limits = RetentionLimits { quota_bytes: 1 << 30, keep: Some(Duration::from_secs(3_600)) };
    let (outputs, blobs) = (one.outputs(&shared), one.blobs(&shared));
    let mut round = Round::begin(limits, NOON);
    while !matches!(outputs.step(&mut round).unwrap(), Step::Over(_)) {}
    let mut round = Round::begin(limits, NOON);
    while !matches!(blobs.step(&mut round).unwrap(), Step::Over(_)) {}
}

fn is_damaged(error: &OutputError) -> bool {
    matches!(error, OutputError::Damaged { .. })
}

#[test]
fn changed_output_in_the_shared_store_is_never_served() {
    let shared = SharedStore::with_printed([1, 2]);
    let (whole, of_another) = (shared.parts_of(1), shared.parts_of(2));
    let names: Vec<&str> = whole.keys().map(String::as_str).collect();
    assert_eq!(names, ["end", "stderr/0", "stdout/0", "stdout/9"]);
    let forged_end = br#"{"stdout_bytes":15,"stderr_bytes":8}"#.to_vec();
    let put = |part: &'static str, content: Vec<u8>| move |parts: &mut Parts| drop(parts.insert(part.to_owned(), content));
    let changes: Vec<(&str, Change)> = vec![
        ("other bytes of the same length", Box::new(|parts| parts.get_mut("stdout/0").unwrap()[..9].copy_from_slice(b"FORGED-X-"))),
        ("bytes without a seal", Box::new(put("stdout/0", b"FORGED-X-".to_vec()))),
        ("an end without a seal", Box::new(put("end", forged_end.clone()))),
        (
            "an output without seals",
            Box::new(|parts| {
                *parts = [("end", forged_end), ("stdout/0", b"FORGED-X-OUTPUT".to_vec()), ("stderr/0", b"an error".to_vec())]
                    .map(|(part, content)| (part.to_owned(), content))
                    .into();
            }),
        ),
        ("the end of another attempt", Box::new(put("end", of_another["end"].clone()))),
        ("bytes of another attempt", Box::new(put("stdout/9", of_another["stdout/9"].clone()))),
        ("bytes of another stream", Box::new(put("stdout/0", whole["stderr/0"].clone()))),
        ("bytes of another offset", Box::new(put("stdout/0", whole["stdout/9"].clone()))),
        ("a shorter stream", Box::new(|parts| drop(parts.get_mut("stdout/9").unwrap().drain(2..4)))),
        ("no last bytes", Box::new(|parts| drop(parts.remove("stdout/9")))),
        ("no first bytes", Box::new(|parts| drop(parts.remove("stdout/0")))),
        ("no stream", Box::new(|parts| drop(parts.remove("stderr/0")))),
        ("an empty object", Box::new(put("stdout/0", Vec::new()))),
        ("more bytes", Box::new(put("stdout/15", b" and more".to_vec()))),
    ];
    for (what, change) in changes {
        let mut parts = whole.clone();
        change(&mut parts);
        let machine = Machine::new();
        {
            let outputs = machine.outputs(&shared.with(1, &parts));
            for stream in [Stdout, Stderr, Stdout] {
                let refused = outputs.read(attempt(1), stream, 0, usize::MAX);
                assert!(refused.as_ref().is_err_and(is_damaged), "{what}: {refused:?}");
            }
        }
        // Nothing of it was kept: once the store is as it was, the same machine reads what was printed.
        let outputs = machine.outputs(&shared.with(1, &whole));
        assert_eq!(read(&outputs, 1, Stdout), ("THE-TRUE-OUTPUT".to_owned(), OutputState::Complete), "{what}");
        assert_eq!(read(&outputs, 1, Stderr), ("an error".to_owned(), OutputState::Complete), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_change_of_an_object_makes_another_output(
        part in 0..4_usize, at in any::<prop::sample::Index>(), by in 1..=255_u8, cut in any::<bool>(),
    ) {
        let shared = SharedStore::with_printed([1]);
        let mut parts = shared.parts_of(1);
        let content = parts.values_mut().nth(part).unwrap();
        let at = at.index(content.len());
        if cut { content.truncate(at) } else { content[at] = content[at].wrapping_add(by) }
        let machine = Machine::new();
        let found = machine.outputs(&shared.with(1, &parts)).read(attempt(1), Stdout, 0, usize::MAX);
        prop_assert!(found.as_ref().is_err_and(is_damaged), "{:?}", found);
    }
}

#[test]
fn output_whose_end_is_gone_is_served_as_a_beginning() {
    let shared = SharedStore::with_printed([1]);
    let mut parts = shared.parts_of(1);
    parts.remove("end");
    let machine = Machine::new();
    let of_unknown_length = OutputState::Truncated { bytes_dropped: 0 };
    for (left_out, text) in [("none", "THE-TRUE-OUTPUT"), ("stdout/9", "THE-TRUE-"), ("stdout/0", "")] {
        let mut parts = parts.clone();
        parts.remove(left_out);
        let (machine, shared) = (Machine::new(), shared.with(1, &parts));
        let outputs = machine.outputs(&shared);
        assert_eq!(read(&outputs, 1, Stdout), (text.to_owned(), of_unknown_length), "{left_out}");
        shared.objects.go_away();
        assert_eq!(read(&outputs, 1, Stdout), (text.to_owned(), of_unknown_length), "{left_out}: the copy says so too");
    }
    parts.insert("stdout/0".to_owned(), b"FORGED-X-OUTPUT".to_vec());
    let refused = machine.outputs(&shared.with(1, &parts)).read(attempt(1), Stdout, 0, 10).unwrap_err();
    assert!(is_damaged(&refused), "{refused}");
}

#[test]
fn output_from_before_there_were_seals_is_served_and_never_counts_as_checked() {
    let shared = SharedStore { sealed_since: NOON.plus_millis(1), ..SharedStore::default() };
    let parts = [("end", r#"{"stdout_bytes":9,"stderr_bytes":0}"#), ("stdout/0", "as it was")];
    let parts = parts.map(|(part, content)| (part.to_owned(), content.as_bytes().to_vec())).into();
    let machine = Machine::new();
    let outputs = machine.outputs(&shared.with(1, &parts));
    assert_eq!(read(&outputs, 1, Stdout), ("as it was".to_owned(), OutputState::Complete));
    let kept = walk(&machine.0.path().join("outputs"));
    let end = kept.iter().find(|path| path.extension().is_some_and(|extension| extension == "end")).unwrap();
    let end = std::fs::read_to_string(end).unwrap();
    assert!(!end.contains("digests"), "no digest vouches for it: {end}");
}

/// Returns the files below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn node_that_takes_over_does_not_continue_a_changed_output() {
    let (shared, one, other, third) = (SharedStore::default(), Machine::new(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    for text in ["true ", "and true "] {
        print(&first, 1, Stdout, text);
        first.copy().unwrap();
    }
    let mut parts = shared.parts_of(1);
    parts.get_mut("stdout/5").unwrap()[0] ^= 1;
    let changed = shared.with(1, &parts);
    let second = other.outputs(&changed);
    assert!(second.go_on(vec![attempt(1)]).is_empty());
    assert_eq!(second.accepted_offset(attempt(1), Stdout).unwrap(), 5, "only what was sealed is taken over");
    second.append_at(attempt(1), Stdout, 5, b"and the rest").unwrap();
    second.finish(attempt(1)).unwrap();
    drop(second);
    assert_eq!(read(&third.outputs(&changed), 1, Stdout), ("true and the rest".to_owned(), OutputState::Complete));
}

#[test]
fn output_of_a_lost_attempt_may_lack_what_it_printed_last() {
    let (shared, one, other, third) = (SharedStore::default(), Machine::new(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    print(&first, 1, Stdout, "copied");
    first.copy().unwrap();
    // The machine prints more, and is lost before that is copied.
    let second = other.outputs(&shared);
    assert!(second.go_on(vec![attempt(1)]).is_empty());
    second.finish(attempt(1)).unwrap();
    let truncated = ("copied".to_owned(), OutputState::Truncated { bytes_dropped: 0 });
    assert_eq!(read(&second, 1, Stdout), truncated);
    drop(second);
    assert_eq!(read(&third.outputs(&shared), 1, Stdout), truncated, "nor does another node take it for the whole");
}

/// What is read where nothing was copied of what may have been printed.
fn perhaps_more() -> (String, OutputState) {
    (String::new(), OutputState::Truncated { bytes_dropped: 0 })
}

#[test]
fn output_of_an_attempt_lost_before_the_first_copy_is_not_read_as_empty() {
    let (shared, other, third) = (SharedStore::default(), Machine::new(), Machine::new());
    // Another machine prints, and is lost before the first copy.
    let second = other.outputs(&shared);
    assert!(second.go_on(vec![attempt(1)]).is_empty());
    second.finish(attempt(1)).unwrap();
    assert_eq!(read(&second, 1, Stdout), perhaps_more());
    drop(second);
    let third = third.outputs(&shared);
    assert_eq!(read(&third, 1, Stdout), perhaps_more(), "nor does another node take it for the whole");
    shared.objects.go_away();
    assert_eq!(read(&third, 1, Stderr), perhaps_more(), "the copy says so too");
}

#[test]
fn part_beyond_a_gap_that_a_lost_machine_left_spoils_nothing() {
    let whole = SharedStore::with_printed([1]);
    let mut parts = whole.parts_of(1);
    parts.remove("end");
    // Objects of one call are stored in any order.
    parts.remove("stdout/0");
    let shared = whole.with(1, &parts);
    let second = Machine::new();
    let outputs = second.outputs(&shared);
    outputs.go_on(vec![attempt(1)]);
    outputs.finish(attempt(1)).unwrap();
    assert_eq!(read(&outputs, 1, Stdout), perhaps_more());
    drop(outputs);
    let third = Machine::new();
    let outputs = third.outputs(&shared);
    assert_eq!(read(&outputs, 1, Stdout), perhaps_more());
    assert_eq!(read(&outputs, 1, Stderr), ("an error".to_owned(), OutputState::Truncated { bytes_dropped: 0 }));
}

#[test]
fn program_that_lives_on_is_heard_from_its_beginning() {
    let (shared, machine, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let outputs = machine.outputs(&shared);
    outputs.go_on(vec![attempt(1), attempt(2)]);
    print(&outputs, 1, Stdout, "everything");
    // The other one prints nothing.
    for stream in [Stdout, Stderr] {
        outputs.note_printed(attempt(2), stream, 0).unwrap();
    }
    for number in [1, 2] {
        outputs.finish(attempt(number)).unwrap();
    }
    drop(outputs);
    assert_eq!(read(&other.outputs(&shared), 1, Stdout), ("everything".to_owned(), OutputState::Complete));
    assert!(shared.parts_of(2).is_empty(), "nothing was printed, and that is known");
}

/// A shared store of which one call that lists parts waits until another thread continues.
struct WaitingObjects {
    objects: Arc<MemoryObjects>,
    wait: Mutex<Option<Arc<Barrier>>>,
}

impl Objects for WaitingObjects {
    fn bytes_max(&self, kind: ObjectKind) -> u64 {
        self.objects.bytes_max(kind)
    }

    fn put(&self, objects: &[Object], now: Timestamp) -> Result<(), ObjectError> {
        self.objects.put(objects, now)
    }

    fn parts(&self, owner: &ObjectOwner) -> Result<Vec<ObjectPart>, ObjectError> {
        let wait = self.wait.lock().unwrap().take();
        if let Some(barrier) = wait {
            barrier.wait();
        }
        self.objects.parts(owner)
    }

    fn get(&self, owner: &ObjectOwner, parts: &[String]) -> Result<Vec<Object>, ObjectError> {
        self.objects.get(owner, parts)
    }

    fn expire(&self, kind: ObjectKind, limits: RetentionLimits, now: Timestamp) -> Result<u64, ObjectError> {
        self.objects.expire(kind, limits, now)
    }
}

#[test]
fn attempt_that_another_thread_takes_over_is_not_finished_as_the_whole() {
    const NUMBERS: std::ops::Range<u128> = 1..21;
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    for number in NUMBERS {
        print(&first, number, Stdout, "copied");
    }
    first.copy().unwrap();
    let objects = Arc::new(WaitingObjects { objects: shared.objects.clone(), wait: Mutex::default() });
    let local = FolderOutputs::open(&other.0.path().join("outputs"), OutputLimits::default(), shared.now()).unwrap();
    let second = SharedOutputs::of(local, (objects.clone(), OutputSeal::new(KEY, NOON)), shared.now()).unwrap();
    assert!(second.go_on(NUMBERS.map(attempt).collect()).is_empty());
    for number in NUMBERS {
        let asked = Arc::new(Barrier::new(2));
        *objects.wait.lock().unwrap() = Some(asked.clone());
        std::thread::scope(|scope| {
            scope.spawn(|| second.accepted_offset(attempt(number), Stdout).unwrap());
            // The other thread has asked the shared store, which has not answered.
            asked.wait();
            second.finish(attempt(number)).unwrap();
        });
        assert_eq!(read(&second, number, Stdout), ("copied".to_owned(), OutputState::Truncated { bytes_dropped: 0 }));
    }
}

#[test]
fn output_that_is_taken_over_after_its_end_is_copied_with_its_end() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    print(&first, 1, Stdout, "everything");
    first.finish(attempt(1)).unwrap();
    assert!(first.go_on(vec![attempt(1)]).is_empty());
    assert_eq!(first.accepted_offset(attempt(1), Stdout).unwrap(), 10);
    drop(first);
    assert_eq!(read(&other.outputs(&shared), 1, Stdout), ("everything".to_owned(), OutputState::Complete));
}

#[test]
fn output_that_was_not_copied_is_copied_even_if_its_program_is_lost() {
    let (shared, machine, other) = (SharedStore::default(), Machine::new(), Machine::new());
    shared.objects.go_away();
    let killed = machine.outputs(&shared);
    print(&killed, 1, Stdout, "not copied");
    drop(killed);
    shared.objects.come_back();
    let restarted = machine.outputs(&shared);
    restarted.go_on(vec![attempt(1)]);
    restarted.finish(attempt(1)).unwrap();
    drop(restarted);
    assert_eq!(read(&other.outputs(&shared), 1, Stdout), ("not copied".to_owned(), OutputState::Complete));
}

#[test]
fn output_that_cannot_be_taken_over_is_looked_for_again() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    print(&first, 1, Stdout, "copied");
    drop(first);
    let second = other.outputs(&shared);
    second.go_on(vec![attempt(1)]);
    shared.objects.go_away();
    second.finish(attempt(1)).unwrap();
    shared.objects.come_back();
    assert_eq!(read(&second, 1, Stdout), ("copied".to_owned(), OutputState::Truncated { bytes_dropped: 0 }));
}

#[test]
fn beginning_that_cannot_be_finished_at_once_is_never_finished_as_the_whole() {
    let (shared, one, other) = (SharedStore::default(), Machine::new(), Machine::new());
    let first = one.outputs(&shared);
    for number in [1, 2] {
        print(&first, number, Stdout, "copied");
    }
    first.copy().unwrap();
    let second = other.outputs(&shared);
    assert!(second.go_on(vec![attempt(1), attempt(2)]).is_empty());
    let truncated = ("copied".to_owned(), OutputState::Truncated { bytes_dropped: 0 });
    for number in [1, 2] {
        assert_eq!(second.accepted_offset(attempt(number), Stdout).unwrap(), 6);
        // Something else is at the path of its end.
        let end = walk(&other.0.path().join("outputs"))
            .into_iter()
            .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&attempt(number).to_string()))
            .unwrap()
            .with_extension("end");
        std::os::unix::fs::symlink("/no/such/folder", &end).unwrap();
        second.finish(attempt(number)).unwrap_err();
    }
    for _ in 0..2 {
        second.finish(attempt(1)).unwrap();
    }
    assert_eq!(read(&second, 1, Stdout), truncated, "it is finished again");
    let mut round = Round::begin(RetentionLimits { quota_bytes: 1 << 30, keep: None }, NOON);
    while !matches!(second.step(&mut round).unwrap(), Step::Over(_)) {}
    assert_eq!(read(&second, 2, Stdout), truncated, "a round finishes it");
    drop(second);
    for number in [1, 2] {
        assert_eq!(read(&Machine::new().outputs(&shared), number, Stdout), truncated);
    }
}

#[test]
fn copy_that_a_kill_interrupted_is_made_again() {
    let shared = SharedStore::with_printed([1]);
    let machine = Machine::new();
    let folder = FolderOutputs::open(&machine.0.path().join("outputs"), OutputLimits::default(), shared.now()).unwrap();
    folder.begin_copy(attempt(1)).unwrap();
    folder.append_at(attempt(1), Stdout, 0, b"THE-").unwrap();
    drop(folder);
    let outputs = machine.outputs(&shared);
    assert_eq!(read(&outputs, 1, Stdout), ("THE-TRUE-OUTPUT".to_owned(), OutputState::Complete));
}

#[test]
fn round_removes_a_copy_that_a_kill_interrupted() {
    let (shared, machine) = (SharedStore::default(), Machine::new());
    let open = || FolderOutputs::open(&machine.0.path().join("outputs"), OutputLimits::default(), shared.now()).unwrap();
    let killed = open();
    killed.begin_copy(attempt(1)).unwrap();
    killed.append_at(attempt(1), Stdout, 0, b"THE-").unwrap();
    drop(killed);
    let folder = open();
    let mut round = Round::begin(RetentionLimits { quota_bytes: 1 << 30, keep: None }, NOON);
    while !matches!(round.step(&folder).unwrap(), Step::Over(_)) {}
    assert!(!folder.has(attempt(1)).unwrap(), "a part is never finished as if it were the whole");
}

#[test]
fn seal_is_the_same_at_each_start() {
    let vault = MemoryVault::new(ensue_test_support::records::LOG, MasterKey::from_bytes([1; 32]));
    let part = (attempt(1), "stdout/0");
    let sealed = OutputSeal::open_vault(&vault, NOON).unwrap().append_seal(part, b"text");
    let later = OutputSeal::open_vault(&vault, NOON.plus_millis(3_600_000)).unwrap();
    assert_eq!(later.strip_seal(part, sealed), Ok(b"text".to_vec()));
    assert!(!later.is_older(attempt(1)), "outputs are sealed since the first start");
    vault.put_all(SealedKind::Output, &[("outputs".to_owned(), Secret::new(b"short".to_vec()))]).unwrap();
    assert!(matches!(OutputSeal::open_vault(&vault, NOON), Err(VaultError::Integrity(_))), "a key that is damaged is not replaced");
}
