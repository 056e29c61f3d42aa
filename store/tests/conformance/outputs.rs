//! The behavior that every output store must have.

use std::sync::Arc;

use ensue_engine::ids::{AttemptId, Id};
use ensue_engine::ports::{OutputError, OutputPart, OutputState, OutputStream, Outputs};

use ensue_store::disk_retention::{Disposable, RetainedThing};
use ensue_store::objects::{MemoryObjects, OutputSeal, SharedOutputs};
use ensue_store::outputs::{FolderOutputs, MemoryOutputs, OutputLimits};
use ensue_test_support::NOON;

use OutputStream::{Stderr, Stdout};

/// The cap of these tests.
const BYTES_MAX: u64 = 1_000;

/// An output store, with a function that removes the output of ended attempts.
struct Subject<'a> {
    outputs: &'a dyn Outputs,
    throw_away: &'a dyn Fn(AttemptId),
}

impl Subject<'_> {
    /// Appends the next output.
    fn print(&self, attempt: AttemptId, stream: OutputStream, bytes: &[u8]) -> Result<(), OutputError> {
        let taken = self.outputs.accepted_offset(attempt, stream)?;
        self.outputs.append_at(attempt, stream, taken, bytes)
    }
}

impl<'a> std::ops::Deref for Subject<'a> {
    type Target = dyn Outputs + 'a;

    fn deref(&self) -> &Self::Target {
        self.outputs
    }
}

macro_rules! on_every_output_store {
    ($($case:ident)*) => {
        mod in_memory {
            $(#[test] fn $case() {
                let outputs = super::MemoryOutputs::new(super::BYTES_MAX);
                super::$case(&super::Subject { outputs: &outputs, throw_away: &|attempt| outputs.throw_away(attempt) });
            })*
        }
        mod in_a_folder {
            $(#[test] fn $case() {
                let folder = tempfile::tempdir().unwrap();
                let outputs = super::in_a_folder_at(&folder.path().join("outputs"));
                let throw_away = |attempt| super::throw_away(&outputs, attempt);
                super::$case(&super::Subject { outputs: &outputs, throw_away: &throw_away });
            })*
        }
        mod in_a_shared_store {
            $(#[test] fn $case() {
                let folder = tempfile::tempdir().unwrap();
                let outputs = super::share_outputs(super::in_a_folder_at(&folder.path().join("outputs")));
                let throw_away = |attempt| super::throw_away(outputs.folder(), attempt);
                super::$case(&super::Subject { outputs: &outputs, throw_away: &throw_away });
            })*
        }
    };
}

fn in_a_folder_at(path: &std::path::Path) -> FolderOutputs {
    let limits = OutputLimits { attempt_bytes: BYTES_MAX, ..OutputLimits::default() };
    FolderOutputs::open(path, limits, Arc::new(|| NOON)).unwrap()
}

fn share_outputs(folder: FolderOutputs) -> SharedOutputs {
    SharedOutputs::of(folder, (Arc::new(MemoryObjects::default()), OutputSeal::new([7; 32], NOON)), Arc::new(|| NOON)).unwrap()
}

fn throw_away(outputs: &FolderOutputs, attempt: AttemptId) {
    for part in 0..=u8::MAX {
        let kept: Vec<RetainedThing<AttemptId>> = outputs.look_at(part).unwrap();
        let due: Vec<_> = kept.into_iter().filter(|thing| thing.name == attempt && thing.since.is_some()).collect();
        if !due.is_empty() {
            outputs.throw_away(part, &due).unwrap();
        }
    }
}

on_every_output_store! {
    output_without_any_bytes_is_open_and_empty
    output_is_readable_while_it_is_written
    streams_are_independent
    attempts_are_independent
    arbitrary_bytes_round_trip
    finished_stream_is_complete
    finish_completes_both_streams
    attempt_without_output_stores_nothing
    part_before_the_end_is_not_the_end
    read_continues_at_an_offset
    reading_in_small_parts_returns_everything_once
    offset_beyond_the_end_returns_nothing
    maximum_offset_does_not_overflow
    read_of_zero_bytes_returns_none
    output_over_the_cap_is_counted_and_not_stored
    cap_applies_to_both_streams_together
    stream_has_no_gap_before_its_truncation
    stream_within_the_cap_is_complete_next_to_a_truncated_one
    truncated_stream_is_open_until_it_is_finished
    output_of_exactly_the_cap_is_complete
    finished_attempt_accepts_no_output
    finished_attempt_accepts_repeated_output
    finishing_twice_changes_nothing
    repeated_output_is_stored_once
    repeated_output_with_more_bytes_adds_the_new_ones
    gap_is_rejected_with_the_expected_offset
    missing_output_beyond_the_cap_is_counted
    printed_but_unreported_output_counts_as_dropped
    stream_reports_its_accepted_offset
    removed_output_is_reported_as_removed
    removed_output_accepts_nothing
    attempt_without_output_is_not_reported_as_removed
}

