//! The behavior that every output store must have.

use ensue_engine::ids::{AttemptId, Id};
use ensue_engine::ports::{OutputError, OutputPart, OutputState, OutputStream, Outputs};

use super::records::NOON;
use crate::outputs::{FolderOutputs, MemoryOutputs, OutputLimits};
use crate::retention::{Disposable, Kept};

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
        let taken = self.outputs.taken(attempt, stream)?;
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
    };
}

fn in_a_folder_at(path: &std::path::Path) -> FolderOutputs {
    let limits = OutputLimits { attempt_bytes: BYTES_MAX, ..OutputLimits::default() };
    FolderOutputs::open(path, limits, std::sync::Arc::new(|| NOON)).unwrap()
}

fn throw_away(outputs: &FolderOutputs, attempt: AttemptId) {
    for part in 0..=u8::MAX {
        let kept: Vec<Kept<AttemptId>> = outputs.look_at(part).unwrap();
        let due: Vec<_> = kept.into_iter().filter(|thing| thing.name == attempt && thing.since.is_some()).collect();
        if !due.is_empty() {
            outputs.throw_away(part, &due).unwrap();
        }
    }
}

on_every_output_store! {
    what_was_never_printed_is_open_and_empty
    what_was_printed_is_read_while_it_is_written
    streams_do_not_meet
    attempts_do_not_meet
    any_bytes_come_out_the_same
    a_finished_stream_is_complete
    both_streams_are_finished_at_once
    an_attempt_that_printed_nothing_keeps_nothing
    a_part_before_the_end_is_not_the_end
    reading_goes_on_at_an_offset
    reading_in_small_parts_gives_everything_once
    an_offset_beyond_the_end_gives_nothing
    the_highest_offset_does_not_overflow
    no_bytes_asked_for_are_none_given
    what_is_over_the_cap_is_counted_and_not_kept
    the_cap_is_over_both_streams_together
    a_stream_has_no_gap_before_its_mark
    a_stream_that_fits_is_complete_beside_one_that_does_not
    a_truncated_stream_is_open_until_it_is_finished
    exactly_the_cap_is_complete
    nothing_is_added_to_a_finished_attempt
    finished_attempt_takes_again_what_it_has
    finishing_twice_is_finishing_once
    what_is_told_twice_is_kept_once
    what_is_told_again_with_more_gives_the_more
    a_gap_is_refused_and_says_from_where_to_go_on
    what_is_missing_beyond_the_cap_is_counted
    what_was_printed_and_never_told_counts_as_not_kept
    a_stream_says_up_to_where_it_was_taken
    what_was_thrown_away_says_so
    what_was_thrown_away_takes_nothing_more
    what_never_printed_was_not_thrown_away
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

fn what_was_never_printed_is_open_and_empty(outputs: &Subject<'_>) {
    assert_eq!(all(outputs, ada(), Stdout), (Vec::new(), OutputState::Open));
}

fn what_was_printed_is_read_while_it_is_written(outputs: &Subject<'_>) {
    for (printed, whole) in [("one ", "one "), ("two ", "one two "), ("three", "one two three")] {
        outputs.print(ada(), Stdout, printed.as_bytes()).unwrap();
        assert_eq!(all(outputs, ada(), Stdout), (whole.as_bytes().to_vec(), OutputState::Open));
    }
}

fn streams_do_not_meet(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"out").unwrap();
    outputs.print(ada(), Stderr, b"err").unwrap();
    assert_eq!((all(outputs, ada(), Stdout).0, all(outputs, ada(), Stderr).0), (b"out".to_vec(), b"err".to_vec()));
}

fn attempts_do_not_meet(outputs: &Subject<'_>) {
    outputs.print(attempt(1), Stdout, b"one").unwrap();
    outputs.print(attempt(2), Stdout, b"two").unwrap();
    outputs.finish(attempt(1)).unwrap();
    assert_eq!(all(outputs, attempt(1), Stdout), (b"one".to_vec(), OutputState::Complete));
    assert_eq!(all(outputs, attempt(2), Stdout), (b"two".to_vec(), OutputState::Open));
}

fn any_bytes_come_out_the_same(outputs: &Subject<'_>) {
    let bytes: Vec<u8> = (0..=255).chain([0, 255, 0xC3, 0x28]).collect();
    outputs.print(ada(), Stdout, &bytes).unwrap();
    assert_eq!(all(outputs, ada(), Stdout).0, bytes);
}

