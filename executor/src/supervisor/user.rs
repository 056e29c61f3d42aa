//! The user that a program runs as if the node is root: one that owns nothing but the program's private
//! directory.
//!
//! A thread becomes that user, and everything that it starts stays so. The supervisor's other threads keep
//! their user.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{chown, fchown};
use std::path::Path;

use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::programs::{INNER, ProgramUsers};

/// The capabilities that a supervisor needs to start a program as another user, limit it, end it, and remove
/// what it left.
const NEEDED: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::DAC_OVERRIDE);

/// A user that programs run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    user: u32,
    group: u32,
    /// No other program has it at the same time.
    is_own: bool,
}

impl User {
    /// Returns the user of a supervisor's programs, or none if it is the supervisor's own.
    pub(crate) fn of(users: ProgramUsers, supervisor: u32) -> Result<Option<Self>, String> {
        match users {
            ProgramUsers::Node => Ok(None),
            ProgramUsers::One { user, group } => Ok(Some(Self { user, group, is_own: false })),
            ProgramUsers::Range { first, last } => match first.checked_add(supervisor).filter(|user| *user <= last) {
                Some(user) => Ok(Some(Self { user, group: first, is_own: true })),
                None => Err(format!("the users from {first} to {last} are fewer than the process numbers of this machine")),
            },
        }
    }

    /// Returns the user's number if no other program has that user at the same time.
    pub(crate) fn own(self) -> Option<u32> {
        self.is_own.then_some(self.user)
    }

    /// Makes this thread, and everything that it starts, run as this user, with its group and no other.
    pub(crate) fn enter(self) -> rustix::io::Result<()> {
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)
    }

    /// Transfers an open pipe to the user, so that a program can open its own streams again by name.
    pub(crate) fn give_pipe(self, pipe: impl AsFd) -> std::io::Result<()> {
        fchown(pipe, Some(self.user), Some(self.group))
    }

    /// Transfers a private directory, with the files in it, to the user.
    pub(crate) fn give_directory(self, private: &Path) -> std::io::Result<()> {
        let inner = private.join(INNER);
        match fs::read_dir(&inner) {
            Ok(entries) => {
                for entry in entries {
                    chown(entry?.path(), Some(self.user), Some(self.group))?;
                }
                chown(&inner, Some(self.user), Some(self.group))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        chown(private, Some(self.user), Some(self.group))
    }
}

/// Runs `act` as the user of a program. Acting on the program's processes then needs no privilege.
pub(crate) fn acting_as(user: Option<User>, act: impl FnOnce() + Send) {
    let Some(user) = user else { return act() };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("user".into()).stack_size(256 << 10).spawn_scoped(scope, || {
            if user.enter().is_ok() {
                act();
            }
        });
        // If there is no thread, the limits that it would set are not set.
        if let Ok(thread) = thread {
            let _ = thread.join();
        }
    });
}

/// Returns why this process cannot run programs as these users, or none if it can.
pub(crate) fn why_not(users: ProgramUsers) -> Option<String> {
    let (first, last, group) = match users {
        ProgramUsers::Node => return None,
        ProgramUsers::One { user, group } => (user, user, group),
        ProgramUsers::Range { first, last } => (first, last, first),
    };
    match capabilities(None) {
        Ok(sets) if sets.effective.contains(NEEDED) => {}
        Ok(_) => {
            return Some(
                "the node needs the capabilities SETUID, SETGID, CHOWN, KILL, FOWNER and DAC_OVERRIDE to run programs as other users"
                    .to_owned(),
            );
        }
        Err(error) => return Some(format!("the node's capabilities cannot be read: {error}")),
    }
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    if let ProgramUsers::Range { .. } = users {
        let processes = read("/proc/sys/kernel/pid_max").trim().parse::<u32>().unwrap_or(PROCESSES_MAX);
        if last.saturating_sub(first) < processes {
            return Some(format!(
                "{first}-{last} has too few users: the user of each program is the first one plus a process number, which can be up to {processes}"
            ));
        }
    }
    if !is_mapped(&read("/proc/self/uid_map"), first, last) || !is_mapped(&read("/proc/self/gid_map"), group, group) {
        return Some(format!("the users {first}-{last} do not exist in the node's user namespace"));
    }
    None
}

/// The largest process number that a kernel has.
const PROCESSES_MAX: u32 = 1 << 22;

/// Returns true if all of these numbers are in one line of a user namespace's map.
fn is_mapped(map: &str, first: u32, last: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u64>().unwrap_or_default());
        let (Some(inside), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) else { return false };
        u64::from(first) >= inside && u64::from(last) < inside + count
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_supervisor_has_its_own_user() {
        let range = ProgramUsers::Range { first: 1_000, last: 1_010 };
        let user = |supervisor| User::of(range, supervisor).map(|user| user.unwrap().own());
        assert_eq!((user(1), user(10)), (Ok(Some(1_001)), Ok(Some(1_010))));
        assert!(user(11).is_err(), "no user is shared");
        assert_eq!(User::of(ProgramUsers::Node, 7), Ok(None));
        assert_eq!(User::of(ProgramUsers::One { user: 5, group: 6 }, 7).unwrap().unwrap().own(), None);
    }

    #[test]
    fn users_are_checked_against_the_namespace_s_map() {
        let whole = "         0          0 4294967295\n";
        let rootless = "         0       1000          1\n         1     100000      65536\n";
        assert!(is_mapped(whole, 1_900_000_000, 1_904_194_304));
        assert!(is_mapped(rootless, 65_534, 65_534) && is_mapped(rootless, 1, 65_536));
        for (first, last) in [(65_536, 65_537), (0, 1), (1_900_000_000, 1_900_000_000)] {
            assert!(!is_mapped(rootless, first, last), "{first}-{last}");
        }
        assert!(!is_mapped("", 1, 1));
    }
}
