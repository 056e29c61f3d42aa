//! What must not be stored with the data: a log's master key, and the last known head of its chain.
//!
//! Anyone who takes or changes only the data directory cannot decrypt secrets, and cannot cut off the newest
//! records unnoticed.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ensue_engine::explain::Explain;
use ensue_engine::ids::LogId;
use ensue_engine::record::{Chain, Head, Position};
use thiserror::Error;

use crate::master_key::{MasterKey, MasterKeyError, MasterKeyFile, MasterKeys};
use crate::sync;

/// The folder `$XDG_STATE_HOME/ensue/<log id>` of a log.
#[derive(Clone, Debug)]
pub struct StateFolder {
    path: PathBuf,
}

/// Whether there is data that the key must decrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// There is no data: the key may be created.
    New,
    /// There is data: the key must exist.
    Existing,
}

/// Why the state folder cannot be used.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum StateFolderError {
    /// Nobody says where it is.
    #[error("neither XDG_STATE_HOME nor HOME is set, so there is no place for the master key outside the data directory")]
    #[explain(slug = "state-folder-unset", fault = Conflict, hint = "set HOME or XDG_STATE_HOME, or name the key's file with --master-key")]
    NoPlace,
    /// The master key is not available.
    #[error(transparent)]
    #[explain(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// It is unusable for another reason.
    #[error("the state folder {} cannot be used: {source}", .path.display())]
    #[explain(slug = "state-folder-unusable", fault = World)]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The head in it was not written by this program.
    #[error("{} does not contain the head of a log", .0.display())]
    #[explain(slug = "outside-head-malformed", fault = Malformed,
        hint = format!("check the log with `ensue log verify`; if it is intact, move {} away and start again", _0.display()))]
    HeadMalformed(PathBuf),
}

impl StateFolder {
    /// Returns the folder of a log under the base that the environment defines.
    pub fn of(log: LogId) -> Result<Self, StateFolderError> {
        let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
        Ok(Self::under(&base.ok_or(StateFolderError::NoPlace)?, log))
    }

    /// Returns the folder of a log under `base`.
    pub fn under(base: &Path, log: LogId) -> Self {
        Self { path: base.join("ensue").join(log.to_string()) }
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the master key.
    pub fn master_key_path(&self) -> PathBuf {
        self.path.join("master.key")
    }

    /// Loads the master key, and the next one during a rotation. A key is only created if there is no data yet, because a new key could not decrypt
    /// existing data.
    pub fn master_keys(&self, data: Data) -> Result<MasterKeys, StateFolderError> {
        match (MasterKeyFile::new(self.master_key_path()).load(), data) {
            (Err(MasterKeyError::Missing(_)), Data::New) => {
                self.make_last()?;
                Ok(MasterKey::create(&self.master_key_path())?.into())
            }
            (loaded, Data::New | Data::Existing) => Ok(loaded?),
        }
    }

    /// Returns the newest head that is known outside of the log, without creating anything. Returns `None` if
    /// no head was recorded.
    pub fn known_head(&self) -> Result<Option<Head>, StateFolderError> {
        let path = self.path.join("head");
        if path.exists() { OutsideHead::open(&path)?.read() } else { Ok(None) }
    }

    /// Opens the file with the outside head, creating it if necessary.
    pub fn outside_head(&self) -> Result<OutsideHead, StateFolderError> {
        if !self.path.exists() {
            self.make_last()?;
        }
        let path = self.path.join("head");
        let is_new = !path.exists();
        let head = OutsideHead::open(&path)?;
        if is_new {
            sync::sync_folder(&self.path).map_err(|source| self.unusable(source))?;
        }
        Ok(head)
    }

    /// Creates the folder and its parent, and makes their names durable, so that a power failure cannot take
    /// the key with one of them.
    fn make_last(&self) -> Result<(), StateFolderError> {
        let above = self.path.parent().unwrap_or(Path::new("/"));
        sync::create_folder(above).and_then(|()| sync::create_folder(&self.path)).map_err(|source| self.unusable(source))
    }

    fn unusable(&self, source: io::Error) -> StateFolderError {
        StateFolderError::Unusable { path: self.path.clone(), source }
    }
}

/// The newest head of a log, kept outside its data directory.
///
/// The file has two lines of [`LINE_BYTES`], written in turn, so that an interrupted write damages only one
/// of them.
#[derive(Debug)]
pub struct OutsideHead {
    path: PathBuf,
    file: File,
    next_line: u64,
}

/// How durably a head is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It survives the process.
    Written,
    /// It survives a power failure.
    Synced,
}

/// A line is the position in 20 digits, the chain's hash in 64, the line's checksum in 8, with spaces between
/// and a newline.
const LINE_BYTES: usize = 20 + 1 + 64 + 1 + 8 + 1;

