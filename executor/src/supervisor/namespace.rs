//! The namespaces of a program that runs as the node's own user: a user and a mount namespace.
//!
//! Landlock does not govern the calls that change the metadata of a file: its mode, owner, times and extended attributes. A user
//! may change those of every file that it owns. A read-only mount refuses them. So the program gets mounts of its own, in which
//! everything is read-only except what it may write, and hidden files do not exist.
//!
//! A program that runs as another user than the node owns none of these files, and needs no namespaces.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{Signal, getegid, geteuid};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::programs::{Isolation, IsolationMode, ProgramUsers, SupervisorCommand, Wall};

/// The argument, in place of its folder, with which a supervisor tries whether it can create namespaces.
pub(super) const PROBE: &str = "namespaces";
/// The maximum length of what it prints, in bytes.
const REASON_BYTES_MAX: u64 = 4 << 10;
/// How long it may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);
const PROBE_LOOK_EVERY: Duration = Duration::from_millis(1);
/// The file in the folder of a supervisor with the answer of the probe. Supervisors whose programs need no namespaces lack it.
const NOTE: &str = "namespaces";
/// The file with the maximum number of user namespaces of each user.
const USER_NAMESPACES_MAX: &str = "/proc/sys/user/max_user_namespaces";
/// The maximum size of the list of mounts, in bytes.
const MOUNTS_BYTES_MAX: u64 = 16 << 20;

/// File systems whose server may not answer. Their mounts are left as they are unless the program is given paths on them:
/// otherwise no program would start while a server is away.
const REMOTE: &[&str] = &["afs", "autofs", "ceph", "cifs", "fuse", "fuseblk", "nfs", "nfs4", "smb3"];
const REMOTE_BY_PREFIX: &str = "fuse.";

/// Folders of settings that programs reject unless each file in them belongs to the superuser or to their own user, as OpenSSH does
/// with the files that `/etc/ssh/ssh_config` includes.
const OWNER_CHECKED: &[&str] = &["/etc/ssh/ssh_config.d"];
/// The maximum number of files in such a folder, and the maximum size of each in bytes.
const OWNER_CHECKED_FILES_MAX: usize = 64;
const OWNER_CHECKED_BYTES_MAX: u64 = 64 << 10;
/// Where links in such a folder may lead.
const SETTINGS_OF_THE_SYSTEM: &[&str] = &["/etc", "/usr"];

/// Why a program gets no namespaces.
#[derive(Debug, Error)]
pub(super) enum NamespaceError {
    /// The probe found that the machine has none.
    #[error("{0}")]
    Missing(String),
    /// The probe could not find out whether the machine has them.
    #[error("{0}")]
    Untried(String),
    /// The system does not let the node's user create a user namespace.
    #[error("this system lets the node's user create no user namespace ({0})")]
    User(io::Error),
    /// The system does not let the node's user create a mount namespace.
    #[error("this system lets the node's user create no mount namespace ({0})")]
    Mounts(Errno),
    /// The list of mounts cannot be read.
    #[error("the list of mounts cannot be read ({0})")]
    List(io::Error),
    /// A mount cannot be created or changed.
    #[error("`{}` cannot be {what} for the program ({error})", path.display())]
    Path {
        /// What was to be done with it.
        what: &'static str,
        path: PathBuf,
        error: io::Error,
    },
}

impl NamespaceError {
    /// Returns true if the machine lacks namespaces, so that no program of the node's user gets them. Otherwise the error concerns
    /// one program.
    pub(super) fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Missing(_) => true,
            Self::User(error) => Errno::from_io_error(error)
                .is_some_and(|error| is_refused(error) || is_maximum_of_zero(error, Path::new(USER_NAMESPACES_MAX))),
            Self::Mounts(error) => is_refused(*error),
            Self::Untried(_) | Self::List(_) | Self::Path { .. } => false,
        }
    }
}

fn is_refused(error: Errno) -> bool {
    matches!(error, Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOSYS)
}

