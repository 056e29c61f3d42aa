//! The behavior that every vault must have. Tampering with envelopes is tested separately.

use ensue_engine::ids::{Id, LogId, TokenId};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{SealedKind, Secret, Vault};

use super::crash_disk::{disk_of_this_test, place};
use ensue_store::master_key::{KEY_BYTES, MasterKey};
use ensue_store::memory::MemoryVault;
use ensue_store::sqlite::vault::SqliteVault;
use ensue_store::vault::{REWRAPPED_AT_ONCE, SealedVault};
use ensue_test_support::NOON;
use ensue_test_support::records::LOG;

macro_rules! on_every_vault {
    ($($case:ident)*) => {
        mod in_memory {
            $(#[test] fn $case() { super::$case(&super::MemoryVault::new(super::LOG, super::master())); })*
        }
        mod on_sqlite {
            $(#[test] fn $case() {
                let folder = tempfile::tempdir().unwrap();
                super::$case(&super::vault_in(&folder, super::LOG, super::master()));
            })*
        }
        mod on_a_crash_disk {
            $(#[test] fn $case() {
                let disk = super::disk_of_this_test(1);
                super::$case(&super::SqliteVault::open_at(&super::place(&disk, "vault.sqlite"), super::LOG, super::master()).unwrap());
            })*
        }
    };
}

on_every_vault! {
    unknown_key_opens_nothing
    key_opens_to_its_stored_value
    versions_of_a_key_are_separate_values
    keys_are_separate_values
    storing_a_version_again_replaces_it
    empty_value_is_valid
    value_of_arbitrary_bytes_round_trips
    highest_version_is_valid
    key_versions_are_listed_in_order
    destroyed_key_is_gone_and_the_others_stay
    destroying_a_missing_entry_is_not_an_error
    tokens_are_listed_with_their_hashes
    destroyed_token_is_gone_and_the_others_stay
    keys_and_tokens_are_independent
    oversized_value_is_rejected_and_nothing_stored
    rotation_seals_every_value_under_the_next_master_key
    value_stored_during_a_rotation_is_sealed_under_the_next_master_key
    values_of_the_ways_in_are_stored_together_and_listed_by_kind
}

fn master() -> MasterKey {
    MasterKey::from_bytes([7; KEY_BYTES])
}

fn vault_in(folder: &tempfile::TempDir, log: LogId, master: MasterKey) -> SqliteVault {
    SqliteVault::open(&folder.path().join("vault.sqlite"), log, master).unwrap()
}

fn key(name: &str) -> KeyRef {
    name.parse().unwrap()
}