fn attempt(number: u128) -> AttemptId {
    AttemptId(Id::root(NOON, number))
}

fn ada() -> AttemptId {
    attempt(1)
}

fn all(outputs: &Subject<'_>, attempt: AttemptId, stream: OutputStream) -> (Vec<u8>, OutputState) {
    let OutputPart { bytes, next, state } = outputs.read(attempt, stream, 0, usize::MAX).unwrap();
    assert_eq!(next, bytes.len() as u64);
    (bytes.to_vec(), state)
}

fn output_without_any_bytes_is_open_and_empty(outputs: &Subject<'_>) {
    assert_eq!(all(outputs, ada(), Stdout), (Vec::new(), OutputState::Open));
}

fn output_is_readable_while_it_is_written(outputs: &Subject<'_>) {
    for (printed, whole) in [("one ", "one "), ("two ", "one two "), ("three", "one two three")] {
        outputs.print(ada(), Stdout, printed.as_bytes()).unwrap();
        assert_eq!(all(outputs, ada(), Stdout), (whole.as_bytes().to_vec(), OutputState::Open));
    }
}

fn streams_are_independent(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"out").unwrap();
    outputs.print(ada(), Stderr, b"err").unwrap();
    assert_eq!((all(outputs, ada(), Stdout).0, all(outputs, ada(), Stderr).0), (b"out".to_vec(), b"err".to_vec()));
}

fn attempts_are_independent(outputs: &Subject<'_>) {
    outputs.print(attempt(1), Stdout, b"one").unwrap();
    outputs.print(attempt(2), Stdout, b"two").unwrap();
    outputs.finish(attempt(1)).unwrap();
    assert_eq!(all(outputs, attempt(1), Stdout), (b"one".to_vec(), OutputState::Complete));
    assert_eq!(all(outputs, attempt(2), Stdout), (b"two".to_vec(), OutputState::Open));
}

fn arbitrary_bytes_round_trip(outputs: &Subject<'_>) {
    let bytes: Vec<u8> = (0..=255).chain([0, 255, 0xC3, 0x28]).collect();
    outputs.print(ada(), Stdout, &bytes).unwrap();
    assert_eq!(all(outputs, ada(), Stdout).0, bytes);
}

fn finished_stream_is_complete(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"done").unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout), (b"done".to_vec(), OutputState::Complete));
}

fn finish_completes_both_streams(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"done").unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stderr), (Vec::new(), OutputState::Complete));
}

fn attempt_without_output_stores_nothing(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"").unwrap();
    outputs.finish(ada()).unwrap();
    outputs.finish(attempt(2)).unwrap();
    for attempt in [ada(), attempt(2)] {
        assert_eq!(all(outputs, attempt, Stdout), (Vec::new(), OutputState::Open));
    }
}

fn part_before_the_end_is_not_the_end(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"123456").unwrap();
    outputs.finish(ada()).unwrap();
    let part = outputs.read(ada(), Stdout, 0, 4).unwrap();
    assert_eq!((part.bytes.as_ref(), part.next, part.state), (b"1234".as_slice(), 4, OutputState::Open));
    let part = outputs.read(ada(), Stdout, 4, 4).unwrap();
    assert_eq!((part.bytes.as_ref(), part.next, part.state), (b"56".as_slice(), 6, OutputState::Complete));
}

fn read_continues_at_an_offset(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"123456").unwrap();
    let part = outputs.read(ada(), Stdout, 2, 3).unwrap();
    assert_eq!((part.bytes.as_ref(), part.next), (b"345".as_slice(), 5));
}