impl OutsideHead {
    fn open(path: &Path) -> Result<Self, StateFolderError> {
        let unusable = |source: io::Error| StateFolderError::Unusable { path: path.to_owned(), source };
        let options = || File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = options().map_err(unusable)?;
        let mut head = Self { path: path.to_owned(), file, next_line: 0 };
        let [first, second] = head.lines()?;
        // The older or damaged line is written next.
        head.next_line = match (first, second) {
            (Some(first), Some(second)) => u64::from(first.position > second.position),
            (Some(_), None) => 1,
            (None, Some(_) | None) => 0,
        };
        Ok(head)
    }

    /// Returns the newest head that was written. Returns `None` for a new file, and for one whose only line
    /// was lost or truncated by a power failure.
    pub fn read(&self) -> Result<Option<Head>, StateFolderError> {
        let lines = self.lines()?;
        match lines.into_iter().flatten().max_by_key(|head| head.position) {
            Some(head) => Ok(Some(head)),
            None if self.is_blank()? => Ok(None),
            None => Err(StateFolderError::HeadMalformed(self.path.clone())),
        }
    }

    /// Writes the head.
    pub fn write(&mut self, head: Head, durability: Durability) -> Result<(), StateFolderError> {
        let at = self.next_line * LINE_BYTES as u64;
        self.file.write_all_at(line(head).as_bytes(), at).map_err(|source| self.unusable(source))?;
        self.next_line = 1 - self.next_line;
        match durability {
            Durability::Written => Ok(()),
            Durability::Synced => sync::sync_file(&self.file, &self.path).map_err(|source| self.unusable(source)),
        }
    }

    /// Writes the head over both lines, even over a newer one.
    pub fn replace(&mut self, head: Head) -> Result<(), StateFolderError> {
        let text = line(head).repeat(2);
        self.file.write_all_at(text.as_bytes(), 0).map_err(|source| self.unusable(source))?;
        self.next_line = 0;
        sync::sync_file(&self.file, &self.path).map_err(|source| self.unusable(source))
    }

    fn lines(&self) -> Result<[Option<Head>; 2], StateFolderError> {
        let mut lines = [None; 2];
        for (number, slot) in lines.iter_mut().enumerate() {
            let mut bytes = [0; LINE_BYTES];
            match self.file.read_exact_at(&mut bytes, (number * LINE_BYTES) as u64) {
                Ok(()) => *slot = parse(&bytes),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(source) => return Err(self.unusable(source)),
            }
        }
        Ok(lines)
    }

    /// Returns true if the file never held a valid head: it has only the beginning of a first line, which was
    /// never fully synced, followed by zeros, which remain if a disk extended the file without writing the
    /// data.
    fn is_blank(&self) -> Result<bool, StateFolderError> {
        let mut bytes = Vec::new();
        let most = 2 * LINE_BYTES as u64 + 1;
        let file = File::open(&self.path).map_err(|source| self.unusable(source))?;
        file.take(most).read_to_end(&mut bytes).map_err(|source| self.unusable(source))?;
        let (begun, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        let is_begun = begun.len() < LINE_BYTES && begun.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b' ');
        Ok(is_begun && (bytes.len() as u64) < most && rest.iter().all(|byte| *byte == 0))
    }

    fn unusable(&self, source: io::Error) -> StateFolderError {
        StateFolderError::Unusable { path: self.path.clone(), source }
    }
}

fn line(head: Head) -> String {
    let content = format!("{:020} {}", head.position.0, head.chain);
    let check = check(&content);
    format!("{content} {check}\n")
}

fn check(content: &str) -> String {
    blake3::hash(content.as_bytes()).to_hex()[..8].to_owned()
}

