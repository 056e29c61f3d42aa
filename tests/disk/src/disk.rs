//! A test's simulated disk: its faults, free space, power and content.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fault::{Failure, Fault, Plan};
use crate::file::{CutSummary, File};
use crate::folder::{FileId, Folder};
use crate::locks::{HandleId, Locks};
use crate::paths;
use crate::random::Random;
use crate::trace::{Kind, Operation, Outcome, Trace};
use crate::vfs;

/// A disk with one folder. Clones share the same disk.
#[derive(Clone)]
pub struct Disk(pub(crate) Arc<DiskInner>);

/// The unit that the disk writes atomically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sectors {
    /// 512.
    Bytes512,
    /// 4,096, as on today's disks.
    Bytes4096,
}

/// What a power cut did to the data that was not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerCut {
    /// The number of sectors that kept what was written.
    pub kept: u64,
    /// The number of sectors that went back to their earlier content.
    pub lost: u64,
    /// The number of sectors that were written partly.
    pub torn: u64,
    /// The number of name changes that were undone.
    pub names_lost: u64,
}

pub(crate) struct DiskInner {
    name: String,
    state: Mutex<State>,
}

struct State {
    random: Random,
    together: usize,
    files: BTreeMap<FileId, File>,
    folder: Folder,
    locks: BTreeMap<FileId, Locks>,
    plan: Plan,
    trace: Trace,
    space: Option<u64>,
    /// The process's number. Handles opened by an earlier process are invalid.
    life: u64,
    numbered: u64,
}

/// A file that a connection has open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    pub(crate) file: FileId,
    pub(crate) id: HandleId,
    life: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Opens an existing file.
    There,
    /// Creates the file if it does not exist.
    Made,
    /// Creates the file; it is an error if it already exists.
    MadeNew,
}

impl Disk {
    /// Creates an empty disk. No other disk may have this name while it is in use, because files are found by
    /// it.
    pub fn new(name: &str, seed: u64, sectors: Sectors) -> Self {
        vfs::register();
        let together = match sectors {
            Sectors::Bytes512 => 1,
            Sectors::Bytes4096 => 8,
        };
        let state = State {
            random: Random::new(seed),
            together,
            files: BTreeMap::new(),
            folder: Folder::default(),
            locks: BTreeMap::new(),
            plan: Plan::default(),
            trace: Trace::default(),
            space: None,
            life: 1,
            numbered: 0,
        };
        let disk = Self(Arc::new(DiskInner { name: name.to_owned(), state: Mutex::new(state) }));
        paths::enlist(name, &disk);
        disk
    }

    /// Returns the path of a file on this disk.
    pub fn path(&self, file: &str) -> PathBuf {
        paths::path(&self.0.name, file)
    }

    /// Makes an operation fail.
    pub fn fail(&self, fault: Fault) {
        self.state().plan.add(fault);
    }

    /// Clears all pending and permanent faults and the space limit.
    pub fn mend(&self) {
        let mut state = self.state();
        state.plan.clear();
        state.space = None;
    }

