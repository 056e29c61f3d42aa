//! Tests of what is specific to a folder: its files, their owner, recovery after a restart, and removal.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicI64;

use proptest::prelude::*;

use super::*;
use crate::disk_retention::{RetentionLimits, Round, Step};

use OutputStream::{Stderr, Stdout};

const NOON: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
const HOUR: u64 = 3_600;

/// A folder, and a clock that the test controls.
struct Site {
    folder: tempfile::TempDir,
    seconds: Arc<AtomicI64>,
}

impl Site {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), seconds: Arc::default() }
    }

    fn open(&self) -> FolderOutputs {
        self.open_within(OutputLimits::default())
    }

    fn open_within(&self, limits: OutputLimits) -> FolderOutputs {
        let seconds = self.seconds.clone();
        let now: Now = Arc::new(move || NOON.plus_millis(seconds.load(Ordering::Relaxed) as u64 * 1_000));
        FolderOutputs::open(self.folder.path(), limits, now).unwrap()
    }

    fn later(&self, seconds: u64) {
        self.seconds.fetch_add(seconds as i64, Ordering::Relaxed);
    }

    fn now(&self) -> Timestamp {
        NOON.plus_millis(self.seconds.load(Ordering::Relaxed) as u64 * 1_000)
    }

    /// Runs a whole round of the job.
    fn round(&self, outputs: &FolderOutputs, limits: RetentionLimits) -> u64 {
        let mut round = Round::begin(limits, self.now());
        loop {
            if let Step::Over(thrown) = round.step(outputs).unwrap() {
                return thrown.things;
            }
        }
    }
}

fn attempt(number: u128) -> AttemptId {
    AttemptId(Id::root(NOON, number))
}

fn append_output(outputs: &FolderOutputs, attempt: AttemptId, bytes: &[u8]) {
    outputs.append_at(attempt, Stdout, outputs.accepted_offset(attempt, Stdout).unwrap(), bytes).unwrap();
}

fn all(outputs: &FolderOutputs, attempt: AttemptId) -> (Vec<u8>, OutputState) {
    let mut bytes = Vec::new();
    loop {
        let part = outputs.read(attempt, Stdout, bytes.len() as u64, usize::MAX).unwrap();
        bytes.extend_from_slice(&part.bytes);
        if part.bytes.is_empty() || part.state != OutputState::Open {
            return (bytes, part.state);
        }
    }
}

fn quota(quota_bytes: u64) -> RetentionLimits {
    RetentionLimits { quota_bytes, keep: None }
}

#[test]
fn output_file_is_private_and_in_the_folder_of_its_id() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(0xAB << 40), b"hello");
    let path = site.folder.path().join("ab").join(format!("{}.stdout", attempt(0xAB << 40)));
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn dropped_bytes_are_reported_even_if_the_end_was_not_written_at_first() {
    let site = Site::new();
    let outputs = site.open_within(OutputLimits { attempt_bytes: 3, ..OutputLimits::default() });
    append_output(&outputs, attempt(1), b"12345");
    std::os::unix::fs::symlink("/no/such/folder", outputs.path(attempt(1), END)).unwrap();
    outputs.finish(attempt(1)).unwrap_err();
    assert_eq!(site.round(&outputs, quota(u64::MAX)), 0);
    assert_eq!(all(&outputs, attempt(1)), (b"123".to_vec(), OutputState::Truncated { bytes_dropped: 2 }));
}

#[test]
fn failed_write_keeps_the_earlier_count_of_dropped_bytes() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(1), b"12345");
    outputs.note_printed(attempt(1), Stdout, 9).unwrap();
    // Something else is at the path of its file.
    let in_the_way = outputs.chunk_path(attempt(1), Stderr, 0);
    fs::create_dir(&in_the_way).unwrap();
    outputs.append_at(attempt(1), Stderr, 0, b"lost").unwrap_err();
    fs::remove_dir(&in_the_way).unwrap();
    outputs.finish(attempt(1)).unwrap();
    assert_eq!(all(&outputs, attempt(1)), (b"12345".to_vec(), OutputState::Truncated { bytes_dropped: 4 }));
}

