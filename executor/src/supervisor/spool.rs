//! Spools: files that keep a program's output and messages as they come, so that nothing is lost while no
//! node is listening.
//!
//! The values of keys are masked before they are kept. The size is limited: bytes over the limit are read and
//! counted, so that a program never blocks on a reader. The content of lines is not examined.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;

use super::folder::{Folder, empty_file};
use super::protocol::ProgramStream;
use crate::masks::{Masking, Masks};
use crate::messages::LINE_BYTES_MAX;

/// The maximum number of bytes that are kept of all lines of descriptor 3 together, and of each other stream
/// unless the order asks for more. This is more than a node keeps of an attempt by default, and little enough
/// for the disk that holds the log.
pub(crate) const SPOOL_BYTES_MAX: u64 = 16 << 20;
/// The number of bytes that a shorter line of descriptor 3 counts as. Taking it in costs a node as much as a
/// longer one, and there must not be more lines than a node takes in within a few seconds.
const LINE_COUNTED_MIN: u64 = 64;
/// The number of bytes read at once.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// The spools of one program.
pub(crate) struct Spools {
    folder: Folder,
    output_bytes_max: u64,
    spools: [Spool; 3],
    masks: Option<Arc<Masks>>,
    unkept: Mutex<Option<Unkept>>,
    passed_over: Mutex<PassedOver>,
    grown: Notify,
}

#[derive(Default)]
struct Spool {
    file: Mutex<Option<File>>,
    kept: AtomicU64,
    printed: AtomicU64,
    /// None if nothing is masked, and for lines, which are masked one by one.
    masking: Mutex<Option<Masking>>,
}

/// Lines of descriptor 3 that the disk did not accept and that the program's log does not mention yet.
struct Unkept {
    lines: u64,
    why: io::Error,
}

/// Lines of descriptor 3 over the limit.
#[derive(Default)]
struct PassedOver {
    lines: u64,
    bytes: u64,
}

impl Spools {
    /// Creates empty spools in a folder that keep this many bytes of standard output, and as many of standard
    /// error, with these masks. A file is created once there is something to keep.
    pub(crate) fn begin(folder: Folder, output_bytes_max: u64, masks: Option<&Arc<Masks>>) -> Self {
        let spools = ProgramStream::ALL.map(|stream| match stream {
            ProgramStream::Stdout | ProgramStream::Stderr => Spool::with_masks(masks),
            ProgramStream::Messages => Spool::default(),
        });
        Self {
            folder,
            output_bytes_max,
            spools,
            masks: masks.cloned(),
            unkept: Mutex::default(),
            passed_over: Mutex::default(),
            grown: Notify::new(),
        }
    }

