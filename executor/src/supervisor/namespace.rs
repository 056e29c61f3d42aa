//! The namespaces of a program that runs as the node's own user: a user, a mount and an IPC namespace.
//!
//! Landlock does not govern the calls that change the metadata of a file: its mode, owner, times and extended attributes. A user
//! may change those of every file that it owns. A read-only mount refuses them. So the program gets mounts of its own, in which
//! everything is read-only except what it may write, and hidden files do not exist.
//!
//! A program that runs as another user than the node owns none of these files, and needs no namespaces.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{DumpableBehavior, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities};
use thiserror::Error;

use crate::programs::{Isolation, IsolationMode, ProgramUsers, SupervisorCommand, Wall};

/// The argument, in place of its folder, with which a supervisor tries whether it can create namespaces.
pub(super) const PROBE: &str = "namespaces";
/// What it prints if it can.
const POSSIBLE: &str = "possible\n";
/// The maximum length of what it prints otherwise, in bytes.
const REASON_BYTES_MAX: u64 = 4 << 10;
/// The maximum size of the list of mounts, in bytes.
const MOUNTS_BYTES_MAX: u64 = 16 << 20;

/// File systems whose server may not answer. Their mounts are left as they are unless the program is given paths on them:
/// otherwise no program would start while a server is away.
const REMOTE: &[&str] = &["afs", "autofs", "ceph", "cifs", "fuse", "fuseblk", "nfs", "nfs4", "smb3"];
const REMOTE_BY_PREFIX: &str = "fuse.";

/// Why a program gets no namespaces.
#[derive(Debug, Error)]
pub(super) enum NamespaceError {
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
}

/// Returns whether a supervisor that is started with this command can create namespaces, by starting one. Blocks.
pub(crate) fn probe(command: &SupervisorCommand) -> Wall {
    let missing = |why: String| Wall::Missing { why };
    let mut tried = command.in_folder(Path::new(PROBE));
    tried.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let tried = tried.spawn().and_then(|mut child| {
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(REASON_BYTES_MAX).read_to_string(&mut said)?;
        }
        child.wait()?;
        Ok(said)
    });
    match tried {
        Ok(said) if said == POSSIBLE => Wall::Stands,
        Ok(said) if said.is_empty() => missing("the process that was to test it ended without an answer".to_owned()),
        Ok(said) => missing(said.trim_end().to_owned()),
        Err(error) => missing(format!("no process was available to test it ({error})")),
    }
}

/// Tries everything that a program's start does with namespaces, and returns what [`probe`] reads.
pub(super) fn try_out() -> String {
    // Folders that every system has, in place of those of a program.
    let (devices, hidden) = (Path::new("/dev"), [PathBuf::from("/proc")]);
    let view = View { private: devices, pack: devices, writable: &[], readable: &[], hidden: &hidden };
    let mut user_namespace = UserNamespace::default();
    user_namespace.prepare(&Isolation::default());
    if let UserNamespace::Failed(error) = user_namespace {
        return error.to_string();
    }
    enter_mounts(&view).map_or_else(|error| error.to_string(), |()| POSSIBLE.to_owned())
}

/// Returns true if programs with this isolation need namespaces: they are isolated, and run as the node's own user.
pub(super) fn is_needed(isolation: &Isolation) -> bool {
    isolation.mode != IsolationMode::None && isolation.users == ProgramUsers::Node
}

/// The user namespace of a supervisor. It is entered once, before the first program that needs it: after a failure, the process may
/// be in a namespace without its user.
#[derive(Default)]
pub(super) enum UserNamespace {
    /// No program has needed it yet.
    #[default]
    NotTried,
    /// The process may create mounts without it.
    NotNeeded,
    /// The process is in one of its own.
    Own,
    /// The system lets the process create none.
    Failed(NamespaceError),
}