#[test]
fn damaged_output_is_never_served() {
    let site = Site::new();
    let outputs = site.open();
    let bytes: Vec<u8> = (0..CHUNK_BYTES + 5).map(|at| (at % 251) as u8).collect();
    append_output(&outputs, attempt(1), &bytes);
    outputs.finish(attempt(1)).unwrap();
    assert_eq!(all(&outputs, attempt(1)), (bytes.clone(), OutputState::Complete));
    let read = |offset| outputs.read(attempt(1), Stdout, offset, READ_BYTES_MAX);
    let damaged = |offset| matches!(read(offset), Err(OutputError::Damaged { .. }));
    let [first, second] = [0, 1].map(|chunk| outputs.chunk_path(attempt(1), Stdout, chunk));
    let whole = fs::read(&first).unwrap();

    let mut flipped = whole.clone();
    flipped[1_000] ^= 1;
    fs::write(&first, &flipped).unwrap();
    assert!(damaged(0) && damaged(5));
    assert_eq!(read(CHUNK_BYTES).unwrap().bytes[..], bytes[CHUNK_BYTES as usize..], "the other file is as it was");
    fs::write(&first, &whole[..whole.len() - 1]).unwrap();
    assert!(damaged(0), "a byte is missing");
    fs::write(&first, &whole).unwrap();
    assert_eq!(all(&outputs, attempt(1)).0, bytes);
    fs::remove_file(&second).unwrap();
    assert!(damaged(0) && damaged(CHUNK_BYTES));
    fs::remove_file(&first).unwrap();
    assert!(damaged(0));
}

#[test]
fn output_of_an_earlier_release_is_served_without_a_digest() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(1), b"hello");
    let end = r#"{"format":2,"stdout_bytes_dropped":3,"stderr_bytes_dropped":0,"ended_at":"2026-03-28T12:00:00Z"}"#;
    fs::write(outputs.path(attempt(1), END), end).unwrap();
    assert_eq!(all(&site.open(), attempt(1)), (b"hello".to_vec(), OutputState::Truncated { bytes_dropped: 3 }));
}

#[test]
fn output_written_during_a_round_counts() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(1), b"old");
    outputs.finish(attempt(1)).unwrap();
    site.later(HOUR);
    let limits = RetentionLimits { quota_bytes: u64::MAX, keep: Some(std::time::Duration::from_secs(1)) };
    let mut round = Round::begin(limits, site.now());
    assert_eq!(round.step(&outputs).unwrap(), Step::More);
    // In the part that was just looked at.
    append_output(&outputs, attempt(2), b"new");
    while round.step(&outputs).unwrap() == Step::More {}
    assert_eq!(outputs.used_bytes(), BLOCK_BYTES);
}

#[test]
fn more_attempts_than_open_files_are_written_in_turn() {
    let site = Site::new();
    let outputs = site.open();
    let attempts = 2 * OPEN_FILES_MAX.get() as u128;
    for round in [b"a", b"b", b"c"] {
        (0..attempts).for_each(|number| append_output(&outputs, attempt(number), round));
    }
    assert_eq!(outputs.writing().files.len(), OPEN_FILES_MAX.get());
    for number in 0..attempts {
        assert_eq!(all(&outputs, attempt(number)).0, b"abc");
    }
}

#[test]
fn long_stream_is_split_into_bounded_files_and_read_as_one() {
    let site = Site::new();
    let outputs = site.open();
    let bytes: Vec<u8> = (0..2 * CHUNK_BYTES + 5).map(|at| (at % 251) as u8).collect();
    for piece in bytes.chunks(100_003) {
        append_output(&outputs, attempt(1), piece);
    }
    outputs.finish(attempt(1)).unwrap();
    let path = |chunk| site.open().chunk_path(attempt(1), Stdout, chunk);
    assert_eq!([0, 1, 2].map(|chunk| fs::metadata(path(chunk)).unwrap().len()), [CHUNK_BYTES, CHUNK_BYTES, 5]);
    assert_eq!(all(&outputs, attempt(1)), (bytes.clone(), OutputState::Complete));
    let part = outputs.read(attempt(1), Stdout, CHUNK_BYTES - 2, 4).unwrap();
    assert_eq!((part.bytes.as_ref(), part.next), (&bytes[CHUNK_BYTES as usize - 2..CHUNK_BYTES as usize + 2], CHUNK_BYTES + 2));
}

#[test]
fn stream_that_exactly_fills_its_file_is_read_to_its_end() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(1), &vec![7; CHUNK_BYTES as usize]);
    let end = || outputs.read(attempt(1), Stdout, CHUNK_BYTES, 10).unwrap();
    assert_eq!((end().bytes.len(), end().state), (0, OutputState::Open));
    outputs.finish(attempt(1)).unwrap();
    assert_eq!((end().next, end().state), (CHUNK_BYTES, OutputState::Complete));
    assert_eq!(all(&outputs, attempt(1)).1, OutputState::Complete);
}

