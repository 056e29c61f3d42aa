//! The master key, with which all data keys of a vault are sealed: 32 random bytes in a file outside the data
//! directory.
//!
//! It is never created if there is already data: data cannot be decrypted without its key, and a new key
//! would hide that.
//!
//! During a rotation, the next key is in a file beside it, whose name ends in `.next`. Both open the vault. Once all
//! values are sealed under the next key, its file replaces the other.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ensue_engine::access::keys::MasterKeyId;
use ensue_engine::explain::Explain;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::sync::{self, Existing};

/// The size of a key, in bytes.
pub const KEY_BYTES: usize = 32;

/// The maximum size of its file. The content is 64 hex digits and a newline; some white space around them is
/// allowed.
const FILE_BYTES_MAX: u64 = 256;

/// A master key. It is never shown, and it is wiped when dropped.
#[derive(Clone)]
pub struct MasterKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: MasterKeyId,
}

/// The master keys that open a vault.
#[derive(Clone)]
pub struct MasterKeys {
    /// The master key. During a rotation, it only opens.
    pub current: MasterKey,
    /// The key that replaces it, during a rotation.
    pub next: Option<MasterKey>,
}

impl MasterKeys {
    /// Returns the key under which values are sealed.
    pub(crate) fn sealing(&self) -> &MasterKey {
        self.next.as_ref().unwrap_or(&self.current)
    }

    /// Returns the seal of a text that is kept where others can write: only a holder of the key can make it.
    pub(crate) fn seal(&self, text: &[u8]) -> blake3::Hash {
        self.sealing().seal(text)
    }

    /// Returns true if a seal was made with one of the keys.
    pub(crate) fn has_sealed(&self, text: &[u8], seal: blake3::Hash) -> bool {
        [Some(&self.current), self.next.as_ref()].into_iter().flatten().any(|key| key.seal(text) == seal)
    }

    /// Returns the key of an id.
    pub(crate) fn get(&self, id: MasterKeyId) -> Option<&MasterKey> {
        [Some(&self.current), self.next.as_ref()].into_iter().flatten().find(|key| key.id() == id)
    }
}

impl From<MasterKey> for MasterKeys {
    fn from(current: MasterKey) -> Self {
        Self { current, next: None }
    }
}

/// The file of a master key, and the one beside it with the next key.
#[derive(Clone, Debug)]
pub struct MasterKeyFile {
    path: PathBuf,
}

impl MasterKeyFile {
    /// Names the file.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the next key.
    pub fn next_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".next");
        name.into()
    }

    /// Reads the key, and the next one if there is one.
    pub fn load(&self) -> Result<MasterKeys, MasterKeyError> {
        let current = MasterKey::load(&self.path)?;
        let next = self.next()?.filter(|next| next.id() != current.id());
        Ok(MasterKeys { current, next })
    }

    /// Reads the next key, or creates it if its file is missing or has the current key. It is on the disk before this
    /// returns.
    pub fn make_next(&self) -> Result<MasterKey, MasterKeyError> {
        if let Some(next) = self.load()?.next {
            return Ok(next);
        }
        let path = self.next_path();
        let unusable = |source: io::Error| MasterKeyError::Unusable { path: path.clone(), source };
        let (key, text) = generate_key().map_err(unusable)?;
        sync::replace(&path, text.as_bytes()).map_err(unusable)?;
        Ok(key)
    }

    /// Replaces the file with the next key. The key before it is gone afterwards.
    pub fn adopt_next(&self) -> Result<(), MasterKeyError> {
        let unusable = |source: io::Error| MasterKeyError::Unusable { path: self.path.clone(), source };
        std::fs::rename(self.next_path(), &self.path).map_err(unusable)?;
        sync::sync_folder(sync::parent(&self.path)).map_err(unusable)
    }

    fn next(&self) -> Result<Option<MasterKey>, MasterKeyError> {
        match MasterKey::load(&self.next_path()) {
            Ok(next) => Ok(Some(next)),
            Err(MasterKeyError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why a master key is not available.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(fault = Conflict)]
pub enum MasterKeyError {
    /// The file does not exist.
    #[error("there is no master key at {}", .0.display())]
    #[explain(slug = "master-key-missing", hint = "restore it from a backup, or set its path with --master-key or ENSUE_MASTER_KEY_FILE")]
    Missing(PathBuf),
    /// There is such a file.
    #[error("a master key already exists at {}", .0.display())]
    #[explain(slug = "master-key-exists")]
    Exists(PathBuf),
    /// Others can read or write the file.
    #[error("the master key at {} is accessible to other users: its mode is {mode:o}", .path.display())]
    #[explain(slug = "master-key-exposed", hint = format!("chmod 600 {}", path.display()))]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The vault was sealed under another key.
    #[error("the master key at {} has the id {found}, but the secrets were sealed under the master key {sealed}", .path.display())]
    #[explain(
        slug = "master-key-wrong",
        hint = "restore the master key that belongs to this data directory, or set its path with --master-key or ENSUE_MASTER_KEY_FILE"
    )]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The id of its key.
        found: MasterKeyId,
        /// The id of a key that the vault names.
        sealed: MasterKeyId,
    },
    /// The file does not hold a key.
    #[error("the file {} is not a master key: it must hold 64 hex digits", .0.display())]
    #[explain(slug = "master-key-malformed", fault = Malformed, hint = "restore it from a backup")]
    Malformed(PathBuf),
    /// The file cannot be used.
    #[error("the master key at {} cannot be used: {source}", .path.display())]
    #[explain(slug = "master-key-unusable", fault = World)]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