fn reading_in_small_parts_returns_everything_once(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"the quick brown fox").unwrap();
    outputs.finish(ada()).unwrap();
    let (mut read, mut offset) = (Vec::new(), 0);
    loop {
        let part = outputs.read(ada(), Stdout, offset, 3).unwrap();
        read.extend_from_slice(&part.bytes);
        offset = part.next;
        if part.state == OutputState::Complete {
            break;
        }
    }
    assert_eq!(read, b"the quick brown fox");
}

fn offset_beyond_the_end_returns_nothing(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"123").unwrap();
    let part = outputs.read(ada(), Stdout, 10, 10).unwrap();
    assert_eq!((part.bytes.len(), part.next, part.state), (0, 10, OutputState::Open));
    outputs.finish(ada()).unwrap();
    assert_eq!(outputs.read(ada(), Stdout, 10, 10).unwrap().state, OutputState::Complete);
}

fn maximum_offset_does_not_overflow(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"123").unwrap();
    let part = outputs.read(ada(), Stdout, u64::MAX, usize::MAX).unwrap();
    assert_eq!((part.bytes.len(), part.next), (0, u64::MAX));
}

fn read_of_zero_bytes_returns_none(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"123").unwrap();
    outputs.finish(ada()).unwrap();
    let part = outputs.read(ada(), Stdout, 0, 0).unwrap();
    assert_eq!((part.bytes.len(), part.next, part.state), (0, 0, OutputState::Open));
}

fn output_over_the_cap_is_counted_and_not_stored(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, &[1; 990]).unwrap();
    outputs.print(ada(), Stdout, &[2; 30]).unwrap();
    outputs.print(ada(), Stdout, &[3; 500]).unwrap();
    outputs.finish(ada()).unwrap();
    let (kept, state) = all(outputs, ada(), Stdout);
    assert_eq!(kept, [vec![1; 990], vec![2; 10]].concat());
    assert_eq!(state, OutputState::Truncated { bytes_dropped: 520 });
}

fn cap_applies_to_both_streams_together(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, &[1; 600]).unwrap();
    outputs.print(ada(), Stderr, &[2; 600]).unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout), (vec![1; 600], OutputState::Complete));
    assert_eq!(all(outputs, ada(), Stderr), (vec![2; 400], OutputState::Truncated { bytes_dropped: 200 }));
}

fn stream_has_no_gap_before_its_truncation(outputs: &Subject<'_>) {
    // The second piece does not fit; the third would fit in the room that is left.
    outputs.print(ada(), Stdout, &[1; 999]).unwrap();
    outputs.print(ada(), Stdout, &[2; 2]).unwrap();
    outputs.print(ada(), Stdout, &[3; 1]).unwrap();
    outputs.finish(ada()).unwrap();
    let (kept, state) = all(outputs, ada(), Stdout);
    assert_eq!((kept[998], kept[999], state), (1, 2, OutputState::Truncated { bytes_dropped: 2 }));
}

fn stream_within_the_cap_is_complete_next_to_a_truncated_one(outputs: &Subject<'_>) {
    outputs.print(ada(), Stderr, b"a line").unwrap();
    outputs.print(ada(), Stdout, &[1; 5_000]).unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stderr).1, OutputState::Complete);
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Truncated { bytes_dropped: 4_006 });
}

fn truncated_stream_is_open_until_it_is_finished(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, &[1; 5_000]).unwrap();
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Open);
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Truncated { bytes_dropped: 4_000 });
}

fn output_of_exactly_the_cap_is_complete(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, &[1; 1_000]).unwrap();
    outputs.print(ada(), Stdout, b"").unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout), (vec![1; 1_000], OutputState::Complete));
}

fn finished_attempt_accepts_no_output(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"in time").unwrap();
    outputs.finish(ada()).unwrap();
    assert!(outputs.print(ada(), Stdout, b" late").is_err());
    assert_eq!(all(outputs, ada(), Stdout), (b"in time".to_vec(), OutputState::Complete));
}

fn finished_attempt_accepts_repeated_output(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, &[1; 1_003]).unwrap();
    outputs.finish(ada()).unwrap();
    for (offset, bytes) in [(0, 1_003), (500, 503), (1_003, 0)] {
        outputs.append_at(ada(), Stdout, offset, &vec![1; bytes]).unwrap();
    }
    outputs.note_printed(ada(), Stdout, 1_003).unwrap();
    assert!(outputs.append_at(ada(), Stdout, 1_003, b"more").is_err());
    assert_eq!(all(outputs, ada(), Stdout), (vec![1; 1_000], OutputState::Truncated { bytes_dropped: 3 }));
}