fn token(number: u128) -> TokenId {
    TokenId(Id::root(NOON, number))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn read_key(vault: &dyn SealedVault, name: &str, version: u32) -> Option<Vec<u8>> {
    vault.open_key(&key(name), version).unwrap().map(|secret| secret.reveal().to_vec())
}

fn next_master() -> MasterKey {
    MasterKey::from_bytes([8; KEY_BYTES])
}

fn rotation_seals_every_value_under_the_next_master_key(vault: &dyn SealedVault) {
    let versions = u32::try_from(REWRAPPED_AT_ONCE).unwrap() + 1;
    for version in 1..=versions {
        vault.put_key(&key("core.k"), version, &secret("one")).unwrap();
    }
    vault.put_token(token(1), [1; 32]).unwrap();
    vault.check().unwrap();
    assert_eq!((vault.rotation(), vault.named_keys().unwrap()), (None, vec![master().id()]));
    let rotation = vault.begin_rotation(next_master());
    assert_eq!((rotation.from, rotation.to, vault.rotation()), (master().id(), next_master().id(), Some(rotation)));
    let first = vault.rewrap(None).unwrap().unwrap();
    assert_eq!(first.rewrapped, REWRAPPED_AT_ONCE);
    vault.check().unwrap();
    let second = vault.rewrap(Some(&first.last)).unwrap().unwrap();
    assert_eq!(second.rewrapped, 2);
    assert!(vault.rewrap(Some(&second.last)).unwrap().is_none());
    assert_eq!(vault.rewrap(None).unwrap().unwrap().rewrapped, 0);
    vault.end_rotation().unwrap();
    assert_eq!((vault.rotation(), vault.named_keys().unwrap()), (None, vec![next_master().id()]));
    vault.check().unwrap();
    assert_eq!((read_key(vault, "core.k", versions).unwrap(), vault.tokens().unwrap()), (b"one".to_vec(), vec![(token(1), [1; 32])]));
}

fn value_stored_during_a_rotation_is_sealed_under_the_next_master_key(vault: &dyn SealedVault) {
    vault.begin_rotation(next_master());
    vault.put_key(&key("core.k"), 1, &secret("one")).unwrap();
    assert_eq!(vault.named_keys().unwrap(), [next_master().id()]);
    assert_eq!(read_key(vault, "core.k", 1).unwrap(), b"one");
}

fn unknown_key_opens_nothing(vault: &dyn SealedVault) {
    assert_eq!(read_key(vault, "core.k", 1), None);
    assert_eq!((vault.key_versions().unwrap().len(), vault.tokens().unwrap().len()), (0, 0));
}

fn key_opens_to_its_stored_value(vault: &dyn SealedVault) {
    vault.put_key(&key("core.k"), 1, &secret("one")).unwrap();
    assert_eq!(read_key(vault, "core.k", 1).unwrap(), b"one");
}

fn versions_of_a_key_are_separate_values(vault: &dyn SealedVault) {
    vault.put_key(&key("core.k"), 1, &secret("one")).unwrap();
    vault.put_key(&key("core.k"), 2, &secret("two")).unwrap();
    assert_eq!((read_key(vault, "core.k", 1).unwrap(), read_key(vault, "core.k", 2).unwrap()), (b"one".to_vec(), b"two".to_vec()));
    assert_eq!(read_key(vault, "core.k", 3), None);
}

fn keys_are_separate_values(vault: &dyn SealedVault) {
    vault.put_key(&key("core.k"), 1, &secret("one")).unwrap();
    vault.put_key(&key("core.kk"), 1, &secret("other")).unwrap();
    assert_eq!((read_key(vault, "core.k", 1).unwrap(), read_key(vault, "core.kk", 1).unwrap()), (b"one".to_vec(), b"other".to_vec()));
}

fn storing_a_version_again_replaces_it(vault: &dyn SealedVault) {
    vault.put_key(&key("core.k"), 1, &secret("orphan")).unwrap();
    vault.put_key(&key("core.k"), 1, &secret("one")).unwrap();
    assert_eq!(read_key(vault, "core.k", 1).unwrap(), b"one");
    assert_eq!(vault.key_versions().unwrap().len(), 1);
}

fn empty_value_is_valid(vault: &dyn SealedVault) {
    vault.put_key(&key("core.k"), 1, &secret("")).unwrap();
    assert_eq!(read_key(vault, "core.k", 1).unwrap(), b"");
}

fn value_of_arbitrary_bytes_round_trips(vault: &dyn SealedVault) {
    let bytes: Vec<u8> = (0..=255).collect();
    vault.put_key(&key("core.k"), 1, &Secret::new(bytes.clone())).unwrap();
    assert_eq!(read_key(vault, "core.k", 1).unwrap(), bytes);
}

fn highest_version_is_valid(vault: &dyn SealedVault) {
    vault.put_key(&key("core.k"), u32::MAX, &secret("last")).unwrap();
    assert_eq!(read_key(vault, "core.k", u32::MAX).unwrap(), b"last");
}

fn key_versions_are_listed_in_order(vault: &dyn SealedVault) {
    for (name, version) in [("b.k", 1), ("a.k", 2), ("a.k", 10), ("a.k", 1)] {
        vault.put_key(&key(name), version, &secret("x")).unwrap();
    }
    assert_eq!(vault.key_versions().unwrap(), [(key("a.k"), 1), (key("a.k"), 2), (key("a.k"), 10), (key("b.k"), 1)]);
}

fn destroyed_key_is_gone_and_the_others_stay(vault: &dyn SealedVault) {
    for version in 1..=3 {
        vault.put_key(&key("core.k"), version, &secret("x")).unwrap();
    }
    vault.destroy_key(&key("core.k"), 2).unwrap();
    assert_eq!(vault.key_versions().unwrap(), [(key("core.k"), 1), (key("core.k"), 3)]);
    assert_eq!(read_key(vault, "core.k", 2), None);
}

fn destroying_a_missing_entry_is_not_an_error(vault: &dyn SealedVault) {
    vault.destroy_key(&key("core.k"), 1).unwrap();
    vault.destroy_token(token(1)).unwrap();
}

fn tokens_are_listed_with_their_hashes(vault: &dyn SealedVault) {
    vault.put_token(token(2), [2; 32]).unwrap();
    vault.put_token(token(1), [1; 32]).unwrap();
    assert_eq!(vault.tokens().unwrap(), [(token(1), [1; 32]), (token(2), [2; 32])]);
}

fn destroyed_token_is_gone_and_the_others_stay(vault: &dyn SealedVault) {
    vault.put_token(token(1), [1; 32]).unwrap();
    vault.put_token(token(2), [2; 32]).unwrap();
    vault.destroy_token(token(1)).unwrap();
    assert_eq!(vault.tokens().unwrap(), [(token(2), [2; 32])]);
}

fn keys_and_tokens_are_independent(vault: &dyn SealedVault) {
    vault.put_key(&key("core.k"), 1, &secret("one")).unwrap();
    vault.put_token(token(1), [1; 32]).unwrap();
    assert_eq!((vault.key_versions().unwrap().len(), vault.tokens().unwrap().len()), (1, 1));
}

fn oversized_value_is_rejected_and_nothing_stored(vault: &dyn SealedVault) {
    let large = Secret::new(vec![0; ensue_store::vault::SECRET_BYTES_MAX + 1]);
    assert!(vault.put_key(&key("core.k"), 1, &large).is_err());
    assert_eq!(vault.key_versions().unwrap(), []);
}

mod only_on_sqlite {
    use ensue_engine::explain::Explain;
    use ensue_engine::ports::{Vault as _, VaultError};
    use ensue_store::master_key::{MasterKeyError, MasterKeyFile, MasterKeys};
    use ensue_store::rotation::{RotateError, check_master_key, rotate};
    use rusqlite::Connection;

    use super::*;
    use ensue_test_support::records::OTHER_LOG;

    fn edit(folder: &tempfile::TempDir, sql: &str) {
        Connection::open(folder.path().join("vault.sqlite")).unwrap().execute_batch(sql).unwrap();
    }

    #[test]
    fn values_survive_reopening_the_vault() {
        let folder = tempfile::tempdir().unwrap();
        vault_in(&folder, LOG, master()).put_key(&key("core.k"), 1, &secret("one")).unwrap();
        assert_eq!(read_key(&vault_in(&folder, LOG, master()), "core.k", 1).unwrap(), b"one");
    }

    #[test]
    fn no_value_is_in_the_file_in_plain_text() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault_in(&folder, LOG, master());
        vault.put_key(&key("core.k"), 1, &secret("correct horse battery staple")).unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let content = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!content.windows(13).any(|window| window == b"correct horse"));
        }
    }

    #[test]
    fn swapped_rows_are_detected() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault_in(&folder, LOG, master());
        vault.put_key(&key("core.a"), 1, &secret("a")).unwrap();
        vault.put_key(&key("core.b"), 1, &secret("b")).unwrap();
        edit(
            &folder,
            "CREATE TEMP TABLE kept AS SELECT name, sealed FROM secrets;
             UPDATE secrets SET sealed = (SELECT kept.sealed FROM kept WHERE kept.name <> secrets.name);",
        );
        for name in ["core.a", "core.b"] {
            assert!(matches!(vault.open_key(&key(name), 1), Err(VaultError::Integrity(_))), "{name}");
        }
    }

    #[test]
    fn renamed_and_renumbered_rows_are_detected() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault_in(&folder, LOG, master());
        vault.put_key(&key("core.a"), 1, &secret("a")).unwrap();
        edit(&folder, "UPDATE secrets SET name = 'core.b'");
        assert!(matches!(vault.open_key(&key("core.b"), 1), Err(VaultError::Integrity(_))));
        edit(&folder, "UPDATE secrets SET name = 'core.a', version = 2");
        assert!(matches!(vault.open_key(&key("core.a"), 2), Err(VaultError::Integrity(_))));
    }

    #[test]
    fn rows_of_another_log_are_hidden_and_do_not_open_when_moved() {
        let folder = tempfile::tempdir().unwrap();
        let (vault, other) = (vault_in(&folder, LOG, master()), vault_in(&folder, OTHER_LOG, master()));
        vault.put_key(&key("core.a"), 1, &secret("a")).unwrap();
        assert_eq!((read_key(&other, "core.a", 1), other.key_versions().unwrap().len()), (None, 0));
        let id: String = OTHER_LOG.0.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        edit(&folder, &format!("UPDATE secrets SET log = x'{id}'"));
        assert!(matches!(other.open_key(&key("core.a"), 1), Err(VaultError::Integrity(_))));
    }

    #[test]
    fn wrong_master_key_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault_in(&folder, LOG, master());
        vault.put_key(&key("core.a"), 1, &secret("a")).unwrap();
        vault.put_token(token(1), [1; 32]).unwrap();
        let other = vault_in(&folder, LOG, MasterKey::from_bytes([8; KEY_BYTES]));
        assert!(matches!(other.open_key(&key("core.a"), 1), Err(VaultError::Integrity(_))));
        assert!(matches!(other.tokens(), Err(VaultError::Integrity(_))));
    }

    #[test]
    fn rotation_with_a_damaged_value_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = MasterKeyFile::new(folder.path().join("master.key"));
        let vault = vault_in(&folder, LOG, MasterKey::create(file.path()).unwrap());
        for name in ["core.a", "core.b"] {
            vault.put_key(&key(name), 1, &secret("a")).unwrap();
        }
        edit(&folder, "UPDATE secrets SET sealed = zeroblob(128) WHERE name = 'core.b'");
        let refused = rotate(&file, &vault, |_| Ok::<_, VaultError>(())).unwrap_err();
        assert!(matches!(&refused, RotateError::Vault(VaultError::Integrity(of)) if of == "key core.b"), "{refused}");
        assert!(vault.rotation().is_none() && !file.next_path().exists());
        vault.destroy_key(&key("core.b"), 1).unwrap();
        let rotated = rotate(&file, &vault, |_| Ok::<_, VaultError>(())).unwrap();
        assert!((rotated.values, rotated.left.is_none()) == (1, true) && !file.next_path().exists());
        assert_eq!(file.load().unwrap().current.id(), rotated.to);
        assert_eq!(read_key(&vault, "core.a", 1).unwrap(), b"a");
    }

    #[test]
    fn next_key_that_cannot_replace_the_file_stays_in_use_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = MasterKeyFile::new(folder.path().join("master.key"));
        let vault = vault_in(&folder, LOG, MasterKey::create(file.path()).unwrap());
        vault.put_key(&key("core.a"), 1, &secret("a")).unwrap();
        let aside = folder.path().join("aside");
        // As in a folder that is only mounted for reading.
        let rotated =
            rotate(&file, &vault, |_| std::fs::rename(file.next_path(), &aside).map_err(|why| VaultError::Store(why.to_string())));
        let rotated = rotated.unwrap();
        assert!(matches!(rotated.left, Some(MasterKeyError::Unusable { .. })), "{rotated:?}");
        assert_eq!(vault.rotation().map(|rotation| rotation.to), Some(rotated.to));
        std::fs::rename(&aside, file.next_path()).unwrap();
        assert_eq!(file.load().unwrap().current.id(), rotated.from);

        // A person puts the content of the next key into the file: the two are then one key.
        std::fs::copy(file.next_path(), file.path()).unwrap();
        let keys = file.load().unwrap();
        assert_eq!((keys.current.id(), keys.next.is_none()), (rotated.to, true));
        assert_eq!(read_key(&SqliteVault::open(&folder.path().join("vault.sqlite"), LOG, keys).unwrap(), "core.a", 1).unwrap(), b"a");
    }

    #[test]
    fn vault_of_another_master_key_is_rejected_by_the_ids_of_both() {
        let folder = tempfile::tempdir().unwrap();
        let file = MasterKeyFile::new(folder.path().join("master.key"));
        let keys = MasterKeys::from(MasterKey::create(file.path()).unwrap());
        let vault = vault_in(&folder, LOG, master());
        check_master_key(&file, &keys, &vault.named_keys().unwrap()).unwrap();
        vault.put_key(&key("core.a"), 1, &secret("a")).unwrap();
        let refused = check_master_key(&file, &keys, &vault.named_keys().unwrap()).unwrap_err();
        assert_eq!(refused.slug(), "master-key-wrong");
        let why = refused.to_string();
        assert!(why.contains(&keys.current.id().to_string()) && why.contains(&master().id().to_string()), "{why}");
        check_master_key(&file, &MasterKeys { next: Some(master()), ..keys }, &vault.named_keys().unwrap()).unwrap();
    }

    #[test]
    fn exchanged_token_hash_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault_in(&folder, LOG, master());
        vault.put_token(token(1), [1; 32]).unwrap();
        edit(&folder, "UPDATE secrets SET sealed = zeroblob(128)");
        assert!(matches!(vault.tokens(), Err(VaultError::Integrity(_))));
    }

    #[test]
    fn invalid_row_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault_in(&folder, LOG, master());
        vault.put_key(&key("core.a"), 1, &secret("a")).unwrap();
        edit(&folder, "UPDATE secrets SET name = 'Not A Ref'");
        assert!(matches!(vault.key_versions(), Err(VaultError::Integrity(_))));
    }
}

