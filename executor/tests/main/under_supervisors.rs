//! Programs under supervisors: their leftover processes are ended with them, and the worker's end does not
//! end them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ensue_engine::catalog::{ProcessCommand, Run};
use ensue_engine::command::{Ask, MessageContent};
use ensue_engine::effect::Effect;
use ensue_engine::executions::facts::{Evidence, FailureKind};
use ensue_engine::ports::OutputStream::{Stderr, Stdout};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::node::{LONG, Node, TIMEOUTS, folders, has_ended, have_ended, none, pid, supervised_plan, until};
use crate::skipped::has_program;
use crate::world::{Plan, attempt, body, failure, result, sh, template};

#[tokio::test]
async fn program_behaves_the_same_with_a_supervisor() {
    let mut world = supervised_plan("echo out; echo err >&2; cat; exit 3").begin();
    let report = world.report_of(json!({ "n": 1 })).await;
    assert_eq!(failure(&report, FailureKind::ExitCode).detail, Some(3));
    assert_eq!(body(&report), json!("out\n{\"n\":1}"));
    assert_eq!(world.outputs.stream_head(1, Stderr).0, b"err\n");
    assert!(world.outputs.is_finished(1));
    assert!(!world.has_private_directories());
}

/// The number of supervisors for programs that run one after the other: the one in use, two in reserve, and
/// one more that starts if the previous one is not available yet.
const SUPERVISORS_FOR_ONE: usize = 4;

#[test]
fn supervisor_is_reused_and_forgets_its_last_program() {
    let mut node = Node::begin(supervised_plan("echo $PPID; echo err >&2; echo '{\"progress\":1}' >&3; echo left > behind"));
    let mut seen = BTreeSet::new();
    for number in 1..=20 {
        node.world.dispatch(number, json!({}));
        let supervisor = loop {
            match node.next_ask() {
                Ask::TakeMessage(_) => {}
                Ask::ReportAttempt(report) => break result(&report),
                other => panic!("not a report: {other:?}"),
            }
        };
        seen.insert(supervisor.to_string());
        until("a supervisor without a program", || node.supervisors().is_empty());
    }
    assert!(seen.len() <= SUPERVISORS_FOR_ONE, "{} supervisors for 20 programs", seen.len());
    let folders = folders(&node.world);
    assert!(folders.len() <= SUPERVISORS_FOR_ONE, "{folders:?}");
    for folder in folders {
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
        let left: BTreeSet<_> = files.filter(|file| file.metadata().unwrap().len() > 0).map(|file| file.file_name()).collect();
        assert_eq!(left, ["key", "namespaces"].map(Into::into).into(), "{}", folder.display());
    }
    assert!(!node.world.has_private_directories());
}

#[tokio::test]
async fn program_has_only_four_descriptors() {
    let mut world = supervised_plan("ls /proc/self/fd | tr '\\n' ' '").begin();
    // 4 is the folder that `ls` itself reads.
    assert_eq!(result(&world.report_of(json!({})).await), json!("0 1 2 3 4 "));
}

#[tokio::test]
async fn program_inherits_nothing_of_the_supervisor_s_environment() {
    let mut world = supervised_plan("env | cut -d= -f1 | sort | tr '\\n' ' '").begin();
    let names = result(&world.report_of(json!({})).await);
    let contract = "ENSUE_ATTEMPT ENSUE_DEADLINE ENSUE_EXECUTION_ID ENSUE_FENCING_TOKEN ENSUE_IDEMPOTENCY_KEY ENSUE_PACK_DIR HOME LANG \
                    PATH PWD TMPDIR TRACEPARENT ";
    assert_eq!(names, json!(contract));
}

#[tokio::test]
async fn child_in_another_session_is_ended_with_its_program() {
    let with_a_parent_of_its_own = "mkfifo go; (setsid sh -c 'sleep 1000 & echo $!; echo > go; exec sleep 1001' &); read x < go";
    for script in ["setsid sleep 1000 & echo $!", with_a_parent_of_its_own] {
        let mut world = supervised_plan(script).begin();
        let printed = result(&world.report_of(json!({})).await);
        assert!(has_ended(pid(printed.as_str().unwrap())), "{script}");
    }
}