/// Returns true if an error says that the maximum number of namespaces is reached, and this file says
/// that it is 0. Any other maximum may be reached only for a while.
fn is_maximum_of_zero(error: Errno, maximum: &Path) -> bool {
    error == Errno::NOSPC && fs::read_to_string(maximum).is_ok_and(|maximum| maximum.trim() == "0")
}

/// What a program sees of the file system. All paths are resolved.
pub(super) struct View<'v> {
    /// Its private directory, which it may change.
    pub(super) private: &'v Path,
    /// The folder of its pack.
    pub(super) pack: &'v Path,
    /// Other paths that it may change.
    pub(super) writable: &'v [PathBuf],
    /// Other paths that it may read.
    pub(super) readable: &'v [PathBuf],
    /// What is not there, even inside the others. The private directory and the pack's folder are there even inside these.
    pub(super) hidden: &'v [PathBuf],
    /// Folders in which it finds copies of the files that belong to its own user.
    pub(super) copied: &'v [PathBuf],
}

/// Returns whether a supervisor that is started with this command can create namespaces, by starting one. Blocks.
///
/// Only another process can try it. Where AppArmor restricts user namespaces, a process may create one and not use it: it would be in
/// it for good, as a user that does not exist there.
pub(crate) fn probe(command: &SupervisorCommand) -> Wall {
    match ask_probe(command) {
        Ok(ProbeAnswer::Possible) => Wall::Stands,
        Ok(ProbeAnswer::Missing(why) | ProbeAnswer::Failed(why)) => Wall::Missing { why },
        Err(error) => Wall::Missing { why: format!("no process was available to test it ({error})") },
    }
}

fn ask_probe(command: &SupervisorCommand) -> io::Result<ProbeAnswer> {
    let mut child = command.in_folder(Path::new(PROBE)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > PROBE_PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end in time"));
        }
        std::thread::sleep(PROBE_LOOK_EVERY);
    };
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(REASON_BYTES_MAX).read_to_end(&mut answer)?;
    }
    Ok(read_answer(&answer, status))
}

/// Reads what a process printed that was to create namespaces and ended like this.
fn read_answer(printed: &[u8], status: ExitStatus) -> ProbeAnswer {
    let ended = || {
        if status.signal() == Some(Signal::SYS.as_raw()) {
            return ProbeAnswer::Missing("a filter of system calls ended the process that was to create a user namespace".to_owned());
        }
        ProbeAnswer::Failed("the process that was to create a user namespace ended without an answer".to_owned())
    };
    serde_json::from_slice(printed).unwrap_or_else(|_| ended())
}

/// Tries what a program's start does with namespaces, and returns what [`probe`] reads.
pub(super) fn try_out() -> serde_json::Result<Vec<u8>> {
    // Folders that every system has, in place of those of a program, whose own are hidden as well.
    let (private, pack, hidden) = (Path::new("/proc/sys/kernel"), Path::new("/proc/sys/fs"), [PathBuf::from("/proc/sys")]);
    let entered = match UserNamespace::enter() {
        Ok(UserNamespace::Failed(error)) => Err(error),
        Ok(namespace) => {
            let copied = namespace.owner_checked();
            enter_mounts(&View { private, pack, writable: &[], readable: &[], hidden: &hidden, copied: &copied })
        }
        // Where AppArmor restricts user namespaces, a process cannot use the one that it has created.
        Err(error) => Err(NamespaceError::User(error)),
    };
    serde_json::to_vec(&match entered {
        Ok(()) => ProbeAnswer::Possible,
        Err(error) if error.is_of_the_machine() => ProbeAnswer::Missing(error.to_string()),
        Err(error) => ProbeAnswer::Failed(error.to_string()),
    })
}

/// Whether supervisors can create namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ProbeAnswer {
    /// They can.
    Possible,
    /// This machine does not let them.
    Missing(String),
    /// One could not, for a reason that may pass.
    Failed(String),
}