#[test]
fn reopened_folder_continues_with_the_same_cap() {
    let site = Site::new();
    let limits = OutputLimits { attempt_bytes: 8, ..OutputLimits::default() };
    site.open_within(limits).append_at(attempt(1), Stdout, 0, b"12345").unwrap();
    let outputs = site.open_within(limits);
    assert_eq!(outputs.accepted_offset(attempt(1), Stdout).unwrap(), 5);
    outputs.append_at(attempt(1), Stdout, 3, b"456789").unwrap();
    outputs.finish(attempt(1)).unwrap();
    assert_eq!(all(&site.open(), attempt(1)), (b"12345678".to_vec(), OutputState::Truncated { bytes_dropped: 1 }));
}

#[test]
fn finished_attempt_accepts_nothing_even_after_reopening() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(1), b"in time");
    outputs.finish(attempt(1)).unwrap();
    assert!(site.open().append_at(attempt(1), Stdout, 7, b"late").is_err());
}

#[test]
fn attempt_without_output_leaves_no_file() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(1), b"");
    outputs.finish(attempt(1)).unwrap();
    assert_eq!(fs::read_dir(site.folder.path()).unwrap().count(), 0);
}

#[test]
fn end_of_a_newer_release_is_an_error_and_not_an_open_stream() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(1), b"x");
    outputs.finish(attempt(1)).unwrap();
    fs::write(outputs.path(attempt(1), END), r#"{"format":4,"more":true}"#).unwrap();
    let error = outputs.read(attempt(1), Stdout, 0, 10).unwrap_err();
    assert!(error.to_string().contains("format 4"), "{error}");
}

#[test]
fn output_over_the_quota_is_dropped_and_marked() {
    let site = Site::new();
    let outputs = site.open_within(OutputLimits { quota_bytes: 3 * BLOCK_BYTES, ..OutputLimits::default() });
    for _ in 0..20 {
        append_output(&outputs, attempt(1), &[1; 1_000]);
    }
    outputs.finish(attempt(1)).unwrap();
    let (kept, state) = all(&outputs, attempt(1));
    assert_eq!(state, OutputState::Truncated { bytes_dropped: 20_000 - kept.len() as u64 });
    assert!(kept.len() as u64 <= 4 * BLOCK_BYTES, "{}", kept.len());
}

#[test]
fn output_leaves_disk_space_to_the_log() {
    let site = Site::new();
    let outputs = site.open_within(OutputLimits { free_bytes: u64::MAX, ..OutputLimits::default() });
    append_output(&outputs, attempt(1), b"the disk is full");
    outputs.finish(attempt(1)).unwrap();
    assert_eq!(all(&outputs, attempt(1)), (Vec::new(), OutputState::Truncated { bytes_dropped: 16 }));
}

#[test]
fn oldest_ended_output_is_removed_first_and_open_output_stays() {
    let site = Site::new();
    let outputs = site.open();
    for number in 0..4 {
        site.later(HOUR);
        append_output(&outputs, attempt(number << 40), &[1; 10]);
        if number != 1 {
            outputs.finish(attempt(number << 40)).unwrap();
        }
    }
    // The three ended attempts take two blocks each, and the running one takes one.
    assert_eq!(outputs.used_bytes(), 7 * BLOCK_BYTES);
    assert_eq!(site.round(&outputs, quota(7 * BLOCK_BYTES)), 1);
    assert_eq!(all(&outputs, attempt(0)), (Vec::new(), OutputState::Removed));
    assert_eq!(all(&outputs, attempt(1 << 40)), (vec![1; 10], OutputState::Open));
    assert_eq!(all(&outputs, attempt(2 << 40)), (vec![1; 10], OutputState::Complete));
    assert_eq!(outputs.used_bytes(), 5 * BLOCK_BYTES);
    assert_eq!(all(&site.open(), attempt(0)).1, OutputState::Removed);
    assert_eq!(all(&outputs, attempt(99)).1, OutputState::Open, "what never printed is not taken for removed");
}

#[test]
fn expired_output_is_removed() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(1), b"old");
    outputs.finish(attempt(1)).unwrap();
    site.later(25 * HOUR);
    append_output(&outputs, attempt(2), b"new");
    outputs.finish(attempt(2)).unwrap();
    let day = RetentionLimits { quota_bytes: u64::MAX, keep: Some(std::time::Duration::from_secs(24 * HOUR)) };
    assert_eq!(site.round(&outputs, day), 1);
    assert_eq!((all(&outputs, attempt(1)).1, all(&outputs, attempt(2)).1), (OutputState::Removed, OutputState::Complete));
}

