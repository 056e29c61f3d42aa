//! The isolation of a program: the content of files by Landlock, their metadata by namespaces, and system calls by seccomp. It
//! applies to the thread that starts the program and to everything that this thread starts.
//!
//! It is a wall against mistakes and against curious packs, not a virtual machine: the program shares the
//! kernel and the network with the node, and also its user unless the node runs as root. [`probe`] reports
//! what the kernel lacks.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use super::namespace::{self, NamespaceError, UserNamespace, View};
use super::program::Placement;
use super::system_calls;
use super::user::User;
use crate::programs::{Isolation, IsolationMode, ProgramUsers, SupervisorCommand, Wall, Walls};

/// The newest Landlock version that is requested. An older kernel provides what it has.
const LANDLOCK: ABI = ABI::V6;

/// Where programs and the files that they need usually are.
const SYSTEM: &[&str] = &[
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr",
    "/opt",
    "/nix",
    "/snap",
    "/gnu",
    "/etc",
    "/sys",
    "/proc",
    // Targets of links in /etc on some systems.
    "/run/current-system",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/var/lib/ca-certificates",
];
/// Devices that may be read, because they reveal nothing.
const READ: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
/// Devices that may be written to.
const WRITE: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];

/// Returns the walls that this machine has for programs of these users, by trying them on a thread that is then discarded, and by
/// starting a supervisor. Blocks.
pub(crate) fn probe(users: ProgramUsers, supervisor: Option<&SupervisorCommand>) -> Walls {
    let missing = |why: &str| Wall::Missing { why: why.to_owned() };
    let tried = std::thread::Builder::new().name("probe".into()).spawn(|| {
        let files = Rules::begin().and_then(|rules| rules.allow_system(&System::open(), &[])).and_then(Rules::enforce);
        let calls = system_calls::deny();
        (files, calls)
    });
    let Ok(Ok((files, calls))) = tried.map(std::thread::JoinHandle::join) else {
        let wall = missing("no thread was available to test it");
        return Walls { files: wall.clone(), signals: wall.clone(), system_calls: wall.clone(), metadata: wall };
    };
    let metadata = match (users, supervisor) {
        (ProgramUsers::Node, Some(command)) => namespace::probe(command),
        (ProgramUsers::Node, None) => missing("no supervisor can be started"),
        // They do not own the files of the node.
        (ProgramUsers::One { .. } | ProgramUsers::Range { .. }, _) => Wall::Stands,
    };
    let (files, signals) = match files {
        Ok(status) => of_landlock(&status),
        Err(error) => (Wall::Missing { why: error.to_string() }, Wall::Missing { why: error.to_string() }),
    };
    let system_calls = calls.map_or_else(|why| Wall::Missing { why }, |()| Wall::Stands);
    Walls { files, signals, system_calls, metadata }
}

fn of_landlock(status: &RestrictionStatus) -> (Wall, Wall) {
    let missing = |why: &str| Wall::Missing { why: why.to_owned() };
    match status.landlock {
        LandlockStatus::NotEnabled => {
            let wall = missing("the kernel has Landlock, but it is not enabled (boot with `lsm=landlock,…`)");
            (wall.clone(), wall)
        }
        LandlockStatus::NotImplemented => {
            let wall = missing("the kernel has no Landlock (it needs Linux 5.13 or newer)");
            (wall.clone(), wall)
        }
        LandlockStatus::Available { effective_abi, .. } => {
            let files = if status.ruleset == RulesetStatus::NotEnforced {
                missing("the kernel did not accept the rules")
            } else if effective_abi < ABI::V3 {
                missing("the kernel's Landlock cannot control the truncation of files (it needs Linux 6.2 or newer)")
            } else {
                Wall::Stands
            };
            let signals = if effective_abi < ABI::V6 {
                missing("the kernel's Landlock cannot control signals (it needs Linux 6.12 or newer)")
            } else {
                Wall::Stands
            };
            (files, signals)
        }
    }
}

