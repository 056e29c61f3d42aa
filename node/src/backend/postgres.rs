//! The backend on PostgreSQL: the log, the secrets and the files of packs in the database; the read models in the data
//! directory; outputs and artifacts in both, or in an object store instead of the database, which then has saved states too.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use ensue_engine::ids::{AttemptId, Id, LogId};
use ensue_engine::ports::{Log, LogError, LogReader, OutputError, Vault};
use ensue_engine::record::Digest;
use ensue_objects::{Bucket, BucketAddress, BucketError};
use ensue_packs::{FileMode, NewCopies, PackFile, PackSource};
use ensue_postgres::{
    Database, DatabaseError, Health, Lead, LeadWatch, Node, PostgresEnvelopes, PostgresLogReader, PostgresObjects, PostgresPacks,
    StoredFile, WaitsFor,
};
use ensue_store::blobs::BlobLimits;
use ensue_store::master_key::MasterKeys;
use ensue_store::objects::{Objects, OutputSeal, SharedBlobs, SharedOutputs, SharedStates};
use ensue_store::outputs::{Now, OutputLimits};
use ensue_store::stored_vault::StoredVault;
use ensue_store::sync;
use ensue_store::vault::SealedVault;
use uuid::Uuid;

use super::{Backend, Folder, KeptBlobs, KeptOutputs, PackArchive, Places, StorageError, Views};
use crate::clock::SteppedClock;
use crate::log_runtime::standby::Standby;

/// The storage of a log in a database, with what is local in a data directory.
pub struct InDatabase {
    database: Database,
    local: Places,
    /// The note in the directory of the log that it belongs to.
    note: PathBuf,
    node: Node,
    lead: Lead,
    watch: Mutex<Option<LeadWatch>>,
    /// The bucket for outputs and artifacts; if absent, they are in the database.
    bucket: Option<Bucket>,
    objects: OnceLock<Arc<dyn Objects>>,
    standby: Arc<Standby>,
}

impl InDatabase {
    /// Opens the database at an address, and the bucket for outputs and artifacts. Both are checked, and the database's
    /// common tables are created.
    pub fn open(
        (address, objects): (&str, Option<&BucketAddress>),
        folder: &Folder,
        clock: &dyn SteppedClock,
        standby: Arc<Standby>,
    ) -> Result<Self, StorageError> {
        let database = Database::at(address)?;
        database.prepare()?;
        standby.has_found_its_database();
        let bucket = objects.map(open_bucket).transpose()?;
        let machine = rustix::system::uname();
        let name = format!("{} (process {})", machine.nodename().to_string_lossy(), std::process::id());
        // A new one at each start: a copy of the data directory must not be taken for the same node.
        let moment = clock.moment();
        let id = Uuid::from_bytes(*Id::root(moment.time, moment.entropy).as_bytes());
        let (local, note) = (Places::of(folder), folder.log_elsewhere());
        let (lead, watch, objects) = (Lead::default(), Mutex::default(), OnceLock::new());
        Ok(Self { database, local, note, node: Node { id, name }, lead, watch, bucket, objects, standby })
    }

    /// Fails if the data directory belongs to another log than the database.
    fn demand_same(&self, found: Option<LogId>) -> Result<(), StorageError> {
        let noted = read_note(&self.note)?;
        let local = self.local.logs()?.first().copied();
        match [noted, local].into_iter().flatten().find(|known| Some(*known) != found) {
            Some(directory) => Err(StorageError::OtherLog { at: self.database.display_name().to_owned(), directory, found }),
            None if noted.is_some() => Ok(()),
            None => local.map_or(Ok(()), |log| self.demand_copied(log)),
        }
    }

    /// Opens the outputs and artifacts in the bucket or in the database, once.
    fn objects(&self, log: LogId) -> io::Result<Arc<dyn Objects>> {
        if let Some(objects) = self.objects.get() {
            return Ok(objects.clone());
        }
        let opened: Arc<dyn Objects> = match &self.bucket {
            Some(bucket) => Arc::new(bucket.objects(log)),
            None => Arc::new(PostgresObjects::open(&self.database, log).map_err(io::Error::other)?),
        };
        Ok(self.objects.get_or_init(|| opened).clone())
    }

    /// Fails if the log in the directory became longer after it was copied into the database.
    fn demand_copied(&self, log: LogId) -> Result<(), StorageError> {
        let unreadable = |error: LogError| StorageError::Note { path: self.local.log.path.clone(), why: error.to_string() };
        let head = |reader: Box<dyn LogReader>| reader.head().map(|head| head.position).map_err(unreadable);
        let (local, found) = (head(self.local.reader(log)?)?, head(self.reader(log)?)?);
        if local > found {
            return Err(StorageError::Newer { at: self.database.display_name().to_owned(), local, found });
        }
        Ok(())
    }
}