    /// Opens the spools that an earlier supervisor left in a folder.
    pub(crate) fn open_left(folder: Folder) -> io::Result<Self> {
        let spools = Self::begin(folder, SPOOL_BYTES_MAX, None);
        for stream in ProgramStream::ALL {
            let spool = &spools.spools[stream.index()];
            match File::open(spools.folder.spool(stream)) {
                Ok(file) => {
                    spool.kept.store(file.metadata()?.len(), Ordering::Release);
                    *spool.file() = Some(file);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(spools)
    }

    /// Returns the number of kept bytes of a stream.
    pub(crate) fn kept_bytes(&self, stream: ProgramStream) -> u64 {
        self.spools[stream.index()].kept.load(Ordering::Acquire)
    }

    /// Returns the number of bytes that came on standard output and on standard error, including bytes that
    /// are not kept.
    pub(crate) fn printed_bytes(&self) -> [u64; 2] {
        [ProgramStream::Stdout, ProgramStream::Stderr].map(|stream| self.spools[stream.index()].printed.load(Ordering::Acquire))
    }

    /// Returns a notification of newly kept bytes. [`tell`](Self::tell) triggers it too.
    pub(crate) fn growth(&self) -> &Notify {
        &self.grown
    }

    /// Wakes everyone who waits for more.
    pub(crate) fn wake(&self) {
        self.grown.notify_waiters();
    }

    /// Reads the kept bytes of a stream from an offset. Returns an empty result if there are none.
    pub(crate) fn read(&self, stream: ProgramStream, offset: u64) -> io::Result<Vec<u8>> {
        let room = self.kept_bytes(stream).saturating_sub(offset).min(CHUNK_BYTES_MAX as u64);
        let mut bytes = vec![0; usize::try_from(room).unwrap_or(CHUNK_BYTES_MAX)];
        if let Some(file) = &*self.spools[stream.index()].file() {
            file.read_exact_at(&mut bytes, offset)?;
        }
        Ok(bytes)
    }

    /// Masks bytes of a stream and keeps them. Bytes that may be the beginning of a masked value are held
    /// back.
    fn take(&self, stream: ProgramStream, bytes: &[u8]) {
        match &mut *self.spools[stream.index()].masking() {
            Some(masking) => self.append(stream, &masking.push(bytes)),
            None => self.append(stream, bytes),
        }
    }

    /// Keeps the bytes that were held back, at the end of the stream.
    pub(crate) fn finish(&self) {
        for stream in ProgramStream::ALL {
            let masking = self.spools[stream.index()].masking().take();
            if let Some(mut masking) = masking {
                self.append(stream, &masking.finish());
            }
        }
    }

    /// Keeps bytes of a stream, up to the limit. All of them are counted.
    pub(crate) fn append(&self, stream: ProgramStream, bytes: &[u8]) {
        let before = self.spools[stream.index()].printed.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        let kept = self.kept_bytes(stream);
        // Bytes after a gap are not kept either: a stream is complete up to where it was cut.
        let room = if kept < before { 0 } else { self.output_bytes_max.saturating_sub(kept) };
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        if room > 0 {
            // If the disk is full, no more of it is kept. The bytes are counted, so that the loss is visible.
            let _ = self.keep(stream, &bytes[..room]);
        }
    }

    /// Writes a message to the program's log, which is its standard error.
    pub(crate) fn note(&self, what: &str) {
        self.append(ProgramStream::Stderr, format!("[ensue] {what}\n").as_bytes());
    }

    /// Writes how many lines of descriptor 3 were over the limit, and how many the disk did not accept, or
    /// nothing if all were kept. Called at the end, when the number is known and there may be room.
    pub(crate) fn note_unkept(&self) {
        let PassedOver { lines, bytes } = std::mem::take(&mut *self.passed_over());
        if lines > 0 {
            let most = format!("the limit is {SPOOL_BYTES_MAX} bytes, and a shorter line counts as {LINE_COUNTED_MIN}");
            self.note(&format!("too much data arrived on descriptor 3: {lines} lines with {bytes} bytes were not kept; {most}"));
        }
        if let Some(Unkept { lines, why }) = self.unkept().take() {
            self.note(&format!("lines on descriptor 3 could not be kept, {lines} in total: {why}"));
        }
    }

    /// Reads a stream to its end.
    pub(crate) async fn take_in(&self, stream: ProgramStream, source: impl AsyncRead + Unpin) {
        match stream {
            ProgramStream::Stdout | ProgramStream::Stderr => self.take_in_bytes(stream, source).await,
            ProgramStream::Messages => self.take_in_lines(source).await,
        }
    }

    async fn take_in_bytes(&self, stream: ProgramStream, mut source: impl AsyncRead + Unpin) {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES_MAX);
        while let Ok(1..) = source.read_buf(&mut chunk).await {
            self.take(stream, &chunk);
            chunk.clear();
        }
    }

    async fn take_in_lines(&self, mut source: impl AsyncRead + Unpin) {
        let mut lines = LineSplitter::default();
        let mut chunk = Vec::with_capacity(CHUNK_BYTES_MAX);
        while let Ok(1..) = source.read_buf(&mut chunk).await {
            for byte in chunk.drain(..) {
                if let Some(line) = lines.push(byte) {
                    self.take_in_line(&mut lines, line);
                }
            }
        }
        if let Some(line) = lines.rest() {
            self.take_in_line(&mut lines, line);
        }
    }

    fn take_in_line(&self, lines: &mut LineSplitter, line: SpoolLine) {
        let line = match (line, &self.masks) {
            (SpoolLine::Whole(line), Some(masks)) => SpoolLine::Whole(masks.whole(&line)),
            (line, _) => line,
        };
        match line {
            SpoolLine::TooLong => self.note(&format!("a line on descriptor 3 has more than {LINE_BYTES_MAX} bytes and is skipped")),
            SpoolLine::Whole(line) if lines.counted + counted_bytes(&line) > SPOOL_BYTES_MAX => {
                let mut passed_over = self.passed_over();
                passed_over.lines += 1;
                passed_over.bytes += line.len() as u64;
            }
            SpoolLine::Whole(line) => {
                lines.counted += counted_bytes(&line);
                if let Err(why) = self.keep(ProgramStream::Messages, &line) {
                    let mut unkept = self.unkept();
                    let lines = unkept.as_ref().map_or(0, |unkept| unkept.lines) + 1;
                    *unkept = Some(Unkept { lines, why });
                }
            }
        }
    }

    /// Appends to the kept bytes. A partial write leaves nothing.
    fn keep(&self, stream: ProgramStream, bytes: &[u8]) -> io::Result<()> {
        let spool = &self.spools[stream.index()];
        let kept = self.kept_bytes(stream);
        let mut file = spool.file();
        if file.is_none() {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let opened = options.open(self.folder.spool(stream))?;
            empty_file(&opened)?;
            *file = Some(opened);
        }
        if let Some(file) = &*file {
            file.write_all_at(bytes, kept).inspect_err(|_| {
                let _ = file.set_len(kept);
            })?;
        }
        spool.kept.store(kept + bytes.len() as u64, Ordering::Release);
        self.grown.notify_waiters();
        Ok(())
    }

    fn passed_over(&self) -> MutexGuard<'_, PassedOver> {
        self.passed_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unkept(&self) -> MutexGuard<'_, Option<Unkept>> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool {
    fn with_masks(masks: Option<&Arc<Masks>>) -> Self {
        Self { masking: Mutex::new(masks.cloned().map(Masking::begin)), ..Self::default() }
    }

    fn file(&self) -> MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn masking(&self) -> MutexGuard<'_, Option<Masking>> {
        self.masking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits bytes into lines of limited length.
#[derive(Default)]
struct LineSplitter {
    line: Vec<u8>,
    is_too_long: bool,
    /// The number of bytes that the lines to be kept count as.
    counted: u64,
}

fn counted_bytes(line: &[u8]) -> u64 {
    LINE_COUNTED_MIN.max(line.len() as u64)
}

enum SpoolLine {
    /// With its line break.
    Whole(Vec<u8>),
    TooLong,
}

impl LineSplitter {
    fn push(&mut self, byte: u8) -> Option<SpoolLine> {
        if byte == b'\n' {
            return self.rest();
        }
        if self.line.len() == LINE_BYTES_MAX {
            self.is_too_long = true;
        } else {
            self.line.push(byte);
        }
        None
    }

    fn rest(&mut self) -> Option<SpoolLine> {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_too_long) {
            return Some(SpoolLine::TooLong);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        line.push(b'\n');
        Some(SpoolLine::Whole(line))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn spools(folder: &TempDir) -> Spools {
        Spools::begin(Folder::at(folder.path()), SPOOL_BYTES_MAX, None)
    }

    fn log(spools: &Spools) -> String {
        String::from_utf8(spools.read(ProgramStream::Stderr, 0).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn lines_are_stored_completely_and_invalid_ones_reported_in_the_log() {
        let folder = TempDir::new().unwrap();
        let spools = spools(&folder);
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let said = format!("{{\"progress\":1}}\n\n  \n{long}\n{{\"progress\":2}}");
        spools.take_in(ProgramStream::Messages, said.as_bytes()).await;
        assert_eq!(spools.read(ProgramStream::Messages, 0).unwrap(), b"{\"progress\":1}\n{\"progress\":2}\n");
        assert_eq!(log(&spools), "[ensue] a line on descriptor 3 has more than 1048576 bytes and is skipped\n");
    }

    #[tokio::test]
    async fn key_values_are_masked_before_they_are_stored() {
        let folder = TempDir::new().unwrap();
        let masks = Masks::of_values([("a.b", b"password-1".as_slice())]).unwrap();
        let spools = Spools::begin(Folder::at(folder.path()), SPOOL_BYTES_MAX, Some(&masks));
        for piece in ["first pass", "word", "-1 and pass"] {
            spools.take_in(ProgramStream::Stdout, piece.as_bytes()).await;
        }
        spools.take_in(ProgramStream::Stderr, &b"also password"[..]).await;
        spools.take_in(ProgramStream::Messages, &b"{\"message\":\"password-1\"}\npassword-1"[..]).await;
        assert_eq!(spools.read(ProgramStream::Stdout, 0).unwrap(), b"first [redacted a.b] and ");
        assert_eq!(log(&spools), "also ");
        spools.finish();
        assert_eq!(spools.read(ProgramStream::Stdout, 0).unwrap(), b"first [redacted a.b] and pass");
        assert_eq!(log(&spools), "also password");
        assert_eq!(spools.read(ProgramStream::Messages, 0).unwrap(), b"{\"message\":\"[redacted a.b]\"}\n[redacted a.b]\n");
        assert_eq!(spools.printed_bytes(), [29, 13]);
    }

    #[tokio::test]
    async fn line_of_the_maximum_length_is_stored() {
        let folder = TempDir::new().unwrap();
        let spools = spools(&folder);
        spools.take_in(ProgramStream::Messages, "x".repeat(LINE_BYTES_MAX).as_bytes()).await;
        assert_eq!((spools.kept_bytes(ProgramStream::Messages), log(&spools)), (LINE_BYTES_MAX as u64 + 1, String::new()));
    }

    #[tokio::test]
    async fn lines_over_the_byte_limit_are_skipped_and_reported_once() {
        let folder = TempDir::new().unwrap();
        let spools = spools(&folder);
        let line = format!("{}\n", "x".repeat(999));
        let lines = SPOOL_BYTES_MAX as usize / line.len();
        spools.take_in(ProgramStream::Messages, line.repeat(lines + 5).as_bytes()).await;
        assert_eq!(spools.kept_bytes(ProgramStream::Messages), (lines * line.len()) as u64);
        spools.note_unkept();
        let expected = "[ensue] too much data arrived on descriptor 3: 5 lines with 5000 bytes were not kept; the limit is 16777216 bytes, and a \
                    shorter line counts as 64\n";
        assert_eq!(log(&spools), expected);
    }

    #[tokio::test]
    async fn short_lines_are_limited_by_their_number() {
        let folder = TempDir::new().unwrap();
        let spools = spools(&folder);
        let most = (SPOOL_BYTES_MAX / LINE_COUNTED_MIN) as usize;
        spools.take_in(ProgramStream::Messages, "x\n".repeat(most + 7).as_bytes()).await;
        assert_eq!(spools.kept_bytes(ProgramStream::Messages), 2 * most as u64);
        spools.note_unkept();
        assert!(log(&spools).contains(" 7 lines with 14 bytes "), "{}", log(&spools));
    }

    #[tokio::test]
    async fn lines_that_cannot_be_written_are_counted_and_reported() {
        let folder = TempDir::new().unwrap();
        let missing = folder.path().join("missing");
        let spools = Spools::begin(Folder::at(&missing), SPOOL_BYTES_MAX, None);
        spools.take_in(ProgramStream::Messages, &b"{\"progress\":1}\n{\"progress\":2}\n"[..]).await;
        fs::create_dir(&missing).unwrap();
        spools.take_in(ProgramStream::Messages, &b"{\"progress\":3}\n"[..]).await;
        assert_eq!(spools.read(ProgramStream::Messages, 0).unwrap(), b"{\"progress\":3}\n");
        spools.note_unkept();
        assert!(log(&spools).starts_with("[ensue] lines on descriptor 3 could not be kept, 2 in total: "), "{}", log(&spools));
    }

    #[tokio::test]
    async fn output_after_a_gap_is_counted_and_not_stored() {
        let folder = TempDir::new().unwrap();
        let missing = folder.path().join("missing");
        let spools = Spools::begin(Folder::at(&missing), SPOOL_BYTES_MAX, None);
        spools.append(ProgramStream::Stdout, b"lost");
        fs::create_dir(&missing).unwrap();
        spools.append(ProgramStream::Stdout, b"late");
        assert_eq!((spools.kept_bytes(ProgramStream::Stdout), spools.printed_bytes()), (0, [8, 0]));
    }

    #[tokio::test]
    async fn output_is_stored_and_readable_by_another_process() {
        let folder = TempDir::new().unwrap();
        let begun = spools(&folder);
        begun.take_in(ProgramStream::Stdout, &b"half of it, "[..]).await;
        begun.append(ProgramStream::Stdout, b"and the rest");
        let left = Spools::open_left(Folder::at(folder.path())).unwrap();
        assert_eq!(left.read(ProgramStream::Stdout, 12).unwrap(), b"and the rest");
        assert_eq!(left.read(ProgramStream::Stdout, 24).unwrap(), b"");
        assert_eq!(begun.printed_bytes(), [24, 0]);
    }

    #[tokio::test]
    async fn output_over_the_cap_is_read_and_counted() {
        let folder = TempDir::new().unwrap();
        let spools = spools(&folder);
        spools.take_in(ProgramStream::Stdout, tokio::io::repeat(b'x').take(SPOOL_BYTES_MAX + 100)).await;
        assert_eq!((spools.kept_bytes(ProgramStream::Stdout), spools.printed_bytes()), (SPOOL_BYTES_MAX, [SPOOL_BYTES_MAX + 100, 0]));
    }
}
