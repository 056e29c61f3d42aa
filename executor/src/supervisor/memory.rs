//! Whether memory ran out while a program ran: as its control group counts, where it has one for memory, else as the whole machine does.
//!
//! It does not say whose end that was: who was killed is the caller's to know.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// How many processes the kernel had killed because memory ran out, at a moment.
pub(crate) struct KillsForMemory {
    counter: Counter,
    before: u64,
}

/// What counts them.
enum Counter {
    /// A file of the group that this process and its program are in.
    OfGroup(PathBuf),
    OfMachine,
}

/// Where a process was killed because memory ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Killed {
    /// In the program's own control group.
    InGroup,
    /// Somewhere on the machine.
    OnMachine,
}

impl KillsForMemory {
    /// Counts up to now.
    pub(crate) fn until_now() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let counter = file_in(Path::new(GROUPS), &groups).map_or(Counter::OfMachine, Counter::OfGroup);
        let before = counter.count();
        Self { counter, before }
    }

    /// Says whether one was killed since.
    pub(crate) fn since(&self) -> Option<Killed> {
        let killed = match self.counter {
            Counter::OfGroup(_) => Killed::InGroup,
            Counter::OfMachine => Killed::OnMachine,
        };
        (self.counter.count() > self.before).then_some(killed)
    }
}

impl Counter {
    fn count(&self) -> u64 {
        let file = match self {
            Self::OfGroup(file) => file,
            Self::OfMachine => Path::new("/proc/vmstat"),
        };
        count_in(&fs::read_to_string(file).unwrap_or_default()).unwrap_or_default()
    }
}

fn count_in(counters: &str) -> Option<u64> {
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// Finds the file in which the nearest group of a process counts, by what `/proc/self/cgroup` says.
fn file_in(mounted: &Path, groups: &str) -> Option<PathBuf> {
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            "" => (mounted.to_owned(), "memory.events"),
            of_some if of_some.split(',').any(|one| one == "memory") => (mounted.join("memory"), "memory.oom_control"),
            _ => return None,
        };
        // With one hierarchy the group above counts too, where this one has no controller for memory of its own.
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
    fn the_nearest_group_for_memory_counts() {
        let folder = TempDir::new().unwrap();
        fs::create_dir_all(folder.path().join("system.slice/ensue.service/ensue-7")).unwrap();
        let unit = write(&folder, "system.slice/ensue.service/memory.events", "low 0\noom 2\noom_kill 1\n");
        assert_eq!(file_in(folder.path(), "0::/system.slice/ensue.service/ensue-7\n"), Some(unit));
        let old = write(&folder, "memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
        assert_eq!(file_in(folder.path(), "9:pids:/\n4:cpu,memory:/a\n0::/\n"), Some(old));
    }

    #[test]
    fn without_a_group_for_memory_the_machine_counts() {
        let folder = TempDir::new().unwrap();
        write(&folder, "memory/a/memory.oom_control", "oom_kill_disable 0\n");
        for none in ["", "0::/\n", "4:memory:/a\n", "4:cpu:/a\n"] {
            assert_eq!(file_in(folder.path(), none), None, "{none:?}");
        }
    }

    #[test]
    fn a_count_that_has_grown_says_where() {
        let folder = TempDir::new().unwrap();
        let file = write(&folder, "memory.events", "oom_kill 1\n");
        let kills = KillsForMemory { counter: Counter::OfGroup(file), before: 1 };
        assert_eq!(kills.since(), None);
        write(&folder, "memory.events", "oom_kill 2\n");
        assert_eq!(kills.since(), Some(Killed::InGroup));
    }
}