fn finishing_twice_changes_nothing(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, &[1; 1_001]).unwrap();
    outputs.finish(ada()).unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Truncated { bytes_dropped: 1 });
}

fn repeated_output_is_stored_once(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, b"hello").unwrap();
    outputs.append_at(ada(), Stdout, 0, b"hello").unwrap();
    outputs.append_at(ada(), Stdout, 2, b"ll").unwrap();
    assert_eq!(all(outputs, ada(), Stdout).0, b"hello");
}

fn repeated_output_with_more_bytes_adds_the_new_ones(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, b"hello").unwrap();
    outputs.append_at(ada(), Stdout, 3, b"lo world").unwrap();
    assert_eq!(all(outputs, ada(), Stdout).0, b"hello world");
}

fn gap_is_rejected_with_the_expected_offset(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, b"hello").unwrap();
    match outputs.append_at(ada(), Stdout, 7, b"orld") {
        Err(OutputError::Gap { attempt, taken, offset }) => assert_eq!((attempt, taken, offset), (ada(), 5, 7)),
        other => panic!("{other:?}"),
    }
    outputs.append_at(ada(), Stdout, 5, b" world").unwrap();
    assert_eq!(all(outputs, ada(), Stdout).0, b"hello world");
}

fn missing_output_beyond_the_cap_is_counted(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, &[1; 1_000]).unwrap();
    outputs.append_at(ada(), Stdout, 5_000, &[1; 1_000]).unwrap();
    assert_eq!(outputs.accepted_offset(ada(), Stdout).unwrap(), 6_000);
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Truncated { bytes_dropped: 5_000 });
}

fn printed_but_unreported_output_counts_as_dropped(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, &[1; 100]).unwrap();
    outputs.note_printed(ada(), Stdout, 5_000).unwrap();
    outputs.note_printed(ada(), Stderr, 0).unwrap();
    outputs.note_printed(ada(), Stdout, 5_000).unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout), (vec![1; 100], OutputState::Truncated { bytes_dropped: 4_900 }));
    assert_eq!(all(outputs, ada(), Stderr), (Vec::new(), OutputState::Complete));
    // Nothing at all was reported for the other one.
    outputs.note_printed(attempt(2), Stderr, 7).unwrap();
    outputs.finish(attempt(2)).unwrap();
    assert_eq!(all(outputs, attempt(2), Stderr), (Vec::new(), OutputState::Truncated { bytes_dropped: 7 }));
    assert!(outputs.note_printed(attempt(2), Stderr, 8).is_err());
}

fn stream_reports_its_accepted_offset(outputs: &Subject<'_>) {
    assert_eq!(outputs.accepted_offset(ada(), Stderr).unwrap(), 0);
    outputs.append_at(ada(), Stderr, 0, &[1; 1_005]).unwrap();
    assert_eq!((outputs.accepted_offset(ada(), Stderr).unwrap(), outputs.accepted_offset(ada(), Stdout).unwrap()), (1_005, 0));
}

fn removed_output_is_reported_as_removed(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"old").unwrap();
    outputs.print(attempt(2), Stdout, b"other").unwrap();
    (outputs.throw_away)(ada());
    assert_eq!(all(outputs, ada(), Stdout).0, b"old", "what runs is not thrown away");
    outputs.finish(ada()).unwrap();
    (outputs.throw_away)(ada());
    for stream in [Stdout, Stderr] {
        assert_eq!(all(outputs, ada(), stream), (Vec::new(), OutputState::Removed));
    }
    let part = outputs.read(ada(), Stdout, 2, 10).unwrap();
    assert_eq!((part.next, part.state), (2, OutputState::Removed));
    assert_eq!(all(outputs, attempt(2), Stdout).0, b"other");
}

fn removed_output_accepts_nothing(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"old").unwrap();
    outputs.finish(ada()).unwrap();
    (outputs.throw_away)(ada());
    assert!(outputs.append_at(ada(), Stdout, 0, b"new").is_err());
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Removed);
}

fn attempt_without_output_is_not_reported_as_removed(outputs: &Subject<'_>) {
    outputs.finish(ada()).unwrap();
    (outputs.throw_away)(ada());
    assert_eq!(all(outputs, ada(), Stdout), (Vec::new(), OutputState::Open));
}
