//! A program that the kernel kills because memory ran out: reported as such where that is known, and as a
//! guess where it is not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ensue_engine::command::Report;
use ensue_engine::executions::facts::FailureKind;
use ensue_executor::programs::SupervisorCommand;
use serde_json::json;

use crate::node::supervised_plan;
use crate::skipped::skipped;
use crate::world::{SUPERVISOR, failure};

/// The memory limit of a group: enough for a shell and a supervisor, and soon exceeded.
const MEMORY_BYTES: u64 = 64 << 20;

/// The machine's version of control groups for memory.
enum Version {
    /// A separate hierarchy for memory.
    First,
    /// One hierarchy for all.
    Second,
}

/// A control group in which the groups of supervisors are, each with little memory. It is removed at the end
/// of the test.
struct Groups {
    version: Version,
    root: &'static Path,
    path: PathBuf,
}

impl Groups {
    fn make(name: &str) -> io::Result<Self> {
        let first = Path::new("/sys/fs/cgroup/memory");
        let (version, root) = if first.exists() { (Version::First, first) } else { (Version::Second, Path::new("/sys/fs/cgroup")) };
        let path = root.join(format!("ensue-test-{}-{name}", std::process::id()));
        if matches!(version, Version::Second) {
            fs::write(root.join("cgroup.subtree_control"), "+memory")?;
        }
        fs::create_dir(&path)?;
        let groups = Self { version, root, path };
        if matches!(groups.version, Version::Second) {
            fs::write(groups.path.join("cgroup.subtree_control"), "+memory")?;
        }
        Ok(groups)
    }

    /// Returns a command that starts a supervisor in the group of this name, which a shell expands. The
    /// supervisor is in its group before it runs, so that none is outside, however many are started.
    fn supervisor_in(&self, group: &str) -> SupervisorCommand {
        let limits = match self.version {
            Version::First => format!("echo {MEMORY_BYTES} > memory.limit_in_bytes"),
            Version::Second => format!("echo {MEMORY_BYTES} > memory.max && echo 0 > memory.swap.max"),
        };
        let path = self.path.display();
        let script =
            format!(r#"mkdir -p {path}/{group} && cd {path}/{group} && {limits} && echo $$ > cgroup.procs && cd / && exec "$0" "$@""#);
        SupervisorCommand {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into(), SUPERVISOR.into()],
            environment: Vec::new(),
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let groups = fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path());
        for group in groups.filter(|path| path.is_dir()) {
            for process in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
                let _ = fs::write(self.root.join("cgroup.procs"), process);
            }
            let _ = fs::remove_dir(group);
        }
        let _ = fs::remove_dir(&self.path);
    }
}

/// Runs a program whose supervisor is in the group of this name.
async fn report_of(script: &str, groups: &Groups, group: &str) -> Report {
    supervised_plan(script).supervisor(groups.supervisor_in(group)).begin().report_of(json!({})).await
}

/// Runs out of memory.
const GREEDY: &str = "exec tail /dev/zero";

#[tokio::test]
async fn out_of_memory_in_the_supervisor_s_group_is_distinguished_from_a_kill() {
    let groups = match Groups::make("own") {
        Ok(groups) => groups,
        Err(error) => {
            let test = "out_of_memory_in_the_supervisor_s_group_is_distinguished_from_a_kill";
            return skipped(test, &format!("this machine has no control group for memory: {error}"));
        }
    };
    let report = report_of("kill -9 $$", &groups, "ensue-$$").await;
    let killed = failure(&report, FailureKind::Signal);
    assert_eq!((killed.detail, killed.message.contains("perhaps")), (Some(9), false), "{}", killed.message);
    failure(&report_of(GREEDY, &groups, "ensue-$$").await, FailureKind::Memory);
}

#[tokio::test]
async fn out_of_memory_in_a_shared_group_is_only_a_possible_cause() {
    let groups = match Groups::make("shared") {
        Ok(groups) => groups,
        Err(error) => {
            let test = "out_of_memory_in_a_shared_group_is_only_a_possible_cause";
            return skipped(test, &format!("this machine has no control group for memory: {error}"));
        }
    };
    let report = report_of(GREEDY, &groups, "shared").await;
    let failure = failure(&report, FailureKind::Signal);
    assert!(failure.message.contains("perhaps because memory ran out"), "{}", failure.message);
}