#[test]
fn kill_between_list_and_files_leaves_no_output_that_looks_complete() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(1), b"gone");
    outputs.finish(attempt(1)).unwrap();
    let part = FolderOutputs::part_of(attempt(1));
    outputs.read_removed(part).unwrap().add(&outputs.removed_path(part), &[attempt(1)]).unwrap();
    let outputs = site.open();
    assert_eq!(all(&outputs, attempt(1)), (Vec::new(), OutputState::Removed));
    site.round(&outputs, quota(u64::MAX));
    assert!(!outputs.has_files(attempt(1)).unwrap());
    assert_eq!(outputs.used_bytes(), 0);
}

#[test]
fn output_left_open_by_a_crash_is_finished_unless_its_attempt_runs() {
    let site = Site::new();
    let before = site.open();
    append_output(&before, attempt(1), b"left");
    append_output(&before, attempt(2), b"continues");
    let outputs = site.open();
    assert!(outputs.go_on([attempt(2)]).is_empty());
    site.round(&outputs, quota(u64::MAX));
    assert_eq!(all(&outputs, attempt(1)), (b"left".to_vec(), OutputState::Complete));
    assert_eq!(all(&outputs, attempt(2)), (b"continues".to_vec(), OutputState::Open));
    append_output(&outputs, attempt(2), b" and on");
    assert_eq!(all(&outputs, attempt(2)).0, b"continues and on");
}

#[test]
fn unreadable_end_of_one_attempt_does_not_block_others() {
    let site = Site::new();
    let before = site.open();
    append_output(&before, attempt(1), b"broken");
    append_output(&before, attempt(2), b"whole");
    fs::write(before.path(attempt(1), END), "no end").unwrap();
    let outputs = site.open();
    let unreadable = outputs.go_on([attempt(1), attempt(2)]);
    assert!(matches!(unreadable[..], [OutputError::Store { attempt: of, .. }] if of == attempt(1)), "{unreadable:?}");
    // The round considers output finished that does not continue.
    site.round(&outputs, quota(u64::MAX));
    append_output(&outputs, attempt(2), b" and on");
    assert_eq!(all(&outputs, attempt(2)), (b"whole and on".to_vec(), OutputState::Open));
    assert!(outputs.append_at(attempt(1), Stdout, 6, b"more").is_err());
}

/// The end is a pipe, so that the reader stops between its first look at the list and the files.
#[test]
fn output_removed_while_it_is_read_is_not_taken_as_complete() {
    let site = Site::new();
    let outputs = site.open();
    append_output(&outputs, attempt(1), &vec![7; CHUNK_BYTES as usize + 1]);
    outputs.finish(attempt(1)).unwrap();
    let end_path = outputs.path(attempt(1), END);
    let end = fs::read(&end_path).unwrap();
    fs::remove_file(&end_path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &end_path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| outputs.read(attempt(1), Stdout, 0, usize::MAX).unwrap());
        // This opens once the reader is there.
        let mut pipe = File::options().write(true).open(&end_path).unwrap();
        let part = FolderOutputs::part_of(attempt(1));
        outputs.read_removed(part).unwrap().add(&outputs.removed_path(part), &[attempt(1)]).unwrap();
        fs::remove_file(outputs.chunk_path(attempt(1), Stdout, 1)).unwrap();
        pipe.write_all(&end).unwrap();
        drop(pipe);
        reader.join().unwrap()
    });
    assert_eq!((read.bytes.len(), read.state), (0, OutputState::Removed));
}

proptest! {
    /// A supervisor that does not know what was kept reports again from any earlier offset, over any number
    /// of restarts.
    #[test]
    fn repeated_pieces_of_output_are_stored_once(
        length in 1..200usize,
        tellings in proptest::collection::vec((any::<prop::sample::Index>(), 1..40usize, any::<bool>()), 1..40),
    ) {
        let site = Site::new();
        let whole: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let mut outputs = site.open();
        for (from, bytes, is_restarted) in tellings {
            if is_restarted {
                outputs = site.open();
            }
            let taken = outputs.accepted_offset(attempt(1), Stderr).unwrap() as usize;
            let from = from.index(taken + 1);
            let chunk = &whole[from..length.min(from + bytes)];
            outputs.append_at(attempt(1), Stderr, from as u64, chunk).unwrap();
            prop_assert_eq!(outputs.accepted_offset(attempt(1), Stderr).unwrap() as usize, taken.max(from + chunk.len()));
        }
        let part = outputs.read(attempt(1), Stderr, 0, usize::MAX).unwrap();
        prop_assert_eq!(&part.bytes[..], &whole[..part.bytes.len()]);
        prop_assert_eq!(part.next, outputs.accepted_offset(attempt(1), Stderr).unwrap());
    }
}