/// Opens and checks a bucket. One that does not answer is used all the same: the log does not depend on it.
fn open_bucket(address: &BucketAddress) -> Result<Bucket, StorageError> {
    let unusable = |why: String| StorageError::Objects { at: address.to_string(), why };
    let bucket = Bucket::open(address).map_err(|error| unusable(error.to_string()))?;
    match bucket.check() {
        Ok(()) => {}
        Err(BucketError::Refused(why)) => return Err(unusable(why)),
        Err(BucketError::Unavailable(why)) => {
            tracing::warn!(objects = %address, why, "the object store does not answer; outputs are copied to it later, and artifacts are refused");
        }
    }
    Ok(bucket)
}

/// Reads the note of the log that a data directory belongs to, if that log is in a database.
pub(super) fn read_note(note: &Path) -> Result<Option<LogId>, StorageError> {
    match std::fs::read_to_string(note) {
        Ok(text) => match text.trim().parse() {
            Ok(id) => Ok(Some(LogId(id))),
            Err(_) => Err(StorageError::Note { path: note.to_owned(), why: "it does not have the id of a log".to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::Note { path: note.to_owned(), why: error.to_string() }),
    }
}

impl Backend for InDatabase {
    fn logs(&self) -> Result<Vec<LogId>, StorageError> {
        Ok(self.database.logs()?)
    }

    fn log(&self) -> Result<Option<LogId>, StorageError> {
        let logs = self.logs()?;
        if logs.len() > 1 {
            return Err(DatabaseError::Several { at: self.database.display_name().to_owned(), count: logs.len() }.into());
        }
        let found = logs.first().copied();
        self.demand_same(found)?;
        Ok(found)
    }

    fn has_secrets(&self) -> bool {
        // A log has a master key from its first start on. If the database does not answer, no key may be created.
        self.database.logs().map_or(true, |logs| !logs.is_empty())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn writer(&self, log: LogId) -> Result<Box<dyn Log>, StorageError> {
        self.writer_after(log, &mut || ())
    }

    fn writer_after(&self, log: LogId, meanwhile: &mut dyn FnMut()) -> Result<Box<dyn Log>, StorageError> {
        // A node has the only log of its database. Another node may have begun since this one looked: then this fails.
        if !self.logs()?.contains(&log) {
            self.database.begin(log)?;
        }
        let led = self.database.lead_after(log, &self.node, &mut |waits_for| {
            if matches!(waits_for, WaitsFor::Leader(_)) {
                meanwhile();
            }
            match waits_for {
                WaitsFor::Leader(name) if name == self.node.name => self.standby.wait_for_own_lease(),
                waits_for => self.standby.wait(waits_for),
            }
        });
        self.standby.has_begun();
        let led = led?;
        self.lead.note(led.epoch());
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(led.lead_watch());
        sync::replace(&self.note, format!("{log}\n").as_bytes())
            .map_err(|error| StorageError::Note { path: self.note.clone(), why: error.to_string() })?;
        Ok(Box::new(led))
    }

    fn open_confirmed(&self, log: LogId) -> Result<Option<Box<dyn LogReader>>, StorageError> {
        Ok(Some(Box::new(PostgresLogReader::open_confirmed(&self.database, log)?)))
    }

    fn lead_watch(&self) -> Option<LeadWatch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn has_started(&self) {
        self.database.close_idle();
    }

    fn health(&self) -> Option<Result<Health, DatabaseError>> {
        Some(self.database.health())
    }

    fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    fn shared_states(&self, log: LogId, masters: MasterKeys) -> Option<SharedStates> {
        let bucket = self.bucket.as_ref()?;
        Some(SharedStates::of(Arc::new(bucket.objects(log)), masters))
    }

    fn reader(&self, log: LogId) -> Result<Box<dyn LogReader>, StorageError> {
        Ok(Box::new(PostgresLogReader::open(&self.database, log)?))
    }

    fn vault(&self, log: LogId, masters: MasterKeys) -> Result<Arc<dyn SealedVault>, StorageError> {
        Ok(Arc::new(StoredVault::of(log, masters, PostgresEnvelopes::open(&self.database, log, self.lead.clone())?)))
    }

    fn pack_archive(&self, log: LogId) -> Result<Option<Arc<dyn PackArchive>>, StorageError> {
        Ok(Some(Arc::new(ArchiveInDatabase::of(PostgresPacks::open(&self.database, log, self.lead.clone())?))))
    }

    fn views(&self, log: LogId) -> Result<Box<dyn Views>, StorageError> {
        self.local.views(log)
    }

    fn views_beside(&self, log: LogId) -> Result<Box<dyn Views>, StorageError> {
        Backend::views_beside(&self.local, log)
    }

    fn outputs(&self, (log, vault): (LogId, &dyn Vault), limits: OutputLimits, now: Now) -> io::Result<Arc<dyn KeptOutputs>> {
        let local = self.local.open_outputs(limits, now.clone())?;
        let seal = OutputSeal::open_vault(vault, now()).map_err(io::Error::other)?;
        Ok(Arc::new(SharedOutputs::of(local, (self.objects(log)?, seal), now)?))
    }

    fn blobs(&self, log: LogId, limits: BlobLimits, now: Now) -> io::Result<Arc<dyn KeptBlobs>> {
        let local = self.local.open_blobs(limits, now.clone())?;
        Ok(Arc::new(SharedBlobs::of(local, self.objects(log)?, now)))
    }
}

impl KeptOutputs for SharedOutputs {
    fn go_on(&self, attempts: Vec<AttemptId>) -> Vec<OutputError> {
        Self::go_on(self, attempts)
    }
}

impl KeptBlobs for SharedBlobs {}

/// The files of packs in a database.
pub(crate) struct ArchiveInDatabase(Mutex<PostgresPacks>);

impl ArchiveInDatabase {
    pub(crate) fn of(packs: PostgresPacks) -> Self {
        Self(Mutex::new(packs))
    }
}

impl PackArchive for ArchiveInDatabase {
    fn keep(&self, source: &PackSource) -> Result<(), String> {
        let mut packs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        packs.put(&source.digest(), &to_stored_files(source)).map_err(|error| error.to_string())
    }

    fn exchange(&self, copies: &Path) -> Result<(), String> {
        let mut packs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let archived: BTreeSet<Digest> = packs.packs().map_err(|error| error.to_string())?.into_iter().collect();
        let local = list_copies(copies).map_err(|error| format!("the folder {} cannot be listed: {error}", copies.display()))?;
        let mut new = NewCopies::in_folder(copies);
        for digest in archived.iter().filter(|digest| !local.contains(digest)) {
            let files = packs.files(digest).map_err(|error| error.to_string())?;
            let source = to_pack_source(&files);
            if source.digest() != *digest {
                return Err(format!("the files of the pack {digest} in the database are not those that were written"));
            }
            new.write(&source).map_err(|error| error.to_string())?;
        }
        new.keep().map_err(|error| error.to_string())?;
        for digest in local.iter().filter(|digest| !archived.contains(digest)) {
            match PackSource::read_copy(copies, *digest) {
                Ok(source) => packs.put(digest, &to_stored_files(&source)).map_err(|error| error.to_string())?,
                // The log may no longer need it. If it does, its first use fails.
                Err(error) => tracing::warn!(%digest, %error, "a damaged copy of a pack is not in the database"),
            }
        }
        Ok(())
    }
}

/// Lists the copies of packs in a folder, which may be missing.
fn list_copies(copies: &Path) -> io::Result<BTreeSet<Digest>> {
    let entries = match std::fs::read_dir(copies) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut found = BTreeSet::new();
    for entry in entries {
        // What has another name is no copy.
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Digest>().ok()));
    }
    Ok(found)
}

fn to_stored_files(source: &PackSource) -> Vec<StoredFile> {
    let file = |(path, file): (&String, &PackFile)| StoredFile {
        path: path.clone(),
        is_program: file.mode == FileMode::Executable,
        content: file.bytes.to_vec(),
    };
    source.files.iter().map(file).collect()
}

fn to_pack_source(files: &[StoredFile]) -> PackSource {
    let file = |file: &StoredFile| {
        let mode = if file.is_program { FileMode::Executable } else { FileMode::Plain };
        (file.path.clone(), PackFile { bytes: Bytes::copy_from_slice(&file.content), mode })
    };
    PackSource { origin: "the database".to_owned(), files: files.iter().map(file).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_of_copies_may_be_missing_but_not_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"pack");
        assert!(list_copies(&folder.path().join("missing")).unwrap().is_empty());
        std::fs::create_dir(folder.path().join(digest.to_string())).unwrap();
        std::fs::create_dir(folder.path().join("new")).unwrap();
        assert_eq!(list_copies(folder.path()).unwrap(), BTreeSet::from([digest]));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(list_copies(&file).is_err());
    }
}
