//! What a program prints and says, kept in files as it comes, so that nothing is lost while no node listens.
//!
//! It is capped: what is over is counted, and read on, so that a program never waits for somebody to listen.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;

use super::folder::Folder;
use super::protocol::Stream;

/// The most bytes of a stream that are kept: more than a node keeps of an attempt, and little enough for the disk that the log is on.
pub(crate) const SPOOL_BYTES_MAX: u64 = 16 << 20;
/// The longest line on descriptor 3, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// The most lines on descriptor 3.
pub(crate) const MESSAGES_MAX: u64 = 10_000;
/// The most bytes of all lines on descriptor 3.
pub(crate) const MESSAGES_BYTES_MAX: u64 = 8 << 20;
/// How many bytes are read at once.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// The spools of one program.
pub(crate) struct Spools {
    folder: Folder,
    spools: [Spool; 3],
    grown: Notify,
}

#[derive(Default)]
struct Spool {
    file: Mutex<Option<File>>,
    kept: AtomicU64,
    printed: AtomicU64,
}

impl Spools {
    /// Begins empty spools in a folder; a file is made once there is something to keep.
    pub(crate) fn begin(folder: Folder) -> Self {
        Self { folder, spools: Default::default(), grown: Notify::new() }
    }

    /// Opens what an earlier supervisor left in a folder.
    pub(crate) fn left(folder: Folder) -> io::Result<Self> {
        let spools = Self::begin(folder);
        for stream in Stream::ALL {
            let spool = &spools.spools[stream.index()];
            match File::open(spools.folder.spool(stream)) {
                Ok(file) => {
                    spool.kept.store(file.metadata()?.len(), Ordering::Release);
                    *spool.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(spools)
    }

    /// Gives how many bytes of a stream are kept.
    pub(crate) fn kept(&self, stream: Stream) -> u64 {
        self.spools[stream.index()].kept.load(Ordering::Acquire)
    }

    /// Gives how many bytes came on standard output and on standard error, those included that are not kept.
    pub(crate) fn printed(&self) -> [u64; 2] {
        [Stream::Stdout, Stream::Stderr].map(|stream| self.spools[stream.index()].printed.load(Ordering::Acquire))
    }

    /// What ends when something more was kept, or when it is [told](Self::tell).
    pub(crate) fn grown(&self) -> &Notify {
        &self.grown
    }

    /// Wakes who waits for more.
    pub(crate) fn tell(&self) {
        self.grown.notify_waiters();
    }

    /// Reads what is kept of a stream from an offset on; empty where there is nothing.
    pub(crate) fn read(&self, stream: Stream, offset: u64) -> io::Result<Vec<u8>> {
        let room = self.kept(stream).saturating_sub(offset).min(CHUNK_BYTES_MAX as u64);
        let mut bytes = vec![0; usize::try_from(room).unwrap_or(CHUNK_BYTES_MAX)];
        if let Some(file) = &*self.spools[stream.index()].file.lock().unwrap_or_else(PoisonError::into_inner) {
            file.read_exact_at(&mut bytes, offset)?;
        }
        Ok(bytes)
    }

    /// Keeps what came on a stream, up to the cap.
    pub(crate) fn append(&self, stream: Stream, bytes: &[u8]) {
        let spool = &self.spools[stream.index()];
        let printed = spool.printed.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        let kept = self.kept(stream);
        let room = usize::try_from(SPOOL_BYTES_MAX.saturating_sub(kept)).unwrap_or(usize::MAX).min(bytes.len());
        // What follows a gap is not kept either: it would be taken for what is missing.
        if room == 0 || printed != kept {
            return;
        }
        let mut file = spool.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true).mode(0o600);
            *file = options.open(self.folder.spool(stream)).ok();
        }
        // A full disk keeps no more of it; what came is counted, so that its loss is seen.
        if let Some(file) = &*file
            && file.write_all_at(&bytes[..room], kept).is_ok()
        {
            spool.kept.store(kept + room as u64, Ordering::Release);
            self.grown.notify_waiters();
        }
    }

    /// Reads a stream to its end.
    pub(crate) async fn take_in(&self, stream: Stream, source: impl AsyncRead + Unpin) {
        match stream {
            Stream::Stdout | Stream::Stderr => self.take_in_bytes(stream, source).await,
            Stream::Messages => self.take_in_lines(source).await,
        }
    }

    async fn take_in_bytes(&self, stream: Stream, mut source: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; CHUNK_BYTES_MAX];
        while let Ok(count @ 1..) = source.read(&mut chunk).await {
            self.append(stream, &chunk[..count]);
        }
    }

    async fn take_in_lines(&self, mut source: impl AsyncRead + Unpin) {
        let mut lines = Lines::default();
        let mut chunk = vec![0; CHUNK_BYTES_MAX];
        while let Ok(count @ 1..) = source.read(&mut chunk).await {
            for byte in &chunk[..count] {
                if let Some(line) = lines.push(*byte) {
                    self.take_in_line(&mut lines, line);
                }
            }
        }
        if let Some(line) = lines.rest() {
            self.take_in_line(&mut lines, line);
        }
    }