#[tokio::test]
async fn process_that_ignores_sigterm_and_left_the_session_is_killed() {
    let script = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo $$ ready; while :; do sleep 1; done' &); while :; do sleep 1; done";
    let mut world = Plan::new(sh(script)).action(sh(script), |action| action.grace = Duration::from_millis(200)).with_supervisors().begin();
    let mut dispatch = world.make_dispatch(1, json!({}));
    dispatch.grace_millis = 200;
    world.executor.carry_out(Effect::Dispatch(Box::new(dispatch)));
    world.outputs.says(1, Stdout, "ready").await;
    let printed = String::from_utf8(world.outputs.stream_head(1, Stdout).0).unwrap();
    world.stop(1);
    failure(&world.report().await, FailureKind::Cancelled);
    assert!(has_ended(pid(printed.split_whitespace().next().unwrap())));
}

#[tokio::test]
async fn tree_of_hundreds_of_processes_and_sessions_is_ended_completely() {
    // Eight generations of twins, each in its own session, all ignoring SIGTERM.
    let script = "cat > twins <<'TWINS'\ntrap '' TERM\n\
                  if [ $1 -gt 0 ]; then setsid sh twins $(($1 - 1)) & setsid sh twins $(($1 - 1)) & fi\n\
                  echo >> born\nwhile :; do sleep 100; done\nTWINS\n\
                  sh twins 7 &\nwhile [ \"$(wc -l < born || echo 0)\" -lt 255 ]; do sleep 0.1; done 2>/dev/null\necho ready\nwait";
    let mut world = supervised_plan(script).begin();
    let mut dispatch = world.make_dispatch(1, json!({}));
    dispatch.grace_millis = 100;
    world.executor.carry_out(Effect::Dispatch(Box::new(dispatch)));
    world.outputs.says(1, Stdout, "ready").await;
    let marker = format!("TMPDIR={}", world.folder.path().join("private").join(attempt(1).to_string()).display());
    assert!(count_marked(&marker) > 255, "{}", count_marked(&marker));
    world.stop(1);
    failure(&world.report().await, FailureKind::Cancelled);
    assert_eq!(count_marked(&marker), 0);
}

/// Counts the processes with a variable in their environment.
fn count_marked(variable: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let environs = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
    environs.filter(|environ| environ.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())).count()
}

#[tokio::test]
async fn deadline_applies_to_the_whole_process_tree() {
    for timeout in TIMEOUTS {
        let mut world = supervised_plan("setsid sleep 1000 & echo $!; wait").begin();
        let mut dispatch = world.make_dispatch(1, json!({}));
        dispatch.timeout_millis = timeout.as_millis() as u64;
        world.executor.carry_out(Effect::Dispatch(Box::new(dispatch)));
        failure(&world.report().await, FailureKind::Timeout);
        let printed = String::from_utf8(world.outputs.stream_head(1, Stdout).0).unwrap();
        if printed.ends_with('\n') {
            return assert!(has_ended(pid(&printed)));
        }
    }
    panic!("the program never printed its number");
}

#[test]
fn program_outlives_its_node_and_is_reported_once_by_the_twentieth() {
    let script = "echo begun >> runs; echo ready; while [ ! -e go ]; do sleep 0.02; done; cat runs";
    let mut node = Node::begin(supervised_plan(script));
    node.run_until_it_says("ready");
    for _ in 0..20 {
        node = Node::after(&node.die());
        node.says("ready");
    }
    std::fs::write(node.private().join("go"), "").unwrap();
    assert_eq!(node.result(), json!("ready\nbegun"));
    node.runtime.block_on(node.world.executor.stop(LONG));
    assert!(node.world.asked.try_recv().is_err(), "it was reported once");
}

#[test]
fn program_that_ended_without_a_node_is_reported_with_its_full_output() {
    let node = Node::begin(supervised_plan("echo ready; while [ ! -e go ]; do sleep 0.02; done; seq 100000; exit 0"));
    node.run_until_it_says("ready");
    let (private, holders) = (node.private(), node.supervisors());
    let dead = node.die();
    std::fs::write(private.join("go"), "").unwrap();
    have_ended(holders);
    let mut next = Node::after(&dead);
    let expected: String = std::iter::once("ready".to_owned()).chain((1..=100_000).map(|n| n.to_string())).collect::<Vec<_>>().join("\n");
    assert_eq!(next.result(), json!(expected));
}

#[test]
fn program_that_ended_without_a_node_is_reported_with_its_end_time() {
    let node = Node::begin(supervised_plan("echo ready; while [ ! -e go ]; do sleep 0.02; done"));
    node.run_until_it_says("ready");
    let (private, holders) = (node.private(), node.supervisors());
    let dead = node.die();
    std::fs::write(private.join("go"), "").unwrap();
    have_ended(holders);
    let late = Duration::from_millis(1_500);
    std::thread::sleep(late);
    let mut next = Node::after(&dead);
    match next.next_ask() {
        Ask::ReportAttempt(report) => {
            assert!(report.ended_before.is_some_and(|millis| u128::from(millis) >= late.as_millis() - 20), "{:?}", report.ended_before);
        }
        other => panic!("not a report: {other:?}"),
    }
}