    /// Sets how many bytes all files together may occupy.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.state().space = bytes;
    }

    /// Returns how many bytes all files together occupy.
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// Ends the process that uses the disk. Everything it wrote is there, synced or not; its handles become
    /// invalid.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// Cuts the power: the process ends, and only some of the unsynced data survives.
    pub fn cut_power(&self) -> PowerCut {
        let mut state = self.state();
        state.kill();
        let State { random, together, files, folder, .. } = &mut *state;
        let names_lost = folder.cut_power(random);
        let mut cut = PowerCut { names_lost, ..PowerCut::default() };
        for file in files.values_mut() {
            let CutSummary { kept, lost, torn } = file.cut_power(random, *together);
            (cut.kept, cut.lost, cut.torn) = (cut.kept + kept, cut.lost + lost, cut.torn + torn);
        }
        let named: Vec<FileId> = folder.names().map(|(_, file)| file).collect();
        files.retain(|file, _| named.contains(file));
        cut
    }

    /// Returns the number of operations so far.
    pub fn operations(&self) -> u64 {
        self.state().trace.number()
    }

    /// Returns the newest operations, oldest first.
    pub fn trace(&self) -> Vec<Operation> {
        self.state().trace.newest()
    }

    /// Returns a checksum of all operations so far. Equal runs have equal checksums.
    pub fn sum(&self) -> u64 {
        self.state().trace.sum()
    }

    /// Lists the names of the files.
    pub fn names(&self) -> Vec<String> {
        self.state().folder.names().map(|(name, _)| name.to_owned()).collect()
    }

    /// Returns the file's content as a reader would get it.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.folder.file(name).map(|file| state.files[&file].bytes().to_vec())
    }

    /// Replaces a file's content, as someone with access to the disk could; `None` removes the file. The
    /// change is durable at once.
    pub fn replace(&self, name: &str, content: Option<&[u8]>) {
        let mut state = self.state();
        let file = FileId(state.number());
        state.folder.change(|names| match content {
            Some(_) => {
                names.insert(name.to_owned(), file);
            }
            None => {
                names.remove(name);
            }
        });
        state.folder.sync();
        if let Some(content) = content {
            state.files.insert(file, File::of(content));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operations of SQLite and the store.
impl Disk {
    pub(crate) fn open(&self, name: &str, opening: Opening) -> io::Result<Handle> {
        let mut state = self.state();
        state.attempt(Kind::Open, name, (0, 0))?;
        let file = match (state.folder.file(name), opening) {
            (Some(file), Opening::There | Opening::Made) => file,
            (Some(_), Opening::MadeNew) => return Err(ErrorKind::AlreadyExists.into()),
            (None, Opening::There) => return Err(ErrorKind::NotFound.into()),
            (None, Opening::Made | Opening::MadeNew) => state.make(name),
        };
        let (id, life) = (HandleId(state.number()), state.life);
        Ok(Handle { file, id, life })
    }

    pub(crate) fn create(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.attempt(Kind::Create, name, (0, 0))?;
        if state.folder.file(name).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.make(name);
        Ok(())
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.state().folder.file(name).is_some()
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.attempt(Kind::Remove, name, (0, 0))?;
        if state.folder.file(name).is_none() {
            return Err(ErrorKind::NotFound.into());
        }
        state.folder.change(|names| {
            names.remove(name);
        });
        Ok(())
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.attempt(Kind::Rename, from, (0, 0))?;
        let file = state.folder.file(from).ok_or(ErrorKind::NotFound)?;
        state.folder.change(|names| {
            names.remove(from);
            names.insert(to.to_owned(), file);
        });
        Ok(())
    }

    pub(crate) fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.attempt(Kind::SyncFolder, "", (0, 0))?;
        state.folder.sync();
        Ok(())
    }

    pub(crate) fn read(&self, handle: Handle, into: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let name = state.alive(handle)?;
        let failure = state.plan.next(Kind::Read);
        let part = state.files[&handle.file].read(into, place(offset)?);
        let outcome = match failure {
            None => Outcome::Done,
            Some(Failure::Io) => Outcome::Failed,
            Some(Failure::Part) => Outcome::Part,
        };
        state.trace.note(Kind::Read, &name, (offset, into.len() as u64), outcome);
        match failure {
            None if part == into.len() => Ok(()),
            None => Err(ErrorKind::UnexpectedEof.into()),
            Some(Failure::Io) => Err(disk_error()),
            Some(Failure::Part) => {
                into[part / 2..].fill(0);
                Err(disk_error())
            }
        }
    }

    pub(crate) fn write(&self, handle: Handle, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let name = state.alive(handle)?;
        let start = place(offset)?;
        let (room, failure) = (state.room(handle.file, start), state.plan.next(Kind::Write));
        let (count, outcome) = match failure {
            Some(Failure::Io) => (0, Outcome::Failed),
            Some(Failure::Part) => (bytes.len() / 2, Outcome::Part),
            None if bytes.len() > room => (room, Outcome::NoSpace),
            None => (bytes.len(), Outcome::Done),
        };
        if let Some(file) = state.files.get_mut(&handle.file) {
            file.write(&bytes[..count.min(room)], start);
        }
        state.trace.note(Kind::Write, &name, (offset, bytes.len() as u64), outcome);
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::NoSpace => Err(ErrorKind::WriteZero.into()),
            Outcome::Failed | Outcome::Part => Err(disk_error()),
        }
    }

    pub(crate) fn set_len(&self, handle: Handle, length: u64) -> io::Result<()> {
        let mut state = self.state();
        let name = state.alive(handle)?;
        let failure = state.plan.next(Kind::Truncate);
        let length = place(length)?;
        let outcome = match failure {
            Some(Failure::Io | Failure::Part) => Outcome::Failed,
            None if length > state.files[&handle.file].len().saturating_add(state.free()) => Outcome::NoSpace,
            None => Outcome::Done,
        };
        if let (Outcome::Done, Some(file)) = (outcome, state.files.get_mut(&handle.file)) {
            file.set_len(length);
        }
        state.trace.note(Kind::Truncate, &name, (length as u64, 0), outcome);
        if outcome == Outcome::Done { Ok(()) } else { Err(disk_error()) }
    }

    /// Syncs a file. The first sync of a journal also syncs its name, as SQLite does on a real machine.
    pub(crate) fn sync(&self, handle: Handle, names: Names) -> io::Result<()> {
        let mut state = self.state();
        let name = state.alive(handle)?;
        let failure = state.plan.next(Kind::Sync);
        let State { random, together, files, folder, trace, .. } = &mut *state;
        let file = files.get_mut(&handle.file).ok_or(ErrorKind::NotFound)?;
        match failure {
            None => {
                file.sync();
                trace.note(Kind::Sync, &name, (0, 0), Outcome::Done);
                if names == Names::Too {
                    folder.sync();
                    trace.note(Kind::SyncFolder, "", (0, 0), Outcome::Done);
                }
                Ok(())
            }
            Some(Failure::Io | Failure::Part) => {
                file.fail_sync(random, *together);
                trace.note(Kind::Sync, &name, (0, 0), Outcome::Failed);
                Err(disk_error())
            }
        }
    }

    pub(crate) fn size(&self, handle: Handle) -> io::Result<u64> {
        let state = self.state();
        state.alive(handle)?;
        Ok(state.files[&handle.file].len() as u64)
    }

    /// Runs a function on the locks of a file.
    pub(crate) fn locks<T>(&self, handle: Handle, act: impl FnOnce(&mut Locks) -> T) -> io::Result<T> {
        let mut state = self.state();
        state.alive(handle)?;
        Ok(act(state.locks.entry(handle.file).or_default()))
    }

    pub(crate) fn close(&self, handle: Handle) {
        let mut state = self.state();
        if state.life == handle.life
            && let Some(locks) = state.locks.get_mut(&handle.file)
        {
            locks.release(handle.id);
        }
    }
}

