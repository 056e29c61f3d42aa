//! A vault on a disk that fails: acknowledged versions can be opened, and destroyed ones do not come back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ensue_disk::fault::{Failure, Fault, Lasting};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Secret, Vault, VaultError};

use super::*;
use ensue_store::master_key::{KEY_BYTES, MasterKey, MasterKeyFile, MasterKeys};
use ensue_store::rotation::{CompletedRotation, RotateError, rotate};
use ensue_store::sqlite::vault::SqliteVault;
use ensue_store::vault::{REWRAPPED_AT_ONCE, SealedVault};

const VERSIONS: u32 = 8;

fn open(disk: &Disk) -> Result<SqliteVault, String> {
    SqliteVault::open_at(&place(disk, "vault.sqlite"), LOG, MasterKey::from_bytes([7; KEY_BYTES])).map_err(|error| error.to_string())
}

fn key() -> KeyRef {
    "core.k".parse().unwrap()
}

/// Puts versions of a key and destroys every second one. Returns the outcome of each: kept, destroyed, or not
/// acknowledged.
fn put_versions(disk: &Disk) -> Vec<(u32, Option<bool>)> {
    let mut results = Vec::new();
    let Ok(vault) = open(disk) else { return results };
    for version in 1..=VERSIONS {
        let value = Secret::new(format!("value {version}").into_bytes());
        if vault.put_key(&key(), version, &value).is_err() {
            results.push((version, None));
            break;
        }
        if version % 2 == 0 {
            let destroyed = vault.destroy_key(&key(), version);
            results.push((version, destroyed.is_ok().then_some(false)));
            if destroyed.is_err() {
                break;
            }
        } else {
            results.push((version, Some(true)));
        }
    }
    results
}

#[test]
fn vault_opens_stored_but_not_destroyed_keys_whichever_operation_fails() {
    let disk = Disk::new("vault-count", 0, Sectors::Bytes512);
    put_versions(&disk);
    let operations = disk.operations();
    for nth in 1..=operations {
        let disk = Disk::new("vault", nth, sectors(nth));
        disk.fail(Fault { nth, of: None, failure: Failure::Io, lasting: Lasting::Once });
        let results = put_versions(&disk);
        disk.cut_power();
        disk.mend();
        let vault = open(&disk).unwrap();
        for (version, is_there) in results {
            let opened = vault.open_key(&key(), version).unwrap().map(|secret| secret.reveal().to_vec());
            let expected = format!("value {version}").into_bytes();
            match is_there {
                Some(true) => assert_eq!(opened, Some(expected), "operation {nth}, version {version}"),
                Some(false) => assert_eq!(opened, None, "operation {nth}, version {version}"),
                None => assert!(opened.is_none() || opened == Some(expected), "operation {nth}, version {version}"),
            }
        }
    }
}

/// A vault and its master key, with more values than one transaction of a rotation seals.
struct VaultFixture {
    disk: Disk,
    folder: tempfile::TempDir,
}

const SEALED: u32 = REWRAPPED_AT_ONCE as u32 + 20;

impl VaultFixture {
    fn new(name: &str, seed: u64) -> Self {
        let sealed = Self { disk: Disk::new(&format!("{name}-{seed}"), seed, sectors(seed)), folder: tempfile::tempdir().unwrap() };
        let master = MasterKey::create(sealed.file().path()).unwrap();
        let vault = sealed.open(master.into());
        for version in 1..=SEALED {
            vault.put_key(&key(), version, &Secret::new(version.to_le_bytes().to_vec())).unwrap();
        }
        sealed
    }

    /// Copies the files to a new disk.
    fn copy_to_new_disk(&self, seed: u64) -> Self {
        let copy = Self { disk: Disk::new(&format!("copy-{seed}"), seed, sectors(seed)), folder: tempfile::tempdir().unwrap() };
        std::fs::copy(self.file().path(), copy.file().path()).unwrap();
        copy.disk.replace("vault.sqlite", self.disk.content("vault.sqlite").as_deref());
        copy
    }

