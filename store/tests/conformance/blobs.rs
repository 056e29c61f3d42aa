//! The behavior that every blob store must have.

use std::sync::Arc;

use ensue_engine::ports::{Blobs, KeptBlob};
use ensue_engine::record::Digest;

use ensue_store::blobs::{BlobLimits, FolderBlobs, MemoryBlobs, READ_BYTES_MAX};
use ensue_store::objects::{MemoryObjects, SharedBlobs};
use ensue_test_support::NOON;

macro_rules! on_every_blob_store {
    ($($case:ident)*) => {
        mod in_memory {
            $(#[test] fn $case() { super::$case(&super::MemoryBlobs::default()); })*
        }
        mod in_a_folder {
            $(#[test] fn $case() {
                let folder = tempfile::tempdir().unwrap();
                super::$case(&super::in_a_folder_at(&folder.path().join("blobs")));
            })*
        }
        mod in_a_shared_store {
            $(#[test] fn $case() {
                let folder = tempfile::tempdir().unwrap();
                let local = super::in_a_folder_at(&folder.path().join("blobs"));
                super::$case(&super::SharedBlobs::of(local, super::Arc::new(super::MemoryObjects::default()), super::Arc::new(|| super::NOON)));
            })*
        }
    };
}

on_every_blob_store! {
    stored_blob_is_read_by_its_hash
    unfinished_blob_is_not_readable
    equal_bytes_are_one_blob
    part_is_read_at_an_offset
    empty_blob_is_valid
    long_blob_is_read_in_parts
}

fn in_a_folder_at(path: &std::path::Path) -> FolderBlobs {
    FolderBlobs::open(path, BlobLimits { quota_bytes: u64::MAX, free_bytes: 0 }, Arc::new(|| NOON)).unwrap()
}

fn keep(blobs: &dyn Blobs, pieces: &[&[u8]]) -> KeptBlob {
    let mut new = blobs.begin().unwrap();
    pieces.iter().for_each(|piece| new.write(piece).unwrap());
    new.keep().unwrap()
}

fn stored_blob_is_read_by_its_hash(blobs: &dyn Blobs) {
    let kept = keep(blobs, &[b"hello ", b"world"]);
    assert_eq!(kept, KeptBlob { digest: Digest::of(b"hello world"), bytes: 11 });
    let part = blobs.read(&kept.digest, 0, 100).unwrap().unwrap();
    assert_eq!((part.bytes.as_ref(), part.size), (b"hello world".as_slice(), 11));
}

fn unfinished_blob_is_not_readable(blobs: &dyn Blobs) {
    let mut new = blobs.begin().unwrap();
    new.write(b"half").unwrap();
    drop(new);
    assert_eq!(blobs.read(&Digest::of(b"half"), 0, 100).unwrap(), None);
}

fn equal_bytes_are_one_blob(blobs: &dyn Blobs) {
    assert_eq!(keep(blobs, &[b"same"]), keep(blobs, &[b"sa", b"me"]));
}

fn part_is_read_at_an_offset(blobs: &dyn Blobs) {
    let kept = keep(blobs, &[b"0123456789"]);
    let read = |offset, bytes_max| blobs.read(&kept.digest, offset, bytes_max).unwrap().unwrap();
    assert_eq!(read(3, 4).bytes, "3456");
    assert_eq!(read(8, 4).bytes, "89");
    assert_eq!((read(10, 4).bytes.len(), read(u64::MAX, 4).bytes.len(), read(0, 0).bytes.len()), (0, 0, 0));
}

fn empty_blob_is_valid(blobs: &dyn Blobs) {
    let kept = keep(blobs, &[]);
    let part = blobs.read(&kept.digest, 0, 10).unwrap().unwrap();
    assert_eq!((part.bytes.len(), part.size), (0, 0));
}

fn long_blob_is_read_in_parts(blobs: &dyn Blobs) {
    let long: Vec<u8> = (0..READ_BYTES_MAX + 3).map(|at| (at % 253) as u8).collect();
    let kept = keep(blobs, &[&long]);
    let first = blobs.read(&kept.digest, 0, usize::MAX).unwrap().unwrap();
    assert_eq!(first.bytes, long[..READ_BYTES_MAX]);
    assert_eq!(blobs.read(&kept.digest, READ_BYTES_MAX as u64, usize::MAX).unwrap().unwrap().bytes, long[READ_BYTES_MAX..]);
}