/// Returns true if programs with this isolation need namespaces: they are isolated, and run as the node's own user.
pub(super) fn is_needed(isolation: &Isolation) -> bool {
    isolation.mode != IsolationMode::None && isolation.users == ProgramUsers::Node
}

/// Tells supervisors whether they can create namespaces. A probe finds it out before the first of them is started.
pub(crate) struct NamespaceNote {
    command: SupervisorCommand,
    is_needed: bool,
    /// What holds as long as the node runs.
    answer: OnceLock<ProbeAnswer>,
}

impl NamespaceNote {
    /// For supervisors that are started with this command, and whose programs have this isolation.
    pub(crate) fn new(command: SupervisorCommand, isolation: &Isolation) -> Self {
        Self { command, is_needed: is_needed(isolation), answer: OnceLock::new() }
    }

    /// Writes the answer into the folder of a supervisor that is not started yet. Blocks.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        if !self.is_needed {
            return Ok(());
        }
        let answer = match self.answer.get() {
            Some(answer) => answer.clone(),
            None => match ask_probe(&self.command)? {
                answer @ (ProbeAnswer::Possible | ProbeAnswer::Missing(_)) => self.answer.get_or_init(|| answer).clone(),
                // It may be another one the next time.
                answer @ ProbeAnswer::Failed(_) => answer,
            },
        };
        fs::write(folder.join(NOTE), serde_json::to_vec(&answer)?)
    }
}

/// Returns true if a supervisor that is started later gets the same answer as the one in this folder, or
/// needs none.
pub(crate) fn is_lasting(folder: &Path) -> bool {
    match read_note(folder) {
        Ok(None | Some(ProbeAnswer::Possible | ProbeAnswer::Missing(_))) => true,
        Ok(Some(ProbeAnswer::Failed(_))) | Err(_) => false,
    }
}

