//! Limits how many processes a program may have: by the supervisor's own control group if one can be created,
//! otherwise, for an ordinary user, by the limit on that user's processes.
//!
//! This module ends nothing; `tree` does. [`probe`] reports what the machine lacks.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};

use super::namespace::UserNamespace;
use super::tree;
use super::user::{User, acting_as};
use crate::programs::ProcessBound;

/// How many processes and threads a supervisor's group or user namespace allows in addition to the program: the supervisor's
/// own.
const SUPERVISOR_TASKS: u64 = 4;
/// The prefix of the groups' names.
const GROUP: &str = "ensue-";
/// The maximum number of leftover supervisor groups that are examined.
const GROUPS_MAX: usize = 10_000;

/// Returns the name of the group that a supervisor shares with its program only.
pub(crate) fn group_name(supervisor: u32) -> String {
    format!("{GROUP}{supervisor}")
}

/// What limits the programs of this supervisor. It is determined for the first program with a limit.
#[derive(Default)]
pub(crate) struct Bound {
    way: Option<LimitMethod>,
}

enum LimitMethod {
    /// `most` is the limit that the group is set to; none means no limit.
    Group {
        group: ControlGroup,
        most: Option<u64>,
    },
    User,
    Nothing,
}

impl Bound {
    /// Limits what this process starts from now on; none sets no limit. Keep the result until the program was
    /// started. The program runs as the given user.
    pub(super) fn raise(&mut self, most: Option<u64>, user: Option<User>, namespace: &UserNamespace) -> Option<InheritedLimit> {
        if most.is_none() && self.way.is_none() {
            return None;
        }
        match self.way.get_or_insert_with(LimitMethod::detect) {
            LimitMethod::Group { most: set, .. } if *set == most => None,
            LimitMethod::Group { group, most: set } => {
                if group.allow(most).is_ok() {
                    *set = most;
                }
                None
            }
            LimitMethod::User if namespace.counts_processes() => {
                most.and_then(|most| InheritedLimit::to(most.saturating_add(SUPERVISOR_TASKS), None))
            }
            // Counted each time: other processes that the user started meanwhile must not reduce what this
            // program may have.
            LimitMethod::User => most.and_then(|most| InheritedLimit::to(tasks_of(this_user()).saturating_add(most), None)),
            // Root itself cannot be limited, but another user that only this program has can.
            LimitMethod::Nothing => {
                user.and_then(User::own).zip(most).and_then(|(own, most)| InheritedLimit::to(tasks_of(own).saturating_add(most), user))
            }
        }
    }

    /// Leaves the group that was created.
    pub(crate) fn leave(self) {
        if let Some(LimitMethod::Group { group, .. }) = self.way {
            group.leave();
        }
    }
}

impl LimitMethod {
    fn detect() -> Self {
        match ControlGroup::join() {
            Ok(group) => Self::Group { group, most: None },
            Err(_) if !rustix::process::geteuid().is_root() => Self::User,
            Err(_) => Self::Nothing,
        }
    }
}

/// Returns what this machine offers, by creating a group and removing it. Blocks briefly.
pub(crate) fn probe() -> ProcessBound {
    let made = ControlGroup::make(&format!("{GROUP}probe-{}", std::process::id()));
    match made {
        Ok(group) => {
            group.remove();
            ProcessBound::Group
        }
        Err(_) if !rustix::process::geteuid().is_root() => ProcessBound::User,
        Err(error) => ProcessBound::Missing { why: format!("no control group is available ({error}), and no other limit applies to root") },
    }
}

/// A control group for processes.
struct ControlGroup {
    above: PathBuf,
    own: PathBuf,
}

impl ControlGroup {
    /// Creates a group below this process's group, and moves this process into it.
    fn join() -> io::Result<Self> {
        let group = Self::make(&group_name(std::process::id()))?;
        match fs::write(group.own.join("cgroup.procs"), "0") {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    fn make(name: &str) -> io::Result<Self> {
        let above = group_of_this_process()?;
        // In a unified hierarchy, a group passes its controllers on to the groups below it.
        let _ = fs::write(above.join("cgroup.subtree_control"), "+pids");
        remove_left(&above);
        let group = Self { own: above.join(name), above };
        fs::create_dir(&group.own)?;
        if let Err(error) = group.fit() {
            group.remove();
            return Err(error);
        }
        Ok(group)
    }

    /// Prepares a new group so that it limits processes and can be joined. Returns an error if that is not
    /// possible.
    fn fit(&self) -> io::Result<()> {
        let unfit = |why| io::Error::new(io::ErrorKind::Unsupported, why);
        // In a unified hierarchy, a group below one that has processes itself can only hold threads of those,
        // and has to be declared so. The limit is the same. Older hierarchies do not have this file.
        let kind = self.own.join("cgroup.type");
        if is_invalid(&kind) {
            fs::write(&kind, "threaded")?;
        }
        if is_invalid(&kind) {
            return Err(unfit("no process can join it"));
        }
        if self.own.join("pids.max").exists() { Ok(()) } else { Err(unfit("it does not limit processes")) }
    }

    /// Allows this many processes for the program in addition to the supervisor; none means no limit.
    fn allow(&self, most: Option<u64>) -> io::Result<()> {
        let room = most.map_or_else(|| "max".to_owned(), |most| most.saturating_add(SUPERVISOR_TASKS).to_string());
        fs::write(self.own.join("pids.max"), room)
    }

    fn leave(self) {
        // The group cannot be removed while this process is in it.
        if fs::write(self.above.join("cgroup.procs"), "0").is_ok() {
            self.remove();
        }
    }

    fn remove(&self) {
        let _ = fs::remove_dir(&self.own);
    }
}

/// Returns true if a group is of a kind that nothing can join.
fn is_invalid(kind: &Path) -> bool {
    fs::read_to_string(kind).is_ok_and(|kind| kind.trim() == "domain invalid")
}

/// Finds the folder of this process's control group for processes.
fn group_of_this_process() -> io::Result<PathBuf> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "there is no control group for processes");
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let (root, path) = group_in(&groups).ok_or_else(none)?;
    let folder = Path::new(root).join(path.trim_start_matches('/'));
    if folder.join("cgroup.procs").exists() { Ok(folder) } else { Err(none()) }
}