impl UserNamespace {
    /// Enters the namespace if programs with this isolation need it. The process must have a single thread unless this was called
    /// before.
    pub(super) fn prepare(&mut self, isolation: &Isolation) {
        if is_needed(isolation) && matches!(self, Self::NotTried) {
            *self = if may_mount() { Self::NotNeeded } else { enter_user().map_or_else(Self::Failed, |()| Self::Own) };
        }
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

fn may_mount() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Gives this process the right to create mounts in namespaces of its own. Its user and group stay the same. The process must have
/// a single thread.
fn enter_user() -> Result<(), NamespaceError> {
    // A process that nobody may inspect cannot write its own maps. It holds no program yet.
    let let_inspect = |behavior| set_dumpable_behavior(behavior).map_err(|error| NamespaceError::User(error.into()));
    let_inspect(DumpableBehavior::Dumpable)?;
    let entered = unshare_user().map_err(NamespaceError::User);
    let_inspect(DumpableBehavior::NotDumpable)?;
    entered
}

fn unshare_user() -> io::Result<()> {
    const USERS: &str = "/proc/self/uid_map";
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    // Without its maps, the process would be nobody from then on.
    File::options().write(true).open(USERS)?;
    unshare(UnshareFlags::NEWUSER)?;
    // Only the superuser may map groups of a process that may change its groups.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write(USERS, format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

#[allow(deprecated, reason = "the newer function is unsafe because of a flag that is not used here")]
fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}

/// Gives this thread, and everything that it starts, a view of the mounts in which the program can change only what it may write.
pub(super) fn enter_mounts(view: &View<'_>) -> Result<(), NamespaceError> {
    unshare(UnshareFlags::NEWNS | UnshareFlags::NEWIPC).map_err(NamespaceError::Mounts)?;
    // Nothing that is mounted from now on, here or outside, is seen on the other side.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(NamespaceError::Mounts)?;
    let hidden = outermost(view.hidden);
    let is_hidden = |path: &Path| hidden.iter().any(|hidden| path.starts_with(hidden));
    // Opened while they can still be reached by their paths.
    let mut inside = Vec::new();
    for (path, access) in [(view.private, Access::Write), (view.pack, Access::Read)] {
        if is_hidden(path) {
            inside.push(Inside { path, access, tree: clone_tree(path).map_err(failed("opened", path))? });
        }
    }
    let writable: Vec<&Path> = view.writable.iter().map(PathBuf::as_path).chain([view.private]).filter(|path| !is_hidden(path)).collect();
    for path in &writable {
        mount_bind_recursive(*path, *path).map_err(failed("mounted", path))?;
    }
    let covers = Covers::of(&hidden, &inside, view.private)?;
    for mount in mounts().map_err(NamespaceError::List)? {
        let is_writable = writable.iter().any(|path| mount.point.starts_with(path));
        let is_left = mount.is_remote && !view.uses(&mount.point);
        if !is_writable && !is_left {
            make_read_only(&mount)?;
        }
    }
    covers.put()?;
    for Inside { path, access, tree } in inside {
        attach(&tree, path).map_err(failed("mounted", path))?;
        if access == Access::Read {
            mount_remount(path, MountFlags::BIND | MountFlags::RDONLY, "").map_err(failed("made read-only", path))?;
        }
    }
    Ok(())
}

impl View<'_> {
    /// Returns true if the program is given something at this mount.
    fn uses(&self, point: &Path) -> bool {
        let given = [self.private, self.pack].into_iter();
        given.chain(self.writable.iter().chain(self.readable).map(PathBuf::as_path)).any(|path| path.starts_with(point))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Something visible inside something hidden.
struct Inside<'v> {
    path: &'v Path,
    access: Access,
    tree: OwnedFd,
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

/// Empty files and folders to be mounted over the hidden ones.
struct Covers<'v>(Vec<(&'v Path, OwnedFd)>);

impl<'v> Covers<'v> {
    /// Creates them in a file system of their own, which is mounted at `place` meanwhile.
    fn of(hidden: &[&'v Path], inside: &[Inside<'_>], place: &Path) -> Result<Self, NamespaceError> {
        if hidden.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        mount("none", place, "tmpfs", flags, c"mode=500,size=1m").map_err(failed("covered", place))?;
        let covers = Self::fill(hidden, inside, place);
        // What was created stays as long as it is mounted somewhere.
        unmount(place, UnmountFlags::DETACH).map_err(failed("uncovered", place))?;
        covers
    }

