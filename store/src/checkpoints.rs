//! Checkpoints: the state at a position, saved in a separate file, so that a start does not have to fold the
//! whole log.
//!
//! The engine defines the format of the saved bytes. A checkpoint may always be lost, because the log has
//! everything that is in it.
//!
//! A file is one line of JSON with its format, log, position and digest, followed by the compressed state.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use ensue_engine::ids::LogId;
use ensue_engine::ports::{LogError, LogReader, ReadLimit};
use ensue_engine::record::{Chain, Digest, Head, Position};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::sync;

/// The number of checkpoints kept per log.
pub const CHECKPOINTS_KEPT: usize = 2;

/// The largest state that is read, in bytes: 2 GiB.
pub const STATE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

const FORMAT: u32 = 1;
const HEAD_BYTES_MAX: u64 = 4096;
const LEVEL: i32 = 3;
/// The size of the pieces in which a state is compressed.
const PIECE_BYTES: usize = 64 * 1024;
/// The extension of a checkpoint's file name, after a dot.
pub const SUFFIX: &str = "ckpt";

/// The extension while it is being written.
const SUFFIX_UNFINISHED: &str = "ckpt.new";

/// The folder that holds a log's checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    log: LogId,
}

/// A saved state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint<S> {
    /// The place in the log at which it was saved.
    pub at: Head,
    /// The release that saved it.
    pub release: String,
    /// The state made from the saved bytes.
    pub state: S,
}

/// The checkpoints found in the folder.
#[derive(Debug)]
pub struct CheckpointScan<S> {
    /// The newest usable checkpoint.
    pub checkpoint: Option<Checkpoint<S>>,
    /// Newer ones that are not usable.
    pub skipped: Vec<SkippedCheckpoint>,
}

/// A checkpoint that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedCheckpoint {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub why: String,
}

/// Why checkpoints cannot be written or found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The folder or a file in it cannot be used.
    #[error("{} cannot be used: {source}", .path.display())]
    Unusable {
        /// The folder or the file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The log to compare them with cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadLine {
    format: u32,
    release: String,
    log: LogId,
    position: Position,
    chain: Chain,
    digest: Digest,
}

/// The part of a head line that is read before its format is known.
#[derive(Deserialize)]
struct AnyHeadLine {
    format: u32,
    #[serde(default)]
    release: Option<String>,
}

