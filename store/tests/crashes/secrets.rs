//! A vault on a disk that fails: acknowledged versions can be opened, and destroyed ones do not come back.

use ensue_disk::fault::{Failure, Fault, Lasting};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Secret, Vault};

use super::*;
use ensue_store::master_key::{KEY_BYTES, MasterKey};
use ensue_store::sqlite::vault::SqliteVault;

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