    fn take_in_line(&self, lines: &mut Lines, line: Line) {
        let why = match line {
            Line::Whole(line) if lines.taken < MESSAGES_MAX && self.kept(Stream::Messages) + line.len() as u64 <= MESSAGES_BYTES_MAX => {
                lines.taken += 1;
                self.append(Stream::Messages, &line);
                return;
            }
            Line::Whole(_) if lines.has_overflowed => return,
            Line::Whole(_) => {
                lines.has_overflowed = true;
                format!("more than {MESSAGES_MAX} lines or {MESSAGES_BYTES_MAX} bytes came on descriptor 3; the rest is passed over")
            }
            Line::TooLong => format!("a line on descriptor 3 has more than {MESSAGE_BYTES_MAX} bytes and is passed over"),
        };
        self.append(Stream::Stderr, format!("[ensue] {why}\n").as_bytes());
    }
}

/// Cuts bytes into lines of a bounded length.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    is_too_long: bool,
    taken: u64,
    has_overflowed: bool,
}

enum Line {
    /// With its line break.
    Whole(Vec<u8>),
    TooLong,
}

impl Lines {
    fn push(&mut self, byte: u8) -> Option<Line> {
        if byte == b'\n' {
            return self.rest();
        }
        if self.line.len() == MESSAGE_BYTES_MAX {
            self.is_too_long = true;
        } else {
            self.line.push(byte);
        }
        None
    }

    fn rest(&mut self) -> Option<Line> {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_too_long) {
            return Some(Line::TooLong);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        line.push(b'\n');
        Some(Line::Whole(line))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn spools(folder: &TempDir) -> Spools {
        Spools::begin(Folder::at(folder.path()))
    }

    #[tokio::test]
    async fn lines_are_kept_whole_and_what_is_no_line_is_told_in_the_log() {
        let folder = TempDir::new().unwrap();
        let spools = spools(&folder);
        let long = "x".repeat(MESSAGE_BYTES_MAX + 1);
        let said = format!("{{\"progress\":1}}\n\n  \n{long}\n{{\"progress\":2}}");
        spools.take_in(Stream::Messages, said.as_bytes()).await;
        assert_eq!(spools.read(Stream::Messages, 0).unwrap(), b"{\"progress\":1}\n{\"progress\":2}\n");
        let log = String::from_utf8(spools.read(Stream::Stderr, 0).unwrap()).unwrap();
        assert_eq!(log, "[ensue] a line on descriptor 3 has more than 65536 bytes and is passed over\n");
    }

    #[tokio::test]
    async fn too_many_lines_are_passed_over_and_told_once() {
        let folder = TempDir::new().unwrap();
        let spools = spools(&folder);
        let said = "{}\n".repeat(usize::try_from(MESSAGES_MAX).unwrap() + 5);
        spools.take_in(Stream::Messages, said.as_bytes()).await;
        assert_eq!(spools.kept(Stream::Messages), 3 * MESSAGES_MAX);
        let log = String::from_utf8(spools.read(Stream::Stderr, 0).unwrap()).unwrap();
        assert_eq!(log.lines().count(), 1, "{log}");
    }

    #[tokio::test]
    async fn what_is_printed_is_kept_to_be_read_again_by_another_process() {
        let folder = TempDir::new().unwrap();
        let begun = spools(&folder);
        begun.take_in(Stream::Stdout, &b"half of it, "[..]).await;
        begun.append(Stream::Stdout, b"and the rest");
        let left = Spools::left(Folder::at(folder.path())).unwrap();
        assert_eq!(left.read(Stream::Stdout, 12).unwrap(), b"and the rest");
        assert_eq!(left.read(Stream::Stdout, 24).unwrap(), b"");
        assert_eq!(begun.printed(), [24, 0]);
    }

    #[test]
    fn what_comes_after_something_that_could_not_be_kept_is_not_taken_for_it() {
        let folder = TempDir::new().unwrap();
        let place = folder.path().join("later");
        let spools = Spools::begin(Folder::at(&place));
        // As on a full disk: there is no file to be had.
        spools.append(Stream::Stdout, b"lost");
        std::fs::create_dir(&place).unwrap();
        spools.append(Stream::Stdout, b"after");
        spools.append(Stream::Stderr, b"whole");
        assert_eq!((spools.kept(Stream::Stdout), spools.kept(Stream::Stderr), spools.printed()), (0, 5, [9, 5]));
    }

    #[tokio::test]
    async fn what_is_over_the_cap_is_read_and_counted() {
        let folder = TempDir::new().unwrap();
        let spools = spools(&folder);
        spools.take_in(Stream::Stdout, tokio::io::repeat(b'x').take(SPOOL_BYTES_MAX + 100)).await;
        assert_eq!((spools.kept(Stream::Stdout), spools.printed()), (SPOOL_BYTES_MAX, [SPOOL_BYTES_MAX + 100, 0]));
    }
}