/// Raises the walls around this thread and everything that comes of it. If all walls are required, a missing
/// wall is an error. Otherwise returns which walls failed although the machine has them, for the program's
/// log.
///
/// If a program must run as another user, it does so or is not started, whatever is required.
pub(super) fn raise(placed: Placement<'_>, system: &System, user: Option<User>) -> Result<Option<String>, String> {
    let Placement { isolation, private, pack, .. } = placed;
    let enter = || user.map_or(Ok(()), User::enter).map_err(|error| format!("the program cannot switch to its user: {error}"));
    let is_required = match isolation.mode {
        IsolationMode::None => return enter().map(|()| None),
        IsolationMode::Auto => false,
        IsolationMode::Required => true,
    };
    // Opened before switching to the user, who may not be allowed to open all of it.
    let rules = Rules::of(isolation, system, private, pack);
    let entered = enter_namespaces(placed);
    let has_failed_to_mount = entered.is_err();
    let metadata = entered.unwrap_or_else(|why| Wall::Missing { why });
    drop_bounding_capabilities();
    enter()?;
    let privileged = drop_capabilities();
    let enforced = rules.and_then(Rules::enforce);
    let has_failed = enforced.as_ref().map_or(true, should_have_been_enforced);
    let (files, signals) = match enforced {
        Ok(status) => of_landlock(&status),
        Err(error) => (Wall::Missing { why: error.to_string() }, Wall::Stands),
    };
    let privileged = privileged.err().map(|error| format!("the program keeps the privileges of root: {error}"));
    let system_calls = system_calls::deny().map_or_else(|why| Wall::Missing { why }, |()| Wall::Stands);
    if is_required {
        let missing: Vec<_> = Walls { files, signals, system_calls, metadata }.missing().into_iter().chain(privileged).collect();
        return if missing.is_empty() { Ok(None) } else { Err(missing.join("; ")) };
    }
    // The doctor reports once what the kernel lacks. What the kernel has but did not provide concerns this
    // program.
    let files = if has_failed { files } else { Wall::Stands };
    let metadata = if has_failed_to_mount { metadata } else { Wall::Stands };
    let failed: Vec<_> = Walls { files, signals: Wall::Stands, system_calls, metadata }.missing().into_iter().chain(privileged).collect();
    Ok((!failed.is_empty()).then(|| format!("the isolation of programs is incomplete: {}", failed.join("; "))))
}

/// Returns true if the kernel has what it did not enforce.
fn should_have_been_enforced(status: &RestrictionStatus) -> bool {
    match status.landlock {
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => false,
        LandlockStatus::Available { .. } => status.ruleset == RulesetStatus::NotEnforced,
    }
}

/// Prevents everything that this thread starts from gaining any privilege of the superuser. Without
/// `CAP_SETPCAP` the set stays as it is. Nothing can be gained from it even so, because nothing that is
/// started gets new privileges.
fn drop_bounding_capabilities() {
    for (_, capability) in CapabilitySet::all().iter_names() {
        let _ = remove_capability_from_bounding_set(capability);
    }
}

/// Drops every privilege of the superuser for this thread, and for everything that it starts, since none of
/// that gets new privileges.
fn drop_capabilities() -> rustix::io::Result<()> {
    set_no_new_privs(true)?;
    let none = CapabilitySets { effective: CapabilitySet::empty(), permitted: CapabilitySet::empty(), inheritable: CapabilitySet::empty() };
    if capabilities(None)? == none {
        return Ok(());
    }
    clear_ambient_capability_set()?;
    set_capabilities(None, none)
}

/// Moves this thread into the namespaces of a program, if it needs any. Returns whether the machine has them; an error means that
/// it has them and that this program could not be given its own.
fn enter_namespaces(placed: Placement<'_>) -> Result<Wall, String> {
    let Placement { isolation, user_namespace, private, pack, .. } = placed;
    if !namespace::is_needed(isolation) {
        return Ok(Wall::Stands);
    }
    let without = |error: &NamespaceError| {
        let why = error.to_string();
        if error.is_of_the_machine() { Ok(Wall::Missing { why }) } else { Err(why) }
    };
    if let UserNamespace::Failed(error) = user_namespace {
        return without(error);
    }
    let resolve = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let resolve_all = |paths: &[PathBuf]| paths.iter().filter_map(|path| path.canonicalize().ok()).collect::<Vec<_>>();
    let entered = namespace::enter_mounts(&View {
        private: &resolve(private),
        pack: &resolve(pack),
        writable: &resolve_all(&isolation.writable),
        readable: &resolve_all(&isolation.readable),
        hidden: &hidden_now(isolation),
        copied: &user_namespace.owner_checked(),
    });
    entered.map_or_else(|error| without(&error), |()| Ok(Wall::Stands))
}

