//! The small files of a node in a power cut: unsynced content survives, is lost or survives partly, and so do
//! names.
//!
//! The files are on the machine's own file system and are written without delay. This module notes what was
//! synced; a power cut restores something that a disk may hold at that point. SQLite's files have their own
//! disk (`ensue-disk`). The following are left complete: the copies of packs, because their crate has its own
//! way of syncing; outputs and artifacts, because no decision depends on them; and the reserved space,
//! because it holds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_store::sync::Lasting;

use crate::random::Random;

/// The unit that a disk writes atomically.
const SECTOR_BYTES: usize = 512;
/// The folders that a power cut leaves unchanged.
const LEFT_ALONE: [&str; 4] = ["packs", "outputs", "blobs", "spare"];
/// The suffixes of SQLite's files.
const SQLITE: [&str; 3] = [".sqlite", ".sqlite-wal", ".sqlite-shm"];

/// The disks of the worlds of this process, by their folders.
static WORLDS: Mutex<BTreeMap<PathBuf, Arc<Mutex<DurableState>>>> = Mutex::new(BTreeMap::new());

/// The small files below a world's folder; the folder itself is durable.
pub(crate) struct SmallFiles {
    folder: PathBuf,
    synced: Arc<Mutex<DurableState>>,
}

/// The synced state, which is durable.
#[derive(Debug, Default)]
struct DurableState {
    /// The content by inode.
    contents: BTreeMap<u64, Vec<u8>>,
    /// The names of each folder with their inodes.
    names: BTreeMap<PathBuf, BTreeMap<String, u64>>,
}

/// The effects of a power cut on small files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cut {
    /// How many names vanished or reappeared.
    pub(crate) names: u32,
    /// How many files lost some or all of their new content.
    pub(crate) contents: u32,
}

impl SmallFiles {
    /// Notes everything that is made durable below a folder from now on.
    pub(crate) fn below(folder: &Path) -> std::io::Result<Self> {
        ensue_store::sync::set_witness(note_durable);
        let folder = folder.canonicalize()?;
        let synced = Arc::<Mutex<DurableState>>::default();
        lock(&WORLDS).insert(folder.clone(), synced.clone());
        Ok(Self { folder, synced })
    }

    /// Makes the kernel write something back by itself, as it does every few seconds: some files in their
    /// current state, and the names of some folders.
    pub(crate) fn write_back(&self, random: &mut Random) -> std::io::Result<()> {
        write_back(&self.folder, &mut lock(&self.synced), random)
    }

    /// Cuts the power; no file is open then.
    pub(crate) fn cut_power(&self, random: &mut Random) -> std::io::Result<Cut> {
        let mut cut = Cut::default();
        let mut synced = lock(&self.synced);
        put_back(&self.folder, &synced, random, &mut cut)?;
        // The disk's content when the machine comes up again is durable.
        *synced = DurableState::default();
        remember(&self.folder, &mut synced)?;
        Ok(cut)
    }
}

impl Drop for SmallFiles {
    fn drop(&mut self) {
        lock(&WORLDS).remove(&self.folder);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Receives a note of everything that a store of this process makes durable.
fn note_durable(lasting: Lasting<'_>) {
    let (Lasting::File(path) | Lasting::Folder(path)) = lasting;
    let world = lock(&WORLDS).iter().find(|(folder, _)| path.starts_with(folder)).map(|(_, synced)| synced.clone());
    let Some(world) = world else { return };
    let mut synced = lock(&world);
    match lasting {
        Lasting::File(path) => {
            if let (Ok(about), Ok(content)) = (fs::metadata(path), fs::read(path)) {
                synced.contents.insert(about.ino(), content);
            }
        }
        Lasting::Folder(path) => {
            if let Ok(names) = list_files(path) {
                synced.names.insert(path.to_owned(), names);
            }
        }
    }
}

/// Lists by name the files that a power cut affects.
fn list_files(folder: &Path) -> std::io::Result<BTreeMap<String, u64>> {
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !LEFT_ALONE.contains(&name.as_str()) && !SQLITE.iter().any(|end| name.ends_with(end)) {
            names.insert(name, entry.metadata()?.ino());
        }
    }
    Ok(names)
}

fn write_back(folder: &Path, synced: &mut DurableState, random: &mut Random) -> std::io::Result<()> {
    let names = list_files(folder)?;
    for (name, inode) in &names {
        let path = folder.join(name);
        if path.is_dir() {
            write_back(&path, synced, random)?;
        } else if random.chance(0.5) {
            synced.contents.insert(*inode, fs::read(&path)?);
        }
    }
    if random.chance(0.5) {
        synced.names.insert(folder.to_owned(), names);
    }
    Ok(())
}

fn put_back(folder: &Path, synced: &DurableState, random: &mut Random, cut: &mut Cut) -> std::io::Result<()> {
    let none = BTreeMap::new();
    let before = synced.names.get(folder).unwrap_or(&none);
    let now = list_files(folder)?;
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for name in names {
        let path = folder.join(name);
        let is_new = before.get(name) != now.get(name);
        let goes_back = is_new && random.chance(0.5);
        let old = before.get(name).filter(|_| goes_back).and_then(|inode| synced.contents.get(inode));
        cut.names += u32::from(goes_back);
        match (goes_back, now.get(name), old) {
            (true, Some(_), None) if path.is_dir() => fs::remove_dir_all(&path)?,
            (true, Some(_), None) => fs::remove_file(&path)?,
            (true, _, Some(content)) => write_private(&path, content)?,
            // A folder that was removed, or a file that was never synced: nothing reappears.
            (true, None, None) | (false, None, _) => {}
            (false, Some(_), _) if path.is_dir() => put_back(&path, synced, random, cut)?,
            (false, Some(inode), _) => {
                let lasts = synced.contents.get(inode).map(Vec::as_slice).unwrap_or_default();
                let written = fs::read(&path)?;
                if lasts != written {
                    let left = left_of(lasts, &written, random);
                    cut.contents += u32::from(left != written);
                    write_private(&path, &left)?;
                }
            }
        }
    }
    Ok(())
}

/// Returns what a disk may hold of a file that was overwritten and not synced: each sector is the old one or
/// the new one, and a sector that was added and not written is all zeros.
fn left_of(lasts: &[u8], written: &[u8], random: &mut Random) -> Vec<u8> {
    match random.pick_weighted(&[2, 2, 3]) {
        0 => written.to_vec(),
        1 => lasts.to_vec(),
        _ => {
            let (least, most) = (lasts.len().min(written.len()), lasts.len().max(written.len()));
            let length = match random.pick_weighted(&[1, 1, 1]) {
                0 => lasts.len(),
                1 => written.len(),
                _ => random.between(least as u64, most as u64) as usize,
            };
            let mut left = vec![0; length];
            for (place, sector) in left.chunks_mut(SECTOR_BYTES).enumerate() {
                let source = if random.chance(0.5) { written } else { lasts };
                let source = source.get(place * SECTOR_BYTES..).unwrap_or_default();
                let known = source.len().min(sector.len());
                sector[..known].copy_from_slice(&source[..known]);
            }
            left
        }
    }
}

/// Creates a file as the product does: a new one, accessible only to its owner.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

/// Notes that everything below a folder is durable in its current state.
fn remember(folder: &Path, synced: &mut DurableState) -> std::io::Result<()> {
    let names = list_files(folder)?;
    for (name, inode) in &names {
        let path = folder.join(name);
        if path.is_dir() {
            remember(&path, synced)?;
        } else {
            synced.contents.insert(*inode, fs::read(&path)?);
        }
    }
    synced.names.insert(folder.to_owned(), names);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        folder: tempfile::TempDir,
        files: SmallFiles,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = SmallFiles::below(folder.path()).unwrap();
            Self { folder, files }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().canonicalize().unwrap().join(name)
        }

