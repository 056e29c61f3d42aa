//! What the kernel of this machine offers to isolate programs, asked of itself: the probes of the crate are compared with it.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use ensue_executor::probes::{walls_of_this_machine, why_not_as};
use ensue_executor::programs::{ProgramUsers, SupervisorCommand, Wall};
use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError, Scope};
use seccompiler::sock_filter;

use crate::skipped::skipped;
use crate::users::{ONE, RANGE};

/// A wall around programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WallKind {
    Files,
    Signals,
    SystemCalls,
    Metadata,
}

impl WallKind {
    pub(crate) const ALL: [Self; 4] = [Self::Files, Self::Signals, Self::SystemCalls, Self::Metadata];

    /// Returns true if the kernel has this wall, by raising one like it around a thread that ends.
    pub(crate) fn stands(self) -> bool {
        std::thread::spawn(move || match self {
            // With the truncation of files.
            Self::Files => is_restricted(|ruleset| ruleset.handle_access(AccessFs::from_all(ABI::V3))),
            Self::Signals => is_restricted(|ruleset| ruleset.scope(Scope::Signal)),
            Self::SystemCalls => seccompiler::apply_filter(&[ALLOWS_ALL]).is_ok(),
            Self::Metadata => has_mount_namespaces(),
        })
        .join()
        .unwrap()
    }

    /// Does the same; if the kernel has no such wall, the test is skipped by name.
    pub(crate) fn stands_for(self, test: &str) -> bool {
        let stands = self.stands();
        if !stands {
            skipped(test, &format!("the kernel of this machine has no wall around {self:?}"));
        }
        stands
    }
}

/// Returns from a filter of system calls with `SECCOMP_RET_ALLOW` (linux/seccomp.h).
const ALLOWS_ALL: sock_filter = sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };

/// Returns true if Landlock restricts this thread as asked, and no less.
fn is_restricted(ask: impl FnOnce(Ruleset) -> Result<Ruleset, RulesetError>) -> bool {
    let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ask(strict).and_then(Ruleset::create).and_then(landlock::RulesetCreated::restrict_self).is_ok()
}

/// The capabilities that a supervisor of other users' programs needs, by their numbers (linux/capability.h): CHOWN, DAC_OVERRIDE,
/// FOWNER, KILL, SETGID and SETUID.
const CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7;

/// Returns true if this process can start another as a user, and has the capabilities to look after it.
fn starts_as(user: u32, group: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let has_capabilities = u64::from_str_radix(effective.trim(), 16).unwrap() & CAPABILITIES == CAPABILITIES;
    let started = Command::new("/bin/true").uid(user).gid(group).stdin(Stdio::null()).status();
    has_capabilities && started.is_ok_and(|status| status.success())
}

/// Returns true if this process's user can mount something in namespaces, as `unshare` and `mount` of the system find out.
fn has_mount_namespaces() -> bool {
    const OF_USERS: &[&str] = &["--user", "--map-current-user", "--keep-caps"];
    // The superuser may need no namespace of users.
    [&[], OF_USERS].into_iter().any(|of_users| {
        let mut tried = Command::new("unshare");
        tried.args(of_users).args(["--mount", "--ipc", "mount", "-t", "tmpfs", "none", "/dev"]);
        tried.stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    })
}

/// The command that starts a supervisor of these tests.
pub(crate) fn supervisor() -> SupervisorCommand {
    SupervisorCommand { program: crate::world::SUPERVISOR.into(), arguments: Vec::new(), environment: Vec::new() }
}

#[test]
fn probe_finds_the_walls_that_the_kernel_has() {
    let walls = walls_of_this_machine(ProgramUsers::Node, Some(&supervisor()));
    for (kind, found) in WallKind::ALL.into_iter().zip([&walls.files, &walls.signals, &walls.system_calls, &walls.metadata]) {
        assert_eq!(*found == Wall::Stands, kind.stands(), "{kind:?}: {found:?}");
    }
}

#[test]
fn probe_finds_the_users_that_the_kernel_has() {
    for users in [RANGE, ONE] {
        let (user, group) = match users {
            ProgramUsers::One { user, group } => (user, group),
            ProgramUsers::Range { first, .. } => (first + 1, first),
            ProgramUsers::Node => unreachable!("it needs no other users"),
        };
        assert_eq!(why_not_as(users).is_none(), starts_as(user, group), "{users:?}: {:?}", why_not_as(users));
    }
}
