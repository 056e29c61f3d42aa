//! Detects whether memory ran out while a program ran: counted by the nearest control group for memory, or
//! otherwise by the whole machine.
//!
//! This module does not say whose process was killed: the caller has to know. Only a group that holds nothing
//! but a supervisor and its program proves that it was a process of the program.

use std::fs;
use std::path::{Path, PathBuf};

use super::process_limit;

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// The number of processes that the kernel had killed at some moment because memory ran out.
pub(crate) struct KillsForMemory {
    counter: Counter,
    before: u64,
}

/// Where they are counted.
enum Counter {
    /// A file of the group that this process shares with its program only.
    OwnGroup(PathBuf),
    /// A file of a group that also holds others: the node, all its programs, or whatever else its unit or
    /// container holds.
    SharedGroup(PathBuf),
    Machine,
}

/// Among which processes one was killed because memory ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillScope {
    /// Among those of the program.
    OfProgram,
    /// Among others too, so it may not have been one of the program.
    OfMore,
}

impl KillsForMemory {
    /// Counts the kills so far.
    pub(crate) fn until_now() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let counter = counter_in(Path::new(GROUPS), &groups);
        let before = counter.count();
        Self { counter, before }
    }

    /// Reports whether a process was killed since, and among which.
    pub(crate) fn since(&self) -> Option<KillScope> {
        let killed = match self.counter {
            Counter::OwnGroup(_) => KillScope::OfProgram,
            Counter::SharedGroup(_) | Counter::Machine => KillScope::OfMore,
        };
        (self.counter.count() > self.before).then_some(killed)
    }
}

impl Counter {
    fn count(&self) -> u64 {
        let file = match self {
            Self::OwnGroup(file) | Self::SharedGroup(file) => file,
            Self::Machine => Path::new("/proc/vmstat"),
        };
        count_in(&fs::read_to_string(file).unwrap_or_default()).unwrap_or_default()
    }
}

fn count_in(counters: &str) -> Option<u64> {
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// Finds the counter for this process, from `/proc/self/cgroup`.
fn counter_in(mounted: &Path, groups: &str) -> Counter {
    let Some(file) = file_in(mounted, groups) else { return Counter::Machine };
    let own = process_limit::group_name(std::process::id());
    if file.parent().and_then(Path::file_name).is_some_and(|group| group == own.as_str()) {
        Counter::OwnGroup(file)
    } else {
        Counter::SharedGroup(file)
    }
}

/// Finds the file in which the nearest group of a process is counted, from `/proc/self/cgroup`.
fn file_in(mounted: &Path, groups: &str) -> Option<PathBuf> {
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            "" => (mounted.to_owned(), "memory.events"),
            of_some if of_some.split(',').any(|one| one == "memory") => (mounted.join("memory"), "memory.oom_control"),
            _ => return None,
        };
        // In a unified hierarchy, the group above counts too if this one has no memory controller of its own.
        let group = root.join(path.trim_start_matches('/'));
        let files = group.ancestors().take_while(|above| above.starts_with(&root)).map(|above| above.join(file));
        files.into_iter().find(|file| fs::read_to_string(file).is_ok_and(|counters| count_in(&counters).is_some()))
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn write(folder: &TempDir, path: &str, text: &str) -> PathBuf {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn nearest_memory_control_group_counts() {
        let folder = TempDir::new().unwrap();
        fs::create_dir_all(folder.path().join("system.slice/ensue.service/ensue-7")).unwrap();
        let unit = write(&folder, "system.slice/ensue.service/memory.events", "low 0\noom 2\noom_kill 1\n");
        assert_eq!(file_in(folder.path(), "0::/system.slice/ensue.service/ensue-7\n"), Some(unit));
        let old = write(&folder, "memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
        assert_eq!(file_in(folder.path(), "9:pids:/\n4:cpu,memory:/a\n0::/\n"), Some(old));
    }

    #[test]
    fn machine_s_memory_counts_without_a_control_group() {
        let folder = TempDir::new().unwrap();
        write(&folder, "memory/a/memory.oom_control", "oom_kill_disable 0\n");
        for none in ["", "0::/\n", "4:memory:/a\n", "4:cpu:/a\n"] {
            assert_eq!(file_in(folder.path(), none), None, "{none:?}");
        }
    }

    #[test]
    fn oom_kill_is_the_program_s_only_in_the_supervisor_s_own_group() {
        let folder = TempDir::new().unwrap();
        let own = process_limit::group_name(std::process::id());
        let another = process_limit::group_name(std::process::id() + 1);
        let nested = format!("{own}/payload");
        for (group, killed) in [
            (own.as_str(), KillScope::OfProgram),
            (another.as_str(), KillScope::OfMore),
            ("system.slice/ensue.service", KillScope::OfMore),
            (nested.as_str(), KillScope::OfMore),
        ] {
            let path = format!("{group}/memory.events");
            write(&folder, &path, "oom_kill 1\n");
            let kills = KillsForMemory { counter: counter_in(folder.path(), &format!("0::/{group}\n")), before: 1 };
            assert_eq!(kills.since(), None, "{group}");
            write(&folder, &path, "oom_kill 2\n");
            assert_eq!(kills.since(), Some(killed), "{group}");
        }
    }
}