/// Resolves the hidden paths as they are now: rotating a secret may point a link to another file.
fn hidden_now(isolation: &Isolation) -> Vec<PathBuf> {
    let resolved = |path: &PathBuf| {
        // A file that does not exist yet is hidden where it will be.
        let beside = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(beside).unwrap_or_else(|| path.clone())
    };
    isolation.hidden.iter().map(resolved).collect()
}

/// The parts of the system that programs may reach, opened once, because these folders and devices do not
/// change.
pub(crate) struct System {
    opened: Vec<OpenedPath>,
    /// The system settings that other users may not read. A program that runs as root may not read them
    /// either.
    guarded: Vec<PathBuf>,
}

/// The system's settings.
const SETTINGS: &str = "/etc";
/// How deep to look for guarded files.
const GUARDED_DEPTH_MAX: usize = 3;

/// Lists the entries of a folder and of the folders in it that only their owner or group may read.
fn find_guarded(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().take(ENTRIES_MAX) {
        let Ok(about) = entry.metadata() else { continue };
        let (mode, path) = (about.permissions().mode(), entry.path());
        match (about.is_dir(), about.is_symlink()) {
            (_, true) => {}
            (true, false) if mode & 0o005 == 0o005 && depth < GUARDED_DEPTH_MAX => find_guarded(&path, depth + 1, found),
            (true, false) if mode & 0o005 == 0o005 => {}
            (false, false) if mode & 0o004 != 0 => {}
            (_, false) => found.push(path),
        }
    }
}

struct OpenedPath {
    /// The resolved path.
    path: PathBuf,
    file: PathFd,
    access: BitFlags<AccessFs>,
}

impl System {
    /// Opens the paths that exist.
    pub(crate) fn open() -> Self {
        let read = AccessFs::from_read(LANDLOCK);
        let write = AccessFs::from_write(LANDLOCK) | read;
        let all = SYSTEM.iter().chain(READ).map(|path| (path, read)).chain(WRITE.iter().map(|path| (path, write)));
        let mut found = Vec::new();
        if rustix::process::geteuid().is_root() {
            find_guarded(Path::new(SETTINGS), 1, &mut found);
        }
        // A path that does not exist cannot be reached either.
        Self { opened: all.filter_map(|(path, access)| OpenedPath::at(Path::new(path), access)).collect(), guarded: found }
    }
}

impl OpenedPath {
    fn at(path: &Path, access: BitFlags<AccessFs>) -> Option<Self> {
        // The target of a link counts, not the link.
        let path = path.canonicalize().ok()?;
        let file = PathFd::new(&path).ok()?;
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(LANDLOCK) };
        Some(Self { path, file, access })
    }
}

/// File rules for one program.
struct Rules {
    ruleset: RulesetCreated,
}

impl Rules {
    /// Creates the rules of a program. Paths that the operator lists are opened as they are now, because they
    /// may be other folders after a deploy.
    fn of(isolation: &Isolation, system: &System, private: &Path, pack: &Path) -> Result<Self, RulesetError> {
        let (read, all, hidden) = (AccessFs::from_read(LANDLOCK), AccessFs::from_all(LANDLOCK), hidden_now(isolation));
        // A user other than root cannot read these anyway, and opening everything around them takes time.
        let guarded = if isolation.users == ProgramUsers::Node { &*system.guarded } else { &[] };
        let hidden_in_system = [&*hidden, guarded].concat();
        let mut rules = Self::begin()?.allow_system(system, &hidden_in_system)?;
        for path in &isolation.readable {
            rules = rules.allow_around(path, read, &hidden)?;
        }
        for path in &isolation.writable {
            rules = rules.allow_around(path, all, &hidden)?;
        }
        rules.allow(private, all)?.allow(pack, read)
    }

    /// Starts with nothing allowed.
    fn begin() -> Result<Self, RulesetError> {
        let ruleset = Ruleset::default().handle_access(AccessFs::from_all(LANDLOCK))?.scope(Scope::from_all(LANDLOCK))?.create()?;
        Ok(Self { ruleset })
    }

