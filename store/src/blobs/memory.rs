//! Blobs in memory: for tests, and as a model for the folder.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ensue_engine::ports::{BlobError, BlobPart, Blobs, KeptBlob, NewBlob};
use ensue_engine::record::Digest;

use super::READ_BYTES_MAX;

/// Blobs in memory; a clone is the same store.
#[derive(Clone, Default)]
pub struct MemoryBlobs(Arc<Mutex<BTreeMap<Digest, Bytes>>>);

impl MemoryBlobs {
    /// Removes a blob.
    pub fn throw_away(&self, blob: &Digest) {
        self.lock().remove(blob);
    }

    /// Replaces a blob's bytes, as a damaged disk does.
    pub fn damage(&self, blob: &Digest, bytes: impl Into<Bytes>) {
        self.lock().insert(*blob, bytes.into());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct New {
    blobs: MemoryBlobs,
    bytes: Vec<u8>,
}

impl NewBlob for New {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn keep(self: Box<Self>) -> Result<KeptBlob, BlobError> {
        let kept = KeptBlob { digest: Digest::of(&self.bytes), bytes: self.bytes.len() as u64 };
        self.blobs.lock().insert(kept.digest, self.bytes.into());
        Ok(kept)
    }
}

impl Blobs for MemoryBlobs {
    fn begin(&self) -> Result<Box<dyn NewBlob>, BlobError> {
        Ok(Box::new(New { blobs: self.clone(), bytes: Vec::new() }))
    }

    fn read(&self, blob: &Digest, offset: u64, bytes_max: usize) -> Result<Option<BlobPart>, BlobError> {
        Ok(self.lock().get(blob).map(|whole| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
            let end = start.saturating_add(bytes_max.min(READ_BYTES_MAX)).min(whole.len());
            BlobPart { bytes: whole.slice(start..end), size: whole.len() as u64 }
        }))
    }
}