/// Reads the answer in the folder of a supervisor, if there is one.
fn read_note(folder: &Path) -> io::Result<Option<ProbeAnswer>> {
    match fs::read(folder.join(NOTE)) {
        Ok(answer) => Ok(Some(serde_json::from_slice(&answer)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The user namespace of a supervisor.
#[derive(Default)]
pub(super) enum UserNamespace {
    /// No program of this supervisor needs it: its folder has no answer of the probe.
    #[default]
    NotTried,
    /// The process may create mounts without it.
    NotNeeded,
    /// The process is in one of its own.
    Own,
    /// The process could create none.
    Failed(NamespaceError),
}

impl UserNamespace {
    /// Enters the namespace if the folder of this supervisor says that it can. The process must have a single thread, and nobody
    /// must have been forbidden to inspect it, because such a process cannot write its own maps.
    ///
    /// # Errors
    /// If the process is in a namespace that it cannot use. It must end.
    pub(super) fn prepare(folder: &Path) -> io::Result<Self> {
        match read_note(folder)? {
            None => Ok(Self::NotTried),
            Some(ProbeAnswer::Possible) => Self::enter(),
            Some(ProbeAnswer::Missing(why)) => Ok(Self::Failed(NamespaceError::Missing(why))),
            Some(ProbeAnswer::Failed(why)) => Ok(Self::Failed(NamespaceError::Untried(why))),
        }
    }

    /// Enters a namespace in which the process may create mounts. Its user and group stay the same.
    fn enter() -> io::Result<Self> {
        if capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN)) {
            return Ok(Self::NotNeeded);
        }
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        if let Err(error) = unshare(UnshareFlags::NEWUSER) {
            return Ok(Self::Failed(NamespaceError::User(error.into())));
        }
        // Only the superuser may map groups of a process that may change its groups.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        Ok(Self::Own)
    }

    /// Returns the folders whose files seem to belong to nobody in this namespace, and that programs reject because of it.
    pub(super) fn owner_checked(&self) -> Vec<PathBuf> {
        let folders = OWNER_CHECKED.iter().filter_map(|folder| Path::new(folder).canonicalize().ok());
        if matches!(self, Self::Own) { folders.filter(|folder| folder.is_dir()).collect() } else { Vec::new() }
    }

    /// Returns true if a limit on the processes of the node's user counts only those that this process has started.
    pub(super) fn counts_processes(&self) -> bool {
        matches!(self, Self::Own) && release() >= COUNTED_BY_NAMESPACE
    }
}

/// The first release of Linux that counts the processes of a user in each user namespace.
const COUNTED_BY_NAMESPACE: (u32, u32) = (5, 14);

/// Returns the first two numbers of the kernel's release, or zeros if it has another form.
fn release() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|other: char| !other.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[allow(deprecated, reason = "the newer function is unsafe because of a flag that is not used here")]
fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}

/// Gives this thread, and everything that it starts, mounts in which the program can change only what it may write. After an error,
/// as much of this as possible is done.
pub(super) fn enter_mounts(view: &View<'_>) -> Result<(), NamespaceError> {
    unshare(UnshareFlags::NEWNS).map_err(NamespaceError::Mounts)?;
    // Nothing that is mounted from now on, here or outside, is seen on the other side.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(NamespaceError::Mounts)?;
    let mut outcome = Ok(());
    let hidden = outermost(view.hidden);
    let is_hidden = |path: &Path| hidden.iter().any(|hidden| path.starts_with(hidden));
    // Opened while they can still be reached by their paths.
    let mut inside = Vec::new();
    for path in [view.private, view.pack].into_iter().filter(|path| is_hidden(path)) {
        match clone_tree(path) {
            Ok(tree) => inside.push((path, tree)),
            Err(error) => outcome = outcome.and(Err(path_error("opened", path)(error))),
        }
    }
    for path in view.writable().filter(|path| !is_hidden(path)) {
        outcome = outcome.and(mount_bind_recursive(path, path).map_err(path_error("mounted", path)));
    }
    let covers = Covers::of(view, &hidden, &inside.iter().map(|(path, _)| *path).collect::<Vec<_>>());
    outcome = outcome.and(covers.put());
    for (path, tree) in inside {
        outcome = outcome.and(attach(&tree, path).map_err(path_error("mounted", path)));
    }
    for (point, mount) in mounts().map_err(NamespaceError::List)? {
        let is_left = mount.is_remote && !view.uses(&point);
        if !is_left && !view.may_write(&point) {
            outcome = outcome.and(make_read_only(&point, mount.flags));
        }
    }
    outcome
}

impl View<'_> {
    fn writable(&self) -> impl Iterator<Item = &Path> {
        self.writable.iter().map(PathBuf::as_path).chain([self.private])
    }

    /// Returns true if the program may change what is at this mount. The innermost path that it is given decides: its pack stays
    /// read-only inside a writable folder.
    fn may_write(&self, point: &Path) -> bool {
        let depth = |path: &Path| point.starts_with(path).then(|| path.components().count());
        self.writable().filter_map(depth).max() > depth(self.pack)
    }

    /// Returns true if the program is given something at this mount.
    fn uses(&self, point: &Path) -> bool {
        let given = [self.private, self.pack].into_iter();
        given.chain(self.writable.iter().chain(self.readable).map(PathBuf::as_path)).any(|path| path.starts_with(point))
    }
}

/// Returns the paths that are not inside another of them.
fn outermost(paths: &[PathBuf]) -> Vec<&Path> {
    let mut sorted: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    sorted.sort();
    let mut outer: Vec<&Path> = Vec::new();
    for path in sorted {
        if !outer.last().is_some_and(|last| path.starts_with(last)) {
            outer.push(path);
        }
    }
    outer
}

/// Empty files and folders to be mounted over the hidden ones, and folders of copies.
struct Covers<'v> {
    trees: Vec<(&'v Path, OwnedFd)>,
    /// Whether all could be created.
    outcome: Result<(), NamespaceError>,
}