#[test]
fn cancelled_attempt_reports_whether_its_program_had_to_be_killed() {
    for (script, expected) in [
        ("trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done", "; its program ended after SIGTERM with exit code 3"),
        ("echo ready; exec sleep 1000", "; its program ended after SIGTERM by signal 15 (SIGTERM)"),
        (
            "trap '' TERM; echo ready; while :; do sleep 0.02; done",
            "; its program was killed, because it had not ended 0.3 s after SIGTERM",
        ),
    ] {
        let mut node = Node::begin(supervised_plan(script));
        let mut dispatch = node.world.make_dispatch(1, json!({}));
        dispatch.grace_millis = if expected.contains("killed") { 300 } else { 60_000 };
        node.world.executor.carry_out(Effect::Dispatch(Box::new(dispatch)));
        node.says("ready");
        node.world.stop(1);
        match node.next_ask() {
            Ask::ReportAttempt(report) => {
                let failure = failure(&report, FailureKind::Cancelled);
                assert_eq!(failure.message, format!("the attempt was stopped by a cancel{expected}"));
            }
            other => panic!("not a report: {other:?}"),
        }
    }
}

#[test]
fn stop_leaves_programs_running_and_reports_them() {
    let node = Node::begin(supervised_plan("echo ready; while [ ! -e go ]; do sleep 0.02; done; echo done"));
    node.run_until_it_says("ready");
    let stopped = node.runtime.block_on(node.world.executor.stop(LONG));
    assert_eq!((stopped.left_running, stopped.ended), (vec![attempt(1)], vec![]));
    let mut next = Node::after(&node.world);
    std::fs::write(next.private().join("go"), "").unwrap();
    assert_eq!(next.result(), json!("ready\ndone"));
}

#[test]
fn stop_without_a_grace_period_leaves_programs_running_too() {
    let node = Node::begin(supervised_plan("echo ready; while [ ! -e go ]; do sleep 0.02; done; echo done"));
    node.run_until_it_says("ready");
    let stopped = node.runtime.block_on(node.world.executor.stop(Duration::ZERO));
    assert_eq!((stopped.left_running, stopped.ended), (vec![attempt(1)], vec![]));
    let mut next = Node::after(&node.world);
    std::fs::write(next.private().join("go"), "").unwrap();
    assert_eq!(next.result(), json!("ready\ndone"));
}

#[tokio::test]
async fn cancel_right_before_a_stop_is_carried_out_before_it() {
    let mut world = supervised_plan("echo ready; exec sleep 1000").begin();
    world.dispatch(1, json!({}));
    world.outputs.says(1, Stdout, "ready").await;
    let executor = world.executor.clone();
    world.stop(1);
    let (stopped, report) = tokio::join!(executor.stop(LONG), tokio::time::timeout(LONG, world.report()));
    assert_eq!(stopped.left_running, []);
    failure(&report.unwrap(), FailureKind::Cancelled);
}

#[test]
fn cancel_while_no_node_runs_is_carried_out_by_the_next() {
    let node = Node::begin(supervised_plan("echo ready; exec sleep 1000"));
    node.run_until_it_says("ready");
    let dead = node.die();
    let mut next = Node::after_a_cancel(&dead);
    next.fails(FailureKind::Cancelled);
}

#[test]
fn deadline_passes_even_while_no_node_runs() {
    for timeout in TIMEOUTS {
        let begin = Instant::now();
        let mut node = Node::begin(supervised_plan("echo ready; exec sleep 1000"));
        if !node.says_before_its_timeout(timeout, "ready") {
            continue;
        }
        let holders = node.supervisors();
        let dead = node.die();
        if begin.elapsed() < timeout {
            have_ended(holders);
            let mut next = Node::after(&dead);
            return next.fails(FailureKind::Timeout);
        }
    }
    panic!("the node never died before the deadline");
}

#[test]
fn program_that_the_log_does_not_wait_for_is_ended_without_a_trace() {
    for token in [None, Some(8)] {
        let node = Node::begin(supervised_plan("echo $$; exec sleep 1000"));
        node.run_until_it_says("\n");
        let program = node.program();
        let dead = node.die();
        let mut next = Node::begin(supervised_plan("exit 9").after(&dead));
        let mut dispatch = next.world.make_dispatch(1, json!({}));
        let owed = token.map(|token| {
            dispatch.token = token;
            Effect::Dispatch(Box::new(dispatch))
        });
        next.take_over(owed);
        assert!(has_ended(program));
        if token.is_some() {
            next.loses();
        }
        assert!(next.world.asked.try_recv().is_err());
    }
}