    fn allow_system(self, system: &System, hidden: &[PathBuf]) -> Result<Self, RulesetError> {
        let mut rules = self;
        for OpenedPath { path, file, access } in &system.opened {
            rules = if hidden.iter().any(|hidden| hidden.starts_with(path)) {
                // The names of settings are not secret, and programs list them.
                let names = if path == Path::new(SETTINGS) { AccessFs::ReadDir.into() } else { BitFlags::EMPTY };
                rules.allow_names(file, names)?.allow_around(path, *access, hidden)?
            } else {
                Self { ruleset: rules.ruleset.add_rule(PathBeneath::new(file, *access))? }
            };
        }
        Ok(rules)
    }

    /// Allows a folder except for the hidden paths in it. In that case its present entries are allowed one by
    /// one, and entries that are created later are not.
    fn allow_around(self, path: &Path, access: BitFlags<AccessFs>, hidden: &[PathBuf]) -> Result<Self, RulesetError> {
        // The target of a link counts, not the link.
        let Ok(path) = path.canonicalize() else { return Ok(self) };
        if hidden.iter().any(|hidden| path.starts_with(hidden)) {
            return Ok(self);
        }
        if !hidden.iter().any(|hidden| hidden.starts_with(&path)) {
            return self.allow(&path, access);
        }
        let Ok(entries) = std::fs::read_dir(&path) else { return Ok(self) };
        let mut rules = self;
        // A link in the folder leads to something that is allowed by itself, or to something that programs
        // must not be able to open by creating a link.
        let is_link = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink());
        for entry in entries.flatten().filter(|entry| !is_link(entry)).take(ENTRIES_MAX) {
            rules = rules.allow_around(&entry.path(), access, hidden)?;
        }
        Ok(rules)
    }

    /// Allows operations on names only.
    fn allow_names(self, folder: &PathFd, access: BitFlags<AccessFs>) -> Result<Self, RulesetError> {
        if access.is_empty() { Ok(self) } else { Ok(Self { ruleset: self.ruleset.add_rule(PathBeneath::new(folder, access))? }) }
    }

    fn allow(self, path: &Path, access: BitFlags<AccessFs>) -> Result<Self, RulesetError> {
        let Some(OpenedPath { file, access, .. }) = OpenedPath::at(path, access) else { return Ok(self) };
        Ok(Self { ruleset: self.ruleset.add_rule(PathBeneath::new(file, access))? })
    }

    fn enforce(self) -> Result<RestrictionStatus, RulesetError> {
        self.ruleset.restrict_self()
    }
}

/// The maximum number of entries that are allowed in a folder around something hidden.
const ENTRIES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skipped::skipped;

    /// More filters than the kernel accepts on one thread.
    const FILTERS: usize = 1_000;

    /// The isolation of a program whose user is another than the node's, so that it needs no namespaces.
    fn isolation(mode: IsolationMode) -> Isolation {
        Isolation { mode, users: ProgramUsers::One { user: 65_534, group: 65_534 }, ..Isolation::default() }
    }

    fn sample_placement(isolation: &Isolation) -> Placement<'_> {
        let root = Path::new("/");
        Placement { isolation, user_namespace: &UserNamespace::NotTried, private: root, pack: root, program: root }
    }

    #[test]
    fn available_isolation_that_cannot_be_applied_is_reported() {
        if let Wall::Missing { why } = probe(ProgramUsers::Node, None).system_calls {
            let test = "available_isolation_that_cannot_be_applied_is_reported";
            return skipped(test, &format!("this machine has no wall around system calls: {why}"));
        }
        let error = std::thread::spawn(|| {
            let isolation = isolation(IsolationMode::Auto);
            (0..FILTERS).find_map(|_| raise(sample_placement(&isolation), &System::open(), None).unwrap())
        });
        let error = error.join().unwrap().unwrap();
        assert!(error.starts_with("the isolation of programs is incomplete: "), "{error}");
    }

    #[test]
    fn required_isolation_that_cannot_be_applied_is_an_error() {
        if let Wall::Missing { why } = probe(ProgramUsers::Node, None).system_calls {
            let test = "required_isolation_that_cannot_be_applied_is_an_error";
            return skipped(test, &format!("this machine has no wall around system calls: {why}"));
        }
        let raised = std::thread::spawn(|| {
            while system_calls::deny().is_ok() {}
            let isolation = isolation(IsolationMode::Required);
            raise(sample_placement(&isolation), &System::open(), None)
        });
        let error = raised.join().unwrap().unwrap_err();
        assert!(error.contains("system calls: "), "{error}");
    }
}