        fn write(&self, name: &str, content: &[u8]) {
            fs::write(self.path(name), content).unwrap();
        }

        fn sync(&self, names: &[&str]) {
            names.iter().for_each(|name| note_durable(Lasting::File(&self.path(name))));
            note_durable(Lasting::Folder(&self.path("")));
        }
    }

    /// Returns everything that a file holds after power cuts with many seeds; `None` if it is missing.
    fn outcomes(made: impl Fn(&World), name: &str) -> BTreeSet<Option<Vec<u8>>> {
        let cut = |seed| {
            let world = World::new();
            made(&world);
            world.files.cut_power(&mut Random::new(seed)).unwrap();
            fs::read(world.path(name)).ok()
        };
        (0..60).map(cut).collect()
    }

    #[test]
    fn content_synced_with_its_name_survives_every_power_cut() {
        let made = |world: &World| {
            world.write("a", b"one");
            world.sync(&["a"]);
        };
        assert_eq!(outcomes(made, "a"), BTreeSet::from([Some(b"one".to_vec())]));
    }

    #[test]
    fn unsynced_name_may_vanish_and_unsynced_content_be_empty_or_zeros() {
        let made = |world: &World| world.write("a", b"one");
        let wanted = [None, Some(Vec::new()), Some(vec![0; 3]), Some(b"one".to_vec())];
        let outcomes = outcomes(made, "a");
        assert!(wanted.iter().all(|wanted| outcomes.contains(wanted)), "{outcomes:?}");
    }

    #[test]
    fn replaced_file_is_the_old_or_the_new_one_and_never_a_mixture() {
        let made = |world: &World| {
            world.write("a", b"old");
            world.sync(&["a"]);
            world.write("a.new", b"newer");
            note_durable(Lasting::File(&world.path("a.new")));
            fs::rename(world.path("a.new"), world.path("a")).unwrap();
        };
        assert_eq!(outcomes(made, "a"), BTreeSet::from([Some(b"newer".to_vec()), Some(b"old".to_vec())]));
    }

    #[test]
    fn content_written_back_by_the_kernel_survives_in_that_state() {
        let made = |world: &World| {
            world.write("a", b"one\n");
            let mut random = Random::new(1);
            (0..20).for_each(|_| world.files.write_back(&mut random).unwrap());
            world.write("a", b"one\ntwo\n");
        };
        let outcomes = outcomes(made, "a");
        assert!(outcomes.contains(&Some(b"one\n".to_vec())) && outcomes.contains(&Some(b"one\ntwo\n".to_vec())), "{outcomes:?}");
        assert!(!outcomes.contains(&None));
    }

    #[test]
    fn content_after_one_power_cut_survives_the_next() {
        for seed in 0..20 {
            let world = World::new();
            world.write("a", b"one");
            let mut random = Random::new(seed);
            world.files.cut_power(&mut random).unwrap();
            let first = fs::read(world.path("a")).ok();
            world.files.cut_power(&mut random).unwrap();
            assert_eq!(fs::read(world.path("a")).ok(), first);
        }
    }
}