impl<'v> Covers<'v> {
    /// Creates them in a file system of their own, which is mounted at the private directory meanwhile.
    fn of(view: &View<'v>, hidden: &[&'v Path], inside: &[&Path]) -> Self {
        let mut covers = Self { trees: Vec::new(), outcome: Ok(()) };
        if hidden.is_empty() && view.copied.is_empty() {
            return covers;
        }
        let place = view.private;
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        covers.outcome = mount("none", place, "tmpfs", flags, c"mode=700,size=8m").map_err(path_error("covered", place));
        if covers.outcome.is_ok() {
            let made = covers.create(view, hidden, inside);
            let read_only = mount_remount(place, MountFlags::BIND | MountFlags::RDONLY | flags, "");
            covers.note(read_only.map_err(path_error("made read-only", place)));
            for (path, cover) in made {
                match clone_tree(&cover) {
                    Ok(tree) => covers.trees.push((path, tree)),
                    Err(error) => covers.note(Err(path_error("covered", path)(error))),
                }
            }
            // What was created stays as long as it is mounted somewhere.
            covers.note(unmount(place, UnmountFlags::DETACH).map_err(path_error("uncovered", place)));
        }
        covers
    }

    /// Creates the files and folders, and returns them with the paths that they are to cover.
    fn create(&mut self, view: &View<'v>, hidden: &[&'v Path], inside: &[&Path]) -> Vec<(&'v Path, PathBuf)> {
        let mut made = Vec::new();
        for (index, path) in view.copied.iter().enumerate() {
            let cover = view.private.join(format!("copy-{index}"));
            // Otherwise programs see the folder as it is, and OpenSSH says which of its files it rejects.
            if copy_files(path, &cover, hidden).is_ok() {
                made.push((path.as_path(), cover));
            }
        }
        for (index, path) in hidden.iter().enumerate() {
            let cover = view.private.join(index.to_string());
            let created = match fs::symlink_metadata(path) {
                // The program has the node's user, and cannot reach it either.
                Err(error) if is_out_of_reach(&error) => continue,
                Err(error) => Err(error),
                Ok(about) if about.is_dir() => {
                    let mut folders = fs::DirBuilder::new();
                    folders.recursive(true).mode(0o700);
                    let mut ways = inside.iter().filter_map(|inside| inside.strip_prefix(path).ok());
                    folders.create(&cover).and_then(|()| ways.try_for_each(|rest| folders.create(cover.join(rest))))
                }
                Ok(_) => File::options().write(true).create_new(true).mode(0o000).open(&cover).map(drop),
            };
            match created {
                Ok(()) => made.push((*path, cover)),
                Err(error) => self.note(Err(path_error("covered", path)(error))),
            }
        }
        made
    }

    /// Remembers the first error.
    fn note(&mut self, outcome: Result<(), NamespaceError>) {
        if self.outcome.is_ok() {
            self.outcome = outcome;
        }
    }

    /// Mounts them. One that fails does not keep the others from being mounted.
    fn put(self) -> Result<(), NamespaceError> {
        let mut outcome = self.outcome;
        for (path, tree) in &self.trees {
            match attach(tree, path) {
                // It was removed meanwhile.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => outcome = outcome.and(Err(path_error("hidden", path)(error))),
            }
        }
        outcome
    }
}

/// Creates a folder with a copy of each file of another one, without the right to write it. Fails if one cannot be copied, or leads to
/// where the program has no business.
fn copy_files(from: &Path, to: &Path, hidden: &[&Path]) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(to)?;
    let entries = fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    if entries.len() > OWNER_CHECKED_FILES_MAX {
        return refused("it has too many files");
    }
    for entry in entries {
        let path = entry.path().canonicalize()?;
        if !SETTINGS_OF_THE_SYSTEM.iter().any(|root| path.starts_with(root)) || hidden.iter().any(|hidden| path.starts_with(hidden)) {
            return refused("a link leads out of the settings of the system");
        }
        let mut content = Vec::new();
        let length = File::open(&path)?.take(OWNER_CHECKED_BYTES_MAX + 1).read_to_end(&mut content)?;
        if length as u64 > OWNER_CHECKED_BYTES_MAX {
            return refused("a file is too large");
        }
        File::options().write(true).create_new(true).mode(0o444).open(to.join(entry.file_name()))?.write_all(&content)?;
    }
    Ok(())
}