fn a_finished_stream_is_complete(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"done").unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout), (b"done".to_vec(), OutputState::Complete));
}

fn both_streams_are_finished_at_once(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"done").unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stderr), (Vec::new(), OutputState::Complete));
}

fn an_attempt_that_printed_nothing_keeps_nothing(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"").unwrap();
    outputs.finish(ada()).unwrap();
    outputs.finish(attempt(2)).unwrap();
    for attempt in [ada(), attempt(2)] {
        assert_eq!(all(outputs, attempt, Stdout), (Vec::new(), OutputState::Open));
    }
}

fn a_part_before_the_end_is_not_the_end(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"123456").unwrap();
    outputs.finish(ada()).unwrap();
    let part = outputs.read(ada(), Stdout, 0, 4).unwrap();
    assert_eq!((part.bytes.as_ref(), part.next, part.state), (b"1234".as_slice(), 4, OutputState::Open));
    let part = outputs.read(ada(), Stdout, 4, 4).unwrap();
    assert_eq!((part.bytes.as_ref(), part.next, part.state), (b"56".as_slice(), 6, OutputState::Complete));
}

fn reading_goes_on_at_an_offset(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"123456").unwrap();
    let part = outputs.read(ada(), Stdout, 2, 3).unwrap();
    assert_eq!((part.bytes.as_ref(), part.next), (b"345".as_slice(), 5));
}

fn reading_in_small_parts_gives_everything_once(outputs: &Subject<'_>) {
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

fn an_offset_beyond_the_end_gives_nothing(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"123").unwrap();
    let part = outputs.read(ada(), Stdout, 10, 10).unwrap();
    assert_eq!((part.bytes.len(), part.next, part.state), (0, 10, OutputState::Open));
    outputs.finish(ada()).unwrap();
    assert_eq!(outputs.read(ada(), Stdout, 10, 10).unwrap().state, OutputState::Complete);
}

fn the_highest_offset_does_not_overflow(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"123").unwrap();
    let part = outputs.read(ada(), Stdout, u64::MAX, usize::MAX).unwrap();
    assert_eq!((part.bytes.len(), part.next), (0, u64::MAX));
}

fn no_bytes_asked_for_are_none_given(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"123").unwrap();
    outputs.finish(ada()).unwrap();
    let part = outputs.read(ada(), Stdout, 0, 0).unwrap();
    assert_eq!((part.bytes.len(), part.next, part.state), (0, 0, OutputState::Open));
}

fn what_is_over_the_cap_is_counted_and_not_kept(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, &[1; 990]).unwrap();
    outputs.print(ada(), Stdout, &[2; 30]).unwrap();
    outputs.print(ada(), Stdout, &[3; 500]).unwrap();
    outputs.finish(ada()).unwrap();
    let (kept, state) = all(outputs, ada(), Stdout);
    assert_eq!(kept, [vec![1; 990], vec![2; 10]].concat());
    assert_eq!(state, OutputState::Truncated { bytes_dropped: 520 });
}

fn the_cap_is_over_both_streams_together(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, &[1; 600]).unwrap();
    outputs.print(ada(), Stderr, &[2; 600]).unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout), (vec![1; 600], OutputState::Complete));
    assert_eq!(all(outputs, ada(), Stderr), (vec![2; 400], OutputState::Truncated { bytes_dropped: 200 }));
}

fn a_stream_has_no_gap_before_its_mark(outputs: &Subject<'_>) {
    // The second piece does not fit; the third would fit in the room that is left.
    outputs.print(ada(), Stdout, &[1; 999]).unwrap();
    outputs.print(ada(), Stdout, &[2; 2]).unwrap();
    outputs.print(ada(), Stdout, &[3; 1]).unwrap();
    outputs.finish(ada()).unwrap();
    let (kept, state) = all(outputs, ada(), Stdout);
    assert_eq!((kept[998], kept[999], state), (1, 2, OutputState::Truncated { bytes_dropped: 2 }));
}

fn a_stream_that_fits_is_complete_beside_one_that_does_not(outputs: &Subject<'_>) {
    outputs.print(ada(), Stderr, b"a line").unwrap();
    outputs.print(ada(), Stdout, &[1; 5_000]).unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stderr).1, OutputState::Complete);
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Truncated { bytes_dropped: 4_006 });
}

