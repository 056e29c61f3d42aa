//! The effects of an early end of a program, its supervisor or its node: no message is lost, nothing is
//! guessed, and no process is left.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ensue_engine::catalog::Run;
use ensue_engine::command::{Ask, Message, MessageContent};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::ports::OutputStream::{Stderr, Stdout};
use ensue_engine::ports::SubmitError;
use ensue_executor::AtStop;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::net::TcpListener;

use crate::node::{LONG, Node, TIMEOUTS, folders, has_ended, have_ended, holds, none, supervised_plan, supervisors, until};
use crate::world::{Plan, World, attempt, get, result, sh};

/// Makes a program give away a file that it has created.
const GIVES: &str = r#"echo a,b > report.csv; echo '{"artifact":{"path":"report.csv"}}' >&3"#;

/// Waits for the attempt's next message other than progress.
async fn next_ask(world: &mut World) -> Ask {
    loop {
        match tokio::time::timeout(LONG, world.asked.recv()).await.unwrap().unwrap() {
            Ask::TakeMessage(Message { said: MessageContent::Progress { .. }, .. }) => {}
            other => return other,
        }
    }
}

/// Expects the file of [`GIVES`], and returns its index among the lines.
#[track_caller]
fn expect_artifact(ask: Ask, world: &World) -> u32 {
    match ask {
        Ask::TakeMessage(Message { index, said: MessageContent::Artifact(artifact), .. }) => {
            assert_eq!((artifact.name.as_str(), world.blobs.content(&artifact.blob)), ("report.csv", b"a,b\n".to_vec()));
            index
        }
        other => panic!("no file: {other:?}"),
    }
}

fn kill_all(processes: impl IntoIterator<Item = i32>) {
    for process in processes {
        let process = Pid::from_raw(process).unwrap();
        // There may have been enough idle ones, so that it has ended by itself.
        let _ = kill_process(process, Signal::KILL);
        assert!(has_ended(process));
    }
}

#[tokio::test]
async fn frequent_progress_does_not_displace_later_artifacts() {
    let script = format!("seq 20000 | sed 's/.*/{{\"progress\":0.5}}/' >&3; {GIVES}");
    let mut world = supervised_plan(&script).begin();
    world.dispatch(1, json!({}));
    let ask = next_ask(&mut world).await;
    assert_eq!(expect_artifact(ask, &world), 20_000);
    assert!(matches!(next_ask(&mut world).await, Ask::ReportAttempt(_)));
    assert_eq!(world.outputs.stream_head(1, Stderr).0, b"");
}