fn clone_tree(path: &Path) -> rustix::io::Result<OwnedFd> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE)
}

fn attach(tree: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
    move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn path_error<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl Fn(E) -> NamespaceError {
    let path = path.to_owned();
    move |error| NamespaceError::Path { what, path: path.clone(), error: error.into() }
}

fn is_out_of_reach(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory)
}

fn make_read_only(point: &Path, flags: MountFlags) -> Result<(), NamespaceError> {
    match mount_remount(point, MountFlags::BIND | MountFlags::RDONLY | flags, "") {
        Ok(()) => Ok(()),
        // Another mount covers it, or the node's user cannot reach it: nor can the program.
        Err(Errno::INVAL | Errno::NOENT | Errno::ACCESS | Errno::NOTDIR) => Ok(()),
        Err(error) => Err(path_error("made read-only", point)(error)),
    }
}

/// A mount.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// What it must keep: only the user namespace that has set these may take them away.
    flags: MountFlags,
    is_remote: bool,
}

/// Lists the mounts of this thread by where they are.
fn mounts() -> io::Result<BTreeMap<PathBuf, Mount>> {
    let mut list = Vec::new();
    File::open("/proc/thread-self/mountinfo")?.take(MOUNTS_BYTES_MAX).read_to_end(&mut list)?;
    read_mounts(&list).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it has a line of another form"))
}

/// Reads a list of mounts. Of several at one place, only the last one can be reached.
fn read_mounts(list: &[u8]) -> Option<BTreeMap<PathBuf, Mount>> {
    list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(read_mount).collect()
}

/// Reads a line of `mountinfo` (proc_pid_mountinfo(5)).
fn read_mount(line: &[u8]) -> Option<(PathBuf, Mount)> {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let point = PathBuf::from(std::ffi::OsString::from_vec(unescape(fields.next()?)));
    let flags = fields.next()?.split(|byte| *byte == b',').fold(MountFlags::empty(), |flags, option| {
        flags
            | match option {
                b"nosuid" => MountFlags::NOSUID,
                b"nodev" => MountFlags::NODEV,
                b"noexec" => MountFlags::NOEXEC,
                b"nosymfollow" => MountFlags::NOSYMFOLLOW,
                _ => MountFlags::empty(),
            }
    });
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let kind = std::ffi::OsStr::from_bytes(kind).to_string_lossy();
    Some((point, Mount { flags, is_remote: REMOTE.contains(&&*kind) || kind.starts_with(REMOTE_BY_PREFIX) }))
}