fn a_truncated_stream_is_open_until_it_is_finished(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, &[1; 5_000]).unwrap();
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Open);
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Truncated { bytes_dropped: 4_000 });
}

fn exactly_the_cap_is_complete(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, &[1; 1_000]).unwrap();
    outputs.print(ada(), Stdout, b"").unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout), (vec![1; 1_000], OutputState::Complete));
}

fn nothing_is_added_to_a_finished_attempt(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"in time").unwrap();
    outputs.finish(ada()).unwrap();
    assert!(outputs.print(ada(), Stdout, b" late").is_err());
    assert_eq!(all(outputs, ada(), Stdout), (b"in time".to_vec(), OutputState::Complete));
}

fn finished_attempt_takes_again_what_it_has(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, &[1; 1_003]).unwrap();
    outputs.finish(ada()).unwrap();
    for (offset, bytes) in [(0, 1_003), (500, 503), (1_003, 0)] {
        outputs.append_at(ada(), Stdout, offset, &vec![1; bytes]).unwrap();
    }
    outputs.note_printed(ada(), Stdout, 1_003).unwrap();
    assert!(outputs.append_at(ada(), Stdout, 1_003, b"more").is_err());
    assert_eq!(all(outputs, ada(), Stdout), (vec![1; 1_000], OutputState::Truncated { bytes_dropped: 3 }));
}

fn finishing_twice_is_finishing_once(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, &[1; 1_001]).unwrap();
    outputs.finish(ada()).unwrap();
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Truncated { bytes_dropped: 1 });
}

fn what_is_told_twice_is_kept_once(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, b"hello").unwrap();
    outputs.append_at(ada(), Stdout, 0, b"hello").unwrap();
    outputs.append_at(ada(), Stdout, 2, b"ll").unwrap();
    assert_eq!(all(outputs, ada(), Stdout).0, b"hello");
}

fn what_is_told_again_with_more_gives_the_more(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, b"hello").unwrap();
    outputs.append_at(ada(), Stdout, 3, b"lo world").unwrap();
    assert_eq!(all(outputs, ada(), Stdout).0, b"hello world");
}

fn a_gap_is_refused_and_says_from_where_to_go_on(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, b"hello").unwrap();
    match outputs.append_at(ada(), Stdout, 7, b"orld") {
        Err(OutputError::Gap { attempt, taken, offset }) => assert_eq!((attempt, taken, offset), (ada(), 5, 7)),
        other => panic!("{other:?}"),
    }
    outputs.append_at(ada(), Stdout, 5, b" world").unwrap();
    assert_eq!(all(outputs, ada(), Stdout).0, b"hello world");
}

fn what_is_missing_beyond_the_cap_is_counted(outputs: &Subject<'_>) {
    outputs.append_at(ada(), Stdout, 0, &[1; 1_000]).unwrap();
    outputs.append_at(ada(), Stdout, 5_000, &[1; 1_000]).unwrap();
    assert_eq!(outputs.taken(ada(), Stdout).unwrap(), 6_000);
    outputs.finish(ada()).unwrap();
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Truncated { bytes_dropped: 5_000 });
}

fn what_was_printed_and_never_told_counts_as_not_kept(outputs: &Subject<'_>) {
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

fn a_stream_says_up_to_where_it_was_taken(outputs: &Subject<'_>) {
    assert_eq!(outputs.taken(ada(), Stderr).unwrap(), 0);
    outputs.append_at(ada(), Stderr, 0, &[1; 1_005]).unwrap();
    assert_eq!((outputs.taken(ada(), Stderr).unwrap(), outputs.taken(ada(), Stdout).unwrap()), (1_005, 0));
}

fn what_was_thrown_away_says_so(outputs: &Subject<'_>) {
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

fn what_was_thrown_away_takes_nothing_more(outputs: &Subject<'_>) {
    outputs.print(ada(), Stdout, b"old").unwrap();
    outputs.finish(ada()).unwrap();
    (outputs.throw_away)(ada());
    assert!(outputs.append_at(ada(), Stdout, 0, b"new").is_err());
    assert_eq!(all(outputs, ada(), Stdout).1, OutputState::Removed);
}

fn what_never_printed_was_not_thrown_away(outputs: &Subject<'_>) {
    outputs.finish(ada()).unwrap();
    (outputs.throw_away)(ada());
    assert_eq!(all(outputs, ada(), Stdout), (Vec::new(), OutputState::Open));
}