/// Returns the usual mount point of the group, and its path.
fn group_in(groups: &str) -> Option<(&'static str, &str)> {
    let of_processes = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|one| one == "pids").then_some(path)
    });
    match of_processes {
        Some(path) => Some(("/sys/fs/cgroup/pids", path)),
        None => groups.lines().find_map(|line| line.strip_prefix("0::")).map(|path| ("/sys/fs/cgroup", path)),
    }
}

/// Removes the groups of supervisors that are gone. A group that holds a process cannot be removed.
fn remove_left(above: &Path) {
    let Ok(entries) = fs::read_dir(above) else { return };
    for entry in entries.flatten().take(GROUPS_MAX) {
        let name = entry.file_name();
        let of = name.to_str().and_then(|name| name.strip_prefix(GROUP)?.parse::<i32>().ok());
        if of.is_some_and(|process| tree::started_at(process).is_none()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn this_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns how many processes and threads a user has now.
fn tasks_of(user: u32) -> u64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let is_process = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let is_own = |entry: &fs::DirEntry| is_process(entry) && entry.metadata().is_ok_and(|about| about.uid() == user);
    // Each thread is a subfolder, whose link to its parent counts: no file has to be read.
    let threads = |entry: fs::DirEntry| fs::metadata(entry.path().join("task")).map_or(0, |tasks| tasks.nlink().saturating_sub(2));
    processes.flatten().filter(is_own).map(threads).sum()
}

/// A limit of this process that is inherited by what it starts, until it is dropped.
pub(super) struct InheritedLimit {
    before: Rlimit,
    most: u64,
    user: Option<User>,
}

impl InheritedLimit {
    fn to(most: u64, user: Option<User>) -> Option<Self> {
        let before = getrlimit(Resource::Nproc);
        let most = before.current.map_or(most, |current| current.min(most));
        setrlimit(Resource::Nproc, Rlimit { current: Some(most), ..before }).ok()?;
        Some(Self { before, most, user })
    }

    /// Makes the limit permanent for the started process: an inherited limit could be raised again.
    pub(crate) fn fasten(&self) {
        acting_as(self.user, || {
            for process in tree::descendants(rustix::process::getpid()) {
                // It may have ended already.
                let _ = prlimit(Some(process), Resource::Nproc, Rlimit { current: Some(self.most), maximum: Some(self.most) });
            }
        });
    }
}

impl Drop for InheritedLimit {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nproc, self.before);
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn control_group_for_processes_is_read_from_proc() {
        let both = "9:name=systemd:/\n8:cpu,pids:/a/b\n0::/\n";
        assert_eq!(group_in(both), Some(("/sys/fs/cgroup/pids", "/a/b")));
        assert_eq!(group_in("0::/system.slice/ensue.service\n"), Some(("/sys/fs/cgroup", "/system.slice/ensue.service")));
        assert_eq!(group_in("2:cpu:/\n"), None);
    }

    fn group_at(folder: &TempDir) -> ControlGroup {
        ControlGroup { above: folder.path().to_owned(), own: folder.path().to_owned() }
    }

    fn room(folder: &TempDir) -> String {
        fs::read_to_string(folder.path().join("pids.max")).unwrap()
    }

    #[test]
    fn control_group_has_space_for_the_next_program() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("pids.max"), "max\n").unwrap();
        let mut bound = Bound { way: Some(LimitMethod::Group { group: group_at(&folder), most: None }) };
        for (most, expected) in [(Some(0), "4"), (Some(9), "13"), (None, "max"), (Some(9), "13")] {
            assert!(bound.raise(most, None, &UserNamespace::default()).is_none());
            assert_eq!(room(&folder), expected, "{most:?}");
        }
    }

    #[test]
    fn invalid_domain_group_becomes_threaded_and_others_are_unchanged() {
        let folder = TempDir::new().unwrap();
        let (kind, group) = (folder.path().join("cgroup.type"), group_at(&folder));
        assert!(group.fit().is_err(), "it bounds nothing");
        fs::write(folder.path().join("pids.max"), "max\n").unwrap();
        group.fit().unwrap();
        assert!(!kind.exists());
        for (before, after) in [("domain\n", "domain\n"), ("threaded\n", "threaded\n"), ("domain invalid\n", "threaded")] {
            fs::write(&kind, before).unwrap();
            group.fit().unwrap();
            assert_eq!(fs::read_to_string(&kind).unwrap(), after);
        }
    }

    #[test]
    fn every_thread_of_the_user_is_counted() {
        let process = format!("/proc/{}", std::process::id());
        let threads = fs::read_dir(format!("{process}/task")).unwrap().count() as u64;
        assert!(threads >= 2 && tasks_of(this_user()) >= threads);
        let stopped = std::sync::Barrier::new(1_001);
        std::thread::scope(|scope| {
            for _ in 0..1_000 {
                std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, || stopped.wait()).unwrap();
            }
            assert!(tasks_of(this_user()) >= 1_000);
            stopped.wait();
        });
    }
}