fn parse(bytes: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let (content, found) = text.rsplit_once(' ')?;
    let (position, chain) = content.split_once(' ')?;
    let chain: Chain = chain.parse().ok()?;
    let head = Head { position: Position(position.parse().ok()?), chain };
    (check(content) == found).then_some(head)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use ensue_test_support::records::LOG;

    fn head(position: u64) -> Head {
        Head { position: Position(position), chain: Chain::from_bytes([position as u8; 32]) }
    }

    #[test]
    fn key_is_created_at_the_first_start_and_found_at_the_next() {
        let base = tempfile::tempdir().unwrap();
        let folder = StateFolder::under(base.path(), LOG);
        let made = folder.master_keys(Data::New).unwrap();
        assert!(folder.master_keys(Data::Existing).unwrap().current.id() == made.current.id());
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn interrupted_first_start_continues_with_its_key() {
        let base = tempfile::tempdir().unwrap();
        let folder = StateFolder::under(base.path(), LOG);
        let made = folder.master_keys(Data::New).unwrap();
        assert!(folder.master_keys(Data::New).unwrap().current.id() == made.current.id());
    }

    #[test]
    fn existing_data_without_its_key_is_rejected_and_no_key_is_created() {
        let base = tempfile::tempdir().unwrap();
        let folder = StateFolder::under(base.path(), LOG);
        let Err(refusal) = folder.master_keys(Data::Existing) else { panic!("a key was made up") };
        assert!(matches!(refusal, StateFolderError::MasterKey(MasterKeyError::Missing(_))), "{refusal}");
        assert!(refusal.hint().unwrap().contains("backup"));
        assert!(!folder.master_key_path().exists());
    }

    #[test]
    fn newest_head_is_read_back() {
        let base = tempfile::tempdir().unwrap();
        let folder = StateFolder::under(base.path(), LOG);
        let mut outside = folder.outside_head().unwrap();
        assert_eq!(outside.read().unwrap(), None);
        for position in [3, 7, 8] {
            outside.write(head(position), Durability::Written).unwrap();
            assert_eq!(outside.read().unwrap(), Some(head(position)));
            assert_eq!(folder.outside_head().unwrap().read().unwrap(), Some(head(position)));
        }
    }

    #[test]
    fn reopened_head_overwrites_the_older_line() {
        let base = tempfile::tempdir().unwrap();
        let folder = StateFolder::under(base.path(), LOG);
        for position in 1..=9 {
            let mut outside = folder.outside_head().unwrap();
            outside.write(head(position), Durability::Synced).unwrap();
            let kept = outside.lines().unwrap();
            assert!(kept.contains(&Some(head(position))), "{kept:?}");
            assert!(position == 1 || kept.contains(&Some(head(position - 1))), "{kept:?}");
        }
    }

    #[test]
    fn interrupted_write_leaves_the_previous_head() {
        let base = tempfile::tempdir().unwrap();
        let folder = StateFolder::under(base.path(), LOG);
        let mut outside = folder.outside_head().unwrap();
        outside.write(head(7), Durability::Written).unwrap();
        outside.write(head(8), Durability::Written).unwrap();
        let before = fs::read(folder.path().join("head")).unwrap();
        let next = line(head(9));
        for length in 0..LINE_BYTES {
            let mut torn = before.clone();
            torn[..length].copy_from_slice(&next.as_bytes()[..length]);
            fs::write(folder.path().join("head"), torn).unwrap();
            let read = folder.outside_head().unwrap().read().unwrap();
            assert!(read == Some(head(8)) || (length == LINE_BYTES - 1 && read == Some(head(9))), "{length}: {read:?}");
        }
    }

    #[test]
    fn first_head_left_as_zeros_by_a_power_cut_counts_as_missing() {
        let base = tempfile::tempdir().unwrap();
        let folder = StateFolder::under(base.path(), LOG);
        folder.outside_head().unwrap();
        fs::write(folder.path().join("head"), [0; LINE_BYTES]).unwrap();
        let mut outside = folder.outside_head().unwrap();
        assert_eq!(outside.read().unwrap(), None);
        outside.write(head(1), Durability::Written).unwrap();
        assert_eq!(folder.outside_head().unwrap().read().unwrap(), Some(head(1)));
    }

    #[test]
    fn first_head_truncated_by_a_power_cut_counts_as_missing() {
        let base = tempfile::tempdir().unwrap();
        let folder = StateFolder::under(base.path(), LOG);
        // A second power failure can leave the partial line of the first one, with the length of everything
        // that was written in between.
        for (length, zeros) in (0..LINE_BYTES).flat_map(|length| [(length, 0), (length, 2 * LINE_BYTES - length)]) {
            folder.outside_head().unwrap();
            let mut content = line(head(0xab)).into_bytes();
            content.truncate(length);
            content.resize(length + zeros, 0);
            fs::write(folder.path().join("head"), content).unwrap();
            let mut outside = folder.outside_head().unwrap();
            assert_eq!(outside.read().unwrap(), None, "{length} and {zeros} zeros");
            outside.write(head(1), Durability::Written).unwrap();
            assert_eq!(folder.outside_head().unwrap().read().unwrap(), Some(head(1)), "{length} and {zeros} zeros");
        }
    }

    #[test]
    fn names_of_key_and_head_are_durable_after_an_interrupted_first_start() {
        sync::tests::note_folders();
        let base = tempfile::tempdir().unwrap();
        let folder = StateFolder::under(&base.path().join("state"), LOG);
        fs::create_dir_all(folder.path()).unwrap();
        folder.master_keys(Data::New).unwrap();
        folder.outside_head().unwrap();
        let above = folder.path().parent().unwrap();
        for path in [above, folder.path(), &folder.master_key_path(), &folder.path().join("head")] {
            assert!(sync::tests::name_lasts(path), "{}", path.display());
        }
    }

    #[test]
    fn malformed_head_is_not_treated_as_a_new_file() {
        let base = tempfile::tempdir().unwrap();
        let folder = StateFolder::under(base.path(), LOG);
        folder.outside_head().unwrap();
        for content in ["x", "0000000000000000000x", "00\0\u{0}x", &"x".repeat(2 * LINE_BYTES), &"0".repeat(LINE_BYTES)] {
            fs::write(folder.path().join("head"), content).unwrap();
            let read = folder.outside_head().unwrap().read();
            assert!(matches!(read, Err(StateFolderError::HeadMalformed(_))), "{content}");
        }
    }
}