impl MasterKey {
    /// Creates a key from its bytes.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        let hash = blake3::derive_key("ensue/master-key-id/v1", &bytes);
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        Self { bytes: Zeroizing::new(bytes), id: MasterKeyId(id) }
    }

    /// Reads the key from a file that only its owner can use.
    pub fn load(path: &Path) -> Result<Self, MasterKeyError> {
        let unusable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => MasterKeyError::Missing(path.to_owned()),
            _ => MasterKeyError::Unusable { path: path.to_owned(), source },
        };
        let file = File::open(path).map_err(unusable)?;
        // Checked on the open file, so that the file cannot be exchanged between the check and the read.
        let about = file.metadata().map_err(unusable)?;
        if !about.is_file() {
            return Err(MasterKeyError::Malformed(path.to_owned()));
        }
        let mode = about.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::Exposed { path: path.to_owned(), mode });
        }
        if about.size() > FILE_BYTES_MAX {
            return Err(MasterKeyError::Malformed(path.to_owned()));
        }
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize + 1));
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => MasterKeyError::Malformed(path.to_owned()),
            _ => MasterKeyError::Unusable { path: path.to_owned(), source },
        })?;
        parse(text.trim()).ok_or_else(|| MasterKeyError::Malformed(path.to_owned()))
    }

    /// Creates a new key in a new file that only its owner can use. It is on the disk before this returns.
    pub fn create(path: &Path) -> Result<Self, MasterKeyError> {
        let unusable = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => MasterKeyError::Exists(path.to_owned()),
            _ => MasterKeyError::Unusable { path: path.to_owned(), source },
        };
        let (key, text) = generate_key().map_err(unusable)?;
        // Another node that shares the file may look at this moment. So the file gets its name only once it is whole.
        let number = getrandom::u64().map_err(|error| unusable(io::Error::other(error.to_string())))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = sync::parent(path).join(format!(".{name}.{number:016x}.new"));
        let written = write_new(&beside, &text).and_then(|()| match fs::hard_link(&beside, path) {
            // Some file systems cannot link. There, another node may find a part of the key, and must be started again.
            Err(error) if error.kind() == io::ErrorKind::Unsupported || error.kind() == io::ErrorKind::PermissionDenied => {
                write_new(path, &text)
            }
            linked => linked,
        });
        let removed = fs::remove_file(&beside);
        written.and(removed).and_then(|()| sync::sync_folder(sync::parent(path))).map_err(unusable)?;
        Ok(key)
    }

    /// Returns the identifier of the key in envelopes, which reveals nothing about it.
    pub fn id(&self) -> MasterKeyId {
        self.id
    }

    pub(crate) fn reveal(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    fn seal(&self, text: &[u8]) -> blake3::Hash {
        let key = Zeroizing::new(blake3::derive_key("ensue/seal/v1", &*self.bytes));
        blake3::keyed_hash(&key, text)
    }
}

/// Writes a new file that only its owner can use, to the disk.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = sync::create_private(path, Existing::Kept)?;
    file.write_all(text.as_bytes())?;
    sync::sync_file(&file, path)
}

/// Returns a new random key and the content of its file.
fn generate_key() -> io::Result<(MasterKey, Zeroizing<String>)> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(bytes.as_mut()).map_err(|error| io::Error::other(error.to_string()))?;
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    Ok((MasterKey::from_bytes(*bytes), text))
}

fn parse(text: &str) -> Option<MasterKey> {
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    let mut bytes = Zeroizing::new([0u8; KEY_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(MasterKey::from_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_key_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let made = MasterKey::create(&path).unwrap();
        assert_eq!(MasterKey::load(&path).unwrap().reveal(), made.reveal());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn two_keys_and_their_ids_are_different() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("1"), folder.path().join("2"));
        let (one, other) = (MasterKey::create(&one).unwrap(), MasterKey::create(&other).unwrap());
        assert!(one.reveal() != other.reveal() && one.id() != other.id());
    }

    #[test]
    fn key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        MasterKey::create(&path).unwrap();
        assert!(matches!(MasterKey::create(&path), Err(MasterKeyError::Exists(_))));
    }

    #[test]
    fn key_that_another_node_creates_at_the_same_moment_is_whole_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let path = folder.path().join(format!("{round}.key"));
            let looking = std::thread::spawn({
                let path = path.clone();
                move || loop {
                    match MasterKey::load(&path) {
                        Err(MasterKeyError::Missing(_)) => std::hint::spin_loop(),
                        found => return found.unwrap().id(),
                    }
                }
            });
            let made = MasterKey::create(&path).unwrap();
            assert_eq!(looking.join().unwrap(), made.id());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 50, "nothing else is left");
    }

    #[test]
    fn loading_a_missing_key_does_not_create_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::Missing(_))));
        assert!(!path.exists());
    }

    #[test]
    fn key_accessible_to_others_is_rejected_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        MasterKey::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602, 0o644, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let Err(refusal) = MasterKey::load(&path) else { panic!("mode {mode:o} was accepted") };
            assert!(matches!(refusal, MasterKeyError::Exposed { .. }), "{refusal}");
            assert!(refusal.hint().unwrap().starts_with("chmod 600 "));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(MasterKey::load(&path).is_ok());
    }

    #[test]
    fn malformed_key_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let digits = "0123456789abcdef".repeat(4);
        let no_keys = [String::new(), digits[1..].to_owned(), format!("{digits}0"), digits.replace('a', "g"), digits.repeat(10)];
        for no_key in no_keys {
            fs::write(&path, &no_key).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(MasterKey::load(&path), Err(MasterKeyError::Malformed(_))), "{no_key}");
        }
        fs::write(&path, format!("  {digits}\r\n")).unwrap();
        assert!(MasterKey::load(&path).is_ok());
    }
}