    fn fill(hidden: &[&'v Path], inside: &[Inside<'_>], place: &Path) -> Result<Self, NamespaceError> {
        let mut made = Vec::new();
        for (index, path) in hidden.iter().enumerate() {
            let cover = place.join(index.to_string());
            let create = |cover: &Path| {
                if !fs::symlink_metadata(path)?.is_dir() {
                    return File::options().write(true).create_new(true).mode(0o000).open(cover).map(drop);
                }
                let mut folders = fs::DirBuilder::new();
                folders.recursive(true).mode(0o700).create(cover)?;
                let mut way = inside.iter().filter_map(|inside| inside.path.strip_prefix(path).ok());
                way.try_for_each(|rest| folders.create(cover.join(rest)))
            };
            match create(&cover) {
                Ok(()) => made.push((*path, cover)),
                // The program has the node's user, and cannot reach it either.
                Err(error) if is_out_of_reach(&error) => {}
                Err(error) => return Err(failed("covered", path)(error)),
            }
        }
        mount_remount(place, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC, "")
            .map_err(failed("made read-only", place))?;
        let trees = made.into_iter().map(|(path, cover)| Ok((path, clone_tree(&cover).map_err(failed("covered", path))?)));
        trees.collect::<Result<_, _>>().map(Self)
    }

    fn put(self) -> Result<(), NamespaceError> {
        self.0.iter().try_for_each(|(path, tree)| attach(tree, path).map_err(failed("hidden", path)))
    }
}

fn clone_tree(path: &Path) -> rustix::io::Result<OwnedFd> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE)
}

fn attach(tree: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
    move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn failed<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl Fn(E) -> NamespaceError {
    let path = path.to_owned();
    move |error| NamespaceError::Path { what, path: path.clone(), error: error.into() }
}

fn is_out_of_reach(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory)
}

fn make_read_only(mount: &Mount) -> Result<(), NamespaceError> {
    match mount_remount(&mount.point, MountFlags::BIND | MountFlags::RDONLY | mount.flags, "") {
        Ok(()) => Ok(()),
        // Another mount covers it, or the node's user cannot reach it: nor can the program.
        Err(Errno::INVAL | Errno::NOENT | Errno::ACCESS | Errno::NOTDIR) => Ok(()),
        Err(error) => Err(failed("made read-only", &mount.point)(error)),
    }
}

/// A mount.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// What it must keep: only the user namespace that has set these may take them away.
    flags: MountFlags,
    is_remote: bool,
}

/// Lists the mounts of this thread.
fn mounts() -> io::Result<Vec<Mount>> {
    let mut list = Vec::new();
    File::open("/proc/thread-self/mountinfo")?.take(MOUNTS_BYTES_MAX).read_to_end(&mut list)?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "it has a line of another form");
    list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| read_mount(line).ok_or_else(wrong)).collect()
}

/// Reads a line of `mountinfo` (proc_pid_mountinfo(5)).
fn read_mount(line: &[u8]) -> Option<Mount> {
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
    Some(Mount { point, flags, is_remote: REMOTE.contains(&&*kind) || kind.starts_with(REMOTE_BY_PREFIX) })
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
        let expected = Mount { point: PathBuf::from(r"/a b\c"), flags: MountFlags::NOSUID | MountFlags::NODEV, is_remote: true };
        assert_eq!(read_mount(line), Some(expected));
        let local = br"29 1 254:0 / / rw,noatime - ext4 /dev/root rw";
        assert_eq!(read_mount(local), Some(Mount { point: "/".into(), flags: MountFlags::empty(), is_remote: false }));
        assert_eq!(read_mount(b"29 1 254:0 /"), None);
        assert_eq!(read_mount(b"29 1 254:0 / / rw"), None);
    }

    #[test]
    fn outermost_paths_have_no_other_above_them() {
        let paths: Vec<PathBuf> = ["/d/x", "/d", "/d-e", "/s/k", "/d/x/y", "/s"].map(PathBuf::from).into();
        let found: Vec<_> = outermost(&paths).into_iter().map(Path::to_str).collect();
        assert_eq!(found, [Some("/d"), Some("/d-e"), Some("/s")]);
    }
}