fn values_of_the_ways_in_are_stored_together_and_listed_by_kind(vault: &dyn Vault) {
    let listed = |kind| -> Vec<(String, Vec<u8>)> {
        vault.list(kind).unwrap().into_iter().map(|(name, value)| (name, value.reveal().to_vec())).collect()
    };
    vault.put_all(SealedKind::Session, &[("a".to_owned(), secret("1")), ("b".to_owned(), secret("2"))]).unwrap();
    vault.put_all(SealedKind::Family, &[("a".to_owned(), secret("3"))]).unwrap();
    vault.put_all(SealedKind::Session, &[("a".to_owned(), secret("4"))]).unwrap();
    assert_eq!(listed(SealedKind::Session), [("a".to_owned(), b"4".to_vec()), ("b".to_owned(), b"2".to_vec())]);
    let large = Secret::new(vec![0; ensue_store::vault::SECRET_BYTES_MAX + 1]);
    assert!(vault.put_all(SealedKind::Session, &[("c".to_owned(), secret("5")), ("d".to_owned(), large)]).is_err());
    vault.destroy(SealedKind::Session, "a").unwrap();
    vault.destroy(SealedKind::Session, "a").unwrap();
    assert_eq!(listed(SealedKind::Session), [("b".to_owned(), b"2".to_vec())], "all or none are stored");
    assert_eq!(listed(SealedKind::Family), [("a".to_owned(), b"3".to_vec())]);
    assert_eq!(vault.tokens().unwrap(), []);
}