/// Replaces the octal escapes of a field, which stand for white space and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = (*byte == b'\\').then(|| after.get(..3)).flatten();
        let code = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_a_mount_is_read() {
        let line = br"44 29 0:39 / /a\040b\134c rw,nosuid,nodev,relatime shared:12 master:3 - fuse.sshfs host:/ rw,user_id=0";
        let remote = Mount { flags: MountFlags::NOSUID | MountFlags::NODEV, is_remote: true };
        assert_eq!(read_mount(line), Some((r"/a b\c".into(), remote)));
        let line = br"29 1 254:0 / / rw,noatime - ext4 /dev/root rw";
        assert_eq!(read_mount(line), Some(("/".into(), Mount { flags: MountFlags::empty(), is_remote: false })));
        let stacked = b"1 0 0:1 / /data rw - tmpfs none rw\n2 1 0:2 / /data rw,nosuid,nodev - tmpfs none rw\n";
        let last = Mount { flags: MountFlags::NOSUID | MountFlags::NODEV, is_remote: false };
        assert_eq!(read_mounts(stacked), Some(BTreeMap::from([("/data".into(), last)])));
        assert_eq!(read_mount(b"29 1 254:0 /"), None);
        assert_eq!(read_mount(b"29 1 254:0 / / rw"), None);
    }

    #[test]
    fn reached_maximum_of_namespaces_is_of_the_machine_only_if_it_is_zero() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("max_user_namespaces");
        assert!(!is_maximum_of_zero(Errno::NOSPC, &file), "the maximum is not known");
        for (maximum, is_of_the_machine) in [("0\n", true), ("1\n", false), ("15000\n", false), ("", false)] {
            fs::write(&file, maximum).unwrap();
            assert_eq!(is_maximum_of_zero(Errno::NOSPC, &file), is_of_the_machine, "{maximum}");
            assert!(!is_maximum_of_zero(Errno::NOMEM, &file), "{maximum}");
        }
    }

    #[test]
    fn refused_namespaces_are_of_the_machine_and_a_lack_of_memory_may_pass() {
        for (error, is_of_the_machine) in [
            (Errno::PERM, true),
            (Errno::ACCESS, true),
            (Errno::INVAL, true),
            (Errno::NOSYS, true),
            (Errno::NOMEM, false),
            (Errno::USERS, false),
        ] {
            assert_eq!(NamespaceError::User(error.into()).is_of_the_machine(), is_of_the_machine, "{error}");
            assert_eq!(NamespaceError::Mounts(error).is_of_the_machine(), is_of_the_machine, "{error}");
        }
    }

    #[test]
    fn probe_that_a_filter_of_system_calls_ends_finds_that_the_machine_has_no_namespaces() {
        let ended = |signal| read_answer(b"", ExitStatus::from_raw(signal));
        assert!(matches!(ended(libc::SIGSYS), ProbeAnswer::Missing(_)));
        assert!(matches!(ended(libc::SIGKILL), ProbeAnswer::Failed(_)));
        assert!(matches!(read_answer(b"", ExitStatus::from_raw(1 << 8)), ProbeAnswer::Failed(_)));
        assert_eq!(read_answer(br#""Possible""#, ExitStatus::from_raw(0)), ProbeAnswer::Possible);
    }

    #[test]
    fn only_an_answer_for_a_reason_that_may_pass_does_not_last() {
        let folder = tempfile::TempDir::new().unwrap();
        assert!(is_lasting(folder.path()), "it needs no namespaces");
        for (answer, lasts) in
            [(ProbeAnswer::Possible, true), (ProbeAnswer::Missing("why".into()), true), (ProbeAnswer::Failed("why".into()), false)]
        {
            fs::write(folder.path().join(NOTE), serde_json::to_vec(&answer).unwrap()).unwrap();
            assert_eq!(is_lasting(folder.path()), lasts, "{answer:?}");
        }
    }

    #[test]
    fn innermost_given_path_decides_whether_a_mount_may_be_written() {
        let (writable, hidden) = ([PathBuf::from("/srv")], [PathBuf::from("/srv/data")]);
        let (private, pack) = (Path::new("/srv/data/private/1"), Path::new("/srv/data/packs/a"));
        let view = View { private, pack, writable: &writable, readable: &[], hidden: &hidden, copied: &[] };
        for (point, may_write) in
            [("/srv", true), ("/srv/x", true), ("/srv/data/private/1", true), ("/srv/data/packs/a", false), ("/srv/data/packs/a/x", false)]
        {
            assert_eq!(view.may_write(Path::new(point)), may_write, "{point}");
        }
        assert!(!view.may_write(Path::new("/usr")) && !view.may_write(Path::new("/")));
    }

    #[test]
    fn outermost_paths_have_no_other_above_them() {
        let paths: Vec<PathBuf> = ["/d/x", "/d", "/d-e", "/s/k", "/d/x/y", "/s"].map(PathBuf::from).into();
        let found: Vec<_> = outermost(&paths).into_iter().map(Path::to_str).collect();
        assert_eq!(found, [Some("/d"), Some("/d-e"), Some("/s")]);
    }
}