#[test]
fn killed_supervisor_ends_its_program_which_is_reported_as_lost() {
    let script = "mkfifo go; (setsid sh -c 'echo $$; echo > go; exec sleep 1000' &); read x < go; echo $$; echo ready; sleep 1000";
    let mut node = Node::begin(supervised_plan(script));
    node.run_until_it_says("ready");
    let printed = node.stdout();
    for holder in node.supervisors() {
        kill_process(Pid::from_raw(holder).unwrap(), Signal::KILL).unwrap();
    }
    node.loses();
    for line in printed.lines().filter(|line| *line != "ready") {
        assert!(has_ended(pid(line)), "{line}");
    }
}

#[test]
fn killed_node_and_supervisor_leave_no_process() {
    let node = Node::begin(supervised_plan("setsid sleep 1000 & echo $!; echo $$; echo ready; sleep 1000"));
    node.run_until_it_says("ready");
    let printed = node.stdout();
    let holders = node.supervisors();
    let dead = node.die();
    for holder in holders {
        kill_process(Pid::from_raw(holder).unwrap(), Signal::KILL).unwrap();
    }
    let mut next = Node::after(&dead);
    next.loses();
    for line in printed.lines().filter(|line| *line != "ready") {
        assert!(has_ended(pid(line)), "{line}");
    }
    assert!(!next.world.has_private_directories());
}

#[test]
fn stopped_supervisor_is_given_up_and_killed() {
    let mut node = Node::begin(Plan::new(sh("echo ready; sleep 1000")).with_supervisors());
    let mut dispatch = node.world.make_dispatch(1, json!({}));
    dispatch.grace_millis = 0;
    node.world.executor.carry_out(Effect::Dispatch(Box::new(dispatch)));
    node.says("ready");
    let holders = node.supervisors();
    for holder in &holders {
        kill_process(Pid::from_raw(*holder).unwrap(), Signal::STOP).unwrap();
    }
    node.world.stop(1);
    node.loses();
    have_ended(holders);
}

#[test]
fn endless_garbage_on_descriptor_3_ends_with_its_program() {
    let mut node = Node::begin(supervised_plan("yes x | head -c 4000000 >&3"));
    node.world.dispatch(1, json!({}));
    let (mut told, mut last) = (0, String::new());
    loop {
        match node.next_ask() {
            Ask::TakeMessage(message) => {
                told += 1;
                if let MessageContent::Unusable { reason } = message.said {
                    last = reason;
                }
            }
            Ask::ReportAttempt(report) => break drop(result(&report)),
            other => panic!("{other:?}"),
        }
    }
    // The number of stored lines, without those that were reported one by one.
    assert_eq!((told, last.split_once(" more lines").unwrap().0), (100, "262045"), "{last}");
    let noted = String::from_utf8(node.world.outputs.stream_head(1, Stderr).0).unwrap();
    assert!(noted.contains("1737856 lines with 3475712 bytes were not kept"), "{noted}");
}

#[test]
fn hung_supervisor_is_noticed_without_sending_it_anything() {
    // A process that leaves its parent, its session and its environment is found as long as its supervisor
    // runs.
    let script = "mkfifo go; (setsid env -i sh -c 'echo $$; echo > go; exec sleep 1000' &); read x < go; echo $$; echo ready; sleep 1000";
    let mut node = Node::begin(supervised_plan(script).answers_within(Duration::from_secs(2)));
    node.run_until_it_says("ready");
    let (printed, holders) = (node.stdout(), node.supervisors());
    for holder in &holders {
        kill_process(Pid::from_raw(*holder).unwrap(), Signal::STOP).unwrap();
    }
    match node.next_ask() {
        Ask::LoseAttempt { evidence: Evidence::MayHaveBegun, error: Some(error), .. } => {
            assert_eq!(error.message, "the supervisor of the program did not answer for 2 s, so it was killed with the program");
        }
        other => panic!("not a loss with its reason: {other:?}"),
    }
    have_ended(holders);
    for line in printed.lines().filter(|line| *line != "ready") {
        assert!(has_ended(pid(line)), "{line}");
    }
    assert!(node.world.outputs.is_finished(1));
}

