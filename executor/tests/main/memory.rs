//! A program that the kernel kills because memory ran out: reported as such where that is known, and as a
//! guess where it is not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ensue_engine::executions::facts::FailureKind;
use serde_json::json;

use crate::node::supervised;
use crate::skipped::skipped;
use crate::world::{World, failure};

/// The memory limit of a group: enough for a shell and a supervisor, and soon exceeded.
const MEMORY_BYTES: &str = "67108864";

/// The number of supervisors after a first program: its own, and two that are started in advance.
const SUPERVISORS: usize = 3;

/// Kills itself before it may continue, so that the supervisors are started; then it runs out of memory.
const SCRIPT: &str = "[ -e ../../go ] && exec tail /dev/zero; kill -9 $$";

/// The machine's version of control groups for memory.
enum Groups {
    /// A separate hierarchy for memory.
    First,
    /// One hierarchy for all.
    Second,
}

impl Groups {
    fn of_this_machine() -> Self {
        if Path::new("/sys/fs/cgroup/memory").exists() { Self::First } else { Self::Second }
    }

    fn root(&self) -> &'static Path {
        Path::new(match self {
            Self::First => "/sys/fs/cgroup/memory",
            Self::Second => "/sys/fs/cgroup",
        })
    }
}

/// A control group with little memory, removed at the end of the test.
struct Small(PathBuf);

impl Small {
    fn make(name: &str) -> io::Result<Self> {
        let groups = Groups::of_this_machine();
        let small = Self(groups.root().join(name));
        match groups {
            Groups::First => {
                fs::create_dir(&small.0)?;
                fs::write(small.0.join("memory.limit_in_bytes"), MEMORY_BYTES)?;
            }
            Groups::Second => {
                fs::write(groups.root().join("cgroup.subtree_control"), "+memory")?;
                fs::create_dir(&small.0)?;
                fs::write(small.0.join("memory.max"), MEMORY_BYTES)?;
                fs::write(small.0.join("memory.swap.max"), "0")?;
            }
        }
        Ok(small)
    }

    /// Adds a process; its children are in the group too.
    fn take_in(&self, process: &str) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), process)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        for process in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write(Groups::of_this_machine().root().join("cgroup.procs"), process);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// Returns the supervisors of a world once all have started: the one that held a program, and those started
/// in advance. A later one would have no group, and all of the machine's memory.
async fn supervisors(world: &World) -> Vec<String> {
    for _ in 0..1_000 {
        let there = supervisors_now(world);
        if there.len() == SUPERVISORS {
            return there;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} supervisors are there, not {SUPERVISORS}", supervisors_now(world).len());
}

fn supervisors_now(world: &World) -> Vec<String> {
    let of_world = world.folder.path().display().to_string();
    let is_of_world = |process: &fs::DirEntry| {
        let started_as = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&started_as).contains(&of_world)
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().filter(is_of_world);
    processes.map(|process| process.file_name().into_string().unwrap()).collect()
}

/// Starts a world and its supervisors.
async fn begun() -> World {
    let mut world = supervised(SCRIPT).begin();
    let killed = world.report_of(json!({})).await;
    let failure = failure(&killed, FailureKind::Signal);
    assert_eq!((failure.detail, failure.message.contains("perhaps")), (Some(9), false), "{}", failure.message);
    world
}

fn let_memory_run_out(world: &World) {
    fs::write(world.folder.path().join("go"), "").unwrap();
    world.dispatch(2, json!({}));
}

#[tokio::test]
async fn out_of_memory_in_the_supervisor_s_group_is_distinguished_from_a_kill() {
    let test = "out_of_memory_in_the_supervisor_s_group_is_distinguished_from_a_kill";
    let mut world = begun().await;
    let mut groups = Vec::new();
    for supervisor in supervisors(&world).await {
        match Small::make(&format!("ensue-{supervisor}")) {
            Ok(small) => {
                small.take_in(&supervisor).unwrap();
                groups.push(small);
            }
            Err(error) => return skipped(test, &format!("this machine has no control group for memory: {error}")),
        }
    }
    let_memory_run_out(&world);
    failure(&world.report().await, FailureKind::Memory);
}

#[tokio::test]
async fn out_of_memory_in_a_shared_group_is_only_a_possible_cause() {
    let test = "out_of_memory_in_a_shared_group_is_only_a_possible_cause";
    let mut world = begun().await;
    let shared = match Small::make(&format!("ensue-test-{}", std::process::id())) {
        Ok(small) => small,
        Err(error) => return skipped(test, &format!("this machine has no control group for memory: {error}")),
    };
    for supervisor in supervisors(&world).await {
        shared.take_in(&supervisor).unwrap();
    }
    let_memory_run_out(&world);
    let report = world.report().await;
    let failure = failure(&report, FailureKind::Signal);
    assert!(failure.message.contains("perhaps because memory ran out"), "{}", failure.message);
}