impl Checkpoints {
    /// Opens the folder, creating it if necessary.
    pub fn open(folder: &Path, log: LogId) -> Result<Self, CheckpointError> {
        use std::os::unix::fs::DirBuilderExt;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| CheckpointError::Unusable { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned(), log })
    }

    /// Returns the file of the checkpoint at a position.
    pub fn path(&self, position: Position) -> PathBuf {
        self.folder.join(format!("{position}.{SUFFIX}"))
    }

    /// Saves the state that `state` writes piece by piece. It is on the disk before this returns. At most its
    /// compressed form is held in memory. All but the newest [`CHECKPOINTS_KEPT`] are removed.
    pub fn write(&self, at: Head, release: &str, state: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<PathBuf, CheckpointError> {
        let path = self.path(at.position);
        let unusable = |source| CheckpointError::Unusable { path: path.clone(), source };
        let content = self.content(at, release, state).map_err(unusable)?;
        sync::replace(&path, &content).map_err(unusable)?;
        let old = self.files_with_ending(SUFFIX)?.into_iter().skip(CHECKPOINTS_KEPT);
        // A process that was killed while writing left these.
        let unfinished = self.files_with_ending(SUFFIX_UNFINISHED)?.into_iter().filter(|(position, _)| *position < at.position.0);
        for (_, path) in old.chain(unfinished) {
            fs::remove_file(&path).map_err(|source| CheckpointError::Unusable { path, source })?;
        }
        Ok(path)
    }

    fn content(&self, at: Head, release: &str, state: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Vec<u8>> {
        let mut pieces = BufWriter::with_capacity(PIECE_BYTES, CompressingWriter::new()?);
        state(&mut pieces)?;
        let (digest, packed) = pieces.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
        let head = HeadLine { format: FORMAT, release: release.to_owned(), log: self.log, position: at.position, chain: at.chain, digest };
        let mut content = serde_json::to_vec(&head)?;
        content.push(b'\n');
        content.extend_from_slice(&packed);
        Ok(content)
    }

    /// Finds the newest checkpoint that is undamaged, in this release's format, and saved from the log that
    /// `reader` reads. `load` makes a state of its bytes piece by piece, so that at most one piece is held in
    /// memory. A checkpoint that does not qualify, or for which `load` fails, is skipped with the reason; an
    /// older one or the log itself is used instead.
    pub fn newest<S>(
        &self,
        reader: &dyn LogReader,
        load: impl Fn(&mut dyn Read) -> Result<S, String>,
    ) -> Result<CheckpointScan<S>, CheckpointError> {
        let mut found = CheckpointScan { checkpoint: None, skipped: Vec::new() };
        for (_, path) in self.files_with_ending(SUFFIX)? {
            let read = match self.head(&path) {
                Ok((head, state)) => match stranger(reader, head.at())? {
                    None => head.of(state, &load),
                    Some(why) => Err(why),
                },
                Err(why) => Err(why),
            };
            match read {
                Ok(checkpoint) => {
                    found.checkpoint = Some(checkpoint);
                    break;
                }
                Err(why) => found.skipped.push(SkippedCheckpoint { path, why }),
            }
        }
        Ok(found)
    }

    /// Makes a state with `load` from the content of a file. Fails with the reason if the file is damaged,
    /// belongs to another log or has a newer format. Whether its position is one of the log's is not checked.
    pub fn read<S>(&self, path: &Path, load: impl Fn(&mut dyn Read) -> Result<S, String>) -> Result<Checkpoint<S>, String> {
        let (head, state) = self.head(path)?;
        head.of(state, load)
    }

    /// Writes the content of a file that another node saved. It is on the disk before this returns. Fails with the reason if
    /// it is damaged at its beginning, belongs to another log or has a newer format; the rest is checked when it is read.
    pub fn adopt(&self, content: &[u8]) -> Result<PathBuf, String> {
        let (head, _) = self.head_in(content)?;
        let path = self.path(head.position);
        sync::replace(&path, content).map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        Ok(path)
    }

    /// Returns the position of the newest file, or 0 if the folder is empty.
    pub fn newest_position(&self) -> Result<Position, CheckpointError> {
        Ok(Position(self.files_with_ending(SUFFIX)?.first().map_or(0, |(position, _)| *position)))
    }

    /// Reads a file up to the state. Fails with the reason if the file is damaged, belongs to another log or
    /// has a newer format.
    fn head(&self, path: &Path) -> Result<(HeadLine, BufReader<File>), String> {
        self.head_in(BufReader::new(File::open(path).map_err(|error| describe_damage(&error))?))
    }

    fn head_in<R: BufRead>(&self, mut file: R) -> Result<(HeadLine, R), String> {
        let mut line = Vec::new();
        file.by_ref().take(HEAD_BYTES_MAX).read_until(b'\n', &mut line).map_err(|error| describe_damage(&error))?;
        let any: AnyHeadLine = serde_json::from_slice(&line).map_err(|error| format!("its head is damaged: {error}"))?;
        if any.format > FORMAT {
            let release = any.release.unwrap_or_else(|| "a newer release".to_owned());
            return Err(format!("it has format {}, but this release knows formats only up to {FORMAT}: {release} wrote it", any.format));
        }
        let head: HeadLine = serde_json::from_slice(&line).map_err(|error| format!("its head is damaged: {error}"))?;
        if head.log != self.log {
            return Err(format!("it belongs to log {}, but this is log {}", head.log, self.log));
        }
        Ok((head, file))
    }

    /// Lists the files whose names are a position with this extension, newest first.
    fn files_with_ending(&self, ending: &str) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let unusable = |source: io::Error| CheckpointError::Unusable { path: self.folder.clone(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(unusable)? {
            let path = entry.map_err(unusable)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(ending)?.strip_suffix('.'));
            if let Some(position) = name.and_then(|name| name.parse().ok()) {
                files.push((position, path));
            }
        }
        files.sort_by(|one, other| other.cmp(one));
        Ok(files)
    }
}

fn describe_damage(error: &io::Error) -> String {
    format!("it is damaged: {error}")
}

impl HeadLine {
    fn at(&self) -> Head {
        Head { position: self.position, chain: self.chain }
    }

    /// Makes a state from the rest of the file. The state is discarded if its bytes differ from the
    /// saved bytes.
    fn of<S>(self, file: BufReader<File>, load: impl Fn(&mut dyn Read) -> Result<S, String>) -> Result<Checkpoint<S>, String> {
        let decoder = zstd::Decoder::with_buffer(file).map_err(|error| describe_damage(&error))?;
        let mut summed = HashingReader { sum: blake3::Hasher::new(), from: decoder.take(STATE_BYTES_MAX) };
        let state = load(&mut BufReader::with_capacity(PIECE_BYTES, &mut summed));
        io::copy(&mut summed, &mut io::sink()).map_err(|error| describe_damage(&error))?;
        if Digest::from_bytes(*summed.sum.finalize().as_bytes()) != self.digest {
            return Err("it is damaged: its state is not the one that was saved".to_owned());
        }
        Ok(Checkpoint { at: self.at(), release: self.release, state: state? })
    }
}

/// A state whose hash is computed as it is read.
struct HashingReader<R> {
    sum: blake3::Hasher,
    from: R,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.sum.update(into.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// A state that is compressed and hashed as it is written.
struct CompressingWriter {
    sum: blake3::Hasher,
    encoder: zstd::Encoder<'static, Vec<u8>>,
}

impl CompressingWriter {
    fn new() -> io::Result<Self> {
        Ok(Self { sum: blake3::Hasher::new(), encoder: zstd::Encoder::new(Vec::new(), LEVEL)? })
    }

    fn finish(self) -> io::Result<(Digest, Vec<u8>)> {
        Ok((Digest::from_bytes(*self.sum.finalize().as_bytes()), self.encoder.finish()?))
    }
}

impl Write for CompressingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.encoder.write(bytes)?;
        self.sum.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

/// Returns why a place is not in the log, or `None` if it is.
fn stranger(reader: &dyn LogReader, at: Head) -> Result<Option<String>, LogError> {
    let Some(before) = at.position.0.checked_sub(1) else {
        return Ok((at.chain != Chain::default()).then(|| "it was saved from another log".to_owned()));
    };
    let there = reader.read(Position(before), ReadLimit { records: 1, bytes: 0 })?;
    Ok(match there.first() {
        None => Some(format!("it was saved at position {}, but the log ends at {}", at.position, reader.head()?.position)),
        Some(record) if record.chain != at.chain => {
            Some(format!("the record at position {} is not the one that it was saved at", at.position))
        }
        Some(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use ensue_engine::ports::Log;

    use super::*;
    use crate::memory::MemoryLog;
    use ensue_test_support::records::{LOG, OTHER_LOG, Writer};

    struct Fixture {
        folder: tempfile::TempDir,
        log: MemoryLog,
        writer: Writer,
    }

    impl Fixture {
        fn new() -> Self {
            let log = MemoryLog::new(LOG);
            let writer = Writer::of(&log);
            Self { folder: tempfile::tempdir().unwrap(), log, writer }
        }

        fn checkpoints(&self) -> Checkpoints {
            Checkpoints::open(self.folder.path(), LOG).unwrap()
        }

        /// Appends a record and saves a state there.
        fn save(&mut self, state: &str) -> PathBuf {
            self.writer.append(&mut self.log, 1).unwrap();
            write(&self.checkpoints(), &self.checkpoint(state))
        }

        fn checkpoint(&self, state: &str) -> Checkpoint<String> {
            Checkpoint { at: self.writer.head(), release: "0.1.0".to_owned(), state: state.to_owned() }
        }

        fn newest(&self) -> CheckpointScan<String> {
            self.checkpoints().newest(&*self.log.reader().unwrap(), text).unwrap()
        }

        fn scan(&self) -> (Option<String>, Vec<String>) {
            let found = self.newest();
            let state = found.checkpoint.map(|checkpoint| checkpoint.state);
            (state, found.skipped.into_iter().map(|skipped| skipped.why).collect())
        }
    }

    fn text(from: &mut dyn Read) -> Result<String, String> {
        let mut text = String::new();
        from.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn write(checkpoints: &Checkpoints, checkpoint: &Checkpoint<String>) -> PathBuf {
        let Checkpoint { at, release, state } = checkpoint;
        checkpoints.write(*at, release, |into| into.write_all(state.as_bytes())).unwrap()
    }

    #[test]
    fn unreadable_checkpoint_is_skipped_with_the_reason() {
        let mut fixture = Fixture::new();
        fixture.save("one");
        fixture.save("two");
        let not_two =
            |from: &mut dyn Read| text(from).and_then(|state| if state == "two" { Err("it is of old".to_owned()) } else { Ok(state) });
        let found = fixture.checkpoints().newest(&*fixture.log.reader().unwrap(), not_two).unwrap();
        assert_eq!((found.checkpoint.unwrap().state.as_str(), found.skipped[0].why.as_str()), ("one", "it is of old"));
    }

    #[test]
    fn state_built_from_a_damaged_checkpoint_is_not_used() {
        let mut fixture = Fixture::new();
        let path = fixture.save("one");
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        let sees_nothing = |_: &mut dyn Read| Ok("made all the same".to_owned());
        let found = fixture.checkpoints().newest(&*fixture.log.reader().unwrap(), sees_nothing).unwrap();
        assert_eq!((found.checkpoint, found.skipped.len()), (None, 1));
    }

    #[test]
    fn large_state_written_in_pieces_reads_back_completely() {
        let fixture = Fixture::new();
        let pieces: Vec<String> = (0..50_000).map(|number| format!("{number},")).collect();
        let write = |into: &mut dyn Write| pieces.iter().try_for_each(|piece| into.write_all(piece.as_bytes()));
        fixture.checkpoints().write(fixture.writer.head(), "0.1.0", write).unwrap();
        assert_eq!(fixture.scan(), (Some(pieces.concat()), Vec::new()));
    }

    #[test]
    fn interrupted_state_write_leaves_no_checkpoint() {
        let fixture = Fixture::new();
        let write = |into: &mut dyn Write| into.write_all(b"half").and(Err(io::Error::other("it broke off")));
        assert!(fixture.checkpoints().write(fixture.writer.head(), "0.1.0", write).is_err());
        assert_eq!(fixture.scan(), (None, Vec::new()));
    }

    #[test]
    fn empty_folder_has_no_checkpoint() {
        assert_eq!(Fixture::new().scan(), (None, Vec::new()));
    }

    #[test]
    fn newest_checkpoint_is_found_as_saved() {
        let mut fixture = Fixture::new();
        for state in ["one", "two", "three"] {
            fixture.save(state);
        }
        let found = fixture.newest();
        assert_eq!(found.checkpoint.unwrap(), fixture.checkpoint("three"));
        assert_eq!(found.skipped, []);
    }

    #[test]
    fn checkpoints_are_ordered_by_number_not_by_text() {
        let mut fixture = Fixture::new();
        for state in 1..=10 {
            fixture.save(&state.to_string());
        }
        assert_eq!(fixture.scan().0.unwrap(), "10");
    }

    #[test]
    fn two_checkpoints_are_kept() {
        let mut fixture = Fixture::new();
        for state in ["one", "two", "three", "four"] {
            fixture.save(state);
        }
        let mut names: Vec<_> = fs::read_dir(fixture.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["3.ckpt", "4.ckpt"]);
    }

    #[test]
    fn damaged_checkpoint_is_skipped_for_the_previous_one() {
        let mut fixture = Fixture::new();
        fixture.save("one");
        let path = fixture.save("two");
        let whole = fs::read(&path).unwrap();
        for bit in (0..whole.len() * 8).step_by(5) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            let (state, skipped) = fixture.scan();
            // A release may have any name, and zstd has a few bits without meaning.
            let state = state.unwrap();
            assert!(state == "two" && skipped.is_empty() || state == "one" && skipped.len() == 1, "bit {bit}: {state} {skipped:?}");
        }
    }

    #[test]
    fn truncated_checkpoint_is_skipped() {
        let mut fixture = Fixture::new();
        fixture.save("one");
        let path = fixture.save("two");
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(fixture.scan().0.unwrap(), "one", "{length} bytes");
        }
    }

    #[test]
    fn checkpoint_of_a_newer_release_is_skipped_and_named() {
        let mut fixture = Fixture::new();
        fixture.save("one");
        let path = fixture.save("two");
        fs::write(&path, b"{\"format\":2,\"release\":\"9.0.0\",\"more\":true}\nwhatever").unwrap();
        let (state, skipped) = fixture.scan();
        assert_eq!(
            (state.unwrap().as_str(), skipped[0].as_str()),
            ("one", "it has format 2, but this release knows formats only up to 1: 9.0.0 wrote it")
        );
    }

    #[test]
    fn checkpoint_of_another_log_is_skipped() {
        let mut fixture = Fixture::new();
        fixture.save("one");
        fixture.writer.append(&mut fixture.log, 1).unwrap();
        write(&Checkpoints::open(fixture.folder.path(), OTHER_LOG).unwrap(), &fixture.checkpoint("other"));
        let (state, skipped) = fixture.scan();
        assert_eq!((state.unwrap().as_str(), skipped.len()), ("one", 1));
    }

    #[test]
    fn checkpoint_of_another_history_of_the_log_is_skipped() {
        let mut fixture = Fixture::new();
        fixture.save("one");
        fixture.writer.append(&mut fixture.log, 1).unwrap();
        let stranger = Checkpoint { at: Head { chain: Chain::from_bytes([9; 32]), ..fixture.writer.head() }, ..fixture.checkpoint("two") };
        write(&fixture.checkpoints(), &stranger);
        let (state, skipped) = fixture.scan();
        assert_eq!((state.unwrap().as_str(), skipped.len()), ("one", 1));
    }

    #[test]
    fn checkpoint_beyond_the_end_of_the_log_is_skipped() {
        let mut fixture = Fixture::new();
        fixture.save("one");
        let ahead = Checkpoint { at: Head { position: Position(99), ..fixture.writer.head() }, ..fixture.checkpoint("ahead") };
        write(&fixture.checkpoints(), &ahead);
        let (state, skipped) = fixture.scan();
        assert_eq!((state.unwrap().as_str(), skipped[0].as_str()), ("one", "it was saved at position 99, but the log ends at 1"));
    }

    #[test]
    fn incomplete_file_is_not_a_checkpoint() {
        let mut fixture = Fixture::new();
        fixture.save("one");
        let unfinished = fixture.folder.path().join("1.ckpt.new");
        fs::write(&unfinished, "half").unwrap();
        assert_eq!(fixture.scan(), (Some("one".to_owned()), Vec::new()));
        // The next one removes it.
        fixture.save("two");
        assert!(!unfinished.exists());
    }

    #[test]
    fn checkpoint_of_an_empty_log_is_valid() {
        let fixture = Fixture::new();
        write(&fixture.checkpoints(), &fixture.checkpoint("empty"));
        assert_eq!(fixture.scan().0.unwrap(), "empty");
    }

    const GOLDEN: &[u8] = include_bytes!("../tests/golden/checkpoint.v1.ckpt");
    const GOLDEN_STATE: &str = r#"{"cats":["tom"]}"#;

    #[test]
    fn checkpoint_of_the_first_release_is_still_readable() {
        let fixture = Fixture::new();
        fs::write(fixture.folder.path().join("0.ckpt"), GOLDEN).unwrap();
        assert_eq!(fixture.scan(), (Some(GOLDEN_STATE.to_owned()), Vec::new()));
    }

    #[test]
    fn checkpoint_format_is_unchanged() {
        let fixture = Fixture::new();
        let path = write(&fixture.checkpoints(), &fixture.checkpoint(GOLDEN_STATE));
        // Another release of zstd may compress the state after the line differently.
        let line = |content: &[u8]| content.split(|byte| *byte == b'\n').next().map(|line| String::from_utf8_lossy(line).into_owned());
        assert_eq!(line(&fs::read(path).unwrap()), line(GOLDEN));
    }
}