/// Whether the folder's names are synced together with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// They are synced.
    Too,
    /// They are not synced.
    Not,
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    fn make(&mut self, name: &str) -> FileId {
        let file = FileId(self.number());
        self.files.insert(file, File::default());
        self.folder.change(|names| {
            names.insert(name.to_owned(), file);
        });
        file
    }

    fn kill(&mut self) {
        self.life += 1;
        self.locks.clear();
    }

    /// Counts an operation that either succeeds completely or fails.
    fn attempt(&mut self, kind: Kind, name: &str, place: (u64, u64)) -> io::Result<()> {
        let failure = self.plan.next(kind);
        let outcome = if failure.is_none() { Outcome::Done } else { Outcome::Failed };
        self.trace.note(kind, name, place, outcome);
        if failure.is_none() { Ok(()) } else { Err(disk_error()) }
    }

    /// Returns the name of an open file if the process that opened it is still running.
    fn alive(&self, handle: Handle) -> io::Result<String> {
        if handle.life != self.life {
            return Err(io::Error::other("the process that opened the file has ended"));
        }
        let named = self.folder.names().find(|(_, file)| *file == handle.file);
        Ok(named.map_or_else(String::new, |(name, _)| name.to_owned()))
    }

    fn used_bytes(&self) -> u64 {
        self.folder.names().map(|(_, file)| self.files[&file].len() as u64).sum()
    }

    fn free(&self) -> usize {
        self.space.map_or(usize::MAX, |space| space.saturating_sub(self.used_bytes()) as usize)
    }

    /// Returns how many bytes can be written to a file from an offset on.
    fn room(&self, file: FileId, start: usize) -> usize {
        self.files[&file].len().saturating_add(self.free()).saturating_sub(start)
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| ErrorKind::InvalidInput.into())
}

fn disk_error() -> io::Error {
    io::Error::other("the disk failed, as it was told to")
}