    fn file(&self) -> MasterKeyFile {
        MasterKeyFile::new(self.folder.path().join("master.key"))
    }

    fn open(&self, keys: MasterKeys) -> SqliteVault {
        SqliteVault::open_at(&place(&self.disk, "vault.sqlite"), LOG, keys).unwrap()
    }

    /// Rotates, or continues, and counts how often the rotation is recorded.
    fn rotate(&self, recorded: &mut u32, outcome: Result<(), VaultError>) -> Result<CompletedRotation<()>, RotateError<VaultError>> {
        let vault = self.open(self.file().load().unwrap());
        rotate(&self.file(), &vault, |_| {
            *recorded += 1;
            outcome
        })
    }

    /// Checks that the files that are there open every value, and completes the rotation.
    fn continues(&self, how: &str) {
        let keys = self.file().load().unwrap();
        let has_begun = keys.next.is_some();
        let vault = self.open(keys.clone());
        for version in 1..=SEALED {
            let opened = vault.open_key(&key(), version).unwrap_or_else(|error| panic!("{how}: {error}"));
            assert_eq!(opened.unwrap().reveal(), version.to_le_bytes(), "{how}");
        }
        let rotated = rotate(&self.file(), &vault, |_| Ok::<_, VaultError>(())).unwrap();
        assert!(rotated.left.is_none() && !self.file().next_path().exists(), "{how}");
        assert!(!has_begun || keys.next.unwrap().id() == rotated.to, "{how}");
        let now = self.file().load().unwrap();
        assert_eq!((now.current.id(), now.next.is_none()), (rotated.to, true), "{how}");
        self.open(now).check().unwrap();
        assert!(self.open(keys.current.into()).open_key(&key(), 1).is_err(), "{how}: the key before opens a value");
    }
}

#[test]
fn rotation_of_the_master_key_continues_whichever_operation_fails() {
    let original = VaultFixture::new("operations", 0);
    let sealed = original.copy_to_new_disk(0);
    sealed.rotate(&mut 0, Ok(())).unwrap();
    let operations = sealed.disk.operations();
    assert!(operations > 10, "{operations}");
    for nth in 1..=operations {
        let sealed = original.copy_to_new_disk(nth);
        sealed.disk.fail(Fault { nth, of: None, failure: Failure::Io, lasting: Lasting::ForEver });
        let _ = catch_unwind(AssertUnwindSafe(|| sealed.rotate(&mut 0, Ok(()))));
        sealed.disk.cut_power();
        sealed.disk.mend();
        sealed.continues(&format!("operation {nth}"));
    }
}

#[test]
fn rotation_of_the_master_key_continues_after_each_of_its_steps() {
    // The process ended while it wrote the next key.
    let sealed = VaultFixture::new("steps", 1);
    let mut half_written = sealed.file().next_path().into_os_string();
    half_written.push(".new");
    std::fs::write(half_written, "0123").unwrap();
    sealed.continues("half of the next key is written");

    // After the next key was written, before any value was sealed under it.
    let sealed = VaultFixture::new("steps", 2);
    sealed.file().make_next().unwrap();
    sealed.continues("the next key is written");

    // Between two transactions.
    let sealed = VaultFixture::new("steps", 3);
    let vault = sealed.open(sealed.file().load().unwrap());
    vault.begin_rotation(sealed.file().make_next().unwrap());
    vault.rewrap(None).unwrap().unwrap();
    drop(vault);
    sealed.disk.kill();
    sealed.continues("some values are sealed under the next key");

    // Before and after the record: whether it is in the log, this function does not know.
    let sealed = VaultFixture::new("steps", 4);
    let mut recorded = 0;
    let stopped = sealed.rotate(&mut recorded, Err(VaultError::Store("stopped".to_owned())));
    assert!(matches!(stopped, Err(RotateError::Record(_))) && recorded == 1);
    sealed.continues("the rotation is recorded");

    // After the next key's file replaced the other.
    let sealed = VaultFixture::new("steps", 5);
    sealed.rotate(&mut recorded, Ok(())).unwrap();
    sealed.continues("the rotation is complete");
}