#[test]
fn responsive_supervisor_of_a_quiet_program_is_not_given_up() {
    let mut node = Node::begin(supervised_plan("echo ready; while [ ! -e go ]; do sleep 0.02; done; echo done").answers_within(QUIET));
    node.run_until_it_says("ready");
    let private = node.private();
    // Many times as long as it may take to answer.
    std::thread::sleep(QUIET * 3);
    std::fs::write(private.join("go"), "").unwrap();
    assert_eq!(node.result(), json!("ready\ndone"));
}

/// How long a supervisor may take to answer while its program is quiet.
const QUIET: Duration = Duration::from_secs(3);

#[test]
fn program_cannot_send_messages_to_its_supervisor_s_socket() {
    if !has_program("program_cannot_send_messages_to_its_supervisor_s_socket", "python3") {
        return;
    }
    // It may find the socket if no isolation prevents that, but it has no key, and its output is only output.
    let script = r#"
        for socket in ../../supervisors/*/socket; do
            python3 - "$socket" <<'PYTHON'
import json, socket, struct, sys
forged = [{"hello": {"oldest": 1, "newest": 1, "release": "x", "key": "0" * 32}}, "collected", "kill"]
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(60)
try:
    for word in forged:
        word = json.dumps(word).encode(); s.sendall(struct.pack("<II", len(word), 0) + word)
    print("heard" if s.recv(1) else "refused")
except ConnectionError:
    print("refused")
PYTHON
        done
        echo '{"ended":{"exit":{"code":0},"by":null,"printed":[0,0]}}'
        exit 4"#;
    let mut node = Node::begin(Plan::new(sh(script)).with_isolation(none()));
    node.world.dispatch(1, json!({}));
    match node.next_ask() {
        Ask::ReportAttempt(report) => {
            assert_eq!(failure(&report, FailureKind::ExitCode).detail, Some(4));
            let printed = body(&report);
            let printed = printed.as_str().unwrap();
            assert!(printed.contains("refused") && !printed.contains("heard"), "{printed}");
        }
        other => panic!("not a report: {other:?}"),
    }
}

#[tokio::test]
async fn gigabyte_of_output_is_read_to_the_end_and_its_beginning_is_stored() {
    let mut world = supervised_plan("yes | head -c 1073741824; echo over >&2").begin();
    let report = world.report_of(json!({})).await;
    assert_eq!(result(&report).as_str().unwrap().len(), (1 << 20) - 1);
    assert_eq!(world.outputs.stream_head(1, Stdout).1, 16 << 20, "what its supervisor keeps");
    assert_eq!(world.outputs.printed_in_all(1, Stdout), 1 << 30, "what was not kept is counted where the output is");
    assert_eq!(world.outputs.stream_head(1, Stderr).0, b"over\n");
}

#[tokio::test]
async fn limits_of_file_size_and_memory_are_enforced() {
    let limits = |settings: &mut ensue_executor::ExecutorSettings| {
        settings.limits.file_bytes = Some(1 << 20);
        settings.limits.memory_bytes = Some(1 << 30);
    };
    // The limits begin to apply shortly after the program.
    let limited = |limit: &str, command: &str| {
        supervised_plan(&format!("until grep -q '^Max {limit} ' /proc/$$/limits; do sleep 0.01; done; exec {command}"))
            .settings(limits)
            .begin()
    };
    let mut world = limited("file size *1048576", "head -c 10000000 /dev/zero > file");
    failure(&world.report_of(json!({})).await, FailureKind::OutputLimit);
    let mut world = limited("address space *1073741824", "dd if=/dev/zero of=/dev/null bs=4G count=1");
    let report = world.report_of(json!({})).await;
    failure(&report, FailureKind::ExitCode);
    let said = String::from_utf8(world.outputs.stream_head(1, Stderr).0).unwrap();
    assert!(said.contains("memory"), "{said}");
}

#[tokio::test]
async fn key_is_passed_to_a_supervised_program_and_stays_in_no_file() {
    let files = vec![("TOKEN_FILE".into(), template(json!("${{ keys['test.file'] }}")))];
    let command = ["sh", "-c", "wc -c < $TOKEN_FILE"].map(str::to_owned).to_vec();
    let run = Run::Process(ProcessCommand { command, beside: Default::default(), env: Vec::new(), files, input: None });
    let mut world = Plan::new(run).with_supervisors().begin();
    let report = world.report_of(json!({})).await;
    assert_eq!(result(&report), json!(crate::world::SECRET.len().to_string()));
    assert!(!crate::world::stands_in_files(world.folder.path(), crate::world::SECRET));
}
