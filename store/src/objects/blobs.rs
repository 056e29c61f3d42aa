//! Artifacts in a folder, each of which is copied to the shared store before it counts as stored.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::ports::{BlobError, BlobPart, Blobs, KeptBlob, NewBlob};
use ensue_engine::record::Digest;

use super::{Object, ObjectError, ObjectKind, ObjectOwner, Objects, expire};
use crate::blobs::FolderBlobs;
use crate::disk_retention::{Disposable, Expiring, Round, Step};
use crate::outputs::Now;

/// The maximum number of bytes of a part of an artifact, which is held in memory as a whole.
const PART_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Artifacts in a folder and in a shared store; a clone is the same store.
///
/// An artifact that is longer than the shared store allows is only in the folder.
#[derive(Clone)]
pub struct SharedBlobs {
    local: FolderBlobs,
    objects: Arc<dyn Objects>,
    now: Now,
}

impl SharedBlobs {
    /// Shares the artifacts of a folder.
    pub fn of(local: FolderBlobs, objects: Arc<dyn Objects>, now: Now) -> Self {
        Self { local, objects, now }
    }

    fn share(&self, kept: KeptBlob) -> Result<(), BlobError> {
        let bytes_max = self.objects.bytes_max(ObjectKind::Artifact);
        if kept.bytes > bytes_max {
            tracing::warn!(artifact = %kept.digest, bytes = kept.bytes, bytes_max, "an artifact is too long to be shared; only this node has it");
            return Ok(());
        }
        let mut offset = 0;
        loop {
            let Some(read) = self.local.read(&kept.digest, offset, PART_BYTES_MAX)? else {
                return Err(BlobError::Store("an artifact cannot be read back".to_owned()));
            };
            let object = Object { owner: owner(&kept.digest), part: part_at(offset), content: read.bytes.to_vec() };
            self.objects.put(&[object], (self.now)()).map_err(|error| blob_error(&error))?;
            offset += read.bytes.len() as u64;
            // An empty artifact has one empty part.
            if offset >= kept.bytes || read.bytes.is_empty() {
                return Ok(());
            }
        }
    }

    /// Copies an artifact from the shared store. Returns false if it is not there either.
    fn fetch(&self, blob: &Digest) -> Result<bool, BlobError> {
        let owner = owner(blob);
        let parts = self.objects.parts(&owner).map_err(|error| blob_error(&error))?;
        if parts.is_empty() {
            return Ok(false);
        }
        let mut new = self.local.begin()?;
        for part in parts {
            for object in self.objects.get(&owner, &[part.name]).map_err(|error| blob_error(&error))? {
                new.write(&object.content)?;
            }
        }
        if new.keep()?.digest != *blob {
            return Err(BlobError::Store(format!("the bytes of the artifact {blob} in the shared store are not those that were written")));
        }
        Ok(true)
    }
}

impl Expiring for SharedBlobs {
    fn used_bytes(&self) -> u64 {
        Disposable::used_bytes(&self.local)
    }

    /// The last part also removes old artifacts from the shared store.
    fn step(&self, round: &mut Round) -> io::Result<Step> {
        let step = round.step(&self.local)?;
        if matches!(step, Step::Over(_)) {
            expire(&*self.objects, ObjectKind::Artifact, (round.limits(), (self.now)()));
        }
        Ok(step)
    }
}

impl Blobs for SharedBlobs {
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
        Ok(Box::new(NewSharedBlob { local: self.local.begin()?, shared: self.clone() }))
    }

    fn read(&self, blob: &Digest, offset: u64, bytes_max: usize) -> Result<Option<BlobPart>, BlobError> {
        match self.local.read(blob, offset, bytes_max)? {
            Some(part) => Ok(Some(part)),
            // Lists ask only whether an artifact is stored, and how long it is.
            None if bytes_max == 0 => {
                let parts = self.objects.parts(&owner(blob)).map_err(|error| blob_error(&error))?;
                let size = parts.iter().map(|part| part.bytes).sum();
                Ok((!parts.is_empty()).then(|| BlobPart { bytes: Bytes::new(), size }))
            }
            None if self.fetch(blob)? => self.local.read(blob, offset, bytes_max),
            None => Ok(None),
        }
    }
}

/// An artifact that is being written.
struct NewSharedBlob {
    local: Box<dyn NewBlob>,
    shared: SharedBlobs,
}

impl NewBlob for NewSharedBlob {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.local.write(bytes)
    }

    fn keep(self: Box<Self>) -> Result<KeptBlob, BlobError> {
        let kept = self.local.keep()?;
        self.shared.share(kept)?;
        Ok(kept)
    }
}

fn owner(blob: &Digest) -> ObjectOwner {
    ObjectOwner { kind: ObjectKind::Artifact, name: blob.to_string() }
}

/// Returns the name of the part at an offset. Parts are listed in the order of their names.
fn part_at(offset: u64) -> String {
    format!("{offset:020}")
}

fn blob_error(error: &ObjectError) -> BlobError {
    BlobError::Store(error.to_string())
}
