//! The sealed secrets and the packs beside a log: what was written is read again, and a deposed node writes nothing.

use std::time::Duration;

use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Log as _, SealedKind, Secret, Vault as _};
use ensue_engine::record::Digest;
use ensue_postgres::{Database, DatabaseError, IfLed, Lead, PostgresEnvelopes, PostgresLog, PostgresPacks, StoredFile};
use ensue_store::master_key::{KEY_BYTES, MasterKey};
use ensue_store::stored_vault::StoredVault;
use ensue_store::vault::SealedVault as _;
use ensue_test_support::records::LOG;

use crate::nodes::node;
use crate::server::{Server, is_missing};

fn master(byte: u8) -> MasterKey {
    MasterKey::from_bytes([byte; KEY_BYTES])
}

fn led(database: &Database, number: u128) -> (PostgresLog, Lead) {
    let log = database.lead(LOG, &node(number), IfLed::WaitFor(Duration::from_secs(60))).unwrap();
    let lead = Lead::default();
    lead.note(log.epoch());
    (log, lead)
}

fn vault(database: &Database, lead: Lead, key: MasterKey) -> StoredVault<PostgresEnvelopes> {
    StoredVault::of(LOG, key, PostgresEnvelopes::open(database, LOG, lead).unwrap())
}

fn key() -> KeyRef {
    "shop.token".parse().unwrap()
}

fn read_key(vault: &StoredVault<PostgresEnvelopes>, version: u32) -> Option<Vec<u8>> {
    vault.open_key(&key(), version).unwrap().map(|secret| secret.reveal().to_vec())
}

#[test]
fn secret_is_opened_on_another_connection_and_gone_once_it_is_destroyed() {
    if is_missing() {
        return;
    }
    let (_, database) = Server::instance().database();
    let (_log, lead) = led(&database, 1);
    let one = vault(&database, lead, master(1));
    one.put_key(&key(), 1, &Secret::new(b"first".to_vec())).unwrap();
    one.put_key(&key(), 2, &Secret::new(b"second".to_vec())).unwrap();
    one.put_key(&key(), 2, &Secret::new(b"replaced".to_vec())).unwrap();
    let values = [("a".to_owned(), Secret::new(b"1".to_vec())), ("b\u{1F408}".to_owned(), Secret::new(Vec::new()))];
    one.put_all(SealedKind::ALL[0], &values).unwrap();
    let other = vault(&database, Lead::default(), master(1));
    assert_eq!((read_key(&other, 1), read_key(&other, 2)), (Some(b"first".to_vec()), Some(b"replaced".to_vec())));
    assert_eq!(other.key_versions().unwrap(), [(key(), 1), (key(), 2)]);
    let listed: Vec<String> = other.list(SealedKind::ALL[0]).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, ["a", "b\u{1F408}"]);
    one.destroy_key(&key(), 1).unwrap();
    assert_eq!(read_key(&other, 1), None);
}

#[test]
fn deposed_node_changes_no_secret() {
    if is_missing() {
        return;
    }
    let (_, database) = Server::instance().database();
    let (_first, lead) = led(&database, 1);
    let old = vault(&database, lead, master(1));
    old.put_key(&key(), 1, &Secret::new(b"old".to_vec())).unwrap();
    let (_second, lead) = led(&database, 1);
    let new = vault(&database, lead, master(1));
    new.put_key(&key(), 1, &Secret::new(b"new".to_vec())).unwrap();
    let refused = old.put_key(&key(), 1, &Secret::new(b"older".to_vec())).unwrap_err();
    assert!(refused.to_string().contains("another node leads"), "{refused}");
    assert!(old.destroy_key(&key(), 1).is_err());
    assert_eq!(read_key(&new, 1), Some(b"new".to_vec()));
}

#[test]
fn rotation_seals_more_secrets_than_fit_into_one_transaction() {
    if is_missing() {
        return;
    }
    let (_, database) = Server::instance().database();
    let (_log, lead) = led(&database, 1);
    let vault = vault(&database, lead, master(1));
    for version in 1..=150 {
        vault.put_key(&key(), version, &Secret::new(version.to_be_bytes().to_vec())).unwrap();
    }
    assert_eq!(vault.named_keys().unwrap(), [master(1).id()]);
    vault.begin_rotation(master(2));
    let (mut rewrapped, mut last) = (0, None);
    while let Some(step) = vault.rewrap(last.as_ref()).unwrap() {
        (rewrapped, last) = (rewrapped + step.rewrapped, Some(step.last));
    }
    vault.end_rotation().unwrap();
    assert_eq!((rewrapped, vault.named_keys().unwrap()), (150, vec![master(2).id()]));
    vault.check().unwrap();
}

#[test]
fn files_of_a_pack_are_read_as_they_were_written() {
    if is_missing() {
        return;
    }
    let (_, database) = Server::instance().database();
    let (_log, lead) = led(&database, 1);
    let file = |path: &str, is_program, content: &[u8]| StoredFile { path: path.to_owned(), is_program, content: content.to_vec() };
    let files = vec![file("actions/run.sh", true, b"#!/bin/sh\n\0"), file("pack.yaml", false, b"")];
    let digest = Digest::of(b"a pack");
    let mut packs = PostgresPacks::open(&database, LOG, lead).unwrap();
    packs.put(&digest, &files).unwrap();
    packs.put(&digest, &files).unwrap();
    assert_eq!((packs.packs().unwrap(), packs.files(&digest).unwrap()), (vec![digest], files.clone()));
    let refused = PostgresPacks::open(&database, LOG, Lead::default()).unwrap().put(&digest, &files);
    assert!(matches!(refused, Err(DatabaseError::NotLeading { .. })), "{refused:?}");
}