#[tokio::test]
async fn orphaned_processes_are_reaped_while_the_program_runs() {
    let script = "\
for i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'echo >> gone' &); done
while [ \"$(cat gone 2>/dev/null | wc -l)\" -lt 8 ]; do sleep 0.01; done
n=0
while [ $n -lt 6000 ]; do
  n=$((n + 1)); others=0
  for child in $(cat /proc/$PPID/task/*/children); do [ $child = $$ ] || others=$((others + 1)); done
  [ $others = 0 ] && break
  sleep 0.01
done
echo $others";
    let mut world = supervised_plan(script).begin();
    assert_eq!(result(&world.report_of(json!({})).await), json!("0"), "of eight that ended, so many are zombies");
}

#[test]
fn program_ended_by_a_previous_node_s_stop_is_lost_not_cancelled() {
    let script = "trap 'echo stopping; while [ ! -e go ]; do sleep 0.02; done; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    for ends_first in [true, false] {
        let node = Node::begin(supervised_plan(script).settings(|settings| settings.at_stop = AtStop::End));
        node.run_until_it_says("ready");
        let executor = node.world.executor.clone();
        node.runtime.spawn(async move { executor.stop(Duration::ZERO).await });
        node.says("stopping");
        let (go, holders) = (node.private().join("go"), node.supervisors());
        let dead = node.die();
        if ends_first {
            std::fs::write(&go, "").unwrap();
            have_ended(holders);
        }
        let mut next = Node::after(&dead);
        if !ends_first {
            std::fs::write(&go, "").unwrap();
        }
        next.loses();
    }
}

#[test]
fn timeout_enforced_by_a_dead_node_is_reported_by_the_next() {
    let script = "trap 'echo stopping; while [ ! -e go ]; do sleep 0.02; done; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    for timeout in TIMEOUTS {
        let mut node = Node::begin(supervised_plan(script));
        if node.says_before_its_timeout(timeout, "ready") {
            let deadline = Instant::now() + timeout;
            node.says("stopping");
            let (go, holders) = (node.private().join("go"), node.supervisors());
            let dead = node.die();
            // The supervisor counts from a little later than the node.
            until("its deadline", || Instant::now() >= deadline);
            std::fs::write(go, "").unwrap();
            have_ended(holders);
            let mut next = Node::after(&dead);
            return next.fails(FailureKind::Timeout);
        }
    }
    panic!("the program never began before its timeout");
}

#[test]
fn cancel_carried_out_by_a_dead_node_is_reported_by_the_next() {
    let script = "trap 'echo stopping; while [ ! -e go ]; do sleep 0.02; done; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    let node = Node::begin(supervised_plan(script));
    node.run_until_it_says("ready");
    node.world.stop(1);
    node.says("stopping");
    let (go, holders) = (node.private().join("go"), node.supervisors());
    let dead = node.die();
    std::fs::write(go, "").unwrap();
    have_ended(holders);
    let mut next = Node::after_a_cancel(&dead);
    next.fails(FailureKind::Cancelled);
}

#[tokio::test]
async fn request_cut_off_by_a_stop_is_ended_and_not_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let request = get(&format!("http://{address}/"));
    let world = Plan::new(Run::Http(Box::new(request))).allow(address).with_supervisors().begin();
    world.dispatch(1, json!({}));
    let _connection = listener.accept().await.unwrap();
    let stopped = world.executor.stop(Duration::ZERO).await;
    assert_eq!((stopped.left_running, stopped.ended), (vec![], vec![attempt(1)]));
    assert!(world.begun_text().contains(&attempt(1).to_string()), "the next start finds that it had begun");
}

#[test]
fn lost_program_leaves_nothing_while_its_node_runs() {
    let mut node = Node::begin(supervised_plan("echo ready; sleep 1000"));
    node.run_until_it_says("ready");
    kill_all(node.supervisors());
    node.loses();
    until("the end of its folder", || supervisors(&node.world).is_empty());
    until("the end of its private directory", || !node.world.has_private_directories());
}

#[test]
fn death_of_idle_supervisors_fails_no_program() {
    let script = "echo $PPID; while [ ! -e ../../go ]; do sleep 0.02; done";
    let mut node = Node::begin(Plan::new(sh(script)).with_isolation(none()));
    for number in 1..=8 {
        node.world.dispatch(number, json!({}));
    }
    until("eight supervisors", || node.supervisors().len() == 8);
    let holders = node.supervisors();
    std::fs::write(node.world.folder.path().join("go"), "").unwrap();
    for _ in 0..8 {
        node.result();
    }
    until("eight idle supervisors", || node.supervisors().is_empty());
    kill_all(holders);
    node.world.dispatch(9, json!({}));
    node.result();
}

#[test]
fn output_held_open_from_outside_is_not_read_after_the_program_ended() {
    let mut node = Node::begin(supervised_plan("echo $$; while [ ! -e go ]; do sleep 0.02; done"));
    node.run_until_it_says("\n");
    let program = node.program();
    let held = format!("/proc/{}/fd/2", program.as_raw_nonzero());
    let mut held = std::fs::OpenOptions::new().write(true).open(held).unwrap();
    std::fs::write(node.private().join("go"), "").unwrap();
    node.result();
    until("the end of reading", || held.write_all(b"late").is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe));
}

#[test]
fn artifact_given_during_a_stop_is_collected_by_the_next_node() {
    let node = Node::begin(supervised_plan(GIVES).answers([Err(SubmitError::Stopping)]));
    node.world.dispatch(1, json!({}));
    until("the end of the program", || node.world.executor.running() == 0);
    let stopped = node.runtime.block_on(node.world.executor.stop(LONG));
    assert_eq!(stopped.left_running, [attempt(1)]);
    let dead = node.die();
    let mut next = Node::after(&dead);
    assert_eq!(expect_artifact(next.next_ask(), &next.world), 0);
    next.result();
    until("the end of its private directory", || !next.world.has_private_directories());
}

#[test]
fn output_and_artifacts_before_a_supervisor_s_death_are_stored() {
    let script = format!("echo ready; while [ ! -e go ]; do sleep 0.02; done; echo more; {GIVES}; sleep 1000");
    let node = Node::begin(supervised_plan(&script));
    node.run_until_it_says("ready");
    let (private, holders) = (node.private(), node.supervisors());
    let dead = node.die();
    std::fs::write(private.join("go"), "").unwrap();
    let has_said = |folder: PathBuf| std::fs::read_to_string(folder.join("messages")).is_ok_and(|said| said.ends_with('\n'));
    until("what it says", || folders(&dead).into_iter().any(has_said));
    kill_all(holders);
    let mut next = Node::after(&dead);
    assert_eq!(expect_artifact(next.next_ask(), &next.world), 0);
    next.loses();
    assert_eq!(next.world.outputs.stream_head(1, Stdout).0, b"ready\nmore\n");
    until("the end of its folder", || supervisors(&next.world).is_empty());
}

#[test]
fn supervisor_with_a_failing_disk_reports_it_and_is_not_reused() {
    let mut node = Node::begin(supervised_plan("echo ready; while [ ! -e go ]; do sleep 0.02; done"));
    node.run_until_it_says("ready");
    let holders = node.supervisors();
    for folder in folders(&node.world).into_iter().filter(|folder| holds(folder)) {
        std::fs::create_dir_all(folder.join("end/in the way")).unwrap();
    }
    std::fs::write(node.private().join("go"), "").unwrap();
    node.result();
    let log = String::from_utf8(node.world.outputs.stream_head(1, Stderr).0).unwrap();
    assert!(log.starts_with("[ensue] the end could not be saved"), "{log}");
    have_ended(holders);
    until("the end of its folder", || supervisors(&node.world).is_empty());
}
