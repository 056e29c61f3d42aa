//! Reused supervisors: nothing of the last program reaches the next one, and a supervisor that is not free of
//! it is not used again.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ensue_engine::ports::OutputStream::{Stderr, Stdout};
use ensue_executor::programs::SupervisorCommand;
use rustix::process::Pid;
use serde_json::json;

use crate::node::{Node, folders, has_ended, none, pid, supervised_plan, supervisors, until};
use crate::skipped::skipped;
use crate::world::{Plan, SUPERVISOR, sh};

/// More programs than waiting supervisors.
const PROGRAMS: u32 = 12;

#[test]
fn reused_supervisor_does_not_mix_output_of_a_forgotten_program() {
    let chatty = "echo $$ $PPID; yes & yes >&2 & wait";
    let node = Node::begin(supervised_plan(chatty));
    node.run_until_it_says("\n");
    let said = String::from_utf8(node.world.outputs.stream_head(1, Stdout).0).unwrap();
    let mut numbers = said.lines().next().unwrap().split(' ').map(str::to_owned);
    let (program, holder) = (pid(&numbers.next().unwrap()), numbers.next().unwrap());
    // It prints up to the storage limit, all of which is sent to the next node.
    let is_full = |name| folders(&node.world).iter().any(|folder| folder.join(name).metadata().is_ok_and(|file| file.len() == 16 << 20));
    until("as much as is kept", || is_full("stdout") && is_full("stderr"));
    let dead = node.die();
    let script = "echo $PPID; while [ ! -e ../../go ]; do sleep 0.02; done";
    let mut next = Node::begin(Plan::new(sh(script)).with_isolation(none()).after(&dead));
    let go = next.world.folder.path().join("go");
    next.runtime.block_on(next.world.executor.take_over([], &next.world.previous));
    assert!(has_ended(program));
    until("a supervisor that holds nothing", || supervisors(&next.world).is_empty());
    // In the first round its supervisor may not be available yet.
    let mut seen = Vec::new();
    for round in 0..2 {
        for number in 1..=PROGRAMS {
            next.world.dispatch(round * PROGRAMS + number, json!({}));
        }
        until("a supervisor for each program", || supervisors(&next.world).len() == PROGRAMS as usize);
        std::fs::write(&go, "").unwrap();
        seen.extend((1..=PROGRAMS).map(|_| next.result()));
        std::fs::remove_file(&go).unwrap();
    }
    assert!(seen.contains(&json!(holder)), "its supervisor was not used again: {seen:?}");
}

#[test]
fn supervisor_that_lacks_namespaces_for_a_while_is_not_reused() {
    // Whoever asks whether there are namespaces gets an answer that may be another one the next time.
    let script = r#"if [ "$1" = namespaces ]; then echo '{"Failed":"no room for it"}'; else exec "$0" "$1"; fi"#;
    let command = SupervisorCommand {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into(), SUPERVISOR.into()],
        environment: Vec::new(),
    };
    let mut node = Node::begin(supervised_plan("echo $PPID").supervisor(command));
    let mut seen = BTreeSet::new();
    for number in 1..=6 {
        node.world.dispatch(number, json!({}));
        let holder = node.result().to_string();
        let log = String::from_utf8(node.world.outputs.stream_head(number, Stderr).0).unwrap();
        assert!(log.contains("no room for it"), "{log}");
        assert!(seen.insert(holder.clone()), "{holder} was used again: {seen:?}");
    }
}

/// A control group whose processes are frozen, even when they are killed; removed with everything in it. This
/// needs a separate hierarchy for the freezer: with one hierarchy for all, a frozen process can be killed.
struct Frozen(PathBuf);

impl Frozen {
    /// Freezes a process; fails if this machine does not allow a test to do that.
    fn freeze(process: &str) -> std::io::Result<Self> {
        let frozen = Self(format!("/sys/fs/cgroup/freezer/ensue-test-{}", std::process::id()).into());
        std::fs::create_dir(&frozen.0)?;
        std::fs::write(frozen.0.join("cgroup.procs"), process)?;
        std::fs::write(frozen.0.join("freezer.state"), "FROZEN")?;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("freezer.state"), "THAWED");
        let is_busy = || std::fs::remove_dir(&self.0).is_err_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy);
        until("a group without processes", || !is_busy());
    }
}

#[test]
fn supervisor_of_an_unkillable_program_is_not_reused() {
    let test = "supervisor_of_an_unkillable_program_is_not_reused";
    let mut node = Node::begin(supervised_plan("sleep 1000 & echo $!; while [ ! -e go ]; do sleep 0.02; done"));
    node.run_until_it_says("\n");
    let child = String::from_utf8(node.world.outputs.stream_head(1, Stdout).0).unwrap();
    let frozen = match Frozen::freeze(child.trim()) {
        Ok(frozen) => frozen,
        Err(error) => return skipped(test, &format!("this machine cannot stop a process that is being killed: {error}")),
    };
    let holders = node.supervisors();
    std::fs::write(node.private().join("go"), "").unwrap();
    assert_eq!(node.result(), json!(child.trim()));
    let log = String::from_utf8(node.world.outputs.stream_head(1, Stderr).0).unwrap();
    assert!(log.contains("do not end although they were killed"), "{log}");
    assert!(holders.into_iter().all(|holder| has_ended(Pid::from_raw(holder).unwrap())));
    drop(frozen);
    assert!(has_ended(pid(&child)));
}
