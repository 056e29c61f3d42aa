//! Splits bytes into lines, and keeps as much of a line as a message may have.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ensue_sensors::message::{HEAD_BYTES_MAX, MESSAGE_BYTES_MAX};

/// A line without its line break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BoundedLine {
    /// All of it.
    Whole(Bytes),
    /// It is longer than a message may be.
    Cut {
        /// Its beginning.
        head: Bytes,
        /// Its length in bytes.
        whole: u64,
    },
}

/// Splits bytes into lines as they come.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    complete: VecDeque<BoundedLine>,
    begun: BytesMut,
    /// The length of the line that was begun, with the bytes that were not kept.
    begun_bytes: u64,
}

impl LineReader {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    self.grow(end);
                    self.complete();
                }
                None => self.grow(piece),
            }
        }
    }

    /// Returns the next complete line.
    pub(crate) fn next(&mut self) -> Option<BoundedLine> {
        self.complete.pop_front()
    }

    /// Returns the last line if it has no line break.
    pub(crate) fn finish(&mut self) -> Option<BoundedLine> {
        if self.begun_bytes == 0 {
            return None;
        }
        self.complete();
        self.complete.pop_back()
    }

    fn grow(&mut self, bytes: &[u8]) {
        self.begun_bytes += bytes.len() as u64;
        // One byte more than allowed, so that a carriage return at the end does not count.
        let room = (MESSAGE_BYTES_MAX + 1).saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn complete(&mut self) {
        let whole = std::mem::take(&mut self.begun_bytes);
        let mut bytes = self.begun.split().freeze();
        if whole == bytes.len() as u64 && bytes.ends_with(b"\r") {
            bytes.truncate(bytes.len() - 1);
        }
        let line = if bytes.len() > MESSAGE_BYTES_MAX {
            // A copy, so that the rest of it does not stay in memory.
            BoundedLine::Cut { head: Bytes::copy_from_slice(&bytes[..HEAD_BYTES_MAX]), whole }
        } else {
            BoundedLine::Whole(bytes)
        };
        self.complete.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut LineReader, bytes: &[u8]) -> Vec<BoundedLine> {
        reader.push(bytes);
        std::iter::from_fn(|| reader.next()).collect()
    }

    fn whole(text: &'static str) -> BoundedLine {
        BoundedLine::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn line_is_complete_only_with_its_line_break() {
        let mut reader = LineReader::default();
        assert_eq!(read(&mut reader, b"a\nb"), [whole("a")]);
        assert_eq!(read(&mut reader, b"c\r\n\nd"), [whole("bc"), whole("")]);
        assert_eq!(reader.finish(), Some(whole("d")));
        assert_eq!(reader.finish(), None);
    }

    #[test]
    fn line_over_the_limit_is_cut_and_the_next_one_is_whole() {
        let mut reader = LineReader::default();
        let most = vec![b'x'; MESSAGE_BYTES_MAX];
        assert!(
            matches!(&*read(&mut reader, &[&most[..], b"\r\n"].concat()), [BoundedLine::Whole(bytes)] if bytes.len() == MESSAGE_BYTES_MAX)
        );
        for _ in 0..3 {
            assert_eq!(read(&mut reader, &most), []);
        }
        let lines = read(&mut reader, b"\nnext\n");
        let [BoundedLine::Cut { head, whole: bytes }, next] = &*lines else { panic!("{} lines", lines.len()) };
        assert_eq!((head.len(), *bytes), (HEAD_BYTES_MAX, 3 * MESSAGE_BYTES_MAX as u64));
        assert_eq!(*next, whole("next"));
    }
}
